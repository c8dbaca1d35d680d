"""--redirect-http and --hsts: what is said without TLS, and what is said with it alone."""

from __future__ import annotations

import re
import signal
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.asgi import Receive, Scope, Send
from tests.support.certificates import Authority
from tests.support.client import Client, Response, request
from tests.support.deadline import DEADLINE
from tests.support.https import fetch
from tests.support.process import ServerProcess, StartProcess
from tests.support.server import Serve, parse_address
from tests.support.websocket import WebSocket
from tests.support.websocket_apps import connected
from tests.support.workers import APP, successor

KINDS = [[], ["--workers", "2"], ["--threads", "2"]]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind) or "single")


@pytest.fixture
def loop() -> str:
    """One will do: nothing of this depends on the event loop."""
    return "asyncio"


def ask(server: ServerProcess, data: bytes, *, to: bytes = b"GET") -> Response:
    """Without TLS."""
    with Client.connect(server.addresses[-1]) as client:
        client.send(data)
        return client.response(to=to)


def location(response: Response) -> str:
    assert response.status == 308
    value = response.header(b"location")
    assert value is not None
    return value.decode()


@every_kind
def test_whoever_comes_without_tls_is_sent_to_https(
    start_process: StartProcess, tls: list[str], kind: list[str]
) -> None:
    server = start_process(APP, *tls, *kind, "--redirect-http", "0").wait_until_running()
    https, http = (int(address[1]) for address in server.addresses)
    for host in ("example.org", "example.org:81", "[::1]"):
        name = host.removesuffix(":81")
        port = f":{https}" if host.endswith(":81") else ""
        for method in (b"GET", b"HEAD", b"POST", b"OPTIONS"):
            data = b"%b /a%%20b?c=d&e HTTP/1.1\r\nhost: %b\r\n\r\n" % (method, host.encode())
            response = ask(server, data, to=method)
            assert location(response) == f"https://{name}{port}/a%20b?c=d&e"
            assert response.header(b"strict-transport-security") is None
    assert server.stop() == 0
    assert f"running on https://127.0.0.1:{https}, redirecting from http://127.0.0.1:{http} (Press" in server.output
    assert '"GET /a%20b?c=d&e HTTP/1.1" 308' in server.output


def test_the_target_cannot_be_chosen_by_the_path(start_process: StartProcess, tls: list[str]) -> None:
    server = start_process(APP, *tls, "--redirect-http", "0").wait_until_running()
    port = server.addresses[0][1]
    for target, expected in {
        b"//evil.example/a": f"https://test:{port}//evil.example/a",
        b"/\\evil.example": f"https://test:{port}/\\evil.example",
        b"/?http://evil.example": f"https://test:{port}/?http://evil.example",
    }.items():
        response = ask(server, request(target=target, headers=[]).replace(b"host: test", b"host: test:80"))
        assert response.status == 400 or location(response) == expected
    # What names a host in its target means that one (RFC 9112 section 3.2.2): it is asked of this server as its own.
    named = ask(server, request(target=b"http://other.example:80/a"))
    assert location(named) == f"https://other.example:{port}/a"
    for data in (b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nhost:\r\n\r\n", b"GET / HTTP/1.1\r\nhost: a/b\r\n\r\n"):
        assert ask(server, data).status == 400
    assert server.stop() == 0


def test_a_body_is_not_waited_for(start_process: StartProcess, tls: list[str]) -> None:
    server = start_process(APP, *tls, "--redirect-http", "0").wait_until_running()
    head = request(b"POST", headers=[(b"content-length", b"1000000")])
    with Client.connect(server.addresses[-1]) as client:
        client.send(head)
        assert client.response().status == 308
    assert server.stop() == 0


def test_a_websocket_is_refused(start_process: StartProcess, tls: list[str]) -> None:
    server = start_process(APP, *tls, "--redirect-http", "0").wait_until_running()
    fields = [(b"connection", b"upgrade"), (b"upgrade", b"websocket"), (b"sec-websocket-version", b"13")]
    handshake = request(headers=[*fields, (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ==")])
    assert ask(server, handshake).status == 403
    assert server.stop() == 0


def test_challenges_and_health_checks_are_answered(start_process: StartProcess, tls: list[str]) -> None:
    server = start_process(APP, *tls, "--redirect-http", "0", "--health-path", "/health").wait_until_running()
    assert ask(server, request(target=b"/health")).body == b"ok\n"
    for target, status in ((b"/.well-known/acme-challenge/token", 200), (b"/.well-known/acme-challenge", 308)):
        assert ask(server, request(target=target)).status == status
    assert server.stop() == 0


def test_a_program_redirects_too(serve: Serve, authority: Authority, tls: list[str]) -> None:
    called: list[str] = []

    async def app(scope: dict[str, str], receive: object, send: object) -> None:
        called.append(scope["scheme"])
        await send({"type": "http.response.start", "status": 200})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b""})  # type: ignore[operator]

    options = {"ssl_certfile": tls[1], "ssl_keyfile": tls[3], "lifespan": "off"}
    server = serve(app, redirect_http="127.0.0.1:0", hsts=60, **options)
    assert server.server.addresses == (f"127.0.0.1:{server.port}",)
    context = authority.client_context()
    assert fetch(server.address, context).header(b"strict-transport-security") == b"max-age=60"
    assert called == ["https"]


async def tell_scheme(scope: Scope, receive: Receive, send: Send) -> None:
    """Says with which scheme it is called, and whether anything is told of TLS."""
    text = f"{scope['scheme']} {'tls' in scope['extensions']} {scope['client'][0]}"
    if scope["type"] == "websocket":
        await connected(receive, send)
        await send({"type": "websocket.send", "text": text})
        await receive()
        return
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": text.encode()})


@contextmanager
def at_the_plain_port(serve: Serve, tls: list[str], **options: Any) -> Iterator[WebSocket]:
    """A connection to the listener that redirects."""
    server = serve(tell_scheme, ssl_certfile=tls[1], ssl_keyfile=tls[3], redirect_http="127.0.0.1:0", **options)
    told = "\n".join(record.getMessage() for record in server.log.records)
    place = re.search(r"redirecting from http://(\S+)", told)
    assert place
    with WebSocket.connect(parse_address(place[1])) as client:
        yield client


def asked(client: Client, *fields: tuple[bytes, bytes]) -> tuple[int, bytes]:
    """Status and body."""
    client.send(request(target=b"/a", headers=[*fields, (b"x-forwarded-for", b"192.0.2.1")]))
    response = client.response()
    return response.status, response.body


def by(proto: bytes) -> tuple[bytes, bytes]:
    return (b"x-forwarded-proto", proto)


def test_who_came_by_https_to_a_trusted_proxy_is_not_sent_in_a_circle(serve: Serve, tls: list[str]) -> None:
    """It is asked of each request: a proxy has clients of both kinds on one connection."""
    with at_the_plain_port(serve, tls) as client:
        for _ in range(2):
            assert asked(client, by(b"https")) == (200, b"https False 192.0.2.1")
            for fields in ([by(b"http")], [by(b"")], []):
                assert asked(client, *fields) == (308, b"")


def test_nor_are_its_websockets_refused(serve: Serve, tls: list[str]) -> None:
    with at_the_plain_port(serve, tls) as client:
        client.upgrade(headers=[by(b"https")])
        assert client.message() == "wss False 127.0.0.1"


@pytest.mark.parametrize("options", [{"proxy_headers": False}, {"forwarded_allow_ips": ["192.0.2.7"]}])
def test_whoever_else_says_so_is_not_believed(serve: Serve, tls: list[str], options: dict[str, Any]) -> None:
    with at_the_plain_port(serve, tls, **options) as client:
        assert asked(client, by(b"https")) == (308, b"")


def test_no_proxy_vouches_for_a_certificate_that_clients_have_to_have(
    serve: Serve, authority: Authority, tls: list[str]
) -> None:
    options = {"ssl_ca_certs": authority.certfile, "ssl_cert_reqs": ssl.CERT_REQUIRED}
    with at_the_plain_port(serve, tls, **options) as client:
        assert asked(client, by(b"http")) == (308, b"")
        assert asked(client, by(b"https"))[0] == 421


def test_the_listener_goes_on_in_the_next_process(start_process: StartProcess, tls: list[str]) -> None:
    server = start_process(APP, *tls, "--workers", "1", "--redirect-http", "0").wait_until_running()
    server.send_signal(signal.SIGUSR2)
    with successor(server):
        # Not until the output ends: the new process has it too.
        assert server.process.wait(DEADLINE) == 0
        assert location(ask(server, request(headers=[]))) == "https://test/"


@every_kind
def test_hsts_is_said_over_tls_alone(
    start_process: StartProcess, authority: Authority, tls: list[str], kind: list[str]
) -> None:
    value = "max-age=31536000; includeSubDomains"
    server = start_process(APP, *tls, *kind, "--hsts", value, "--redirect-http", "0", "--health-path", "/health")
    server.wait_until_running()
    context = authority.client_context()
    for target in (b"/", b"/health"):
        secure = fetch(server.addresses[0], context, request(target=target))
        assert secure.header(b"strict-transport-security") == value.encode()
    for target in (b"/", b"/health", b"/.well-known/acme-challenge/token"):
        assert ask(server, request(target=target)).header(b"strict-transport-security") is None
    assert server.stop() == 0


def test_a_port_that_is_taken_is_told(start_process: StartProcess, tls: list[str]) -> None:
    first = start_process(APP, *tls, "--redirect-http", "0").wait_until_running()
    port = str(first.addresses[-1][1])
    second = start_process(APP, *tls, "--redirect-http", port)
    assert second.wait() == 3
    assert f"Cannot listen on 127.0.0.1:{port}: address already in use." in second.output
    assert first.stop() == 0
