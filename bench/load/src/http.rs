//! HTTP/1.1: each connection sends a batch of requests and waits for all its responses.
//!
//! Every response has to have status 200 and the expected number of body bytes; anything else, a closed connection
//! included, counts as an error and ends that connection alone.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use rustix::event::Timespec;

use crate::options::{Http, Options};
use crate::outcome::Outcome;
use crate::poller::Poller;
use crate::response::{Progress, ResponseReader};

const READ_SIZE: usize = 256 * 1024;

/// Bounds the wait, so that a server which stops answering does not hold the client past its deadline.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

pub fn run(options: &Options, http: &Http) -> io::Result<Outcome> {
    Client::connect(options, http)?.run(options)
}

struct Connection {
    stream: TcpStream,
    /// Request bytes of the running batch that the kernel has not yet taken.
    unsent: usize,
    /// Responses of the running batch that are not yet complete.
    awaited: usize,
    started: Instant,
    reader: ResponseReader,
}

struct Client {
    poller: Poller,
    connections: Vec<Option<Connection>>,
    batch: Vec<u8>,
    depth: usize,
    buffer: Vec<u8>,
    outcome: Outcome,
}

impl Client {
    fn connect(options: &Options, http: &Http) -> io::Result<Self> {
        let poller = Poller::new()?;
        let connections = (0..options.connections)
            .map(|slot| connect(&poller, options, http, slot).map(Some))
            .collect::<io::Result<Vec<_>>>()?;
        let batch = http.request.repeat(http.depth);
        let buffer = vec![0; READ_SIZE];
        Ok(Self { poller, connections, batch, depth: http.depth, buffer, outcome: Outcome::new() })
    }

    fn run(mut self, options: &Options) -> io::Result<Outcome> {
        let started = Instant::now();
        let deadline = started + options.duration;
        for slot in 0..self.connections.len() {
            self.with_connection(slot, Connection::begin);
        }
        let mut ready = Vec::new();
        while Instant::now() < deadline && self.connections.iter().any(Option::is_some) {
            ready.extend(self.poller.wait(&TICK)?);
            for slot in ready.drain(..) {
                self.with_connection(slot, Connection::advance);
            }
        }
        self.outcome.elapsed = started.elapsed();
        Ok(self.outcome)
    }

    /// Runs `step` on a connection that is still open, and drops the connection when that fails.
    fn with_connection(&mut self, slot: usize, step: impl FnOnce(&mut Connection, &mut Self) -> io::Result<()>) {
        let Some(mut connection) = self.connections.get_mut(slot).and_then(Option::take) else { return };
        match step(&mut connection, self) {
            Ok(()) => self.connections[slot] = Some(connection),
            Err(error) => self.report(&error),
        }
    }

    fn report(&mut self, error: &io::Error) {
        if self.outcome.errors == 0 {
            eprintln!("first error: {error}");
        }
        self.outcome.errors += 1;
    }
}

fn connect(poller: &Poller, options: &Options, http: &Http, slot: usize) -> io::Result<Connection> {
    let stream = TcpStream::connect((options.host.as_str(), options.port))?;
    stream.set_nodelay(true)?;
    poller.add(&stream, slot)?;
    let reader = ResponseReader::new(http.body_bytes);
    Ok(Connection { stream, unsent: 0, awaited: 0, started: Instant::now(), reader })
}

impl Connection {
    fn begin(&mut self, client: &mut Client) -> io::Result<()> {
        self.unsent = client.batch.len();
        self.awaited = client.depth;
        self.started = Instant::now();
        self.send(&client.batch)
    }

    fn send(&mut self, batch: &[u8]) -> io::Result<()> {
        while self.unsent > 0 {
            match self.stream.write(&batch[batch.len() - self.unsent..]) {
                Ok(written) => self.unsent -= written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Continues the batch after the poller spoke; begins the next one when it is complete.
    fn advance(&mut self, client: &mut Client) -> io::Result<()> {
        self.send(&client.batch)?;
        loop {
            let read = match self.stream.read(&mut client.buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            client.outcome.bytes += read as u64;
            self.take(read, client)?;
            // epoll(7): a read that does not fill the buffer has drained the socket, so no EAGAIN has to be fetched.
            if read < READ_SIZE {
                return Ok(());
            }
        }
    }

    fn take(&mut self, read: usize, client: &mut Client) -> io::Result<()> {
        let mut at = 0;
        while at < read {
            match self.reader.feed(&client.buffer[at..read])? {
                Progress::More => return Ok(()),
                Progress::Complete { consumed } => at += consumed,
            }
            self.awaited = self.awaited.checked_sub(1).ok_or(ErrorKind::InvalidData)?;
            client.outcome.responses += 1;
            if self.awaited == 0 {
                client.outcome.latencies.push(self.started.elapsed());
                self.begin(client)?;
            }
        }
        Ok(())
    }
}
