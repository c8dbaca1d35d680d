//! What can end a stream or a connection of HTTP/2 (RFC 9113 sections 5.4 and 7): the codes on the wire, and the reasons in
//! plain words. This file knows no bytes and no state.

use std::fmt;

use super::hpack::DecodeError;

/// An error code (RFC 9113 section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[expect(missing_docs, reason = "they are the RFC's names")]
pub enum ErrorCode {
    NoError = 0x0,
    ProtocolError = 0x1,
    InternalError = 0x2,
    FlowControlError = 0x3,
    SettingsTimeout = 0x4,
    StreamClosed = 0x5,
    FrameSizeError = 0x6,
    RefusedStream = 0x7,
    Cancel = 0x8,
    CompressionError = 0x9,
    EnhanceYourCalm = 0xb,
}

/// Why a connection was ended: what its peer did. [`code`](Self::code) goes on the wire, the text into the log and behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The first bytes are not the preface (section 3.4), or no SETTINGS frame came behind it.
    Preface,
    /// A frame is longer than announced (section 4.2).
    FrameTooLarge,
    /// A frame has a length that its type does not have.
    FrameSize,
    /// The padding is longer than its frame (section 6.1).
    Padding,
    /// A frame that belongs to a stream has none, or the other way round.
    StreamNumber,
    /// A frame for a stream that has not begun (section 5.1).
    IdleStream,
    /// A request on a stream that is over (section 5.1).
    ClosedStream,
    /// A stream with an even number, or a lower one than the last (section 5.1.1).
    StreamOrder,
    /// PUSH_PROMISE, which only servers send (section 8.4).
    PushPromise,
    /// A frame inside of a header block, or a part of a block without its begin (section 6.10).
    Continuation,
    /// A header block that cannot be decoded (section 4.3).
    Compression(DecodeError),
    /// A setting with a value that it may not have (section 6.5.2).
    Setting,
    /// A window that would become larger than 2^31-1 (section 6.9.1), also by a setting.
    WindowOverflow,
    /// The setting for the size of windows.
    WindowSetting,
    /// An increment of 0 (section 6.9).
    WindowIncrement,
    /// More bytes than the connection's window allowed (section 6.9.1).
    WindowExceeded,
    /// More streams that have not begun were given a priority than may begin (RFC 9218 section 7.1).
    PriorityUpdate,
    /// The peer acknowledged no SETTINGS in time (section 6.5.3).
    SettingsTimeout,
    /// The peer did more of something than anyone needs; what it was.
    Flood(&'static str),
}

impl ConnectionError {
    /// What GOAWAY says.
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Preface
            | Self::Padding
            | Self::StreamNumber
            | Self::IdleStream
            | Self::StreamOrder
            | Self::PushPromise
            | Self::Continuation
            | Self::Setting
            | Self::WindowIncrement
            | Self::PriorityUpdate => ErrorCode::ProtocolError,
            Self::FrameTooLarge | Self::FrameSize => ErrorCode::FrameSizeError,
            Self::ClosedStream => ErrorCode::StreamClosed,
            Self::Compression(_) => ErrorCode::CompressionError,
            Self::WindowOverflow | Self::WindowSetting | Self::WindowExceeded => ErrorCode::FlowControlError,
            Self::SettingsTimeout => ErrorCode::SettingsTimeout,
            Self::Flood(_) => ErrorCode::EnhanceYourCalm,
        }
    }

    /// One line, without a full stop.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Preface => "the connection does not begin as HTTP/2 does",
            Self::FrameTooLarge => "a frame is longer than allowed",
            Self::FrameSize => "a frame has a wrong length",
            Self::Padding => "the padding is longer than its frame",
            Self::StreamNumber => "a frame is on the wrong stream",
            Self::IdleStream => "a frame for a stream that has not begun",
            Self::ClosedStream => "a request on a stream that is over",
            Self::StreamOrder => "the number of a stream is even, or lower than the last",
            Self::PushPromise => "a client may not push",
            Self::Continuation => "a header block is not whole before the next frame",
            Self::Compression(_) => "a header block cannot be decoded",
            Self::Setting => "a setting has a value that it may not have",
            Self::WindowOverflow => "a window has become too large",
            Self::WindowSetting => "the setting for windows is too large",
            Self::WindowIncrement => "a window update of nothing",
            Self::WindowExceeded => "more data than the connection's window allows",
            Self::PriorityUpdate => "more streams are given a priority than may be open",
            Self::SettingsTimeout => "the settings were not acknowledged in time",
            Self::Flood(what) => what,
        }
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compression(error) => error.fmt(f),
            _ => f.write_str(self.as_str()),
        }
    }
}

impl std::error::Error for ConnectionError {}
