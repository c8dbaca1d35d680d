//! Windows in both directions (RFC 9113 sections 5.2 and 6.9), room, priorities (RFC 9218) and files.

use std::io::{IoSlice, Write};

use ferricorn_proto::http2::ErrorCode;
use ferricorn_proto::{Closing, Content, Drain, Limits, Piece, http2};

use super::support::{
    DATA, Driver, END_STREAM, Event, Got, SETTINGS, frame, plain, priority_update, reset, setting, start, window_update,
};

/// The bytes of data for a stream, and whether it has ended.
fn received(got: &[Got], stream: u32) -> (usize, bool) {
    got.iter().fold((0, false), |(length, ended), frame| match frame {
        Got::Data(on, bytes, end) if *on == stream => {
            assert!(!ended && bytes.len() <= 16_384);
            (length + bytes.len(), *end)
        }
        Got::Headers(on, _, end) if *on == stream => (length, *end),
        _ => (length, ended),
    })
}

#[test]
fn a_response_waits_for_windows() {
    let mut driver = Driver::open_with(plain(), &[(4, 10)]);
    driver.get(1, "/");
    driver.respond(1, 200, &[], b"twelve bytes");
    assert_eq!(received(&driver.frames(), 1), (10, false));
    assert_eq!(driver.connection.unsent(1), 2);
    assert_eq!(driver.changed(), [1]);
    driver.feed(&window_update(1, 1));
    assert_eq!(driver.take(), [Got::Data(1, b"e".to_vec(), false)]);
    driver.feed(&window_update(1, 1));
    assert_eq!(driver.take(), [Got::Data(1, b"s".to_vec(), true)]);
    assert_eq!(driver.connection.unsent(1), 0);
}

/// A small response also waits behind one of its own parts.
#[test]
fn parts_stay_in_order() {
    let mut driver = Driver::open_with(plain(), &[(4, 0)]);
    driver.get(1, "/");
    driver.connection.start(1, &start(200, &[])).unwrap();
    driver.body(1, b"first", true);
    driver.body(1, b"second", false);
    assert_eq!(driver.frames().len(), 1, "the head alone");
    driver.feed(&window_update(1, 100));
    assert_eq!(driver.take(), [Got::Data(1, b"firstsecond".to_vec(), true)]);
}

#[test]
fn a_setting_moves_all_windows() {
    let mut driver = Driver::open_with(plain(), &[]);
    driver.get(1, "/");
    driver.respond(1, 200, &[], &[b'x'; 70_000]);
    assert_eq!(received(&driver.frames(), 1), (65_535, false));
    // Below nothing, and back.
    driver.feed(&frame(SETTINGS, 0, 0, &setting(4, 0)));
    driver.feed(&window_update(0, 100_000));
    driver.feed(&window_update(1, 65_535));
    assert_eq!(driver.take(), [Got::SettingsAck]);
    driver.feed(&frame(SETTINGS, 0, 0, &setting(4, 1)));
    assert_eq!(driver.take(), [Got::SettingsAck, Got::Data(1, b"x".to_vec(), false)]);
    driver.feed(&window_update(1, 65_535));
    assert_eq!(received(&driver.take(), 1), (4_464, true));
}

#[test]
fn the_connection_s_window_is_shared() {
    let mut driver = Driver::open_with(plain(), &[(4, 1 << 20)]);
    for stream in [1, 3] {
        driver.get(stream, "/");
        driver.respond(stream, 200, &[], &[b'x'; 50_000]);
    }
    let got = driver.frames();
    assert_eq!(received(&got, 1).0 + received(&got, 3).0, 65_535);
    driver.feed(&window_update(0, 100_000));
    let got = [got, driver.take()].concat();
    assert_eq!((received(&got, 1), received(&got, 3)), ((50_000, true), (50_000, true)));
}

/// What waits to be written is bounded; the rest waits in its stream, and is told.
#[test]
fn there_is_so_much_room() {
    let mut driver = Driver::open_with(plain(), &[(4, 1 << 30)]);
    driver.feed(&window_update(0, 1 << 30));
    driver.get(1, "/");
    driver.take();
    driver.writes = false;
    driver.respond(1, 200, &[], &vec![b'x'; 1 << 20]);
    let waits = driver.connection.transmit().len();
    assert!((128 * 1024..160 * 1024).contains(&waits), "{waits}");
    assert!(driver.connection.unsent(1) > 800 * 1024);
    driver.writes = true;
    driver.write();
    assert_eq!(received(&driver.take(), 1), (1 << 20, true));
}

/// A large part is cut into frames where it is.
#[test]
fn large_parts_are_not_copied() {
    let mut driver = Driver::open_with(plain(), &[(4, 1 << 30)]);
    driver.feed(&window_update(0, 1 << 30));
    driver.get(1, "/");
    driver.frames();
    let body = vec![b'x'; 100_000];
    let inside = body.as_ptr_range();
    let now = driver.now();
    driver.connection.start(1, &start(200, &[])).unwrap();
    driver.connection.body(1, Content::Bytes(body), false, &now).unwrap();
    let mut slices = [IoSlice::new(&[]); 32];
    let Piece::Bytes(count) = driver.connection.transmit().next(&mut slices) else { panic!("no bytes") };
    let shared = slices[..count].iter().filter(|slice| inside.contains(&slice.as_ptr()));
    assert_eq!(shared.map(|slice| slice.len()).collect::<Vec<_>>(), [16_384; 6]);
    assert_eq!(received(&driver.frames(), 1), (100_000, true));
}

#[test]
fn frames_are_as_large_as_both_sides_allow() {
    let limits = |max_frame_size| Limits {
        http2: Some(http2::Limits { max_frame_size, ..http2::Limits::default() }.into()),
        ..plain()
    };
    for (ours, theirs, expected) in [(16_384, 100_000, 16_384), (100_000, 20_000, 20_000), (20_000, 100_000, 20_000)] {
        let mut driver = Driver::open_with(limits(ours), &[(5, theirs), (4, 1 << 20)]);
        driver.get(1, "/");
        driver.respond(1, 200, &[], &[b'x'; 60_000]);
        let got = driver.frames();
        assert!(matches!(&got[1], Got::Data(1, bytes, false) if bytes.len() == expected), "{ours} {theirs}");
    }
}

#[test]
fn windows_are_given_back_by_half() {
    let mut driver = Driver::open_with(plain(), &[]);
    let bytes = driver.request(1, "POST /", &[], false);
    driver.feed(&bytes);
    let mib = 1024 * 1024;
    let mut sent = 0;
    let mut returned = (0, 0);
    while sent < 4 * mib {
        driver.feed(&frame(DATA, 0, 1, &[b'x'; 16_384]));
        sent += 16_384;
        let (body, end) = driver.take_body(1).unwrap();
        assert_eq!((body.len(), end), (16_384, false));
        for frame in driver.frames() {
            match frame {
                Got::WindowUpdate(0, increment) => {
                    assert!(increment >= mib);
                    returned.0 += increment;
                }
                Got::WindowUpdate(1, increment) => {
                    assert!(increment >= mib / 2);
                    returned.1 += increment;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(returned, (4 * mib, 4 * mib));
}

/// Bytes that nobody takes hold up their own stream, and go back to the connection when it ends.
#[test]
fn what_nobody_takes_goes_back() {
    let mut driver = Driver::open_with(plain(), &[]);
    let fill = frame(DATA, 0, 1, &[b'x'; 16_384]).repeat(64);
    let mut returned = 0;
    for stream in (1..40).step_by(2) {
        let request = driver.request(stream, "POST /", &[], false);
        let mut fill = fill.clone();
        fill.chunks_mut(16_384 + 9).for_each(|frame| frame[8] = stream as u8);
        driver.feed(&[request, fill, reset(stream, 8)].concat());
        driver.connection.release(stream);
        for frame in driver.take() {
            let Got::WindowUpdate(0, increment) = frame else { panic!("{frame:?}") };
            returned += increment;
        }
    }
    assert!(driver.events.iter().all(|event| matches!(event, Event::Request(..))));
    assert!(returned >= 19 * 1024 * 1024);
    assert!(driver.connection.is_idle());
}

/// Bytes for a stream that has been reset are counted as well (RFC 9113 section 6.9).
#[test]
fn late_data_goes_back() {
    let mut driver = Driver::open_with(plain(), &[]);
    let bytes = driver.request(1, "POST /", &[], false);
    driver.feed(&bytes);
    driver.respond(1, 200, &[], b"");
    driver.connection.release(1);
    driver.frames();
    for _ in 0..256 {
        driver.feed(&frame(DATA, 0, 1, &[0; 16_384]));
    }
    let got = driver.take();
    assert_eq!(got.len(), 4, "{got:?}");
    assert!(got.iter().all(|frame| matches!(frame, Got::WindowUpdate(0, _))));
}

/// Until it knows the setting, a client has the default window, however small ours is.
#[test]
fn a_small_window_counts_when_it_is_known() {
    let limits =
        Limits { http2: Some(http2::Limits { stream_window: 100, ..http2::Limits::default() }.into()), ..plain() };
    let mut driver = Driver::new(limits.clone());
    driver.feed(&[super::support::PREFACE, &frame(SETTINGS, 0, 0, b"")].concat());
    let request = driver.request(1, "POST /", &[], false);
    driver.feed(&[request, frame(DATA, END_STREAM, 1, &[0; 1000])].concat());
    assert_eq!(driver.take_body(1).unwrap().0.len(), 1000);

    let mut driver = Driver::open_with(limits, &[]);
    let request = driver.request(1, "POST /", &[], false);
    driver.feed(&[request, frame(DATA, END_STREAM, 1, &[0; 1000])].concat());
    assert_eq!(driver.take(), [Got::Reset(1, ErrorCode::FlowControlError as u32)]);
}

/// The order of streams in the data that was written.
pub fn order(got: &[Got]) -> Vec<u32> {
    let mut order: Vec<u32> = Vec::new();
    for frame in got {
        if let Got::Data(stream, ..) = frame
            && order.last() != Some(stream)
        {
            order.push(*stream);
        }
    }
    order
}

/// Responses to requests with these values of `priority`, on streams 1, 3 and so on, all ready at once.
fn prioritized(values: &[Option<&str>]) -> Driver {
    let mut driver = Driver::open_with(plain(), &[(4, 1 << 20)]);
    // Nothing may go before all is there.
    driver.get(201, "/");
    driver.respond(201, 200, &[], &[0; 65_535]);
    driver.frames();
    for (index, value) in values.iter().enumerate() {
        let stream = 203 + 2 * index as u32;
        let fields: Vec<(&str, &str)> = value.iter().map(|value| ("priority", *value)).collect();
        let bytes = driver.request(stream, "GET /", &fields, true);
        driver.feed(&bytes);
        driver.respond(stream, 200, &[], &[b'x'; 40_000]);
    }
    driver.frames();
    driver
}

#[test]
fn urgent_responses_go_first() {
    let mut driver = prioritized(&[Some("u=7"), Some("u=1"), Some("u=3"), Some("u=0")]);
    driver.feed(&window_update(0, 1 << 20));
    assert_eq!(order(&driver.take()), [209, 205, 207, 203]);
}

#[test]
fn the_others_go_by_number_or_by_turns() {
    let mut driver = prioritized(&[Some("u=2"), Some("u=2"), Some("u=2")]);
    driver.feed(&window_update(0, 1 << 20));
    assert_eq!(order(&driver.take()), [203, 205, 207]);
    // Where one says nothing, they share.
    for value in [Some("u=3, i"), None] {
        let mut driver = prioritized(&[value; 3]);
        driver.feed(&window_update(0, 1 << 20));
        assert_eq!(order(&driver.take()), [203, 205, 207, 203, 205, 207, 203, 205, 207]);
    }
    // Those that are not incremental are as one of the others.
    let mut driver = prioritized(&[Some("u=3"), Some("u=3, i"), Some("u=3")]);
    driver.feed(&window_update(0, 1 << 20));
    assert_eq!(order(&driver.take()), [203, 205, 203, 205, 203, 205, 207]);
}

/// RFC 9218 section 7.1.
#[test]
fn priorities_are_updated() {
    let mut driver = prioritized(&[None, None, None]);
    driver.feed(&priority_update(207, "u=0"));
    driver.feed(&window_update(0, 1 << 20));
    assert_eq!(order(&driver.take()), [207, 203, 205, 203, 205, 203, 205]);
}

/// A stream whose window is shut does not hold up others.
#[test]
fn a_shut_window_holds_up_its_own_stream() {
    let mut driver = Driver::open_with(plain(), &[(4, 0)]);
    driver.get(1, "/");
    driver.respond(1, 200, &[], b"waits");
    driver.get(3, "/");
    driver.feed(&window_update(3, 100));
    driver.respond(3, 200, &[], b"goes");
    assert_eq!(received(&driver.frames(), 3), (4, true));
    driver.feed(&reset(1, 8));
    assert!(driver.connection.disconnected(1) || !driver.connection.exchange_is_open(1));
    driver.connection.release(1);
    driver.connection.release(3);
    assert!(driver.connection.is_idle());
}

fn file_of(bytes: &[u8]) -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

#[test]
fn files_are_read_as_windows_allow() {
    let bytes: Vec<u8> = (0..300_000_u32).map(|number| (number / 7) as u8).collect();
    let mut driver = Driver::open_with(plain(), &[]);
    driver.get(1, "/");
    let now = driver.now();
    driver.connection.start(1, &start(200, &[])).unwrap();
    driver.connection.pathsend(1, file_of(&bytes), 300_000, &now).unwrap();
    driver.read_files();
    let mut got = driver.frames();
    assert_eq!(received(&got, 1), (65_535, false));
    assert!(driver.connection.file_wanted(|_| true).is_none());
    while !received(&got, 1).1 {
        driver.feed(&[window_update(0, 100_000), window_update(1, 100_000)].concat());
        driver.read_files();
        got.extend(driver.frames());
    }
    let sent: Vec<u8> = got
        .iter()
        .flat_map(|frame| if let Got::Data(_, bytes, _) = frame { &bytes[..] } else { &[] })
        .copied()
        .collect();
    assert!(sent == bytes);
}

#[test]
fn files_and_bytes_go_in_order() {
    let mut driver = Driver::open_with(plain(), &[]);
    driver.get(1, "/");
    let now = driver.now();
    driver.connection.start(1, &start(200, &[])).unwrap();
    driver.body(1, b"before ", true);
    let file = Content::File { file: file_of(b"0123456789"), offset: 3, count: 4 };
    driver.connection.body(1, file, true, &now).unwrap();
    driver.body(1, b" after", false);
    driver.read_files();
    let got = driver.frames();
    let sent: Vec<&[u8]> = got[1..]
        .iter()
        .map(|frame| if let Got::Data(_, bytes, _) = frame { &bytes[..] } else { panic!("{frame:?}") })
        .collect();
    assert_eq!(sent.concat(), b"before 3456 after");
    assert_eq!(received(&got, 1), (17, true));
}

/// The file of the last response became shorter: nothing keeps the connection from its end.
#[test]
fn a_file_that_ends_early_ends_a_connection_that_drains() {
    let mut driver = Driver::open_with(plain(), &[]);
    driver.get(1, "/");
    driver.connection.drain(Drain::Quick);
    let now = driver.now();
    driver.connection.start(1, &start(200, &[])).unwrap();
    driver.connection.pathsend(1, file_of(b"short"), 100, &now).unwrap();
    driver.read_files();
    assert_eq!(driver.connection.closing(), Closing::Flush);
}

/// The file became shorter: the response cannot be completed.
#[test]
fn a_file_that_ends_early_breaks_its_response() {
    let mut driver = Driver::open_with(plain(), &[]);
    driver.get(1, "/");
    let now = driver.now();
    driver.connection.start(1, &start(200, &[])).unwrap();
    driver.connection.pathsend(1, file_of(b"short"), 100, &now).unwrap();
    driver.read_files();
    let got = driver.frames();
    assert_eq!(got.last(), Some(&Got::Reset(1, ErrorCode::InternalError as u32)), "{got:?}");
    driver.connection.supply_file(1, b"late", &now);
    driver.connection.supply_file(99, b"late", &now);
    driver.connection.release(1);
    assert!(driver.connection.is_idle());
}
