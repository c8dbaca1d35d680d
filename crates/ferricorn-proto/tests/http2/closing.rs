//! How connections end: by GOAWAY (RFC 9113 section 6.8), by their client, and by a failure of what carries them.

use std::time::Duration;

use asgi::Outcome;
use ferricorn_proto::{Closing, Drain, Finished, TimeoutKind};

use super::support::{
    ACK, DATA, Driver, Event, GOAWAY, Got, PING, PRIORITY, SETTINGS, frame, plain, reset, start, window_update,
};

const ALL: u32 = 0x7fff_ffff;

fn away(last: u32) -> Got {
    Got::GoAway(last, 0, String::new())
}

#[test]
fn a_patient_drain_serves_what_was_on_its_way() {
    let mut driver = Driver::open_with(plain(), &[]);
    driver.get(1, "/");
    driver.connection.drain(Drain::Patient);
    driver.connection.drain(Drain::Patient);
    assert_eq!(driver.frames(), [away(ALL), Got::Ping(b"goingawa".to_vec())]);
    driver.get(3, "/on-its-way");
    driver.feed(&frame(PING, ACK, 0, b"goingawa"));
    assert_eq!(driver.take(), [away(3)]);
    // What comes now is not begun, and the client knows.
    driver.get(5, "/too-late");
    assert_eq!(driver.events.len(), 2);
    assert_eq!(driver.take(), []);
    assert_eq!(driver.connection.closing(), Closing::No);
    for stream in [1, 3] {
        driver.respond(stream, 200, &[], b"done");
    }
    assert_eq!(driver.connection.closing(), Closing::Flush);
    assert_eq!(driver.frames().len(), 4);
    driver.connection.handle_end_of_input();
    assert_eq!(driver.connection.closing(), Closing::Now);
}

#[test]
fn a_client_has_a_second_to_answer_the_ping() {
    let mut driver = Driver::open_with(plain(), &[]);
    driver.get(1, "/");
    driver.connection.drain(Drain::Patient);
    driver.frames();
    assert_eq!(driver.wait(), (Duration::from_secs(1), None));
    assert_eq!(driver.take(), [away(1)]);
    driver.connection.drain(Drain::Quick);
    assert_eq!(driver.frames(), []);
}

/// An answer to a ping or to settings that were not sent, or one that comes a second time, says nothing.
#[test]
fn http2_6_7_an_answer_that_nobody_waits_for() {
    let mut driver = Driver::open_with(plain(), &[]);
    driver.get(1, "/");
    driver.feed(&frame(PING, ACK, 0, b"goingawa"));
    driver.feed(&frame(PING, ACK, 0, b"whatever"));
    driver.feed(&frame(SETTINGS, ACK, 0, b"").repeat(2));
    assert_eq!(driver.frames(), []);
    driver.connection.drain(Drain::Patient);
    driver.feed(&frame(PING, ACK, 0, b"goingawa").repeat(2));
    assert_eq!(driver.frames(), [away(ALL), Got::Ping(b"goingawa".to_vec()), away(1)]);
}

#[test]
fn a_quick_drain_closes_what_is_idle() {
    let mut driver = Driver::open_with(plain(), &[]);
    driver.connection.drain(Drain::Quick);
    assert_eq!(driver.frames(), [away(0)]);
    assert_eq!(driver.connection.closing(), Closing::Flush);
    assert_eq!(driver.wait(), (Duration::from_secs(2), Some(TimeoutKind::Linger)));
    assert_eq!(driver.connection.closing(), Closing::Now);

    let mut driver = Driver::open_with(plain(), &[]);
    driver.get(1, "/");
    driver.connection.drain(Drain::Patient);
    driver.connection.drain(Drain::Quick);
    assert_eq!(driver.frames(), [away(ALL), Got::Ping(b"goingawa".to_vec()), away(1)]);
    assert_eq!(driver.connection.closing(), Closing::No);
    driver.respond(1, 200, &[], &[b'x'; 70_000]);
    driver.frames();
    assert_eq!(driver.connection.closing(), Closing::No, "a part of it waits for a window");
    driver.feed(&reset(1, 8));
    assert_eq!(driver.connection.closing(), Closing::Flush);
    driver.connection.drain(Drain::Quick);
}

/// RFC 9113 section 6.8: frames of requests that are not begun any more are let go, and their data counted; they were taken
/// for frames of streams that have not begun, which broke the connection for those that were still served.
#[test]
fn http2_6_8_frames_behind_the_last_go_away_are_let_go() {
    let mut driver = Driver::open_with(plain(), &[]);
    driver.get(1, "/");
    driver.connection.drain(Drain::Quick);
    assert_eq!(driver.frames(), [away(1)]);
    let half = 64;
    let late = [
        driver.request(3, "POST /late", &[], false),
        frame(DATA, 0, 3, &[0; 16_384]).repeat(half),
        window_update(3, 1),
        driver.headers_frame(3, &[("checksum", "1")], true),
        reset(3, 8),
        frame(PRIORITY, 0, 5, &[0, 0, 0, 3, 0]),
    ];
    driver.feed(&late.concat());
    assert_eq!(driver.events.len(), 1);
    assert_eq!(driver.take(), [Got::WindowUpdate(0, 16_384 * half as u32)]);
    driver.respond(1, 200, &[], b"served");
    assert!(matches!(&driver.frames()[..], [Got::Headers(1, ..), Got::Data(1, _, true)]));
    assert_eq!(driver.connection.closing(), Closing::Flush);
}

/// That the client goes away is its own business.
#[test]
fn a_client_may_go_away() {
    let mut driver = Driver::open_with(plain(), &[]);
    driver.feed(&frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\0and a text"));
    driver.get(1, "/");
    assert_eq!(driver.events.len(), 1);
}

#[test]
fn an_end_of_input_is_the_end_of_all() {
    let mut driver = Driver::open_with(plain(), &[]);
    let bytes = [driver.request(1, "POST /", &[], false), frame(DATA, 0, 1, b"part")].concat();
    driver.feed(&bytes);
    driver.get(3, "/");
    driver.connection.handle_end_of_input();
    assert_eq!(driver.changed(), [1, 3]);
    assert!(driver.connection.disconnected(1) && driver.connection.disconnected(3));
    assert!(!driver.connection.has_open_exchange() && !driver.connection.wants_input());
    // What came before can still be taken.
    assert_eq!(driver.take_body(1), Some((b"part".to_vec(), false)));
    let now = driver.now();
    driver.connection.want_body(1, &now);
    assert_eq!(driver.connection.finish(1, Outcome::Failed, &now), Finished::Disconnected);
    driver.connection.release(1);
    driver.connection.release(3);
    assert_eq!(driver.connection.response_status(1), None);
    driver.write();
    assert_eq!(driver.connection.closing(), Closing::Now);
}

#[test]
fn a_lost_connection_is_the_end_of_all() {
    let mut driver = Driver::open_with(plain(), &[]);
    driver.get(1, "/");
    driver.connection.start(1, &start(200, &[])).unwrap();
    driver.connection.handle_lost();
    assert_eq!(driver.connection.closing(), Closing::Abort);
    assert!(driver.connection.disconnected(1));
    assert_eq!(driver.connection.next_timeout(), None);
    driver.get(3, "/");
    assert_eq!(driver.events.len(), 1);
}

/// RST_STREAM of the client.
#[test]
fn a_reset_ends_one_exchange() {
    let mut driver = Driver::open_with(plain(), &[]);
    driver.get(1, "/");
    driver.get(3, "/");
    driver.feed(&reset(1, 8));
    assert_eq!(driver.changed(), [1]);
    assert!(driver.connection.disconnected(1) && !driver.connection.exchange_is_open(1));
    assert!(driver.connection.exchange_is_open(3) && driver.connection.has_open_exchange());
    driver.feed(&reset(1, 8));
    driver.connection.release(1);
    driver.feed(&reset(1, 8));
    assert_eq!(driver.take(), []);
    assert_eq!(driver.changed(), []);
}

#[test]
fn an_idle_connection_gives_its_memory_back() {
    let mut driver = Driver::open_with(plain(), &[]);
    driver.get(1, "/");
    driver.connection.release_memory();
    driver.respond(1, 200, &[], b"x");
    driver.write();
    assert!(!driver.connection.is_idle(), "its call has not ended");
    driver.connection.release(1);
    driver.connection.release_memory();
    driver.take();
    driver.get(3, "/again");
    assert_eq!(driver.events.last(), Some(&Event::Request(3, "GET /again".to_owned(), false)));
    driver.respond(3, 200, &[], b"x");
    assert_eq!(driver.frames().len(), 2);
    assert!(format!("{:?}", driver.connection).contains("streams: 1"));
}
