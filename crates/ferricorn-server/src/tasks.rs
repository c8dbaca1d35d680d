//! Runs an [`AsyncApplication`]: its futures, polled on the worker's thread.

use std::cell::{OnceCell, RefCell};

use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use asgi::{
    Application, AsyncApplication, ExchangeId, Exchanges, Outcome, Receive, ReceiveEvent, ScopeRef, SendError,
    SendEvent, Wake,
};

use rustc_hash::FxHashMap;

use crate::exchanges::{Sent, Take};
use crate::host::Host;
use crate::worker::Worker;

type Task = Pin<Box<dyn Future<Output = Result<(), SendError>>>>;

/// An [`AsyncApplication`] as the [`Application`] that a [`Worker`] drives.
pub struct Tasks<F: AsyncApplication, H: Host> {
    application: F,
    worker: OnceCell<Weak<Worker<Self, H>>>,
    running: RefCell<FxHashMap<ExchangeId, Task>>,
    waiting: RefCell<FxHashMap<ExchangeId, Vec<Waker>>>,
    woken: Arc<Woken>,
}

/// The exchanges whose futures want to be polled; filled from any thread.
#[derive(Default)]
struct Woken {
    exchanges: Mutex<Vec<ExchangeId>>,
    poller: Mutex<Option<Arc<mio::Waker>>>,
}

struct TaskWaker {
    exchange: ExchangeId,
    woken: Arc<Woken>,
}

impl std::task::Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        lock(&self.woken.exchanges).push(self.exchange);
        if let Some(poller) = &*lock(&self.woken.poller) {
            // Fails only where the worker is gone, and then nobody waits.
            let _ = poller.wake();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<F: AsyncApplication, H: Host> Tasks<F, H> {
    /// An application without a worker yet.
    pub fn new(application: F) -> Self {
        Self {
            application,
            worker: OnceCell::new(),
            running: RefCell::default(),
            waiting: RefCell::default(),
            woken: Arc::default(),
        }
    }

    /// Says which worker drives it. What ends that one's waits from other threads is given back.
    ///
    /// # Errors
    /// Where the waker for other threads cannot be made.
    pub(crate) fn attach(worker: &Rc<Worker<Self, H>>) -> std::io::Result<Arc<mio::Waker>> {
        let tasks = worker.application();
        let waker = worker.waker()?;
        *lock(&tasks.woken.poller) = Some(Arc::clone(&waker));
        let _ = tasks.worker.set(Rc::downgrade(worker));
        Ok(waker)
    }

    fn worker(&self) -> Option<Rc<Worker<Self, H>>> {
        self.worker.get().and_then(Weak::upgrade)
    }

    fn run(&self, exchange: ExchangeId, mut task: Task) {
        let waker = Waker::from(Arc::new(TaskWaker { exchange, woken: Arc::clone(&self.woken) }));
        match task.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => {
                self.running.borrow_mut().insert(exchange, task);
            }
            Poll::Ready(result) => {
                self.waiting.borrow_mut().remove(&exchange);
                let outcome = if result.is_ok() { Outcome::Returned } else { Outcome::Failed };
                if let Some(worker) = self.worker() {
                    worker.finish(exchange, outcome);
                }
            }
        }
    }

    fn wait(&self, exchange: ExchangeId, context: &Context<'_>) {
        self.waiting.borrow_mut().entry(exchange).or_default().push(context.waker().clone());
    }
}

impl<F: AsyncApplication, H: Host> Application for Tasks<F, H> {
    type ConnectionMemory = ();
    type Body = Vec<u8>;
    type Gathered = Vec<u8>;
    type Text = String;

    fn call(&self, scope: &ScopeRef<'_>, exchange: ExchangeId, (): &mut ()) {
        let Some(worker) = self.worker() else { return };
        let exchanges: Rc<dyn Exchanges> = worker;
        let receive = Receive::new(Rc::clone(&exchanges), exchange);
        let send = asgi::Send::new(exchanges, exchange);
        let future = self.application.call(scope.into(), receive, send);
        self.run(exchange, Box::pin(future));
    }

    fn wake(&self, exchange: ExchangeId, _: Wake) {
        let wakers = self.waiting.borrow_mut().remove(&exchange).unwrap_or_default();
        wakers.into_iter().for_each(Waker::wake);
    }

    fn poll(&self) {
        let woken = std::mem::take(&mut *lock(&self.woken.exchanges));
        for exchange in woken {
            let task = self.running.borrow_mut().remove(&exchange);
            if let Some(task) = task {
                self.run(exchange, task);
            }
        }
    }
}

/// Takes what is received as a Rust application has it.
struct Owned;

impl Take for Owned {
    type Gathered = Vec<u8>;
    type Bytes = Vec<u8>;
    type Text = String;

    fn bytes(self, bytes: &[u8]) -> Vec<u8> {
        bytes.to_vec()
    }

    fn gathered(self, gathered: Vec<u8>) -> Vec<u8> {
        gathered
    }

    fn text(self, text: &str) -> String {
        text.to_owned()
    }
}

impl<F: AsyncApplication, H: Host> Exchanges for Worker<Tasks<F, H>, H> {
    fn poll_receive(&self, exchange: ExchangeId, context: &mut Context<'_>) -> Poll<ReceiveEvent> {
        let event = self.receive(exchange, Owned);
        if event.is_pending() {
            self.application().wait(exchange, context);
        }
        event
    }

    fn send(&self, exchange: ExchangeId, event: SendEvent) -> Result<(), SendError> {
        Worker::send(self, exchange, event).map(|_: Sent| ())
    }

    fn poll_sent(&self, exchange: ExchangeId, context: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let sent = self.sent(exchange);
        if sent.is_pending() {
            self.application().wait(exchange, context);
        }
        sent
    }
}
