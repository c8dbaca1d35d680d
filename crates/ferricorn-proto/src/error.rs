//! Errors by whose fault they are. Everything here is the peer's; what the application does wrong is
//! [`asgi::SendError`]. This file knows no bytes and no socket.

use std::fmt;

/// Why a request was refused. [`status`](Self::status) is the one table from reasons to the wire; the text is one line for
/// the log and the body of the answer. The connection closes after each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestError {
    /// The request line is not `method SP target SP version`.
    RequestLine,
    /// The method is not a token.
    Method,
    /// The target has a byte that may not stand in one, or is of no form that the method allows (RFC 9112 section 3.2).
    Target,
    /// The request line does not fit into the limit for the head.
    TargetTooLong,
    /// HTTP, but not version 1.
    Version,
    /// A CONNECT request: this server is no proxy.
    Connect,
    /// A CR or LF that is not part of a CRLF.
    LineEnd,
    /// More empty lines before the request line than RFC 9112 section 2.2 makes one tolerate.
    BlankLines,
    /// The name of a field is not a token.
    FieldName,
    /// White space between a field's name and its colon (RFC 9112 section 5.1).
    FieldSpace,
    /// A field line that starts with white space (RFC 9112 section 5.2).
    FieldFolded,
    /// A control byte in the value of a field.
    FieldValue,
    /// The fields do not fit into the limit for the head.
    FieldsTooLarge,
    /// There are more fields than [`Limits::FIELDS`](crate::Limits::FIELDS).
    TooManyFields,
    /// An HTTP/1.1 request without a Host.
    HostMissing,
    /// More than one Host.
    HostRepeated,
    /// A Host, or the authority of an absolute target, that is no host with an optional port.
    HostInvalid,
    /// A Content-Length that is not one decimal number, or a second one.
    ContentLength,
    /// Both Content-Length and Transfer-Encoding (RFC 9112 section 6.1).
    LengthAndCoding,
    /// Transfer-Encoding in an HTTP/1.0 request (RFC 9112 section 6.1).
    CodingInHttp10,
    /// A Transfer-Encoding that does not end in chunked, or has it twice (RFC 9112 section 6.3).
    CodingNotChunked,
    /// A Transfer-Encoding with a coding besides chunked.
    CodingUnknown,
    /// An expectation other than 100-continue.
    Expectation,
    /// The body is larger than the limit.
    BodyTooLarge,
    /// A chunk's size is empty, not hexadecimal, or too large.
    ChunkSize,
    /// A chunk is not framed by CRLF where it must be.
    ChunkFraming,
    /// The chunk extensions hold a control byte or exceed their limit.
    ChunkExtension,
    /// A pseudo-header field that is missing, unknown, repeated or behind other fields (RFC 9113 section 8.3).
    PseudoHeader,
    /// A field about the connection in HTTP/2, or a te other than trailers (RFC 9113 section 8.2.2).
    FieldForbidden,
    /// A body that is longer or shorter than its content-length (RFC 9113 section 8.1.1).
    BodyLength,
    /// A trailer field that is malformed.
    Trailer,
    /// The trailer fields do not fit into their limit.
    TrailersTooLarge,
    /// A WebSocket handshake with a method other than GET (RFC 6455 section 4.2.1).
    WebSocketMethod,
    /// A WebSocket handshake with a body.
    WebSocketBody,
    /// A WebSocket handshake whose Sec-WebSocket-Key is not 16 bytes in base64, or not there once.
    WebSocketKey,
    /// A WebSocket handshake for another version than 13 (RFC 6455 section 4.4).
    WebSocketVersion,
    /// A Sec-WebSocket-Protocol that is no list of tokens.
    WebSocketSubprotocols,
    /// A Sec-WebSocket-Extensions that is no list of extensions (RFC 6455 section 9.1).
    WebSocketExtensions,
    /// The head did not arrive in time.
    HeadTimeout,
    /// Nothing of the body arrived for too long.
    BodyTimeout,
}

impl RequestError {
    /// The status of the answer.
    pub const fn status(self) -> u16 {
        match self {
            Self::HeadTimeout | Self::BodyTimeout => 408,
            Self::BodyTooLarge => 413,
            Self::TargetTooLong => 414,
            Self::Expectation => 417,
            Self::WebSocketVersion => 426,
            Self::FieldsTooLarge | Self::TooManyFields | Self::TrailersTooLarge => 431,
            Self::Connect | Self::CodingUnknown => 501,
            Self::Version => 505,
            _ => 400,
        }
    }

    /// One line, without a full stop.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::RequestLine => "the request line is malformed",
            Self::Method => "the method is not a token",
            Self::Target => "the request target is malformed",
            Self::TargetTooLong => "the request line is too long",
            Self::Version => "the HTTP version is not 1.x",
            Self::Connect => "CONNECT is not supported",
            Self::LineEnd => "a line does not end in CRLF",
            Self::BlankLines => "too many empty lines before the request line",
            Self::FieldName => "the name of a header field is not a token",
            Self::FieldSpace => "white space before the colon of a header field",
            Self::FieldFolded => "a folded header field",
            Self::FieldValue => "a control character in a header field",
            Self::FieldsTooLarge => "the header fields are too large",
            Self::TooManyFields => "too many header fields",
            Self::HostMissing => "the host header field is missing",
            Self::HostRepeated => "more than one host header field",
            Self::HostInvalid => "the host is malformed",
            Self::ContentLength => "the content-length is not one decimal number",
            Self::LengthAndCoding => "both content-length and transfer-encoding",
            Self::CodingInHttp10 => "transfer-encoding in an HTTP/1.0 request",
            Self::CodingNotChunked => "the transfer-encoding does not end in chunked",
            Self::CodingUnknown => "a transfer coding other than chunked",
            Self::Expectation => "an expectation other than 100-continue",
            Self::BodyTooLarge => "the request body is too large",
            Self::ChunkSize => "the size of a chunk is malformed",
            Self::ChunkFraming => "a chunk does not end in CRLF",
            Self::ChunkExtension => "a chunk extension is malformed or too long",
            Self::PseudoHeader => "the pseudo-header fields are malformed",
            Self::FieldForbidden => "a header field that HTTP/2 does not have",
            Self::BodyLength => "the request body is not as long as its content-length",
            Self::Trailer => "a trailer field is malformed",
            Self::TrailersTooLarge => "the trailer fields are too large",
            Self::WebSocketMethod => "a WebSocket handshake is a GET request",
            Self::WebSocketBody => "a WebSocket handshake has no body",
            Self::WebSocketKey => "the sec-websocket-key is not 16 bytes in base64",
            Self::WebSocketVersion => "the version of the WebSocket protocol is not 13",
            Self::WebSocketSubprotocols => "the sec-websocket-protocol is not a list of tokens",
            Self::WebSocketExtensions => "the sec-websocket-extensions is malformed",
            Self::HeadTimeout => "the request head did not arrive in time",
            Self::BodyTimeout => "the request body did not arrive in time",
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for RequestError {}

/// Which of a connection's deadlines has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeoutKind {
    /// No request began: neither a first one nor, after a response, another.
    KeepAlive,
    /// A request began and its head did not end.
    RequestHead,
    /// The application waited for the body and no byte of it came.
    RequestBody,
    /// Bytes of a response waited and the peer took none.
    Response,
    /// The peer did not close after the last response.
    Linger,
    /// A ping was sent on a WebSocket, or on a connection of HTTP/2, and no pong came.
    Pong,
    /// The settings of HTTP/2 were not acknowledged.
    Settings,
    /// A close frame was sent on a WebSocket and none came back.
    Close,
}

impl fmt::Display for TimeoutKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KeepAlive => "no request came in time",
            Self::RequestHead => "the request head did not arrive in time",
            Self::RequestBody => "the request body did not arrive in time",
            Self::Response => "the client stopped reading the response",
            Self::Linger => "the client did not close the connection",
            Self::Settings => "the client did not acknowledge the settings in time",
            Self::Pong => "the client did not answer a ping in time",
            Self::Close => "the client did not answer a close frame in time",
        })
    }
}
