//! Frames as bytes (RFC 9113 sections 4.1 and 6): heads read, and the frames written that have no state. This file knows no
//! stream and no order of frames.

use super::error::ErrorCode;

/// Bytes of a frame's head.
pub(super) const HEAD: usize = 9;

/// What a client sends first (section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The largest frame that every endpoint takes (section 4.2).
pub(super) const DEFAULT_MAX_FRAME: usize = 16_384;

pub(super) const END_STREAM: u8 = 0x1;
pub(super) const ACK: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;
pub(super) const PRIORITY_FLAG: u8 = 0x20;

pub(super) const DATA: u8 = 0x0;
pub(super) const HEADERS: u8 = 0x1;
pub(super) const PRIORITY: u8 = 0x2;
pub(super) const RST_STREAM: u8 = 0x3;
pub(super) const SETTINGS: u8 = 0x4;
pub(super) const PING: u8 = 0x6;
pub(super) const GOAWAY: u8 = 0x7;
pub(super) const WINDOW_UPDATE: u8 = 0x8;
pub(super) const CONTINUATION: u8 = 0x9;
/// RFC 9218 section 7.1.
pub(super) const PRIORITY_UPDATE: u8 = 0x10;

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Of the payload.
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    /// Without the reserved bit.
    pub(super) stream: u32,
}

impl Head {
    pub(super) const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Reads a head; None: more bytes are needed.
pub(super) fn read(input: &[u8]) -> Option<Head> {
    let [a, b, c, kind, flags, rest @ ..] = input.first_chunk::<HEAD>()?;
    Some(Head { length: u32::from_be_bytes([0, *a, *b, *c]) as usize, kind: *kind, flags: *flags, stream: u31(*rest) })
}

/// Four bytes without the reserved bit.
pub(super) const fn u31(bytes: [u8; 4]) -> u32 {
    u32::from_be_bytes(bytes) & 0x7fff_ffff
}

/// The bytes of a head.
pub(super) const fn head(length: usize, kind: u8, flags: u8, stream: u32) -> [u8; HEAD] {
    let [_, a, b, c] = (length as u32).to_be_bytes();
    let [d, e, f, g] = stream.to_be_bytes();
    [a, b, c, kind, flags, d, e, f, g]
}

/// Writes a whole frame.
pub(super) fn write(buffer: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    buffer.reserve(HEAD + payload.len());
    buffer.extend_from_slice(&head(payload.len(), kind, flags, stream));
    buffer.extend_from_slice(payload);
}

pub(super) fn write_reset(buffer: &mut Vec<u8>, stream: u32, code: ErrorCode) {
    write(buffer, RST_STREAM, 0, stream, &(code as u32).to_be_bytes());
}

pub(super) fn write_window_update(buffer: &mut Vec<u8>, stream: u32, increment: u32) {
    write(buffer, WINDOW_UPDATE, 0, stream, &increment.to_be_bytes());
}

pub(super) fn write_go_away(buffer: &mut Vec<u8>, last: u32, code: ErrorCode, text: &str) {
    buffer.extend_from_slice(&head(8 + text.len(), GOAWAY, 0, 0));
    buffer.extend_from_slice(&last.to_be_bytes());
    buffer.extend_from_slice(&(code as u32).to_be_bytes());
    buffer.extend_from_slice(text.as_bytes());
}

/// Writes a header block that `encode` appends: a HEADERS frame, and CONTINUATION frames behind it where it is longer than
/// `max`.
pub(super) fn write_headers(
    buffer: &mut Vec<u8>,
    stream: u32,
    end_stream: bool,
    max: usize,
    encode: impl FnOnce(&mut Vec<u8>),
) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEAD]);
    encode(buffer);
    let length = buffer.len() - start - HEAD;
    let flags = if end_stream { END_STREAM } else { 0 };
    if length <= max {
        buffer[start..start + HEAD].copy_from_slice(&head(length, HEADERS, flags | END_HEADERS, stream));
        return;
    }
    let rest = buffer.split_off(start + HEAD + max);
    buffer[start..start + HEAD].copy_from_slice(&head(max, HEADERS, flags, stream));
    let mut parts = rest.chunks(max).peekable();
    while let Some(part) = parts.next() {
        let flags = if parts.peek().is_none() { END_HEADERS } else { 0 };
        write(buffer, CONTINUATION, flags, stream, part);
    }
}

/// What stands between the padding's length, or the fields of PRIORITY, and the padding (sections 6.1 and 6.2). None: the
/// padding is longer than the frame.
pub(super) fn without_padding(head: Head, payload: &[u8]) -> Option<&[u8]> {
    if !head.has(PADDED) {
        return Some(payload);
    }
    let (&padding, rest) = payload.split_first()?;
    rest.len().checked_sub(usize::from(padding)).map(|end| &rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_is_written() {
        let bytes = head(0x01_0203, HEADERS, END_STREAM | PADDED, 0x7fff_fffe);
        let read = read(&bytes).unwrap();
        assert_eq!(read, Head { length: 0x01_0203, kind: HEADERS, flags: 9, stream: 0x7fff_fffe });
        assert!(super::read(&bytes[..8]).is_none());
    }

    /// RFC 9113 section 4.1: the reserved bit is ignored.
    #[test]
    fn the_reserved_bit_is_ignored() {
        assert_eq!(read(&[0, 0, 0, 0, 0, 0x80, 0, 0, 1]).unwrap().stream, 1);
    }

    /// RFC 9113 section 6.10.
    #[test]
    fn a_long_block_goes_on_in_continuations() {
        let mut buffer = Vec::new();
        write_headers(&mut buffer, 1, true, 4, |buffer| buffer.extend_from_slice(b"0123456789"));
        let mut frames = Vec::new();
        let mut rest = &buffer[..];
        while let Some(head) = read(rest) {
            frames.push((head.kind, head.flags, &rest[HEAD..HEAD + head.length]));
            rest = &rest[HEAD + head.length..];
        }
        assert_eq!(
            frames,
            [(HEADERS, END_STREAM, &b"0123"[..]), (CONTINUATION, 0, b"4567"), (CONTINUATION, END_HEADERS, b"89")]
        );
    }
}
