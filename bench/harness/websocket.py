"""WebSocket over one blocking socket: enough to check a server before it is measured. Knows no server."""

import struct
import zlib

from harness.exchange import Connection, NotNegotiatedError, WrongResponseError

# RFC 6455 section 1.3: the example's key and what accepts it.
_KEY, _ACCEPT = b"dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
_OFFER = b"permessage-deflate; client_max_window_bits"
_MASK = b"\x37\xfa\x21\x3d"
_FIN, _RSV1, _MASKED = 0x80, 0x40, 0x80
_CONTINUATION, _TEXT, _BINARY, _CLOSE = 0, 1, 2, 8
# RFC 7692 section 7.2.1: what a compressed message goes without.
_TAIL = b"\x00\x00\xff\xff"


class Deflate:
    """Both directions of permessage-deflate on one connection, as the server's answer asks for it."""

    def __init__(self, parameters: dict[bytes, bytes]) -> None:
        self._bits = int(parameters.get(b"client_max_window_bits", b"15").strip(b'"'))
        self._takeover = b"client_no_context_takeover" not in parameters
        self._compressor = self._new_compressor()
        self._inflater = zlib.decompressobj(wbits=-15)

    def compress(self, message: bytes) -> bytes:
        if not self._takeover:
            self._compressor = self._new_compressor()
        return (self._compressor.compress(message) + self._compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL)

    def inflate(self, message: bytes) -> bytes:
        return self._inflater.decompress(message + _TAIL)

    def _new_compressor(self) -> "zlib._Compress":
        return zlib.compressobj(wbits=-self._bits)


class WebSocketConnection(Connection):
    """Begins with shake_hands."""

    _deflate: Deflate | None = None

    def shake_hands(self, *, deflate: bool) -> None:
        """Raises WrongResponseError unless a valid 101 comes, NotNegotiatedError when it lacks permessage-deflate."""
        extensions = b"Sec-WebSocket-Extensions: " + _OFFER + b"\r\n" if deflate else b""
        self._socket.sendall(
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: " + _KEY + b"\r\nSec-WebSocket-Version: 13\r\n" + extensions + b"\r\n"
        )
        status = self._line()
        headers = dict(self._read_headers())
        if status.split(b" ")[1] != b"101" or headers.get(b"sec-websocket-accept") != _ACCEPT:
            raise WrongResponseError(f"{status.decode(errors='replace')}, {headers}")
        name, parameters = _extension(headers.get(b"sec-websocket-extensions", b""))
        if name != (b"permessage-deflate" if deflate else b""):
            if deflate and not name:
                raise NotNegotiatedError("permessage-deflate")
            raise WrongResponseError(f"extension {name!r}")
        self._deflate = Deflate(parameters) if deflate else None

    def echo(self, message: bytes, *, text: bool) -> None:
        """Sends the message and reads its echo. Raises WrongResponseError unless that is the same, kind included."""
        opcode = _TEXT if text else _BINARY
        payload = self._deflate.compress(message) if self._deflate else message
        self._socket.sendall(_frame(opcode, payload, compressed=self._deflate is not None))
        kind, echo = self._read_message()
        if kind != opcode or echo != message:
            raise WrongResponseError(f"a message of kind {kind}, {echo[:80]!r} ({len(echo)} bytes)")

    def _read_message(self) -> tuple[int, bytes]:
        """The kind of the next message and its payload. Whatever the server asks for by a ping, it does without."""
        kind, compressed, parts, last = _CONTINUATION, False, [], False
        while not last:
            first, length = self._read_frame_head()
            opcode, payload = first & 0x0F, self._read(length)
            if opcode == _CLOSE:
                raise WrongResponseError(f"closed with {payload!r}")
            if opcode < _CLOSE:
                kind, compressed = (opcode, bool(first & _RSV1)) if opcode else (kind, compressed)
                parts.append(payload)
                last = bool(first & _FIN)
        message = b"".join(parts)
        return kind, self._deflate.inflate(message) if compressed and self._deflate else message

    def _read_frame_head(self) -> tuple[int, int]:
        first, length = self._read(2)
        if length == 126:
            (length,) = struct.unpack(">H", self._read(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self._read(8))
        return first, length

    def _read(self, size: int) -> bytes:
        data = self._reader.read(size)
        if len(data) != size:
            raise WrongResponseError("the connection ended")
        return data


def _extension(field: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """The name of the one extension of the answer, and its parameters."""
    name, *parameters = (part.strip() for part in field.split(b";"))
    pairs = (parameter.partition(b"=") for parameter in parameters)
    return name, {key.strip(): value.strip() for key, _, value in pairs}


def _frame(opcode: int, payload: bytes, *, compressed: bool) -> bytes:
    first = _FIN | (_RSV1 if compressed else 0) | opcode
    length = len(payload)
    if length < 126:
        head = bytes((first, _MASKED | length))
    elif length < 1 << 16:
        head = struct.pack(">BBH", first, _MASKED | 126, length)
    else:
        head = struct.pack(">BBQ", first, _MASKED | 127, length)
    mask = (_MASK * (length // 4 + 1))[:length]
    masked = (int.from_bytes(payload) ^ int.from_bytes(mask)).to_bytes(length)
    return head + _MASK + masked
