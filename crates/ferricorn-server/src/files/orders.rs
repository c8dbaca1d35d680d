//! What connections want of their files is given to the reader, and what it has read goes back to them.

use std::io;
use std::sync::Arc;

use asgi::Application;

use super::Outcome;
use crate::connection::Connection;
use crate::host::Problem;
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

    /// Has read ahead what the files of a connection need, and tells which of them cannot be sent.
    pub(crate) fn look_at_files(&mut self, key: Key) {
        loop {
            let Some(connection) = self.connections.get_mut(key) else { return };
            let Some((number, order)) = connection.take_order() else { break };
            match self.waker() {
                // A wake fails only where the worker is gone, and then nobody waits.
                Ok(waker) => self.reader.order((key, number), order, move || drop(waker.wake())),
                Err(error) => {
                    let Some(connection) = self.connections.get_mut(key) else { return };
                    connection.finish_reading(number, Outcome::Failed(error));
                    connection.yielded = true;
                }
            }
        }
        if let Some(connection) = self.connections.get_mut(key) {
            report_faults(connection, &mut self.problems);
        }
    }

    /// Goes on with the connections whose files have been read ahead.
    pub(crate) fn take_read(&mut self) {
        for ((key, number), outcome) in self.reader.take_done() {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            connection.finish_reading(number, outcome);
            self.enqueue(key);
        }
    }
}

/// Tells which files of a connection cannot be sent.
pub(crate) fn report_faults<A: Application>(connection: &mut Connection<A>, problems: &mut Vec<Problem>) {
    for fault in connection.faults.drain(..) {
        problems.push(Problem::File { client: connection.ends.client.clone(), fault });
    }
}
