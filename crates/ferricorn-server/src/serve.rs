//! A loop of our own, for applications that bring none.

use std::cell::Cell;
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use asgi::AsyncApplication;
use ferricorn_proto::Drain;

use crate::access_log::Access;
use crate::host::{Config, Host, Problem, TICK};
use crate::listener::Listener;
use crate::tasks::Tasks;
use crate::worker::Worker;

/// Ends a [`serve`] from any thread: running exchanges finish first.
#[derive(Clone, Default)]
pub struct Stop(Arc<Stopping>);

#[derive(Default)]
struct Stopping {
    asked: AtomicBool,
    /// Of the loops that look at it.
    wakers: Mutex<Vec<Arc<mio::Waker>>>,
}

impl Stop {
    /// Asks the server to stop.
    pub fn stop(&self) {
        self.0.asked.store(true, Ordering::SeqCst);
        for waker in &*self.wakers() {
            // Fails only where the loop is gone, and then nobody waits.
            let _ = waker.wake();
        }
    }

    fn is_asked(&self) -> bool {
        self.0.asked.load(Ordering::SeqCst)
    }

    fn wakers(&self) -> std::sync::MutexGuard<'_, Vec<Arc<mio::Waker>>> {
        self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a loop of our own behaves.
pub(crate) struct Manner<S> {
    /// Whether standard error is told what happens.
    pub(crate) tells: bool,
    /// How long running exchanges may take to finish once it is stopped; None: as long as they like.
    pub(crate) patience: Option<Duration>,
    /// Called when nothing can fail any more.
    pub(crate) started: S,
}

/// Serves an application on this thread until it is stopped, then lets running exchanges finish.
///
/// # Errors
/// Where a listener cannot be watched.
pub fn serve(
    application: impl AsyncApplication,
    config: Config,
    listeners: Vec<Listener>,
    stop: &Stop,
) -> io::Result<()> {
    serve_so(application, config, listeners, stop, Manner { tells: true, patience: None, started: || () })
}

/// As [`serve`], in this manner.
pub(crate) fn serve_so(
    application: impl AsyncApplication,
    config: Config,
    listeners: Vec<Listener>,
    stop: &Stop,
    manner: Manner<impl FnOnce()>,
) -> io::Result<()> {
    let host = Console { tells: manner.tells, ..Console::default() };
    let (drained, soon) = (Rc::clone(&host.drained), Rc::clone(&host.soon));
    let worker = Rc::new(Worker::new(Tasks::new(application), host, config, listeners)?);
    stop.wakers().push(Tasks::attach(&worker)?);
    (manner.started)();
    let mut stopped: Option<Instant> = None;
    let mut next_tick = Instant::now() + TICK;
    while !drained.get() {
        if stopped.is_none() && stop.is_asked() {
            stopped = Some(Instant::now());
            worker.drain(Drain::Quick);
            continue;
        }
        worker.wait(Some(if soon.take() { Duration::ZERO } else { TICK }));
        if Instant::now() >= next_tick {
            worker.tick();
            next_tick = Instant::now() + TICK;
            if stopped.zip(manner.patience).is_some_and(|(since, patience)| since.elapsed() >= patience) {
                worker.close();
                break;
            }
        }
    }
    Ok(())
}

#[derive(Default)]
struct Console {
    tells: bool,
    drained: Rc<Cell<bool>>,
    soon: Rc<Cell<bool>>,
}

impl Host for Console {
    fn poll_soon(&self) {
        self.soon.set(true);
    }

    fn problem(&self, problem: &Problem) {
        if self.tells {
            let _ = writeln!(io::stderr(), "{problem}");
        }
    }

    fn accessed(&self, accesses: &[Box<Access>]) {
        let mut error = io::stderr().lock();
        for access in accesses {
            let _ = writeln!(error, "{access}");
        }
    }

    fn drained(&self) {
        self.drained.set(true);
    }
}
