//! RFC 6455 sections 5.5.1 and 7: how a WebSocket ends, by whichever side.

use std::time::Duration;

use asgi::SendError;
use ferricorn_proto::TimeoutKind;
use ferricorn_proto::websocket::{Limits, ProtocolError};

use crate::support::frames::{ClientFrame, ServerFrame};
use crate::support::{Driver, Seen};

fn closed(driver: &Driver) -> Option<(u16, String)> {
    driver.session.closed().map(|(code, reason)| (code, reason.to_owned()))
}

fn codes(frames: &[ServerFrame]) -> Vec<Option<u16>> {
    frames.iter().map(ServerFrame::close_code).collect()
}

#[test]
fn ws_14_every_code_that_may_come_is_answered_with_itself() {
    for code in 0..=5001_u16 {
        let mut driver = Driver::new(Limits::default());
        driver.feed_frames(&[ClientFrame::close(code, "why"), ClientFrame::text("ignored")]);
        assert!(driver.session.is_over() && driver.inbox.is_empty());
        let frames = driver.written();
        if matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
            assert_eq!(driver.seen, [Seen::Closed(code, "why".to_owned())]);
            assert_eq!(frames[0].payload, code.to_be_bytes());
        } else {
            assert_eq!(driver.seen[0], Seen::Failed(ProtocolError::CloseCode), "{code}");
            assert_eq!(codes(&frames), [Some(1002)]);
            assert_eq!(closed(&driver).unwrap().0, 1002);
        }
    }
}

#[test]
fn ws_15_a_close_without_code_is_1005_and_is_answered_without() {
    let mut driver = Driver::new(Limits::default());
    driver.feed_frames(&[ClientFrame::new(8, "")]);
    assert_eq!(driver.seen, [Seen::Closed(1005, String::new())]);
    assert_eq!(driver.written(), [ServerFrame { opcode: 8, compressed: false, payload: Vec::new() }]);
}

#[test]
fn what_is_no_close_frame() {
    let table = [
        (ClientFrame::new(8, [3]), ProtocolError::ClosePayload),
        (ClientFrame::close(1000, [0xff]), ProtocolError::Utf8),
        (ClientFrame::close(1000, [0xe6, 0xbc]), ProtocolError::Utf8),
    ];
    for (frame, error) in table {
        let mut driver = Driver::new(Limits::default());
        driver.feed_frames(&[frame]);
        assert_eq!(driver.seen[0], Seen::Failed(error));
        assert_eq!(codes(&driver.written()), [Some(error.code())]);
    }
}

#[test]
fn ws_15_a_client_that_goes_without_a_close_frame_is_1006() {
    let mut driver = Driver::new(Limits::default());
    driver.feed_frames(&[ClientFrame::text("a").begun()]);
    driver.end();
    assert_eq!(driver.seen, [Seen::Closed(1006, String::new())]);
    assert!(driver.session.is_over() && driver.written().is_empty());
    assert!(matches!(driver.send_text("late"), Err(SendError::Disconnected)));
    driver.end();
    assert_eq!(closed(&driver), Some((1006, String::new())));
}

#[test]
fn ws_12_ws_17_the_application_closes() {
    let mut driver = Driver::new(Limits::default());
    driver.send_text("first").unwrap();
    driver.close(4000, "é".repeat(61).as_str()).unwrap();
    // It is told at once, and the session waits for the client.
    assert_eq!(closed(&driver), Some((4000, "é".repeat(61))));
    assert!(!driver.session.is_over() && driver.session.wants_input());
    assert!(matches!(driver.send_binary(b"late"), Err(SendError::Disconnected)));
    assert!(matches!(driver.close(1000, ""), Err(SendError::Disconnected)));
    // What the client had under way is read and dropped; its pings need no answer; its close ends all, whatever its code.
    let under_way = [
        ClientFrame::text("a").begun(),
        ClientFrame::ping("p"),
        ClientFrame::continuation([0xff]),
        ClientFrame::binary(vec![0; 70_000]),
        ClientFrame::close(1000, "bye"),
        ClientFrame::text("more"),
    ];
    driver.feed_frames(&under_way);
    assert_eq!(driver.seen, [Seen::Closed(4000, "é".repeat(61))]);
    assert!(driver.session.is_over() && driver.inbox.is_empty());
    let frames = driver.written();
    assert_eq!(codes(&frames), [None, Some(4000)]);
}

#[test]
fn ws_13_what_may_not_be_said_in_a_close_changes_nothing() {
    let mut driver = Driver::new(Limits::default());
    for code in [0, 999, 1005, 1006, 1015, 5000, u16::MAX] {
        assert!(matches!(driver.close(code, ""), Err(SendError::CloseCode(refused)) if refused == code));
    }
    assert!(matches!(driver.close(1000, &"x".repeat(124)), Err(SendError::CloseReason(124))));
    assert!(driver.written().is_empty() && closed(&driver).is_none());
    driver.close(1000, &"x".repeat(123)).unwrap();
    assert_eq!(driver.written()[0].payload.len(), 125);
}

#[test]
fn a_close_that_is_not_answered_ends_in_time() {
    let mut driver = Driver::new(Limits::default());
    driver.close(1001, "").unwrap();
    assert_eq!(driver.session.next_timeout(), Some(driver.instant + Duration::from_secs(10)));
    assert_eq!(driver.pass(Duration::from_millis(9_999)), None);
    assert_eq!(driver.pass(Duration::from_millis(1)), Some(TimeoutKind::Close));
    assert!(driver.session.is_over() && driver.session.next_timeout().is_none());
    assert_eq!(driver.pass(Duration::from_secs(100)), None);
    assert_eq!(closed(&driver), Some((1001, String::new())));
}

#[test]
fn a_client_that_breaks_the_rules_after_our_close_gets_no_second_one() {
    let mut driver = Driver::new(Limits::default());
    driver.close(1000, "").unwrap();
    driver.feed_frames(&[ClientFrame::new(3, "")]);
    assert_eq!(driver.seen, [Seen::Failed(ProtocolError::Opcode), Seen::Closed(1000, String::new())]);
    assert_eq!(codes(&driver.written()), [Some(1000)]);
    assert!(driver.session.is_over());
}

/// The application gets what came before, and then the end.
#[test]
fn ws_26_messages_before_the_end_are_kept_and_a_close_of_its_own_drops_them() {
    let frames = [ClientFrame::text("a"), ClientFrame::binary([1]), ClientFrame::text([0xff])];
    let mut driver = Driver::new(Limits::default());
    driver.receiving = false;
    driver.feed_frames(&frames);
    assert_eq!(driver.seen, [Seen::Failed(ProtocolError::Utf8)]);
    driver.receiving = true;
    driver.settle();
    let reason = ProtocolError::Utf8.to_string();
    assert_eq!(driver.seen[1..], [Seen::Text("a".to_owned()), Seen::Binary(vec![1]), Seen::Closed(1007, reason)]);

    let mut driver = Driver::new(Limits::default());
    driver.receiving = false;
    driver.feed_frames(&frames[..2]);
    assert!(driver.session.has_message());
    driver.close(1000, "").unwrap();
    assert!(!driver.session.has_message());
}

#[test]
fn every_error_has_a_code_and_a_reason_that_fits() {
    let errors = [
        (ProtocolError::Unmasked, 1002),
        (ProtocolError::ReservedBit, 1002),
        (ProtocolError::Opcode, 1002),
        (ProtocolError::ControlFragmented, 1002),
        (ProtocolError::ControlTooLong, 1002),
        (ProtocolError::Length, 1002),
        (ProtocolError::Continuation, 1002),
        (ProtocolError::Interleaved, 1002),
        (ProtocolError::ClosePayload, 1002),
        (ProtocolError::CloseCode, 1002),
        (ProtocolError::Utf8, 1007),
        (ProtocolError::Deflate, 1007),
        (ProtocolError::MessageTooBig, 1009),
    ];
    for (error, code) in errors {
        assert_eq!(error.code(), code);
        assert!((1..=123).contains(&error.to_string().len()));
    }
}
