//! When something is counted: what happens to connections, requests and WebSockets, put into the cells of the worker's
//! row. It knows no text format, and nothing here is told to the application.

use std::time::{Duration, Instant};

use asgi::{Application, ExchangeId};
use ferricorn_proto::{Closing, TimeoutKind};

use crate::cells::{self, Cell, DURATION, LAG, QUEUE_TIME, ROUND_TRIP};
use crate::clock::{self, Clock};
use crate::connection::{Connection, RequestLine};
use crate::exchange::Exchange;
use crate::host::{Config, TICK};
use crate::slab::Key;
use crate::state::{State, key_of};

/// A request that is counted when its response is complete.
#[derive(Clone, Copy)]
pub(crate) struct Begun {
    /// The beginning of the turn that saw the end of its head.
    at: Instant,
    method: u8,
}

impl Begun {
    /// The request that has just been read; None where nobody wants to know.
    pub(crate) fn new(line: &RequestLine, clock: &Clock, config: &Config) -> Option<Self> {
        config.metrics.then(|| Self { at: clock.instant(), method: cells::method_index(line.method()) })
    }
}

impl<A: Application> State<A> {
    /// What is open, as it is now.
    pub(crate) fn count_connections(&self) {
        self.row.set(Cell::CONNECTIONS, self.connections.len() as u64);
        self.row.set(Cell::WEBSOCKETS, self.websockets);
    }

    /// The application is called now: how long that took since the bytes were there.
    pub(crate) fn count_call(&self) {
        self.row.observe(QUEUE_TIME, self.clock.instant().elapsed());
    }

    /// The response of this connection's exchange is complete or breaks off, or its WebSocket is accepted.
    pub(crate) fn count_response(&mut self, id: ExchangeId) {
        let Some(connection) = self.connections.get_mut(key_of(id)) else { return };
        let Some(exchange) = connection.exchanges.get(id.sequence) else { return };
        let Some(begun) = exchange.begun.take() else { return };
        if connection.http.closing() == Closing::Abort {
            return self.row.add(Cell::ABANDONED, 1);
        }
        let status = connection.http.response_status(id.sequence).unwrap_or_default();
        self.row.add(cells::request_cell(begun.method, status), 1);
        let socket = connection.http.websocket(id.sequence);
        if socket.is_none_or(|socket| socket.session().is_none()) {
            return self.row.observe(DURATION, begun.at.elapsed());
        }
        exchange.is_websocket = true;
        self.websockets += 1;
        self.row.add(Cell::WEBSOCKETS_ACCEPTED, 1);
        self.row.set(Cell::WEBSOCKETS, self.websockets);
    }

    /// A request was refused for what it is: it gets no other response.
    pub(crate) fn count_refused(&mut self, key: Key, status: u16) {
        self.row.add(cells::refusal_cell(status), 1);
        self.forget_request(key);
    }

    /// A peer let a deadline pass.
    pub(crate) fn count_timeout(&mut self, key: Key, kind: TimeoutKind) {
        self.row.add(cells::timeout_cell(kind), 1);
        if kind == TimeoutKind::RequestBody {
            self.forget_request(key);
        }
    }

    fn forget_request(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let current = connection.exchanges.current();
        if let Some(exchange) = connection.exchanges.get(current) {
            exchange.begun = None;
        }
    }

    /// The connection is gone.
    pub(crate) fn count_removed(&mut self, connection: &mut Connection<A>) {
        let round_trip = connection.http.take_round_trip();
        for (_, exchange) in connection.exchanges.each() {
            self.count_ended(exchange);
        }
        self.count_pong(round_trip);
        self.count_connections();
    }

    /// Nothing more will come of the exchange.
    pub(crate) fn count_ended(&mut self, exchange: &mut Exchange) {
        if exchange.begun.take().is_some() {
            self.row.add(Cell::ABANDONED, 1);
        }
        if std::mem::take(&mut exchange.is_websocket) {
            self.websockets -= 1;
            self.row.set(Cell::WEBSOCKETS, self.websockets);
        }
    }

    /// A pong came, if one did: looked at with every tick, which is what sends the pings.
    pub(crate) fn count_pong(&self, round_trip: Option<Duration>) {
        if let Some(time) = round_trip {
            self.row.observe(ROUND_TRIP, time);
        }
    }
}

impl Config {
    /// The time between two beats of the event loop.
    fn period(&self) -> Duration {
        TICK / self.beats_per_tick.max(1)
    }

    /// The worker has begun. `accepts`: whether it has listeners.
    pub(crate) fn count_start(&self, accepts: bool) {
        self.row.set(Cell::WORKERS, 1);
        self.row.set(Cell::ACCEPTING, u64::from(accepts));
        self.expect_beat(clock::monotonic());
    }

    /// A beat of the event loop, from a timer: how late it is, and when the next one is due.
    pub(crate) fn count_beat(&self) {
        let (now, due) = (clock::monotonic(), self.row.get(Cell::NEXT_BEAT));
        if due != 0 {
            self.row.observe(LAG, Duration::from_nanos(now.saturating_sub(due)));
        }
        self.expect_beat(now);
    }

    fn expect_beat(&self, now: u64) {
        self.row.set(Cell::NEXT_BEAT, now + self.period().as_nanos() as u64);
    }

    /// The worker has ended.
    pub(crate) fn count_end(&self) {
        self.row.set(Cell::NEXT_BEAT, 0);
        self.row.set(Cell::WORKERS, 0);
    }
}
