//! Which thread of the process computes, from the processor time that the kernel counts.

use std::fs;

use rustc_hash::FxHashMap;

use crate::ffi::SignalledThread;

/// Of the kernel's ticks, of 10 ms as a rule: less is no thread that computes.
const LEAST_TICKS: u64 = 3;

/// The processor time of each thread at one moment.
pub(crate) struct Times(FxHashMap<i32, u64>);

impl Times {
    /// Empty where the system does not tell.
    pub(crate) fn now() -> Self {
        let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let number = |name: &str| name.parse().ok();
        Self(
            tasks
                .filter_map(|task| number(task.file_name().to_str()?))
                .filter_map(|id| Some((id, ticks(id)?)))
                .collect(),
        )
    }

    /// The thread that has had most of the processor since then.
    pub(crate) fn busiest_since(&self) -> Option<SignalledThread> {
        let spent = |(id, now): (i32, u64)| Some((now.saturating_sub(*self.0.get(&id)?), id));
        let (ticks, id) = Self::now().0.into_iter().filter_map(spent).max()?;
        (ticks >= LEAST_TICKS).then(|| SignalledThread::new(id))
    }
}

/// proc_pid_stat(5): the fields utime and stime, counted behind the name, which may have anything in it.
fn ticks(id: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/self/task/{id}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}
