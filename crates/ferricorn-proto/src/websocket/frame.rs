//! Frames as bytes (RFC 6455 section 5): heads read and written, masks taken off, and which close codes may stand where.
//! This file has no state and sees no message.
//!
//! ```text
//!   0               1               2 ...
//!   FIN RSV opcode  MASK length     extended length (0, 2 or 8)   masking key (4 from a client)   payload
//! ```

use super::ProtocolError;

/// The longest payload of a control frame (section 5.5).
pub(super) const CONTROL: usize = 125;

/// Bytes of the longest head that a server writes.
pub(super) const HEAD: usize = 10;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2_RSV3: u8 = 0x30;
const MASK: u8 = 0x80;

/// What a frame is (section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    pub(super) const fn is_control(self) -> bool {
        self as u8 >= Self::Close as u8
    }
}

/// The head of a client's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) opcode: Opcode,
    /// Whether it is the last of its message.
    pub(super) fin: bool,
    /// RSV1: the message is compressed (RFC 7692 section 6).
    pub(super) compressed: bool,
    pub(super) mask: Mask,
    /// Of the payload.
    pub(super) length: u64,
    /// Bytes of the head itself.
    pub(super) size: usize,
}

/// What the next frame may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// A message has begun and not ended.
    pub(super) continuation: bool,
    /// permessage-deflate was agreed to.
    pub(super) deflate: bool,
}

/// Reads a head; None: more bytes are needed. Each byte is judged before the one behind it, so that the error does not
/// depend on how many there are.
pub(super) fn read(input: &[u8], expected: Expected) -> Result<Option<Head>, ProtocolError> {
    let [first, rest @ ..] = input else { return Ok(None) };
    let opcode = read_first(*first, expected)?;
    let [second, rest @ ..] = rest else { return Ok(None) };
    if second & MASK == 0 {
        return Err(ProtocolError::Unmasked);
    }
    let short = second & !MASK;
    if opcode.is_control() && usize::from(short) > CONTROL {
        return Err(ProtocolError::ControlTooLong);
    }
    let (length, size) = match short {
        126 => match rest.first_chunk() {
            Some(bytes) => (u64::from(u16::from_be_bytes(*bytes)), 8),
            None => return Ok(None),
        },
        127 => match rest.first_chunk() {
            Some(bytes) => (u64::from_be_bytes(*bytes), 14),
            None => return Ok(None),
        },
        _ => (u64::from(short), 6),
    };
    // The minimal number of bytes must be used, and the most significant bit must be 0 (section 5.2).
    if size == 8 && length < 126 || size == 14 && (length <= 0xffff || length >> 63 != 0) {
        return Err(ProtocolError::Length);
    }
    let Some(mask) = input.get(size - 4..size).and_then(<[u8]>::first_chunk) else { return Ok(None) };
    let (fin, compressed) = (first & FIN != 0, first & RSV1 != 0);
    Ok(Some(Head { opcode, fin, compressed, mask: Mask(*mask), length, size }))
}

fn read_first(first: u8, expected: Expected) -> Result<Opcode, ProtocolError> {
    let opcode = match first & 0x0f {
        0 => Opcode::Continuation,
        1 => Opcode::Text,
        2 => Opcode::Binary,
        8 => Opcode::Close,
        9 => Opcode::Ping,
        10 => Opcode::Pong,
        _ => return Err(ProtocolError::Opcode),
    };
    let starts_message = matches!(opcode, Opcode::Text | Opcode::Binary);
    // RSV1 is for the first frame of a compressed message (RFC 7692 section 6.1).
    if first & RSV2_RSV3 != 0 || first & RSV1 != 0 && !(expected.deflate && starts_message) {
        return Err(ProtocolError::ReservedBit);
    }
    if opcode.is_control() {
        return if first & FIN == 0 { Err(ProtocolError::ControlFragmented) } else { Ok(opcode) };
    }
    match (starts_message, expected.continuation) {
        (true, true) => Err(ProtocolError::Interleaved),
        (false, false) => Err(ProtocolError::Continuation),
        _ => Ok(opcode),
    }
}

/// Writes the head of an unmasked frame that is a whole message or a control frame.
pub(super) fn write_head(buffer: &mut Vec<u8>, opcode: Opcode, compressed: bool, length: usize) {
    let (head, size) = head(opcode, compressed, length);
    buffer.extend_from_slice(&head[..size]);
}

/// The bytes of such a head, and how many of them.
pub(super) fn head(opcode: Opcode, compressed: bool, length: usize) -> ([u8; HEAD], usize) {
    let mut head = [0; HEAD];
    head[0] = FIN | opcode as u8 | if compressed { RSV1 } else { 0 };
    let size = match length {
        0..=125 => {
            head[1] = length as u8;
            2
        }
        126..=0xffff => {
            head[1] = 126;
            head[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            4
        }
        _ => {
            head[1] = 127;
            head[2..].copy_from_slice(&(length as u64).to_be_bytes());
            10
        }
    };
    (head, size)
}

/// Writes a whole control frame; `payload` has at most [`CONTROL`] bytes.
pub(super) fn write_control(buffer: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    debug_assert!(opcode.is_control() && payload.len() <= CONTROL);
    write_head(buffer, opcode, false, payload.len());
    buffer.extend_from_slice(payload);
}

/// Writes a close frame (section 5.5.1): without a code there is no reason either.
pub(super) fn write_close(buffer: &mut Vec<u8>, code: Option<u16>, reason: &str) {
    debug_assert!(reason.len() <= CONTROL - 2);
    let Some(code) = code else { return write_control(buffer, Opcode::Close, b"") };
    write_head(buffer, Opcode::Close, false, 2 + reason.len());
    buffer.extend_from_slice(&code.to_be_bytes());
    buffer.extend_from_slice(reason.as_bytes());
}

/// A masking key (section 5.3), turned to where the payload goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mask([u8; 4]);

impl Mask {
    /// Takes the mask off the next bytes of the payload. Words of eight bytes: the compiler makes vectors of them.
    pub(super) fn take_off(&mut self, bytes: &mut [u8]) {
        let [a, b, c, d] = self.0;
        let keys = [a, b, c, d, a, b, c, d];
        let key = u64::from_ne_bytes(keys);
        let (words, rest) = bytes.as_chunks_mut();
        for word in words {
            *word = (u64::from_ne_bytes(*word) ^ key).to_ne_bytes();
        }
        rest.iter_mut().zip(keys).for_each(|(byte, key)| *byte ^= key);
        self.0.rotate_left(bytes.len() % 4);
    }
}

/// Whether a client may send this code (section 7.4): those of the RFC, those that IANA has registered since (1012 to
/// 1014), and those for libraries and applications; 1004, 1005, 1006, 1015 and what nobody has defined may not come.
pub(super) const fn may_be_received(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Whether an application may send this code (WS-13).
pub(super) const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1004 | 1007..=1014 | 1016..=4999)
}
