//! A message that comes in parts: assembled in one buffer, text judged as it comes (RFC 6455 section 8.1). This file knows
//! no frame, and nobody it is for.

use super::ProtocolError;

/// How far ahead of the data memory is taken for it: what a length announces is not there yet, and may never be.
const AHEAD: u64 = 64 * 1024;

/// Capacity that is kept from one message to the next.
const KEPT_CAPACITY: usize = 256 * 1024;

/// From this length on the vectorized validation is ahead of the standard library's.
const SHORT: usize = 64;

/// Text or binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Binary,
}

/// Judges a whole text.
pub(super) fn text_of(bytes: &[u8]) -> Result<&str, ProtocolError> {
    if bytes.len() < SHORT {
        str::from_utf8(bytes).map_err(|_| ProtocolError::Utf8)
    } else {
        simdutf8::basic::from_utf8(bytes).map_err(|_| ProtocolError::Utf8)
    }
}

/// A text of which the bytes come in any parts. Only what is UTF-8 gets in, and what cannot become UTF-8 any more fails at
/// once: nothing is judged twice.
#[derive(Debug, Default)]
pub(super) struct Text {
    text: String,
    /// The start of a character whose end has not come.
    split: [u8; 4],
    split_len: u8,
}

impl Text {
    /// Adds a part, of whose frame `left` bytes are still to come.
    pub(super) fn push(&mut self, mut part: &[u8], left: u64) -> Result<(), ProtocolError> {
        while let [byte, rest @ ..] = part
            && self.split_len > 0
        {
            self.complete(*byte)?;
            part = rest;
        }
        self.text.reserve(part.len() + left.min(AHEAD) as usize);
        let (whole, tail) = part.split_at(part.len() - incomplete_tail(part));
        self.text.push_str(text_of(whole)?);
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
                self.text.push_str(character);
                self.split_len = 0;
            }
            Err(_) if is_hopeless(split) => return Err(ProtocolError::Utf8),
            Err(_) => self.split_len += 1,
        }
        Ok(())
    }

    /// Whether it ends where a character does.
    pub(super) fn is_whole(&self) -> bool {
        self.split_len == 0
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Takes it out, with its memory.
    pub(super) fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.text.shrink_to(KEPT_CAPACITY);
        self.split_len = 0;
    }

    pub(super) fn capacity(&self) -> usize {
        self.text.capacity()
    }
}

/// Bytes that come in any parts.
#[derive(Debug, Default)]
pub(super) struct Binary(Vec<u8>);

impl Binary {
    /// Adds a part, of whose frame `left` bytes are still to come.
    pub(super) fn push(&mut self, part: &[u8], left: u64) {
        self.0.reserve(part.len() + left.min(AHEAD) as usize);
        self.0.extend_from_slice(part);
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes it out, with its memory.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
        self.0.shrink_to(KEPT_CAPACITY);
    }

    pub(super) fn capacity(&self) -> usize {
        self.0.capacity()
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
