//! Files on the streams of an HTTP/2 connection: read and framed as windows and room allow, the most urgent stream first.
//! One whose bytes have to be waited for lets the others go ahead.

use asgi::Application;
use ferricorn_proto::http2::FileWanted;
use ferricorn_proto::{Now, Protocol};

use super::Connection;
use crate::files::{Ahead, FileFault, Next, Order, Outcome};

/// For how many streams of a connection a file is read ahead at once, at the most.
const STREAMS: usize = 4;

/// How much is read ahead for one: together no more than for a connection of HTTP/1.
const STREAM_PART: usize = 64 * 1024;

impl<A: Application> Connection<A> {
    /// Whether there is something to write, or a file to read it from.
    pub(crate) fn has_output(&mut self) -> bool {
        if !self.http.transmit().is_empty() {
            return true;
        }
        let Protocol::Http2(http) = &self.http else { return false };
        http.file_wanted(|stream| may_go(&self.aheads, stream)).is_some()
    }

    /// Gives HTTP/2 the bytes of files that it has room for; `buffer` is scratch space.
    pub(super) fn supply_files(&mut self, buffer: &mut [u8], now: &Now<'_>) {
        let Protocol::Http2(http) = &mut self.http else { return };
        if !self.aheads.is_empty() {
            // Of streams that were reset.
            self.aheads.retain(|(number, _)| http.sends_file(*number));
        }
        while let Some(wanted) = http.file_wanted(|stream| may_go(&self.aheads, stream)) {
            let stream = wanted.stream;
            let index = self.aheads.iter().position(|(number, _)| *number == stream);
            let ahead = match index {
                Some(index) => &mut self.aheads[index].1,
                None => &mut self.ahead,
            };
            let supplied = match read(ahead, &wanted, buffer) {
                Ok(bytes) => {
                    if !bytes.is_empty() {
                        http.supply_file(stream, bytes, now);
                    }
                    bytes.len()
                }
                Err(fault) => {
                    self.faults.push(fault);
                    http.supply_file(stream, &[], now);
                    0
                }
            };
            ahead.consume(supplied);
            match index {
                // From here on it has a place of its own, until nothing is left of what was read ahead.
                None if !ahead.is_idle() => {
                    let fresh = ahead.fresh();
                    let ahead = std::mem::replace(ahead, fresh);
                    self.aheads.push((stream, ahead));
                }
                Some(index) if ahead.is_idle() => drop(self.aheads.swap_remove(index)),
                _ => {}
            }
        }
    }

    /// Whether the reader has something to do for this connection, or a file cannot be sent.
    pub(crate) fn has_files(&self) -> bool {
        self.ahead.is_wanted() || !self.aheads.is_empty() || !self.faults.is_empty()
    }

    /// What the reader is to do for this connection, and the number of the stream, 0 in HTTP/1.
    pub(crate) fn take_order(&mut self) -> Option<(u32, Order)> {
        if let Some(order) = self.ahead.take_order() {
            return Some((0, order));
        }
        self.aheads.iter_mut().find_map(|(number, ahead)| Some((*number, ahead.take_order()?)))
    }

    /// Takes what the reader has done.
    pub(crate) fn finish_reading(&mut self, number: u32, outcome: Outcome) {
        match self.aheads.iter_mut().find(|(stream, _)| *stream == number) {
            Some((_, ahead)) => ahead.finish(outcome),
            None if number == 0 => self.ahead.finish(outcome),
            None => {}
        }
    }
}

/// Whether the stream's file has not to be waited for, as far as is known.
fn may_go(aheads: &[(u32, Ahead)], stream: u32) -> bool {
    match aheads.iter().find(|(number, _)| *number == stream) {
        Some((_, ahead)) => !ahead.is_waiting(),
        None => aheads.len() < STREAMS,
    }
}

/// The next bytes of a stream's file: none where they have to be waited for. What is read ahead goes no further than the
/// windows are open: a stream that may not send is not to keep the others from being read for.
fn read<'a>(ahead: &'a mut Ahead, wanted: &FileWanted<'_>, buffer: &'a mut [u8]) -> Result<&'a [u8], FileFault> {
    let FileWanted { file, offset, remaining, most, .. } = *wanted;
    let fault = |error| FileFault { at: offset, end: offset + remaining, error };
    let most = most.min(buffer.len());
    match ahead.bytes(file, offset, most.min(STREAM_PART) as u64, &mut buffer[..most]) {
        Next::Bytes(bytes) => Ok(&bytes[..bytes.len().min(most)]),
        Next::Later | Next::File(_) => Ok(&[]),
        Next::Ended => Err(fault(None)),
        Next::Failed(error) => Err(fault(Some(error))),
    }
}
