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
