//! The class `MetricsServer`: a thread that answers for the metrics without the interpreter. Its documentation is in
//! `_ferricorn.pyi`.

use std::io;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use ferricorn_server::{Stop, serve_metrics};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::board::PyBoard;
use crate::worker::PyListener;

/// Answers `GET /metrics` from a thread of its own.
#[pyclass(frozen, module = "ferricorn", name = "MetricsServer")]
pub(crate) struct PyMetricsServer {
    stop: Stop,
    thread: Mutex<Option<JoinHandle<io::Result<()>>>>,
}

#[pymethods]
impl PyMetricsServer {
    #[new]
    fn new(py: Python<'_>, listener: &PyListener, board: &PyBoard) -> PyResult<Self> {
        let listener = listener.duplicate()?.ok_or_else(|| PyValueError::new_err("the listener is closed"))?;
        let (stop, board) = (Stop::default(), Arc::clone(&board.board));
        let (started, has_started) = mpsc::channel();
        let asked = stop.clone();
        let thread = thread::Builder::new().name("ferricorn-metrics".to_owned()).spawn(move || {
            serve_metrics(board, listener, &asked, move || {
                let _ = started.send(());
            })
        })?;
        if py.detach(move || has_started.recv()).is_ok() {
            return Ok(Self { stop, thread: Mutex::new(Some(thread)) });
        }
        let failure = thread.join().unwrap_or(Ok(()));
        Err(failure.err().unwrap_or_else(|| io::Error::other("the metrics' thread has ended")).into())
    }

    fn close(&self, py: Python<'_>) {
        self.stop.stop();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // What it may still say is that it failed, and it is over anyway.
            let _ = py.detach(|| thread.join());
        }
    }
}

impl Drop for PyMetricsServer {
    fn drop(&mut self) {
        self.stop.stop();
    }
}
