//! What a task waits on while `receive` or `send` cannot go on: an object that passes for a future of asyncio (it has
//! `_asyncio_future_blocking` and the methods that a task calls), whose end resumes the task at once, inside of the
//! worker's turn. A future would ask the loop to resume the task in its next round: another look at the descriptors, and a
//! handle made, queued and run, which together cost as much as an echoed message does otherwise.

use std::cell::{Cell, RefCell};

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::ffi::{self, ThreadBound};

/// One wait of one task.
#[pyclass(frozen, module = "ferricorn")]
pub(crate) struct Waiter(ThreadBound<State>);

struct State {
    event_loop: Py<PyAny>,
    /// Whether the object that yields it waits for it, in the protocol between tasks and futures.
    blocking: Cell<bool>,
    done: Cell<bool>,
    callback: RefCell<Option<Callback>>,
}

/// How a task is resumed, and in which context.
struct Callback {
    wakeup: Py<PyAny>,
    context: Option<Py<PyAny>>,
}

impl Waiter {
    pub(crate) fn new(event_loop: Py<PyAny>) -> Self {
        Self(ThreadBound::new(State {
            event_loop,
            blocking: Cell::new(true),
            done: Cell::new(false),
            callback: RefCell::new(None),
        }))
    }

    /// Resumes the task: right now where `at_once` says that no other runs, else in the loop's next round.
    pub(crate) fn wake(slf: &Bound<'_, Self>, at_once: bool) -> PyResult<()> {
        let state = slf.get().0.get()?;
        state.done.set(true);
        let Some(callback) = state.callback.take() else { return Ok(()) };
        if !at_once {
            return state.schedule(slf, &callback);
        }
        match callback.run(slf) {
            // A loop that runs inside of a task: the task that is to be resumed cannot be entered now.
            Err(error) if error.is_instance_of::<PyRuntimeError>(slf.py()) => state.schedule(slf, &callback),
            result => result,
        }
    }
}

impl Callback {
    fn run(&self, waiter: &Bound<'_, Waiter>) -> PyResult<()> {
        let wakeup = self.wakeup.bind(waiter.py());
        match &self.context {
            Some(context) => ffi::call_in_context(context.bind(waiter.py()), wakeup, waiter.as_any()),
            None => wakeup.call1((waiter,)).map(drop),
        }
    }
}

impl State {
    fn schedule(&self, waiter: &Bound<'_, Waiter>, callback: &Callback) -> PyResult<()> {
        let py = waiter.py();
        let arguments = PyDict::new(py);
        arguments.set_item(intern!(py, "context"), &callback.context)?;
        let call_soon = self.event_loop.bind(py).getattr(intern!(py, "call_soon"))?;
        call_soon.call((&callback.wakeup, waiter), Some(&arguments)).map(drop)
    }
}

#[pymethods]
impl Waiter {
    #[getter(_asyncio_future_blocking)]
    fn blocking(&self) -> PyResult<bool> {
        Ok(self.0.get()?.blocking.get())
    }

    #[setter(_asyncio_future_blocking)]
    fn set_blocking(&self, blocking: bool) -> PyResult<()> {
        self.0.get()?.blocking.set(blocking);
        Ok(())
    }

    fn get_loop(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.0.get()?.event_loop.clone_ref(py))
    }

    #[pyo3(signature = (callback, *, context = None))]
    fn add_done_callback(slf: &Bound<'_, Self>, callback: Py<PyAny>, context: Option<Py<PyAny>>) -> PyResult<()> {
        let state = slf.get().0.get()?;
        let callback = Callback { wakeup: callback, context };
        if state.done.get() {
            return state.schedule(slf, &callback);
        }
        state.callback.replace(Some(callback));
        Ok(())
    }

    fn remove_done_callback(&self, callback: &Bound<'_, PyAny>) -> PyResult<usize> {
        let mut kept = self.0.get()?.callback.borrow_mut();
        let same = match &*kept {
            Some(kept) => kept.wakeup.bind(callback.py()).eq(callback)?,
            None => false,
        };
        if same {
            *kept = None;
        }
        Ok(usize::from(same))
    }

    /// The task is being cancelled: it is resumed, and says itself that it was.
    #[pyo3(signature = (msg = None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let _ = msg;
        Waiter::wake(slf, false).map(|()| false)
    }

    fn done(&self) -> PyResult<bool> {
        Ok(self.0.get()?.done.get())
    }

    fn cancelled(&self) -> bool {
        false
    }

    fn result(&self) {}

    fn exception(&self) {}
}
