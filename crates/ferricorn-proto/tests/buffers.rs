//! What is kept in memory: what waits to be written, what is read away, what is remembered.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::io::IoSlice;
use std::rc::Rc;

use asgi::{KnownField, ResponseStart};
use ferricorn_proto::http1::Connection;
use ferricorn_proto::{Closing, Content, Input, Limits, Piece, RequestError};
use support::client::{End, read_responses};
use support::{Action, Driver, Seen, file_of, take_output};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

fn limits() -> Limits {
    Limits { date: false, ..Limits::default() }
}

fn part(bytes: Vec<u8>, more: bool) -> Action {
    Action::Body { bytes, more }
}

fn ok() -> Action {
    Action::Start(ResponseStart { status: 200, ..ResponseStart::default() })
}

/// A driver whose connection runs a request that the test answers itself.
fn running() -> Driver {
    let mut driver = Driver::new(limits(), &[vec![Action::Hang]]);
    driver.feed(REQUEST);
    driver
}

#[test]
fn small_parts_are_copied_together_and_large_ones_are_not() {
    let mut driver = running();
    let now = driver.now();
    let connection = &mut driver.connection;
    connection.start(&ResponseStart { status: 200, ..ResponseStart::default() }).unwrap();
    let large: Vec<u8> = (0..100_000_u32).map(|number| number as u8).collect();
    connection.body(Content::Bytes(b"small".to_vec()), true, &now).unwrap();
    connection.body(Content::Bytes(large.clone()), true, &now).unwrap();
    connection.body(Content::Bytes(large.clone()), true, &now).unwrap();
    connection.body(Content::Bytes(b"end".to_vec()), false, &now).unwrap();
    let transmit = connection.transmit();
    let mut slices = [IoSlice::new(&[]); 8];
    assert!(matches!(transmit.next(&mut slices), Piece::Bytes(5)));
    let lengths: Vec<usize> = slices[..5].iter().map(|slice| slice.len()).collect();
    assert_eq!((lengths[1], lengths[3]), (100_000, 100_000));
    assert_eq!(lengths.iter().sum::<usize>() as u64, transmit.len());
    let mut output = Vec::new();
    take_output(connection, &mut output);
    let response = read_responses(&output, &[]).unwrap().remove(0);
    assert_eq!(response.body, [b"small", &large[..], &large, b"end"].concat());
    assert_eq!(response.end, End::Whole);
}

/// However few bytes the socket takes at a time, they come out in order, once each.
#[test]
fn every_partial_write_goes_on_where_it_stopped() {
    let large: Vec<u8> = (0..20_000_u32).map(|number| (number % 251) as u8).collect();
    let script = vec![
        ok(),
        part(b"one".to_vec(), true),
        Action::File { bytes: b"-contents-".to_vec(), offset: 1, count: 8, more: true },
        part(large.clone(), true),
        part(b"two".to_vec(), true),
        Action::File { bytes: Vec::new(), offset: 0, count: 0, more: true },
        part(large, true),
        part(b"three".to_vec(), false),
    ];
    let mut whole = Driver::new(limits(), std::slice::from_ref(&script));
    whole.feed(REQUEST);
    for step in [1, 2, 3, 7, 1000, 19_999] {
        let mut driver = running();
        let now = driver.now();
        for action in &script {
            match action.clone() {
                Action::Start(start) => driver.connection.start(&start).unwrap(),
                Action::Body { bytes, more } => driver.connection.body(Content::Bytes(bytes), more, &now).unwrap(),
                Action::File { bytes, offset, count, more } => {
                    driver.connection.body(Content::File { file: file_of(&bytes), offset, count }, more, &now).unwrap();
                }
                other => unreachable!("{other:?}"),
            }
        }
        assert_eq!(written_in_steps(&mut driver.connection, step), whole.output, "{step} bytes at a time");
    }
}

fn written_in_steps(connection: &mut Connection<Vec<u8>>, step: usize) -> Vec<u8> {
    let transmit = connection.transmit();
    let mut output = Vec::new();
    while !transmit.is_empty() {
        let mut slices = [IoSlice::new(&[]); 2];
        let taken = match transmit.next(&mut slices) {
            Piece::Nothing => panic!("{} bytes wait, but there is nothing", transmit.len()),
            Piece::Bytes(_) => {
                let taken = step.min(slices[0].len());
                output.extend_from_slice(&slices[0][..taken]);
                taken
            }
            Piece::File { file, offset, remaining } => {
                use std::os::unix::fs::FileExt;
                assert!(remaining > 0, "a file with nothing in it would end a driver's loop");
                let mut bytes = vec![0; step.min(remaining as usize)];
                file.read_exact_at(&mut bytes, offset).unwrap();
                output.extend_from_slice(&bytes);
                bytes.len()
            }
        };
        transmit.consume(taken);
    }
    assert!(matches!(transmit.next(&mut [IoSlice::new(&[])]), Piece::Nothing));
    output
}

#[test]
#[should_panic(expected = "more bytes written than waited")]
fn more_than_waits_cannot_be_consumed() {
    running().connection.transmit().consume(1);
}

#[test]
fn a_client_that_sends_requests_and_reads_nothing_is_not_read_from() {
    let mut driver = running();
    let now = driver.now();
    driver.connection.start(&ResponseStart { status: 200, ..ResponseStart::default() }).unwrap();
    driver.connection.body(Content::Bytes(vec![b'x'; 70_000]), false, &now).unwrap();
    assert!(!driver.connection.exchange_is_open());
    assert!(!driver.connection.wants_input());
    let mut next = REQUEST.to_vec();
    let step = driver.connection.handle_input(&mut next, &now);
    assert!(step.consumed == 0 && matches!(step.event, Ok(None)));
    // Once it reads, its next request is taken.
    take_output(&mut driver.connection, &mut Vec::new());
    driver.connection.handle_written(&now);
    assert!(driver.connection.wants_input());
    let step = driver.connection.handle_input(&mut next, &now);
    assert!(step.consumed == REQUEST.len() && matches!(step.event, Ok(Some(Input::Request(_)))));
}

#[test]
fn http_10_more_of_an_unread_body_than_is_read_away_closes() {
    let mut driver = Driver::new(limits(), &[vec![ok(), part(b"ok".to_vec(), false)]]);
    driver.feed(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..4 {
        assert_eq!(driver.closing(), Closing::No);
        driver.feed(&[&b"4000\r\n"[..], &[b'x'; 0x4000], b"\r\n"].concat());
    }
    assert_eq!(driver.closing(), Closing::Flush);
    assert!(!driver.seen.iter().any(|seen| matches!(seen, Seen::Refused(_))));
}

#[test]
fn the_fields_of_a_head_are_counted() {
    let request = |fields: usize| {
        let mut bytes = b"GET / HTTP/1.1\r\nHost: x\r\n".to_vec();
        (1..fields).for_each(|_| bytes.extend_from_slice(b"A: b\r\n"));
        bytes.extend_from_slice(b"\r\n");
        bytes
    };
    let mut driver = Driver::new(limits(), &[vec![ok(), part(Vec::new(), false)]]);
    driver.feed(&request(100));
    driver.feed(&request(101));
    assert!(matches!(
        driver.seen[..],
        [Seen::Request { .. }, Seen::Finished(_), Seen::Refused(RequestError::TooManyFields)]
    ));
    assert!(driver.output.ends_with(b"too many header fields"));
}

fn chunked_with(extension: &[u8], chunks: usize) -> Driver {
    let mut driver = Driver::new(limits(), &[vec![Action::ReceiveAll, ok(), part(Vec::new(), false)]]);
    driver.feed(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..chunks {
        driver.feed(&[b"1", extension, b"\r\nx\r\n"].concat());
    }
    driver.feed(b"0\r\n\r\n");
    driver
}

#[test]
fn chunk_extensions_are_bounded_for_each_chunk_and_for_all() {
    let longest = [&b";"[..], &[b'e'; 255]].concat();
    let refused = |driver: &Driver| driver.seen.contains(&Seen::Refused(RequestError::ChunkExtension));
    assert!(!refused(&chunked_with(&longest, 64)));
    assert!(refused(&chunked_with(&longest, 65)));
    assert!(refused(&chunked_with(&[&longest[..], b"e"].concat(), 1)));
    assert!(!refused(&chunked_with(b"", 100_000)));
}

#[test]
fn trailers_are_bounded() {
    for (length, is_taken) in [(16 * 1024 - 5, true), (16 * 1024 - 4, false)] {
        let mut driver = Driver::new(limits(), &[vec![Action::ReceiveAll, ok(), part(Vec::new(), false)]]);
        driver.feed(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n");
        driver.feed(&[b"A: ", &vec![b'x'; length][..], b"\r\n\r\n"].concat());
        assert_eq!(driver.seen.contains(&Seen::EndOfBody), is_taken);
        assert_eq!(driver.seen.contains(&Seen::Refused(RequestError::TrailersTooLarge)), !is_taken);
    }
}

/// Several chunks in one read are one event, their data moved together in place.
#[test]
fn http_03_chunks_of_one_read_are_one_event() {
    let mut driver = Driver::new(limits(), &[vec![Action::Hang]]);
    driver.feed(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    let now = driver.now();
    driver.connection.want_body(&now);
    let mut bytes = b"3\r\none\r\n0003\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\nGET".to_vec();
    let step = driver.connection.handle_input(&mut bytes, &now);
    let consumed = step.consumed;
    assert!(matches!(step.event, Ok(Some(Input::Body { data: b"onetwothree", end: true }))));
    assert_eq!(&bytes[consumed..], b"GET");
}

#[test]
fn http_20_large_chunks_have_the_right_size() {
    for length in [0, 1, 9, 10, 15, 16, 255, 256, 4095, 4096, 65_535, 65_536, 1_048_576] {
        let mut driver =
            Driver::new(limits(), &[vec![ok(), part(vec![b'x'; length], true), part(b"!".to_vec(), false)]]);
        driver.feed(REQUEST);
        let response = read_responses(&driver.output, &[]).unwrap().remove(0);
        assert_eq!((response.body.len(), response.end), (length + 1, End::Whole));
    }
}

#[test]
fn a_list_that_the_caller_keeps_is_not_changed_by_the_next_request() {
    let mut driver = Driver::new(limits(), &[vec![ok(), part(Vec::new(), false)]]);
    let now = driver.now();
    let mut kept = Vec::new();
    for name in ["a", "a", "b"] {
        let mut bytes = format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n").into_bytes();
        let step = driver.connection.handle_input(&mut bytes, &now);
        let Ok(Some(Input::Request(head))) = step.event else { panic!("{:?}", step.event) };
        kept.push(head.headers);
        driver.connection.start(&ResponseStart { status: 200, ..ResponseStart::default() }).unwrap();
        driver.connection.body(Content::Bytes(Vec::new()), false, &now).unwrap();
    }
    let hosts: Vec<&[u8]> = kept.iter().map(|headers| headers.get(b"host").unwrap()).collect();
    assert_eq!(hosts, [b"a", b"a", b"b"]);
    assert!(Rc::ptr_eq(&kept[0], &kept[1]) && !Rc::ptr_eq(&kept[1], &kept[2]));
}

#[test]
fn known_fields_of_a_request_are_known() {
    let mut driver = Driver::new(limits(), &[]);
    let now = driver.now();
    let mut bytes = b"POST / HTTP/1.1\r\nHOST: x\r\nCONTENT-LENGTH: 0\r\nConnection: x\r\n\r\n".to_vec();
    let step = driver.connection.handle_input(&mut bytes, &now);
    let Ok(Some(Input::Request(head))) = step.event else { panic!("{:?}", step.event) };
    assert!(head.headers.has(KnownField::ContentLength) && head.headers.has(KnownField::Connection));
    assert!(!head.headers.has(KnownField::Date));
}

#[test]
fn released_memory_is_not_remembered() {
    let mut driver = Driver::new(limits(), &[vec![ok(), part(Vec::new(), false)]]);
    let repeated = |driver: &Driver| match driver.seen.iter().rev().find(|seen| matches!(seen, Seen::Request { .. })) {
        Some(Seen::Request { line, .. }) => line.ends_with("+repeated"),
        _ => panic!("no request"),
    };
    driver.feed(REQUEST);
    driver.feed(REQUEST);
    assert!(repeated(&driver));
    driver.connection.release_memory();
    driver.feed(REQUEST);
    assert!(!repeated(&driver));
    // Not while a head is coming in.
    driver.feed(&REQUEST[..20]);
    driver.connection.release_memory();
    driver.feed(&REQUEST[20..]);
    assert!(repeated(&driver));
}

#[test]
fn a_block_that_is_too_large_is_not_remembered() {
    let mut driver = Driver::new(limits(), &[vec![ok(), part(Vec::new(), false)]]);
    let request = [&REQUEST[..25], b"A: ", &[b'a'; 20_000], b"\r\n\r\n"].concat();
    driver.feed(&request);
    driver.feed(&request);
    assert_eq!(driver.seen.len(), 4);
    assert_eq!(driver.seen[0], driver.seen[2]);
}

#[test]
fn http_10_a_large_chunk_that_has_begun_closes() {
    let script = vec![Action::WantBody, Action::Hang];
    let mut driver = Driver::new(limits(), &[script]);
    driver.feed(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n20000\r\nbegin");
    let now = driver.now();
    driver.connection.start(&ResponseStart { status: 200, ..ResponseStart::default() }).unwrap();
    driver.connection.body(Content::Bytes(b"enough".to_vec()), false, &now).unwrap();
    assert_eq!(driver.closing(), Closing::Flush);
}

#[test]
fn http_21_how_much_is_missing_is_told() {
    let headers = asgi::Headers::from_iter([("content-length", "10")]).unwrap();
    let start = Action::Start(ResponseStart { status: 200, headers, trailers: false });
    let mut driver = Driver::new(limits(), &[vec![start, part(b"123".to_vec(), true), part(b"4".to_vec(), false)]]);
    assert_eq!(driver.connection.shortfall(), None);
    driver.feed(REQUEST);
    assert_eq!(driver.connection.shortfall(), Some((10, 4)));
}

#[test]
fn nothing_comes_of_no_input() {
    let mut driver = Driver::new(limits(), &[vec![Action::WantBody, Action::Hang]]);
    let now = driver.now();
    assert!(matches!(driver.connection.handle_input(&mut [], &now).event, Ok(None)));
    driver.feed(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n");
    let step = driver.connection.handle_input(&mut [], &now);
    assert!(step.consumed == 0 && matches!(step.event, Ok(None)));
    assert!(driver.connection.wants_input());
}
