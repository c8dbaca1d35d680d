//! What fuzzing has found; each test says above it what was wrong.

use std::time::Duration;

use asgi::{Headers, Outcome};
use ferricorn_proto::http2::ConnectionError;
use ferricorn_proto::{Drain, RequestError, TimeoutKind};

use super::support::{
    CONTINUATION, DATA, Driver, END_HEADERS, END_STREAM, Event, Got, HEADERS, PRIORITY, frame, plain, window_update,
};

fn open() -> Driver {
    Driver::open_with(plain(), &[])
}

/// It was reset, though it had not begun: a client may not take that for anything, and the request that came later on the
/// stream was answered behind it (RFC 9113 section 6.4).
#[test]
fn a_stream_that_has_not_begun_is_not_reset() {
    for (payload, error) in [(&[0; 4][..], ConnectionError::FrameSize), (&[0, 0, 0, 1, 0], ConnectionError::IdleStream)]
    {
        let mut driver = open();
        driver.feed(&frame(PRIORITY, 0, 1, payload));
        assert_eq!(driver.events, [Event::Broken(error)]);
        assert!(matches!(&driver.frames()[..], [Got::GoAway(0, _, _)]));
    }
}

/// The deadline of its header block stayed behind, and closed the connection.
#[test]
fn a_refused_request_in_two_frames_leaves_no_deadline() {
    let mut driver = open();
    driver.get(1, "/");
    let block = driver.block(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("Upper", "x")]);
    driver.feed(&frame(HEADERS, END_STREAM, 3, &block[..5]));
    driver.feed(&frame(CONTINUATION, END_HEADERS, 3, &block[5..]));
    assert_eq!(driver.events.last(), Some(&Event::Refused(RequestError::FieldName)));
    assert_eq!(driver.pass(Duration::from_secs(15)), None);
    assert!(driver.connection.exchange_is_open(1));
}

/// A second header block resets the stream; what was there of the body came as an empty one that is whole.
#[test]
fn a_body_that_was_given_up_never_looks_whole() {
    let mut driver = open();
    let post = driver.request(1, "POST /", &[], false);
    let again = driver.request(1, "POST /", &[], true);
    driver.feed(&[post, frame(DATA, END_STREAM, 1, b"x"), again].concat());
    assert_eq!(driver.frames(), [Got::Reset(1, 5)]);
    assert!(driver.take_body(1).is_none());
    assert!(driver.connection.disconnected(1));
}

/// Windows were opened and streams reset behind the GOAWAY that ends the connection.
#[test]
fn nothing_is_said_behind_the_last_go_away() {
    let mut driver = open();
    let post = driver.request(1, "POST /", &[], false);
    driver.feed(&[post, frame(DATA, 0, 1, &[0; 16_384]).repeat(50), window_update(2, 1)].concat());
    assert_eq!(driver.events.last(), Some(&Event::Broken(ConnectionError::IdleStream)));
    assert!(matches!(&driver.frames()[..], [Got::GoAway(1, 1, _)]));
    driver.take_body(1);
    let now = driver.now();
    driver.connection.finish(1, Outcome::Failed, &now);
    driver.connection.release(1);
    assert!(driver.frames().is_empty());
}

/// The same of a WebSocket whose application ended then.
#[test]
fn a_websocket_says_nothing_behind_the_last_go_away() {
    let mut driver = open();
    let fields = [(":protocol", "websocket"), ("sec-websocket-version", "13")];
    let connect = driver.request(1, "CONNECT /", &fields, false);
    driver.feed(&connect);
    let now = driver.now();
    driver.connection.websocket_accept(1, None, &Headers::new(), &now).unwrap();
    driver.frames();
    driver.feed(&window_update(2, 1));
    driver.connection.finish(1, Outcome::Returned, &now);
    assert!(matches!(&driver.frames()[..], [Got::GoAway(1, 1, _)]));
}

/// What a client does wrong in its WebSocket was not told where the stream ended with the same frame.
#[test]
fn a_violation_is_told_also_at_the_end_of_a_stream() {
    let mut driver = open();
    let fields = [(":protocol", "websocket"), ("sec-websocket-version", "13")];
    let connect = driver.request(1, "CONNECT /", &fields, false);
    driver.feed(&connect);
    let now = driver.now();
    driver.connection.websocket_accept(1, None, &Headers::new(), &now).unwrap();
    driver.feed(&frame(DATA, END_STREAM, 1, &[0x83, 0x80, 0, 0, 0, 0]));
    assert!(matches!(driver.events.last(), Some(Event::Violation(_))), "{:?}", driver.events);
}

/// The stream of a WebSocket that ends was closed only behind all of a read: the next request in it was one too many.
#[test]
fn a_websocket_that_ends_makes_room_at_once() {
    let mut driver = Driver::open_with(one_stream(), &[]);
    let fields = [(":protocol", "websocket"), ("sec-websocket-version", "13")];
    let connect = driver.request(1, "CONNECT /", &fields, false);
    driver.feed(&connect);
    let now = driver.now();
    driver.connection.websocket_accept(1, None, &Headers::new(), &now).unwrap();
    driver.connection.finish(1, Outcome::Returned, &now);
    driver.connection.release(1);
    let close = [&[0x88, 0x82, 0, 0, 0, 0][..], &1000_u16.to_be_bytes()].concat();
    let get = driver.request(3, "GET /", &[], true);
    driver.feed(&[frame(DATA, END_STREAM, 1, &close), get].concat());
    assert_eq!(driver.events.last(), Some(&Event::Request(3, "GET /".to_owned(), false)));
}

fn one_stream() -> ferricorn_proto::Limits {
    let http2 = ferricorn_proto::http2::Limits { max_concurrent_streams: 1, ..Default::default() };
    ferricorn_proto::Limits { http2: Some(std::rc::Rc::new(http2)), ..plain() }
}

/// What came in one read behind the last frame of the last stream was still looked at.
#[test]
fn a_connection_that_has_come_to_its_end_reads_no_further() {
    let mut driver = open();
    driver.get(1, "/");
    driver.connection.drain(Drain::Quick);
    driver.feed(&[super::support::reset(1, 8), window_update(9, 1)].concat());
    assert_eq!(driver.events.len(), 1, "{:?}", driver.events);
}

/// What came in one read behind the end of the last stream, and had to be answered, kept the time from beginning.
#[test]
fn a_connection_idles_from_the_end_of_its_last_stream() {
    let mut driver = open();
    driver.get(1, "/");
    driver.connection.release(1);
    driver.writes = false;
    driver.feed(&[super::support::reset(1, 8), frame(super::support::PING, 0, 0, &[0; 8])].concat());
    assert_eq!(driver.pass(Duration::from_secs(5)), Some(TimeoutKind::KeepAlive));
}

/// One of nothing, on a stream that had been reset before, was answered by another reset.
#[test]
fn a_window_update_behind_a_reset_is_let_go() {
    let mut driver = open();
    driver.get(1, "/");
    driver.get(3, "/");
    driver.connection.start(1, &super::support::start(200, &[("content-length", "2")])).unwrap();
    driver.body(1, b"x", false);
    assert!(matches!(driver.frames().last(), Some(Got::Reset(1, _))));
    driver.feed(&window_update(1, 0));
    assert_eq!(driver.frames(), []);
}
