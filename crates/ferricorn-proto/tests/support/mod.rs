//! A driver without sockets and an application that follows a script: what the tests put around a connection.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests are outside, and may fail")]

pub mod client;
pub mod model;

use std::collections::VecDeque;
use std::io::{IoSlice, Read, Seek, SeekFrom};
use std::rc::Rc;
use std::time::{Duration, Instant};

use asgi::{Headers, Message, Outcome, ReceiveEvent, ResponseStart, SendError};
use ferricorn_proto::http1::Connection;
use ferricorn_proto::websocket::ProtocolError;
use ferricorn_proto::{
    Answer, Closing, Content, Drain, Finished, Input, Limits, Now, Piece, RequestError, RequestHead,
};

pub const DATE: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";

/// What a scripted application does next.
#[derive(Clone, Debug)]
pub enum Action {
    Start(ResponseStart),
    Body {
        bytes: Vec<u8>,
        more: bool,
    },
    File {
        bytes: Vec<u8>,
        offset: u64,
        count: u64,
        more: bool,
    },
    Pathsend(Vec<u8>),
    Trailers {
        headers: Headers,
        more: bool,
    },
    EarlyHint(Vec<Vec<u8>>),
    Accept {
        subprotocol: Option<String>,
        headers: Headers,
    },
    Send(Message),
    Close {
        code: u16,
        reason: String,
    },
    /// The head of a denial response.
    Deny(ResponseStart),
    DenyBody {
        bytes: Vec<u8>,
        more: bool,
    },
    /// `receive` on a WebSocket, once.
    ReceiveEvent,
    /// `receive` on a WebSocket until its end, each message sent back.
    Echo,
    /// `receive` until the body is whole or the client gone.
    ReceiveAll,
    /// `receive` once, without waiting for what comes of it.
    WantBody,
    Refuse(u16),
    /// The server's own response; whether it closes.
    Respond(u16, bool),
    Drain(Drain),
    /// What a drain means for a WebSocket.
    Restart,
    /// The call ends here, by an exception.
    Raise,
    /// The call does not end.
    Hang,
}

/// What was seen, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The request line as the application gets it, then its fields.
    Request {
        line: String,
        headers: Headers,
    },
    Body(Vec<u8>),
    EndOfBody,
    Disconnect,
    Refused(RequestError),
    /// What `receive` gave on a WebSocket.
    Event(ReceiveEvent),
    Violation(ProtocolError),
    /// A command was refused.
    Error {
        command: &'static str,
        text: String,
    },
    Finished(Finished),
}

pub struct Driver {
    pub connection: Connection<Vec<u8>>,
    pub instant: Instant,
    pub seen: Vec<Seen>,
    pub output: Vec<u8>,
    /// Bytes that the connection has not consumed.
    pub inbox: Vec<u8>,
    scripts: VecDeque<Vec<Action>>,
    last_script: Vec<Action>,
    running: Option<VecDeque<Action>>,
    body: Vec<u8>,
    end_given: bool,
    /// The message that was given to whoever waits for one.
    message: Option<Message>,
}

impl Driver {
    /// The scripts are for one request each; the last goes on for all that follow.
    pub fn new(limits: Limits, scripts: &[Vec<Action>]) -> Self {
        let instant = Instant::now();
        Self {
            connection: Connection::new(Rc::new(limits), instant),
            instant,
            seen: Vec::new(),
            output: Vec::new(),
            inbox: Vec::new(),
            scripts: scripts.iter().cloned().collect(),
            last_script: Vec::new(),
            running: None,
            body: Vec::new(),
            end_given: false,
            message: None,
        }
    }

    pub fn now(&self) -> Now<'static> {
        Now { instant: self.instant, date: DATE }
    }

    /// Hands bytes in, as from one read, and does all that follows.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.inbox.extend_from_slice(bytes);
        self.settle();
    }

    /// The peer's FIN.
    pub fn end(&mut self) {
        self.connection.handle_end_of_input();
        self.settle();
    }

    /// Lets time pass; what `handle_timeout` says.
    pub fn pass(&mut self, time: Duration) -> Option<ferricorn_proto::TimeoutKind> {
        self.instant += time;
        let now = self.now();
        let kind = self.connection.handle_timeout(&now);
        self.settle();
        kind
    }

    pub fn settle(&mut self) {
        while self.take_input() | self.act() | self.write() | self.take_input() {}
    }

    fn take_input(&mut self) -> bool {
        // Bytes of a body that came before the end of input can be handed in after it.
        let has_body = self.connection.websocket().is_none();
        let wanted = self.connection.wants_input() || self.connection.disconnected() && has_body;
        // Who was given a message has the next turn.
        if self.inbox.is_empty() || !wanted || self.message.is_some() {
            return false;
        }
        let mut inbox = std::mem::take(&mut self.inbox);
        let now = self.now();
        let step = self.connection.handle_input(&mut inbox, &now);
        let (consumed, happened) = (step.consumed, !matches!(step.event, Ok(None)));
        let mut opened = false;
        match step.event {
            Ok(None) => {}
            Ok(Some(Input::Request(head))) => {
                self.seen.push(seen_request(&head));
                opened = true;
            }
            Ok(Some(Input::Body { data, end })) => {
                assert!(!data.is_empty() || end, "an empty part that is not the last");
                self.body.extend_from_slice(data);
                self.end_given = end;
            }
            Ok(Some(Input::Message(message))) => {
                assert!(self.message.is_none(), "a message that nobody waits for");
                self.message = Some(owned(message));
            }
            Ok(Some(Input::Violation(error))) => self.seen.push(Seen::Violation(error)),
            Ok(Some(Input::Broken(error))) => panic!("no error of HTTP/1: {error}"),
            Err(error) => self.seen.push(Seen::Refused(error)),
        }
        if opened {
            self.call();
        }
        inbox.drain(..consumed);
        self.inbox = inbox;
        happened || consumed > 0
    }

    fn call(&mut self) {
        assert!(self.connection.exchange_is_open());
        if let Some(script) = self.scripts.pop_front() {
            self.last_script = script;
        }
        self.running = Some(self.last_script.iter().cloned().collect());
        self.body.clear();
        self.end_given = self.connection.request_complete();
    }

    /// Runs the application until it waits; whether it did anything.
    fn act(&mut self) -> bool {
        let Some(mut script) = self.running.take() else { return false };
        let mut acted = false;
        while let Some(action) = script.front() {
            match action {
                Action::Hang => break,
                Action::Raise => {
                    self.finish(Outcome::Failed);
                    return true;
                }
                Action::ReceiveAll if !self.receive_all() => break,
                Action::ReceiveEvent if self.receive_event().is_none() => break,
                Action::Echo => match self.receive_event() {
                    None => break,
                    Some(ReceiveEvent::WebSocketDisconnect { .. } | ReceiveEvent::Disconnect) => {}
                    Some(event) => {
                        self.echo(event);
                        acted = true;
                        continue;
                    }
                },
                _ => {}
            }
            acted = true;
            if let Some(action) = script.pop_front() {
                self.apply(action);
            }
        }
        if script.is_empty() {
            self.finish(Outcome::Returned);
            return true;
        }
        self.running = Some(script);
        acted
    }

    /// Whether the body is whole or the client gone.
    fn receive_all(&mut self) -> bool {
        let now = self.now();
        if !self.end_given {
            self.connection.want_body(&now);
            if self.connection.exchange_is_open() {
                return false;
            }
            // What arrived before the end of input is still to be had.
            while self.connection.disconnected() && !self.end_given && self.take_input() {
                self.connection.want_body(&now);
            }
        }
        if !self.body.is_empty() {
            self.seen.push(Seen::Body(std::mem::take(&mut self.body)));
        }
        self.seen.push(if self.end_given { Seen::EndOfBody } else { Seen::Disconnect });
        true
    }

    /// The next event of a WebSocket, as a server finds it: what has been read ahead, else what is still to come. A plain
    /// request has none.
    fn receive_event(&mut self) -> Option<ReceiveEvent> {
        let ended = !self.connection.exchange_is_open();
        let Some(socket) = self.connection.websocket() else { return Some(ReceiveEvent::Disconnect) };
        let event = match self.message.take() {
            Some(message) => Some(ReceiveEvent::WebSocketReceive(message)),
            None => socket.receive(ended, owned),
        };
        self.connection.want_message(event.is_none());
        self.seen.extend(event.clone().map(Seen::Event));
        event
    }

    fn echo(&mut self, event: ReceiveEvent) {
        match event {
            ReceiveEvent::WebSocketReceive(message) => self.apply(Action::Send(message)),
            event => assert_eq!(event, ReceiveEvent::WebSocketConnect),
        }
    }

    fn finish(&mut self, outcome: Outcome) {
        let now = self.now();
        let finished = self.connection.finish(outcome, &now);
        self.seen.push(Seen::Finished(finished));
    }

    fn apply(&mut self, action: Action) {
        let now = self.now();
        let connection = &mut self.connection;
        if let Some(result) = apply_websocket(connection, &action, &now) {
            if let Err(error) = result {
                self.refused_command(command_of(&action), &error);
            }
            return;
        }
        let (command, result) = match action {
            Action::Start(start) => ("start", connection.start(&start)),
            Action::Body { bytes, more } => ("body", connection.body(Content::Bytes(bytes), more, &now)),
            Action::File { bytes, offset, count, more } => {
                ("file", connection.body(Content::File { file: file_of(&bytes), offset, count }, more, &now))
            }
            Action::Pathsend(bytes) => ("pathsend", connection.pathsend(file_of(&bytes), bytes.len() as u64, &now)),
            Action::Trailers { headers, more } => ("trailers", connection.trailers(&headers, more, &now)),
            Action::EarlyHint(links) => ("early hint", connection.early_hint(&links)),
            Action::WantBody => return connection.want_body(&now),
            Action::Refuse(status) => return connection.refuse(status, &now),
            Action::Respond(status, close) => {
                return connection.respond(&Answer { status, text: "text", location: None, close }, &now);
            }
            Action::Drain(drain) => return connection.drain(drain),
            Action::Restart => return connection.websocket_restart(&now),
            _ => return,
        };
        if let Err(error) = result {
            self.refused_command(command, &error);
        }
    }

    fn refused_command(&mut self, command: &'static str, error: &SendError) {
        self.seen.push(Seen::Error { command, text: error.to_string() });
    }

    /// Writes all that waits.
    fn write(&mut self) -> bool {
        let written = take_output(&mut self.connection, &mut self.output);
        // What was flushed is to be told also where it was nothing.
        if written || self.closing() == Closing::Flush {
            let now = self.now();
            self.connection.handle_written(&now);
        }
        written
    }

    pub fn closing(&self) -> Closing {
        self.connection.closing()
    }
}

/// Takes all out of `transmit`, three slices at a time; whether there was anything.
pub fn take_output(connection: &mut Connection<Vec<u8>>, output: &mut Vec<u8>) -> bool {
    let transmit = connection.transmit();
    let before = output.len();
    let expected = transmit.len();
    loop {
        let mut slices = [IoSlice::new(&[]); 3];
        let written = match transmit.next(&mut slices) {
            Piece::Nothing => break,
            Piece::Bytes(count) => {
                slices[..count].iter().for_each(|slice| output.extend_from_slice(slice));
                slices[..count].iter().map(|slice| slice.len()).sum()
            }
            Piece::File { mut file, offset, remaining } => {
                file.seek(SeekFrom::Start(offset)).unwrap();
                file.take(remaining).read_to_end(output).unwrap()
            }
        };
        transmit.consume(written);
    }
    assert_eq!((output.len() - before) as u64, expected);
    assert!(transmit.is_empty());
    expected > 0
}

/// Applies an event of a WebSocket; None: it is none.
pub fn apply_websocket(
    connection: &mut Connection<Vec<u8>>,
    action: &Action,
    now: &Now<'_>,
) -> Option<Result<(), SendError>> {
    Some(match action.clone() {
        Action::Accept { subprotocol, headers } => connection.websocket_accept(subprotocol.as_deref(), &headers, now),
        Action::Send(message) => connection.websocket_send(message, now),
        Action::Close { code, reason } => connection.websocket_close(code, &reason, now),
        Action::Deny(start) => connection.websocket_response_start(&start),
        Action::DenyBody { bytes, more } => connection.websocket_response_body(Content::Bytes(bytes), more, now),
        _ => return None,
    })
}

pub fn file_of(bytes: &[u8]) -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    file
}

fn command_of(action: &Action) -> &'static str {
    match action {
        Action::Accept { .. } => "accept",
        Action::Send(_) => "send",
        Action::Close { .. } => "close",
        Action::Deny(_) => "deny",
        _ => "deny-body",
    }
}

fn seen_request(head: &RequestHead<'_>) -> Seen {
    let mut line = format!("{} {}", head.method, head.path.escape_ascii());
    if !head.query.is_empty() {
        line += &format!(" ?{}", head.query.escape_ascii());
    }
    line += &format!(" {}", head.version.as_str());
    for (is, word) in [(head.has_body, "body"), (head.websocket, "websocket"), (head.headers_repeated, "repeated")] {
        if is {
            line += &format!(" +{word}");
        }
    }
    Seen::Request { line, headers: (*head.headers).clone() }
}

pub fn owned(message: Message<&[u8], &str>) -> Message {
    match message {
        Message::Text(text) => Message::Text(text.to_owned()),
        Message::Binary(bytes) => Message::Binary(bytes.to_vec()),
    }
}

/// A frame of a client's, final and masked (RFC 6455 section 5.2); `payload` has at most 65,535 bytes.
pub fn client_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let length = u16::try_from(payload.len()).unwrap();
    let mut frame = vec![0x80 | opcode];
    match length {
        0..=125 => frame.push(0x80 | length as u8),
        _ => frame.extend([&[0x80 | 126], &length.to_be_bytes()[..]].concat()),
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
