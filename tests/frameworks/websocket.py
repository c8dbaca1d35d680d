"""The WebSocket client of the tests: `websockets`, with a limit to every wait, and with the rude ways to leave."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.frames import Close
from websockets.sync.client import ClientConnection, connect

CLIENT_SECONDS = 15.0
NO_LINGER = struct.pack("ii", 1, 0)
"""SO_LINGER: what is unsent is dropped, and the peer is told by a reset."""


class Client(ClientConnection):
    """A WebSocket as the tests want it."""

    def receive(self) -> str | bytes:
        """The next message. Raises TimeoutError after `CLIENT_SECONDS`, ConnectionClosed when there will be none."""
        return self.recv(CLIENT_SECONDS)

    def receive_last(self) -> str | bytes:
        """The next message, after which the application closes: a client that closed as well could come before it."""
        message = self.receive()
        self.read_to_close()
        return message

    def read_to_close(self) -> Close | None:
        """Waits for the end, dropping what comes before it; returns the server's close frame if it sent one."""
        with suppress(ConnectionClosed):
            while True:
                self.receive()
        return self.protocol.close_rcvd

    def close_without_code(self) -> None:
        """Closes as `close` does, by an empty close frame."""
        with suppress(ConnectionClosed), self.send_context():
            self.protocol.send_close()

    def vanish(self) -> None:
        """Ends the TCP connection in an orderly way, without a close frame."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Ends the TCP connection by a reset, as the end of a process with unread data does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        self.close_socket()


@contextmanager
def connected(url: str, **options: Any) -> Iterator[Client]:
    """A WebSocket to `url`, which has the scheme http or ws, closed at the end. Raises InvalidStatus if it is denied.

    `options` are those of `websockets`.
    """
    options = {"max_size": None, "open_timeout": CLIENT_SECONDS, "close_timeout": CLIENT_SECONDS} | options
    url = url.replace("http:", "ws:", 1)
    with connect(url, create_connection=Client, proxy=None, ping_interval=None, **options) as connection:
        assert isinstance(connection, Client)
        yield connection
