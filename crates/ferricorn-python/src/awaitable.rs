//! What `receive` and `send` return: an object that passes for a coroutine, since it has the methods of
//! `collections.abc.Coroutine`. `await`, `create_task`, `gather`, `wait_for` and anyio take it (APP-12).

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use asgi::{ExchangeId, ReceiveEvent, Wake};
use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::application::Server;
use crate::ffi::{self, ThreadBound};
use crate::send;

/// One call of `receive` or `send`.
#[pyclass(frozen, module = "ferricorn")]
pub(crate) struct Awaitable(Kind);

enum Kind {
    /// Ended, with None for a result; one object serves everybody.
    Done,
    /// Raises when it is awaited.
    Failed(PyErr),
    /// Gives the loop one turn.
    Turn(AtomicBool),
    /// A `receive`. An event is taken only to be returned at once, so one that is cancelled loses none (CON-08).
    Receiving(ThreadBound<Waiting>),
    /// A `send` whose event is in the buffer, which is too full (CON-05).
    Sending(ThreadBound<Waiting>),
    /// A call that another thread made, for the loop's thread to await: `run_coroutine_threadsafe(receive(), loop)`.
    /// It is made when it is first awaited.
    Deferred { callable: Py<PyAny>, argument: Option<Py<PyAny>>, made: OnceLock<Py<PyAny>> },
}

impl Awaitable {
    pub(crate) fn done() -> Self {
        Self(Kind::Done)
    }

    pub(crate) fn failed(error: PyErr) -> Self {
        Self(Kind::Failed(error))
    }

    pub(crate) fn turn() -> Self {
        Self(Kind::Turn(AtomicBool::new(true)))
    }

    pub(crate) fn receiving(server: Rc<Server>, exchange: ExchangeId) -> Self {
        Self(Kind::Receiving(ThreadBound::new(Waiting::new(server, exchange, Wake::Receive))))
    }

    pub(crate) fn sending(server: Rc<Server>, exchange: ExchangeId) -> Self {
        Self(Kind::Sending(ThreadBound::new(Waiting::new(server, exchange, Wake::Send))))
    }

    pub(crate) fn deferred(callable: &Bound<'_, PyAny>, argument: Option<&Bound<'_, PyAny>>) -> Self {
        let argument = argument.map(|argument| argument.clone().unbind());
        Self(Kind::Deferred { callable: callable.clone().unbind(), argument, made: OnceLock::new() })
    }

    /// Nothing is waited for any more.
    fn stop(&self) -> PyResult<()> {
        if let Kind::Receiving(waiting) | Kind::Sending(waiting) = &self.0 {
            waiting.get()?.stop();
        }
        Ok(())
    }
}

#[pymethods]
impl Awaitable {
    #[getter]
    fn __name__(&self) -> &'static str {
        match &self.0 {
            Kind::Receiving(_) => "receive",
            _ => "send",
        }
    }

    #[getter]
    fn __qualname__(&self) -> &'static str {
        self.__name__()
    }

    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// None ends it without an exception: to the interpreter that is the result None, and costs no StopIteration.
    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        match &self.0 {
            Kind::Done => Ok(None),
            Kind::Failed(error) => Err(error.clone_ref(py)),
            Kind::Turn(turn) => Ok(turn.swap(false, Ordering::Relaxed).then(|| py.None())),
            Kind::Receiving(waiting) => waiting.get()?.receive(py),
            Kind::Sending(waiting) => waiting.get()?.send(py),
            Kind::Deferred { callable, argument, made } => {
                let made = make(py, callable, argument.as_ref(), made)?;
                made.call_method1(py, intern!(py, "send"), (py.None(),)).map(Some)
            }
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
    ) -> PyResult<Py<PyAny>> {
        self.stop()?;
        if let Kind::Deferred { made, .. } = &self.0
            && let Some(made) = made.get()
        {
            return made.call_method1(kind.py(), intern!(kind.py(), "throw"), (kind, value, traceback));
        }
        Err(PyErr::from_value(value.filter(|value| !value.is_none()).unwrap_or(kind).clone()))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        if let Kind::Deferred { made, .. } = &self.0
            && let Some(made) = made.get()
        {
            made.call_method0(py, intern!(py, "close"))?;
        }
        self.stop()
    }
}

/// What the deferred call returned, now that it is awaited.
fn make<'a>(
    py: Python<'_>,
    callable: &Py<PyAny>,
    argument: Option<&Py<PyAny>>,
    made: &'a OnceLock<Py<PyAny>>,
) -> PyResult<&'a Py<PyAny>> {
    if let Some(made) = made.get() {
        return Ok(made);
    }
    let new = match argument {
        Some(argument) => callable.call1(py, (argument,))?,
        None => callable.call0(py)?,
    };
    let deferred = new.bind(py).cast::<Awaitable>();
    if deferred.is_ok_and(|awaitable| matches!(awaitable.get().0, Kind::Deferred { .. })) {
        return Err(PyRuntimeError::new_err(
            "awaited on another thread than the one whose event loop serves the request",
        ));
    }
    Ok(made.get_or_init(|| new))
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

    fn receive(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.stop();
        let application = self.server.application();
        if application.is_hasty() {
            return Ok(Some(py.None()));
        }
        let take = |body: &[u8]| {
            application.charge(body.len());
            PyBytes::new(py, body).unbind()
        };
        match self.server.receive(self.exchange, take) {
            Poll::Ready(event) => Err(ffi::stop_iteration(event_dict(py, event)?.into_any())),
            Poll::Pending => self.wait(py),
        }
    }

    fn send(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.stop();
        match self.server.sent(self.exchange) {
            Poll::Ready(Ok(())) => Ok(None),
            Poll::Ready(Err(_)) => Err(send::disconnected()),
            Poll::Pending => self.wait(py),
        }
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
