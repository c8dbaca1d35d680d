//! Our side: a connection without a socket, and an application that answers by the path. It looks at its calls when it is
//! told to, as a worker does.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use asgi::{Message, Outcome, ReceiveEvent, ResponseStart};
use ferricorn_proto::http2::{Connection, ConnectionError, FileWanted};
use ferricorn_proto::{Closing, Content, Input, Limits, Now, Piece, RequestError, TimeoutKind};

use super::super::support::DATE;
use super::exchange::{Asked, Exchange, headers_of};

pub struct Server {
    pub connection: Connection<Vec<u8>>,
    pub instant: Instant,
    /// What paths are answered with: `/0` with the first, and so on.
    pub book: Vec<Rc<Exchange>>,
    pub calls: BTreeMap<u32, Call>,
    /// What was seen, by exchange; a path that comes again is seen again.
    pub asked: Vec<(usize, Asked)>,
    pub refused: Vec<RequestError>,
    pub broken: Option<ConnectionError>,
    /// No call goes on while this is true.
    pub is_asleep: bool,
    inbox: Vec<u8>,
}

/// A call of the application.
pub struct Call {
    exchange: Rc<Exchange>,
    number: usize,
    asked: Asked,
    is_websocket: bool,
    begun: bool,
    started: bool,
    parts: usize,
}

impl Server {
    pub fn new(limits: Limits) -> Self {
        let instant = Instant::now();
        Self {
            connection: Connection::new(Rc::new(limits), instant),
            instant,
            book: Vec::new(),
            calls: BTreeMap::new(),
            asked: Vec::new(),
            refused: Vec::new(),
            broken: None,
            is_asleep: false,
            inbox: Vec::new(),
        }
    }

    pub fn now(&self) -> Now<'static> {
        Now { instant: self.instant, date: DATE }
    }

    /// Lets time pass; what was due.
    pub fn pass(&mut self, time: Duration) -> Option<TimeoutKind> {
        self.instant += time;
        let now = self.now();
        self.connection.handle_timeout(&now)
    }

    /// Takes bytes, and the events in them.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.inbox.extend_from_slice(bytes);
        while !self.inbox.is_empty() && self.connection.wants_input() {
            let mut inbox = std::mem::take(&mut self.inbox);
            let now = self.now();
            let step = self.connection.handle_input(&mut inbox, &now);
            let consumed = step.consumed;
            let has_event = !matches!(step.event, Ok(None));
            match step.event {
                Ok(None) => {}
                Ok(Some(Input::Request(head))) => {
                    let path = String::from_utf8(head.path.to_vec()).unwrap();
                    let number: usize = path[1..].parse().unwrap();
                    let fields = head.headers.iter();
                    let fields = fields.map(|(name, value)| (String::from_utf8(name.into()).unwrap(), value.to_vec()));
                    let asked = Asked {
                        method: head.method.to_owned(),
                        path,
                        fields: fields.collect(),
                        whole: !head.has_body,
                        ..Asked::default()
                    };
                    let exchange = Rc::clone(&self.book[number]);
                    let (stream, is_websocket) = (head.stream, head.websocket);
                    let call = Call { exchange, number, asked, is_websocket, begun: false, started: false, parts: 0 };
                    self.calls.insert(stream, call);
                }
                Ok(Some(Input::Broken(error))) => self.broken = Some(error),
                Ok(Some(other)) => panic!("not expected here: {other:?}"),
                Err(error) => self.refused.push(error),
            }
            inbox.drain(..consumed);
            self.inbox = inbox;
            if consumed == 0 && !has_event {
                break;
            }
        }
    }

    /// Lets the calls go on. `idle`: nothing else moves, so what is taken lazily is taken. Whether any call did something.
    pub fn go_on(&mut self, idle: bool) -> bool {
        while self.connection.take_changed().is_some() {}
        if self.is_asleep {
            return false;
        }
        let mut went_on = false;
        for stream in self.calls.keys().copied().collect::<Vec<_>>() {
            let mut call = self.calls.remove(&stream).unwrap();
            let (did, is_over) =
                if call.is_websocket { self.messages(stream, &mut call) } else { self.step(stream, &mut call, idle) };
            went_on |= did;
            if is_over {
                let now = self.now();
                let outcome = if call.exchange.answer.fails { Outcome::Failed } else { Outcome::Returned };
                call.asked.finished = Some(self.connection.finish(stream, outcome, &now));
                self.connection.release(stream);
                self.asked.push((call.number, call.asked));
            } else {
                self.calls.insert(stream, call);
            }
        }
        went_on
    }

    /// Whether the call did something, and whether it is over.
    fn step(&mut self, stream: u32, call: &mut Call, idle: bool) -> (bool, bool) {
        let exchange = Rc::clone(&call.exchange);
        let (connection, now) = (&mut self.connection, Now { instant: self.instant, date: DATE });
        if connection.disconnected(stream) {
            call.asked.gone = true;
            return (true, true);
        }
        if !std::mem::replace(&mut call.begun, true) {
            for links in &exchange.answer.hints {
                let links: Vec<Vec<u8>> = links.iter().map(|link| link.as_bytes().to_vec()).collect();
                connection.early_hint(stream, &links).unwrap();
            }
            return (true, false);
        }
        if !call.asked.whole && !exchange.answer.early {
            connection.want_body(stream, &now);
            if exchange.lazy.0 && !idle {
                return (false, false);
            }
            let Some((part, end)) = connection.take_body(stream, &now) else { return (false, false) };
            call.asked.body.extend(part);
            call.asked.whole = end;
            return (true, false);
        }
        self.respond(stream, call, &exchange)
    }

    /// The next part of the response.
    fn respond(&mut self, stream: u32, call: &mut Call, exchange: &Exchange) -> (bool, bool) {
        let (connection, now) = (&mut self.connection, Now { instant: self.instant, date: DATE });
        let answer = &exchange.answer;
        if answer.fails && answer.parts.is_empty() {
            return (true, true);
        }
        if !std::mem::replace(&mut call.started, true) {
            let start = ResponseStart {
                status: answer.status,
                headers: headers_of(&answer.fields),
                trailers: answer.trailers.is_some(),
            };
            connection.start(stream, &start).unwrap();
        }
        let count = answer.parts.len().max(1);
        while call.parts < count {
            if !answer.eager && connection.unsent(stream) > 0 {
                return (false, false);
            }
            let part = answer.parts.get(call.parts).cloned().unwrap_or_default();
            call.parts += 1;
            let more = call.parts < count || answer.fails;
            let content = if answer.files { file_of(&part) } else { Content::Bytes(part) };
            connection.body(stream, content, more, &now).unwrap();
            if !answer.eager && call.parts < count {
                return (true, false);
            }
        }
        if let (Some(trailers), false) = (&answer.trailers, answer.fails) {
            connection.trailers(stream, &headers_of(trailers), false, &now).unwrap();
        }
        (true, true)
    }

    /// A WebSocket whose messages come back.
    fn messages(&mut self, stream: u32, call: &mut Call) -> (bool, bool) {
        let (connection, now) = (&mut self.connection, Now { instant: self.instant, date: DATE });
        let ended = !connection.exchange_is_open(stream);
        let Some(websocket) = connection.websocket(stream) else { return (true, true) };
        let event = websocket.receive(ended, |message| match message {
            Message::Text(text) => Message::Text(text.to_owned()),
            Message::Binary(bytes) => Message::Binary(bytes.to_vec()),
        });
        match event {
            None => return (false, false),
            Some(ReceiveEvent::WebSocketConnect) => {
                let headers = headers_of(&call.exchange.answer.fields);
                connection.websocket_accept(stream, None, &headers, &now).unwrap();
            }
            Some(ReceiveEvent::WebSocketReceive(message)) => {
                if let Message::Text(text) = &message {
                    call.asked.body.extend(text.as_bytes());
                }
                assert_eq!(connection.feed_websocket(stream, false, &now), None);
                connection.websocket_send(stream, message, &now).unwrap();
            }
            Some(ReceiveEvent::WebSocketDisconnect { code, .. }) => {
                call.asked.gone = true;
                call.asked.body.extend(code.to_string().as_bytes());
                return (true, true);
            }
            Some(other) => panic!("no event of a WebSocket: {other:?}"),
        }
        (true, false)
    }

    /// The next bytes to be written, of which `cut` says how many; empty: none wait.
    pub fn write(&mut self, mut cut: impl FnMut(usize) -> usize) -> Vec<u8> {
        self.read_files(&mut cut);
        let transmit = self.connection.transmit();
        if transmit.is_empty() {
            return Vec::new();
        }
        let mut slices = [std::io::IoSlice::new(&[]); 4];
        let Piece::Bytes(count) = transmit.next(&mut slices) else { panic!("a file reached the wire") };
        let mut left = cut(slices[..count].iter().map(|slice| slice.len()).sum());
        let mut bytes = Vec::with_capacity(left);
        for slice in &slices[..count] {
            let taken = left.min(slice.len());
            bytes.extend_from_slice(&slice[..taken]);
            left -= taken;
        }
        transmit.consume(bytes.len());
        let now = self.now();
        self.connection.handle_written(&now);
        bytes
    }

    /// Reads what is wanted of files, or a part of it.
    fn read_files(&mut self, mut cut: impl FnMut(usize) -> usize) {
        let now = self.now();
        while let Some(FileWanted { stream, mut file, offset, most, .. }) = self.connection.file_wanted(|_| true) {
            let mut bytes = vec![0; cut(most)];
            file.seek(SeekFrom::Start(offset)).unwrap();
            file.read_exact(&mut bytes).unwrap();
            self.connection.supply_file(stream, &bytes, &now);
        }
    }

    /// Whether the connection has come to its end on this side, so that the client is to see an end of input.
    pub fn has_ended(&mut self) -> bool {
        self.connection.closing() != Closing::No && self.connection.transmit().is_empty()
    }
}

/// A part of a file that has more in front of it and behind.
fn file_of(part: &[u8]) -> Content<Vec<u8>> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&[b"front", part, b"behind"].concat()).unwrap();
    Content::File { file, offset: 5, count: part.len() as u64 }
}
