"""The tests' language of requests, HTTP/1.1, over HTTP/2: a client that translates as a gateway does.

So one test runs over both. What is sent may come in any pieces, and a request need not be whole before its head goes.
What HTTP/2 has no words for (a broken frame, HTTP/1.0, a connection field) is a failure: such a test is about HTTP/1.1.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, Self

from tests.support.client import Address, Client, Head, Response, Truncated
from tests.support.deadline import DEADLINE
from tests.support.http2 import Exchange, Fields, Http2


class UntranslatableError(Exception):
    """HTTP/2 cannot say this."""


class Opened(NamedTuple):
    """The head of a request. `end`: there is no content."""

    method: bytes
    target: bytes
    fields: Fields
    end: bool


class Content(NamedTuple):
    """A part of its content. `end`: the last one."""

    data: bytes
    end: bool


class Trailers(NamedTuple):
    """What ends a chunked content that has trailers."""

    fields: Fields


Word = Opened | Content | Trailers

_DROPPED = {b"host", b"connection", b"transfer-encoding", b"upgrade", b"sec-websocket-key"}


class Translator:
    """Requests in HTTP/1.1, in any pieces, into what HTTP/2 makes of them."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._state: Callable[[], Word | None] = self._head
        self._left = 0
        self._quiet = False

    def feed(self, data: bytes) -> list[Word]:
        """The words that `data` completes. Raises UntranslatableError."""
        self._buffer += data
        words: list[Word] = []
        while (word := self._state()) is not None:
            words.append(word)
        return words

    def passed(self, count: int) -> int:
        """So many bytes were sent past it: of a content whose length was announced, or of a tunnel."""
        if self._state == self._counted:
            self._left -= count
        else:
            assert self._state == self._tunnel
        return count

    def _head(self) -> Word | None:
        block = self._until(b"\r\n\r\n")
        if block is None:
            return None
        line, *lines = block.split(b"\r\n")
        method, target, version = line.split(b" ")
        if version != b"HTTP/1.1":
            raise UntranslatableError(f"{version!r}")
        fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
        self._frame(dict(fields))
        end = self._state == self._head
        return Opened(method, target, fields, end)

    def _frame(self, fields: dict[bytes, bytes]) -> None:
        """Decides how the content is read."""
        if b"connection" in fields and b"upgrade" not in fields:
            raise UntranslatableError("a connection field")
        if coding := fields.get(b"transfer-encoding", b"").lower():
            if coding != b"chunked":
                raise UntranslatableError(f"{coding!r}")
            self._state = self._chunk_size
        elif b"upgrade" in fields:
            self._state = self._tunnel
        elif length := int(fields.get(b"content-length", b"0")):
            self._state, self._left = self._counted, length

    def _counted(self) -> Word | None:
        data = self._take()
        if not data:
            return None
        if not self._left:
            self._state = self._head
        return Content(data, not self._left)

    def _tunnel(self) -> Word | None:
        self._left = len(self._buffer)
        data = self._take()
        return Content(data, False) if data else None

    def _chunk_size(self) -> Word | None:
        line = self._until(b"\r\n")
        if line is None:
            return None
        self._left = int(line.partition(b";")[0], 16)
        self._state = self._chunk if self._left else self._trailers
        return self._state()

    def _chunk(self) -> Word | None:
        data = self._take()
        if data:
            return Content(data, False)
        if self._left or len(self._buffer) < 2:
            return None
        del self._buffer[:2]
        self._state = self._chunk_size
        return self._state()

    def _trailers(self) -> Word | None:
        if self._buffer.startswith(b"\r\n"):
            del self._buffer[:2]
            self._state = self._head
            return Content(b"", True)
        block = self._until(b"\r\n\r\n")
        if block is None:
            return None
        self._state = self._head
        pairs = (line.partition(b":") for line in block.split(b"\r\n"))
        return Trailers([(name.lower(), value.strip()) for name, _, value in pairs])

    def _take(self) -> bytes:
        data = bytes(self._buffer[: self._left])
        del self._buffer[: len(data)]
        self._left -= len(data)
        return data

    def _until(self, marker: bytes) -> bytes | None:
        position = self._buffer.find(marker)
        if position < 0:
            return None
        block = bytes(self._buffer[:position])
        del self._buffer[: position + len(marker)]
        return block


class Http2Client(Client):
    """A `Client` whose requests go over HTTP/2. Responses are read in the order of their requests.

    `ends` is about the exchange that is read where one is unfinished, and about the connection otherwise.
    """

    def __init__(self, connection: Http2) -> None:
        super().__init__(connection.socket)
        self.connection = connection
        self._translator = Translator()
        self._sending: Exchange | None = None
        self._unread: deque[Exchange] = deque()
        self._reading: Exchange | None = None
        self._heads = 0
        """How many heads of the exchange that is read have been, and how many parts."""
        self._parts = 0
        self._part = b""
        """What is left of the last one."""
        self.tunnels: list[Exchange] = []
        """Those that a handshake has opened."""

    @classmethod
    def connect(
        cls,
        address: Address,
        *,
        receive_buffer: int | None = None,
        timeout: float = DEADLINE,
        tls: ssl.SSLContext | None = None,
    ) -> Self:
        return cls(Http2.connect(address, tls=tls, receive_buffer=receive_buffer, timeout=timeout))

    # --- sending

    def send(self, data: bytes) -> None:
        self._sent_all(data)

    def send_each_byte(self, data: bytes) -> None:
        """In as many DATA frames as there are bytes of content."""
        for position in range(len(data)):
            self._sent_all(data[position : position + 1])

    def send_until_end(self, data: bytes) -> bool:
        return self._sent_all(data)

    def send_until_full(self, data: bytes, *, patience: float) -> int:
        """Sends until the windows have had no room for `patience` seconds, or the server takes nothing more."""
        exchange = self._sending
        assert exchange, "this is about a request's content"
        self.socket.settimeout(patience)
        sent = 0
        try:
            while room := self._room(exchange):
                at = sent % len(data)
                sent += self._translator.passed(self.connection.data(exchange, data[at : at + room]))
        except TimeoutError:
            pass
        finally:
            self.socket.settimeout(DEADLINE)
        return sent

    def _room(self, exchange: Exchange) -> int:
        """What the windows allow, waited for; 0 when the exchange is over."""
        while not (room := self.connection.room(exchange)):
            if exchange.over or not self.connection.pump():
                return 0
        return room

    def _sent_all(self, data: bytes) -> bool:
        went = [self._say(word) for word in self._translator.feed(data)]
        return all(went)

    def _say(self, word: Word) -> bool:
        """Whether all of it went."""
        if isinstance(word, Opened):
            self._sending = self._open(word)
            self._unread.append(self._sending)
            return True
        exchange = self._sending
        assert exchange
        if isinstance(word, Trailers):
            self.connection.trailers(exchange, word.fields)
            return True
        return self.connection.data(exchange, word.data, end=word.end) == len(word.data) and not exchange.over

    def _open(self, head: Opened) -> Exchange:
        while not self.connection.may_open and self.connection.pump():
            pass
        given = dict(head.fields)
        pseudo = self.connection.pseudo(head.method, head.target, given.get(b"host", b""))
        if head.method == b"CONNECT":
            pseudo = [(b":method", head.method), (b":authority", head.target)]
        if given.get(b"upgrade", b"").lower() == b"websocket":
            # RFC 8441 section 5: neither Upgrade nor the key, which proves nothing here.
            pseudo[0:1] = [(b":method", b"CONNECT"), (b":protocol", b"websocket")]
        fields = [pair for pair in head.fields if pair[0] not in _DROPPED]
        exchange = self.connection.open([*pseudo, *fields], end=head.end)
        if pseudo[0][1] == b"CONNECT":
            self.tunnels.append(exchange)
        return exchange

    # --- reading

    def response(self, *, to: bytes = b"GET") -> Response:
        exchange = self._headless()
        self._until(lambda: exchange.over)
        read, self._heads, self._parts = self._heads, len(exchange.heads), len(exchange.parts)
        response = exchange.response()
        return replace(response, interim=response.interim[read:])

    def head(self) -> Head:
        exchange = self._headless()
        if not self._until(lambda: len(exchange.heads) > self._heads):
            raise Truncated(f"stream {exchange.stream} is over without a head")
        self._heads += 1
        return exchange.heads[self._heads - 1]

    def chunk(self) -> bytes:
        """The content of the next DATA frame that has some; nothing at the end. Raises Truncated."""
        exchange = self._current()
        if not self._part and not self._until(lambda: len(exchange.parts) > self._parts):
            if not exchange.ended:
                raise Truncated(f"stream {exchange.stream} was reset with {exchange.reset}")
            return b""
        part, self._part = self._part or self._take_part(exchange), b""
        return part

    def skip_chunks(self) -> int:
        received = 0
        while data := self.chunk():
            received += len(data)
        return received

    def read_exactly(self, count: int) -> bytes:
        """Of the content. Raises Truncated."""
        data = bytearray()
        while len(data) < count:
            part = self.chunk()
            if not part:
                raise Truncated(bytes(data))
            data += part
        self._part = bytes(data[count:])
        return bytes(data[:count])

    def read_until(self, marker: bytes) -> bytes:
        raise UntranslatableError("the bytes of a head")

    def read_to_end(self) -> bytes:
        """The content up to its end, be it a reset or an orderly one, which looks as that of a chunked content does.

        A head that was not read yet is told in front of it."""
        exchange = self._unfinished()
        if exchange is None:
            return b"" if self._ended_alone() else b"something else"
        self._until(lambda: exchange.over)
        heads = b"".join(b"HTTP/2 %d " % head.status for head in exchange.heads[self._heads :])
        data = heads + self._part + b"".join(exchange.parts[self._parts :])
        self._heads, self._parts, self._part = len(exchange.heads), len(exchange.parts), b""
        return data + (b"0\r\n\r\n" if exchange.ended else b"")

    def read_for(self, seconds: float) -> bytes:
        raise UntranslatableError("bytes as they come")

    def ends(self) -> bool:
        exchange = self._unfinished()
        if exchange is None:
            return self._ended_alone()
        self._until(lambda: len(exchange.parts) > self._parts or exchange.over)
        return not self._part and len(exchange.parts) == self._parts and not exchange.ended

    def exchange_ends(self) -> bool:
        exchange = self._current()
        self._until(lambda: len(exchange.parts) > self._parts or exchange.over)
        return exchange.over and not self._is_behind()

    def ends_in_order(self) -> bool:
        raise UntranslatableError("the end of a connection")

    def is_silent(self, seconds: float) -> bool:
        """Whether nothing of a response comes, and neither a stream nor the connection ends, for `seconds`."""
        if self._is_behind() or any(exchange.heads for exchange in self._unread):
            return False
        before = self.connection.news
        self.socket.settimeout(seconds)
        try:
            while self.connection.pump():
                if self.connection.news != before:
                    return False
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(DEADLINE)
        return False

    def _is_behind(self) -> bool:
        """Whether more has come of the exchange that is read than the test has read."""
        exchange = self._reading
        if exchange is None:
            return False
        return bool(self._part) or len(exchange.heads) > self._heads or len(exchange.parts) > self._parts

    def _headless(self) -> Exchange:
        """The exchange whose final head comes next."""
        exchange = self._reading
        if exchange is None or (self._heads and exchange.heads[self._heads - 1].status >= 200):
            return self._next()
        return exchange

    def _next(self) -> Exchange:
        assert self._unread, "no request was sent whose response could come"
        self._reading = self._unread.popleft()
        self._heads, self._parts, self._part = 0, 0, b""
        return self._reading

    def _current(self) -> Exchange:
        assert self._reading, "the head was not read"
        return self._reading

    def _unfinished(self) -> Exchange | None:
        """The exchange that is read, unless all of it has been to its orderly end; otherwise the next one."""
        exchange = self._reading
        if exchange and (self._is_behind() or not exchange.ended):
            return exchange
        return self._next() if self._unread else None

    def _take_part(self, exchange: Exchange) -> bytes:
        self._parts += 1
        return exchange.parts[self._parts - 1]

    def _until(self, holds: Callable[[], object]) -> bool:
        """Reads until something holds, or until the exchange that is read is over. Whether it holds."""
        exchange = self._current()
        return self.connection.wait(exchange, lambda _: holds())

    def _ended_alone(self) -> bool:
        """Whether the connection ends, without anything of a response before."""
        before = self.connection.news
        while self.connection.pump():
            if self.connection.news != before:
                return False
        return True
