//! Pings of the server's own: when one is due, whether its pong is late, how long it took. This file writes nothing and
//! knows no frame.

use std::time::{Duration, Instant};

use super::Limits;

#[derive(Debug)]
pub(super) struct Keepalive {
    /// When the next ping is due.
    next: Option<Instant>,
    /// When the ping was sent that has not been answered.
    unanswered: Option<Instant>,
    /// From when on the answer is waited for; later than the ping where nothing could be read.
    waiting_since: Option<Instant>,
    /// How many pings were sent: the payload of each, so that no old or unasked pong is taken for its answer.
    count: u32,
    round_trip: Option<Duration>,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// A ping with this payload.
    Ping([u8; 4]),
    /// The answer to the last one is late.
    Late,
}

impl Keepalive {
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        let next = limits.ping_interval.map(|interval| now + interval);
        Self { next, unanswered: None, waiting_since: None, count: 0, round_trip: None }
    }

    /// When [`due`](Self::due) will have something to say.
    pub(super) fn next_timeout(&self, limits: &Limits) -> Option<Instant> {
        self.deadline(limits).or(self.next)
    }

    /// `can_ping`: the ping would leave at once. Where bytes wait already, whoever writes them sees whether the client
    /// takes them, and a ping behind them would only measure how many there are.
    pub(super) fn due(&mut self, limits: &Limits, can_ping: bool, now: Instant) -> Due {
        if let Some(deadline) = self.deadline(limits) {
            return if deadline <= now { Due::Late } else { Due::Nothing };
        }
        if self.next.is_none_or(|next| next > now) {
            return Due::Nothing;
        }
        self.next = limits.ping_interval.map(|interval| now + interval);
        if !can_ping {
            return Due::Nothing;
        }
        self.count = self.count.wrapping_add(1);
        self.unanswered = Some(now);
        self.waiting_since = Some(now);
        Due::Ping(self.count.to_be_bytes())
    }

    /// A pong came.
    pub(super) fn handle_pong(&mut self, payload: &[u8], now: Instant) {
        if payload == self.count.to_be_bytes()
            && let Some(sent) = self.unanswered.take()
        {
            self.round_trip = Some(now.saturating_duration_since(sent));
        }
    }

    /// The answer could not be read: it is waited for from now on.
    pub(super) fn wait_again(&mut self, now: Instant) {
        self.waiting_since = Some(now);
    }

    pub(super) const fn take_round_trip(&mut self) -> Option<Duration> {
        self.round_trip.take()
    }

    fn deadline(&self, limits: &Limits) -> Option<Instant> {
        self.unanswered?;
        Some(self.waiting_since? + limits.ping_timeout?)
    }
}
