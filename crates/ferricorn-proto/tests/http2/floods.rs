//! Much work for little: each kind ends the connection with ENHANCE_YOUR_CALM (RFC 9113 section 10.5), and no client that
//! means well does.

use ferricorn_proto::http2::{ConnectionError, ErrorCode};
use ferricorn_proto::{Closing, Limits, http2};

use super::support::{
    CONTINUATION, DATA, Driver, END_HEADERS, END_STREAM, Event, Got, HEADERS, PING, PRIORITY, SETTINGS, frame, plain,
    priority_update, reset, window_update,
};

/// So many rounds of these bytes are too much, and a tenth of them is not.
fn floods(rounds: usize, bytes: impl Fn(&mut Driver, u32) -> Vec<u8>) -> ConnectionError {
    let mut driver = Driver::open_with(plain(), &[]);
    for round in 0..rounds {
        let bytes = bytes(&mut driver, round as u32);
        driver.feed(&bytes);
        if let Some(&Event::Broken(error)) = driver.events.last() {
            assert!(round > rounds / 10, "after {round}: {error}");
            assert_eq!(error.code(), ErrorCode::EnhanceYourCalm);
            let got = driver.take();
            assert!(matches!(got.last(), Some(Got::GoAway(_, 0xb, _))), "{got:?}");
            assert_eq!(driver.connection.closing(), Closing::Flush);
            return error;
        }
        driver.take();
    }
    panic!("nothing came of {rounds} rounds");
}

#[test]
fn rapid_resets() {
    let error = floods(600, |driver, round| {
        let stream = 2 * round + 1;
        if round > 0 {
            driver.connection.release(stream - 2);
        }
        [driver.request(stream, "GET /", &[], true), reset(stream, 8)].concat()
    });
    assert_eq!(error.to_string(), "too many requests were reset");
}

/// Where the calls have not ended, a client that resets gets no more of them than one that does not.
#[test]
fn resets_make_no_room() {
    let mut driver = Driver::open_with(plain(), &[]);
    for stream in (1..400).step_by(2) {
        let bytes = [driver.request(stream, "GET /", &[], true), reset(stream, 8)].concat();
        driver.feed(&bytes);
    }
    assert_eq!(driver.events.len(), 128);
    let refused = driver.take();
    assert_eq!(refused.len(), 200 - 128);
    assert!(refused.iter().all(|frame| matches!(frame, Got::Reset(_, 7))));
    // As soon as the calls have ended, there is room.
    (1..257).step_by(2).for_each(|stream| driver.connection.release(stream));
    driver.get(401, "/");
    assert_eq!(driver.events.len(), 129);
}

/// The same where the client has the server reset its streams (CVE-2025-8671).
#[test]
fn errors_make_no_room() {
    let mut driver = Driver::open_with(plain(), &[]);
    for stream in (1..400).step_by(2) {
        let bytes = [driver.request(stream, "GET /", &[], true), window_update(stream, 0)].concat();
        driver.feed(&bytes);
    }
    let requests = driver.events.iter().filter(|event| matches!(event, Event::Request(..))).count();
    assert_eq!((requests, driver.events.len()), (128, 128));
    assert_eq!(driver.take().iter().filter(|frame| matches!(frame, Got::Reset(_, 7))).count(), 200 - 128);
}

/// With large frames allowed, only those that need not be whole may be so large.
#[test]
fn large_frames_that_have_to_be_whole() {
    let limits = http2::Limits { max_frame_size: 1 << 20, ..http2::Limits::default() };
    let limits = Limits { http2: Some(limits.into()), ..plain() };
    let mut driver = Driver::open_with(limits, &[]);
    let bytes = [driver.request(1, "POST /", &[], false), frame(DATA, 0, 1, &[0; 1 << 19])].concat();
    driver.feed(&bytes);
    assert_eq!(driver.take_body(1).unwrap().0.len(), 1 << 19);
    driver.feed(&frame(HEADERS, END_STREAM, 3, &[0; 300_000])[..9]);
    assert!(matches!(driver.events.last(), Some(Event::Broken(ConnectionError::Flood(_)))));
}

/// A browser that leaves a page cancels all its requests, and a proxy those of users who leave.
#[test]
fn some_resets_are_fine() {
    let mut driver = Driver::open_with(plain(), &[]);
    let mut stream = 1;
    for _ in 0..100 {
        let first = stream;
        for number in 0..100 {
            driver.get(stream, "/");
            if number % 2 == 0 {
                driver.feed(&reset(stream, 8));
            }
            stream += 2;
        }
        for (number, stream) in (first..stream).step_by(2).enumerate() {
            if number % 2 == 1 {
                driver.respond(stream, 200, &[], b"hello");
            }
            driver.connection.release(stream);
        }
        driver.take();
    }
    assert!(driver.events.iter().all(|event| matches!(event, Event::Request(..))));
}

#[test]
fn streams_above_their_number() {
    let error = floods(2000, |driver, round| driver.request(2 * round + 1, "GET /", &[], true));
    assert_eq!(error.to_string(), "too many requests at the same time");
    let mut driver = Driver::open_with(plain(), &[]);
    (0..130).for_each(|number| driver.get(2 * number + 1, "/"));
    assert_eq!(driver.events.len(), 128);
    assert_eq!(driver.take(), [Got::Reset(257, 7), Got::Reset(259, 7)], "section 5.1.2");
    // A response makes room, whether its call has ended or not.
    driver.respond(1, 200, &[], b"");
    driver.get(261, "/");
    assert_eq!(driver.events.len(), 129);
}

#[test]
fn header_blocks_without_end() {
    let error = floods(40, |driver, round| match round {
        0 => frame(HEADERS, END_STREAM, 1, &driver.block(&[(":method", "GET")])),
        _ => frame(CONTINUATION, 0, 1, b""),
    });
    assert_eq!(error.to_string(), "a header block is too large");
    floods(20, |driver, round| match round {
        0 => frame(HEADERS, END_STREAM, 1, &driver.block(&[(":method", "GET")])),
        _ => frame(CONTINUATION, 0, 1, &[0; 16_384]),
    });
}

/// The crate h2 says every value by Huffman's codes, of which those of rare bytes are longer than the byte: a list that was
/// not too large ended the connection (RFC 9113 section 10.5.1).
#[test]
fn http2_10_5_1_a_block_may_be_longer_than_its_list() {
    let mut driver = Driver::open_with(plain(), &[]);
    let mut block = driver.block(&[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")]);
    // The name x, and 60,000 times 0xf9, whose code is 0xffffffe, with 28 bits (RFC 7541 appendix B).
    block.extend(b"\0\x01x\xff");
    let mut length = 210_000_u32 - 127;
    while length >= 128 {
        block.push(length as u8 | 0x80);
        length >>= 7;
    }
    block.push(length as u8);
    block.extend(b"\xff\xff\xff\xef\xff\xff\xfe".repeat(30_000));
    let parts: Vec<&[u8]> = block.chunks(16_384).collect();
    driver.feed(&frame(HEADERS, END_STREAM, 1, parts[0]));
    for (index, part) in parts.iter().enumerate().skip(1) {
        let flags = if index + 1 == parts.len() { END_HEADERS } else { 0 };
        driver.feed(&frame(CONTINUATION, flags, 1, part));
    }
    assert_eq!(driver.events, [Event::Request(1, "GET /".to_owned(), false)]);
    assert!(driver.headers[&1].get(b"x") == Some(&[0xf9; 60_000]));
}

/// Small and large at once: a list that is far larger than its block.
#[test]
fn header_bombs() {
    let mut driver = Driver::open_with(plain(), &[]);
    let usual = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")];
    let large = "x".repeat(900);
    for stream in [1, 3] {
        let bytes = driver.headers_frame(stream, &[&usual[..], &[("bomb", &*large)]].concat(), true);
        driver.feed(&bytes);
    }
    let bytes = driver.headers_frame(5, &[&usual[..], &[("bomb", &*large); 5000]].concat(), true);
    assert!(bytes.len() < 6000);
    driver.feed(&bytes);
    assert_eq!(driver.events[2..], [Event::Refused(ferricorn_proto::RequestError::FieldsTooLarge)]);
}

#[test]
fn answers_that_are_asked_for() {
    let error = floods(3000, |_, _| frame(SETTINGS, 0, 0, b""));
    assert_eq!(error.to_string(), "too many SETTINGS and PING frames");
    floods(3000, |_, _| frame(PING, 0, 0, &[1; 8]));
}

/// Who reads no answers gets no more of them.
#[test]
fn answers_that_nobody_reads() {
    let mut driver = Driver::open_with(plain(), &[]);
    driver.get(1, "/");
    driver.writes = false;
    for _ in 0..4 {
        driver.feed(&frame(PING, 0, 0, &[1; 8]).repeat(1000));
        driver.pass(std::time::Duration::from_secs(11));
        assert!(driver.connection.transmit().len() < 70_000);
    }
    assert_eq!(
        driver.events[1..],
        [Event::Broken(ConnectionError::Flood("too many answers that the client does not read"))]
    );
}

/// gRPC measures the way to it by a ping with what it gets, as long as that lasts; what waits may never be nothing.
#[test]
fn pings_with_data_are_fine() {
    let mut driver = Driver::open_with(plain(), &[]);
    driver.get(1, "/");
    driver.connection.start(1, &super::support::start(200, &[])).unwrap();
    driver.writes = false;
    let ping = [frame(PING, 0, 0, &[1; 8]), window_update(0, 2000), window_update(1, 2000)].concat();
    for _ in 0..20_000 {
        driver.body(1, &[b'x'; 2000], true);
        driver.feed(&ping);
        let transmit = driver.connection.transmit();
        if transmit.len() > 20_000 {
            transmit.consume(transmit.len() as usize / 2);
        }
        let now = driver.now();
        driver.connection.handle_written(&now);
    }
    assert_eq!(driver.events.len(), 1, "{:?}", driver.events.last());
    assert_eq!(driver.connection.unsent(1), 0);
}

#[test]
fn frames_that_do_nothing() {
    let error = floods(6000, |_, _| frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 0]));
    assert_eq!(error.to_string(), "too many frames that do nothing");
    floods(6000, |_, _| priority_update(1, "i"));
    floods(6000, |_, _| frame(0x77, 0, 1, b"whatever"));
}

#[test]
fn data_without_data() {
    let error = floods(2000, |driver, round| match round {
        0 => driver.request(1, "POST /", &[], false),
        _ => frame(DATA, 0, 1, b""),
    });
    assert_eq!(error.to_string(), "too many DATA frames without data");
}

#[test]
fn windows_that_open_by_a_byte() {
    let error = floods(12_000, |_, _| window_update(0, 1));
    assert_eq!(error.to_string(), "too many WINDOW_UPDATE frames");
    // With as many for data, all is well.
    let mut driver = Driver::open_with(plain(), &[]);
    driver.get(1, "/");
    driver.connection.start(1, &super::support::start(200, &[])).unwrap();
    for _ in 0..12_000 {
        driver.body(1, &[b'x'; 100], true);
        driver.feed(&[window_update(0, 100), window_update(1, 100)].concat());
        driver.take();
    }
    assert_eq!(driver.events.len(), 1);
}

#[test]
fn errors_on_streams() {
    let error = floods(600, |driver, round| {
        let fields = [(":method", "GET"), (":path", "/")];
        driver.headers_frame(2 * round + 1, &fields, true)
    });
    assert_eq!(error.to_string(), "too many errors on streams");
}

/// A client that takes no response is not read from for more of them.
#[test]
fn responses_that_nobody_reads() {
    let mut driver = Driver::open_with(plain(), &[]);
    driver.writes = false;
    let large = "x".repeat(8000);
    let mut stream = 1;
    while driver.connection.wants_input() && stream < 10_000 {
        driver.get(stream, "/");
        if driver.connection.exchange_is_open(stream) {
            driver.respond(stream, 200, &[("x", &large)], b"");
            driver.connection.release(stream);
        }
        stream += 2;
    }
    let waits = driver.connection.transmit().len();
    assert!((512 * 1024..600 * 1024).contains(&waits), "{waits}");
    driver.writes = true;
    driver.write();
    assert!(driver.connection.wants_input());
    let before = driver.events.len();
    driver.settle();
    assert!(driver.events.len() > before, "the request that waited is begun");
}
