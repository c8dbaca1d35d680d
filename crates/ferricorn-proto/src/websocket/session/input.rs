//! What a client sends, from frames to messages. This file says when the client's side ends, and nothing of time.

use std::ops::Range;
use std::time::Instant;

use asgi::Message;

use super::{Fate, NO_STATUS, Session, has_room};
use crate::transmit::Transmit;
use crate::websocket::ProtocolError;
use crate::websocket::frame::{self, Head, Mask, Opcode};
use crate::websocket::message::{self, Kind};

/// What came of handing bytes in.
#[derive(Debug)]
pub struct Step<'a> {
    /// How many bytes at the front of the input are done with: to be dropped, before or after the event is used.
    pub consumed: usize,
    /// The message that was [wanted](Session::want_message). None: more bytes are needed, or none are wanted now. On Err
    /// the close frame is in the transmit, and the session is over.
    pub event: Result<Option<Message<&'a [u8], &'a str>>, ProtocolError>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    kind: Kind,
    compressed: bool,
    /// Bytes announced by the heads of its frames; a fragment without any counts as one (nobody needs them, and they
    /// could go on for ever).
    size: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    left: u64,
    mask: Mask,
    fin: bool,
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
}
