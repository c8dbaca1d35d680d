"""How request header fields reach the application (HDR rows)."""

from __future__ import annotations

import pytest

from tests.scope.test_scope_keys import Scopes
from tests.support.client import request
from tests.support.server import Serve


def headers_of(serve: Serve, data: bytes) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in Scopes().of(serve, data)["headers"]]


def test_hdr_01_bytes_exactly_as_sent(serve: Serve) -> None:
    value = b'a  b\tc, \xe9\xff; "d"'
    assert (b"x-any", value) in headers_of(serve, request(headers=[(b"x-any", value)]))


@pytest.mark.http1("lines of a head")
def test_hdr_01_white_space_around_a_value_is_not_of_it(serve: Serve) -> None:
    data = b"GET / HTTP/1.1\r\nhost:test\r\na: \t 1 \t\r\nb:\r\nc: \r\n\r\n"
    assert headers_of(serve, data) == [(b"host", b"test"), (b"a", b"1"), (b"b", b""), (b"c", b"")]


def test_hdr_02_duplicates_are_kept_in_order(serve: Serve) -> None:
    sent = [(b"cookie", b"a=1"), (b"x", b"1"), (b"cookie", b"b=2"), (b"x", b"0"), (b"cookie", b"a=1")]
    assert headers_of(serve, request(headers=sent)) == [(b"host", b"test"), *sent]


def test_hdr_03_names_in_lowercase(serve: Serve) -> None:
    names = [name for name, _ in headers_of(serve, request(headers=[(b"X-Mixed-Case", b"Value"), (b"ACCEPT", b"*/*")]))]
    assert names == [b"host", b"x-mixed-case", b"accept"]


@pytest.mark.http1("HTTP/1.0")
def test_hdr_07_nothing_is_invented_and_nothing_dropped(serve: Serve) -> None:
    data = b"GET / HTTP/1.0\r\nwith_underscore: 1\r\nconnection: close\r\n\r\n"
    assert headers_of(serve, data) == [(b"with_underscore", b"1"), (b"connection", b"close")]


@pytest.mark.http1("transfer-encoding")
def test_hdr_07_framing_fields_are_shown(serve: Serve) -> None:
    """Frameworks look at them to see whether there is a body."""
    headers = headers_of(serve, request(b"POST", headers=[(b"transfer-encoding", b"chunked")], body=b"0\r\n\r\n"))
    assert (b"transfer-encoding", b"chunked") in headers
    assert (b"content-length", b"3") in headers_of(serve, request(b"POST", body=b"abc"))


@pytest.mark.parametrize("count", [0, 1, 60])
def test_hdr_02_any_number_of_fields(serve: Serve, count: int) -> None:
    sent = [(b"x-%d" % number, b"v" * number) for number in range(count)]
    assert headers_of(serve, request(headers=sent)) == [(b"host", b"test"), *sent]
