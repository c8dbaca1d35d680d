//! A thread that steps in when the application does not come back: what was put off to the end of the turn, so that more
//! could go with it, is then written all the same.
//!
//! It sleeps most of the time and looks a few hundred times a second while requests come in; when they stop, it sleeps
//! for good. Only when the same bytes still wait at a second look does it take the interpreter lock, which it gets when the
//! application blocks (the lock is free) or computes (the interpreter hands it over every few milliseconds).

use std::rc::Weak;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use pyo3::prelude::*;

use crate::application::Server;
use crate::ffi::LockBound;

/// How long bytes wait, once to twice over, before somebody steps in.
const LOOK_EVERY: Duration = Duration::from_millis(4);

/// After so many looks without anything new, it sleeps until it is woken.
const LOOKS_IN_VAIN: u32 = 25;

/// The worker's side of the thread; dropping it ends the thread.
pub(crate) struct Backstop(Arc<Shared>);

struct Shared {
    server: LockBound<Weak<Server>>,
    /// Counts the times that something was put off.
    count: AtomicU64,
    /// The count at which something was put off that still waits; 0: nothing waits.
    waiting: AtomicU64,
    asleep: AtomicBool,
    ended: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Backstop {
    /// None where there is no interpreter lock to be alone with the worker under.
    pub(crate) fn new(py: Python<'_>, server: Weak<Server>) -> PyResult<Option<Self>> {
        let Some(server) = LockBound::new(py, server)? else { return Ok(None) };
        let shared = Arc::new(Shared {
            server,
            count: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            asleep: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            thread: OnceLock::new(),
        });
        let seen = Arc::clone(&shared);
        let thread = thread::Builder::new().name("ferricorn-backstop".to_owned()).spawn(move || seen.watch())?;
        let _ = shared.thread.set(thread.thread().clone());
        Ok(Some(Self(shared)))
    }

    pub(crate) fn put_off(&self) {
        let count = self.0.count.load(Ordering::Relaxed) + 1;
        self.0.count.store(count, Ordering::Relaxed);
        // Ordered with the thread's "asleep, unless something waits": one of both sees the other.
        self.0.waiting.store(count, Ordering::SeqCst);
        if self.0.asleep.load(Ordering::SeqCst) {
            self.0.wake();
        }
    }

    pub(crate) fn caught_up(&self) {
        self.0.waiting.store(0, Ordering::Relaxed);
    }
}

impl Drop for Backstop {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::SeqCst);
        self.0.wake();
    }
}

impl Shared {
    fn wake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn watch(&self) {
        let (mut last_waiting, mut last_count, mut in_vain) = (0, 0, 0);
        while !self.ended.load(Ordering::Relaxed) {
            thread::sleep(LOOK_EVERY);
            let (waiting, count) = (self.waiting.load(Ordering::Relaxed), self.count.load(Ordering::Relaxed));
            if waiting != 0 && waiting == last_waiting {
                self.step_in();
                let _ = self.waiting.compare_exchange(waiting, 0, Ordering::Relaxed, Ordering::Relaxed);
            }
            in_vain = if count == last_count && waiting == 0 { in_vain + 1 } else { 0 };
            (last_waiting, last_count) = (waiting, count);
            if in_vain > LOOKS_IN_VAIN {
                self.sleep();
                in_vain = 0;
            }
        }
    }

    fn step_in(&self) {
        // Not where the interpreter is going away: then nothing is written any more.
        Python::try_attach(|py| {
            self.server.look(py, |server| {
                if let Some(server) = server.upgrade() {
                    server.flush_put_off();
                }
            });
        });
    }

    fn sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        while self.asleep.load(Ordering::SeqCst)
            && self.waiting.load(Ordering::SeqCst) == 0
            && !self.ended.load(Ordering::SeqCst)
        {
            thread::park();
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}
