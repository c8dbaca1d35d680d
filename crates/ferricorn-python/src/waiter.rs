//! What a coroutine waits on while `receive` or `send` cannot go on: an object that passes for a future of asyncio (it has
//! `_asyncio_future_blocking` and the methods that a task calls), whose end resumes who waits inside of the worker's turn.
//! A future would ask the loop to resume its task in the next round: a handle made, queued and run, and another look at the
//! descriptors, which together cost more than all the rest of an echoed message.

use std::cell::{Cell, RefCell};

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::event_loop::EventLoop;
use crate::ffi::{self, ThreadBound};
use crate::task::Call;

/// One wait at a time.
#[pyclass(frozen, module = "ferricorn")]
pub(crate) struct Waiter(ThreadBound<State>);

struct State {
    event_loop: Py<PyAny>,
    /// Whether the object that yields it waits for it, in the protocol between tasks and futures.
    blocking: Cell<bool>,
    done: Cell<bool>,
    /// The call whose own coroutine waits: it goes on without its task.
    call: RefCell<Option<Py<Call>>>,
    /// The task that waits, where that is another one.
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
            call: RefCell::new(None),
            callback: RefCell::new(None),
        }))
    }

    /// Whether the wait is over.
    pub(crate) fn is_done(&self) -> bool {
        self.0.get().is_ok_and(|state| state.done.get())
    }

    /// Makes it as new. False: somebody waits on it.
    pub(crate) fn reset(&self) -> PyResult<bool> {
        let state = self.0.get()?;
        let free = state.callback.borrow().is_none() && state.call.borrow().is_none();
        if free {
            state.blocking.set(true);
            state.done.set(false);
        }
        Ok(free)
    }

    /// It is a call's own coroutine that waits.
    pub(crate) fn set_call(&self, call: &Bound<'_, Call>) -> PyResult<()> {
        self.0.get()?.call.replace(Some(call.clone().unbind()));
        Ok(())
    }

    /// Ends the wait. Who waits goes on right now where the loop is handed in, which then runs no task; else in its next
    /// round.
    pub(crate) fn wake(slf: Bound<'_, Self>, at_once: Option<&EventLoop>) -> PyResult<()> {
        let state = slf.get().0.get()?;
        state.done.set(true);
        if let Some(call) = state.call.take() {
            let py = slf.py();
            // Free for the next wait, which comes while this call runs as a rule.
            drop(slf);
            return Call::go_on(call.bind(py), at_once.is_some());
        }
        Self::resume_task(&slf, at_once)
    }

    /// Resumes the task that waits, if one does.
    pub(crate) fn resume_task(slf: &Bound<'_, Self>, at_once: Option<&EventLoop>) -> PyResult<()> {
        let state = slf.get().0.get()?;
        let Some(callback) = state.callback.take() else { return Ok(()) };
        let Some(event_loop) = at_once else { return state.schedule(slf, &callback) };
        event_loop.leave_last(slf.py());
        match callback.run(slf) {
            // A loop that runs inside of a task: the task that is to be resumed cannot be entered now.
            Err(error) if error.is_instance_of::<PyRuntimeError>(slf.py()) => state.schedule(slf, &callback),
            result => result,
        }
    }

    /// The context of the task that waits. None: it is about to run.
    pub(crate) fn context(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let callback = self.0.get()?.callback.borrow();
        Ok(callback.as_ref().and_then(|callback| callback.context.as_ref()).map(|context| context.clone_ref(py)))
    }
}

impl Callback {
    fn run(&self, waiter: &Bound<'_, Waiter>) -> PyResult<()> {
        let wakeup = self.wakeup.bind(waiter.py());
        let run = || wakeup.call1((waiter,)).map(drop);
        match &self.context {
            Some(context) => ffi::in_context(context.bind(waiter.py()), run)?,
            None => run(),
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
        Self::resume_task(slf, None).map(|()| false)
    }

    fn done(&self) -> bool {
        self.is_done()
    }

    fn cancelled(&self) -> bool {
        false
    }

    fn result(&self) {}

    fn exception(&self) {}
}
