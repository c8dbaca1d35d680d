//! What a test and the application on the server's thread tell each other.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use super::DEADLINE;

/// Something that happens once; futures wait for it, any thread makes it happen.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Mutex<(bool, Vec<Waker>)>>);

impl Gate {
    pub(crate) fn open(&self) {
        let wakers = {
            let mut state = self.0.lock().unwrap();
            state.0 = true;
            std::mem::take(&mut state.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn passed(&self) -> impl Future<Output = ()> + use<> {
        let state = Arc::clone(&self.0);
        poll_fn(move |context| {
            let mut state = state.lock().unwrap();
            if state.0 {
                return Poll::Ready(());
            }
            state.1.push(context.waker().clone());
            Poll::Pending
        })
    }
}

/// What the application notes, for the test to read in order.
pub(crate) struct Journal<T>(Receiver<T>);

impl<T> Journal<T> {
    pub(crate) fn new() -> (Sender<T>, Self) {
        let (note, notes) = channel();
        (note, Self(notes))
    }

    /// The next note, waited for.
    pub(crate) fn next(&self) -> T {
        self.0.recv_timeout(DEADLINE).expect("the application notes something")
    }

    /// What has been noted and not looked at.
    pub(crate) fn poll(&self) -> impl Iterator<Item = T> {
        self.0.try_iter()
    }
}

/// Polls the future once, which has to leave it waiting.
pub(crate) async fn once_pending<F: Future>(future: &mut Pin<&mut F>) {
    poll_fn(|context| {
        assert!(future.as_mut().poll(context).is_pending(), "there is nothing to give yet");
        Poll::Ready(())
    })
    .await;
}

/// Waits until one of the two is ready.
pub(crate) async fn first_of<A: Future, B: Future>(one: &mut Pin<&mut A>, other: &mut Pin<&mut B>) {
    poll_fn(|context| {
        let ready = one.as_mut().poll(context).is_ready() || other.as_mut().poll(context).is_ready();
        if ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
