//! The client's side of a connection of HTTP/2: a reader of frames as simple as can be, and what it may expect of a server
//! (RFC 9113) after what it has sent itself.
//!
//! What the client sends counts from a place in the server's output on: what stood there before could not know of it.

use std::collections::{BTreeMap, VecDeque};

use super::model::Model;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const PRIORITY_UPDATE: u8 = 16;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

const HEADER_TABLE_SIZE: u16 = 1;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The frame at the front, and how long it is.
    pub(crate) fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let [a, b, c, kind, flags, stream @ ..] = *bytes.first_chunk::<9>()?;
        let end = 9 + u32::from_be_bytes([0, a, b, c]) as usize;
        let payload = bytes.get(9..end)?.to_vec();
        Some((Self { kind, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff, payload }, end))
    }

    fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("four bytes"))
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// How far the server is on a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Side {
    #[default]
    Nothing,
    Body,
    Ended,
    Reset,
}

/// What the client knows of a stream that it has opened.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pub(crate) server: Side,
    pub(crate) status: u32,
    pub(crate) length: Option<u64>,
    /// Whether the response is the application's.
    pub(crate) marked: bool,
    /// Bytes of data that came, and what they are.
    pub(crate) received: u64,
    pub(crate) filler: Option<u8>,
    /// Window updates that were sent for it, less the data that came.
    credit: i64,
    /// The client has reset it, and nothing was sent on it since.
    silent: bool,
    /// Bytes of data, as frames count them, that the client has sent, less the updates that came.
    outstanding: i64,
    /// Of a request that was given out, whether it was HEAD.
    to_head: Option<bool>,
}

/// Something that the client has sent.
#[derive(Debug)]
enum Sent {
    Credit(u32, i64),
    Reset(u32),
    Other(u32),
    Settings { initial_window: Option<u32>, table: Option<u32> },
    Ping(Vec<u8>),
}

/// The client.
pub(crate) struct Client {
    pub(crate) streams: BTreeMap<u32, Stream>,
    /// What it has sent, and from which place on it counts.
    sent: VecDeque<(u64, Sent)>,
    /// Settings that are not acknowledged, and pings that are not.
    settings: VecDeque<(Option<u32>, Option<u32>)>,
    pings: VecDeque<Vec<u8>>,
    initial_window: i64,
    credit: i64,
    outstanding: i64,
    /// The server's windows, at the most.
    pub(crate) stream_window: i64,
    pub(crate) connection_window: i64,
    model: Model,
    /// What came and is no whole frame; where it stands.
    rest: Vec<u8>,
    place: u64,
    frames: u64,
    block: Option<(Frame, Vec<u8>)>,
    pub(crate) go_away: Option<(u32, u32)>,
    /// The server may not have read all of what was sent: some laws do not hold.
    pub(crate) lenient: bool,
}

impl Client {
    pub(crate) fn new(stream_window: i64, connection_window: i64) -> Self {
        Self {
            streams: BTreeMap::new(),
            sent: VecDeque::new(),
            settings: VecDeque::new(),
            pings: VecDeque::new(),
            initial_window: 65_535,
            credit: 65_535,
            outstanding: 0,
            stream_window,
            connection_window,
            model: Model::new(4096),
            rest: Vec::new(),
            place: 0,
            frames: 0,
            block: None,
            go_away: None,
            lenient: false,
        }
    }

    /// What the server takes for the method: who sends anything at all does not know how it is read.
    pub(crate) fn note_method(&mut self, id: u32, is_head: bool) {
        self.streams.entry(id).or_default().to_head = Some(is_head);
    }

    /// The client sends this frame, which counts from that place on.
    pub(crate) fn send(&mut self, frame: &Frame, place: u64) {
        let id = frame.stream;
        let mut note = |sent| self.sent.push_back((place, sent));
        match frame.kind {
            WINDOW_UPDATE if frame.payload.len() == 4 => {
                note(Sent::Credit(id, i64::from(frame.number(0) & 0x7fff_ffff)));
                note(Sent::Other(id));
            }
            RST_STREAM if frame.payload.len() == 4 => note(Sent::Reset(id)),
            PING if !frame.has(ACK) => note(Sent::Ping(frame.payload.clone())),
            SETTINGS if !frame.has(ACK) => {
                let value_of = |name: u16| {
                    let named = frame.payload.chunks_exact(6).rev().find(|setting| setting[..2] == name.to_be_bytes());
                    named.map(|setting| u32::from_be_bytes(setting[2..].try_into().expect("four bytes")))
                };
                let (initial_window, table) = (value_of(INITIAL_WINDOW_SIZE), value_of(HEADER_TABLE_SIZE));
                note(Sent::Settings { initial_window, table });
            }
            DATA => {
                note(Sent::Other(id));
                self.outstanding += frame.payload.len() as i64;
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.outstanding += frame.payload.len() as i64;
                }
            }
            HEADERS => {
                note(Sent::Other(id));
                self.streams.entry(id).or_default();
            }
            _ => note(Sent::Other(id)),
        }
    }

    /// What has been sent comes into force.
    fn come_into_force(&mut self, place: u64) {
        while let Some((_, sent)) = self.sent.pop_front_if(|(from, _)| *from <= place) {
            match sent {
                Sent::Credit(0, by) => self.credit += by,
                Sent::Credit(id, by) => self.streams.entry(id).or_default().credit += by,
                Sent::Reset(id) => self.streams.entry(id).or_default().silent = true,
                Sent::Other(id) => self.streams.entry(id).or_default().silent = false,
                Sent::Settings { initial_window, table } => self.settings.push_back((initial_window, table)),
                Sent::Ping(payload) => self.pings.push_back(payload),
            }
        }
    }

    /// Bytes of the server.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let mut read = 0;
        while let Some((frame, length)) = Frame::read(&self.rest[read..]) {
            self.come_into_force(self.place);
            self.check(frame);
            self.place += length as u64;
            read += length;
        }
        self.rest.drain(..read);
    }

    /// Whether everything that came is whole frames.
    pub(crate) fn is_between_frames(&self) -> bool {
        self.rest.is_empty() && self.block.is_none()
    }

    fn check(&mut self, frame: Frame) {
        assert!(frame.payload.len() <= 16_384, "a frame of {} bytes", frame.payload.len());
        assert!(self.frames > 0 || frame.kind == SETTINGS && !frame.has(ACK), "{frame:?} is the first");
        assert!(self.go_away.is_none_or(|(_, code)| code == 0), "{frame:?} behind the last GOAWAY");
        assert!(self.block.is_none() || frame.kind == CONTINUATION, "{frame:?} inside of a header block");
        self.frames += 1;
        match frame.kind {
            DATA => self.data(&frame),
            HEADERS if frame.has(END_HEADERS) => self.headers(&frame, &frame.payload),
            HEADERS => self.block = Some((frame.clone(), frame.payload)),
            CONTINUATION => {
                let (first, mut block) = self.block.take().expect("a block that goes on");
                assert_eq!(first.stream, frame.stream);
                block.extend_from_slice(&frame.payload);
                if frame.has(END_HEADERS) {
                    self.headers(&first, &block);
                } else {
                    self.block = Some((first, block));
                }
            }
            RST_STREAM => self.reset(&frame),
            SETTINGS if frame.has(ACK) => self.acknowledged(&frame),
            SETTINGS => assert!(self.frames == 1 && frame.stream == 0 && frame.payload.len().is_multiple_of(6)),
            PING => {
                assert_eq!((frame.stream, frame.payload.len()), (0, 8));
                assert!(!frame.has(ACK) || self.pings.pop_front() == Some(frame.payload), "a ping that nobody sent");
            }
            GOAWAY => {
                assert_eq!(frame.stream, 0);
                let (last, code) = (frame.number(0), frame.number(4));
                assert!(self.go_away.is_none_or(|(before, _)| last <= before), "GOAWAY takes something back");
                self.go_away = Some((last, code));
            }
            WINDOW_UPDATE => self.updated(&frame),
            _ => panic!("no frame that a server writes: {frame:?}"),
        }
    }

    fn acknowledged(&mut self, frame: &Frame) {
        assert!(frame.stream == 0 && frame.payload.is_empty());
        let (initial_window, table) = self.settings.pop_front().expect("settings to acknowledge");
        if let Some(window) = initial_window {
            self.initial_window = i64::from(window);
        }
        if let Some(size) = table {
            self.model.announce(size as usize);
        }
    }

    /// The window that a stream begins with, as far as the server may know.
    fn initial_window(&self) -> i64 {
        let told = self.settings.iter().filter_map(|(window, _)| window.map(i64::from));
        told.fold(self.initial_window, i64::max)
    }

    fn data(&mut self, frame: &Frame) {
        let initial = self.initial_window();
        let stream = self.streams.get_mut(&frame.stream).expect("a stream that was opened");
        assert_eq!(stream.server, Side::Body, "{frame:?}");
        assert!(!stream.silent || self.lenient, "{frame:?} on a stream that was reset");
        assert!(!frame.has(8), "padding");
        let size = frame.payload.len() as i64;
        stream.credit -= size;
        self.credit -= size;
        if size > 0 {
            assert!(initial + stream.credit >= 0, "{size} bytes beyond the stream's window");
            assert!(self.credit >= 0, "{size} bytes beyond the connection's window");
        }
        stream.received += size as u64;
        for &byte in &frame.payload {
            assert!(!stream.marked || *stream.filler.get_or_insert(byte) == byte, "bytes of another stream");
        }
        if frame.has(END_STREAM) {
            self.ended(frame.stream);
        }
    }

    fn ended(&mut self, id: u32) {
        let stream = self.streams.get_mut(&id).expect("a stream");
        stream.server = Side::Ended;
        let has_content = stream.received > 0 || stream.to_head == Some(false);
        let has_content = has_content && !matches!(stream.status, 204 | 304);
        if let Some(length) = stream.length.filter(|_| has_content) {
            assert_eq!(length, stream.received, "content-length");
        }
        let may_have_content = stream.to_head != Some(true) && !matches!(stream.status, 204 | 304);
        assert!(may_have_content || stream.received == 0);
    }

    fn headers(&mut self, first: &Frame, block: &[u8]) {
        let list = self.model.decode(block).expect("a block that can be read");
        let stream = self.streams.get_mut(&first.stream).expect("a stream that was opened");
        assert!(!stream.silent || self.lenient, "{first:?} on a stream that was reset");
        for (at, ((name, value), _)) in list.iter().enumerate() {
            assert!(!name.is_empty() && !name.iter().any(u8::is_ascii_uppercase), "{}", name.escape_ascii());
            assert!(name[0] != b':' || at == 0 && name == b":status" && stream.server == Side::Nothing);
            assert!(!matches!(&name[..], b"connection" | b"keep-alive" | b"transfer-encoding" | b"upgrade"));
            assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        }
        if stream.server == Side::Body {
            assert!(first.has(END_STREAM), "trailers that do not end the stream");
        } else {
            assert_eq!(stream.server, Side::Nothing, "{first:?}");
            let text = |name: &[u8]| {
                let field = list.iter().find(|((other, _), _)| other == name);
                field.map(|((_, value), _)| str::from_utf8(value).expect("digits"))
            };
            let status: u32 = text(b":status").expect("a status").parse().expect("a number");
            assert!((100..=999).contains(&status) && status != 101);
            if status < 200 {
                assert!(!first.has(END_STREAM), "an interim response that ends the stream");
                return;
            }
            stream.status = status;
            stream.length = text(b"content-length").map(|length| length.parse().expect("a number"));
            stream.marked = text(b"x-app").is_some();
            stream.server = Side::Body;
        }
        if first.has(END_STREAM) {
            self.ended(first.stream);
        }
    }

    fn reset(&mut self, frame: &Frame) {
        assert_eq!(frame.payload.len(), 4);
        let stream = self.streams.get_mut(&frame.stream).expect("a stream that something was sent on");
        assert!(!stream.silent || self.lenient, "{frame:?} in answer to a reset");
        // NO_ERROR takes nothing back: the response is whole (RFC 9113 section 8.1).
        assert!(frame.number(0) != 0 || matches!(stream.server, Side::Ended | Side::Reset), "{frame:?}");
        stream.server = Side::Reset;
    }

    fn updated(&mut self, frame: &Frame) {
        let by = i64::from(frame.number(0));
        assert!(by > 0 && frame.payload.len() == 4);
        if frame.stream == 0 {
            // The first one opens the window as far as it goes.
            self.outstanding -= by;
            assert!(65_535 - self.outstanding <= self.connection_window.max(65_535), "a window of more than there is");
            return;
        }
        let stream = self.streams.get_mut(&frame.stream).expect("a stream that was opened");
        assert!(!stream.silent || self.lenient, "{frame:?} on a stream that was reset");
        assert_ne!(stream.server, Side::Reset, "{frame:?}");
        stream.outstanding -= by;
        assert!(stream.outstanding >= 0, "a window of more than {}", self.stream_window);
    }
}
