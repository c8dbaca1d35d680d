//! The process around the worker, told through the hooks it gave, and the event loop, asked to come back soon.

use std::cell::{Cell, OnceCell};
use std::rc::{Rc, Weak};

use ferricorn_server::{Access, Host, Problem};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::access_log::AccessOutput;
use crate::application::Server;
use crate::backstop::Backstop;
use crate::ffi::ThreadBound;

/// What the process is told, by the methods of its hooks.
pub(crate) struct Process {
    hooks: Py<PyAny>,
    poll_soon: Py<PollSoon>,
    access_log: AccessOutput,
    backstop: OnceCell<Backstop>,
}

impl Process {
    pub(crate) fn new(hooks: Py<PyAny>, poll_soon: Py<PollSoon>, access_log: AccessOutput) -> Self {
        Self { hooks, poll_soon, access_log, backstop: OnceCell::new() }
    }

    /// Says which worker it is that these hooks belong to.
    pub(crate) fn attach(py: Python<'_>, server: &Rc<Server>) -> PyResult<()> {
        let process = server.host();
        process.poll_soon.get().attach(server)?;
        if let Some(backstop) = Backstop::new(py, Rc::downgrade(server))? {
            let _ = process.backstop.set(backstop);
        }
        Ok(())
    }

    /// Tells what went wrong with the access log since the last look.
    pub(crate) fn report_access_log(&self, py: Python<'_>) {
        self.tell(py, self.access_log.report(py, &self.hooks));
    }

    /// Writes what is left of the access log.
    pub(crate) fn close_access_log(&self, py: Python<'_>) {
        self.access_log.close(py);
        self.report_access_log(py);
    }

    fn tell<T>(&self, py: Python<'_>, result: PyResult<T>) {
        if let Err(error) = result {
            error.write_unraisable(py, Some(self.hooks.bind(py)));
        }
    }
}

impl Host for Process {
    fn poll_soon(&self) {
        Python::attach(|py| self.tell(py, PollSoon::schedule(self.poll_soon.bind(py))));
    }

    fn problem(&self, problem: &Problem) {
        Python::attach(|py| {
            let hook = match problem {
                Problem::File { .. } => intern!(py, "file_failed"),
                _ => intern!(py, "peer_failed"),
            };
            self.tell(py, self.hooks.call_method1(py, hook, (problem.to_string(),)));
        });
    }

    fn accessed(&self, accesses: &[Box<Access>]) {
        Python::attach(|py| self.tell(py, self.access_log.log(py, &self.hooks, accesses)));
    }

    fn put_off(&self) -> bool {
        self.backstop.get().inspect(|backstop| backstop.put_off()).is_some()
    }

    fn caught_up(&self) {
        if let Some(backstop) = self.backstop.get() {
            backstop.caught_up();
        }
    }

    fn limit_reached(&self) {
        Python::attach(|py| self.tell(py, self.hooks.call_method0(py, intern!(py, "limit_reached"))));
    }

    fn drained(&self) {
        Python::attach(|py| self.tell(py, self.hooks.call_method0(py, intern!(py, "drained"))));
    }
}

/// What the loop calls when the worker has work although no descriptor is ready.
#[pyclass(frozen, module = "ferricorn")]
pub(crate) struct PollSoon(ThreadBound<Schedule>);

struct Schedule {
    call_soon: Py<PyAny>,
    /// The worker's own context: a poll that an application caused must not start others in that one's (CON-10).
    arguments: Py<PyDict>,
    scheduled: Cell<bool>,
    server: OnceCell<Weak<Server>>,
}

impl PollSoon {
    pub(crate) fn new(event_loop: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = event_loop.py();
        let arguments = PyDict::new(py);
        arguments.set_item("context", py.import("contextvars")?.call_method0("copy_context")?)?;
        Ok(Self(ThreadBound::new(Schedule {
            call_soon: event_loop.getattr("call_soon")?.unbind(),
            arguments: arguments.unbind(),
            scheduled: Cell::new(false),
            server: OnceCell::new(),
        })))
    }

    fn attach(&self, server: &Rc<Server>) -> PyResult<()> {
        let _ = self.0.get()?.server.set(Rc::downgrade(server));
        Ok(())
    }

    fn schedule(slf: &Bound<'_, Self>) -> PyResult<()> {
        let schedule = slf.get().0.get()?;
        if !schedule.scheduled.replace(true) {
            let py = slf.py();
            schedule.call_soon.bind(py).call((slf,), Some(schedule.arguments.bind(py)))?;
        }
        Ok(())
    }
}

#[pymethods]
impl PollSoon {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let schedule = self.0.get()?;
        schedule.scheduled.set(false);
        if let Some(server) = schedule.server.get().and_then(Weak::upgrade) {
            server.application().for_loop(py, || server.settle_soon());
        }
        Ok(())
    }
}
