//! Every bound and time of a connection: default, unit, reason. This file knows no option's name and reads no clock.

use std::rc::Rc;
use std::time::{Duration, Instant};

use asgi::Headers;

use crate::{http2, websocket};

/// Bounds, times and what every response carries; shared by the connections of a worker.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a request's line and fields together, 65,536. A longer line is answered 414, longer fields 431.
    pub head: usize,
    /// Bytes of a request's body; None is no limit. Answered 413 above: at once where Content-Length says so.
    pub body: Option<u64>,
    /// From the end of a response to the first byte of the next request, 5 s.
    pub keep_alive: Duration,
    /// From the first byte of a request's head to its last, 10 s; also from the start of the connection to its first byte.
    pub request_head: Duration,
    /// Without a byte of a body that the application waits for, 60 s.
    pub request_body: Duration,
    /// Without the peer taking a byte while bytes of a response wait, 60 s.
    pub response: Duration,
    /// From the last byte written to the peer's end of input, 2 s (RFC 9112 section 9.6: closing with input unread would
    /// reset the connection and could take the response with it). Also how long an unread body is read away.
    pub linger: Duration,
    /// Fields of every final response: `server` and what the operator adds. A `server` or `date` of the application's
    /// keeps the one in here away (HDR-14); what frames a message is left out.
    pub headers: Headers,
    /// Whether responses carry `date` (RFC 9110 section 6.6.1), true.
    pub date: bool,
    /// Those of WebSockets; None: there are none, and a handshake is a request like any other.
    pub websocket: Option<Rc<websocket::Limits>>,
    /// Those of HTTP/2; None: it is not offered.
    pub http2: Option<Rc<http2::Limits>>,
}

impl Limits {
    /// The fields of a head, 100, as in Apache httpd, Tomcat and hyper: more fields would only cost memory and time.
    pub const FIELDS: usize = 100;

    /// Bytes of one chunk's extensions, 256: nobody needs them, and nobody looks at them (RFC 9112 section 7.1.1).
    pub const CHUNK_EXTENSION: u32 = 256;

    /// Bytes of all chunk extensions of a body, 16 KiB, as in hyper.
    pub const CHUNK_EXTENSIONS: u32 = 16 * 1024;

    /// Bytes of the trailer fields of a body, 16 KiB; they are read and dropped (HTTP-03).
    pub const TRAILERS: u32 = 16 * 1024;

    /// Empty lines before a request line, 4: RFC 9112 section 2.2 asks for one at least.
    pub const BLANK_LINES: u8 = 4;

    /// Bytes of a body nobody asked for that are read away to keep the connection, 64 KiB; beyond, closing is cheaper.
    pub const DISCARD: u64 = 64 * 1024;

    /// Bytes of complete responses waiting for the peer above which its next request is not looked at, 64 KiB: a peer that
    /// sends requests and reads no response must not fill the memory.
    pub const PIPELINE: u64 = 64 * 1024;

    /// Bytes of a raw header block that are remembered to know its repetition, 16 KiB.
    pub const REMEMBERED_BLOCK: usize = 16 * 1024;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: 65_536,
            body: None,
            keep_alive: Duration::from_secs(5),
            request_head: Duration::from_secs(10),
            request_body: Duration::from_secs(60),
            response: Duration::from_secs(60),
            linger: Duration::from_secs(2),
            headers: Headers::new(),
            date: true,
            websocket: Some(Rc::default()),
            http2: Some(Rc::default()),
        }
    }
}

/// What a connection needs from outside, made by its driver once for many calls.
#[derive(Clone, Copy, Debug)]
pub struct Now<'a> {
    /// The time.
    pub instant: Instant,
    /// The same as an IMF-fixdate, 29 bytes (RFC 9110 section 5.6.7): the value of `date`.
    pub date: &'a [u8],
}
