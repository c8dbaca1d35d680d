//! What a message costs in the protocol, in nanoseconds: `cargo bench -p ferricorn-proto --bench websocket`. Prints figures
//! and judges none.
//!
//! Each step is timed over a batch of sessions, so that the clock does not count, and the best of many rounds is shown, so
//! that the machine's other work does not. Receiving: from the client's bytes to the message; sending: from the message to
//! what is to be written, and that it is forgotten when it has been. `parts`: the frame comes in reads of 16 KiB.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a benchmark looks at the clock")]

use std::hint::black_box;
use std::io::IoSlice;
use std::rc::Rc;
use std::time::{Duration, Instant};

use asgi::{Headers, Message};
use ferricorn_proto::Transmit;
use ferricorn_proto::websocket::{Handshake, Limits, Session};
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush};

const BATCH: usize = 16;

/// Bytes of messages that a row is timed over.
const VOLUME: usize = 256 * 1024 * 1024;

struct Bench {
    sessions: Vec<(Session, Transmit<&'static [u8]>)>,
    now: Instant,
}

impl Bench {
    fn new(offer: &str) -> Self {
        let headers = Headers::from_iter([
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-extensions", offer),
        ]);
        let limits = Rc::new(Limits::default());
        let handshake = Handshake::read("GET", &headers.unwrap(), false, &limits).unwrap();
        let now = Instant::now();
        let session = || (handshake.session(Rc::clone(&limits), now), Transmit::new());
        Self { sessions: (0..BATCH).map(|_| session()).collect(), now }
    }

    /// The best time of a received and of a sent message.
    fn run(&mut self, row: &Row) -> [f64; 2] {
        let frame = row.frame();
        let mut inputs = vec![Vec::new(); BATCH];
        let mut best = [Duration::MAX; 2];
        for _ in 0..(VOLUME / (row.payload.len() + 2_000) / BATCH).clamp(20, 20_000) {
            inputs.iter_mut().for_each(|input| input.clone_from(&frame));
            let now = self.now;
            let received = self.timed(|at, session, transmit| {
                session.want_message(true);
                for part in inputs[at].chunks_mut(row.read) {
                    let step = session.handle_input(part, transmit, now);
                    black_box(&step.event.unwrap());
                }
            });
            let sent = self.timed(|_, session, transmit| {
                session.send(row.message(), transmit).unwrap();
                let mut slices = [IoSlice::new(&[]); 16];
                black_box(transmit.next(&mut slices));
                transmit.consume(transmit.len() as usize);
            });
            best = [best[0].min(received), best[1].min(sent)];
        }
        best.map(|time| time.as_nanos() as f64 / BATCH as f64)
    }

    fn timed(&mut self, mut step: impl FnMut(usize, &mut Session, &mut Transmit<&'static [u8]>)) -> Duration {
        let begin = Instant::now();
        for (at, (session, transmit)) in self.sessions.iter_mut().enumerate() {
            step(at, session, transmit);
        }
        begin.elapsed()
    }
}

struct Row {
    name: &'static str,
    text: bool,
    offer: &'static str,
    read: usize,
    payload: &'static str,
}

/// A `str` that is bytes as well, as the messages of applications are.
struct Text(&'static str);

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self.0
    }
}

impl From<Text> for &'static [u8] {
    fn from(text: Text) -> Self {
        text.0.as_bytes()
    }
}

impl Row {
    fn message(&self) -> Message<&'static [u8], Text> {
        if self.text { Message::Text(Text(self.payload)) } else { Message::Binary(self.payload.as_bytes()) }
    }

    fn frame(&self) -> Vec<u8> {
        let payload = self.payload.as_bytes();
        let payload = if self.offer.is_empty() { payload.to_vec() } else { compressed(payload) };
        let first = 0x80 | if self.offer.is_empty() { 0 } else { 0x40 } | if self.text { 1 } else { 2 };
        let mut frame = vec![first];
        match payload.len() {
            length @ 0..126 => frame.push(0x80 | length as u8),
            length @ 126..0x1_0000 => {
                frame.push(0xfe);
                frame.extend((length as u16).to_be_bytes());
            }
            length => {
                frame.push(0xff);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        frame
    }
}

/// As a client compresses its first message: that it repeats later changes nothing for who reads it.
fn compressed(message: &[u8]) -> Vec<u8> {
    let config = DeflateConfig { level: 6, window_bits: -12, ..DeflateConfig::default() };
    let mut stream = Deflate::new_with_config(config);
    let mut output = vec![0; message.len() * 2 + 100];
    stream.compress(message, &mut output, DeflateFlush::SyncFlush).unwrap();
    output.truncate(stream.total_out() as usize - 4);
    output
}

/// JSON of so many bytes with numbers that differ, all ASCII.
fn json(length: usize) -> &'static str {
    let mut state = 1_u32;
    let mut text = String::from("[");
    while text.len() < length {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let name = ["alice", "bob", "carol", "dave"][state as usize % 4];
        text +=
            &format!("{{\"id\": {state}, \"user\": \"{name}\", \"price\": {}.5, \"active\": true}}, ", state % 1000);
    }
    text.truncate(length);
    text.leak()
}

fn main() {
    const OFFER: &str = "permessage-deflate; client_max_window_bits";
    const WHOLE: usize = usize::MAX;
    const PART: usize = 16 * 1024;
    let sizes = [json(32), json(1024), json(64 * 1024)];
    let row = |name, text, offer, read, payload| Row { name, text, offer, read, payload };
    let rows = [
        row("32 B, text", true, "", WHOLE, sizes[0]),
        row("32 B, binary", false, "", WHOLE, sizes[0]),
        row("1 KiB, text", true, "", WHOLE, sizes[1]),
        row("1 KiB, binary", false, "", WHOLE, sizes[1]),
        row("64 KiB, text", true, "", WHOLE, sizes[2]),
        row("64 KiB, binary", false, "", WHOLE, sizes[2]),
        row("64 KiB, text, parts", true, "", PART, sizes[2]),
        row("64 KiB, binary, parts", false, "", PART, sizes[2]),
        row("1 KiB, text, deflate", true, OFFER, WHOLE, sizes[1]),
        row("64 KiB, text, deflate", true, OFFER, WHOLE, sizes[2]),
        row("64 KiB, binary, deflate", false, OFFER, WHOLE, sizes[2]),
    ];
    // An argument chooses rows, for a profiler.
    let chosen = std::env::args().nth(1).filter(|argument| !argument.starts_with('-')).unwrap_or_default();
    println!("{:<28} {:>10} {:>10}", "ns a message", "received", "sent");
    for row in rows.iter().filter(|row| row.name.contains(&chosen)) {
        let [received, sent] = Bench::new(row.offer).run(row);
        println!("{:<28} {received:>10.1} {sent:>10.1}", row.name);
    }
    println!("a session: {} bytes", size_of::<Session>());
}
