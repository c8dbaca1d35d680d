//! What an application's events become (RFC 9113 section 8.1), and what becomes of it when they end too early.

use asgi::{Headers, KnownField, Outcome, ResponseStart, SendError};
use ferricorn_proto::http2::ErrorCode;
use ferricorn_proto::{Answer, Content, Finished, Limits};

use super::support::{DATA, Driver, END_STREAM, Fields, Got, PING, frame, plain, reset, start, window_update};

/// A connection with a request on stream 1.
fn asked(line: &str, more: &[(&str, &str)]) -> Driver {
    let mut driver = Driver::open_with(plain(), &[]);
    let bytes = driver.request(1, line, more, true);
    driver.feed(&bytes);
    driver
}

fn headers(fields: &str, end: bool) -> Got {
    Got::Headers(1, fields.to_owned(), end)
}

fn data(bytes: &[u8], end: bool) -> Got {
    Got::Data(1, bytes.to_vec(), end)
}

#[test]
fn the_head_waits_for_the_first_part() {
    let mut driver = asked("GET /", &[]);
    driver.connection.start(1, &start(200, &[("x", "y")])).unwrap();
    assert_eq!(driver.frames(), []);
    assert_eq!(driver.connection.response_status(1), Some(200));
    driver.body(1, b"a", true);
    assert_eq!(driver.frames(), [headers(":status: 200\nx: y", false), data(b"a", false)]);
    driver.body(1, b"", true);
    driver.body(1, b"bc", true);
    driver.body(1, b"", false);
    assert_eq!(driver.frames(), [data(b"", false), data(b"bc", false), data(b"", true)][1..]);
    assert_eq!(driver.connection.response_body_bytes(1), 3);
    assert!(!driver.connection.exchange_is_open(1));
}

#[test]
fn a_body_that_is_whole_has_its_length_told() {
    type Case = (&'static str, u16, Fields<'static>, &'static [u8], &'static str, Option<&'static [u8]>);
    let cases: [Case; 9] = [
        ("GET /", 200, &[], b"hello", "content-length: 5", Some(b"hello")),
        ("GET /", 200, &[], b"", "content-length: 0", None),
        ("GET /", 200, &[("content-length", "5")], b"hello", "content-length: 5", Some(b"hello")),
        ("GET /", 200, &[("content-length", "0")], b"", "content-length: 0", None),
        (
            "GET /",
            200,
            &[("content-length", "5"), ("content-length", "5")],
            b"hello",
            "content-length: 5",
            Some(b"hello"),
        ),
        ("HEAD /", 200, &[], b"hello", "content-length: 5", None),
        ("HEAD /", 200, &[("content-length", "7")], b"", "content-length: 7", None),
        ("GET /", 204, &[("content-length", "5")], b"", "", None),
        ("GET /", 304, &[], b"hello", "", None),
    ];
    for (line, status, fields, body, told, sent) in cases {
        let mut driver = asked(line, &[]);
        driver.respond(1, status, fields, body);
        let head = format!(":status: {status}{}{told}", if told.is_empty() { "" } else { "\n" });
        let mut expected = vec![headers(&head, sent.is_none())];
        expected.extend(sent.map(|sent| data(sent, true)));
        assert_eq!(driver.frames(), expected, "{line} {status} {fields:?}");
    }
}

/// A stream ends with the frame that has the last promised byte.
#[test]
fn promised_bytes_end_the_stream() {
    let mut driver = asked("GET /", &[]);
    driver.connection.start(1, &start(200, &[("content-length", "3")])).unwrap();
    driver.body(1, b"ab", true);
    driver.body(1, b"c", true);
    assert_eq!(driver.frames()[1..], [data(b"ab", false), data(b"c", true)]);
    driver.body(1, b"", false);
    let now = driver.now();
    let late = driver.connection.body(1, Content::Bytes(b"d".to_vec()), false, &now);
    assert!(late.is_ok(), "what follows the end is ignored");
    assert_eq!(driver.frames(), []);
}

/// HDR-15.
#[test]
fn fields_about_the_connection_are_left_out() {
    let mut driver = asked("GET /", &[]);
    let fields = [
        ("connection", "close"),
        ("keep-alive", "timeout=5"),
        ("x", "y"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
    ];
    driver.respond(1, 200, &fields, b"");
    assert_eq!(driver.frames(), [headers(":status: 200\nx: y\ncontent-length: 0", true)]);
}

#[test]
fn the_server_adds_its_fields() {
    let limits = Limits {
        headers: Headers::from_iter([("server", "ferricorn"), ("x-own", "1"), ("connection", "close")]).unwrap(),
        ..Limits::default()
    };
    let mut driver = Driver::open_with(limits, &[]);
    driver.get(1, "/");
    driver.connection.set_response_field(1, b"x-id", b"7");
    driver.respond(1, 200, &[], b"");
    let date = "date: Sun, 06 Nov 1994 08:49:37 GMT";
    let fields = format!(":status: 200\ncontent-length: 0\nx-id: 7\nserver: ferricorn\nx-own: 1\n{date}");
    assert_eq!(driver.frames(), [Got::Headers(1, fields, true)]);
    driver.get(3, "/");
    driver.connection.set_response_field(3, b"x-id", b"8");
    driver.respond(3, 200, &[("server", "a"), ("date", "b"), ("x-id", "c")], b"");
    let fields = ":status: 200\nserver: a\ndate: b\nx-id: c\ncontent-length: 0\nx-own: 1".to_owned();
    assert_eq!(driver.frames(), [Got::Headers(3, fields, true)]);
    // Also its own responses carry them.
    driver.get(5, "/");
    driver.connection.set_response_field(5, b"x-id", b"9");
    let now = driver.now();
    driver.connection.refuse(5, 503, &now);
    let got = driver.frames();
    assert!(matches!(&got[0], Got::Headers(5, fields, false) if fields.contains("x-id: 9\nserver")), "{got:?}");
    assert_eq!(got[1], Got::Data(5, b"Service Unavailable".to_vec(), true));
}

#[test]
fn responses_that_repeat_are_the_same() {
    let mut driver = Driver::open_with(plain(), &[]);
    for stream in (1..40).step_by(2) {
        driver.get(stream, "/");
        assert_eq!(driver.repeated[&stream], stream > 5, "the third block is all indices, and comes again");
        driver.respond(stream, 200, &[("a", "b")], b"hello");
        let fields = ":status: 200\na: b\ncontent-length: 5".to_owned();
        assert_eq!(driver.frames(), [Got::Headers(stream, fields, false), Got::Data(stream, b"hello".to_vec(), true)]);
        driver.connection.release(stream);
    }
    driver.get(41, "/other");
    assert!(!driver.repeated[&41]);
}

/// EXT-11, EXT-12.
#[test]
fn hints_come_early() {
    let mut driver = asked("GET /", &[]);
    assert!(driver.connection.extensions(1).early_hint);
    driver.connection.early_hint(1, &[b"</a>".to_vec(), b"</b>".to_vec()]).unwrap();
    driver.connection.early_hint(1, &[]).unwrap();
    assert!(driver.connection.early_hint(1, &[b"a\r\nb".to_vec()]).is_err());
    assert_eq!(driver.frames(), [headers(":status: 103\nlink: </a>\nlink: </b>", false)]);
    driver.connection.start(1, &start(200, &[])).unwrap();
    driver.connection.early_hint(1, &[b"</c>".to_vec()]).unwrap();
    assert_eq!(driver.frames(), [], "too late");
}

/// HTTP-12.
#[test]
fn a_client_that_waits_is_told_to_go_on() {
    let mut driver = Driver::open_with(plain(), &[]);
    let bytes = driver.request(1, "POST /", &[("expect", "100-continue")], false);
    driver.feed(&bytes);
    assert_eq!(driver.frames(), []);
    let now = driver.now();
    driver.connection.want_body(1, &now);
    driver.connection.want_body(1, &now);
    assert_eq!(driver.frames(), [headers(":status: 100", false)]);
    driver.feed(&frame(DATA, END_STREAM, 1, b"x"));
    assert_eq!(driver.take_body(1), Some((b"x".to_vec(), true)));

    let bytes = driver.request(3, "POST /", &[("expect", "100-continue")], false);
    driver.feed(&bytes);
    driver.respond(3, 403, &[], b"");
    driver.connection.want_body(3, &now);
    let got = driver.frames();
    assert_eq!(got[1..], [Got::Reset(3, ErrorCode::NoError as u32)], "answered without: {got:?}");
}

/// EXT-13 to EXT-16.
#[test]
fn trailers_go_to_who_takes_them() {
    let now_start = || ResponseStart { trailers: true, ..start(200, &[]) };
    let mut driver = asked("GET /", &[("te", "trailers")]);
    assert!(driver.connection.extensions(1).trailers);
    driver.connection.start(1, &now_start()).unwrap();
    driver.body(1, b"x", false);
    assert_eq!(driver.frames(), [headers(":status: 200", false), data(b"x", false)]);
    assert!(driver.connection.exchange_is_open(1));
    let now = driver.now();
    let fields = |name: &str| Headers::from_iter([(name, "1"), ("content-length", "5")]).unwrap();
    driver.connection.trailers(1, &fields("a"), true, &now).unwrap();
    driver.connection.trailers(1, &fields("b"), false, &now).unwrap();
    assert_eq!(driver.frames(), [headers("a: 1\nb: 1", true)]);
    assert!(!driver.connection.exchange_is_open(1));

    // They were promised, and never came: the stream ends all the same.
    let bytes = driver.request(3, "GET /", &[("te", "trailers")], true);
    driver.feed(&bytes);
    driver.connection.start(3, &now_start()).unwrap();
    driver.body(3, b"x", false);
    assert_eq!(driver.connection.finish(3, Outcome::Returned, &now), Finished::Complete);
    assert_eq!(driver.frames().last(), Some(&Got::Data(3, Vec::new(), true)));

    // Nobody takes them.
    driver.get(5, "/");
    assert!(!driver.connection.extensions(5).trailers);
    driver.connection.start(5, &now_start()).unwrap();
    driver.body(5, b"x", false);
    assert_eq!(driver.frames().last(), Some(&Got::Data(5, b"x".to_vec(), true)));
    driver.connection.trailers(5, &fields("a"), false, &now).unwrap();
    assert_eq!(driver.frames(), []);
}

/// ERR-04 to ERR-07.
#[test]
fn calls_that_end_too_early_are_seen() {
    let five_hundred = headers(":status: 500\ncontent-type: text/plain; charset=utf-8\ncontent-length: 21", false);
    for (outcome, finished) in [(Outcome::Returned, Finished::NoResponse), (Outcome::Failed, Finished::Failed500)] {
        for started in [false, true] {
            let mut driver = asked("GET /", &[]);
            if started {
                driver.connection.start(1, &start(200, &[])).unwrap();
            }
            let now = driver.now();
            assert_eq!(driver.connection.finish(1, outcome, &now), finished);
            assert_eq!(driver.frames(), [five_hundred.clone(), data(b"Internal Server Error", true)]);
        }
        let mut driver = asked("GET /", &[]);
        driver.connection.start(1, &start(200, &[])).unwrap();
        driver.body(1, b"part", true);
        let now = driver.now();
        assert_eq!(driver.connection.finish(1, outcome, &now), Finished::Truncated);
        assert_eq!(driver.frames()[1..], [data(b"part", false), Got::Reset(1, ErrorCode::InternalError as u32)]);
    }
}

/// HTTP-21.
#[test]
fn a_body_keeps_its_promise_or_is_broken() {
    let mut driver = asked("GET /", &[]);
    driver.connection.start(1, &start(200, &[("content-length", "5")])).unwrap();
    let now = driver.now();
    let long = driver.connection.body(1, Content::Bytes(b"longer".to_vec()), true, &now);
    assert!(matches!(long, Err(SendError::BodyTooLong { promised: 5 })));
    driver.body(1, b"four", false);
    assert_eq!(driver.connection.shortfall(1), Some((5, 4)));
    assert_eq!(driver.frames()[1..], [data(b"four", false), Got::Reset(1, ErrorCode::InternalError as u32)]);
    assert_eq!(driver.connection.finish(1, Outcome::Returned, &now), Finished::Truncated);
    driver.connection.release(1);
    assert_eq!(driver.frames(), []);
    assert!(driver.connection.is_idle());
}

#[test]
fn events_out_of_order_are_refused() {
    let mut driver = asked("GET /", &[]);
    let now = driver.now();
    let body = |driver: &mut Driver| driver.connection.body(1, Content::Bytes(Vec::new()), false, &now);
    assert!(matches!(body(&mut driver), Err(SendError::OutOfOrder { .. })));
    assert!(driver.connection.trailers(1, &Headers::new(), false, &now).is_err());
    driver.connection.start(1, &start(200, &[])).unwrap();
    assert!(driver.connection.start(1, &start(200, &[])).is_err());
    driver.feed(&reset(1, 8));
    assert!(matches!(body(&mut driver), Err(SendError::Disconnected)));
    assert!(matches!(driver.connection.start(99, &start(200, &[])), Err(SendError::Disconnected)));
    assert_eq!(driver.connection.finish(1, Outcome::Failed, &now), Finished::Disconnected);
}

#[test]
fn the_server_answers_itself() {
    let mut driver = asked("GET /", &[]);
    let now = driver.now();
    let answer = Answer { status: 200, text: "ok", location: None, close: false };
    driver.connection.respond(1, &answer, &now);
    driver.connection.respond(1, &answer, &now);
    driver.connection.refuse(1, 500, &now);
    let fields = ":status: 200\ncontent-type: text/plain; charset=utf-8\ncontent-length: 2";
    assert_eq!(driver.frames(), [headers(fields, false), data(b"ok", true)]);

    let bytes = driver.request(3, "HEAD /", &[], true);
    driver.feed(&bytes);
    driver.connection.respond(3, &answer, &now);
    assert_eq!(driver.frames(), [Got::Headers(3, fields.to_owned(), true)]);

    driver.get(5, "/");
    driver.connection.start(5, &start(200, &[])).unwrap();
    driver.body(5, b"part", true);
    driver.connection.refuse(5, 503, &now);
    assert_eq!(driver.frames().last(), Some(&Got::Reset(5, ErrorCode::InternalError as u32)));
    assert!(!driver.connection.exchange_is_open(5));
}

/// RFC 9113 section 8.1: an early response, and the request is asked not to be sent.
#[test]
fn an_early_response_stops_the_request() {
    let mut driver = Driver::open_with(plain(), &[]);
    let bytes = [driver.request(1, "POST /", &[], false), frame(DATA, 0, 1, b"unread")].concat();
    driver.feed(&bytes);
    driver.respond(1, 413, &[], b"no");
    assert_eq!(driver.frames()[1..], [data(b"no", true), Got::Reset(1, ErrorCode::NoError as u32)]);
    assert!(driver.take_body(1).is_none());
}

#[test]
fn a_body_above_the_limit_is_refused() {
    let limits = Limits { body: Some(10), ..plain() };
    for fields in [&[("content-length", "11")][..], &[]] {
        let mut driver = Driver::open_with(limits.clone(), &[]);
        let bytes = [driver.request(1, "POST /", fields, false), frame(DATA, 0, 1, b"eleven bytes")].concat();
        driver.feed(&bytes);
        let got = driver.take();
        assert!(matches!(&got[0], Got::Headers(1, fields, false) if fields.starts_with(":status: 413")), "{got:?}");
        assert_eq!(got.last(), Some(&Got::Reset(1, ErrorCode::NoError as u32)));
        // The application is told that the client is gone.
        assert!(fields.len() == 1 || driver.connection.disconnected(1) && driver.changed() == [1]);
    }
}

/// RFC 9113 section 8.1: what still comes of the request does not take its answer away. While that waited for a window, the
/// next frame of data reset the stream.
#[test]
fn http2_8_1_an_answer_that_waits_outlives_what_still_comes() {
    for ends in [false, true] {
        let mut driver = Driver::open_with(Limits { body: Some(10), ..plain() }, &[(4, 0)]);
        let half = frame(DATA, 0, 1, &[0; 16_384]).repeat(64);
        let more = [frame(DATA, 0, 1, b"more"), frame(DATA, u8::from(ends), 1, b"")];
        let post = driver.request(1, "POST /", &[], false);
        driver.feed(&[post, frame(DATA, 0, 1, b"eleven byte"), half, more.concat()].concat());
        let got = driver.take();
        assert!(matches!(&got[0], Got::Headers(1, fields, false) if fields.starts_with(":status: 413")), "{got:?}");
        assert!(matches!(&got[1..], [Got::WindowUpdate(0, _)]), "{got:?}");
        driver.feed(&window_update(1, 1000));
        let got = driver.take();
        assert!(matches!(&got[0], Got::Data(1, _, true)), "{got:?}");
        let asked_to_stop = [Got::Reset(1, ErrorCode::NoError as u32)];
        assert_eq!(got[1..], asked_to_stop[usize::from(ends)..]);
        driver.connection.release(1);
        assert!(driver.connection.is_idle());
    }
}

/// RFC 9113 section 5.1: what is on its way to a stream that we have reset is let go, whatever else goes on: behind 128 other
/// requests it was taken for an error, and a trailer broke the connection.
#[test]
fn http2_5_1_what_comes_late_is_let_go_on_a_busy_connection() {
    let mut driver = Driver::open_with(plain(), &[]);
    let post = driver.request(1, "POST /", &[], false);
    driver.feed(&post);
    driver.respond(1, 401, &[], b"");
    driver.connection.release(1);
    assert_eq!(driver.frames().last(), Some(&Got::Reset(1, ErrorCode::NoError as u32)));
    for stream in (3..600).step_by(2) {
        driver.get(stream, "/");
        driver.respond(stream, 204, &[], b"");
        driver.connection.release(stream);
    }
    driver.frames();
    let late = [frame(DATA, 0, 1, b"late"), driver.headers_frame(1, &[("checksum", "1")], true)];
    driver.feed(&late.concat());
    assert_eq!(driver.frames(), []);
    assert_eq!(driver.events.len(), 300);
}

/// A body of a promised length, of which the application waits for every part.
#[test]
fn a_promised_body_is_taken_as_it_comes() {
    let mut driver = Driver::open_with(plain(), &[]);
    let post = driver.request(1, "POST /", &[("content-length", "20")], false);
    driver.feed(&post);
    let now = driver.now();
    let mut taken = Vec::new();
    for (part, end) in [(&[1; 7][..], false), (&[2; 12], false), (&[3; 1], true)] {
        driver.connection.want_body(1, &now);
        // The next frame comes with it, and is none of it.
        driver.feed(&[frame(DATA, u8::from(end), 1, part), frame(PING, 0, 0, &[0; 8])].concat());
        let (body, ended) = driver.take_body(1).unwrap();
        assert_eq!(ended, end);
        taken.extend(body);
    }
    assert_eq!(taken, [&[1; 7][..], &[2; 12], &[3; 1]].concat());
}

/// Whoever speaks of a stream that is no more, or of none at all, changes nothing.
#[test]
fn nothing_comes_of_a_stream_that_is_not_there() {
    let mut driver = asked("GET /", &[]);
    let now = driver.now();
    driver.connection.set_response_field(99, b"x", b"y");
    driver.connection.want_body(99, &now);
    driver.connection.refuse(99, 503, &now);
    driver.connection.respond(99, &Answer { status: 200, text: "ok", location: None, close: false }, &now);
    driver.connection.release(99);
    assert_eq!(driver.connection.finish(99, Outcome::Returned, &now), Finished::Disconnected);
    assert!(matches!(
        driver.connection.websocket_accept(99, None, &Headers::new(), &now),
        Err(SendError::Disconnected)
    ));
    assert!(driver.connection.websocket(99).is_none() && driver.connection.take_websocket(99).is_none());
    assert!(driver.take_body(99).is_none() && driver.connection.request_complete(99));
    assert_eq!((driver.frames(), driver.connection.unsent(99)), (Vec::new(), 0));
    driver.respond(1, 204, &[], b"");
    assert_eq!(driver.frames().len(), 1);
}

/// HDR-14: a `date` of the operator's is in place of the server's, and one of the application's in place of both.
#[test]
fn hdr_14_the_application_s_date_goes_ahead_of_the_operator_s() {
    let common =
        Headers::from_iter([("date", "operator's"), ("server", "operator's"), ("connection", "close")]).unwrap();
    let limits = Limits { headers: common, ..Limits::default() };
    let mut driver = Driver::open_with(limits, &[]);
    for (stream, fields, expected) in [
        (1, &[][..], ":status: 204\ndate: operator\\'s\nserver: operator\\'s"),
        (3, &[("date", "own"), ("server", "own")], ":status: 204\ndate: own\nserver: own"),
    ] {
        driver.get(stream, "/");
        driver.respond(stream, 204, fields, b"");
        assert_eq!(driver.frames(), [Got::Headers(stream, expected.to_owned(), true)]);
    }
}

/// HDR-06: where there is no :authority, `host` has to be one.
#[test]
fn a_host_that_is_none_is_refused() {
    for fields in [&[("host", "a b")][..], &[("host", "a"), ("host", "a")]] {
        let mut driver = Driver::open_with(plain(), &[]);
        let fields = [&[(":method", "GET"), (":scheme", "http"), (":path", "/")], fields].concat();
        let bytes = driver.headers_frame(1, &fields, true);
        driver.feed(&bytes);
        let got = driver.take();
        assert!(
            matches!(&got[0], Got::Headers(1, fields, _) if fields.starts_with(":status: 400")),
            "{fields:?} {got:?}"
        );
    }
}

/// HDR-05, HDR-06: :authority is the host, in front or in its place; cookies stay apart.
#[test]
fn the_authority_is_the_host() {
    let mut driver = Driver::open_with(plain(), &[]);
    let cases: [(Fields<'_>, &[u8]); 4] = [
        (&[(":authority", "a"), (":path", "/"), ("x", "y")], b"host: a\r\nx: y\r\n"),
        (&[(":authority", "a"), (":path", "/"), ("x", "y"), ("host", "b")], b"host: a\r\nx: y\r\n"),
        (&[(":path", "/"), ("x", "y"), ("host", "b")], b"x: y\r\nhost: b\r\n"),
        (
            &[(":path", "/"), (":authority", "a"), ("cookie", "b"), ("cookie", "c")],
            b"host: a\r\ncookie: b\r\ncookie: c\r\n",
        ),
    ];
    for (index, (fields, expected)) in cases.into_iter().enumerate() {
        let stream = 2 * index as u32 + 1;
        let bytes = driver.headers_frame(stream, &[&[(":method", "get"), (":scheme", "x")], fields].concat(), true);
        driver.feed(&bytes);
        assert_eq!(driver.headers[&stream].as_block().escape_ascii().to_string(), expected.escape_ascii().to_string());
        assert!(!driver.headers[&stream].has(KnownField::Connection));
    }
    assert!(
        driver
            .events
            .iter()
            .all(|event| matches!(event, super::support::Event::Request(_, line, _) if line == "GET /"))
    );
}

#[test]
fn an_options_request_may_ask_for_everything() {
    let driver = asked("OPTIONS *", &[]);
    assert_eq!(driver.events, [super::support::Event::Request(1, "OPTIONS *".to_owned(), false)]);
}

/// Trailers of a request are checked and dropped (HTTP-03).
#[test]
fn trailers_end_a_request() {
    let mut driver = Driver::open_with(plain(), &[]);
    let bytes = [
        driver.request(1, "POST /", &[], false),
        frame(DATA, 0, 1, b"body"),
        driver.headers_frame(1, &[("checksum", "1")], true),
    ];
    driver.feed(&bytes.concat());
    assert_eq!(driver.take_body(1), Some((b"body".to_vec(), true)));
}
