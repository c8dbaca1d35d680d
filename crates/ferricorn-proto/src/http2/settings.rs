//! SETTINGS (RFC 9113 section 6.5): what the server announces, and what a client may say. This file changes nothing that
//! hangs on them.

use super::error::ConnectionError;
use super::frame::{self, DEFAULT_MAX_FRAME};
use super::limits::Limits;

/// The window that every stream and connection begins with (section 6.9.2).
pub(super) const DEFAULT_WINDOW: u32 = 65_535;

/// The largest window (section 6.9.1).
pub(super) const MAX_WINDOW: u32 = 0x7fff_ffff;

const HEADER_TABLE_SIZE: u16 = 0x1;
const ENABLE_PUSH: u16 = 0x2;
const MAX_CONCURRENT_STREAMS: u16 = 0x3;
const INITIAL_WINDOW_SIZE: u16 = 0x4;
const MAX_FRAME_SIZE: u16 = 0x5;
const MAX_HEADER_LIST_SIZE: u16 = 0x6;
/// RFC 8441 section 3.
const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;
/// RFC 9218 section 2.1.
const NO_RFC7540_PRIORITIES: u16 = 0x9;

/// What the peer has said, as far as it matters to a server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) initial_window: u32,
    pub(super) max_frame: usize,
}

impl Settings {
    pub(super) const DEFAULT: Self = Self { initial_window: DEFAULT_WINDOW, max_frame: DEFAULT_MAX_FRAME };

    /// Takes the payload of a SETTINGS frame, in order; of several values the last counts. `resize` is told each size of the
    /// header table: the compression has to say the smallest of them too (RFC 7541 section 4.2).
    pub(super) fn read(&mut self, payload: &[u8], mut resize: impl FnMut(usize)) -> Result<(), ConnectionError> {
        let (settings, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() {
            return Err(ConnectionError::FrameSize);
        }
        for [a, b, value @ ..] in settings {
            self.set(u16::from_be_bytes([*a, *b]), u32::from_be_bytes(*value), &mut resize)?;
        }
        Ok(())
    }

    fn set(&mut self, name: u16, value: u32, resize: &mut impl FnMut(usize)) -> Result<(), ConnectionError> {
        match name {
            HEADER_TABLE_SIZE => resize(value as usize),
            ENABLE_PUSH | ENABLE_CONNECT_PROTOCOL | NO_RFC7540_PRIORITIES if value > 1 => {
                return Err(ConnectionError::Setting);
            }
            INITIAL_WINDOW_SIZE if value > MAX_WINDOW => return Err(ConnectionError::WindowSetting),
            INITIAL_WINDOW_SIZE => self.initial_window = value,
            MAX_FRAME_SIZE if !(DEFAULT_MAX_FRAME as u32..1 << 24).contains(&value) => {
                return Err(ConnectionError::Setting);
            }
            MAX_FRAME_SIZE => self.max_frame = value as usize,
            _ => {}
        }
        Ok(())
    }
}

/// Writes the server's SETTINGS and opens the connection's window.
pub(super) fn write(buffer: &mut Vec<u8>, limits: &Limits, has_websockets: bool) {
    let settings = [
        Some((MAX_CONCURRENT_STREAMS, limits.max_concurrent_streams)),
        Some((INITIAL_WINDOW_SIZE, limits.stream_window)),
        (limits.max_frame_size as usize != DEFAULT_MAX_FRAME).then_some((MAX_FRAME_SIZE, limits.max_frame_size)),
        Some((MAX_HEADER_LIST_SIZE, limits.max_header_list_size)),
        has_websockets.then_some((ENABLE_CONNECT_PROTOCOL, 1)),
        Some((NO_RFC7540_PRIORITIES, 1)),
    ];
    let settings = settings.into_iter().flatten();
    buffer.extend_from_slice(&frame::head(6 * settings.clone().count(), frame::SETTINGS, 0, 0));
    for (name, value) in settings {
        buffer.extend_from_slice(&name.to_be_bytes());
        buffer.extend_from_slice(&value.to_be_bytes());
    }
    if limits.connection_window > DEFAULT_WINDOW {
        frame::write_window_update(buffer, 0, limits.connection_window - DEFAULT_WINDOW);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9113 section 6.5.3: values are processed in the order in which they appear.
    #[test]
    fn every_size_of_the_table_is_told_and_the_last_window_counts() {
        let payload = [[0, 1, 0, 0, 0, 0], [0, 4, 0, 0, 0, 7], [0, 1, 0, 0, 16, 0], [0, 4, 0, 0, 0, 9]].concat();
        let (mut settings, mut sizes) = (Settings::DEFAULT, Vec::new());
        settings.read(&payload, |size| sizes.push(size)).unwrap();
        assert_eq!((sizes, settings.initial_window), (vec![0, 4096], 9));
    }
}
