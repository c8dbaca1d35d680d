//! The worker's state: its connections, and what is to be done for them. It calls nobody back: what has to be told to the
//! application or the process is collected here, and told when no borrow is held.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use asgi::{Application, ExchangeId, Scheme, Wake};
use ferricorn_proto::websocket::WebSocket;
use ferricorn_proto::{Drain, Protocol, TimeoutKind};
use mio::Events;
use rustc_hash::FxHashMap;

use crate::accepting::Fairness;
use crate::access_log::Access;
use crate::board::Row;
use crate::cells::Cell;
use crate::clock::Clock;
use crate::connection::{Connection, RequestLine};
use crate::exchange::Running;
use crate::files::{Ahead, Reader, System, report_faults};
use crate::handshakes::Handshakes;
use crate::host::{Config, Problem};
use crate::identity::Random;
use crate::listener::Listener;
use crate::poller::{Poller, Readiness};
use crate::proxies::Ends;
use crate::redirect::Redirect;
use crate::slab::{Key, Slab};
use crate::socket::Socket;
use crate::tls;

/// Below this many unsent bytes an application that waits in `send` goes on (CON-05).
pub(crate) const LOW_WATER: u64 = 16 * 1024;

/// What one read takes at the most.
const READ_BUFFER: usize = 256 * 1024;
const _: () = assert!(READ_BUFFER >= tls::BUFFER);

/// How long a head that has begun may take once the worker drains.
const LATE_HEAD: Duration = Duration::from_secs(1);

pub(crate) struct State<A: Application> {
    pub(crate) poller: Poller,
    /// What ends a wait of the poller, once somebody has asked for it.
    pub(crate) waker: Option<Arc<mio::Waker>>,
    /// Who waits for the disk.
    pub(crate) reader: Reader<(Key, u32)>,
    pub(crate) events: Option<Events>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) connections: Slab<Connection<A>>,
    pub(crate) clock: Clock,
    pub(crate) buffer: Vec<u8>,
    pub(crate) line: RequestLine,
    /// WebSockets whose connections are gone, for applications that have not seen all of it.
    pub(crate) orphans: FxHashMap<ExchangeId, Box<WebSocket>>,
    /// Connections to be written to and looked at before the turn ends.
    pub(crate) queue: Vec<Key>,
    pub(crate) queued_at: Instant,
    /// Whether something in the queue has been put off, and somebody steps in when it is not written soon.
    pub(crate) put_off: bool,
    /// Whether a turn runs, at whose end the queue is handled.
    pub(crate) in_turn: bool,
    /// Where those are sent who come without TLS beside it.
    pub(crate) redirect: Redirect,
    /// Listeners that have more to accept.
    pub(crate) acceptable: Vec<usize>,
    pub(crate) handshakes: Handshakes,
    pub(crate) fairness: Fairness,
    /// Listeners that could not accept and are tried again at the next tick.
    pub(crate) accept_failed: bool,
    /// Application calls that have not ended.
    pub(crate) running: usize,
    /// All application calls that there have been.
    pub(crate) calls: u64,
    /// The number of calls at which the process is told.
    pub(crate) told_at: u64,
    /// Whether the process says that it goes on serving.
    pub(crate) healthy: bool,
    /// Set when no further request is wanted.
    pub(crate) draining: Option<Draining>,
    pub(crate) drained: bool,
    pub(crate) wakes: Vec<(ExchangeId, Wake)>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) accesses: Accesses,
    /// What ids are made of, from the first one on.
    pub(crate) random: Option<Random>,
    /// Where all that happens is counted.
    pub(crate) row: Row,
    /// Connections that are counted as open WebSockets.
    pub(crate) websockets: u64,
}

/// Finished responses that the process has not been told of.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "they come from their connections and go back to others")]
pub(crate) struct Accesses {
    pub(crate) finished: Vec<Box<Access>>,
    /// For requests to come.
    spare: Vec<Box<Access>>,
}

/// How many are kept for requests to come: as many as one turn can finish, as a rule.
const SPARE: usize = 256;

impl Accesses {
    pub(crate) fn begin(&mut self) -> Box<Access> {
        self.spare.pop().unwrap_or_default()
    }

    /// Those that the process has been told of.
    #[expect(clippy::vec_box, reason = "as above")]
    pub(crate) fn give_back(&mut self, mut told: Vec<Box<Access>>) {
        told.iter_mut().for_each(|access| access.release());
        let room = SPARE - self.spare.len();
        told.truncate(room);
        self.spare.append(&mut told);
        if self.finished.is_empty() {
            // Keeps the memory of the list.
            self.finished = told;
        }
    }
}

/// How far a drain has come.
#[derive(Clone, Copy)]
pub(crate) struct Draining {
    /// Since when what idles is closed; None: it may stay until its own deadline.
    pub(crate) quick: Option<Instant>,
    /// When WebSockets are to be closed.
    websockets_end: Instant,
    /// Since when they are.
    restarting: Option<Instant>,
}

impl Draining {
    /// Whether a connection that nobody wants any more has had its time.
    fn is_late(&self, is_websocket: bool, now: Instant) -> bool {
        let since = if is_websocket { self.quick.max(self.restarting) } else { self.quick };
        self.quick.is_some() && since.is_some_and(|since| now >= since + LATE_HEAD)
    }
}

impl<A: Application> State<A> {
    pub(crate) fn new(listeners: Vec<Listener>, row: Row) -> io::Result<Self> {
        let clock = Clock::new();
        Ok(Self {
            poller: Poller::new()?,
            waker: None,
            reader: Reader::new(Arc::new(System)),
            events: Some(Poller::events()),
            redirect: Redirect::of(&listeners),
            listeners,
            connections: Slab::new(),
            queued_at: clock.instant(),
            clock,
            buffer: vec![0; READ_BUFFER],
            line: RequestLine::default(),
            orphans: FxHashMap::default(),
            queue: Vec::new(),
            put_off: false,
            in_turn: false,
            acceptable: Vec::new(),
            handshakes: Handshakes::default(),
            fairness: Fairness::default(),
            accept_failed: false,
            running: 0,
            calls: 0,
            told_at: u64::MAX,
            healthy: true,
            draining: None,
            drained: false,
            wakes: Vec::new(),
            problems: Vec::new(),
            accesses: Accesses::default(),
            random: None,
            row,
            websockets: 0,
        })
    }

    /// Takes down what the poller told of a connection. Whether somebody who waits for that is woken: then there is nothing
    /// to be done for the connection before they have looked.
    pub(crate) fn note(&mut self, key: Key, readiness: Readiness) -> bool {
        let Some(connection) = self.connections.get_mut(key) else { return true };
        connection.quiet = false;
        if readiness.readable {
            connection.set_readable();
        }
        if readiness.writable {
            connection.set_writable();
        }
        if readiness.read_closed {
            connection.set_read_closed();
        }
        if readiness.broken {
            connection.set_broken();
        }
        let number = connection.exchanges.current();
        let has_news = connection.has_input() || connection.http.disconnected(number);
        let waiting = connection.exchanges.get(number).filter(|exchange| has_news && exchange.receive_waiting);
        let waits_for_input = waiting.map(|exchange| exchange.receive_woken = true).is_some();
        let to_write = connection.has_unsent();
        if waits_for_input {
            self.wake_receive(exchange_id(key, number));
        }
        // Who was woken may not come back for what has arrived: it is looked at again at the end of the turn.
        if readiness.broken || readiness.read_closed || to_write || waits_for_input {
            self.enqueue(key);
        }
        waits_for_input
    }

    pub(crate) fn wake_receive(&mut self, id: ExchangeId) {
        let Some(connection) = self.connections.get_mut(key_of(id)) else { return };
        let Some(exchange) = connection.exchanges.get(id.sequence) else { return };
        if std::mem::take(&mut exchange.receive_waiting) {
            self.wakes.push((id, Wake::Receive));
        }
    }

    pub(crate) fn open(&mut self, mut socket: Socket, mut ends: Ends, tls: Option<&tls::Context>, config: &Config) {
        if config.proxies.refuses(ends.client.as_ref()) {
            return self.problems.push(Problem::Stranger { client: ends.client });
        }
        let tls = match tls.map(|context| tls::Stage::new(context, self.clock.instant())).transpose() {
            Ok(tls) => tls.map(Box::new),
            Err(failure) => return self.problems.push(Problem::Tls { client: ends.client, failure }),
        };
        if tls.is_some() {
            ends.scheme = Scheme::Https;
        }
        let key = self.connections.next_key();
        match self.poller.add(&mut socket, key.slot as usize) {
            Ok(()) => {
                let limits = config.plain_limits.as_ref().filter(|_| tls.is_none()).unwrap_or(&config.limits);
                let http = Protocol::http1(Rc::clone(limits), self.clock.instant());
                let ahead = Ahead::new(self.reader.disk());
                let mut connection = Connection::new(socket, http, ends, ahead, self.row.clone());
                connection.tls = tls;
                connection.expect_proxies(&config.proxies);
                self.connections.insert(connection);
                self.row.add(Cell::CONNECTIONS_ACCEPTED, 1);
                self.count_connections();
            }
            Err(error) => self.problems.push(Problem::Accept(error)),
        }
    }

    /// Takes the socket for readable, whatever the poller has told.
    pub(crate) fn look_again(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.set_readable();
        }
    }

    /// From here on no further request is wanted, and in `websocket_drain` no WebSocket either.
    pub(crate) fn begin_drain(&mut self, drain: Drain, websocket_drain: Duration) {
        let now = self.clock.instant();
        let patient = Draining { quick: None, websockets_end: now + websocket_drain, restarting: None };
        let draining = self.draining.get_or_insert(patient);
        if drain == Drain::Quick {
            draining.quick.get_or_insert(now);
        }
    }

    pub(crate) fn drain(&mut self, key: Key, drain: Drain) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.drain(drain);
        }
        self.enqueue(key);
    }

    /// Closes the WebSockets that are open, and those that open later, once their time is over.
    pub(crate) fn restart_websockets(&mut self) {
        let now = self.clock.instant();
        let is_due = |draining: &&mut Draining| draining.restarting.is_none() && draining.websockets_end <= now;
        let Some(draining) = self.draining.as_mut().filter(is_due) else { return };
        draining.restarting = Some(now);
        for key in self.connections.keys() {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            connection.http.websocket_restart(&self.clock.now());
            wake_disconnected(key, connection, &mut self.wakes);
            self.enqueue(key);
        }
    }

    pub(crate) fn close_listeners(&mut self) {
        self.row.set(Cell::ACCEPTING, 0);
        self.acceptable.clear();
        for mut listener in self.listeners.drain(..) {
            self.poller.remove(&mut listener);
        }
    }

    /// Whether a turn runs already.
    pub(crate) fn begin_turn(&mut self) -> bool {
        let runs = std::mem::replace(&mut self.in_turn, true);
        if !runs {
            self.handshakes.begin_turn();
        }
        runs
    }

    /// A connection whose handshake has waited for time, and is to have it now.
    pub(crate) fn next_handshake(&mut self) -> Option<Key> {
        let key = self.handshakes.next()?;
        if let Some(tls) = self.connections.get_mut(key).and_then(|connection| connection.tls.as_mut()) {
            tls.set_waiting(false);
        }
        Some(key)
    }

    /// Has the handshake of a connection wait for another turn.
    pub(crate) fn put_off_handshake(&mut self, key: Key) {
        let Some(tls) = self.connections.get_mut(key).and_then(|connection| connection.tls.as_mut()) else { return };
        if !tls.set_waiting(true) {
            self.handshakes.put_off(key);
        }
    }

    /// Acts on deadlines that have passed, and takes back what idle connections do not need.
    pub(crate) fn check_deadlines(&mut self) {
        self.restart_websockets();
        let draining = self.draining;
        for key in self.connections.keys() {
            let now = self.clock.now();
            let Some(connection) = self.connections.get_mut(key) else { continue };
            let round_trip = connection.http.take_round_trip();
            let due = connection.http.next_timeout().is_some_and(|deadline| deadline <= now.instant);
            let number = connection.exchanges.current();
            let is_websocket = connection.http.websocket(number).is_some();
            let is_late = draining.is_some_and(|draining| draining.is_late(is_websocket, now.instant));
            if connection.is_handshaking() {
                if is_late || connection.tls.as_mut().is_some_and(|tls| tls.is_late(now.instant)) {
                    self.remove(key);
                }
            } else if due {
                let passed = connection.http.handle_timeout(&now);
                if let Some(kind) = passed.filter(|kind| is_news(*kind)) {
                    self.problems.push(Problem::Timeout { client: connection.own_ends.client.clone(), kind });
                }
                // A ping that was due is no news for whoever waits.
                if let Some(kind) = passed {
                    wake_everybody(key, connection, &mut self.wakes);
                    self.count_timeout(key, kind);
                }
                self.enqueue(key);
            } else if is_late && !connection.http.has_open_exchange() && connection.http.transmit().is_empty() {
                self.remove(key);
            } else if std::mem::replace(&mut connection.quiet, true) && connection.http.is_idle() {
                connection.release_memory();
            }
            self.count_pong(round_trip);
        }
    }

    /// Has the connection written to and looked at before the turn ends.
    pub(crate) fn enqueue(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !std::mem::replace(&mut connection.queued, true) {
            if self.queue.is_empty() && self.in_turn {
                // The beginning of the turn will do: reading the clock costs more than all else here.
                self.queued_at = self.clock.instant();
            }
            self.queue.push(key);
        }
    }

    /// Whether something waits for the end of a turn while none runs.
    pub(crate) fn has_unscheduled(&self) -> bool {
        let is_settled = self.queue.is_empty() && self.wakes.is_empty() && self.accesses.finished.is_empty();
        !self.in_turn && !is_settled
    }

    /// Writes to every connection in the queue, and wakes who waited for room.
    pub(crate) fn flush(&mut self) {
        self.put_off = false;
        for index in 0..self.queue.len() {
            let key = self.queue[index];
            let Some(connection) = self.connections.get_mut(key) else { continue };
            connection.write(&mut self.buffer, &self.clock.now());
            wake_changed(key, connection, &mut self.wakes);
            if connection.has_files() {
                self.look_at_files(key);
            }
        }
    }

    pub(crate) fn remove(&mut self, key: Key) {
        let Some(mut connection) = self.connections.remove(key) else { return };
        self.poller.remove(connection.socket());
        if let Some(failure) = connection.tls.as_mut().and_then(|tls| tls.take_failure()) {
            self.problems.push(Problem::Tls { client: connection.own_ends.client.clone(), failure });
        }
        self.count_removed(&mut connection);
        report_faults(&mut connection, &mut self.problems);
        for (number, _) in connection.exchanges.each().filter(|(_, exchange)| exchange.running) {
            if let Some(socket) = connection.http.take_websocket(number) {
                self.orphans.insert(exchange_id(key, number), socket);
            }
        }
        wake_everybody(key, &mut connection, &mut self.wakes);
    }

    /// Nobody will name the exchange any more.
    pub(crate) fn forget(&mut self, id: ExchangeId) {
        let Some(connection) = self.connections.get_mut(key_of(id)) else { return };
        if let Some(mut exchange) = connection.exchanges.end(id.sequence) {
            connection.http.release(id.sequence);
            self.count_ended(&mut exchange);
        }
    }
}

/// That an idle connection is closed is no news, nor that the client of a WebSocket has vanished.
fn is_news(kind: TimeoutKind) -> bool {
    !matches!(kind, TimeoutKind::KeepAlive | TimeoutKind::Linger | TimeoutKind::Pong | TimeoutKind::Close)
}

/// Tells whoever waits for something of this connection that it may have changed.
fn wake_everybody<A: Application>(key: Key, connection: &mut Connection<A>, wakes: &mut Vec<(ExchangeId, Wake)>) {
    for (number, exchange) in connection.exchanges.each() {
        wakes.extend(exchange.take_waits().map(|wake| (exchange_id(key, number), wake)));
    }
}

/// Tells whoever waits for something of an exchange that has ended.
fn wake_disconnected<A: Application>(key: Key, connection: &mut Connection<A>, wakes: &mut Vec<(ExchangeId, Wake)>) {
    let http = &connection.http;
    for (number, exchange) in connection.exchanges.each().filter(|(number, _)| http.disconnected(*number)) {
        wakes.extend(exchange.take_waits().map(|wake| (exchange_id(key, number), wake)));
    }
}

/// Tells whoever waits to send that there is room; in HTTP/2, whoever waits for anything of a stream that has changed.
#[inline]
pub(crate) fn wake_changed<A: Application>(
    key: Key,
    connection: &mut Connection<A>,
    wakes: &mut Vec<(ExchangeId, Wake)>,
) {
    if let Running::One { sequence, exchange } = &connection.exchanges {
        if exchange.send_waiting {
            wake_sender(exchange_id(key, *sequence), connection, wakes);
        }
        return;
    }
    while let Some(stream) = connection.http.take_changed() {
        let id = exchange_id(key, stream);
        wake_sender(id, connection, wakes);
        let waiting = connection.exchanges.get(stream).filter(|exchange| exchange.receive_waiting);
        if let Some(exchange) = waiting {
            exchange.receive_waiting = false;
            wakes.push((id, Wake::Receive));
        }
    }
}

fn wake_sender<A: Application>(id: ExchangeId, connection: &mut Connection<A>, wakes: &mut Vec<(ExchangeId, Wake)>) {
    let number = id.sequence;
    let Some(exchange) = connection.exchanges.get(number).filter(|exchange| exchange.send_waiting) else { return };
    if connection.http.unsent(number) <= LOW_WATER || connection.http.disconnected(number) {
        exchange.send_waiting = false;
        wakes.push((id, Wake::Send));
    }
}

pub(crate) const fn exchange_id(key: Key, sequence: u32) -> ExchangeId {
    ExchangeId { slot: key.slot, generation: key.generation, sequence }
}

pub(crate) const fn key_of(exchange: ExchangeId) -> Key {
    Key { slot: exchange.slot, generation: exchange.generation }
}
