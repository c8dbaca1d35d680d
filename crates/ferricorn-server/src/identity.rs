//! What a request is known by on its way through several programs: an id in a header field of the operator's choice, and
//! the W3C trace context. What the client sent is taken over where it is sound; else something new is made, and the
//! application sees it as if the client had sent it. Knows no log and no socket.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::rc::Rc;

use asgi::{Application, Headers};

use crate::connection::{Connection, Request};

/// The longest id that is taken over, in bytes.
const LONGEST_ID: usize = 128;

const TRACEPARENT: &[u8] = b"traceparent";

/// What belongs to a trace that goes on, and to no other.
const TRACESTATE: &[u8] = b"tracestate";

/// The length of a `traceparent` of version 00.
const TRACEPARENT_LENGTH: usize = 55;

/// What every request is to have. The default is nothing.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    request_id: Box<[u8]>,
    traceparent: bool,
}

impl Identity {
    /// `request_id` is the name of the header field for the id, a token; empty: requests have none.
    pub fn new(request_id: &str, traceparent: bool) -> Self {
        Self { request_id: request_id.to_ascii_lowercase().into_bytes().into(), traceparent }
    }

    pub(crate) fn is_nothing(&self) -> bool {
        self.request_id.is_empty() && !self.traceparent
    }
}

/// Gives a request what it is to have. The response will carry the id as well.
pub(crate) fn identify<A: Application>(
    connection: &mut Connection<A>,
    number: u32,
    request: &mut Request,
    identity: &Identity,
    random: &mut Option<Random>,
) {
    let headers = &*request.headers;
    let lacks_id = !identity.request_id.is_empty() && sound(headers, &identity.request_id, is_id).is_none();
    let lacks_trace = identity.traceparent && sound(headers, TRACEPARENT, is_traceparent).is_none();
    if lacks_id || lacks_trace {
        let random = random.get_or_insert_with(Random::seeded);
        let mut completed = Headers::new();
        for (name, value) in headers.iter() {
            let replaced =
                lacks_id && *name == *identity.request_id || lacks_trace && matches!(name, TRACEPARENT | TRACESTATE);
            if !replaced {
                completed.push_checked(name, value);
            }
        }
        if lacks_id {
            completed.push_checked(&identity.request_id, &random.id());
        }
        if lacks_trace {
            completed.push_checked(TRACEPARENT, &random.traceparent());
        }
        request.headers = Rc::new(completed);
        request.headers_repeated = false;
    }
    if let Some(id) = request.headers.get(&identity.request_id) {
        connection.http.set_response_field(number, &identity.request_id, id);
    }
}

/// The value of a field that is there once, and sound: of two, nobody knows which counts.
fn sound<'a>(headers: &'a Headers, name: &'a [u8], is_sound: impl Fn(&[u8]) -> bool) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name);
    let first = values.next().filter(|value| is_sound(value));
    if values.next().is_none() { first } else { None }
}

fn is_id(value: &[u8]) -> bool {
    (1..=LONGEST_ID).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic)
}

/// Whether it is what the W3C recommendation "Trace Context", section 3.2, takes for valid: of version 00, or of a later one
/// whose beginning reads the same.
fn is_traceparent(value: &[u8]) -> bool {
    let Some((known, more)) = value.split_at_checked(TRACEPARENT_LENGTH) else { return false };
    let (version, trace, parent, flags) = (&known[..2], &known[3..35], &known[36..52], &known[53..]);
    let is_hex = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_zero = |part: &[u8]| part.iter().all(|&byte| byte == b'0');
    let ends = if version == b"00" { more.is_empty() } else { more.is_empty() || more[0] == b'-' };
    let dashes = [known[2], known[35], known[52]] == *b"---";
    let hex = [version, trace, parent, flags].into_iter().all(is_hex);
    ends && dashes && hex && version != b"ff" && !is_zero(trace) && !is_zero(parent)
}

/// xoshiro256++ (Blackman and Vigna): ids that do not meet, not ids that nobody can guess.
pub(crate) struct Random([u64; 4]);

impl Random {
    /// Seeded by the system, which tells the processes apart that were forked from one.
    fn seeded() -> Self {
        let mut bytes = [0; 32];
        match File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes)) {
            Ok(()) => Self::new(bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word))),
            // Where there is no such device: what the hash tables are seeded with, and who this is.
            Err(_) => Self::new((0..4_u32).map(|part| RandomState::new().hash_one((std::process::id(), part)))),
        }
    }

    fn new(words: impl Iterator<Item = u64>) -> Self {
        let mut state = [0; 4];
        state.iter_mut().zip(words).for_each(|(word, seed)| *word = seed);
        // All zero is the one state that leads nowhere.
        state[0] |= u64::from(state == [0; 4]);
        Self(state)
    }

    fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// 128 bits in lowercase hexadecimal digits.
    fn id(&mut self) -> [u8; 32] {
        let mut id = [0; 32];
        for half in id.as_chunks_mut::<16>().0 {
            *half = hex(self.next());
        }
        id
    }

    /// The beginning of a trace, of version 00. It is marked as sampled: an application that asks the mark whether to
    /// record is to go on as it does without one.
    fn traceparent(&mut self) -> Vec<u8> {
        let mut value = b"00-".to_vec();
        value.extend_from_slice(&hex(self.next().max(1)));
        value.extend_from_slice(&hex(self.next()));
        value.push(b'-');
        value.extend_from_slice(&hex(self.next().max(1)));
        value.extend_from_slice(b"-01");
        value
    }
}

fn hex(mut number: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number % 16) as usize];
        number /= 16;
    }
    digits
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const SOUND: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn ids_are_visible_and_short() {
        for id in ["a", "4f-\"\\,;", &"x".repeat(LONGEST_ID)] {
            assert!(is_id(id.as_bytes()), "{id}");
        }
        for id in ["", "a b", "\u{e9}", "a\tb", "\x7f", &"x".repeat(LONGEST_ID + 1)] {
            assert!(!is_id(id.as_bytes()), "{id}");
        }
    }

    #[test]
    fn traceparents_are_those_of_the_recommendation() {
        let later = [format!("01{}", &SOUND[2..]), format!("cc{}-what-comes-later", &SOUND[2..])];
        for value in [SOUND, &later[0], &later[1]] {
            assert!(is_traceparent(value.as_bytes()), "{value}");
        }
        let zero = "0".repeat(32);
        for value in [
            "",
            "00",
            &SOUND[..54],
            &format!("{SOUND}-more"),
            &format!("01{}x", &SOUND[2..]),
            &format!("ff{}", &SOUND[2..]),
            &SOUND.to_uppercase(),
            &SOUND.replace("4bf9", "4BF9"),
            &SOUND.replace("4bf9", "4bg9"),
            &SOUND.replace('-', "_"),
            &format!("00-{zero}-00f067aa0ba902b7-01"),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            &format!(" {SOUND}"),
        ] {
            assert!(!is_traceparent(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn what_is_made_is_sound_and_differs() {
        let mut seen = HashSet::new();
        let mut random = [Random::seeded(), Random::seeded(), Random::new([0; 4].into_iter())];
        for _ in 0..1_000 {
            for source in &mut random {
                let (id, trace) = (source.id(), source.traceparent());
                assert!(is_id(&id) && is_traceparent(&trace));
                assert!(seen.insert(id.to_vec()) && seen.insert(trace));
            }
        }
    }

    #[test]
    fn the_generator_is_xoshiro256_plus_plus() {
        // The first outputs for the state 1, 2, 3, 4 of the authors' own code.
        let mut random = Random([1, 2, 3, 4]);
        let outputs = [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386];
        assert_eq!(outputs.map(|_| random.next()), outputs);
    }

    #[test]
    fn of_two_values_none_counts() {
        let twice = Headers::from_iter([("x", "a"), ("x", "a"), ("y", "b")]).unwrap();
        assert_eq!(sound(&twice, b"x", is_id), None);
        assert_eq!(sound(&twice, b"y", is_id), Some(&b"b"[..]));
        assert_eq!(sound(&twice, b"z", is_id), None);
    }
}
