"""One connection on which what a scenario asks for is exchanged and checked, whatever protocol it is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.exchange import Connection
from harness.scenarios import Scenario, WebSocketScenario
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
    else:
        with Connection(port, timeout=timeout) as http:
            request = scenario.request(f"127.0.0.1:{port}")
            yield lambda: http.exchange(request, scenario.expected, depth=scenario.depth)
