//! A worker on the test's own thread, step by step, with an application that is no future: what a host other than
//! `serve` (Python's event loop) does with a [`Worker`].

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::{Rc, Weak};
use std::task::Poll as Progress;
use std::time::Instant;

use asgi::{
    Address, Application, ExchangeId, Headers, Outcome, ReceiveEvent, ResponseStart, ScopeRef, SendError, SendEvent,
    Wake,
};
use ferricorn_server::{Access, Config, Host, Listener, Problem, Sent, TICK, Take, Worker};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::websocket::{Socket, handshake};
use super::{Client, DEADLINE};

/// Bytes of one part of `/flood`.
pub(crate) const FLOOD_PART: usize = 48 * 1024;

/// A part of a body, or a message, that counts itself as long as it lives.
pub(crate) struct Counted {
    bytes: Vec<u8>,
    alive: Rc<Cell<usize>>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<str> for Counted {
    fn as_ref(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.alive.set(self.alive.get() - self.bytes.len());
    }
}

/// What it keeps beside a connection: one more of those that are counted.
#[derive(Default)]
pub(crate) struct Kept(#[expect(dead_code, reason = "it only counts")] Option<Rc<()>>);

/// Its paths: `/hello` answers at once, `/hold` when `release` says so, `/fail` fails before anything, `/fail/late` after
/// a part; `/flood/N` sends N parts as fast as it may.
#[derive(Default)]
pub(crate) struct Paths {
    worker: OnceCell<Weak<Worker<Paths, Recorder>>>,
    held: RefCell<Vec<ExchangeId>>,
    floods: RefCell<HashMap<ExchangeId, usize>>,
    /// Bytes of response bodies that the server has not let go.
    alive: Rc<Cell<usize>>,
    most_alive: Cell<usize>,
    wakes: RefCell<Vec<Wake>>,
    /// What the scopes said of both ends.
    ends: RefCell<Vec<String>>,
    kept: Rc<()>,
}

impl Paths {
    fn worker(&self) -> Rc<Worker<Self, Recorder>> {
        self.worker.get().unwrap().upgrade().unwrap()
    }

    fn start(&self, exchange: ExchangeId) -> Result<Sent, SendError> {
        self.worker().start(exchange, &ResponseStart { status: 200, ..ResponseStart::default() })
    }

    fn counted(&self, bytes: Vec<u8>) -> Counted {
        self.alive.set(self.alive.get() + bytes.len());
        self.most_alive.set(self.most_alive.get().max(self.alive.get()));
        Counted { bytes, alive: Rc::clone(&self.alive) }
    }

    fn body(&self, exchange: ExchangeId, bytes: Vec<u8>, more_body: bool) -> Result<Sent, SendError> {
        self.worker().send(exchange, SendEvent::ResponseBody { body: self.counted(bytes), more_body })
    }

    fn hello(&self, exchange: ExchangeId) {
        let sent = self.start(exchange).and_then(|_| self.body(exchange, b"hello".to_vec(), false));
        self.worker().finish(exchange, if sent.is_ok() { Outcome::Returned } else { Outcome::Failed });
    }

    fn flood(&self, exchange: ExchangeId) {
        let mut left = self.floods.borrow_mut().remove(&exchange).unwrap();
        while left > 0 {
            left -= 1;
            match self.body(exchange, vec![b'x'; FLOOD_PART], left > 0).unwrap() {
                Sent::Blocked => {
                    self.floods.borrow_mut().insert(exchange, left);
                    if self.worker().sent(exchange).is_pending() {
                        return;
                    }
                    self.floods.borrow_mut().remove(&exchange);
                }
                Sent::Complete => assert_eq!(left, 0),
                sent => assert_eq!(sent, Sent::Open),
            }
        }
        self.worker().finish(exchange, Outcome::Returned);
    }
}

impl Application for Paths {
    type ConnectionMemory = Kept;
    type Body = Counted;
    type Gathered = Vec<u8>;
    type Text = Counted;

    fn call(&self, scope: &ScopeRef<'_>, exchange: ExchangeId, memory: &mut Kept) {
        *memory = Kept(Some(Rc::clone(&self.kept)));
        self.ends.borrow_mut().push(ends(scope));
        match scope.path.split_at(1).1 {
            "hello" => self.hello(exchange),
            "hold" => self.held.borrow_mut().push(exchange),
            "fail" => {
                self.worker().finish(exchange, Outcome::Failed);
            }
            "fail/late" => {
                self.start(exchange).unwrap();
                self.body(exchange, b"part".to_vec(), true).unwrap();
                self.worker().finish(exchange, Outcome::Failed);
            }
            path => {
                let parts = path.strip_prefix("flood/").unwrap().parse().unwrap();
                self.start(exchange).unwrap();
                self.floods.borrow_mut().insert(exchange, parts);
                self.flood(exchange);
            }
        }
    }

    fn wake(&self, exchange: ExchangeId, wake: Wake) {
        self.wakes.borrow_mut().push(wake);
        if self.floods.borrow().contains_key(&exchange) {
            self.flood(exchange);
        }
    }
}

/// Takes what is received as it is.
pub(crate) struct Owned;

impl Take for Owned {
    type Gathered = Vec<u8>;
    type Bytes = Vec<u8>;
    type Text = String;

    fn bytes(self, bytes: &[u8]) -> Vec<u8> {
        bytes.to_vec()
    }

    fn gathered(self, gathered: Vec<u8>) -> Vec<u8> {
        gathered
    }

    fn text(self, text: &str) -> String {
        text.to_owned()
    }
}

/// Keeps what the process would log.
#[derive(Default)]
pub(crate) struct Recorder {
    soon: Cell<bool>,
    problems: RefCell<Vec<String>>,
    accesses: RefCell<Vec<String>>,
    limits_reached: Cell<usize>,
    drained: Cell<usize>,
}

impl Host for Recorder {
    fn poll_soon(&self) {
        self.soon.set(true);
    }

    fn problem(&self, problem: &Problem) {
        self.problems.borrow_mut().push(problem.to_string());
    }

    fn accessed(&self, accesses: &[Box<Access>]) {
        self.accesses.borrow_mut().extend(accesses.iter().map(|access| access.to_string()));
    }

    fn limit_reached(&self) {
        self.limits_reached.set(self.limits_reached.get() + 1);
    }

    fn drained(&self) {
        self.drained.set(self.drained.get() + 1);
    }
}

/// The worker with its listener's address.
pub(crate) struct Direct {
    pub(crate) worker: Rc<Worker<Paths, Recorder>>,
    pub(crate) address: Address,
    ticked: Cell<Instant>,
}

impl Direct {
    pub(crate) fn new(config: Config) -> Self {
        let listener = Listener::tcp("127.0.0.1", 0, 128).unwrap();
        Self::on(listener, config)
    }

    pub(crate) fn on(listener: Listener, config: Config) -> Self {
        let address = listener.address().clone();
        let worker = Worker::new(Paths::default(), Recorder::default(), config, vec![listener]).unwrap();
        let worker = Rc::new(worker);
        assert!(worker.application().worker.set(Rc::downgrade(&worker)).is_ok());
        Self { worker, address, ticked: Cell::new(Instant::now()) }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(&self.address)
    }

    /// Lets the server do what there is to do until `is_so`; waits for its descriptor, and beside it for `other`.
    pub(crate) fn run_until(&self, other: Option<RawFd>, mut is_so: impl FnMut(&Self) -> bool) {
        let begin = Instant::now();
        while !is_so(self) {
            assert!(begin.elapsed() < DEADLINE, "what was waited for does not come");
            if self.worker.host().soon.take() {
                self.worker.settle_soon();
                continue;
            }
            wait_readable(&[Some(self.worker.descriptor()), other]).unwrap();
            self.worker.poll();
            if self.ticked.get().elapsed() >= TICK {
                self.ticked.set(Instant::now());
                self.worker.tick();
            }
        }
    }

    /// Lets the server run until the client has something to read.
    pub(crate) fn serve(&self, client: &Client) {
        self.run_until(Some(client.as_raw_fd()), |_| is_readable(client.as_raw_fd()));
    }

    /// Answers what `/hold` holds.
    pub(crate) fn release(&self) {
        let held = std::mem::take(&mut *self.worker.application().held.borrow_mut());
        held.into_iter().for_each(|exchange| self.worker.application().hello(exchange));
    }

    pub(crate) fn held(&self) -> Vec<ExchangeId> {
        self.worker.application().held.borrow().clone()
    }

    /// A WebSocket that was asked for at `/hold`, and its exchange, which the test answers itself.
    pub(crate) fn ask(&self, lines: &str) -> (Client, ExchangeId) {
        let mut client = self.connect();
        client.send(handshake("/hold", lines));
        let before = self.held().len();
        self.run_until(None, |direct| direct.held().len() > before);
        (client, self.held()[before])
    }

    /// The same, accepted.
    pub(crate) fn open(&self) -> (Socket, ExchangeId) {
        let (client, exchange) = self.ask("");
        let accept = SendEvent::WebSocketAccept { subprotocol: None, headers: Headers::new() };
        assert_eq!(self.worker.send(exchange, accept).unwrap(), Sent::Open);
        assert_eq!(self.event(exchange), ReceiveEvent::WebSocketConnect);
        self.serve(&client);
        (Socket::opened(client).0, exchange)
    }

    /// The next event of the exchange, waited for.
    pub(crate) fn event(&self, exchange: ExchangeId) -> ReceiveEvent {
        let mut event = None;
        self.run_until(None, |direct| {
            if let Progress::Ready(ready) = direct.worker.receive(exchange, Owned) {
                event = Some(ready);
            }
            event.is_some()
        });
        event.unwrap()
    }

    /// Bytes as this application holds them.
    pub(crate) fn counted(&self, bytes: impl Into<Vec<u8>>) -> Counted {
        self.worker.application().counted(bytes.into())
    }

    /// How many connections have something of the application's beside them.
    pub(crate) fn kept(&self) -> usize {
        Rc::strong_count(&self.worker.application().kept) - 1
    }

    /// Whether a flood waits for room.
    pub(crate) fn is_blocked(&self) -> bool {
        !self.worker.application().floods.borrow().is_empty()
    }

    pub(crate) fn alive(&self) -> usize {
        self.worker.application().alive.get()
    }

    pub(crate) fn most_alive(&self) -> usize {
        self.worker.application().most_alive.get()
    }

    /// The wakes that the application got since the last look.
    pub(crate) fn wakes(&self) -> Vec<Wake> {
        self.worker.application().wakes.take()
    }

    /// The lines for the log since the last look.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.worker.host().problems.take()
    }

    /// The lines of the access log since the last look.
    pub(crate) fn accesses(&self) -> Vec<String> {
        self.worker.host().accesses.take()
    }

    /// Client, scheme, server and root path of the scopes since the last look, those told again marked.
    pub(crate) fn ends(&self) -> Vec<String> {
        self.worker.application().ends.take()
    }

    /// How often the host was told that there were so many calls as it wanted.
    pub(crate) fn limits_reached(&self) -> usize {
        self.worker.host().limits_reached.get()
    }

    /// How often the host was told that all is done.
    pub(crate) fn drained(&self) -> usize {
        self.worker.host().drained.get()
    }
}

fn ends(scope: &ScopeRef<'_>) -> String {
    let client = scope.client.map_or_else(|| "nobody".to_owned(), Address::to_string);
    let server = scope.server.map(Address::to_string).unwrap_or_default();
    let again = if scope.ends_repeated { " again" } else { "" };
    format!("{client} {}://{server}{}{again}", scope.scheme.as_str(), scope.root_path)
}

fn is_readable(descriptor: RawFd) -> bool {
    let mut poll = Poll::new().unwrap();
    poll.registry().register(&mut SourceFd(&descriptor), Token(0), Interest::READABLE).unwrap();
    let mut events = Events::with_capacity(1);
    poll.poll(&mut events, Some(std::time::Duration::ZERO)).unwrap();
    !events.is_empty()
}

/// Waits until one of them can be read, for a tick at the most.
fn wait_readable(descriptors: &[Option<RawFd>]) -> io::Result<()> {
    let mut poll = Poll::new()?;
    for descriptor in descriptors.iter().flatten() {
        poll.registry().register(&mut SourceFd(descriptor), Token(0), Interest::READABLE)?;
    }
    poll.poll(&mut Events::with_capacity(2), Some(TICK))
}
