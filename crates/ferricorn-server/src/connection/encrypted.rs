//! A connection whose listener speaks TLS: its bytes go through the stage, and what is for TLS itself is answered here.

use std::io;

use asgi::Application;
use ferricorn_proto::{Closing, Drain, Now};

use super::{Connection, FILE_TURN, Inbox, READS_PER_TURN};
use crate::cells::Cell;
use crate::tls::{Came, SealFault, Sealed};

impl<A: Application> Connection<A> {
    /// Whether the handshake is not over yet: the protocol has no part in it.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Prepares for the end. Who is in the middle of a handshake has a request on its way.
    pub(crate) fn drain(&mut self, drain: Drain) {
        let has_begun = self.tls.as_ref().is_some_and(|tls| tls.is_handshaking() && tls.has_begun());
        self.http.drain(if has_begun { Drain::Patient } else { drain });
    }

    /// Whether something waits to be written: of the protocol, or of TLS.
    pub(crate) fn has_unsent(&mut self) -> bool {
        !self.http.transmit().is_empty() || self.tls.as_ref().is_some_and(|tls| tls.has_outgoing())
    }

    /// Whether there is no more to be written, the end of TLS included.
    pub(super) fn has_said_all(&mut self, buffer: &mut [u8], now: &Now<'_>) -> bool {
        if self.tls.as_ref().is_some_and(|tls| !tls.is_closed()) && self.http.transmit().is_empty() {
            self.write(buffer, now);
        }
        !self.has_unsent()
    }

    /// What has been read ahead of TLS is the beginning of its handshake.
    pub(super) fn give_to_tls(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.put(self.inbox.rest());
            self.inbox = Inbox::default();
        }
    }

    /// Reads until there is something for the protocol, and answers what is for TLS itself.
    pub(super) fn read_encrypted(&mut self, buffer: &mut [u8], now: &Now<'_>) -> Option<usize> {
        for _ in 0..READS_PER_TURN {
            let has_unseen = self.tls.as_ref()?.has_unseen();
            let read = if has_unseen { 0 } else { self.read_ciphertext(buffer)? };
            match self.tls.as_mut()?.handle_input(buffer, read) {
                Came::Plain(0) => {}
                Came::Plain(plain) => return Some(plain),
                Came::Opened(plain) => {
                    self.http.handle_connected(now.instant);
                    if self.tls.as_ref().is_some_and(|tls| tls.is_http2()) {
                        self.become_http2(now);
                    }
                    // Tickets go with the response.
                    if plain > 0 {
                        return Some(plain);
                    }
                }
                Came::End => {
                    self.read_closed = true;
                    self.http.handle_end_of_input();
                }
                Came::Failed => {
                    self.write(buffer, now);
                    self.set_broken();
                    return None;
                }
            }
            self.write(buffer, now);
        }
        None
    }

    fn read_ciphertext(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let tls = self.tls.as_ref()?;
        let is_handshaking = tls.is_handshaking();
        let room = tls.room(buffer);
        let read = self.read_socket(room);
        if read.is_none() && self.read_closed && is_handshaking {
            // The client has gone, or has seen enough: it is not for us to say.
            self.set_broken();
        }
        read
    }

    /// Writes what the socket takes.
    pub(super) fn write_encrypted(&mut self, buffer: &mut [u8], now: &Now<'_>) {
        let (mut progress, mut file_bytes) = (false, 0);
        while self.writable && !self.broken {
            match self.write_once(buffer, &mut file_bytes) {
                Ok(0) => break,
                Ok(written) => {
                    self.row.add(Cell::BYTES_SENT, written as u64);
                    progress = true;
                    self.yielded = file_bytes >= FILE_TURN;
                    if self.yielded {
                        break;
                    }
                }
                Err(error) => {
                    self.writable = false;
                    if error.kind() != io::ErrorKind::WouldBlock {
                        self.set_broken();
                    }
                }
            }
        }
        if progress {
            self.http.handle_written(now);
        }
    }

    /// Writes what is left of the last time, or what waits in the protocol: some records of it. What waits is consumed
    /// when all their ciphertext is with the socket.
    fn write_once(&mut self, buffer: &mut [u8], file_bytes: &mut usize) -> io::Result<usize> {
        let last = matches!(self.http.closing(), Closing::Flush | Closing::Now);
        let Some(tls) = &mut self.tls else { return Ok(0) };
        let transmit = self.http.transmit();
        if tls.has_covered() {
            let offered = tls.outgoing().len();
            let written = self.socket.write(tls.outgoing())?;
            let covered = tls.handle_written(written) as u64;
            transmit.consume(covered.min(transmit.len()) as usize);
            self.writable = written >= offered;
            return Ok(written);
        }
        let Sealed { length, covered, of_file } = match tls.encrypt(transmit, &mut self.ahead, last, buffer) {
            Ok(sealed) => sealed,
            Err(fault) => {
                // What was promised cannot be sent any more.
                if let SealFault::File(fault) = fault {
                    self.faults.push(*fault);
                }
                self.abort();
                return Ok(0);
            }
        };
        if length == 0 {
            return Ok(0);
        }
        *file_bytes += of_file;
        let written = match self.socket.write(&buffer[..length]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            result => result?,
        };
        self.writable = written >= length;
        if self.writable {
            transmit.consume(covered);
        } else {
            tls.keep(&buffer[written..length], covered);
        }
        Ok(written)
    }
}
