"""What the scope says behind a proxy that sends X-Forwarded-* or Forwarded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.proxy.scopes import Scopes
from tests.support.asgi import Scope
from tests.support.client import GET, Client, HeaderList, request
from tests.support.process import StartProcess
from tests.support.server import RunningServer, Serve
from tests.support.websocket import websocket

EVERY_FIELD = "for,proto,host,port,prefix,forwarded"


def ask(server: RunningServer, scopes: Scopes, headers: HeaderList, target: bytes = b"/") -> Scope:
    """The scope of a request with these fields, on a connection of its own."""
    assert server.exchange(request(target=target, headers=headers)).status == 200
    return scopes.next()


def scope_of(serve: Serve, headers: Mapping[str, str], target: bytes = b"/", **options: Any) -> Scope:
    """The scope of a request with these fields to a server of its own."""
    scopes = Scopes()
    fields = [(name.encode(), value.encode()) for name, value in headers.items()]
    return ask(serve(scopes, **options), scopes, fields, target)


def header(scope: Scope, name: bytes) -> list[bytes]:
    return [value for key, value in scope["headers"] if key == name]


def test_client_and_scheme_by_default(serve: Serve) -> None:
    scope = scope_of(serve, {"X-Forwarded-For": "203.0.113.9, 192.0.2.1", "X-Forwarded-Proto": "https"})
    assert scope["client"] == ("192.0.2.1", 0)
    assert type(scope["client"][1]) is int
    assert scope["scheme"] == "https"


def test_the_other_fields_have_to_be_asked_for(serve: Serve) -> None:
    scopes = Scopes()
    server = serve(scopes)
    forged = {
        b"x-forwarded-host": b"evil.example",
        b"x-forwarded-port": b"1",
        b"x-forwarded-prefix": b"/evil",
        b"forwarded": b"for=192.0.2.1;proto=https;host=evil.example",
    }
    scope = ask(server, scopes, forged.items())
    assert scope["client"][0] == "127.0.0.1"
    assert (scope["scheme"], scope["server"]) == ("http", server.address)
    assert (scope["root_path"], scope["path"]) == ("", "/")
    assert header(scope, b"host") == [b"test"]


@pytest.mark.parametrize("options", [{"forwarded_allow_ips": "10.0.0.0/8, unix"}, {"proxy_headers": False}])
def test_a_stranger_is_not_believed(serve: Serve, options: dict[str, Any]) -> None:
    """Neither is anybody where the operator says that nobody is."""
    scopes = Scopes()
    server = serve(scopes, forwarded_fields=EVERY_FIELD, **options)
    forged = {
        b"x-forwarded-for": b"127.0.0.1",
        b"x-forwarded-proto": b"https",
        b"x-forwarded-host": b"evil.example",
        b"x-forwarded-port": b"1",
        b"x-forwarded-prefix": b"/evil",
        b"forwarded": b"for=192.0.2.1;proto=https;host=evil.example",
    }
    with server.connect() as client:
        address = client.socket.getsockname()
        client.send(request(headers=forged.items()))
        assert client.response().status == 200
    scope = scopes.next()
    assert scope["client"] == address
    assert (scope["scheme"], scope["server"]) == ("http", server.address)
    assert (scope["root_path"], scope["path"]) == ("", "/")
    assert header(scope, b"host") == [b"test"]


def test_what_the_client_forged_does_not_count(serve: Serve) -> None:
    """The proxy puts the address behind what it was sent."""
    assert scope_of(serve, {"X-Forwarded-For": "127.0.0.1, 192.0.2.1"})["client"] == ("192.0.2.1", 0)
    forged = {"Forwarded": 'for=127.0.0.1;x=", for="[2001:db8::1]:4711"'}
    assert scope_of(serve, forged, forwarded_fields="forwarded")["client"] == ("2001:db8::1", 4711)


def test_a_trusted_address_vouches_for_the_one_ahead_of_it(serve: Serve) -> None:
    chain = {"X-Forwarded-For": "6.6.6.6, 192.0.2.1, 10.1.2.3, 10.1.2.4", "X-Forwarded-Proto": "x, https, http, http"}
    scope = scope_of(serve, chain, forwarded_allow_ips=["127.0.0.1", "10.0.0.0/8"])
    assert scope["client"] == ("192.0.2.1", 0)
    assert scope["scheme"] == "https"


def test_with_a_star_the_first_address_counts(serve: Serve) -> None:
    assert scope_of(serve, {"X-Forwarded-For": "6.6.6.6, 192.0.2.1"}, forwarded_allow_ips="*")["client"][0] == "6.6.6.6"


@pytest.mark.parametrize("said", ["unknown", "not an address", "192.0.2.1:port", "[::1"])
def test_a_client_that_nobody_knows_is_none(serve: Serve, said: str) -> None:
    """Rather that than the proxy's own address, which may have rights of its own."""
    assert scope_of(serve, {"X-Forwarded-For": f"192.0.2.1, {said}"})["client"] is None


def test_forwarded(serve: Serve) -> None:
    fields = {
        "Forwarded": 'for=192.0.2.1, For="_secret";Proto=HTTPS;host="example.org:8443";by=10.0.0.1',
        "X-Forwarded-For": "6.6.6.6",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "evil.example",
    }
    scope = scope_of(serve, fields, forwarded_fields=EVERY_FIELD)
    assert scope["client"] == ("_secret", 0)
    assert (scope["scheme"], scope["server"]) == ("https", ("example.org", 8443))
    assert header(scope, b"host") == [b"example.org:8443"]


def test_host_and_port(serve: Serve) -> None:
    fields = {"X-Forwarded-Host": "example.org", "X-Forwarded-Port": "8443", "X-Forwarded-Proto": "https", "x": "y"}
    scope = scope_of(serve, fields, forwarded_fields="proto,host,port")
    assert scope["server"] == ("example.org", 8443)
    assert scope["headers"][0] == (b"host", b"example.org:8443")
    assert [name for name, _ in scope["headers"]] == [b"host", *(name.lower().encode() for name in fields)]


def test_the_port_alone(serve: Serve) -> None:
    """As load balancers of AWS send it, which pass the host on."""
    scopes = Scopes()
    server = serve(scopes, forwarded_fields="proto,port")
    scope = ask(server, scopes, [(b"x-forwarded-port", b"443"), (b"x-forwarded-proto", b"https")])
    assert scope["server"] == ("127.0.0.1", 443)
    assert header(scope, b"host") == [b"test"], "the scheme says the port already"
    scope = ask(server, scopes, [(b"x-forwarded-port", b"8443"), (b"x-forwarded-proto", b"https")])
    assert header(scope, b"host") == [b"test:8443"]


@pytest.mark.parametrize(
    ("prefix", "root_path", "target", "expected"),
    [
        ("/api", "", b"/users", ("/api", "/api/users")),
        ("/api/", "/v1", b"/users", ("/api/v1", "/api/v1/users")),
        ("/api", "/v1", b"/v1/users", ("/api/v1", "/api/v1/users")),
        ("/api", "", b"/api/users", ("/api", "/api/users")),
        ("//evil.example", "/v1", b"/users", ("/v1", "/v1/users")),
        ("evil", "", b"/users", ("", "/users")),
    ],
)
def test_scp_22_a_prefix_adds_to_the_root_path(
    serve: Serve, prefix: str, root_path: str, target: bytes, expected: tuple[str, str]
) -> None:
    options = {"forwarded_fields": "prefix", "root_path": root_path}
    scope = scope_of(serve, {"X-Forwarded-Prefix": prefix}, target, **options)
    assert (scope["root_path"], scope["path"]) == expected
    assert scope["raw_path"] == target


def test_a_connection_whose_requests_come_from_many_clients(serve: Serve) -> None:
    """A proxy keeps its connections, and sends on them what comes from whom so ever."""
    scopes = Scopes()
    server = serve(scopes, forwarded_fields=EVERY_FIELD)
    with server.connect() as client:
        own = client.socket.getsockname()
        asked = [request(headers=_fields_of(number)) for number in (1, 2, 2, 2, 3, 1)]
        for data in [*asked, GET, GET, asked[1]]:
            client.send(data)
            client.response()
    seen = [(s["client"], s["scheme"], s["server"], s["root_path"], s["path"]) for s in scopes.take(9)]
    of = {
        number: ((f"192.0.2.{number}", 0), "https", (f"a{number}.example", 443), f"/{number}", f"/{number}/")
        for number in (1, 2, 3)
    }
    plain = (own, "http", server.address, "", "/")
    assert seen == [of[1], of[2], of[2], of[2], of[3], of[1], plain, plain, of[2]]


def _fields_of(number: int) -> list[tuple[bytes, bytes]]:
    return [
        (b"X-Forwarded-For", b"192.0.2.%d" % number),
        (b"X-Forwarded-Proto", b"https"),
        (b"X-Forwarded-Host", b"a%d.example" % number),
        (b"X-Forwarded-Prefix", b"/%d" % number),
    ]


def test_what_an_application_changes_is_no_other_requests(serve: Serve) -> None:
    """The host that a proxy told is in a list of each scope's own."""
    scopes = Scopes()
    with serve(scopes, forwarded_fields="host").connect() as client:
        for _ in range(4):
            client.send(request(headers=[(b"x-forwarded-host", b"example.org")]))
            client.response()
            scope = scopes.next()
            assert scope["headers"] == [(b"host", b"example.org"), (b"x-forwarded-host", b"example.org")]
            scope["headers"].clear()
            scope["client"] = scope["server"] = None


def test_pipelined_requests_of_two_clients(serve: Serve) -> None:
    scopes = Scopes()
    with serve(scopes).connect() as client:
        client.send(b"".join(request(headers=_fields_of(number)) for number in (1, 2, 3)))
        for _ in range(3):
            client.response()
    assert [scope["client"][0] for scope in scopes.take(3)] == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]


def test_websocket(serve: Serve) -> None:
    scopes = Scopes()
    server = serve(scopes, forwarded_fields=EVERY_FIELD)
    with websocket(server, b"/chat", headers=_fields_of(7)) as client:
        scope = scopes.next()
        client.close_cleanly()
    assert (scope["type"], scope["client"], scope["scheme"]) == ("websocket", ("192.0.2.7", 0), "wss")
    assert (scope["server"], scope["root_path"], scope["path"]) == (("a7.example", 443), "/7", "/7/chat")
    assert header(scope, b"host") == [b"a7.example"]


@pytest.mark.parametrize(("said", "scheme"), [(b"https", "wss"), (b"wss", "wss"), (b"http", "ws"), (b"ftp", "ws")])
def test_websocket_scheme(serve: Serve, said: bytes, scheme: str) -> None:
    scopes = Scopes()
    with websocket(serve(scopes), headers=[(b"x-forwarded-proto", said)]) as client:
        assert scopes.next()["scheme"] == scheme
        client.close_cleanly()


def test_a_unix_socket_is_trusted_by_its_name(serve: Serve, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    scopes = Scopes()
    fields = [(b"x-forwarded-for", b"192.0.2.1"), (b"x-forwarded-proto", b"https")]
    scope = ask(serve(scopes, uds=path), scopes, fields)
    assert (scope["client"], scope["scheme"], scope["server"]) == (None, "http", (path, None))
    for trusted in ("unix", "*"):
        path = str(tmp_path / trusted.replace("*", "star"))
        scope = ask(serve(scopes, uds=path, forwarded_allow_ips=trusted), scopes, fields)
        assert (scope["client"], scope["scheme"], scope["server"]) == (("192.0.2.1", 0), "https", (path, None))


def test_an_ipv6_socket_that_sees_ipv4(serve: Serve) -> None:
    """The peer is ::ffff:127.0.0.1 there, and 127.0.0.1 is who is trusted."""
    scopes = Scopes()
    server = serve(scopes, bind=["[::]:0"], forwarded_allow_ips="127.0.0.1")
    with Client.connect(("127.0.0.1", server.port)) as client:
        client.send(request(headers=[(b"x-forwarded-for", b"192.0.2.1")]))
        client.response()
    assert scopes.next()["client"] == ("192.0.2.1", 0)


def test_the_access_log_shows_the_client(start_process: StartProcess) -> None:
    server = start_process("tests.support.apps:hello", "--forwarded-fields", "for,forwarded").wait_until_running()
    server.exchange(request(headers=[(b"x-forwarded-for", b"192.0.2.1:4711")]))
    server.exchange(request(headers=[(b"x-forwarded-for", b"6.6.6.6, 192.0.2.2")]))
    server.exchange(request(headers=[(b"forwarded", b'for="[2001:db8::1]:80"')]))
    server.exchange(request(headers=[(b"x-forwarded-for", b"unknown")]))
    assert server.stop() == 0
    clients = [line.split()[1] for line in server.lines if '"GET / HTTP/1.1" 200' in line]
    assert clients == ["192.0.2.1:4711", "192.0.2.2:0", "[2001:db8::1]:80", "unknown:0"]


def test_a_refused_request_is_told_of_the_peer(serve: Serve) -> None:
    """What it claims about its way has not been read."""
    server = serve(Scopes())
    with server.connect() as client:
        host, port = client.socket.getsockname()
        client.send(request(headers=[(b"x-forwarded-for", b"192.0.2.1")]))
        client.response()
        client.send(b"GET / HTTP/1.1\r\nx-forwarded-for: 192.0.2.2\r\n\r\n")
        assert client.response().status == 400
    server.expect_problem(f"{host}:{port}", "the host header field is missing")
