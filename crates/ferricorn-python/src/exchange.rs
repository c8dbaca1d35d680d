//! `receive` and `send` of one exchange: two small callables that name it, and find nothing once it is over.

use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::rc::Rc;

use asgi::{ExchangeId, SendError, SendEvent};
use ferricorn_server::Sent;
use pyo3::prelude::*;

use crate::application::Server;
use crate::awaitable::Awaitable;
use crate::ffi::{Callable, CallableType};
use crate::send::{self, Event};

/// Makes `receive` and `send`.
pub(crate) struct Exchanges {
    receive: CallableType<Receive>,
    send: CallableType<Send>,
}

impl Exchanges {
    pub(crate) fn new(py: Python<'_>) -> PyResult<Self> {
        Ok(Self { receive: CallableType::new(py)?, send: CallableType::new(py)? })
    }

    pub(crate) fn receive<'py>(
        &self,
        py: Python<'py>,
        server: &Rc<Server>,
        exchange: ExchangeId,
        is_websocket: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.receive
            .object(py, Receive { server: Rc::clone(server), exchange, is_websocket, awaitable: RefCell::new(None) })
    }

    pub(crate) fn send<'py>(
        &self,
        py: Python<'py>,
        server: &Rc<Server>,
        exchange: ExchangeId,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.send.object(
            py,
            Send {
                server: Rc::clone(server),
                exchange,
                complete: Cell::new(false),
                satisfied: Cell::new(false),
                accepted: Cell::new(false),
            },
        )
    }

    /// Takes both once the call has ended: where nobody has kept them, they serve another.
    pub(crate) fn give_back(&self, receive: Bound<'_, PyAny>, send: Bound<'_, PyAny>) {
        self.receive.give_back(receive);
        self.send.give_back(send);
    }
}

struct Receive {
    server: Rc<Server>,
    exchange: ExchangeId,
    is_websocket: bool,
    /// What the last call returned.
    awaitable: RefCell<Option<Py<Awaitable>>>,
}

impl Callable for Receive {
    const NAME: &'static CStr = c"ferricorn.receive";
    const ARGUMENTS: usize = 0;

    /// The next event, as an awaitable that passes for a coroutine (APP-12). Nothing is taken before it is awaited. The last
    /// one serves again where nobody has kept it.
    fn call<'py>(&self, py: Python<'py>, _: Option<&Bound<'py, PyAny>>) -> PyResult<Py<PyAny>> {
        let mut kept = self.awaitable.borrow_mut();
        if let Some(awaitable) = &*kept
            && self.server.application().is_ours_alone(awaitable.bind(py))
        {
            return Ok(awaitable.clone_ref(py).into_any());
        }
        let awaitable = Awaitable::receiving(Rc::clone(&self.server), self.exchange, self.is_websocket);
        let awaitable = Py::new(py, awaitable)?;
        *kept = Some(awaitable.clone_ref(py));
        Ok(awaitable.into_any())
    }

    fn call_elsewhere<'py>(callable: &Bound<'py, PyAny>, argument: Option<&Bound<'py, PyAny>>) -> PyResult<Py<PyAny>> {
        Ok(Py::new(callable.py(), Awaitable::deferred(callable, argument))?.into_any())
    }
}

struct Send {
    server: Rc<Server>,
    exchange: ExchangeId,
    /// The response is complete: what is sent from now on is ignored (HTTP-18).
    complete: Cell<bool>,
    /// The response is whole on the wire: that the client leaves with it is no failure of what follows.
    satisfied: Cell<bool>,
    /// The application has accepted its WebSocket.
    accepted: Cell<bool>,
}

impl Callable for Send {
    const NAME: &'static CStr = c"ferricorn.send";
    const ARGUMENTS: usize = 1;

    /// Puts the event into the send buffer at once (CON-04); the awaitable waits while that is too full.
    fn call<'py>(&self, py: Python<'py>, event: Option<&Bound<'py, PyAny>>) -> PyResult<Py<PyAny>> {
        let application = self.server.application();
        let Some(event) = event.filter(|_| !self.complete.get()) else {
            return Ok(application.done.clone_ref(py).into_any());
        };
        let awaitable = match self.send(event) {
            Ok(Sent::Complete) => {
                self.complete.set(true);
                return Ok(application.done.clone_ref(py).into_any());
            }
            Ok(Sent::Short { promised, sent }) => {
                self.complete.set(true);
                let problem =
                    format!("ASGI application sent {sent} of the {promised} bytes that content-length promised");
                application.failed(py, None, &problem);
                return Ok(application.done.clone_ref(py).into_any());
            }
            Ok(Sent::Blocked) => Awaitable::sending(Rc::clone(&self.server), self.exchange),
            Ok(sent) => {
                self.satisfied.set(sent == Sent::Satisfied);
                if !application.is_hasty() {
                    return Ok(application.done.clone_ref(py).into_any());
                }
                Awaitable::turn()
            }
            // Raised when awaited, like everything that a coroutine raises (ERR-03).
            Err(error) => Awaitable::failed(error),
        };
        Ok(Py::new(py, awaitable)?.into_any())
    }

    fn call_elsewhere<'py>(callable: &Bound<'py, PyAny>, argument: Option<&Bound<'py, PyAny>>) -> PyResult<Py<PyAny>> {
        Ok(Py::new(callable.py(), Awaitable::deferred(callable, argument))?.into_any())
    }
}

impl Send {
    fn send(&self, event: &Bound<'_, PyAny>) -> PyResult<Sent> {
        let start = &self.server.application().start;
        let sent = match send::read(event, start, self.accepted.get())? {
            Event::Start => self.server.start(self.exchange, &start.borrow().head),
            Event::Other(event) => {
                let accepts = matches!(event, SendEvent::WebSocketAccept { .. });
                let sent = self.server.send(self.exchange, event);
                if accepts && sent.is_ok() {
                    self.accepted.set(true);
                }
                sent
            }
        };
        match sent {
            Err(SendError::Disconnected) if self.satisfied.get() => Ok(Sent::Complete),
            Err(error) => Err(send::exception(event, error)),
            Ok(sent) => Ok(sent),
        }
    }
}
