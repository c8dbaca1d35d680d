//! A client's frames, an application's commands and time, against the server's side of a connection of HTTP/2.
//!
//! An input is two bytes of choices (limits; how the client's bytes are cut) and a program: each operation is a byte and its
//! arguments. The laws: whatever the server writes is what a client may expect after what it has sent (`client.rs`); however
//! the client's bytes are cut, the same requests come and the same frames go; a response that is not whole never looks whole,
//! and what is whole has every byte; a request's body is what the client sent; a command that fails has done nothing; memory
//! is bounded; and in the end every request has been answered or reset, or the connection is closing.
#![no_main]

mod client;
#[path = "../../../crates/ferricorn-proto/tests/hpack/model.rs"]
#[allow(dead_code, reason = "the header blocks' target uses the rest")]
mod model;
mod program;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::IoSlice;
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use asgi::{Headers, Message, Outcome};
use client::{
    ACK, CONTINUATION, Client, DATA, END_HEADERS, Frame, GOAWAY, HEADERS, PING, PRIORITY, PRIORITY_UPDATE, RST_STREAM,
    SETTINGS, Side, WINDOW_UPDATE,
};
use ferricorn_proto::http2::Connection;
use ferricorn_proto::http2::hpack::Encoder;
use ferricorn_proto::{Answer, Closing, Content, Drain, Input, Now, Piece};
use libfuzzer_sys::fuzz_target;
use program::{A_LOT, Call, Cut, Program, limits_of, setting, start_of};

fuzz_target!(|data: &[u8]| {
    let [limits, cut, program @ ..] = data else { return };
    let mut whole = Run::new(*limits, Cut::Frames);
    whole.run(program);
    let other = if *cut == 0 { Cut::Bytes } else { Cut::Joined(usize::from(*cut)) };
    let mut other = Run::new(*limits, other);
    other.run(program);
    assert_eq!(whole.events, other.events);
    let [whole, other] = [&whole, &other].map(Run::frames);
    assert_eq!(whole, other);
});

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

struct Run {
    connection: Connection<Vec<u8>>,
    instant: Instant,
    cut: Cut,
    encoder: Encoder,
    client: Client,
    /// What the client has sent and is no whole frame, what the connection is still to be given, what it has not taken.
    pending: Vec<u8>,
    joined: Vec<u8>,
    inbox: Vec<u8>,
    has_preface: bool,
    ended: bool,
    next_stream: u32,
    /// Streams in the order of their requests.
    order: Vec<u32>,
    calls: BTreeMap<u32, Call>,
    /// Bytes of data that the client has sent on a stream, and whether it has ended it.
    uploads: BTreeMap<u32, (u64, bool)>,
    events: Vec<String>,
    output: Vec<u8>,
    consumed: u64,
}

const DATE: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";

impl Run {
    fn new(choice: u8, cut: Cut) -> Self {
        let (limits, http2) = limits_of(choice);
        let instant = Instant::now();
        Self {
            connection: Connection::new(Rc::new(limits), instant),
            instant,
            cut,
            encoder: Encoder::new(),
            client: Client::new(i64::from(http2.stream_window), i64::from(http2.connection_window)),
            pending: Vec::new(),
            joined: Vec::new(),
            inbox: Vec::new(),
            has_preface: false,
            ended: false,
            next_stream: 1,
            order: Vec::new(),
            calls: BTreeMap::new(),
            uploads: BTreeMap::new(),
            events: Vec::new(),
            output: Vec::new(),
            consumed: 0,
        }
    }

    fn now(&self) -> Now<'static> {
        Now { instant: self.instant, date: DATE }
    }

    /// With FUZZ_TRACE set, says what happens: for who looks at one input.
    fn trace(&self, what: impl FnOnce() -> String) {
        static TRACES: OnceLock<bool> = OnceLock::new();
        if self.cut == Cut::Frames && *TRACES.get_or_init(|| std::env::var_os("FUZZ_TRACE").is_some()) {
            eprintln!("{}", what());
        }
    }

    fn run(&mut self, program: &[u8]) {
        let mut program = Program(program);
        // Most programs begin as they should.
        if program.byte() != 255 {
            self.send(PREFACE);
            let settings = program.bytes(2);
            let settings: Vec<u8> = settings.iter().flat_map(|&byte| setting(byte)).collect();
            self.frame(SETTINGS, 0, 0, &settings);
        }
        while !program.0.is_empty() {
            self.step(&mut program);
            self.check();
        }
        self.end();
    }

    fn step(&mut self, program: &mut Program<'_>) {
        let operation = program.byte();
        if operation < 128 {
            return self.client_step(operation, program);
        }
        self.flush();
        self.trace(|| format!("{operation}"));
        match operation {
            128..200 => {
                let Some(&stream) = self.order.get(usize::from(program.byte()) % self.order.len().max(1)) else {
                    return;
                };
                self.application_step(operation, stream, program);
            }
            200..225 => self.write(program.of(&[usize::MAX, 1, 9, 100, 1000])),
            225..235 => self.pass(Duration::from_millis(program.of(&[100, 1000, 3000, 5000, 10_000, 60_000]))),
            235 => self.connection.drain(if program.byte() & 1 == 0 { Drain::Patient } else { Drain::Quick }),
            236 => self.connection.release_memory(),
            237 => {
                self.connection.handle_end_of_input();
                self.ended = true;
            }
            238 => {
                self.connection.handle_lost();
                self.ended = true;
            }
            239 => {
                let now = self.now();
                self.connection.websocket_restart(&now);
            }
            240..248 => self.read_files(program.of(&[usize::MAX, 0, 1, 100])),
            _ => self.write(usize::MAX),
        }
    }

    /// What the client does.
    fn client_step(&mut self, operation: u8, program: &mut Program<'_>) {
        let stream = |program: &mut Program<'_>, next: u32| {
            let choice = u32::from(program.byte());
            if choice < 240 { (2 * choice + 1) % (next + 2) } else { choice - 240 }
        };
        let next = self.next_stream;
        match operation {
            0..40 => self.request(program),
            40..64 => {
                let (id, flags) = (stream(program, next), program.byte());
                let mut payload = vec![0x55 ^ id as u8; program.of(&[0, 1, 5, 9, 10, 11, 100, 300])];
                if flags & 8 != 0 {
                    payload.splice(0..0, [program.byte() % 8]);
                }
                self.frame(DATA, flags & 9, id, &payload);
            }
            64..80 => {
                let increment = program.of(&[1_u32, 0, 5, 100, 16_384, 100_000, 0x7fff_0000, 0x7fff_ffff]);
                let id = if operation & 1 == 0 { 0 } else { stream(program, next) };
                self.frame(WINDOW_UPDATE, 0, id, &increment.to_be_bytes());
            }
            80..88 => {
                let settings = program.bytes(3);
                let settings: Vec<u8> = settings.iter().flat_map(|&byte| setting(byte)).collect();
                self.frame(SETTINGS, 0, 0, &settings);
            }
            88..92 => self.frame(SETTINGS, ACK, 0, &[]),
            92..96 => self.frame(PING, program.byte() & 1, 0, &[operation; 8]),
            96..104 => self.frame(RST_STREAM, 0, stream(program, next), &[0, 0, 0, 8]),
            104..108 => {
                let (id, value) = (stream(program, next), program.of(&[&b"u=0"[..], b"u=7,i", b"i", b"u=1"]));
                let payload = [&id.to_be_bytes()[..], value].concat();
                self.frame(PRIORITY_UPDATE, 0, 0, &payload);
            }
            108..110 => {
                let (id, on) = (stream(program, next), stream(program, next));
                self.frame(PRIORITY, 0, id, &[&on.to_be_bytes()[..], &[1]].concat());
            }
            110 => self.frame(GOAWAY, 0, 0, &[0; 8]),
            111..114 => {
                let (id, flags) = (stream(program, next), program.byte());
                self.frame(CONTINUATION, flags & 4, id, &[0x82]);
            }
            114..122 => {
                let (kind, flags, id) = (program.byte() % 20, program.byte(), stream(program, next));
                let payload = program.bytes(20);
                self.frame(kind, flags, id, &payload);
            }
            _ => {
                let bytes = program.bytes(12);
                self.send(&bytes);
            }
        }
    }

    /// Headers on the next stream, mostly right.
    fn request(&mut self, program: &mut Program<'_>) {
        let (kind, flags) = (program.byte(), program.byte());
        let id = if flags & 128 != 0 { (self.next_stream + 2).saturating_sub(4) } else { self.next_stream };
        self.next_stream = self.next_stream.max(id + 2);
        let (method, extra): (&str, &[(&str, &str)]) = match kind % 16 {
            0 => ("HEAD", &[]),
            1 => ("GET", &[("te", "trailers")]),
            2 => ("POST", &[("content-length", "10")]),
            3 => ("POST", &[("expect", "100-continue")]),
            4 => ("GET", &[("priority", "u=1, i")]),
            5 => ("CONNECT", &[(":protocol", "websocket"), ("sec-websocket-version", "13")]),
            6 => ("GET", &[("x", "0123456789012345678901234567890123456789012345678901234567890123456789")]),
            7 => ("GET", &[("connection", "close")]),
            8 => ("get", &[("Upper", "x")]),
            9 => ("POST", &[("te", "trailers"), ("cookie", "a=b"), ("cookie", "c=d")]),
            10 => ("GET", &[("x", &A_LOT)]),
            11 => ("", &[]),
            _ => ("GET", &[]),
        };
        let path = if flags & 64 != 0 { "" } else { "/path?query" };
        let mut fields = vec![(":method", method), (":scheme", "http"), (":path", path), (":authority", "a.example")];
        // A pseudo-header field stands ahead of the others.
        fields.extend(extra);
        let mut block = Vec::new();
        self.encoder.encode(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())), &mut block);
        if flags & 32 != 0 {
            block.splice(0..0, [0, 0, 0, if flags & 16 != 0 { id as u8 } else { 0 }, 9]);
        }
        if flags & 8 != 0 {
            block.splice(0..0, [3]);
            block.extend([0; 3]);
        }
        if flags & 2 == 0 || flags & 8 != 0 {
            return self.frame(HEADERS, flags & 0x29 | END_HEADERS, id, &block);
        }
        let (front, back) = block.split_at(block.len() / 2);
        self.frame(HEADERS, flags & 0x21, id, front);
        self.frame(CONTINUATION, END_HEADERS, id, back);
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        self.send(&bytes);
    }

    /// The client sends bytes; the connection gets what is whole of them.
    fn send(&mut self, bytes: &[u8]) {
        if self.ended {
            return;
        }
        self.pending.extend_from_slice(bytes);
        loop {
            let length = if !self.has_preface && self.pending.starts_with(PREFACE) {
                self.has_preface = true;
                PREFACE.len()
            } else if let Some((frame, length)) = Frame::read(&self.pending) {
                self.note(&frame);
                length
            } else {
                return;
            };
            let unit: Vec<u8> = self.pending.drain(..length).collect();
            self.feed(&unit);
        }
    }

    /// What the client knows by sending this.
    fn note(&mut self, frame: &Frame) {
        let place = self.consumed + self.connection.transmit().len();
        self.trace(|| format!("client sends {frame:?}"));
        self.client.lenient |= !self.inbox.is_empty();
        self.client.send(frame, place);
        if !matches!(frame.kind, DATA | HEADERS) {
            return;
        }
        let (bytes, ended) = self.uploads.entry(frame.stream).or_default();
        if frame.kind == DATA && !*ended {
            let padding =
                if frame.flags & 8 == 0 { 0 } else { 1 + frame.payload.first().map_or(0, |&byte| byte.into()) };
            *bytes += frame.payload.len().saturating_sub(padding) as u64;
        }
        *ended |= frame.flags & 1 != 0;
    }

    /// A frame with data of a WebSocket is not cut: its end may be known before the end of the frame, and which resets go out
    /// hangs on that. Cutting those is the business of `websocket_session`.
    fn has_websocket(&self) -> bool {
        self.calls.values().any(|call| call.websocket)
    }

    fn feed(&mut self, unit: &[u8]) {
        match self.cut {
            Cut::Bytes if self.has_websocket() => {
                self.inbox.extend_from_slice(unit);
                self.settle();
            }
            Cut::Frames => {
                self.inbox.extend_from_slice(unit);
                self.settle();
            }
            Cut::Bytes => {
                for &byte in unit {
                    self.inbox.push(byte);
                    self.settle();
                }
            }
            Cut::Joined(_) => self.joined.extend_from_slice(unit),
        }
    }

    fn flush(&mut self) {
        let Cut::Joined(size) = self.cut else { return };
        let joined = std::mem::take(&mut self.joined);
        let size = if size > 200 || self.has_websocket() { usize::MAX } else { size };
        for piece in joined.chunks(size) {
            self.inbox.extend_from_slice(piece);
            self.settle();
        }
    }

    /// Hands in what there is, as a driver does.
    fn settle(&mut self) {
        while !self.inbox.is_empty() && self.connection.wants_input() {
            let now = self.now();
            let step = self.connection.handle_input(&mut self.inbox, &now);
            let consumed = step.consumed;
            let event = match step.event {
                Ok(None) => None,
                Ok(Some(Input::Request(head))) => {
                    let (stream, websocket, head_only) = (head.stream, head.websocket, head.method == "HEAD");
                    assert!(!self.calls.contains_key(&stream));
                    assert!(head.headers.get(b"host").is_some());
                    let event = format!("{stream} {} {} {:?}", head.method, head.has_body, head.headers);
                    self.client.note_method(stream, head_only);
                    self.order.push(stream);
                    self.calls.insert(stream, Call { websocket, head: head_only, ..Call::default() });
                    Some(event)
                }
                Ok(Some(other)) => Some(format!("{other:?}")),
                Err(error) => Some(format!("{error:?}")),
            };
            self.trace(|| format!("  consumed {consumed}, event {event:?}"));
            self.inbox.drain(..consumed);
            let is_over = event.is_none() && consumed == 0;
            self.events.extend(event);
            if is_over {
                break;
            }
        }
        while let Some(stream) = self.connection.take_changed() {
            assert!(stream % 2 == 1 && stream < self.next_stream.max(512));
        }
    }

    /// What the application does on a stream.
    fn application_step(&mut self, operation: u8, stream: u32, program: &mut Program<'_>) {
        let now = self.now();
        if self.calls.get(&stream).is_none_or(|call| call.finished.is_some()) {
            return;
        }
        let before = self.connection.transmit().len() + self.connection.unsent(stream);
        let mut failed = false;
        self.trace(|| format!("application, {stream}: {operation} {:?}", program.0.first()));
        let call = self.calls.get_mut(&stream).expect("a call");
        let connection = &mut self.connection;
        match operation {
            128..140 => failed = connection.start(stream, &start_of(program.byte(), stream)).is_err(),
            140..160 => {
                let (size, more) = (
                    program.of(&[0, 1, 3, 10, 100, 10, 100, 1000, 0, 1, 3, 10, 100, 1000, 17_000, 70_000]),
                    program.byte() & 1 == 0,
                );
                let accepted = connection.body(stream, Content::Bytes(vec![stream as u8; size]), more, &now);
                failed = accepted.is_err();
                if accepted.is_ok() && !connection.disconnected(stream) && !call.complete {
                    call.sent += size as u64;
                    call.complete |= !more;
                }
            }
            160..166 => connection.want_body(stream, &now),
            166..174 => {
                if let Some((bytes, end)) = connection.take_body(stream, &now) {
                    assert!(bytes.iter().all(|&byte| byte == 0x55 ^ stream as u8 || byte == 0 || bytes.len() < 1200));
                    let size = bytes.len() as u64;
                    assert!(!call.ended, "more behind the end");
                    assert!(size > 0 || end);
                    call.taken += size;
                    call.ended = end;
                    let (sent, ended) = self.uploads.get(&stream).copied().unwrap_or_default();
                    assert!(ended || !end, "an end that nobody sent");
                    assert!(if end { call.taken == sent } else { call.taken <= sent }, "{} of {sent}", call.taken);
                }
            }
            174..178 => {
                let trailers = Headers::from_iter([("x-trailer", "1")]).expect("a field");
                failed = connection.trailers(stream, &trailers, program.byte() & 1 == 0, &now).is_err();
            }
            178 => failed = connection.early_hint(stream, &[b"</a>; rel=preload".to_vec()]).is_err(),
            179 => connection.set_response_field(stream, b"x-request-id", b"1"),
            180..184 => {
                let outcome = if program.byte() & 1 == 0 { Outcome::Returned } else { Outcome::Failed };
                call.finished = Some(connection.finish(stream, outcome, &now));
                connection.release(stream);
            }
            184 => connection.refuse(stream, 503, &now),
            185 => {
                connection.respond(stream, &Answer { status: 200, text: "well", close: false, location: None }, &now)
            }
            186..189 => {
                failed = connection.websocket_accept(stream, None, &Headers::new(), &now).is_err();
            }
            189..192 => {
                let message: Message<Vec<u8>, String> = Message::Text("hello".into());
                failed = connection.websocket_send(stream, message, &now).is_err();
            }
            192 => failed = connection.websocket_close(stream, 1000, "", &now).is_err(),
            193 => failed = connection.websocket_response_start(stream, &start_of(1, stream)).is_err(),
            194 => {
                failed = connection
                    .websocket_response_body(stream, Content::Bytes(vec![stream as u8]), false, &now)
                    .is_err();
            }
            195 => drop(connection.feed_websocket(stream, true, &now)),
            196 => drop(connection.feed_websocket(stream, false, &now)),
            _ => {
                // What is in it, the driver says.
                let file = File::open("/dev/null").expect("a file");
                let count = program.of(&[10, 0, 1000, 40_000]);
                let accepted = connection.pathsend(stream, file, count, &now);
                failed = accepted.is_err();
                if accepted.is_ok() && !connection.disconnected(stream) && !call.complete {
                    call.sent += count;
                    call.complete = true;
                }
            }
        }
        let after = self.connection.transmit().len() + self.connection.unsent(stream);
        assert!(!failed || before == after, "a command that failed wrote something");
    }

    /// Writes so many bytes of what waits.
    fn write(&mut self, mut most: usize) {
        let now = self.now();
        while most > 0 && !self.connection.transmit().is_empty() {
            let transmit = self.connection.transmit();
            let mut slices = [IoSlice::new(&[]); 3];
            let Piece::Bytes(count) = transmit.next(&mut slices) else { panic!("a file reached the wire") };
            let mut bytes: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
            bytes.truncate(most);
            transmit.consume(bytes.len());
            most -= bytes.len();
            self.consumed += bytes.len() as u64;
            if self.cut == Cut::Frames {
                self.trace(|| format!("written {}", bytes.escape_ascii()));
                self.client.receive(&bytes);
            }
            self.output.extend(bytes);
            self.connection.handle_written(&now);
            self.settle();
            self.read_files(usize::MAX);
        }
    }

    /// Reads what is wanted of files, at most so much of one; of a file that has become shorter, nothing.
    fn read_files(&mut self, most: usize) {
        let now = self.now();
        while let Some(wanted) = self.connection.file_wanted(|_| true) {
            let stream = wanted.stream;
            let bytes = vec![stream as u8; wanted.most.min(most)];
            self.connection.supply_file(stream, &bytes, &now);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.instant += time;
        if self.connection.next_timeout().is_some_and(|due| due <= self.instant) {
            let now = self.now();
            let kind = self.connection.handle_timeout(&now);
            self.events.push(format!("{kind:?}"));
            self.settle();
        }
    }

    /// What holds at any time.
    fn check(&mut self) {
        let waiting = self.connection.transmit().len();
        assert!(waiting < 128 * 1024 + 64 * 1024 + 16 * 1024 + 4096 * self.order.len() as u64, "{waiting} bytes wait");
        if self.connection.closing() == Closing::No {
            assert!(self.connection.next_timeout().is_some() || !self.calls.is_empty(), "nothing ends this");
        }
    }

    /// Every application ends, the client opens its windows and reads; then everything has its end.
    fn end(&mut self) {
        self.flush();
        let rest = std::mem::take(&mut self.pending);
        let was_whole = rest.is_empty();
        self.inbox.extend(rest);
        self.settle();
        let now = self.now();
        for stream in self.order.clone() {
            let call = self.calls.get_mut(&stream).expect("a call");
            if call.finished.is_none() {
                call.finished = Some(self.connection.finish(stream, Outcome::Returned, &now));
                self.connection.release(stream);
            }
        }
        self.read_files(usize::MAX);
        self.write(usize::MAX);
        if was_whole && !self.ended {
            self.frame(WINDOW_UPDATE, 0, 0, &0x3fff_ffff_u32.to_be_bytes());
            for stream in self.order.clone() {
                self.frame(WINDOW_UPDATE, 0, stream, &0x3fff_ffff_u32.to_be_bytes());
                self.flush();
            }
        }
        self.flush();
        self.read_files(usize::MAX);
        self.write(usize::MAX);
        assert!(self.connection.transmit().is_empty());
        if self.cut == Cut::Frames {
            self.check_end(was_whole);
        }
    }

    fn check_end(&mut self, was_whole: bool) {
        assert!(self.client.is_between_frames());
        let is_open = was_whole && self.connection.closing() == Closing::No && !self.ended;
        for (&stream, call) in &self.calls {
            let side = self.client.streams.get(&stream).map_or(Side::Nothing, |stream| stream.server);
            let Some(known) = self.client.streams.get(&stream) else { continue };
            let is_gone = self.connection.disconnected(stream);
            let is_waiting = self.connection.exchange_is_open(stream);
            assert!(!is_waiting || call.websocket, "an exchange is open that has ended");
            if is_open && !is_gone {
                assert!(matches!(side, Side::Ended | Side::Reset), "{stream} has no end: {known:?}");
            }
            if side == Side::Ended && known.marked && !call.websocket {
                let has_content = !call.head && !matches!(known.status, 204 | 304);
                let is_whole = call.complete || !has_content || known.length == Some(known.received);
                assert!(is_whole, "an end that is none");
                assert_eq!(known.received, if has_content { call.sent } else { 0 }, "a body with a hole");
                assert!(known.filler.is_none_or(|byte| byte == stream as u8));
            }
        }
        if is_open && self.inbox.is_empty() && self.calls.values().all(|call| !call.websocket) {
            assert!(!self.connection.has_open_exchange());
        }
    }

    /// What the client got, without window updates, which depend on how much comes at a time, and the data of a WebSocket in
    /// one: what it says at once goes into one frame.
    fn frames(&self) -> Vec<Frame> {
        let mut frames: Vec<Frame> = Vec::new();
        let mut rest = &self.output[..];
        while let Some((frame, length)) = Frame::read(rest) {
            rest = &rest[length..];
            match frames.last_mut() {
                _ if frame.kind == WINDOW_UPDATE => {}
                Some(Frame { kind: DATA, stream, flags, payload }) if frame.kind == DATA && *stream == frame.stream => {
                    payload.extend(frame.payload);
                    *flags |= frame.flags;
                }
                _ => frames.push(frame),
            }
        }
        frames
    }
}
