//! An HTTP/1.1 connection that a WebSocket has or asks for: deadlines to the instant, what is kept in memory, and any
//! application against a model of what it may say when. What frames do is in `tests/websocket`.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::rc::Rc;
use std::time::Duration;

use asgi::{Headers, Message, Outcome, ReceiveEvent, ResponseStart, SendError};
use ferricorn_proto::{Closing, Content, Drain, Finished, Limits, TimeoutKind, websocket};
use proptest::prelude::*;
use proptest::sample::select;
use support::client::{End, read_responses};
use support::{Action, Driver, Seen, apply_websocket, client_frame, owned, take_output};

const MOMENT: Duration = Duration::from_millis(1);
const HANDSHAKE: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn limits() -> Limits {
    Limits { date: false, ..Limits::default() }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn accept() -> Action {
    Action::Accept { subprotocol: None, headers: Headers::new() }
}

fn close(code: u16) -> Action {
    Action::Close { code, reason: String::new() }
}

/// A driver whose application does this with a handshake that has come.
fn asked(limits: Limits, script: Vec<Action>) -> Driver {
    let mut driver = Driver::new(limits, &[script]);
    driver.feed(HANDSHAKE);
    driver
}

/// The same with the handshake accepted, and what was written so far taken away.
fn opened(script: &[Action]) -> Driver {
    let mut driver = asked(limits(), [&[Action::ReceiveEvent, accept()], script].concat());
    assert!(driver.output.starts_with(b"HTTP/1.1 101 "));
    let head = driver.output.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    driver.output.drain(..head);
    // The request and its connect.
    driver.seen.drain(..2);
    driver
}

fn text(text: &str) -> Seen {
    Seen::Event(ReceiveEvent::WebSocketReceive(Message::Text(text.to_owned())))
}

fn disconnect(code: u16, reason: &str) -> ReceiveEvent {
    ReceiveEvent::WebSocketDisconnect { code, reason: reason.to_owned() }
}

/// The deadline comes exactly when it is announced, and not a moment before.
#[track_caller]
fn expires(driver: &mut Driver, after: Duration, kind: TimeoutKind) {
    assert_eq!(driver.connection.next_timeout(), Some(driver.instant + after));
    assert_eq!(driver.pass(after - MOMENT), None);
    assert_eq!(driver.pass(MOMENT), Some(kind));
}

#[test]
fn a_handshake_that_the_application_thinks_about_has_no_deadline() {
    let mut driver = asked(limits(), vec![Action::ReceiveEvent, Action::Hang]);
    assert_eq!(driver.connection.next_timeout(), None);
    assert_eq!(driver.pass(seconds(100_000)), None);
    assert!(driver.connection.exchange_is_open() && driver.output.is_empty());
    assert!(!driver.connection.wants_input() && !driver.connection.is_idle());
}

#[test]
fn extensions_are_those_of_a_websocket() {
    let extensions = asked(limits(), vec![Action::Hang]).connection.extensions();
    assert!(extensions.denial_response);
    assert!(!(extensions.pathsend || extensions.zerocopysend || extensions.trailers || extensions.early_hint));
}

#[test]
fn ws_09_a_ping_goes_out_every_interval_and_its_pong_keeps_the_connection() {
    let mut driver = opened(&[Action::Hang]);
    for count in 1..4 {
        assert_eq!(driver.connection.next_timeout(), Some(driver.instant + seconds(20)));
        assert_eq!((driver.pass(seconds(20) - MOMENT), driver.output.len()), (None, 0));
        assert_eq!(driver.pass(MOMENT), None);
        assert_eq!(std::mem::take(&mut driver.output), [0x89, 4, 0, 0, 0, count]);
        // The answer is waited for, and has no part in when the next one goes out.
        assert_eq!(driver.connection.next_timeout(), Some(driver.instant + seconds(20)));
        driver.feed(&client_frame(10, &[0, 0, 0, count]));
        assert_eq!(driver.connection.take_round_trip(), Some(Duration::ZERO));
        assert_eq!(driver.connection.take_round_trip(), None);
    }
    assert!(driver.connection.is_idle());
}

#[test]
fn ws_09_a_pong_that_does_not_come_closes_with_1011() {
    let mut driver = opened(&[Action::ReceiveEvent, Action::Hang]);
    driver.pass(seconds(20));
    driver.output.clear();
    // Neither of these answers the ping.
    driver.feed(&client_frame(10, b"unasked"));
    driver.feed(&client_frame(9, b""));
    assert_eq!(std::mem::take(&mut driver.output), [0x8a, 0]);
    expires(&mut driver, seconds(20), TimeoutKind::Pong);
    assert_eq!(driver.output, b"\x88\x18\x03\xf3keepalive ping timeout");
    assert_eq!(driver.seen, [Seen::Event(disconnect(1011, "keepalive ping timeout"))]);
    assert_eq!(driver.closing(), Closing::Flush);
    expires(&mut driver, seconds(2), TimeoutKind::Linger);
    assert_eq!(driver.closing(), Closing::Now);
}

#[test]
fn pings_and_the_wait_for_pongs_can_be_off() {
    let with = |ping_interval, ping_timeout| {
        let websocket = websocket::Limits { ping_interval, ping_timeout, ..websocket::Limits::default() };
        asked(Limits { websocket: Some(Rc::new(websocket)), ..limits() }, vec![accept(), Action::Hang])
    };
    let mut driver = with(None, Some(seconds(1)));
    assert_eq!((driver.connection.next_timeout(), driver.pass(seconds(100_000))), (None, None));
    let mut driver = with(Some(seconds(1)), None);
    for _ in 0..10 {
        driver.output.clear();
        assert_eq!((driver.pass(seconds(1)), driver.output.len()), (None, 6));
    }
    assert!(driver.connection.exchange_is_open());
}

#[test]
fn a_close_that_is_not_answered_ends_after_its_time() {
    let mut driver = opened(&[close(4000), Action::ReceiveEvent]);
    assert_eq!(driver.seen, [Seen::Event(disconnect(4000, "")), Seen::Finished(Finished::Complete)]);
    assert_eq!(driver.closing(), Closing::No);
    driver.pass(seconds(4));
    // What still comes prolongs nothing, and is nobody's.
    driver.feed(&client_frame(1, b"late"));
    expires(&mut driver, seconds(6), TimeoutKind::Close);
    assert_eq!((driver.closing(), driver.seen.len()), (Closing::Flush, 2));
    expires(&mut driver, seconds(2), TimeoutKind::Linger);
    assert_eq!(driver.closing(), Closing::Now);
}

#[test]
fn a_close_that_both_have_sent_is_followed_by_lingering() {
    let mut own = opened(&[close(1000), Action::Hang]);
    own.feed(&client_frame(8, &1000_u16.to_be_bytes()));
    let mut theirs = opened(&[Action::Hang]);
    theirs.feed(&client_frame(8, &1000_u16.to_be_bytes()));
    for mut driver in [own, theirs] {
        assert_eq!(driver.output, [0x88, 2, 0x03, 0xe8]);
        assert_eq!(driver.closing(), Closing::Flush);
        assert!(driver.connection.wants_input(), "the end of input is still to be seen");
        driver.feed(b"whatever");
        assert!(driver.inbox.is_empty());
        expires(&mut driver, seconds(2), TimeoutKind::Linger);
        assert_eq!(driver.closing(), Closing::Now);
    }
}

#[test]
fn the_end_of_input_closes_in_every_state() {
    let ends: [(&[Action], Option<ReceiveEvent>); 4] = [
        (&[Action::Hang], None),
        (&[Action::ReceiveEvent], Some(disconnect(1006, ""))),
        (&[close(4000), Action::Hang], None),
        (&[close(4000), Action::ReceiveEvent], Some(disconnect(4000, ""))),
    ];
    for (script, event) in ends {
        let mut driver = opened(script);
        driver.end();
        assert_eq!(driver.seen.first(), event.map(Seen::Event).as_ref());
        assert_eq!((driver.closing(), driver.connection.next_timeout()), (Closing::Now, None));
        assert!(driver.connection.disconnected() && !driver.connection.wants_input());
    }
    for denial in [close(1000), Action::Refuse(503)] {
        let mut driver = asked(limits(), vec![denial]);
        assert_eq!(driver.closing(), Closing::Flush);
        driver.end();
        assert_eq!(driver.closing(), Closing::Now);
    }
}

#[test]
fn a_peer_that_reads_nothing_is_reset_and_gets_no_ping_behind_what_waits() {
    let mut driver = opened(&[Action::Hang]);
    let now = driver.now();
    driver.connection.websocket_send(Message::<_, String>::Binary(vec![0; 100]), &now).unwrap();
    let waiting = driver.connection.transmit().len();
    // As long as a ping could take, and its pong.
    let deadline = driver.instant + seconds(40);
    for after in [10, 20, 39] {
        driver.instant = deadline - seconds(40) + seconds(after);
        let now = driver.now();
        assert_eq!(driver.connection.handle_timeout(&now), None);
        assert_eq!(driver.connection.transmit().len(), waiting);
    }
    driver.instant = deadline;
    let now = driver.now();
    assert_eq!(driver.connection.handle_timeout(&now), Some(TimeoutKind::Response));
    assert_eq!((driver.closing(), driver.connection.next_timeout()), (Closing::Abort, None));
    let session = driver.connection.websocket().unwrap().session().unwrap();
    assert_eq!(session.closed(), Some((1006, "")));
    assert_eq!(driver.connection.finish(Outcome::Returned, &now), Finished::Disconnected);
}

#[test]
fn a_close_that_the_peer_does_not_even_take_ends_after_its_time() {
    let mut driver = opened(&[Action::Hang]);
    let now = driver.now();
    driver.connection.websocket_send(Message::<_, String>::Binary(vec![0; 100]), &now).unwrap();
    driver.connection.websocket_close(4000, "", &now).unwrap();
    driver.instant += seconds(10);
    let now = driver.now();
    assert_eq!(driver.connection.handle_timeout(&now), Some(TimeoutKind::Close));
    assert!(!driver.connection.transmit().is_empty());
    assert_eq!((driver.closing(), driver.connection.wants_input()), (Closing::Now, false));
}

#[test]
fn con_09_draining_waits_for_the_answer_to_its_close() {
    let mut driver = opened(&[Action::ReceiveEvent]);
    let now = driver.now();
    driver.connection.drain(Drain::Quick);
    driver.settle();
    assert_eq!(driver.output, b"", "it goes on until it is told otherwise");
    driver.connection.websocket_restart(&now);
    driver.settle();
    assert_eq!(driver.output, [0x88, 2, 0x03, 0xf4]);
    assert_eq!(driver.seen, [Seen::Event(disconnect(1012, "")), Seen::Finished(Finished::Complete)]);
    assert_eq!(driver.closing(), Closing::No);
    driver.feed(&client_frame(8, &1012_u16.to_be_bytes()));
    assert_eq!(driver.closing(), Closing::Flush);
}

#[test]
fn ws_27_draining_keeps_what_came_before_for_the_application() {
    for (drains, expected) in [(true, vec![text("one"), text("two")]), (false, Vec::new())] {
        let mut driver = opened(&[Action::Hang]);
        driver.feed(&[client_frame(1, b"one"), client_frame(1, b"two")].concat());
        let now = driver.now();
        if drains {
            driver.connection.websocket_restart(&now);
        } else {
            driver.connection.websocket_close(1012, "", &now).unwrap();
        }
        let socket = driver.connection.websocket().unwrap();
        let seen: Vec<_> = (0..10).filter_map(|_| socket.receive(false, owned)).map(Seen::Event).collect();
        let end = Seen::Event(disconnect(1012, ""));
        assert!(seen.starts_with(&expected) && seen[expected.len()..].iter().all(|seen| *seen == end), "{seen:?}");
    }
}

#[test]
fn what_waits_for_a_client_that_is_gone_is_not_written() {
    let mut driver = opened(&[Action::Hang]);
    let now = driver.now();
    driver.connection.websocket_send(Message::<_, String>::Binary(vec![0; 100]), &now).unwrap();
    driver.connection.handle_end_of_input();
    assert_eq!(driver.closing(), Closing::Now);
}

#[test]
fn con_09_draining_lets_a_handshake_be_denied() {
    let denial = Action::Deny(ResponseStart { status: 401, ..ResponseStart::default() });
    let body = Action::DenyBody { bytes: b"no".to_vec(), more: false };
    let driver = asked(limits(), vec![Action::Drain(Drain::Quick), Action::Restart, denial, body]);
    assert!(driver.output.ends_with(b"connection: close\r\n\r\nno"));
    assert_eq!(driver.closing(), Closing::Flush);
}

#[test]
fn a_peer_that_pings_and_reads_no_pong_is_owed_one_at_the_most() {
    let mut driver = opened(&[Action::Hang]);
    let now = driver.now();
    let pings: Vec<u8> = client_frame(9, &[0; 125]).repeat(100);
    for _ in 0..100 {
        assert!(driver.connection.wants_input(), "a message or a close may be behind them");
        assert_eq!(driver.connection.handle_input(&mut pings.clone(), &now).consumed, pings.len());
        assert!(driver.connection.transmit().len() <= Limits::PIPELINE + 127);
    }
    let _ = driver.connection.handle_input(&mut client_frame(9, b"last"), &now);
    driver.settle();
    driver.output.clear();
    // There is room for it now.
    assert_eq!((driver.connection.next_timeout(), driver.pass(Duration::ZERO)), (Some(driver.instant), None));
    assert_eq!(driver.output, b"\x8a\x04last");
    assert_eq!(driver.connection.next_timeout(), Some(driver.instant + seconds(20)));
}

#[test]
fn ws_29_a_queue_that_is_full_wants_no_input_until_somebody_receives() {
    let mut driver = opened(&[Action::Hang]);
    driver.feed(&client_frame(1, b"message").repeat(33));
    assert!(!driver.connection.wants_input());
    assert_eq!(driver.inbox, client_frame(1, b"message"));
    let take = |driver: &mut Driver| driver.connection.websocket().unwrap().receive(false, owned);
    assert_eq!(take(&mut driver).map(Seen::Event), Some(text("message")));
    assert!(driver.connection.wants_input());
    driver.settle();
    assert!(driver.inbox.is_empty() && !driver.connection.wants_input());
    // A large one at a time.
    let mut driver = opened(&[Action::Hang]);
    driver.feed(&client_frame(2, &[0; 65_535]));
    assert!(driver.connection.wants_input());
    driver.feed(&client_frame(2, &[0; 2]));
    assert!(!driver.connection.wants_input());
}

#[test]
fn what_was_read_outlives_the_connection() {
    for (ending, last) in [(client_frame(8, &4000_u16.to_be_bytes()), 4000), (Vec::new(), 1006)] {
        let mut driver = opened(&[Action::Hang]);
        driver.feed(&[client_frame(1, b"one"), client_frame(1, b"two"), ending].concat());
        let mut socket = driver.connection.take_websocket().unwrap();
        let seen: Vec<_> = (0..4).filter_map(|_| socket.receive(true, owned)).map(Seen::Event).collect();
        let end = Seen::Event(disconnect(last, ""));
        assert_eq!(seen, [text("one"), text("two"), end.clone(), end]);
    }
    let mut socket = asked(limits(), vec![Action::Hang]).connection.take_websocket().unwrap();
    let seen: Vec<_> = (0..2).filter_map(|_| socket.receive(true, owned)).collect();
    assert_eq!(seen, [ReceiveEvent::WebSocketConnect, disconnect(1006, "")]);
    assert!(Driver::new(limits(), &[]).connection.take_websocket().is_none());
}

#[test]
fn memory_that_was_given_back_is_not_missed() {
    let mut driver = opened(&[Action::Echo]);
    let large = vec![b'x'; 60_000];
    for _ in 0..2 {
        driver.feed(&[client_frame(2, &large), client_frame(1, b"small")].concat());
        assert!(driver.connection.is_idle());
        driver.connection.release_memory();
    }
    // Not what waits, or has come in part.
    driver.feed(&client_frame(2, &large)[..40_000]);
    driver.connection.release_memory();
    driver.feed(&client_frame(2, &large)[40_000..]);
    let sizes: Vec<_> = driver.seen.iter().map(received_len).collect();
    assert_eq!(sizes, [60_000, 5, 60_000, 5, 60_000]);
}

fn received_len(seen: &Seen) -> usize {
    match seen {
        Seen::Event(ReceiveEvent::WebSocketReceive(message)) => message.as_bytes().len(),
        _ => panic!("{seen:?}"),
    }
}

/// What the application of a WebSocket may say when, a second time and more simply.
#[derive(Clone, Debug, Default)]
struct Model {
    accepted: bool,
    closed: Option<u16>,
    denial: Option<(u16, Option<usize>)>,
    body: Vec<u8>,
    body_begun: bool,
    ended: bool,
    sent: Vec<Message>,
}

/// Why a command is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    OutOfOrder,
    Gone,
    Other,
}

impl Model {
    fn apply(&mut self, action: &Action) -> Result<(), Refusal> {
        let is_new = !self.accepted && self.denial.is_none() && !self.ended;
        match action {
            Action::Deny(_) | Action::DenyBody { .. } if self.ended => Ok(()),
            _ if self.ended => Err(Refusal::Gone),
            Action::DenyBody { bytes, more } if self.denial.is_some() => self.part(bytes, *more),
            _ if self.is_whole() => Err(Refusal::Gone),
            _ if self.closed.is_some() && !is_http(action) => Err(Refusal::Gone),
            Action::Accept { subprotocol, .. } if is_new => {
                if subprotocol.is_some() {
                    return Err(Refusal::Other);
                }
                self.accepted = true;
                Ok(())
            }
            Action::Send(message) if self.accepted => {
                self.sent.push(message.clone());
                Ok(())
            }
            Action::Close { code, .. } if self.accepted => {
                if matches!(code, 0..=999 | 1005 | 1006 | 1015 | 5000..) {
                    return Err(Refusal::Other);
                }
                self.closed = Some(*code);
                Ok(())
            }
            Action::Close { .. } if is_new => {
                self.denial = Some((403, Some(0)));
                self.ended = true;
                Ok(())
            }
            Action::Deny(start) if is_new => {
                let length = start.headers.get(b"content-length").map(|length| length[0] - b'0').map(usize::from);
                self.denial = Some((start.status, length));
                Ok(())
            }
            _ => Err(Refusal::OutOfOrder),
        }
    }

    fn part(&mut self, bytes: &[u8], more: bool) -> Result<(), Refusal> {
        if self.denial.and_then(|(_, length)| length).is_some_and(|length| self.body.len() + bytes.len() > length) {
            return Err(Refusal::Other);
        }
        self.body.extend_from_slice(bytes);
        self.body_begun = true;
        self.ended = !more;
        Ok(())
    }

    fn is_whole(&self) -> bool {
        match self.denial {
            Some((_, Some(length))) => self.body_begun && self.body.len() == length || self.ended && length == 0,
            Some((_, None)) => self.ended,
            None => false,
        }
    }
}

fn is_http(action: &Action) -> bool {
    matches!(action, Action::Start(_) | Action::Body { .. } | Action::EarlyHint(_) | Action::Trailers { .. })
}

fn action() -> impl Strategy<Value = Action> {
    let message =
        select(vec![Message::Text("a".to_owned()), Message::Binary(vec![0; 3]), Message::Text(String::new())]);
    let part = (select(vec![&b""[..], b"a", b"abc"]), any::<bool>());
    let length = select(vec![None, Some("3"), Some("1")]);
    prop_oneof![
        3 => prop::option::weighted(0.2, Just("unoffered".to_owned()))
            .prop_map(|subprotocol| Action::Accept { subprotocol, headers: Headers::new() }),
        3 => message.prop_map(Action::Send),
        2 => select(vec![1000, 1005, 3000, 999]).prop_map(close),
        2 => length.prop_map(|length| {
            let headers = Headers::from_iter(length.map(|length| ("content-length", length))).unwrap();
            Action::Deny(ResponseStart { status: 401, headers, trailers: true })
        }),
        4 => part.prop_map(|(bytes, more)| Action::DenyBody { bytes: bytes.to_vec(), more }),
        // Those of plain HTTP.
        1 => Just(Action::Start(ResponseStart { status: 200, ..ResponseStart::default() })),
        1 => Just(Action::Body { bytes: Vec::new(), more: false }),
        1 => Just(Action::EarlyHint(vec![b"</a>".to_vec()])),
        1 => Just(Action::Trailers { headers: Headers::new(), more: false }),
    ]
}

fn apply(driver: &mut Driver, action: Action) -> Result<(), Refusal> {
    let now = driver.now();
    let connection = &mut driver.connection;
    let result = apply_websocket(connection, &action, &now).unwrap_or_else(|| match action {
        Action::Start(start) => connection.start(&start),
        Action::Body { bytes, more } => connection.body(Content::Bytes(bytes), more, &now),
        Action::EarlyHint(links) => connection.early_hint(&links),
        Action::Trailers { headers, more } => connection.trailers(&headers, more, &now),
        other => unreachable!("{other:?}"),
    });
    result.map_err(|error| match error {
        SendError::OutOfOrder { .. } => Refusal::OutOfOrder,
        SendError::Disconnected => Refusal::Gone,
        _ => Refusal::Other,
    })
}

/// The frames of a server, of at most 125 bytes each.
fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, length, rest @ ..] = bytes {
        let (payload, behind) = rest.split_at(usize::from(*length));
        frames.push((first & 0x0f, payload.to_vec()));
        bytes = behind;
    }
    frames
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(3_000),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_application_says_what_it_may_and_nothing_else(
        actions in prop::collection::vec(action(), 0..12),
        failed in any::<bool>(),
    ) {
        let mut driver = asked(limits(), vec![Action::Hang]);
        let mut model = Model::default();
        for action in actions {
            prop_assert_eq!(apply(&mut driver, action.clone()), model.apply(&action), "{:?}", action);
        }
        let now = driver.now();
        let outcome = if failed { Outcome::Failed } else { Outcome::Returned };
        let finished = driver.connection.finish(outcome, &now);
        let mut output = Vec::new();
        take_output(&mut driver.connection, &mut output);
        if !model.accepted {
            let response = read_responses(&output, &[]).unwrap().remove(0);
            let broken = finished == Finished::Truncated;
            let (status, body) = match model.denial {
                Some((status, _)) if model.ended || model.body_begun => (status, &model.body[..]),
                _ => (500, &b"Internal Server Error"[..]),
            };
            prop_assert_eq!((response.status, &response.body[..], response.closes()), (status, body, true));
            prop_assert_eq!(broken, (model.ended || model.body_begun) && !model.is_whole());
            prop_assert_eq!(response.end == End::Whole, !broken);
            prop_assert_eq!(driver.closing(), if broken { Closing::Abort } else { Closing::Flush });
            return Ok(());
        }
        prop_assert_eq!(finished, Finished::Complete);
        let head = output.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        let code = model.closed.unwrap_or(if failed { 1011 } else { 1000 });
        let sent = model.sent.iter().map(|message| {
            (if matches!(message, Message::Text(_)) { 1 } else { 2 }, message.as_bytes().to_vec())
        });
        let expected: Vec<_> = sent.chain([(8, code.to_be_bytes().to_vec())]).collect();
        prop_assert_eq!(frames(&output[head..]), expected);
    }
}
