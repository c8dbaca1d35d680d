//! A line of the access log, written into a buffer. Nothing that a peer says stands in it unescaped, so a line is one line,
//! and a value in quotes ends where it seems to.

use std::time::Duration;

use asgi::{Address, HttpVersion, Scheme};
use ferricorn_proto::http1::status_phrase;

use super::format::{Atom, Layout, Part, Unit};
use super::text::{address, basic_user, escape, host, json, number, padded};
use super::time::{LocalTime, Style};
use super::{Access, AccessFormat};

/// Writes lines of one format.
pub struct AccessLog {
    format: AccessFormat,
    time: LocalTime,
    /// The status of the last standard line, and how it was written.
    status: (u16, Vec<u8>),
}

impl AccessLog {
    /// `utc_offset` says how many seconds east of Greenwich the operator is at a unix time.
    pub fn new(format: AccessFormat, utc_offset: fn(i64) -> i32) -> Self {
        Self { format, time: LocalTime::new(utc_offset), status: (0, Vec::new()) }
    }

    /// The format.
    pub fn format(&self) -> &AccessFormat {
        &self.format
    }

    /// Writes the line of one response, its end included. The standard format may have colours.
    pub fn write(&mut self, access: &Access, colours: bool, out: &mut Vec<u8>) {
        match &self.format.layout {
            Layout::Standard if colours => coloured_line(out, access),
            Layout::Standard => standard_line(out, access, &mut self.status),
            Layout::Json { request_id, traceparent } => {
                let named = request_id.iter().map(|name| ("request_id", &**name));
                let named = named.chain(traceparent.then_some(("traceparent", &b"traceparent"[..])));
                json_line(out, access, &mut self.time, named);
            }
            Layout::Parts(parts) => parts.iter().for_each(|part| part.write(out, access, &mut self.time)),
        }
        out.push(b'\n');
    }
}

/// As uvicorn has it: `INFO:     127.0.0.1:5000 - "GET / HTTP/1.1" 200 OK`.
fn standard_line(out: &mut Vec<u8>, access: &Access, last: &mut (u16, Vec<u8>)) {
    out.extend_from_slice(b"INFO:     ");
    client(out, access);
    out.extend_from_slice(b" - \"");
    request_line(out, access);
    out.extend_from_slice(b"\" ");
    if access.status != last.0 {
        last.0 = access.status;
        last.1.clear();
        status(&mut last.1, access.status);
    }
    out.extend_from_slice(&last.1);
}

fn coloured_line(out: &mut Vec<u8>, access: &Access) {
    let colour: &[u8] = match access.status / 100 {
        1 => b"\x1b[97m",
        2 => b"\x1b[32m",
        3 => b"\x1b[33m",
        4 => b"\x1b[31m",
        5 => b"\x1b[91m",
        _ => b"",
    };
    out.extend_from_slice(b"\x1b[32mINFO\x1b[0m:     ");
    client(out, access);
    out.extend_from_slice(b" - \"\x1b[1m");
    request_line(out, access);
    out.extend_from_slice(b"\x1b[0m\" ");
    out.extend_from_slice(colour);
    status(out, access.status);
    if !colour.is_empty() {
        out.extend_from_slice(b"\x1b[0m");
    }
}

/// Who has no address came by a unix socket.
fn client(out: &mut Vec<u8>, access: &Access) {
    match &access.client {
        Some(client) => address(out, client),
        None => out.extend_from_slice(b"unix"),
    }
}

fn request_line(out: &mut Vec<u8>, access: &Access) {
    out.extend_from_slice(access.line.method().as_bytes());
    out.push(b' ');
    access.write_target(out);
    out.push(b' ');
    protocol(out, access);
}

fn protocol(out: &mut Vec<u8>, access: &Access) {
    let protocol: &[u8] = match access.http_version {
        Some(HttpVersion::Http2) => b"HTTP/2",
        Some(HttpVersion::Http11) => b"HTTP/1.1",
        Some(HttpVersion::Http10) => b"HTTP/1.0",
        None => b"-",
    };
    out.extend_from_slice(protocol);
}

fn status(out: &mut Vec<u8>, status: u16) {
    number(out, u64::from(status));
    let phrase = status_phrase(status);
    if !phrase.is_empty() {
        out.push(b' ');
        out.extend_from_slice(phrase.as_bytes());
    }
}

impl Part {
    fn write(&self, out: &mut Vec<u8>, access: &Access, time: &mut LocalTime) {
        match self {
            Self::Text(text) => out.extend_from_slice(text),
            Self::Value(atom) => atom.write(out, access, time),
            Self::Column { atom, width, left } => {
                let start = out.len();
                atom.write(out, access, time);
                let missing = (start + width).saturating_sub(out.len());
                out.resize(out.len() + missing, b' ');
                if !left {
                    out[start..].rotate_right(missing);
                }
            }
        }
    }
}

impl Atom {
    fn write(&self, out: &mut Vec<u8>, access: &Access, time: &mut LocalTime) {
        match self {
            Self::Nothing => out.push(b'-'),
            Self::Host => match &access.client {
                Some(client) => host(out, client),
                None => out.push(b'-'),
            },
            Self::User => {
                let user = access.request_header(b"authorization").and_then(basic_user);
                value(out, user.as_deref());
            }
            Self::Time(style) => match access.wall {
                Some(at) => time.write(out, at, *style),
                None => out.push(b'-'),
            },
            Self::RequestLine => request_line(out, access),
            Self::Method => out.extend_from_slice(access.line.method().as_bytes()),
            Self::Path => escape(out, access.line.path()),
            Self::Query => escape(out, access.line.query()),
            Self::QueryPart => {
                if !access.line.query().is_empty() {
                    out.push(b'?');
                    escape(out, access.line.query());
                }
            }
            Self::Target => access.write_target(out),
            Self::Protocol => protocol(out, access),
            Self::Scheme => out.extend_from_slice(access.scheme.map_or("-", Scheme::as_str).as_bytes()),
            Self::Status => number(out, u64::from(access.status)),
            Self::Phrase => out.extend_from_slice(status_phrase(access.status).as_bytes()),
            Self::BytesOrNothing if access.body_bytes == 0 => out.push(b'-'),
            Self::Bytes | Self::BytesOrNothing => number(out, access.body_bytes),
            Self::Duration(unit) => duration(out, access.duration, *unit),
            Self::ServerPort => number(out, u64::from(access.server_port)),
            Self::RequestHeader(name) => value(out, access.request_header(name)),
            Self::ResponseHeader(name) => value(out, access.response_header(name)),
        }
    }
}

fn value(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        Some(value) => escape(out, value),
        None => out.push(b'-'),
    }
}

fn duration(out: &mut Vec<u8>, duration: Duration, unit: Unit) {
    match unit {
        Unit::Seconds => number(out, duration.as_secs()),
        Unit::Millis => number(out, duration.as_millis() as u64),
        Unit::Micros => number(out, duration.as_micros() as u64),
        Unit::Decimal => {
            number(out, duration.as_secs());
            out.push(b'.');
            padded(out, u64::from(duration.subsec_micros()), 6);
        }
        Unit::FloatMillis(decimals) => {
            let part = 10_u64.pow(u32::from(decimals));
            // Rounded as Python does, and exact where a double is not.
            let scaled = (duration.as_nanos() * u128::from(part) + 500_000) / 1_000_000;
            let scaled = scaled as u64;
            number(out, scaled / part);
            if decimals > 0 {
                out.push(b'.');
                padded(out, scaled % part, usize::from(decimals));
            }
        }
    }
}

/// One object: what is not there is null, sizes are bytes, the duration is in milliseconds.
fn json_line<'a>(
    out: &mut Vec<u8>,
    access: &Access,
    time: &mut LocalTime,
    named: impl Iterator<Item = (&'static str, &'a [u8])>,
) {
    out.extend_from_slice(b"{\"time\":\"");
    if let Some(at) = access.wall {
        time.write(out, at, Style::Iso);
    }
    out.extend_from_slice(b"\",\"client\":");
    match &access.client {
        Some(Address::Unix(name) | Address::Name(name, _)) => json(out, name.as_bytes()),
        Some(client) => {
            out.push(b'"');
            host(out, client);
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
    key(out, "method");
    json(out, access.line.method().as_bytes());
    key(out, "path");
    json(out, access.line.path());
    key(out, "query");
    json(out, access.line.query());
    key(out, "protocol");
    out.push(b'"');
    protocol(out, access);
    out.push(b'"');
    key(out, "status");
    number(out, u64::from(access.status));
    key(out, "bytes");
    number(out, access.body_bytes);
    key(out, "duration_ms");
    duration(out, access.duration, Unit::FloatMillis(3));
    for (name, field) in [("referer", &b"referer"[..]), ("user_agent", b"user-agent")].into_iter().chain(named) {
        key(out, name);
        match access.request_header(field) {
            Some(value) => json(out, value),
            None => out.extend_from_slice(b"null"),
        }
    }
    out.push(b'}');
}

fn key(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}
