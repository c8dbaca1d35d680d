"""What is asked of every server: application, request or message, load. Knows no server and no client."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import product
from typing import Any

KIB = 1024
HELLO = b"Hello, World!"
UPLOADED = b"1048576 bytes"
ITEM = b'{"id":42,"name":"falcon","price":12.5,"tags":["fast","small"]}'


@dataclass(frozen=True)
class HttpScenario:
    """One row of the results."""

    name: str
    title: str
    app: str
    """As servers take it, "module:attribute"."""
    expected: bytes
    """The whole body of every response; the status is always 200."""
    connections: int = 64
    depth: int = 1
    """Requests sent together on a connection before the client waits for their responses."""
    path: str = "/"
    body: bytes = b""
    """Makes the request a POST unless it is empty."""
    client: str = "wrk"
    """Or "load", where wrk is the bottleneck (64 KiB and more), loses latencies (pipelining) or keeps its connections;
    "h2load" for HTTP/2."""
    fixed: bool = False
    """Whether the same response fits every request, so that the bare epoll responder can play along."""
    tls: bool = False
    http2: bool = False
    """By ALPN where there is TLS, otherwise by prior knowledge. `depth` is the number of streams open at once."""
    keep_alive: bool = True
    """Otherwise every request has a connection of its own, and with TLS a full handshake: no session is resumed."""

    @property
    def method(self) -> str:
        return "POST" if self.body else "GET"

    def request(self, host: str) -> bytes:
        """One HTTP/1.1 request as wrk writes it: no header field but Host, and what body and connection need."""
        length = f"Content-Length: {len(self.body)}\r\n" if self.body else ""
        close = "" if self.keep_alive else "Connection: close\r\n"
        return f"{self.method} {self.path} HTTP/1.1\r\n{length}Host: {host}\r\n{close}\r\n".encode() + self.body


def _hello(name: str, title: str, *, connections: int = 64, depth: int = 1, client: str = "wrk") -> HttpScenario:
    return HttpScenario(
        name, title, "apps.raw:hello", HELLO, connections=connections, depth=depth, client=client, fixed=True
    )


_HTTP = (
    _hello("hello1", "raw hello, 1 connection", connections=1),
    _hello("hello64", "raw hello, 64 connections"),
    _hello("hello1000", "raw hello, 1,000 connections", connections=1000),
    HttpScenario("fastapi", "FastAPI JSON, 64 connections", "apps.framework:app", ITEM, path="/items/42"),
    HttpScenario("echo1k", "POST echo of 1 KiB, 64 connections", "apps.raw:echo", b"x" * KIB, body=b"x" * KIB),
    HttpScenario(
        "echo1m",
        "POST echo of 1 MiB, 16 connections",
        "apps.raw:echo",
        b"x" * KIB**2,
        connections=16,
        body=b"x" * KIB**2,
        client="load",
    ),
    HttpScenario(
        "large", "64 KiB response, 64 connections", "apps.raw:large", b"x" * 64 * KIB, client="load", fixed=True
    ),
    HttpScenario("stream", "ten streamed chunks of 1 KiB, 64 connections", "apps.raw:stream", b"x" * 10 * KIB),
    HttpScenario("sleep256", "asyncio.sleep(0.01), 256 connections", "apps.raw:sleep", HELLO, connections=256),
    _hello("pipeline16", "raw hello, 64 connections, 16 requests pipelined", depth=16, client="load"),
)

_MEBIBYTE = b"x" * KIB**2


def _http2(name: str, title: str, app: str = "apps.raw:hello", **fields: Any) -> tuple[HttpScenario, HttpScenario]:
    """Over cleartext and over TLS, 16 connections each."""
    common: dict[str, Any] = {
        "app": app,
        "expected": HELLO,
        "connections": 16,
        "client": "h2load",
        "http2": True,
        **fields,
    }
    return (
        HttpScenario(f"h2c-{name}", f"HTTP/2 cleartext, {title}", **common),
        HttpScenario(f"h2-{name}", f"HTTP/2 over TLS, {title}", **common, tls=True),
    )


_HTTP2 = (
    *_http2("hello1", "raw hello, 16 connections of 1 stream"),
    *_http2("hello32", "raw hello, 16 connections of 32 streams", depth=32),
    *_http2(
        "upload", "POST of 1 MiB, 16 connections of 1 stream", "apps.raw:upload", expected=UPLOADED, body=_MEBIBYTE
    ),
    *_http2("download", "1 MiB response, 16 connections of 1 stream", "apps.raw:download", expected=_MEBIBYTE),
    HttpScenario("https-hello", "HTTPS/1.1, raw hello, 64 connections", "apps.raw:hello", HELLO, tls=True),
    HttpScenario(
        "https-handshake",
        "HTTPS/1.1, raw hello on a new connection, 16 at a time: full TLS 1.3 handshakes",
        "apps.raw:hello",
        HELLO,
        connections=16,
        client="load",
        tls=True,
        keep_alive=False,
    ),
    HttpScenario(
        "https-download",
        "HTTPS/1.1, 1 MiB response, 16 connections",
        "apps.raw:download",
        _MEBIBYTE,
        connections=16,
        client="load",
        tls=True,
    ),
    HttpScenario(
        "http-download",
        "HTTP/1.1, 1 MiB response in cleartext, 16 connections",
        "apps.raw:download",
        _MEBIBYTE,
        connections=16,
        client="load",
        fixed=True,
    ),
)


@dataclass(frozen=True)
class WebSocketScenario:
    """One row of the results: messages on connections that stay open."""

    name: str
    title: str
    app: str
    connections: int
    size: int
    """Of one message, in bytes."""
    text: bool = True
    deflate: bool = False
    """Whether the client offers permessage-deflate, and compares only servers that accept it."""
    broadcast: bool = False
    """Whether the first connection alone sends, and every message goes to all."""

    client = "load"
    depth = 1
    fixed = False
    tls = False
    http2 = False

    @property
    def message(self) -> bytes:
        """One that a server is checked with before it is measured."""
        return b"".join(b'{"id":%06d,"name":"falcon"},' % number for number in range(self.size // 20 + 1))[: self.size]

    @property
    def charted(self) -> bool:
        """Whether it gets a panel in the charts: not every combination does."""
        return self.text and (not self.deflate or self.connections == 64)


Scenario = HttpScenario | WebSocketScenario

_SIZES = {"32": (32, "32 B"), "1k": (KIB, "1 KiB"), "64k": (64 * KIB, "64 KiB")}


def _websocket_echo(connections: int, size: str, kind: str, deflate: bool) -> WebSocketScenario:
    number, words = _SIZES[size]
    suffix = ("" if kind == "text" else f"-{kind}") + ("-deflate" if deflate else "")
    compressed = ", permessage-deflate" if deflate else ""
    return WebSocketScenario(
        name=f"ws{connections}-{size}{suffix}",
        title=f"WebSocket echo, {kind} of {words}{compressed}, {_connections(connections)}",
        app="apps.websocket:echo",
        connections=connections,
        size=number,
        text=kind == "text",
        deflate=deflate,
    )


def _connections(number: int) -> str:
    return "1 connection" if number == 1 else f"{number:,} connections"


_WEBSOCKET = (
    *(_websocket_echo(*cell) for cell in product((1, 64, 1000), _SIZES, ("text", "binary"), (False, True))),
    WebSocketScenario(
        "broadcast1000",
        "WebSocket broadcast, text of 32 B from 1 sender to 1,000 receivers and itself",
        "apps.websocket:broadcast",
        connections=1001,
        size=32,
        broadcast=True,
    ),
)

GROUPS: Mapping[str, tuple[Scenario, ...]] = {"http": _HTTP, "h2": _HTTP2, "ws": _WEBSOCKET}

SCENARIOS: Mapping[str, Scenario] = {scenario.name: scenario for group in GROUPS.values() for scenario in group}


def select(names: Iterable[str]) -> list[Scenario]:
    """Scenarios by name, by group ("http", "h2", "ws"), or by a pattern of the shell ("ws64-*", "*-deflate").

    Each once, in the order in which they are named. Raises ValueError for what names none.
    """
    found: dict[str, Scenario] = {}
    for name in names:
        named = [scenario for scenario in SCENARIOS.values() if fnmatchcase(scenario.name, name)]
        if not (chosen := GROUPS.get(name, named)):
            known = ", ".join(scenario.name for scenario in (*_HTTP, *_HTTP2))
            raise ValueError(f"unknown scenario {name!r}; known: {', '.join(GROUPS)}, {known}, ws*")
        found.update((scenario.name, scenario) for scenario in chosen)
    return list(found.values())
