//! Applications and peers of any kind against each other: an input is a sequence of what both do, over one connection and
//! as many requests as come of it. WebSockets are off: what belongs to one is refused here, whenever it comes.
//!
//! The laws: a command is refused exactly when the model refuses it, and a refused one changes nothing; what is written
//! parses as responses whose framing matches what the application sent; a response that is not whole never looks it; a
//! connection that is closing stays so; whenever nothing runs there is a deadline, and it does something; and memory holds
//! no more than what was handed in.
#![no_main]

#[path = "../../crates/ferricorn-proto/tests/support/mod.rs"]
mod support;

use std::cell::OnceCell;
use std::fs::File;
use std::io::IoSlice;
use std::rc::Rc;
use std::time::{Duration, Instant};

use asgi::{Headers, Message, Outcome, ResponseStart, SendError};
use ferricorn_proto::http1::Connection;
use ferricorn_proto::{Closing, Content, Drain, Finished, Input, Limits, Now, Piece};
use libfuzzer_sys::fuzz_target;
use support::client::{End, Response, read_responses};
use support::model::{Asked, Model, Refusal};
use support::{Action, DATE, apply_websocket, take_output};

fuzz_target!(|data: &[u8]| {
    let mut run = Run::new();
    let mut choices = Choices(data);
    while let Some(choice) = choices.next() {
        run.step(choice, &mut choices);
        run.check_laws();
    }
    run.end();
});

struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn byte(&mut self) -> u8 {
        self.next().unwrap_or_default()
    }

    fn bytes(&mut self, length: usize) -> &[u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// One exchange, and how it went.
struct Exchange {
    model: Model,
    to_head: bool,
    /// None while it runs.
    fate: Option<Fate>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Finished(Finished),
    /// The client went, or sent what ended it: what the model says of the response does not hold any more.
    Disconnected,
}

struct Run {
    connection: Connection<Vec<u8>>,
    instant: Instant,
    inbox: Vec<u8>,
    output: Vec<u8>,
    exchanges: Vec<Exchange>,
    body: Vec<u8>,
    handed_in: u64,
    refused: bool,
    closing: Closing,
}

impl Run {
    fn new() -> Self {
        let instant = Instant::now();
        let limits = Limits { date: false, websocket: None, ..Limits::default() };
        Self {
            connection: Connection::new(Rc::new(limits), instant),
            instant,
            inbox: Vec::new(),
            output: Vec::new(),
            exchanges: Vec::new(),
            body: Vec::new(),
            handed_in: 0,
            refused: false,
            closing: Closing::No,
        }
    }

    fn now(&self) -> Now<'static> {
        Now { instant: self.instant, date: DATE }
    }

    fn step(&mut self, choice: u8, choices: &mut Choices<'_>) {
        match choice % 16 {
            0 => self.request(choices.byte()),
            1 => {
                let length = usize::from(choices.byte());
                self.feed(choices.bytes(length).to_vec());
            }
            2 => self.write(Some(usize::from(choices.byte()))),
            3 => self.write(None),
            4 => self.pass(choices.byte()),
            5 => self.want_body(),
            6 => self.finish(if choices.byte() & 1 == 0 { Outcome::Returned } else { Outcome::Failed }),
            7 if choices.byte() == 0 => self.end_of_input(),
            7 => self.connection.release_memory(),
            8 => self.rare(choices.byte()),
            _ => {
                let action = action(choice, choices);
                self.apply(&action);
            }
        }
        self.note_fate();
    }

    /// A request that is well-formed, in many kinds.
    fn request(&mut self, kind: u8) {
        let method = ["GET", "POST", "HEAD", "post"][usize::from(kind & 3)];
        let version = if kind & 4 == 0 { "1.1" } else { "1.0" };
        let te = if kind & 8 == 0 { "" } else { "TE: trailers\r\n" };
        let connection = ["", "Connection: keep-alive\r\n"][usize::from(kind >> 4 & 1)];
        let body = match kind >> 5 {
            0 | 1 => "\r\n",
            2 => "Content-Length: 5\r\n\r\nhello",
            3 if version == "1.1" => "Transfer-Encoding: chunked\r\n\r\n5;a\r\nhello\r\n0\r\nA: b\r\n\r\n",
            4 => "Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
            5 => "Content-Length: 100000\r\n\r\nhello",
            6 if version == "1.1" => "Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
            _ => "Connection: close\r\n\r\n",
        };
        self.feed(format!("{method} /a HTTP/{version}\r\nHost: x\r\n{te}{connection}{body}").into_bytes());
    }

    fn feed(&mut self, bytes: Vec<u8>) {
        self.handed_in += bytes.len() as u64;
        self.inbox.extend(bytes);
        self.take_input();
    }

    fn take_input(&mut self) {
        // As many steps as make progress.
        while !self.inbox.is_empty() && self.connection.wants_input() && !self.take_event() {}
    }

    /// Whether nothing came of it.
    fn take_event(&mut self) -> bool {
        let now = self.now();
        let had_exchange = self.connection.exchange_is_open();
        let step = self.connection.handle_input(&mut self.inbox, &now);
        let (consumed, nothing) = (step.consumed, matches!(step.event, Ok(None)));
        match step.event {
            Ok(None) => {}
            Ok(Some(Input::Request(head))) => {
                assert!(!had_exchange && !self.refused, "a request behind one that runs or was refused");
                let to_head = head.method == "HEAD";
                let http10 = head.version == asgi::HttpVersion::Http10;
                let te_trailers = head.headers.get_all(b"te").any(|te| te.to_ascii_lowercase() == b"trailers");
                let model = Model::new(Asked { to_head, http10, te_trailers });
                self.exchanges.push(Exchange { model, to_head, fate: None });
                self.body.clear();
            }
            Ok(Some(Input::Body { data, end })) => {
                assert!(had_exchange && (end || !data.is_empty()));
                self.body.extend_from_slice(data);
                assert_eq!(end, self.connection.request_complete());
            }
            Ok(Some(Input::Message(_) | Input::Violation(_))) => panic!("there is no WebSocket"),
            Ok(Some(Input::Broken(error))) => panic!("this is HTTP/1: {error}"),
            Err(error) => {
                assert!(error.status() >= 400 && !self.refused);
                self.refused = true;
            }
        }
        self.inbox.drain(..consumed);
        nothing
    }

    fn write(&mut self, most: Option<usize>) {
        match most {
            None => {
                take_output(&mut self.connection, &mut self.output);
            }
            Some(most) => self.write_some(most),
        }
        let now = self.now();
        self.connection.handle_written(&now);
        self.take_input();
    }

    fn write_some(&mut self, most: usize) {
        use std::os::unix::fs::FileExt;
        let transmit = self.connection.transmit();
        let mut slices = [IoSlice::new(&[]); 2];
        let taken = match transmit.next(&mut slices) {
            Piece::Nothing => 0,
            Piece::Bytes(_) => {
                let taken = most.min(slices[0].len());
                self.output.extend_from_slice(&slices[0][..taken]);
                taken
            }
            Piece::File { file, offset, remaining } => {
                let mut bytes = vec![0; (most as u64).min(remaining) as usize];
                file.read_exact_at(&mut bytes, offset).unwrap();
                self.output.extend_from_slice(&bytes);
                bytes.len()
            }
        };
        transmit.consume(taken);
    }

    /// Time passes: some, or until the next deadline.
    fn pass(&mut self, choice: u8) {
        let due = self.connection.next_timeout();
        match (choice & 1, due) {
            (0, Some(at)) => self.instant = self.instant.max(at),
            _ => self.instant += Duration::from_millis(u64::from(choice) * 20),
        }
        let now = self.now();
        let kind = self.connection.handle_timeout(&now);
        assert_eq!(kind.is_some(), due.is_some_and(|at| at <= self.instant), "{due:?}");
        self.take_input();
    }

    fn want_body(&mut self) {
        let now = self.now();
        self.connection.want_body(&now);
        self.take_input();
    }

    fn end_of_input(&mut self) {
        self.connection.handle_end_of_input();
        assert!(!self.connection.exchange_is_open() && !self.connection.wants_input());
        assert_ne!(self.connection.closing(), Closing::No);
    }

    fn rare(&mut self, choice: u8) {
        let now = self.now();
        match choice {
            0 => self.connection.drain(Drain::Quick),
            3 => self.connection.drain(Drain::Patient),
            4 => self.connection.websocket_restart(&now),
            1 => self.connection.handle_lost(),
            _ => {}
        }
    }

    fn current(&mut self) -> Option<&mut Exchange> {
        self.exchanges.last_mut().filter(|exchange| exchange.fate.is_none())
    }

    fn apply(&mut self, action: &Action) {
        let now = self.now();
        let waiting = self.connection.transmit().len();
        let (open, disconnected) = (self.connection.exchange_is_open(), self.connection.disconnected());
        let result = send(&mut self.connection, action, &now);
        let wrote = self.connection.transmit().len() > waiting;
        if disconnected {
            assert!(result == Err(Refused::Disconnected) && !wrote, "{action:?} to nobody: {result:?}");
            return;
        }
        assert!(!wrote || open && result.is_ok(), "{action:?} wrote: {result:?}");
        let Some(exchange) = self.current() else { return };
        let expected = exchange.model.apply(action).map_err(Refused::Model);
        // What is misuse while a response is made may be ignored once it is whole.
        assert!(result == expected || !open && result == Ok(()), "{action:?}: {result:?}, not {expected:?}");
        self.take_input();
    }

    fn finish(&mut self, outcome: Outcome) {
        let now = self.now();
        if self.current().is_none() {
            return;
        }
        let disconnected = self.connection.disconnected();
        let finished = self.connection.finish(outcome, &now);
        assert!(!self.connection.exchange_is_open());
        let Some(exchange) = self.current() else { unreachable!() };
        if disconnected {
            assert_eq!(finished, Finished::Disconnected);
            exchange.fate = Some(Fate::Disconnected);
        } else {
            assert_eq!(finished, exchange.model.finish(outcome));
            exchange.fate = Some(Fate::Finished(finished));
        }
        self.take_input();
    }

    /// An exchange that is over by itself: whole, or its client gone.
    fn note_fate(&mut self) {
        let (open, gone) = (self.connection.exchange_is_open(), self.connection.disconnected());
        if open || self.exchanges.is_empty() {
            return;
        }
        let earlier = self.exchanges.len() - 1;
        // A request that came in behind it replaced it: it was whole.
        for exchange in &mut self.exchanges[..earlier] {
            let fate = exchange.fate.get_or_insert_with(|| Fate::Finished(exchange.model.finish(Outcome::Returned)));
            assert_eq!(*fate, Fate::Finished(Finished::Complete));
        }
        if let Some(exchange) = self.current().filter(|_| gone) {
            exchange.fate = Some(Fate::Disconnected);
        }
    }

    fn check_laws(&mut self) {
        let closing = self.connection.closing();
        let rank = |closing| match closing {
            Closing::No => 0,
            Closing::Flush => 1,
            Closing::Now => 2,
            Closing::Abort => 3,
        };
        assert!(rank(closing) >= rank(self.closing), "{:?} became {closing:?}", self.closing);
        self.closing = closing;
        let waiting = self.connection.transmit().len();
        let open = self.connection.exchange_is_open();
        if !open && closing == Closing::No {
            assert!(self.connection.next_timeout().is_some(), "idle for ever");
            assert!(self.connection.wants_input() || waiting > Limits::PIPELINE, "deaf for ever");
        }
        if closing == Closing::Flush {
            assert!(self.connection.next_timeout().is_some() || waiting > 0, "lingers for ever");
        }
        assert!(!(self.connection.is_idle() && (open || waiting > 0 || closing != Closing::No)));
        if self.connection.wants_input() && !self.inbox.is_empty() {
            assert!(self.inbox.len() <= 65_536);
        }
    }

    /// All is written, and read as a client would.
    fn end(mut self) {
        self.write(None);
        self.note_fate();
        let closing = self.connection.closing();
        let to_head: Vec<bool> = self.exchanges.iter().map(|exchange| exchange.to_head).collect();
        // The last answer may be one to a HEAD that could not be read.
        let responses = read_responses(&self.output, &to_head)
            .or_else(|_| read_responses(&self.output, &[&to_head[..], &[true]].concat()))
            .unwrap_or_else(|error| panic!("{error}: {}", self.output.escape_ascii()));
        let own = usize::from(self.refused || closing != Closing::No);
        assert!(responses.len() <= self.exchanges.len() + own, "{}", self.output.escape_ascii());
        for (response, exchange) in responses.iter().zip(&self.exchanges) {
            check_response(response, exchange, closing);
        }
        assert!(self.body.len() as u64 <= self.handed_in);
    }
}

/// Holds a response against what its exchange says.
fn check_response(response: &Response, exchange: &Exchange, closing: Closing) {
    let result = match exchange.fate {
        Some(Fate::Finished(finished)) => {
            let mut response = response.clone();
            response.interim.retain(|status| *status != 100);
            // A connection is reset for a whole response too, where the peer does not take it.
            let is_reset = closing == Closing::Abort && finished == Finished::Truncated;
            exchange.model.check(&response, is_reset)
        }
        // Where the client went or the peer broke the rules: an answer of the server's own, or nothing that looks whole.
        Some(Fate::Disconnected) => {
            let is_own = response.status >= 400 && response.closes() && response.end == End::Whole;
            let is_broken = response.end != End::Whole || exchange.to_head || matches!(response.status, 204 | 304);
            if is_own || is_broken { Ok(()) } else { Err(format!("{response:?} looks whole")) }
        }
        None => Ok(()),
    };
    if let Err(error) = result {
        panic!("{error} ({:?}, {closing:?})", exchange.fate);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    Disconnected,
    Model(Refusal),
}

fn send(connection: &mut Connection<Vec<u8>>, action: &Action, now: &Now<'_>) -> Result<(), Refused> {
    let result = apply_websocket(connection, action, now).unwrap_or_else(|| match action {
        Action::Start(start) => connection.start(start),
        Action::Body { bytes, more } => connection.body(Content::Bytes(bytes.clone()), *more, now),
        Action::File { offset, count, more, .. } => {
            connection.body(Content::File { file: contents(), offset: *offset, count: *count }, *more, now)
        }
        Action::Pathsend(_) => connection.pathsend(contents(), CONTENTS.len() as u64, now),
        Action::Trailers { headers, more } => connection.trailers(headers, *more, now),
        Action::EarlyHint(links) => connection.early_hint(links),
        Action::Refuse(status) => {
            let disconnected = connection.disconnected();
            connection.refuse(*status, now);
            if disconnected { Err(SendError::Disconnected) } else { Ok(()) }
        }
        other => unreachable!("{other:?}"),
    });
    result.map_err(|error| match error {
        SendError::Disconnected => Refused::Disconnected,
        SendError::OutOfOrder { .. } => Refused::Model(Refusal::OutOfOrder),
        SendError::Status(_) => Refused::Model(Refusal::Status),
        SendError::ContentLength => Refused::Model(Refusal::ContentLength),
        SendError::BodyTooLong { .. } => Refused::Model(Refusal::TooLong),
        SendError::Header(_) => Refused::Model(Refusal::Header),
        other => panic!("{other}"),
    })
}

fn action(choice: u8, choices: &mut Choices<'_>) -> Action {
    let (kind, more) = (choices.byte(), choice & 16 != 0);
    match choice % 16 {
        9 | 10 => Action::Start(start(kind, more)),
        11 | 12 => Action::Body { bytes: vec![b'a' + kind % 26; length(kind)], more },
        13 if kind & 1 == 0 => Action::Pathsend(CONTENTS.to_vec()),
        13 => {
            let (offset, count) = (u64::from(kind >> 1 & 3), u64::from(kind >> 3 & 3));
            Action::File { bytes: CONTENTS.to_vec(), offset, count, more }
        }
        14 => Action::Trailers { headers: fields(kind), more },
        _ if kind & 7 == 0 => Action::Refuse(503),
        _ if kind & 7 == 7 => websocket_action(kind >> 3, more),
        _ => Action::EarlyHint(vec![[&b"</a>"[..], b"a\rb"][usize::from(kind == 9)].to_vec(); usize::from(kind & 3)]),
    }
}

fn websocket_action(kind: u8, more: bool) -> Action {
    match kind % 5 {
        0 => Action::Accept { subprotocol: None, headers: Headers::new() },
        1 => Action::Send(Message::Text("a".to_owned())),
        2 => Action::Close { code: 1000, reason: String::new() },
        3 => Action::Deny(start(0, more)),
        _ => Action::DenyBody { bytes: b"a".to_vec(), more },
    }
}

/// Mostly small, sometimes too large to be copied, once more than may wait ahead of a next request.
fn length(kind: u8) -> usize {
    match kind {
        0..=239 => usize::from(kind % 8),
        240..=253 => 17_000,
        _ => 70_000,
    }
}

fn start(kind: u8, trailers: bool) -> ResponseStart {
    let status = [200, 404, 204, 304, 200, 200, 101, 1000][usize::from(kind & 7)];
    ResponseStart { status, headers: fields(kind >> 3), trailers }
}

fn fields(kind: u8) -> Headers {
    let all = [
        ("content-type", "text/plain"),
        ("content-length", "5"),
        ("connection", "close, x"),
        ("transfer-encoding", "chunked"),
        ("content-length", "0"),
    ];
    let chosen = all.iter().enumerate().filter(|(at, _)| kind >> at & 1 != 0).map(|(_, field)| *field);
    Headers::from_iter(chosen).unwrap()
}

const CONTENTS: &[u8] = b"contents";

fn contents() -> File {
    thread_local!(static FILE: OnceCell<File> = const { OnceCell::new() });
    FILE.with(|file| file.get_or_init(|| support::file_of(CONTENTS)).try_clone().unwrap())
}
