"""From HTTP/1.1 to HTTP/2: carries the WebSockets of a client (RFC 6455) over extended CONNECT (RFC 8441).

The bytes of the frames go both ways untouched; only the handshake is translated. All WebSockets share one connection,
so that what one leaves behind hurts those that follow. It knows no WebSocket frame, and no case of the suite.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import h2.events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

Fields = list[tuple[bytes, bytes]]

START_SECONDS = 10.0
# What the bridge takes of a stream before the client has read it.
WINDOW = 1024 * 1024
# So much that no other stream can hold one up.
CONNECTION_WINDOW = 64 * WINDOW
_READ = 65536
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# Of the connection alone (RFC 9113 section 8.2.2), or of the handshake in HTTP/1.1 alone (RFC 8441 section 5).
_NOT_CARRIED = {b"connection", b"upgrade", b"host", b"sec-websocket-key", b"keep-alive", b"transfer-encoding"}

log = logging.getLogger(__name__)


class BridgeError(Exception):
    """The server does not speak HTTP/2, or has no WebSockets over it, or the connection is gone."""


class Stream:
    """One stream as its WebSocket sees it."""

    def __init__(self, upstream: Upstream, number: int) -> None:
        self.number = number
        self.response: asyncio.Future[Fields] = asyncio.get_running_loop().create_future()
        self.received: asyncio.Queue[tuple[bytes, int] | None] = asyncio.Queue()
        """Bytes with what they cost of the window; None: that was the end."""
        self.has_ended = False
        """In order. A reset behind it is no more than a request to send nothing further (RFC 9113 section 8.1)."""
        self.is_reset = asyncio.Event()
        self.has_room = asyncio.Event()
        self._upstream = upstream

    async def send(self, data: bytes) -> None:
        """Sends as windows allow."""
        while data:
            count = self._upstream.room(self)
            if not count:
                self.has_room.clear()
                await self.has_room.wait()
                continue
            await self._upstream.send(self, data[:count])
            data = data[count:]

    def lose(self) -> None:
        """It was reset, or its connection is gone."""
        self.is_reset.set()
        self.has_room.set()
        self.received.put_nowait(None)
        if not self.response.done():
            self.response.set_exception(BridgeError("the stream was reset"))
            # Whoever asked may be gone.
            self.response.exception()


class Upstream:
    """The connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.is_lost = False
        self._reader = reader
        self._writer = writer
        self._http = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._streams: dict[int, Stream] = {}
        self._settings = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    @classmethod
    async def connect(cls, host: str, port: int) -> Upstream:
        """Raises BridgeError where the server has no WebSockets over HTTP/2."""
        upstream = cls(*await asyncio.open_connection(host, port))
        http = upstream._http
        http.initiate_connection()
        http.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: WINDOW})
        http.increment_flow_control_window(CONNECTION_WINDOW)
        await upstream._flush()
        await asyncio.wait_for(upstream._settings.wait(), START_SECONDS)
        if upstream.is_lost or not http.remote_settings.enable_connect_protocol:
            raise BridgeError("the server offers no WebSockets over HTTP/2")
        return upstream

    async def open(self, fields: Fields) -> Stream:
        """A stream with an extended CONNECT on it."""
        stream = Stream(self, self._http.get_next_available_stream_id())
        self._streams[stream.number] = stream
        self._http.send_headers(stream.number, fields)
        await self._flush()
        return stream

    def room(self, stream: Stream) -> int:
        """How much may be sent now. Raises BridgeError where the stream is gone."""
        if stream.is_reset.is_set():
            raise BridgeError("the stream was reset")
        return min(self._http.local_flow_control_window(stream.number), self._http.max_outbound_frame_size)

    async def send(self, stream: Stream, data: bytes) -> None:
        self._http.send_data(stream.number, data)
        await self._flush()

    async def end(self, stream: Stream) -> None:
        """Nothing more will come from the client."""
        with suppress(ProtocolError):
            self._http.end_stream(stream.number)
        await self._flush()

    async def reset(self, stream: Stream) -> None:
        """The client is gone."""
        with suppress(ProtocolError):
            self._http.reset_stream(stream.number, ErrorCodes.CANCEL)
        await self._flush()

    async def acknowledge(self, stream: Stream, count: int) -> None:
        """The client has so much of what the server sent."""
        with suppress(ProtocolError):
            self._http.acknowledge_received_data(count, stream.number)
        await self._flush()

    def forget(self, stream: Stream) -> None:
        self._streams.pop(stream.number, None)

    async def close(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._writer.close()

    async def _run(self) -> None:
        try:
            while data := await self._reader.read(_READ):
                for event in self._http.receive_data(data):
                    self._handle(event)
                await self._flush()
        except (OSError, ProtocolError) as error:
            log.error("the connection failed: %r", error)
        finally:
            self.is_lost = True
            self._settings.set()
            for stream in self._streams.values():
                stream.lose()

    def _handle(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RemoteSettingsChanged):
            if SettingCodes.ENABLE_CONNECT_PROTOCOL in event.changed_settings or not self._settings.is_set():
                self._settings.set()
            self._wake()
        elif isinstance(event, h2.events.WindowUpdated):
            self._wake()
        elif isinstance(event, h2.events.ConnectionTerminated):
            log.error("the server ends the connection: %s", event)
            self.is_lost = True
        elif (stream := self._streams.get(getattr(event, "stream_id", 0) or 0)) is not None:
            self._handle_stream(stream, event)

    @staticmethod
    def _handle_stream(stream: Stream, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            stream.response.set_result([(bytes(name), bytes(value)) for name, value in event.headers or ()])
        elif isinstance(event, h2.events.DataReceived):
            stream.received.put_nowait((event.data or b"", event.flow_controlled_length or 0))
        elif isinstance(event, h2.events.StreamEnded):
            stream.has_ended = True
            stream.received.put_nowait(None)
        elif isinstance(event, h2.events.StreamReset):
            stream.lose()

    def _wake(self) -> None:
        for stream in self._streams.values():
            stream.has_room.set()

    async def _flush(self) -> None:
        self._writer.write(self._http.data_to_send())
        # Where the server is gone, the reading side says so.
        with suppress(OSError):
            await self._writer.drain()


class Bridge:
    """Accepts clients, and has one connection to the server for all of them."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._upstream: Upstream | None = None
        self._connecting = asyncio.Lock()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's connection, from its handshake to its end."""
        try:
            await self._carry(reader, writer)
        except (OSError, EOFError, BridgeError) as error:
            log.info("a WebSocket failed: %r", error)
            _abort(writer)
        finally:
            writer.close()

    async def close(self) -> None:
        if self._upstream is not None:
            await self._upstream.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request, key = _request(await reader.readuntil(b"\r\n\r\n"))
        upstream = await self._connected()
        stream = await upstream.open(request)
        try:
            response = await stream.response
            writer.write(_response(response, key))
            if not _is_accepted(response):
                return
            async with asyncio.TaskGroup() as both:
                both.create_task(_to_server(reader, upstream, stream))
                both.create_task(_to_client(upstream, stream, writer))
        finally:
            upstream.forget(stream)

    async def _connected(self) -> Upstream:
        async with self._connecting:
            if self._upstream is None or self._upstream.is_lost:
                self._upstream = await Upstream.connect(*self._address)
            return self._upstream


async def _to_server(reader: asyncio.StreamReader, upstream: Upstream, stream: Stream) -> None:
    try:
        while data := await reader.read(_READ):
            await stream.send(data)
    except ConnectionResetError:
        await upstream.reset(stream)
        stream.lose()
    except BridgeError:
        # What the other way makes of it counts.
        return
    else:
        await upstream.end(stream)


async def _to_client(upstream: Upstream, stream: Stream, writer: asyncio.StreamWriter) -> None:
    while (part := await stream.received.get()) is not None:
        data, cost = part
        writer.write(data)
        with suppress(OSError):
            await writer.drain()
        await upstream.acknowledge(stream, cost)
    if not stream.has_ended:
        _abort(writer)
    elif writer.can_write_eof():
        with suppress(OSError):
            writer.write_eof()


def _abort(writer: asyncio.StreamWriter) -> None:
    """Ends a client's connection by a reset."""
    connection = writer.get_extra_info("socket")
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _request(head: bytes) -> tuple[Fields, bytes]:
    """An extended CONNECT (RFC 8441 section 5) in the place of a handshake, and the key of that."""
    line, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    _, target, _ = line.split(b" ")
    fields = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    told = dict(fields)
    pseudo = [
        (b":method", b"CONNECT"),
        (b":protocol", b"websocket"),
        (b":scheme", b"http"),
        (b":path", target),
        (b":authority", told.get(b"host", b"")),
    ]
    return pseudo + [field for field in fields if field[0] not in _NOT_CARRIED], told.get(b"sec-websocket-key", b"")


def _is_accepted(response: Fields) -> bool:
    return dict(response)[b":status"] == b"200"


def _response(response: Fields, key: bytes) -> bytes:
    """What stands for the response in HTTP/1.1: 101 for an accepted handshake, else its status alone."""
    if not _is_accepted(response):
        return b"HTTP/1.1 %b Refused\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % dict(response)[b":status"]
    accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    lines = [b"upgrade: websocket", b"connection: Upgrade", b"sec-websocket-accept: " + accept]
    lines += [b"%b: %b" % field for field in response if not field[0].startswith(b":")]
    return b"HTTP/1.1 101 Switching Protocols\r\n" + b"\r\n".join(lines) + b"\r\n\r\n"


@contextmanager
def bridged(host: str, port: int) -> Iterator[int]:
    """A bridge to the server at this address, in a thread of its own. Gives the port that it listens on."""
    loop = asyncio.new_event_loop()
    bridge = loop.run_until_complete(_make(host, port))
    server = loop.run_until_complete(asyncio.start_server(bridge.serve, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, name="bridge")
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(_end(bridge, server), loop).result(START_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _make(host: str, port: int) -> Bridge:
    return Bridge(host, port)


async def _end(bridge: Bridge, server: asyncio.Server) -> None:
    server.close()
    await bridge.close()
    clients = asyncio.all_tasks() - {asyncio.current_task()}
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
