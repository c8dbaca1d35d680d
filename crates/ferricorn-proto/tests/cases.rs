//! Runs the cases in `tests/cases/*.case`: bytes in, events and bytes out, as text.
//!
//! Each case is run whole, byte by byte, cut in two at every place, and with another request behind it: what is seen and
//! what is written must be the same. A case is
//!
//! ```text
//! == its name, of the requirement that it shows
//! limit head 100              (also: body, field "name: value", date, queue, websocket none)
//! > GET / HTTP/1.1\r\n        bytes in, with escapes; the line's own end does not count
//! frame text hello            a client's frame of a WebSocket, masked (also: binary, ping, pong, close 1000 reason)
//! end                         the peer's FIN, after all bytes
//! app start 200 | a: b        what the application does with the request; `app next` begins its script for the next one
//! - GET / 1.1                 what was seen
//! < HTTP/1.1 200 OK\r\n       bytes out
//! = No                        what `closing` says at the end
//! ```
//!
//! With UPDATE_CASES=1 in the environment the files are written anew with what the code does: read the difference.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail, and reads its cases")]

mod support;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use std::rc::Rc;

use asgi::{Headers, Message, ReceiveEvent, ResponseStart};
use ferricorn_proto::{Closing, Drain, Limits, websocket};
use support::{Action, Driver, Seen, client_frame};

#[derive(Default)]
struct Case {
    name: String,

    input: Vec<u8>,
    end: bool,
    limits: Limits,
    scripts: Vec<Vec<Action>>,
    expected: String,
}

#[test]
fn every_case_in_every_split() {
    let mut failures = String::new();
    let mut count = 0;
    for path in case_files() {
        let text = std::fs::read_to_string(&path).unwrap();
        let cases = parse(&text);
        count += cases.len();
        if std::env::var_os("UPDATE_CASES").is_some() {
            std::fs::write(&path, update(&text, &cases)).unwrap();
            continue;
        }
        for case in &cases {
            if let Err(failure) = check(case) {
                let file = path.file_name().unwrap().to_string_lossy();
                writeln!(failures, "{file}: {}: {failure}\n", case.name).unwrap();
            }
        }
    }
    assert!(count > 100, "only {count} cases were found");
    assert!(failures.is_empty(), "\n{failures}");
}

fn case_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "case"));
    files.sort();
    files
}

fn check(case: &Case) -> Result<(), String> {
    let mut whole = run(case, &[&case.input]);
    same(&case.expected, &transcript(&whole), "whole")?;
    let bytes: Vec<&[u8]> = case.input.chunks(1).collect();
    same(&case.expected, &transcript(&run(case, &bytes)), "byte by byte")?;
    for at in 1..case.input.len() {
        let (front, back) = case.input.split_at(at);
        same(&case.expected, &transcript(&run(case, &[front, back])), &format!("cut at {at}"))?;
    }
    with_a_request_behind(case, &mut whole)
}

fn same(expected: &str, actual: &str, how: &str) -> Result<(), String> {
    if expected == actual { Ok(()) } else { Err(format!("{how}: expected\n{expected}but got\n{actual}")) }
}

/// Another request behind the bytes adds to what was seen where the connection goes on, and changes nothing before it.
fn with_a_request_behind(case: &Case, whole: &mut Driver) -> Result<(), String> {
    if case.end || !whole.inbox.is_empty() {
        return Ok(());
    }
    let is_between_requests = whole.connection.is_idle() && whole.connection.websocket().is_none();
    if whole.closing() == Closing::No && !is_between_requests {
        return Ok(());
    }
    let mut input = case.input.clone();
    input.extend_from_slice(b"GET /behind HTTP/1.1\r\nHost: behind\r\nX: behind\r\n\r\n");
    let longer = run(case, &[&input]);
    let begins_alike = longer.seen.starts_with(&whole.seen) && longer.output.starts_with(&whole.output);
    let goes_on = longer.seen.len() > whole.seen.len();
    if begins_alike && goes_on == is_between_requests {
        return Ok(());
    }
    Err(format!("with a request behind it: {}", transcript(&longer)))
}

fn run(case: &Case, pieces: &[&[u8]]) -> Driver {
    let mut driver = Driver::new(case.limits.clone(), &case.scripts);
    pieces.iter().for_each(|piece| driver.feed(piece));
    if case.end {
        driver.end();
    }
    driver
}

fn transcript(driver: &Driver) -> String {
    let mut text = String::new();
    for seen in &driver.seen {
        match seen {
            Seen::Request { line, headers } => {
                writeln!(text, "- {line}").unwrap();
                for (name, value) in headers.iter() {
                    writeln!(text, "-   {}: {}", name.escape_ascii(), value.escape_ascii()).unwrap();
                }
            }
            Seen::Body(bytes) => writeln!(text, "- body {}", bytes.escape_ascii()).unwrap(),
            Seen::EndOfBody => text.push_str("- end of body\n"),
            Seen::Disconnect => text.push_str("- disconnect\n"),
            Seen::Refused(error) => writeln!(text, "- refused {}: {error}", error.status()).unwrap(),
            Seen::Event(event) => writeln!(text, "- {}", event_text(event)).unwrap(),
            Seen::Violation(error) => writeln!(text, "- violation {}: {error}", error.code()).unwrap(),
            Seen::Error { command, text: error } => writeln!(text, "- {command} refused: {error}").unwrap(),
            Seen::Finished(finished) => writeln!(text, "- finished {finished:?}").unwrap(),
        }
    }
    for line in driver.output.split_inclusive(|&byte| byte == b'\n') {
        writeln!(text, "< {}", line.escape_ascii()).unwrap();
    }
    writeln!(text, "= {:?}", driver.closing()).unwrap();
    text
}

fn event_text(event: &ReceiveEvent) -> String {
    match event {
        ReceiveEvent::WebSocketConnect => "connect".to_owned(),
        ReceiveEvent::WebSocketReceive(Message::Text(text)) => format!("text {}", text.escape_debug()),
        ReceiveEvent::WebSocketReceive(Message::Binary(bytes)) => format!("binary {}", bytes.escape_ascii()),
        ReceiveEvent::WebSocketDisconnect { code, reason } => {
            format!("disconnect {code} {reason}").trim_end().to_owned()
        }
        other => format!("{other:?}"),
    }
}

fn parse(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("== ") {
            let limits = Limits { date: false, ..Limits::default() };
            cases.push(Case { name: name.to_owned(), limits, scripts: vec![Vec::new()], ..Case::default() });
            continue;
        }
        let Some(case) = cases.last_mut() else { continue };
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "-" | "<" | "=" => writeln!(case.expected, "{line}").unwrap(),
            ">" => case.input.extend(unescape(rest)),
            "frame" => case.input.extend(frame(rest)),
            "end" => case.end = true,
            "limit" => limit(&mut case.limits, rest),
            "app" if rest == "next" => case.scripts.push(Vec::new()),
            "app" => case.scripts.last_mut().unwrap().push(action(rest)),
            "" | "#" => {}
            _ => panic!("{}: what is {line:?}?", case.name),
        }
    }
    cases
}

fn limit(limits: &mut Limits, text: &str) {
    let (name, value) = text.split_once(' ').unwrap_or((text, ""));
    match name {
        "head" => limits.head = value.parse().unwrap(),
        "body" => limits.body = Some(value.parse().unwrap()),
        "date" => limits.date = true,
        "queue" => {
            let queue = value.parse().unwrap();
            limits.websocket = Some(Rc::new(websocket::Limits { queue, ..websocket::Limits::default() }));
        }
        "websocket" if value == "none" => limits.websocket = None,
        "field" => {
            let (name, value) = value.split_once(": ").unwrap();
            limits.headers.push(name.as_bytes(), value.as_bytes()).unwrap();
        }
        _ => panic!("no limit {name:?}"),
    }
}

fn action(text: &str) -> Action {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let bytes = unescape(rest);
    match word {
        "start" => {
            let (status, fields) = rest.split_once(" | ").unwrap_or((rest, ""));
            let (status, trailers) = status.split_once(' ').unwrap_or((status, ""));
            let headers = headers(fields);
            Action::Start(ResponseStart { status: status.parse().unwrap(), headers, trailers: trailers == "trailers" })
        }
        "body" => Action::Body { bytes, more: false },
        "more" => Action::Body { bytes, more: true },
        "file" => Action::File { count: bytes.len() as u64, bytes, offset: 0, more: false },
        "more-file" => Action::File { count: bytes.len() as u64, bytes, offset: 0, more: true },
        "pathsend" => Action::Pathsend(bytes),
        "trailers" => Action::Trailers { headers: headers(rest), more: false },
        "more-trailers" => Action::Trailers { headers: headers(rest), more: true },
        "accept" => {
            let (subprotocol, fields) = rest.split_once("| ").unwrap_or((rest, ""));
            let subprotocol = Some(subprotocol.trim().to_owned()).filter(|name| !name.is_empty());
            Action::Accept { subprotocol, headers: headers(fields) }
        }
        "text" => Action::Send(Message::Text(String::from_utf8(bytes).unwrap())),
        "binary" => Action::Send(Message::Binary(bytes)),
        "close" => {
            let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
            Action::Close { code: code.parse().unwrap(), reason: reason.to_owned() }
        }
        "deny" => {
            let (status, fields) = rest.split_once(" | ").unwrap_or((rest, ""));
            Action::Deny(ResponseStart { status: status.parse().unwrap(), headers: headers(fields), trailers: false })
        }
        "deny-body" => Action::DenyBody { bytes, more: false },
        "deny-more" => Action::DenyBody { bytes, more: true },
        "event" => Action::ReceiveEvent,
        "echo" => Action::Echo,
        "hint" => Action::EarlyHint(rest.split(" | ").filter(|link| !link.is_empty()).map(unescape).collect()),
        "receive" => Action::ReceiveAll,
        "refuse" => Action::Refuse(rest.parse().unwrap()),
        "respond" => {
            let (status, close) = rest.split_once(' ').unwrap_or((rest, ""));
            Action::Respond(status.parse().unwrap(), close == "close")
        }
        "drain" => Action::Drain(if rest == "patiently" { Drain::Patient } else { Drain::Quick }),
        "restart" => Action::Restart,
        "raise" => Action::Raise,
        "hang" => Action::Hang,
        _ => panic!("the application cannot {text:?}"),
    }
}

fn headers(text: &str) -> Headers {
    let fields = text.split(" | ").filter(|field| !field.is_empty());
    Headers::from_iter(fields.map(|field| field.split_once(": ").unwrap())).unwrap()
}

fn frame(text: &str) -> Vec<u8> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let payload = unescape(rest);
    match word {
        "text" => client_frame(1, &payload),
        "binary" => client_frame(2, &payload),
        "close" if rest.is_empty() => client_frame(8, b""),
        "close" => {
            let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
            let code: u16 = code.parse().unwrap();
            client_frame(8, &[&code.to_be_bytes(), reason.as_bytes()].concat())
        }
        "ping" => client_frame(9, &payload),
        "pong" => client_frame(10, &payload),
        _ => panic!("no frame {text:?}"),
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'\\' {
            bytes.push(*byte);
            continue;
        }
        let (unescaped, length) = match tail[0] {
            b'r' => (b'\r', 1),
            b'n' => (b'\n', 1),
            b't' => (b'\t', 1),
            b'x' => (u8::from_str_radix(str::from_utf8(&tail[1..3]).unwrap(), 16).unwrap(), 3),
            other => (other, 1),
        };
        bytes.push(unescaped);
        rest = &tail[length..];
    }
    bytes
}

/// The file with what the code does in place of what was expected.
fn update(text: &str, cases: &[Case]) -> String {
    let mut updated = String::new();
    let mut remaining = cases.iter();
    let mut current: Option<&Case> = None;
    let flush = |updated: &mut String, case: Option<&Case>| {
        if let Some(case) = case {
            updated.truncate(updated.trim_end().len());
            updated.push('\n');
            updated.push_str(&transcript(&run(case, &[&case.input])));
            updated.push('\n');
        }
    };
    for line in text.lines() {
        if line.starts_with("== ") {
            flush(&mut updated, current);
            current = remaining.next();
        }
        let is_expectation = ["- ", "< ", "= "].iter().any(|mark| line.starts_with(mark));
        if !is_expectation {
            writeln!(updated, "{line}").unwrap();
        }
    }
    flush(&mut updated, current);
    updated.truncate(updated.trim_end().len());
    updated.push('\n');
    updated
}
