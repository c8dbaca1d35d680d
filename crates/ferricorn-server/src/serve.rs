//! A loop of our own, for applications that bring none.

use std::cell::Cell;
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use asgi::AsyncApplication;
use ferricorn_proto::http1::Drain;

use crate::access_log::Access;
use crate::host::{Config, Host, Problem, TICK};
use crate::listener::Listener;
use crate::tasks::Tasks;
use crate::worker::Worker;

/// Ends a [`serve`] from any thread: running exchanges finish first.
#[derive(Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks the server to stop; it looks about twice a second.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
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
    let drained = Stop::default();
    let soon = Rc::new(Cell::new(false));
    let host = Console { drained: drained.clone(), soon: Rc::clone(&soon) };
    let worker = Rc::new(Worker::new(Tasks::new(application), host, config, listeners)?);
    Tasks::attach(&worker)?;
    let mut draining = false;
    let mut next_tick = Instant::now() + TICK;
    while !drained.0.load(Ordering::Relaxed) {
        worker.wait(Some(if soon.take() { Duration::ZERO } else { TICK }));
        if Instant::now() >= next_tick {
            worker.tick();
            next_tick = Instant::now() + TICK;
        }
        if !draining && stop.0.load(Ordering::Relaxed) {
            draining = true;
            worker.drain(Drain::Quick);
        }
    }
    Ok(())
}

/// Logs to standard error.
struct Console {
    drained: Stop,
    soon: Rc<Cell<bool>>,
}

impl Host for Console {
    fn poll_soon(&self) {
        self.soon.set(true);
    }

    fn problem(&self, problem: &Problem) {
        let _ = writeln!(io::stderr(), "{problem}");
    }

    fn accessed(&self, accesses: &[Access]) {
        let mut error = io::stderr().lock();
        for access in accesses {
            let _ = writeln!(error, "{access}");
        }
    }

    fn drained(&self) {
        self.drained.stop();
    }
}
