"""What the scope of an HTTP request says (SCP rows)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.asgi import Journal, Receive, Scope, Send, respond
from tests.support.client import GET, request
from tests.support.server import Serve
from tests.support.transports import Transport


class Scopes(Journal[Scope]):
    """An application that answers everything, and notes what it was called with."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.add(scope)
            await respond(send)

    def of(self, serve: Serve, data: bytes, **options: Any) -> Scope:
        """The scope of the request `data`, which has to be answered."""
        assert serve(self, **options).exchange(data, to=data.split(b" ")[0].upper()).status == 200
        return self.next()


def test_scp_01_type(serve: Serve) -> None:
    assert Scopes().of(serve, GET)["type"] == "http"


def test_scp_02_asgi_is_a_dict_of_its_own(serve: Serve) -> None:
    scopes = Scopes()
    server = serve(scopes)
    server.exchange(GET)
    first = scopes.next()["asgi"]
    assert type(first) is dict
    first["version"] = "spoilt"
    server.exchange(GET)
    assert scopes.next()["asgi"] == {"version": "3.0", "spec_version": "2.5"}


def test_scp_03_asgi_version(serve: Serve) -> None:
    assert Scopes().of(serve, GET)["asgi"]["version"] == "3.0"


def test_scp_04_asgi_spec_version(serve: Serve) -> None:
    spec_version = Scopes().of(serve, GET)["asgi"]["spec_version"]
    assert spec_version == "2.5"
    assert [int(part) for part in spec_version.split(".")] == [2, 5]


def test_scp_05_http_version(serve: Serve, transport: Transport) -> None:
    assert Scopes().of(serve, GET)["http_version"] == transport.http_version


@pytest.mark.http1("HTTP/1.0")
def test_scp_05_http_version_1_0(serve: Serve) -> None:
    assert Scopes().of(serve, request(version=b"1.0"))["http_version"] == "1.0"


@pytest.mark.parametrize(
    ("sent", "method"),
    [(b"GET", "GET"), (b"get", "GET"), (b"Delete", "DELETE"), (b"PROPFIND", "PROPFIND"), (b"m-search", "M-SEARCH")],
)
def test_scp_06_method_in_uppercase(serve: Serve, sent: bytes, method: str) -> None:
    assert Scopes().of(serve, request(sent))["method"] == method


def test_scp_07_scheme(serve: Serve, transport: Transport) -> None:
    assert Scopes().of(serve, GET)["scheme"] == transport.scheme()


def test_scp_08_path_without_the_query(serve: Serve) -> None:
    path = Scopes().of(serve, request(target=b"/a/b%20c?d=/e"))["path"]
    assert type(path) is str
    assert path == "/a/b c"


@pytest.mark.parametrize("sent", [b"/", b"/a/%C3%A9", b"/a%2fb%2Fc", b"//a/../b/./", b"/%FF", b"/a;b=c&d,e"])
def test_scp_09_raw_path_as_it_was_sent(serve: Serve, sent: bytes) -> None:
    raw_path = Scopes().of(serve, request(target=sent + b"?query"))["raw_path"]
    assert type(raw_path) is bytes
    assert raw_path == sent


@pytest.mark.parametrize(
    ("target", "query"),
    [(b"/", b""), (b"/?", b""), (b"/?a=%20&b=+", b"a=%20&b=+"), (b"/?a?b", b"a?b"), (b"/%3Fa?b", b"b")],
)
def test_scp_10_query_string(serve: Serve, target: bytes, query: bytes) -> None:
    query_string = Scopes().of(serve, request(target=target))["query_string"]
    assert type(query_string) is bytes
    assert query_string == query


@pytest.mark.parametrize("root_path", ["", "/mounted/here", "/m\u00e9"])
def test_scp_11_root_path(serve: Serve, root_path: str) -> None:
    assert Scopes().of(serve, GET, root_path=root_path)["root_path"] == root_path


def test_scp_12_headers_are_a_list_of_pairs_of_bytes(serve: Serve) -> None:
    headers = Scopes().of(serve, request(headers=[(b"a", b"1")]))["headers"]
    assert type(headers) is list
    assert [tuple(pair) for pair in headers] == [(b"host", b"test"), (b"a", b"1")]
    assert all(type(part) is bytes for pair in headers for part in pair)


def test_scp_12_headers_are_a_list_of_its_own(serve: Serve) -> None:
    """Middleware edits it; the next request on the connection, with the same fields, must not see that."""
    scopes = Scopes()
    with serve(scopes).connect() as client:
        for _ in range(3):
            client.send(GET)
            client.response()
            headers = scopes.next()["headers"]
            assert [tuple(pair) for pair in headers] == [(b"host", b"test")]
            headers.append((b"spoilt", b""))


def test_scp_13_client(serve: Serve) -> None:
    scopes = Scopes()
    with serve(scopes).connect() as client:
        client.send(GET)
        client.response()
        host, port = client.socket.getsockname()
    assert list(scopes.next()["client"]) == [host, port]


def test_scp_14_server(serve: Serve) -> None:
    scopes = Scopes()
    server = serve(scopes)
    server.exchange(GET)
    host, port = scopes.next()["server"]
    assert (host, port) == server.address
    assert type(port) is int


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have one loopback address only")
def test_scp_14_server_is_where_the_client_connected_to(serve: Serve) -> None:
    scopes = Scopes()
    server = serve(scopes, host="0.0.0.0")
    with server.transport.connect(("127.0.0.2", server.port)) as client:
        client.send(GET)
        client.response()
    assert list(scopes.next()["server"]) == ["127.0.0.2", server.port]


def test_scp_14_ipv6(serve: Serve) -> None:
    scopes = Scopes()
    server = serve(scopes, host="::1")
    server.exchange(GET)
    scope = scopes.next()
    assert list(scope["server"]) == list(server.address)
    assert scope["client"][0] == "::1"


def test_scp_14_unix_socket(serve: Serve, tmp_path: Path) -> None:
    scopes = Scopes()
    path = str(tmp_path / "socket")
    serve(scopes, uds=path).exchange(GET)
    scope = scopes.next()
    assert list(scope["server"]) == [path, None]
    assert scope["client"] is None


def test_scp_15_subprotocols_are_not_of_http(serve: Serve) -> None:
    assert "subprotocols" not in Scopes().of(serve, GET)


@pytest.mark.parametrize("lifespan", ["auto", "off"])
def test_scp_16_state_is_always_there(serve: Serve, lifespan: str) -> None:
    assert Scopes().of(serve, GET, lifespan=lifespan)["state"] == {}


def test_scp_17_extensions_are_dicts_of_their_own(serve: Serve) -> None:
    scopes = Scopes()
    server = serve(scopes)
    server.exchange(GET)
    first = scopes.next()["extensions"]
    assert type(first) is dict
    assert all(type(name) is str and (value == {} or name == "tls") for name, value in first.items())
    first["http.response.pathsend"]["spoilt"] = True
    first["spoilt"] = {}
    server.exchange(GET)
    second = scopes.next()["extensions"]
    assert "spoilt" not in second
    assert all(value == {} or name == "tls" for name, value in second.items())


def test_scp_18_keys_are_str(serve: Serve) -> None:
    assert all(type(key) is str for key in Scopes().of(serve, GET))


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/a%2Fb", "/a/b"),
        (b"/a+b", "/a+b"),
        (b"/%2541", "/%41"),
        (b"/%C3%A9", "/\u00e9"),
        (b"/%e2%82%ac", "/\u20ac"),
        (b"/%00", "/\0"),
        (b"/100%", "/100%"),
        (b"/%zz%4", "/%zz%4"),
        (b"/a//b/../c", "/a//b/../c"),
    ],
)
def test_scp_20_path_is_decoded_once(serve: Serve, target: bytes, path: str) -> None:
    scope = Scopes().of(serve, request(target=target))
    assert scope["path"] == path
    assert scope["raw_path"] == target


@pytest.mark.parametrize(
    ("target", "path"), [(b"/%FF", "/\ufffd"), (b"/a%C3", "/a\ufffd"), (b"/%80%C3%A9", "/\ufffd\u00e9")]
)
def test_scp_21_what_is_no_utf_8_is_replaced(serve: Serve, target: bytes, path: str) -> None:
    scope = Scopes().of(serve, request(target=target))
    assert scope["path"] == path
    assert scope["raw_path"] == target


def test_scp_22_path_keeps_the_prefix(serve: Serve) -> None:
    scope = Scopes().of(serve, request(target=b"/mounted/page"), root_path="/mounted")
    assert scope["path"] == "/mounted/page"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/page", "/mounted/page"),
        (b"/mounted/page", "/mounted/page"),
        (b"/mounted", "/mounted"),
        (b"/mountedpage", "/mounted/mountedpage"),
        (b"/", "/mounted/"),
    ],
)
def test_scp_23_a_prefix_that_the_proxy_took_away_is_put_back(serve: Serve, target: bytes, path: str) -> None:
    """Only then: `path` is under `root_path` either way, and `raw_path` is what was received."""
    scope = Scopes().of(serve, request(target=target), root_path="/mounted")
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/mounted", path, target)


def test_scp_24_a_scope_for_each_request(serve: Serve) -> None:
    scopes = Scopes()
    with serve(scopes).connect() as client:
        for target in (b"/1", b"/2"):
            client.send(request(target=target))
            client.response()
    first, second = scopes.take(2)
    assert first is not second
    assert (first["path"], second["path"]) == ("/1", "/2")


def test_scp_25_asterisk_form(serve: Serve) -> None:
    scope = Scopes().of(serve, request(b"OPTIONS", b"*"))
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("*", b"*", b"")


@pytest.mark.http1("HTTP/2 has no absolute form")
@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"http://example.org/a%20b?c=d", b"/a%20b", b"c=d"),
        (b"http://example.org", b"/", b""),
        (b"http://example.org?c=d", b"/", b"c=d"),
        (b"HTTP://example.org:80/", b"/", b""),
    ],
)
def test_scp_25_absolute_form(serve: Serve, target: bytes, path: bytes, query: bytes) -> None:
    scope = Scopes().of(serve, request(target=target))
    assert (scope["raw_path"], scope["query_string"]) == (path, query)
    assert scope["path"] == path.replace(b"%20", b" ").decode()


@pytest.mark.http1("HTTP/2 has no absolute form")
def test_scp_25_authority_of_the_absolute_form_is_the_host(serve: Serve) -> None:
    """RFC 9112 section 3.2.2: the received Host field is ignored."""
    headers = Scopes().of(serve, request(target=b"http://example.org:8080/"))["headers"]
    assert [value for name, value in headers if name == b"host"] == [b"example.org:8080"]


def test_scp_26_connect_is_refused_before_the_application(serve: Serve) -> None:
    scopes = Scopes()
    server = serve(scopes)
    with server.connect() as client:
        client.send(request(b"CONNECT", b"example.org:443"))
        assert client.response().status in (400, 405, 501)
        assert client.exchange_ends()
    assert scopes.is_empty()
    server.expect_problem("CONNECT")


PLAIN = (bool, int, float, str, bytes, type(None))


def is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(type(key) is str and is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(is_plain(item) for item in value)
    return type(value) in PLAIN


def test_scp_27_only_serializable_types(serve: Serve) -> None:
    scope = Scopes().of(serve, request(headers=[(b"a", b"1")]))
    assert all(is_plain(value) for key, value in scope.items() if key not in ("state", "extensions"))


def test_every_promised_key_and_no_other(serve: Serve) -> None:
    scope = Scopes().of(serve, GET)
    assert set(scope) == {
        *("type", "asgi", "http_version", "method", "scheme", "path", "raw_path", "query_string", "root_path"),
        *("headers", "client", "server", "state", "extensions"),
    }
