//! A connected stream socket, whatever its family: non-blocking reads, vectored writes, files without a copy.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use socket2::SockRef;

pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

macro_rules! either {
    ($socket:expr, $stream:ident => $call:expr) => {
        match $socket {
            Socket::Tcp($stream) => $call,
            Socket::Unix($stream) => $call,
        }
    };
}

impl Socket {
    #[inline]
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        retry(|| either!(self, stream => stream.read(buffer)))
    }

    #[inline]
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        retry(|| either!(self, stream => stream.write(bytes)))
    }

    pub(crate) fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match slices {
            [one] => self.write(one),
            many => retry(|| either!(self, stream => stream.write_vectored(many))),
        }
    }

    /// Writes a part of a file; 0 where the file has ended before.
    #[cfg(target_os = "linux")]
    pub(crate) fn write_file(&mut self, file: &File, offset: u64, count: u64) -> io::Result<usize> {
        retry(|| {
            let mut offset = offset;
            Ok(either!(&*self, stream => rustix::fs::sendfile(stream, file, Some(&mut offset), count as usize))?)
        })
    }

    /// This system has no way from a file to a socket that is the same as elsewhere.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn write_file(&mut self, _: &File, _: u64, _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::InvalidInput.into())
    }

    /// Tells the peer that nothing more will come.
    pub(crate) fn end(&self) {
        // A peer that is gone already has nothing to be told.
        let _ = either!(self, stream => stream.shutdown(Shutdown::Write));
    }

    /// Makes closing the socket visible to the peer as a broken connection, not as an end (ERR-05).
    pub(crate) fn reset_on_close(&self) {
        if let Self::Tcp(stream) = self {
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}

fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

impl Source for Socket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        either!(self, stream => stream.register(registry, token, interests))
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        either!(self, stream => stream.reregister(registry, token, interests))
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        either!(self, stream => stream.deregister(registry))
    }
}
