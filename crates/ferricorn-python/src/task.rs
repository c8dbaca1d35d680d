//! The coroutine of one application call, run in a genuine `asyncio.Task`.
//!
//! A thin coroutine around the application's own sees how that ends: no done-callback is needed, and whatever the
//! application raises ends its own exchange only, SystemExit and KeyboardInterrupt included (ERR-12).
//!
//! ```text
//!     task ──resumes──> Call ──resumes──> the application's coroutine
//!                         ^
//!     worker ──go_on──────┘   while the task is parked
//! ```
//!
//! When the application waits for its exchange, the task is parked: it waits on an object of this file, once. From then on
//! the worker resumes the application's coroutine itself, as the task would (the same current task, the same context), for
//! as long as it waits for nothing but its exchange. Only what else comes of it, another thing to wait for or its end, is
//! handed to the task, which goes on as if it had been there all the time. A message costs half of what it does through the
//! task.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use asgi::ExchangeId;
use pyo3::exceptions::asyncio::CancelledError;
use pyo3::exceptions::{PyStopIteration, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::application::Server;
use crate::ffi::{self, Step, ThreadBound};
use crate::send;
use crate::waiter::Waiter;

/// Starts the call, and gives its task where it has not ended at once.
///
/// # Errors
/// Where the application returned no awaitable, or the task cannot be made.
pub(crate) fn start<'py>(
    server: &Rc<Server>,
    exchange: ExchangeId,
    awaitable: Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let (py, application) = (awaitable.py(), server.application());
    let coroutine = if ffi::is_coroutine(&awaitable) { awaitable } else { iterator(&awaitable)? };
    let call = match application.spare_call.take() {
        Some(call) => call.into_bound(py),
        None => Bound::new(py, Call(ThreadBound::new(CallState::new(py, server))))?,
    };
    let state = call.get().0.get()?;
    state.begin(exchange, coroutine.unbind());
    let task = application.event_loop.task(py, call.clone().into_any())?;
    if !state.ended.get() {
        return Ok(Some(task));
    }
    drop(task);
    if application.is_ours_alone(&call) {
        // Nobody has kept it or its task: it serves another call.
        state.coroutine.replace(py.None());
        application.spare_call.set(Some(call.unbind()));
    }
    Ok(None)
}

fn iterator<'py>(awaitable: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    if !awaitable.hasattr(intern!(awaitable.py(), "__await__"))? {
        let message = format!("an ASGI application returns an awaitable, not {}", awaitable.get_type().name()?);
        return Err(PyTypeError::new_err(message));
    }
    awaitable.call_method0(intern!(awaitable.py(), "__await__"))
}

/// The coroutine that the task runs.
#[pyclass(frozen, module = "ferricorn")]
pub(crate) struct Call(ThreadBound<CallState>);

/// One call of the application.
struct CallState {
    /// Its application keeps one that has ended.
    server: Weak<Server>,
    exchange: Cell<ExchangeId>,
    coroutine: RefCell<Py<PyAny>>,
    ended: Cell<bool>,
    /// What the task waits on while it is parked.
    parking: RefCell<Option<Py<Waiter>>>,
    is_parked: Cell<bool>,
    /// What the application's coroutine came to while the task was parked, for the task to take.
    handed: RefCell<Option<Handed>>,
}

enum Handed {
    /// It waits for something that is not its exchange.
    Yielded(Py<PyAny>),
    Ended(PyResult<()>),
}

impl Handed {
    fn of(result: PyResult<Option<Py<PyAny>>>) -> Self {
        match result {
            Ok(Some(value)) => Self::Yielded(value),
            Ok(None) => Self::Ended(Ok(())),
            Err(error) => Self::Ended(Err(error)),
        }
    }

    fn into_result(self) -> PyResult<Option<Py<PyAny>>> {
        match self {
            Self::Yielded(value) => Ok(Some(value)),
            Self::Ended(result) => result.map(|()| None),
        }
    }
}

impl Call {
    /// The exchange has something for the application's coroutine, which waits for it: resumes it, at once or by its task.
    pub(crate) fn go_on(slf: &Bound<'_, Self>, at_once: bool) -> PyResult<()> {
        let (py, state) = (slf.py(), slf.get().0.get()?);
        // A task that is not parked runs, or will: then it sees for itself.
        let Some(parking) = state.parking(py).filter(|_| state.is_parked.get()) else { return Ok(()) };
        let parking = parking.bind(py);
        let Some(server) = state.server.upgrade() else { return Ok(()) };
        let (task, context) = (server.application().task(py, state.exchange.get()), parking.get().context(py)?);
        let (Some(task), Some(context)) = (task, context) else { return Ok(()) };
        if !at_once {
            return Waiter::resume_task(parking, None);
        }
        let event_loop = &server.application().event_loop;
        let step = ffi::in_context(context.bind(py), || {
            event_loop.enter(task.bind(py))?;
            let step = state.resume(py);
            event_loop.leave(task.bind(py));
            PyResult::Ok(step)
        });
        let Ok(Ok(step)) = step else {
            // Another task runs: a loop inside of it has called the worker.
            return Waiter::resume_task(parking, None);
        };
        if let Step::Yielded(value) = &step
            && let Ok(waiter) = value.cast::<Waiter>()
        {
            return waiter.get().set_call(slf);
        }
        let handed = Handed::of(state.after(py, step));
        state.handed.replace(Some(handed));
        Waiter::resume_task(parking, Some(event_loop))
    }

    /// What the task gets of a step that it made: what is to be waited for, None at the end.
    fn after_own(slf: &Bound<'_, Self>, step: Step<'_>) -> PyResult<Option<Py<PyAny>>> {
        if let Step::Yielded(value) = &step
            && let Ok(waiter) = value.cast::<Waiter>()
        {
            waiter.get().set_call(slf)?;
            return slf.get().0.get()?.park(slf.py()).map(Some);
        }
        slf.get().0.get()?.after(slf.py(), step)
    }

    /// As `after_own`, for a step that was a call of one of the coroutine's methods.
    fn after_call(slf: &Bound<'_, Self>, result: PyResult<Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        let step = match result {
            Ok(value) => Step::Yielded(value),
            Err(error) if error.is_instance_of::<PyStopIteration>(slf.py()) => Step::Returned,
            Err(error) => Step::Raised(error),
        };
        Self::after_own(slf, step)?.ok_or_else(|| PyStopIteration::new_err(()))
    }
}

impl CallState {
    fn new(py: Python<'_>, server: &Rc<Server>) -> Self {
        Self {
            server: Rc::downgrade(server),
            exchange: Cell::new(ExchangeId { slot: 0, generation: 0, sequence: 0 }),
            coroutine: RefCell::new(py.None()),
            ended: Cell::new(false),
            parking: RefCell::new(None),
            is_parked: Cell::new(false),
            handed: RefCell::new(None),
        }
    }

    fn begin(&self, exchange: ExchangeId, coroutine: Py<PyAny>) {
        self.exchange.set(exchange);
        self.coroutine.replace(coroutine);
        self.ended.set(false);
    }

    fn resume<'py>(&self, py: Python<'py>) -> Step<'py> {
        ffi::resume(self.coroutine.borrow().bind(py))
    }

    /// The application's coroutine.
    fn coroutine<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.coroutine.borrow().bind(py).clone()
    }

    fn parking(&self, py: Python<'_>) -> Option<Py<Waiter>> {
        self.parking.borrow().as_ref().map(|parking| parking.clone_ref(py))
    }

    /// What the task is to wait on while the application's coroutine waits for its exchange.
    fn park(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.is_parked.set(true);
        if let Some(parking) = self.parking(py)
            && parking.get().reset()?
        {
            return Ok(parking.into_any());
        }
        let Some(server) = self.server.upgrade() else { return Err(send::disconnected()) };
        let parking = Py::new(py, Waiter::new(server.application().event_loop.object(py)))?;
        self.parking.replace(Some(parking.clone_ref(py)));
        Ok(parking.into_any())
    }

    fn after(&self, py: Python<'_>, step: Step<'_>) -> PyResult<Option<Py<PyAny>>> {
        match step {
            Step::Yielded(value) => Ok(Some(value.unbind())),
            Step::Returned => {
                self.end(py, None);
                Ok(None)
            }
            Step::Raised(error) => {
                self.end(py, Some(&error));
                if error.is_instance_of::<CancelledError>(py) { Err(error) } else { Ok(None) }
            }
        }
    }

    fn end(&self, py: Python<'_>, error: Option<&PyErr>) {
        if !self.ended.replace(true)
            && let Some(server) = self.server.upgrade()
        {
            server.application().ended(py, &server, self.exchange.get(), error);
        }
    }

    /// The task runs again; what was handed to it meanwhile.
    fn unpark(&self) -> Option<Handed> {
        self.is_parked.set(false);
        self.handed.take()
    }
}

#[pymethods]
impl Call {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
        let state = slf.get().0.get()?;
        match state.unpark() {
            Some(handed) => handed.into_result(),
            None => Self::after_own(slf, state.resume(slf.py())),
        }
    }

    fn send(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let (py, state) = (slf.py(), slf.get().0.get()?);
        match state.unpark() {
            Some(handed) => handed.into_result()?.ok_or_else(|| PyStopIteration::new_err(())),
            None => Self::after_call(slf, state.coroutine(py).call_method1(intern!(py, "send"), (value,))),
        }
    }

    /// Cancels the call, as a rule. What was handed over meanwhile is cancelled in its place, as a task does with what it is
    /// about to wait for.
    #[pyo3(signature = (*args))]
    fn throw(slf: &Bound<'_, Self>, args: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
        let (py, state) = (slf.py(), slf.get().0.get()?);
        match state.unpark() {
            Some(Handed::Ended(_)) => return Err(thrown(args)),
            Some(Handed::Yielded(value)) if cancelled(value.bind(py))? => return Ok(value),
            _ => {}
        }
        Self::after_call(slf, state.coroutine(py).call_method1(intern!(py, "throw"), args.clone()))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.0.get()?.coroutine(py).call_method0(intern!(py, "close"))?;
        Ok(())
    }

    /// Whatever else is asked of it (`cr_frame`, `__qualname__`, ...) is asked of the application's coroutine.
    fn __getattr__<'py>(&self, name: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = name.py();
        self.0.get()?.coroutine(py).getattr(name.cast::<pyo3::types::PyString>()?)
    }
}

/// The exception that a call of `throw` was made with.
fn thrown(args: &Bound<'_, PyTuple>) -> PyErr {
    let value = args.get_item(1).ok().filter(|value| !value.is_none()).or_else(|| args.get_item(0).ok());
    value.map_or_else(|| PyTypeError::new_err("throw() takes an exception"), PyErr::from_value)
}

/// Whether what a coroutine waits for is something that can be cancelled, and now is being.
fn cancelled(awaited: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = awaited.py();
    match awaited.getattr_opt(intern!(py, "cancel"))? {
        Some(cancel) => cancel.call0()?.is_truthy(),
        None => Ok(false),
    }
}
