//! Messages compressed and decompressed as was agreed (RFC 7692 section 7.2). This file knows no frame, and limits nothing:
//! whoever takes the decompressed bytes says when it is too much.
//!
//! Measured on JSON of 64 KiB and 1 KiB, in microseconds a message and what is left of it: the compressor here 94 (28 %) and
//! 0.8 (28 %); zlib-rs at level 1 110 (27 %) and 1.3 (28 %), level 2 200 (20 %) and 5.5 (22 %), level 6 343 (16 %) and 8.6
//! (20 %). zlib-rs decompresses them in 50 and 0.7.

use zlib_rs::{Inflate as Decompressor, InflateFlush, Status};

use super::ProtocolError;
use super::compressor::Compressor;
use super::extension::{Deflate, MAX_WINDOW};

/// Shorter messages are sent as they are: what they would save is less than what compressing costs both sides.
const WORTH_IT: usize = 128;

/// Without context such a message gets shorter by a tenth at most.
const WORTH_IT_ALONE: usize = 256;

/// Bytes that are decompressed at a time; four times as many take as long.
const CHUNK: usize = 4 * 1024;

/// The end of what a compressor flushes, which is left out of a message (section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// permessage-deflate on one WebSocket. An idle one has neither compressor nor decompressor.
pub(super) struct Compression {
    agreed: Deflate,
    compressor: Option<Box<Compressor>>,
    decompression: Option<Box<Decompression>>,
    history: History,
}

impl Compression {
    pub(super) fn new(agreed: Deflate) -> Self {
        let history = History { window: 1 << agreed.client_window, bytes: Vec::new() };
        Self { agreed, compressor: None, decompression: None, history }
    }

    /// Whether a message of this length is worth compressing.
    pub(super) fn is_worth_it(&self, length: usize) -> bool {
        length >= if self.agreed.server_no_context_takeover { WORTH_IT_ALONE } else { WORTH_IT }
    }

    /// Appends a message compressed. False: it would not be shorter, and nothing was appended.
    pub(super) fn compress(&mut self, message: &[u8], output: &mut Vec<u8>) -> bool {
        let window = self.agreed.server_window;
        let compressor = self.compressor.get_or_insert_with(|| Box::new(Compressor::new(window)));
        let start = output.len();
        let is_shorter = compressor.compress(message, output);
        if !is_shorter {
            output.truncate(start);
        }
        // The client does not see what is sent as it is: nothing may refer to it.
        if self.agreed.server_no_context_takeover || !is_shorter {
            compressor.forget();
        }
        is_shorter
    }

    /// Decompresses a part of a message.
    pub(super) fn decompress(&mut self, part: &[u8], sink: &mut impl Sink) -> Result<(), ProtocolError> {
        if part.is_empty() {
            return Ok(());
        }
        let history = &mut self.history;
        self.decompression.get_or_insert_with(|| Box::new(Decompression::new(history))).feed(part, history, sink)
    }

    /// The message has ended. None of its parts had a byte: then it is empty, although no compressor should write so.
    pub(super) fn finish(&mut self) -> Result<(), ProtocolError> {
        let Some(decompression) = &mut self.decompression else { return Ok(()) };
        decompression.finish()?;
        if self.agreed.client_no_context_takeover {
            self.history.bytes.clear();
            decompression.restart(&self.history);
        }
        Ok(())
    }

    /// Between messages: keeps nothing but what the client may refer to. A compressor that is made anew refers to nothing
    /// that it did not see, which nobody can tell from one that did not want to.
    pub(super) fn release_memory(&mut self) {
        self.compressor = None;
        self.decompression = None;
        self.history.shrink();
    }
}

/// Where decompressed bytes go; it says when they are too many.
pub(super) trait Sink {
    fn take(&mut self, bytes: &[u8]) -> Result<(), ProtocolError>;
}

struct Decompression {
    stream: Decompressor,
    /// A last block (BFINAL) has ended, and nothing has come behind it.
    ended: bool,
    /// Whether a byte of the current message has come.
    begun: bool,
    chunk: [u8; CHUNK],
}

/// What came of some bytes: how many were taken, and how many written; also where the next ones are no DEFLATE.
struct Step {
    taken: usize,
    written: usize,
    failed: bool,
}

impl Decompression {
    /// The window of zlib-rs is always the largest: what the client agreed to only bounds what is kept.
    fn new(history: &History) -> Self {
        let mut decompression =
            Self { stream: Decompressor::new(false, MAX_WINDOW), ended: false, begun: false, chunk: [0; CHUNK] };
        decompression.restart(history);
        decompression
    }

    /// A new stream that may refer to the history.
    fn restart(&mut self, history: &History) {
        self.stream.reset(false);
        // Without a header a dictionary is taken as it is.
        let taken = self.stream.set_dictionary(history.window());
        debug_assert!(taken.is_ok());
        self.ended = false;
    }

    fn feed(&mut self, mut part: &[u8], history: &mut History, sink: &mut impl Sink) -> Result<(), ProtocolError> {
        self.begun = true;
        loop {
            // Another block may follow the last one (section 7.2.3.4), in the same window.
            if self.ended && !part.is_empty() {
                self.restart(history);
            }
            let step = self.step(part, InflateFlush::SyncFlush);
            let bytes = &self.chunk[..step.written];
            history.remember(bytes);
            sink.take(bytes)?;
            if step.failed || step.taken + step.written == 0 && !part.is_empty() {
                return Err(ProtocolError::Deflate);
            }
            part = &part[step.taken..];
            if part.is_empty() && (step.written < CHUNK || self.ended) {
                return Ok(());
            }
        }
    }

    fn step(&mut self, part: &[u8], flush: InflateFlush) -> Step {
        let (taken, written) = (self.stream.total_in(), self.stream.total_out());
        let status = self.stream.decompress(part, &mut self.chunk, flush);
        self.ended = status == Ok(Status::StreamEnd);
        Step {
            taken: (self.stream.total_in() - taken) as usize,
            written: (self.stream.total_out() - written) as usize,
            failed: status.is_err(),
        }
    }

    /// Adds what the client left out, and looks whether that ended a block: then nothing behind it is read.
    fn finish(&mut self) -> Result<(), ProtocolError> {
        const BEHIND: usize = TAIL.len();
        if !std::mem::take(&mut self.begun) {
            return Ok(());
        }
        let mut tail = [1; BEHIND + 1];
        tail[..BEHIND].copy_from_slice(&TAIL);
        if self.ended {
            return Ok(());
        }
        let step = self.step(&tail, InflateFlush::Block);
        let is_whole = step.taken == BEHIND && step.written == 0 && !step.failed && !self.ended;
        if is_whole { Ok(()) } else { Err(ProtocolError::Deflate) }
    }
}

/// The end of what the client has sent, which it may refer to: the window, and sometimes twice as much.
struct History {
    window: usize,
    bytes: Vec<u8>,
}

impl History {
    fn window(&self) -> &[u8] {
        &self.bytes[self.bytes.len().saturating_sub(self.window)..]
    }

    fn remember(&mut self, output: &[u8]) {
        let new = &output[output.len().saturating_sub(self.window)..];
        if self.bytes.len() + new.len() > 2 * self.window {
            let kept = self.window - new.len();
            self.bytes.drain(..self.bytes.len() - kept);
        }
        self.bytes.extend_from_slice(new);
    }

    fn shrink(&mut self) {
        let excess = self.bytes.len() - self.window().len();
        self.bytes.drain(..excess);
        self.bytes.shrink_to_fit();
    }
}
