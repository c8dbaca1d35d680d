//! How the file at the front of a connection's output goes on: it can be sent now, or has been read ahead, or has to be
//! waited for. It orders nothing itself: what is wanted lies ready for the worker.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::reader::{Outcome, PART};
use super::{Disk, Order};

/// What has been read ahead for one sender: of the file that is at its front, and never further than that part of the
/// file goes.
pub(crate) struct Ahead {
    disk: Arc<dyn Disk>,
    state: State,
    /// The file system cannot write from a file to a socket.
    copies: bool,
}

enum State {
    Nothing,
    /// The worker is to give this to the reader.
    Wanted(Box<Order>),
    /// The reader has it.
    Reading,
    /// So many bytes were in memory a moment ago.
    Cached(u64),
    /// The first `taken` have gone.
    Bytes {
        bytes: Vec<u8>,
        taken: usize,
    },
    Failed(io::Error),
}

/// How the file goes on.
pub(crate) enum Next<'a> {
    /// So many bytes can be sent from the file itself, and nobody waits for the disk.
    File(u64),
    /// These are its next bytes: one at the least.
    Bytes(&'a [u8]),
    /// They are being read.
    Later,
    /// It has become shorter than it was.
    Ended,
    /// It cannot be read.
    Failed(io::Error),
}

impl Ahead {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, state: State::Nothing, copies: false }
    }

    /// How to write the next bytes to a socket as they are: at most `most` of the `remaining` ones.
    pub(crate) fn next(&mut self, file: &File, offset: u64, remaining: u64, most: u64) -> Next<'_> {
        if let State::Nothing = self.state {
            if self.copies {
                self.want(file, offset, remaining, true);
            } else {
                match self.disk.cached(file, offset, remaining.min(most)) {
                    Ok(0) => self.want(file, offset, remaining, false),
                    Ok(count) => return Next::File(count),
                    Err(error) => return Next::Failed(error),
                }
            }
        }
        self.present()
    }

    /// The next bytes, for who has to see them: read into `buffer` where they are in memory.
    pub(crate) fn bytes<'a>(&'a mut self, file: &File, offset: u64, remaining: u64, buffer: &'a mut [u8]) -> Next<'a> {
        if let State::Nothing = self.state {
            let most = remaining.min(buffer.len() as u64) as usize;
            match self.disk.look(file, offset, &mut buffer[..most]) {
                Ok(Some(0)) => return Next::Ended,
                Ok(Some(read)) => return Next::Bytes(&buffer[..read]),
                Ok(None) => self.want(file, offset, remaining, true),
                Err(error) => return Next::Failed(error),
            }
        }
        self.present()
    }

    /// Says that so many bytes of the file have gone.
    pub(crate) fn consume(&mut self, count: usize) {
        let is_spent = match &mut self.state {
            State::Cached(left) => {
                *left = left.saturating_sub(count as u64);
                *left == 0
            }
            State::Bytes { bytes, taken } => {
                *taken += count;
                *taken >= bytes.len()
            }
            _ => false,
        };
        if is_spent {
            self.state = State::Nothing;
        }
    }

    /// From here on its bytes are read and written, as the system does not send files of this kind.
    pub(crate) fn copy(&mut self) {
        self.copies = true;
        self.state = State::Nothing;
    }

    /// Whether it is so already.
    pub(crate) fn copies(&self) -> bool {
        self.copies
    }

    /// Another for the same disk.
    pub(crate) fn fresh(&self) -> Self {
        Self::new(Arc::clone(&self.disk))
    }

    /// Whether nothing was read ahead, and nothing is wanted.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.state, State::Nothing)
    }

    /// Whether there is an order to be taken.
    pub(crate) fn is_wanted(&self) -> bool {
        matches!(self.state, State::Wanted(_))
    }

    /// Whether the reader has not done what it is to do.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Wanted(_) | State::Reading)
    }

    /// What the reader is to do, once.
    pub(crate) fn take_order(&mut self) -> Option<Order> {
        if !matches!(self.state, State::Wanted(_)) {
            return None;
        }
        match std::mem::replace(&mut self.state, State::Reading) {
            State::Wanted(order) => Some(*order),
            _ => None,
        }
    }

    /// Takes what the reader has done.
    pub(crate) fn finish(&mut self, outcome: Outcome) {
        if let State::Reading = self.state {
            self.state = match outcome {
                Outcome::Cached(count) => State::Cached(count as u64),
                Outcome::Bytes(bytes) => State::Bytes { bytes, taken: 0 },
                Outcome::Failed(error) => State::Failed(error),
            };
        }
    }

    fn want(&mut self, file: &File, offset: u64, remaining: u64, keep: bool) {
        let count = remaining.min(PART as u64) as usize;
        self.state = match file.try_clone() {
            Ok(file) => State::Wanted(Box::new(Order { file, offset, count, keep })),
            Err(error) => State::Failed(error),
        };
    }

    fn present(&mut self) -> Next<'_> {
        match &mut self.state {
            State::Nothing | State::Wanted(_) | State::Reading => Next::Later,
            State::Cached(0) => Next::Ended,
            State::Cached(count) => Next::File(*count),
            State::Bytes { bytes, taken } if *taken < bytes.len() => Next::Bytes(&bytes[*taken..]),
            State::Bytes { .. } => Next::Ended,
            State::Failed(error) => {
                let kind = error.kind();
                Next::Failed(std::mem::replace(error, kind.into()))
            }
        }
    }
}
