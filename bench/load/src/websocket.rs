//! WebSocket: each connection sends a message and waits for its echo; or one sends, and all wait for what it sent.
//!
//! A run ends when everything that was sent has come back, so that what the server did and what is counted are the same.
//! The first wrong byte ends it with an error.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::Timespec;

use crate::frame::{FrameReader, Opcode, masked};
use crate::gate::Gate;
use crate::handshake::{Deflate, shake};
use crate::message::{MessageReader, Progress};
use crate::options::{Options, WebSocket};
use crate::outcome::Outcome;
use crate::poller::Poller;
use crate::script::Script;

const READ_SIZE: usize = 256 * 1024;
/// What is inflated at a time; as much as a read of plain bytes would not spoil more of the processor's cache.
const SCRATCH_SIZE: usize = 64 * 1024;
/// A server that sends nothing for so long does not go on.
const STALLED: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);
const PONG_KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// Connects, warms up, measures; prints the result.
pub fn run(options: &Options, websocket: &WebSocket) -> io::Result<()> {
    let gate = Gate { open: websocket.gate };
    let mut client = Client::connect(options, websocket)?;
    if !websocket.warmup.is_zero() {
        client.load(websocket.warmup)?;
    }
    gate.ready()?;
    let mut outcome = client.load(options.duration)?;
    gate.done(&outcome.json())
}

struct Client {
    poller: Poller,
    connections: Vec<Connection>,
    broadcast: bool,
    buffer: Vec<u8>,
    desk: Desk,
}

/// What every connection needs to read and to write.
struct Desk {
    script: Script,
    scratch: Vec<u8>,
    /// Bytes received.
    bytes: u64,
}

struct Connection {
    stream: TcpStream,
    reader: MessageReader,
    /// Of the message in the script that is sent and awaited.
    position: usize,
    /// Bytes of its frame that the kernel has not yet taken.
    unsent: usize,
    /// Frames that answer pings, to be sent between messages.
    pongs: Vec<u8>,
    started: Instant,
}

/// A run that goes on.
struct Run {
    deadline: Instant,
    /// Messages that are still to come.
    awaited: usize,
    outcome: Outcome,
}

impl Client {
    fn connect(options: &Options, websocket: &WebSocket) -> io::Result<Self> {
        let opened = (0..options.connections).map(|_| open(options, websocket)).collect::<io::Result<Vec<_>>>()?;
        let agreed = opened.first().and_then(|(_, agreed, _)| *agreed);
        let script = Script::new(websocket.kind, websocket.message_bytes, agreed)?;
        let mut desk = Desk { script, scratch: vec![0; SCRATCH_SIZE], bytes: 0 };
        let poller = Poller::new()?;
        let mut connections = Vec::with_capacity(opened.len());
        for (slot, (stream, _, rest)) in opened.into_iter().enumerate() {
            poller.add(&stream, slot)?;
            let mut connection = Connection::new(stream, agreed.is_some());
            connection.take(&rest, &mut desk)?;
            connections.push(connection);
        }
        Ok(Self { poller, connections, broadcast: websocket.broadcast, buffer: vec![0; READ_SIZE], desk })
    }

    /// Sends for so long, and waits for what is then still to come.
    fn load(&mut self, duration: Duration) -> io::Result<Outcome> {
        let started = Instant::now();
        let mut run = Run { deadline: started + duration, awaited: self.connections.len(), outcome: Outcome::new() };
        let bytes = self.desk.bytes;
        let senders = if self.broadcast { 1 } else { self.connections.len() };
        for connection in &mut self.connections[..senders] {
            connection.begin(&self.desk, Instant::now())?;
        }
        let mut ready = Vec::new();
        while run.awaited > 0 {
            ready.extend(self.poller.wait(&STALLED)?);
            if ready.is_empty() {
                return Err(io::Error::new(ErrorKind::TimedOut, format!("{} messages did not come", run.awaited)));
            }
            for slot in ready.drain(..) {
                if self.connections[slot].advance(&mut self.buffer, &mut self.desk)? {
                    self.arrived(slot, &mut run)?;
                }
            }
        }
        run.outcome.elapsed = started.elapsed();
        run.outcome.bytes = self.desk.bytes - bytes;
        Ok(run.outcome)
    }

    fn arrived(&mut self, slot: usize, run: &mut Run) -> io::Result<()> {
        run.outcome.responses += 1;
        run.awaited = run.awaited.checked_sub(1).ok_or_else(|| io::Error::other("a message too many"))?;
        let (sender, answers) = if self.broadcast { (0, self.connections.len()) } else { (slot, 1) };
        if self.broadcast && run.awaited > 0 {
            return Ok(());
        }
        let now = Instant::now();
        let sender = &mut self.connections[sender];
        run.outcome.latencies.push(now - sender.started);
        if now < run.deadline {
            run.awaited += answers;
            sender.begin(&self.desk, now)?;
        }
        Ok(())
    }
}

type Opened = (TcpStream, Option<Deflate>, Vec<u8>);

fn open(options: &Options, websocket: &WebSocket) -> io::Result<Opened> {
    let mut stream = TcpStream::connect((options.host.as_str(), options.port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(HANDSHAKE_TIMEOUT))?;
    let (agreed, rest) = shake(&mut stream, &format!("{}:{}", options.host, options.port), websocket.deflate)?;
    Ok((stream, agreed, rest))
}

impl Connection {
    fn new(stream: TcpStream, deflate: bool) -> Self {
        let reader = MessageReader::new(FrameReader::default(), deflate);
        Self { stream, reader, position: 0, unsent: 0, pongs: Vec::new(), started: Instant::now() }
    }

    /// Sends the next message.
    fn begin(&mut self, desk: &Desk, now: Instant) -> io::Result<()> {
        self.unsent = desk.script.message(self.position).frame.len();
        self.started = now;
        self.send(desk)
    }

    /// Gives the kernel what it takes.
    fn send(&mut self, desk: &Desk) -> io::Result<()> {
        if self.unsent > 0 {
            let frame = &desk.script.message(self.position).frame;
            self.unsent = write(&mut self.stream, &frame[frame.len() - self.unsent..])?;
        }
        if self.unsent == 0 && !self.pongs.is_empty() {
            let left = write(&mut self.stream, &self.pongs)?;
            self.pongs.drain(..self.pongs.len() - left);
        }
        Ok(())
    }

    /// Goes on after the poller spoke. Says whether the awaited message has come.
    fn advance(&mut self, buffer: &mut [u8], desk: &mut Desk) -> io::Result<bool> {
        self.send(desk)?;
        let mut arrived = false;
        loop {
            let read = match self.stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(arrived),
                Err(error) => return Err(error),
            };
            desk.bytes += read as u64;
            let came = self.take(&buffer[..read], desk)?;
            if came && arrived {
                return Err(io::Error::other("a message too many"));
            }
            arrived |= came;
            // epoll(7): a read that does not fill the buffer has drained the socket, so no EAGAIN has to be fetched.
            if read < buffer.len() {
                return Ok(arrived);
            }
        }
    }

    fn take(&mut self, mut bytes: &[u8], desk: &mut Desk) -> io::Result<bool> {
        let mut arrived = false;
        loop {
            let expected = &desk.script.message(self.position).payload;
            match self.reader.next(&mut bytes, desk.script.kind, expected, &mut desk.scratch)? {
                Progress::More => return Ok(arrived),
                Progress::Ping(payload) => {
                    self.pongs.extend(masked(Opcode::Pong, false, &payload, PONG_KEY));
                    self.send(desk)?;
                }
                Progress::Message if arrived => return Err(io::Error::other("a message too many")),
                Progress::Message => {
                    arrived = true;
                    self.position += 1;
                }
            }
        }
    }
}

/// How many bytes the kernel did not take.
fn write(stream: &mut TcpStream, mut bytes: &[u8]) -> io::Result<usize> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(bytes.len())
}
