//! The worker's clock: read once a turn, its HTTP date formatted once a second.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ferricorn_proto::Now;
use httpdate::HttpDate;

pub(crate) struct Clock {
    instant: Instant,
    /// When `date` is no longer the current second.
    stale: Instant,
    date: String,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let instant = Instant::now();
        let mut clock = Self { instant, stale: instant, date: String::new() };
        clock.update();
        clock
    }

    /// Reads the time.
    pub(crate) fn update(&mut self) {
        self.instant = Instant::now();
        if self.instant >= self.stale {
            let wall = SystemTime::now();
            let part = wall.duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
            self.stale = self.instant + Duration::from_nanos(u64::from(1_000_000_000 - part));
            self.date = HttpDate::from(wall).to_string();
        }
    }

    pub(crate) fn instant(&self) -> Instant {
        self.instant
    }

    pub(crate) fn now(&self) -> Now<'_> {
        Now { instant: self.instant, date: self.date.as_bytes() }
    }
}

/// The system's clock that only goes forward, in nanoseconds: the same for all processes.
pub(crate) fn monotonic() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_that_of_the_last_update() {
        let mut clock = Clock::new();
        for _ in 0..3 {
            let before = SystemTime::now() - Duration::from_secs(1);
            clock.update();
            let date = httpdate::parse_http_date(std::str::from_utf8(clock.now().date).unwrap()).unwrap();
            assert!(before <= date && date <= SystemTime::now(), "{date:?}");
            // As if this second were over.
            clock.stale = clock.instant();
        }
    }

    #[test]
    fn a_date_is_formatted_once_a_second() {
        let mut clock = Clock::new();
        clock.stale += Duration::from_secs(3600);
        clock.date = "kept".to_owned();
        clock.update();
        assert_eq!(clock.now().date, b"kept");
        assert!(clock.instant() <= Instant::now());
    }
}
