//! One connection: its socket, the protocol that runs on it, and the bytes between them.
//!
//! It moves bytes and reports what came of it; what an exchange means to the application is the worker's business.

mod encrypted;
mod files;
mod inbox;
mod request;

use std::io;
use std::rc::Rc;

use asgi::{Application, Headers, Message};
use ferricorn_proto::http2::{ConnectionError, PREFACE};
use ferricorn_proto::proxy_protocol::{self, ProxyError};
use ferricorn_proto::websocket::ProtocolError;
use ferricorn_proto::{Closing, Input, Now, Protocol, RequestError};

use crate::board::Row;
use crate::cells::Cell;
use crate::exchange::Running;
use crate::exchanges::Take;
use crate::files::{Ahead, FileFault};
use crate::proxies::Ends;
use crate::socket::Socket;
use crate::tls::Stage;
use crate::writing::{Attempt, write_pieces};
use inbox::Inbox;
pub(crate) use request::{Request, RequestLine};

/// How many reads one connection gets before the others have their turn.
const READS_PER_TURN: usize = 16;

/// How much of a file goes before the other connections have their turn: a client may read as fast as it is written to.
const FILE_TURN: usize = 2 * 1024 * 1024;

/// How often what waits is written to one connection of HTTP/2 before the others have their turn.
const WRITES_PER_TURN: usize = 16;

pub(crate) struct Connection<A: Application> {
    socket: Socket,
    pub(crate) http: Protocol<A::Body, A::Gathered>,
    inbox: Inbox,
    /// Its first bytes, which tell whether the client speaks HTTP/2, have not come.
    is_new: bool,
    /// The socket may have bytes: readiness is told once, so it is remembered until a read comes back short.
    readable: bool,
    writable: bool,
    /// What has been read ahead of the file that is being sent.
    ahead: Ahead,
    /// The same for streams of HTTP/2 that have to wait, or have bytes that did.
    aheads: Vec<(u32, Ahead)>,
    /// Why files cannot be sent to their end.
    pub(crate) faults: Vec<FileFault>,
    /// Whether there was more to write when the others had their turn.
    pub(crate) yielded: bool,
    /// The peer has closed its sending side: whatever is still readable is the last.
    read_closed: bool,
    /// Reading or writing failed: the peer is gone.
    broken: bool,
    /// The peer has been told that nothing more will come.
    ended: bool,
    pub(crate) exchanges: Running,
    /// WebSockets over HTTP/2 whose applications were given a message in this turn.
    pub(crate) behind: Vec<u32>,
    /// Whether the worker's queue has this connection.
    pub(crate) queued: bool,
    /// Whether nothing has happened since the last tick.
    pub(crate) quiet: bool,
    pub(crate) memory: A::ConnectionMemory,
    /// The exchange that began last, and the one whose scope the memory was last given with.
    pub(crate) begun: u32,
    pub(crate) remembered: u32,
    /// Those of the connection itself, or what a PROXY protocol header said of them.
    pub(crate) own_ends: Rc<Ends>,
    /// What the scope of the last request said of them: these are its own, unless proxies told otherwise.
    pub(crate) ends: Rc<Ends>,
    /// Whether proxies may tell otherwise in header fields.
    pub(crate) believes_fields: bool,
    /// The fields of the last request with another host, where proxies told one.
    pub(crate) headers: Option<Rc<Headers>>,
    /// What reads the header of the PROXY protocol, as long as that has not come.
    pub(crate) preface: Option<Box<proxy_protocol::Reader>>,
    /// What encrypts and decrypts, where the listener speaks TLS.
    pub(crate) tls: Option<Box<Stage>>,
    row: Row,
}

/// What came of an attempt to take a request.
pub(crate) enum Taken {
    Request(Request),
    /// The peer of one of the WebSockets broke their protocol.
    Violation(ProtocolError),
    /// The peer broke HTTP/2.
    Broken(ConnectionError),
    /// The peer sent what is refused; the answer is in the send buffer.
    Refused(RequestError),
    /// There is no whole request, or others come first (`has_input`).
    Nothing,
}

/// What came of an attempt to take a part of the request's body.
pub(crate) enum Part<T> {
    Data { body: T, end: bool },
    Refused(RequestError),
    Nothing,
}

impl<A: Application> Connection<A> {
    pub(crate) fn new(
        socket: Socket,
        http: Protocol<A::Body, A::Gathered>,
        ends: Ends,
        ahead: Ahead,
        row: Row,
    ) -> Self {
        let ends = Rc::new(ends);
        Self {
            socket,
            is_new: http.may_become_http2(),
            http,
            inbox: Inbox::default(),
            readable: false,
            writable: true,
            ahead,
            behind: Vec::new(),
            aheads: Vec::new(),
            faults: Vec::new(),
            yielded: false,
            read_closed: false,
            broken: false,
            ended: false,
            exchanges: Running::new(&ends),
            queued: false,
            quiet: false,
            memory: A::ConnectionMemory::default(),
            begun: 0,
            remembered: 0,
            own_ends: Rc::clone(&ends),
            ends,
            believes_fields: false,
            headers: None,
            preface: None,
            tls: None,
            row,
        }
    }

    pub(crate) fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    pub(crate) fn set_readable(&mut self) {
        self.readable = true;
    }

    pub(crate) fn set_writable(&mut self) {
        self.writable = true;
    }

    pub(crate) fn set_broken(&mut self) {
        self.broken = true;
        self.http.handle_lost();
    }

    /// The peer will send no more. While its request runs and is here whole, that means it is gone; a body that is
    /// still in the socket is read first.
    pub(crate) fn set_read_closed(&mut self) {
        self.read_closed = true;
        self.readable = true;
        self.check_read_closed();
    }

    fn check_read_closed(&mut self) {
        let current = self.exchanges.current();
        if self.read_closed && self.http.exchange_is_open(current) && self.http.request_complete(current) {
            self.http.handle_end_of_input();
        }
    }

    /// Whether another look would find input, without waiting for the poller.
    pub(crate) fn has_input(&mut self) -> bool {
        let here = !(self.inbox.is_empty() || self.inbox.seen) || self.tls.as_ref().is_some_and(|tls| tls.has_unseen());
        !self.broken && self.http.wants_input() && (self.readable || here)
    }

    /// Takes the header of the PROXY protocol; None: more of it has to come. What stands behind it is left.
    pub(crate) fn take_preface(&mut self, buffer: &mut [u8]) -> Option<Result<proxy_protocol::Header, ProxyError>> {
        for _ in 0..READS_PER_TURN {
            let read = self.read_socket(buffer)?;
            self.inbox.put(&buffer[..read]);
            let step = self.preface.as_mut()?.handle_input(self.inbox.rest());
            self.inbox.take(step.consumed);
            if let Some(result) = step.header.transpose() {
                self.preface = None;
                self.give_to_tls();
                return Some(result);
            }
            self.inbox.seen = true;
        }
        None
    }

    /// Takes the next request, its line into `line`; `buffer` is scratch space to read into.
    pub(crate) fn take_request(&mut self, buffer: &mut [u8], line: &mut RequestLine, now: &Now<'_>) -> Taken {
        self.take_input(buffer, now, |event| match event {
            Ok(Some(Input::Request(head))) => {
                line.set(head.method, head.path, head.query);
                Some(Taken::Request(Request {
                    stream: head.stream,
                    version: head.version,
                    headers: head.headers,
                    headers_repeated: head.headers_repeated,
                    websocket: head.websocket,
                }))
            }
            Ok(Some(Input::Violation(error))) => Some(Taken::Violation(error)),
            Ok(Some(Input::Broken(error))) => Some(Taken::Broken(error)),
            Ok(_) => None,
            Err(error) => Some(Taken::Refused(error)),
        })
        .unwrap_or(Taken::Nothing)
    }

    /// Takes a part of the body of this exchange: what is here, else, of HTTP/1, what the socket has.
    pub(crate) fn take_body<T: Take<Gathered = A::Gathered>>(
        &mut self,
        number: u32,
        buffer: &mut [u8],
        now: &Now<'_>,
        take: T,
    ) -> Part<T::Bytes> {
        if self.http.is_multiplexed() {
            let kept = self.http.take_body(number, now);
            return kept.map_or(Part::Nothing, |(body, end)| Part::Data { body: take.gathered(body), end });
        }
        let mut take = Some(take);
        self.take_input(buffer, now, |event| match event {
            Ok(Some(Input::Body { data, end })) => take.take().map(|take| Part::Data { body: take.bytes(data), end }),
            Ok(_) => None,
            Err(error) => Some(Part::Refused(error)),
        })
        .unwrap_or(Part::Nothing)
    }

    /// Takes the message that the application waits for: what is here, else what the socket has.
    pub(crate) fn take_message<B, T>(
        &mut self,
        buffer: &mut [u8],
        now: &Now<'_>,
        take: impl FnOnce(Message<&[u8], &str>) -> Message<B, T>,
    ) -> Option<Result<Message<B, T>, ProtocolError>> {
        if self.http.is_multiplexed() {
            return None;
        }
        let mut take = Some(take);
        self.http.want_message(true);
        let taken = self.take_input(buffer, now, |event| match event {
            Ok(Some(Input::Message(message))) => take.take().map(|take| Ok(take(message))),
            Ok(Some(Input::Violation(error))) => Some(Err(error)),
            _ => None,
        });
        self.http.want_message(false);
        taken
    }

    /// Handles what a WebSocket's peer sends while nobody waits for a message: answers pings, notes a close, keeps some
    /// messages.
    pub(crate) fn read_frames(&mut self, buffer: &mut [u8], now: &Now<'_>) -> Option<ProtocolError> {
        self.take_input(buffer, now, |event| match event {
            Ok(Some(Input::Violation(error))) => Some(error),
            _ => None,
        })
    }

    /// Gives `take` what the protocol makes of the input, until it has what it wants or there is no more for now.
    fn take_input<T>(
        &mut self,
        buffer: &mut [u8],
        now: &Now<'_>,
        mut take: impl FnMut(Result<Option<Input<'_>>, RequestError>) -> Option<T>,
    ) -> Option<T> {
        for _ in 0..READS_PER_TURN {
            if !self.http.wants_input() {
                return None;
            }
            if !self.inbox.is_empty() && self.knows_protocol(None, now) {
                let step = self.http.handle_input(self.inbox.rest(), now);
                let consumed = step.consumed;
                let taken = take(step.event);
                self.inbox.take(consumed);
                // What is left because nobody wants it now is worth another look later.
                self.inbox.seen = taken.is_none() && self.http.wants_input();
                if taken.is_some() {
                    self.check_read_closed();
                    return taken;
                }
            }
            let read = self.read(buffer, now)?;
            if !self.inbox.is_empty() || !self.knows_protocol(Some(&buffer[..read]), now) {
                self.inbox.put(&buffer[..read]);
                continue;
            }
            let step = self.http.handle_input(&mut buffer[..read], now);
            let consumed = step.consumed;
            let taken = take(step.event);
            if consumed < read {
                self.inbox.put(&buffer[consumed..read]);
                self.inbox.seen = taken.is_none() && self.http.wants_input();
            }
            if taken.is_some() {
                self.check_read_closed();
                return taken;
            }
        }
        None
    }

    /// Whether the first bytes, in the inbox or just read, tell which protocol the client speaks: HTTP/2 by its preface,
    /// else HTTP/1. Changes to the former.
    fn knows_protocol(&mut self, read: Option<&[u8]>, now: &Now<'_>) -> bool {
        if !self.is_new {
            return true;
        }
        let bytes = read.unwrap_or_else(|| self.inbox.rest());
        let length = bytes.len().min(PREFACE.len());
        let begins = bytes[..length] == PREFACE[..length];
        if begins && length < PREFACE.len() {
            return false;
        }
        self.is_new = false;
        if begins {
            self.become_http2(now);
        }
        true
    }

    fn become_http2(&mut self, now: &Now<'_>) {
        self.is_new = false;
        self.http.become_http2(now.instant);
        self.exchanges.become_many();
    }

    /// Reads once, where the protocol wants input and the socket may have some.
    fn read(&mut self, buffer: &mut [u8], now: &Now<'_>) -> Option<usize> {
        if self.broken || !self.http.wants_input() {
            return None;
        }
        if self.tls.is_some() { self.read_encrypted(buffer, now) } else { self.read_socket(buffer) }
    }

    /// Reads once, where the socket may have something. A short read says that it is empty, so there is no second read
    /// that only finds that out.
    fn read_socket(&mut self, buffer: &mut [u8]) -> Option<usize> {
        if !self.readable || self.broken {
            return None;
        }
        match self.socket.read(buffer) {
            Ok(0) => {
                self.readable = false;
                self.read_closed = true;
                self.http.handle_end_of_input();
                None
            }
            Ok(read) => {
                self.row.add(Cell::BYTES_RECEIVED, read as u64);
                self.readable = read == buffer.len() || self.read_closed;
                Some(read)
            }
            Err(error) => {
                self.readable = false;
                if error.kind() != io::ErrorKind::WouldBlock {
                    self.set_broken();
                }
                None
            }
        }
    }

    /// Writes what the socket takes; `buffer` is scratch space. In HTTP/2, what has waited for room follows.
    #[inline]
    pub(crate) fn write(&mut self, buffer: &mut [u8], now: &Now<'_>) {
        if self.http.is_multiplexed() {
            self.write_streams(buffer, now);
        } else {
            self.write_waiting(buffer, now);
        }
    }

    fn write_streams(&mut self, buffer: &mut [u8], now: &Now<'_>) {
        for _ in 0..WRITES_PER_TURN {
            self.supply_files(buffer, now);
            self.write_waiting(buffer, now);
            if !self.writable || self.broken || !self.has_output() {
                return;
            }
        }
        self.yielded = true;
    }

    #[inline]
    fn write_waiting(&mut self, buffer: &mut [u8], now: &Now<'_>) {
        if self.tls.is_some() {
            self.write_encrypted(buffer, now);
        } else {
            self.write_plain(now);
        }
    }

    fn write_plain(&mut self, now: &Now<'_>) {
        let (mut progress, mut file_bytes) = (false, 0);
        while self.writable && !self.broken {
            let transmit = self.http.transmit();
            if transmit.is_empty() {
                break;
            }
            let attempt = match transmit.whole() {
                Some(bytes) => Attempt::Memory(bytes.len(), self.socket.write(bytes)),
                None => write_pieces(&mut self.socket, &mut self.ahead, transmit),
            };
            let written = match attempt {
                Attempt::Memory(offered, Ok(written)) => {
                    self.writable = written >= offered;
                    written
                }
                Attempt::File(Ok(written)) => {
                    self.ahead.consume(written);
                    file_bytes += written;
                    written
                }
                Attempt::Memory(_, Err(error)) | Attempt::File(Err(error)) => {
                    self.writable = false;
                    if error.kind() != io::ErrorKind::WouldBlock {
                        self.set_broken();
                    }
                    break;
                }
                // What was promised cannot be sent any more.
                Attempt::Fault(fault) => {
                    self.faults.push(*fault);
                    self.abort();
                    break;
                }
                Attempt::Later => break,
            };
            self.row.add(Cell::BYTES_SENT, written as u64);
            self.http.transmit().consume(written);
            progress = true;
            self.yielded = file_bytes >= FILE_TURN;
            if self.yielded {
                break;
            }
        }
        if progress {
            self.http.handle_written(now);
        }
    }

    pub(crate) fn abort(&mut self) {
        self.socket.reset_on_close();
        self.set_broken();
    }

    /// Whether the connection is to be dropped now; takes the steps that lead there. `buffer` is scratch space.
    pub(crate) fn is_over(&mut self, buffer: &mut [u8], now: &Now<'_>) -> bool {
        if self.broken {
            return true;
        }
        match self.http.closing() {
            Closing::No => false,
            Closing::Abort => {
                // What was sent before counts: the peer is to see where it breaks off.
                self.write(buffer, now);
                self.abort();
                true
            }
            // The application is told what came before it is told that the client is gone (HTTP-09).
            Closing::Now => {
                let is_over = !self.owes_body();
                if is_over {
                    self.has_said_all(buffer, now);
                }
                is_over
            }
            Closing::Flush => {
                let written = self.has_said_all(buffer, now);
                if written && self.read_closed && self.inbox.is_empty() {
                    return true;
                }
                if written && !self.ended {
                    self.ended = true;
                    self.socket.end();
                    // From here on the peer has so long to do the same.
                    self.http.handle_written(now);
                }
                false
            }
        }
    }

    /// What stands behind the messages of a WebSocket over HTTP/2 is to be looked at when the turn ends, unless its
    /// application waits for more by then. Whether there is something to be done.
    pub(crate) fn look_behind(&mut self, number: u32) -> bool {
        let is_new = self.http.is_multiplexed() && !self.behind.contains(&number);
        if is_new {
            self.behind.push(number);
        }
        is_new
    }

    /// Somebody waits for the next event of this exchange.
    pub(crate) fn wait_to_receive(&mut self, number: u32) {
        if let Some(exchange) = self.exchanges.get(number) {
            exchange.receive_waiting = true;
        }
    }

    /// Whether an application has not been given a body whose client is gone already.
    fn owes_body(&mut self) -> bool {
        let http = &self.http;
        let mut exchanges = self.exchanges.each();
        exchanges.any(|(number, exchange)| exchange.running && !exchange.body_given && http.disconnected(number))
    }

    /// Gives back what an idle connection does not need.
    pub(crate) fn release_memory(&mut self) {
        if self.inbox.is_empty() {
            self.inbox = Inbox::default();
        }
        if let Some(tls) = &mut self.tls {
            tls.release_memory();
        }
        self.http.release_memory();
        self.memory = A::ConnectionMemory::default();
    }
}
