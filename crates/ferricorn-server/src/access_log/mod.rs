//! The access log: what is kept of a request until its response is finished, and the line that is made of it.
//!
//! `format.rs` reads the operator's format, `line.rs` writes a line by it, `text.rs` how the peer's words stand there. What
//! no line asks for is not looked at. Where lines go is the process's business, with the help of [`LogWriter`].

mod format;
mod line;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod writer;

use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use asgi::{Address, Headers, HttpVersion, Scheme};

use crate::connection::{Request, RequestLine};
use crate::proxies::Ends;

pub use format::{AccessFormat, FormatError};
pub use line::AccessLog;
pub use writer::LogWriter;

/// How many bytes of a request are kept as memory for the next ones.
const MOST_KEPT: usize = 2048;

/// What the lines ask for beyond what every line has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// When the request came.
    wall: bool,
    /// How long the response took.
    duration: bool,
    request_headers: bool,
    response_headers: bool,
}

/// One finished response, or a request that waits for its end. Used again for other requests: it keeps its memory.
#[derive(Clone, Default)]
pub struct Access {
    needs: Needs,
    client: Option<Address>,
    server_port: u16,
    scheme: Option<Scheme>,
    line: RequestLine,
    http_version: Option<HttpVersion>,
    headers: Option<Rc<Headers>>,
    response_headers: Headers,
    status: u16,
    body_bytes: u64,
    wall: Option<SystemTime>,
    started: Option<Instant>,
    duration: Duration,
}

impl Access {
    /// A request has come. [`Access::set_client`] says from whom.
    pub(crate) fn begin(&mut self, needs: Needs, line: &RequestLine, request: &Request, ends: &Ends) {
        self.needs = needs;
        self.scheme = Some(ends.scheme);
        self.server_port = match &ends.server {
            Address::Ip(address) => address.port(),
            Address::Name(_, port) => *port,
            Address::Unix(_) => 0,
        };
        self.line.clone_from(line);
        self.http_version = Some(request.version);
        self.headers = needs.request_headers.then(|| Rc::clone(&request.headers));
        self.response_headers.clear();
        self.wall = needs.wall.then(SystemTime::now);
        // Not the time of the turn: what came before in the same turn is not this request's.
        self.started = needs.duration.then(Instant::now);
    }

    /// Who is logged as the client; None: it has no address.
    pub(crate) fn set_client(&mut self, client: Option<Address>) {
        self.client = client;
    }

    /// The response begins, with these fields of the application's.
    pub(crate) fn respond(&mut self, headers: &Headers) {
        if self.needs.response_headers {
            self.response_headers.clone_from(headers);
        }
    }

    /// The response is finished.
    pub(crate) fn end(&mut self, status: u16, body_bytes: u64) {
        (self.status, self.body_bytes) = (status, body_bytes);
        self.duration = self.started.map_or(Duration::ZERO, |started| started.elapsed());
    }

    /// Lets go of what others own, and of more memory than most requests need.
    pub(crate) fn release(&mut self) {
        self.headers = None;
        if self.line.len() + self.response_headers.as_block().len() > MOST_KEPT {
            *self = Self::default();
        }
    }

    /// The peer, where it has an address.
    pub fn client(&self) -> Option<&Address> {
        self.client.as_ref()
    }

    /// The method, in uppercase.
    pub fn method(&self) -> &str {
        self.line.method()
    }

    /// The target as received, the query included; escaped as in a line.
    pub fn target(&self) -> String {
        let mut target = Vec::new();
        self.write_target(&mut target);
        String::from_utf8_lossy(&target).into_owned()
    }

    /// The protocol version of the request: `"1.0"`, `"1.1"`.
    pub fn http_version(&self) -> &'static str {
        self.http_version.map_or("", HttpVersion::as_str)
    }

    /// The status of the response.
    pub fn status(&self) -> u16 {
        self.status
    }

    fn write_target(&self, out: &mut Vec<u8>) {
        text::escape(out, self.line.path());
        if !self.line.query().is_empty() {
            out.push(b'?');
            text::escape(out, self.line.query());
        }
    }

    fn request_header(&self, name: &[u8]) -> Option<&[u8]> {
        self.headers.as_ref()?.iter().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    fn response_header(&self, name: &[u8]) -> Option<&[u8]> {
        self.response_headers.iter().find(|(n, _)| *n == name).map(|(_, value)| value)
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(client) = &self.client {
            write!(f, "{client} - ")?;
        }
        write!(f, "\"{} {} HTTP/{}\" {}", self.method(), self.target(), self.http_version(), self.status)
    }
}
