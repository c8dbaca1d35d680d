"""`--proxy-protocol`: the header of the PROXY protocol ahead of everything else on a connection."""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.proxy.scopes import Scopes
from tests.support.asgi import Scope
from tests.support.client import GET, Client, request
from tests.support.process import StartProcess
from tests.support.server import RunningServer, Serve
from tests.support.websocket import HANDSHAKE, connection

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
TCP4, TCP6, UNIX = 0x11, 0x21, 0x31

V1 = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"
"""From 192.0.2.1:56324 to 198.51.100.2:443."""


def v2(family: int, addresses: bytes, *, command: int = 0x21, extensions: bytes = b"") -> bytes:
    """A header of version 2; `extensions` are its TLVs."""
    rest = addresses + extensions
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest)) + rest


def ends(client: tuple[str, int], server: tuple[str, int]) -> bytes:
    """Both ends as version 2 has them."""
    family = socket.AF_INET6 if ":" in client[0] else socket.AF_INET
    hosts = b"".join(socket.inet_pton(family, host) for host, _ in (client, server))
    return hosts + struct.pack("!HH", client[1], server[1])


V2 = v2(TCP4, ends(("192.0.2.1", 56324), ("198.51.100.2", 443)))
V2_TCP6 = v2(TCP6, ends(("2001:db8::1", 1), ("2001:db8::2", 2)), extensions=b"\x03\0\x04\x01\x02\x03\x04" * 50)
KNOWN = {
    "v1": (V1, ("192.0.2.1", 56324), ("198.51.100.2", 443)),
    "v1 TCP6": (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n", ("2001:db8::1", 1), ("2001:db8::2", 2)),
    "v2": (V2, ("192.0.2.1", 56324), ("198.51.100.2", 443)),
    "v2 TCP6 with extensions": (V2_TCP6, ("2001:db8::1", 1), ("2001:db8::2", 2)),
    "v2 unix": (v2(UNIX, b"\0" * 108 + b"/run/front".ljust(108, b"\0")), None, ("/run/front", None)),
}
OWN = {
    "v1 UNKNOWN": b"PROXY UNKNOWN\r\n",
    "v1 UNKNOWN with more": b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
    "v2 LOCAL": v2(TCP4, b"", command=0x20),
    "v2 LOCAL with addresses": v2(TCP4, ends(("192.0.2.1", 1), ("192.0.2.2", 2)), command=0x20),
    "v2 UNSPEC": v2(0, b""),
}
EVERY_HEADER = {**{name: known[0] for name, known in KNOWN.items()}, **OWN}

every_header = pytest.mark.parametrize("header", EVERY_HEADER.values(), ids=EVERY_HEADER)


def proxied(serve: Serve, app: Scopes, **options: Any) -> RunningServer:
    return serve(app, proxy_protocol=True, **options)


def scope_of(client: Client, scopes: Scopes, data: bytes) -> Scope:
    client.send(data)
    assert client.response().status == 200
    return scopes.next()


@pytest.mark.parametrize("name", KNOWN)
def test_the_scope_has_the_addresses_of_the_proxy_s_connection(serve: Serve, name: str) -> None:
    header, address, listening = KNOWN[name]
    scopes = Scopes()
    with proxied(serve, scopes).connect() as client:
        for data in (header + GET, GET, request(headers=[(b"a", b"b")])):
            scope = scope_of(client, scopes, data)
            assert (scope["client"], scope["server"], scope["scheme"]) == (address, listening, "http")


@pytest.mark.parametrize("name", OWN)
def test_a_proxy_that_names_nobody_speaks_for_itself(serve: Serve, name: str) -> None:
    scopes = Scopes()
    server = proxied(serve, scopes)
    with server.connect() as client:
        scope = scope_of(client, scopes, OWN[name] + GET)
        assert (scope["client"], scope["server"]) == (client.socket.getsockname(), server.address)


@every_header
def test_byte_by_byte(serve: Serve, header: bytes) -> None:
    scopes = Scopes()
    with proxied(serve, scopes).connect() as client:
        client.send_each_byte(header + GET)
        assert client.response().status == 200


@every_header
def test_the_header_alone_and_the_request_later(serve: Serve, header: bytes) -> None:
    scopes = Scopes()
    with proxied(serve, scopes).connect() as client:
        client.send(header)
        assert client.is_silent(0.05)
        client.send(GET)
        assert client.response().status == 200


def test_pipelined_behind_the_header(serve: Serve) -> None:
    scopes = Scopes()
    with proxied(serve, scopes).connect() as client:
        client.send(V2 + GET * 5)
        assert [client.response().status for _ in range(5)] == [200] * 5
    assert {scope["client"] for scope in scopes.take(5)} == {("192.0.2.1", 56324)}


def test_websocket(serve: Serve) -> None:
    scopes = Scopes()
    with connection(proxied(serve, scopes)) as client:
        client.send(V2_TCP6 + HANDSHAKE)
        client.accepted()
        assert scopes.next()["client"] == ("2001:db8::1", 1)
        client.close_cleanly()


def test_a_unix_socket(serve: Serve, tmp_path: Path) -> None:
    scopes = Scopes()
    with proxied(serve, scopes, uds=str(tmp_path / "socket"), forwarded_allow_ips="unix").connect() as client:
        assert scope_of(client, scopes, V1 + GET)["client"] == ("192.0.2.1", 56324)


WRONG = {
    "http": (GET, "it does not begin with a PROXY protocol header"),
    "tls": (b"\x16\x03\x01\x02\x00\x01", "it does not begin with a PROXY protocol header"),
    "a blank line": (b"\r\n" + GET, "it does not begin with a PROXY protocol header"),
    "a line without end": (b"PROXY TCP4 " + b"1" * 200, "the line of the PROXY protocol is malformed"),
    "a port": (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", "the line of the PROXY protocol is malformed"),
    "datagrams": (b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", "the line of the PROXY protocol is malformed"),
    "version 3": (v2(TCP4, b"\0" * 12, command=0x31), "the PROXY protocol has no such version or command"),
    "a family": (v2(0x41, b"\0" * 12), "the PROXY protocol has no such address family"),
    "too short": (v2(TCP6, b"\0" * 12), "the PROXY protocol header is too short for its addresses"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("each_byte", [False, True], ids=["whole", "byte by byte"])
def test_what_is_no_header_ends_the_connection(serve: Serve, name: str, each_byte: bool) -> None:
    """Without an answer: who sent it does not speak HTTP to us, or is no proxy."""
    data, reason = WRONG[name]
    server = proxied(serve, Scopes())
    with server.connect() as client:
        host, port = client.socket.getsockname()
        if each_byte:
            for position in range(len(data)):
                if not client.send_until_end(data[position : position + 1]):
                    break
        else:
            client.send(data)
        assert client.read_to_end() == b""
    assert server.log.next_problem() == f"{host}:{port}: refused a connection: {reason}"


def test_a_stranger_is_refused_before_it_says_anything(serve: Serve) -> None:
    server = proxied(serve, Scopes(), forwarded_allow_ips="10.0.0.0/8")
    with server.connect() as client:
        host, port = client.socket.getsockname()
        assert client.read_to_end() == b""
    problem = server.log.next_problem()
    assert problem == f"{host}:{port}: refused a connection: it is not trusted to begin with a PROXY protocol header"


def test_without_the_option_it_is_no_request(serve: Serve) -> None:
    server = serve(Scopes())
    assert server.exchange(V1 + GET).status == 400
    server.expect_problem("refused a request")


@pytest.mark.parametrize("sent", [b"", V1[:20], V2[:14], V2], ids=["nothing", "part of v1", "part of v2", "all of it"])
def test_who_sends_no_request_is_cut_at_the_deadline_of_a_head(serve: Serve, sent: bytes) -> None:
    server = proxied(serve, Scopes(), timeout_request_head=0.2)
    with server.connect() as client:
        client.send(sent)
        assert client.ends()


def test_the_deadline_of_the_head_behind_it(serve: Serve) -> None:
    server = proxied(serve, Scopes(), timeout_request_head=0.2)
    with server.connect() as client:
        client.send(V1 + GET[:-2])
        assert client.response().status == 408
    server.expect_problem("the request head did not arrive in time")


@pytest.mark.parametrize("sent", [b"", V1[:20], V2[:30], V1])
def test_who_leaves_ahead_of_a_request_is_no_news(serve: Serve, sent: bytes) -> None:
    server = proxied(serve, Scopes())
    with server.connect() as client:
        client.send(sent)
        client.half_close()
        assert client.ends()


def test_header_fields_are_believed_of_whom_the_header_names(serve: Serve) -> None:
    """A balancer in front of proxies: the next hop is the proxy that it names, not the balancer."""
    scopes = Scopes()
    server = proxied(serve, scopes, forwarded_allow_ips="127.0.0.1, 192.0.2.1")
    said = request(headers=[(b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-proto", b"https")])
    with server.connect() as client:
        scope = scope_of(client, scopes, V1 + said)
        assert (scope["client"], scope["scheme"]) == (("203.0.113.9", 0), "https")
    server = proxied(serve, scopes, forwarded_allow_ips="127.0.0.1")
    with server.connect() as client:
        scope = scope_of(client, scopes, V1 + said)
        assert (scope["client"], scope["scheme"]) == (("192.0.2.1", 56324), "http")


@pytest.mark.parametrize(("name", "believed"), [("v2 LOCAL", True), ("v1 UNKNOWN", False), ("v2 UNSPEC", False)])
def test_header_fields_of_somebody_whom_the_proxy_does_not_name(serve: Serve, name: str, believed: bool) -> None:
    """LOCAL is the proxy itself. Behind UNKNOWN is somebody, who may forge what it likes."""
    scopes = Scopes()
    with proxied(serve, scopes).connect() as client:
        said = request(headers=[(b"x-forwarded-for", b"203.0.113.9")])
        scope = scope_of(client, scopes, OWN[name] + said)
        assert scope["client"] == (("203.0.113.9", 0) if believed else client.socket.getsockname())


def test_without_proxy_headers_the_header_still_counts(serve: Serve) -> None:
    scopes = Scopes()
    with proxied(serve, scopes, proxy_headers=False).connect() as client:
        said = request(headers=[(b"x-forwarded-for", b"203.0.113.9")])
        assert scope_of(client, scopes, V1 + said)["client"] == ("192.0.2.1", 56324)


def test_the_access_log_and_a_drain(start_process: StartProcess) -> None:
    """A connection on which only the header has come is idle: it does not hold the server up."""
    server = start_process("tests.support.apps:hello", "--proxy-protocol").wait_until_running()
    with server.connect() as idle, server.connect() as silent, server.connect() as client:
        client.send(V1 + GET)
        assert client.response().status == 200
        idle.send(V2)
        assert server.stop() == 0
        assert idle.ends()
        assert silent.ends()
    assert [line.split()[1] for line in server.lines if '"GET / HTTP/1.1" 200' in line] == ["192.0.2.1:56324"]
