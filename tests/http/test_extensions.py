"""The extensions that HTTP/1.1 exchanges have (EXT rows): trailers, pathsend, zerocopysend and early hints."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.support.asgi import Application, Event, Gate, Journal, Receive, Scope, Send, body, raised_by, respond, start
from tests.support.client import GET, request
from tests.support.server import Serve
from tests.support.transports import Transport

TE = request(headers=[(b"te", b"trailers")])
CONTENT = bytes(range(256)) * 1024


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    return path


def sending(*events: Event) -> Application:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for event in events:
            await send(event)

    return app


def pathsend(path: Path) -> Event:
    return {"type": "http.response.pathsend", "path": str(path)}


def zerocopysend(file: Any, **more: Any) -> Event:
    return {"type": "http.response.zerocopysend", "file": file, **more}


def trailers(headers: Iterable[tuple[bytes, bytes]], **more: Any) -> Event:
    return {"type": "http.response.trailers", "headers": headers, **more}


def early_hint(*links: bytes) -> Event:
    return {"type": "http.response.early_hint", "links": links}


def advertised(serve: Serve, data: bytes) -> set[str]:
    names: Journal[set[str]] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        names.add(set(scope["extensions"]))
        await respond(send)

    serve(app).exchange(data)
    return names.next()


HTTP_10 = pytest.mark.http1("HTTP/1.0")
SENDFILE = {"http.response.pathsend", "http.response.zerocopysend"}


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (GET, SENDFILE | {"http.response.early_hint"}),
        (TE, SENDFILE | {"http.response.early_hint", "http.response.trailers"}),
        pytest.param(request(version=b"1.0"), SENDFILE, marks=HTTP_10),
        pytest.param(request(headers=[(b"te", b"trailers")], version=b"1.0"), SENDFILE, marks=HTTP_10),
    ],
    ids=["1.1", "1.1 with te", "1.0", "1.0 with te"],
)
def test_ext_20_only_what_works_is_advertised(serve: Serve, transport: Transport, data: bytes, names: set[str]) -> None:
    assert advertised(serve, data) == names | ({"tls"} if transport.tls else set())


@pytest.mark.parametrize("name", ["http.response.push", "http.response.debug", "websocket.http.response.start"])
def test_ext_20_what_is_not_advertised_is_an_unknown_type(serve: Serve, name: str) -> None:
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        errors.add(await raised_by(send({"type": name, "path": "/", "headers": [], "info": {}, "status": 200})))
        await respond(send)

    assert serve(app).exchange(GET).body == b"ok"
    assert name in str(errors.next())


def test_ext_05_push_is_not_advertised(serve: Serve) -> None:
    assert "http.response.push" not in advertised(serve, GET)


def test_ext_17_debug_is_not_offered(serve: Serve) -> None:
    assert "http.response.debug" not in advertised(serve, GET)


# --- zerocopysend


def test_ext_06_a_whole_file(serve: Serve, file: Path) -> None:
    with file.open("rb") as opened:
        assert serve(sending(start(), zerocopysend(opened))).exchange(GET).body == CONTENT


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"offset": 100}, CONTENT[100:]),
        ({"count": 100}, CONTENT[:100]),
        ({"offset": 1000, "count": 100}, CONTENT[1000:1100]),
        ({"offset": 0, "count": 0}, b""),
        ({"offset": None, "count": None}, CONTENT),
    ],
    ids=str,
)
def test_ext_06_offset_and_count(serve: Serve, file: Path, options: dict[str, Any], expected: bytes) -> None:
    with file.open("rb") as opened:
        assert serve(sending(start(), zerocopysend(opened, **options))).exchange(GET).body == expected


def test_ext_06_from_the_current_position(serve: Serve, file: Path) -> None:
    with file.open("rb", buffering=0) as opened:
        opened.seek(1000)
        assert serve(sending(start(), zerocopysend(opened))).exchange(GET).body == CONTENT[1000:]


def test_ext_06_repeated_and_mixed_with_body_events(serve: Serve, file: Path) -> None:
    with file.open("rb") as opened:
        app = sending(
            start(),
            body(b"<", more=True),
            zerocopysend(opened, offset=10, count=10, more_body=True),
            body(b"|", more=True),
            zerocopysend(opened, offset=0, count=5, more_body=True),
            body(b">"),
        )
        assert serve(app).exchange(GET).body == b"<" + CONTENT[10:20] + b"|" + CONTENT[:5] + b">"


def test_ext_06_the_application_may_close_its_file_at_once(serve: Serve, file: Path) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        with file.open("rb") as opened:
            await send(zerocopysend(opened, more_body=True))
        await send(body())

    assert serve(app).exchange(GET).body == CONTENT


@pytest.mark.parametrize(
    "wrong", [None, "path", io.BytesIO(b"no descriptor"), 2**40], ids=["None", "str", "BytesIO", "int"]
)
def test_ext_06_what_has_no_descriptor_raises(serve: Serve, wrong: Any) -> None:
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        errors.add(await raised_by(send(zerocopysend(wrong))))
        await send(body(b"ok"))

    assert serve(app).exchange(GET).body == b"ok"
    assert errors.next() is not None


def test_ext_07_before_start_it_raises(serve: Serve, file: Path) -> None:
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with file.open("rb") as opened:
            errors.add(await raised_by(send(zerocopysend(opened))))
        await respond(send)

    assert serve(app).exchange(GET).body == b"ok"
    assert errors.next() is not None


def test_ext_07_more_than_the_content_length_raises(serve: Serve, file: Path) -> None:
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, [(b"content-length", b"10")]))
        with file.open("rb") as opened:
            errors.add(await raised_by(send(zerocopysend(opened, count=11))))
            await send(zerocopysend(opened, count=10))

    assert serve(app).exchange(GET).body == CONTENT[:10]
    assert errors.next() is not None


@pytest.mark.parametrize("version", [pytest.param(b"1.0", marks=HTTP_10), b"1.1"])
@pytest.mark.parametrize("length", [[], [(b"content-length", b"%d" % len(CONTENT))]], ids=["no length", "length"])
def test_ext_07_framed_as_body_events_are(
    serve: Serve, transport: Transport, file: Path, version: bytes, length: list[tuple[bytes, bytes]]
) -> None:
    with file.open("rb") as opened:
        app = sending(
            start(200, length),
            zerocopysend(opened, offset=0, count=1000, more_body=True),
            zerocopysend(opened, offset=1000),
        )
        response = serve(app).exchange(request(version=version))
    assert response.body == CONTENT
    chunked = version == b"1.1" and not length and not transport.http2
    assert response.header(b"transfer-encoding") == (b"chunked" if chunked else None)


def test_ext_07_head_sends_none(serve: Serve, file: Path) -> None:
    with file.open("rb") as opened:
        app = sending(start(200, [(b"content-length", b"%d" % len(CONTENT))]), zerocopysend(opened))
        with serve(app).connect() as client:
            client.send(request(b"HEAD") * 2)
            assert client.response(to=b"HEAD").status == 200
            assert client.response(to=b"HEAD").status == 200


# --- pathsend


def test_ext_08_the_file_is_the_whole_body(serve: Serve, file: Path) -> None:
    with serve(sending(start(), pathsend(file))).connect() as client:
        for _ in range(2):
            client.send(GET)
            assert client.response().body == CONTENT


def test_ext_08_an_empty_file(serve: Serve, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    with serve(sending(start(), pathsend(empty))).connect() as client:
        for _ in range(2):
            client.send(GET)
            assert client.response().body == b""


def test_ext_08_a_name_beyond_ascii(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "h\u00e9llo w\u00f6rld"
    file.write_bytes(b"content")
    assert serve(sending(start(), pathsend(file))).exchange(GET).body == b"content"


def test_ext_08_it_ends_the_response(serve: Serve, file: Path) -> None:
    """Later events are ignored, as after any response."""
    app = sending(start(), pathsend(file), body(b"ignored"), pathsend(file))
    assert serve(app).exchange(GET).body == CONTENT


def test_ext_08_never_mixed_with_body_events(serve: Serve, file: Path) -> None:
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"part", more=True))
        errors.add(await raised_by(send(pathsend(file))))
        await send(body(b"end"))

    assert serve(app).exchange(GET).body == b"partend"
    assert errors.next() is not None


def test_ext_08_before_start_it_raises(serve: Serve, file: Path) -> None:
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        errors.add(await raised_by(send(pathsend(file))))
        await respond(send)

    assert serve(app).exchange(GET).body == b"ok"
    assert errors.next() is not None


def test_ext_08_a_large_file_to_a_slow_client(serve: Serve, tmp_path: Path) -> None:
    """Larger than what any socket buffer takes at once."""
    large = tmp_path / "large"
    large.write_bytes(CONTENT * 64)
    app = sending(start(200, [(b"content-length", b"%d" % (64 * len(CONTENT)))]), pathsend(large))
    with serve(app).connect(receive_buffer=16_384) as client:
        client.send(GET + GET)
        for _ in range(2):
            assert client.response().body == CONTENT * 64


def test_ext_09_the_application_s_headers_are_passed_through(serve: Serve, file: Path) -> None:
    headers = [(b"content-type", b"text/x-any"), (b"content-length", b"%d" % len(CONTENT))]
    response = serve(sending(start(200, headers), pathsend(file))).exchange(GET)
    assert response.header(b"content-type") == b"text/x-any"
    assert response.all(b"content-length") == [b"%d" % len(CONTENT)]
    assert response.body == CONTENT


def test_ext_09_no_content_type_is_guessed(serve: Serve, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_bytes(b"<p>")
    assert serve(sending(start(), pathsend(page))).exchange(GET).header(b"content-type") is None


def test_ext_09_a_missing_file_raises_before_the_head_goes_out(serve: Serve, tmp_path: Path) -> None:
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        error = await raised_by(send(pathsend(tmp_path / "missing")))
        errors.add(error)
        assert error
        raise error

    server = serve(app)
    assert server.exchange(GET).status == 500
    error = errors.next()
    assert isinstance(error, FileNotFoundError)
    assert type(error).__name__ != "ClientDisconnected"
    server.expect_problem("missing")


def test_ext_09_a_folder_raises(serve: Serve, tmp_path: Path) -> None:
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        errors.add(await raised_by(send(pathsend(tmp_path))))
        await send(body(b"ok"))

    assert serve(app).exchange(GET).body == b"ok"
    assert isinstance(errors.next(), OSError)


def test_ext_10_open_before_send_returns(serve: Serve, file: Path) -> None:
    """Applications delete temporary files right after."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(pathsend(file))
        file.unlink()

    with serve(app).connect(receive_buffer=16_384) as client:
        client.send(GET)
        assert client.response().body == CONTENT
    assert not file.exists()


def test_ext_10_head_sends_none(serve: Serve, file: Path) -> None:
    app = sending(start(200, [(b"content-length", b"%d" % len(CONTENT))]), pathsend(file))
    with serve(app).connect() as client:
        client.send(request(b"HEAD") * 2)
        for _ in range(2):
            assert client.response(to=b"HEAD").header(b"content-length") == b"%d" % len(CONTENT)


def test_ext_10_no_descriptor_is_left_open(serve: Serve, file: Path) -> None:
    server = serve(sending(start(), pathsend(file)))
    server.exchange(GET)
    before = len(os.listdir("/dev/fd"))
    with server.connect() as client:
        for _ in range(50):
            client.send(GET)
            client.response()
        assert len(os.listdir("/dev/fd")) <= before + 2
    assert server.exchange(request(b"HEAD"), to=b"HEAD").status == 200


# --- early hints

LINK = b"</style.css>; rel=preload"


def test_ext_11_each_event_is_a_103(serve: Serve) -> None:
    app = sending(early_hint(LINK, b"</a.js>"), early_hint(b"</b.js>"), start(), body(b"ok"))
    response = serve(app).exchange(GET)
    assert [head.status for head in response.interim] == [103, 103]
    assert response.interim[0].all(b"link") == [LINK, b"</a.js>"]
    assert response.interim[1].all(b"link") == [b"</b.js>"]
    assert (response.status, response.body) == (200, b"ok")


def test_ext_11_it_goes_out_at_once(serve: Serve) -> None:
    gate = Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(early_hint(LINK))
        await gate.passed()
        await respond(send)

    with serve(app).connect() as client:
        client.send(GET)
        assert client.head().status == 103
        gate.open()
        assert client.response().body == b"ok"


@pytest.mark.http1("HTTP/1.0")
def test_ext_11_never_to_http_1_0(serve: Serve) -> None:
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        errors.add(await raised_by(send(early_hint(LINK))))
        await respond(send)

    response = serve(app).exchange(request(version=b"1.0"))
    assert (response.status, response.interim, response.body) == (200, (), b"ok")
    errors.next()


@pytest.mark.parametrize("links", [[b"a\r\nb: c"], ["text"], 1, [b"a\0"]], ids=str)
def test_ext_11_wrong_links_raise(serve: Serve, links: Any) -> None:
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        errors.add(await raised_by(send({"type": "http.response.early_hint", "links": links})))
        await respond(send)

    response = serve(app).exchange(GET)
    assert (response.interim, response.body) == ((), b"ok")
    assert errors.next() is not None


def test_ext_11_links_from_a_generator(serve: Serve) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.early_hint", "links": (link for link in [LINK])})
        await respond(send)

    (hint,) = serve(app).exchange(GET).interim
    assert hint.all(b"link") == [LINK]


def test_ext_12_after_start_it_is_ignored(serve: Serve) -> None:
    app = sending(start(), early_hint(LINK), body(b"o", more=True), early_hint(LINK), body(b"k"), early_hint(LINK))
    response = serve(app).exchange(GET)
    assert (response.interim, response.body) == ((), b"ok")


# --- trailers


def test_ext_13_trailers_follow_the_body(serve: Serve) -> None:
    app = sending(start(trailers=True), body(b"ok"), trailers([(b"x-sum", b"1"), (b"x-time", b"2")]))
    with serve(app).connect() as client:
        for _ in range(2):
            client.send(TE)
            response = client.response()
            assert (response.body, response.trailers) == (b"ok", ((b"x-sum", b"1"), (b"x-time", b"2")))


def test_ext_13_several_events_are_merged(serve: Serve) -> None:
    app = sending(
        start(trailers=True),
        body(b"o", more=True),
        body(b"k"),
        trailers([(b"a", b"1")], more_trailers=True),
        trailers([], more_trailers=True),
        trailers([(b"b", b"2")]),
    )
    response = serve(app).exchange(TE)
    assert (response.body, response.trailers) == (b"ok", ((b"a", b"1"), (b"b", b"2")))


@pytest.mark.http1("chunks")
def test_ext_14_the_response_is_not_complete_before_them(serve: Serve) -> None:
    gate = Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(trailers=True))
        await send(body(b"ok"))
        await gate.passed()
        await send(trailers([(b"a", b"1")]))

    with serve(app).connect() as client:
        client.send(TE)
        client.head()
        early = client.read_for(0.05)
        assert early in (b"2\r\nok\r\n", b"2\r\nok\r\n0\r\n")
        gate.open()
        assert early + client.read_until(b"\r\n\r\n") == b"2\r\nok\r\n0\r\na: 1"


def test_ext_14_none_for_those_who_did_not_ask(serve: Serve) -> None:
    app = sending(start(trailers=True), body(b"ok"), trailers([(b"a", b"1")]))
    with serve(app).connect() as client:
        for _ in range(2):
            client.send(GET)
            response = client.response()
            assert (response.body, response.trailers) == (b"ok", ())


def test_ext_14_the_trailer_field_is_the_application_s(serve: Serve) -> None:
    app = sending(start(200, [(b"trailer", b"a")], trailers=True), body(b"ok"), trailers([(b"a", b"1")]))
    response = serve(app).exchange(TE)
    assert response.header(b"trailer") == b"a"
    assert response.trailers == ((b"a", b"1"),)


@pytest.mark.parametrize("pair", [(b":status", b"200"), (b"a", b"1\r\n"), (b"a b", b"1"), ("a", b"1")], ids=str)
def test_ext_14_wrong_fields_raise(serve: Serve, pair: Any) -> None:
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(trailers=True))
        await send(body(b"ok"))
        errors.add(await raised_by(send(trailers([pair]))))
        await send(trailers([(b"a", b"1")]))

    assert serve(app).exchange(TE).trailers == ((b"a", b"1"),)
    assert errors.next() is not None


def test_ext_14_before_the_last_body_event_they_raise(serve: Serve) -> None:
    errors: Journal[Exception | None] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        errors.add(await raised_by(send(trailers([(b"a", b"1")]))))
        await send(start(trailers=True))
        errors.add(await raised_by(send(trailers([(b"a", b"1")]))))
        await send(body(b"o", more=True))
        errors.add(await raised_by(send(trailers([(b"a", b"1")]))))
        await send(body(b"k"))
        await send(trailers([(b"a", b"2")]))

    response = serve(app).exchange(TE)
    assert (response.body, response.trailers) == (b"ok", ((b"a", b"2"),))
    assert None not in errors.take(3)


def test_ext_15_promised_but_not_sent(serve: Serve) -> None:
    """The body is whole: the response ends as it should, without trailers."""
    with serve(sending(start(trailers=True), body(b"ok"))).connect() as client:
        for _ in range(2):
            client.send(TE)
            response = client.response()
            assert (response.body, response.trailers) == (b"ok", ())


def test_ext_15_promised_but_not_sent_by_an_application_that_has_waited(serve: Serve) -> None:
    """Its end alone completes the response: nothing else wakes the server."""
    gate = Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(trailers=True))
        await send(body(b"ok"))
        await gate.passed()

    with serve(app).connect() as client:
        client.send(TE)
        assert client.head().status == 200
        assert client.chunk() == b"ok"
        gate.open()
        assert client.skip_chunks() == 0


def test_ext_15_dropped_with_a_content_length(serve: Serve) -> None:
    app = sending(start(200, [(b"content-length", b"2")], trailers=True), body(b"ok"), trailers([(b"a", b"1")]))
    with serve(app).connect() as client:
        for _ in range(2):
            client.send(TE)
            response = client.response()
            assert (response.body, response.header(b"transfer-encoding")) == (b"ok", None)


@pytest.mark.parametrize("status", [204, 304])
def test_ext_15_dropped_where_there_is_no_body(serve: Serve, status: int) -> None:
    app = sending(start(status, trailers=True), body(), trailers([(b"a", b"1")]))
    with serve(app).connect() as client:
        client.send(TE + TE)
        assert [client.response().status for _ in range(2)] == [status, status]


@pytest.mark.parametrize("version", [pytest.param(b"1.0", marks=HTTP_10), b"1.1"])
def test_ext_16_promised_though_not_advertised(serve: Serve, version: bytes) -> None:
    """The flag is ignored: the last body event completes the response, while the application still runs."""
    gate = Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert "http.response.trailers" not in scope["extensions"]
        await send(start(200, [(b"content-length", b"2")], trailers=True))
        await send(body(b"ok"))
        await gate.passed()

    with serve(app).connect() as client:
        client.send(request(version=version))
        assert client.response().body == b"ok"
        gate.open()
