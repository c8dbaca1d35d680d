//! How much of a turn TLS handshakes may take. Each costs as much as twenty requests, or forty with a key of RSA, and
//! clients that come back after a restart come all at once: who has connected already is not to wait for all of them.

use std::collections::VecDeque;
use std::time::Duration;

use crate::slab::Key;

/// How long one turn shakes hands. The last one it begins may take it further.
const TIME: Duration = Duration::from_millis(1);

/// Connections whose handshakes have to wait for another turn, and how much time this one has spent on them.
#[derive(Default)]
pub(crate) struct Handshakes {
    waiting: VecDeque<Key>,
    spent: Duration,
}

impl Handshakes {
    pub(crate) fn begin_turn(&mut self) {
        self.spent = Duration::ZERO;
    }

    pub(crate) fn has_time(&self) -> bool {
        self.spent < TIME
    }

    /// A step of one has taken so long.
    pub(crate) fn spend(&mut self, time: Duration) {
        self.spent += time;
    }

    pub(crate) fn put_off(&mut self, key: Key) {
        self.waiting.push_back(key);
    }

    /// Who has waited longest, where there is time.
    pub(crate) fn next(&mut self) -> Option<Key> {
        if self.has_time() { self.waiting.pop_front() } else { None }
    }

    pub(crate) fn is_waited_for(&self) -> bool {
        !self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_waited_longest_is_next_while_there_is_time() {
        let [first, second] = [1, 2].map(|slot| Key { slot, generation: 0 });
        let mut handshakes = Handshakes::default();
        assert!(handshakes.has_time());
        handshakes.spend(TIME);
        handshakes.put_off(first);
        handshakes.put_off(second);
        assert!(!handshakes.has_time() && handshakes.next().is_none() && handshakes.is_waited_for());
        handshakes.begin_turn();
        assert_eq!(handshakes.next().map(|key| key.slot), Some(1));
        handshakes.spend(TIME / 2);
        assert_eq!(handshakes.next().map(|key| key.slot), Some(2));
        handshakes.spend(TIME / 2);
        assert!(!handshakes.has_time() && !handshakes.is_waited_for());
    }
}
