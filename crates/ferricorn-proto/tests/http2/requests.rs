//! Requests and responses (RFC 9113 section 8).

use asgi::Outcome;
use ferricorn_proto::{Finished, Limits, http2};

use super::support::{DATA, Driver, END_STREAM, Event, Got, RST_STREAM, frame, plain};

/// RFC 9113 section 3.4: the server's SETTINGS are its first frame.
#[test]
fn the_settings_come_first() {
    let mut driver = Driver::new(plain());
    let got = driver.frames();
    let Got::Settings(settings) = &got[0] else { panic!("{got:?}") };
    assert_eq!(settings, &[(3, 128), (4, 1024 * 1024), (6, 65_536), (8, 1), (9, 1)]);
    assert_eq!(got[1..], [Got::WindowUpdate(0, 2 * 1024 * 1024 - 65_535)]);
}

#[test]
fn a_get_is_answered() {
    let mut driver = Driver::open_with(plain(), &[]);
    driver.get(1, "/path?query");
    assert_eq!(driver.events, [Event::Request(1, "GET /path?query".to_owned(), false)]);
    assert_eq!(driver.headers[&1].as_block(), b"host: a.example\r\n");
    assert!(driver.connection.request_complete(1));
    driver.respond(1, 200, &[("x", "y")], b"hello");
    let fields = ":status: 200\nx: y\ncontent-length: 5".to_owned();
    assert_eq!(driver.frames(), [Got::Headers(1, fields, false), Got::Data(1, b"hello".to_vec(), true)]);
    let now = driver.now();
    assert!(!driver.connection.exchange_is_open(1));
    assert_eq!(driver.connection.finish(1, Outcome::Returned, &now), Finished::Complete);
    driver.connection.release(1);
    assert_eq!(driver.connection.response_status(1), None);
    assert!(driver.connection.is_idle());
}

#[test]
fn a_body_is_taken_and_its_window_given_back() {
    let mut driver = Driver::open_with(plain(), &[]);
    let bytes = [
        driver.request(1, "POST /", &[("content-length", "600000")], false),
        frame(DATA, 0, 1, &[b'x'; 16_384]).repeat(36),
        frame(DATA, END_STREAM, 1, &[b'y'; 600_000 - 36 * 16_384]),
    ]
    .concat();
    driver.feed(&bytes);
    assert_eq!(driver.events, [Event::Request(1, "POST /".to_owned(), true)]);
    assert!(driver.frames().is_empty());
    let (body, end) = driver.take_body(1).unwrap();
    assert_eq!((body.len(), end), (600_000, true));
    assert!(driver.connection.request_complete(1));
    assert!(driver.take_body(1).is_none());
    driver.respond(1, 204, &[], b"");
    assert_eq!(driver.frames(), [Got::Headers(1, ":status: 204".to_owned(), true)]);
}

/// RFC 9113 section 5.1: frames on a stream that the peer has reset itself are its error, which it is told once.
#[test]
fn frames_behind_a_reset_of_the_peer_are_refused_once() {
    for trailers in [false, true] {
        let mut driver = Driver::open_with(plain(), &[]);
        let first = driver.request(1, "POST /", &[], false);
        driver.feed(&[first, frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes())].concat());
        let behind =
            if trailers { driver.request(1, "POST /", &[], true) } else { frame(DATA, END_STREAM, 1, b"late") };
        driver.feed(&behind.repeat(2));
        assert_eq!(driver.frames(), [Got::Reset(1, 5)], "trailers: {trailers}");
    }
}

/// RFC 9113 section 5.1: what was on its way for a stream that the server has refused is let go. Each frame was answered by
/// one more RST_STREAM, and many uploads that were refused made a flood.
#[test]
fn http2_5_1_frames_of_a_refused_stream_are_let_go() {
    let limits = http2::Limits { max_concurrent_streams: 1, ..http2::Limits::default() };
    let mut driver = Driver::open_with(Limits { http2: Some(limits.into()), ..plain() }, &[]);
    driver.get(1, "/");
    let late = [
        driver.request(3, "POST /", &[], false),
        frame(DATA, 0, 3, b"upload"),
        frame(DATA, 0, 3, b"upload"),
        driver.headers_frame(3, &[("checksum", "1")], true),
    ];
    driver.feed(&late.concat());
    assert_eq!(driver.frames(), [Got::Reset(3, http2::ErrorCode::RefusedStream as u32)]);
    assert_eq!(driver.events.len(), 1);
}
