//! The worker: every connection of one event loop, and what the application may ask of them.
//!
//! All its state is in one cell that is never borrowed while the application runs. What has to be told to the
//! application or the process is collected under the borrow and told after it.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use asgi::{
    Address, Application, ExchangeId, Extensions, HttpScopeRef, Outcome, ReceiveEvent, ResponseStart, Scheme,
    SendError, SendEvent, Wake,
};
use ferricorn_proto::http1::{self, Finished};
use ferricorn_proto::{Content, Limits, RequestError, TimeoutKind};
use mio::Events;

use crate::access_log::{Access, Pending};
use crate::clock::Clock;
use crate::connection::{Connection, Ends, Part, Request, RequestLine, Taken};
use crate::file;
use crate::listener::Listener;
use crate::poller::{Poller, Readiness};
use crate::scope::full_path;
use crate::slab::{Key, Slab};
use crate::socket::Socket;

/// Above this many unsent bytes `send` makes the application wait; below [`LOW_WATER`] it goes on (CON-05).
const HIGH_WATER: u64 = 64 * 1024;
const LOW_WATER: u64 = 16 * 1024;

/// What one read takes at the most.
const READ_BUFFER: usize = 256 * 1024;

/// How many pipelined requests of one connection are handled before the others have their turn.
const REQUESTS_PER_TURN: usize = 32;

/// How long a finished response may wait for others of its turn, so that they are written together.
const BATCH_TIME: Duration = Duration::from_millis(1);

/// How long a head that has begun may take once the worker drains.
const LATE_HEAD: Duration = Duration::from_secs(1);

/// How often [`Worker::tick`] has to be called.
pub const TICK: Duration = Duration::from_millis(500);

/// Listeners have the tokens from here on; connections have their slot.
const FIRST_LISTENER: usize = usize::MAX / 2;

/// The token of the waker with which other threads end a wait.
pub(crate) const WAKER: usize = FIRST_LISTENER - 1;

/// What a worker is told once.
#[derive(Clone, Default)]
pub struct Config {
    /// Bounds and times of its connections.
    pub limits: Rc<Limits>,
    /// Where the application is mounted: paths that do not start with it get it put before them (SCP-23).
    pub root_path: String,
    /// How many application calls may run at once; requests above it are answered 503. 0: no limit.
    pub concurrency: usize,
    /// Whether finished responses are reported to [`Host::accessed`].
    pub access_log: bool,
}

/// What the worker tells the process around it. Called with nothing borrowed.
pub trait Host: 'static {
    /// [`Worker::poll`] has work although no descriptor is ready: call it soon.
    fn poll_soon(&self);

    /// Something for the log that is not the application's doing.
    fn problem(&self, problem: &Problem);

    /// Finished responses, in order.
    fn accessed(&self, accesses: &[Access]);

    /// Bytes wait for the end of the turn, so that more can go with them. Says whether somebody will call
    /// [`Worker::flush_put_off`] where the application blocks or computes meanwhile: if not, a streamed part is written
    /// at once.
    fn put_off(&self) -> bool {
        false
    }

    /// Everything that was put off has been written.
    fn caught_up(&self) {}

    /// After [`Worker::drain`]: the last connection is closed and the last application call has ended.
    fn drained(&self);
}

/// What is worth a line in the log.
#[derive(Debug)]
#[non_exhaustive]
pub enum Problem {
    /// A peer sent what the server refuses.
    Request {
        /// Who, where it has an address.
        client: Option<Address>,
        /// What was wrong.
        error: RequestError,
    },
    /// A peer let a deadline pass.
    Timeout {
        /// Who, where it has an address.
        client: Option<Address>,
        /// Which deadline.
        kind: TimeoutKind,
    },
    /// Accepting failed, for want of descriptors as a rule; it is tried again at the next tick.
    Accept(io::Error),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = |client: &Option<Address>| client.as_ref().map_or_else(|| "a client".to_owned(), Address::to_string);
        match self {
            Self::Request { client, error } => write!(f, "{}: refused a request: {error}", who(client)),
            Self::Timeout { client, kind } => write!(f, "{}: {kind}", who(client)),
            Self::Accept(error) => write!(f, "cannot accept connections: {error}; trying again shortly"),
        }
    }
}

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
    /// As `Open`, but the send buffer is above its high-water mark: wait for [`Wake::Send`].
    Blocked,
    /// The response is complete; what is sent from now on is ignored (HTTP-18).
    Complete,
}

/// Serves one application on one event loop, on one thread.
pub struct Worker<A: Application, H: Host> {
    application: A,
    host: H,
    config: Config,
    state: RefCell<State<A>>,
}

struct State<A: Application> {
    poller: Poller,
    events: Option<Events>,
    listeners: Vec<Listener>,
    connections: Slab<Connection<A>>,
    clock: Clock,
    buffer: Vec<u8>,
    line: RequestLine,
    /// Connections to be written to and looked at before the turn ends.
    queue: Vec<Key>,
    queued_at: Instant,
    /// Whether something in the queue has been put off, and somebody steps in when it is not written soon.
    put_off: bool,
    /// Whether a turn runs, at whose end the queue is handled.
    in_turn: bool,
    /// Listeners that could not accept and are tried again at the next tick.
    accept_failed: bool,
    /// Application calls that have not ended.
    running: usize,
    /// All application calls that there have been.
    calls: u64,
    /// Since when no further request is wanted.
    draining: Option<Instant>,
    drained: bool,
    wakes: Vec<(ExchangeId, Wake)>,
    problems: Vec<Problem>,
    accesses: Vec<Access>,
}

/// A request on its way to the application.
struct Call<A: Application> {
    exchange: ExchangeId,
    request: Request,
    line: RequestLine,
    ends: Rc<Ends>,
    memory: A::ConnectionMemory,
    extensions: Extensions,
}

impl<A: Application, H: Host> Worker<A, H> {
    /// A worker that accepts from these listeners as soon as it is polled.
    ///
    /// # Errors
    /// Where the poller cannot be made or a listener not be watched.
    pub fn new(application: A, host: H, config: Config, listeners: Vec<Listener>) -> io::Result<Self> {
        let clock = Clock::new();
        let mut state = State {
            poller: Poller::new()?,
            events: Some(Poller::events()),
            listeners,
            connections: Slab::new(),
            queued_at: clock.instant(),
            clock,
            buffer: vec![0; READ_BUFFER],
            line: RequestLine::default(),
            queue: Vec::new(),
            put_off: false,
            in_turn: false,
            accept_failed: false,
            running: 0,
            calls: 0,
            draining: None,
            drained: false,
            wakes: Vec::new(),
            problems: Vec::new(),
            accesses: Vec::new(),
        };
        for (index, listener) in state.listeners.iter_mut().enumerate() {
            state.poller.add(listener, FIRST_LISTENER + index)?;
        }
        Ok(Self { application, host, config, state: RefCell::new(state) })
    }

    /// The process around it.
    pub fn host(&self) -> &H {
        &self.host
    }

    /// The application.
    pub fn application(&self) -> &A {
        &self.application
    }

    /// The poller's descriptor: readable when [`Worker::poll`] has work.
    pub fn descriptor(&self) -> RawFd {
        self.state.borrow().poller.descriptor()
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.state.borrow().connections.len()
    }

    /// How many application calls have not ended.
    pub fn running(&self) -> usize {
        self.state.borrow().running
    }

    /// How many application calls there have been.
    pub fn calls(&self) -> u64 {
        self.state.borrow().calls
    }

    /// A handle with which other threads end a [`Worker::wait`].
    pub(crate) fn waker(&self) -> io::Result<mio::Waker> {
        self.state.borrow().poller.waker(WAKER)
    }

    /// Handles a bounded batch of what is ready, then writes what the application answered.
    pub fn poll(&self) {
        self.wait(Some(Duration::ZERO));
    }

    /// Writes what waits and goes on with what follows from it, without a look at the descriptors: what
    /// [`Host::poll_soon`] asks for.
    pub fn settle_soon(&self) {
        self.state.borrow_mut().clock.update();
        self.turn(|| ());
    }

    /// Writes what was put off, and nothing else: for a thread that steps in while this worker's is not coming back. It
    /// has to hold the lock that the worker's own thread holds whenever it runs code of the worker.
    pub fn flush_put_off(&self) {
        if let Ok(mut state) = self.state.try_borrow_mut() {
            state.flush();
        }
    }

    /// As [`Worker::poll`], waiting for at most `timeout` for something to be ready (None: for ever).
    pub(crate) fn wait(&self, timeout: Option<Duration>) {
        let mut events = {
            let state = &mut *self.state.borrow_mut();
            // An application may run a loop inside the loop: then the outer turn has the buffer of events.
            let mut events = state.events.take().unwrap_or_else(Poller::events);
            if let Err(error) = state.poller.poll(&mut events, timeout) {
                state.problems.push(Problem::Accept(error));
            }
            state.clock.update();
            events
        };
        self.turn(|| {
            for event in &events {
                self.handle_readiness(event.into());
            }
        });
        events.clear();
        self.state.borrow_mut().events = Some(events);
    }

    /// Looks at the deadlines. To be called about every half second.
    pub fn tick(&self) {
        self.turn(|| {
            let state = &mut *self.state.borrow_mut();
            state.clock.update();
            state.check_deadlines();
            if std::mem::take(&mut state.accept_failed) {
                for index in 0..state.listeners.len() {
                    state.accept(index, &self.config);
                }
            }
        });
    }

    /// Stops accepting, closes idle connections and lets running exchanges finish (CON-09).
    pub fn drain(&self) {
        self.turn(|| {
            let keys = {
                let state = &mut *self.state.borrow_mut();
                state.clock.update();
                // Clients that have connected are served: the backlog is theirs as well.
                for index in 0..state.listeners.len() {
                    state.accept(index, &self.config);
                }
                state.close_listeners();
                state.draining = Some(state.clock.instant());
                state.connections.keys()
            };
            for key in keys {
                // A request that is on its way into this process has been accepted by it.
                self.state.borrow_mut().look_again(key);
                self.advance(key);
                self.state.borrow_mut().drain(key);
            }
        });
    }

    /// Closes every connection, whatever state it is in, and the listeners.
    pub fn close(&self) {
        self.turn(|| {
            let state = &mut *self.state.borrow_mut();
            state.draining.get_or_insert(state.clock.instant());
            state.close_listeners();
            for key in state.connections.keys() {
                state.remove(key);
            }
        });
    }

    /// Runs `work`, then settles what it left: writes, wakes, reports. Inside a turn, `work` alone.
    fn turn(&self, work: impl FnOnce()) {
        let outer = std::mem::replace(&mut self.state.borrow_mut().in_turn, true);
        work();
        if outer {
            return;
        }
        self.settle();
        self.state.borrow_mut().in_turn = false;
        self.report();
    }

    fn handle_readiness(&self, readiness: Readiness) {
        if readiness.token >= FIRST_LISTENER {
            return self.state.borrow_mut().accept(readiness.token - FIRST_LISTENER, &self.config);
        }
        let key = {
            let state = &mut *self.state.borrow_mut();
            let Some(key) = state.connections.key_at(readiness.token as u32) else { return };
            state.note(key, readiness);
            key
        };
        self.advance(key);
    }

    /// Lets a connection do what it can: start requests, discard what is not wanted.
    fn advance(&self, key: Key) {
        for _ in 0..REQUESTS_PER_TURN {
            let call = self.state.borrow_mut().next_call(key, &self.config);
            match call {
                Some(call) => self.call(key, call),
                None => return,
            }
        }
        self.state.borrow_mut().enqueue(key);
    }

    fn call(&self, key: Key, mut call: Call<A>) {
        self.flush_late();
        let path = full_path(&self.config.root_path, call.line.path());
        let scope = HttpScopeRef {
            http_version: call.request.version,
            method: call.line.method(),
            scheme: Scheme::Http,
            path,
            raw_path: call.line.path(),
            query_string: call.line.query(),
            root_path: &self.config.root_path,
            headers: &call.request.headers,
            headers_repeated: call.request.headers_repeated,
            client: call.ends.client.as_ref(),
            server: Some(&call.ends.server),
            extensions: call.extensions,
        };
        self.application.call(&scope, call.exchange, &mut call.memory);
        drop(scope);
        let state = &mut *self.state.borrow_mut();
        state.line = call.line;
        if let Some(connection) = state.connections.get_mut(key) {
            connection.memory = call.memory;
        }
    }

    /// Writes the finished responses of this turn when the first of them has waited long enough.
    fn flush_late(&self) {
        let state = &mut *self.state.borrow_mut();
        if !state.queue.is_empty() && state.queued_at.elapsed() > BATCH_TIME {
            state.flush();
            state.queued_at = Instant::now();
            self.host.caught_up();
        }
    }

    /// Writes what is queued and goes on with the connections behind it, some rounds at the most.
    fn settle(&self) {
        for _ in 0..4 {
            self.application.poll();
            self.wake_all();
            let queue = {
                let state = &mut *self.state.borrow_mut();
                state.flush();
                std::mem::take(&mut state.queue)
            };
            if !queue.is_empty() {
                self.host.caught_up();
            }
            for &key in &queue {
                self.advance_queued(key);
            }
            let state = &mut *self.state.borrow_mut();
            if state.queue.is_empty() {
                // Keeps the memory of the list.
                state.queue = queue;
                state.queue.clear();
                if state.wakes.is_empty() {
                    return;
                }
            }
        }
        self.state.borrow_mut().flush();
        self.host.poll_soon();
    }

    fn advance_queued(&self, key: Key) {
        let waits = {
            let state = &mut *self.state.borrow_mut();
            let Some(connection) = state.connections.get_mut(key) else { return };
            connection.queued = false;
            if connection.is_over(&state.clock.now()) {
                state.remove(key);
                return;
            }
            !connection.has_input()
        };
        if !waits {
            self.advance(key);
        }
    }

    fn wake_all(&self) {
        let wakes = std::mem::take(&mut self.state.borrow_mut().wakes);
        for &(exchange, wake) in &wakes {
            self.application.wake(exchange, wake);
        }
    }

    /// Tells the process what it wants to know.
    fn report(&self) {
        let (problems, accesses, drained) = {
            let state = &mut *self.state.borrow_mut();
            let drained =
                state.draining.is_some() && !state.drained && state.connections.len() == 0 && state.running == 0;
            state.drained |= drained;
            if state.problems.is_empty() && state.accesses.is_empty() && !drained {
                return;
            }
            (std::mem::take(&mut state.problems), std::mem::take(&mut state.accesses), drained)
        };
        for problem in &problems {
            self.host.problem(problem);
        }
        if !accesses.is_empty() {
            self.host.accessed(&accesses);
        }
        if drained {
            self.host.drained();
        }
    }

    /// The next event of the exchange, its bytes taken by `take`, which must not call back. Pending: a
    /// [`Wake::Receive`] will follow.
    pub fn receive<T>(&self, exchange: ExchangeId, take: impl FnOnce(&[u8]) -> T) -> Poll<ReceiveEvent<T>> {
        let (event, queued) = {
            let state = &mut *self.state.borrow_mut();
            let event = state.receive(exchange, take);
            (event, state.has_unscheduled())
        };
        if queued {
            self.host.poll_soon();
        }
        event
    }

    /// Applies an event of the application at once.
    ///
    /// # Errors
    /// Where the event is refused: the exchange is then as it was (HTTP-25).
    pub fn send(&self, exchange: ExchangeId, event: SendEvent<A::Body>) -> Result<Sent, SendError> {
        let (result, queued) = {
            let state = &mut *self.state.borrow_mut();
            let result = state.send(exchange, event);
            if !state.put_off && !state.queue.is_empty() {
                state.put_off = self.host.put_off();
                if !state.put_off {
                    state.write_streamed(exchange);
                }
            }
            (result, state.has_unscheduled())
        };
        if queued {
            self.host.poll_soon();
        }
        result
    }

    /// As [`Worker::send`] of a response's start, which stays with the caller.
    ///
    /// # Errors
    /// As [`Worker::send`].
    pub fn start(&self, exchange: ExchangeId, start: &ResponseStart) -> Result<Sent, SendError> {
        self.state.borrow_mut().start(exchange, start)
    }

    /// Whether an exchange that was [`Sent::Blocked`] is so no more.
    ///
    /// # Errors
    /// [`SendError::Disconnected`] where the client has gone.
    pub fn sent(&self, exchange: ExchangeId) -> Poll<Result<(), SendError>> {
        let state = &mut *self.state.borrow_mut();
        let Some(connection) = state.exchange(exchange) else { return Poll::Ready(Err(SendError::Disconnected)) };
        if connection.http.disconnected() {
            return Poll::Ready(Err(SendError::Disconnected));
        }
        connection.send_waiting = connection.http.transmit().len() > LOW_WATER;
        if connection.send_waiting { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    /// The application's call has ended: to be said exactly once for each. Says what that meant for the client.
    pub fn finish(&self, exchange: ExchangeId, outcome: Outcome) -> Finished {
        let mut finished = Finished::Complete;
        self.turn_unless_running(|state| finished = state.finish(exchange, outcome));
        finished
    }

    /// Runs `work` on the state and settles later: at the end of the running turn, or in one of its own.
    fn turn_unless_running(&self, work: impl FnOnce(&mut State<A>)) {
        let settle = {
            let state = &mut *self.state.borrow_mut();
            work(state);
            state.has_unscheduled() || (state.draining.is_some() && !state.in_turn)
        };
        if settle {
            self.host.poll_soon();
        }
    }
}

impl<A: Application> State<A> {
    fn note(&mut self, key: Key, readiness: Readiness) {
        let Some(connection) = self.connections.get_mut(key) else { return };
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
        let waits_for_input = connection.receive_waiting && (connection.has_input() || connection.http.disconnected());
        let to_write = !connection.http.transmit().is_empty();
        if waits_for_input {
            self.wake_receive(key);
        }
        if readiness.broken || readiness.read_closed || to_write {
            self.enqueue(key);
        }
    }

    fn wake_receive(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if std::mem::take(&mut connection.receive_waiting) {
            self.wakes.push((exchange_id(key, connection.sequence), Wake::Receive));
        }
    }

    fn wake_send(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if std::mem::take(&mut connection.send_waiting) {
            self.wakes.push((exchange_id(key, connection.sequence), Wake::Send));
        }
    }

    /// Accepts whatever waits: the backlog bounds it.
    fn accept(&mut self, index: usize, config: &Config) {
        while let Some(listener) = self.listeners.get(index) {
            match listener.accept() {
                Ok((socket, client, server)) => self.open(socket, Ends { client, server }, config),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return,
                    // The client went before it was accepted.
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::InvalidInput | io::ErrorKind::Interrupted => {}
                    _ => {
                        self.problems.push(Problem::Accept(error));
                        self.accept_failed = true;
                        return;
                    }
                },
            }
        }
    }

    fn open(&mut self, mut socket: Socket, ends: Ends, config: &Config) {
        let key = self.connections.next_key();
        match self.poller.add(&mut socket, key.slot as usize) {
            Ok(()) => {
                let http = http1::Connection::new(Rc::clone(&config.limits), self.clock.instant());
                self.connections.insert(Connection::new(socket, http, ends));
            }
            Err(error) => self.problems.push(Problem::Accept(error)),
        }
    }

    /// Takes the socket for readable, whatever the poller has told.
    fn look_again(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.set_readable();
        }
    }

    fn drain(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.http.drain(&self.clock.now());
        }
        self.enqueue(key);
    }

    fn close_listeners(&mut self) {
        for mut listener in self.listeners.drain(..) {
            self.poller.remove(&mut listener);
        }
    }

    /// The next request of this connection that the application is to be called with.
    fn next_call(&mut self, key: Key, config: &Config) -> Option<Call<A>> {
        let connection = self.connections.get_mut(key)?;
        if connection.http.exchange_is_open() {
            return None;
        }
        let now = self.clock.now();
        match connection.take_request(&mut self.buffer, &mut self.line, &now) {
            Taken::Request(request) => {
                connection.sequence = connection.sequence.wrapping_add(1);
                connection.body_given = false;
                connection.running = true;
                connection.quiet = false;
                if config.access_log {
                    let (method, target) = (self.line.method().to_owned(), self.line.target());
                    connection.log = Some(Pending { method, target, http_version: request.version });
                }
                if config.concurrency != 0 && self.running >= config.concurrency {
                    connection.http.refuse(503, &now);
                    self.complete(key);
                    return None;
                }
                self.running += 1;
                self.calls += 1;
                Some(Call {
                    exchange: exchange_id(key, connection.sequence),
                    request,
                    line: std::mem::take(&mut self.line),
                    ends: Rc::clone(&connection.ends),
                    memory: std::mem::take(&mut connection.memory),
                    extensions: connection.http.extensions(),
                })
            }
            Taken::Refused(error) => {
                self.problems.push(Problem::Request { client: connection.ends.client.clone(), error });
                self.enqueue(key);
                None
            }
            Taken::Nothing => {
                if connection.is_over(&now) || connection.has_input() {
                    self.enqueue(key);
                }
                None
            }
        }
    }

    /// The connection of an exchange that runs, or whose response has just been completed.
    fn exchange(&mut self, exchange: ExchangeId) -> Option<&mut Connection<A>> {
        let connection = self.connections.get_mut(key_of(exchange))?;
        (connection.sequence == exchange.sequence).then_some(connection)
    }

    fn receive<T>(&mut self, exchange: ExchangeId, take: impl FnOnce(&[u8]) -> T) -> Poll<ReceiveEvent<T>> {
        let key = key_of(exchange);
        let Some(connection) = self.connections.get_mut(key) else { return Poll::Ready(ReceiveEvent::Disconnect) };
        if connection.sequence != exchange.sequence {
            return Poll::Ready(ReceiveEvent::Disconnect);
        }
        if !connection.body_given {
            if connection.http.request_complete() {
                connection.body_given = true;
                if connection.http.disconnected() {
                    self.enqueue(key);
                }
                return Poll::Ready(ReceiveEvent::Request { body: take(&[]), more_body: false });
            }
            if connection.http.exchange_is_open() {
                let now = self.clock.now();
                connection.http.want_body(&now);
                connection.write(&now);
                match connection.take_body(&mut self.buffer, &now, take) {
                    Part::Data { body, end } => {
                        connection.body_given = end;
                        return Poll::Ready(ReceiveEvent::Request { body, more_body: !end });
                    }
                    Part::Refused(error) => {
                        self.problems.push(Problem::Request { client: connection.ends.client.clone(), error });
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
        if connection.has_input() {
            self.enqueue(key);
        }
        Poll::Pending
    }

    fn start(&mut self, exchange: ExchangeId, start: &ResponseStart) -> Result<Sent, SendError> {
        let Some(connection) = self.connections.get_mut(key_of(exchange)) else { return Err(SendError::Disconnected) };
        if connection.sequence != exchange.sequence {
            return Ok(Sent::Complete);
        }
        connection.http.start(start)?;
        Ok(Sent::Open)
    }

    fn send(&mut self, exchange: ExchangeId, event: SendEvent<A::Body>) -> Result<Sent, SendError> {
        if let SendEvent::ResponseStart(start) = event {
            return self.start(exchange, &start);
        }
        let last = is_last(&event);
        let key = key_of(exchange);
        let Some(connection) = self.connections.get_mut(key) else { return Err(SendError::Disconnected) };
        if connection.sequence != exchange.sequence {
            return Ok(Sent::Complete);
        }
        let http = &mut connection.http;
        let now = self.clock.now();
        match event {
            SendEvent::ResponseBody { body, more_body } => http.body(Content::Bytes(body), more_body, &now)?,
            SendEvent::ResponsePathsend { path } => {
                let (file, count) = file::whole(&path)?;
                http.pathsend(file, count, &now)?;
            }
            SendEvent::ResponseZerocopysend { file, offset, count, more_body } => {
                http.body(file::part(file, offset, count)?, more_body, &now)?;
            }
            SendEvent::ResponseTrailers { headers, more_trailers } => http.trailers(&headers, more_trailers, &now)?,
            SendEvent::ResponseEarlyHint { links } => http.early_hint(&links)?,
            _ => return Ok(Sent::Open),
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
        let over = connection.is_over(&now);
        self.enqueue(key);
        match (over, blocked) {
            (true, _) => Err(SendError::Disconnected),
            (false, true) => Ok(Sent::Blocked),
            (false, false) => Ok(Sent::Open),
        }
    }

    /// Where nobody steps in for it: a streamed part reaches the client even when the application computes or blocks from
    /// here on.
    fn write_streamed(&mut self, exchange: ExchangeId) {
        let now = self.clock.now();
        if let Some(connection) = self.connections.get_mut(key_of(exchange))
            && connection.http.exchange_is_open()
        {
            connection.write(&now);
        }
    }

    /// The response of the connection's exchange is complete: it is logged, and written at the end of the turn.
    fn complete(&mut self, key: Key) {
        self.wake_receive(key);
        if let Some(connection) = self.connections.get_mut(key)
            && let Some(pending) = connection.log.take()
        {
            let status = connection.http.response_status().unwrap_or_default();
            self.accesses.push(pending.finished(connection.ends.client.clone(), status));
        }
        self.enqueue(key);
    }

    fn finish(&mut self, exchange: ExchangeId, outcome: Outcome) -> Finished {
        self.running -= 1;
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
            Finished::Complete => {}
            Finished::Disconnected => self.enqueue(key),
            _ => self.complete(key),
        }
        finished
    }

    fn check_deadlines(&mut self) {
        let is_late = self.draining.is_some_and(|since| self.clock.instant() >= since + LATE_HEAD);
        for key in self.connections.keys() {
            let now = self.clock.now();
            let Some(connection) = self.connections.get_mut(key) else { continue };
            let due = connection.http.next_timeout().is_some_and(|deadline| deadline <= now.instant);
            if due {
                let passed = connection.http.handle_timeout(&now);
                // That an idle connection is closed is no news.
                if let Some(kind) = passed.filter(|kind| !matches!(kind, TimeoutKind::KeepAlive | TimeoutKind::Linger))
                {
                    self.problems.push(Problem::Timeout { client: connection.ends.client.clone(), kind });
                }
                self.wakes.extend(wakes(key, connection));
                self.enqueue(key);
            } else if is_late && !connection.http.exchange_is_open() && connection.http.transmit().is_empty() {
                self.remove(key);
            } else if std::mem::replace(&mut connection.quiet, true) && connection.http.is_idle() {
                connection.release_memory();
            }
        }
    }

    fn enqueue(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !std::mem::replace(&mut connection.queued, true) {
            if self.queue.is_empty() && self.in_turn {
                self.queued_at = Instant::now();
            }
            self.queue.push(key);
        }
    }

    /// Whether something waits for the end of a turn while none runs.
    fn has_unscheduled(&self) -> bool {
        !self.in_turn && !(self.queue.is_empty() && self.wakes.is_empty() && self.accesses.is_empty())
    }

    /// Writes to every connection in the queue, and wakes who waited for room.
    fn flush(&mut self) {
        self.put_off = false;
        for index in 0..self.queue.len() {
            let key = self.queue[index];
            let Some(connection) = self.connections.get_mut(key) else { continue };
            connection.write(&self.clock.now());
            let room = connection.send_waiting
                && (connection.http.transmit().len() <= LOW_WATER || connection.http.disconnected());
            if room {
                self.wake_send(key);
            }
        }
    }

    fn remove(&mut self, key: Key) {
        let Some(mut connection) = self.connections.remove(key) else { return };
        self.poller.remove(connection.socket());
        self.wakes.extend(wakes(key, &mut connection));
    }
}

/// Whether the application has nothing to say after this event.
fn is_last<B>(event: &SendEvent<B>) -> bool {
    match event {
        SendEvent::ResponseBody { more_body, .. } | SendEvent::ResponseZerocopysend { more_body, .. } => !more_body,
        SendEvent::ResponseTrailers { more_trailers, .. } => !more_trailers,
        SendEvent::ResponsePathsend { .. } => true,
        _ => false,
    }
}

/// Whoever waits for something of this connection, to be told that it may have changed.
fn wakes<A: Application>(
    key: Key,
    connection: &mut Connection<A>,
) -> impl Iterator<Item = (ExchangeId, Wake)> + use<A> {
    let exchange = exchange_id(key, connection.sequence);
    let receive = std::mem::take(&mut connection.receive_waiting).then_some((exchange, Wake::Receive));
    let send = std::mem::take(&mut connection.send_waiting).then_some((exchange, Wake::Send));
    receive.into_iter().chain(send)
}

const fn exchange_id(key: Key, sequence: u32) -> ExchangeId {
    ExchangeId { slot: key.slot, generation: key.generation, sequence }
}

const fn key_of(exchange: ExchangeId) -> Key {
    Key { slot: exchange.slot, generation: exchange.generation }
}
