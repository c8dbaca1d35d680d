"""Frames of HTTP/2 as bytes (RFC 9113 sections 4.1, 6 and 7), well formed or not, as the caller says.

It knows no connection and no rule: what may be sent when is for those who send.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping
from dataclasses import dataclass

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_LENGTH = 9
WINDOW = 65_535
"""What a flow-control window begins with (section 6.9.2)."""
LARGEST_WINDOW = 2**31 - 1
FRAME_SIZE = 16_384
"""The payload that every endpoint has to take (section 4.2)."""
LARGEST_FRAME_SIZE = 2**24 - 1


class Type(enum.IntEnum):
    """Section 6."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Flag(enum.IntFlag):
    """Section 6. One bit has two names."""

    END_STREAM = 0x01
    ACK = 0x01
    END_HEADERS = 0x04
    PADDED = 0x08
    PRIORITY = 0x20


class Code(enum.IntEnum):
    """Error codes: section 7."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


Settings = Mapping["Setting", int]


class Setting(enum.IntEnum):
    """Section 6.5.2, RFC 8441 and RFC 9218."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6
    ENABLE_CONNECT_PROTOCOL = 8
    NO_RFC7540_PRIORITIES = 9


_TYPES = {member.value: member.name for member in Type}
_CODES = {member.value: member.name for member in Code}


@dataclass(frozen=True)
class Frame:
    """One that was read."""

    type: int
    flags: int
    stream: int
    payload: bytes

    @property
    def ends_stream(self) -> bool:
        return self.type in (Type.DATA, Type.HEADERS) and bool(self.flags & Flag.END_STREAM)

    @property
    def is_ack(self) -> bool:
        return self.type in (Type.SETTINGS, Type.PING) and bool(self.flags & Flag.ACK)

    @property
    def code(self) -> int:
        """The error code of a RST_STREAM or GOAWAY frame."""
        return int.from_bytes(self.payload[:4] if self.type == Type.RST_STREAM else self.payload[4:8])

    @property
    def last_stream(self) -> int:
        """Of a GOAWAY frame: the last stream that was or may be dealt with."""
        return int.from_bytes(self.payload[:4]) & LARGEST_WINDOW

    @property
    def settings(self) -> dict[int, int]:
        """Of a SETTINGS frame."""
        return dict(struct.iter_unpack("!HI", self.payload))

    @property
    def content(self) -> bytes:
        """Of a DATA or HEADERS frame: the payload without padding and priority."""
        payload = self.payload
        if self.flags & Flag.PADDED:
            payload = payload[1 : len(payload) - payload[0]]
        if self.type == Type.HEADERS and self.flags & Flag.PRIORITY:
            payload = payload[5:]
        return payload

    def __str__(self) -> str:
        name = _TYPES.get(self.type, f"type {self.type}")
        told = f"{name} of stream {self.stream}, flags {self.flags:#04x}, {len(self.payload)} octets"
        if self.type in (Type.RST_STREAM, Type.GOAWAY):
            told += f", {code_name(self.code)}"
        return told


def code_name(code: int) -> str:
    return _CODES.get(code, f"code {code:#x}")


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """Any frame. `stream` may have the reserved bit, the highest of 32, set."""
    return head(len(payload), kind, flags, stream) + payload


def head(length: int, kind: int, flags: int = 0, stream: int = 0) -> bytes:
    """The nine octets before a payload of `length` octets."""
    return length.to_bytes(3) + struct.pack("!BBI", kind, flags, stream)


def data(stream: int, content: bytes = b"", *, end: bool = False, padding: int | None = None) -> bytes:
    flags = Flag.END_STREAM if end else 0
    if padding is None:
        return frame(Type.DATA, flags, stream, content)
    return frame(Type.DATA, flags | Flag.PADDED, stream, bytes([padding]) + content + bytes(padding))


def headers(
    stream: int,
    block: bytes,
    *,
    end: bool = True,
    complete: bool = True,
    padding: int | None = None,
    priority: bytes | None = None,
) -> bytes:
    """`end`: END_STREAM. `complete`: END_HEADERS. `priority`: five octets, see `dependency`."""
    flags = (Flag.END_STREAM if end else 0) | (Flag.END_HEADERS if complete else 0)
    payload = block
    if priority is not None:
        flags, payload = flags | Flag.PRIORITY, priority + payload
    if padding is not None:
        flags, payload = flags | Flag.PADDED, bytes([padding]) + payload + bytes(padding)
    return frame(Type.HEADERS, flags, stream, payload)


def continuation(stream: int, block: bytes, *, complete: bool = True) -> bytes:
    return frame(Type.CONTINUATION, Flag.END_HEADERS if complete else 0, stream, block)


def dependency(stream: int, weight: int = 16, *, exclusive: bool = False) -> bytes:
    """The payload of a PRIORITY frame: `weight` is 1 to 256."""
    return struct.pack("!IB", exclusive << 31 | stream, weight - 1)


def priority(stream: int, on: int, weight: int = 16, *, exclusive: bool = False) -> bytes:
    return frame(Type.PRIORITY, 0, stream, dependency(on, weight, exclusive=exclusive))


def rst_stream(stream: int, code: int = Code.CANCEL) -> bytes:
    return frame(Type.RST_STREAM, 0, stream, struct.pack("!I", code))


def settings(*pairs: tuple[int, int] | Settings, ack: bool = False) -> bytes:
    """One SETTINGS frame with the pairs in order, also twice the same setting."""
    listed = [pair for item in pairs for pair in (item.items() if isinstance(item, Mapping) else [item])]
    payload = b"".join(struct.pack("!HI", setting, value) for setting, value in listed)
    return frame(Type.SETTINGS, Flag.ACK if ack else 0, 0, payload)


def ping(payload: bytes = b"pingpong", *, ack: bool = False) -> bytes:
    return frame(Type.PING, Flag.ACK if ack else 0, 0, payload)


def goaway(last_stream: int = 0, code: int = Code.NO_ERROR, debug: bytes = b"") -> bytes:
    return frame(Type.GOAWAY, 0, 0, struct.pack("!II", last_stream, code) + debug)


def window_update(stream: int, increment: int) -> bytes:
    return frame(Type.WINDOW_UPDATE, 0, stream, struct.pack("!I", increment))


def push_promise(stream: int, promised: int, block: bytes) -> bytes:
    return frame(Type.PUSH_PROMISE, Flag.END_HEADERS, stream, struct.pack("!I", promised) + block)
