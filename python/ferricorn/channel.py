"""What the supervisor and a worker process say to each other: short messages over a pair of sockets.

A message is a line of JSON: a list of a word and what belongs to it. The words are `Word`. Knows no processes.
"""

from __future__ import annotations

import contextlib
import enum
import json
import pickle
import socket
import struct
from typing import Any, Final

_LENGTH: Final = struct.Struct("!Q")
_READ: Final = 65536


class Word(enum.StrEnum):
    """What a message is about."""

    READY = "ready"
    """The worker serves."""
    RETIRE = "retire"
    """The worker should be replaced; with the reason, a text. It goes on serving until it is told to stop."""
    FORKED = "forked"
    """A template has made a worker; with its process id."""
    EXITED = "exited"
    """A template's worker has ended; with its process id and status."""
    CLOSED = "closed"
    """The worker's listeners are closed: who connects from now on comes to others."""
    LEAVES = "leaves"
    """The worker stops by itself, for somebody else told it to."""
    STOP = "stop"
    """The worker has to stop; with "patient" (whether others go on serving) and "timeout" (seconds for requests)."""
    HURRY = "hurry"
    """The worker has to stop without waiting for requests."""
    CUT = "cut"
    """The worker has to stop without waiting for anything."""
    REOPEN = "reopen"
    """The worker has to open its log files anew."""
    UNHEALTHY = "unhealthy"
    """The server is going to stop: the worker's health path has to say so."""


class Channel:
    """One end, for one thread. Sending never blocks: who has gone, or hears nothing any more, is not waited for."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._rest = b""
        self.is_over = False
        """Whether the other end has been closed."""

    def fileno(self) -> int:
        return self._end.fileno()

    def close(self) -> None:
        self._end.close()

    def send(self, word: Word, *more: object) -> None:
        """Sends a message, if somebody is there to take it."""
        line = json.dumps([word, *more]).encode() + b"\n"
        with contextlib.suppress(OSError):
            self._end.send(line, socket.MSG_DONTWAIT)

    def receive(self) -> list[list[Any]] | None:
        """The messages that have arrived whole, without waiting for more. None when the other end has been closed."""
        try:
            read = self._end.recv(_READ, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except OSError:
            read = b""
        if not read:
            self.is_over = True
            return None
        *lines, self._rest = (self._rest + read).split(b"\n")
        return [json.loads(line) for line in lines]

    def send_object(self, value: object) -> None:
        """Sends something that can be pickled, before any message, and waits until it has been taken."""
        data = pickle.dumps(value)
        with contextlib.suppress(OSError):
            self._end.sendall(_LENGTH.pack(len(data)) + data)

    def receive_object(self) -> Any:
        """What the other end has sent with `send_object`. Raises EOFError where it is gone."""
        (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
        return pickle.loads(self._exactly(length))

    def send_descriptor(self, socket_: socket.socket) -> None:
        """Gives the other end a socket, which is closed here."""
        with contextlib.suppress(OSError), socket_:
            socket.send_fds(self._end, [b"f"], [socket_.fileno()])

    def receive_descriptor(self) -> socket.socket | None:
        """A socket that was sent with `send_descriptor`; None where the other end has been closed."""
        data, descriptors, _, _ = socket.recv_fds(self._end, 1, 1)
        return socket.socket(fileno=descriptors[0]) if data else None

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            part = self._end.recv(count - len(data))
            if not part:
                raise EOFError("the supervisor has gone")
            data += part
        return bytes(data)


def pair() -> tuple[Channel, socket.socket]:
    """The supervisor's end, and the one to be inherited by a worker."""
    ours, theirs = socket.socketpair()
    return Channel(ours), theirs
