//! What a header block costs, in nanoseconds: `cargo bench -p ferricorn-proto --bench hpack`. Prints figures and judges none.
//!
//! Each row is timed over a batch of blocks, so that the clock does not count, and the best of many rounds is shown, so that
//! the machine's other work does not.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a benchmark looks at the clock")]

use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use asgi::Headers;
use ferricorn_proto::http2::hpack::{Decoder, Encoder};

const BATCH: usize = 64;
const ROUNDS: usize = 10_000;

type Fields<'a> = &'a [(&'a str, &'a str)];

/// What h2load sends, and what a browser does.
const PLAIN: Fields<'_> = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "127.0.0.1:8000"),
    (":path", "/"),
    ("user-agent", "h2load nghttp2/1.52.0"),
];
const BROWSER: Fields<'_> = &[
    (":method", "GET"),
    (":authority", "www.example.org"),
    (":scheme", "https"),
    (":path", "/api/v1/users/1234?page=2&order=name"),
    ("sec-ch-ua", "\"Chromium\";v=\"130\", \"Not?A_Brand\";v=\"99\""),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", "\"Linux\""),
    ("upgrade-insecure-requests", "1"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
    ),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("sec-fetch-site", "none"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-user", "?1"),
    ("sec-fetch-dest", "document"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-US,en;q=0.9"),
    ("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark"),
];
const HELLO: Fields<'_> = &[("content-type", "text/plain"), ("content-length", "13")];
const DATE: (&[u8], &[u8]) = (b"date", b"Sun, 06 Nov 1994 08:49:37 GMT");

fn bytes<'a>(fields: Fields<'a>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone {
    fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()))
}

/// The blocks of a list that comes again and again: literals, literals that go into the table, indices.
fn blocks(fields: Fields<'_>) -> [Vec<u8>; 3] {
    let mut encoder = Encoder::new();
    [(); 3].map(|()| {
        let mut block = Vec::new();
        encoder.encode(bytes(fields), &mut block);
        block
    })
}

fn best(mut step: impl FnMut()) -> f64 {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        (0..BATCH).for_each(|_| step());
        best = best.min(begin.elapsed());
    }
    best.as_nanos() as f64 / BATCH as f64
}

fn decoding(name: &str, first: &[u8], block: &[u8]) {
    let mut decoder = Decoder::new(4096);
    let mut decode = |block: &[u8]| {
        let decoded = decoder.decode(black_box(block), 65_536, &mut |field| {
            black_box(field);
            ControlFlow::Continue(())
        });
        black_box(decoded.unwrap());
    };
    decode(first);
    let time = best(|| decode(block));
    println!("{name:<56} {:>5} {time:>8.1}", block.len());
}

fn encoding(name: &str, mut step: impl FnMut(&mut Encoder, &mut Vec<u8>)) {
    let (mut encoder, mut out) = (Encoder::new(), Vec::new());
    (0..4).for_each(|_| step(&mut encoder, &mut out));
    out.clear();
    step(&mut encoder, &mut out);
    let length = out.len();
    let time = best(|| {
        out.clear();
        step(&mut encoder, black_box(&mut out));
    });
    println!("{name:<56} {length:>5} {time:>8.1}");
}

fn main() {
    println!("{:<56} {:>5} {:>8}", "", "bytes", "ns");
    for (name, fields) in [("h2load's 5 fields", PLAIN), ("a browser's 17 fields", BROWSER)] {
        let [literal, inserted, indexed] = blocks(fields);
        decoding(&format!("decode {name}, literals"), &literal, &literal);
        decoding(&format!("decode {name}, literals into the table"), &literal, &inserted);
        decoding(&format!("decode {name}, indices"), &inserted, &indexed);
    }
    let hello = Headers::from_iter(HELLO.iter().copied()).unwrap();
    let own = [(&b"server"[..], &b"ferricorn"[..]), DATE];
    encoding("encode a response, repeated", |encoder, out| {
        encoder.encode_response(200, black_box(&hello), own.iter().copied(), out);
    });
    let lists: Vec<Headers> = (0..100)
        .map(|count| {
            let length = (count * 37 + 1000).to_string();
            Headers::from_iter([("content-type", "text/plain"), ("content-length", &length)]).unwrap()
        })
        .collect();
    let mut at = 0;
    encoding("encode a response, every content-length different", |encoder, out| {
        at = (at + 1) % lists.len();
        encoder.encode_response(200, black_box(&lists[at]), own.iter().copied(), out);
    });
    encoding("encode the fields of a response, not remembered", |encoder, out| {
        encoder.encode(bytes(black_box(HELLO)).chain(own), out);
    });
    encoding("encode a location of 60 bytes", |encoder, out| {
        let value = b"https://www.example.org/api/v1/users/1234?page=2&order=name1";
        encoder.encode([(&b"location"[..], black_box(&value[..]))].into_iter(), out);
    });
}
