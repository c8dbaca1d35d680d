//! Whether an event loop is blocked, judged from looks at its beat: a number that moves whenever the loop runs.
//!
//! Knows no thread and no clock: who looks says how long the pause before was.

use std::time::Duration;

/// A stall that goes on is told again when it has lasted so long, and then with every [`REPEAT`].
const AGAIN: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(60)];

const REPEAT: Duration = Duration::from_secs(300);

/// The pause where nobody wants to know of stalls.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Stalls shorter than this cannot be told from an idle loop.
const LEAST: Duration = Duration::from_millis(50);

/// What a look has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to be told.
    Nothing,
    /// The loop has been blocked for so long, and that is to be told now.
    Blocked(Duration),
    /// The loop runs again after a stall that was to be told.
    Back(Duration),
}

/// What the looks at one loop have shown so far.
#[derive(Debug)]
pub struct Stall {
    /// None: stalls are not told.
    threshold: Option<Duration>,
    beat: u64,
    /// How long the beat has not moved: what is certain of it.
    blocked: Duration,
    /// How long that has to be for the next report.
    report_at: Duration,
    told: bool,
}

impl Stall {
    /// Tells stalls of `threshold` and more; zero is none.
    pub fn new(threshold: Duration) -> Self {
        let threshold = (!threshold.is_zero()).then(|| threshold.max(LEAST));
        Self { threshold, beat: 0, blocked: Duration::ZERO, report_at: threshold.unwrap_or_default(), told: false }
    }

    /// How long to pause before the next look: longer while all is well.
    pub fn pause(&self) -> Duration {
        let Some(threshold) = self.threshold else { return LONGEST_PAUSE };
        let pause = (threshold / 5).min(LONGEST_PAUSE / 2);
        if self.blocked < threshold / 2 { pause } else { pause / 4 }
    }

    /// A look at the beat, after a pause that took so long.
    ///
    /// A pause that was much too long counts as one that was not: the process was stopped or had no processor, and what
    /// it slept through is not the loop's doing.
    pub fn look(&mut self, beat: u64, pause: Duration) -> Verdict {
        let pause = pause.min(self.pause() * 2);
        let blocked = self.blocked + pause;
        if beat != self.beat {
            self.beat = beat;
            self.blocked = Duration::ZERO;
            self.report_at = self.threshold.unwrap_or_default();
            // It began before the first look that saw it and ended after the last.
            return if std::mem::take(&mut self.told) { Verdict::Back(blocked) } else { Verdict::Nothing };
        }
        self.blocked = blocked;
        if self.threshold.is_none() || blocked < self.report_at {
            return Verdict::Nothing;
        }
        self.report_at = AGAIN.into_iter().find(|again| *again >= blocked * 2).unwrap_or(blocked + REPEAT);
        self.told = true;
        Verdict::Blocked(blocked)
    }

    /// Time that went by between two looks with something else than a pause.
    pub fn pass(&mut self, time: Duration) {
        self.blocked += time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Looks until `total` has passed; what was told, and when.
    fn told(stall: &mut Stall, total: Duration, beat: impl Fn(Duration) -> u64) -> Vec<(Duration, Verdict)> {
        let (mut now, mut told) = (Duration::ZERO, Vec::new());
        while now < total {
            let pause = stall.pause();
            now += pause;
            match stall.look(beat(now), pause) {
                Verdict::Nothing => (),
                verdict => told.push((now, verdict)),
            }
        }
        told
    }

    #[test]
    fn a_beat_that_moves_is_no_stall() {
        let mut stall = Stall::new(SECOND);
        assert_eq!(told(&mut stall, SECOND * 30, |now| now.as_millis() as u64 / 250), []);
        // Just short of it, again and again.
        let mut stall = Stall::new(SECOND);
        assert_eq!(told(&mut stall, SECOND * 30, |now| now.as_millis() as u64 / 900), []);
    }

    #[test]
    fn a_stall_is_told_soon_after_the_threshold_and_once_more_at_its_end() {
        for begin in 0..40 {
            let begin = SECOND + Duration::from_millis(25) * begin;
            let end = begin + SECOND * 3;
            let mut stall = Stall::new(SECOND);
            let beat = |now: Duration| match now {
                now if now < begin || now >= end => now.as_millis() as u64 / 250,
                _ => u64::MAX,
            };
            let told = told(&mut stall, SECOND * 9, beat);
            let [(first, Verdict::Blocked(blocked)), (last, Verdict::Back(whole))] = told[..] else {
                panic!("{begin:?}: {told:?}")
            };
            assert!(first >= begin + Duration::from_millis(750), "{begin:?}: {told:?}");
            assert!(first <= begin + Duration::from_millis(1250), "{begin:?}: {told:?}");
            assert!(blocked >= SECOND && blocked <= first - begin + Duration::from_millis(250), "{begin:?}: {told:?}");
            assert!(last <= end + Duration::from_millis(51), "{begin:?}: {told:?}");
            assert!(whole.abs_diff(SECOND * 3) <= Duration::from_millis(300), "{begin:?}: {told:?}");
        }
    }

    #[test]
    fn a_long_stall_is_told_again_more_and_more_seldom() {
        let told = told(&mut Stall::new(SECOND), SECOND * 1000, |_| 0);
        let seconds: Vec<_> = told.iter().map(|(now, _)| now.as_secs()).collect();
        assert_eq!(seconds, [1, 10, 60, 360, 660, 960]);
    }

    #[test]
    fn what_the_process_slept_through_is_not_counted() {
        let mut stall = Stall::new(SECOND);
        assert_eq!(stall.look(0, SECOND * 3600), Verdict::Nothing);
        assert_eq!(stall.look(1, stall.pause()), Verdict::Nothing);
        // Stopped and continued at each look: what is certain adds up all the same.
        let looks = (0..).find(|_| stall.look(1, SECOND * 3600) != Verdict::Nothing).unwrap();
        assert!(looks >= 2, "{looks}");
    }

    #[test]
    fn time_between_two_looks_counts() {
        let mut stall = Stall::new(SECOND);
        stall.pass(SECOND);
        assert!(matches!(stall.look(0, stall.pause()), Verdict::Blocked(_)));
    }

    #[test]
    fn without_a_threshold_nothing_is_told() {
        let mut stall = Stall::new(Duration::ZERO);
        assert_eq!(told(&mut stall, SECOND * 1000, |_| 0), []);
        assert_eq!(stall.pause(), LONGEST_PAUSE);
        assert_eq!(stall.look(1, LONGEST_PAUSE), Verdict::Nothing);
    }

    #[test]
    fn a_tiny_threshold_has_pauses_that_a_processor_stands() {
        let mut stall = Stall::new(Duration::from_nanos(1));
        while stall.blocked < LEAST {
            assert!(stall.pause() >= Duration::from_millis(2));
            stall.look(0, stall.pause());
        }
    }
}
