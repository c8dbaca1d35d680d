//! How much of what costs the peer nothing it may do: one table of bounds with their reasons, and what counts them. This
//! file knows no frame.
//!
//! Each bound is for ten seconds, and many times what any client does; work that was done gives some of it back, so that a
//! client that gets much may also do much. Beyond a bound the connection ends with ENHANCE_YOUR_CALM (RFC 9113 section 10.5).

use std::time::{Duration, Instant};

use super::error::ConnectionError;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Bound {
    /// Requests that the client resets before they are answered (rapid reset, CVE-2023-44487). Each response that is
    /// complete gives one back: a proxy that has many users, some of whom leave, never gets there.
    Reset,
    /// Requests above the allowed number of streams. A client may not know the number yet in its first flight.
    Refused,
    /// SETTINGS and PING, each of which has to be answered (CVE-2019-9512, CVE-2019-9515). Each frame of data that is sent
    /// gives one back: clients that measure the way to them ping with what they get.
    Answered,
    /// PRIORITY, PRIORITY_UPDATE and frames of unknown types, which do nothing (CVE-2019-9513). Each request gives ten back.
    Ignored,
    /// DATA without data (CVE-2019-9518).
    Empty,
    /// WINDOW_UPDATE (CVE-2019-9511, CVE-2019-9517: much work for little). Each frame of data that is sent gives four back.
    WindowUpdate,
    /// Errors on streams, each of which has to be answered by RST_STREAM (CVE-2019-9514).
    StreamError,
}

const KINDS: usize = 7;

/// For each [`Bound`]: how many in [`PERIOD`], and what is said beyond.
const TABLE: [(u32, &str); KINDS] = [
    (500, "too many requests were reset"),
    (1000, "too many requests at the same time"),
    (2000, "too many SETTINGS and PING frames"),
    (5000, "too many frames that do nothing"),
    (1000, "too many DATA frames without data"),
    (10_000, "too many WINDOW_UPDATE frames"),
    (500, "too many errors on streams"),
];

const PERIOD: Duration = Duration::from_secs(10);

/// Frames of one header block, the first included: 16 KiB fit into one, and 64 KiB into four (CVE-2024-27316).
pub(super) const BLOCK_FRAMES: u32 = 32;

/// Bytes of answers to SETTINGS and PING, and of RST_STREAM, that wait to be written: who sends so much reads as well.
const UNWRITTEN_CONTROL: u64 = 64 * 1024;

/// Bytes that wait to be written above which no further request is begun: responses of those before come first.
pub(super) const BACKLOG: u64 = 512 * 1024;

/// How many bytes of answers have not been written, at most: places in the output are counted from its begin.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    /// Those ahead of the mark, and behind it.
    ahead: u64,
    behind: u64,
    mark: u64,
}

impl Unwritten {
    /// So many more wait, up to the place `end`, and what is ahead of `written` has gone. An error where it is too much.
    pub(super) fn add(&mut self, bytes: u64, written: u64, end: u64) -> Result<(), ConnectionError> {
        if written >= self.mark {
            (self.ahead, self.behind, self.mark) = (self.behind, 0, end);
        }
        self.behind += bytes;
        if self.ahead + self.behind > UNWRITTEN_CONTROL {
            return Err(ConnectionError::Flood("too many answers that the client does not read"));
        }
        Ok(())
    }
}

/// Counts what the table bounds.
#[derive(Debug)]
pub(super) struct Bounds {
    counts: [u32; KINDS],
    since: Instant,
}

impl Bounds {
    pub(super) const fn new(now: Instant) -> Self {
        Self { counts: [0; KINDS], since: now }
    }

    /// One more. An error where it is one too many.
    pub(super) fn count(&mut self, bound: Bound, now: Instant) -> Result<(), ConnectionError> {
        let count = &mut self.counts[bound as usize];
        *count += 1;
        let (most, text) = TABLE[bound as usize];
        if *count <= most {
            return Ok(());
        }
        if now.saturating_duration_since(self.since) < PERIOD {
            return Err(ConnectionError::Flood(text));
        }
        *self = Self::new(now);
        Ok(())
    }

    /// A frame of data was sent.
    pub(super) fn forgive_for_data(&mut self) {
        self.forgive(Bound::WindowUpdate, 4);
        self.forgive(Bound::Answered, 1);
    }

    /// Some are forgotten, for work that was done.
    pub(super) fn forgive(&mut self, bound: Bound, number: u32) {
        let count = &mut self.counts[bound as usize];
        *count = count.saturating_sub(number);
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests are outside")]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_for_a_period() {
        let start = Instant::now();
        let mut bounds = Bounds::new(start);
        for _ in 0..TABLE[Bound::Reset as usize].0 {
            bounds.count(Bound::Reset, start).unwrap();
        }
        assert_eq!(
            bounds.count(Bound::Reset, start + PERIOD / 2).unwrap_err().to_string(),
            "too many requests were reset"
        );
        bounds.count(Bound::Reset, start + PERIOD).unwrap();
        assert_eq!(bounds.counts[Bound::Reset as usize], 0);
    }

    #[test]
    fn work_gives_back() {
        let start = Instant::now();
        let mut bounds = Bounds::new(start);
        for _ in 0..100_000 {
            bounds.count(Bound::WindowUpdate, start).unwrap();
            bounds.forgive(Bound::WindowUpdate, 4);
        }
    }
}
