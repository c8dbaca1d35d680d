//! PRIORITY_UPDATE for streams that have not begun (RFC 9218 section 7.1).

use ferricorn_proto::http2::{ConnectionError, ErrorCode};
use ferricorn_proto::{Drain, Limits, http2};

use super::flow::order;
use super::support::{Driver, Event, Got, PREFACE, SETTINGS, frame, plain, priority_update, window_update};

/// One whose connection's window is used up, so that nothing of a body goes before a test opens it.
fn shut() -> Driver {
    let mut driver = Driver::open_with(plain(), &[(4, 1 << 20)]);
    driver.get(1, "/");
    driver.respond(1, 200, &[], &[0; 65_535]);
    driver.frames();
    driver
}

/// Streams whose requests have this value of `priority`, answered.
fn ask(driver: &mut Driver, streams: &[u32], priority: Option<&str>) {
    for &stream in streams {
        let fields: Vec<(&str, &str)> = priority.iter().map(|value| ("priority", *value)).collect();
        let bytes = driver.request(stream, "GET /", &fields, true);
        driver.feed(&bytes);
        driver.respond(stream, 200, &[], &[b'x'; 20_000]);
    }
    driver.frames();
}

fn opened(driver: &mut Driver) -> Vec<u32> {
    driver.feed(&window_update(0, 1 << 20));
    order(&driver.take())
}

/// Four streams at once, for those who can count.
fn four(settings_known: bool) -> Driver {
    let limits = http2::Limits { max_concurrent_streams: 4, ..http2::Limits::default() };
    let limits = Limits { http2: Some(limits.into()), ..plain() };
    if settings_known {
        return Driver::open_with(limits, &[]);
    }
    let mut driver = Driver::new(limits);
    driver.feed(&[PREFACE, &frame(SETTINGS, 0, 0, b"")].concat());
    driver
}

#[test]
fn rfc_9218_7_1_what_is_said_ahead_of_a_stream_counts_for_it() {
    let mut driver = shut();
    driver.feed(&[priority_update(7, "u=0"), priority_update(3, "u=6, i")].concat());
    ask(&mut driver, &[3, 5, 7], None);
    assert_eq!(opened(&mut driver), [7, 5, 3]);
}

/// Only the last of several is kept, and it has the last word: over the field `priority` of the request as well.
#[test]
fn rfc_9218_7_1_the_last_word_counts() {
    let mut driver = shut();
    driver.feed(&[priority_update(7, "u=7"), priority_update(7, "u=1"), priority_update(5, "u=2")].concat());
    ask(&mut driver, &[3, 5, 7], Some("u=4"));
    assert_eq!(opened(&mut driver), [7, 5, 3]);

    // One that comes later changes it again.
    let mut driver = shut();
    driver.feed(&priority_update(7, "u=1"));
    ask(&mut driver, &[3, 5, 7], Some("u=4"));
    driver.feed(&priority_update(7, "u=5"));
    assert_eq!(opened(&mut driver), [3, 5, 7]);
}

/// A value that is not understood is as one that says nothing (section 4).
#[test]
fn rfc_9218_4_a_value_that_says_nothing() {
    let mut driver = shut();
    driver.feed(&priority_update(5, "\u{1f600}"));
    ask(&mut driver, &[3, 5], Some("u=1"));
    assert_eq!(opened(&mut driver), [3, 5]);
}

#[test]
fn rfc_9218_7_1_no_more_streams_than_may_be_open() {
    let mut driver = four(true);
    driver.get(1, "/");
    driver.get(3, "/");
    driver.feed(&[priority_update(7, "u=1"), priority_update(5, "u=1"), priority_update(7, "u=2")].concat());
    // A stream that ends makes room for one more, and so do those that never begin.
    driver.respond(1, 200, &[], b"");
    driver.feed(&priority_update(9, "u=1"));
    driver.get(11, "/");
    driver.feed(&[priority_update(13, "u=1"), priority_update(15, "u=1")].concat());
    assert_eq!(driver.events.len(), 3);
    driver.feed(&priority_update(17, "u=1"));
    assert_eq!(driver.events[3..], [Event::Broken(ConnectionError::PriorityUpdate)]);
    let code = ErrorCode::ProtocolError as u32;
    assert!(matches!(driver.take().last(), Some(Got::GoAway(11, last, _)) if *last == code));
}

/// Before it knows the settings, a client cannot know how many that are: the others are forgotten.
#[test]
fn rfc_9218_7_1_a_client_that_cannot_know_the_number() {
    let mut driver = four(false);
    for stream in (1..100).step_by(2) {
        driver.feed(&priority_update(stream, "u=1"));
    }
    (1..9).step_by(2).for_each(|stream| driver.get(stream, "/"));
    assert_eq!(driver.events.len(), 4);
    assert!(driver.events.iter().all(|event| matches!(event, Event::Request(..))));
}

/// Streams that are over, and those that are not begun any more.
#[test]
fn rfc_9218_7_1_streams_that_nothing_comes_of() {
    let mut driver = four(true);
    driver.get(5, "/");
    driver.respond(5, 200, &[], b"");
    driver.connection.release(5);
    driver.get(7, "/");
    driver.connection.drain(Drain::Quick);
    driver.frames();
    let streams = (1..200).step_by(2);
    driver.feed(&streams.flat_map(|stream| priority_update(stream, "u=1")).collect::<Vec<u8>>());
    assert_eq!((driver.events.len(), driver.take()), (2, Vec::new()));
    driver.connection.release_memory();
}
