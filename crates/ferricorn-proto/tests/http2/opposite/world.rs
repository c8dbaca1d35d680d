//! Both ends and the wire between them, driven until nothing moves any more. Nothing here waits.

use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use ferricorn_proto::Limits;
use h2::client::{Builder, Connection, SendRequest};

use super::application::Server;
use super::client::{Bytes, Idle, fetch};
use super::exchange::{Answered, Asked, Exchange};
use super::wire::{Chops, End, Wire};

/// Whether somebody was woken.
#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

pub struct World {
    pub server: Server,
    pub client: Option<Connection<End, Bytes>>,
    /// What became of the client's connection, once it is over.
    pub result: Option<Result<(), h2::Error>>,
    pub sender: Option<SendRequest<Bytes>>,
    pub wire: Rc<RefCell<Wire>>,
    pub idle: Idle,
    /// Those that are exchanges have their number.
    tasks: Vec<(Option<usize>, Task)>,
    flag: Arc<Flag>,
    answered: Vec<Rc<RefCell<Answered>>>,
}

/// A client that never forgets by the clock which streams it has reset.
pub fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.reset_stream_duration(Duration::from_secs(1 << 20)).enable_push(false);
    builder.max_header_list_size(1 << 20).data_frame_budget(1 << 24);
    builder
}

impl World {
    pub fn new(limits: Limits, builder: &Builder, chops: Chops) -> Self {
        let wire = Rc::new(RefCell::new(Wire::new(chops)));
        let flag = Arc::new(Flag::default());
        let waker = Waker::from(Arc::clone(&flag));
        let mut handshake = pin!(builder.handshake(End(Rc::clone(&wire))));
        let (sender, client) = loop {
            // It writes the preface, piece by piece.
            if let Poll::Ready(result) = handshake.as_mut().poll(&mut Context::from_waker(&waker)) {
                break result.unwrap();
            }
        };
        Self {
            server: Server::new(limits),
            client: Some(client),
            result: None,
            sender: Some(sender),
            wire,
            idle: Idle::default(),
            tasks: Vec::new(),
            flag,
            answered: Vec::new(),
        }
    }

    pub fn sender(&self) -> SendRequest<Bytes> {
        self.sender.clone().unwrap()
    }

    pub fn spawn(&mut self, task: impl Future<Output = ()> + 'static) {
        self.tasks.push((None, Box::pin(task)));
    }

    /// The client drops all that it has of an exchange, which resets it, unless it is over.
    pub fn give_up(&mut self, number: usize) {
        self.tasks.retain(|(other, _)| *other != Some(number));
    }

    /// Begins an exchange; its number.
    pub fn begin(&mut self, exchange: Exchange) -> usize {
        let exchange = Rc::new(exchange);
        let number = self.server.book.len();
        let answered = Rc::new(RefCell::new(Answered::default()));
        self.server.book.push(Rc::clone(&exchange));
        self.answered.push(Rc::clone(&answered));
        let task = fetch(self.sender(), exchange, number, self.idle.clone(), answered);
        self.tasks.push((Some(number), Box::pin(task)));
        number
    }

    /// The last exchange of the book is one that is not begun here.
    pub fn forget_answer(&mut self) {
        self.answered.push(Rc::default());
    }

    /// What the client has seen of an exchange by now.
    pub fn answered(&self, number: usize) -> Answered {
        self.answered[number].borrow().clone()
    }

    /// What the application has seen of an exchange, whose call has ended.
    pub fn asked(&self, number: usize) -> &Asked {
        self.find_asked(number).unwrap_or_else(|| panic!("exchange {number} has not ended"))
    }

    /// The same, if there was such a call.
    pub fn find_asked(&self, number: usize) -> Option<&Asked> {
        let mut seen = self.server.asked.iter().filter(|(other, _)| *other == number);
        let (_, asked) = seen.next()?;
        assert!(seen.next().is_none(), "exchange {number} was seen twice");
        Some(asked)
    }

    /// Goes on until nothing moves, and nobody waits for that.
    pub fn run(&mut self) {
        for _ in 0..20_000_000 {
            if !self.turn(false) && !self.idle.tick() && !self.turn(true) {
                return;
            }
        }
        panic!("there is no end to it");
    }

    /// So many turns, or fewer where nothing moves any more.
    pub fn run_for(&mut self, turns: usize) {
        let _ = (0..turns).all(|_| self.turn(false));
    }

    /// Everything has one turn; whether anything moved.
    fn turn(&mut self, idle: bool) -> bool {
        let moved = self.wire.borrow().moved;
        self.flag.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&self.flag));
        let mut cx = Context::from_waker(&waker);
        if let Some(client) = &mut self.client
            && let Poll::Ready(result) = Pin::new(client).poll(&mut cx)
        {
            (self.client, self.result) = (None, Some(result));
            self.wire.borrow_mut().client_ended = true;
        }
        let mut ended = false;
        self.tasks.retain_mut(|(_, task)| {
            let is_over = task.as_mut().poll(&mut cx).is_ready();
            ended |= is_over;
            !is_over
        });
        let went_on = self.serve(idle);
        ended || went_on || self.flag.0.load(Ordering::Relaxed) || self.wire.borrow().moved != moved
    }

    fn serve(&mut self, mut idle: bool) -> bool {
        let mut went_on = false;
        loop {
            let bytes = self.wire.borrow_mut().take();
            if !bytes.is_empty() {
                self.server.receive(&bytes);
            }
            went_on |= self.server.go_on(std::mem::take(&mut idle));
            if !self.write() && bytes.is_empty() {
                break;
            }
        }
        let mut wire = self.wire.borrow_mut();
        if wire.client_ended && self.server.connection.wants_input() {
            self.server.connection.handle_end_of_input();
            went_on = true;
        }
        if self.server.has_ended() && !wire.server_ended {
            wire.end();
            went_on = true;
        }
        went_on
    }

    /// Writes what there is once, and looks whether the calls have more.
    fn write(&mut self) -> bool {
        let mut has_written = false;
        loop {
            let mut wire = self.wire.borrow_mut();
            let bytes = self.server.write(|length| wire.cutter.cut(length));
            if bytes.is_empty() {
                return has_written;
            }
            wire.give(&bytes);
            has_written = true;
        }
    }

    /// Every exchange has been seen on both sides as it was sent.
    pub fn check(&self) {
        assert_eq!((self.server.broken, &self.server.refused[..]), (None, &[][..]));
        (0..self.server.book.len()).for_each(|number| self.check_one(number));
    }

    /// An exchange has been seen on both sides as it was sent.
    pub fn check_one(&self, number: usize) {
        let exchange = &self.server.book[number];
        same(number, &self.answered(number), &exchange.answered(), |seen| &mut seen.body);
        same(number, self.asked(number), &exchange.asked(number), |seen| &mut seen.body);
    }

    /// The client has no more to ask for: both ends come to theirs, and nothing is left.
    pub fn end(&mut self) {
        self.sender = None;
        self.run();
        self.check_end();
    }

    /// Both ends have come to theirs, and nothing is left.
    pub fn check_end(&self) {
        assert!(matches!(self.result, Some(Ok(()))), "{:?}", self.result);
        assert_eq!((self.tasks.len(), self.server.calls.len()), (0, 0));
        assert!(!self.server.connection.has_open_exchange());
        assert_eq!(self.server.connection.closing(), ferricorn_proto::Closing::Now);
    }
}

/// Both are the same; bodies are too long to be shown.
fn same<T: Clone + PartialEq + std::fmt::Debug>(
    number: usize,
    seen: &T,
    expected: &T,
    body: impl Fn(&mut T) -> &mut Vec<u8>,
) {
    if seen == expected {
        return;
    }
    let (mut seen, mut expected) = (seen.clone(), expected.clone());
    let bodies = (std::mem::take(body(&mut seen)), std::mem::take(body(&mut expected)));
    assert_eq!(seen, expected, "exchange {number}");
    let differs = bodies.0.iter().zip(&bodies.1).position(|(one, other)| one != other);
    panic!("exchange {number}: {} bytes in place of {}, differing at {differs:?}", bodies.0.len(), bodies.1.len());
}
