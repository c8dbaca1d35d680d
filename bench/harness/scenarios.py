"""What is asked of every server: the application, the request, the load. Knows no server and no client."""

from dataclasses import dataclass

KIB = 1024
HELLO = b"Hello, World!"
ITEM = b'{"id":42,"name":"falcon","price":12.5,"tags":["fast","small"]}'


@dataclass(frozen=True)
class Scenario:
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
    """Or "load", where wrk is the bottleneck (64 KiB and more) or loses latencies (pipelining)."""
    fixed: bool = False
    """Whether the same response fits every request, so that the bare epoll responder can play along."""

    @property
    def method(self) -> str:
        return "POST" if self.body else "GET"

    def request(self, host: str) -> bytes:
        """One request as wrk writes it: no header field but Host, and the length where there is a body."""
        length = f"Content-Length: {len(self.body)}\r\n" if self.body else ""
        return f"{self.method} {self.path} HTTP/1.1\r\n{length}Host: {host}\r\n\r\n".encode() + self.body


def _hello(name: str, title: str, *, connections: int = 64, depth: int = 1, client: str = "wrk") -> Scenario:
    return Scenario(
        name, title, "apps.raw:hello", HELLO, connections=connections, depth=depth, client=client, fixed=True
    )


_ALL = (
    _hello("hello1", "raw hello, 1 connection", connections=1),
    _hello("hello64", "raw hello, 64 connections"),
    _hello("hello1000", "raw hello, 1,000 connections", connections=1000),
    Scenario("fastapi", "FastAPI JSON, 64 connections", "apps.framework:app", ITEM, path="/items/42"),
    Scenario("echo1k", "POST echo of 1 KiB, 64 connections", "apps.raw:echo", b"x" * KIB, body=b"x" * KIB),
    Scenario(
        "echo1m",
        "POST echo of 1 MiB, 16 connections",
        "apps.raw:echo",
        b"x" * KIB**2,
        connections=16,
        body=b"x" * KIB**2,
        client="load",
    ),
    Scenario("large", "64 KiB response, 64 connections", "apps.raw:large", b"x" * 64 * KIB, client="load", fixed=True),
    Scenario("stream", "ten streamed chunks of 1 KiB, 64 connections", "apps.raw:stream", b"x" * 10 * KIB),
    Scenario("sleep256", "asyncio.sleep(0.01), 256 connections", "apps.raw:sleep", HELLO, connections=256),
    _hello("pipeline16", "raw hello, 64 connections, 16 requests pipelined", depth=16, client="load"),
)

SCENARIOS = {scenario.name: scenario for scenario in _ALL}
