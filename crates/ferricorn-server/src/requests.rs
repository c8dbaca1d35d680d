//! From what has come on a connection to calls of the application: which requests it gets, and which the worker answers
//! itself. It reads no byte and calls nobody.

use std::rc::Rc;
use std::time::Instant;

use asgi::{Application, ExchangeId, Extensions, Tls};
use ferricorn_proto::Answer;
use ferricorn_proto::websocket::ProtocolError;

use crate::cells::{Cell, http2_error_cell, refusal_cell};
use crate::connection::{Request, RequestLine, Taken};
use crate::counting::Begun;
use crate::host::{Config, Problem};
use crate::identity::identify;
use crate::proxies::Ends;
use crate::redirect;
use crate::slab::Key;
use crate::state::{State, exchange_id, key_of, wake_changed};

/// A request on its way to the application.
pub(crate) struct Call<A: Application> {
    pub(crate) exchange: ExchangeId,
    pub(crate) request: Request,
    pub(crate) line: RequestLine,
    pub(crate) ends: Rc<Ends>,
    pub(crate) ends_repeated: bool,
    pub(crate) memory: A::ConnectionMemory,
    pub(crate) extensions: Extensions,
    pub(crate) tls: Option<Rc<Tls>>,
    /// What the client of a WebSocket offers.
    pub(crate) subprotocols: Vec<String>,
}

impl<A: Application> State<A> {
    /// The next request of this connection that the application is to be called with.
    pub(crate) fn next_call(&mut self, key: Key, config: &Config) -> Option<Call<A>> {
        let connection = self.connections.get_mut(key)?;
        if !connection.http.takes_requests() {
            self.read_frames(key);
            return None;
        }
        if connection.preface.is_some() {
            return if self.read_preface(key, config) { self.next_call(key, config) } else { None };
        }
        let shakes_hands = connection.is_handshaking();
        if shakes_hands && !self.handshakes.has_time() {
            self.put_off_handshake(key);
            return None;
        }
        let begun = shakes_hands.then(Instant::now);
        let taken = connection.take_request(&mut self.buffer, &mut self.line, &self.clock.now());
        if let Some(begun) = begun {
            self.handshakes.spend(begun.elapsed());
        }
        if connection.http.is_multiplexed() {
            self.look_at_streams(key);
        }
        match taken {
            Taken::Request(request) => self.begin(key, request, config),
            Taken::Refused(error) => {
                let client = self.connections.get_mut(key)?.own_ends.client.clone();
                self.problems.push(Problem::Request { client, error });
                self.count_refused(key, error.status());
                self.enqueue(key);
                None
            }
            Taken::Violation(error) => {
                self.violated(key, error);
                None
            }
            Taken::Broken(error) => {
                let client = self.connections.get_mut(key)?.own_ends.client.clone();
                self.row.add(http2_error_cell(error.code()), 1);
                self.problems.push(Problem::Http2 { client, error });
                self.enqueue(key);
                None
            }
            Taken::Nothing => {
                let connection = self.connections.get_mut(key)?;
                if connection.is_over(&mut self.buffer, &self.clock.now()) || connection.has_input() {
                    self.enqueue(key);
                }
                None
            }
        }
    }

    /// What has come for the streams of a connection, or for the connection itself: tells whoever waits for it, and has
    /// written what there is to say.
    fn look_at_streams(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let before = self.wakes.len();
        wake_changed(key, connection, &mut self.wakes);
        let mut has_woken = false;
        for (id, _) in &self.wakes[before..] {
            if connection.http.websocket(id.sequence).is_some() {
                // It may not come back for what has arrived.
                has_woken |= connection.look_behind(id.sequence);
            }
        }
        if has_woken || connection.has_output() {
            self.enqueue(key);
        }
    }

    /// Reads what stands behind the messages that applications were given in this turn, where they do not wait for it: a
    /// ping is to be answered, and a close to be noted.
    pub(crate) fn read_behind(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let now = self.clock.now();
        let mut violations = Vec::new();
        for number in std::mem::take(&mut connection.behind) {
            let waits = connection.exchanges.get(number).is_some_and(|exchange| exchange.receive_waiting);
            if !waits {
                violations.extend(connection.http.feed_websocket(number, false, &now));
            }
        }
        if connection.has_output() {
            self.enqueue(key);
        }
        for error in violations {
            self.violated(key, error);
        }
    }

    /// Begins the exchange of a request, whose line has been read. None: the server answers it itself.
    fn begin(&mut self, key: Key, mut request: Request, config: &Config) -> Option<Call<A>> {
        let connection = self.connections.get_mut(key)?;
        let mut ends_repeated = connection.look_through(&mut request, config);
        // The application has seen the request before this one, unless the worker answered it itself.
        let is_last_seen = connection.begun == connection.remembered;
        request.headers_repeated &= is_last_seen;
        ends_repeated &= is_last_seen;
        let id = exchange_id(key, connection.exchanges.begin(request.stream, &connection.ends));
        connection.begun = id.sequence;
        connection.quiet = false;
        if is_health_check(&self.line, &request, config) {
            self.answer_health(id);
            return None;
        }
        if !config.identity.is_nothing() {
            identify(connection, id.sequence, &mut request, &config.identity, &mut self.random);
        }
        let client = config.access_log.then(|| connection.logged_client());
        let exchange = connection.exchanges.get(id.sequence)?;
        exchange.body_given = request.websocket;
        exchange.begun = Begun::new(&self.line, &self.clock, config);
        if let Some(client) = client {
            let mut access = self.accesses.begin();
            access.begin(config.access_format.needs, &self.line, &request, &connection.ends);
            access.set_client(client);
            exchange.log = Some(access);
        }
        if connection.tls.is_none() && redirect::is_due(config, connection.ends.scheme, &self.line) {
            self.redirect(id, &request);
            return None;
        }
        if config.concurrency != 0 && self.running >= config.concurrency {
            connection.http.refuse(id.sequence, 503, &self.clock.now());
            self.row.add(refusal_cell(503), 1);
            self.complete(id);
            self.forget(id);
            return None;
        }
        exchange.running = true;
        self.running += 1;
        self.calls += 1;
        self.row.set(Cell::IN_FLIGHT, self.running as u64);
        let subprotocols = connection.http.websocket(id.sequence).map(|socket| socket.subprotocols().to_vec());
        Some(Call {
            exchange: id,
            request,
            line: std::mem::take(&mut self.line),
            ends: Rc::clone(&connection.ends),
            ends_repeated,
            memory: std::mem::take(&mut connection.memory),
            extensions: connection.http.extensions(id.sequence),
            tls: connection.tls.as_ref().and_then(|tls| tls.facts().cloned()),
            subprotocols: subprotocols.unwrap_or_default(),
        })
    }

    /// Answers whoever asks whether this worker serves: nobody else is to hear of it, and a worker that has as much to do
    /// as it may is healthy.
    fn answer_health(&mut self, id: ExchangeId) {
        // One that is replaced closes its connections, and others go on serving.
        let is_ending = self.draining.is_some_and(|draining| draining.quick.is_some());
        let is_healthy = self.healthy && !is_ending;
        let (status, text) = if is_healthy { (200, "ok\n") } else { (503, "draining\n") };
        if let Some(connection) = self.connections.get_mut(key_of(id)) {
            if let Some(exchange) = connection.exchanges.get(id.sequence) {
                exchange.running = false;
            }
            let answer = Answer { status, text, location: None, close: !is_healthy };
            connection.http.respond(id.sequence, &answer, &self.clock.now());
        }
        self.enqueue(key_of(id));
        self.forget(id);
    }

    /// Reads what a WebSocket's peer sends although the application does not ask: pings are to be answered and a close to
    /// be noted. Who waits for a message reads for itself.
    fn read_frames(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let number = connection.exchanges.current();
        if connection.http.websocket(number).is_none_or(|socket| socket.session().is_none()) {
            return;
        }
        let has_input = connection.has_input();
        let Some(exchange) = connection.exchanges.get(number).filter(|exchange| !exchange.receive_woken) else {
            return;
        };
        if exchange.receive_waiting {
            if has_input {
                exchange.receive_woken = true;
                self.enqueue(key);
                self.wake_receive(exchange_id(key, number));
            }
            return;
        }
        let now = self.clock.now();
        let violation = connection.read_frames(&mut self.buffer, &now);
        let goes_on =
            connection.has_input() || connection.http.disconnected(number) || !connection.http.transmit().is_empty();
        if let Some(error) = violation {
            self.violated(key, error);
        }
        if goes_on {
            self.enqueue(key);
        }
    }

    /// The peer of a WebSocket broke its protocol.
    pub(crate) fn violated(&mut self, key: Key, error: ProtocolError) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        self.problems.push(Problem::WebSocket { client: connection.ends.client.clone(), error });
        self.row.add(Cell::VIOLATIONS, 1);
        self.enqueue(key);
    }
}

fn is_health_check(line: &RequestLine, request: &Request, config: &Config) -> bool {
    !config.health_path.is_empty()
        && line.path() == config.health_path.as_bytes()
        && matches!(line.method(), "GET" | "HEAD")
        && !request.websocket
}
