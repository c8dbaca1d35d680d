//! One connection's TLS, without its socket: ciphertext in, plaintext out, and the other way round.
//!
//! Ciphertext is read into the worker's buffer behind some room, so that the plaintext of each record finds place at the
//! buffer's front. What is encrypted goes into the same buffer, and the socket takes it from there: a connection that
//! idles has no buffer of its own, but for a record that has come in part and ciphertext that the socket has not taken.

use std::io::IoSlice;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use asgi::Tls;
use ferricorn_proto::{Piece, Transmit};
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, InsufficientSizeError, UnbufferedStatus};
use rustls::{CommonState, Error, ProtocolVersion, ServerConfig};

use super::certificates::Choice;
use super::client_hello::prefers_chacha20;
use super::context::Context;
use super::failure::Failure;
use super::{der, files};
use crate::files::{Ahead, FileFault, Next};

/// The plaintext of one record, at the most (RFC 8446 section 5.1).
const RECORD: usize = 16 * 1024;

/// The room ahead of ciphertext.
const HEADROOM: usize = RECORD;

/// How much plaintext is encrypted at once, at the most: it is ciphertext that a slow client leaves in our memory.
const AHEAD: usize = 4 * RECORD;

/// Where in the worker's buffer a part of a file is read to.
const FILE_ROOM: usize = 2 * AHEAD;

/// What the worker's buffer has to have.
pub(crate) const BUFFER: usize = FILE_ROOM + AHEAD;

/// How many pieces of memory are looked at at once.
const SLICES: usize = 16;

/// The first bytes of TLS are 20 to 24 (RFC 8446 section 5.1), those of HTTP a method.
const PLAIN_TEXT_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 42\r\n\
    connection: close\r\n\r\nThis is a port for HTTPS: use https://...\n";

/// What came of ciphertext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// So many bytes of plaintext, at the front of the buffer; 0: more has to come.
    Plain(usize),
    /// The handshake is over, and there is so much plaintext behind it.
    Opened(usize),
    /// The peer has said that nothing more will come.
    End,
    /// It is over: what is in [`Stage::outgoing`] may still be sent.
    Failed,
}

/// Ciphertext at the front of the worker's buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// How much there is.
    pub(crate) length: usize,
    /// How many bytes are in it of what waits in the protocol.
    pub(crate) covered: usize,
    /// How many of those are of a file.
    pub(crate) of_file: usize,
}

/// Why nothing more can be encrypted: the connection has to be broken.
#[derive(Debug)]
pub(crate) enum SealFault {
    /// A file is not what it was.
    File(Box<FileFault>),
    /// The keys have been used for as much as they may be.
    Exhausted,
}

pub(crate) struct Stage {
    session: UnbufferedServerConnection,
    /// What the session was made of, until it is known which cipher the client would rather have.
    config: Option<Arc<ServerConfig>>,
    choice: Arc<Choice>,
    /// Ciphertext that came and is not whole yet.
    incoming: Vec<u8>,
    /// Whether all of it has been looked at.
    seen: bool,
    /// Ciphertext that the socket has not taken; the first `written` bytes it has.
    outgoing: Vec<u8>,
    written: usize,
    /// How much of what waits in the protocol is in `outgoing` as well.
    covered: usize,
    /// When the handshake has to be over.
    deadline: Instant,
    /// Whether a byte of it has come.
    begun: bool,
    /// Whether it waits for another turn.
    waits: bool,
    is_open: bool,
    /// Whether the peer has said that it is done, and whether that was told.
    peer_closed: bool,
    end_told: bool,
    /// Whether we have said so.
    closed: bool,
    failure: Option<Failure>,
    facts: Option<Rc<Tls>>,
}

impl Stage {
    /// A connection that was just accepted.
    ///
    /// # Errors
    /// Where the context is of no use.
    pub(crate) fn new(context: &Context, now: Instant) -> Result<Self, Failure> {
        let (config, choice) = context.config();
        Ok(Self {
            session: UnbufferedServerConnection::new(Arc::clone(&config)).map_err(|error| Failure::new(error, true))?,
            config: Some(config),
            choice,
            incoming: Vec::new(),
            seen: true,
            outgoing: Vec::new(),
            written: 0,
            covered: 0,
            deadline: now + context.handshake_timeout(),
            begun: false,
            waits: false,
            is_open: false,
            peer_closed: false,
            end_told: false,
            closed: false,
            failure: None,
            facts: None,
        })
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        !self.is_open
    }

    /// Whether anything has come, or waits to be looked at.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun || self.waits
    }

    /// Says whether its handshake waits for time; whether it did before.
    pub(crate) fn set_waiting(&mut self, waits: bool) -> bool {
        std::mem::replace(&mut self.waits, waits)
    }

    /// Whether HTTP/2 was agreed on (RFC 7301).
    pub(crate) fn is_http2(&self) -> bool {
        self.session.alpn_protocol() == Some(b"h2")
    }

    /// Looks whether the handshake has had its time. From then on it has failed.
    pub(crate) fn is_late(&mut self, now: Instant) -> bool {
        let is_late = self.is_handshaking() && self.deadline <= now;
        if is_late && self.begun {
            // Who connects and says nothing is no news.
            self.failure.get_or_insert(Failure::late());
        }
        is_late
    }

    /// Why it failed, where somebody should know.
    pub(crate) fn take_failure(&mut self) -> Option<Failure> {
        self.failure.take().filter(Failure::is_news)
    }

    /// What applications are told; None before the handshake is over.
    pub(crate) fn facts(&self) -> Option<&Rc<Tls>> {
        self.facts.as_ref()
    }

    /// Whether [`handle_input`](Self::handle_input) has something to say without more ciphertext.
    pub(crate) fn has_unseen(&self) -> bool {
        !self.seen || (self.peer_closed && !self.end_told)
    }

    /// Takes ciphertext that was read elsewhere.
    pub(crate) fn put(&mut self, ciphertext: &[u8]) {
        self.incoming.extend_from_slice(ciphertext);
        self.seen = self.incoming.is_empty();
    }

    /// Where in the worker's buffer the next ciphertext is to be read to.
    pub(crate) fn room<'b>(&self, buffer: &'b mut [u8]) -> &'b mut [u8] {
        &mut buffer[HEADROOM + self.incoming.len()..]
    }

    /// Decrypts what is in [`room`](Self::room), so many bytes, and what came before it.
    pub(crate) fn handle_input(&mut self, buffer: &mut [u8], read: usize) -> Came {
        let end = HEADROOM + self.incoming.len() + read;
        buffer[HEADROOM..end - read].copy_from_slice(&self.incoming);
        self.incoming.clear();
        self.seen = true;
        if self.peer_closed {
            // What follows the end is nothing (RFC 8446 section 6.1).
            return self.came(0);
        }
        if self.failure.is_some() {
            return Came::Plain(0);
        }
        if !std::mem::replace(&mut self.begun, end > HEADROOM) && buffer[HEADROOM].is_ascii_uppercase() {
            self.failure = Some(Failure::plain_text());
            self.outgoing = PLAIN_TEXT_ANSWER.to_vec();
            return Came::Failed;
        }
        let followed = self.follow_preference(&buffer[HEADROOM..end]);
        match followed.and_then(|()| self.decrypt(&mut buffer[..end])) {
            Ok((plain, start)) => {
                self.incoming.extend_from_slice(&buffer[start..end]);
                self.came(plain)
            }
            Err(error) => {
                self.failure = Some(Failure::new(error, !self.is_open));
                self.take_alert();
                Came::Failed
            }
        }
    }

    fn came(&mut self, plain: usize) -> Came {
        if !self.is_open && !self.session.is_handshaking() {
            self.is_open = true;
            self.facts = Some(Rc::new(facts(&self.session, &self.choice)));
            return Came::Opened(plain);
        }
        if self.peer_closed && plain == 0 && !std::mem::replace(&mut self.end_told, true) {
            return Came::End;
        }
        Came::Plain(plain)
    }

    /// The order of our suites counts, AES-128 first, but with clients that would rather have ChaCha20: theirs counts.
    fn follow_preference(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let Some(config) = &self.config else { return Ok(()) };
        match prefers_chacha20(bytes) {
            None => return Ok(()),
            Some(false) => {}
            Some(true) => {
                let mut config = ServerConfig::clone(config);
                config.ignore_client_order = false;
                self.session = UnbufferedServerConnection::new(Arc::new(config))?;
            }
        }
        self.config = None;
        Ok(())
    }

    /// Moves the plaintext of each record to the buffer's front. How much there is, and where the ciphertext starts that
    /// is left.
    fn decrypt(&mut self, buffer: &mut [u8]) -> Result<(usize, usize), Error> {
        let (mut start, mut plain, end_of_input) = (HEADROOM, 0, buffer.len());
        loop {
            let (front, rest) = buffer.split_at_mut(start);
            let UnbufferedStatus { mut discard, state } = self.session.process_tls_records(rest);
            let mut goes_on = true;
            match state? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        let end = plain + record.payload.len();
                        let room = front.get_mut(plain..end);
                        room.ok_or(Error::PeerSentOversizedRecord)?.copy_from_slice(record.payload);
                        (plain, discard) = (end, discard + record.discard);
                    }
                    // What rustls wants to say itself goes ahead of what is written next.
                    goes_on = !self.is_open || start + discard < end_of_input;
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    append(&mut self.outgoing, |room| match data.encode(room) {
                        Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
                            Err(required_size)
                        }
                        result => Ok(result.unwrap_or(0)),
                    });
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => self.peer_closed = true,
                _ => goes_on = false,
            }
            start += discard;
            if !goes_on || self.peer_closed {
                return Ok((plain, if self.peer_closed { buffer.len() } else { start }));
            }
        }
    }

    /// Has what rustls says about a failure sent. Without that, it would look at input, and must not see any more.
    fn take_alert(&mut self) {
        while self.session.wants_write() {
            let Ok(ConnectionState::EncodeTlsData(mut data)) = self.session.process_tls_records(&mut []).state else {
                return;
            };
            append(&mut self.outgoing, |room| match data.encode(room) {
                Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => Err(required_size),
                result => Ok(result.unwrap_or(0)),
            });
        }
    }

    /// Whether there is ciphertext that the socket has not taken.
    pub(crate) fn has_outgoing(&self) -> bool {
        self.written < self.outgoing.len()
    }

    /// Whether that stands for bytes of the protocol, and has to go before more of them.
    pub(crate) fn has_covered(&self) -> bool {
        self.covered > 0 || self.outgoing().len() > RECORD
    }

    /// What the socket is to take before anything else.
    pub(crate) fn outgoing(&self) -> &[u8] {
        &self.outgoing[self.written..]
    }

    /// The socket has taken so much of it. How many bytes of the protocol have gone with it.
    pub(crate) fn handle_written(&mut self, count: usize) -> usize {
        self.written += count;
        if self.has_outgoing() {
            return 0;
        }
        // Not only cleared: an idle connection keeps no buffer.
        self.outgoing = Vec::new();
        self.written = 0;
        std::mem::take(&mut self.covered)
    }

    /// Keeps ciphertext that the socket has not taken, and how many bytes of the protocol went into it.
    pub(crate) fn keep(&mut self, ciphertext: &[u8], covered: usize) {
        debug_assert!(!self.has_outgoing(), "what was kept before goes first");
        self.outgoing = ciphertext.to_vec();
        self.covered = covered;
    }

    /// Encrypts what waits into the worker's buffer, or a part of it; what waits stays where it is. What is in
    /// [`outgoing`](Self::outgoing) goes ahead of it, where it is of TLS itself. `last`: nothing will come behind what
    /// waits.
    ///
    /// # Errors
    /// Where it cannot be encrypted.
    pub(crate) fn encrypt<B: AsRef<[u8]>>(
        &mut self,
        transmit: &Transmit<B>,
        ahead: &mut Ahead,
        last: bool,
        buffer: &mut [u8],
    ) -> Result<Sealed, SealFault> {
        let (out, file_room) = buffer.split_at_mut(FILE_ROOM);
        let mut batch = Batch { out, sealed: Sealed { length: self.outgoing().len(), covered: 0, of_file: 0 } };
        if self.has_outgoing() {
            batch.out[..batch.sealed.length].copy_from_slice(self.outgoing());
            self.handle_written(batch.sealed.length);
        }
        if self.is_open && !self.closed && self.failure.is_none() {
            self.seal_waiting(transmit, ahead, &mut batch, file_room)?;
            if last && batch.sealed.covered as u64 == transmit.len() {
                self.close(&mut batch)?;
            }
        }
        Ok(batch.sealed)
    }

    fn seal_waiting<B: AsRef<[u8]>>(
        &mut self,
        transmit: &Transmit<B>,
        ahead: &mut Ahead,
        batch: &mut Batch<'_>,
        file_room: &mut [u8],
    ) -> Result<(), SealFault> {
        if let Some(whole) = transmit.whole() {
            return self.seal(&whole[..whole.len().min(AHEAD)], batch);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        match transmit.next(&mut slices) {
            Piece::Nothing => Ok(()),
            Piece::Bytes(count) => self.seal_pieces(&slices[..count], batch),
            Piece::File { file, offset, remaining } => {
                let fault = |error| SealFault::File(Box::new(FileFault { at: offset, end: offset + remaining, error }));
                let read = match ahead.bytes(file, offset, remaining, &mut file_room[..AHEAD]) {
                    Next::Bytes(bytes) => {
                        let bytes = &bytes[..bytes.len().min(AHEAD)];
                        self.seal(bytes, batch)?;
                        bytes.len()
                    }
                    Next::Later | Next::File(_) => 0,
                    Next::Ended => return Err(fault(None)),
                    Next::Failed(error) => return Err(fault(Some(error))),
                };
                ahead.consume(read);
                batch.sealed.of_file = read;
                Ok(())
            }
        }
    }

    /// Whole records are encrypted from where they are. What is shorter goes into one record with the beginning of what is
    /// behind it: frames of HTTP/2 and their heads are not cut where records would be.
    fn seal_pieces(&mut self, pieces: &[IoSlice<'_>], batch: &mut Batch<'_>) -> Result<(), SealFault> {
        let mut gathered = Vec::new();
        for piece in pieces {
            let mut rest = &piece[..piece.len().min(AHEAD - batch.sealed.covered - gathered.len())];
            if !gathered.is_empty() {
                let head = rest.split_off(..rest.len().min(RECORD - gathered.len())).unwrap_or_default();
                gathered.extend_from_slice(head);
                if gathered.len() == RECORD {
                    self.seal(&gathered, batch)?;
                    gathered.clear();
                }
            }
            let short = rest.split_off(rest.len() / RECORD * RECORD..).unwrap_or_default();
            self.seal(rest, batch)?;
            gathered.reserve_exact(RECORD - gathered.len());
            gathered.extend_from_slice(short);
        }
        self.seal(&gathered, batch)
    }

    fn seal(&mut self, plain: &[u8], batch: &mut Batch<'_>) -> Result<(), SealFault> {
        if plain.is_empty() {
            return Ok(());
        }
        loop {
            // What has come in part has to be shown again: rustls knows places in it.
            match self.session.process_tls_records(&mut self.incoming).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let written = traffic
                        .encrypt(plain, &mut batch.out[batch.sealed.length..])
                        .map_err(|_| SealFault::Exhausted)?;
                    batch.sealed.length += written;
                    batch.sealed.covered += plain.len();
                    return Ok(());
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    batch.sealed.length +=
                        data.encode(&mut batch.out[batch.sealed.length..]).map_err(|_| SealFault::Exhausted)?;
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(_) | Err(_) => return Err(SealFault::Exhausted),
            }
        }
    }

    /// Says that nothing more will come (RFC 8446 section 6.1).
    fn close(&mut self, batch: &mut Batch<'_>) -> Result<(), SealFault> {
        self.closed = true;
        loop {
            match self.session.process_tls_records(&mut self.incoming).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let room = &mut batch.out[batch.sealed.length..];
                    batch.sealed.length += traffic.queue_close_notify(room).map_err(|_| SealFault::Exhausted)?;
                    return Ok(());
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    batch.sealed.length +=
                        data.encode(&mut batch.out[batch.sealed.length..]).map_err(|_| SealFault::Exhausted)?;
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(_) | Err(_) => return Ok(()),
            }
        }
    }

    /// Whether the peer has been told that nothing more will come, or cannot be told.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed || !self.is_open || self.failure.is_some()
    }

    /// Gives back what an idle connection does not need.
    pub(crate) fn release_memory(&mut self) {
        self.incoming.shrink_to_fit();
    }
}

/// A batch of records, in the worker's buffer.
struct Batch<'b> {
    out: &'b mut [u8],
    sealed: Sealed,
}

/// Has `write` append to a buffer; it is told how much room there is, and says how much it has taken or needs.
fn append(buffer: &mut Vec<u8>, mut write: impl FnMut(&mut [u8]) -> Result<usize, usize>) {
    let before = buffer.len();
    let mut room = 0;
    while let Err(needed) = write(&mut buffer[before..]).map(|written| room = written) {
        buffer.resize(before + needed, 0);
    }
    buffer.truncate(before + room);
}

/// What applications are told of a connection whose handshake is over.
fn facts(session: &CommonState, choice: &Choice) -> Tls {
    let chain = session.peer_certificates().unwrap_or_default();
    Tls {
        server_cert: choice.pem(),
        client_cert_chain: chain.iter().map(files::pem).collect(),
        client_cert_name: chain.first().and_then(|leaf| der::subject(leaf)),
        client_cert_error: None,
        tls_version: session.protocol_version().map(ProtocolVersion::into),
        cipher_suite: session.negotiated_cipher_suite().map(|suite| suite.suite().into()),
    }
}

#[cfg(test)]
#[path = "stage_tests.rs"]
mod tests;
