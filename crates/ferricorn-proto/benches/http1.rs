//! What a request costs in the protocol, in nanoseconds: `cargo bench -p ferricorn-proto`. Prints figures and judges none.
//!
//! Each step is timed over a batch of connections, so that the clock does not count, and the best of many rounds is
//! shown, so that the machine's other work does not. `httparse` stands beside the own parser with the least that would have
//! to be done around it: refusing bare LF, collecting the fields, noting what frames the message.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a benchmark looks at the clock")]

use std::hint::black_box;
use std::io::IoSlice;
use std::rc::Rc;
use std::time::{Duration, Instant};

use asgi::{Headers, ResponseStart};
use ferricorn_proto::http1::Connection;
use ferricorn_proto::{Content, Input, Limits, Now};

const BATCH: usize = 32;
const ROUNDS: usize = 20_000;

/// Eight fields, as curl or a browser's fetch sends through a proxy.
const TYPICAL: &str = "GET /api/v1/users/1234?page=2 HTTP/1.1\r\nHost: api.example.org\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: application/json\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\nCookie: session=0123456789abcdef\r\nX-Request-Id: @\r\n\r\n";

/// What wrk sends.
const SMALL: &str = "GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n";

struct Bench {
    now: Now<'static>,
    connections: Vec<Connection<&'static [u8]>>,
    start: ResponseStart,
}

impl Bench {
    fn new(fields: &[(&str, &str)]) -> Self {
        let instant = Instant::now();
        let headers = Headers::from_iter([("server", "ferricorn")]).unwrap();
        let limits = Rc::new(Limits { headers, ..Limits::default() });
        let connections = (0..BATCH).map(|_| Connection::new(Rc::clone(&limits), instant)).collect();
        let start = ResponseStart {
            status: 200,
            headers: Headers::from_iter(fields.iter().copied()).unwrap(),
            trailers: false,
        };
        Self { now: Now { instant, date: b"Sun, 06 Nov 1994 08:49:37 GMT" }, connections, start }
    }

    /// The best time of each step for one request: head, response, writing.
    fn run(&mut self, heads: &[Vec<u8>], body: &'static [u8]) -> [f64; 3] {
        let mut best = [Duration::MAX; 3];
        let mut inputs: Vec<Vec<u8>> = vec![Vec::new(); BATCH];
        for round in 0..ROUNDS {
            inputs.iter_mut().for_each(|input| input.clone_from(&heads[round % heads.len()]));
            let steps = [
                self.timed(|connection, _, now, at| {
                    let step = connection.handle_input(&mut inputs[at], now);
                    let Ok(Some(Input::Request(head))) = step.event else { panic!("{:?}", step.event) };
                    black_box(&head);
                }),
                self.timed(|connection, start, now, _| {
                    connection.start(start).unwrap();
                    connection.body(Content::Bytes(body), false, now).unwrap();
                }),
                self.timed(|connection, _, now, _| {
                    let transmit = connection.transmit();
                    let mut slices = [IoSlice::new(&[]); 16];
                    black_box(transmit.next(&mut slices));
                    transmit.consume(transmit.len() as usize);
                    connection.handle_written(now);
                }),
            ];
            best.iter_mut().zip(steps).for_each(|(best, step)| *best = step.min(*best));
        }
        best.map(|time| time.as_nanos() as f64 / BATCH as f64)
    }

    fn timed(
        &mut self,
        mut step: impl FnMut(&mut Connection<&'static [u8]>, &ResponseStart, &Now<'_>, usize),
    ) -> Duration {
        let begin = Instant::now();
        for (at, connection) in self.connections.iter_mut().enumerate() {
            step(connection, &self.start, &self.now, at);
        }
        begin.elapsed()
    }
}

fn heads(template: &str, ids: &[&str]) -> Vec<Vec<u8>> {
    ids.iter().map(|id| template.replace('@', id).into_bytes()).collect()
}

/// The least around httparse that refuses what must be refused.
fn with_httparse(bytes: &[u8], headers: &mut Headers) -> usize {
    let mut fields = [const { std::mem::MaybeUninit::uninit() }; 100];
    let mut request = httparse::Request::new(&mut []);
    let httparse::Status::Complete(length) = request.parse_with_uninit_headers(bytes, &mut fields).unwrap() else {
        panic!("incomplete")
    };
    assert!(memchr::memchr_iter(b'\n', &bytes[..length]).all(|end| end > 0 && bytes[end - 1] == b'\r'));
    headers.clear();
    let mut matters = 0;
    for field in request.headers.iter() {
        headers.push_checked(field.name.as_bytes(), field.value.trim_ascii());
        matters += usize::from(match field.name.len() {
            2 => field.name.eq_ignore_ascii_case("te"),
            4 => field.name.eq_ignore_ascii_case("host"),
            6 => field.name.eq_ignore_ascii_case("expect"),
            7 => field.name.eq_ignore_ascii_case("upgrade"),
            10 => field.name.eq_ignore_ascii_case("connection"),
            14 => field.name.eq_ignore_ascii_case("content-length"),
            17 => field.name.eq_ignore_ascii_case("transfer-encoding"),
            _ => false,
        });
    }
    black_box((request.method, request.path, request.version, matters));
    length
}

fn time_httparse(heads: &[Vec<u8>]) -> (f64, f64) {
    let (mut whole, mut bare) = (Duration::MAX, Duration::MAX);
    let mut headers = Headers::new();
    for round in 0..ROUNDS {
        let head = &heads[round % heads.len()];
        let begin = Instant::now();
        for _ in 0..BATCH {
            black_box(with_httparse(black_box(head), &mut headers));
        }
        whole = whole.min(begin.elapsed());
        let begin = Instant::now();
        for _ in 0..BATCH {
            let mut fields = [const { std::mem::MaybeUninit::uninit() }; 100];
            let mut request = httparse::Request::new(&mut []);
            black_box(request.parse_with_uninit_headers(black_box(head), &mut fields).unwrap());
        }
        bare = bare.min(begin.elapsed());
    }
    (whole.as_nanos() as f64 / BATCH as f64, bare.as_nanos() as f64 / BATCH as f64)
}

fn main() {
    let plain = [("content-type", "text/plain"), ("content-length", "13")];
    let bare = [("content-type", "text/plain")];
    let filtered = [("content-type", "text/plain"), ("connection", "keep-alive"), ("content-length", "13")];
    let different = heads(TYPICAL, &["1", "2"]);
    let repeated = heads(TYPICAL, &["1"]);
    let small = heads(SMALL, &["1"]);
    let ports = heads("GET / HTTP/1.1\r\nHost: @\r\n\r\n", &["127.0.0.1:8000", "127.0.0.1:8001"]);
    let rows = [
        ("typical head, repeated", &repeated, &plain[..]),
        ("typical head, every one different", &different, &plain),
        ("wrk's head, repeated", &small, &plain),
        ("wrk's head, every one different", &ports, &plain),
        ("without content-length", &repeated, &bare),
        ("with connection", &repeated, &filtered),
    ];
    // An argument chooses rows, for a profiler.
    let chosen = std::env::args().nth(1).filter(|argument| !argument.starts_with('-')).unwrap_or_default();
    println!("{:<36} {:>8} {:>10} {:>8}", "ns a request", "head", "response", "writing");
    for (name, heads, fields) in rows.into_iter().filter(|(name, ..)| name.contains(&chosen)) {
        let [head, response, writing] = Bench::new(fields).run(heads, b"Hello, world!");
        println!("{name:<36} {head:>8.1} {response:>10.1} {writing:>8.1}");
    }
    for (name, heads) in [("typical", &different), ("wrk's", &small)] {
        let (whole, bare) = time_httparse(heads);
        println!("httparse, {name} head: {bare:.1} alone, {whole:.1} with what has to be around it");
    }
    println!("a connection: {} bytes", size_of::<Connection<Vec<u8>>>());
}
