//! A WebSocket behind its handshake: the order of frames, messages in, messages out, and how it ends (RFC 6455 sections 5
//! to 7). This file drives its siblings; it knows nothing of what carries it.

use std::fmt;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use asgi::{Message, SendError};

use super::deflate::Compression;
use super::extension::Deflate;
use super::frame::{self, Head, Mask, Opcode};
use super::keepalive::{Due, Keepalive};
use super::message::{self, Assembly, Kind};
use super::queue::Queue;
use super::{Limits, ProtocolError};
use crate::error::TimeoutKind;
use crate::transmit::{self, Content, Transmit};

/// What the application is told where a close frame had no code, and where none came (RFC 6455 section 7.1.5; WS-15).
const NO_STATUS: u16 = 1005;
const ABNORMAL: u16 = 1006;

/// The code for a server that cannot go on (RFC 6455 section 7.4.1), and why.
const INTERNAL_ERROR: u16 = 1011;
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
    /// The message that has begun.
    begun: Option<Begun>,
    /// The data frame whose payload has begun.
    frame: Option<Frame>,
    assembly: Assembly,
    compression: Option<Box<Compression>>,
    queue: Option<Box<Queue>>,
    keepalive: Keepalive,
    /// The payload of the last ping that is still to be answered, and when to see to it: a client that reads nothing must not fill the memory with
    /// pongs, and only the last of several pings needs one (section 5.5.3).
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

#[derive(Clone, Copy, Debug)]
struct Begun {
    kind: Kind,
    compressed: bool,
    /// Bytes announced by the heads of its frames; a fragment without any counts as one (nobody needs them, and they
    /// could go on for ever).
    size: u64,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    left: u64,
    mask: Mask,
    fin: bool,
}

struct Closed {
    code: u16,
    reason: String,
}

/// What came of handing bytes in.
#[derive(Debug)]
pub struct Step<'a> {
    /// How many bytes at the front of the input are done with: to be dropped, before or after the event is used.
    pub consumed: usize,
    /// The message that was [wanted](Session::want_message). None: more bytes are needed, or none are wanted now. On Err
    /// the close frame is in the transmit, and the session is over.
    pub event: Result<Option<Message<&'a [u8], &'a str>>, ProtocolError>,
}

/// One step forward in the input.
enum Advance {
    /// Nothing can be done with what is there.
    Starved,
    /// So many bytes are done with.
    Consumed(usize),
    /// A whole message lies here, its mask taken off; the text is not judged.
    InPlace(Kind, Range<usize>),
    /// A message has been assembled; so many bytes are done with.
    Assembled(Kind, usize),
}

impl Session {
    pub(super) fn new(limits: Rc<Limits>, deflate: Option<Deflate>, now: Instant) -> Self {
        let keepalive = Keepalive::new(&limits, now);
        Self {
            limits,
            fate: Fate::Open,
            wanted: false,
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

    /// Bytes came in; their masks are taken off where they are. Parts of messages are taken at once, only an incomplete
    /// head or control frame is left. Returns with bytes left over where the wanted message is there or the queue is full:
    /// to be handed in again when it [wants input](Self::wants_input).
    pub fn handle_input<'a, B: AsRef<[u8]>>(
        &'a mut self,
        input: &'a mut [u8],
        transmit: &mut Transmit<B>,
        now: Instant,
    ) -> Step<'a> {
        if self.begun.is_none() {
            // The last message has been given out of there.
            self.assembly.clear();
        }
        let mut consumed = 0;
        loop {
            match self.advance(&mut input[consumed..], transmit, now) {
                Ok(Advance::Consumed(bytes)) => consumed += bytes,
                Ok(Advance::Starved) => return Step { consumed, event: Ok(None) },
                Ok(Advance::InPlace(kind, range)) => {
                    let range = consumed + range.start..consumed + range.end;
                    consumed = range.end;
                    if self.is_wanted() {
                        return self.give_in_place(kind, &input[range], consumed, transmit);
                    }
                    if let Err(error) = self.queue_in_place(kind, &input[range]) {
                        return self.fail(error, consumed, transmit);
                    }
                }
                Ok(Advance::Assembled(kind, bytes)) => {
                    consumed += bytes;
                    if self.is_wanted() {
                        self.wanted = false;
                        return Step { consumed, event: Ok(Some(self.assembly.message(kind))) };
                    }
                    self.queue.get_or_insert_default().push_assembled(&mut self.assembly, kind);
                    self.assembly.clear();
                }
                Err(error) => return self.fail(error, consumed, transmit),
            }
        }
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
            Fate::Open => self.wanted || !self.is_full(),
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
        let Some(compression) = &mut self.compression else { return false };
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

    /// How long the last pong took.
    pub fn round_trip(&self) -> Option<Duration> {
        self.keepalive.round_trip()
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

    fn advance<B: AsRef<[u8]>>(
        &mut self,
        input: &mut [u8],
        transmit: &mut Transmit<B>,
        now: Instant,
    ) -> Result<Advance, ProtocolError> {
        if self.fate == Fate::Over {
            // Whatever comes behind a close frame is not looked at (section 7.1.7).
            return Ok(if input.is_empty() { Advance::Starved } else { Advance::Consumed(input.len()) });
        }
        if let Some(frame) = self.frame {
            return self.payload(frame, input);
        }
        if !self.wants_input() {
            return Ok(Advance::Starved);
        }
        let expected = frame::Expected { continuation: self.begun.is_some(), deflate: self.compression.is_some() };
        let Some(head) = frame::read(input, expected)? else { return Ok(Advance::Starved) };
        if !head.opcode.is_control() {
            return self.data(head, input);
        }
        let size = head.size + head.length as usize;
        let Some(payload) = input.get_mut(head.size..size) else { return Ok(Advance::Starved) };
        let mut mask = head.mask;
        mask.take_off(payload);
        self.control(head.opcode, payload, transmit, now)?;
        Ok(Advance::Consumed(size))
    }

    /// A data frame begins.
    fn data(&mut self, head: Head, input: &mut [u8]) -> Result<Advance, ProtocolError> {
        let Head { fin, compressed, length, mut mask, .. } = head;
        let kind = if head.opcode == Opcode::Text { Kind::Text } else { Kind::Binary };
        let mut begun = self.begun.unwrap_or(Begun { kind, compressed, size: 0 });
        begun.size = begun.size.saturating_add(if length == 0 && !fin { 1 } else { length });
        if self.fate == Fate::Open {
            if begun.size > self.max_size(begun.compressed) {
                return Err(ProtocolError::MessageTooBig);
            }
            let end = head.size as u64 + length;
            if self.begun.is_none() && fin && !compressed && end <= input.len() as u64 {
                let range = head.size..end as usize;
                mask.take_off(&mut input[range.clone()]);
                return Ok(Advance::InPlace(kind, range));
            }
        }
        self.begun = Some(begun);
        self.frame = Some(Frame { left: length, mask, fin });
        Ok(Advance::Consumed(head.size))
    }

    /// Bytes on the wire of a message. Compressing makes none longer by more than an eighth; what is decompressed is
    /// limited apart.
    fn max_size(&self, compressed: bool) -> u64 {
        let max = self.limits.max_message;
        if compressed { max.saturating_add(max / 8 + 1024) } else { max }
    }

    /// A part of a data frame's payload.
    fn payload(&mut self, mut frame: Frame, input: &mut [u8]) -> Result<Advance, ProtocolError> {
        let length = frame.left.min(input.len() as u64);
        if length == 0 && frame.left > 0 {
            return Ok(Advance::Starved);
        }
        frame.left -= length;
        let consumed = length as usize;
        let is_last = frame.left == 0 && frame.fin;
        let begun = if is_last { self.begun.take() } else { self.begun };
        let Some(begun) = begun.filter(|_| self.fate == Fate::Open) else {
            // Nobody reads it any more.
            self.frame = Some(frame).filter(|frame| frame.left > 0);
            return Ok(Advance::Consumed(consumed));
        };
        let part = &mut input[..consumed];
        frame.mask.take_off(part);
        self.part(begun, part, frame.left)?;
        self.frame = Some(frame).filter(|frame| frame.left > 0);
        if !is_last {
            return Ok(Advance::Consumed(consumed));
        }
        self.finish(begun)?;
        Ok(Advance::Assembled(begun.kind, consumed))
    }

    fn part(&mut self, begun: Begun, part: &[u8], left: u64) -> Result<(), ProtocolError> {
        match &mut self.compression {
            Some(compression) if begun.compressed => {
                compression.decompress(part, &mut self.assembly.inflating(begun.kind, self.limits.max_message))
            }
            _ => self.assembly.push(begun.kind, part, left),
        }
    }

    fn finish(&mut self, begun: Begun) -> Result<(), ProtocolError> {
        if begun.compressed
            && let Some(compression) = &mut self.compression
        {
            compression.finish()?;
        }
        self.assembly.finish(begun.kind)
    }

    fn control<B: AsRef<[u8]>>(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        transmit: &mut Transmit<B>,
        now: Instant,
    ) -> Result<(), ProtocolError> {
        match opcode {
            Opcode::Close => self.close_frame(payload, transmit)?,
            Opcode::Ping if self.fate == Fate::Open => {
                if has_room(transmit) {
                    self.owed = None;
                    transmit.append(|buffer| frame::write_control(buffer, Opcode::Pong, payload));
                } else {
                    self.owed = Some((now, payload.to_vec()));
                }
            }
            Opcode::Pong => self.keepalive.handle_pong(payload, now),
            _ => {}
        }
        Ok(())
    }

    /// The client's close frame (section 5.5.1): answered with its code where it is not the answer itself.
    fn close_frame<B: AsRef<[u8]>>(&mut self, payload: &[u8], transmit: &mut Transmit<B>) -> Result<(), ProtocolError> {
        let (code, reason) = match payload.split_first_chunk() {
            Some((code, reason)) => (Some(u16::from_be_bytes(*code)), reason),
            None if payload.is_empty() => (None, payload),
            None => return Err(ProtocolError::ClosePayload),
        };
        if code.is_some_and(|code| !frame::may_be_received(code)) {
            return Err(ProtocolError::CloseCode);
        }
        let reason = message::text_of(reason)?;
        if self.fate == Fate::Open {
            self.send_close(code, "", transmit);
        }
        self.set_closed(code.unwrap_or(NO_STATUS), reason);
        self.end();
        Ok(())
    }

    fn give_in_place<'a, B: AsRef<[u8]>>(
        &mut self,
        kind: Kind,
        payload: &'a [u8],
        consumed: usize,
        transmit: &mut Transmit<B>,
    ) -> Step<'a> {
        let message = match kind {
            Kind::Binary => Message::Binary(payload),
            Kind::Text => match message::text_of(payload) {
                Ok(text) => Message::Text(text),
                Err(error) => return self.fail(error, consumed, transmit),
            },
        };
        self.wanted = false;
        Step { consumed, event: Ok(Some(message)) }
    }

    fn queue_in_place(&mut self, kind: Kind, payload: &[u8]) -> Result<(), ProtocolError> {
        let message = match kind {
            Kind::Binary => Message::Binary(payload),
            Kind::Text => Message::Text(message::text_of(payload)?),
        };
        self.queue.get_or_insert_default().push(message);
        Ok(())
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

    /// Fails the session (section 7.1.7).
    fn fail<'a, B: AsRef<[u8]>>(
        &mut self,
        error: ProtocolError,
        consumed: usize,
        transmit: &mut Transmit<B>,
    ) -> Step<'a> {
        if self.fate == Fate::Open {
            self.send_close(Some(error.code()), error.as_str(), transmit);
        }
        self.set_closed(error.code(), error.as_str());
        self.end();
        Step { consumed, event: Err(error) }
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
