"""Listening sockets as programs that were written for uvicorn hand them in and ask for them. Binds none of its own."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any, TypeAlias

from ferricorn._ferricorn import Listener
from ferricorn.errors import StartupError

SocketName: TypeAlias = Any
"""What `socket.getsockname` returns, as loosely typed as there: a tuple, or the path of a unix socket."""


def adopted(sockets: Sequence[socket.socket], backlog: int) -> list[Listener]:
    """A listener beside each of the program's bound sockets, which listen from here on. Raises StartupError."""
    listeners: list[Listener] = []
    for given in sockets:
        try:
            given.listen(backlog)
            listeners.append(Listener.bind(f"fd://{given.fileno()}"))
        except OSError as error:
            for listener in listeners:
                listener.close()
            raise StartupError(f"Cannot listen on {given!r}: {(error.strerror or str(error)).lower()}.") from None
    return listeners


class ListeningSocket:
    """One place where the server listens; `address` is in the syntax of the option `bind`."""

    def __init__(self, address: str) -> None:
        self.address = address

    def getsockname(self) -> SocketName:
        """("127.0.0.1", 8000), ("::1", 8000, 0, 0), or the path of a unix socket."""
        if self.address.startswith("unix:"):
            return self.address.removeprefix("unix:")
        host, _, port = self.address.rpartition(":")
        return (host.strip("[]"), int(port), 0, 0) if host.startswith("[") else (host, int(port))


class ListeningServer:
    """What uvicorn keeps in `Server.servers`, as far as programs look for a port there."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self.sockets = tuple(map(ListeningSocket, addresses))
