//! What `receive` and `send` return: an object that passes for a coroutine, since it has the methods of
//! `collections.abc.Coroutine`. `await`, `create_task`, `gather`, `wait_for` and anyio take it (APP-12).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use asgi::{ExchangeId, Gather, Message, ReceiveEvent, Wake};
use ferricorn_server::Take;
use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use crate::application::{PythonApplication, Server};
use crate::ffi::{GrowingBytes, Iterated, ThreadBound};
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

impl Iterated for Awaitable {
    fn has_ended(&self) -> bool {
        matches!(self.0, Kind::Done)
    }

    fn next(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.__next__(py)
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
    /// What it waits on, or has waited on.
    waiter: RefCell<Option<Py<Waiter>>>,
    is_waiting: Cell<bool>,
}

impl Waiting {
    fn new(server: Rc<Server>, exchange: ExchangeId, wake: Wake, is_websocket: bool) -> Self {
        Self { server, exchange, wake, is_websocket, waiter: RefCell::new(None), is_waiting: Cell::new(false) }
    }

    fn receive(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.stop();
        let application = self.server.application();
        if application.is_hasty() {
            return Ok(Some(py.None()));
        }
        match self.server.receive(self.exchange, TakeObjects { py, application }) {
            Poll::Ready(event) => {
                let event = application.events.dict(py, event, self.is_websocket)?;
                Err(application.returning.carry(event.into_any()))
            }
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
        let application = self.server.application();
        let waiter = self.free_waiter(py)?;
        application.add_waiting((self.wake, waiter.clone_ref(py)), self.exchange);
        self.is_waiting.set(true);
        Ok(Some(waiter.into_any()))
    }

    /// The waiter of the last wait, if nobody else has it, or a new one.
    fn free_waiter(&self, py: Python<'_>) -> PyResult<Py<Waiter>> {
        let application = self.server.application();
        let mut kept = self.waiter.borrow_mut();
        if let Some(waiter) = &*kept
            && application.is_ours_alone(waiter.bind(py))
            && waiter.get().reset()?
        {
            return Ok(waiter.clone_ref(py));
        }
        let waiter = Py::new(py, Waiter::new(application.event_loop.object(py)))?;
        *kept = Some(waiter.clone_ref(py));
        Ok(waiter)
    }

    /// Whatever it waited on has ended, or is of no interest any more.
    fn stop(&self) {
        if !self.is_waiting.replace(false) {
            return;
        }
        if let Some(waiter) = &*self.waiter.borrow()
            && !waiter.get().is_done()
        {
            self.server.application().forget(self.exchange, waiter);
        }
    }
}

/// Makes Python objects of what is received.
struct TakeObjects<'a, 'py> {
    py: Python<'py>,
    application: &'a PythonApplication,
}

/// A part of a body, gathered where the application will have it.
#[derive(Default)]
pub(crate) struct Gathered(GrowingBytes);

impl Gather for Gathered {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn reserve(&mut self, more: usize) {
        self.0.reserve(more);
    }

    fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }
}

impl<'py> Take for TakeObjects<'_, 'py> {
    type Gathered = Gathered;
    type Bytes = Bound<'py, PyBytes>;
    type Text = Bound<'py, PyString>;

    fn bytes(self, bytes: &[u8]) -> Self::Bytes {
        self.application.charge(bytes.len());
        PyBytes::new(self.py, bytes)
    }

    fn gathered(self, gathered: Gathered) -> Self::Bytes {
        self.application.charge(gathered.len());
        gathered.0.finish(self.py)
    }

    fn text(self, text: &str) -> Self::Text {
        self.application.charge(text.len());
        PyString::new(self.py, text)
    }
}

/// What came, as Python has it.
type Event<'py> = ReceiveEvent<Bound<'py, PyBytes>, Bound<'py, PyString>>;

/// Events as dicts: each is a copy of one that was made before, which costs half of what making one does.
pub(crate) struct Events {
    request: Py<PyDict>,
    text: Py<PyDict>,
    bytes: Py<PyDict>,
}

impl Events {
    pub(crate) fn new(py: Python<'_>) -> PyResult<Self> {
        let of = |kind: &Bound<'_, PyString>, keys: &[&Bound<'_, PyString>]| -> PyResult<_> {
            let dict = PyDict::new(py);
            dict.set_item(intern!(py, "type"), kind)?;
            keys.iter().try_for_each(|key| dict.set_item(key, py.None()))?;
            Ok(dict.unbind())
        };
        let received = intern!(py, "websocket.receive");
        Ok(Self {
            request: of(intern!(py, "http.request"), &[intern!(py, "body"), intern!(py, "more_body")])?,
            text: of(received, &[intern!(py, "text")])?,
            bytes: of(received, &[intern!(py, "bytes")])?,
        })
    }

    /// `is_websocket`: the type of the exchange, where the event itself does not tell.
    fn dict<'py>(&self, py: Python<'py>, event: Event<'py>, is_websocket: bool) -> PyResult<Bound<'py, PyDict>> {
        match event {
            ReceiveEvent::WebSocketReceive(Message::Text(text)) => {
                let dict = self.text.bind(py).copy()?;
                dict.set_item(intern!(py, "text"), text)?;
                Ok(dict)
            }
            ReceiveEvent::WebSocketReceive(Message::Binary(bytes)) => {
                let dict = self.bytes.bind(py).copy()?;
                dict.set_item(intern!(py, "bytes"), bytes)?;
                Ok(dict)
            }
            ReceiveEvent::Request { body, more_body } => {
                let dict = self.request.bind(py).copy()?;
                dict.set_item(intern!(py, "body"), body)?;
                dict.set_item(intern!(py, "more_body"), more_body)?;
                Ok(dict)
            }
            ReceiveEvent::WebSocketConnect => event_of(intern!(py, "websocket.connect")),
            ReceiveEvent::WebSocketDisconnect { code, reason } => disconnect(py, code, &reason),
            // The call has ended, and somebody whom it left behind still asks.
            _ if is_websocket => disconnect(py, 1006, ""),
            _ => event_of(intern!(py, "http.disconnect")),
        }
    }
}

fn event_of<'py>(kind: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(kind.py());
    dict.set_item(intern!(kind.py(), "type"), kind)?;
    Ok(dict)
}

/// `websocket.disconnect` (WS-14, WS-16).
fn disconnect<'py>(py: Python<'py>, code: u16, reason: &str) -> PyResult<Bound<'py, PyDict>> {
    let dict = event_of(intern!(py, "websocket.disconnect"))?;
    dict.set_item(intern!(py, "code"), code)?;
    dict.set_item(intern!(py, "reason"), reason)?;
    Ok(dict)
}
