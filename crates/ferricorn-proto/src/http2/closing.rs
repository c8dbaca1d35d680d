//! How streams end, and the connection (RFC 9113 sections 5.4 and 6.8). This file reads no frame.

use std::time::{Duration, Instant};

use asgi::Gather;

use super::bounds::Bound;
use super::error::{ConnectionError, ErrorCode};
use super::frame;
use super::settings::MAX_WINDOW;
use super::stream::End;
use super::{Connection, Now, websocket};
use crate::error::TimeoutKind;
use crate::protocol::{Closing, Drain};

/// How long a client may take to answer the ping that comes with a GOAWAY: what it had sent before has come then.
const GRACE: Duration = Duration::from_secs(1);

/// The payload of that ping.
const DRAIN_PING: [u8; 8] = *b"goingawa";

/// How the connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Open,
    /// Close when everything has been written.
    Flush,
    /// Close.
    Close,
    /// Reset.
    Abort,
}

/// How far the connection is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Draining {
    No,
    /// The client knows; what was on its way is still served, until then.
    Announced {
        due: Option<Instant>,
    },
    /// Nothing that comes from now on is served.
    Last,
}

impl<B: AsRef<[u8]>, G: Gather> Connection<B, G> {
    /// What a driver has to do about the connection's end.
    pub fn closing(&self) -> Closing {
        match self.fate {
            Fate::Open => Closing::No,
            Fate::Flush if self.end_of_input && self.transmit.is_empty() => Closing::Now,
            Fate::Flush => Closing::Flush,
            Fate::Close => Closing::Now,
            Fate::Abort => Closing::Abort,
        }
    }

    /// The input has ended (FIN): the client is gone, and with it every exchange that is open. What came of a body can still
    /// be taken.
    pub fn handle_end_of_input(&mut self) {
        self.end_of_input = true;
        self.deadline = None;
        self.disconnect_all();
        if self.fate == Fate::Open {
            self.fate = Fate::Flush;
        }
    }

    /// The connection was reset, or what waits to be written cannot be.
    pub fn handle_lost(&mut self) {
        self.disconnect_all();
        self.abort();
    }

    pub(super) fn abort(&mut self) {
        self.fate = Fate::Abort;
        (self.deadline, self.stalled) = (None, None);
    }

    /// Nobody is there any more.
    fn disconnect_all(&mut self) {
        for slot in self.streams.slots().collect::<Vec<_>>() {
            let stream = &mut self.streams[slot];
            websocket::lose(&mut stream.websocket);
            stream.exchange.disconnect();
            stream.unsent.clear();
            stream.end = End::Open;
            stream.queued = false;
            (stream.body_due, stream.window_due) = (None, None);
            self.note_changed(slot);
        }
        self.ready.clear();
        self.streams_due = None;
    }

    /// The peer broke the rules: GOAWAY says which, and the connection closes (section 5.4.1).
    pub(super) fn fail(&mut self, error: ConnectionError, now: &Now<'_>) {
        self.disconnect_all();
        let last = self.last_stream;
        self.transmit.append(|buffer| frame::write_go_away(buffer, last, error.code(), error.as_str()));
        self.close();
        self.note_waiting(now);
    }

    /// Nothing more will be said after what waits: a GOAWAY at least.
    fn close(&mut self) {
        self.fate = Fate::Flush;
        self.deadline = None;
    }

    /// The connection is to end (CON-09). GOAWAY tells so, and what the client had sent before it knew is still served
    /// ([`Drain::Patient`]), or nothing that comes from now on (section 6.8). It closes when its streams are done.
    pub fn drain(&mut self, drain: Drain) {
        if self.fate != Fate::Open {
            return;
        }
        match (drain, self.draining) {
            (Drain::Patient, Draining::No) => {
                self.draining = Draining::Announced { due: None };
                self.transmit.append(|buffer| {
                    frame::write_go_away(buffer, MAX_WINDOW, ErrorCode::NoError, "");
                    frame::write(buffer, frame::PING, 0, 0, &DRAIN_PING);
                });
            }
            (Drain::Quick, Draining::No | Draining::Announced { .. }) => self.announce_last(),
            _ => {}
        }
    }

    fn announce_last(&mut self) {
        self.draining = Draining::Last;
        let last = self.last_stream;
        self.transmit.append(|buffer| frame::write_go_away(buffer, last, ErrorCode::NoError, ""));
        self.settle_connection();
    }

    /// The GOAWAY has been written: the client has this long to see it.
    pub(super) fn arm_draining(&mut self, now: Instant) {
        if let Draining::Announced { due: due @ None } = &mut self.draining {
            *due = Some(now + GRACE);
        }
    }

    pub(super) fn draining_due(&self) -> Option<Instant> {
        match self.draining {
            Draining::Announced { due } => due,
            _ => None,
        }
    }

    pub(super) fn handle_draining_due(&mut self, now: Instant) {
        if self.draining_due().is_some_and(|due| due <= now) {
            self.announce_last();
        }
    }

    /// A ping was acknowledged.
    pub(super) fn pong(&mut self, payload: &[u8]) {
        if payload != DRAIN_PING {
            self.ping.answered();
        } else if matches!(self.draining, Draining::Announced { .. }) {
            self.announce_last();
        }
    }

    /// A rule of a stream was broken: RST_STREAM says which (section 5.4.2).
    pub(super) fn stream_error(&mut self, id: u32, code: ErrorCode) -> Result<(), ConnectionError> {
        self.bounds.count(Bound::StreamError, self.instant)?;
        self.refuse_stream(id, code)
    }

    /// Ends a stream by RST_STREAM, whether there is a record of it or not.
    pub(super) fn refuse_stream(&mut self, id: u32, code: ErrorCode) -> Result<(), ConnectionError> {
        self.control(|buffer| frame::write_reset(buffer, id, code))?;
        match self.streams.find(id) {
            Some(slot) => {
                self.streams[slot].reset_sent = true;
                self.end_stream(slot);
            }
            None => self.streams.note_reset(id),
        }
        Ok(())
    }

    /// A frame on a stream that was reset. It is let go where it was on its way; the peer that has reset the stream itself
    /// is told, once (section 5.1).
    pub(super) fn after_reset(&mut self, slot: usize) -> Result<(), ConnectionError> {
        let stream = &mut self.streams[slot];
        if std::mem::replace(&mut stream.reset_sent, true) {
            return Ok(());
        }
        let id = stream.id;
        self.bounds.count(Bound::StreamError, self.instant)?;
        self.control(|buffer| frame::write_reset(buffer, id, ErrorCode::StreamClosed))
    }

    /// Ends a stream for the server's own reasons.
    pub(super) fn reset(&mut self, slot: usize, code: ErrorCode) {
        let stream = &mut self.streams[slot];
        if stream.is_closed() {
            return;
        }
        stream.reset_sent = true;
        let id = stream.id;
        // Behind the last GOAWAY nothing is said.
        if self.fate == Fate::Open {
            self.transmit.append(|buffer| frame::write_reset(buffer, id, code));
        }
        self.end_stream(slot);
    }

    /// The stream was reset, by whichever side: what waits on it is for nobody.
    pub(super) fn end_stream(&mut self, slot: usize) {
        let stream = &mut self.streams[slot];
        stream.reset = true;
        stream.abandoned |= stream.exchange.is_open();
        stream.unsent.clear();
        stream.end = End::Open;
        stream.start = None;
        websocket::lose(&mut stream.websocket);
        stream.exchange.disconnect();
        self.dequeue(slot);
        self.forget_body(slot);
        self.note_changed(slot);
        self.settle_stream(slot);
    }

    /// Our side has ended by END_STREAM. What the request has left is not needed: it is asked not to be sent (section 8.1).
    pub(super) fn end_local(&mut self, slot: usize) {
        let stream = &mut self.streams[slot];
        stream.local_ended = true;
        stream.end = End::Open;
        if !stream.receive.ended && !stream.reset {
            (stream.reset, stream.reset_sent) = (true, true);
            let id = stream.id;
            self.transmit.append(|buffer| frame::write_reset(buffer, id, ErrorCode::NoError));
        }
        self.forget_body(slot);
        self.bounds.forgive(Bound::Reset, 1);
        self.settle_stream(slot);
    }

    /// What came and was not taken goes back to the connection's window.
    pub(super) fn forget_body(&mut self, slot: usize) {
        let stream = &mut self.streams[slot];
        (stream.body_due, stream.window_due) = (None, None);
        let receive = &mut stream.receive;
        receive.unwanted = true;
        let bytes = (receive.body.len() + receive.frames.len()) as u32;
        if bytes > 0 {
            receive.body = G::default();
            receive.frames.clear();
            self.credit(bytes);
        }
    }

    /// The application's call has ended: the driver will not name the stream again.
    pub fn release(&mut self, stream: u32) {
        if let Some(slot) = self.streams.find(stream) {
            self.streams[slot].released = true;
            self.settle_stream(slot);
        }
        self.settle_connection();
    }

    /// Counts a stream no more that is over, and gives its record back once nobody names it.
    pub(super) fn settle_stream(&mut self, slot: usize) {
        let stream = &mut self.streams[slot];
        if stream.id == 0 {
            // It has been given back already.
            return;
        }
        let is_over = stream.is_closed();
        if is_over && std::mem::take(&mut stream.counted) {
            self.open -= 1;
        }
        let is_over = is_over || self.fate != Fate::Open;
        if is_over && stream.released {
            let reset_sent = stream.reset_sent;
            self.dequeue(slot);
            self.streams.remove(slot, reset_sent);
        }
    }

    /// Whether the last stream of a connection that ends is done: nothing is read behind its last frame.
    fn settle_draining(&mut self) {
        if self.draining == Draining::Last && self.open == 0 && self.fate == Fate::Open {
            self.fate = Fate::Flush;
            self.deadline = None;
        }
    }

    /// Whether the connection has come to its end, or begins to idle.
    pub(super) fn settle_connection(&mut self) {
        self.settle_draining();
        if self.fate != Fate::Open {
            return;
        }
        if self.deadline.is_none() && self.streams.is_empty() && self.transmit.is_empty() {
            self.deadline = Some((self.instant + self.limits.keep_alive, TimeoutKind::KeepAlive));
        }
    }

    /// Nobody waits for anything: GOAWAY, and the connection closes.
    pub(super) fn close_idle(&mut self) {
        let last = self.last_stream;
        self.transmit.append(|buffer| frame::write_go_away(buffer, last, ErrorCode::NoError, ""));
        self.disconnect_all();
        self.close();
    }
}
