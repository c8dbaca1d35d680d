//! Sec-WebSocket-Extensions (RFC 6455 section 9.1), and what of permessage-deflate is agreed to (RFC 7692 section 7.1).
//! This file compresses nothing.

use asgi::Headers;

use crate::error::RequestError;
use crate::semantics;

/// The largest window of DEFLATE, as the exponent of its bytes.
pub(super) const MAX_WINDOW: u8 = 15;

/// The window that the server compresses with, 8 KiB: half of what the compressor holds. One of 4 KiB leaves 29 % of JSON
/// where this one leaves 28, in the same time.
const SERVER_WINDOW: u8 = 13;

/// The window that a client is asked for, 4 KiB: what an idle connection has to remember.
const CLIENT_WINDOW: u8 = 12;

/// What was agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deflate {
    /// The server forgets between its messages (section 7.1.1.1).
    pub(super) server_no_context_takeover: bool,
    /// The client forgets between its messages (section 7.1.1.2).
    pub(super) client_no_context_takeover: bool,
    /// The window the server compresses with (section 7.1.2.1). It may name it unasked, and does: it saves the client memory.
    pub(super) server_window: u8,
    /// The window the client compresses with; smaller than the largest only where the client offered that (section 7.1.2.2).
    pub(super) client_window: u8,
}

impl Deflate {
    /// Writes it as the value of the response's field.
    pub(super) fn write(&self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(b"permessage-deflate");
        if self.server_no_context_takeover {
            buffer.extend_from_slice(b"; server_no_context_takeover");
        }
        if self.client_no_context_takeover {
            buffer.extend_from_slice(b"; client_no_context_takeover");
        }
        for (name, window) in
            [("server_max_window_bits", self.server_window), ("client_max_window_bits", self.client_window)]
        {
            if window < MAX_WINDOW {
                buffer.extend_from_slice(format!("; {name}={window}").as_bytes());
            }
        }
    }
}

/// The first offer that can be agreed to; None where there is none or `wanted` is false.
pub(super) fn agree(headers: &Headers, wanted: bool) -> Result<Option<Deflate>, RequestError> {
    let mut agreed = None;
    for line in headers.get_all(b"sec-websocket-extensions") {
        let mut rest = Scanner(line);
        while !rest.is_at_end() {
            let offer = rest.offer().ok_or(RequestError::WebSocketExtensions)?;
            agreed = agreed.or(offer.filter(|_| wanted));
        }
    }
    Ok(agreed)
}

/// An offer of permessage-deflate, as far as it has been read.
#[derive(Default)]
struct Offer {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    client_max_window_bits: Option<u8>,
}

impl Offer {
    /// Takes a parameter; None: no offer may have it, or not so, or not twice (section 7.1).
    fn take(&mut self, name: &[u8], value: Option<&[u8]>) -> Option<()> {
        match (name, value) {
            (b"server_no_context_takeover", None) => set(&mut self.server_no_context_takeover),
            (b"client_no_context_takeover", None) => set(&mut self.client_no_context_takeover),
            (b"server_max_window_bits", Some(value)) => fill(&mut self.server_max_window_bits, window_bits(value)?),
            (b"client_max_window_bits", None) => fill(&mut self.client_max_window_bits, MAX_WINDOW),
            (b"client_max_window_bits", Some(value)) => fill(&mut self.client_max_window_bits, window_bits(value)?),
            _ => None,
        }
    }

    fn agreed(&self) -> Deflate {
        Deflate {
            server_no_context_takeover: self.server_no_context_takeover,
            client_no_context_takeover: self.client_no_context_takeover,
            server_window: self.server_max_window_bits.unwrap_or(SERVER_WINDOW).min(SERVER_WINDOW),
            client_window: self.client_max_window_bits.map_or(MAX_WINDOW, |offered| offered.min(CLIENT_WINDOW)),
        }
    }
}

fn set(flag: &mut bool) -> Option<()> {
    (!std::mem::replace(flag, true)).then_some(())
}

fn fill(place: &mut Option<u8>, value: u8) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

/// 8 to 15, without leading zeros (section 7.1.2).
fn window_bits(value: &[u8]) -> Option<u8> {
    match value {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// What is left of a line.
struct Scanner<'a>(&'a [u8]);

impl<'a> Scanner<'a> {
    /// The next extension. The outer None: it is malformed; the inner: it is none that can be agreed to.
    fn offer(&mut self) -> Option<Option<Deflate>> {
        // Empty members of a list are to be tolerated (RFC 9110 section 5.6.1.2).
        if self.eat(b',') {
            return Some(None);
        }
        let mut offer = (self.token()? == b"permessage-deflate").then(Offer::default);
        while self.eat(b';') {
            let name = self.token()?;
            let value = if self.eat(b'=') { Some(self.value()?) } else { None };
            offer = offer.and_then(|mut offer| offer.take(name, value.as_deref()).map(|()| offer));
        }
        (self.eat(b',') || self.is_at_end()).then(|| offer.map(|offer| offer.agreed()))
    }

    /// A token, or a quoted string that is one once it is not quoted any more (RFC 6455 section 9.1).
    fn value(&mut self) -> Option<Vec<u8>> {
        if !self.eat(b'"') {
            return self.token().map(<[u8]>::to_vec);
        }
        let mut value = Vec::new();
        loop {
            match self.0 {
                [b'"', rest @ ..] => {
                    self.0 = rest;
                    return semantics::is_token(&value).then_some(value);
                }
                [b'\\', byte, rest @ ..] | [byte, rest @ ..] => {
                    value.push(*byte);
                    self.0 = rest;
                }
                [] => return None,
            }
        }
    }

    fn token(&mut self) -> Option<&'a [u8]> {
        self.skip_space();
        let (token, rest) = self.0.split_at(semantics::token_length(self.0));
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }

    fn eat(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.0.first() == Some(&byte);
        if found {
            self.0 = &self.0[1..];
        }
        found
    }

    fn is_at_end(&mut self) -> bool {
        self.skip_space();
        self.0.is_empty()
    }

    fn skip_space(&mut self) {
        self.0 = self.0.trim_ascii_start();
    }
}
