"""More of RFC 9113 about messages: section 8. And RFC 8441, which section 8.5 is extended by."""

from __future__ import annotations

from conformance.http2 import fields, frames
from conformance.http2.case import Group
from conformance.http2.expectations import Answer, BrokenStream, Done, Refusal
from conformance.http2.frames import Code, Flag, Type
from conformance.http2.peer import FailedError, Peer

from .messages import MALFORMED, announced
from .wire import opening

case = Group("rfc9113")

Field = tuple[bytes, bytes]


def malformed(
    place: str,
    section: str,
    what: str,
    *more: Field,
    without: bytes = b"",
    expected: BrokenStream = MALFORMED,
) -> None:
    """Declares the case of a request that `more` fields, or the lack of one, make malformed (section 8.1.1)."""

    @case(place, section, what, expected)
    def _(peer: Peer) -> None:
        usual = [pair for pair in peer.fields() if pair[0] != without]
        pseudo = [pair for pair in more if pair[0].startswith(b":")]
        others = [pair for pair in more if not pair[0].startswith(b":")]
        peer.send(frames.headers(1, fields.plain([*usual, *pseudo, *others])))


# --- 8.1 framing of messages


@case("8.1", "8.1", "a request whose trailers end it", Done("the content, then the response"))
def _(peer: Peer) -> None:
    peer.send(opening(peer), frames.data(1, b"test"), frames.headers(1, peer.block([(b"x-trailer", b"1")])))
    if peer.response().body != b"test":
        raise FailedError("another content was received")


@case("8.1", "8.1", "a HEAD request", Done("no content, whatever content-length says"))
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request(b"HEAD", b"/large")))
    response = peer.response()
    if response.body or any(frame.type == Type.DATA and frame.payload for frame in response.frames):
        raise FailedError("content in the response to HEAD")


@case("8.1", "8.1", "a response", Done("content of the length that it announces, and nothing behind its end"))
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request()))
    response = peer.response()
    if len(response.body) != int(dict(response.headers)[b"content-length"]):
        raise FailedError("content of another length")
    if any(frame.stream == 1 and frame.type != Type.WINDOW_UPDATE for frame in peer.answers_ping()):
        raise FailedError("frames behind the end of the stream")


# --- 8.1.1 malformed messages: content-length


@case("8.1.1", "8.1.1", "a content-length, and no content", MALFORMED)
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request(b"POST", b"/", (b"content-length", b"5"))))


@case("8.1.1", "8.1.1", "less content than content-length", MALFORMED)
def _(peer: Peer) -> None:
    announced(peer, b"")


@case("8.1.1", "8.1.1", "less content than content-length, and trailers", MALFORMED)
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request(b"POST", b"/", (b"content-length", b"5")), end=False))
    peer.send(frames.data(1, b"test"), frames.headers(1, peer.block([(b"x-trailer", b"1")])))


@case("8.1.1", "8.1.1", "content as long as content-length, in padded parts", Answer())
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request(b"POST", b"/", (b"content-length", b"4")), end=False))
    peer.send(frames.data(1, b"te", padding=9), frames.data(1, b"st", padding=0), frames.data(1, end=True))


@case("8.1.1", "8.1.1", "a content-length of 0, and no content", Answer())
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request(b"POST", b"/", (b"content-length", b"0"))))


malformed("8.1.1", "8.1.1", "a content-length that is no number", (b"content-length", b"five"))
malformed("8.1.1", "8.1.1", "two content-lengths that differ", (b"content-length", b"0"), (b"content-length", b"1"))

# --- 8.2.1 fields

malformed("8.2.1", "8.2.1", "a field name with a capital in it", (b"x-tEst", b"1"))
malformed("8.2.1", "8.2.1", "an empty field name", (b"", b"1"))
malformed("8.2.1", "8.2.1", "a field name with a space", (b"x test", b"1"))
malformed("8.2.1", "8.2.1", "a field name with a control character", (b"x\x01test", b"1"))
malformed("8.2.1", "8.2.1", "a field name with NUL", (b"x\x00test", b"1"))
malformed("8.2.1", "8.2.1", "a field name with DEL", (b"x\x7ftest", b"1"))
malformed("8.2.1", "8.2.1", "a field name with an octet above 0x7f", ("x-tést".encode(), b"1"))
malformed("8.2.1", "8.2.1", "a field name with a colon in it", (b"x:test", b"1"))
malformed("8.2.1", "8.2.1", "a field name with a line feed", (b"x\ntest", b"1"))
malformed("8.2.1", "8.2.1", "a field value with NUL", (b"x-test", b"a\x00b"))
malformed("8.2.1", "8.2.1", "a field value with a line feed", (b"x-test", b"a\nb: c"))
malformed("8.2.1", "8.2.1", "a field value with a carriage return", (b"x-test", b"a\rb"))
malformed("8.2.1", "8.2.1", "a field value that begins with a space", (b"x-test", b" a"))
malformed("8.2.1", "8.2.1", "a field value that begins with a tab", (b"x-test", b"\ta"))
malformed("8.2.1", "8.2.1", "a field value that ends with a space", (b"x-test", b"a "))
malformed("8.2.1", "8.2.1", "a field value that ends with a tab", (b"x-test", b"a\t"))
malformed("8.2.1", "8.2.1", "a :path with NUL", (b":path", b"/a\x00b"), without=b":path")
malformed("8.2.1", "8.2.1", "a :path with a line feed", (b":path", b"/a\nb"), without=b":path")


@case("8.2.1", "8.2.1", "an empty field value, and one with tab, space and octets above 0x7f inside", Done("as sent"))
def _(peer: Peer) -> None:
    sent = [(b"x-empty", b""), (b"x-odd", "a\t b é".encode())]
    peer.send(frames.headers(1, fields.plain([*peer.fields(b"GET", b"/fields"), *sent])))
    body = peer.response().body
    if any(b"%b: %b\n" % pair not in body for pair in sent):
        raise FailedError(f"{body!r}")


@case("8.2.1", "8.2.1", "trailers with a field name in upper case", MALFORMED)
def _(peer: Peer) -> None:
    peer.send(opening(peer), frames.data(1, b"test"), frames.headers(1, fields.plain([(b"X-Trailer", b"1")])))


# --- 8.2.2 connection-specific fields

for _field in (
    (b"connection", b"close"),
    (b"proxy-connection", b"keep-alive"),
    (b"keep-alive", b"timeout=5"),
    (b"transfer-encoding", b"chunked"),
    (b"upgrade", b"h2c"),
    (b"te", b"gzip"),
):
    malformed("8.2.2", "8.2.2", _field[0].decode(), _field)


@case("8.2.2", "8.2.2", "TE: trailers", Answer())
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request(b"GET", b"/", (b"te", b"trailers"))))


@case("8.2.2", "8.2.2", "a connection-specific field in trailers", MALFORMED)
def _(peer: Peer) -> None:
    trailers = fields.plain([(b"connection", b"close")])
    peer.send(opening(peer), frames.data(1, b"test"), frames.headers(1, trailers))


# --- 8.3.1 pseudo-header fields of requests

INVALID = Refusal(Code.PROTOCOL_ERROR)
"""A value that is well formed as a field, and means nothing."""

malformed("8.3.1", "8.3.1", ":authority twice", (b":authority", b"localhost"))
malformed("8.3.1", "8.3.1", "a :path without a slash", (b":path", b"path"), without=b":path", expected=INVALID)
malformed("8.3.1", "8.3.1", "the :path * for GET", (b":path", b"*"), without=b":path", expected=INVALID)
malformed("8.3.1", "8.3.1", "an empty :method", (b":method", b""), without=b":method", expected=INVALID)
malformed("8.3.1", "8.3.1", "a :method that is no token", (b":method", b"G E T"), without=b":method", expected=INVALID)
malformed(
    "8.3.1",
    "8.3.1",
    "an :authority with userinfo",
    (b":authority", b"me@localhost"),
    without=b":authority",
    expected=INVALID,
)
malformed("8.3.1", "8.3.1", ":Path", (b":Path", b"/"), without=b":path")


@case("8.3.1", "8.3.1", "OPTIONS with the :path *", Done("no stream error"))
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.request(b"OPTIONS", b"*")))
    peer.response()


@case("8.3.1", "8.3.1", "host in place of :authority", Answer())
def _(peer: Peer) -> None:
    given = [pair for pair in peer.fields() if pair[0] != b":authority"]
    peer.send(frames.headers(1, peer.block([*given, (b"host", peer.target.authority)])))


@case("8.3.1", "8.3", "pseudo-header fields in any order", Answer())
def _(peer: Peer) -> None:
    peer.send(frames.headers(1, peer.block(peer.fields()[::-1])))


@case("8.3.1", "8.3", "a header block without any field", MALFORMED)
def _(peer: Peer) -> None:
    peer.send(frames.frame(Type.HEADERS, Flag.END_HEADERS | Flag.END_STREAM, 1))


# --- 8.5 CONNECT, and RFC 8441


def connect(place: str, section: str, what: str, *given: Field) -> None:
    @case(place, section, what, INVALID)
    def _(peer: Peer) -> None:
        peer.send(frames.headers(1, fields.plain([(b":method", b"CONNECT"), *given])))


connect("8.5", "8.5", "CONNECT without :authority")
connect(
    "8.5", "8.5", "CONNECT with :scheme and :path", (b":scheme", b"https"), (b":path", b"/"), (b":authority", b"x:1")
)
connect("8.5", "8.5", "CONNECT with :path", (b":path", b"/"), (b":authority", b"x:1"))
connect(
    "8.5", "RFC 8441 4", "CONNECT with :protocol, without :path", (b":protocol", b"websocket"), (b":authority", b"x")
)
malformed("8.5", "RFC 8441 4", "GET with :protocol", (b":protocol", b"websocket"))
