//! The time of a request on the operator's wall, taken apart once a second. Knows no clock: the time comes in.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::text::padded;

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// How a time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// `[10/Oct/2000:13:55:36 -0700]`, the common log format's.
    Common,
    /// `2000-10-10 13:55:36 -0700`, granian's.
    Spaced,
    /// `2000-10-10T13:55:36.123-07:00` (RFC 3339).
    Iso,
}

/// The local time, with what was found out for the second at hand.
pub(super) struct LocalTime {
    /// Seconds east of Greenwich at a unix time.
    offset_at: fn(i64) -> i32,
    second: Option<i64>,
    civil: Civil,
}

/// A second of the calendar.
#[derive(Clone, Copy, Default)]
struct Civil {
    year: u64,
    month: usize,
    day: u64,
    second_of_day: u64,
    offset: i32,
}

impl LocalTime {
    pub(super) fn new(offset_at: fn(i64) -> i32) -> Self {
        Self { offset_at, second: None, civil: Civil::default() }
    }

    pub(super) fn write(&mut self, out: &mut Vec<u8>, at: SystemTime, style: Style) {
        // No clock stands before 1970.
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let second = since.as_secs() as i64;
        if self.second != Some(second) {
            self.second = Some(second);
            self.civil = Civil::new(second, (self.offset_at)(second));
        }
        self.civil.write(out, since, style);
    }
}

impl Civil {
    /// The Gregorian calendar counted in eras of 400 years, each year begun in March.
    fn new(unix: i64, offset: i32) -> Self {
        let local = (unix + i64::from(offset)).max(0) as u64;
        let days = local / 86_400 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = (from_march + 2) % 12;
        Self {
            year: era * 400 + year_of_era + u64::from(month < 2),
            month: month as usize,
            day: day_of_year - (153 * from_march + 2) / 5 + 1,
            second_of_day: local % 86_400,
            offset,
        }
    }

    fn write(&self, out: &mut Vec<u8>, since: Duration, style: Style) {
        match style {
            Style::Common => {
                out.push(b'[');
                padded(out, self.day, 2);
                out.push(b'/');
                out.extend_from_slice(MONTHS[self.month]);
                out.push(b'/');
                padded(out, self.year, 4);
                out.push(b':');
                self.clock(out);
                out.push(b' ');
                self.zone(out, b"");
                out.push(b']');
            }
            Style::Spaced => {
                self.date(out);
                out.push(b' ');
                self.clock(out);
                out.push(b' ');
                self.zone(out, b"");
            }
            Style::Iso => {
                self.date(out);
                out.push(b'T');
                self.clock(out);
                out.push(b'.');
                padded(out, u64::from(since.subsec_millis()), 3);
                self.zone(out, b":");
            }
        }
    }

    fn date(&self, out: &mut Vec<u8>) {
        padded(out, self.year, 4);
        out.push(b'-');
        padded(out, self.month as u64 + 1, 2);
        out.push(b'-');
        padded(out, self.day, 2);
    }

    fn clock(&self, out: &mut Vec<u8>) {
        padded(out, self.second_of_day / 3_600, 2);
        out.push(b':');
        padded(out, self.second_of_day / 60 % 60, 2);
        out.push(b':');
        padded(out, self.second_of_day % 60, 2);
    }

    fn zone(&self, out: &mut Vec<u8>, between: &[u8]) {
        let minutes = u64::from(self.offset.unsigned_abs() / 60);
        out.push(if self.offset < 0 { b'-' } else { b'+' });
        padded(out, minutes / 60, 2);
        out.extend_from_slice(between);
        padded(out, minutes % 60, 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(unix_millis: u64, offset_at: fn(i64) -> i32, style: Style) -> String {
        let mut out = Vec::new();
        LocalTime::new(offset_at).write(&mut out, UNIX_EPOCH + Duration::from_millis(unix_millis), style);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn styles() {
        // The example of Apache's documentation.
        let at = 971_211_336_123;
        let west = |_| -7 * 3600;
        assert_eq!(shown(at, west, Style::Common), "[10/Oct/2000:13:55:36 -0700]");
        assert_eq!(shown(at, west, Style::Spaced), "2000-10-10 13:55:36 -0700");
        assert_eq!(shown(at, west, Style::Iso), "2000-10-10T13:55:36.123-07:00");
        assert_eq!(shown(at, |_| 5 * 3600 + 1800, Style::Iso), "2000-10-11T02:25:36.123+05:30");
    }

    #[test]
    fn days_of_the_calendar() {
        let day = |days: u64| shown(days * 86_400_000, |_| 0, Style::Spaced)[..10].to_owned();
        let known = [
            (0, "1970-01-01"),
            (58, "1970-02-28"),
            (59, "1970-03-01"),
            (364, "1970-12-31"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (19_782, "2024-02-29"),
            (19_783, "2024-03-01"),
            (47_540, "2100-02-28"),
            (47_541, "2100-03-01"),
        ];
        for (days, date) in known {
            assert_eq!(day(days), date);
        }
    }

    #[test]
    fn a_second_that_repeats_is_not_asked_about_again() {
        let mut time = LocalTime::new(|_| 0);
        let mut out = Vec::new();
        time.write(&mut out, UNIX_EPOCH, Style::Iso);
        time.offset_at = |_| 3600;
        time.write(&mut out, UNIX_EPOCH + Duration::from_millis(999), Style::Iso);
        time.write(&mut out, UNIX_EPOCH + Duration::from_secs(1), Style::Iso);
        let expected = "1970-01-01T00:00:00.000+00:001970-01-01T00:00:00.999+00:001970-01-01T01:00:01.000+01:00";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
