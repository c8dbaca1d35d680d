//! Drives a session as a server does, with an application that may wait for messages or not.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test takes its part")]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests are outside, and may fail")]

pub mod frames;
pub mod inflate;
pub mod model;

use std::io::IoSlice;
use std::rc::Rc;
use std::time::{Duration, Instant};

use asgi::{Headers, Message};
use ferricorn_proto::websocket::{Handshake, Limits, ProtocolError, Session};
use ferricorn_proto::{Piece, TimeoutKind, Transmit};

use frames::{ClientFrame, ServerFrame, take_frames};

/// The handshake of RFC 6455 section 1.3, with these fields as well.
pub fn request(fields: &[(&str, &str)]) -> Headers {
    let handshake = [("sec-websocket-version", "13"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")];
    Headers::from_iter(handshake.iter().chain(fields).copied()).unwrap()
}

/// What the response to a handshake says of an offer of extensions.
pub fn agreed(handshake: &Handshake) -> Option<String> {
    let mut fields = Vec::new();
    handshake.write_fields(None, &mut fields);
    let fields = String::from_utf8(fields).unwrap();
    fields.lines().find_map(|line| line.strip_prefix("sec-websocket-extensions: ")).map(str::to_owned)
}

/// What an application saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Failed(ProtocolError),
    /// The session is over, and so the application is told.
    Closed(u16, String),
}

pub fn seen(message: Message<&[u8], &str>) -> Seen {
    match message {
        Message::Text(text) => Seen::Text(text.to_owned()),
        Message::Binary(bytes) => Seen::Binary(bytes.to_vec()),
    }
}

pub struct Driver {
    pub session: Session,
    pub transmit: Transmit<Vec<u8>>,
    pub instant: Instant,
    /// Whether the application always waits for the next message; else what is queued is taken when it asks.
    pub receiving: bool,
    /// Whether what is to be written is written at once.
    pub writing: bool,
    pub seen: Vec<Seen>,
    /// Bytes that the session has not consumed.
    pub inbox: Vec<u8>,
    pub output: Vec<u8>,
}

impl Driver {
    pub fn new(limits: Limits) -> Self {
        Self::with_offer(limits, "")
    }

    pub fn with_offer(limits: Limits, offer: &str) -> Self {
        let headers = request(&[("sec-websocket-extensions", offer)]);
        let handshake = Handshake::read("GET", &headers, false, &limits).unwrap();
        let instant = Instant::now();
        let session = handshake.session(Rc::new(limits), instant);
        Self {
            session,
            transmit: Transmit::new(),
            instant,
            receiving: true,
            writing: true,
            seen: Vec::new(),
            inbox: Vec::new(),
            output: Vec::new(),
        }
    }

    /// Hands bytes in, as from one read, and takes what there is to be taken.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.inbox.extend_from_slice(bytes);
        self.settle();
    }

    pub fn feed_frames(&mut self, frames: &[ClientFrame]) {
        self.feed(&bytes_of(frames));
    }

    pub fn settle(&mut self) {
        loop {
            if self.receiving {
                while let Some(seen) = self.session.take_message(seen) {
                    self.seen.push(seen);
                }
            }
            self.session.want_message(self.receiving);
            let (before, was_over) = (self.inbox.len(), self.session.is_over());
            let step = self.session.handle_input(&mut self.inbox, &mut self.transmit, self.instant);
            let consumed = step.consumed;
            let event = match step.event {
                Ok(message) => message.map(seen),
                Err(error) => Some(Seen::Failed(error)),
            };
            assert!(consumed <= before);
            assert!(event.is_none() || !was_over);
            self.inbox.drain(..consumed);
            let done = event.is_none();
            self.seen.extend(event);
            if done {
                break;
            }
        }
        if self.receiving {
            self.see_close();
        }
        self.write();
    }

    fn write(&mut self) {
        if self.writing {
            write(&mut self.transmit, &mut self.output);
        }
    }

    fn see_close(&mut self) {
        let closed = self.session.closed().filter(|_| self.session.is_over());
        if let Some((code, reason)) = closed
            && !matches!(self.seen.last(), Some(Seen::Closed(..)))
        {
            self.seen.push(Seen::Closed(code, reason.to_owned()));
        }
    }

    /// The peer's FIN.
    pub fn end(&mut self) {
        self.session.handle_end_of_input();
        self.settle();
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) -> Option<TimeoutKind> {
        self.instant += time;
        let kind = self.session.handle_timeout(&mut self.transmit, self.instant);
        self.settle();
        kind
    }

    pub fn send_text(&mut self, text: &str) -> Result<(), asgi::SendError> {
        let result = self.session.send(Message::<Vec<u8>, String>::Text(text.to_owned()), &mut self.transmit);
        self.write();
        result
    }

    pub fn send_binary(&mut self, bytes: &[u8]) -> Result<(), asgi::SendError> {
        let result = self.session.send(Message::<Vec<u8>, String>::Binary(bytes.to_vec()), &mut self.transmit);
        self.write();
        result
    }

    pub fn close(&mut self, code: u16, reason: &str) -> Result<(), asgi::SendError> {
        let result = self.session.close(code, reason, &mut self.transmit, self.instant);
        self.write();
        result
    }

    /// What was written since the last time, which are whole frames.
    pub fn written(&mut self) -> Vec<ServerFrame> {
        let frames = take_frames(&mut self.output);
        assert!(self.output.is_empty());
        frames
    }
}

pub fn bytes_of(frames: &[ClientFrame]) -> Vec<u8> {
    frames.iter().flat_map(ClientFrame::bytes).collect()
}

/// Writes all that waits.
pub fn write(transmit: &mut Transmit<Vec<u8>>, output: &mut Vec<u8>) {
    loop {
        let mut slices = [IoSlice::new(&[]); 3];
        let Piece::Bytes(count) = transmit.next(&mut slices) else { break };
        slices[..count].iter().for_each(|slice| output.extend_from_slice(slice));
        let written = slices[..count].iter().map(|slice| slice.len()).sum();
        transmit.consume(written);
    }
    assert!(transmit.is_empty());
}
