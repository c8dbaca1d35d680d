//! Every deadline, to the instant. Time is an argument: nothing here waits.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::time::Duration;

use asgi::{Headers, Outcome, ResponseStart};
use ferricorn_proto::{Closing, Content, Drain, Finished, Limits, TimeoutKind};
use support::{Action, Driver, Seen};

const MOMENT: Duration = Duration::from_millis(1);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n";

fn limits() -> Limits {
    Limits { date: false, ..Limits::default() }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn answer() -> Vec<Action> {
    vec![
        Action::Start(ResponseStart { status: 200, ..ResponseStart::default() }),
        Action::Body { bytes: b"ok".to_vec(), more: false },
    ]
}

/// The deadline comes exactly when it is announced, and not a moment before.
#[track_caller]
fn expires(driver: &mut Driver, after: Duration, kind: TimeoutKind) {
    assert_eq!(driver.connection.next_timeout(), Some(driver.instant + after));
    assert_eq!(driver.pass(after - MOMENT), None);
    assert_eq!(driver.pass(MOMENT), Some(kind));
}

#[test]
fn a_connection_that_sends_nothing_is_closed_quietly() {
    let mut driver = Driver::new(limits(), &[]);
    assert!(driver.connection.is_idle() && driver.connection.wants_input());
    expires(&mut driver, seconds(10), TimeoutKind::KeepAlive);
    assert_eq!((driver.closing(), driver.output.len()), (Closing::Now, 0));
    assert_eq!(driver.connection.next_timeout(), None);
    assert!(!driver.connection.is_idle() && !driver.connection.wants_input());
}

#[test]
fn a_head_that_drips_is_answered_408() {
    let mut driver = Driver::new(limits(), &[]);
    driver.pass(seconds(3));
    driver.feed(b"G");
    for byte in b"ET / HTT" {
        assert_eq!(driver.pass(seconds(1)), None);
        driver.feed(&[*byte]);
    }
    assert!(!driver.connection.is_idle());
    expires(&mut driver, seconds(2), TimeoutKind::RequestHead);
    assert!(driver.output.starts_with(b"HTTP/1.1 408 Request Timeout\r\n"));
    assert!(driver.output.ends_with(b"\r\n\r\nthe request head did not arrive in time"));
    assert_eq!((driver.closing(), driver.connection.response_status()), (Closing::Flush, Some(408)));
    expires(&mut driver, seconds(2), TimeoutKind::Linger);
    assert_eq!(driver.closing(), Closing::Now);
}

#[test]
fn empty_lines_ahead_do_not_prolong_the_wait() {
    let mut driver = Driver::new(limits(), &[]);
    driver.pass(seconds(8));
    driver.feed(b"\r\n\r");
    expires(&mut driver, seconds(2), TimeoutKind::KeepAlive);
    assert_eq!((driver.closing(), driver.output.len()), (Closing::Now, 0));
}

#[test]
fn the_time_between_requests_starts_when_the_response_is_written() {
    let mut driver = Driver::new(limits(), &[answer()]);
    driver.feed(REQUEST);
    assert!(driver.connection.is_idle());
    expires(&mut driver, seconds(5), TimeoutKind::KeepAlive);
    assert_eq!(driver.closing(), Closing::Now);

    let mut driver = Driver::new(limits(), &[]);
    let now = driver.now();
    let _ = driver.connection.handle_input(&mut REQUEST.to_vec(), &now);
    driver.connection.start(&ResponseStart { status: 200, ..ResponseStart::default() }).unwrap();
    driver.connection.body(Content::Bytes(b"ok".to_vec()), false, &now).unwrap();
    assert!(!driver.connection.is_idle(), "bytes wait");
    assert_eq!(driver.connection.next_timeout(), Some(driver.instant + seconds(60)));
    driver.instant += seconds(59);
    driver.settle();
    assert_eq!(driver.connection.next_timeout(), Some(driver.instant + seconds(5)));
}

#[test]
fn a_request_in_time_ends_the_wait_and_a_running_one_has_no_deadline() {
    let mut driver = Driver::new(limits(), &[answer(), vec![Action::Hang]]);
    driver.feed(REQUEST);
    assert_eq!(driver.pass(seconds(4)), None);
    driver.feed(&REQUEST[..5]);
    assert_eq!(driver.connection.next_timeout(), Some(driver.instant + seconds(10)));
    driver.feed(&REQUEST[5..]);
    assert_eq!(driver.connection.next_timeout(), None);
    assert_eq!(driver.pass(seconds(100_000)), None);
    assert!(driver.connection.exchange_is_open() && driver.connection.request_complete());
}

#[test]
fn http_05_a_body_that_stalls_is_a_disconnect_and_408() {
    let mut driver = Driver::new(limits(), &[vec![Action::ReceiveAll]]);
    driver.feed(POST);
    assert_eq!(driver.pass(seconds(59)), None);
    driver.feed(b"1234");
    assert!(!driver.connection.request_complete());
    expires(&mut driver, seconds(60), TimeoutKind::RequestBody);
    assert_eq!(
        driver.seen[1..],
        [Seen::Body(b"1234".to_vec()), Seen::Disconnect, Seen::Finished(Finished::Disconnected)]
    );
    assert!(driver.output.starts_with(b"HTTP/1.1 408 "));
    assert!(driver.connection.disconnected());
    assert_eq!(driver.closing(), Closing::Flush);
}

#[test]
fn a_body_that_stalls_behind_a_response_that_has_begun_breaks_it() {
    let script = vec![
        Action::Start(ResponseStart { status: 200, ..ResponseStart::default() }),
        Action::Body { bytes: b"part".to_vec(), more: true },
        Action::ReceiveAll,
    ];
    let mut driver = Driver::new(limits(), &[script]);
    driver.feed(POST);
    expires(&mut driver, seconds(60), TimeoutKind::RequestBody);
    assert_eq!(driver.closing(), Closing::Abort);
    assert!(driver.connection.disconnected());
}

#[test]
fn con_06_a_body_that_nobody_asks_for_is_not_read_and_has_no_deadline() {
    let mut driver = Driver::new(limits(), &[vec![Action::Hang]]);
    driver.feed(&[POST, b"1234"].concat());
    assert_eq!(driver.inbox, b"1234");
    assert!(!driver.connection.wants_input());
    assert_eq!(driver.connection.next_timeout(), None);
    let now = driver.now();
    driver.connection.want_body(&now);
    assert!(driver.connection.wants_input());
    driver.settle();
    assert!(driver.inbox.is_empty());
    // One part for one asking.
    assert!(!driver.connection.wants_input());
    assert_eq!(driver.connection.next_timeout(), None);
}

#[test]
fn con_12_asking_again_does_not_prolong_the_wait() {
    let mut driver = Driver::new(limits(), &[vec![Action::WantBody, Action::Hang]]);
    driver.feed(POST);
    driver.pass(seconds(30));
    let now = driver.now();
    driver.connection.want_body(&now);
    expires(&mut driver, seconds(30), TimeoutKind::RequestBody);
}

#[test]
fn every_byte_of_chunk_framing_prolongs_the_wait() {
    let mut driver = Driver::new(limits(), &[vec![Action::ReceiveAll]]);
    driver.feed(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    driver.pass(seconds(30));
    driver.feed(b"5");
    expires(&mut driver, seconds(60), TimeoutKind::RequestBody);
}

#[test]
fn a_body_that_is_read_away_has_the_time_of_lingering() {
    let mut driver = Driver::new(limits(), &[answer()]);
    driver.feed(POST);
    assert_eq!(driver.closing(), Closing::No);
    assert!(driver.connection.wants_input());
    driver.pass(seconds(1));
    driver.feed(b"1234");
    expires(&mut driver, seconds(1), TimeoutKind::KeepAlive);
    assert_eq!(driver.closing(), Closing::Now);
}

#[test]
fn a_peer_that_stops_reading_is_reset() {
    let mut driver = Driver::new(limits(), &[]);
    let now = driver.now();
    let _ = driver.connection.handle_input(&mut REQUEST.to_vec(), &now);
    let start = ResponseStart { status: 200, ..ResponseStart::default() };
    driver.connection.start(&start).unwrap();
    assert_eq!(driver.connection.next_timeout(), None, "a head that is held back does not wait for the peer");
    driver.connection.body(Content::Bytes(vec![b'x'; 100]), true, &now).unwrap();
    let deadline = driver.instant + seconds(60);
    assert_eq!(driver.connection.next_timeout(), Some(deadline));

    // More bytes behind do not prolong it, a byte that is taken does.
    driver.instant += seconds(20);
    let now = driver.now();
    driver.connection.body(Content::Bytes(vec![b'x'; 100]), true, &now).unwrap();
    assert_eq!(driver.connection.next_timeout(), Some(deadline));
    driver.connection.transmit().consume(1);
    driver.connection.handle_written(&now);
    let deadline = driver.instant + seconds(60);
    assert_eq!(driver.connection.next_timeout(), Some(deadline));

    driver.instant = deadline;
    let now = driver.now();
    assert_eq!(driver.connection.handle_timeout(&now), Some(TimeoutKind::Response));
    assert_eq!(driver.closing(), Closing::Abort);
    assert!(driver.connection.disconnected() && !driver.connection.wants_input());
    assert_eq!(driver.connection.next_timeout(), None);
    assert_eq!(driver.connection.finish(Outcome::Returned, &now), Finished::Disconnected);
}

#[test]
fn the_last_response_is_followed_by_lingering() {
    let mut driver = Driver::new(limits(), &[answer()]);
    driver.feed(b"GET / HTTP/1.0\r\n\r\n");
    assert_eq!(driver.closing(), Closing::Flush);
    assert!(driver.connection.wants_input());
    driver.feed(b"whatever");
    assert!(driver.inbox.is_empty());
    expires(&mut driver, seconds(2), TimeoutKind::Linger);
    assert_eq!(driver.closing(), Closing::Now);
}

#[test]
fn lingering_ends_with_the_input() {
    let mut driver = Driver::new(limits(), &[answer()]);
    driver.feed(b"GET / HTTP/1.0\r\n\r\n");
    driver.end();
    assert_eq!(driver.closing(), Closing::Now);
    assert_eq!(driver.connection.next_timeout(), None);
}

#[test]
fn lingering_starts_when_all_is_written() {
    let mut driver = Driver::new(limits(), &[]);
    let now = driver.now();
    let _ = driver.connection.handle_input(&mut b"GET / HTTP/1.0\r\n\r\n".to_vec(), &now);
    assert_eq!(driver.connection.finish(Outcome::Failed, &now), Finished::Failed500);
    assert_eq!(driver.connection.next_timeout(), Some(driver.instant + seconds(60)));
    driver.instant += seconds(7);
    driver.settle();
    assert_eq!(driver.connection.next_timeout(), Some(driver.instant + seconds(2)));
}

#[test]
fn con_09_draining_closes_what_is_idle_and_lets_a_head_finish() {
    let mut driver = Driver::new(limits(), &[answer()]);
    driver.connection.drain(Drain::Quick);
    assert_eq!(driver.closing(), Closing::Now);

    let mut driver = Driver::new(limits(), &[answer()]);
    driver.feed(REQUEST);
    driver.feed(&REQUEST[..7]);
    driver.connection.drain(Drain::Quick);
    assert_eq!(driver.closing(), Closing::No);
    driver.feed(&REQUEST[7..]);
    assert_eq!(driver.seen.len(), 4, "{:?}", driver.seen);
    assert!(driver.output.ends_with(b"connection: close\r\n\r\nok"));
    assert_eq!(driver.closing(), Closing::Flush);
}

#[test]
fn con_09_draining_writes_what_waits_before_it_closes() {
    let mut driver = Driver::new(limits(), &[]);
    let now = driver.now();
    let _ = driver.connection.handle_input(&mut REQUEST.to_vec(), &now);
    driver.connection.start(&ResponseStart { status: 200, ..ResponseStart::default() }).unwrap();
    driver.connection.body(Content::Bytes(b"ok".to_vec()), false, &now).unwrap();
    driver.connection.drain(Drain::Quick);
    assert_eq!(driver.closing(), Closing::Flush);
    driver.settle();
    assert!(driver.output.ends_with(b"ok"));
}

#[test]
fn con_09_a_patient_drain_leaves_an_idle_connection_its_time() {
    let mut driver = Driver::new(limits(), &[answer()]);
    driver.feed(REQUEST);
    driver.connection.drain(Drain::Patient);
    assert_eq!((driver.closing(), driver.connection.is_idle()), (Closing::No, true));
    expires(&mut driver, seconds(5), TimeoutKind::KeepAlive);
    assert_eq!(driver.closing(), Closing::Now);
}

#[test]
fn con_09_a_patient_drain_serves_what_comes_and_then_lingers() {
    for before in [0, 1] {
        let mut driver = Driver::new(limits(), &[answer()]);
        (0..before).for_each(|_| driver.feed(REQUEST));
        driver.connection.drain(Drain::Patient);
        driver.pass(seconds(4));
        driver.output.clear();
        driver.feed(&REQUEST[..7]);
        assert_eq!(driver.closing(), Closing::No);
        driver.feed(&REQUEST[7..]);
        assert!(driver.output.ends_with(b"connection: close\r\n\r\nok"));
        // Closed with the response unread, the client could lose it to a reset.
        assert_eq!(driver.closing(), Closing::Flush);
        assert!(driver.connection.wants_input());
        expires(&mut driver, seconds(2), TimeoutKind::Linger);
    }
}

#[test]
fn con_09_a_quick_drain_takes_the_place_of_a_patient_one() {
    let mut driver = Driver::new(limits(), &[answer()]);
    driver.feed(REQUEST);
    driver.connection.drain(Drain::Patient);
    driver.connection.drain(Drain::Quick);
    assert_eq!(driver.closing(), Closing::Now);
    // And stays.
    driver.connection.drain(Drain::Patient);
    assert_eq!(driver.closing(), Closing::Now);
}

#[test]
fn a_lost_connection_is_reset_and_its_exchange_disconnected() {
    let mut driver = Driver::new(limits(), &[vec![Action::Hang]]);
    driver.feed(REQUEST);
    driver.connection.start(&ResponseStart { status: 200, ..ResponseStart::default() }).unwrap();
    driver.connection.handle_lost();
    assert_eq!(driver.closing(), Closing::Abort);
    assert!(driver.connection.disconnected() && driver.connection.transmit().is_empty());
    let now = driver.now();
    let links = [b"</a>".to_vec()];
    assert!(driver.connection.early_hint(&links).is_err());
    assert!(driver.connection.body(Content::Bytes(Vec::new()), false, &now).is_err());
    assert!(driver.connection.trailers(&Headers::new(), false, &now).is_err());
    assert_eq!(driver.connection.finish(Outcome::Failed, &now), Finished::Disconnected);
}

#[test]
fn an_end_of_input_within_a_streamed_response_breaks_it() {
    let script = vec![
        Action::Start(ResponseStart { status: 200, ..ResponseStart::default() }),
        Action::Body { bytes: b"part".to_vec(), more: true },
        Action::Hang,
    ];
    let mut driver = Driver::new(limits(), &[script]);
    driver.feed(b"GET / HTTP/1.0\r\n\r\n");
    driver.end();
    // The body would end with the connection: a plain close would make it look whole.
    assert_eq!(driver.closing(), Closing::Abort);
}

#[test]
fn http_09_what_came_before_the_end_of_input_can_still_be_received() {
    let mut driver = Driver::new(limits(), &[vec![Action::Hang]]);
    driver.feed(&[POST, b"1234567890"].concat());
    driver.end();
    assert!(driver.connection.disconnected());
    let now = driver.now();
    driver.connection.want_body(&now);
    driver.settle();
    assert!(driver.inbox.is_empty() && driver.connection.request_complete());
    assert_eq!(driver.closing(), Closing::Now);
}

#[test]
fn a_malformed_body_behind_the_end_of_input_is_told_once() {
    let mut driver = Driver::new(limits(), &[vec![Action::Hang]]);
    driver.feed(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnonsense");
    driver.end();
    let now = driver.now();
    driver.connection.want_body(&now);
    driver.settle();
    assert_eq!(driver.seen.len(), 2);
    assert!(matches!(driver.seen[1], Seen::Refused(_)) && driver.output.is_empty());
    driver.connection.want_body(&now);
    driver.feed(b"more");
    assert_eq!(driver.seen.len(), 2);
}

#[test]
fn http_18_a_whole_response_stays_whole_when_the_client_goes() {
    let mut driver = Driver::new(limits(), &[answer()]);
    driver.feed(REQUEST);
    driver.end();
    assert!(!driver.connection.disconnected());
    let now = driver.now();
    assert!(driver.connection.body(Content::Bytes(b"late".to_vec()), false, &now).is_ok());
    assert_eq!(driver.connection.finish(Outcome::Returned, &now), Finished::Complete);
}

#[test]
fn the_end_of_input_leaves_nothing_to_wait_for_but_writing() {
    let mut driver = Driver::new(limits(), &[]);
    let now = driver.now();
    let _ = driver.connection.handle_input(&mut REQUEST.to_vec(), &now);
    driver.connection.start(&ResponseStart { status: 200, ..ResponseStart::default() }).unwrap();
    driver.connection.body(Content::Bytes(b"ok".to_vec()), false, &now).unwrap();
    driver.connection.handle_end_of_input();
    assert_eq!(driver.closing(), Closing::Flush);
    assert_eq!(driver.connection.next_timeout(), Some(driver.instant + seconds(60)));
    driver.settle();
    assert_eq!((driver.closing(), driver.connection.next_timeout()), (Closing::Now, None));
}

#[test]
fn nothing_stalls_when_all_is_consumed() {
    let mut driver = Driver::new(limits(), &[]);
    let now = driver.now();
    let _ = driver.connection.handle_input(&mut REQUEST.to_vec(), &now);
    driver.connection.start(&ResponseStart { status: 200, ..ResponseStart::default() }).unwrap();
    driver.connection.body(Content::Bytes(b"part".to_vec()), true, &now).unwrap();
    let waiting = driver.connection.transmit().len();
    driver.connection.transmit().consume(waiting as usize);
    assert_eq!(driver.connection.next_timeout(), None);
    assert_eq!(driver.pass(seconds(61)), None);
}

#[test]
fn a_client_that_is_gone_is_not_told_to_send() {
    let mut driver = Driver::new(limits(), &[vec![Action::Hang]]);
    driver.feed(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello");
    driver.end();
    let now = driver.now();
    driver.connection.want_body(&now);
    assert!(driver.connection.transmit().is_empty());
    assert_eq!(driver.connection.next_timeout(), None);
    driver.settle();
    assert!(driver.connection.request_complete() && driver.output.is_empty());
}
