//! Pings of the server's own, in time that the test makes.

use std::time::Duration;

use ferricorn_proto::TimeoutKind;
use ferricorn_proto::websocket::Limits;

use crate::support::frames::{ClientFrame, ServerFrame};
use crate::support::{Driver, Seen};

const SECOND: Duration = Duration::from_secs(1);

fn limits(interval: u32, timeout: u32) -> Limits {
    let seconds = |seconds| (seconds > 0).then_some(SECOND * seconds);
    Limits { ping_interval: seconds(interval), ping_timeout: seconds(timeout), ..Limits::default() }
}

fn ping(frames: &[ServerFrame]) -> Vec<u8> {
    let [frame] = frames else { panic!("{frames:?}") };
    assert_eq!(frame.opcode, 9);
    frame.payload.clone()
}

#[test]
fn ws_09_a_ping_at_every_interval_and_its_time() {
    let mut driver = Driver::new(Limits::default());
    for round in 1..4 {
        assert_eq!(driver.session.next_timeout(), Some(driver.instant + 20 * SECOND));
        assert_eq!(driver.pass(19 * SECOND), None);
        assert!(driver.written().is_empty());
        assert_eq!(driver.pass(SECOND), None);
        let payload = ping(&driver.written());
        // The interval counts from the ping; its pong may take part of it.
        driver.instant += SECOND * round;
        driver.feed_frames(&[ClientFrame::pong(payload)]);
        assert_eq!(driver.session.take_round_trip(), Some(SECOND * round));
        driver.pass(20 * SECOND - SECOND * round);
        let payload = ping(&driver.written());
        driver.feed_frames(&[ClientFrame::pong(payload)]);
        assert_eq!(driver.session.take_round_trip(), Some(Duration::ZERO));
    }
    assert!(driver.seen.is_empty());
}

#[test]
fn a_pong_that_does_not_come_is_1011() {
    let mut driver = Driver::new(limits(20, 5));
    driver.pass(20 * SECOND);
    ping(&driver.written());
    // Neither an unasked pong nor any other frame is its answer.
    let others = [ClientFrame::pong(""), ClientFrame::pong([0, 0, 0, 0]), ClientFrame::ping([0, 0, 0, 1])];
    driver.feed_frames(&others);
    driver.written();
    assert_eq!(driver.session.next_timeout(), Some(driver.instant + 5 * SECOND));
    assert_eq!(driver.pass(4 * SECOND), None);
    assert_eq!(driver.pass(SECOND), Some(TimeoutKind::Pong));
    assert!(driver.session.is_over() && driver.session.next_timeout().is_none());
    let [close] = &driver.written()[..] else { panic!() };
    assert_eq!(close.payload, [&1011_u16.to_be_bytes()[..], b"keepalive ping timeout"].concat());
    assert_eq!(driver.seen, [Seen::Closed(1011, "keepalive ping timeout".to_owned())]);
    assert_eq!(driver.session.take_round_trip(), None);
}

#[test]
fn no_ping_while_one_is_unanswered() {
    let mut driver = Driver::new(limits(1, 10));
    driver.pass(SECOND);
    let payload = ping(&driver.written());
    for _ in 0..9 {
        assert_eq!(driver.pass(SECOND), None);
        assert!(driver.written().is_empty());
    }
    driver.feed_frames(&[ClientFrame::pong(&payload), ClientFrame::pong(&payload)]);
    assert_eq!(driver.session.take_round_trip(), Some(9 * SECOND));
    // One was due long ago.
    driver.pass(Duration::ZERO);
    assert_ne!(ping(&driver.written()), payload);
}

#[test]
fn without_a_timeout_pongs_may_be_late_or_missing() {
    let mut driver = Driver::new(limits(20, 0));
    for round in 1..4_u32 {
        assert_eq!(driver.pass(20 * SECOND), None);
        assert_eq!(ping(&driver.written()), round.to_be_bytes());
    }
    driver.feed_frames(&[ClientFrame::pong([0, 0, 0, 1])]);
    assert_eq!(driver.session.take_round_trip(), None);
    driver.feed_frames(&[ClientFrame::pong([0, 0, 0, 3])]);
    assert_eq!(driver.session.take_round_trip(), Some(Duration::ZERO));
}

#[test]
fn without_an_interval_there_is_nothing_to_be_done() {
    let mut driver = Driver::new(limits(0, 20));
    assert_eq!(driver.session.next_timeout(), None);
    assert_eq!(driver.pass(1000 * SECOND), None);
    assert!(driver.written().is_empty());
}

/// The pong is there, behind messages that the application does not receive: the client is not to blame.
#[test]
fn a_pong_is_not_missed_while_nothing_can_be_read() {
    let mut driver = Driver::new(Limits { queue: 1, ..limits(20, 20) });
    driver.receiving = false;
    driver.pass(20 * SECOND);
    let payload = ping(&driver.written());
    driver.feed_frames(&[ClientFrame::text("a"), ClientFrame::text("b"), ClientFrame::pong(payload)]);
    assert!(!driver.session.wants_input());
    for _ in 0..3 {
        assert_eq!(driver.pass(20 * SECOND), None);
    }
    driver.receiving = true;
    driver.settle();
    assert_eq!(driver.session.take_round_trip(), Some(60 * SECOND));
    assert_eq!(driver.seen, [Seen::Text("a".to_owned()), Seen::Text("b".to_owned())]);
}

/// A client that has not taken what came before the ping could not answer it.
#[test]
fn a_pong_is_not_missed_while_bytes_wait() {
    let mut driver = Driver::new(limits(20, 20));
    driver.pass(20 * SECOND);
    driver.writing = false;
    driver.send_text("waits").unwrap();
    assert_eq!(driver.pass(20 * SECOND), None);
    driver.writing = true;
    driver.settle();
    assert_eq!(driver.pass(20 * SECOND), Some(TimeoutKind::Pong));
}

/// A client that takes no bytes gets none on top of them.
#[test]
fn no_ping_goes_behind_bytes_that_wait() {
    let mut driver = Driver::new(limits(20, 20));
    driver.writing = false;
    driver.send_text("waits").unwrap();
    assert_eq!(driver.pass(20 * SECOND), None);
    driver.writing = true;
    driver.settle();
    assert_eq!(driver.written().len(), 1);
    assert_eq!(driver.pass(20 * SECOND), None);
    ping(&driver.written());
}

/// A client that pings and reads nothing is owed one pong, and gets it when it reads (section 5.5.3).
#[test]
fn only_the_last_ping_is_answered_behind_much_that_waits() {
    let mut driver = Driver::new(limits(0, 0));
    driver.writing = false;
    driver.send_binary(&[0; 70_000]).unwrap();
    let waiting = driver.transmit.len();
    for number in 0..100_u8 {
        driver.feed_frames(&[ClientFrame::ping([number])]);
    }
    assert_eq!(driver.transmit.len(), waiting);
    // It is looked after from time to time, not all the time.
    assert_eq!(driver.session.next_timeout(), Some(driver.instant));
    driver.pass(Duration::ZERO);
    assert_eq!(driver.session.next_timeout(), Some(driver.instant + SECOND));
    driver.writing = true;
    driver.settle();
    driver.pass(SECOND);
    let frames = driver.written();
    assert_eq!(frames[1..], [ServerFrame { opcode: 10, compressed: false, payload: vec![99] }]);
    assert_eq!(driver.session.next_timeout(), None);
    driver.feed_frames(&[ClientFrame::ping("next")]);
    assert_eq!(driver.written()[0].payload, b"next");
}

/// WS-27: a server that goes tells the application after what came before; WS-12: its own close forgets that.
#[test]
fn ws_27_shutting_down_keeps_what_is_queued() {
    let mut driver = Driver::new(Limits::default());
    driver.receiving = false;
    driver.feed_frames(&[ClientFrame::text("a")]);
    driver.session.shut_down(1012, "", &mut driver.transmit, driver.instant).unwrap();
    assert!(driver.session.has_message());
    driver.receiving = true;
    driver.feed_frames(&[ClientFrame::text("dropped"), ClientFrame::close(1012, "")]);
    assert_eq!(driver.seen, [Seen::Text("a".to_owned()), Seen::Closed(1012, String::new())]);
}
