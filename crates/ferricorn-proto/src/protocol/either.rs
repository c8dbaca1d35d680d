//! One connection of either version of HTTP. The methods of one exchange take the number of its stream, which HTTP/1, where
//! one exchange follows another, does not look at.

use std::fs::File;
use std::rc::Rc;
use std::time::{Duration, Instant};

use asgi::{Extensions, Gather, Headers, Message, Outcome, ResponseStart, SendError};

use super::{Answer, Closing, Drain, Finished, Step};
use crate::error::TimeoutKind;
use crate::limits::{Limits, Now};
use crate::transmit::{Content, Transmit};
use crate::websocket::{ProtocolError, WebSocket};
use crate::{http1, http2};

/// The protocol of one connection.
#[expect(clippy::large_enum_variant, reason = "HTTP/1 is the common case, and costs no look elsewhere")]
pub enum Protocol<B, G = Vec<u8>> {
    /// HTTP/1.0 or HTTP/1.1.
    Http1(http1::Connection<B>),
    /// HTTP/2.
    Http2(Box<http2::Connection<B, G>>),
}

/// The connection.
impl<B: AsRef<[u8]>, G: Gather> Protocol<B, G> {
    /// HTTP/1, on a connection that was just accepted.
    pub fn http1(limits: Rc<Limits>, now: Instant) -> Self {
        Self::Http1(http1::Connection::new(limits, now))
    }

    /// Takes what it can out of `input`, and gives at most one event.
    pub fn handle_input<'b>(&'b mut self, input: &'b mut [u8], now: &Now<'_>) -> Step<'b> {
        match self {
            Self::Http1(http) => http.handle_input(input, now),
            Self::Http2(http) => http.handle_input(input, now),
        }
    }

    /// Whether exchanges share the connection.
    pub fn is_multiplexed(&self) -> bool {
        matches!(self, Self::Http2(_))
    }

    /// Whether the client may begin with HTTP/2 instead (RFC 9113 section 3.3).
    pub fn may_become_http2(&self) -> bool {
        matches!(self, Self::Http1(http) if http.limits().http2.is_some())
    }

    /// The client speaks HTTP/2: nothing of its input has been handed in yet.
    pub fn become_http2(&mut self, now: Instant) {
        if let Self::Http1(http) = self {
            let mut connection = http2::Connection::new(Rc::clone(http.limits()), now);
            // A TLS handshake may have been in progress when the end was prepared for.
            if let Some(drain) = http.draining() {
                connection.drain(drain);
            }
            *self = Self::Http2(Box::new(connection));
        }
    }

    /// A stream whose waiting receiver or sender should look again; each is told once for each change.
    pub fn take_changed(&mut self) -> Option<u32> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(http) => http.take_changed(),
        }
    }

    /// Whether a further request is taken now.
    pub fn takes_requests(&self) -> bool {
        match self {
            Self::Http1(http) => !http.exchange_is_open(),
            Self::Http2(_) => true,
        }
    }

    /// Whether an exchange is open.
    pub fn has_open_exchange(&self) -> bool {
        match self {
            Self::Http1(http) => http.exchange_is_open(),
            Self::Http2(http) => http.has_open_exchange(),
        }
    }

    /// The first byte of the protocol can come from now on: what was ahead of it, a TLS handshake, is over.
    pub fn handle_connected(&mut self, now: Instant) {
        if let Self::Http1(http) = self {
            http.handle_connected(now);
        }
    }

    /// The input has ended (FIN).
    pub fn handle_end_of_input(&mut self) {
        match self {
            Self::Http1(http) => http.handle_end_of_input(),
            Self::Http2(http) => http.handle_end_of_input(),
        }
    }

    /// The connection was reset, or what waits to be written cannot be.
    pub fn handle_lost(&mut self) {
        match self {
            Self::Http1(http) => http.handle_lost(),
            Self::Http2(http) => http.handle_lost(),
        }
    }

    /// Looks whether a deadline has passed, and acts on it; None: none has.
    pub fn handle_timeout(&mut self, now: &Now<'_>) -> Option<TimeoutKind> {
        match self {
            Self::Http1(http) => http.handle_timeout(now),
            Self::Http2(http) => http.handle_timeout(now),
        }
    }

    /// Bytes of [`transmit`](Self::transmit) have been written and consumed.
    pub fn handle_written(&mut self, now: &Now<'_>) {
        match self {
            Self::Http1(http) => http.handle_written(now),
            Self::Http2(http) => http.handle_written(now),
        }
    }

    /// What waits to be written.
    pub fn transmit(&mut self) -> &mut Transmit<B> {
        match self {
            Self::Http1(http) => http.transmit(),
            Self::Http2(http) => http.transmit(),
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) will have something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        match self {
            Self::Http1(http) => http.next_timeout(),
            Self::Http2(http) => http.next_timeout(),
        }
    }

    /// What is to be done about the connection's end.
    pub fn closing(&self) -> Closing {
        match self {
            Self::Http1(http) => http.closing(),
            Self::Http2(http) => http.closing(),
        }
    }

    /// Whether [`handle_input`](Self::handle_input) would do anything with more bytes.
    pub fn wants_input(&self) -> bool {
        match self {
            Self::Http1(http) => http.wants_input(),
            Self::Http2(http) => http.wants_input(),
        }
    }

    /// Whether no exchange is open, nothing has begun to come and nothing waits to be written; or only a WebSocket is open.
    pub fn is_idle(&self) -> bool {
        match self {
            Self::Http1(http) => http.is_idle(),
            Self::Http2(http) => http.is_idle(),
        }
    }

    /// Gives back what an idle connection does not need.
    pub fn release_memory(&mut self) {
        match self {
            Self::Http1(http) => http.release_memory(),
            Self::Http2(http) => http.release_memory(),
        }
    }

    /// The connection is to end (CON-09).
    pub fn drain(&mut self, drain: Drain) {
        match self {
            Self::Http1(http) => http.drain(drain),
            Self::Http2(http) => http.drain(drain),
        }
    }

    /// The server goes: open WebSockets are closed with 1012, and those that open later (WS-27).
    pub fn websocket_restart(&mut self, now: &Now<'_>) {
        match self {
            Self::Http1(http) => http.websocket_restart(now),
            Self::Http2(http) => http.websocket_restart(now),
        }
    }

    /// How long the client of a WebSocket took to answer the last ping: told once.
    pub fn take_round_trip(&mut self) -> Option<Duration> {
        match self {
            Self::Http1(http) => http.take_round_trip(),
            Self::Http2(http) => http.take_round_trip(),
        }
    }
}

/// One exchange.
impl<B: AsRef<[u8]>, G: Gather> Protocol<B, G> {
    /// Bytes of its response that wait; in HTTP/1, all that wait.
    pub fn unsent(&mut self, stream: u32) -> u64 {
        match self {
            Self::Http1(http) => http.transmit().len(),
            Self::Http2(http) => http.unsent(stream),
        }
    }

    /// Whether a request was given out whose response is not whole, or a WebSocket that is not closed, and whose client is there.
    pub fn exchange_is_open(&self, stream: u32) -> bool {
        match self {
            Self::Http1(http) => http.exchange_is_open(),
            Self::Http2(http) => http.exchange_is_open(stream),
        }
    }

    /// Whether the body of the request has been given out whole, and nothing can follow it.
    pub fn request_complete(&self, stream: u32) -> bool {
        match self {
            Self::Http1(http) => http.request_complete(),
            Self::Http2(http) => http.request_complete(stream),
        }
    }

    /// Whether the exchange lost its client, or its WebSocket was closed by either side.
    pub fn disconnected(&self, stream: u32) -> bool {
        match self {
            Self::Http1(http) => http.disconnected(),
            Self::Http2(http) => http.disconnected(stream),
        }
    }

    /// What the exchange can do beyond the core.
    pub fn extensions(&self, stream: u32) -> Extensions {
        match self {
            Self::Http1(http) => http.extensions(),
            Self::Http2(http) => http.extensions(stream),
        }
    }

    /// Of a response body that ended before its promised length: (promised, sent) in bytes (HTTP-21).
    pub fn shortfall(&self, stream: u32) -> Option<(u64, u64)> {
        match self {
            Self::Http1(http) => http.shortfall(),
            Self::Http2(http) => http.shortfall(stream),
        }
    }

    /// The status of the response, once it has started.
    pub fn response_status(&self, stream: u32) -> Option<u16> {
        match self {
            Self::Http1(http) => http.response_status(),
            Self::Http2(http) => http.response_status(stream),
        }
    }

    /// How many bytes of the response's body have been sent, its framing not counted.
    pub fn response_body_bytes(&self, stream: u32) -> u64 {
        match self {
            Self::Http1(http) => http.response_body_bytes(),
            Self::Http2(http) => http.response_body_bytes(stream),
        }
    }

    /// The application called `receive`: the next part of the body is wanted.
    pub fn want_body(&mut self, stream: u32, now: &Now<'_>) {
        match self {
            Self::Http1(http) => http.want_body(now),
            Self::Http2(http) => http.want_body(stream, now),
        }
    }

    /// Has the response carry this field, unless the application says it itself. `name` is in lowercase.
    pub fn set_response_field(&mut self, stream: u32, name: &[u8], value: &[u8]) {
        match self {
            Self::Http1(http) => http.set_response_field(name, value),
            Self::Http2(http) => http.set_response_field(stream, name, value),
        }
    }

    /// `http.response.start`: held back until the first part of the body (HTTP-14).
    ///
    /// # Errors
    /// Where it may not come now or cannot be sent; nothing has changed then.
    pub fn start(&mut self, stream: u32, start: &ResponseStart) -> Result<(), SendError> {
        match self {
            Self::Http1(http) => http.start(start),
            Self::Http2(http) => http.start(stream, start),
        }
    }

    /// `http.response.body` and `http.response.zerocopysend`.
    ///
    /// # Errors
    /// Where it may not come now or cannot be sent; nothing has changed then.
    pub fn body(&mut self, stream: u32, content: Content<B>, more_body: bool, now: &Now<'_>) -> Result<(), SendError> {
        match self {
            Self::Http1(http) => http.body(content, more_body, now),
            Self::Http2(http) => http.body(stream, content, more_body, now),
        }
    }

    /// `http.response.pathsend`: the first `count` bytes of a file are the whole body (EXT-08).
    ///
    /// # Errors
    /// Where it may not come now or cannot be sent; nothing has changed then.
    pub fn pathsend(&mut self, stream: u32, file: File, count: u64, now: &Now<'_>) -> Result<(), SendError> {
        match self {
            Self::Http1(http) => http.pathsend(file, count, now),
            Self::Http2(http) => http.pathsend(stream, file, count, now),
        }
    }

    /// `http.response.trailers` (EXT-13).
    ///
    /// # Errors
    /// Where it may not come now or cannot be sent; nothing has changed then.
    pub fn trailers(
        &mut self,
        stream: u32,
        headers: &Headers,
        more_trailers: bool,
        now: &Now<'_>,
    ) -> Result<(), SendError> {
        match self {
            Self::Http1(http) => http.trailers(headers, more_trailers, now),
            Self::Http2(http) => http.trailers(stream, headers, more_trailers, now),
        }
    }

    /// `http.response.early_hint` (EXT-11).
    ///
    /// # Errors
    /// Where it may not come now or cannot be sent; nothing has changed then.
    pub fn early_hint(&mut self, stream: u32, links: &[Vec<u8>]) -> Result<(), SendError> {
        match self {
            Self::Http1(http) => http.early_hint(links),
            Self::Http2(http) => http.early_hint(stream, links),
        }
    }

    /// The application's call ended (ERR-04 to ERR-07).
    pub fn finish(&mut self, stream: u32, outcome: Outcome, now: &Now<'_>) -> Finished {
        match self {
            Self::Http1(http) => http.finish(outcome, now),
            Self::Http2(http) => http.finish(stream, outcome, now),
        }
    }

    /// The server itself answers with a status and its phrase; a response that has begun is broken instead.
    pub fn refuse(&mut self, stream: u32, status: u16, now: &Now<'_>) {
        match self {
            Self::Http1(http) => http.refuse(status, now),
            Self::Http2(http) => http.refuse(stream, status, now),
        }
    }

    /// The server itself answers the exchange; the connection goes on unless the answer says otherwise.
    pub fn respond(&mut self, stream: u32, answer: &Answer<'_>, now: &Now<'_>) {
        match self {
            Self::Http1(http) => http.respond(answer, now),
            Self::Http2(http) => http.respond(stream, answer, now),
        }
    }

    /// The WebSocket that the request asks for, from its handshake on.
    pub fn websocket(&mut self, stream: u32) -> Option<&mut WebSocket> {
        match self {
            Self::Http1(http) => http.websocket(),
            Self::Http2(http) => http.websocket(stream),
        }
    }

    /// The same for whoever outlives the connection.
    pub fn take_websocket(&mut self, stream: u32) -> Option<Box<WebSocket>> {
        match self {
            Self::Http1(http) => http.take_websocket(),
            Self::Http2(http) => http.take_websocket(stream),
        }
    }

    /// `websocket.accept` (WS-04).
    ///
    /// # Errors
    /// Where it may not come now or cannot be sent; nothing has changed then.
    pub fn websocket_accept(
        &mut self,
        stream: u32,
        subprotocol: Option<&str>,
        headers: &Headers,
        now: &Now<'_>,
    ) -> Result<(), SendError> {
        match self {
            Self::Http1(http) => http.websocket_accept(subprotocol, headers, now),
            Self::Http2(http) => http.websocket_accept(stream, subprotocol, headers, now),
        }
    }

    /// `websocket.close`: a 403 before the accept (WS-11), a close frame after it (WS-12).
    ///
    /// # Errors
    /// Where it may not come now or cannot be sent; nothing has changed then.
    pub fn websocket_close(&mut self, stream: u32, code: u16, reason: &str, now: &Now<'_>) -> Result<(), SendError> {
        match self {
            Self::Http1(http) => http.websocket_close(code, reason, now),
            Self::Http2(http) => http.websocket_close(stream, code, reason, now),
        }
    }

    /// `websocket.http.response.start` (EXT-01).
    ///
    /// # Errors
    /// Where it may not come now or cannot be sent; nothing has changed then.
    pub fn websocket_response_start(&mut self, stream: u32, start: &ResponseStart) -> Result<(), SendError> {
        match self {
            Self::Http1(http) => http.websocket_response_start(start),
            Self::Http2(http) => http.websocket_response_start(stream, start),
        }
    }

    /// `websocket.http.response.body` (EXT-01).
    ///
    /// # Errors
    /// Where it may not come now or cannot be sent; nothing has changed then.
    pub fn websocket_response_body(
        &mut self,
        stream: u32,
        content: Content<B>,
        more_body: bool,
        now: &Now<'_>,
    ) -> Result<(), SendError> {
        match self {
            Self::Http1(http) => http.websocket_response_body(content, more_body, now),
            Self::Http2(http) => http.websocket_response_body(stream, content, more_body, now),
        }
    }

    /// `websocket.send` (WS-10).
    ///
    /// # Errors
    /// Where it may not come now or the WebSocket is closed; nothing has changed then.
    pub fn websocket_send<T>(&mut self, stream: u32, message: Message<B, T>, now: &Now<'_>) -> Result<(), SendError>
    where
        T: AsRef<str> + Into<B>,
    {
        match self {
            Self::Http1(http) => http.websocket_send(message, now),
            Self::Http2(http) => http.websocket_send(stream, message, now),
        }
    }

    /// The application waits for a message, or does not any more. In HTTP/2 messages are kept as they come.
    pub fn want_message(&mut self, wanted: bool) {
        if let Self::Http1(http) = self {
            http.want_message(wanted);
        }
    }

    /// In HTTP/2, reads what has waited for the application: to the next message where it `waits`, else as far as the queue
    /// takes it. How the peer broke the protocol there, if it did.
    pub fn feed_websocket(&mut self, stream: u32, waits: bool, now: &Now<'_>) -> Option<ProtocolError> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(http) => http.feed_websocket(stream, waits, now),
        }
    }

    /// A part of the body that has come and was kept, and whether it is the last: in HTTP/2.
    pub fn take_body(&mut self, stream: u32, now: &Now<'_>) -> Option<(G, bool)> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(http) => http.take_body(stream, now),
        }
    }

    /// The exchange will not be named again: its application call has ended.
    pub fn release(&mut self, stream: u32) {
        if let Self::Http2(http) = self {
            http.release(stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test may look at the clock")]
    fn a_drain_is_not_forgotten_when_the_protocol_is_known() {
        let now = Instant::now();
        let sent = |drain: Option<Drain>| {
            let mut protocol = Protocol::<Vec<u8>>::http1(Rc::new(Limits::default()), now);
            if let Some(drain) = drain {
                protocol.drain(drain);
            }
            protocol.become_http2(now);
            protocol.transmit().whole().unwrap().to_vec()
        };
        let settings = sent(None);
        let drained = sent(Some(Drain::Patient));
        assert!(drained.starts_with(&settings));
        // RFC 9113 section 6.8: a GOAWAY that takes all requests which are on their way.
        let go_away = &drained[settings.len()..];
        assert_eq!((go_away[3], &go_away[9..13]), (7, &[0x7f, 0xff, 0xff, 0xff][..]));
    }
}
