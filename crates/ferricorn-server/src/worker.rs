//! The worker: every connection of one event loop, driven, and what the application may ask of it.
//!
//! All its state is in one cell that is never borrowed while the application runs.

use std::cell::RefCell;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use asgi::{Application, ExchangeId, Outcome, ReceiveEvent, ResponseStart, ScopeKind, ScopeRef, SendError, SendEvent};
use ferricorn_proto::{Drain, Finished};

use crate::cells::Cell;
use crate::exchanges::{Sent, Take};
use crate::host::{Config, Host, Problem};
use crate::listener::Listener;
use crate::poller::{Poller, Readiness, WAKER};
use crate::requests::Call;
use crate::slab::Key;
use crate::state::State;

/// How many pipelined requests of one connection are handled before the others have their turn.
const REQUESTS_PER_TURN: usize = 32;

/// How long a finished response may wait for others of its turn, so that they are written together.
const BATCH_TIME: Duration = Duration::from_millis(2);

/// How many responses are put off between two looks at the time.
const LOOK_EVERY: usize = 8;

/// Listeners have the tokens from here on; connections have their slot.
const FIRST_LISTENER: usize = usize::MAX / 2;

/// Serves one application on one event loop, on one thread.
pub struct Worker<A: Application, H: Host> {
    application: A,
    host: H,
    config: Config,
    state: RefCell<State<A>>,
}

impl<A: Application, H: Host> Worker<A, H> {
    /// A worker that accepts from these listeners as soon as it is polled.
    ///
    /// # Errors
    /// Where the poller cannot be made or a listener not be watched.
    pub fn new(application: A, host: H, config: Config, listeners: Vec<Listener>) -> io::Result<Self> {
        let mut state = State::new(listeners, config.row.clone())?;
        for (index, listener) in state.listeners.iter_mut().enumerate() {
            state.poller.add(listener, FIRST_LISTENER + index)?;
        }
        if config.max_calls != 0 {
            state.told_at = config.max_calls;
        }
        config.count_start(!state.listeners.is_empty());
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

    /// Has files read from another disk: before the first connection.
    #[cfg(test)]
    pub(crate) fn read_from(&self, disk: Arc<dyn crate::files::Disk>) {
        self.state.borrow_mut().reader = crate::files::Reader::new(disk);
    }

    /// A handle with which other threads end a [`Worker::wait`].
    pub(crate) fn waker(&self) -> io::Result<Arc<mio::Waker>> {
        self.state.borrow_mut().waker()
    }

    /// Handles a bounded batch of what is ready, then writes what the application answered.
    pub fn poll(&self) {
        self.wait(Some(Duration::ZERO));
    }

    /// Writes what waits and goes on with what follows from it, without a look at the descriptors: what
    /// [`Host::poll_soon`] asks for.
    pub fn settle_soon(&self) {
        self.state.borrow_mut().clock.update();
        self.turn(|| {
            self.state.borrow_mut().accept_more(&self.config);
            self.go_on_with_handshakes();
        });
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
        self.show_life();
        let mut events = {
            let state = &mut *self.state.borrow_mut();
            // An application may run a loop inside the loop: then the outer turn has the buffer of events.
            let mut events = state.events.take().unwrap_or_else(Poller::events);
            if let Err(error) = state.poller.poll(&mut events, timeout) {
                state.problems.push(Problem::Poll(error));
            }
            state.clock.update();
            events
        };
        self.turn(|| {
            self.state.borrow_mut().accept_more(&self.config);
            self.go_on_with_handshakes();
            for event in &events {
                self.handle_readiness(event.into());
            }
        });
        events.clear();
        self.state.borrow_mut().events = Some(events);
    }

    /// Shows that the event loop runs, as [`Worker::poll`] and [`Worker::tick`] do. To be called at regular times.
    pub fn beat(&self) {
        self.show_life();
        self.config.count_beat();
    }

    fn show_life(&self) {
        self.config.row.add(Cell::LOOP_BEAT, 1);
    }

    /// Looks at the deadlines. To be called about every half second.
    pub fn tick(&self) {
        self.config.count_beat();
        // What has come in time is read in time, also where a call has blocked the loop and this is the first to run.
        self.poll();
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

    /// What is answered on the health path; a quick drain turns it into no for good.
    pub fn set_healthy(&self, healthy: bool) {
        self.state.borrow_mut().healthy = healthy;
    }

    /// How many WebSockets have been accepted and are still there, or their application calls are.
    pub fn websockets(&self) -> usize {
        self.state.borrow_mut().websockets()
    }

    /// Whether the exchange is a WebSocket that has been accepted.
    pub fn is_websocket(&self, exchange: ExchangeId) -> bool {
        self.state.borrow_mut().is_websocket(exchange)
    }

    /// Stops accepting and lets running exchanges finish; idle connections close now, or with their next response
    /// (CON-09). A quick drain may follow a patient one, and takes its place.
    pub fn drain(&self, drain: Drain) {
        self.turn(|| {
            let keys = {
                let state = &mut *self.state.borrow_mut();
                state.clock.update();
                // Nobody comes after this worker: clients that have connected are served, so the backlog is theirs as
                // well. One that is replaced leaves it to its successor, which accepts from the same backlog and can
                // keep them for more than one response.
                if drain == Drain::Quick {
                    state.accept_all(&self.config);
                }
                state.close_listeners();
                state.begin_drain(drain, self.config.websocket_drain);
                state.connections.keys()
            };
            for key in keys {
                if drain == Drain::Quick {
                    // A request that is on its way into this process has been accepted by it.
                    self.state.borrow_mut().look_again(key);
                    self.advance(key);
                }
                self.state.borrow_mut().drain(key, drain);
            }
            self.state.borrow_mut().restart_websockets();
        });
    }

    /// Closes every connection, whatever state it is in, and the listeners.
    pub fn close(&self) {
        self.turn(|| {
            let state = &mut *self.state.borrow_mut();
            state.begin_drain(Drain::Quick, Duration::ZERO);
            state.close_listeners();
            for key in state.connections.keys() {
                state.remove(key);
            }
            state.reader.end();
            self.config.count_end();
        });
    }

    /// Runs `work`, then settles what it left: writes, wakes, reports. Inside a turn, `work` alone.
    fn turn(&self, work: impl FnOnce()) {
        let outer = self.state.borrow_mut().begin_turn();
        work();
        if outer {
            return;
        }
        self.settle();
        let more = {
            let state = &mut *self.state.borrow_mut();
            state.in_turn = false;
            !state.acceptable.is_empty() || state.handshakes.is_waited_for()
        };
        if more {
            self.host.poll_soon();
        }
        self.report();
    }

    fn handle_readiness(&self, readiness: Readiness) {
        if readiness.token == WAKER {
            return self.state.borrow_mut().take_read();
        }
        if readiness.token >= FIRST_LISTENER {
            return self.state.borrow_mut().accept(readiness.token - FIRST_LISTENER, &self.config);
        }
        let key = {
            let state = &mut *self.state.borrow_mut();
            let Some(key) = state.connections.key_at(readiness.token as u32) else { return };
            if state.note(key, readiness) {
                return;
            }
            key
        };
        self.advance(key);
    }

    /// Goes on where earlier turns had no time for handshakes.
    fn go_on_with_handshakes(&self) {
        loop {
            let key = self.state.borrow_mut().next_handshake();
            match key {
                Some(key) => self.advance(key),
                None => return,
            }
        }
    }

    /// Lets a connection do what it can: start requests, discard what is not wanted.
    fn advance(&self, key: Key) {
        for _ in 0..REQUESTS_PER_TURN {
            let call = self.state.borrow_mut().next_call(key, &self.config);
            let goes_on = call.is_some_and(|call| self.call(key, call));
            if !goes_on {
                return;
            }
        }
        self.state.borrow_mut().enqueue(key);
    }

    /// Calls the application. Whether the connection may have more to do before the turn ends.
    fn call(&self, key: Key, mut call: Call<A>) -> bool {
        self.flush_late();
        // A turn of many short calls is no loop that is blocked.
        self.show_life();
        if self.config.metrics {
            self.state.borrow().count_call();
        }
        let (root_path, path) = call.ends.paths(&self.config.root_path, call.line.path());
        let kind = if call.request.websocket {
            ScopeKind::WebSocket { subprotocols: &call.subprotocols }
        } else {
            ScopeKind::Http { method: call.line.method() }
        };
        let scope = ScopeRef {
            kind,
            http_version: call.request.version,
            scheme: call.ends.scheme,
            path,
            raw_path: call.line.path(),
            query_string: call.line.query(),
            root_path,
            headers: &call.request.headers,
            headers_repeated: call.request.headers_repeated,
            client: call.ends.client.as_ref(),
            server: Some(&call.ends.server),
            ends_repeated: call.ends_repeated,
            extensions: call.extensions,
            tls: call.tls.as_deref(),
        };
        self.application.call(&scope, call.exchange, &mut call.memory);
        drop(scope);
        let state = &mut *self.state.borrow_mut();
        state.line = call.line;
        let Some(connection) = state.connections.get_mut(key) else { return false };
        connection.memory = call.memory;
        connection.remembered = call.exchange.sequence;
        // What is in the queue is looked at anyway, once it is written.
        !connection.queued || connection.has_input()
    }

    /// Writes the finished responses of this turn when the first of them has waited long enough.
    fn flush_late(&self) {
        let state = &mut *self.state.borrow_mut();
        let looks = !state.queue.is_empty() && state.queue.len().is_multiple_of(LOOK_EVERY);
        if looks && state.queued_at.elapsed() > BATCH_TIME {
            state.flush();
            state.queued_at = Instant::now();
            self.host.caught_up();
        }
    }

    /// Writes what is queued and goes on with the connections behind it, some rounds at the most.
    fn settle(&self) {
        for _ in 0..4 {
            self.wake_all();
            self.application.poll();
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
            let current = connection.exchanges.current();
            if let Some(exchange) = connection.exchanges.get(current) {
                exchange.receive_woken = false;
            }
            let yielded = std::mem::take(&mut connection.yielded);
            if connection.is_over(&mut state.buffer, &state.clock.now()) {
                state.remove(key);
                return;
            }
            let waits = !connection.has_input();
            let looks_behind = !connection.behind.is_empty();
            if yielded {
                state.enqueue(key);
            }
            if looks_behind {
                state.read_behind(key);
            }
            waits
        };
        if !waits {
            self.advance(key);
        }
    }

    fn wake_all(&self) {
        let wakes = std::mem::take(&mut self.state.borrow_mut().wakes);
        for &(exchange, wake) in &wakes {
            self.flush_late();
            self.application.wake(exchange, wake);
        }
        if wakes.is_empty() {
            return;
        }
        self.application.woken();
        let state = &mut *self.state.borrow_mut();
        if state.wakes.is_empty() {
            // Keeps the memory of the list.
            state.wakes = wakes;
            state.wakes.clear();
        }
    }

    /// Tells the process what it wants to know.
    fn report(&self) {
        let (problems, accesses, limit_reached, drained) = {
            let state = &mut *self.state.borrow_mut();
            let drained =
                state.draining.is_some() && !state.drained && state.connections.len() == 0 && state.running == 0;
            state.drained |= drained;
            let limit_reached = state.calls >= state.told_at;
            if limit_reached {
                state.told_at = u64::MAX;
            }
            if state.problems.is_empty() && state.accesses.finished.is_empty() && !limit_reached && !drained {
                return;
            }
            (std::mem::take(&mut state.problems), std::mem::take(&mut state.accesses.finished), limit_reached, drained)
        };
        for problem in &problems {
            self.host.problem(problem);
        }
        if !accesses.is_empty() {
            self.host.accessed(&accesses);
            self.state.borrow_mut().accesses.give_back(accesses);
        }
        if limit_reached {
            self.host.limit_reached();
        }
        if drained {
            self.host.drained();
        }
    }

    /// The next event of the exchange, its bytes or text taken by `take`, which must not call back. Pending: a
    /// [`Wake::Receive`](asgi::Wake::Receive) will follow.
    pub fn receive<T: Take<Gathered = A::Gathered>>(
        &self,
        exchange: ExchangeId,
        take: T,
    ) -> Poll<ReceiveEvent<T::Bytes, T::Text>> {
        let (event, queued) = {
            let state = &mut *self.state.borrow_mut();
            let event = state.receive(exchange, take);
            if let Poll::Ready(ReceiveEvent::WebSocketReceive(_)) = event {
                state.row.add(Cell::MESSAGES_RECEIVED, 1);
            }
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
    pub fn send(&self, exchange: ExchangeId, event: SendEvent<A::Body, A::Text>) -> Result<Sent, SendError> {
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
        self.state.borrow_mut().sent(exchange)
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
