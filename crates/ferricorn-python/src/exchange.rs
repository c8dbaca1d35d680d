//! `receive` and `send` of one exchange: bound methods of one small object.

use std::cell::Cell;
use std::rc::Rc;

use asgi::{ExchangeId, SendError};
use ferricorn_server::Sent;
use pyo3::prelude::*;

use crate::application::Server;
use crate::awaitable::{Failed, Receiving, Sending};
use crate::ffi::ThreadBound;
use crate::send::{self, Event};

/// One exchange, as the application holds it: a name, which finds nothing once the exchange is over.
#[pyclass(frozen, module = "ferricorn")]
pub(crate) struct Exchange(ThreadBound<Handle>);

pub(crate) struct Handle {
    server: Rc<Server>,
    exchange: ExchangeId,
    /// The response is complete: what is sent from now on is ignored (HTTP-18).
    complete: Cell<bool>,
}

impl Exchange {
    pub(crate) fn object(py: Python<'_>, server: Rc<Server>, exchange: ExchangeId) -> PyResult<Bound<'_, PyAny>> {
        let handle = Handle { server, exchange, complete: Cell::new(false) };
        Ok(Bound::new(py, Self(ThreadBound::new(handle)))?.into_any())
    }
}

#[pymethods]
impl Exchange {
    /// The next event, as an awaitable that passes for a coroutine (APP-12). Nothing is taken before it is awaited.
    fn receive(&self, py: Python<'_>) -> PyResult<Py<Receiving>> {
        let handle = self.0.get()?;
        Py::new(py, Receiving::new(Rc::clone(&handle.server), handle.exchange))
    }

    /// Puts the event into the send buffer at once (CON-04); the awaitable waits while that is too full.
    fn send(&self, py: Python<'_>, event: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let handle = self.0.get()?;
        if handle.complete.get() {
            return Ok(handle.server.application().done.clone_ref(py).into_any());
        }
        match handle.send(event) {
            Ok(Sent::Blocked) => {
                Ok(Py::new(py, Sending::blocked(Rc::clone(&handle.server), handle.exchange))?.into_any())
            }
            Ok(sent) => {
                handle.complete.set(sent == Sent::Complete);
                let application = handle.server.application();
                if application.is_hasty() {
                    return Ok(Py::new(py, Sending::one_turn(Rc::clone(&handle.server), handle.exchange))?.into_any());
                }
                Ok(application.done.clone_ref(py).into_any())
            }
            // Raised when awaited, like everything that a coroutine raises (ERR-03).
            Err(error) => Ok(Py::new(py, Failed::new(error))?.into_any()),
        }
    }
}

impl Handle {
    fn send(&self, event: &Bound<'_, PyAny>) -> PyResult<Sent> {
        let application = self.server.application();
        match send::read(event, &application.start)? {
            Event::Start => self.server.start(self.exchange, &application.start.borrow()),
            Event::Other(event) => self.server.send(self.exchange, event),
        }
        .map_err(|error: SendError| send::exception(error))
    }
}
