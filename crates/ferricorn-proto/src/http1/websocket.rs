//! A WebSocket over HTTP/1.1: its handshake (RFC 6455 section 4.2), and the session that has the connection from then on.
//! This file reads no frame and writes none.

use std::time::Duration;

use asgi::{Headers, Message, Outcome, ResponseStart, SendError};

use super::output::{Response, server_fields};
use super::{Connection, Expected, HeadReader, Input, Now, Step, encode, patience};
use crate::error::{RequestError, TimeoutKind};
use crate::exchange::{Exchange, State};
use crate::transmit::Content;
use crate::websocket::close_code::{INTERNAL_ERROR, NORMAL, SERVICE_RESTART};
use crate::websocket::{Handshake, Session, WebSocket};

impl<B: AsRef<[u8]>> Connection<B> {
    /// The WebSocket that the current request asks for, from its handshake to the end of the connection.
    pub fn websocket(&mut self) -> Option<&mut WebSocket> {
        self.websocket.as_deref_mut()
    }

    /// The same for whoever outlives the connection.
    pub fn take_websocket(&mut self) -> Option<Box<WebSocket>> {
        self.lose_websocket();
        self.websocket.take()
    }

    /// How long the client of a WebSocket took to answer the last ping: told once.
    pub fn take_round_trip(&mut self) -> Option<Duration> {
        self.session_mut()?.take_round_trip()
    }

    /// The application called `receive`: the next message is wanted, until it is given out or this is taken back.
    pub fn want_message(&mut self, wanted: bool) {
        if let Some(session) = self.session_mut() {
            session.want_message(wanted);
        }
    }

    /// `websocket.accept`: writes the handshake's response (WS-04).
    ///
    /// # Errors
    /// Where it may not come now, or says what was not offered or is the server's to say; nothing has changed then.
    pub fn websocket_accept(
        &mut self,
        subprotocol: Option<&str>,
        headers: &Headers,
        now: &Now<'_>,
    ) -> Result<(), SendError> {
        let event = "websocket.accept";
        self.check_not_closed()?;
        self.exchange.check_connecting(event)?;
        let Some(websocket) = &mut self.websocket else { return Err(self.exchange.refuse(event)) };
        let Some(handshake) = websocket.handshake() else { return Err(self.exchange.refuse(event)) };
        handshake.check_accept(subprotocol, headers)?;
        let response = Response::of(headers, &self.own_field);
        self.response = response;
        let (limits, own_field) = (&*self.limits, &*self.own_field);
        self.transmit.append(|buffer| {
            buffer.extend_from_slice(
                b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n",
            );
            handshake.write_fields(subprotocol, buffer);
            encode::fields(buffer, headers, |name| !is_hop_by_hop(name));
            server_fields(buffer, limits, response, own_field, now);
        });
        websocket.open(now.instant);
        self.exchange.upgrade(101);
        self.expected = Expected::Frames;
        self.request.body_complete = false;
        // There will be no other head.
        self.head = HeadReader::new();
        if self.restarting {
            self.close_websocket(SERVICE_RESTART, now);
        }
        self.note_waiting(now);
        Ok(())
    }

    /// `websocket.send` (WS-10).
    ///
    /// # Errors
    /// Where it may not come now or the WebSocket is closed; nothing has changed then.
    pub fn websocket_send<T>(&mut self, message: Message<B, T>, now: &Now<'_>) -> Result<(), SendError>
    where
        T: AsRef<str> + Into<B>,
    {
        match session_of(&mut self.websocket) {
            Some(session) if self.exchange.state() == State::Upgraded => session.send(message, &mut self.transmit)?,
            _ => return Err(self.exchange.refuse("websocket.send")),
        }
        self.note_waiting(now);
        Ok(())
    }

    /// The server goes, or this part of it: an open WebSocket is closed with 1012, and so is one that opens later (WS-27).
    pub fn websocket_restart(&mut self, now: &Now<'_>) {
        self.restarting = true;
        self.close_websocket(SERVICE_RESTART, now);
    }

    /// `websocket.close`: a 403 before the accept (WS-11), a close frame after it (WS-12).
    ///
    /// # Errors
    /// Where it may not come now, the code or reason cannot be sent, or the WebSocket is closed; nothing has changed then.
    pub fn websocket_close(&mut self, code: u16, reason: &str, now: &Now<'_>) -> Result<(), SendError> {
        let event = "websocket.close";
        self.check_not_closed()?;
        if self.exchange.state() != State::Upgraded {
            self.exchange.check_connecting(event)?;
            self.exchange.answered(403);
            self.answer(403, "", true, now);
            return Ok(());
        }
        let Some(session) = session_of(&mut self.websocket) else {
            return Err(self.exchange.refuse(event));
        };
        session.close(code, reason, &mut self.transmit, now.instant)?;
        self.note_waiting(now);
        Ok(())
    }

    /// `websocket.http.response.start` (EXT-01). The head is held back until the first part of the body.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn websocket_response_start(&mut self, start: &ResponseStart) -> Result<(), SendError> {
        self.check_not_closed()?;
        self.begin("websocket.http.response.start", start)
    }

    /// `websocket.http.response.body` (EXT-01).
    ///
    /// # Errors
    /// As [`body`](Self::body).
    pub fn websocket_response_body(
        &mut self,
        content: Content<B>,
        more_body: bool,
        now: &Now<'_>,
    ) -> Result<(), SendError> {
        self.check_not_closed()?;
        self.part("websocket.http.response.body", content, more_body, now)
    }

    /// Whatever is sent on a WebSocket that is closed finds nobody (WS-19, WS-23).
    fn check_not_closed(&self) -> Result<(), SendError> {
        if self.websocket_is_closed() { Err(SendError::Disconnected) } else { Ok(()) }
    }

    /// The request is a handshake, if there are WebSockets at all.
    pub(super) fn expect_websocket(
        &mut self,
        method: &str,
        headers: &Headers,
        has_body: bool,
    ) -> Result<(), RequestError> {
        let Some(limits) = &self.limits.websocket else { return Ok(()) };
        let handshake = Handshake::read(method, headers, has_body, limits)?;
        self.websocket = Some(Box::new(WebSocket::new(handshake, limits.clone())));
        self.exchange = Exchange::open_websocket();
        // A denial is the connection's last response (EXT-01).
        self.request.keep_alive = false;
        Ok(())
    }

    pub(super) fn frames_input<'b>(&'b mut self, input: &'b mut [u8], now: &Now<'_>) -> Step<'b> {
        let Some(session) = session_of(&mut self.websocket) else {
            return Step { consumed: input.len(), event: Ok(None) };
        };
        let step = session.handle_input(input, &mut self.transmit, now.instant);
        // Pongs and a close may wait now.
        if self.stalled.is_none() && !self.transmit.is_empty() {
            self.stalled = Some(now.instant + patience(&self.limits, true));
        }
        let event = match step.event {
            Ok(message) => message.map(Input::Message),
            Err(error) => Some(Input::Violation(error)),
        };
        Step { consumed: step.consumed, event: Ok(event) }
    }

    pub(super) fn wants_frames(&self) -> bool {
        // Once it is over, what still comes is read away until the end of input.
        self.session().is_none_or(|session| session.is_over() || session.wants_input())
    }

    pub(super) fn session(&self) -> Option<&Session> {
        self.websocket.as_ref().and_then(|websocket| websocket.session())
    }

    pub(super) fn session_mut(&mut self) -> Option<&mut Session> {
        session_of(&mut self.websocket)
    }

    /// Whether the session is closed for the application, by whichever side.
    pub(super) fn websocket_is_closed(&self) -> bool {
        self.session().is_some_and(|session| session.closed().is_some())
    }

    /// The carrier is gone.
    pub(super) fn lose_websocket(&mut self) {
        if let Some(session) = self.session_mut() {
            session.handle_end_of_input();
        }
    }

    pub(super) fn websocket_timeout(&mut self, now: &Now<'_>) -> Option<TimeoutKind> {
        let session = session_of(&mut self.websocket)?;
        let passed = session.handle_timeout(&mut self.transmit, now.instant);
        self.note_waiting(now);
        if passed == Some(TimeoutKind::Close) && !self.transmit.is_empty() {
            // The client takes nothing, not even the close frame.
            self.close_at_once();
        }
        passed
    }

    /// The application's call ended while its WebSocket was open (WS-21).
    pub(super) fn finish_websocket(&mut self, outcome: Outcome, now: &Now<'_>) {
        let code = if outcome == Outcome::Returned { NORMAL } else { INTERNAL_ERROR };
        self.close_websocket(code, now);
    }

    /// Closes the session, if there is one and it is open.
    pub(super) fn close_websocket(&mut self, code: u16, now: &Now<'_>) {
        if let Some(session) = session_of(&mut self.websocket)
            && session.shut_down(code, "", &mut self.transmit, now.instant).is_ok()
        {
            self.note_waiting(now);
        }
    }
}

/// The session, borrowed from its field alone: what it is given to write into is another.
fn session_of(websocket: &mut Option<Box<WebSocket>>) -> Option<&mut Session> {
    websocket.as_mut().and_then(|websocket| websocket.session_mut())
}

/// What is the server's to say about the connection and the framing of a message (HTTP-19).
fn is_hop_by_hop(name: &[u8]) -> bool {
    matches!(
        name,
        b"connection" | b"content-length" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade"
    )
}
