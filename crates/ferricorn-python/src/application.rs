//! Python as an [`Application`]: the callable, and what belongs to all of its calls.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::hash_map::Entry;
use std::rc::{Rc, Weak};

use asgi::{Application, ExchangeId, Outcome, ScopeKind, ScopeRef, Wake};
use ferricorn_server::{Finished, Worker};
use pyo3::exceptions::PyBaseExceptionGroup;
use pyo3::exceptions::asyncio::CancelledError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use rustc_hash::FxHashMap;

use crate::awaitable::{Awaitable, Events, Gathered};
use crate::event_loop::EventLoop;
use crate::exchange::Exchanges;
use crate::ffi::{self, Returning};
use crate::host::Process;
use crate::scope::{Memory, Scopes};
use crate::send::{Body, ClientDisconnected, Start};
use crate::task::{self, Call};
use crate::waiter::Waiter;

/// After so many answers without a wait, one waits for a turn of the loop: an application that never really waits must
/// not keep the others from running.
const INSTANT_ANSWERS: u32 = 256;

/// So many bytes of a body count as one answer: with the above, 1 MiB a turn.
const BYTES_PER_ANSWER: usize = 4096;

/// How many links of an exception's chain are followed.
const LINKS: u32 = 16;

/// The worker of a Python application.
pub(crate) type Server = Worker<PythonApplication, Process>;

/// Who waits for something of an exchange: one task as a rule.
struct Waiting {
    first: (Wake, Py<Waiter>),
    others: Vec<(Wake, Py<Waiter>)>,
}

impl Waiting {
    fn all(self) -> impl Iterator<Item = (Wake, Py<Waiter>)> {
        std::iter::once(self.first).chain(self.others)
    }
}

/// One Python application on one event loop.
pub(crate) struct PythonApplication {
    server: OnceCell<Weak<Server>>,
    callable: Py<PyAny>,
    hooks: Py<PyAny>,
    scopes: Scopes,
    exchanges: Exchanges,
    pub(crate) event_loop: EventLoop,
    /// What `receive` returns, and how.
    pub(crate) events: Events,
    pub(crate) returning: Returning,
    /// What every `send` that need not wait returns.
    pub(crate) done: Py<Awaitable>,
    /// Memory for the head of a response, used again by each.
    pub(crate) start: RefCell<Start>,
    /// The tasks of calls that wait for something: the event loop itself holds tasks weakly.
    tasks: RefCell<FxHashMap<ExchangeId, Py<PyAny>>>,
    /// What calls of `receive` and `send` wait on.
    waiting: RefCell<FxHashMap<ExchangeId, Waiting>>,
    /// What ran a call that has ended, for another one.
    pub(crate) spare_call: Cell<Option<Py<Call>>>,
    /// Whether the event loop itself has called the worker, so that no task runs and another can be resumed.
    on_loop: Cell<bool>,
    /// Whether the server has cancelled what ran.
    cancelling: Cell<bool>,
    /// Answers without a wait since the loop last ran.
    instant_answers: Cell<u32>,
}

impl PythonApplication {
    pub(crate) fn new(
        py: Python<'_>,
        callable: Py<PyAny>,
        event_loop: EventLoop,
        hooks: Py<PyAny>,
        scopes: Scopes,
    ) -> PyResult<Self> {
        Ok(Self {
            server: OnceCell::new(),
            callable,
            hooks,
            scopes,
            exchanges: Exchanges::new(py)?,
            event_loop,
            events: Events::new(py)?,
            returning: Returning::new(py)?,
            done: Py::new(py, Awaitable::done())?,
            start: RefCell::default(),
            tasks: RefCell::default(),
            waiting: RefCell::default(),
            spare_call: Cell::new(None),
            on_loop: Cell::new(false),
            cancelling: Cell::new(false),
            instant_answers: Cell::new(0),
        })
    }

    /// Says which worker drives it.
    pub(crate) fn attach(server: &Rc<Server>) {
        let _ = server.application().server.set(Rc::downgrade(server));
    }

    /// Starts a call: the coroutine of the application, in a task of its own (CON-01).
    fn start_call(
        &self,
        py: Python<'_>,
        scope: &ScopeRef<'_>,
        exchange: ExchangeId,
        memory: &mut Memory,
    ) -> PyResult<()> {
        let Some(server) = self.server.get().and_then(Weak::upgrade) else { return Ok(()) };
        let is_websocket = matches!(scope.kind, ScopeKind::WebSocket { .. });
        let scope = self.scopes.scope(py, scope, memory)?;
        let receive = self.exchanges.receive(py, &server, exchange, is_websocket)?;
        let send = self.exchanges.send(py, &server, exchange)?;
        let coroutine = self.callable.bind(py).call1((scope, &receive, &send))?;
        match task::start(&server, exchange, coroutine)? {
            Some(task) => {
                self.tasks.borrow_mut().insert(exchange, task.unbind());
            }
            None => self.exchanges.give_back(receive, send),
        }
        Ok(())
    }

    /// A call has ended; what that means for the client is the worker's to say, and what is worth a word is said here.
    pub(crate) fn ended(&self, py: Python<'_>, server: &Server, exchange: ExchangeId, error: Option<&PyErr>) {
        if !self.tasks.borrow().is_empty() {
            self.tasks.borrow_mut().remove(&exchange);
        }
        let outcome = if error.is_some() { Outcome::Failed } else { Outcome::Returned };
        let finished = server.finish(exchange, outcome);
        let problem = match (error, finished) {
            (Some(error), _) if is_disconnect(error.value(py).as_any(), LINKS) => return,
            // Cancelled by whoever ends the server, not by the application itself.
            (Some(error), _) if self.cancelling.get() && error.is_instance_of::<CancelledError>(py) => return,
            (Some(_), _) => "Exception in ASGI application",
            (None, Finished::NoResponse) => "ASGI application returned without sending a response",
            (None, Finished::Truncated) => "ASGI application returned before its response was complete",
            (None, _) => return,
        };
        self.failed(py, error, problem);
    }

    /// The task of a call that has not ended.
    pub(crate) fn task(&self, py: Python<'_>, exchange: ExchangeId) -> Option<Py<PyAny>> {
        self.tasks.borrow().get(&exchange).map(|task| task.clone_ref(py))
    }

    /// Tells the process of something that the application did wrong.
    pub(crate) fn failed(&self, py: Python<'_>, error: Option<&PyErr>, problem: &str) {
        // With its traceback, which the value alone does not have before Python 3.12.
        let exception = error.map(|error| error.clone_ref(py).into_value(py));
        if let Err(error) = self.hooks.call_method1(py, intern!(py, "application_failed"), (exception, problem)) {
            error.write_unraisable(py, Some(self.hooks.bind(py)));
        }
    }

    /// Counts what an answer carried: a reader that never waits must not fill the memory before others have a turn.
    pub(crate) fn charge(&self, bytes: usize) {
        let answers = u32::try_from(bytes / BYTES_PER_ANSWER).unwrap_or(INSTANT_ANSWERS);
        self.instant_answers.set(self.instant_answers.get().saturating_add(answers));
    }

    /// Whether the next answer is to wait for a turn of the loop.
    pub(crate) fn is_hasty(&self) -> bool {
        let answers = self.instant_answers.get() + 1;
        let hasty = answers > INSTANT_ANSWERS;
        self.instant_answers.set(if hasty { 0 } else { answers });
        hasty
    }

    /// Whether nobody but the caller, who has one reference, has the object.
    pub(crate) fn is_ours_alone<T>(&self, object: &Bound<'_, T>) -> bool {
        self.scopes.counts_are_exact() && ffi::reference_count(object) == 1
    }

    /// Ends the wait when the exchange is woken for this.
    pub(crate) fn add_waiting(&self, waiter: (Wake, Py<Waiter>), exchange: ExchangeId) {
        match self.waiting.borrow_mut().entry(exchange) {
            Entry::Vacant(entry) => {
                entry.insert(Waiting { first: waiter, others: Vec::new() });
            }
            Entry::Occupied(mut entry) => entry.get_mut().others.push(waiter),
        }
    }

    /// Nobody waits on this any more.
    pub(crate) fn forget(&self, exchange: ExchangeId, waiter: &Py<Waiter>) {
        let Some(waiting) = self.waiting.borrow_mut().remove(&exchange) else { return };
        for kept in waiting.all().filter(|(_, kept)| !kept.is(waiter)) {
            self.add_waiting(kept, exchange);
        }
    }

    fn resume(&self, waiter: Bound<'_, Waiter>) {
        let py = waiter.py();
        if let Err(error) = Waiter::wake(waiter, self.on_loop.get().then_some(&self.event_loop)) {
            error.write_unraisable(py, None);
        }
    }

    /// Runs `work` for the event loop, which runs no task meanwhile, unless it runs inside of one.
    pub(crate) fn for_loop(&self, py: Python<'_>, work: impl FnOnce()) {
        let before = self.on_loop.replace(true);
        work();
        self.event_loop.leave_last(py);
        self.on_loop.set(before);
    }

    /// Cancels the tasks of the calls that run and are `meant`; says how many.
    pub(crate) fn cancel(&self, py: Python<'_>, meant: impl Fn(ExchangeId) -> bool) -> PyResult<usize> {
        self.cancelling.set(true);
        let is_meant = |(id, task): (&ExchangeId, &Py<PyAny>)| meant(*id).then(|| task.clone_ref(py));
        let tasks: Vec<_> = self.tasks.borrow().iter().filter_map(is_meant).collect();
        for task in &tasks {
            task.call_method0(py, intern!(py, "cancel"))?;
        }
        Ok(tasks.len())
    }
}

/// Whether an exception says only that the client has gone (HTTP-29): the server's own, or what a framework made of it:
/// raised from it (Litestar), a class of the framework's that tells the same (Starlette's ClientDisconnect), or a group of
/// nothing else. Any other exception while the server's was handled is the application's own failure, and news.
fn is_disconnect(error: &Bound<'_, PyAny>, depth: u32) -> bool {
    if error.is_instance_of::<ClientDisconnected>() {
        return true;
    }
    if depth == 0 {
        return false;
    }
    let py = error.py();
    if error.is_instance_of::<PyBaseExceptionGroup>() {
        let members = error.getattr(intern!(py, "exceptions")).and_then(|members| members.try_iter());
        return members.is_ok_and(|mut members| {
            members.all(|member| member.is_ok_and(|member| is_disconnect(&member, depth - 1)))
        });
    }
    let link = |name| error.getattr(name).ok().filter(|cause| !cause.is_none());
    let tells_the_same = || error.get_type().name().is_ok_and(|name| name.to_string_lossy().contains("Disconnect"));
    link(intern!(py, "__cause__"))
        .or_else(|| link(intern!(py, "__context__")).filter(|_| tells_the_same()))
        .is_some_and(|cause| is_disconnect(&cause, depth - 1))
}

impl Application for PythonApplication {
    type ConnectionMemory = Memory;
    type Body = Body;
    type Gathered = Gathered;
    type Text = PyBackedStr;

    fn call(&self, scope: &ScopeRef<'_>, exchange: ExchangeId, memory: &mut Memory) {
        Python::attach(|py| {
            if let Err(error) = self.start_call(py, scope, exchange, memory)
                && let Some(server) = self.server.get().and_then(Weak::upgrade)
            {
                self.ended(py, &server, exchange, Some(&error));
            }
        });
    }

    fn wake(&self, exchange: ExchangeId, wake: Wake) {
        let Some(waiting) = self.waiting.borrow_mut().remove(&exchange) else { return };
        Python::attach(|py| {
            if waiting.others.is_empty() && waiting.first.0 == wake {
                return self.resume(waiting.first.1.into_bound(py));
            }
            let mut due = Vec::new();
            for (wanted, waiter) in waiting.all() {
                if wanted == wake {
                    due.push(waiter);
                } else {
                    self.add_waiting((wanted, waiter), exchange);
                }
            }
            for waiter in due {
                self.resume(waiter.into_bound(py));
            }
        });
    }

    fn woken(&self) {
        Python::attach(|py| self.event_loop.leave_last(py));
    }

    fn poll(&self) {
        self.instant_answers.set(0);
        self.returning.clear();
    }
}
