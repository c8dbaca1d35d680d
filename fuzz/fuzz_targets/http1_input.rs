//! Bytes of a peer. The law is not only that nothing panics: however the bytes are cut, the application sees the same, the
//! client gets the same, and what the client gets are responses whose framing is right.
//!
//! An input is three bytes of choices (limits and end of input, application, how to cut) and the peer's bytes.
#![no_main]

#[path = "../../crates/ferricorn-proto/tests/support/mod.rs"]
mod support;

use asgi::{Headers, ResponseStart};
use ferricorn_proto::Limits;
use ferricorn_proto::http1::Closing;
use libfuzzer_sys::fuzz_target;
use support::client::{End, read_responses};
use support::{Action, Driver, Seen};

fuzz_target!(|data: &[u8]| {
    let [limits, script, cut, bytes @ ..] = data else { return };
    let end = limits & 1 != 0;
    let (limits, script) = (limits_of(*limits), script_of(*script));
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
    match choice % 9 {
        0 => vec![Action::ReceiveAll, start(&[]), part(b"ok", false)],
        1 => vec![start(&[]), part(b"ok", false)],
        2 => vec![start(&[("content-length", "5")]), part(b"he", true), Action::ReceiveAll, part(b"llo", false)],
        3 => vec![Action::ReceiveAll, start(&[]), part(b"one", true), part(b"two", false)],
        4 => vec![Action::Raise],
        5 => vec![Action::ReceiveAll, Action::Hang],
        6 => vec![start(&[]), Action::ReceiveAll, part(b"", false)],
        7 => vec![Action::EarlyHint(vec![b"</a>".to_vec()]), Action::Refuse(503)],
        _ => vec![start(&[("connection", "close")]), part(b"", true), Action::Drain, part(b"x", true)],
    }
}

/// What the client gets, and that nothing is left over where nothing may be.
fn check(driver: &Driver, limits: &Limits) {
    let to_head: Vec<bool> = driver.seen.iter().filter_map(to_head).collect();
    // An answer to what could not be read may be one to HEAD; it is the last.
    let as_is = read_responses(&driver.output, &to_head);
    let responses = match as_is {
        Ok(responses) => responses,
        Err(_) => read_responses(&driver.output, &[&to_head[..], &[true]].concat()).expect("responses"),
    };
    let refused = driver.seen.iter().any(|seen| matches!(seen, Seen::Refused(_)));
    assert!(responses.len() <= to_head.len() + usize::from(refused));
    for (at, response) in responses.iter().enumerate() {
        let is_last = at + 1 == responses.len();
        assert!(is_last || response.end == End::Whole, "{response:?}");
        assert!(response.end != End::Whole || !response.closes() || driver.closing() != Closing::No);
        assert!(is_last || !response.closes());
    }
    if driver.connection.wants_input() {
        assert!(driver.inbox.len() <= limits.head, "{} bytes wait in vain", driver.inbox.len());
    }
    let connection = &driver.connection;
    if !connection.exchange_is_open() && driver.closing() == Closing::No {
        assert!(connection.wants_input() && connection.next_timeout().is_some());
    }
}

fn to_head(seen: &Seen) -> Option<bool> {
    match seen {
        Seen::Request { line, .. } => Some(line.starts_with("HEAD ")),
        _ => None,
    }
}
