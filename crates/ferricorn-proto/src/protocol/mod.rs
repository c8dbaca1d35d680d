//! What the protocols have in common: the events that bytes become, and what a driver is told about a connection.

mod either;

use std::rc::Rc;

use asgi::{Headers, HttpVersion, Message, ResponseStart};

use crate::error::RequestError;
use crate::http2::ConnectionError;
use crate::websocket::ProtocolError;
pub use either::Protocol;

/// What came of handing bytes in.
#[derive(Debug)]
pub struct Step<'b> {
    /// How many bytes at the front of the input are done with: to be dropped, before or after the event is used.
    pub consumed: usize,
    /// At most one event. None: more bytes are needed, or none are wanted now. On Err the answer, where one can be given,
    /// is already in the connection's `transmit`, and the connection is closing.
    pub event: Result<Option<Input<'b>>, RequestError>,
}

/// An event.
#[derive(Debug)]
pub enum Input<'b> {
    /// A request began.
    Request(RequestHead<'b>),
    /// A part of the current request's body, its framing taken off.
    Body {
        /// The bytes; empty only where `end` is true.
        data: &'b [u8],
        /// Whether the body is whole now.
        end: bool,
    },
    /// A message of the WebSocket that the application waited for.
    Message(Message<&'b [u8], &'b str>),
    /// The peer broke the WebSocket protocol, and the WebSocket is closed.
    Violation(ProtocolError),
    /// The peer broke the rules of HTTP/2, and the connection is closing: its GOAWAY waits to be written.
    Broken(ConnectionError),
}

/// The head of a request, borrowed from the input but for the fields.
#[derive(Debug)]
pub struct RequestHead<'b> {
    /// The number of its stream; 0 in HTTP/1, where one request follows another.
    pub stream: u32,
    /// HTTP/1.0, or 1.1 for it and everything later.
    pub version: HttpVersion,
    /// In uppercase, whatever was sent.
    pub method: &'b str,
    /// As received, without query; of an absolute target its path (`/` where it has none); `*` for `OPTIONS *`.
    pub path: &'b [u8],
    /// Behind the `?`; empty where there is none.
    pub query: &'b [u8],
    /// The fields in the order received. Of an absolute target, the authority has replaced the host.
    pub headers: Rc<Headers>,
    /// Whether `headers` is the same list as the last request's on this connection.
    pub headers_repeated: bool,
    /// Whether body events will come; false: the request is complete as it is.
    pub has_body: bool,
    /// Whether it is the handshake of a WebSocket, which the connection's `websocket` has from here on.
    pub websocket: bool,
}

/// How the exchange ended that the application's call belonged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// The response was whole before.
    Complete,
    /// The application returned without a response that could be sent: 500 has been written.
    NoResponse,
    /// The application failed ahead of the first byte of a response: 500 has been written.
    Failed500,
    /// The response ended before its end: the connection is to be reset, without anything that looks like an end.
    Truncated,
    /// The client had gone.
    Disconnected,
}

/// How a connection comes to its end when the server wants no further request on it. The later one counts for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drain {
    /// The client is told with its next response. Until then the connection may idle for as long as ever, so that no
    /// request finds it closed.
    Patient,
    /// What is idle closes now, and what is not behind its response, whether that one says so or had begun before.
    Quick,
}

/// What a driver has to do about the connection's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// Nothing: it goes on.
    No,
    /// Write what waits; then shut the writing side down and read on (into nothing) until the end of input or
    /// [`TimeoutKind::Linger`](crate::TimeoutKind::Linger).
    Flush,
    /// Close it.
    Now,
    /// Reset it, so that the peer sees that something is missing; what waits may be written before.
    Abort,
}

/// A response of the server's own: a short text, as an application would send it.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Its status.
    pub status: u16,
    /// What it says.
    pub text: &'a str,
    /// Where to go instead (RFC 9110 section 10.2.2), in bytes that a field may have.
    pub location: Option<&'a [u8]>,
    /// Whether the connection of HTTP/1 ends with it.
    pub close: bool,
}

impl Answer<'_> {
    /// Its head.
    pub(crate) fn start(&self) -> ResponseStart {
        let mut headers = Headers::new();
        if !self.text.is_empty() {
            headers.push_checked(b"content-type", b"text/plain; charset=utf-8");
        }
        if let Some(location) = self.location {
            headers.push_checked(b"location", location);
        }
        ResponseStart { status: self.status, headers, ..ResponseStart::default() }
    }
}
