//! The head of a request: its line and its fields. This file does not decide the body's length, and answers nothing.
//!
//! A head is read line by line as its lines arrive, each once: a `scanned` offset remembers how far a line end was looked
//! for. A header block that equals the connection's last one byte for byte is not read again at all: its fields and what
//! they say are still here.
//!
//! Why not httparse: it starts over with every part that arrives, and takes bare LFs. With the least that has to be around
//! it, it takes 225 ns for a head of eight fields; here the whole step, the exchange opened, takes 200, and 40 where the
//! block is repeated (benches/http1.rs). It stays as a second opinion in tests/properties.rs.

use std::ops::Range;
use std::rc::Rc;

use asgi::{Headers, HttpVersion};

use super::facts::Facts;
use crate::bytes;
use crate::error::RequestError;
use crate::limits::Limits;
use crate::semantics;

/// Reads heads, one after another.
pub(super) struct HeadReader {
    /// Where the search for the next line end goes on, from the start of the head.
    scanned: usize,
    /// Where the line at hand starts.
    line_start: usize,
    /// Once it has been read.
    request_line: Option<RequestLine>,
    fields: Fields,
    blank_lines: u8,
    /// The raw header block of `headers`, its empty line included; empty when there is none to be repeated.
    block: Vec<u8>,
    headers: Rc<Headers>,
    facts: Facts,
}

/// Where the fields of the head at hand stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fields {
    /// So many bytes of them are those of the remembered block.
    Repeating(usize),
    /// They are being read.
    Read,
}

/// A request line, as places in the head.
#[derive(Clone, Copy)]
pub(super) struct RequestLine {
    pub(super) method_end: usize,
    pub(super) target_end: usize,
    pub(super) version: HttpVersion,
    end: usize,
}

/// A head that is whole.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) line: RequestLine,
    /// Its bytes, the empty line included.
    pub(super) length: usize,
    /// Whether the fields are those of the head before.
    pub(super) repeated: bool,
    pub(super) facts: Facts,
}

impl HeadReader {
    pub(super) fn new() -> Self {
        Self {
            scanned: 0,
            line_start: 0,
            request_line: None,
            fields: Fields::Repeating(0),
            blank_lines: 0,
            block: Vec::new(),
            headers: Rc::default(),
            facts: Facts::default(),
        }
    }

    /// Whether nothing of a head has come.
    pub(super) fn is_empty(&self) -> bool {
        self.scanned == 0 && self.request_line.is_none()
    }

    /// The fields of the last head that was whole.
    pub(super) fn headers(&self) -> &Rc<Headers> {
        &self.headers
    }

    /// Forgets the remembered block and gives its memory back; only between heads.
    pub(super) fn release_memory(&mut self) {
        *self = Self::new();
    }

    /// The next header block is to be read in any case: what the application saw last is not what is remembered here.
    pub(super) fn forget_block(&mut self) {
        self.block.clear();
    }

    /// How many bytes of empty lines stand ahead of the request line (RFC 9112 section 2.2).
    pub(super) fn blank_lines(&mut self, input: &[u8]) -> Result<usize, RequestError> {
        let mut length = 0;
        while self.is_empty() && input[length..].starts_with(b"\r\n") {
            self.blank_lines += 1;
            length += 2;
            if self.blank_lines > Limits::BLANK_LINES {
                return Err(RequestError::BlankLines);
            }
        }
        Ok(length)
    }

    /// Reads on in the head that starts where `input` starts; None: it goes on behind the input.
    pub(super) fn read(&mut self, input: &[u8], limit: usize) -> Result<Option<Head>, RequestError> {
        // Places in the header list are 32 bits wide.
        let limit = limit.min(i32::MAX as usize);
        let window = &input[..input.len().min(limit)];
        // What cannot be a method is no HTTP (TLS, as a rule), and no line end may ever come.
        if self.is_empty() && window.first().is_some_and(|&byte| !semantics::is_token_byte(byte) && byte != b'\r') {
            return Err(RequestError::Method);
        }
        match self.read_window(window)? {
            Some(head) => {
                (self.scanned, self.line_start, self.request_line) = (0, 0, None);
                (self.fields, self.blank_lines) = (Fields::Repeating(0), 0);
                Ok(Some(head))
            }
            None if window.len() < limit => Ok(None),
            None if self.request_line.is_none() => Err(RequestError::TargetTooLong),
            None => Err(RequestError::FieldsTooLarge),
        }
    }

    fn read_window(&mut self, window: &[u8]) -> Result<Option<Head>, RequestError> {
        let line = match self.request_line {
            Some(line) => line,
            None => match self.next_line(window)? {
                Some(line) => *self.request_line.insert(read_request_line(&window[..line.end - 2])?),
                None => return Ok(None),
            },
        };
        let complete = match self.fields {
            Fields::Repeating(same) => self.repeat(window, line.end, same)?,
            Fields::Read => self.read_fields(window, line.end)?.then_some((self.line_start, false)),
        };
        Ok(complete.map(|(length, repeated)| Head { line, length, repeated, facts: self.facts }))
    }

    /// Compares with the remembered block what has not been compared yet.
    fn repeat(&mut self, window: &[u8], start: usize, same: usize) -> Result<Option<(usize, bool)>, RequestError> {
        let arrived = &window[start..];
        let known = arrived.len().min(self.block.len());
        if known > 0 && arrived[same..known] == self.block[same..known] {
            self.fields = Fields::Repeating(known);
            return Ok((known == self.block.len()).then_some((start + known, true)));
        }
        if arrived.is_empty() {
            return Ok(None);
        }
        self.begin_fields();
        Ok(self.read_fields(window, start)?.then_some((self.line_start, false)))
    }

    fn begin_fields(&mut self) {
        self.fields = Fields::Read;
        self.block.clear();
        self.facts = Facts::default();
        match Rc::get_mut(&mut self.headers) {
            Some(headers) => headers.clear(),
            // Whoever still holds the last list keeps it.
            None => self.headers = Rc::default(),
        }
    }

    /// Whether the empty line has been read.
    fn read_fields(&mut self, window: &[u8], start: usize) -> Result<bool, RequestError> {
        while let Some(line) = self.next_line(window)? {
            if line.len() == 2 {
                let block = &window[start..self.line_start];
                if block.len() <= Limits::REMEMBERED_BLOCK {
                    self.block.extend_from_slice(block);
                }
                return Ok(true);
            }
            self.read_field(&window[line])?;
        }
        Ok(false)
    }

    /// `line` with its CRLF, and no other control character but tabs.
    fn read_field(&mut self, line: &[u8]) -> Result<(), RequestError> {
        let headers = Rc::make_mut(&mut self.headers);
        if headers.len() == Limits::FIELDS {
            return Err(RequestError::TooManyFields);
        }
        let content = &line[..line.len() - 2];
        let colon = bytes::position(content, b':').ok_or_else(|| name_error(content))?;
        let value = &content[colon + 1..];
        if is_canonical(value) {
            let name = headers.push_line(line, colon).ok_or_else(|| name_error(content))?;
            return self.facts.note(name, &value[1..]);
        }
        let (name, value) = (&content[..colon], value.trim_ascii());
        if !semantics::is_token(name) {
            return Err(name_error(content));
        }
        headers.push_checked(name, value);
        self.facts.note(&name.to_ascii_lowercase(), value)
    }

    /// The next line with its CRLF, where it is whole. Looking for the first control character finds its end and every
    /// byte that may stand in no line, in one pass.
    fn next_line(&mut self, window: &[u8]) -> Result<Option<Range<usize>>, RequestError> {
        while let Some(at) = bytes::position_of_control(&window[self.scanned..]) {
            let at = self.scanned + at;
            match (window[at], window.get(at + 1)) {
                (b'\t', _) => self.scanned = at + 1,
                (b'\r', Some(b'\n')) => {
                    let start = std::mem::replace(&mut self.line_start, at + 2);
                    self.scanned = at + 2;
                    return Ok(Some(start..at + 2));
                }
                (b'\r', None) => {
                    self.scanned = at;
                    return Ok(None);
                }
                (b'\r' | b'\n', _) => return Err(RequestError::LineEnd),
                _ if self.request_line.is_none() => return Err(RequestError::RequestLine),
                _ => return Err(RequestError::FieldValue),
            }
        }
        self.scanned = window.len();
        Ok(None)
    }
}

/// The length of every HTTP-version (RFC 9112 section 2.3).
const VERSION: usize = "HTTP/1.1".len();

/// `method SP request-target SP HTTP-version` (RFC 9112 section 3), with exactly these spaces.
fn read_request_line(line: &[u8]) -> Result<RequestLine, RequestError> {
    let method_end = semantics::token_length(line);
    if method_end == 0 || line.get(method_end) != Some(&b' ') {
        return Err(if line.contains(&b' ') { RequestError::Method } else { RequestError::RequestLine });
    }
    let space = line.len().checked_sub(VERSION + 1).filter(|&at| at > method_end + 1 && line[at] == b' ');
    let target_end = space.ok_or(RequestError::RequestLine)?;
    let version = read_version(&line[target_end + 1..])?;
    if !semantics::is_target(&line[method_end + 1..target_end]) {
        return Err(RequestError::Target);
    }
    Ok(RequestLine { method_end, target_end, version, end: line.len() + 2 })
}

/// A later minor version is what this one understands of it (RFC 9110 section 2.5).
fn read_version(version: &[u8]) -> Result<HttpVersion, RequestError> {
    match version {
        b"HTTP/1.1" => Ok(HttpVersion::Http11),
        b"HTTP/1.0" => Ok(HttpVersion::Http10),
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9'] => Ok(HttpVersion::Http11),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(RequestError::Version),
        _ => Err(RequestError::RequestLine),
    }
}

/// Whether a value, with what is behind the colon, is one space and then no white space at either end: the form in which
/// nearly everybody sends it, and in which the list keeps it.
fn is_canonical(value: &[u8]) -> bool {
    match value {
        [b' ', first, ..] => !is_white(*first) && !value.last().is_some_and(|&last| is_white(last)),
        _ => false,
    }
}

const fn is_white(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// What is wrong with the name of this line (RFC 9112 sections 5.1 and 5.2).
fn name_error(line: &[u8]) -> RequestError {
    let length = semantics::token_length(line);
    match line.get(length) {
        Some(b' ' | b'\t') if length == 0 => RequestError::FieldFolded,
        Some(b' ' | b'\t') => RequestError::FieldSpace,
        _ => RequestError::FieldName,
    }
}
