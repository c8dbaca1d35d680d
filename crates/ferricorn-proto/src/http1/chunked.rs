//! The chunked transfer coding (RFC 9112 section 7.1), both ways. This file knows no header logic.
//!
//! Framing is read byte by byte through a state machine that keeps nothing but numbers, so that a byte may arrive alone and
//! is never looked at twice. A byte that is refused leaves the machine where it was: data that came ahead of it in the same
//! input is handed out first, and the same byte is refused at the next call.

use super::framing::BodyPart;
use crate::error::RequestError;
use crate::limits::Limits;
use crate::semantics;

/// Hexadecimal digits of a size: 16 hold every 64-bit number.
const SIZE_DIGITS: u8 = 16;

/// Takes chunk framing off.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChunkedDecoder {
    state: State,
    /// Digits of this chunk's size so far.
    digits: u8,
    /// This chunk's size, then what is left of its data.
    left: u64,
    /// Data of all chunks, this one included.
    total: u64,
    /// Bytes of this chunk's extensions, and of all.
    extension: u32,
    extensions: u32,
    trailers: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    /// White space behind the size: an extension must follow (RFC 9112 section 7.1.1, BWS).
    SizeSpace,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    Complete,
}

impl ChunkedDecoder {
    pub(super) const fn new() -> Self {
        Self { state: State::Size, digits: 0, left: 0, total: 0, extension: 0, extensions: 0, trailers: 0 }
    }

    /// How many bytes of data are known to be left.
    pub(super) const fn left(&self) -> u64 {
        match self.state {
            State::Data => self.left,
            _ => 0,
        }
    }

    /// Takes what is there of the body, and moves the data of further chunks behind that of the first.
    pub(super) fn decode(&mut self, input: &mut [u8], limit: Option<u64>) -> Result<BodyPart, RequestError> {
        let mut part = BodyPart { start: 0, end: 0, consumed: 0, complete: false };
        while let Some(&byte) = input.get(part.consumed) {
            if self.state == State::Data {
                self.take_data(input, &mut part);
                continue;
            }
            match self.step(byte, limit) {
                Ok(()) => part.consumed += 1,
                Err(_) if part.end > part.start => break,
                Err(error) => return Err(error),
            }
            if self.state == State::Complete {
                part.complete = true;
                break;
            }
        }
        Ok(part)
    }

    fn take_data(&mut self, input: &mut [u8], part: &mut BodyPart) {
        let available = input.len() - part.consumed;
        let taken = usize::try_from(self.left).map_or(available, |left| left.min(available));
        if part.start == part.end {
            part.start = part.consumed;
            part.end = part.consumed;
        } else {
            input.copy_within(part.consumed..part.consumed + taken, part.end);
        }
        part.end += taken;
        part.consumed += taken;
        self.left -= taken as u64;
        if self.left == 0 {
            self.state = State::DataCr;
        }
    }

    fn step(&mut self, byte: u8, limit: Option<u64>) -> Result<(), RequestError> {
        self.state = match (self.state, byte) {
            (State::Size, _) => self.size(byte)?,
            (State::SizeSpace | State::Extension, _) => self.extension(byte)?,
            (State::SizeLf, b'\n') => self.begin_data(limit)?,
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => {
                (self.digits, self.left, self.extension) = (0, 0, 0);
                State::Size
            }
            (State::LastLf, b'\n') => State::Complete,
            (State::SizeLf | State::DataCr | State::DataLf | State::LastLf, _) => {
                return Err(RequestError::ChunkFraming);
            }
            _ => self.trailer(byte)?,
        };
        Ok(())
    }

    fn size(&mut self, byte: u8) -> Result<State, RequestError> {
        match ((byte as char).to_digit(16), byte) {
            (Some(digit), _) if self.digits < SIZE_DIGITS => {
                self.left = self.left << 4 | u64::from(digit);
                self.digits += 1;
                Ok(State::Size)
            }
            (None, b'\r' | b';' | b' ' | b'\t') if self.digits > 0 => self.extension(byte),
            _ => Err(RequestError::ChunkSize),
        }
    }

    fn extension(&mut self, byte: u8) -> Result<State, RequestError> {
        let next = match (self.state, byte) {
            (State::Size | State::Extension, b'\r') => return Ok(State::SizeLf),
            (State::Size | State::SizeSpace, b' ' | b'\t') => State::SizeSpace,
            (State::Size | State::SizeSpace, b';') => State::Extension,
            (State::Extension, _) if semantics::is_value_byte(byte) => State::Extension,
            _ => return Err(RequestError::ChunkExtension),
        };
        if self.extension == Limits::CHUNK_EXTENSION || self.extensions == Limits::CHUNK_EXTENSIONS {
            return Err(RequestError::ChunkExtension);
        }
        self.extension += 1;
        self.extensions += 1;
        Ok(next)
    }

    fn begin_data(&mut self, limit: Option<u64>) -> Result<State, RequestError> {
        if self.left == 0 {
            return Ok(State::TrailerStart);
        }
        match self.total.checked_add(self.left) {
            Some(total) if limit.is_none_or(|limit| total <= limit) => self.total = total,
            _ => return Err(RequestError::BodyTooLarge),
        }
        Ok(State::Data)
    }

    /// Trailer fields are held to the same form as header fields, then dropped (HTTP-03).
    fn trailer(&mut self, byte: u8) -> Result<State, RequestError> {
        let next = match (self.state, byte) {
            (State::TrailerStart, b'\r') => return Ok(State::LastLf),
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::TrailerName, b':') => State::TrailerValue,
            (State::TrailerValue, b'\r') => State::TrailerLf,
            (State::TrailerValue, _) if semantics::is_value_byte(byte) => State::TrailerValue,
            (State::TrailerStart | State::TrailerName, _) if semantics::is_token_byte(byte) => State::TrailerName,
            _ => return Err(RequestError::Trailer),
        };
        if self.trailers == Limits::TRAILERS {
            return Err(RequestError::TrailersTooLarge);
        }
        self.trailers += 1;
        Ok(next)
    }
}

/// Writes the line ahead of a chunk's data; CRLF goes behind the data.
pub(super) fn write_size(buffer: &mut Vec<u8>, size: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let significant = (67 - size.leading_zeros()) / 4;
    for place in (0..significant.max(1)).rev() {
        buffer.push(DIGITS[(size >> (place * 4) & 15) as usize]);
    }
    buffer.extend_from_slice(b"\r\n");
}
