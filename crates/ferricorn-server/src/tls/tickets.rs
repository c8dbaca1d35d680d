//! Session tickets that every worker with the same secret can read (RFC 5077, RFC 8446 section 4.6.1): their keys follow
//! from the secret and the time, so nothing has to be passed on when they change.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use rustls::server::ProducesTickets;

/// How long tickets are made with a key, in seconds. It opens them for as long again: that is how long a ticket lives.
const PERIOD: u64 = 6 * 3600;

const PERIOD_LEN: usize = 8;

/// Makes and opens tickets.
pub(super) struct Tickets {
    secret: hmac::Key,
    /// Those in use, with their periods: the current one and the one before.
    keys: Mutex<Vec<(u64, Arc<LessSafeKey>)>>,
    clock: fn() -> u64,
}

impl Tickets {
    /// `purpose` is what a session depends on beside the secret: tickets of another purpose cannot be opened.
    pub(super) fn new(secret: &[u8], purpose: &[u8]) -> Self {
        let secret = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), purpose);
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret.as_ref());
        Self { secret, keys: Mutex::default(), clock: seconds }
    }

    /// The key of a period, where it is in use now.
    fn key(&self, period: u64) -> Option<Arc<LessSafeKey>> {
        let current = (self.clock)() / PERIOD;
        if period != current && period + 1 != current {
            return None;
        }
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, key)) = keys.iter().find(|(of, _)| *of == period) {
            return Some(Arc::clone(key));
        }
        let bytes = hmac::sign(&self.secret, &period.to_be_bytes());
        let key = Arc::new(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes.as_ref()).ok()?));
        keys.retain(|(of, _)| of + 1 >= current);
        keys.push((period, Arc::clone(&key)));
        Some(key)
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        PERIOD as u32
    }

    /// A ticket is its period, a random nonce, and the encrypted session.
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let period = (self.clock)() / PERIOD;
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let period_bytes = period.to_be_bytes();
        let aad = Aad::from(period_bytes);
        self.key(period)?.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed).ok()?;
        Some([&period_bytes[..], &nonce, &sealed].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let (period, rest) = cipher.split_first_chunk::<PERIOD_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let key = self.key(u64::from_be_bytes(*period))?;
        let mut opened = sealed.to_vec();
        let length =
            key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(*period), &mut opened).ok()?.len();
        opened.truncate(length);
        Some(opened)
    }
}

/// Seconds since 1970.
fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tickets(secret: &[u8], purpose: &[u8], clock: fn() -> u64) -> Tickets {
        Tickets { clock, ..Tickets::new(secret, purpose) }
    }

    const NOW: u64 = 1000 * PERIOD;

    #[test]
    fn workers_with_one_secret_open_the_tickets_of_each_other() {
        let (one, other) = (tickets(b"secret", b"", || NOW), tickets(b"secret", b"", || NOW));
        let ticket = one.encrypt(b"session").unwrap();
        assert_eq!(other.decrypt(&ticket).unwrap(), b"session");
        assert_ne!(one.encrypt(b"session").unwrap(), ticket, "no two are the same");
        for stranger in [tickets(b"another", b"", || NOW), tickets(b"secret", b"other CAs", || NOW)] {
            assert_eq!(stranger.decrypt(&ticket), None);
        }
    }

    #[test]
    fn a_ticket_lives_for_one_period_beyond_its_own() {
        let made = tickets(b"secret", b"", || NOW + PERIOD - 1);
        let ticket = made.encrypt(b"session").unwrap();
        assert!(tickets(b"secret", b"", || NOW + 2 * PERIOD - 1).decrypt(&ticket).is_some());
        assert!(tickets(b"secret", b"", || NOW + 2 * PERIOD).decrypt(&ticket).is_none());
        assert!(tickets(b"secret", b"", || NOW - 1).decrypt(&ticket).is_none());
        assert_eq!(u64::from(made.lifetime()), PERIOD);
    }

    #[test]
    fn old_keys_are_forgotten() {
        let mut tickets = tickets(b"secret", b"", || NOW);
        for clock in [|| NOW, || NOW + PERIOD, || NOW + 2 * PERIOD] {
            tickets.clock = clock;
            assert!(tickets.encrypt(b"session").is_some());
        }
        let periods: Vec<_> = tickets.keys.lock().unwrap().iter().map(|(period, _)| *period).collect();
        assert_eq!(periods, [1001, 1002]);
    }

    #[test]
    fn what_is_no_ticket_is_refused() {
        let tickets = tickets(b"secret", b"", || NOW);
        let ticket = tickets.encrypt(b"session").unwrap();
        for end in 0..ticket.len() {
            assert_eq!(tickets.decrypt(&ticket[..end]), None);
        }
        for index in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[index] ^= 1;
            assert_eq!(tickets.decrypt(&changed), None);
        }
    }
}
