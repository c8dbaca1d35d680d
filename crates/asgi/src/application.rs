//! The application, in the shape that a server drives and in the shape that people write.

use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::{ReceiveEvent, Scope, ScopeRef, SendError, SendEvent};

/// Names one exchange (a request and its response, or a WebSocket) of a worker. Never a pointer: one that outlives its exchange finds
/// nothing, and says so (CON-14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExchangeId {
    /// The connection's place in the worker.
    pub slot: u32,
    /// Which connection of those that had this place.
    pub generation: u32,
    /// Which exchange of that connection: its number (HTTP/1.1) or its stream (HTTP/2, HTTP/3).
    pub sequence: u32,
}

/// What an application waited for may go on: ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// `receive` has something.
    Receive,
    /// The bytes in the send buffer have fallen under the low-water mark, or the client is gone.
    Send,
}

/// How an application's call ended (ERR-04 to ERR-07).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It returned.
    Returned,
    /// It raised.
    Failed,
}

/// Memory in which a server gathers a part of a request's body, and gives it to the application: frame by frame, without
/// a copy of the whole.
pub trait Gather: Default {
    /// How many bytes are in it.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// So many more are about to come: there is to be room for them.
    fn reserve(&mut self, more: usize);

    /// Adds bytes at the end.
    fn extend_from_slice(&mut self, bytes: &[u8]);
}

impl Gather for Vec<u8> {
    fn len(&self) -> usize {
        Self::len(self)
    }

    fn reserve(&mut self, more: usize) {
        Self::reserve(self, more);
    }

    fn extend_from_slice(&mut self, bytes: &[u8]) {
        Self::extend_from_slice(self, bytes);
    }
}

/// An application as a server drives it. The server holds nothing borrowed while it calls: the application may call
/// straight back, from inside `call` too.
pub trait Application: 'static {
    /// What the application keeps beside each connection, such as its own form of the addresses and of header lists
    /// that repeat. Dropped when the connection ends.
    type ConnectionMemory: Default + 'static;

    /// What the application holds the bytes of a response body or message in.
    type Body: AsRef<[u8]> + 'static;

    /// What the application is given the body of a request of HTTP/2 in.
    type Gathered: Gather + 'static;

    /// What the application holds the text of a message in.
    type Text: AsRef<str> + Into<Self::Body> + 'static;

    /// Starts the application on one request or WebSocket (APP-01). It reports its end by the server's `finish`, during the call or later.
    fn call(&self, scope: &ScopeRef<'_>, exchange: ExchangeId, memory: &mut Self::ConnectionMemory);

    /// Something that the exchange waited for may go on.
    fn wake(&self, exchange: ExchangeId, wake: Wake);

    /// The last of several wakes has been told.
    fn woken(&self) {}

    /// The end of a turn of the server: for applications that have work of their own to run there.
    fn poll(&self) {}
}

/// An application as people write it: `async fn app(scope: Scope, receive: Receive, send: Send)`.
///
/// The error that it returns is the end of its exchange: a 500 where nothing has been sent, a broken connection after
/// (ERR-05), the close code 1011 on a WebSocket (WS-21); [`SendError::Disconnected`] passes quietly (HTTP-29).
pub trait AsyncApplication: 'static {
    /// The future of one call.
    fn call(&self, scope: Scope, receive: Receive, send: Send)
    -> impl Future<Output = Result<(), SendError>> + 'static;
}

impl<F, R> AsyncApplication for F
where
    F: Fn(Scope, Receive, Send) -> R + 'static,
    R: Future<Output = Result<(), SendError>> + 'static,
{
    fn call(
        &self,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> impl Future<Output = Result<(), SendError>> + 'static {
        self(scope, receive, send)
    }
}

/// What a server offers to the exchanges of an [`AsyncApplication`].
pub trait Exchanges {
    /// The next event, or Pending after noting whom to wake.
    fn poll_receive(&self, exchange: ExchangeId, context: &mut Context<'_>) -> Poll<ReceiveEvent>;

    /// Applies the event at once.
    ///
    /// # Errors
    /// Where the event is refused; the exchange is then as it was.
    fn send(&self, exchange: ExchangeId, event: SendEvent) -> Result<(), SendError>;

    /// Ready when the send buffer has room again (CON-05).
    ///
    /// # Errors
    /// [`SendError::Disconnected`] where the client went while it was full.
    fn poll_sent(&self, exchange: ExchangeId, context: &mut Context<'_>) -> Poll<Result<(), SendError>>;
}

/// The `receive` of one exchange.
#[derive(Clone)]
pub struct Receive(Rc<dyn Exchanges>, ExchangeId);

impl Receive {
    /// For servers.
    pub fn new(exchanges: Rc<dyn Exchanges>, exchange: ExchangeId) -> Self {
        Self(exchanges, exchange)
    }

    /// Waits for the next event. Dropping the future loses none (CON-08).
    pub async fn receive(&self) -> ReceiveEvent {
        poll_fn(|context| self.0.poll_receive(self.1, context)).await
    }
}

/// The `send` of one exchange.
#[derive(Clone)]
pub struct Send(Rc<dyn Exchanges>, ExchangeId);

impl Send {
    /// For servers.
    pub fn new(exchanges: Rc<dyn Exchanges>, exchange: ExchangeId) -> Self {
        Self(exchanges, exchange)
    }

    /// Puts the event into the send buffer, and waits while that is over its high-water mark (HTTP-16, CON-05).
    ///
    /// # Errors
    /// Where the event is refused; the exchange is then as it was (HTTP-25), and [`SendError::Disconnected`] where the
    /// client is gone (HTTP-28).
    pub async fn send(&self, event: SendEvent) -> Result<(), SendError> {
        self.0.send(self.1, event)?;
        poll_fn(|context| self.0.poll_sent(self.1, context)).await
    }
}
