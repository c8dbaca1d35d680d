//! The handshake of RFC 6455 section 4.2: what of the request is checked, and what the response says. This file knows no
//! request line and no status; over another version of HTTP, where there is no key (RFC 8441), only the key is another.

use std::rc::Rc;
use std::time::Instant;

use asgi::{Headers, SendError};

use super::extension::{self, Deflate};
use super::{Limits, Session};
use crate::error::RequestError;
use crate::semantics;

/// What is added to the key (section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a client asked for, and what of it will be agreed to.
#[derive(Debug)]
pub struct Handshake {
    /// The value of Sec-WebSocket-Accept; None over HTTP/2, which has no key (RFC 8441 section 5).
    accept: Option<[u8; 28]>,
    subprotocols: Vec<String>,
    deflate: Option<Deflate>,
}

impl Handshake {
    /// Checks a request whose Upgrade and Connection ask for a WebSocket (section 4.2.1). `has_body`: whether content comes
    /// behind it.
    ///
    /// # Errors
    /// The first of the rules that it breaks. An extension that is not agreed to is none of them.
    pub fn read(method: &str, headers: &Headers, has_body: bool, limits: &Limits) -> Result<Self, RequestError> {
        if method != "GET" {
            return Err(RequestError::WebSocketMethod);
        }
        if has_body {
            return Err(RequestError::WebSocketBody);
        }
        if only(headers, b"sec-websocket-version") != Some(b"13") {
            return Err(RequestError::WebSocketVersion);
        }
        let accept = only(headers, b"sec-websocket-key").and_then(accept_of).ok_or(RequestError::WebSocketKey)?;
        Self::new(Some(accept), headers, limits)
    }

    /// Checks an extended CONNECT that asks for a WebSocket (RFC 8441 section 5).
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(crate) fn read_connect(headers: &Headers, limits: &Limits) -> Result<Self, RequestError> {
        if only(headers, b"sec-websocket-version") != Some(b"13") {
            return Err(RequestError::WebSocketVersion);
        }
        Self::new(None, headers, limits)
    }

    fn new(accept: Option<[u8; 28]>, headers: &Headers, limits: &Limits) -> Result<Self, RequestError> {
        let subprotocols = read_subprotocols(headers)?;
        let deflate = extension::agree(headers, limits.deflate)?;
        Ok(Self { accept, subprotocols, deflate })
    }

    /// What the client offered, in its order, each once.
    pub fn subprotocols(&self) -> &[String] {
        &self.subprotocols
    }

    /// Looks whether an application may accept the handshake so.
    ///
    /// # Errors
    /// For a subprotocol that was not offered (WS-06), and for fields that are the server's to send (WS-05).
    pub fn check_accept(&self, subprotocol: Option<&str>, headers: &Headers) -> Result<(), SendError> {
        if let Some(name) = subprotocol
            && !self.subprotocols.iter().any(|offered| offered == name)
        {
            return Err(SendError::Subprotocol(name.to_owned()));
        }
        match headers.iter().find_map(|(name, _)| reserved(name)) {
            Some(name) => Err(SendError::HandshakeHeader(name)),
            None => Ok(()),
        }
    }

    /// Writes the fields that agree to the handshake, each as `name: value\r\n`.
    pub fn write_fields(&self, subprotocol: Option<&str>, buffer: &mut Vec<u8>) {
        if let Some(accept) = &self.accept {
            buffer.extend_from_slice(b"sec-websocket-accept: ");
            buffer.extend_from_slice(accept);
            buffer.extend_from_slice(b"\r\n");
        }
        if let Some(name) = subprotocol {
            buffer.extend_from_slice(b"sec-websocket-protocol: ");
            buffer.extend_from_slice(name.as_bytes());
            buffer.extend_from_slice(b"\r\n");
        }
        if let Some(deflate) = &self.deflate {
            buffer.extend_from_slice(b"sec-websocket-extensions: ");
            deflate.write(buffer);
            buffer.extend_from_slice(b"\r\n");
        }
    }

    /// What agrees to the compression that the client offered: the value of Sec-WebSocket-Extensions.
    pub(crate) fn extensions(&self) -> Option<Vec<u8>> {
        self.deflate.as_ref().map(|deflate| {
            let mut value = Vec::new();
            deflate.write(&mut value);
            value
        })
    }

    /// The session that begins behind the response.
    pub fn session(&self, limits: Rc<Limits>, now: Instant) -> Session {
        Session::new(limits, self.deflate, now)
    }
}

/// The value of a field that is there once.
fn only<'a>(headers: &'a Headers, name: &'a [u8]) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name);
    values.next().filter(|_| values.next().is_none())
}

/// The answer to a key, which is 16 bytes in base64 (sections 4.2.1 and 4.2.2).
fn accept_of(key: &[u8]) -> Option<[u8; 28]> {
    let mut decoded = [0; 18];
    if key.len() != 24 || data_encoding::BASE64.decode_mut(key, &mut decoded).ok()? != 16 {
        return None;
    }
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key);
    hash.update(GUID);
    let mut accept = [0; 28];
    data_encoding::BASE64.encode_mut(&hash.digest().bytes(), &mut accept);
    Some(accept)
}

/// The tokens of all lines, in order. That each stands there once is the client's duty (section 4.1); a second one says
/// nothing new. A line without any says as little: there are clients that send it.
fn read_subprotocols(headers: &Headers) -> Result<Vec<String>, RequestError> {
    let mut subprotocols: Vec<String> = Vec::new();
    let lines = headers.get_all(b"sec-websocket-protocol");
    for name in lines.flat_map(semantics::members).filter(|name| !name.is_empty()) {
        let name = str::from_utf8(name).ok().filter(|name| semantics::is_token(name.as_bytes()));
        let name = name.ok_or(RequestError::WebSocketSubprotocols)?;
        if !subprotocols.iter().any(|known| known == name) {
            subprotocols.push(name.to_owned());
        }
    }
    Ok(subprotocols)
}

/// The fields that only the server sends in its response to a handshake.
fn reserved(name: &[u8]) -> Option<&'static str> {
    Some(match name {
        b"sec-websocket-accept" => "sec-websocket-accept",
        b"sec-websocket-extensions" => "sec-websocket-extensions",
        b"sec-websocket-key" => "sec-websocket-key",
        b"sec-websocket-protocol" => "sec-websocket-protocol",
        b"sec-websocket-version" => "sec-websocket-version",
        _ if name.starts_with(b"sec-websocket-") => "sec-websocket-*",
        _ => return None,
    })
}
