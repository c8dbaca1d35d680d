//! Bytes of a peer. The law is not only that nothing panics: however the bytes are cut, the application sees the same, the
//! client gets the same, and what the client gets are responses whose framing is right.
//!
//! An input is three bytes of choices (limits and end of input, application and whether a WebSocket's handshake comes first,
//! how to cut) and the peer's bytes.
#![no_main]

#[path = "../../crates/ferricorn-proto/tests/support/mod.rs"]
mod support;

use asgi::{Headers, ResponseStart};
use ferricorn_proto::{Closing, Limits};
use libfuzzer_sys::fuzz_target;
use support::client::{End, read_responses};
use support::{Action, Driver, Seen};

fuzz_target!(|data: &[u8]| {
    let [limits, script, cut, bytes @ ..] = data else { return };
    let end = limits & 1 != 0;
    let handshake = if script & 128 != 0 { HANDSHAKE } else { b"" };
    let bytes = &[handshake, bytes].concat()[..];
    let (limits, script) = (limits_of(*limits), script_of(*script & 127));
    let whole = run(&limits, &script, std::iter::once(bytes), end);
    check(&whole, &limits);
    let other = if *cut == 0 {
        run(&limits, &script, bytes.chunks(1), end)
    } else {
        let (front, back) = bytes.split_at(usize::from(*cut) % (bytes.len() + 1));
        run(&limits, &script, [front, back].into_iter(), end)
    };
    assert_eq!(whole.seen, other.seen);
    assert_eq!(whole.output.escape_ascii().to_string(), other.output.escape_ascii().to_string());
    assert_eq!(whole.closing(), other.closing());
    assert_eq!(whole.connection.wants_input(), other.connection.wants_input());
    if !whole.connection.exchange_is_open() {
        assert_eq!(whole.inbox, other.inbox);
    }
});

const HANDSHAKE: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn run<'a>(limits: &Limits, script: &[Action], pieces: impl Iterator<Item = &'a [u8]>, end: bool) -> Driver {
    let mut driver = Driver::new(limits.clone(), &[script.to_vec()]);
    pieces.for_each(|piece| driver.feed(piece));
    if end {
        driver.end();
    }
    driver
}

fn limits_of(choice: u8) -> Limits {
    let head = [65_536, 30, 64, 200][usize::from(choice >> 1 & 3)];
    let body = [None, Some(0), Some(5), Some(20)][usize::from(choice >> 3 & 3)];
    Limits { head, body, date: choice & 32 != 0, ..Limits::default() }
}

fn script_of(choice: u8) -> Vec<Action> {
    let start = |fields: &[(&str, &str)]| {
        let headers = Headers::from_iter(fields.iter().copied()).unwrap();
        Action::Start(ResponseStart { status: 200, headers, trailers: true })
    };
    let part = |bytes: &[u8], more| Action::Body { bytes: bytes.to_vec(), more };
    let accept = Action::Accept { subprotocol: None, headers: Headers::new() };
    match choice % 14 {
        0 => vec![Action::ReceiveAll, start(&[]), part(b"ok", false)],
        1 => vec![start(&[]), part(b"ok", false)],
        2 => vec![start(&[("content-length", "5")]), part(b"he", true), Action::ReceiveAll, part(b"llo", false)],
        3 => vec![Action::ReceiveAll, start(&[]), part(b"one", true), part(b"two", false)],
        4 => vec![Action::Raise],
        5 => vec![Action::ReceiveAll, Action::Hang],
        6 => vec![start(&[]), Action::ReceiveAll, part(b"", false)],
        7 => vec![Action::EarlyHint(vec![b"</a>".to_vec()]), Action::Refuse(503)],
        8 => vec![Action::ReceiveEvent, accept, Action::Echo],
        9 => vec![accept, Action::ReceiveEvent, Action::ReceiveEvent, Action::Hang],
        10 => vec![accept, Action::Close { code: 1000, reason: String::new() }, Action::ReceiveEvent],
        11 => vec![accept, Action::Drain(ferricorn_proto::Drain::Quick), Action::Echo],
        12 => {
            vec![Action::Deny(ResponseStart { status: 401, ..ResponseStart::default() }), denial(true), denial(false)]
        }
        _ => vec![
            start(&[("connection", "close")]),
            part(b"", true),
            Action::Drain(ferricorn_proto::Drain::Quick),
            part(b"x", true),
        ],
    }
}

fn denial(more: bool) -> Action {
    Action::DenyBody { bytes: b"no".to_vec(), more }
}

/// What the client gets, and that nothing is left over where nothing may be.
fn check(driver: &Driver, limits: &Limits) {
    let to_head: Vec<bool> = driver.seen.iter().filter_map(to_head).collect();
    // An answer to what could not be read may be one to HEAD; it is the last.
    let (output, frames) = split_frames(&driver.output);
    let as_is = read_responses(output, &to_head);
    let responses = match as_is {
        Ok(responses) => responses,
        Err(_) => read_responses(output, &[&to_head[..], &[true]].concat()).expect("responses"),
    };
    check_frames(frames);
    let refused = driver.seen.iter().any(|seen| matches!(seen, Seen::Refused(_)));
    assert!(responses.len() <= to_head.len() + usize::from(refused));
    for (at, response) in responses.iter().enumerate() {
        let is_last = at + 1 == responses.len();
        assert!(is_last || response.end == End::Whole, "{response:?}");
        assert!(response.end != End::Whole || !response.closes() || driver.closing() != Closing::No);
        assert!(is_last || !response.closes());
    }
    if driver.connection.wants_input() {
        // The longest that waits of a frame: a control frame without its last byte.
        assert!(driver.inbox.len() <= limits.head.max(130), "{} bytes wait in vain", driver.inbox.len());
    }
    let connection = &driver.connection;
    if !connection.exchange_is_open() && driver.closing() == Closing::No {
        assert!(connection.wants_input() && connection.next_timeout().is_some());
    }
}

/// What comes behind the head of the response that accepts a WebSocket.
fn split_frames(output: &[u8]) -> (&[u8], &[u8]) {
    let Some(start) = output.windows(13).position(|line| line == b"HTTP/1.1 101 ") else { return (output, b"") };
    let end = output[start..].windows(4).position(|end| end == b"\r\n\r\n").expect("a head that ends");
    (&output[..start], &output[start + end + 4..])
}

/// Whole frames, short and without a mask; nothing behind a close frame.
fn check_frames(mut bytes: &[u8]) {
    while let [first, rest @ ..] = bytes {
        assert!(matches!(first & 0xbf, 0x81 | 0x82 | 0x88 | 0x8a), "{}", bytes.escape_ascii());
        let (length, rest) = match rest {
            [126, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
            [length @ 0..=125, rest @ ..] => (usize::from(*length), rest),
            _ => panic!("a length that nobody asked for: {}", bytes.escape_ascii()),
        };
        assert!(first & 0x0f != 8 || rest.len() == length, "{} behind a close", rest.escape_ascii());
        bytes = rest.get(length..).expect("a frame that ends");
    }
}

fn to_head(seen: &Seen) -> Option<bool> {
    match seen {
        Seen::Request { line, .. } => Some(line.starts_with("HEAD ")),
        _ => None,
    }
}
