//! From a header block to a request (RFC 9113 section 8.3.1): which fields there may be, and what they say. This file knows
//! no frame and no stream, and answers nothing.
//!
//! A block that equals the last one byte for byte, where the table of the compression is what it was, is not decoded at
//! all: what it said is still here.

use std::ops::{ControlFlow, Range};
use std::rc::Rc;

use asgi::Headers;

use super::hpack::{DEFAULT_TABLE_SIZE, DecodeError, Decoded, Decoder, Field};
use super::priority::Priority;
use crate::error::RequestError;
use crate::limits::Limits;
use crate::semantics;

/// Reads the header blocks of a connection, in their order.
pub(super) struct Requests {
    decoder: Decoder,
    /// The last block that was a request, where it can be known again; empty: none.
    block: Vec<u8>,
    /// The decoder's count of changes ahead of that block.
    changes: u64,
    request: Request,
}

/// What a block says.
#[derive(Default)]
pub(super) struct Request {
    /// The values of the pseudo-header fields, one behind the other.
    line: Vec<u8>,
    method: Range<usize>,
    path: Range<usize>,
    seen: u8,
    has_regular: bool,
    error: Option<RequestError>,
    /// The fields, :authority as the host among them.
    pub(super) headers: Rc<Headers>,
    pub(super) facts: Facts,
}

/// What matters of a request to its stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) content_length: Option<u64>,
    pub(super) te_trailers: bool,
    pub(super) expects_continue: bool,
    /// An extended CONNECT for a WebSocket (RFC 8441 section 4).
    pub(super) websocket: bool,
    pub(super) priority: Priority,
    has_host: bool,
    has_authority: bool,
    /// Whether :protocol is `websocket`, where it is there.
    protocol: Option<bool>,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            content_length: None,
            te_trailers: false,
            expects_continue: false,
            websocket: false,
            priority: Priority::UNKNOWN,
            has_host: false,
            has_authority: false,
            protocol: None,
        }
    }
}

const METHOD: u8 = 1;
const SCHEME: u8 = 1 << 1;
const AUTHORITY: u8 = 1 << 2;
const PATH: u8 = 1 << 3;
const PROTOCOL: u8 = 1 << 4;

/// What came of a block.
pub(super) enum Read {
    /// A request; whether its fields are those of the last one.
    Request { repeated: bool },
    /// None that may be served.
    Refused(RequestError),
}

impl Requests {
    pub(super) fn new() -> Self {
        Self { decoder: Decoder::new(DEFAULT_TABLE_SIZE), block: Vec::new(), changes: 0, request: Request::default() }
    }

    /// The last request that was read.
    pub(super) fn request(&self) -> &Request {
        &self.request
    }

    /// Reads a block as a request. `limit`: of its list, in bytes as RFC 9113 section 10.5.1 counts them. `connect`:
    /// whether an extended CONNECT may come.
    pub(super) fn read(&mut self, block: &[u8], limit: usize, connect: bool) -> Result<Read, DecodeError> {
        let changes = self.decoder.changes();
        if !self.block.is_empty() && self.changes == changes && self.block == block {
            return Ok(Read::Request { repeated: true });
        }
        self.block.clear();
        let request = &mut self.request;
        request.clear();
        let decoded = self.decoder.decode(block, limit, &mut |field| {
            if let Err(error) = request.field(&field) {
                request.error.get_or_insert(error);
            }
            ControlFlow::Continue(())
        })?;
        // An error ahead of the limit is as good a reason, but what did not fit was not looked at.
        let error = if decoded == Decoded::TooLarge { Some(RequestError::FieldsTooLarge) } else { request.error };
        if let Some(error) = error.or_else(|| request.check(connect).err()) {
            return Ok(Read::Refused(error));
        }
        if self.decoder.changes() == changes && block.len() <= Limits::REMEMBERED_BLOCK {
            self.block.extend_from_slice(block);
            self.changes = changes;
        }
        Ok(Read::Request { repeated: false })
    }

    /// Reads the trailers of a request, which nobody sees: whether they are well-formed (section 8.1).
    pub(super) fn read_trailers(&mut self, block: &[u8], limit: usize) -> Result<bool, DecodeError> {
        let mut valid = true;
        let decoded = self.decoder.decode(block, limit, &mut |field| {
            valid &= check_name(field.name).is_ok() && check_value(field.value).is_ok() && !is_forbidden(field.name);
            ControlFlow::Continue(())
        })?;
        Ok(valid && decoded == Decoded::Whole)
    }

    /// Reads a block that nobody wants, so that the table stays what the peer takes it for.
    pub(super) fn skip(&mut self, block: &[u8]) -> Result<(), DecodeError> {
        self.decoder.decode(block, 0, &mut |_| ControlFlow::Break(())).map(|_| ())
    }

    /// Forgets what is only remembered, and gives its memory back.
    pub(super) fn release_memory(&mut self) {
        self.decoder.release_memory();
        self.block = Vec::new();
        self.request = Request::default();
    }
}

impl Request {
    fn clear(&mut self) {
        match Rc::get_mut(&mut self.headers) {
            Some(headers) => headers.clear(),
            // Whoever still holds the last list keeps it.
            None => self.headers = Rc::default(),
        }
        self.line.clear();
        (self.method, self.path) = (0..0, 0..0);
        (self.seen, self.has_regular, self.error) = (0, false, None);
        self.facts = Facts::default();
    }

    /// In uppercase.
    pub(super) fn method(&self) -> &str {
        match &self.line[self.method.clone()] {
            b"GET" => "GET",
            b"POST" => "POST",
            method => str::from_utf8(method).unwrap_or_default(),
        }
    }

    /// As far as is known.
    pub(super) fn is_head(&self) -> bool {
        self.line[self.method.clone()].eq_ignore_ascii_case(b"HEAD")
    }

    /// The path and the query behind its `?`.
    pub(super) fn target(&self) -> (&[u8], &[u8]) {
        let target = &self.line[self.path.clone()];
        match memchr::memchr(b'?', target) {
            Some(mark) => (&target[..mark], &target[mark + 1..]),
            None => (target, b""),
        }
    }

    fn field(&mut self, field: &Field<'_>) -> Result<(), RequestError> {
        match field.name.first() {
            Some(b':') => self.pseudo(field),
            _ => self.regular(field),
        }
    }

    /// A pseudo-header field: each at most once, and ahead of all others (section 8.3).
    fn pseudo(&mut self, field: &Field<'_>) -> Result<(), RequestError> {
        let value = field.value;
        let (seen, start) = (self.seen, self.line.len());
        let which = match field.name {
            b":method" => METHOD,
            b":path" => PATH,
            b":scheme" => SCHEME,
            b":authority" => AUTHORITY,
            b":protocol" => PROTOCOL,
            _ => return Err(RequestError::PseudoHeader),
        };
        self.seen |= which;
        if seen & which != 0 || self.has_regular {
            return Err(RequestError::PseudoHeader);
        }
        match which {
            METHOD => {
                self.line.extend_from_slice(value);
                self.method = start..self.line.len();
            }
            PATH => {
                self.line.extend_from_slice(value);
                self.path = start..self.line.len();
            }
            AUTHORITY => {
                if !semantics::is_host(value) {
                    return Err(RequestError::HostInvalid);
                }
                self.facts.has_authority = true;
                self.headers_mut().push_checked_with_token(b"host", value, field.token);
            }
            SCHEME if value.is_empty() => return Err(RequestError::PseudoHeader),
            SCHEME => {}
            _ => self.facts.protocol = Some(value.eq_ignore_ascii_case(b"websocket")),
        }
        Ok(())
    }

    fn headers_mut(&mut self) -> &mut Headers {
        Rc::make_mut(&mut self.headers)
    }

    fn regular(&mut self, field: &Field<'_>) -> Result<(), RequestError> {
        let Field { name, value, token } = *field;
        self.has_regular = true;
        check_name(name)?;
        check_value(value)?;
        match name {
            b"host" => {
                if std::mem::replace(&mut self.facts.has_host, true) {
                    return Err(RequestError::HostRepeated);
                }
                if !semantics::is_host(value) {
                    return Err(RequestError::HostInvalid);
                }
                if self.facts.has_authority {
                    // Its value has given way to that of :authority (HDR-05).
                    return Ok(());
                }
            }
            b"te" if value.eq_ignore_ascii_case(b"trailers") => self.facts.te_trailers = true,
            b"te" => return Err(RequestError::FieldForbidden),
            b"content-length" => self.content_length(value)?,
            b"expect" if value.eq_ignore_ascii_case(b"100-continue") => self.facts.expects_continue = true,
            b"expect" => return Err(RequestError::Expectation),
            b"priority" => self.facts.priority = Priority::read(value),
            _ if is_forbidden(name) => return Err(RequestError::FieldForbidden),
            _ => {}
        }
        let headers = self.headers_mut();
        if headers.len() == Limits::FIELDS {
            return Err(RequestError::TooManyFields);
        }
        headers.push_checked_with_token(name, value, token);
        Ok(())
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), RequestError> {
        match (self.facts.content_length, semantics::content_length(value)) {
            (None, length @ Some(_)) => {
                self.facts.content_length = length;
                Ok(())
            }
            _ => Err(RequestError::ContentLength),
        }
    }

    /// What is wrong with the request as a whole (section 8.3.1, RFC 8441 section 4).
    fn check(&mut self, connect: bool) -> Result<(), RequestError> {
        let method = &mut self.line[self.method.clone()];
        if !semantics::is_token(method) {
            return Err(if self.seen & METHOD == 0 { RequestError::PseudoHeader } else { RequestError::Method });
        }
        method.make_ascii_uppercase();
        let is_connect = method == b"CONNECT";
        match (is_connect, self.facts.protocol) {
            (true, None) => return Err(RequestError::Connect),
            (false, None) => {}
            (true, Some(true)) if connect => self.facts.websocket = true,
            (true, Some(_)) if connect => return Err(RequestError::Connect),
            _ => return Err(RequestError::PseudoHeader),
        }
        if self.seen & (PATH | SCHEME) != PATH | SCHEME {
            return Err(RequestError::PseudoHeader);
        }
        if !self.facts.has_host && !self.facts.has_authority {
            return Err(RequestError::HostMissing);
        }
        let path = &self.line[self.path.clone()];
        let is_asterisk = path == b"*" && self.line[self.method.clone()] == *b"OPTIONS";
        if !is_asterisk && path.first() != Some(&b'/') || !semantics::is_target(path) {
            return Err(RequestError::Target);
        }
        Ok(())
    }
}

/// A name is a token in lowercase (section 8.2.1).
fn check_name(name: &[u8]) -> Result<(), RequestError> {
    if semantics::is_token(name) && !name.iter().any(u8::is_ascii_uppercase) {
        Ok(())
    } else {
        Err(RequestError::FieldName)
    }
}

/// A value has no CR, LF or NUL, and no white space at its ends (section 8.2.1).
fn check_value(value: &[u8]) -> Result<(), RequestError> {
    let is_white = |byte: &u8| matches!(byte, b' ' | b'\t');
    let is_broken = crate::bytes::position_of_control(value).is_some_and(|at| {
        // Tabs are allowed, and rare.
        value[at..].iter().any(|&byte| !semantics::is_value_byte(byte))
    });
    if is_broken || value.first().is_some_and(is_white) || value.last().is_some_and(is_white) {
        return Err(RequestError::FieldValue);
    }
    Ok(())
}

/// Fields about the connection, which HTTP/2 does not have (section 8.2.2).
fn is_forbidden(name: &[u8]) -> bool {
    matches!(name, b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade")
}
