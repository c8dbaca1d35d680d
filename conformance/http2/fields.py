"""Header blocks octet by octet (RFC 7541), good and bad: what an encoder library would not write."""

from __future__ import annotations

from collections.abc import Iterable

from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

Fields = Iterable[tuple[bytes, bytes]]

STATIC = 61
"""Entries of the static table (appendix A). The newest of the dynamic table is the next index."""


def integer(value: int, bits: int, first: int = 0) -> bytes:
    """Section 5.1: `value` behind the high bits `first` of an octet, with a prefix of `bits` bits."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes([first | value])
    encoded = bytearray([first | limit])
    value -= limit
    while value >= 128:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def string(text: bytes, *, huffman: bool = False) -> bytes:
    """Section 5.2."""
    if huffman:
        coded: bytes = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(text)
        return integer(len(coded), 7, 0x80) + coded
    return integer(len(text), 7) + text


def indexed(index: int) -> bytes:
    """Section 6.1."""
    return integer(index, 7, 0x80)


def indexing(name: int | bytes, value: bytes, *, huffman: bool = False) -> bytes:
    """A literal that enters the dynamic table (section 6.2.1). `name` is an index or the name itself."""
    return _literal(0x40, 6, name, value, huffman=huffman)


def literal(name: int | bytes, value: bytes, *, huffman: bool = False) -> bytes:
    """A literal that does not enter it (section 6.2.2)."""
    return _literal(0x00, 4, name, value, huffman=huffman)


def never_indexed(name: int | bytes, value: bytes, *, huffman: bool = False) -> bytes:
    """A literal that nobody may put into one (section 6.2.3)."""
    return _literal(0x10, 4, name, value, huffman=huffman)


def size_update(size: int) -> bytes:
    """Section 6.3."""
    return integer(size, 5, 0x20)


def plain(fields: Fields) -> bytes:
    """Every field as a literal with a new name: depends on no table and changes none."""
    return b"".join(literal(name, value) for name, value in fields)


def _literal(first: int, bits: int, name: int | bytes, value: bytes, *, huffman: bool) -> bytes:
    if isinstance(name, int):
        return integer(name, bits, first) + string(value, huffman=huffman)
    return bytes([first]) + string(name, huffman=huffman) + string(value, huffman=huffman)
