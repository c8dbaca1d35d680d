//! What an application asks of its exchange, as changes of the worker's state. It calls nobody back.

use std::task::Poll;

use asgi::{Application, ExchangeId, Message, Outcome, ReceiveEvent, ResponseStart, SendError, SendEvent};
use ferricorn_proto::{Content, Finished, Now, http1};

use crate::access_log::Access;
use crate::board::Row;
use crate::cells::Cell;
use crate::connection::{Connection, Part};
use crate::file;
use crate::host::Problem;
use crate::slab::Key;
use crate::state::{LOW_WATER, State, key_of};

/// Above this many unsent bytes `send` makes the application wait (CON-05).
const HIGH_WATER: u64 = 64 * 1024;

/// What became of an event that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is in the send buffer; more may follow.
    Open,
    /// As `Open`, but every byte that content-length promised is there: what follows can only be empty.
    Satisfied,
    /// The response is over before its end: its body was said to be complete with fewer bytes than content-length
    /// promised, and the connection is broken off (HTTP-21).
    Short {
        /// What content-length promised, in bytes.
        promised: u64,
        /// What came, in bytes.
        sent: u64,
    },
    /// As `Open`, but the send buffer is above its high-water mark: wait for [`Wake::Send`](asgi::Wake::Send).
    Blocked,
    /// The response is complete; what is sent from now on is ignored (HTTP-18).
    Complete,
}

/// Makes what an application receives of the bytes and text that came: one of the two is called, at most once.
pub trait Take {
    /// What becomes of a part of a body, or of a binary message.
    type Bytes;

    /// What becomes of a text message.
    type Text;

    /// Takes bytes.
    fn bytes(self, bytes: &[u8]) -> Self::Bytes;

    /// Takes text.
    fn text(self, text: &str) -> Self::Text;
}

impl<A: Application> State<A> {
    pub(crate) fn receive<T: Take>(&mut self, exchange: ExchangeId, take: T) -> Poll<ReceiveEvent<T::Bytes, T::Text>> {
        let key = key_of(exchange);
        let Some(connection) = self.connections.get_mut(key) else { return self.receive_late(exchange, take) };
        if connection.sequence != exchange.sequence {
            return Poll::Ready(ReceiveEvent::Disconnect);
        }
        if connection.http.websocket().is_some() {
            return self.receive_message(exchange, take);
        }
        if !connection.body_given {
            if connection.http.request_complete() {
                connection.body_given = true;
                if connection.http.disconnected() {
                    self.enqueue(key);
                }
                return Poll::Ready(ReceiveEvent::Request { body: take.bytes(&[]), more_body: false });
            }
            if connection.http.exchange_is_open() {
                let now = self.clock.now();
                connection.http.want_body(&now);
                match connection.take_body(&mut self.buffer, &now, |bytes| take.bytes(bytes)) {
                    Part::Data { body, end } => {
                        connection.body_given = end;
                        return Poll::Ready(ReceiveEvent::Request { body, more_body: !end });
                    }
                    Part::Refused(error) => {
                        self.problems.push(Problem::Request { client: connection.ends.client.clone(), error });
                        self.count_refused(key, error.status());
                        self.enqueue(key);
                        return Poll::Ready(ReceiveEvent::Disconnect);
                    }
                    Part::Nothing => {}
                }
            }
        }
        if connection.http.disconnected() || !connection.http.exchange_is_open() {
            self.enqueue(key);
            return Poll::Ready(ReceiveEvent::Disconnect);
        }
        connection.receive_waiting = true;
        // What the client may wait for before it goes on, a 100 Continue among it, is not kept from it.
        if connection.has_input() || !connection.http.transmit().is_empty() {
            self.enqueue(key);
        }
        Poll::Pending
    }

    /// The next event of a WebSocket: what has been read ahead, else what the socket has.
    fn receive_message<T: Take>(&mut self, exchange: ExchangeId, take: T) -> Poll<ReceiveEvent<T::Bytes, T::Text>> {
        let key = key_of(exchange);
        let now = self.clock.now();
        let Some(connection) = self.connections.get_mut(key) else { return self.receive_late(exchange, take) };
        connection.receive_woken = false;
        let ended = !connection.http.exchange_is_open();
        let Some(socket) = connection.http.websocket() else { return Poll::Ready(ReceiveEvent::Disconnect) };
        if socket.has_event(ended) {
            let event = socket.receive(ended, |message| taken(take, message));
            // There may be room now for input that waits.
            if ended || connection.has_input() {
                self.enqueue(key);
            }
            return event.map_or(Poll::Pending, Poll::Ready);
        }
        let message = connection.take_message(&mut self.buffer, &now, |message| taken(take, message));
        // What the client may wait for, a pong or the answer to its close among it, is not kept from it.
        if !connection.http.transmit().is_empty() {
            self.enqueue(key);
        }
        match message {
            Some(Ok(message)) => Poll::Ready(ReceiveEvent::WebSocketReceive(message)),
            Some(Err(error)) => {
                self.violated(key, error);
                self.receive_end(key)
            }
            None => self.receive_end(key),
        }
    }

    /// What follows the last message: the disconnect, or a wait for another.
    fn receive_end<B, T>(&mut self, key: Key) -> Poll<ReceiveEvent<B, T>> {
        let Some(connection) = self.connections.get_mut(key) else { return Poll::Ready(ReceiveEvent::Disconnect) };
        let ended = !connection.http.exchange_is_open();
        if let Some(event) = connection.http.websocket().and_then(|socket| socket.disconnect(ended)) {
            self.enqueue(key);
            return Poll::Ready(event);
        }
        connection.receive_waiting = true;
        if connection.has_input() {
            self.enqueue(key);
        }
        Poll::Pending
    }

    /// The next event of a WebSocket whose connection is gone.
    fn receive_late<T: Take>(&mut self, exchange: ExchangeId, take: T) -> Poll<ReceiveEvent<T::Bytes, T::Text>> {
        let socket = self.orphans.get_mut(&exchange);
        let event = socket.and_then(|socket| socket.receive(true, |message| taken(take, message)));
        Poll::Ready(event.unwrap_or(ReceiveEvent::Disconnect))
    }

    pub(crate) fn websockets(&mut self) -> usize {
        let keys = self.connections.keys().into_iter();
        let open = keys.filter(|key| self.connections.get_mut(*key).is_some_and(has_session)).count();
        open + self.orphans.values().filter(|socket| socket.session().is_some()).count()
    }

    pub(crate) fn is_websocket(&mut self, exchange: ExchangeId) -> bool {
        let connection = self.connections.get_mut(key_of(exchange));
        let is_open =
            connection.is_some_and(|connection| connection.sequence == exchange.sequence && has_session(connection));
        is_open || self.orphans.get(&exchange).is_some_and(|socket| socket.session().is_some())
    }

    /// Whether an exchange that was blocked is so no more.
    pub(crate) fn sent(&mut self, exchange: ExchangeId) -> Poll<Result<(), SendError>> {
        let Some(connection) = self.connections.get_mut(key_of(exchange)) else {
            return Poll::Ready(Err(SendError::Disconnected));
        };
        // A close that the application has just sent ends its WebSocket, and is no failure.
        if connection.sequence != exchange.sequence || !connection.send_blocked {
            return Poll::Ready(Ok(()));
        }
        if connection.http.disconnected() {
            return Poll::Ready(Err(SendError::Disconnected));
        }
        if !connection.http.exchange_is_open() {
            return Poll::Ready(Ok(()));
        }
        connection.send_waiting = connection.http.transmit().len() > LOW_WATER;
        if connection.send_waiting { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    pub(crate) fn start(&mut self, exchange: ExchangeId, start: &ResponseStart) -> Result<Sent, SendError> {
        let Some(connection) = self.connections.get_mut(key_of(exchange)) else { return Err(SendError::Disconnected) };
        if connection.sequence != exchange.sequence {
            return Ok(Sent::Complete);
        }
        connection.http.start(start)?;
        if let Some(access) = &mut connection.log {
            access.respond(&start.headers);
        }
        Ok(Sent::Open)
    }

    pub(crate) fn send(&mut self, exchange: ExchangeId, event: SendEvent<A::Body, A::Text>) -> Result<Sent, SendError> {
        if let SendEvent::ResponseStart(start) = event {
            return self.start(exchange, &start);
        }
        let last = is_last(&event);
        let key = key_of(exchange);
        let Some(connection) = self.connections.get_mut(key) else { return Err(SendError::Disconnected) };
        if connection.sequence != exchange.sequence {
            return Ok(Sent::Complete);
        }
        if let Some(access) = &mut connection.log {
            note_start(access, &event);
        }
        let now = self.clock.now();
        apply(&mut connection.http, event, &now, &self.row)?;
        connection.send_blocked = false;
        let http = &mut connection.http;
        if !http.exchange_is_open() && http.websocket().is_some() {
            // Closed or denied: what is sent from now on finds nobody (WS-23).
            let sent = http.shortfall().map_or(Sent::Open, |(promised, sent)| Sent::Short { promised, sent });
            self.complete(key);
            return Ok(sent);
        }
        if !http.exchange_is_open() && !http.disconnected() {
            let sent = match http.shortfall() {
                Some((promised, sent)) => Sent::Short { promised, sent },
                None if last => Sent::Complete,
                None => Sent::Satisfied,
            };
            self.complete(key);
            return Ok(sent);
        }
        if connection.http.transmit().len() > HIGH_WATER {
            connection.write(&now);
        }
        let blocked = connection.http.transmit().len() > HIGH_WATER;
        connection.send_blocked = blocked;
        let over = connection.is_over(&now);
        if connection.is_noted() && connection.http.response_status() == Some(101) {
            self.note_response(key);
        }
        self.enqueue(key);
        match (over, blocked) {
            (true, _) => Err(SendError::Disconnected),
            (false, true) => Ok(Sent::Blocked),
            (false, false) => Ok(Sent::Open),
        }
    }

    /// Where nobody steps in for it: a streamed part reaches the client even when the application computes or blocks from
    /// here on.
    pub(crate) fn write_streamed(&mut self, exchange: ExchangeId) {
        let now = self.clock.now();
        if let Some(connection) = self.connections.get_mut(key_of(exchange))
            && connection.http.exchange_is_open()
        {
            connection.write(&now);
        }
    }

    /// The response of the connection's exchange is complete: it is logged, and written at the end of the turn.
    pub(crate) fn complete(&mut self, key: Key) {
        self.wake_receive(key);
        self.note_response(key);
        self.enqueue(key);
    }

    /// Logs and counts the response, where somebody wants to know of it.
    fn note_response(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key).filter(|connection| connection.is_noted()) else { return };
        if let Some(mut access) = connection.log.take() {
            let http = &connection.http;
            access.end(http.response_status().unwrap_or_default(), http.response_body_bytes());
            self.accesses.finished.push(access);
        }
        self.count_response(key);
    }

    pub(crate) fn finish(&mut self, exchange: ExchangeId, outcome: Outcome) -> Finished {
        self.running -= 1;
        self.row.set(Cell::IN_FLIGHT, self.running as u64);
        self.orphans.remove(&exchange);
        let key = key_of(exchange);
        let now = self.clock.now();
        let Some(connection) = self.connections.get_mut(key) else { return Finished::Disconnected };
        if connection.sequence != exchange.sequence {
            return Finished::Complete;
        }
        connection.running = false;
        if connection.http.shortfall().is_some() {
            return Finished::Complete;
        }
        let finished = connection.http.finish(outcome, &now);
        match finished {
            // What the end itself has to say, a close frame or the last chunk, may still be unwritten.
            Finished::Complete if connection.queued || connection.http.transmit().is_empty() => {}
            Finished::Disconnected => self.enqueue(key),
            _ => self.complete(key),
        }
        finished
    }
}

fn has_session<A: Application>(connection: &mut Connection<A>) -> bool {
    connection.http.websocket().is_some_and(|socket| socket.session().is_some())
}

/// What begins the response to a handshake; that of a request is seen by [`State::start`].
fn note_start<B, T>(access: &mut Access, event: &SendEvent<B, T>) {
    match event {
        SendEvent::WebSocketAccept { headers, .. } => access.respond(headers),
        SendEvent::WebSocketResponseStart(start) => access.respond(&start.headers),
        _ => {}
    }
}

/// Puts an event on the wire.
fn apply<B, T>(
    http: &mut http1::Connection<B>,
    event: SendEvent<B, T>,
    now: &Now<'_>,
    row: &Row,
) -> Result<(), SendError>
where
    B: AsRef<[u8]>,
    T: AsRef<str> + Into<B>,
{
    match event {
        SendEvent::ResponseBody { body, more_body } => http.body(Content::Bytes(body), more_body, now),
        SendEvent::WebSocketSend(message) => {
            http.websocket_send(message, now)?;
            row.add(Cell::MESSAGES_SENT, 1);
            Ok(())
        }
        SendEvent::ResponsePathsend { path } => {
            let (file, count) = file::whole(&path)?;
            http.pathsend(file, count, now)
        }
        SendEvent::ResponseZerocopysend { file, offset, count, more_body } => {
            http.body(file::part(file, offset, count)?, more_body, now)
        }
        SendEvent::ResponseTrailers { headers, more_trailers } => http.trailers(&headers, more_trailers, now),
        SendEvent::ResponseEarlyHint { links } => http.early_hint(&links),
        SendEvent::WebSocketAccept { subprotocol, headers } => {
            http.websocket_accept(subprotocol.as_deref(), &headers, now)
        }
        SendEvent::WebSocketClose { code, reason } => http.websocket_close(code, &reason, now),
        SendEvent::WebSocketResponseStart(start) => http.websocket_response_start(&start),
        SendEvent::WebSocketResponseBody { body, more_body } => {
            http.websocket_response_body(Content::Bytes(body), more_body, now)
        }
        _ => Ok(()),
    }
}

fn taken<T: Take>(take: T, message: Message<&[u8], &str>) -> Message<T::Bytes, T::Text> {
    match message {
        Message::Text(text) => Message::Text(take.text(text)),
        Message::Binary(bytes) => Message::Binary(take.bytes(bytes)),
    }
}

/// Whether the application has nothing to say after this event.
fn is_last<B, T>(event: &SendEvent<B, T>) -> bool {
    match event {
        SendEvent::ResponseBody { more_body, .. } | SendEvent::ResponseZerocopysend { more_body, .. } => !more_body,
        SendEvent::ResponseTrailers { more_trailers, .. } => !more_trailers,
        SendEvent::ResponsePathsend { .. } => true,
        _ => false,
    }
}
