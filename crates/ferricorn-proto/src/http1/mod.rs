//! HTTP/1.0 and HTTP/1.1, the server's side of a connection (RFC 9110, RFC 9112). No socket and no clock: bytes are handed
//! in, bytes are taken out, the time is an argument. This file drives its siblings and reads no byte itself.

mod chunked;
mod encode;
mod facts;
mod framing;
mod head;
mod input;
mod output;
mod target;
mod websocket;

use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use asgi::{Extensions, HttpVersion};

pub use crate::limits::Now;
pub use encode::phrase as status_phrase;

use crate::error::{RequestError, TimeoutKind};
use crate::exchange::{Exchange, State};
use crate::limits::Limits;
use crate::protocol::{Closing, Drain, Finished, Input, RequestHead, Step};
use crate::transmit::Transmit;
use crate::websocket::{Session, WebSocket};
use framing::BodyReader;
use head::HeadReader;
use output::Response;

/// One HTTP/1.x connection. `B` is what the application holds body bytes in.
///
/// Four kinds of method:
/// - `handle_*`: something came in. [`handle_input`](Self::handle_input) gives the events.
/// - commands, the application's events: [`start`](Self::start), [`body`](Self::body), [`trailers`](Self::trailers),
///   [`early_hint`](Self::early_hint), [`want_body`](Self::want_body), [`finish`](Self::finish), those of a WebSocket
///   (`websocket_*`); and the server's own, [`refuse`](Self::refuse), [`drain`](Self::drain) and
///   [`websocket_restart`](Self::websocket_restart). Each checks first and changes nothing when it fails.
/// - what is to be done now: [`transmit`](Self::transmit), [`next_timeout`](Self::next_timeout), [`closing`](Self::closing).
/// - getters.
///
/// After any call, a driver writes what `transmit` has, calls [`handle_written`](Self::handle_written), and looks at
/// `closing` and [`wants_input`](Self::wants_input). A response's end and written bytes can make `wants_input` true again:
/// then bytes that were left over (pipelined requests) are handed in again.
pub struct Connection<B> {
    limits: Rc<Limits>,
    head: HeadReader,
    expected: Expected,
    request: Request,
    exchange: Exchange,
    /// The WebSocket that the current request asks for, from its handshake on.
    websocket: Option<Box<WebSocket>>,
    response: Response,
    transmit: Transmit<B>,
    fate: Fate,
    draining: Option<Drain>,
    /// Whether a WebSocket is closed as soon as it is open.
    restarting: bool,
    end_of_input: bool,
    deadline: Option<(Instant, TimeoutKind)>,
    /// Until when the peer has to take a byte, while bytes wait.
    stalled: Option<Instant>,
    /// The line of a field that the current response is to carry; empty: there is none.
    own_field: Vec<u8>,
}

/// What the next bytes of the input are.
enum Expected {
    /// A request's head.
    Head,
    /// The body of the current request, asked for by the application or not.
    Body { reader: BodyReader, asked: bool },
    /// Another request's, which waits for the current response.
    Next,
    /// The frames of a WebSocket.
    Frames,
    /// The rest of a body that nobody wants, this many bytes of it at most.
    Unwanted { reader: BodyReader, allowance: u64 },
    /// Nothing of interest.
    Ignored,
}

/// How the connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    /// Close when everything has been written.
    Flush,
    /// Close.
    Close,
    /// Reset.
    Abort,
}

/// What of the current request matters to its response.
struct Request {
    version: HttpVersion,
    /// Whether the connection may be kept, as far as the request says.
    keep_alive: bool,
    te_trailers: bool,
    /// The client waits for `100 Continue`, and has not got it.
    expects_continue: bool,
    body_complete: bool,
}

impl Request {
    const NONE: Self = Self {
        version: HttpVersion::Http11,
        keep_alive: false,
        te_trailers: false,
        expects_continue: false,
        body_complete: true,
    };
}

impl<B: AsRef<[u8]>> Connection<B> {
    /// A connection that was just accepted. Its first byte has to come within [`Limits::request_head`].
    pub fn new(limits: Rc<Limits>, now: Instant) -> Self {
        let deadline = Some((now + limits.request_head, TimeoutKind::KeepAlive));
        Self {
            limits,
            head: HeadReader::new(),
            expected: Expected::Head,
            request: Request::NONE,
            exchange: Exchange::none(),
            websocket: None,
            response: Response::NONE,
            transmit: Transmit::new(),
            fate: Fate::Open,
            draining: None,
            restarting: false,
            end_of_input: false,
            deadline,
            stalled: None,
            own_field: Vec::new(),
        }
    }

    /// What was ahead of the first byte, a TLS handshake, is over: it has its whole time from now on.
    pub fn handle_connected(&mut self, now: Instant) {
        self.deadline = Some((now + self.limits.request_head, TimeoutKind::KeepAlive));
    }

    /// The input has ended (FIN). Between requests and within a head: close quietly. While an exchange is open its client
    /// is gone (row 35 of the requirements); body bytes that were received before can still be handed in and asked for.
    /// A WebSocket has no half-open state: its peer is gone as well.
    pub fn handle_end_of_input(&mut self) {
        let was_open = self.session().is_some_and(|session| session.closed().is_none());
        self.lose_websocket();
        self.end_of_input = true;
        self.deadline = None;
        if self.fate != Fate::Open {
            return;
        }
        self.fate = Fate::Flush;
        if was_open {
            // What waits is for nobody.
            self.close_at_once();
        } else if !self.exchange.is_open() || self.exchange.state() == State::Upgraded {
            self.expected = Expected::Ignored;
        } else if !self.exchange.is_unanswered() {
            self.fate = Fate::Abort;
        }
        self.exchange.disconnect();
        self.transmit.drop_held();
    }

    /// The connection was reset, or what waits to be written cannot be: a failed write, a file that ended early.
    pub fn handle_lost(&mut self) {
        self.lose_websocket();
        self.exchange.disconnect();
        self.abort();
    }

    /// Looks whether a deadline has passed, and acts on it; None: none has.
    pub fn handle_timeout(&mut self, now: &Now<'_>) -> Option<TimeoutKind> {
        if self.stalled.is_some_and(|at| at <= now.instant) && !self.transmit.is_empty() {
            self.lose_websocket();
            self.exchange.disconnect();
            self.abort();
            return Some(TimeoutKind::Response);
        }
        if let Some(kind) = self.websocket_timeout(now) {
            return Some(kind);
        }
        let (_, kind) = self.deadline.filter(|(at, _)| *at <= now.instant)?;
        self.deadline = None;
        match kind {
            TimeoutKind::KeepAlive
            | TimeoutKind::Response
            | TimeoutKind::Pong
            | TimeoutKind::Close
            | TimeoutKind::Settings => self.close_idle(),
            TimeoutKind::Linger => self.fate = Fate::Close,
            TimeoutKind::RequestHead => self.reject(RequestError::HeadTimeout, false, now),
            TimeoutKind::RequestBody => self.reject(RequestError::BodyTimeout, false, now),
        }
        Some(kind)
    }

    /// Bytes of [`transmit`](Self::transmit) have been written and consumed.
    pub fn handle_written(&mut self, now: &Now<'_>) {
        if !self.transmit.is_empty() {
            self.stalled = Some(now.instant + patience(&self.limits, self.websocket.is_some()));
            return;
        }
        self.stalled = None;
        if self.deadline.is_none() {
            self.deadline = self.deadline_after_writing(now.instant);
        }
    }

    fn deadline_after_writing(&self, now: Instant) -> Option<(Instant, TimeoutKind)> {
        match (self.fate(), &self.expected) {
            (Fate::Flush, _) if !self.end_of_input => Some((now + self.limits.linger, TimeoutKind::Linger)),
            (Fate::Open, Expected::Head) => Some((now + self.limits.keep_alive, TimeoutKind::KeepAlive)),
            _ => None,
        }
    }

    /// Its bounds and times.
    pub fn limits(&self) -> &Rc<Limits> {
        &self.limits
    }

    /// Whether its end has been prepared for, and how.
    pub fn draining(&self) -> Option<Drain> {
        self.draining
    }

    /// What waits to be written; a head that is held back is not in it.
    pub fn transmit(&mut self) -> &mut Transmit<B> {
        &mut self.transmit
    }

    /// When [`handle_timeout`](Self::handle_timeout) will have something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        let stalled = self.stalled.filter(|_| !self.transmit.is_empty());
        let deadline = self.deadline.map(|(at, _)| at);
        let frames = self.session().and_then(Session::next_timeout);
        stalled.into_iter().chain(deadline).chain(frames).min()
    }

    /// What is to be done about the connection's end.
    pub fn closing(&self) -> Closing {
        match self.fate() {
            Fate::Open => Closing::No,
            Fate::Flush if self.end_of_input && self.transmit.is_empty() => Closing::Now,
            Fate::Flush => Closing::Flush,
            Fate::Close => Closing::Now,
            Fate::Abort => Closing::Abort,
        }
    }

    /// Whether [`handle_input`](Self::handle_input) would do anything with more bytes: a head is expected (and not too much
    /// of earlier responses waits to be written), a body is asked for or read away, a WebSocket has room for messages, or
    /// the connection lingers.
    pub fn wants_input(&self) -> bool {
        if self.end_of_input {
            return false;
        }
        match self.expected {
            Expected::Head => self.transmit.len() <= Limits::PIPELINE,
            Expected::Body { asked, .. } => asked,
            Expected::Next => false,
            Expected::Unwanted { .. } => true,
            Expected::Frames => self.wants_frames(),
            Expected::Ignored => self.fate == Fate::Flush,
        }
    }

    /// Whether a request was given out whose response is not whole, or a WebSocket that is not closed, and whose client is
    /// there.
    pub fn exchange_is_open(&self) -> bool {
        self.exchange.is_open() && !self.websocket_is_closed()
    }

    /// Whether the body of the current request has been given out whole, and nothing can follow it.
    pub fn request_complete(&self) -> bool {
        self.request.body_complete
    }

    /// Whether the current exchange lost its client, or its WebSocket was closed by either side.
    pub fn disconnected(&self) -> bool {
        self.exchange.state() == State::Disconnected || self.websocket_is_closed()
    }

    /// Whether it is between requests, with no part of a head, or between the frames of a WebSocket; and nothing waits to be
    /// written.
    pub fn is_idle(&self) -> bool {
        let waits = match self.expected {
            Expected::Head => self.head.is_empty() && !self.exchange.is_open(),
            Expected::Frames => true,
            _ => false,
        };
        waits && self.fate() == Fate::Open && self.transmit.is_empty()
    }

    /// What the current exchange can do beyond the core.
    pub fn extensions(&self) -> Extensions {
        if self.websocket.is_some() {
            return Extensions { denial_response: true, ..Extensions::default() };
        }
        let is_http11 = self.request.version == HttpVersion::Http11;
        Extensions {
            trailers: is_http11 && self.request.te_trailers,
            pathsend: true,
            zerocopysend: true,
            early_hint: is_http11,
            denial_response: false,
        }
    }

    /// Of a response body that ended before its promised length: (promised, sent) in bytes (HTTP-21).
    pub fn shortfall(&self) -> Option<(u64, u64)> {
        self.exchange.shortfall()
    }

    /// The status of the current response, once it has started.
    pub fn response_status(&self) -> Option<u16> {
        self.exchange.status()
    }

    /// How many bytes of the current response's body have been sent, its framing not counted.
    pub fn response_body_bytes(&self) -> u64 {
        self.response.sent
    }

    /// Gives back the buffers and the remembered header block of an idle connection; else does nothing.
    pub fn release_memory(&mut self) {
        if self.is_idle() {
            self.head.release_memory();
            self.transmit.release_memory();
            self.own_field = Vec::new();
            if let Some(session) = self.session_mut() {
                session.release_memory();
            }
        }
    }

    /// How it goes on: a WebSocket that is over ends its connection.
    fn fate(&self) -> Fate {
        match self.fate {
            Fate::Open if self.session().is_some_and(Session::is_over) => Fate::Flush,
            fate => fate,
        }
    }

    /// Nothing more will be said after what waits.
    fn close(&mut self, now: &Now<'_>) {
        self.expected = Expected::Ignored;
        self.fate = Fate::Flush;
        self.deadline = None;
        if self.transmit.is_empty() {
            self.handle_written(now);
        }
    }

    /// Nobody waits for anything: closes without lingering, unless there are bytes to be written.
    fn close_idle(&mut self) {
        self.expected = Expected::Ignored;
        self.fate = if self.transmit.is_empty() { Fate::Close } else { Fate::Flush };
        self.deadline = None;
    }

    /// Closes whatever waits to be written.
    fn close_at_once(&mut self) {
        self.expected = Expected::Ignored;
        self.fate = Fate::Close;
        self.deadline = None;
    }

    fn abort(&mut self) {
        self.transmit.drop_held();
        self.expected = Expected::Ignored;
        self.fate = Fate::Abort;
        self.deadline = None;
        self.stalled = None;
    }

    /// Arms the response's deadline where bytes started to wait.
    fn note_waiting(&mut self, now: &Now<'_>) {
        if self.stalled.is_none() && !self.transmit.is_empty() {
            self.stalled = Some(now.instant + patience(&self.limits, self.websocket.is_some()));
        }
    }
}

/// How long a peer may take no byte. On a WebSocket no longer than it may leave a ping unanswered: no ping goes behind bytes
/// that wait.
fn patience(limits: &Limits, is_websocket: bool) -> Duration {
    let pong = limits.websocket.as_ref().filter(|_| is_websocket);
    let pong = pong.and_then(|limits| Some(limits.ping_interval? + limits.ping_timeout?));
    pong.map_or(limits.response, |pong| pong.min(limits.response))
}

impl<B: AsRef<[u8]>> fmt::Debug for Connection<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("exchange", &self.exchange.state())
            .field("fate", &self.fate)
            .field("transmit", &self.transmit)
            .finish_non_exhaustive()
    }
}
