//! What `receive` and `send` return: an object that passes for a coroutine, since it has the methods of
//! `collections.abc.Coroutine`. `await`, `create_task`, `gather`, `wait_for` and anyio take it (APP-12).

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use asgi::{ExchangeId, Message, ReceiveEvent, Wake};
use ferricorn_server::Take;
use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use crate::application::{PythonApplication, Server};
use crate::ffi::{self, ThreadBound};
use crate::send;
use crate::waiter::Waiter;

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

    pub(crate) fn receiving(server: Rc<Server>, exchange: ExchangeId, is_websocket: bool) -> Self {
        Self(Kind::Receiving(ThreadBound::new(Waiting::new(server, exchange, Wake::Receive, is_websocket))))
    }

    pub(crate) fn sending(server: Rc<Server>, exchange: ExchangeId) -> Self {
        Self(Kind::Sending(ThreadBound::new(Waiting::new(server, exchange, Wake::Send, false))))
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

/// Waits for something of an exchange.
struct Waiting {
    server: Rc<Server>,
    exchange: ExchangeId,
    wake: Wake,
    is_websocket: bool,
    /// What it waits on, while it does.
    waiter: RefCell<Option<Py<Waiter>>>,
}

impl Waiting {
    fn new(server: Rc<Server>, exchange: ExchangeId, wake: Wake, is_websocket: bool) -> Self {
        Self { server, exchange, wake, is_websocket, waiter: RefCell::new(None) }
    }

    fn receive(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.stop();
        let application = self.server.application();
        if application.is_hasty() {
            return Ok(Some(py.None()));
        }
        match self.server.receive(self.exchange, TakeObjects { py, application }) {
            Poll::Ready(event) => Err(ffi::stop_iteration(event_dict(py, event, self.is_websocket)?.into_any())),
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
        let waiter = self.server.application().wait(py, self.exchange, self.wake)?;
        self.waiter.replace(Some(waiter.clone_ref(py)));
        Ok(Some(waiter.into_any()))
    }

    /// Whatever it waited on has ended, or is of no interest any more.
    fn stop(&self) {
        if let Some(waiter) = self.waiter.take() {
            self.server.application().forget(self.exchange, &waiter);
        }
    }
}

/// Makes Python objects of what is received.
struct TakeObjects<'a, 'py> {
    py: Python<'py>,
    application: &'a PythonApplication,
}

impl<'py> Take for TakeObjects<'_, 'py> {
    type Bytes = Bound<'py, PyBytes>;
    type Text = Bound<'py, PyString>;

    fn bytes(self, bytes: &[u8]) -> Self::Bytes {
        self.application.charge(bytes.len());
        PyBytes::new(self.py, bytes)
    }

    fn text(self, text: &str) -> Self::Text {
        self.application.charge(text.len());
        PyString::new(self.py, text)
    }
}

/// What came, as Python has it.
type Event<'py> = ReceiveEvent<Bound<'py, PyBytes>, Bound<'py, PyString>>;

fn event_dict<'py>(py: Python<'py>, event: Event<'py>, is_websocket: bool) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    let kind = intern!(py, "type");
    match event {
        ReceiveEvent::Request { body, more_body } => {
            dict.set_item(kind, intern!(py, "http.request"))?;
            dict.set_item(intern!(py, "body"), body)?;
            dict.set_item(intern!(py, "more_body"), more_body)?;
        }
        ReceiveEvent::WebSocketReceive(message) => {
            dict.set_item(kind, intern!(py, "websocket.receive"))?;
            match message {
                Message::Text(text) => dict.set_item(intern!(py, "text"), text)?,
                Message::Binary(bytes) => dict.set_item(intern!(py, "bytes"), bytes)?,
            }
        }
        ReceiveEvent::WebSocketConnect => dict.set_item(kind, intern!(py, "websocket.connect"))?,
        ReceiveEvent::WebSocketDisconnect { code, reason } => set_disconnect(&dict, code, &reason)?,
        // The call has ended, and somebody whom it left behind still asks.
        _ if is_websocket => set_disconnect(&dict, 1006, "")?,
        _ => dict.set_item(kind, intern!(py, "http.disconnect"))?,
    }
    Ok(dict)
}

/// `websocket.disconnect` (WS-14, WS-16).
fn set_disconnect(dict: &Bound<'_, PyDict>, code: u16, reason: &str) -> PyResult<()> {
    let py = dict.py();
    dict.set_item(intern!(py, "type"), intern!(py, "websocket.disconnect"))?;
    dict.set_item(intern!(py, "code"), code)?;
    dict.set_item(intern!(py, "reason"), reason)
}
