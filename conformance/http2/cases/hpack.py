"""Header compression gone wrong: h2spec's HPACK cases."""

from __future__ import annotations

from conformance.http2 import fields, frames
from conformance.http2.case import Group
from conformance.http2.expectations import BrokenConnection
from conformance.http2.frames import Code, Setting
from conformance.http2.peer import Peer

case = Group("hpack")

DECODING_ERROR = BrokenConnection(Code.COMPRESSION_ERROR)
"""RFC 9113 section 4.3."""


def request(peer: Peer, *representations: bytes) -> None:
    """A good request with `representations` behind its fields."""
    peer.send(frames.headers(1, fields.plain(peer.fields()) + b"".join(representations)))


@case("2.3.3", "RFC 7541 2.3.3", "an index that is in no table", DECODING_ERROR)
def _(peer: Peer) -> None:
    request(peer, fields.indexed(fields.STATIC + 9))


@case("2.3.3", "RFC 7541 2.3.3", "a literal with the index of a name that is in no table", DECODING_ERROR)
def _(peer: Peer) -> None:
    request(peer, fields.indexing(fields.STATIC + 9, b"empty"))


@case("4.2", "RFC 7541 4.2", "a dynamic table size update at the end of a header block", DECODING_ERROR)
def _(peer: Peer) -> None:
    request(peer, fields.size_update(1))


@case("5.2", "RFC 7541 5.2", "a Huffman code padded by more than 7 bits", DECODING_ERROR)
def _(peer: Peer) -> None:
    request(peer, b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff")


@case("5.2", "RFC 7541 5.2", "a Huffman code padded by zeros", DECODING_ERROR)
def _(peer: Peer) -> None:
    request(peer, b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90")


@case("5.2", "RFC 7541 5.2", "a Huffman code with EOS", DECODING_ERROR)
def _(peer: Peer) -> None:
    request(peer, b"\x00\x85\xf2\xb2\x4a\x84\xff\x87\x49\x51\xff\xff\xff\xfa\x7f")


@case("6.1", "RFC 7541 6.1", "the index 0", DECODING_ERROR)
def _(peer: Peer) -> None:
    request(peer, fields.indexed(0))


@case("6.3", "RFC 7541 6.3", "a dynamic table size update above SETTINGS_HEADER_TABLE_SIZE", DECODING_ERROR)
def _(peer: Peer) -> None:
    limit = peer.settings.get(Setting.HEADER_TABLE_SIZE, 4096)
    peer.send(frames.headers(1, fields.size_update(limit + 1) + fields.plain(peer.fields())))
