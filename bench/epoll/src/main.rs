//! The limit: a server that knows nothing of HTTP but where a request head ends.
//!
//! One thread, one edge-triggered epoll. For every blank line that arrives, one prepared response goes out, all those of
//! one read in one send, so pipelining works. There is no parsing, no application, no timeout and no limit: what it costs
//! per request is what the kernel asks for one recv, one send and a share of one `epoll_wait`.
//!
//! Usage: `epoll-responder PORT [BODY_BYTES]`. It listens on 127.0.0.1. The body is "Hello, World!", or `BODY_BYTES` times "x".

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use memchr::memmem::Finder;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;

const BLANK_LINE: &[u8] = b"\r\n\r\n";
/// Bytes of a blank line that can stand at the end of one read while the rest comes with the next.
const CARRY: usize = BLANK_LINE.len() - 1;
const READ_SIZE: usize = 64 * 1024;
/// Prepared copies of the response, so that the answer to a pipelined batch is one slice.
const COPIES: usize = 64;
const LISTENER: u64 = u64::MAX;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let port = number(arguments.next()).unwrap_or(8000);
    let body = number(arguments.next()).map_or_else(|| b"Hello, World!".to_vec(), |bytes| vec![b'x'; bytes]);
    let port = u16::try_from(port).map_err(|_| io::Error::new(ErrorKind::InvalidInput, "the port is above 65535"))?;
    Responder::bind(port, &body)?.run()
}

fn number(argument: Option<String>) -> Option<usize> {
    argument.and_then(|text| text.parse().ok())
}

/// A response with the header fields that a real server sends too, so that the kernel copies as many bytes.
fn response(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\
         date: Thu, 01 Jan 1970 00:00:00 GMT\r\nserver: epoll\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

struct Connection {
    stream: TcpStream,
    /// The last bytes of the previous read, which may begin a blank line.
    carry: [u8; CARRY],
    /// Response bytes that the peer has asked for and the kernel has not yet taken.
    owed: usize,
}

struct Responder {
    listener: TcpListener,
    epoll: OwnedFd,
    connections: Vec<Option<Connection>>,
    answers: Answers,
    buffer: Vec<u8>,
}

impl Responder {
    fn bind(port: u16, body: &[u8]) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        // std listens with a backlog of 128; a second listen(2) on the same socket only changes that.
        rustix::net::listen(&listener, 2048)?;
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        Ok(Self {
            listener,
            epoll,
            connections: Vec::new(),
            answers: Answers::new(&response(body)),
            buffer: vec![0; CARRY + READ_SIZE],
        })
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(1024);
        loop {
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            for event in events.drain(..) {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    slot => self.serve(usize::try_from(slot).unwrap_or(usize::MAX)),
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let slot = self.connections.iter().position(Option::is_none).unwrap_or(self.connections.len());
            let interest = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
            epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(slot as u64), interest)?;
            let connection = Some(Connection { stream, carry: [0; CARRY], owed: 0 });
            match self.connections.get_mut(slot) {
                Some(free) => *free = connection,
                None => self.connections.push(connection),
            }
        }
    }

    fn serve(&mut self, slot: usize) {
        let Some(Some(connection)) = self.connections.get_mut(slot) else { return };
        if connection.exchange(&self.answers, &mut self.buffer).is_err() {
            self.connections[slot] = None;
        }
    }
}

impl Connection {
    /// Reads what is there and answers it. An error means that the connection is over.
    fn exchange(&mut self, answers: &Answers, buffer: &mut [u8]) -> io::Result<()> {
        loop {
            let read = match self.stream.read(&mut buffer[CARRY..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            self.owed += self.count_requests(answers, &mut buffer[..CARRY + read]) * answers.length;
            self.flush(answers)?;
            // epoll(7): a read that does not fill the buffer has drained the socket, so no EAGAIN has to be fetched.
            if read < READ_SIZE {
                return Ok(());
            }
        }
    }

    /// Counts the blank lines that end within `buffer`, whose first `CARRY` bytes are free for the tail of the last read.
    fn count_requests(&mut self, answers: &Answers, buffer: &mut [u8]) -> usize {
        buffer[..CARRY].copy_from_slice(&self.carry);
        let mut count = 0;
        let mut rest = 0;
        for at in answers.blank_line.find_iter(buffer) {
            count += 1;
            rest = at + BLANK_LINE.len();
        }
        self.carry = [0; CARRY];
        let tail = &buffer[rest.max(buffer.len() - CARRY)..];
        self.carry[CARRY - tail.len()..].copy_from_slice(tail);
        count
    }

    fn flush(&mut self, answers: &Answers) -> io::Result<()> {
        while self.owed > 0 {
            match self.stream.write(answers.next(self.owed)) {
                Ok(written) => self.owed -= written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

struct Answers {
    blank_line: Finder<'static>,
    /// The response, `COPIES` times.
    bytes: Vec<u8>,
    length: usize,
}

impl Answers {
    fn new(response: &[u8]) -> Self {
        Self { blank_line: Finder::new(BLANK_LINE), bytes: response.repeat(COPIES), length: response.len() }
    }

    /// The bytes to send next where `owed` are left, which end on a whole response.
    fn next(&self, owed: usize) -> &[u8] {
        let start = (self.length - owed % self.length) % self.length;
        &self.bytes[start..self.bytes.len().min(start + owed)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_owed_ends_on_a_whole_response() {
        let answers = Answers::new(b"abc");
        assert_eq!(answers.next(4), b"cabc");
        assert_eq!(answers.next(3), b"abc");
        assert_eq!(answers.next(COPIES * 3 + 1).len(), COPIES * 3 - 2);
    }

    #[test]
    fn a_blank_line_is_found_across_any_split() -> io::Result<()> {
        let answers = Answers::new(b"abc");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let requests = b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n\r\n\r\n";
        for split in 0..requests.len() {
            let stream = TcpStream::connect(listener.local_addr()?)?;
            let mut connection = Connection { stream, carry: [0; CARRY], owed: 0 };
            let count: usize = [&requests[..split], &requests[split..]]
                .map(|part| connection.count_requests(&answers, &mut [&[0; CARRY], part].concat()))
                .iter()
                .sum();
            assert_eq!(count, 3, "split at {split}");
        }
        Ok(())
    }
}
