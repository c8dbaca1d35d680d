//! What happens when nothing happens: every time that a connection waits for something. This file reads no input.

use std::time::{Duration, Instant};

use asgi::Gather;

use super::closing::Fate;
use super::error::{ConnectionError, ErrorCode};
use super::limits::Limits;
use super::{Connection, Now, frame, websocket};
use crate::error::{RequestError, TimeoutKind};

/// The payload of the pings that keep a connection.
const PING: [u8; 8] = *b"keepaliv";

/// The pings that the server sends while nothing comes.
#[derive(Debug)]
pub(super) struct Ping {
    interval: Option<Duration>,
    timeout: Duration,
    /// When the next is due.
    next: Option<Instant>,
    /// Until when the last has to be answered.
    answer_due: Option<Instant>,
}

impl Ping {
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        let interval = limits.keep_alive_interval;
        let next = interval.map(|interval| now + interval);
        Self { interval, timeout: limits.keep_alive_timeout, next, answer_due: None }
    }

    /// Bytes came: whoever sends them is there.
    pub(super) fn heard(&mut self, now: Instant) {
        if let Some(interval) = self.interval {
            self.next = Some(now + interval);
        }
    }

    pub(super) fn answered(&mut self) {
        self.answer_due = None;
    }

    fn due(&self) -> Option<Instant> {
        self.answer_due.or(self.next)
    }
}

impl<B: AsRef<[u8]>, G: Gather> Connection<B, G> {
    /// Looks whether a deadline has passed, and acts on it; the first of several is told. None: none has.
    pub fn handle_timeout(&mut self, now: &Now<'_>) -> Option<TimeoutKind> {
        self.instant = now.instant;
        let kind = self.connection_timeout(now).or_else(|| self.stream_timeouts(now));
        if self.fate == Fate::Open {
            self.handle_draining_due(now.instant);
            self.pump(now);
            self.settle_connection();
        }
        self.note_waiting(now);
        kind
    }

    fn connection_timeout(&mut self, now: &Now<'_>) -> Option<TimeoutKind> {
        let has_passed = |due: Option<Instant>| due.is_some_and(|due| due <= now.instant);
        if has_passed(self.stalled) && !self.transmit.is_empty() {
            self.handle_lost();
            return Some(TimeoutKind::Response);
        }
        if let Some((_, kind)) = self.deadline.filter(|(at, _)| *at <= now.instant) {
            self.deadline = None;
            match kind {
                TimeoutKind::Linger => self.fate = Fate::Close,
                _ => self.close_idle(),
            }
            return Some(kind);
        }
        if self.fate != Fate::Open {
            return None;
        }
        if has_passed(self.head_due) {
            self.head_due = None;
            self.close_idle();
            return Some(TimeoutKind::RequestHead);
        }
        if has_passed(self.settings_due) {
            self.settings_due = None;
            self.fail(ConnectionError::SettingsTimeout, now);
            return Some(TimeoutKind::Settings);
        }
        self.ping_timeout(now)
    }

    fn ping_timeout(&mut self, now: &Now<'_>) -> Option<TimeoutKind> {
        if self.ping.due().is_none_or(|due| due > now.instant) {
            return None;
        }
        if self.ping.answer_due.take().is_some() {
            self.close_idle();
            return Some(TimeoutKind::Pong);
        }
        self.ping.next = None;
        self.ping.answer_due = Some(now.instant + self.ping.timeout);
        self.transmit.append(|buffer| frame::write(buffer, frame::PING, 0, 0, &PING));
        None
    }

    fn stream_timeouts(&mut self, now: &Now<'_>) -> Option<TimeoutKind> {
        if self.streams_due.is_none_or(|due| due > now.instant) {
            return None;
        }
        let mut first = None;
        for slot in self.streams.slots().collect::<Vec<_>>() {
            let kind = self.stream_timeout(slot, now);
            first = first.or(kind);
        }
        self.streams_due = self
            .streams
            .iter()
            .flat_map(|stream| {
                let frames = websocket::session(stream.websocket.as_deref()).and_then(|session| session.next_timeout());
                [stream.body_due, stream.window_due, frames]
            })
            .flatten()
            .min();
        first
    }

    fn stream_timeout(&mut self, slot: usize, now: &Now<'_>) -> Option<TimeoutKind> {
        let has_passed = |due: Option<Instant>| due.is_some_and(|due| due <= now.instant);
        let stream = &mut self.streams[slot];
        if has_passed(stream.body_due) {
            stream.body_due = None;
            if stream.exchange.is_unanswered() {
                // An error here is one of a client that reads nothing, and other deadlines are for that.
                let _ = self.reject(slot, RequestError::BodyTimeout, now);
            } else {
                self.reset(slot, ErrorCode::Cancel);
            }
            return Some(TimeoutKind::RequestBody);
        }
        if has_passed(stream.window_due) {
            self.reset(slot, ErrorCode::Cancel);
            return Some(TimeoutKind::Response);
        }
        self.frames_timeout(slot, now)
    }

    /// Bytes of [`transmit`](Self::transmit) have been written and consumed: there is room for more.
    pub fn handle_written(&mut self, now: &Now<'_>) {
        self.instant = now.instant;
        if !self.ready.is_empty() {
            self.pump(now);
        }
        if !self.transmit.is_empty() {
            self.stalled = Some(now.instant + self.limits.response);
            return;
        }
        self.stalled = None;
        match self.fate {
            Fate::Open => {
                self.arm_draining(now.instant);
                self.settle_connection();
            }
            Fate::Flush if self.deadline.is_none() && !self.end_of_input => {
                self.deadline = Some((now.instant + self.limits.linger, TimeoutKind::Linger));
            }
            _ => {}
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) will have something to do, or may have.
    pub fn next_timeout(&self) -> Option<Instant> {
        let stalled = self.stalled.filter(|_| !self.transmit.is_empty());
        let deadline = self.deadline.map(|(at, _)| at);
        let open = self.fate == Fate::Open;
        let others = [self.head_due, self.settings_due, self.ping.due(), self.streams_due, self.draining_due()];
        let others = others.into_iter().filter(|_| open);
        [stalled, deadline].into_iter().chain(others).flatten().min()
    }

    /// Arms the response's deadline where bytes started to wait.
    pub(super) fn note_waiting(&mut self, now: &Now<'_>) {
        if self.stalled.is_none() && !self.transmit.is_empty() {
            self.stalled = Some(now.instant + self.limits.response);
        }
    }

    /// Something of a stream is due then.
    pub(super) fn note_due(&mut self, due: Option<Instant>) {
        if let Some(due) = due {
            self.streams_due = Some(self.streams_due.map_or(due, |other| other.min(due)));
        }
    }
}
