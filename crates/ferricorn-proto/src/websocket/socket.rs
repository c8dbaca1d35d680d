//! A WebSocket as its application sees it, from the handshake to the end: connect, messages, disconnect. This file reads
//! no frame, and knows neither the HTTP version nor what becomes of the connection.

use std::rc::Rc;
use std::time::Instant;

use asgi::{Message, ReceiveEvent};

use super::{Handshake, Limits, Session};

/// What the application is told where no close frame told anything (RFC 6455 section 7.1.5; WS-15).
const ABNORMAL_CLOSURE: u16 = 1006;

/// One WebSocket. It may outlive its connection: what the application has not seen yet is in it.
#[derive(Debug)]
pub struct WebSocket {
    stage: Stage,
    limits: Rc<Limits>,
    connect_given: bool,
}

#[derive(Debug)]
enum Stage {
    /// The application has not accepted; perhaps it never will.
    Handshake(Handshake),
    Open(Session),
}

impl WebSocket {
    pub(crate) fn new(handshake: Handshake, limits: Rc<Limits>) -> Self {
        Self { stage: Stage::Handshake(handshake), limits, connect_given: false }
    }

    /// The handshake, until it is accepted.
    pub(crate) fn handshake(&self) -> Option<&Handshake> {
        match &self.stage {
            Stage::Handshake(handshake) => Some(handshake),
            Stage::Open(_) => None,
        }
    }

    /// The application accepted it.
    pub(crate) fn open(&mut self, now: Instant) {
        if let Stage::Handshake(handshake) = &self.stage {
            self.stage = Stage::Open(handshake.session(Rc::clone(&self.limits), now));
        }
    }

    /// What the client offered, in its order, until the handshake is accepted.
    pub fn subprotocols(&self) -> &[String] {
        self.handshake().map_or(&[], Handshake::subprotocols)
    }

    /// The session, once the handshake is accepted.
    pub fn session(&self) -> Option<&Session> {
        match &self.stage {
            Stage::Handshake(_) => None,
            Stage::Open(session) => Some(session),
        }
    }

    pub(crate) fn session_mut(&mut self) -> Option<&mut Session> {
        match &mut self.stage {
            Stage::Handshake(_) => None,
            Stage::Open(session) => Some(session),
        }
    }

    /// Whether [`receive`](Self::receive) has an event without more input. `ended`: of a handshake, that it was denied or
    /// its client is gone.
    pub fn has_event(&self, ended: bool) -> bool {
        !self.connect_given
            || match &self.stage {
                Stage::Handshake(_) => ended,
                Stage::Open(session) => session.has_message() || session.closed().is_some(),
            }
    }

    /// The next event for the application: `websocket.connect` first (WS-01), then the messages that came, whatever became
    /// of the connection, then `websocket.disconnect`, which repeats (WS-18). None: see [`has_event`](Self::has_event).
    pub fn receive<B, T>(
        &mut self,
        ended: bool,
        take: impl FnOnce(Message<&[u8], &str>) -> Message<B, T>,
    ) -> Option<ReceiveEvent<B, T>> {
        if !std::mem::replace(&mut self.connect_given, true) {
            return Some(ReceiveEvent::WebSocketConnect);
        }
        if let Stage::Open(session) = &mut self.stage
            && let Some(message) = session.take_message(take)
        {
            return Some(ReceiveEvent::WebSocketReceive(message));
        }
        self.disconnect(ended)
    }

    /// What follows the last message, once there is nothing more to come.
    pub fn disconnect<B, T>(&self, ended: bool) -> Option<ReceiveEvent<B, T>> {
        let (code, reason) = match &self.stage {
            Stage::Handshake(_) if ended => (ABNORMAL_CLOSURE, ""),
            Stage::Handshake(_) => return None,
            Stage::Open(session) => session.closed()?,
        };
        Some(ReceiveEvent::WebSocketDisconnect { code, reason: reason.to_owned() })
    }
}
