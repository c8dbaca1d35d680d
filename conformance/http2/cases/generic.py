"""What every server has to take: h2spec's generic cases."""

from __future__ import annotations

from conformance.http2 import fields, frames
from conformance.http2.case import Group
from conformance.http2.expectations import Answer, Done, Ignored, IgnoredOrEnd
from conformance.http2.frames import Code, Setting, Type
from conformance.http2.peer import FailedError, Peer

case = Group("generic")

DUMMY = (b"x-dummy", b"a" * 100)


@case("1", "3.4", "the client's preface", Done("SETTINGS as the server's first frame, and an acknowledgement"))
def _(peer: Peer) -> None:
    """The handshake before every case looks at it."""


# --- streams and multiplexing


@case("2", "5.1", "PRIORITY on an idle stream, then a request", Answer())
def _(peer: Peer) -> None:
    peer.send(frames.priority(1, 0, 255), frames.headers(1, peer.request()))


@case(
    "2",
    "5.1",
    "WINDOW_UPDATE on a half-closed (remote) stream",
    Answer(),
    settings={Setting.INITIAL_WINDOW_SIZE: 0},
)
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request()))
    peer.send(frames.window_update(1, 1000))


@case("2", "5.1", "PRIORITY on a half-closed (remote) stream", Answer(), settings={Setting.INITIAL_WINDOW_SIZE: 0})
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request()))
    peer.send(frames.priority(1, 0, 255), frames.window_update(1, 1000))


@case("2", "5.1", "RST_STREAM on a half-closed (remote) stream", Ignored(), settings={Setting.INITIAL_WINDOW_SIZE: 0})
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request()))
    peer.send(frames.rst_stream(1, Code.CANCEL))


@case("2", "5.1", "PRIORITY on a closed stream", Ignored())
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request()))
    peer.response()
    peer.send(frames.priority(1, 0, 255))


# --- frames


@case("3.1", "6.1", "one DATA frame", Answer())
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request(b"POST"), end=False), frames.data(1, b"test", end=True))


@case("3.1", "6.1", "several DATA frames", Answer())
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request(b"POST"), end=False), frames.data(1, b"test"), frames.data(1, b"test"))
    peer.send(frames.data(1, b"test", end=True))


@case("3.1", "6.1", "a padded DATA frame", Answer())
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request(b"POST"), end=False), frames.data(1, b"test", end=True, padding=5))
    if peer.response().body != b"test":
        raise FailedError("the padding is taken for content")


@case("3.2", "6.2", "a HEADERS frame", Answer())
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request()))


@case("3.2", "6.2", "a padded HEADERS frame", Answer())
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request(), padding=8))


@case("3.2", "6.2", "a HEADERS frame with priority", Answer())
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request(), priority=frames.dependency(0, 255)))


@case("3.3", "6.3", "PRIORITY with weight 1", Answer())
def _(peer: Peer) -> None:
    peer.send(frames.priority(1, 0, 1), frames.headers(1, peer.request()))


@case("3.3", "6.3", "PRIORITY with weight 256", Answer())
def _(peer: Peer) -> None:
    peer.send(frames.priority(1, 0, 256), frames.headers(1, peer.request()))


@case("3.3", "6.3", "PRIORITY with a dependency", Answer())
def _(peer: Peer) -> None:
    peer.send(frames.priority(1, 0), frames.priority(3, 1), frames.headers(1, peer.request()))


@case("3.3", "6.3", "PRIORITY with an exclusive dependency", Answer())
def _(peer: Peer) -> None:
    peer.send(frames.priority(1, 0), frames.priority(3, 1, exclusive=True), frames.headers(1, peer.request()))


@case("3.3", "6.3", "PRIORITY for an idle stream, then a request on a lower one", Answer())
def _(peer: Peer) -> None:
    peer.send(frames.priority(3, 0), frames.headers(1, peer.request()))


@case("3.4", "6.4", "RST_STREAM on an open stream", Ignored())
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request(b"POST"), end=False), frames.rst_stream(1))


@case("3.5", "6.5", "SETTINGS", Done("SETTINGS with ACK"))
def _(peer: Peer) -> None:
    peer.send(frames.settings({Setting.MAX_CONCURRENT_STREAMS: 100}))
    peer.wait_for(lambda frame: frame.type == Type.SETTINGS and frame.is_ack, "SETTINGS with ACK")


@case("3.7", "6.7", "PING", Done("PING with ACK and the same payload"))
def _(peer: Peer) -> None:
    peer.answers_ping(b"h2spec!!")


@case("3.8", "6.8", "GOAWAY", IgnoredOrEnd())
def _(peer: Peer) -> None:
    peer.send(frames.goaway(0, Code.NO_ERROR, b"bye"))


@case("3.9", "6.9", "WINDOW_UPDATE for the connection", Answer())
def _(peer: Peer) -> None:
    peer.send(frames.window_update(0, 1), frames.headers(1, peer.request()))


@case("3.9", "6.9", "WINDOW_UPDATE for a stream", Answer())
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request(b"POST"), end=False), frames.window_update(1, 1))
    peer.send(frames.data(1, b"test", end=True))


def _split(peer: Peer, *, parts: int) -> None:
    """A request in HEADERS and `parts` CONTINUATION frames."""
    block = peer.request(b"GET", b"/", DUMMY)
    size = -(-len(block) // (parts + 1))
    first, *others = (block[at : at + size] for at in range(0, len(block), size))
    peer.send(frames.headers(1, first, complete=False))
    peer.send(*(frames.continuation(1, part, complete=part is others[-1]) for part in others))


@case("3.10", "6.10", "one CONTINUATION frame", Answer())
def _(peer: Peer) -> None:
    _split(peer, parts=1)


@case("3.10", "6.10", "several CONTINUATION frames", Answer())
def _(peer: Peer) -> None:
    _split(peer, parts=5)


# --- messages


@case("4", "8.1", "a GET request", Answer())
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request()))


@case("4", "8.1", "a HEAD request", Answer())
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request(b"HEAD")))


@case("4", "8.1", "a POST request", Answer())
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request(b"POST"), end=False), frames.data(1, b"test", end=True))
    if peer.response().body != b"test":
        raise FailedError("another content was received")


@case("4", "8.1", "a POST request with trailers", Answer())
def _(peer: Peer) -> None:
    opening = frames.headers(1, peer.request(b"POST", b"/", (b"trailer", b"x-test")), end=False)
    peer.send(opening, frames.data(1, b"test"), frames.headers(1, peer.block([(b"x-test", b"ok")])))


# --- header compression: every representation, in a request that is a good one without it


def _represented(name: str, *representations: bytes, section: str, before: bytes = b"") -> None:
    @case("5", section, name, Answer())
    def _(peer: Peer) -> None:
        block = before + fields.plain(peer.fields()) + b"".join(representations)
        peer.send(frames.headers(1, block))


USER_AGENT = 58
"""Its index in the static table: a name with an empty value."""

_represented("an indexed field", fields.indexed(USER_AGENT), section="RFC 7541 6.1")
for _kind, _section, _form in (
    ("with incremental indexing", "RFC 7541 6.2.1", fields.indexing),
    ("without indexing", "RFC 7541 6.2.2", fields.literal),
    ("never indexed", "RFC 7541 6.2.3", fields.never_indexed),
):
    for _names, _name in (("an indexed name", USER_AGENT), ("a new name", b"x-test")):
        for _coded, _huffman in (("", False), (", Huffman coded", True)):
            _represented(
                f"a literal {_kind}, {_names}{_coded}", _form(_name, b"test", huffman=_huffman), section=_section
            )
_represented("a dynamic table size update", section="RFC 7541 6.3", before=fields.size_update(128))
_represented(
    "several dynamic table size updates",
    section="RFC 7541 6.3",
    before=fields.size_update(128) + fields.size_update(4096),
)
