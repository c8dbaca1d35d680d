"""HTTP/2 over one blocking socket: enough to check a server before it is measured. Knows no server."""

import ssl
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, Event, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

from harness.exchange import NotNegotiatedError, WrongResponseError, open_socket
from harness.scenarios import HttpScenario

ALPN = "h2"
_READ_SIZE = 1 << 16


@dataclass
class _Response:
    status: bytes = b""
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False


class Http2Connection:
    """A connection to a server on 127.0.0.1: by prior knowledge, or by ALPN where there is a TLS context."""

    def __init__(self, port: int, tls: ssl.SSLContext | None, *, timeout: float = 10.0) -> None:
        """Raises NotNegotiatedError where the server chooses another protocol."""
        self._socket = open_socket(port, tls, timeout=timeout)
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.selected_alpn_protocol() != ALPN:
            self._socket.close()
            raise NotNegotiatedError("HTTP/2")
        self._http2 = H2Connection(H2Configuration(header_encoding=None))
        self._http2.initiate_connection()
        self._target = [(":scheme", "https" if tls else "http"), (":authority", f"127.0.0.1:{port}")]
        self._responses: dict[int, _Response] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    def exchange(self, scenario: HttpScenario) -> None:
        """Makes the request on `depth` streams at once.

        Raises WrongResponseError unless each is answered with status 200 and the expected body.
        """
        streams = [self._begin(scenario) for _ in range(scenario.depth)]
        for stream in streams:
            self._send_body(stream, scenario.body)
        self._flush()
        for stream in streams:
            response = self._responses[stream]
            while not response.ended:
                self._receive()
            del self._responses[stream]
            if response.status != b"200" or response.body != scenario.expected:
                shown = bytes(response.body[:80])
                raise WrongResponseError(
                    f"status {response.status.decode()}, body {shown!r} ({len(response.body)} bytes)"
                )

    def _begin(self, scenario: HttpScenario) -> int:
        stream: int = self._http2.get_next_available_stream_id()
        fields = [(":method", scenario.method), *self._target, (":path", scenario.path)]
        if scenario.body:
            fields.append(("content-length", str(len(scenario.body))))
        self._http2.send_headers(stream, fields, end_stream=not scenario.body)
        self._responses[stream] = _Response()
        return stream

    def _send_body(self, stream: int, body: bytes) -> None:
        """Waits for the server's window where it has to."""
        rest = body
        while rest:
            size = min(self._http2.local_flow_control_window(stream), self._http2.max_outbound_frame_size)
            if not size:
                self._flush()
                self._receive()
                continue
            self._http2.send_data(stream, rest[:size], end_stream=len(rest) <= size)
            rest = rest[size:]

    def _flush(self) -> None:
        self._socket.sendall(self._http2.data_to_send())

    def _receive(self) -> None:
        data = self._socket.recv(_READ_SIZE)
        if not data:
            raise WrongResponseError("the connection ended")
        try:
            events = self._http2.receive_data(data)
        except ProtocolError as error:
            raise WrongResponseError(f"not HTTP/2: {error}") from error
        for event in events:
            self._take(event)
        self._flush()

    def _take(self, event: Event) -> None:
        match event:
            case ResponseReceived():
                self._responses[event.stream_id].status = dict(event.headers)[b":status"]
            case DataReceived():
                self._responses[event.stream_id].body += event.data
                self._http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case StreamEnded():
                self._responses[event.stream_id].ended = True
            case StreamReset() | ConnectionTerminated():
                raise WrongResponseError(str(event))
