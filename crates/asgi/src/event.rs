//! What the two sides say to each other (HTTP-01 to HTTP-32, WS-01 to WS-29, EXT rows).

use std::fmt;
use std::fs::File;
use std::path::PathBuf;

use crate::{Headers, InvalidHeader};

/// A message of a WebSocket, whole (WS-08): `B` holds bytes, `T` text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<B = Vec<u8>, T = String> {
    /// `text`
    Text(T),
    /// `bytes`
    Binary(B),
}

impl<B: AsRef<[u8]>, T: AsRef<str>> Message<B, T> {
    /// The bytes of either kind.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_ref().as_bytes(),
            Self::Binary(bytes) => bytes.as_ref(),
        }
    }
}

/// What `receive` gives. `B` is how the application wants bytes, `T` how it wants text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceiveEvent<B = Vec<u8>, T = String> {
    /// `http.request`: a part of the body; `more_body` is false exactly once, on the last (HTTP-01, HTTP-02).
    Request {
        /// The bytes, without the framing of any transfer coding (HTTP-03).
        body: B,
        /// Whether more will come.
        more_body: bool,
    },
    /// `http.disconnect`: the response is complete or the client is gone; it repeats (HTTP-07, HTTP-08).
    Disconnect,
    /// `websocket.connect`: the client has sent its handshake and waits (WS-01).
    WebSocketConnect,
    /// `websocket.receive` (WS-07)
    WebSocketReceive(Message<B, T>),
    /// `websocket.disconnect`: the WebSocket is closed, by whichever side; it repeats (WS-14 to WS-18).
    WebSocketDisconnect {
        /// Why (RFC 6455 section 7.4): 1005 where the client's close frame said nothing, 1006 where none came.
        code: u16,
        /// What the close frame said beside the code.
        reason: String,
    },
}

/// The head of a response: `http.response.start` (HTTP-13).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseStart {
    /// 200 to 999 (HTTP-27).
    pub status: u16,
    /// The header fields, in the order in which they go on the wire.
    pub headers: Headers,
    /// Whether `ResponseTrailers` will follow the last body event (EXT-13).
    pub trailers: bool,
}

/// What an application may send. `B` is what it holds bytes in, `T` text: large ones are written from there.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendEvent<B = Vec<u8>, T = String> {
    /// `http.response.start`
    ResponseStart(ResponseStart),
    /// `http.response.body` (HTTP-15)
    ResponseBody {
        /// The bytes of this part.
        body: B,
        /// Whether another part follows.
        more_body: bool,
    },
    /// `http.response.trailers` (EXT-13)
    ResponseTrailers {
        /// The trailer fields.
        headers: Headers,
        /// Whether more of them follow; they are merged.
        more_trailers: bool,
    },
    /// `http.response.pathsend` (EXT-08): the file's content is the whole body.
    ResponsePathsend {
        /// An absolute path.
        path: PathBuf,
    },
    /// `http.response.zerocopysend` (EXT-06): a part of the body, out of a file.
    ResponseZerocopysend {
        /// The file; the application keeps (and closes) its own descriptor, this one is a duplicate.
        file: File,
        /// Where to start; the file's position where None.
        offset: Option<u64>,
        /// How many bytes; to the end of the file where None.
        count: Option<u64>,
        /// Whether another part follows.
        more_body: bool,
    },
    /// `http.response.early_hint` (EXT-11): one 103 response.
    ResponseEarlyHint {
        /// The values of its `link` fields.
        links: Vec<Vec<u8>>,
    },
    /// `websocket.accept` (WS-04)
    WebSocketAccept {
        /// One of those that the client offered, or none (WS-06).
        subprotocol: Option<String>,
        /// Further fields of the handshake's response, in order; those of the handshake itself are the server's (WS-05).
        headers: Headers,
    },
    /// `websocket.send` (WS-10)
    WebSocketSend(Message<B, T>),
    /// `websocket.close`: before the accept, a 403 (WS-11); after it, a close frame (WS-12).
    WebSocketClose {
        /// 1000 to 4999, and none of those that only report (WS-13).
        code: u16,
        /// At most 123 bytes.
        reason: String,
    },
    /// `websocket.http.response.start` (EXT-01): denies the handshake by a response of the application's own.
    WebSocketResponseStart(ResponseStart),
    /// `websocket.http.response.body` (EXT-01)
    WebSocketResponseBody {
        /// The bytes of this part.
        body: B,
        /// Whether another part follows.
        more_body: bool,
    },
}

impl<B, T> SendEvent<B, T> {
    /// The event's `type`, as ASGI writes it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ResponseStart(_) => "http.response.start",
            Self::ResponseBody { .. } => "http.response.body",
            Self::ResponseTrailers { .. } => "http.response.trailers",
            Self::ResponsePathsend { .. } => "http.response.pathsend",
            Self::ResponseZerocopysend { .. } => "http.response.zerocopysend",
            Self::ResponseEarlyHint { .. } => "http.response.early_hint",
            Self::WebSocketAccept { .. } => "websocket.accept",
            Self::WebSocketSend(_) => "websocket.send",
            Self::WebSocketClose { .. } => "websocket.close",
            Self::WebSocketResponseStart(_) => "websocket.http.response.start",
            Self::WebSocketResponseBody { .. } => "websocket.http.response.body",
        }
    }
}

/// Why an event was not sent. The exchange is as it was before (HTTP-25).
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The client is gone (HTTP-28): nobody's fault, to be passed up quietly.
    Disconnected,
    /// The event may not come now (HTTP-24); `allowed` says what may.
    OutOfOrder {
        /// The event's `type`.
        event: &'static str,
        /// What the exchange waits for, as a phrase: "http.response.start".
        allowed: &'static str,
    },
    /// The status is none that ends an exchange (HTTP-27).
    Status(u16),
    /// A header field that may not go on the wire.
    Header(InvalidHeader),
    /// `content-length` is no number or says two.
    ContentLength,
    /// The body is longer than the promised `content-length` (HTTP-21).
    BodyTooLong {
        /// What `content-length` promised, in bytes.
        promised: u64,
    },
    /// The file of a pathsend or zerocopysend cannot be read (EXT-09).
    File(std::io::Error),
    /// A subprotocol that the client did not offer (WS-06).
    Subprotocol(String),
    /// A header field that is the server's to send in the response to a WebSocket handshake (WS-05).
    HandshakeHeader(&'static str),
    /// A code that may not stand in a close frame (WS-13).
    CloseCode(u16),
    /// A reason that does not fit into a close frame: so many bytes (WS-13).
    CloseReason(usize),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected => f.write_str("the client has disconnected"),
            Self::OutOfOrder { event, allowed } => write!(f, "'{event}' may not be sent now: expected {allowed}"),
            Self::Status(status) => {
                write!(f, "{status} is no status of a final response: expected 200 to 999")
            }
            Self::Header(error) => error.fmt(f),
            Self::ContentLength => f.write_str("the content-length is not one decimal number"),
            Self::BodyTooLong { promised } => {
                write!(f, "the response body is longer than its content-length of {promised} bytes")
            }
            Self::File(error) => write!(f, "the file to send cannot be read: {error}"),
            Self::Subprotocol(name) => write!(f, "the client did not offer the subprotocol {name:?}"),
            Self::HandshakeHeader(name) => {
                write!(f, "the header \"{name}\" is the server's to send when it accepts a WebSocket")
            }
            Self::CloseCode(code) => {
                write!(f, "{code} may not be sent as a close code: expected 1000 to 4999, without 1005, 1006 and 1015")
            }
            Self::CloseReason(length) => {
                write!(f, "the reason of a close has {length} bytes in UTF-8: at most 123 fit into its frame")
            }
        }
    }
}

impl std::error::Error for SendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Header(error) => Some(error),
            Self::File(error) => Some(error),
            _ => None,
        }
    }
}

impl From<InvalidHeader> for SendError {
    fn from(error: InvalidHeader) -> Self {
        Self::Header(error)
    }
}
