//! How a client breaks the rules of RFC 6455 and RFC 7692, and which close code answers it.

use std::fmt;

/// Why a WebSocket was failed (RFC 6455 section 7.1.7). The text is one line for the log, and the reason in the close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A frame without a mask (section 5.1).
    Unmasked,
    /// A reserved bit that no extension gave a meaning, or on a frame where it has none (section 5.2).
    ReservedBit,
    /// An opcode that is none (section 5.2).
    Opcode,
    /// A control frame in fragments (section 5.5).
    ControlFragmented,
    /// A control frame of more than 125 bytes (section 5.5).
    ControlTooLong,
    /// A length that is not written as short as it can be, or has its highest bit set (section 5.2).
    Length,
    /// A continuation of nothing (section 5.4).
    Continuation,
    /// A new message within a fragmented one (section 5.4).
    Interleaved,
    /// A close frame with a payload of one byte (section 5.5.1).
    ClosePayload,
    /// A close code that may not stand in a frame (section 7.4).
    CloseCode,
    /// A text message or close reason that is not UTF-8 (section 8.1).
    Utf8,
    /// A message that cannot be decompressed (RFC 7692 section 7.2.2).
    Deflate,
    /// A message of more than [`Limits::max_message`](super::Limits::max_message) bytes.
    MessageTooBig,
}

impl ProtocolError {
    /// The code of the close frame that answers it (section 7.4.1).
    pub const fn code(self) -> u16 {
        match self {
            Self::Utf8 | Self::Deflate => 1007,
            Self::MessageTooBig => 1009,
            _ => 1002,
        }
    }

    /// One line, without a full stop; at most 123 bytes.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Unmasked => "a frame is not masked",
            Self::ReservedBit => "a reserved bit is set",
            Self::Opcode => "an opcode is unknown",
            Self::ControlFragmented => "a control frame is fragmented",
            Self::ControlTooLong => "a control frame is longer than 125 bytes",
            Self::Length => "the length of a frame is malformed",
            Self::Continuation => "a continuation frame continues nothing",
            Self::Interleaved => "a message starts within another",
            Self::ClosePayload => "the payload of a close frame is one byte",
            Self::CloseCode => "a close code may not be sent",
            Self::Utf8 => "a text is not UTF-8",
            Self::Deflate => "a message cannot be decompressed",
            Self::MessageTooBig => "a message is too big",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for ProtocolError {}
