"""One connection on which what a scenario asks for is exchanged and checked, whatever protocol it is."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from harness.certificate import certificate
from harness.exchange import Connection, tls_context
from harness.http2 import ALPN, Http2Connection
from harness.scenarios import HttpScenario, Scenario, WebSocketScenario
from harness.websocket import WebSocketConnection


@contextmanager
def dialogue(scenario: Scenario, port: int, *, timeout: float = 10.0) -> Iterator[Callable[[], None]]:
    """Connects; what it gives makes one exchange: a batch of `depth` requests, or one message and its echo.

    Both raise WrongResponseError and OSError, the connecting NotNegotiatedError.
    """
    if isinstance(scenario, WebSocketScenario):
        with WebSocketConnection(port, timeout=timeout) as websocket:
            websocket.shake_hands(deflate=scenario.deflate)
            yield lambda: websocket.echo(scenario.message, text=scenario.text)
    elif scenario.http2:
        with Http2Connection(port, _tls(scenario, ALPN), timeout=timeout) as http2:
            yield lambda: http2.exchange(scenario)
    else:
        with Connection(port, _tls(scenario, "http/1.1"), timeout=timeout) as http:
            request = replace(scenario, keep_alive=True).request(f"127.0.0.1:{port}")
            yield lambda: http.exchange(request, scenario.expected, depth=scenario.depth)


def _tls(scenario: HttpScenario, alpn: str) -> ssl.SSLContext | None:
    return tls_context(certificate().certificate, alpn) if scenario.tls else None
