//! The one place that waits for descriptors; the only file, beside `socket`, that names mio.
//!
//! Everything is registered once, edge-triggered, for reading and writing: no call to the kernel changes what is
//! watched. It does not know what the descriptors are for.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use mio::event::{Event, Source};
use mio::{Events, Interest, Poll, Token};

/// The token of the waker with which other threads end a wait: above those of all connections and listeners.
pub(crate) const WAKER: usize = usize::MAX - 1;

/// How many descriptors one turn looks at: bounds the time until the event loop runs again.
const BATCH: usize = 256;

pub(crate) struct Poller {
    poll: Poll,
}

/// What happened to one descriptor.
#[derive(Clone, Copy)]
pub(crate) struct Readiness {
    pub(crate) token: usize,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The peer has closed its sending side: what is readable is the last.
    pub(crate) read_closed: bool,
    /// The connection is reset or closed both ways.
    pub(crate) broken: bool,
}

impl From<&Event> for Readiness {
    fn from(event: &Event) -> Self {
        Self {
            token: event.token().0,
            readable: event.is_readable(),
            writable: event.is_writable(),
            read_closed: event.is_read_closed(),
            broken: event.is_error() || (event.is_write_closed() && event.is_read_closed()),
        }
    }
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { poll: Poll::new()? })
    }

    pub(crate) fn events() -> Events {
        Events::with_capacity(BATCH)
    }

    pub(crate) fn descriptor(&self) -> RawFd {
        self.poll.as_raw_fd()
    }

    pub(crate) fn add(&self, source: &mut impl Source, token: usize) -> io::Result<()> {
        self.poll.registry().register(source, Token(token), Interest::READABLE | Interest::WRITABLE)
    }

    pub(crate) fn remove(&self, source: &mut impl Source) {
        // Closing the descriptor would do; a duplicate of it elsewhere would keep the registration alive.
        let _ = self.poll.registry().deregister(source);
    }

    pub(crate) fn waker(&self, token: usize) -> io::Result<mio::Waker> {
        mio::Waker::new(self.poll.registry(), Token(token))
    }

    /// Fills `events` with what is ready, waiting for at most `timeout` (None: for ever).
    #[inline]
    pub(crate) fn poll(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                events.clear();
                Ok(())
            }
            result => result,
        }
    }
}
