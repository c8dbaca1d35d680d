"""Python's `h2` as the client, which lets a test choose settings and streams."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    InformationalResponseReceived,
    PingAckReceived,
    ResponseReceived,
    SettingsAcknowledged,
    StreamEnded,
    TrailersReceived,
)
from h2.settings import SettingCodes

from tests.interop.app import LINK, PAGE, pattern
from tests.support.deadline import DEADLINE

if TYPE_CHECKING:
    from tests.interop.origin import Origin

MEBIBYTE = 1 << 20
Fields = list[tuple[bytes, bytes]]


@dataclass
class Exchange:
    """What has come on a stream."""

    informational: list[Fields] = field(default_factory=list)
    fields: Fields = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    trailers: Fields = field(default_factory=list)
    ended: bool = False

    @property
    def status(self) -> bytes:
        return dict(self.fields)[b":status"]


class Client:
    """One connection. Every byte of a body is acknowledged when it comes, unless `generous` is set to False."""

    def __init__(self, connected: socket.socket, authority: str, scheme: str) -> None:
        self._socket = connected
        self._authority = authority
        self._scheme = scheme
        self.http2 = H2Connection(H2Configuration(header_encoding=None))
        self.http2.initiate_connection()
        self.exchanges: dict[int, Exchange] = {}
        self.generous = True
        self.flush()

    def request(self, method: str, path: str, *fields: tuple[str, str], body: bytes = b"") -> int:
        """Begins a request, and sends its body as the windows allow."""
        stream: int = self.http2.get_next_available_stream_id()
        pseudo = [(":method", method), (":scheme", self._scheme), (":authority", self._authority), (":path", path)]
        self.http2.send_headers(stream, [*pseudo, *fields], end_stream=not body)
        self.exchanges[stream] = Exchange()
        while body:
            size = min(self.http2.local_flow_control_window(stream), self.http2.max_outbound_frame_size)
            if size:
                self.http2.send_data(stream, body[:size], end_stream=len(body) <= size)
                body = body[size:]
            self.flush()
            if not size:
                self.receive()
        self.flush()
        return stream

    def response(self, stream: int) -> Exchange:
        """Waits until the stream has ended."""
        exchange = self.exchanges[stream]
        while not exchange.ended:
            self.receive()
        return exchange

    def wait_for(self, kind: type[Event]) -> None:
        while not any(isinstance(event, kind) for event in self.receive()):
            pass

    def flush(self) -> None:
        self._socket.sendall(self.http2.data_to_send())

    def receive(self) -> list[Event]:
        """What the next bytes bring. Fails where they break the protocol, or the connection ends."""
        data = self._socket.recv(1 << 16)
        assert data, "the connection ended"
        events = self.http2.receive_data(data)
        for event in events:
            self._take(event)
        self.flush()
        return events

    def _take(self, event: Event) -> None:
        assert not isinstance(event, ConnectionTerminated), event
        exchange = self.exchanges.get(getattr(event, "stream_id", 0) or 0)
        if exchange is None:
            return
        match event:
            case InformationalResponseReceived():
                exchange.informational.append([(bytes(name), bytes(value)) for name, value in event.headers])
            case ResponseReceived():
                exchange.fields = [(bytes(name), bytes(value)) for name, value in event.headers]
            case TrailersReceived():
                exchange.trailers = [(bytes(name), bytes(value)) for name, value in event.headers]
            case DataReceived():
                exchange.body += event.data
                if self.generous:
                    self.http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case StreamEnded():
                exchange.ended = True


@contextmanager
def connect(origin: Origin) -> Iterator[Client]:
    with socket.create_connection(("localhost", origin.port), DEADLINE) as plain:
        scheme = origin.url.partition(":")[0]
        authority = f"localhost:{origin.port}"
        if not origin.secure:
            yield Client(plain, authority, scheme)
            return
        context = origin.authority.client_context()
        context.set_alpn_protocols(["h2"])
        with context.wrap_socket(plain, server_hostname="localhost") as secure:
            assert secure.selected_alpn_protocol() == "h2"
            assert secure.version() == "TLSv1.3"
            yield Client(secure, authority, scheme)


def test_requests_one_after_the_other(origin: Origin) -> None:
    with connect(origin) as client:
        for _ in range(3):
            exchange = client.response(client.request("GET", "/"))
            assert (exchange.status, bytes(exchange.body)) == (b"200", PAGE)


def test_as_many_streams_as_the_server_allows(origin: Origin) -> None:
    with connect(origin) as client:
        client.wait_for(SettingsAcknowledged)
        allowed = client.http2.remote_settings.max_concurrent_streams
        assert allowed >= 100, "RFC 9113 section 6.5.2 recommends no fewer"
        streams = [client.request("GET", f"/large?bytes={number}") for number in range(1, allowed + 1)]
        for number, stream in enumerate(streams, 1):
            assert len(client.response(stream).body) == number


def test_windows_that_are_opened_late_and_changed_on_the_way(origin: Origin) -> None:
    """A body that fills the first window waits; a larger initial window and credit of the connection let it go on."""
    with connect(origin) as client:
        client.generous = False
        stream = client.request("GET", f"/large?bytes={MEBIBYTE}")
        exchange = client.exchanges[stream]
        while len(exchange.body) < 65_535:
            client.receive()
        client.http2.ping(b"12345678")
        client.flush()
        client.wait_for(PingAckReceived)
        assert len(exchange.body) == 65_535, "no byte may come beyond the window"
        client.http2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 2 * MEBIBYTE})
        client.http2.increment_flow_control_window(2 * MEBIBYTE)
        client.flush()
        assert client.response(stream).body == b"".join(pattern(MEBIBYTE))


def test_frames_are_as_large_as_the_client_allows_and_no_larger(origin: Origin) -> None:
    """h2 itself refuses a frame that is too large."""
    with connect(origin) as client:
        client.http2.update_settings({SettingCodes.MAX_FRAME_SIZE: 1 << 18, SettingCodes.HEADER_TABLE_SIZE: 0})
        client.flush()
        client.wait_for(SettingsAcknowledged)
        for _ in range(2):
            exchange = client.response(client.request("GET", f"/large?bytes={MEBIBYTE}"))
            assert exchange.body == b"".join(pattern(MEBIBYTE))


def test_an_echo_runs_in_both_directions_at_once(origin: Origin) -> None:
    content = b"".join(pattern(2 * MEBIBYTE))
    with connect(origin) as client:
        exchange = client.response(client.request("POST", "/echo", ("content-length", str(len(content))), body=content))
        assert exchange.body == content


def test_informational_responses_and_trailers(origin: Origin) -> None:
    with connect(origin) as client:
        hints = client.response(client.request("GET", "/hints"))
        assert hints.informational == [[(b":status", b"103"), (b"link", LINK)]]
        trailers = client.response(client.request("GET", "/trailers", ("te", "trailers")))
        assert (bytes(trailers.body), trailers.trailers) == (b"before the trailers\n", [(b"x-checksum", b"c0ffee")])


def test_a_stream_that_the_client_resets_does_not_disturb_the_others(origin: Origin) -> None:
    with connect(origin) as client:
        kept = client.request("GET", f"/large?bytes={MEBIBYTE}")
        dropped = client.request("GET", f"/large?bytes={64 * MEBIBYTE}")
        client.receive()
        client.http2.reset_stream(dropped, ErrorCodes.CANCEL)
        client.flush()
        assert client.response(kept).body == b"".join(pattern(MEBIBYTE))
        assert client.response(client.request("GET", "/")).body == PAGE


def test_an_untrusting_client_ends_its_handshake_and_the_server_goes_on(secure_origin: Origin) -> None:
    context = ssl.create_default_context()
    with socket.create_connection(("localhost", secure_origin.port), DEADLINE) as plain:
        try:
            context.wrap_socket(plain, server_hostname="localhost")
        except ssl.SSLCertVerificationError:
            pass
        else:
            raise AssertionError("the test's own authority is trusted by the system")
    with connect(secure_origin) as client:
        assert client.response(client.request("GET", "/")).body == PAGE
