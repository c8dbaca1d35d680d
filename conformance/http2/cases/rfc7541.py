"""More of RFC 7541: what the dynamic table holds, limits of integers and strings, and the server's own encoder."""

from __future__ import annotations

from hpack.table import HeaderTable

from conformance.http2 import fields, frames
from conformance.http2.case import Group
from conformance.http2.expectations import Answer, Done
from conformance.http2.frames import Setting
from conformance.http2.peer import FailedError, Peer

from .hpack import DECODING_ERROR, request

case = Group("rfc7541")

NEWEST = fields.STATIC + 1
"""The index of the newest entry of the dynamic table."""


def block(peer: Peer, *representations: bytes) -> bytes:
    """The header block of a request that is answered with its own fields."""
    return fields.plain(peer.fields(b"GET", b"/fields")) + b"".join(representations)


def echoed(peer: Peer, stream: int, *representations: bytes) -> list[bytes]:
    """Makes a request with `representations`, and gives the lines of what the application received of them."""
    peer.send(frames.headers(stream, block(peer, *representations)))
    return [line for line in peer.response(stream).body.splitlines() if line.startswith(b"x-")]


def expect(found: list[bytes], *wanted: bytes) -> None:
    if found != list(wanted):
        raise FailedError(f"{found}, not {list(wanted)}")


# --- the dynamic table


@case("2.3.2", "RFC 7541 2.3.2", "a field that was entered by an earlier stream", Done("decoded"))
def _(peer: Peer) -> None:
    expect(echoed(peer, 1, fields.indexing(b"x-one", b"1")), b"x-one: 1")
    expect(echoed(peer, 3, fields.indexed(NEWEST)), b"x-one: 1")


@case("2.3.2", "RFC 7541 2.3.2", "three entries", Done("the newest has the lowest index"))
def _(peer: Peer) -> None:
    for stream, name in ((1, b"x-one"), (3, b"x-two"), (5, b"x-three")):
        echoed(peer, stream, fields.indexing(name, b"1"))
    found = echoed(peer, 7, *(fields.indexed(NEWEST + back) for back in (2, 1, 0)))
    expect(found, b"x-one: 1", b"x-two: 1", b"x-three: 1")


@case("2.3.2", "RFC 7541 2.3.2", "one field entered twice", Done("two entries"))
def _(peer: Peer) -> None:
    twice = fields.indexing(b"x-one", b"1")
    echoed(peer, 1, fields.indexing(b"x-zero", b"0"), twice, twice)
    expect(echoed(peer, 3, fields.indexed(NEWEST + 2), fields.indexed(NEWEST + 1)), b"x-zero: 0", b"x-one: 1")


@case("2.3.2", "RFC 7541 6.2.1", "a name from the dynamic table with another value", Done("decoded"))
def _(peer: Peer) -> None:
    echoed(peer, 1, fields.indexing(b"x-one", b"1"))
    expect(echoed(peer, 3, fields.indexing(NEWEST, b"2"), fields.indexed(NEWEST + 1)), b"x-one: 2", b"x-one: 1")


@case("2.3.2", "RFC 7541 6.2.2", "literals without indexing and never indexed", DECODING_ERROR)
def _(peer: Peer) -> None:
    """They leave no entry behind: the table is empty."""
    request(peer, fields.literal(b"x-one", b"1"), fields.never_indexed(b"x-two", b"2"), fields.indexed(NEWEST))


@case("2.3.2", "RFC 7541 2.2", "entries of another connection", DECODING_ERROR)
def _(peer: Peer) -> None:
    with Peer(peer.target) as other:
        other.handshake()
        echoed(other, 1, fields.indexing(b"x-one", b"1"))
    request(peer, fields.indexed(NEWEST))


# --- eviction


@case("4.4", "RFC 7541 4.4", "an entry that is larger than the table", Done("accepted, and the table is empty"))
def _(peer: Peer) -> None:
    large = b"a" * 5000
    echoed(peer, 1, fields.indexing(b"x-one", b"1"))
    expect(echoed(peer, 3, fields.indexing(b"x-large", large)), b"x-large: " + large)
    peer.send(frames.headers(5, block(peer, fields.indexed(NEWEST))))
    DECODING_ERROR.check(peer)


@case("4.4", "RFC 7541 4.4", "more entries than the table holds", Done("the oldest go"))
def _(peer: Peer) -> None:
    """128 entries of 32 octets each would just fit without names and values: with them, of 60, the last 68 stay."""
    entries = [fields.indexing(b"x-entry", b"%021d" % number) for number in range(100)]
    echoed(peer, 1, *entries)
    expect(echoed(peer, 3, fields.indexed(NEWEST + 67)), b"x-entry: %021d" % 32)
    peer.send(frames.headers(5, block(peer, fields.indexed(NEWEST + 68))))
    DECODING_ERROR.check(peer)


@case("4.4", "RFC 7541 4.4", "a new entry whose name is of the entry that it evicts", Done("decoded"))
def _(peer: Peer) -> None:
    first = b"a" * 2000
    echoed(peer, 1, fields.indexing(b"x-evicted", first))
    second = b"b" * 4000
    expect(echoed(peer, 3, fields.indexing(NEWEST, second)), b"x-evicted: " + second)


@case("4.3", "RFC 7541 4.3", "a size update to 0", DECODING_ERROR)
def _(peer: Peer) -> None:
    """It empties the table."""
    echoed(peer, 1, fields.indexing(b"x-one", b"1"))
    peer.send(frames.headers(3, fields.size_update(0) + block(peer, fields.indexed(NEWEST))))


@case("4.3", "RFC 7541 4.2", "size updates to 0 and back to 4096 in one block", Done("an empty table of the old size"))
def _(peer: Peer) -> None:
    updates = fields.size_update(0) + fields.size_update(4096)
    echoed(peer, 1, fields.indexing(b"x-one", b"1"))
    peer.send(frames.headers(3, updates + block(peer, fields.indexing(b"x-two", b"2"))))
    expect(echoed_lines(peer, 3), b"x-two: 2")
    expect(echoed(peer, 5, fields.indexed(NEWEST)), b"x-two: 2")


def echoed_lines(peer: Peer, stream: int) -> list[bytes]:
    return [line for line in peer.response(stream).body.splitlines() if line.startswith(b"x-")]


@case("4.3", "RFC 7541 4.2", "a size update between two fields", DECODING_ERROR)
def _(peer: Peer) -> None:
    request(peer, fields.size_update(100), fields.literal(b"x-one", b"1"))


# --- integers and strings


@case("5.1", "RFC 7541 5.1", "an integer that ends with the block", DECODING_ERROR)
def _(peer: Peer) -> None:
    request(peer, b"\xff\x80")


@case("5.1", "RFC 7541 5.1", "an index above 2^32", DECODING_ERROR)
def _(peer: Peer) -> None:
    request(peer, fields.integer(2**32 + fields.STATIC, 7, 0x80))


@case("5.1", "RFC 7541 5.1", "an index above 2^64", DECODING_ERROR)
def _(peer: Peer) -> None:
    """Which a careless shift would take for a small one."""
    request(peer, fields.integer(2**64 + 2, 7, 0x80))


@case("5.1", "RFC 7541 5.1", "an integer in a hundred octets", DECODING_ERROR)
def _(peer: Peer) -> None:
    request(peer, b"\xff" + b"\xff" * 100 + b"\x01")


@case("5.2", "RFC 7541 5.2", "a string that is longer than the block", DECODING_ERROR)
def _(peer: Peer) -> None:
    request(peer, b"\x00" + fields.string(b"x-one") + fields.integer(100, 7) + b"short")


@case("5.2", "RFC 7541 5.2", "a string of 2^31 octets that is not there", DECODING_ERROR)
def _(peer: Peer) -> None:
    request(peer, b"\x00" + fields.string(b"x-one") + fields.integer(2**31, 7))


@case("5.2", "RFC 7541 5.2", "Huffman padding of a whole octet", DECODING_ERROR)
def _(peer: Peer) -> None:
    request(peer, b"\x00" + fields.string(b"x-one") + fields.integer(1, 7, 0x80) + b"\xff")


@case("5.2", "RFC 7541 5.2", "an empty string, Huffman coded", Done("decoded"))
def _(peer: Peer) -> None:
    expect(echoed(peer, 1, fields.literal(b"x-empty", b"", huffman=True)), b"x-empty: ")


@case("5.2", "RFC 7541 appendix B", "every octet that a field value may have, Huffman coded", Done("decoded"))
def _(peer: Peer) -> None:
    value = b"a\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
    expect(echoed(peer, 1, fields.literal(b"x-all", value, huffman=True)), b"x-all: " + value)


@case("6.1", "RFC 7541 appendix A", "every entry of the static table from 15 on, as a name", Done("decoded"))
def _(peer: Peer) -> None:
    table = HeaderTable.STATIC_TABLE
    refused = {b"te", b"transfer-encoding", b"content-length", b"expect", b"host"}
    names = [(index, bytes(pair[0])) for index, pair in enumerate(table, 1) if index >= 15 and pair[0] not in refused]
    peer.send(frames.headers(1, block(peer, *(fields.literal(index, b"%d" % index) for index, _ in names))))
    lines = peer.response().body.splitlines()
    if missing := [name for index, name in names if b"%b: %d" % (name, index) not in lines]:
        raise FailedError(f"{missing}")


# --- the server's own encoder


@case(
    "4.2",
    "RFC 7541 4.2",
    "SETTINGS_HEADER_TABLE_SIZE of 0",
    Done("header blocks that need no dynamic table"),
    settings={Setting.HEADER_TABLE_SIZE: 0},
)
def _(peer: Peer) -> None:
    peer.decoder.max_allowed_table_size = 0
    peer.decoder.header_table_size = 0
    for stream in (1, 3, 5):
        peer.send(frames.headers(stream, peer.request()))
        peer.response(stream)


@case(
    "4.2",
    "RFC 7541 4.2",
    "SETTINGS_HEADER_TABLE_SIZE lowered to 0 between responses",
    Done("the next header block begins with the update, where entries had been made"),
)
def _(peer: Peer) -> None:
    for stream in (1, 3):
        peer.send(frames.headers(stream, peer.request()))
        peer.response(stream)
    used = bool(peer.decoder.header_table.dynamic_entries)
    peer.send(frames.settings({Setting.HEADER_TABLE_SIZE: 0}))
    peer.answers_ping()
    if used:
        # The library raises where the update does not come.
        peer.decoder.max_allowed_table_size = 0
    for stream in (5, 7):
        peer.send(frames.headers(stream, peer.request()))
        peer.response(stream)


@case(
    "4.2",
    "RFC 7541 4.2",
    "SETTINGS_HEADER_TABLE_SIZE of 1 MiB",
    Answer(),
    settings={Setting.HEADER_TABLE_SIZE: 1 << 20},
)
def _(peer: Peer) -> None:
    """The server may use less, and says so if it uses more than 4096."""
    peer.decoder.max_allowed_table_size = 1 << 20
    peer.send(frames.headers(1, peer.request()))
