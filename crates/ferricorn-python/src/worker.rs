//! The classes that the process uses: `Listener` and `Worker`. Their documentation is in `_ferricorn.pyi`.

use std::cell::Cell;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ferricorn_server::{Bind, Drain, Listener, Worker};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::access_log::AccessOutput;
use crate::application::{PythonApplication, Server};
use crate::board::PyBoard;
use crate::event_loop::EventLoop;
use crate::ffi::{self, ThreadBound};
use crate::host::{PollSoon, Process};
use crate::options;
use crate::scope::Scopes;
use crate::send::os_error;
use crate::tls::PyTlsContext;
use crate::watchdog::{Watch, Watchdog};

/// A bound, listening, non-blocking socket.
#[pyclass(frozen, module = "ferricorn", name = "Listener")]
pub(crate) struct PyListener {
    listener: Mutex<Option<Listener>>,
    address: String,
    plain: bool,
}

#[pymethods]
impl PyListener {
    #[staticmethod]
    #[pyo3(signature = (address, *, backlog = 2048, mode = None, plain = false))]
    fn bind(py: Python<'_>, address: &str, backlog: i32, mode: Option<u32>, plain: bool) -> PyResult<Self> {
        let bind = Bind::from_str(address).map_err(PyValueError::new_err)?;
        let bound = match bind {
            Bind::Tcp(host, port) => Listener::tcp(&host, port, backlog),
            Bind::Unix(path) => Listener::unix(&path, mode.unwrap_or(0o666), backlog),
            Bind::Descriptor(fd) => ffi::duplicate_fd(fd).and_then(Listener::from_fd),
        };
        match bound {
            Ok(mut listener) => {
                listener.set_plain(plain);
                let address = listener.to_string();
                Ok(Self { listener: Mutex::new(Some(listener)), address, plain })
            }
            Err(error) => Err(os_error(py, &error, Some(PyString::new(py, address).into_any().unbind()))),
        }
    }

    #[getter]
    fn address(&self) -> &str {
        &self.address
    }

    #[getter]
    fn plain(&self) -> bool {
        self.plain
    }

    fn fileno(&self) -> RawFd {
        self.lock().as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    #[getter]
    fn removes_file(&self) -> bool {
        self.lock().as_ref().is_some_and(Listener::removes_file)
    }

    #[setter]
    fn set_removes_file(&self, removes: bool) {
        if let Some(listener) = self.lock().as_mut() {
            listener.set_removes_file(removes);
        }
    }

    fn close(&self) {
        self.lock().take();
    }
}

impl PyListener {
    /// Another handle of the same socket, None once it is closed.
    pub(crate) fn duplicate(&self) -> std::io::Result<Option<Listener>> {
        self.lock().as_ref().map(Listener::duplicate).transpose()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Listener>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves one application on one event loop.
#[pyclass(frozen, module = "ferricorn", name = "Worker")]
pub(crate) struct PyWorker(ThreadBound<State>);

struct State {
    server: Rc<Server>,
    quiet: Quiet,
    watchdog: Watchdog,
}

/// After so many ticks without a request, memory that is kept for the next ones is given back.
const QUIET_TICKS: u32 = 10;

/// How long nothing has been asked of the worker.
#[derive(Default)]
struct Quiet {
    calls: Cell<u64>,
    ticks: Cell<u32>,
}

impl Quiet {
    /// Whether it has been quiet for long just now.
    fn has_come(&self, calls: u64) -> bool {
        let ticks = if self.calls.replace(calls) == calls { self.ticks.get().saturating_add(1) } else { 0 };
        self.ticks.set(ticks);
        ticks == QUIET_TICKS && calls > 0
    }
}

#[pymethods]
impl PyWorker {
    #[new]
    #[pyo3(signature = (app, *, r#loop, listeners, state, asgi_version, options, hooks, board = None, row = 0, beats_per_tick = 1, tls = None))]
    #[expect(clippy::too_many_arguments, reason = "keywords alone, each named where it is given")]
    fn new(
        py: Python<'_>,
        app: Py<PyAny>,
        r#loop: &Bound<'_, PyAny>,
        listeners: Vec<Py<PyListener>>,
        state: Py<PyDict>,
        asgi_version: &str,
        options: &Bound<'_, PyDict>,
        hooks: Py<PyAny>,
        board: Option<Py<PyBoard>>,
        row: usize,
        beats_per_tick: u32,
        tls: Option<Py<PyTlsContext>>,
    ) -> PyResult<Self> {
        let mut config = options::read(options)?;
        config.tls = tls.map(|tls| tls.get().context());
        let watched = board.is_some();
        config.beats_per_tick = beats_per_tick;
        if let Some(board) = board {
            config.row = board.get().row(row)?;
        }
        let watchdog = Watch { row: config.row.clone(), watched, threshold: options::stall_warning(options)? };
        let watchdog = Watchdog::new(py, hooks.clone_ref(py), watchdog)?;
        let scopes = Scopes::new(py, state, asgi_version)?;
        let event_loop = EventLoop::new(r#loop)?;
        let poll_soon = Py::new(py, PollSoon::new(r#loop)?)?;
        let host = Process::new(hooks.clone_ref(py), poll_soon, AccessOutput::new(&config.access_format));
        let application = PythonApplication::new(py, app, event_loop, hooks, scopes)?;
        let listeners = listeners.iter().filter_map(|listener| listener.get().lock().as_ref().map(Listener::duplicate));
        let worker = Worker::new(application, host, config, listeners.collect::<Result<_, _>>()?)?;
        let worker = Rc::new(worker);
        PythonApplication::attach(&worker);
        Process::attach(py, &worker)?;
        ffi::keep_heap();
        Ok(Self(ThreadBound::new(State { server: worker, quiet: Quiet::default(), watchdog })))
    }

    fn fileno(&self) -> PyResult<RawFd> {
        Ok(self.0.get()?.server.descriptor())
    }

    fn poll(&self, py: Python<'_>) -> PyResult<()> {
        let server = &self.0.get()?.server;
        server.application().for_loop(py, || server.poll());
        Ok(())
    }

    fn tick(&self, py: Python<'_>) -> PyResult<()> {
        let State { server, quiet, .. } = self.0.get()?;
        server.application().for_loop(py, || server.tick());
        server.host().report_access_log(py);
        if quiet.has_come(server.calls()) {
            ffi::trim_heap();
        }
        Ok(())
    }

    fn beat(&self) -> PyResult<()> {
        self.0.get()?.server.beat();
        Ok(())
    }

    #[pyo3(signature = (*, patient = false))]
    fn drain(&self, patient: bool) -> PyResult<()> {
        self.0.get()?.server.drain(if patient { Drain::Patient } else { Drain::Quick });
        Ok(())
    }

    fn set_healthy(&self, healthy: bool) -> PyResult<()> {
        self.0.get()?.server.set_healthy(healthy);
        Ok(())
    }

    #[pyo3(signature = (*, websockets = true))]
    fn cancel(&self, py: Python<'_>, websockets: bool) -> PyResult<usize> {
        let server = &self.0.get()?.server;
        server.application().cancel(py, |exchange| websockets || !server.is_websocket(exchange))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let State { server, watchdog, .. } = self.0.get()?;
        server.close();
        server.host().close_access_log(py);
        watchdog.close(py)
    }

    #[getter]
    fn connections(&self) -> PyResult<usize> {
        Ok(self.0.get()?.server.connections())
    }

    #[getter]
    fn websockets(&self) -> PyResult<usize> {
        Ok(self.0.get()?.server.websockets())
    }

    #[getter]
    fn exchanges(&self) -> PyResult<usize> {
        Ok(self.0.get()?.server.running())
    }
}
