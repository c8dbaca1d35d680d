//! What happens when nothing happens: each deadline of a connection and of its streams.

use std::time::Duration;

use asgi::Outcome;
use ferricorn_proto::http2::ErrorCode;
use ferricorn_proto::{Closing, Limits, TimeoutKind, http2};

use super::support::{
    ACK, DATA, Driver, END_STREAM, Got, HEADERS, PING, PREFACE, SETTINGS, frame, plain, start, window_update,
};

const SECOND: Duration = Duration::from_secs(1);

fn goes_away(got: &[Got], code: ErrorCode) -> bool {
    matches!(got.last(), Some(Got::GoAway(_, sent, _)) if *sent == code as u32)
}

#[test]
fn a_client_that_says_nothing_is_left() {
    let mut driver = Driver::new(plain());
    driver.write();
    let (time, kind) = driver.wait();
    assert_eq!((time, kind), (10 * SECOND, Some(TimeoutKind::KeepAlive)));
    assert!(goes_away(&driver.take(), ErrorCode::NoError));
    assert_eq!(driver.connection.closing(), Closing::Flush);
    // It has so long to close as well.
    let (time, kind) = driver.wait();
    assert_eq!((time, kind), (2 * SECOND, Some(TimeoutKind::Linger)));
    assert_eq!(driver.connection.closing(), Closing::Now);
}

#[test]
fn a_connection_may_idle_for_so_long() {
    let mut driver = Driver::open_with(plain(), &[]);
    driver.get(1, "/");
    assert_eq!(driver.connection.next_timeout(), None);
    driver.pass(1000 * SECOND);
    driver.respond(1, 200, &[], b"x");
    driver.write();
    let now = driver.now();
    driver.connection.finish(1, Outcome::Returned, &now);
    driver.connection.release(1);
    let (time, kind) = driver.wait();
    assert_eq!((time, kind), (5 * SECOND, Some(TimeoutKind::KeepAlive)));
    assert_eq!(driver.take().last(), Some(&Got::GoAway(1, 0, String::new())));
}

#[test]
fn a_request_in_time_keeps_the_connection() {
    let mut driver = Driver::open_with(plain(), &[]);
    for stream in [1, 3, 5] {
        assert_eq!(driver.pass(4 * SECOND), None);
        driver.get(stream, "/");
        driver.respond(stream, 200, &[], b"x");
        driver.connection.release(stream);
        driver.write();
    }
    assert_eq!(driver.pass(4 * SECOND), None);
    assert_eq!(driver.pass(SECOND), Some(TimeoutKind::KeepAlive));
}

/// A frame that has begun, and a header block.
#[test]
fn what_has_begun_has_to_end() {
    let block = Driver::new(plain()).request(1, "GET /", &[], true);
    for part in [&block[..5], &block[..20], &frame(HEADERS, END_STREAM, 1, &block[9..])] {
        let mut driver = Driver::open_with(plain(), &[]);
        driver.get(101, "/open");
        let shifted: Vec<u8> = part.to_vec();
        let mut shifted = shifted;
        if let Some(last) = shifted.get_mut(8) {
            *last = 103;
        }
        driver.feed(&shifted);
        driver.feed(&[]);
        let (time, kind) = driver.wait();
        assert_eq!((time, kind), (10 * SECOND, Some(TimeoutKind::RequestHead)));
        assert!(goes_away(&driver.take(), ErrorCode::NoError));
        assert!(driver.connection.disconnected(101));
    }
}

#[test]
fn a_body_that_does_not_come() {
    for (answered, limit) in [(false, 60), (true, 60)] {
        let mut driver = Driver::open_with(plain(), &[]);
        let bytes = [driver.request(1, "POST /", &[], false), frame(DATA, 0, 1, b"part")].concat();
        driver.feed(&bytes);
        assert_eq!(driver.connection.next_timeout(), None, "nobody waits");
        driver.take_body(1).unwrap();
        if answered {
            driver.connection.start(1, &start(200, &[])).unwrap();
            driver.body(1, b"begun", true);
            driver.frames();
        }
        let now = driver.now();
        driver.connection.want_body(1, &now);
        let (time, kind) = driver.wait();
        assert_eq!((time, kind), (limit * SECOND, Some(TimeoutKind::RequestBody)));
        let got = driver.take();
        if answered {
            assert_eq!(got, [Got::Reset(1, ErrorCode::Cancel as u32)]);
        } else {
            assert!(matches!(&got[0], Got::Headers(1, fields, false) if fields.starts_with(":status: 408")));
            assert_eq!(got.last(), Some(&Got::Reset(1, ErrorCode::NoError as u32)));
        }
        assert!(driver.connection.disconnected(1));
        driver.connection.release(1);
        assert_eq!(driver.wait(), (5 * SECOND, Some(TimeoutKind::KeepAlive)), "the connection goes on");
    }
}

#[test]
fn a_body_that_comes_slowly_is_waited_for() {
    let mut driver = Driver::open_with(plain(), &[]);
    let bytes = driver.request(1, "POST /", &[], false);
    driver.feed(&bytes);
    for _ in 0..5 {
        let now = driver.now();
        driver.connection.want_body(1, &now);
        assert_eq!(driver.pass(50 * SECOND), None);
        driver.feed(&frame(DATA, 0, 1, b"x"));
        assert_eq!(driver.changed(), [1]);
        assert_eq!(driver.take_body(1), Some((b"x".to_vec(), false)));
    }
}

/// The peer opens no window: its stream is reset, and others go on.
#[test]
fn a_window_that_stays_shut() {
    let mut driver = Driver::open_with(plain(), &[(4, 0)]);
    driver.get(1, "/");
    driver.respond(1, 200, &[], b"waits");
    driver.write();
    driver.pass(30 * SECOND);
    driver.get(3, "/");
    driver.respond(3, 200, &[], b"waits");
    driver.write();
    assert_eq!(driver.wait(), (30 * SECOND, Some(TimeoutKind::Response)));
    assert_eq!(driver.take().last(), Some(&Got::Reset(1, ErrorCode::Cancel as u32)));
    driver.feed(&window_update(3, 100));
    assert_eq!(driver.take(), [Got::Data(3, b"waits".to_vec(), true)]);
    assert_eq!(driver.pass(100 * SECOND), None);
}

/// The peer takes no byte at all.
#[test]
fn a_client_that_stops_reading() {
    let mut driver = Driver::open_with(plain(), &[]);
    driver.get(1, "/");
    driver.writes = false;
    driver.respond(1, 200, &[], b"x");
    assert_eq!(driver.wait(), (60 * SECOND, Some(TimeoutKind::Response)));
    assert_eq!(driver.connection.closing(), Closing::Abort);
    assert!(!driver.connection.wants_input());
}

/// RFC 9113 section 6.5.3.
#[test]
fn settings_are_acknowledged_in_time() {
    let mut driver = Driver::new(plain());
    driver.feed(&[PREFACE, &frame(SETTINGS, 0, 0, b"")].concat());
    driver.get(1, "/");
    assert_eq!(driver.wait(), (20 * SECOND, Some(TimeoutKind::Settings)));
    assert!(goes_away(&driver.take(), ErrorCode::SettingsTimeout));
}

#[test]
fn pings_find_out_who_is_there() {
    let limits = http2::Limits { keep_alive_interval: Some(3 * SECOND), ..http2::Limits::default() };
    let mut driver = Driver::open_with(Limits { http2: Some(limits.into()), ..plain() }, &[]);
    driver.get(1, "/");
    let ping = Got::Ping(b"keepaliv".to_vec());
    for _ in 0..3 {
        assert_eq!(driver.wait(), (3 * SECOND, None));
        assert_eq!(driver.take(), std::slice::from_ref(&ping));
        driver.feed(&frame(PING, ACK, 0, b"keepaliv"));
    }
    // Whatever comes shows that somebody is there.
    driver.pass(2 * SECOND);
    driver.feed(&window_update(0, 1));
    assert_eq!(driver.wait(), (3 * SECOND, None));
    assert_eq!(driver.take(), [ping]);
    assert_eq!(driver.wait(), (20 * SECOND, Some(TimeoutKind::Pong)));
    assert!(goes_away(&driver.take(), ErrorCode::NoError));
    assert!(driver.connection.disconnected(1));
}
