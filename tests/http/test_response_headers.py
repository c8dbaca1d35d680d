"""Response header fields: which are taken, in what form they reach the wire, and which the server adds (HDR rows)."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from tests.http.test_response_events import Misuse
from tests.support.asgi import Application, Receive, Scope, Send, body, respond, start
from tests.support.client import GET
from tests.support.server import Serve

FRAMING = (b"content-length", b"transfer-encoding", b"connection")


def with_headers(headers: Any) -> Application:
    """An application whose response has `headers`, made anew for each request when it is a function."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, headers() if callable(headers) else headers))
        await send(body(b"ok"))

    return app


def fields(serve: Serve, sent: Any, **options: Any) -> list[tuple[bytes, bytes]]:
    """The fields of the response that are not about framing."""
    response = serve(with_headers(sent), **options).exchange(GET)
    assert (response.status, response.body) == (200, b"ok")
    return [(name, value) for name, value in response.headers if name not in FRAMING]


BARE = {"server_header": False, "date_header": False}


class OnceOnly:
    """Iterable, and counts how often that happens."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = items
        self.iterations = 0

    def __iter__(self) -> Iterator[Any]:
        self.iterations += 1
        return iter(self._items)


PAIRS = [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]


@pytest.mark.parametrize(
    "headers",
    [
        PAIRS,
        tuple(PAIRS),
        [list(pair) for pair in PAIRS],
        lambda: (pair for pair in PAIRS),
        lambda: (iter(pair) for pair in PAIRS),
        lambda: map(list, PAIRS),
        lambda: OnceOnly(PAIRS),
    ],
    ids=["list", "tuple", "lists", "generator", "iterators", "map", "iterable"],
)
def test_hdr_08_any_iterable_of_pairs(serve: Serve, headers: Any) -> None:
    assert fields(serve, headers, **BARE) == PAIRS


def test_hdr_08_iterated_exactly_once(serve: Serve) -> None:
    headers = OnceOnly(PAIRS)
    fields(serve, headers)
    assert headers.iterations == 1


def test_hdr_08_what_iterating_raises_comes_out_of_send(serve: Serve) -> None:
    def broken() -> Iterator[tuple[bytes, bytes]]:
        yield (b"a", b"1")
        raise LookupError("the headers are broken")

    error = Misuse({"type": "http.response.start", "status": 200, "headers": broken()}).error(serve)
    assert isinstance(error, LookupError)


def test_hdr_09_order_and_duplicates_are_kept(serve: Serve) -> None:
    headers = [
        (b"set-cookie", b"a=1"),
        (b"x", b"1"),
        (b"set-cookie", b"b=2; Path=/"),
        (b"x", b"1"),
        (b"set-cookie", b"a=1"),
    ]
    assert fields(serve, headers, **BARE) == headers


def test_hdr_10_mixed_case_is_lowercased(serve: Serve) -> None:
    assert fields(serve, [(b"X-Mixed-CASE", b"Value")], **BARE) == [(b"x-mixed-case", b"Value")]


@pytest.mark.parametrize("name", [b":status", b":authority", b":"])
def test_hdr_11_pseudo_headers_raise(serve: Serve, name: bytes) -> None:
    Misuse(start(200, [(b"ok", b"ok"), (name, b"200")])).error(serve)


@pytest.mark.parametrize(
    "pair", [("name", b"value"), (b"name", "value"), ("name", "value"), (b"name", 1), (None, b"value")]
)
def test_hdr_12_other_types_than_bytes_raise(serve: Serve, pair: Any) -> None:
    assert isinstance(Misuse(start(200, [pair])).error(serve), TypeError)


@pytest.mark.parametrize("value", [b"a\r\nb: c", b"a\nb", b"a\rb", b"a\0b", b"\r\n", b"end\n"])
def test_hdr_13_values_that_would_break_lines_raise(serve: Serve, value: bytes) -> None:
    error = Misuse(start(200, [(b"location", value)])).error(serve)
    assert isinstance(error, ValueError)


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"a\r\n", b"a\0", b"\xe9", b"a(b)", b"a "])
def test_hdr_13_names_that_are_no_tokens_raise(serve: Serve, name: bytes) -> None:
    error = Misuse(start(200, [(name, b"value")])).error(serve)
    assert isinstance(error, ValueError)


@pytest.mark.parametrize("value", [b"", b"a\tb", b"\xe9\xff", b"a  b", b'"quoted"'])
def test_hdr_13_other_values_are_taken(serve: Serve, value: bytes) -> None:
    assert fields(serve, [(b"x", value)], **BARE) == [(b"x", value)]


def test_hdr_14_date_and_server_are_added(serve: Serve) -> None:
    added = dict(fields(serve, []))
    assert set(added) == {b"date", b"server"}
    assert added[b"server"] == b"ferricorn"
    assert re.fullmatch(rb"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", added[b"date"])
    assert abs(parsedate_to_datetime(added[b"date"].decode()).timestamp() - time.time()) < 5


@pytest.mark.parametrize("field", [(b"date", b"Thu, 01 Jan 1970 00:00:00 GMT"), (b"Server", b"mine")])
def test_hdr_14_not_beside_the_application_s_own(serve: Serve, field: tuple[bytes, bytes]) -> None:
    name = field[0].lower()
    assert [value for key, value in fields(serve, [field]) if key == name] == [field[1]]


def test_hdr_14_options_switch_them_off(serve: Serve) -> None:
    assert fields(serve, [], **BARE) == []


def test_hdr_14_fields_of_the_configuration(serve: Serve) -> None:
    added = fields(serve, [(b"x", b"1")], headers=[("X-Frame-Options", "DENY"), ("Server", "mine")])
    assert (b"x-frame-options", b"DENY") in added
    assert [value for name, value in added if name == b"server"] == [b"mine"]


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send)


def test_hdr_14_no_field_is_there_twice(serve: Serve) -> None:
    names = [name for name, _ in serve(hello).exchange(GET).headers]
    assert sorted(names) == sorted(set(names))
