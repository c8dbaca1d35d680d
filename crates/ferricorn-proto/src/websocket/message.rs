//! A message that comes in parts: assembled in one buffer, text judged as it comes (RFC 6455 section 8.1). This file knows
//! no frame, and nobody it is for.

use asgi::Message;

use super::ProtocolError;
use super::deflate::Sink;

/// How far ahead of the data memory is taken for it: what a length announces is not there yet, and may never be.
const AHEAD: u64 = 64 * 1024;

/// Capacity that is kept from one message to the next.
const KEPT_CAPACITY: usize = 64 * 1024;

/// Text or binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Binary,
}

/// Judges a whole text. Never slower than the standard library, and ten times as fast where not all of it is ASCII.
pub(super) fn text_of(bytes: &[u8]) -> Result<&str, ProtocolError> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| ProtocolError::Utf8)
}

/// The message that comes in parts.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    text: Text,
    binary: Vec<u8>,
}

impl Assembly {
    /// Adds a part, of whose frame `left` bytes are still to come.
    pub(super) fn push(&mut self, kind: Kind, part: &[u8], left: u64) -> Result<(), ProtocolError> {
        let room = part.len() + left.min(AHEAD) as usize;
        match kind {
            Kind::Text => return self.text.push(part, room),
            Kind::Binary => {
                self.binary.reserve(room);
                self.binary.extend_from_slice(part);
            }
        }
        Ok(())
    }

    /// The same for what is decompressed, which has no announced length.
    pub(super) fn inflating(&mut self, kind: Kind, max_message: u64) -> Inflating<'_> {
        Inflating { assembly: self, kind, max_message }
    }

    /// The message is whole.
    pub(super) fn finish(&self, kind: Kind) -> Result<(), ProtocolError> {
        if kind == Kind::Text && self.text.split_len > 0 { Err(ProtocolError::Utf8) } else { Ok(()) }
    }

    pub(super) fn message(&self, kind: Kind) -> Message<&[u8], &str> {
        match kind {
            Kind::Text => Message::Text(&self.text.whole),
            Kind::Binary => Message::Binary(&self.binary),
        }
    }

    /// Takes it out, with its memory.
    pub(super) fn take(&mut self, kind: Kind) -> Message {
        match kind {
            Kind::Text => Message::Text(std::mem::take(&mut self.text.whole)),
            Kind::Binary => Message::Binary(std::mem::take(&mut self.binary)),
        }
    }

    fn len(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Text => self.text.whole.len() as u64 + u64::from(self.text.split_len),
            Kind::Binary => self.binary.len() as u64,
        }
    }

    /// Empties it, and keeps memory for the next message.
    pub(super) fn clear(&mut self) {
        self.binary.clear();
        self.binary.shrink_to(KEPT_CAPACITY);
        self.text.whole.clear();
        self.text.whole.shrink_to(KEPT_CAPACITY);
        self.text.split_len = 0;
    }
}

/// Takes what is decompressed, as long as it is not too much: the bomb stops here.
pub(super) struct Inflating<'a> {
    assembly: &'a mut Assembly,
    kind: Kind,
    max_message: u64,
}

impl Sink for Inflating<'_> {
    fn take(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        // What still fits is judged as well, so that it does not matter in which parts it comes.
        let room = self.max_message - self.assembly.len(self.kind);
        let fits = &bytes[..(bytes.len() as u64).min(room) as usize];
        self.assembly.push(self.kind, fits, 0)?;
        if fits.len() < bytes.len() { Err(ProtocolError::MessageTooBig) } else { Ok(()) }
    }
}

/// A text of which the bytes come in any parts. Only what is UTF-8 gets in, and what cannot become UTF-8 any more fails at
/// once: nothing is judged twice.
#[derive(Debug, Default)]
struct Text {
    whole: String,
    /// The start of a character whose end has not come.
    split: [u8; 4],
    split_len: u8,
}

impl Text {
    fn push(&mut self, mut part: &[u8], room: usize) -> Result<(), ProtocolError> {
        while let [byte, rest @ ..] = part
            && self.split_len > 0
        {
            self.complete(*byte)?;
            part = rest;
        }
        self.whole.reserve(room);
        let (whole, tail) = part.split_at(part.len() - incomplete_tail(part));
        self.whole.push_str(text_of(whole)?);
        if is_hopeless(tail) {
            return Err(ProtocolError::Utf8);
        }
        // A split character is only begun here when the one before it has been completed.
        if !tail.is_empty() {
            self.split[..tail.len()].copy_from_slice(tail);
            self.split_len = tail.len() as u8;
        }
        Ok(())
    }

    fn complete(&mut self, byte: u8) -> Result<(), ProtocolError> {
        let length = usize::from(self.split_len);
        self.split[length] = byte;
        let split = &self.split[..=length];
        match str::from_utf8(split) {
            Ok(character) => {
                self.whole.push_str(character);
                self.split_len = 0;
            }
            Err(_) if is_hopeless(split) => return Err(ProtocolError::Utf8),
            Err(_) => self.split_len += 1,
        }
        Ok(())
    }
}

/// How many bytes at the end are the start of a character that goes on behind it.
fn incomplete_tail(bytes: &[u8]) -> usize {
    for (place, byte) in bytes.iter().rev().take(3).enumerate() {
        let width = match byte {
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xff => 4,
            0x80..=0xbf => continue,
            _ => 1,
        };
        return if width > place + 1 { place + 1 } else { 0 };
    }
    0
}

/// Whether no bytes behind these would make UTF-8 of them.
fn is_hopeless(bytes: &[u8]) -> bool {
    str::from_utf8(bytes).is_err_and(|error| error.error_len().is_some())
}
