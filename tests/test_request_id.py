"""--request-id-header and --traceparent: what is taken over, what is made, and who sees it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from click.testing import Result

from ferricorn import Config
from tests.support.asgi import Receive, Scope, Send, body, start
from tests.support.client import Response
from tests.support.process import StartProcess
from tests.support.server import Serve
from tests.support.websocket import handshake

MADE = re.compile(rb"[0-9a-f]{32}")
TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
MADE_TRACE = re.compile(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-01")


class Echo:
    """Answers ok, and keeps what it was called with."""

    def __init__(self, *headers: tuple[bytes, bytes]) -> None:
        self.scopes: list[list[tuple[bytes, bytes]]] = []
        self._headers = headers

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        self.scopes.append(scope["headers"])
        await send(start(200, [(b"content-length", b"2"), *self._headers]))
        await send(body(b"ok"))

    def seen(self, name: bytes) -> list[bytes]:
        """The values that the last call saw."""
        return [value for field, value in self.scopes[-1] if field == name]


def get(fields: bytes = b"") -> bytes:
    return b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n"


def ids(response: Response) -> list[bytes]:
    return [value for name, value in response.headers if name == b"x-request-id"]


def test_the_clients_id_is_taken_over(serve: Serve) -> None:
    app = Echo()
    server = serve(app, request_id_header="X-Request-ID")
    response = server.exchange(get(b'x-request-id: a,b;c="1"\r\n'))
    assert app.seen(b"x-request-id") == ids(response) == [b'a,b;c="1"']


INVALID = [b"", b"x-request-id:\r\n", b"x-request-id: a b\r\n", b"x-request-id: \xe9\r\n"]
INVALID += [b"x-request-id: " + b"x" * 129 + b"\r\n", b"x-request-id: a\r\nx-request-id: a\r\n"]


@pytest.mark.parametrize("fields", INVALID)
def test_else_one_is_made(fields: bytes, serve: Serve) -> None:
    app = Echo()
    server = serve(app, request_id_header="X-Request-ID")
    seen = set()
    with server.connect() as client:
        for _ in range(3):
            client.send(get(fields + b"other: field\r\n"))
            response = client.response()
            (made,) = app.seen(b"x-request-id")
            assert MADE.fullmatch(made)
            assert ids(response) == [made]
            assert app.seen(b"other") == [b"field"] and app.seen(b"host") == [b"a"]
            seen.add(made)
    assert len(seen) == 3


def test_the_application_has_the_last_word(serve: Serve) -> None:
    server = serve(Echo((b"x-request-id", b"its own")), request_id_header="X-Request-ID")
    assert ids(server.exchange(get())) == [b"its own"]


def test_an_answer_of_the_server_has_it_as_well(serve: Serve) -> None:
    async def fails(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(start(200, [(b"x-request-id", b"never sent")]))
        raise ValueError("on purpose")

    server = serve(fails, request_id_header="X-Request-ID")
    with server.connect() as client:
        client.send(get(b"x-request-id: abc\r\n"))
        response = client.response()
    assert (response.status, ids(response)) == (500, [b"abc"])
    server.expect_problem("on purpose")


def test_what_is_refused_has_not_the_id_of_another(serve: Serve) -> None:
    server = serve(Echo(), request_id_header="X-Request-ID")
    with server.connect() as client:
        client.send(get(b"x-request-id: abc\r\n"))
        assert ids(client.response()) == [b"abc"]
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n")
        response = client.response()
    assert (response.status, ids(response)) == (400, [])
    server.expect_problem("refused a request")


def test_a_websocket_has_it_in_its_handshake(serve: Serve) -> None:
    seen: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend(value for name, value in scope["headers"] if name == b"x-request-id")
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})

    server = serve(app, request_id_header="X-Request-ID")
    with server.connect() as client:
        client.send(handshake())
        head = client.head()
    (made,) = seen
    assert MADE.fullmatch(made)
    assert (head.status, head.header(b"x-request-id")) == (101, made)


def test_the_log_shows_it(start_process: StartProcess) -> None:
    for form, shown in [("%(request_id)s.", "abc."), ("%{x-request-id}i!", "abc!"), ("json", '"request_id":"abc"')]:
        server = start_process(
            "tests.support.apps:hello", "--request-id-header", "X-Request-ID", "--access-log-format", form
        ).wait_until_running()
        server.exchange(get(b"X-Request-Id: abc\r\n"))
        server.wait_for_line(re.escape(shown))
        assert server.stop() == 0


def test_a_trace_goes_on(serve: Serve) -> None:
    app = Echo()
    server = serve(app, traceparent=True)
    response = server.exchange(get(b"traceparent: " + TRACE + b"\r\ntracestate: vendor=1\r\n"))
    assert (app.seen(b"traceparent"), app.seen(b"tracestate")) == ([TRACE], [b"vendor=1"])
    assert b"traceparent" not in dict(response.headers)


@pytest.mark.parametrize(
    "sent", [b"", TRACE[:-1], b"ff" + TRACE[2:], TRACE.upper(), TRACE + b"\r\ntraceparent: " + TRACE]
)
def test_else_one_is_begun(sent: bytes, serve: Serve) -> None:
    """What belonged to the trace that is not known goes with it (Trace Context, section 3.3)."""
    app = Echo()
    server = serve(app, traceparent=True)
    server.exchange(get((b"traceparent: " + sent + b"\r\n" if sent else b"") + b"tracestate: vendor=1\r\n"))
    (made,) = app.seen(b"traceparent")
    assert MADE_TRACE.fullmatch(made) and made != TRACE
    assert app.seen(b"tracestate") == []


def test_both_are_off_by_default(serve: Serve) -> None:
    app = Echo()
    response = serve(app).exchange(get(b"x-request-id: abc\r\n"))
    assert ids(response) == []
    assert (app.seen(b"x-request-id"), app.seen(b"traceparent")) == ([b"abc"], [])


def test_workers_make_different_ones(serve: Serve) -> None:
    """Each worker has a generator of its own, seeded by the system."""
    apps = [Echo(), Echo()]
    for app in apps:
        serve(app, request_id_header="X-Request-ID").exchange(get())
    assert apps[0].seen(b"x-request-id") != apps[1].seen(b"x-request-id")


@pytest.mark.parametrize("name", ["a b", "x:", "Content-Length", "host", "\xe9"])
def test_a_name_that_is_none_is_refused(name: str, run: Callable[..., Result]) -> None:
    result = run("main:app", "--request-id-header", name)
    assert result.exit_code == 2
    assert name in result.output
    with pytest.raises(ValueError, match=r"^request_id_header must "):
        Config("main:app", request_id_header=name)
