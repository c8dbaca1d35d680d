//! What connections want of their files is given to the reader, and what it has read goes back to them.

use std::io;
use std::sync::Arc;

use asgi::Application;

use super::{Order, Outcome};
use crate::poller::WAKER;
use crate::slab::Key;
use crate::state::State;

impl<A: Application> State<A> {
    /// What ends a wait of the poller from any thread. A poller has only one.
    pub(crate) fn waker(&mut self) -> io::Result<Arc<mio::Waker>> {
        if let Some(waker) = &self.waker {
            return Ok(Arc::clone(waker));
        }
        let waker = Arc::new(self.poller.waker(WAKER)?);
        self.waker = Some(Arc::clone(&waker));
        Ok(waker)
    }

    /// Has what the connection's file needs read ahead.
    pub(crate) fn order_reading(&mut self, key: Key, order: Order) {
        match self.waker() {
            // A wake fails only where the worker is gone, and then nobody waits.
            Ok(waker) => self.reader.order(key, order, move || drop(waker.wake())),
            Err(error) => {
                let Some(connection) = self.connections.get_mut(key) else { return };
                connection.ahead.finish(Outcome::Failed(error));
                connection.yielded = true;
            }
        }
    }

    /// Goes on with the connections whose files have been read ahead.
    pub(crate) fn take_read(&mut self) {
        for (key, outcome) in self.reader.take_done() {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            connection.ahead.finish(outcome);
            self.enqueue(key);
        }
    }
}
