//! WebSockets over HTTP/2 (RFC 8441): the handshake, frames in data both ways, and every end.

use std::time::Duration;

use asgi::{Headers, Message, Outcome, ReceiveEvent, SendError};
use ferricorn_proto::http2::ErrorCode;
use ferricorn_proto::websocket::{self, ProtocolError};
use ferricorn_proto::{Content, Finished, Limits, RequestError, TimeoutKind};

use super::support::{DATA, Driver, END_STREAM, Event, Fields, Got, frame, plain, reset, start, window_update};

const CONNECT: [(&str, &str); 5] = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":authority", "a.example"),
    (":path", "/chat?x"),
];

type Received = ReceiveEvent<Vec<u8>, String>;

/// A client's frame, masked by zeros so that its payload is as it is.
fn client(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

fn data(bytes: &[u8]) -> Vec<u8> {
    frame(DATA, 0, 1, bytes)
}

fn sent(bytes: &[u8], end: bool) -> Got {
    Got::Data(1, bytes.to_vec(), end)
}

/// No pings, so that no time passes unseen.
fn quiet() -> Limits {
    let websocket = websocket::Limits { ping_interval: None, ..websocket::Limits::default() };
    Limits { websocket: Some(websocket.into()), ..plain() }
}

fn asked_with(limits: Limits, more: &[(&str, &str)]) -> Driver {
    let mut driver = Driver::open_with(limits, &[]);
    let bytes = driver.headers_frame(1, &[&CONNECT[..], &[("sec-websocket-version", "13")], more].concat(), false);
    driver.feed(&bytes);
    driver
}

fn asked(more: &[(&str, &str)]) -> Driver {
    let driver = asked_with(quiet(), more);
    assert_eq!(driver.events, [Event::Request(1, "CONNECT /chat?x".to_owned(), true)]);
    driver
}

fn accepted() -> Driver {
    let mut driver = asked(&[]);
    assert_eq!(receive(&mut driver), Some(ReceiveEvent::WebSocketConnect));
    let now = driver.now();
    driver.connection.websocket_accept(1, None, &Headers::new(), &now).unwrap();
    assert_eq!(driver.frames(), [Got::Headers(1, ":status: 200".to_owned(), false)]);
    driver
}

/// What `receive` gives, as a driver asks for it.
fn receive(driver: &mut Driver) -> Option<Received> {
    let ended = !driver.connection.exchange_is_open(1);
    let event = driver.connection.websocket(1)?.receive(ended, |message| match message {
        Message::Text(text) => Message::Text(text.to_owned()),
        Message::Binary(bytes) => Message::Binary(bytes.to_vec()),
    });
    let now = driver.now();
    assert_eq!(driver.connection.feed_websocket(1, false, &now), None);
    event
}

fn text(text: &str) -> Option<Received> {
    Some(ReceiveEvent::WebSocketReceive(Message::Text(text.to_owned())))
}

fn closed(code: u16, reason: &str) -> Option<Received> {
    Some(ReceiveEvent::WebSocketDisconnect { code, reason: reason.to_owned() })
}

/// The first message, without a look at what stands behind it.
fn take_one(driver: &mut Driver) -> Option<Received> {
    driver.connection.websocket(1)?.receive(false, |message| match message {
        Message::Text(text) => Message::Text(text.to_owned()),
        Message::Binary(bytes) => Message::Binary(bytes.to_vec()),
    })
}

/// Autobahn's cases 3.2, 4.1.3 and their like: a bad frame behind a good message.
#[test]
fn what_an_application_that_waits_says_of_a_message_goes_ahead_of_what_stands_behind_it() {
    let mut driver = accepted();
    let now = driver.now();
    assert_eq!(driver.connection.feed_websocket(1, true, &now), None);
    // The second has a reserved bit set.
    driver.feed(&data(&[client(0x81, b"good"), client(0xa1, b"bad")].concat()));
    assert_eq!(driver.frames(), []);
    assert_eq!(take_one(&mut driver), text("good"));
    driver.connection.websocket_send(1, Message::<Vec<u8>, String>::Text("echo".to_owned()), &now).unwrap();
    assert_eq!(driver.connection.feed_websocket(1, true, &now), Some(ProtocolError::ReservedBit));
    let frames = driver.frames();
    assert_eq!(frames[0], sent(b"\x81\x04echo", false));
    assert!(matches!(&frames[1], Got::Data(1, bytes, _) if bytes[0] == 0x88), "{frames:?}");
}

#[test]
fn what_stands_behind_a_message_is_read_once_nobody_waits() {
    let mut driver = accepted();
    let now = driver.now();
    assert_eq!(driver.connection.feed_websocket(1, true, &now), None);
    driver.feed(&data(&[client(0x81, b"a"), client(0x89, b"ping"), client(0x81, b"b")].concat()));
    assert_eq!(driver.frames(), []);
    assert_eq!(driver.connection.feed_websocket(1, false, &now), None);
    assert_eq!(driver.frames(), [sent(b"\x8a\x04ping", false)]);
    assert_eq!((take_one(&mut driver), take_one(&mut driver)), (text("a"), text("b")));
}

#[test]
fn a_close_frame_behind_a_message_is_seen_when_the_stream_ends() {
    let mut driver = accepted();
    let now = driver.now();
    assert_eq!(driver.connection.feed_websocket(1, true, &now), None);
    driver.feed(&frame(DATA, END_STREAM, 1, &[client(0x81, b"a"), client(0x88, b"\x03\xe8")].concat()));
    assert_eq!(take_one(&mut driver), text("a"));
    assert_eq!(take_one(&mut driver), closed(1000, ""));
}

/// RFC 8441 section 5.
#[test]
fn an_extended_connect_is_accepted_by_a_200() {
    let mut driver = asked(&[
        ("sec-websocket-protocol", "a, b"),
        ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"),
    ]);
    assert!(driver.connection.extensions(1).denial_response);
    assert!(!driver.connection.extensions(1).trailers);
    assert_eq!(driver.connection.websocket(1).unwrap().subprotocols(), ["a", "b"]);
    let now = driver.now();
    let fields = Headers::from_iter([("x", "y"), ("connection", "upgrade"), ("upgrade", "websocket")]).unwrap();
    assert!(matches!(
        driver.connection.websocket_accept(1, Some("c"), &fields, &now),
        Err(SendError::Subprotocol(name)) if name == "c"
    ));
    driver.connection.websocket_accept(1, Some("b"), &fields, &now).unwrap();
    let extensions = "permessage-deflate; server_max_window_bits=13; client_max_window_bits=12";
    let fields = format!(":status: 200\nsec-websocket-protocol: b\nsec-websocket-extensions: {extensions}\nx: y");
    assert_eq!(driver.frames(), [Got::Headers(1, fields, false)]);
    assert_eq!(driver.connection.response_status(1), Some(200));
    assert!(driver.connection.websocket_accept(1, None, &Headers::new(), &now).is_err());
}

#[test]
fn handshakes_that_break_the_rules_are_refused() {
    let cases: [(RequestError, u16, Fields<'_>); 4] = [
        (RequestError::WebSocketVersion, 426, &[]),
        (RequestError::WebSocketVersion, 426, &[("sec-websocket-version", "8")]),
        (
            RequestError::WebSocketSubprotocols,
            400,
            &[("sec-websocket-version", "13"), ("sec-websocket-protocol", "a b")],
        ),
        (RequestError::WebSocketExtensions, 400, &[("sec-websocket-version", "13"), ("sec-websocket-extensions", ";")]),
    ];
    for (error, status, more) in cases {
        let mut driver = Driver::open_with(quiet(), &[]);
        let bytes = driver.headers_frame(1, &[&CONNECT[..], more].concat(), false);
        driver.feed(&bytes);
        assert_eq!(driver.events, [Event::Refused(error)]);
        let got = driver.take();
        let Got::Headers(1, fields, false) = &got[0] else { panic!("{got:?}") };
        assert!(fields.starts_with(&format!(":status: {status}")), "{fields}");
        assert_eq!(fields.contains("sec-websocket-version: 13"), status == 426);
    }
    // Other protocols, and none where there are no WebSockets.
    let mut driver = Driver::open_with(quiet(), &[]);
    let mut fields = CONNECT;
    fields[1].1 = "connect-udp";
    let bytes = driver.headers_frame(1, &fields, false);
    driver.feed(&bytes);
    assert_eq!(driver.events, [Event::Refused(RequestError::Connect)]);
    let driver = asked_with(Limits { websocket: None, ..plain() }, &[]);
    assert_eq!(driver.events, [Event::Refused(RequestError::PseudoHeader)]);
}

#[test]
fn messages_go_both_ways() {
    let mut driver = accepted();
    driver.feed(&data(&client(0x81, b"hello")));
    assert_eq!(driver.changed(), [1]);
    assert_eq!(receive(&mut driver), text("hello"));
    assert_eq!(receive(&mut driver), None);
    let now = driver.now();
    driver.connection.websocket_send(1, Message::<Vec<u8>, String>::Text("world".to_owned()), &now).unwrap();
    assert_eq!(driver.frames(), [sent(b"\x81\x05world", false)]);
    driver.connection.websocket_send(1, Message::<_, String>::Binary(vec![7; 70_000]), &now).unwrap();
    // The window has room for 65,535 bytes in all.
    let length: usize =
        driver.frames().iter().map(|frame| if let Got::Data(_, bytes, _) = frame { bytes.len() } else { 0 }).sum();
    assert_eq!(length, 65_535 - 7);
    assert_eq!(driver.connection.unsent(1), 70_010 - 65_528);
    driver.feed(&[window_update(0, 10_000), window_update(1, 10_000)].concat());
    assert_eq!(driver.connection.unsent(1), 0);
    assert!(driver.take_body(1).is_none());
    assert!(driver.connection.is_idle());
}

/// However the bytes are cut into frames, and frames into reads.
#[test]
fn every_split_gives_the_same() {
    let stream =
        [client(0x01, b"one "), client(0x89, b"ping"), client(0x80, b"message"), client(0x82, b"two")].concat();
    for size in [1, 2, 3, 7, 100] {
        for by_byte in [false, true] {
            let mut driver = accepted();
            for part in stream.chunks(size) {
                let bytes = data(part);
                if by_byte {
                    bytes.iter().for_each(|byte| driver.feed(&[*byte]));
                } else {
                    driver.feed(&bytes);
                }
            }
            assert_eq!(receive(&mut driver), text("one message"));
            assert_eq!(receive(&mut driver), Some(ReceiveEvent::WebSocketReceive(Message::Binary(b"two".to_vec()))));
            assert_eq!(driver.frames(), [sent(b"\x8a\x04ping", false)]);
        }
    }
}

/// What came ahead of the acceptance, END_STREAM and all, is handled behind it.
#[test]
fn a_client_may_be_early() {
    let mut driver = asked(&[]);
    driver.feed(&frame(DATA, END_STREAM, 1, &[client(0x81, b"early"), client(0x88, b"\x03\xe8")].concat()));
    assert_eq!(receive(&mut driver), Some(ReceiveEvent::WebSocketConnect));
    let now = driver.now();
    driver.connection.websocket_accept(1, None, &Headers::new(), &now).unwrap();
    assert_eq!(driver.frames()[1..], [sent(b"\x88\x02\x03\xe8", true)]);
    assert_eq!(receive(&mut driver), text("early"));
    assert_eq!(receive(&mut driver), closed(1000, ""));
}

/// The queue is full: what waits is without credit, until messages are taken.
#[test]
fn messages_that_nobody_takes_hold_up_their_stream() {
    let mut driver = accepted();
    let message = client(0x82, &[7; 16_000]);
    let mut fed = 0;
    while fed < 1024 * 1024 - 17_000 {
        driver.feed(&data(&message));
        fed += message.len();
    }
    assert!(driver.frames().is_empty());
    let mut messages = 0;
    while let Some(ReceiveEvent::WebSocketReceive(_)) = receive(&mut driver) {
        messages += 1;
    }
    assert_eq!(messages, fed / message.len());
    assert!(matches!(&driver.frames()[..], [Got::WindowUpdate(1, increment)] if *increment >= 512 * 1024));
}

#[test]
fn the_application_closes() {
    let mut driver = accepted();
    let now = driver.now();
    assert!(matches!(driver.connection.websocket_close(1, 999, "", &now), Err(SendError::CloseCode(999))));
    driver.connection.websocket_close(1, 3000, "bye", &now).unwrap();
    assert_eq!(driver.frames(), [sent(b"\x88\x05\x0b\xb8bye", false)]);
    assert!(driver.connection.disconnected(1) && !driver.connection.exchange_is_open(1));
    assert!(matches!(driver.connection.websocket_close(1, 3000, "", &now), Err(SendError::Disconnected)));
    let send = driver.connection.websocket_send(1, Message::<Vec<u8>, String>::Text(String::new()), &now);
    assert!(matches!(send, Err(SendError::Disconnected)));
    // The client's close frame ends the handshake, and with it the stream.
    driver.feed(&data(&client(0x88, b"\x0b\xb8")));
    assert_eq!(driver.take(), [sent(b"", true), Got::Reset(1, ErrorCode::NoError as u32)]);
    assert_eq!(driver.connection.finish(1, Outcome::Returned, &now), Finished::Complete);
    driver.connection.release(1);
    assert!(driver.connection.websocket(1).is_none());
    assert!(driver.connection.is_idle());
}

#[test]
fn the_client_closes() {
    let mut driver = accepted();
    driver.feed(&frame(DATA, END_STREAM, 1, &client(0x88, b"\x03\xe9gone")));
    assert_eq!(driver.take(), [sent(b"\x88\x02\x03\xe9", true)]);
    assert_eq!(receive(&mut driver), closed(1001, "gone"));
    assert_eq!(receive(&mut driver), closed(1001, "gone"));
}

/// Without a close frame: the application is told 1006, and the stream reset.
#[test]
fn abnormal_ends() {
    let mut driver = accepted();
    driver.feed(&[data(&client(0x81, b"last")), frame(DATA, END_STREAM, 1, b"")].concat());
    assert_eq!(driver.take(), [Got::Reset(1, ErrorCode::Cancel as u32)]);
    assert_eq!(receive(&mut driver), text("last"));
    assert_eq!(receive(&mut driver), closed(1006, ""));

    let mut driver = accepted();
    driver.feed(&reset(1, 8));
    assert_eq!(driver.changed(), [1]);
    assert_eq!(receive(&mut driver), closed(1006, ""));

    let mut driver = asked(&[]);
    driver.feed(&reset(1, 8));
    assert_eq!(receive(&mut driver), Some(ReceiveEvent::WebSocketConnect));
    assert_eq!(receive(&mut driver), closed(1006, ""));

    let mut driver = accepted();
    driver.connection.handle_end_of_input();
    let mut orphan = driver.connection.take_websocket(1).unwrap();
    assert_eq!(orphan.receive(true, |_| -> Message { unreachable!() }), closed(1006, ""));
}

#[test]
fn violations_close_their_stream() {
    let mut driver = accepted();
    driver.feed(&data(b"\x81\x02no"));
    assert_eq!(driver.events[1..], [Event::Violation(ProtocolError::Unmasked)]);
    let got = driver.take();
    assert!(matches!(&got[0], Got::Data(1, bytes, true) if bytes.starts_with(b"\x88") && bytes[2..4] == [0x03, 0xea]));
    assert!(driver.connection.disconnected(1));
    driver.get(3, "/");
    assert_eq!(driver.events.len(), 3);
}

/// WS-11, EXT-01.
#[test]
fn handshakes_are_denied() {
    let mut driver = asked(&[]);
    let now = driver.now();
    driver.connection.websocket_close(1, 1000, "", &now).unwrap();
    let fields = ":status: 403\ncontent-type: text/plain; charset=utf-8\ncontent-length: 0".to_owned();
    assert_eq!(driver.frames(), [Got::Headers(1, fields, true), Got::Reset(1, 0)]);

    let mut driver = asked(&[]);
    driver.connection.websocket_response_start(1, &start(401, &[("x", "y")])).unwrap();
    driver.connection.websocket_response_body(1, Content::Bytes(b"who are you?".to_vec()), false, &now).unwrap();
    let fields = ":status: 401\nx: y\ncontent-length: 12".to_owned();
    assert_eq!(driver.frames(), [Got::Headers(1, fields, false), sent(b"who are you?", true), Got::Reset(1, 0)]);
    assert!(matches!(driver.connection.websocket_close(1, 1000, "", &now), Err(SendError::Disconnected)));
    assert_eq!(driver.connection.websocket(1).unwrap().subprotocols().len(), 0);

    // The application says nothing at all.
    let mut driver = asked(&[]);
    assert_eq!(driver.connection.finish(1, Outcome::Failed, &now), Finished::Failed500);
    assert!(matches!(&driver.frames()[0], Got::Headers(1, fields, false) if fields.starts_with(":status: 500")));
}

/// WS-21.
#[test]
fn a_call_that_ends_closes() {
    for (outcome, code) in [(Outcome::Returned, 1000_u16), (Outcome::Failed, 1011)] {
        let mut driver = accepted();
        let now = driver.now();
        assert_eq!(driver.connection.finish(1, outcome, &now), Finished::Complete);
        driver.connection.release(1);
        assert_eq!(driver.frames(), [sent(&[&[0x88, 2][..], &code.to_be_bytes()].concat(), false)]);
        driver.feed(&frame(DATA, END_STREAM, 1, &client(0x88, b"")));
        assert_eq!(driver.take(), [sent(b"", true)]);
        assert!(driver.connection.is_idle());
    }
}

/// WS-27.
#[test]
fn a_restart_closes_with_1012() {
    let mut driver = accepted();
    let bytes = driver.headers_frame(3, &[&CONNECT[..], &[("sec-websocket-version", "13")]].concat(), false);
    driver.feed(&bytes);
    let now = driver.now();
    driver.connection.websocket_restart(&now);
    let close = [0x88, 2, 0x03, 0xf4];
    assert_eq!(driver.frames(), [sent(&close, false)]);
    driver.connection.websocket_accept(3, None, &Headers::new(), &now).unwrap();
    assert_eq!(driver.frames().last(), Some(&Got::Data(3, close.to_vec(), false)));
}

#[test]
fn a_close_that_nobody_answers() {
    let mut driver = accepted();
    let now = driver.now();
    driver.connection.websocket_close(1, 1000, "", &now).unwrap();
    driver.frames();
    assert_eq!(driver.wait(), (Duration::from_secs(10), Some(TimeoutKind::Close)));
    assert_eq!(driver.take(), [Got::Reset(1, ErrorCode::Cancel as u32)]);
}

#[test]
fn pings_find_out_whether_a_client_is_there() {
    let mut driver = asked_with(plain(), &[]);
    let now = driver.now();
    driver.connection.websocket_accept(1, None, &Headers::new(), &now).unwrap();
    driver.frames();
    assert_eq!(driver.wait(), (Duration::from_secs(20), None));
    let got = driver.take();
    let Got::Data(1, ping, false) = &got[0] else { panic!("{got:?}") };
    assert_eq!(ping[0], 0x89);
    driver.pass(Duration::from_millis(250));
    driver.feed(&data(&client(0x8a, &ping[2..])));
    assert_eq!(driver.connection.take_round_trip(), Some(Duration::from_millis(250)));
    assert_eq!(driver.connection.take_round_trip(), None);
    // The next one is not answered.
    while driver.take().is_empty() {
        driver.wait();
    }
    assert_eq!(driver.wait().1, Some(TimeoutKind::Pong));
    assert!(matches!(&driver.take()[0], Got::Data(1, bytes, true) if bytes[2..4] == 1011_u16.to_be_bytes()));
    assert!(driver.connection.disconnected(1));
}

/// permessage-deflate over a stream: what was compressed is given out as it was.
#[test]
fn messages_are_compressed() {
    let mut driver = asked(&[("sec-websocket-extensions", "permessage-deflate")]);
    let now = driver.now();
    driver.connection.websocket_accept(1, None, &Headers::new(), &now).unwrap();
    driver.frames();
    let long = "compressible ".repeat(500);
    driver.connection.websocket_send(1, Message::<Vec<u8>, String>::Text(long.clone()), &now).unwrap();
    let got = driver.frames();
    let Got::Data(1, bytes, false) = &got[0] else { panic!("{got:?}") };
    assert!(bytes.len() < 300 && bytes[0] == 0xc1);
    // What the server compressed, it understands as well.
    let payload = if bytes[1] == 126 { &bytes[4..] } else { &bytes[2..] };
    driver.feed(&data(&client(0xc1, payload)));
    assert_eq!(receive(&mut driver), Some(ReceiveEvent::WebSocketConnect));
    assert_eq!(receive(&mut driver), text(&long));
}

/// WS-19: what belongs to a WebSocket is refused on any other stream, and ahead of its handshake's answer.
#[test]
fn events_of_a_websocket_have_their_place() {
    let mut driver = asked(&[]);
    let now = driver.now();
    let message = || Message::<Vec<u8>, String>::Text("early".to_owned());
    assert!(matches!(driver.connection.websocket_send(1, message(), &now), Err(SendError::OutOfOrder { .. })));
    driver.get(3, "/");
    assert!(matches!(driver.connection.websocket_send(3, message(), &now), Err(SendError::OutOfOrder { .. })));
    let accepted = driver.connection.websocket_accept(3, None, &Headers::new(), &now);
    assert!(matches!(accepted, Err(SendError::OutOfOrder { .. })));
    assert!(matches!(driver.connection.websocket_close(3, 1000, "", &now), Err(SendError::OutOfOrder { .. })));
    assert_eq!(driver.frames(), []);
    driver.respond(3, 204, &[], b"");
    assert_eq!(driver.frames().len(), 1);
}

/// A connection with nothing but WebSockets, which are quiet, gives memory back and goes on.
#[test]
fn quiet_websockets_give_their_memory_back() {
    let mut driver = accepted();
    driver.feed(&data(&client(0x82, &[7; 16_000])));
    assert!(receive(&mut driver).is_some());
    assert!(driver.connection.is_idle());
    driver.connection.release_memory();
    driver.feed(&data(&client(0x81, b"again")));
    assert_eq!(receive(&mut driver), text("again"));
    let now = driver.now();
    driver.connection.websocket_send(1, Message::<Vec<u8>, String>::Text("echo".to_owned()), &now).unwrap();
    assert_eq!(driver.frames(), [sent(b"\x81\x04echo", false)]);
}
