//! One write to a socket of what waits: what is in several pieces of memory together, a file by itself. It keeps nothing,
//! and does not know whose bytes they are.

use std::fs::File;
use std::io::{self, IoSlice};

use ferricorn_proto::{Piece, Transmit};

use crate::files::{Ahead, FileFault, Next};
use crate::socket::Socket;

/// How many pieces of memory one write gathers.
const SLICES: usize = 16;

/// How much of a file one call hands to the kernel: other connections wait for it.
const FILE_PART: u64 = 1024 * 1024;

/// What came of an attempt to write what is at the front.
pub(crate) enum Attempt {
    /// So much was offered.
    Memory(usize, io::Result<usize>),
    File(io::Result<usize>),
    Fault(Box<FileFault>),
    /// It is being read.
    Later,
}

/// Writes what is in several pieces, or in a file.
pub(crate) fn write_pieces<B: AsRef<[u8]>>(socket: &mut Socket, ahead: &mut Ahead, transmit: &Transmit<B>) -> Attempt {
    let mut slices = [IoSlice::new(&[]); SLICES];
    match transmit.next(&mut slices) {
        Piece::Nothing => Attempt::Memory(0, Ok(0)),
        Piece::Bytes(count) => {
            let slices = &slices[..count];
            Attempt::Memory(slices.iter().map(|slice| slice.len()).sum(), socket.write_vectored(slices))
        }
        Piece::File { file, offset, remaining } => write_file(socket, ahead, file, offset, remaining),
    }
}

fn write_file(socket: &mut Socket, ahead: &mut Ahead, file: &File, offset: u64, remaining: u64) -> Attempt {
    let fault = |error| Attempt::Fault(Box::new(FileFault { at: offset, end: offset + remaining, error }));
    match ahead.next(file, offset, remaining, FILE_PART) {
        Next::File(count) => match socket.write_file(file, offset, count.min(FILE_PART)) {
            Ok(0) => fault(None),
            // This file system has no way from a file to a socket.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput && !ahead.copies() => {
                ahead.copy();
                write_file(socket, ahead, file, offset, remaining)
            }
            Err(error) if !is_of_socket(&error) => fault(Some(error)),
            result => Attempt::File(result),
        },
        Next::Bytes(bytes) => Attempt::File(socket.write(bytes)),
        Next::Later => Attempt::Later,
        Next::Ended => fault(None),
        Next::Failed(error) => fault(Some(error)),
    }
}

/// Whether it is the connection that failed, where a file was written to it.
fn is_of_socket(error: &io::Error) -> bool {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, HostUnreachable, NetworkDown, NetworkUnreachable, NotConnected,
        TimedOut, WouldBlock,
    };
    matches!(
        error.kind(),
        BrokenPipe
            | ConnectionAborted
            | ConnectionReset
            | HostUnreachable
            | NetworkDown
            | NetworkUnreachable
            | NotConnected
            | TimedOut
            | WouldBlock
    )
}
