//! A thread that looks whether the event loop still runs, and has the log say what blocks it.
//!
//! For what it does itself it never waits for the interpreter lock: code that blocks the loop may hold it. Whoever needs
//! the lock is a thread made for one message. Where that does not get it in time, the stack is had by a signal (`dump.rs`),
//! and the message goes straight to standard error. When the loop counts as blocked is `ferricorn_server::Stall`'s to say.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use ferricorn_server::{Cell, Row, Stall, Verdict};
use pyo3::intern;
use pyo3::prelude::*;

use crate::busiest::Times;
use crate::dump::Dump;
use crate::ffi::{self, SignalledThread};
use crate::stack::{self, Folders, Found, Frame};

/// How long to wait for the interpreter lock: code that computes hands it over within some 5 ms.
const LOCK_WAIT: Duration = Duration::from_millis(150);

/// How long to wait for it when the loop runs again: then it is free, and only a machine that is too busy delays it.
const LOCK_WAIT_AFTER: Duration = Duration::from_secs(2);

/// The worker's side of the thread. Made on the loop's thread.
pub(crate) struct Watchdog(Arc<Shared>);

/// What is to be watched.
pub(crate) struct Watch {
    pub(crate) row: Row,
    /// Whether others look at the row's native beat.
    pub(crate) watched: bool,
    /// Stalls of so long and more are told; zero: none.
    pub(crate) threshold: Duration,
}

struct Shared {
    row: Row,
    hooks: Py<PyAny>,
    folders: Folders,
    loop_thread: SignalledThread,
    /// None where it cannot be had, or not any more.
    dump: Mutex<Option<Dump>>,
    has_lock: bool,
    /// Whether the stall that goes on was told.
    told: AtomicBool,
    ended: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Watchdog {
    /// Watches the loop of this thread.
    pub(crate) fn new(py: Python<'_>, hooks: Py<PyAny>, watch: Watch) -> PyResult<Self> {
        let tells = !watch.threshold.is_zero();
        let shared = Arc::new(Shared {
            row: watch.row,
            hooks,
            folders: Folders::new(py),
            loop_thread: SignalledThread::current(),
            // Without one there is still the stack that Python tells.
            dump: Mutex::new(if tells { Dump::new(py).unwrap_or_default() } else { None }),
            has_lock: ffi::has_lock(py)?,
            told: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            thread: OnceLock::new(),
        });
        if tells || watch.watched {
            let seen = Arc::clone(&shared);
            let work = move || seen.watch(Stall::new(watch.threshold));
            let thread = thread::Builder::new().name("ferricorn-watchdog".to_owned()).spawn(work)?;
            let _ = shared.thread.set(thread.thread().clone());
        }
        Ok(Self(shared))
    }

    /// Ends the watch. Idempotent.
    pub(crate) fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.0.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.0.thread.get() {
            thread.unpark();
        }
        let dump = self.0.dump().take();
        dump.map_or(Ok(()), |dump| dump.release(py))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        Python::try_attach(|py| {
            if let Err(error) = self.close(py) {
                error.write_unraisable(py, None);
            }
        });
    }
}

impl Shared {
    fn dump(&self) -> MutexGuard<'_, Option<Dump>> {
        self.dump.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(self: &Arc<Self>, mut stall: Stall) {
        let mut last = Instant::now();
        while !self.ended.load(Ordering::Relaxed) {
            thread::park_timeout(stall.pause());
            let now = Instant::now();
            self.row.add(Cell::NATIVE_BEAT, 1);
            let beat = self.row.get(Cell::LOOP_BEAT);
            let verdict = stall.look(beat, now - last);
            last = now;
            match verdict {
                Verdict::Nothing => continue,
                Verdict::Blocked(time) => self.tell(Subject::Blocked { time, beat, times: Times::now() }),
                Verdict::Back(time) if self.told.swap(false, Ordering::Relaxed) => self.tell(Subject::Back(time)),
                Verdict::Back(_) => continue,
            }
            last = Instant::now();
            stall.pass(last - now);
        }
    }

    /// Has the subject logged, by a thread that waits for the interpreter lock or else by one that does without.
    fn tell(self: &Arc<Self>, subject: Subject) {
        let wait = if matches!(subject, Subject::Back(_)) { LOCK_WAIT_AFTER } else { LOCK_WAIT };
        let telling = Telling::new(subject);
        self.in_thread(&telling, Self::tell_by_python);
        if !telling.is_taken_within(wait) {
            self.in_thread(&telling, Self::tell_without_lock);
        }
    }

    fn in_thread(self: &Arc<Self>, telling: &Arc<Telling>, work: fn(&Self, &Telling)) {
        let (shared, telling) = (Arc::clone(self), Arc::clone(telling));
        let thread = thread::Builder::new().name("ferricorn-report".to_owned());
        // A system that has no thread left has worse to tell.
        let _ = thread.spawn(move || work(&shared, &telling));
    }

    fn tell_by_python(&self, telling: &Telling) {
        // Where there is no lock, Python would have to stop all threads for a look at one.
        let found = if self.has_lock { None } else { self.found_by_signal(&telling.subject) };
        // Not where the interpreter is going away: then there is no log any more.
        Python::try_attach(|py| {
            if !self.ended.load(Ordering::Relaxed)
                && self.take(telling)
                && let Err(error) = self.log(py, &telling.subject, found)
            {
                error.write_unraisable(py, Some(self.hooks.bind(py)));
            }
        });
    }

    fn log(&self, py: Python<'_>, subject: &Subject, found: Option<Found>) -> PyResult<()> {
        let found = match (found, subject) {
            (Some(found), _) => found,
            (None, Subject::Back(_)) => Found::Unknown,
            (None, Subject::Blocked { .. }) => {
                let frames: Option<Vec<Frame>> = self.hooks.call_method0(py, intern!(py, "stack"))?.extract(py)?;
                // Nobody runs the loop, so nothing blocks it.
                let Some(frames) = frames else {
                    self.told.store(false, Ordering::Relaxed);
                    return Ok(());
                };
                let found = Found::in_loop(Some(frames));
                if found.waits(&self.folders) {
                    // For the lock, which was had for this look: whatever kept it from the loop has let go of it.
                    return Ok(());
                }
                found
            }
        };
        let Some(message) = self.message(subject, &found) else { return Ok(()) };
        let logged: bool = self.hooks.call_method1(py, intern!(py, "stalled"), (&message,))?.extract(py)?;
        if !logged {
            py.detach(|| write(&message));
        }
        Ok(())
    }

    /// Whether it falls to the caller. From then on the stall counts as told: its end will be, whatever is found.
    fn take(&self, telling: &Telling) -> bool {
        let first = telling.take();
        if first && matches!(telling.subject, Subject::Blocked { .. }) {
            self.told.store(true, Ordering::Relaxed);
        }
        first
    }

    fn tell_without_lock(&self, telling: &Telling) {
        let found = self.found_by_signal(&telling.subject).unwrap_or(Found::Unknown);
        if !self.ended.load(Ordering::Relaxed) && self.take(telling) {
            self.message(&telling.subject, &found).as_deref().map(write);
        }
    }

    /// What blocks the loop, without a look at Python's objects. None where that is not asked for.
    fn found_by_signal(&self, subject: &Subject) -> Option<Found> {
        let Subject::Blocked { times, .. } = subject else { return None };
        let frames_of = |thread| self.dump().as_ref()?.take(thread).map(|text| stack::parse(&text));
        let found = Found::in_loop(frames_of(self.loop_thread));
        if found.waits(&self.folders)
            && let Some(frames) = times.busiest_since().and_then(frames_of)
        {
            return Some(Found::Other(frames));
        }
        Some(found)
    }

    /// None where the loop came back while its stack was looked for: what was found is not what blocked it. Then there is
    /// the message of its return.
    fn message(&self, subject: &Subject, found: &Found) -> Option<String> {
        match *subject {
            Subject::Back(time) => Some(format!("The event loop was blocked for {:.1} s.", time.as_secs_f64())),
            Subject::Blocked { time, beat, .. } => {
                let goes_on = self.row.get(Cell::LOOP_BEAT) == beat;
                goes_on.then(|| found.message(time, &self.folders))
            }
        }
    }
}

/// What is to be logged.
enum Subject {
    /// For so long, since this beat; with the threads' processor times as they were when that was seen.
    Blocked { time: Duration, beat: u64, times: Times },
    /// After so long.
    Back(Duration),
}

/// A message that several threads try to bring to the log: the first that can does.
struct Telling {
    subject: Subject,
    taken: Mutex<bool>,
    changed: Condvar,
}

impl Telling {
    fn new(subject: Subject) -> Arc<Self> {
        Arc::new(Self { subject, taken: Mutex::new(false), changed: Condvar::new() })
    }

    fn taken(&self) -> MutexGuard<'_, bool> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it falls to the caller.
    fn take(&self) -> bool {
        let first = !std::mem::replace(&mut *self.taken(), true);
        self.changed.notify_all();
        first
    }

    fn is_taken_within(&self, time: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.taken(), time, |taken| !*taken);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Writes a message where the log is by default, in its format.
fn write(message: &str) {
    let _ = std::io::stderr().write_all(format!("WARNING:  {message}\n").as_bytes());
}
