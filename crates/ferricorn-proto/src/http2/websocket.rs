//! A WebSocket on a stream of HTTP/2 (RFC 8441): its handshake, and the session whose frames are the stream's data from then
//! on. This file reads no frame of either kind.

use std::time::Duration;

use asgi::{Gather, Headers, Message, Outcome, ResponseStart, SendError};

use super::error::ErrorCode;
use super::output::{Framing, Part, is_about_the_connection};
use super::stream::{End, Start};
use super::{Connection, Now};
use crate::error::TimeoutKind;
use crate::exchange::State;
use crate::transmit::Content;
use crate::websocket::close_code::{INTERNAL_ERROR, NORMAL, SERVICE_RESTART};
use crate::websocket::{ProtocolError, Session, WebSocket};

/// What came of bytes for a session: how the peer broke its protocol, if it did.
pub(super) type Feed = Option<ProtocolError>;

impl<B: AsRef<[u8]>, G: Gather> Connection<B, G> {
    /// The WebSocket that the request asks for, from its handshake to the end of its stream. Its messages are queued in it;
    /// where one was taken, [`feed_websocket`](Self::feed_websocket) is to be called.
    pub fn websocket(&mut self, stream: u32) -> Option<&mut WebSocket> {
        let slot = self.streams.find(stream)?;
        self.streams[slot].websocket.as_deref_mut()
    }

    /// The same for whoever outlives the stream.
    pub fn take_websocket(&mut self, stream: u32) -> Option<Box<WebSocket>> {
        let slot = self.streams.find(stream)?;
        lose(&mut self.streams[slot].websocket);
        self.streams[slot].websocket.take()
    }

    /// How long the client of a WebSocket took to answer the last ping: told once.
    pub fn take_round_trip(&mut self) -> Option<Duration> {
        self.round_trip.take()
    }

    /// Reads what has waited for the application, from here on to the next message where the application `waits` for it, else
    /// as far as the queue takes it. How the peer broke the protocol there, if it did.
    pub fn feed_websocket(&mut self, stream: u32, waits: bool, now: &Now<'_>) -> Option<ProtocolError> {
        let slot = self.streams.find(stream)?;
        session_of(&mut self.streams[slot].websocket)?.queue_one(waits);
        if self.streams[slot].receive.frames.is_empty() {
            return None;
        }
        let violation = self.take_frames(slot, &mut [], now);
        self.after_output(now);
        violation
    }

    /// `websocket.accept`: writes the handshake's response, a 200 (WS-04, RFC 8441 section 5).
    ///
    /// # Errors
    /// Where it may not come now, or says what was not offered or is the server's to say; nothing has changed then.
    pub fn websocket_accept(
        &mut self,
        stream: u32,
        subprotocol: Option<&str>,
        headers: &Headers,
        now: &Now<'_>,
    ) -> Result<(), SendError> {
        let event = "websocket.accept";
        let slot = self.open_slot(stream)?;
        let stream = &mut self.streams[slot];
        stream.exchange.check_connecting(event)?;
        let refused = stream.exchange.refuse(event);
        let Some(websocket) = &mut stream.websocket else { return Err(refused) };
        let Some(handshake) = websocket.handshake() else { return Err(refused) };
        handshake.check_accept(subprotocol, headers)?;
        let mut fields = Headers::new();
        if let Some(name) = subprotocol {
            fields.push_checked(b"sec-websocket-protocol", name.as_bytes());
        }
        if let Some(extensions) = handshake.extensions() {
            fields.push_checked(b"sec-websocket-extensions", &extensions);
        }
        let own = headers.iter().filter(|(name, _)| !is_about_the_connection(name) && *name != b"content-length");
        own.for_each(|(name, value)| fields.push_checked(name, value));
        websocket.open(now.instant);
        stream.exchange.upgrade(200);
        stream.receive.end_given = false;
        let framing = Framing { length: None, end: false };
        self.send_head(slot, &Start { status: 200, headers: fields }, framing, now);
        if self.restarting {
            self.close_session(slot, SERVICE_RESTART, now);
        }
        // What came ahead of this was kept.
        let _ = self.take_frames(slot, &mut [], now);
        if self.streams[slot].receive.ended {
            self.end_frames(slot, now);
        }
        self.after_output(now);
        Ok(())
    }

    /// `websocket.send` (WS-10).
    ///
    /// # Errors
    /// Where it may not come now or the WebSocket is closed; nothing has changed then.
    pub fn websocket_send<T>(&mut self, stream: u32, message: Message<B, T>, now: &Now<'_>) -> Result<(), SendError>
    where
        T: AsRef<str> + Into<B>,
    {
        let slot = self.streams.find(stream).ok_or(SendError::Disconnected)?;
        let stream = &mut self.streams[slot];
        match session_of(&mut stream.websocket) {
            Some(session) if stream.exchange.state() == State::Upgraded => session.send(message, &mut stream.unsent)?,
            _ => return Err(stream.exchange.refuse("websocket.send")),
        }
        self.after_session(slot);
        self.after_output(now);
        Ok(())
    }

    /// The server goes, or this part of it: open WebSockets are closed with 1012, and so are those that open later (WS-27).
    pub fn websocket_restart(&mut self, now: &Now<'_>) {
        self.restarting = true;
        for slot in self.streams.slots().collect::<Vec<_>>() {
            self.close_session(slot, SERVICE_RESTART, now);
        }
        self.after_output(now);
    }

    /// `websocket.close`: a 403 before the accept (WS-11), a close frame after it (WS-12).
    ///
    /// # Errors
    /// Where it may not come now, the code or reason cannot be sent, or the WebSocket is closed; nothing has changed then.
    pub fn websocket_close(&mut self, stream: u32, code: u16, reason: &str, now: &Now<'_>) -> Result<(), SendError> {
        let event = "websocket.close";
        let slot = self.open_slot(stream)?;
        let stream = &mut self.streams[slot];
        if stream.exchange.state() != State::Upgraded {
            stream.exchange.check_connecting(event)?;
            stream.exchange.answered(403);
            self.answer(slot, 403, "", now);
            return Ok(());
        }
        let Some(session) = session_of(&mut stream.websocket) else { return Err(stream.exchange.refuse(event)) };
        session.close(code, reason, &mut stream.unsent, now.instant)?;
        self.after_session(slot);
        self.after_output(now);
        Ok(())
    }

    /// `websocket.http.response.start` (EXT-01). The head is held back until the first part of the body.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn websocket_response_start(&mut self, stream: u32, start: &ResponseStart) -> Result<(), SendError> {
        let slot = self.open_slot(stream)?;
        self.begin(slot, "websocket.http.response.start", start)
    }

    /// `websocket.http.response.body` (EXT-01).
    ///
    /// # Errors
    /// As [`body`](Self::body).
    pub fn websocket_response_body(
        &mut self,
        stream: u32,
        content: Content<B>,
        more_body: bool,
        now: &Now<'_>,
    ) -> Result<(), SendError> {
        let slot = self.open_slot(stream)?;
        self.part(slot, Part { event: "websocket.http.response.body", content, more: more_body }, now)
    }

    /// Whatever is sent on a WebSocket that is closed finds nobody (WS-19, WS-23).
    fn open_slot(&self, stream: u32) -> Result<usize, SendError> {
        let slot = self.streams.find(stream).ok_or(SendError::Disconnected)?;
        if is_closed(self.streams[slot].websocket.as_deref()) { Err(SendError::Disconnected) } else { Ok(slot) }
    }

    /// Data of a stream with a WebSocket: its session takes what it wants, and the rest waits without credit.
    pub(super) fn take_frames(&mut self, slot: usize, bytes: &mut [u8], now: &Now<'_>) -> Feed {
        let stream = &mut self.streams[slot];
        let buffer = &mut stream.receive.frames;
        let Some(session) = session_of(&mut stream.websocket) else {
            buffer.extend_from_slice(bytes);
            return None;
        };
        let (consumed, event) = if buffer.is_empty() {
            let step = session.handle_input(bytes, &mut stream.unsent, now.instant);
            let (consumed, event) = (step.consumed, step.event.err());
            buffer.extend_from_slice(&bytes[consumed..]);
            (consumed, event)
        } else {
            buffer.extend_from_slice(bytes);
            let step = session.handle_input(buffer, &mut stream.unsent, now.instant);
            let (consumed, event) = (step.consumed, step.event.err());
            buffer.drain(..consumed);
            (consumed, event)
        };
        self.give_back(slot, consumed as u32);
        self.after_session(slot);
        if consumed > 0 || event.is_some() {
            self.note_changed(slot);
        }
        event
    }

    /// Draws the consequences of what a session has done.
    fn after_session(&mut self, slot: usize) {
        let stream = &mut self.streams[slot];
        let Some(session) = session_of(&mut stream.websocket) else { return };
        let (due, is_over) = (session.next_timeout(), session.is_over());
        if let Some(time) = session.take_round_trip() {
            self.round_trip = Some(time);
        }
        if is_over && matches!(stream.end, End::Open) && !stream.local_ended && !stream.reset {
            stream.end = End::Stream;
            self.note_changed(slot);
        }
        self.note_due(due);
        self.enqueue(slot);
    }

    /// END_STREAM came: a session that was not closed before is so now, as by the end of a connection (RFC 8441 section 5).
    pub(super) fn end_frames(&mut self, slot: usize, now: &Now<'_>) {
        let stream = &mut self.streams[slot];
        if stream.exchange.state() != State::Upgraded {
            return;
        }
        if !stream.receive.frames.is_empty() {
            // Its close frame may be behind a message.
            if let Some(session) = session_of(&mut stream.websocket) {
                session.queue_one(false);
            }
            let _ = self.take_frames(slot, &mut [], now);
        }
        let stream = &mut self.streams[slot];
        if is_closed(stream.websocket.as_deref()) {
            self.after_session(slot);
        } else {
            lose(&mut stream.websocket);
            self.reset(slot, ErrorCode::Cancel);
        }
    }

    pub(super) fn frames_timeout(&mut self, slot: usize, now: &Now<'_>) -> Option<TimeoutKind> {
        let stream = &mut self.streams[slot];
        let session = session_of(&mut stream.websocket)?;
        let passed = session.handle_timeout(&mut stream.unsent, now.instant);
        if passed == Some(TimeoutKind::Close) {
            // The client has not answered the close frame.
            self.reset(slot, ErrorCode::Cancel);
        } else {
            self.after_session(slot);
        }
        passed
    }

    /// The application's call ended while its WebSocket was open (WS-21).
    pub(super) fn finish_websocket(&mut self, slot: usize, outcome: Outcome, now: &Now<'_>) {
        let code = if outcome == Outcome::Returned { NORMAL } else { INTERNAL_ERROR };
        self.close_session(slot, code, now);
        self.after_output(now);
    }

    /// Closes the session, if there is one and it is open.
    fn close_session(&mut self, slot: usize, code: u16, now: &Now<'_>) {
        let stream = &mut self.streams[slot];
        if let Some(session) = session_of(&mut stream.websocket)
            && session.shut_down(code, "", &mut stream.unsent, now.instant).is_ok()
        {
            self.after_session(slot);
            self.note_changed(slot);
        }
    }
}

pub(super) fn session(websocket: Option<&WebSocket>) -> Option<&Session> {
    websocket.and_then(WebSocket::session)
}

/// The session, borrowed from its field alone: what it is given to write into is another.
pub(super) fn session_of(websocket: &mut Option<Box<WebSocket>>) -> Option<&mut Session> {
    websocket.as_mut().and_then(|websocket| websocket.session_mut())
}

/// Whether the session is closed for the application, by whichever side.
pub(super) fn is_closed(websocket: Option<&WebSocket>) -> bool {
    session(websocket).is_some_and(|session| session.closed().is_some())
}

/// The carrier is gone.
pub(super) fn lose(websocket: &mut Option<Box<WebSocket>>) {
    if let Some(session) = session_of(websocket) {
        session.handle_end_of_input();
    }
}
