//! Frames in their order (RFC 9113 sections 3.4, 4 and 6): which one is whole, which may come now, and what those say that
//! belong to the connection. This file opens no stream and writes no response.

use asgi::Gather;

use super::bounds::{BACKLOG, BLOCK_FRAMES, Bound};
use super::closing::{Draining, Fate};
use super::error::{ConnectionError, ErrorCode};
use super::frame::{self, HEAD, Head, PREFACE};
use super::priority::Priority;
use super::settings::MAX_WINDOW;
use super::{Connection, Now};
use crate::error::{RequestError, TimeoutKind};
use crate::protocol::{Input, Step};
use crate::websocket::ProtocolError;

/// What the next bytes of the input are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reading {
    /// The preface.
    Preface,
    /// The client's first SETTINGS.
    FirstSettings,
    /// A frame.
    Frames,
    /// The rest of a DATA frame.
    Data(Data),
    /// The rest of a frame that nobody wants.
    Rest(usize),
}

/// A DATA frame whose head has been read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Data {
    /// 0: nobody wants the bytes.
    pub(super) stream: u32,
    /// Bytes of data, and of padding behind them, that are to come.
    pub(super) left: usize,
    pub(super) padding: usize,
    pub(super) end: bool,
}

/// A header block that goes on in CONTINUATION frames.
#[derive(Debug)]
pub(super) struct Block {
    stream: u32,
    head: Head,
    depends_on_itself: bool,
    bytes: Vec<u8>,
    frames: u32,
}

/// One step forward in the input.
pub(super) enum Advance {
    /// More bytes are needed, or none can be taken now.
    Starved,
    /// So many bytes are done with.
    Consumed(usize),
    /// The same, and a request began: the index of its stream, and whether its fields are those of the last one.
    Request(usize, usize, bool),
    /// The same, and a request was refused.
    Refused(usize, RequestError),
    /// The same, and the peer broke the protocol of a WebSocket.
    Violation(usize, ProtocolError),
}

impl Advance {
    /// The same behind so many more bytes.
    pub(super) fn behind(self, bytes: usize) -> Self {
        match self {
            Self::Starved => Self::Consumed(bytes),
            Self::Consumed(more) => Self::Consumed(bytes + more),
            Self::Request(more, slot, repeated) => Self::Request(bytes + more, slot, repeated),
            Self::Refused(more, error) => Self::Refused(bytes + more, error),
            Self::Violation(more, error) => Self::Violation(bytes + more, error),
        }
    }
}

impl<B: AsRef<[u8]>, G: Gather> Connection<B, G> {
    /// Takes what it can out of `input`, and gives at most one event: a request, or that one was refused, that a WebSocket
    /// was violated, or that the connection is broken. Bodies are kept for [`take_body`](Self::take_body). The caller drops
    /// [`Step::consumed`] bytes and, after an event, calls again with the rest; bytes that were not consumed are handed in
    /// again with more behind them.
    pub fn handle_input<'b>(&'b mut self, input: &'b mut [u8], now: &Now<'_>) -> Step<'b> {
        self.instant = now.instant;
        if self.fate != Fate::Open {
            return Step { consumed: input.len(), event: Ok(None) };
        }
        self.ping.heard(now.instant);
        let mut consumed = 0;
        loop {
            let advance = self.advance(&mut input[consumed..], now);
            if self.block.is_none() && !matches!(advance, Ok(Advance::Starved)) {
                // What had begun is whole.
                self.head_due = None;
            }
            match advance {
                Ok(Advance::Consumed(bytes)) => {
                    consumed += bytes;
                    self.settle_connection();
                    if self.fate != Fate::Open {
                        consumed = input.len();
                    }
                }
                Ok(Advance::Starved) => {
                    self.note_begun(consumed < input.len());
                    self.after_input(now);
                    return Step { consumed, event: Ok(None) };
                }
                Ok(Advance::Request(bytes, slot, repeated)) => {
                    self.note_waiting(now);
                    let head = self.request_head(slot, repeated);
                    return Step { consumed: consumed + bytes, event: Ok(Some(Input::Request(head))) };
                }
                Ok(Advance::Refused(bytes, error)) => {
                    self.after_input(now);
                    return Step { consumed: consumed + bytes, event: Err(error) };
                }
                Ok(Advance::Violation(bytes, error)) => {
                    self.after_input(now);
                    return Step { consumed: consumed + bytes, event: Ok(Some(Input::Violation(error))) };
                }
                Err(error) => {
                    self.fail(error, now);
                    return Step { consumed: input.len(), event: Ok(Some(Input::Broken(error))) };
                }
            }
        }
    }

    /// Whether [`handle_input`](Self::handle_input) would do anything with more bytes: nearly always.
    pub fn wants_input(&self) -> bool {
        match self.fate {
            _ if self.end_of_input => false,
            Fate::Open => !self.held_up || self.transmit.len() <= BACKLOG,
            Fate::Flush => true,
            Fate::Close | Fate::Abort => false,
        }
    }

    /// What has begun has to go on.
    fn note_begun(&mut self, has_rest: bool) {
        if self.head_due.is_none() && (has_rest && !self.held_up || self.block.is_some()) {
            self.head_due = Some(self.instant + self.limits.request_head);
        }
    }

    fn after_input(&mut self, now: &Now<'_>) {
        self.pump(now);
        self.settle_connection();
        self.note_waiting(now);
    }

    fn advance(&mut self, input: &mut [u8], now: &Now<'_>) -> Result<Advance, ConnectionError> {
        match self.reading {
            Reading::Frames | Reading::FirstSettings => self.frame(input, now),
            Reading::Data(data) => self.data(data, input, now),
            Reading::Rest(left) => {
                let taken = left.min(input.len());
                self.reading = if taken == left { Reading::Frames } else { Reading::Rest(left - taken) };
                Ok(if taken == 0 && left > 0 { Advance::Starved } else { Advance::Consumed(taken) })
            }
            Reading::Preface => {
                let known = input.len().min(PREFACE.len());
                if input[..known] != PREFACE[..known] {
                    return Err(ConnectionError::Preface);
                }
                if known < PREFACE.len() {
                    return Ok(Advance::Starved);
                }
                self.reading = Reading::FirstSettings;
                Ok(Advance::Consumed(known))
            }
        }
    }

    /// A frame, from its head on.
    fn frame(&mut self, input: &mut [u8], now: &Now<'_>) -> Result<Advance, ConnectionError> {
        let Some(head) = frame::read(input) else { return Ok(Advance::Starved) };
        self.check_order(head)?;
        if head.kind == frame::DATA {
            return self.data_head(head, input, now);
        }
        if matches!(head.kind, frame::GOAWAY) || head.kind > frame::CONTINUATION && head.kind != frame::PRIORITY_UPDATE
        {
            return self.partly_read(head);
        }
        check_size(head)?;
        if head.length > self.longest_block() {
            return Err(ConnectionError::Flood("a frame that has to be whole is too large"));
        }
        let Some(payload) = input.get(HEAD..HEAD + head.length) else { return Ok(Advance::Starved) };
        let size = HEAD + head.length;
        let advance = match head.kind {
            frame::HEADERS if self.is_held_up(head) => return Ok(Advance::Starved),
            frame::HEADERS => self.headers_frame(head, payload, now)?,
            frame::CONTINUATION => self.continuation(payload, head, now)?,
            frame::PRIORITY => self.priority_frame(head, payload)?,
            frame::RST_STREAM => self.reset_frame(head.stream, now)?,
            frame::SETTINGS => self.settings_frame(head, payload, now)?,
            frame::PING => self.ping_frame(head, payload)?,
            frame::WINDOW_UPDATE => self.window_update(head.stream, payload, now)?,
            frame::PRIORITY_UPDATE => self.priority_update(head.stream, payload)?,
            _ => return Err(ConnectionError::PushPromise),
        };
        Ok(advance.behind(size))
    }

    /// Whether a frame of this type and size may come now (sections 3.4, 4.2 and 6.10).
    fn check_order(&mut self, head: Head) -> Result<(), ConnectionError> {
        if matches!(self.reading, Reading::FirstSettings) && (head.kind != frame::SETTINGS || head.has(frame::ACK)) {
            return Err(ConnectionError::Preface);
        }
        if head.length > self.http2.max_frame_size as usize {
            return Err(ConnectionError::FrameTooLarge);
        }
        match &self.block {
            Some(block) if head.kind != frame::CONTINUATION || head.stream != block.stream => {
                Err(ConnectionError::Continuation)
            }
            None if head.kind == frame::CONTINUATION => Err(ConnectionError::Continuation),
            _ => Ok(()),
        }
    }

    /// Responses go first, where too much of them waits.
    fn is_held_up(&mut self, head: Head) -> bool {
        self.held_up = head.stream > self.last_stream && self.transmit.len() > BACKLOG;
        self.held_up
    }

    /// Frames that need not be whole: nothing behind their heads matters.
    fn partly_read(&mut self, head: Head) -> Result<Advance, ConnectionError> {
        if head.kind == frame::GOAWAY {
            if head.stream != 0 {
                return Err(ConnectionError::StreamNumber);
            }
            if head.length < 8 {
                return Err(ConnectionError::FrameSize);
            }
        } else {
            // Unknown types are ignored (section 4.1).
            self.bounds.count(Bound::Ignored, self.instant)?;
        }
        self.reading = Reading::Rest(head.length);
        Ok(Advance::Consumed(HEAD))
    }

    fn headers_frame(&mut self, head: Head, payload: &[u8], now: &Now<'_>) -> Result<Advance, ConnectionError> {
        if head.stream == 0 {
            return Err(ConnectionError::StreamNumber);
        }
        let mut fragment = frame::without_padding(head, payload).ok_or(ConnectionError::Padding)?;
        let mut depends_on_itself = false;
        if head.has(frame::PRIORITY_FLAG) {
            let (dependency, rest) = fragment.split_first_chunk::<5>().ok_or(ConnectionError::FrameSize)?;
            depends_on_itself = dependency_of(*dependency) == head.stream;
            fragment = rest;
        }
        if !head.has(frame::END_HEADERS) {
            let bytes = fragment.to_vec();
            self.block = Some(Block { stream: head.stream, head, depends_on_itself, bytes, frames: 1 });
            return Ok(Advance::Consumed(0));
        }
        self.header_block(head, depends_on_itself, fragment, now)
    }

    fn continuation(&mut self, payload: &[u8], head: Head, now: &Now<'_>) -> Result<Advance, ConnectionError> {
        let Some(mut block) = self.block.take() else { return Err(ConnectionError::Continuation) };
        block.frames += 1;
        if block.frames > BLOCK_FRAMES || block.bytes.len() + payload.len() > self.longest_block() {
            return Err(ConnectionError::Flood("a header block is too large"));
        }
        block.bytes.extend_from_slice(payload);
        if head.has(frame::END_HEADERS) {
            return self.header_block(block.head, block.depends_on_itself, &block.bytes, now);
        }
        self.block = Some(block);
        Ok(Advance::Consumed(0))
    }

    /// Bytes of a header block: a code of Huffman's has 30 bits at most (RFC 7541 appendix B), and there are clients that use
    /// it also where it makes a value longer.
    fn longest_block(&self) -> usize {
        4 * (self.http2.max_header_list_size as usize).max(frame::DEFAULT_MAX_FRAME)
    }

    fn priority_frame(&mut self, head: Head, payload: &[u8]) -> Result<Advance, ConnectionError> {
        if head.stream == 0 {
            return Err(ConnectionError::StreamNumber);
        }
        self.bounds.count(Bound::Ignored, self.instant)?;
        let (code, error) = match payload.first_chunk::<5>() {
            Some(_) | None if payload.len() != 5 => (ErrorCode::FrameSizeError, ConnectionError::FrameSize),
            Some(dependency) if dependency_of(*dependency) == head.stream => {
                (ErrorCode::ProtocolError, ConnectionError::IdleStream)
            }
            _ => return Ok(Advance::Consumed(0)),
        };
        // A stream that has not begun cannot be reset (section 6.4).
        self.check_not_idle(head.stream).map_err(|_| error)?;
        self.stream_error(head.stream, code)?;
        Ok(Advance::Consumed(0))
    }

    /// RFC 9218 section 7.1.
    fn priority_update(&mut self, on: u32, payload: &[u8]) -> Result<Advance, ConnectionError> {
        if on != 0 {
            return Err(ConnectionError::StreamNumber);
        }
        let (stream, value) = payload.split_first_chunk::<4>().ok_or(ConnectionError::FrameSize)?;
        let stream = frame::u31(*stream);
        if stream == 0 {
            return Err(ConnectionError::StreamNumber);
        }
        self.bounds.count(Bound::Ignored, self.instant)?;
        let priority = Priority::read(value);
        if let Some(slot) = self.streams.find(stream) {
            self.streams[slot].priority = priority;
        } else if self.check_not_idle(stream).is_err() {
            self.announce(stream, priority)?;
        }
        Ok(Advance::Consumed(0))
    }

    /// The priority of a stream that has not begun is remembered for it. There may be as many of them, with those that are
    /// open, as may be open, which a client knows once it has acknowledged the settings.
    fn announce(&mut self, stream: u32, priority: Priority) -> Result<(), ConnectionError> {
        if stream.is_multiple_of(2) {
            return Err(ConnectionError::IdleStream);
        }
        let _ = self.announced.take(self.last_stream);
        let most = self.http2.max_concurrent_streams.saturating_sub(self.open) as usize;
        if self.announced.note(stream, priority, most) || self.settings_due.is_some() {
            return Ok(());
        }
        Err(ConnectionError::PriorityUpdate)
    }

    fn settings_frame(&mut self, head: Head, payload: &[u8], now: &Now<'_>) -> Result<Advance, ConnectionError> {
        if head.stream != 0 {
            return Err(ConnectionError::StreamNumber);
        }
        if head.has(frame::ACK) {
            if !payload.is_empty() {
                return Err(ConnectionError::FrameSize);
            }
            if self.settings_due.take().is_some() {
                self.initial_window = i64::from(self.http2.stream_window);
            }
            return Ok(Advance::Consumed(0));
        }
        let before = self.peer;
        let encoder = &mut self.encoder;
        self.peer.read(payload, |size| encoder.set_max_table_size(size))?;
        if !matches!(self.reading, Reading::FirstSettings) {
            self.bounds.count(Bound::Answered, self.instant)?;
        }
        self.reading = Reading::Frames;
        self.move_windows(i64::from(self.peer.initial_window) - i64::from(before.initial_window))?;
        self.control(|buffer| frame::write(buffer, frame::SETTINGS, frame::ACK, 0, &[]))?;
        self.pump(now);
        Ok(Advance::Consumed(0))
    }

    /// The initial window of streams has changed, and with it that of all there are (section 6.9.2).
    fn move_windows(&mut self, by: i64) -> Result<(), ConnectionError> {
        if by == 0 {
            return Ok(());
        }
        for slot in self.streams.slots().collect::<Vec<_>>() {
            let window = &mut self.streams[slot].window;
            *window += by;
            if *window > i64::from(MAX_WINDOW) {
                return Err(ConnectionError::WindowOverflow);
            }
        }
        Ok(())
    }

    fn ping_frame(&mut self, head: Head, payload: &[u8]) -> Result<Advance, ConnectionError> {
        if head.stream != 0 {
            return Err(ConnectionError::StreamNumber);
        }
        if head.has(frame::ACK) {
            self.pong(payload);
            return Ok(Advance::Consumed(0));
        }
        self.bounds.count(Bound::Answered, self.instant)?;
        self.control(|buffer| frame::write(buffer, frame::PING, frame::ACK, 0, payload))?;
        Ok(Advance::Consumed(0))
    }

    fn window_update(&mut self, stream: u32, payload: &[u8], now: &Now<'_>) -> Result<Advance, ConnectionError> {
        let increment = payload.first_chunk().map_or(0, |bytes| i64::from(frame::u31(*bytes)));
        self.bounds.count(Bound::WindowUpdate, self.instant)?;
        if stream == 0 {
            if increment == 0 {
                return Err(ConnectionError::WindowIncrement);
            }
            self.send_window += increment;
            if self.send_window > i64::from(MAX_WINDOW) {
                return Err(ConnectionError::WindowOverflow);
            }
            self.pump(now);
            return Ok(Advance::Consumed(0));
        }
        let Some(slot) = self.streams.find(stream) else {
            self.check_not_idle(stream)?;
            return Ok(Advance::Consumed(0));
        };
        if self.streams[slot].reset {
            // It was on its way (section 5.1).
            return Ok(Advance::Consumed(0));
        }
        let window = &mut self.streams[slot].window;
        *window += increment;
        if increment == 0 {
            self.stream_error(stream, ErrorCode::ProtocolError)?;
        } else if *window > i64::from(MAX_WINDOW) {
            self.stream_error(stream, ErrorCode::FlowControlError)?;
        } else {
            self.streams[slot].window_due = None;
            self.pump(now);
        }
        Ok(Advance::Consumed(0))
    }

    /// A frame for a stream that has not begun is none (section 5.1). Behind our last GOAWAY, a client may have begun it.
    pub(super) fn check_not_idle(&self, stream: u32) -> Result<(), ConnectionError> {
        let is_idle = stream > self.last_stream && self.draining != Draining::Last;
        if stream.is_multiple_of(2) || is_idle { Err(ConnectionError::IdleStream) } else { Ok(()) }
    }

    /// Writes an answer that the peer asked for. Who does not read them may not ask for ever.
    pub(super) fn control(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), ConnectionError> {
        let before = self.transmit.len();
        self.transmit.append(write);
        let (consumed, waiting) = (self.transmit.consumed(), self.transmit.len());
        self.control.add(waiting - before, consumed, consumed + waiting)
    }

    /// A first request came: the connection is in use.
    pub(super) fn note_request(&mut self) {
        if matches!(self.deadline, Some((_, TimeoutKind::KeepAlive))) {
            self.deadline = None;
        }
        self.bounds.forgive(Bound::Ignored, 10);
    }
}

/// The stream that another depends on (RFC 7540 section 5.3.1, which nobody uses any more).
const fn dependency_of([a, b, c, d, _]: [u8; 5]) -> u32 {
    frame::u31([a, b, c, d])
}

/// Frames whose length says whether they are right, before their payload is there.
const fn check_size(head: Head) -> Result<(), ConnectionError> {
    let valid = match head.kind {
        frame::PING => head.length == 8,
        frame::RST_STREAM | frame::WINDOW_UPDATE => head.length == 4,
        frame::SETTINGS => head.length.is_multiple_of(6),
        _ => true,
    };
    if valid { Ok(()) } else { Err(ConnectionError::FrameSize) }
}
