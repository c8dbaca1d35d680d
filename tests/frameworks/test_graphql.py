"""GraphQL subscriptions: strawberry behind FastAPI and behind Starlette, by both of its WebSocket protocols."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from websockets.frames import Close, CloseCode

from . import websocket
from .catalogue import Framework
from .conftest import Connect, assert_stops_cleanly
from .server import Server
from .websocket import Client

FRAMEWORKS = ("graphql",)


class Subscriber:
    """Speaks graphql-transport-ws or graphql-ws, the older protocol, whose messages are called otherwise."""

    def __init__(self, socket: Client, parameters: dict[str, Any]) -> None:
        self.socket = socket
        self.old = socket.subprotocol == "graphql-ws"
        self._say("connection_init", payload=parameters)
        assert self.hear() == {"type": "connection_ack"}

    def subscribe(self, key: str, query: str, **variables: Any) -> None:
        payload = {"query": query, "variables": variables}
        self._say("start" if self.old else "subscribe", id=key, payload=payload)

    def stop(self, key: str) -> None:
        self._say("stop" if self.old else "complete", id=key)

    def hear(self) -> dict[str, Any]:
        """The next message; what the older protocol calls data is called next, as in the newer one."""
        message: dict[str, Any] = json.loads(self.socket.receive())
        if message["type"] == "data":
            message["type"] = "next"
        return message

    def next_data(self, key: str) -> Any:
        message = self.hear()
        assert (message["type"], message["id"]) == ("next", key), message
        assert not message["payload"].get("errors")
        return message["payload"]["data"]

    def _say(self, kind: str, **rest: Any) -> None:
        self.socket.send(json.dumps({"type": kind, **rest}))


Subscribe = Callable[..., Subscriber]


@pytest.fixture(params=["graphql-transport-ws", "graphql-ws"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["/fastapi", "/starlette/"])
def path(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def subscriber(connect: Connect, path: str, protocol: str) -> Subscribe:
    """Opens a subscriber's connection by the protocol in question."""

    def subscriber(**parameters: Any) -> Subscriber:
        socket = connect(path, subprotocols=[protocol])
        assert socket.subprotocol == protocol
        return Subscriber(socket, parameters)

    return subscriber


def test_query_over_http(client: httpx.Client, path: str) -> None:
    response = client.post(path, json={"query": '{ hello(name: "Zoë") }'})
    assert response.json()["data"] == {"hello": "hello Zoë"}


def test_subscription(subscriber: Subscribe) -> None:
    client = subscriber()
    client.subscribe("a", "subscription($to: Int!) { count(to: $to) { number text } }", to=100)
    expected = [{"count": {"number": number, "text": "ķ" * number}} for number in range(100)]
    assert [client.next_data("a") for _ in expected] == expected
    assert client.hear() == {"id": "a", "type": "complete"}


def test_subscriptions_share_a_connection(subscriber: Subscribe, client: httpx.Client, name: str) -> None:
    both = subscriber()
    both.subscribe("waiting", "subscription($name: String!) { held(name: $name) }", name=name)
    assert client.get(f"/signals/{name}.started").status_code == 200
    both.subscribe("quick", "subscription { count(to: 1) { number } }")
    assert both.next_data("quick") == {"count": {"number": 0}}
    assert both.hear() == {"id": "quick", "type": "complete"}
    client.post(f"/signals/{name}")
    assert both.next_data("waiting") == {"held": "released"}


def test_mutation_seen_by_subscribers(subscriber: Subscribe, client: httpx.Client, path: str, name: str) -> None:
    subscribers = [subscriber() for _ in range(3)]
    for each in subscribers:
        each.subscribe("a", "subscription($room: String!) { messages(room: $room) }", room=name)
        assert each.next_data("a") == {"messages": "subscribed"}
    query = 'mutation($room: String!) { tell(room: $room, text: "hello, all") }'
    client.post(path, json={"query": query, "variables": {"room": name}})
    assert [each.next_data("a") for each in subscribers] == [{"messages": "hello, all"}] * 3


@pytest.mark.parametrize("way", ["stop", "close", "vanish"])
def test_subscription_that_the_client_leaves(subscriber: Subscribe, client: httpx.Client, name: str, way: str) -> None:
    leaving = subscriber()
    leaving.subscribe("a", "subscription($name: String!) { ticks(name: $name) }", name=name)
    assert [leaving.next_data("a") for _ in range(3)] == [{"ticks": 0}, {"ticks": 1}, {"ticks": 2}]
    leaving.stop("a") if way == "stop" else getattr(leaving.socket, way)()
    assert client.get(f"/signals/{name}").status_code == 200


def test_parameters_of_the_connection(subscriber: Subscribe) -> None:
    client = subscriber(name="Zoë")
    client.subscribe("a", "subscription { who }")
    assert client.next_data("a") == {"who": "Zoë"}


def test_error_in_a_subscription(subscriber: Subscribe) -> None:
    client = subscriber()
    client.subscribe("a", "subscription { failing }")
    assert client.next_data("a") == {"failing": 1}
    assert client.hear()["payload"]["errors"][0]["message"] == "deliberate failure"


def test_no_protocol_in_common(connect: Connect, path: str) -> None:
    socket = connect(path, subprotocols=["soap"])
    assert socket.subprotocol is None
    assert socket.read_to_close() == Close(4406, "Subprotocol not acceptable")


def test_message_before_the_connection_is_begun(connect: Connect, path: str) -> None:
    socket = connect(path, subprotocols=["graphql-transport-ws"])
    socket.send(json.dumps({"type": "subscribe", "id": "a", "payload": {"query": "subscription { who }"}}))
    assert socket.read_to_close() == Close(4401, "Unauthorized")


def test_a_server_stops_while_a_subscription_is_on(own_server: Server, framework: Framework, name: str) -> None:
    with websocket.connected(f"{own_server.url}/fastapi", subprotocols=["graphql-transport-ws"]) as socket:
        client = Subscriber(socket, {})
        client.subscribe("a", "subscription($name: String!) { ticks(name: $name) }", name=name)
        assert client.next_data("a") == {"ticks": 0}
        assert_stops_cleanly(own_server, framework)
        closed = client.socket.read_to_close()
    assert closed is not None
    assert closed.code == CloseCode.SERVICE_RESTART
