//! The coroutine of one application call, run in a genuine `asyncio.Task`.
//!
//! A thin coroutine around the application's own sees how that ends: no done-callback is needed, and whatever the
//! application raises ends its own exchange only, SystemExit and KeyboardInterrupt included (ERR-12).

use std::cell::Cell;
use std::rc::Rc;

use asgi::ExchangeId;
use pyo3::exceptions::asyncio::CancelledError;
use pyo3::exceptions::{PyStopIteration, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::application::Server;
use crate::event_loop::EventLoop;
use crate::ffi::{self, Step, ThreadBound};

/// Starts the call, and gives its task where it has not ended at once.
///
/// # Errors
/// Where the application returned no awaitable, or the task cannot be made.
pub(crate) fn start<'py>(
    event_loop: &EventLoop,
    server: Rc<Server>,
    exchange: ExchangeId,
    awaitable: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = awaitable.py();
    let coroutine = if ffi::is_coroutine(awaitable) { awaitable.clone() } else { iterator(awaitable)? };
    let state = CallState { server, exchange, coroutine: coroutine.unbind(), ended: Cell::new(false) };
    let call = Bound::new(py, Call(ThreadBound::new(state)))?;
    let task = event_loop.task(py, call.clone().into_any())?;
    let ended = call.get().0.get()?.ended.get();
    Ok((!ended).then_some(task))
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

struct CallState {
    server: Rc<Server>,
    exchange: ExchangeId,
    coroutine: Py<PyAny>,
    ended: Cell<bool>,
}

impl CallState {
    /// What the task gets of a step: what the application waits for, None at the end.
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
        if !self.ended.replace(true) {
            self.server.application().ended(py, &self.server, self.exchange, error);
        }
    }

    /// As `after`, for a step that was a call of one of the coroutine's methods.
    fn after_call(&self, py: Python<'_>, result: PyResult<Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        let step = match result {
            Ok(value) => Step::Yielded(value),
            Err(error) if error.is_instance_of::<PyStopIteration>(py) => Step::Returned,
            Err(error) => Step::Raised(error),
        };
        self.after(py, step)?.ok_or_else(|| PyStopIteration::new_err(()))
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

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let state = self.0.get()?;
        state.after(py, ffi::resume(state.coroutine.bind(py)))
    }

    fn send(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let state = self.0.get()?;
        state.after_call(py, state.coroutine.bind(py).call_method1(intern!(py, "send"), (value,)))
    }

    #[pyo3(signature = (*args))]
    fn throw(&self, py: Python<'_>, args: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
        let state = self.0.get()?;
        state.after_call(py, state.coroutine.bind(py).call_method1(intern!(py, "throw"), args.clone()))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.0.get()?.coroutine.bind(py).call_method0(intern!(py, "close"))?;
        Ok(())
    }

    /// Whatever else is asked of it (`cr_frame`, `__qualname__`, ...) is asked of the application's coroutine.
    fn __getattr__<'py>(&self, name: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = name.py();
        self.0.get()?.coroutine.bind(py).getattr(name.cast::<pyo3::types::PyString>()?)
    }
}
