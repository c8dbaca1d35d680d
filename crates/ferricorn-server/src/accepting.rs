//! Which connections a worker accepts, and when: some a turn, and none while another worker on the same sockets has fewer
//! and is about to come for them.
//!
//! Every worker hears of a new connection. Whoever runs at that moment could take a whole burst before the others wake
//! up, and then serve it alone for as long as its connections last.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use asgi::Application;

use crate::cells::Cell;
use crate::host::{Config, Problem};
use crate::listener::Listener;
use crate::proxies::Ends;
use crate::state::State;

/// How many connections one turn accepts: then those that are there have theirs, and other processes.
const ACCEPTS_PER_TURN: usize = 4;

/// By how many connections a worker may be ahead of the one with the fewest, and by which part of what that one has.
const LEAD: u64 = 4;
const LEAD_PART: u64 = 8;

/// How long a connection is left to those that have fewer: on a machine with too much to do, that long until one gets a
/// processor. One that is blocked does not come.
const WAIT: Duration = Duration::from_millis(50);

/// How long nobody is waited for after he has not come: by then it can be seen that he is blocked.
const PAUSE: Duration = Duration::from_millis(500);

/// Whose turn it is to accept.
#[derive(Default)]
pub(crate) struct Fairness {
    /// Since when others are waited for, or were in vain.
    waits_since: Option<Instant>,
}

impl Fairness {
    /// Whether the next connection is this worker's to take, who has `own` of them while another has the `fewest`.
    fn may_accept(&mut self, own: u64, fewest: u64, now: Instant) -> bool {
        if own < fewest + LEAD + fewest / LEAD_PART {
            self.waits_since = None;
            return true;
        }
        let waited = now.duration_since(*self.waits_since.get_or_insert(now));
        if waited >= WAIT + PAUSE {
            self.waits_since = Some(now);
            return false;
        }
        waited >= WAIT
    }

    /// The connection that was left to others is gone.
    fn somebody_came(&mut self, now: Instant) {
        self.waits_since = self.waits_since.filter(|since| now.duration_since(*since) >= WAIT);
    }
}

impl<A: Application> State<A> {
    /// Accepts whatever waits: the backlog bounds it.
    pub(crate) fn accept_all(&mut self, config: &Config) {
        for index in 0..self.listeners.len() {
            while self.accept_one(index, config) {}
        }
    }

    /// Accepts some of what waits, and remembers where there may be more: readiness is told once.
    pub(crate) fn accept(&mut self, index: usize, config: &Config) {
        for _ in 0..ACCEPTS_PER_TURN {
            if !self.may_accept() {
                return self.leave_to_others(index);
            }
            if !self.accept_one(index, config) {
                return;
            }
        }
        self.remember(index);
    }

    fn remember(&mut self, index: usize) {
        if !self.acceptable.contains(&index) {
            self.acceptable.push(index);
        }
    }

    /// Looks again soon whether somebody has come for the connection.
    fn leave_to_others(&mut self, index: usize) {
        if self.listeners.get(index).is_some_and(Listener::has_waiting) {
            self.remember(index);
        } else {
            self.fairness.somebody_came(self.clock.instant());
        }
    }

    /// Goes on where there was more to accept.
    pub(crate) fn accept_more(&mut self, config: &Config) {
        if self.acceptable.is_empty() {
            return;
        }
        // Where there are fewer processors than workers, those that were woken get one now.
        thread::yield_now();
        for index in std::mem::take(&mut self.acceptable) {
            self.accept(index, config);
        }
    }

    fn may_accept(&mut self) -> bool {
        let Some(fewest) = self.row.fewest_connections() else { return true };
        self.fairness.may_accept(self.connections.len() as u64, fewest, self.clock.instant())
    }

    /// Accepts one connection; false: there is none for now.
    fn accept_one(&mut self, index: usize, config: &Config) -> bool {
        let Some(listener) = self.listeners.get(index) else { return false };
        match listener.accept() {
            Ok((socket, client, server)) => {
                let tls = config.tls.as_deref().filter(|_| !listener.is_plain());
                self.open(socket, Ends::new(client, server), tls, config);
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => return false,
                // The client went before it was accepted.
                io::ErrorKind::ConnectionAborted | io::ErrorKind::InvalidInput | io::ErrorKind::Interrupted => {}
                _ => {
                    self.row.add(Cell::ACCEPT_ERRORS, 1);
                    self.problems.push(Problem::Accept(error));
                    self.accept_failed = true;
                    return false;
                }
            },
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(1);

    #[test]
    fn who_is_ahead_waits_for_who_has_fewer() {
        let (mut fairness, now) = (Fairness::default(), Instant::now());
        let mut may = |own, fewest| fairness.may_accept(own, fewest, now);
        assert!(may(0, 0) && may(3, 0) && !may(4, 0));
        assert!(may(4, 1) && may(11, 8) && may(12, 8) && !may(13, 8));
        // The more there are, the less a difference matters.
        assert!(may(828, 800) && !may(904, 800));
        assert!(may(0, 1000));
    }

    #[test]
    fn who_does_not_come_is_waited_for_a_moment_and_then_for_a_while_not_again() {
        let (mut fairness, begin) = (Fairness::default(), Instant::now());
        assert!(!fairness.may_accept(10, 0, begin));
        assert!(!fairness.may_accept(10, 0, begin + WAIT - MOMENT));
        assert!(fairness.may_accept(10, 0, begin + WAIT));
        assert!(fairness.may_accept(11, 0, begin + WAIT + PAUSE - MOMENT));
        fairness.somebody_came(begin + WAIT + PAUSE - MOMENT);
        assert!(fairness.may_accept(12, 0, begin + WAIT + PAUSE - MOMENT));
        let again = begin + WAIT + PAUSE;
        assert!(!fairness.may_accept(13, 0, again) && fairness.may_accept(13, 0, again + WAIT));
    }

    #[test]
    fn who_comes_is_waited_for_again_with_the_next_connection() {
        let (mut fairness, begin) = (Fairness::default(), Instant::now());
        assert!(!fairness.may_accept(10, 0, begin));
        fairness.somebody_came(begin + MOMENT);
        assert!(!fairness.may_accept(10, 1, begin + WAIT));
    }
}
