//! What `receive` and `send` return. Each passes for a coroutine: `await`, `create_task`, `gather`, `wait_for` and anyio
//! take it (APP-12), since it has the methods of `collections.abc.Coroutine`.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::Poll;

use asgi::{ExchangeId, ReceiveEvent, Wake};
use pyo3::exceptions::PyStopIteration;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::application::Server;
use crate::ffi::{self, ThreadBound};
use crate::send;

/// The exception that `throw` was called with.
fn thrown(kind: &Bound<'_, PyAny>, value: Option<&Bound<'_, PyAny>>) -> PyErr {
    match value {
        Some(value) if !value.is_none() => PyErr::from_value(value.clone()),
        _ => PyErr::from_value(kind.clone()),
    }
}

/// Finished, with None for a result; one object serves everybody.
#[pyclass(frozen, module = "ferricorn")]
pub(crate) struct Done;

#[pymethods]
impl Done {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// Ends without an exception: to the interpreter that is the result None, and costs no StopIteration.
    fn __next__(&self) -> Option<Py<PyAny>> {
        None
    }

    fn send(&self, _value: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(PyStopIteration::new_err(()))
    }

    #[pyo3(signature = (kind, value = None, traceback = None))]
    fn throw(
        &self,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let _ = traceback;
        Err(thrown(kind, value))
    }

    fn close(&self) {}
}

/// Raises when it is awaited.
#[pyclass(frozen, module = "ferricorn")]
pub(crate) struct Failed(PyErr);

impl Failed {
    pub(crate) fn new(error: PyErr) -> Self {
        Self(error)
    }
}

#[pymethods]
impl Failed {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        Err(self.0.clone_ref(py))
    }

    fn send(&self, py: Python<'_>, _value: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(self.0.clone_ref(py))
    }

    #[pyo3(signature = (kind, value = None, traceback = None))]
    fn throw(
        &self,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let _ = traceback;
        Err(thrown(kind, value))
    }

    fn close(&self) {}
}

/// Waits for something of an exchange, on futures of its loop.
struct Waiting {
    server: Rc<Server>,
    exchange: ExchangeId,
    wake: Wake,
    /// What it waits on, while it does.
    future: RefCell<Option<Py<PyAny>>>,
}

impl Waiting {
    fn new(server: Rc<Server>, exchange: ExchangeId, wake: Wake) -> Self {
        Self { server, exchange, wake, future: RefCell::new(None) }
    }

    fn wait(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let future = self.server.application().wait(py, self.exchange, self.wake)?;
        self.future.replace(Some(future.clone().unbind()));
        Ok(Some(future.unbind()))
    }

    /// Whatever it waited on has ended, or is of no interest any more.
    fn stop(&self) {
        if let Some(future) = self.future.take() {
            self.server.application().forget(self.exchange, &future);
        }
    }
}

/// A `receive`. An event is taken only to be returned at once, so one that is cancelled loses none (CON-08).
#[pyclass(frozen, module = "ferricorn")]
pub(crate) struct Receiving(ThreadBound<Waiting>);

impl Receiving {
    pub(crate) fn new(server: Rc<Server>, exchange: ExchangeId) -> Self {
        Self(ThreadBound::new(Waiting::new(server, exchange, Wake::Receive)))
    }
}

#[pymethods]
impl Receiving {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let waiting = self.0.get()?;
        waiting.stop();
        if waiting.server.application().is_hasty() {
            return Ok(Some(py.None()));
        }
        match waiting.server.receive(waiting.exchange, |body| PyBytes::new(py, body).unbind()) {
            Poll::Ready(event) => Err(ffi::stop_iteration(event_dict(py, event)?.into_any())),
            Poll::Pending => waiting.wait(py),
        }
    }

    fn send(&self, py: Python<'_>, _value: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
        self.__next__(py)
    }

    #[pyo3(signature = (kind, value = None, traceback = None))]
    fn throw(
        &self,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let _ = traceback;
        self.0.get()?.stop();
        Err(thrown(kind, value))
    }

    fn close(&self) -> PyResult<()> {
        self.0.get()?.stop();
        Ok(())
    }
}

fn event_dict<'py>(py: Python<'py>, event: ReceiveEvent<Py<PyBytes>>) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    match event {
        ReceiveEvent::Request { body, more_body } => {
            dict.set_item(intern!(py, "type"), intern!(py, "http.request"))?;
            dict.set_item(intern!(py, "body"), body)?;
            dict.set_item(intern!(py, "more_body"), more_body)?;
        }
        _ => dict.set_item(intern!(py, "type"), intern!(py, "http.disconnect"))?,
    }
    Ok(dict)
}

/// A `send` whose event is in the buffer, and that has to wait all the same.
#[pyclass(frozen, module = "ferricorn")]
pub(crate) struct Sending(ThreadBound<SendingState>);

struct SendingState {
    waiting: Waiting,
    /// Whether it has still to give the loop one turn.
    turn: std::cell::Cell<bool>,
}

impl Sending {
    /// Waits until the send buffer has room (CON-05).
    pub(crate) fn blocked(server: Rc<Server>, exchange: ExchangeId) -> Self {
        Self::new(server, exchange, false)
    }

    /// Waits for one turn of the loop.
    pub(crate) fn one_turn(server: Rc<Server>, exchange: ExchangeId) -> Self {
        Self::new(server, exchange, true)
    }

    fn new(server: Rc<Server>, exchange: ExchangeId, turn: bool) -> Self {
        let waiting = Waiting::new(server, exchange, Wake::Send);
        Self(ThreadBound::new(SendingState { waiting, turn: std::cell::Cell::new(turn) }))
    }
}

#[pymethods]
impl Sending {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let SendingState { waiting, turn } = self.0.get()?;
        waiting.stop();
        if turn.take() {
            return Ok(Some(py.None()));
        }
        match waiting.server.sent(waiting.exchange) {
            Poll::Ready(Ok(())) => Ok(None),
            Poll::Ready(Err(_)) => Err(send::disconnected()),
            Poll::Pending => waiting.wait(py),
        }
    }

    fn send(&self, py: Python<'_>, _value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        self.__next__(py)?.ok_or_else(|| PyStopIteration::new_err(()))
    }

    #[pyo3(signature = (kind, value = None, traceback = None))]
    fn throw(
        &self,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let _ = traceback;
        self.0.get()?.waiting.stop();
        Err(thrown(kind, value))
    }

    fn close(&self) -> PyResult<()> {
        self.0.get()?.waiting.stop();
        Ok(())
    }
}
