//! A closed-loop HTTP/1.1 load client: each connection sends a batch of requests and waits for all its responses.
//!
//! Why not wrk alone: wrk registers and removes the write interest of a connection for every request and reads 8 KiB at a
//! time, which costs about as much per request as the fastest servers do, so that the client and not the server is what
//! gets measured. This client does one recv and one send, and knows no dynamic requests.
//!
//! Every response has to have status 200 and the expected number of body bytes; anything else, a closed connection
//! included, counts as an error. The result is one line of JSON on stdout.

mod options;
mod response;

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use crate::options::Options;
use crate::response::{Progress, ResponseReader};

const READ_SIZE: usize = 256 * 1024;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse(std::env::args().skip(1))?;
    println!("{}", Client::connect(&options)?.run(&options)?);
    Ok(())
}

/// What a run came to. Latencies are per batch, from the first byte sent to the last byte received.
#[derive(Default)]
struct Outcome {
    responses: u64,
    bytes: u64,
    errors: u64,
    latencies: Vec<Duration>,
    elapsed: Duration,
}

impl Outcome {
    /// The latency that `share` (0 to 1) of the batches did not exceed, in microseconds.
    fn percentile(&self, share: f64) -> f64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let index = (self.latencies.len().saturating_sub(1) as f64 * share).round() as usize;
        self.latencies.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
    }

    fn json(&mut self) -> String {
        self.latencies.sort_unstable();
        format!(
            r#"{{"requests": {}, "seconds": {:.6}, "bytes": {}, "errors": {}, "p50": {:.1}, "p99": {:.1}}}"#,
            self.responses,
            self.elapsed.as_secs_f64(),
            self.bytes,
            self.errors,
            self.percentile(0.50),
            self.percentile(0.99),
        )
    }
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
    epoll: OwnedFd,
    connections: Vec<Option<Connection>>,
    batch: Vec<u8>,
    depth: usize,
    buffer: Vec<u8>,
    outcome: Outcome,
}

impl Client {
    fn connect(options: &Options) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let connections = (0..options.connections)
            .map(|slot| connect(&epoll, options, slot as u64).map(Some))
            .collect::<io::Result<Vec<_>>>()?;
        let batch = options.request.repeat(options.depth);
        let outcome = Outcome { latencies: Vec::with_capacity(1 << 20), ..Outcome::default() };
        Ok(Self { epoll, connections, batch, depth: options.depth, buffer: vec![0; READ_SIZE], outcome })
    }

    fn run(mut self, options: &Options) -> io::Result<String> {
        let started = Instant::now();
        let deadline = started + options.duration;
        for slot in 0..self.connections.len() {
            self.with_connection(slot, Connection::begin);
        }
        let mut events = Vec::with_capacity(1024);
        while Instant::now() < deadline && self.connections.iter().any(Option::is_some) {
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&TICK)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            for event in events.drain(..) {
                let slot = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
                self.with_connection(slot, Connection::advance);
            }
        }
        self.outcome.elapsed = started.elapsed();
        Ok(self.outcome.json())
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

/// Bounds the wait, so that a server which stops answering does not hold the client past its deadline.
const TICK: rustix::event::Timespec = rustix::event::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

fn connect(epoll: &OwnedFd, options: &Options, slot: u64) -> io::Result<Connection> {
    let stream = TcpStream::connect((options.host.as_str(), options.port))?;
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    // Edge-triggered with both interests: no epoll_ctl is needed ever after.
    let interest = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
    epoll::add(epoll, &stream, epoll::EventData::new_u64(slot), interest)?;
    let reader = ResponseReader::new(options.body_bytes);
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
