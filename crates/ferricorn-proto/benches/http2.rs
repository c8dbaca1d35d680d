//! What a request costs in HTTP/2, in nanoseconds: `cargo bench -p ferricorn-proto --bench http2`. Prints figures and judges
//! none. Under `valgrind --tool=callgrind`, give the number of rounds as the argument.
//!
//! One connection has 32 streams at a time, as a load generator keeps them: their requests in one read, their responses in
//! one write. The client's blocks are all indices, as they are with the third of the same request.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a benchmark looks at the clock")]

use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

use asgi::{Headers, Outcome, ResponseStart};
use ferricorn_proto::http2::Connection;
use ferricorn_proto::http2::hpack::Encoder;
use ferricorn_proto::{Content, Input, Limits, Now};

const STREAMS: u32 = 32;

struct Client {
    encoder: Encoder,
    next: u32,
}

impl Client {
    /// The frames of as many requests as there are streams; each with a path of its own where `varied`.
    fn requests(&mut self, varied: bool, body: &[u8]) -> (Vec<u8>, Vec<u32>) {
        let (mut bytes, mut streams) = (Vec::new(), Vec::new());
        for _ in 0..STREAMS {
            let path = if varied { format!("/items/{}", self.next) } else { "/".to_owned() };
            let fields = [
                (":method", if body.is_empty() { "GET" } else { "POST" }),
                (":scheme", "http"),
                (":authority", "127.0.0.1:8000"),
                (":path", &*path),
                ("user-agent", "h2load nghttp2/1.52.0"),
            ];
            let mut block = Vec::new();
            self.encoder.encode(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())), &mut block);
            let flags = if body.is_empty() { 5 } else { 4 };
            push(&mut bytes, 1, flags, self.next, &block);
            if !body.is_empty() {
                push(&mut bytes, 0, 1, self.next, body);
            }
            streams.push(self.next);
            self.next += 2;
        }
        // Now and then the client gives its window back.
        push(&mut bytes, 8, 0, 0, &1_000_u32.to_be_bytes());
        (bytes, streams)
    }
}

fn push(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    bytes.extend(&(payload.len() as u32).to_be_bytes()[1..]);
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
}

/// The best time for one request of each step: requests, responses, the ends of the calls and writing.
fn run(rounds: usize, varied: bool, body: &[u8]) -> [f64; 3] {
    let instant = Instant::now();
    let now = Now { instant, date: b"Sun, 06 Nov 1994 08:49:37 GMT" };
    let headers = Headers::from_iter([("server", "ferricorn")]).unwrap();
    let limits = Rc::new(Limits { headers, ..Limits::default() });
    let mut connection = Connection::<&'static [u8]>::new(limits, instant);
    let mut preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    push(&mut preface, 4, 0, 0, &[]);
    push(&mut preface, 4, 1, 0, &[]);
    connection.handle_input(&mut preface, &now);
    let start = ResponseStart {
        status: 200,
        headers: Headers::from_iter([("content-type", "text/plain"), ("content-length", "13")]).unwrap(),
        trailers: false,
    };
    let mut client = Client { encoder: Encoder::new(), next: 1 };
    let mut best = [Duration::MAX; 3];
    for _ in 0..rounds {
        let (mut bytes, streams) = client.requests(varied, body);
        let begin = Instant::now();
        take_requests(&mut connection, &mut bytes, &now);
        let requested = Instant::now();
        for &stream in &streams {
            if !body.is_empty() {
                black_box(connection.take_body(stream, &now).unwrap());
            }
            connection.start(stream, &start).unwrap();
            connection.body(stream, Content::Bytes(b"Hello, world!"), false, &now).unwrap();
        }
        let responded = Instant::now();
        for &stream in &streams {
            black_box(connection.finish(stream, Outcome::Returned, &now));
            connection.release(stream);
        }
        while connection.take_changed().is_some() {}
        let transmit = connection.transmit();
        transmit.consume(transmit.len() as usize);
        connection.handle_written(&now);
        black_box(connection.next_timeout());
        let ended = Instant::now();
        let steps = [requested - begin, responded - requested, ended - responded];
        best.iter_mut().zip(steps).for_each(|(best, step)| *best = step.min(*best));
    }
    best.map(|time| time.as_nanos() as f64 / f64::from(STREAMS))
}

#[inline(never)]
fn take_requests(connection: &mut Connection<&'static [u8]>, bytes: &mut [u8], now: &Now<'_>) {
    let (mut taken, mut requests) = (0, 0);
    while taken < bytes.len() {
        let step = connection.handle_input(&mut bytes[taken..], now);
        taken += step.consumed;
        requests += u32::from(matches!(step.event, Ok(Some(Input::Request(_)))));
    }
    assert_eq!(requests, STREAMS);
}

fn main() {
    let rounds = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(20_000);
    println!("{:24} {:>10} {:>10} {:>10}", "", "request", "response", "end");
    for (name, varied, body) in
        [("the same request", false, &b""[..]), ("another path each", true, b""), ("with a body", false, &[b'x'; 100])]
    {
        let [request, response, end] = run(rounds, varied, body);
        println!("{name:24} {request:>7.0} ns {response:>7.0} ns {end:>7.0} ns");
    }
}
