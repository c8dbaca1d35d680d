//! Response heads as bytes. This file is told what to write and chooses nothing: no field, no framing.

use asgi::Headers;

use crate::bytes::write_decimal;

/// `100 Continue`, whole (RFC 9110 section 15.2.1).
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Writes a status line. The version is the server's own, also towards HTTP/1.0 (RFC 9110 section 6.2).
pub(super) fn status_line(buffer: &mut Vec<u8>, status: u16) {
    match registered(status) {
        Some(line) => buffer.extend_from_slice(line),
        None => {
            buffer.extend_from_slice(b"HTTP/1.1 ");
            write_decimal(buffer, u64::from(status));
            buffer.extend_from_slice(b" \r\n");
        }
    }
}

/// The phrase of a registered status; empty for any other.
pub fn phrase(status: u16) -> &'static str {
    registered(status)
        .and_then(|line| str::from_utf8(line).ok())
        .and_then(|line| line.get("HTTP/1.1 200 ".len()..line.len() - 2))
        .unwrap_or_default()
}

/// Writes one field.
pub(super) fn field(buffer: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    buffer.extend_from_slice(name);
    buffer.extend_from_slice(b": ");
    buffer.extend_from_slice(value);
    buffer.extend_from_slice(b"\r\n");
}

/// The name in the line of a field.
pub(super) fn name(line: &[u8]) -> &[u8] {
    line.split(|&byte| byte == b':').next().unwrap_or_default()
}

/// Writes the fields that `keep` keeps.
pub(super) fn fields(buffer: &mut Vec<u8>, headers: &Headers, mut keep: impl FnMut(&[u8]) -> bool) {
    for (name, value) in headers.iter().filter(|(name, _)| keep(name)) {
        field(buffer, name, value);
    }
}

/// Writes a field whose value is a number.
pub(super) fn content_length(buffer: &mut Vec<u8>, length: u64) {
    buffer.extend_from_slice(b"content-length: ");
    write_decimal(buffer, length);
    buffer.extend_from_slice(b"\r\n");
}

/// The whole status line of every status that IANA has registered for final responses, and the two others that are sent.
const fn registered(status: u16) -> Option<&'static [u8]> {
    Some(match status {
        101 => b"HTTP/1.1 101 Switching Protocols\r\n",
        103 => b"HTTP/1.1 103 Early Hints\r\n",
        200 => b"HTTP/1.1 200 OK\r\n",
        201 => b"HTTP/1.1 201 Created\r\n",
        202 => b"HTTP/1.1 202 Accepted\r\n",
        203 => b"HTTP/1.1 203 Non-Authoritative Information\r\n",
        204 => b"HTTP/1.1 204 No Content\r\n",
        205 => b"HTTP/1.1 205 Reset Content\r\n",
        206 => b"HTTP/1.1 206 Partial Content\r\n",
        207 => b"HTTP/1.1 207 Multi-Status\r\n",
        208 => b"HTTP/1.1 208 Already Reported\r\n",
        226 => b"HTTP/1.1 226 IM Used\r\n",
        300 => b"HTTP/1.1 300 Multiple Choices\r\n",
        301 => b"HTTP/1.1 301 Moved Permanently\r\n",
        302 => b"HTTP/1.1 302 Found\r\n",
        303 => b"HTTP/1.1 303 See Other\r\n",
        304 => b"HTTP/1.1 304 Not Modified\r\n",
        305 => b"HTTP/1.1 305 Use Proxy\r\n",
        307 => b"HTTP/1.1 307 Temporary Redirect\r\n",
        308 => b"HTTP/1.1 308 Permanent Redirect\r\n",
        400 => b"HTTP/1.1 400 Bad Request\r\n",
        401 => b"HTTP/1.1 401 Unauthorized\r\n",
        402 => b"HTTP/1.1 402 Payment Required\r\n",
        403 => b"HTTP/1.1 403 Forbidden\r\n",
        404 => b"HTTP/1.1 404 Not Found\r\n",
        405 => b"HTTP/1.1 405 Method Not Allowed\r\n",
        406 => b"HTTP/1.1 406 Not Acceptable\r\n",
        407 => b"HTTP/1.1 407 Proxy Authentication Required\r\n",
        408 => b"HTTP/1.1 408 Request Timeout\r\n",
        409 => b"HTTP/1.1 409 Conflict\r\n",
        410 => b"HTTP/1.1 410 Gone\r\n",
        411 => b"HTTP/1.1 411 Length Required\r\n",
        412 => b"HTTP/1.1 412 Precondition Failed\r\n",
        413 => b"HTTP/1.1 413 Content Too Large\r\n",
        414 => b"HTTP/1.1 414 URI Too Long\r\n",
        415 => b"HTTP/1.1 415 Unsupported Media Type\r\n",
        416 => b"HTTP/1.1 416 Range Not Satisfiable\r\n",
        417 => b"HTTP/1.1 417 Expectation Failed\r\n",
        418 => b"HTTP/1.1 418 I'm a Teapot\r\n",
        421 => b"HTTP/1.1 421 Misdirected Request\r\n",
        422 => b"HTTP/1.1 422 Unprocessable Content\r\n",
        423 => b"HTTP/1.1 423 Locked\r\n",
        424 => b"HTTP/1.1 424 Failed Dependency\r\n",
        425 => b"HTTP/1.1 425 Too Early\r\n",
        426 => b"HTTP/1.1 426 Upgrade Required\r\n",
        428 => b"HTTP/1.1 428 Precondition Required\r\n",
        429 => b"HTTP/1.1 429 Too Many Requests\r\n",
        431 => b"HTTP/1.1 431 Request Header Fields Too Large\r\n",
        451 => b"HTTP/1.1 451 Unavailable For Legal Reasons\r\n",
        500 => b"HTTP/1.1 500 Internal Server Error\r\n",
        501 => b"HTTP/1.1 501 Not Implemented\r\n",
        502 => b"HTTP/1.1 502 Bad Gateway\r\n",
        503 => b"HTTP/1.1 503 Service Unavailable\r\n",
        504 => b"HTTP/1.1 504 Gateway Timeout\r\n",
        505 => b"HTTP/1.1 505 HTTP Version Not Supported\r\n",
        506 => b"HTTP/1.1 506 Variant Also Negotiates\r\n",
        507 => b"HTTP/1.1 507 Insufficient Storage\r\n",
        508 => b"HTTP/1.1 508 Loop Detected\r\n",
        510 => b"HTTP/1.1 510 Not Extended\r\n",
        511 => b"HTTP/1.1 511 Network Authentication Required\r\n",
        _ => return None,
    })
}
