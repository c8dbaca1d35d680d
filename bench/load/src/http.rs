//! HTTP/1.1: each connection sends a batch of requests and waits for all its responses. Without keep-alive it then waits
//! until the server closes, and connects anew: the latency is that from connecting to the last response.
//!
//! Every response has to have status 200 and the expected number of body bytes; anything else, a closed connection
//! included, counts as an error and ends that connection alone.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::time::Instant;

use rustix::event::Timespec;

use crate::options::{Http, Options};
use crate::outcome::Outcome;
use crate::poller::Poller;
use crate::response::{Progress, ResponseReader};
use crate::transport::{Tls, Transport};

const READ_SIZE: usize = 256 * 1024;

/// Bounds the wait, so that a server which stops answering does not hold the client past its deadline.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

pub fn run(options: &Options, http: &Http) -> io::Result<Outcome> {
    let tls = http.certificate.as_deref().map(|file| Tls::new(file, &options.host)).transpose();
    Client::connect(options, http, tls.map_err(io::Error::other)?)?.run(options)
}

struct Connection {
    slot: usize,
    transport: Transport,
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
    host: String,
    port: u16,
    tls: Option<Tls>,
    keep_alive: bool,
    batch: Vec<u8>,
    depth: usize,
    body_bytes: u64,
    buffer: Vec<u8>,
    outcome: Outcome,
}

impl Client {
    fn connect(options: &Options, http: &Http, tls: Option<Tls>) -> io::Result<Self> {
        let mut client = Self {
            poller: Poller::new()?,
            connections: Vec::new(),
            host: options.host.clone(),
            port: options.port,
            tls,
            keep_alive: http.keep_alive,
            batch: http.request.repeat(http.depth),
            depth: http.depth,
            body_bytes: http.body_bytes,
            buffer: vec![0; READ_SIZE],
            outcome: Outcome::new(),
        };
        for slot in 0..options.connections {
            let connection = client.open(slot)?;
            client.connections.push(Some(connection));
        }
        Ok(client)
    }

    /// A new connection for the slot, on which nothing has been sent yet.
    fn open(&self, slot: usize) -> io::Result<Connection> {
        let started = Instant::now();
        let socket = TcpStream::connect((self.host.as_str(), self.port))?;
        socket.set_nodelay(true)?;
        self.poller.add(&socket, slot)?;
        let transport = Transport::new(socket, self.tls.as_ref())?;
        Ok(Connection { slot, transport, unsent: 0, awaited: 0, started, reader: ResponseReader::new(self.body_bytes) })
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

impl Connection {
    fn begin(&mut self, client: &mut Client) -> io::Result<()> {
        self.unsent = client.batch.len();
        self.awaited = client.depth;
        if client.keep_alive {
            self.started = Instant::now();
        }
        self.send(&client.batch)
    }

    /// Connects anew once the server has closed, which it may do only after its last response.
    fn ended(&mut self, client: &mut Client) -> io::Result<()> {
        if client.keep_alive || self.awaited > 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.transport.close();
        *self = client.open(self.slot)?;
        self.begin(client)
    }

    fn send(&mut self, batch: &[u8]) -> io::Result<()> {
        while self.unsent > 0 {
            match self.transport.write(&batch[batch.len() - self.unsent..]) {
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
            let read = match self.transport.read(&mut client.buffer) {
                Ok(0) => return self.ended(client),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            client.outcome.bytes += read as u64;
            self.take(read, client)?;
            if read < READ_SIZE && self.transport.short_read_drains() {
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
                if client.keep_alive {
                    self.begin(client)?;
                }
            }
        }
        Ok(())
    }
}
