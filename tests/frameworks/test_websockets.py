"""One WebSocket test, every framework: the same URLs, the same expected results. README.md lists the contract."""

import json
from http import HTTPStatus

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.frames import Close, CloseCode

from .catalogue import WEBSOCKETS, Feature, Framework
from .conftest import Connect, assert_stops_cleanly
from .server import Server

FRAMEWORKS = WEBSOCKETS
MEBIBYTE = 1024 * 1024
TEXTS = ["hello", "šķērs ✓ 🦀", "\0", "x" * 125, "x" * 126, "x" * 65_535, "x" * 65_536]


def disconnect_note(framework: Framework, name: str, code: int, reason: str = "") -> str:
    """What an application writes into the log at a disconnect: as much as its framework tells it."""
    note = f"{name}: disconnected"
    if framework.has(Feature.DISCONNECT_CODE):
        note += f" with {code}"
    return f"{note} {reason!r}" if framework.has(Feature.DISCONNECT_REASON) else note


# Messages


@pytest.mark.parametrize("compression", ["deflate", None])
def test_text(connect: Connect, compression: str | None) -> None:
    socket = connect("/ws/echo", compression=compression)
    for text in TEXTS:
        socket.send(text)
        assert socket.receive() == text


@pytest.mark.parametrize("compression", ["deflate", None])
def test_binary(connect: Connect, compression: str | None) -> None:
    socket = connect("/ws/echo", compression=compression)
    for size in (1, 125, 126, 65_535, 65_536, 300_000):
        message = bytes(range(256)) * (size // 256) + bytes(size % 256)
        socket.send(message)
        assert socket.receive() == message


def test_compression_is_agreed_on(connect: Connect) -> None:
    """Of the two tests above, one is compressed and one is not."""
    agreed = connect("/ws/echo").response, connect("/ws/echo", compression=None).response
    offered, not_offered = (response and response.headers.get("sec-websocket-extensions") for response in agreed)
    assert str(offered).startswith("permessage-deflate")
    assert not_offered is None


@pytest.mark.parametrize("compression", ["deflate", None])
def test_large_message(connect: Connect, compression: str | None) -> None:
    socket = connect("/ws/echo", compression=compression)
    text, data = "ķ✓" * (4 * MEBIBYTE // 5), bytes(range(256)) * (4 * MEBIBYTE // 256)
    socket.send(text)
    assert socket.receive() == text
    socket.send(data)
    assert socket.receive() == data


def test_message_in_fragments(connect: Connect) -> None:
    """The application sees one message, whatever it came in."""
    socket = connect("/ws/echo")
    socket.send(["frag", "", "men", "ted"])
    socket.send([b"\0\1", b"", b"\2"])
    assert [socket.receive(), socket.receive()] == ["fragmented", b"\0\1\2"]


def test_empty_text(connect: Connect) -> None:
    socket = connect("/ws/echo")
    for text in ("", "not empty", ""):
        socket.send(text)
        assert socket.receive() == text


@pytest.mark.needs(Feature.EMPTY_BINARY)
def test_empty_binary(connect: Connect) -> None:
    socket = connect("/ws/echo")
    for message in (b"", b"not empty", b""):
        socket.send(message)
        assert socket.receive() == message


def test_many_messages_in_order(connect: Connect) -> None:
    """Sent without waiting: text and binary, small and not so small, back in the same order."""
    socket = connect("/ws/echo")
    messages = [f"{number} ".encode() * (number % 70 + 1) for number in range(1000)]
    sent = [message if number % 3 else message.decode() for number, message in enumerate(messages)]
    for message in sent:
        socket.send(message)
    assert [socket.receive() for _ in sent] == sent


def test_many_sockets_side_by_side(connect: Connect) -> None:
    sockets = [connect("/ws/echo") for _ in range(50)]
    for turn in range(3):
        for number, socket in enumerate(sockets):
            socket.send(f"{number} {turn}")
        assert [socket.receive() for socket in sockets] == [f"{number} {turn}" for number in range(50)]


def test_pings_are_answered_by_the_server(connect: Connect) -> None:
    socket = connect("/ws/echo")
    assert socket.ping(b"are you there?").wait(5)
    socket.send("still in step")
    assert socket.receive() == "still in step"


# Handshakes


def test_the_handshake_as_the_application_sees_it(connect: Connect, server: Server) -> None:
    socket = connect(
        "/ws/describe/caf%C3%A9%20ol%C3%A9?word=a%26b&word=%C3%BC+v",
        additional_headers={"x-client": "tests", "cookie": "flavour=oat; count=3"},
        subprotocols=["soap", "wamp"],
    )
    assert json.loads(socket.receive()) == {
        "name": "café olé",
        "words": ["a&b", "ü v"],
        "cookies": {"flavour": "oat", "count": "3"},
        "header": "tests",
        "scheme": "ws",
        "host": httpx.URL(server.url).netloc.decode(),
        "client": "127.0.0.1",
        "subprotocols": ["soap", "wamp"],
    }
    assert socket.read_to_close() == Close(CloseCode.NORMAL_CLOSURE, socket.close_reason or "")


def test_subprotocol(connect: Connect) -> None:
    socket = connect("/ws/subprotocol/wamp", subprotocols=["soap", "wamp"])
    assert socket.subprotocol == "wamp"
    socket.send("in wamp")
    assert socket.receive() == "in wamp"


def test_no_subprotocol(connect: Connect) -> None:
    """The application need not take one of those that are offered."""
    socket = connect("/ws/echo", subprotocols=["soap", "wamp"])
    assert socket.subprotocol is None


def test_headers_of_the_handshake(connect: Connect) -> None:
    socket = connect("/ws/headers")
    socket.read_to_close()
    response = socket.response
    assert response is not None
    assert response.headers["x-greeting"] == "hello"
    assert response.headers.get_all("set-cookie") == ["session=abc", "theme=dark"]


def test_rejection(connect: Connect) -> None:
    with pytest.raises(InvalidStatus) as denied:
        connect("/ws/rejected")
    response = denied.value.response
    assert (response.status_code, response.body) == (HTTPStatus.FORBIDDEN, b"")


@pytest.mark.needs(Feature.DENIAL_RESPONSE)
def test_denial_response(connect: Connect) -> None:
    with pytest.raises(InvalidStatus) as denied:
        connect("/ws/denied")
    response = denied.value.response
    assert response.status_code == HTTPStatus.UNAUTHORIZED
    assert response.headers["x-denial"] == "no ticket"
    assert response.headers["www-authenticate"] == "Ticket"
    assert response.headers["content-type"] == "application/json"
    assert json.loads(response.body) == {"denied": "no ticket"}


def test_no_such_websocket(connect: Connect, framework: Framework) -> None:
    """403 of a closed handshake, 404 of a denial response, 500 of an exception, which then tells the path."""
    with pytest.raises(InvalidStatus) as denied:
        connect("/ws/deliberate%20failure")
    assert denied.value.response.status_code == framework.unknown_websocket


def test_error_before_the_handshake_is_answered(connect: Connect, framework: Framework) -> None:
    with pytest.raises(InvalidStatus) as denied:
        connect("/ws/error/early")
    assert denied.value.response.status_code == framework.failed_handshake
    socket = connect("/ws/echo")
    socket.send("another one")
    assert socket.receive() == "another one"


# Closes


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
def test_the_client_sees_how_the_application_closed(connect: Connect, code: int) -> None:
    closed = connect(f"/ws/close/{code}/see%20you%20%E2%9C%93").read_to_close()
    assert closed == Close(code, "see you ✓")


@pytest.mark.needs(Feature.RETURN)
def test_an_application_that_returns_has_closed(connect: Connect) -> None:
    socket = connect("/ws/returned")
    assert socket.receive() == "the last one"
    closed = socket.read_to_close()
    assert closed is not None
    assert closed.code == CloseCode.NORMAL_CLOSURE


def test_error_after_the_handshake(connect: Connect, framework: Framework) -> None:
    socket = connect("/ws/error")
    socket.send("fail now")
    closed = socket.read_to_close()
    assert closed is not None
    assert closed.code == framework.error_code


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "leaving"), (4321, "ķ ✓")])
def test_the_application_sees_how_the_client_closed(
    connect: Connect, server: Server, framework: Framework, name: str, code: int, reason: str
) -> None:
    socket = connect(f"/ws/closing/{name}")
    socket.send("hello")
    socket.close(code, reason)
    assert socket.protocol.close_rcvd is not None
    assert socket.protocol.close_rcvd.code == code
    server.wait_logged(disconnect_note(framework, name, code, reason))


def test_the_application_sees_that_the_client_gave_no_code(
    connect: Connect, server: Server, framework: Framework, name: str
) -> None:
    socket = connect(f"/ws/closing/{name}")
    socket.close_without_code()
    server.wait_logged(disconnect_note(framework, name, CloseCode.NO_STATUS_RCVD))


@pytest.mark.parametrize("way", ["vanish", "reset"])
def test_the_application_sees_that_the_client_vanished(
    connect: Connect, server: Server, framework: Framework, name: str, way: str
) -> None:
    socket = connect(f"/ws/closing/{name}")
    socket.send("hello")
    getattr(socket, way)()
    server.wait_logged(disconnect_note(framework, name, CloseCode.ABNORMAL_CLOSURE))


# Tasks


def test_broadcast(connect: Connect, name: str) -> None:
    speaker, listener, elsewhere = connect(f"/ws/room/{name}"), connect(f"/ws/room/{name}"), connect("/ws/echo")
    speaker.send("hello, all")
    assert [speaker.receive(), listener.receive()] == ["hello, all"] * 2
    listener.send("hello, you")
    assert [speaker.receive(), listener.receive()] == ["hello, you"] * 2
    speaker.close()
    listener.send("alone now")
    assert listener.receive() == "alone now"
    elsewhere.send("not concerned")
    assert elsewhere.receive() == "not concerned"


@pytest.mark.needs(Feature.SIDE_BY_SIDE)
def test_one_socket_waits_while_others_work(connect: Connect, client: httpx.Client, name: str) -> None:
    waiting, working = connect(f"/ws/held/{name}"), connect("/ws/echo")
    waiting.send("wait")
    assert client.get(f"/signals/{name}.started").status_code == 200
    for number in range(20):
        working.send(str(number))
        assert working.receive() == str(number)
    client.post(f"/signals/{name}.go")
    waiting.send("works too")
    assert waiting.receive() == "works too"


def test_messages_wait_for_an_application_that_is_busy(connect: Connect, client: httpx.Client, name: str) -> None:
    """More of them than a server may hold: the rest stays in the sockets, and none is lost or out of order."""
    socket = connect(f"/ws/held/{name}")
    socket.send("wait")
    assert client.get(f"/signals/{name}.started").status_code == 200
    sent = [f"{number}" for number in range(500)]
    for text in sent:
        socket.send(text)
    client.post(f"/signals/{name}.go")
    assert [socket.receive() for _ in sent] == sent


@pytest.mark.needs(Feature.SENDING_TASK)
@pytest.mark.parametrize("way", ["close", "vanish", "reset"])
def test_a_task_that_sends_ends_with_the_client(
    connect: Connect, client: httpx.Client, framework: Framework, name: str, way: str
) -> None:
    """The fixture sees to it that this leaves nothing in the log."""
    socket = connect(f"/ws/ticks/{name}")
    assert [socket.receive() for _ in range(5)] == ["0", "1", "2", "3", "4"]
    getattr(socket, way)()
    assert client.get(f"/signals/{name}").status_code == 200


@pytest.mark.parametrize("way", ["vanish", "reset"])
def test_an_application_that_only_sends_learns_that_the_client_is_gone(
    connect: Connect, client: httpx.Client, name: str, way: str
) -> None:
    socket = connect(f"/ws/flood/{name}", compression=None)
    assert len(socket.receive()) == 65_536
    getattr(socket, way)()
    assert client.get(f"/signals/{name}").status_code == 200


@pytest.mark.needs(Feature.LIFESPAN_STATE)
def test_websockets_get_a_shallow_copy_of_the_lifespan_state(connect: Connect) -> None:
    first, second = (json.loads(connect("/ws/state").receive_last()) for _ in range(2))
    assert second["visits"] == first["visits"] + 1
    assert first["fresh"] and second["fresh"]


def test_http_beside_websockets(connect: Connect, client: httpx.Client) -> None:
    socket = connect("/ws/echo")
    assert client.get("/json").status_code == 200
    socket.send("hello")
    assert socket.receive() == "hello"
    assert 400 <= client.get("/ws/echo").status_code < 500


def test_the_server_stops_cleanly(connect: Connect, server: Server, framework: Framework, name: str) -> None:
    """Last: a client that is still there is told that the service restarts, and so is its application."""
    socket, quiet = connect(f"/ws/closing/{name}"), connect("/ws/echo")
    quiet.send("here")
    assert quiet.receive() == "here"
    assert_stops_cleanly(server, framework)
    closes = [client.read_to_close() for client in (quiet, socket)]
    assert [close and close.code for close in closes] == [CloseCode.SERVICE_RESTART] * 2
    assert disconnect_note(framework, name, CloseCode.SERVICE_RESTART) in server.log
