//! A client of HTTP/2 that writes and reads frames, and a driver around the server's connection.

use std::collections::BTreeMap;
use std::io::{IoSlice, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::{Duration, Instant};

use asgi::{Headers, ResponseStart};
use ferricorn_proto::http2::hpack::{Decoder, Encoder};
use ferricorn_proto::http2::{Connection, ConnectionError, FileWanted};
use ferricorn_proto::websocket::ProtocolError;
use ferricorn_proto::{Content, Input, Limits, Now, Piece, RequestError, TimeoutKind};

pub const DATE: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const PRIORITY_UPDATE: u8 = 16;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;

/// A frame as its bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

pub fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

/// RFC 9218 section 7.1.
pub fn priority_update(stream: u32, value: &str) -> Vec<u8> {
    frame(PRIORITY_UPDATE, 0, 0, &[&stream.to_be_bytes(), value.as_bytes()].concat())
}

pub fn setting(name: u16, value: u32) -> Vec<u8> {
    [&name.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

/// Fields, as name and value.
pub type Fields<'a> = &'a [(&'a str, &'a str)];

/// A frame that the server wrote, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Got {
    Settings(Vec<(u16, u32)>),
    SettingsAck,
    /// Stream, the fields as `name: value` lines, and whether the stream ends.
    Headers(u32, String, bool),
    Data(u32, Vec<u8>, bool),
    Reset(u32, u32),
    Ping(Vec<u8>),
    PingAck(Vec<u8>),
    /// The last stream, the code and the text.
    GoAway(u32, u32, String),
    WindowUpdate(u32, u32),
}

/// What the connection gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Stream, method and target, whether a body comes.
    Request(u32, String, bool),
    Refused(RequestError),
    Violation(ProtocolError),
    Broken(ConnectionError),
}

/// The connection, what it gave and wrote, and the client's side of the compression.
pub struct Driver {
    pub connection: Connection<Vec<u8>>,
    pub instant: Instant,
    pub events: Vec<Event>,
    /// The fields of each request.
    pub headers: BTreeMap<u32, Rc<Headers>>,
    pub repeated: BTreeMap<u32, bool>,
    pub encoder: Encoder,
    decoder: Decoder,
    inbox: Vec<u8>,
    /// What was written and is no whole frame.
    rest: Vec<u8>,
    /// Nothing is written while this is false.
    pub writes: bool,
}

impl Driver {
    pub fn new(limits: Limits) -> Self {
        let instant = Instant::now();
        Self {
            connection: Connection::new(Rc::new(limits), instant),
            instant,
            events: Vec::new(),
            headers: BTreeMap::new(),
            repeated: BTreeMap::new(),
            encoder: Encoder::new(),
            decoder: Decoder::new(4096),
            inbox: Vec::new(),
            rest: Vec::new(),
            writes: true,
        }
    }

    /// One whose preface and settings have been exchanged.
    pub fn open() -> Self {
        Self::open_with(Limits::default(), &[])
    }

    /// The same with limits, and settings of the client.
    pub fn open_with(limits: Limits, settings: &[(u16, u32)]) -> Self {
        let mut driver = Self::new(limits);
        let payload: Vec<u8> = settings.iter().flat_map(|&(name, value)| setting(name, value)).collect();
        let bytes = [PREFACE, &frame(SETTINGS, 0, 0, &payload), &frame(SETTINGS, ACK, 0, b"")].concat();
        driver.feed(&bytes);
        let got = driver.take();
        assert!(matches!(&got[..], [Got::Settings(_), .., Got::SettingsAck]), "{got:?}");
        driver
    }

    pub fn now(&self) -> Now<'static> {
        Now { instant: self.instant, date: DATE }
    }

    /// The block of a list of fields.
    pub fn block(&mut self, fields: &[(&str, &str)]) -> Vec<u8> {
        let mut block = Vec::new();
        self.encoder.encode(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())), &mut block);
        block
    }

    /// The HEADERS frame of a request, with these fields behind the usual ones.
    pub fn request(&mut self, stream: u32, line: &str, more: &[(&str, &str)], end: bool) -> Vec<u8> {
        let (method, path) = line.split_once(' ').unwrap();
        let mut fields = vec![(":method", method), (":scheme", "http"), (":authority", "a.example"), (":path", path)];
        fields.extend(more);
        self.headers_frame(stream, &fields, end)
    }

    pub fn headers_frame(&mut self, stream: u32, fields: &[(&str, &str)], end: bool) -> Vec<u8> {
        let block = self.block(fields);
        frame(HEADERS, END_HEADERS | u8::from(end), stream, &block)
    }

    /// A GET without a body, handed in.
    pub fn get(&mut self, stream: u32, path: &str) {
        let bytes = self.request(stream, &format!("GET {path}"), &[], true);
        self.feed(&bytes);
    }

    /// Hands bytes in, as from one read, and writes what waits.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.inbox.extend_from_slice(bytes);
        self.settle();
    }

    /// Takes the events that there are, and writes.
    pub fn settle(&mut self) {
        while !self.inbox.is_empty() && self.connection.wants_input() {
            let mut inbox = std::mem::take(&mut self.inbox);
            let now = self.now();
            let step = self.connection.handle_input(&mut inbox, &now);
            let consumed = step.consumed;
            let event = match step.event {
                Ok(None) => None,
                Ok(Some(Input::Request(head))) => {
                    let target = [head.path, if head.query.is_empty() { b"" } else { b"?" }, head.query].concat();
                    let target = String::from_utf8(target).unwrap();
                    self.headers.insert(head.stream, Rc::clone(&head.headers));
                    self.repeated.insert(head.stream, head.headers_repeated);
                    Some(Event::Request(head.stream, format!("{} {target}", head.method), head.has_body))
                }
                Ok(Some(Input::Violation(error))) => Some(Event::Violation(error)),
                Ok(Some(Input::Broken(error))) => Some(Event::Broken(error)),
                Ok(Some(other)) => panic!("no event of HTTP/2: {other:?}"),
                Err(error) => Some(Event::Refused(error)),
            };
            inbox.drain(..consumed);
            self.inbox = inbox;
            let is_over = event.is_none() && consumed == 0;
            self.events.extend(event);
            if is_over {
                break;
            }
        }
        self.write();
    }

    /// Writes what waits, unless writing is off.
    pub fn write(&mut self) {
        while self.writes && !self.connection.transmit().is_empty() {
            let transmit = self.connection.transmit();
            let mut slices = [IoSlice::new(&[]); 3];
            let Piece::Bytes(count) = transmit.next(&mut slices) else { panic!("a file reached the wire") };
            let bytes: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
            transmit.consume(bytes.len());
            self.rest.extend(bytes);
            let now = self.now();
            self.connection.handle_written(&now);
            self.read_files();
        }
        let now = self.now();
        self.connection.handle_written(&now);
    }

    /// Reads what is wanted of files.
    pub fn read_files(&mut self) {
        let now = self.now();
        while let Some(FileWanted { stream, mut file, offset, remaining, most }) = self.connection.file_wanted(|_| true)
        {
            assert!(most > 0 && most as u64 <= remaining && self.connection.sends_file(stream));
            let mut bytes = vec![0; most];
            file.seek(SeekFrom::Start(offset)).unwrap();
            let read = file.read(&mut bytes).unwrap();
            self.connection.supply_file(stream, &bytes[..read], &now);
        }
    }

    /// Lets time pass; what `handle_timeout` says.
    pub fn pass(&mut self, time: Duration) -> Option<TimeoutKind> {
        self.instant += time;
        let now = self.now();
        let kind = self.connection.handle_timeout(&now);
        self.write();
        kind
    }

    /// Lets the time pass until something is due, and says how long that was.
    pub fn wait(&mut self) -> (Duration, Option<TimeoutKind>) {
        let due = self.connection.next_timeout().expect("something is waited for");
        let time = due - self.instant;
        (time, self.pass(time))
    }

    /// The whole frames that were written since the last time.
    pub fn take(&mut self) -> Vec<Got> {
        let mut got = Vec::new();
        let mut block: Option<(u32, bool, Vec<u8>)> = None;
        while self.rest.len() >= 9 {
            let length = u32::from_be_bytes([0, self.rest[0], self.rest[1], self.rest[2]]) as usize;
            assert!(length <= 1 << 24);
            if self.rest.len() < 9 + length {
                break;
            }
            let (kind, flags) = (self.rest[3], self.rest[4]);
            let stream = u32::from_be_bytes(self.rest[5..9].try_into().unwrap());
            let payload = self.rest[9..9 + length].to_vec();
            self.rest.drain(..9 + length);
            let end = flags & END_STREAM != 0;
            assert!(block.is_none() || kind == CONTINUATION, "a block is not whole");
            let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
            got.push(match kind {
                DATA => Got::Data(stream, payload, end),
                HEADERS | CONTINUATION => {
                    let (stream, end, mut bytes) = block.take().unwrap_or((stream, end, Vec::new()));
                    bytes.extend(payload);
                    if flags & END_HEADERS == 0 {
                        block = Some((stream, end, bytes));
                        continue;
                    }
                    Got::Headers(stream, self.decode(&bytes), end)
                }
                RST_STREAM => Got::Reset(stream, number(0)),
                SETTINGS if end => Got::SettingsAck,
                SETTINGS => Got::Settings(
                    payload
                        .chunks(6)
                        .map(|s| (u16::from_be_bytes([s[0], s[1]]), u32::from_be_bytes(s[2..].try_into().unwrap())))
                        .collect(),
                ),
                PING if end => Got::PingAck(payload),
                PING => Got::Ping(payload),
                GOAWAY => Got::GoAway(number(0), number(4), String::from_utf8(payload[8..].to_vec()).unwrap()),
                WINDOW_UPDATE => Got::WindowUpdate(stream, number(0)),
                _ => panic!("no frame that a server writes: {kind}"),
            });
        }
        got
    }

    fn decode(&mut self, block: &[u8]) -> String {
        let mut lines = Vec::new();
        let mut sink = |field: ferricorn_proto::http2::hpack::Field<'_>| {
            lines.push(format!("{}: {}", field.name.escape_ascii(), field.value.escape_ascii()));
            ControlFlow::Continue(())
        };
        self.decoder.decode(block, 1 << 20, &mut sink).unwrap();
        lines.join("\n")
    }

    /// `http.response.start` and one body event.
    pub fn respond(&mut self, stream: u32, status: u16, headers: &[(&str, &str)], body: &[u8]) {
        let now = self.now();
        self.connection.start(stream, &start(status, headers)).unwrap();
        self.connection.body(stream, Content::Bytes(body.to_vec()), false, &now).unwrap();
    }

    /// One body event.
    pub fn body(&mut self, stream: u32, body: &[u8], more: bool) {
        let now = self.now();
        self.connection.body(stream, Content::Bytes(body.to_vec()), more, &now).unwrap();
    }

    /// What has come of a body.
    pub fn take_body(&mut self, stream: u32) -> Option<(Vec<u8>, bool)> {
        let now = self.now();
        self.connection.take_body(stream, &now)
    }

    pub fn changed(&mut self) -> Vec<u32> {
        std::iter::from_fn(|| self.connection.take_changed()).collect()
    }

    /// What the server wrote without the fields that are always there.
    pub fn frames(&mut self) -> Vec<Got> {
        self.write();
        self.take()
    }
}

pub fn start(status: u16, headers: &[(&str, &str)]) -> ResponseStart {
    ResponseStart { status, headers: Headers::from_iter(headers.iter().copied()).unwrap(), trailers: false }
}

/// No field but the application's.
pub fn plain() -> Limits {
    Limits { date: false, ..Limits::default() }
}
