//! RFC 9218: how urgent a response is, by the field `priority` and by PRIORITY_UPDATE. This file decides no order.

/// What a client says of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Priority {
    /// 0 is the most urgent, 7 the least (section 4.1).
    pub(super) urgency: u8,
    /// Whether a part of it is of use: it shares with others of its urgency (section 4.2).
    pub(super) incremental: bool,
}

impl Priority {
    /// Where the client says nothing. Its responses share: one that never ends must not keep back all others of a client
    /// that knows nothing of priorities.
    pub(super) const UNKNOWN: Self = Self { urgency: 3, incremental: true };

    /// Reads the value of a `priority` field; what is not understood is as if it was not there (section 4).
    pub(super) fn read(value: &[u8]) -> Self {
        let mut priority = Self { urgency: 3, incremental: false };
        for member in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            let member = member.split(|&byte| byte == b';').next().unwrap_or_default();
            match member {
                [b'u', b'=', digit @ b'0'..=b'7'] => priority.urgency = digit - b'0',
                b"i" | b"i=?1" => priority.incremental = true,
                b"i=?0" => priority.incremental = false,
                _ => {}
            }
        }
        priority
    }
}

/// The last that PRIORITY_UPDATE has said of each stream that has not begun (section 7.1), in the order of their numbers.
#[derive(Debug, Default)]
pub(super) struct Announced(Vec<(u32, Priority)>);

impl Announced {
    /// Remembers what is said of a stream, of `most` streams at once. False: it is one too many.
    pub(super) fn note(&mut self, stream: u32, priority: Priority, most: usize) -> bool {
        match self.0.binary_search_by_key(&stream, |&(other, _)| other) {
            Ok(at) => self.0[at].1 = priority,
            Err(_) if self.0.len() >= most => return false,
            Err(at) => self.0.insert(at, (stream, priority)),
        }
        true
    }

    /// What was said of a stream that begins. What was said of lower numbers is forgotten: those streams never begin (RFC
    /// 9113 section 5.1.1).
    #[inline]
    pub(super) fn take(&mut self, stream: u32) -> Option<Priority> {
        if self.0.is_empty() { None } else { self.take_up_to(stream) }
    }

    fn take_up_to(&mut self, stream: u32) -> Option<Priority> {
        let past = self.0.partition_point(|&(other, _)| other <= stream);
        let (last, priority) = self.0.drain(..past).next_back()?;
        (last == stream).then_some(priority)
    }

    pub(super) fn release_memory(&mut self) {
        self.0.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts_and_streams_that_never_begin_are_forgotten() {
        let urgency = |value: &[u8]| Priority::read(value);
        let mut announced = Announced::default();
        assert_eq!(announced.take(1), None);
        for (stream, value) in [(9, b"u=1"), (3, b"u=2"), (5, b"u=3"), (9, b"u=4")] {
            assert!(announced.note(stream, urgency(value), 3));
        }
        assert!(!announced.note(7, urgency(b"u=5"), 3));
        assert_eq!(announced.take(5), Some(urgency(b"u=3")));
        assert_eq!(announced.take(7), None);
        assert_eq!(announced.take(9), Some(urgency(b"u=4")));
        assert!(announced.0.is_empty());
    }

    #[test]
    fn what_is_not_understood_is_ignored() {
        let cases: [(&[u8], u8, bool); 9] = [
            (b"", 3, false),
            (b"u=0", 0, false),
            (b"u=5, i", 5, true),
            (b"i,u=7", 7, true),
            (b"u=8", 3, false),
            (b"u=-1, i=?1", 3, true),
            (b"i, i=?0", 3, false),
            (b"u=1;x=y, foo=bar, i;a", 1, true),
            (b"\xff,,=,u", 3, false),
        ];
        for (value, urgency, incremental) in cases {
            assert_eq!(Priority::read(value), Priority { urgency, incremental }, "{}", value.escape_ascii());
        }
    }
}
