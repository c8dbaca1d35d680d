//! The client's side of RFC 6455 section 4.1, and of RFC 7692 section 7.1 as browsers offer it.

use std::io::{self, ErrorKind, Read, Write};

use httparse::Status;

use crate::frame::invalid;

/// The example of RFC 6455 section 1.3: no server gives a key twice the same connection, and none can tell.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const OFFER: &str = "permessage-deflate; client_max_window_bits";

/// What a server has asked of the messages that it is sent compressed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deflate {
    /// 9 to 15.
    pub window_bits: u8,
    /// Whether a message may refer to the ones before it.
    pub takeover: bool,
}

/// Shakes hands over a blocking stream. Gives what was agreed, and the bytes that came behind the response.
///
/// Fails where the response is no valid 101, and where the extension was offered and not accepted.
pub fn shake(stream: &mut (impl Read + Write), host: &str, deflate: bool) -> io::Result<(Option<Deflate>, Vec<u8>)> {
    stream.write_all(request(host, deflate).as_bytes())?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            read => bytes.extend_from_slice(&chunk[..read]),
        }
        if let Some((agreed, length)) = response(&bytes, deflate)? {
            return Ok((agreed, bytes.split_off(length)));
        }
    }
}

fn request(host: &str, deflate: bool) -> String {
    let extensions = if deflate { format!("Sec-WebSocket-Extensions: {OFFER}\r\n") } else { String::new() };
    format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\n\
         Sec-WebSocket-Version: 13\r\n{extensions}\r\n"
    )
}

/// What was agreed, and the length of the head. None: more bytes are needed.
fn response(bytes: &[u8], deflate: bool) -> io::Result<Option<(Option<Deflate>, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let Status::Complete(length) = response.parse(bytes).map_err(invalid)? else { return Ok(None) };
    let named = |name: &str| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok())
    };
    if response.code != Some(101) {
        return Err(invalid(format!("status {:?} instead of 101", response.code.unwrap_or_default())));
    }
    if named("sec-websocket-accept") != Some(ACCEPT) {
        return Err(invalid("another key was accepted"));
    }
    match (named("sec-websocket-extensions"), deflate) {
        (Some(accepted), true) => Ok(Some((Some(agreed(accepted)?), length))),
        (None, false) => Ok(Some((None, length))),
        (accepted, _) => Err(invalid(format!("extensions {accepted:?} were accepted"))),
    }
}

fn agreed(accepted: &str) -> io::Result<Deflate> {
    let mut parts = accepted.split(';').map(str::trim);
    if parts.next() != Some("permessage-deflate") {
        return Err(invalid(format!("extensions {accepted:?} were accepted")));
    }
    let mut deflate = Deflate { window_bits: 15, takeover: true };
    for parameter in parts {
        match parameter.split_once('=').map_or((parameter, ""), |(name, value)| (name.trim(), value.trim())) {
            ("client_no_context_takeover", "") => deflate.takeover = false,
            ("client_max_window_bits", bits) => deflate.window_bits = window_bits(bits)?,
            // A window of 15 bits reads whatever the server may write.
            ("server_no_context_takeover" | "server_max_window_bits", _) => {}
            _ => return Err(invalid(format!("parameter {parameter:?} was not offered"))),
        }
    }
    Ok(deflate)
}

/// Eight bits, which zlib cannot write, are refused with whatever is none of 8 to 15.
fn window_bits(text: &str) -> io::Result<u8> {
    match text.trim_matches('"').parse() {
        Ok(bits @ 9..=15) => Ok(bits),
        _ => Err(invalid(format!("a window of {text:?} bits"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(fields: &str, deflate: bool) -> io::Result<Option<(Option<Deflate>, usize)>> {
        let head = format!("HTTP/1.1 101 Switching Protocols\r\nSEC-WEBSOCKET-ACCEPT: {ACCEPT}\r\n{fields}\r\n");
        response(head.as_bytes(), deflate).inspect(|found| assert_eq!(found.map(|(_, size)| size), Some(head.len())))
    }

    #[test]
    fn what_the_server_asks_of_compressed_messages_is_read() -> io::Result<()> {
        let field = "sec-websocket-extensions: permessage-deflate";
        let plain = Deflate { window_bits: 15, takeover: true };
        assert_eq!(answer(&format!("{field}\r\n"), true)?.and_then(|(agreed, _)| agreed), Some(plain));
        let parameters = "; server_max_window_bits=12; client_max_window_bits = \"10\"; client_no_context_takeover";
        let narrow = Deflate { window_bits: 10, takeover: false };
        assert_eq!(answer(&format!("{field}{parameters}\r\n"), true)?.and_then(|(agreed, _)| agreed), Some(narrow));
        assert_eq!(answer("", false)?.and_then(|(agreed, _)| agreed), None);
        Ok(())
    }

    #[test]
    fn what_was_not_offered_or_is_missing_is_an_error() {
        let field = "sec-websocket-extensions: permessage-deflate";
        assert!(answer("", true).is_err());
        assert!(answer(&format!("{field}\r\n"), false).is_err());
        assert!(answer(&format!("{field}; client_max_window_bits=16\r\n"), true).is_err());
        assert!(answer(&format!("{field}; nonsense\r\n"), true).is_err());
        assert!(response(b"HTTP/1.1 403 Forbidden\r\n\r\n", false).is_err());
        assert!(response(b"HTTP/1.1 101 Yes\r\nsec-websocket-accept: other\r\n\r\n", false).is_err());
    }

    #[test]
    fn what_comes_behind_the_response_is_kept() -> io::Result<()> {
        struct Server<'a>(&'a [u8]);
        impl Read for Server<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                // In small parts, so that the head is incomplete at first.
                let size = buffer.len().min(100);
                self.0.read(&mut buffer[..size])
            }
        }
        impl Write for Server<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                assert!(bytes.ends_with(b"\r\n\r\n"));
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let head = format!("HTTP/1.1 101 Yes\r\nx: {}\r\nsec-websocket-accept: {ACCEPT}\r\n\r\nrest", "y".repeat(100));
        assert_eq!(shake(&mut Server(head.as_bytes()), "host", false)?, (None, b"rest".to_vec()));
        Ok(())
    }
}
