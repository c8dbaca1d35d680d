"""What HTTP does on a connection has to be the same on one that is encrypted: bodies, ends, drains, files."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from ferricorn._ferricorn import Listener
from tests.support.asgi import Gate, Journal, Receive, Scope, Send, body, raised_by, read_body, respond, start
from tests.support.certificates import Authority
from tests.support.client import GET, Client, request
from tests.support.deadline import SETTLED
from tests.support.server import parse_address
from tests.tls.clients import ServeTls, connect, tls_of

MIB = 1024 * 1024
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(params=VERSIONS, ids=["1.2", "1.3"])
def trusting(request: pytest.FixtureRequest, shared: Authority) -> ssl.SSLContext:
    """Of clients, with one version of TLS."""
    context = shared.client_context()
    context.minimum_version = context.maximum_version = request.param
    return context


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, await read_body(receive))


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, b"hello")


def test_bodies_of_every_size_come_back(serve_tls: ServeTls, trusting: ssl.SSLContext) -> None:
    with connect(serve_tls(echo), trusting) as client:
        for size in (0, 1, 16_383, 16_384, 16_385, 65_536, 300_001, 5 * MIB):
            data = os.urandom(size)
            client.send(request(b"POST", body=data))
            assert client.response().body == data


def test_pipelined_requests_are_answered_in_order(serve_tls: ServeTls, trusting: ssl.SSLContext) -> None:
    with connect(serve_tls(echo), trusting) as client:
        client.send(b"".join(request(b"POST", body=b"%d" % number) for number in range(200)))
        assert [client.response().body for _ in range(200)] == [b"%d" % number for number in range(200)]


def test_parts_of_a_response_come_when_they_are_sent(serve_tls: ServeTls, trusting: ssl.SSLContext) -> None:
    gate = Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"first", more=True))
        await gate.passed()
        await send(body(b"second"))

    with connect(serve_tls(app), trusting) as client:
        client.send(GET)
        client.head()
        assert client.chunk() == b"first"
        gate.open()
        assert client.chunk() == b"second"


def test_a_file_is_sent(serve_tls: ServeTls, trusting: ssl.SSLContext, tmp_path: Path) -> None:
    data = os.urandom(3 * MIB + 17)
    path = tmp_path / "file"
    path.write_bytes(data)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(headers=[(b"content-length", b"%d" % len(data))]))
        await send({"type": "http.response.pathsend", "path": str(path)})

    with connect(serve_tls(app), trusting) as client:
        for _ in range(2):
            client.send(GET)
            assert client.response().body == data


def test_who_reads_nothing_stops_the_application(serve_tls: ServeTls, trusting: ssl.SSLContext) -> None:
    sent: Journal[int] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        for count in range(400):
            await send(body(bytes(64 * 1024), more=True))
            sent.add(count)
        await send(body())

    with connect(serve_tls(app), trusting, receive_buffer=16_384) as client:
        client.send(GET)
        client.head()
        counts = [sent.next()]
        while True:
            # Until it waits: nothing has come for a while.
            try:
                counts.append(sent._entries.get(timeout=SETTLED))
            except Exception:
                break
        assert counts[-1] < 399, "all of it was taken"
        assert client.skip_chunks() == 400 * 64 * 1024


def test_a_body_that_nobody_asks_for_is_not_read(serve_tls: ServeTls, trusting: ssl.SSLContext) -> None:
    gate, begun = Gate(), Journal[None]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.add(None)
        await gate.passed()
        await raised_by(respond(send))

    with connect(serve_tls(app), trusting) as client:
        client.send(request(b"POST", headers=[(b"content-length", b"%d" % (64 * MIB))]))
        begun.next()
        tls_of(client).settimeout(SETTLED)
        with pytest.raises(TimeoutError):
            client.send(bytes(64 * MIB))
    gate.open()


def test_the_end_is_told_by_both(serve_tls: ServeTls, trusting: ssl.SSLContext) -> None:
    server = serve_tls(hello)
    with connect(server, trusting) as client:
        client.send(request(headers=[(b"connection", b"close")]))
        assert client.response().body == b"hello"
        # An end without close_notify would be an error.
        assert client.socket.recv(1) == b""
    with connect(server, trusting) as client:
        client.send(GET)
        client.response()
        # Waits for the answer of the other side.
        tls_of(client).unwrap().close()


def test_a_client_may_end_with_its_request(serve_tls: ServeTls, trusting: ssl.SSLContext) -> None:
    seen: Journal[object] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.add(await read_body(receive))
        await respond(send)

    server = serve_tls(app)
    with connect(server, trusting) as client:
        client.send(request(b"POST", body=b"whole"))
        tls_of(client).settimeout(0)
        with pytest.raises((ssl.SSLWantReadError, BlockingIOError, ssl.SSLError)):
            tls_of(client).unwrap()
    assert seen.next() == b"whole"


def test_a_client_that_goes_is_a_disconnect(serve_tls: ServeTls, trusting: ssl.SSLContext) -> None:
    begun, ended = Journal[None](), Journal[object]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        begun.add(None)
        ended.add(await receive())

    server = serve_tls(app)
    for leave in (Client.close, Client.reset):
        client = connect(server, trusting)
        client.send(GET)
        begun.next()
        leave(client)
        assert ended.next() == {"type": "http.disconnect"}


def test_a_body_that_is_cut_off_never_looks_whole(serve_tls: ServeTls, trusting: ssl.SSLContext) -> None:
    seen: Journal[object] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (event := await receive())["type"] == "http.request" and event["more_body"]:
            seen.add(event["body"])
        seen.add(event["type"])

    client = connect(serve_tls(app), trusting)
    client.send(request(b"POST", headers=[(b"content-length", b"10")], body=b"half"))
    assert seen.next() == b"half"
    client.close()
    assert seen.next() == "http.disconnect"


def test_a_response_that_fails_is_reset(serve_tls: ServeTls, trusting: ssl.SSLContext) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(headers=[(b"content-length", b"10")]))
        await send(body(b"half", more=True))
        raise RuntimeError("on purpose")

    server = serve_tls(app)
    with connect(server, trusting) as client:
        client.send(GET)
        client.head()
        assert client.read_exactly(4) == b"half"
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            client.socket.recv(1)
    server.expect_problem("on purpose")


def test_a_websocket_has_its_own_scheme(serve_tls: ServeTls, shared: Authority) -> None:
    schemes: Journal[str] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        schemes.add(scope["scheme"])
        await receive()
        await send({"type": "websocket.accept"})
        message = await receive()
        await send({"type": "websocket.send", "text": message["text"] * 2})
        await send({"type": "websocket.close"})

    from websockets.sync.client import connect as open_websocket

    server = serve_tls(app)
    with open_websocket(
        f"wss://127.0.0.1:{server.port}", ssl=shared.client_context(), server_hostname="example.org"
    ) as client:
        client.send("abc")
        assert client.recv() == "abcabc"
    assert schemes.next() == "wss"


def test_a_stop_ends_idle_connections_and_serves_those_that_shake_hands(
    serve_tls: ServeTls, trusting: ssl.SSLContext
) -> None:
    gate, begun = Gate(), Journal[None]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.add(None)
        await gate.passed()
        await respond(send)

    server = serve_tls(app)
    with connect(server, trusting) as idle, connect(server, trusting) as busy:
        busy.send(GET)
        begun.next()
        server.begin_stop()
        assert idle.socket.recv(1) == b""
        gate.open()
        response = busy.response()
        assert (response.status, response.header(b"connection")) == (200, b"close")
        assert busy.socket.recv(1) == b""


def test_the_health_path_is_answered(serve_tls: ServeTls, trusting: ssl.SSLContext) -> None:
    server = serve_tls(hello, health_path="/healthz")
    with connect(server, trusting) as client:
        client.send(request(target=b"/healthz"))
        assert client.response().body == b"ok\n"


def test_a_unix_socket_speaks_it_too(serve_tls: ServeTls, trusting: ssl.SSLContext, tmp_path: Path) -> None:
    with connect(serve_tls(hello, uds=str(tmp_path / "socket")), trusting) as client:
        client.send(GET)
        assert client.response().body == b"hello"


@pytest.mark.parametrize("together", [True, False])
def test_a_proxy_protocol_header_comes_first(serve_tls: ServeTls, trusting: ssl.SSLContext, together: bool) -> None:
    seen: Journal[object] = Journal()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.add((scope["client"], scope["scheme"]))
        await respond(send)

    server = serve_tls(app, proxy_protocol=True, forwarded_allow_ips="127.0.0.1")
    preface = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"
    if not together:
        with connect(server, trusting, preface=preface) as client:
            client.send(GET)
            assert client.response().status == 200
    else:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = trusting.wrap_bio(incoming, outgoing, server_hostname="example.org")
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        with server.connect() as raw:
            raw.send(preface + outgoing.read())
            while not _shakes_hands(tls):
                raw.send(outgoing.read())
                incoming.write(raw.socket.recv(65536))
            tls.write(GET)
            raw.send(outgoing.read())
            assert raw.socket.recv(1)
    assert seen.next() == (("192.0.2.1", 56324), "https")


def test_a_listener_beside_may_be_plain(serve_tls: ServeTls, trusting: ssl.SSLContext) -> None:
    plain = Listener.bind("127.0.0.1:0", plain=True)
    server = serve_tls(hello, beside=[plain])
    with connect(server, trusting) as client:
        client.send(GET)
        assert client.response().status == 200
    with Client.connect(parse_address(plain.address)) as client:
        client.send(GET)
        response = client.response()
        assert (response.status, response.header(b"location")) == (308, b"https://test/")
    plain.close()


def test_idle_connections_keep_no_buffers(serve_tls: ServeTls, shared: Authority) -> None:
    context = shared.client_context()
    server = serve_tls(echo)
    clients = [connect(server, context) for _ in range(100)]
    for client in clients[:20]:
        _echo(client, 300_000)
    before = _resident()
    for client in clients:
        _echo(client, 300_000)
    grown = _resident() - before
    for client in clients:
        client.close()
    # With the bodies, or their ciphertext, it would be 30 MB; Python and OpenSSL keep some for clients in this process.
    assert grown < 10 * MIB


def _echo(client: Client, size: int) -> None:
    client.send(request(b"POST", body=bytes(size)))
    assert len(client.response().body) == size


def _shakes_hands(tls: ssl.SSLObject) -> bool:
    """Whether the handshake is over; else it has something to send, and waits."""
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _resident() -> int:
    """Bytes of this process that are in memory."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
