//! A WebSocket behind its handshake: messages out, pings, and how it ends (RFC 6455 sections 5 to 7); `input` has what comes
//! in. This file drives its siblings; it knows nothing of what carries it.

mod input;

use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use asgi::{Message, SendError};

use super::Limits;
use super::close_code::INTERNAL_ERROR;
use super::deflate::Compression;
use super::extension::Deflate;
use super::frame::{self, Opcode};
use super::keepalive::{Due, Keepalive};
use super::message::Assembly;
use super::queue::Queue;
use crate::error::TimeoutKind;
use crate::transmit::{self, Content, Transmit};
pub use input::Step;
use input::{Begun, Frame};

/// What the application is told where a close frame had no code, and where none came (RFC 6455 section 7.1.5; WS-15).
const NO_STATUS: u16 = 1005;
const ABNORMAL: u16 = 1006;

/// Why a server closes with 1011 that has waited for a pong.
const PONG_MISSING: &str = "keepalive ping timeout";

/// From one look whether a pong has room to the next.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// One WebSocket. Its methods are of the four kinds of [`http1::Connection`](crate::http1::Connection); what is to be
/// written goes into a [`Transmit`] that is handed in.
///
/// A driver that has no message for a waiting application asks [`take_message`](Self::take_message) first, and then says
/// [`want_message`](Self::want_message): the next message is then given by [`handle_input`](Self::handle_input), borrowed
/// from the bytes that came.
pub struct Session {
    limits: Rc<Limits>,
    fate: Fate,
    /// Whether the next message is to be given out.
    wanted: bool,
    /// Whether what stands behind a queued message is left.
    one: bool,
    /// The message that has begun.
    begun: Option<Begun>,
    /// The data frame whose payload has begun.
    frame: Option<Frame>,
    assembly: Assembly,
    compression: Option<Box<Compression>>,
    queue: Option<Box<Queue>>,
    keepalive: Keepalive,
    /// The payload of the last ping that is still to be answered, and when to see to it: a client that reads nothing must
    /// not fill the memory with pongs, and only the last of several pings needs one (section 5.5.3).
    owed: Option<(Instant, Vec<u8>)>,
    /// Until when the client has to answer the close frame.
    close_deadline: Option<Instant>,
    closed: Option<Box<Closed>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    /// A close frame was sent; the client's is waited for.
    Closing,
    Over,
}

struct Closed {
    code: u16,
    reason: String,
}

impl Session {
    pub(super) fn new(limits: Rc<Limits>, deflate: Option<Deflate>, now: Instant) -> Self {
        let keepalive = Keepalive::new(&limits, now);
        Self {
            limits,
            fate: Fate::Open,
            wanted: false,
            one: false,
            begun: None,
            frame: None,
            assembly: Assembly::default(),
            compression: deflate.map(|agreed| Box::new(Compression::new(agreed))),
            queue: None,
            keepalive,
            owed: None,
            close_deadline: None,
            closed: None,
        }
    }

    /// Whether the application waits: the next whole message is given by [`handle_input`](Self::handle_input), once;
    /// else it is queued.
    pub fn want_message(&mut self, wanted: bool) {
        self.wanted = wanted;
    }

    /// Whether one message in the queue is enough: the application deals with it at once, and what it says of it is to go
    /// ahead of what follows from the input behind it.
    pub fn queue_one(&mut self, one: bool) {
        self.one = one;
    }

    /// Takes the first message that is queued.
    pub fn take_message<R>(&mut self, take: impl FnOnce(Message<&[u8], &str>) -> R) -> Option<R> {
        self.queue.as_mut()?.take(take)
    }

    /// Whether a message is queued.
    pub fn has_message(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.len() > 0)
    }

    /// Whether [`handle_input`](Self::handle_input) would do anything with more bytes. False: the queue is full, or the
    /// session is over.
    pub fn wants_input(&self) -> bool {
        match self.fate {
            Fate::Open => self.wanted || !(self.is_full() || self.one && self.has_message()),
            Fate::Closing => true,
            Fate::Over => false,
        }
    }

    fn is_full(&self) -> bool {
        let (len, bytes) = self.queue.as_ref().map_or((0, 0), |queue| (queue.len(), queue.bytes()));
        len >= self.limits.queue || bytes > Limits::QUEUED
    }

    fn is_wanted(&self) -> bool {
        self.wanted && !self.has_message()
    }

    /// The carrier is gone, or has nothing more to say.
    pub fn handle_end_of_input(&mut self) {
        self.set_closed(ABNORMAL, "");
        self.end();
    }

    /// Looks whether a deadline has passed, and sends the pings that are due. Some: what the session ended by.
    pub fn handle_timeout<B: AsRef<[u8]>>(&mut self, transmit: &mut Transmit<B>, now: Instant) -> Option<TimeoutKind> {
        match self.fate {
            Fate::Open => {
                self.pay_pong(transmit, now);
                self.keep_alive(transmit, now)
            }
            Fate::Closing if self.close_deadline.is_some_and(|at| at <= now) => {
                self.end();
                Some(TimeoutKind::Close)
            }
            Fate::Closing | Fate::Over => None,
        }
    }

    /// Answers the ping whose pong had no room, or looks again a little later.
    fn pay_pong<B: AsRef<[u8]>>(&mut self, transmit: &mut Transmit<B>, now: Instant) {
        let has_room = has_room(transmit);
        match &mut self.owed {
            Some((_, payload)) if has_room => {
                transmit.append(|buffer| frame::write_control(buffer, Opcode::Pong, payload));
                self.owed = None;
            }
            Some((due, _)) if *due <= now => *due = now + LOOK_AGAIN,
            _ => {}
        }
    }

    fn owed_due(&self) -> Option<Instant> {
        self.owed.as_ref().map(|(due, _)| *due)
    }

    fn keep_alive<B: AsRef<[u8]>>(&mut self, transmit: &mut Transmit<B>, now: Instant) -> Option<TimeoutKind> {
        let is_held_up = !self.wants_input() || !transmit.is_empty();
        match self.keepalive.due(&self.limits, transmit.is_empty(), now) {
            Due::Nothing => {}
            Due::Ping(payload) => transmit.append(|buffer| frame::write_control(buffer, Opcode::Ping, &payload)),
            // The pong may wait behind messages that the application does not receive, or the client behind bytes that it
            // has not taken: whether it takes any is for who writes them to see.
            Due::Late if is_held_up => self.keepalive.wait_again(now),
            Due::Late => {
                self.send_close(Some(INTERNAL_ERROR), PONG_MISSING, transmit);
                self.set_closed(INTERNAL_ERROR, PONG_MISSING);
                self.end();
                return Some(TimeoutKind::Pong);
            }
        }
        None
    }

    /// When [`handle_timeout`](Self::handle_timeout) will have something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        match self.fate {
            Fate::Open => self.keepalive.next_timeout(&self.limits).into_iter().chain(self.owed_due()).min(),
            Fate::Closing => self.close_deadline,
            Fate::Over => None,
        }
    }

    /// Sends a message (WS-10): a small one is copied, a large one written from where it is.
    ///
    /// # Errors
    /// [`SendError::Disconnected`] after a close frame of either side.
    pub fn send<B: AsRef<[u8]>, T: AsRef<str> + Into<B>>(
        &mut self,
        message: Message<B, T>,
        transmit: &mut Transmit<B>,
    ) -> Result<(), SendError> {
        if self.fate != Fate::Open {
            return Err(SendError::Disconnected);
        }
        let opcode = match message {
            Message::Text(_) => Opcode::Text,
            Message::Binary(_) => Opcode::Binary,
        };
        let bytes = message.as_bytes();
        if self.send_compressed(opcode, bytes, transmit) {
            return Ok(());
        }
        if bytes.len() < transmit::LARGE {
            transmit.append(|buffer| {
                let (head, size) = frame::head(opcode, false, bytes.len());
                buffer.reserve(size + bytes.len());
                buffer.extend_from_slice(&head[..size]);
                buffer.extend_from_slice(bytes);
            });
            return Ok(());
        }
        transmit.append(|buffer| frame::write_head(buffer, opcode, false, bytes.len()));
        transmit.push(Content::Bytes(match message {
            Message::Text(text) => text.into(),
            Message::Binary(bytes) => bytes,
        }));
        Ok(())
    }

    /// False: it is not compressed, and has not been sent.
    fn send_compressed<B: AsRef<[u8]>>(&mut self, opcode: Opcode, bytes: &[u8], transmit: &mut Transmit<B>) -> bool {
        let compression = self.compression.as_mut().filter(|compression| compression.is_worth_it(bytes.len()));
        let Some(compression) = compression else { return false };
        let mut sent = false;
        transmit.append(|buffer| {
            // Compressed it is shorter, and so its head is no longer than this.
            let (head, room) = frame::head(opcode, true, bytes.len());
            let start = buffer.len();
            buffer.extend_from_slice(&head[..room]);
            sent = compression.compress(bytes, buffer);
            if !sent {
                return buffer.truncate(start);
            }
            let payload = start + room;
            let (head, size) = frame::head(opcode, true, buffer.len() - payload);
            let start_of_head = payload - size;
            buffer[start_of_head..payload].copy_from_slice(&head[..size]);
            buffer.drain(start..start_of_head);
        });
        sent
    }

    /// `websocket.close`: as [`shut_down`](Self::shut_down), and forgets the messages that nobody has taken.
    ///
    /// # Errors
    /// Where the code or the reason may not stand in a close frame (WS-13), and [`SendError::Disconnected`] after one of
    /// either side; nothing has changed then.
    pub fn close<B: AsRef<[u8]>>(
        &mut self,
        code: u16,
        reason: &str,
        transmit: &mut Transmit<B>,
        now: Instant,
    ) -> Result<(), SendError> {
        self.shut_down(code, reason, transmit, now)?;
        self.queue = None;
        Ok(())
    }

    /// Sends a close frame (WS-12): the server's own will, and the application still gets what came before (WS-27).
    ///
    /// # Errors
    /// As [`close`](Self::close).
    pub fn shut_down<B: AsRef<[u8]>>(
        &mut self,
        code: u16,
        reason: &str,
        transmit: &mut Transmit<B>,
        now: Instant,
    ) -> Result<(), SendError> {
        if self.fate != Fate::Open {
            return Err(SendError::Disconnected);
        }
        if !frame::may_be_sent(code) {
            return Err(SendError::CloseCode(code));
        }
        if reason.len() > frame::CONTROL - 2 {
            return Err(SendError::CloseReason(reason.len()));
        }
        self.send_close(Some(code), reason, transmit);
        self.set_closed(code, reason);
        self.fate = Fate::Closing;
        self.close_deadline = Some(now + self.limits.close);
        self.forget_parts();
        Ok(())
    }

    /// What the application is to be told once the queue is empty: code and reason.
    pub fn closed(&self) -> Option<(u16, &str)> {
        self.closed.as_ref().map(|closed| (closed.code, &*closed.reason))
    }

    /// Whether nothing more will come or go beyond what waits to be written: to be flushed, and the carrier ended.
    pub fn is_over(&self) -> bool {
        self.fate == Fate::Over
    }

    /// How long the last pong took: told once.
    pub fn take_round_trip(&mut self) -> Option<Duration> {
        self.keepalive.take_round_trip()
    }

    /// Gives back the memory that an idle session can do without.
    pub fn release_memory(&mut self) {
        if self.begun.is_none() {
            self.forget_parts();
        }
        if !self.has_message() {
            self.queue = None;
        }
    }

    fn send_close<B: AsRef<[u8]>>(&self, code: Option<u16>, reason: &str, transmit: &mut Transmit<B>) {
        transmit.append(|buffer| frame::write_close(buffer, code, reason));
    }

    /// The first close counts.
    fn set_closed(&mut self, code: u16, reason: &str) {
        if self.closed.is_none() {
            self.closed = Some(Box::new(Closed { code, reason: reason.to_owned() }));
        }
    }

    fn end(&mut self) {
        self.fate = Fate::Over;
        self.wanted = false;
        self.begun = None;
        self.frame = None;
        self.forget_parts();
    }

    /// Forgets what was received, with its memory: nobody will be given it.
    fn forget_parts(&mut self) {
        self.assembly = Assembly::default();
        if let Some(compression) = &mut self.compression {
            compression.release_memory();
        }
    }
}

/// Whether a pong may be added to what waits.
fn has_room<B: AsRef<[u8]>>(transmit: &Transmit<B>) -> bool {
    transmit.len() <= crate::Limits::PIPELINE
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("fate", &self.fate).field("closed", &self.closed()).finish_non_exhaustive()
    }
}
