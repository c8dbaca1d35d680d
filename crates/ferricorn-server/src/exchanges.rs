//! What an application asks of its exchange, as changes of the worker's state. It calls nobody back.

use std::task::Poll;

use asgi::{Application, ExchangeId, Gather, Message, Outcome, ReceiveEvent, ResponseStart, SendError, SendEvent};
use ferricorn_proto::{Content, Finished, Now, Protocol};

use crate::access_log::Access;
use crate::board::Row;
use crate::cells::Cell;
use crate::connection::Part;
use crate::files;
use crate::host::Problem;
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
    /// What a part of a body of HTTP/2 is gathered in.
    type Gathered;

    /// What becomes of a part of a body, or of a binary message.
    type Bytes;

    /// What becomes of a text message.
    type Text;

    /// Takes bytes.
    fn bytes(self, bytes: &[u8]) -> Self::Bytes;

    /// Takes a part of a body as it was gathered.
    fn gathered(self, gathered: Self::Gathered) -> Self::Bytes;

    /// Takes text.
    fn text(self, text: &str) -> Self::Text;
}

impl<A: Application> State<A> {
    pub(crate) fn receive<T: Take<Gathered = A::Gathered>>(
        &mut self,
        id: ExchangeId,
        take: T,
    ) -> Poll<ReceiveEvent<T::Bytes, T::Text>> {
        let (key, number) = (key_of(id), id.sequence);
        let Some(connection) = self.connections.get_mut(key) else { return self.receive_late(id, take) };
        let Some(exchange) = connection.exchanges.get(number) else { return Poll::Ready(ReceiveEvent::Disconnect) };
        if connection.http.websocket(number).is_some() {
            return self.receive_message(id, take);
        }
        if !exchange.body_given {
            if connection.http.request_complete(number) {
                exchange.body_given = true;
                if connection.http.disconnected(number) {
                    self.enqueue(key);
                }
                return Poll::Ready(ReceiveEvent::Request { body: take.bytes(&[]), more_body: false });
            }
            // What a client of HTTP/2 sent before it went is here.
            if connection.http.exchange_is_open(number) || connection.http.is_multiplexed() {
                let now = self.clock.now();
                connection.http.want_body(number, &now);
                match connection.take_body(number, &mut self.buffer, &now, take) {
                    Part::Data { body, end } => {
                        if let Some(exchange) = connection.exchanges.get(number) {
                            exchange.body_given = end;
                        }
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
        if connection.http.disconnected(number) || !connection.http.exchange_is_open(number) {
            self.enqueue(key);
            return Poll::Ready(ReceiveEvent::Disconnect);
        }
        connection.wait_to_receive(number);
        // What the client may wait for before it goes on, a 100 Continue among it, is not kept from it.
        if connection.has_input() || !connection.http.transmit().is_empty() {
            self.enqueue(key);
        }
        Poll::Pending
    }

    /// The next event of a WebSocket: what has been read ahead, else what the socket has.
    fn receive_message<T: Take<Gathered = A::Gathered>>(
        &mut self,
        id: ExchangeId,
        take: T,
    ) -> Poll<ReceiveEvent<T::Bytes, T::Text>> {
        let (key, number) = (key_of(id), id.sequence);
        let now = self.clock.now();
        let Some(connection) = self.connections.get_mut(key) else { return self.receive_late(id, take) };
        if let Some(exchange) = connection.exchanges.get(number) {
            exchange.receive_woken = false;
        }
        let ended = !connection.http.exchange_is_open(number);
        let has_event = |http: &mut Protocol<A::Body, A::Gathered>| {
            http.websocket(number).is_some_and(|socket| socket.has_event(ended))
        };
        let violation = match has_event(&mut connection.http) {
            true => None,
            false => connection.http.feed_websocket(number, true, &now),
        };
        let has_event = has_event(&mut connection.http);
        let Some(socket) = connection.http.websocket(number) else { return Poll::Ready(ReceiveEvent::Disconnect) };
        if has_event {
            let event = socket.receive(ended, |message| taken(take, message));
            // There may be room now for input that waits.
            let looks_behind = connection.look_behind(number);
            if looks_behind || ended || connection.has_input() || !connection.http.transmit().is_empty() {
                self.enqueue(key);
            }
            if let Some(error) = violation {
                self.violated(key, error);
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
                self.receive_end(id)
            }
            None => self.receive_end(id),
        }
    }

    /// What follows the last message: the disconnect, or a wait for another.
    fn receive_end<B, T>(&mut self, id: ExchangeId) -> Poll<ReceiveEvent<B, T>> {
        let (key, number) = (key_of(id), id.sequence);
        let Some(connection) = self.connections.get_mut(key) else { return Poll::Ready(ReceiveEvent::Disconnect) };
        let ended = !connection.http.exchange_is_open(number);
        if let Some(event) = connection.http.websocket(number).and_then(|socket| socket.disconnect(ended)) {
            self.enqueue(key);
            return Poll::Ready(event);
        }
        connection.wait_to_receive(number);
        if connection.has_input() {
            self.enqueue(key);
        }
        Poll::Pending
    }

    /// The next event of a WebSocket whose connection is gone.
    fn receive_late<T: Take<Gathered = A::Gathered>>(
        &mut self,
        exchange: ExchangeId,
        take: T,
    ) -> Poll<ReceiveEvent<T::Bytes, T::Text>> {
        let socket = self.orphans.get_mut(&exchange);
        let event = socket.and_then(|socket| socket.receive(true, |message| taken(take, message)));
        Poll::Ready(event.unwrap_or(ReceiveEvent::Disconnect))
    }

    pub(crate) fn websockets(&mut self) -> usize {
        let mut open = 0;
        for key in self.connections.keys() {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            let http = &mut connection.http;
            open += connection.exchanges.each().filter(|(number, _)| has_session(http, *number)).count();
        }
        open + self.orphans.values().filter(|socket| socket.session().is_some()).count()
    }

    pub(crate) fn is_websocket(&mut self, id: ExchangeId) -> bool {
        let connection = self.connections.get_mut(key_of(id));
        let is_open = connection.is_some_and(|connection| {
            connection.exchanges.get(id.sequence).is_some() && has_session(&mut connection.http, id.sequence)
        });
        is_open || self.orphans.get(&id).is_some_and(|socket| socket.session().is_some())
    }

    /// Whether an exchange that was blocked is so no more.
    pub(crate) fn sent(&mut self, id: ExchangeId) -> Poll<Result<(), SendError>> {
        let number = id.sequence;
        let Some(connection) = self.connections.get_mut(key_of(id)) else {
            return Poll::Ready(Err(SendError::Disconnected));
        };
        // A close that the application has just sent ends its WebSocket, and is no failure.
        let Some(exchange) = connection.exchanges.get(number).filter(|exchange| exchange.send_blocked) else {
            return Poll::Ready(Ok(()));
        };
        if connection.http.disconnected(number) {
            return Poll::Ready(Err(SendError::Disconnected));
        }
        if !connection.http.exchange_is_open(number) {
            return Poll::Ready(Ok(()));
        }
        exchange.send_waiting = connection.http.unsent(number) > LOW_WATER;
        if exchange.send_waiting { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    pub(crate) fn start(&mut self, id: ExchangeId, start: &ResponseStart) -> Result<Sent, SendError> {
        let Some(connection) = self.connections.get_mut(key_of(id)) else { return Err(SendError::Disconnected) };
        let Some(exchange) = connection.exchanges.get(id.sequence) else { return Ok(Sent::Complete) };
        connection.http.start(id.sequence, start)?;
        if let Some(access) = &mut exchange.log {
            access.respond(&start.headers);
        }
        Ok(Sent::Open)
    }

    pub(crate) fn send(&mut self, id: ExchangeId, event: SendEvent<A::Body, A::Text>) -> Result<Sent, SendError> {
        if let SendEvent::ResponseStart(start) = event {
            return self.start(id, &start);
        }
        let last = is_last(&event);
        let (key, number) = (key_of(id), id.sequence);
        let Some(connection) = self.connections.get_mut(key) else { return Err(SendError::Disconnected) };
        let Some(exchange) = connection.exchanges.get(number) else { return Ok(Sent::Complete) };
        if let Some(access) = &mut exchange.log {
            note_start(access, &event);
        }
        let now = self.clock.now();
        let http = &mut connection.http;
        apply(http, number, event, &now, &self.row)?;
        exchange.send_blocked = false;
        let is_noted = exchange.is_noted();
        if !http.exchange_is_open(number) && http.websocket(number).is_some() {
            // Closed or denied: what is sent from now on finds nobody (WS-23).
            let sent = http.shortfall(number).map_or(Sent::Open, |(promised, sent)| Sent::Short { promised, sent });
            self.complete(id);
            return Ok(sent);
        }
        if !http.exchange_is_open(number) && !http.disconnected(number) {
            let sent = match http.shortfall(number) {
                Some((promised, sent)) => Sent::Short { promised, sent },
                None if last => Sent::Complete,
                None => Sent::Satisfied,
            };
            self.complete(id);
            return Ok(sent);
        }
        if http.unsent(number) > HIGH_WATER {
            connection.write(&mut self.buffer, &now);
        }
        let blocked = connection.http.unsent(number) > HIGH_WATER;
        if let Some(exchange) = connection.exchanges.get(number) {
            exchange.send_blocked = blocked;
        }
        let over = connection.is_over(&mut self.buffer, &now);
        if is_noted && has_session(&mut connection.http, number) {
            self.note_response(id);
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
    pub(crate) fn write_streamed(&mut self, id: ExchangeId) {
        let now = self.clock.now();
        if let Some(connection) = self.connections.get_mut(key_of(id))
            && connection.http.exchange_is_open(id.sequence)
        {
            connection.write(&mut self.buffer, &now);
        }
    }

    /// The response of the exchange is complete: it is logged, and written at the end of the turn.
    pub(crate) fn complete(&mut self, id: ExchangeId) {
        self.wake_receive(id);
        self.note_response(id);
        self.enqueue(key_of(id));
    }

    /// Logs and counts the response, where somebody wants to know of it.
    fn note_response(&mut self, id: ExchangeId) {
        let Some(connection) = self.connections.get_mut(key_of(id)) else { return };
        let Some(exchange) = connection.exchanges.get(id.sequence).filter(|exchange| exchange.is_noted()) else {
            return;
        };
        if let Some(mut access) = exchange.log.take() {
            let http = &connection.http;
            access.end(http.response_status(id.sequence).unwrap_or_default(), http.response_body_bytes(id.sequence));
            self.accesses.finished.push(access);
        }
        self.count_response(id);
    }

    pub(crate) fn finish(&mut self, id: ExchangeId, outcome: Outcome) -> Finished {
        self.running -= 1;
        self.row.set(Cell::IN_FLIGHT, self.running as u64);
        if !self.orphans.is_empty() {
            self.orphans.remove(&id);
        }
        let (key, number) = (key_of(id), id.sequence);
        let now = self.clock.now();
        let Some(connection) = self.connections.get_mut(key) else { return Finished::Disconnected };
        let Some(exchange) = connection.exchanges.get(number) else { return Finished::Complete };
        exchange.running = false;
        if connection.http.shortfall(number).is_some() {
            self.forget(id);
            return Finished::Complete;
        }
        let finished = connection.http.finish(number, outcome, &now);
        match finished {
            // What the end itself has to say, a close frame or the last chunk, may still be unwritten.
            Finished::Complete if connection.queued || connection.http.transmit().is_empty() => {}
            Finished::Disconnected => self.enqueue(key),
            _ => self.complete(id),
        }
        self.forget(id);
        finished
    }
}

fn has_session<B: AsRef<[u8]>, G: Gather>(http: &mut Protocol<B, G>, number: u32) -> bool {
    http.websocket(number).is_some_and(|socket| socket.session().is_some())
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
fn apply<B, G, T>(
    http: &mut Protocol<B, G>,
    number: u32,
    event: SendEvent<B, T>,
    now: &Now<'_>,
    row: &Row,
) -> Result<(), SendError>
where
    B: AsRef<[u8]>,
    G: Gather,
    T: AsRef<str> + Into<B>,
{
    match event {
        SendEvent::ResponseBody { body, more_body } => http.body(number, Content::Bytes(body), more_body, now),
        SendEvent::WebSocketSend(message) => {
            http.websocket_send(number, message, now)?;
            row.add(Cell::MESSAGES_SENT, 1);
            Ok(())
        }
        SendEvent::ResponsePathsend { path } => {
            let (file, count) = files::whole(&path)?;
            http.pathsend(number, file, count, now)
        }
        SendEvent::ResponseZerocopysend { file, offset, count, more_body } => {
            http.body(number, files::part(file, offset, count)?, more_body, now)
        }
        SendEvent::ResponseTrailers { headers, more_trailers } => http.trailers(number, &headers, more_trailers, now),
        SendEvent::ResponseEarlyHint { links } => http.early_hint(number, &links),
        SendEvent::WebSocketAccept { subprotocol, headers } => {
            http.websocket_accept(number, subprotocol.as_deref(), &headers, now)
        }
        SendEvent::WebSocketClose { code, reason } => http.websocket_close(number, code, &reason, now),
        SendEvent::WebSocketResponseStart(start) => http.websocket_response_start(number, &start),
        SendEvent::WebSocketResponseBody { body, more_body } => {
            http.websocket_response_body(number, Content::Bytes(body), more_body, now)
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
