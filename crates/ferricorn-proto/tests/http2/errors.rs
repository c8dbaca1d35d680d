//! What breaks the rules, and what comes of it (RFC 9113 sections 5.4, 6, 8.1.1): each case as its bytes.

use ferricorn_proto::RequestError;
use ferricorn_proto::http2::{ConnectionError, ErrorCode};

use super::support::{
    ACK, CONTINUATION, DATA, Driver, END_HEADERS, END_STREAM, Event, GOAWAY, Got, HEADERS, PADDED, PING, PREFACE,
    PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, plain, priority_update, reset, setting, window_update,
};

/// The connection ends with this code, whatever way the bytes come.
fn ends(code: ErrorCode, section: &str, bytes: impl Fn(&mut Driver) -> Vec<u8>) {
    for by_byte in [false, true] {
        let mut driver = Driver::open_with(plain(), &[]);
        let bytes = bytes(&mut driver);
        if by_byte {
            bytes.iter().for_each(|byte| driver.feed(&[*byte]));
        } else {
            driver.feed(&bytes);
        }
        let Some(&Event::Broken(error)) = driver.events.last() else { panic!("{section}: {:?}", driver.events) };
        assert_eq!(error.code(), code, "{section}: {error}");
        let got = driver.take();
        let Some(Got::GoAway(_, sent, text)) = got.last() else { panic!("{section}: {got:?}") };
        assert_eq!(*sent, code as u32, "{section}");
        assert!(!text.is_empty() && !error.to_string().is_empty(), "{section}");
        assert_eq!(driver.connection.closing(), ferricorn_proto::Closing::Flush, "{section}");
        assert!(!driver.connection.exchange_is_open(1), "{section}");
    }
}

/// Stream 1 is reset with this code, and the connection goes on.
fn resets(code: ErrorCode, section: &str, bytes: impl Fn(&mut Driver) -> Vec<u8>) {
    for by_byte in [false, true] {
        let mut driver = Driver::open_with(plain(), &[]);
        let bytes = bytes(&mut driver);
        if by_byte {
            bytes.iter().for_each(|byte| driver.feed(&[*byte]));
        } else {
            driver.feed(&bytes);
        }
        let got = driver.take();
        assert!(got.contains(&Got::Reset(1, code as u32)), "{section}: {got:?} {:?}", driver.events);
        driver.get(101, "/after");
        let last = driver.events.last();
        assert_eq!(last, Some(&Event::Request(101, "GET /after".to_owned(), false)), "{section}");
    }
}

#[test]
fn the_preface_is_checked() {
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSN"] {
        let mut driver = Driver::new(plain());
        driver.feed(bytes);
        assert_eq!(driver.events, [Event::Broken(ConnectionError::Preface)]);
    }
    for first in [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, ACK, 0, b"")] {
        let mut driver = Driver::new(plain());
        driver.feed(&[PREFACE, &first].concat());
        assert_eq!(driver.events, [Event::Broken(ConnectionError::Preface)], "section 3.4");
    }
}

#[test]
fn frames_have_their_sizes() {
    ends(ErrorCode::FrameSizeError, "4.2", |_| frame(DATA, 0, 1, &[0; 16_385]));
    ends(ErrorCode::FrameSizeError, "6.5", |_| frame(SETTINGS, 0, 0, &[0; 5]));
    ends(ErrorCode::FrameSizeError, "6.5", |_| frame(SETTINGS, ACK, 0, &[0; 6]));
    ends(ErrorCode::FrameSizeError, "6.7", |_| frame(PING, 0, 0, &[0; 7]));
    ends(ErrorCode::FrameSizeError, "6.8", |_| frame(GOAWAY, 0, 0, &[0; 7]));
    ends(ErrorCode::FrameSizeError, "6.9", |_| frame(WINDOW_UPDATE, 0, 0, &[0; 3]));
    ends(ErrorCode::FrameSizeError, "6.4", |driver| {
        [driver.request(1, "GET /", &[], true), frame(RST_STREAM, 0, 1, &[0; 5])].concat()
    });
    ends(ErrorCode::FrameSizeError, "6.2", |_| frame(HEADERS, END_HEADERS | 0x20, 1, &[0; 4]));
    ends(ErrorCode::FrameSizeError, "6.1", |_| frame(DATA, PADDED, 1, b""));
    ends(ErrorCode::FrameSizeError, "RFC 9218 7.1", |_| frame(0x10, 0, 0, &[0; 3]));
    resets(ErrorCode::FrameSizeError, "6.3", |driver| {
        [driver.request(1, "GET /", &[], true), frame(PRIORITY, 0, 1, &[0; 4])].concat()
    });
}

#[test]
fn frames_are_on_the_right_streams() {
    for kind in [DATA, HEADERS, PRIORITY, RST_STREAM] {
        ends(ErrorCode::ProtocolError, "6", |_| frame(kind, END_HEADERS, 0, &[0; 4]));
    }
    ends(ErrorCode::ProtocolError, "6.5", |_| frame(SETTINGS, 0, 1, b""));
    ends(ErrorCode::ProtocolError, "6.7", |_| frame(PING, 0, 1, &[0; 8]));
    ends(ErrorCode::ProtocolError, "6.8", |_| frame(GOAWAY, 0, 1, &[0; 8]));
    ends(ErrorCode::ProtocolError, "RFC 9218 7.1", |_| frame(0x10, 0, 1, &[0; 4]));
    ends(ErrorCode::ProtocolError, "RFC 9218 7.1", |_| frame(0x10, 0, 0, &[0; 4]));
    ends(ErrorCode::ProtocolError, "RFC 9218 7.1: a pushed stream that has not begun", |_| priority_update(2, "u=1"));
    ends(ErrorCode::ProtocolError, "8.4", |_| frame(5, END_HEADERS, 1, &[0; 4]));
}

#[test]
fn idle_streams_get_no_frames() {
    ends(ErrorCode::ProtocolError, "5.1", |_| frame(DATA, 0, 1, b"x"));
    ends(ErrorCode::ProtocolError, "5.1", |_| reset(1, 8));
    ends(ErrorCode::ProtocolError, "5.1", |_| window_update(1, 1));
    ends(ErrorCode::ProtocolError, "5.1", |_| window_update(2, 1));
}

#[test]
fn stream_numbers_are_odd_and_grow() {
    ends(ErrorCode::ProtocolError, "5.1.1", |driver| driver.request(2, "GET /", &[], true));
    ends(ErrorCode::ProtocolError, "5.1.1", |driver| {
        [driver.request(5, "GET /", &[], true), driver.request(3, "GET /", &[], true)].concat()
    });
}

#[test]
fn closed_streams_get_no_requests() {
    ends(ErrorCode::StreamClosed, "5.1", |driver| {
        driver.get(1, "/");
        driver.respond(1, 200, &[], b"");
        driver.connection.release(1);
        driver.request(1, "GET /", &[], true)
    });
    resets(ErrorCode::StreamClosed, "5.1", |driver| {
        driver.get(1, "/");
        driver.respond(1, 200, &[], b"");
        driver.connection.release(1);
        frame(DATA, 0, 1, b"x")
    });
    // The end was said: nothing more of the request may come.
    resets(ErrorCode::StreamClosed, "5.1", |driver| {
        [driver.request(1, "GET /", &[], true), frame(DATA, END_STREAM, 1, b"x")].concat()
    });
    resets(ErrorCode::StreamClosed, "5.1", |driver| {
        [driver.request(1, "GET /", &[], true), driver.headers_frame(1, &[("a", "b")], true)].concat()
    });
}

/// What was on its way when a stream was reset is not held against its client.
#[test]
fn frames_for_what_was_reset_are_ignored() {
    let mut driver = Driver::open_with(plain(), &[]);
    let bytes = driver.request(1, "POST /", &[], false);
    driver.feed(&bytes);
    driver.respond(1, 200, &[], b"early");
    driver.connection.release(1);
    assert!(driver.frames().contains(&Got::Reset(1, 0)));
    let late =
        [frame(DATA, 0, 1, b"late"), window_update(1, 5), driver.headers_frame(1, &[("a", "b")], true), reset(1, 8)];
    driver.feed(&late.concat());
    driver.get(3, "/next");
    assert_eq!(driver.events[1..], [Event::Request(3, "GET /next".to_owned(), false)]);
    assert_eq!(driver.take(), []);
}

#[test]
fn padding_fits_into_its_frame() {
    ends(ErrorCode::ProtocolError, "6.1", |driver| {
        [driver.request(1, "POST /", &[], false), frame(DATA, PADDED, 1, &[5, 0, 0, 0, 0])].concat()
    });
    ends(ErrorCode::ProtocolError, "6.2", |_| frame(HEADERS, END_HEADERS | PADDED, 1, &[9, 0, 0]));
    let mut driver = Driver::open_with(plain(), &[]);
    let block = driver.block(&[(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")]);
    let padded = [&[3][..], &block, &[0; 3]].concat();
    driver.feed(&frame(HEADERS, END_HEADERS | PADDED, 1, &padded));
    driver.feed(&frame(DATA, PADDED | END_STREAM, 1, b"\x04body\0\0\0\0"));
    assert_eq!(driver.take_body(1), Some((b"body".to_vec(), true)));
}

#[test]
fn header_blocks_are_not_interrupted() {
    ends(ErrorCode::ProtocolError, "6.10", |driver| {
        let block = driver.block(&[(":method", "GET")]);
        [frame(HEADERS, END_STREAM, 1, &block), frame(PING, 0, 0, &[0; 8])].concat()
    });
    ends(ErrorCode::ProtocolError, "6.10", |driver| {
        let block = driver.block(&[(":method", "GET")]);
        [frame(HEADERS, END_STREAM, 1, &block), frame(CONTINUATION, END_HEADERS, 3, &block)].concat()
    });
    ends(ErrorCode::ProtocolError, "6.10", |_| frame(CONTINUATION, END_HEADERS, 1, b""));
    ends(ErrorCode::CompressionError, "4.3", |_| frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff]));
}

/// RFC 9113 section 4.3, RFC 7541: GOAWAY says what is wrong with a block.
#[test]
fn http2_4_3_blocks_that_cannot_be_decoded() {
    let cases: [(&[u8], &str); 6] = [
        (&[0xff], "a header block ends inside of a field"),
        (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "a header block has an integer that is too large"),
        (&[0x80], "a header block refers to a field that is in no table"),
        (&[0, 0x81, 0], "a header block has a string that is no Huffman code"),
        (&[0x3f, 0xe2, 0x1f], "a header block makes its table larger than announced, or changes its size too late"),
        (&[0x82, 0x20], "a header block makes its table larger than announced, or changes its size too late"),
    ];
    for (block, text) in cases {
        let mut driver = Driver::open_with(plain(), &[]);
        driver.feed(&frame(HEADERS, END_HEADERS | END_STREAM, 1, block));
        let Some(Event::Broken(error)) = driver.events.last() else { panic!("{block:?}") };
        assert_eq!((error.code(), error.to_string().as_str()), (ErrorCode::CompressionError, text));
        assert!(matches!(driver.take().last(), Some(Got::GoAway(_, 9, _))));
    }
}

#[test]
fn settings_have_their_values() {
    for (name, value) in [(2, 2), (5, 16_383), (5, 1 << 24), (8, 2), (9, 2)] {
        ends(ErrorCode::ProtocolError, "6.5.2", |_| frame(SETTINGS, 0, 0, &setting(name, value)));
    }
    ends(ErrorCode::FlowControlError, "6.5.2", |_| frame(SETTINGS, 0, 0, &setting(4, 1 << 31)));
}

#[test]
fn windows_stay_within_bounds() {
    ends(ErrorCode::ProtocolError, "6.9", |_| window_update(0, 0));
    ends(ErrorCode::FlowControlError, "6.9.1", |_| window_update(0, 0x7fff_ffff));
    resets(ErrorCode::ProtocolError, "6.9", |driver| {
        [driver.request(1, "GET /", &[], true), window_update(1, 0)].concat()
    });
    resets(ErrorCode::FlowControlError, "6.9.1", |driver| {
        [driver.request(1, "GET /", &[], true), window_update(1, 0x7fff_ffff)].concat()
    });
    ends(ErrorCode::FlowControlError, "6.9.2", |driver| {
        let more = window_update(1, 0x7fff_ffff - 65_535);
        [driver.request(1, "GET /", &[], true), more, frame(SETTINGS, 0, 0, &setting(4, 65_536))].concat()
    });
    // More than the connection's window of 2 MiB, on three streams.
    ends(ErrorCode::FlowControlError, "6.9.1", |driver| {
        let mut bytes = Vec::new();
        for stream in [1, 3, 5] {
            bytes.extend(driver.request(stream, "POST /", &[], false));
            bytes.extend(frame(DATA, 0, stream, &[0; 16_384]).repeat(60));
        }
        bytes
    });
    resets(ErrorCode::FlowControlError, "6.9.1", |driver| {
        [driver.request(1, "POST /", &[], false), frame(DATA, 0, 1, &[0; 16_384]).repeat(65)].concat()
    });
}

/// RFC 9113 section 8.1.1, and RFC 7540 section 5.3.1 for the last two.
#[test]
fn malformed_requests_are_reset() {
    let usual = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")];
    let with = |more: &[(&'static str, &'static str)]| [&usual[..], more].concat();
    let cases: Vec<Vec<(&str, &str)>> = vec![
        // 8.3: unknown, of a response, behind others, twice.
        with(&[(":unknown", "x")]),
        with(&[(":status", "200")]),
        with(&[("x", "y"), (":path", "/")]),
        with(&[(":path", "/")]),
        // 8.3.1: missing, or empty.
        vec![(":scheme", "http"), (":authority", "a"), (":path", "/")],
        vec![(":method", "GET"), (":authority", "a"), (":path", "/")],
        vec![(":method", "GET"), (":scheme", "http"), (":authority", "a")],
        vec![(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "")],
        vec![(":method", "GET"), (":scheme", ""), (":authority", "a"), (":path", "/")],
        vec![(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "*")],
        vec![(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/a b")],
        vec![(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "http://a/")],
        vec![(":method", "G T"), (":scheme", "http"), (":authority", "a"), (":path", "/")],
        // 8.2.1: names in lowercase, values without control characters or white space at their ends.
        with(&[("X", "y")]),
        with(&[("", "y")]),
        with(&[("x y", "z")]),
        with(&[("x", "a\nb")]),
        with(&[("x", "a\0b")]),
        with(&[("x", " a")]),
        with(&[("x", "a\t")]),
        // 8.2.2: nothing about the connection.
        with(&[("connection", "close")]),
        with(&[("keep-alive", "1")]),
        with(&[("proxy-connection", "close")]),
        with(&[("transfer-encoding", "chunked")]),
        with(&[("upgrade", "h2c")]),
        with(&[("te", "gzip")]),
        with(&[("te", "trailers, gzip")]),
        // 8.1.1: no length of its own, or two.
        with(&[("content-length", "1")]),
        with(&[("content-length", "x")]),
        with(&[("content-length", "0"), ("content-length", "0")]),
        // RFC 8441 section 4: only with CONNECT.
        with(&[(":protocol", "websocket")]),
    ];
    for fields in cases {
        resets(ErrorCode::ProtocolError, &format!("{fields:?}"), |driver| driver.headers_frame(1, &fields, true));
    }
    resets(ErrorCode::ProtocolError, "8.1.1", |driver| {
        let request = driver.request(1, "POST /", &[("content-length", "5")], false);
        [request, frame(DATA, END_STREAM, 1, b"four")].concat()
    });
    resets(ErrorCode::ProtocolError, "8.1.1", |driver| {
        let request = driver.request(1, "POST /", &[("content-length", "5")], false);
        [request, frame(DATA, 0, 1, b"longer")].concat()
    });
    resets(ErrorCode::ProtocolError, "8.1", |driver| {
        [driver.request(1, "POST /", &[], false), driver.headers_frame(1, &[("a", "b")], false)].concat()
    });
    resets(ErrorCode::ProtocolError, "8.1", |driver| {
        [driver.request(1, "POST /", &[], false), driver.headers_frame(1, &[(":path", "b")], true)].concat()
    });
    resets(ErrorCode::ProtocolError, "5.3.1", |driver| {
        let block = driver.block(&usual);
        frame(HEADERS, END_HEADERS | END_STREAM | 0x20, 1, &[&[0, 0, 0, 1, 0], &block[..]].concat())
    });
    resets(ErrorCode::ProtocolError, "5.3.1", |driver| {
        [driver.request(1, "GET /", &[], true), frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0])].concat()
    });
}

/// What is well-formed and cannot be served is answered.
#[test]
fn refused_requests_are_answered() {
    let usual = [(":method", "HEAD"), (":scheme", "http"), (":authority", "a"), (":path", "/")];
    let many: Vec<(String, String)> = (0..101).map(|number| (format!("x-{number}"), String::new())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (&**name, &**value)).collect();
    let large = "x".repeat(70_000);
    let cases = [
        (RequestError::Connect, 501, vec![(":method", "CONNECT"), (":authority", "a:1")]),
        (RequestError::Expectation, 417, [&usual[..], &[("expect", "x")]].concat()),
        (RequestError::HostInvalid, 400, vec![(":method", "GET"), (":authority", "a@b")]),
        (RequestError::HostMissing, 400, vec![(":method", "GET"), (":scheme", "http"), (":path", "/")]),
        (RequestError::HostRepeated, 400, [&usual[..], &[("host", "a"), ("host", "a")]].concat()),
        (RequestError::TooManyFields, 431, [&usual[..], &many].concat()),
        (RequestError::FieldsTooLarge, 431, [&usual[..], &[("x", &large[..16_000]); 5]].concat()),
    ];
    for (error, status, fields) in cases {
        let mut driver = Driver::open_with(plain(), &[]);
        let block = driver.block(&fields);
        let mut parts = block.chunks(16_384).peekable();
        let mut bytes = Vec::new();
        let mut kind = HEADERS;
        while let Some(part) = parts.next() {
            let end = if parts.peek().is_none() { END_HEADERS } else { 0 };
            bytes.extend(frame(kind, end | if kind == HEADERS { END_STREAM } else { 0 }, 1, part));
            kind = CONTINUATION;
        }
        driver.feed(&bytes);
        assert_eq!(driver.events, [Event::Refused(error)]);
        let got = driver.take();
        let Got::Headers(1, fields, end) = &got[0] else { panic!("{error}: {got:?}") };
        assert!(fields.starts_with(&format!(":status: {status}\n")), "{fields}");
        // To HEAD, there is no content.
        let text = error.to_string();
        assert!(*end || matches!(&got[1], Got::Data(1, said, true) if *said == text.as_bytes()), "{got:?}");
        assert_eq!(*end, matches!(status, 417 | 431) || error == RequestError::HostRepeated);
        // The table is still what the client takes it for.
        driver.get(3, "/next");
        assert_eq!(driver.events[1..], [Event::Request(3, "GET /next".to_owned(), false)]);
    }
}
