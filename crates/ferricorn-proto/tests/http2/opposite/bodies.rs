//! Bodies of every size near a bound, in both directions, in one part and in many, through windows of every kind
//! (RFC 9113 sections 5.2, 6.1 and 6.9).

use ferricorn_proto::{Limits, http2};

use super::super::support::plain;
use super::exchange::{Exchange, bytes, fields};
use super::wire::Chops;
use super::world::{World, builder};

const MIB: usize = 1024 * 1024;

/// Sizes next to what a frame takes and what windows begin with.
const SIZES: [usize; 9] = [0, 1, 16_383, 16_384, 16_385, 65_534, 65_535, 65_536, MIB];

fn with(change: impl FnOnce(&mut http2::Limits)) -> Limits {
    let mut limits = http2::Limits::default();
    change(&mut limits);
    Limits { http2: Some(limits.into()), ..plain() }
}

/// Runs these exchanges side by side and looks at all that was seen of them.
fn all(limits: Limits, builder: &h2::client::Builder, chops: Chops, exchanges: impl IntoIterator<Item = Exchange>) {
    let mut world = World::new(limits, builder, chops);
    for exchange in exchanges {
        world.begin(exchange);
    }
    world.run();
    world.check();
    world.end();
}

fn parts(body: &[u8], size: usize) -> Vec<Vec<u8>> {
    body.chunks(size).map(<[u8]>::to_vec).collect()
}

#[test]
fn requests_without_bodies() {
    for chops in [Chops::Whole, Chops::Single, Chops::Random(1)] {
        let methods = ["GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "POST", "PATCH"];
        let exchanges = methods.map(|method| Exchange { method, ..Exchange::get(b"hello") });
        all(plain(), &builder(), chops, exchanges);
    }
}

#[test]
fn statuses_without_content() {
    for status in [200, 204, 205, 304, 404, 599] {
        for body in [&b""[..], b"hello"] {
            for method in ["GET", "HEAD"] {
                let mut exchange = Exchange { method, ..Exchange::get(body) };
                exchange.answer.status = status;
                all(plain(), &builder(), Chops::Random(2), [exchange]);
            }
        }
    }
}

#[test]
fn every_size_both_ways() {
    for chops in [Chops::Whole, Chops::Random(3), Chops::Random(4)] {
        let echo = |size| Exchange::echo(&[bytes(size)]);
        for size in SIZES {
            all(plain(), &builder(), chops, [echo(size)]);
        }
        all(plain(), &builder(), chops, SIZES.map(echo));
    }
}

/// The largest window that the server gives, and a byte on either side of it.
#[test]
fn sizes_next_to_the_server_s_window() {
    for size in [MIB - 1, MIB, MIB + 1] {
        for lazy in [false, true] {
            let mut exchange = Exchange::echo(&[bytes(size)]);
            exchange.lazy.0 = lazy;
            all(plain(), &builder(), Chops::Random(5), [exchange]);
        }
    }
}

#[test]
fn bodies_byte_by_byte_on_the_wire() {
    let sizes = [0, 1, 2, 125, 1000];
    all(plain(), &builder(), Chops::Single, sizes.map(|size| Exchange::echo(&[bytes(size)])));
}

#[test]
fn bodies_in_many_parts() {
    for chops in [Chops::Whole, Chops::Random(6)] {
        for eager in [false, true] {
            let mut exchanges = Vec::new();
            for (size, part) in
                [(10, 1), (1000, 7), (70_000, 16_384), (70_000, 16_383), (MIB, 65_537), (65_535, 65_534)]
            {
                let mut exchange = Exchange::echo(&parts(&bytes(size), part));
                exchange.answer.eager = eager;
                exchanges.push(exchange);
            }
            all(plain(), &builder(), chops, exchanges);
        }
    }
}

/// EXT-08, EXT-09: parts of files, read as windows allow, among others and with trailers behind them.
#[test]
fn files_in_one_part_and_in_many() {
    for chops in [Chops::Whole, Chops::Random(16)] {
        let mut exchanges = Vec::new();
        for (size, part) in [(0, 1), (1, 1), (16_384, 16_384), (70_000, 9_999), (MIB, MIB), (65_536, 65_535)] {
            for trailers in [None, Some(fields(&[("checksum", "abc")]))] {
                let mut exchange = Exchange::echo(&parts(&bytes(size), part));
                exchange.fields = fields(&[("te", "trailers")]);
                exchange.answer.files = true;
                exchange.answer.trailers = trailers;
                exchanges.extend([exchange, Exchange::get(&bytes(size))]);
            }
        }
        all(plain(), &builder(), chops, exchanges);
    }
}

/// Parts without a byte, also the last.
#[test]
fn parts_of_nothing() {
    let (some, none) = (b"some".to_vec(), Vec::new());
    for parts in [vec![none.clone(); 3], vec![none.clone(), some.clone(), none.clone()], vec![some, none]] {
        for eager in [false, true] {
            let mut exchange = Exchange::echo(&parts);
            exchange.answer.eager = eager;
            all(plain(), &builder(), Chops::Whole, [exchange]);
        }
    }
}

#[test]
fn a_promised_length_is_kept() {
    let body = bytes(40_000);
    let mut exchange = Exchange::echo(&parts(&body, 9_999));
    exchange.fields.push(("content-length".to_owned(), b"40000".to_vec()));
    exchange.answer.fields.push(("content-length".to_owned(), b"40000".to_vec()));
    all(plain(), &builder(), Chops::Random(7), [exchange]);
}

/// The client opens its windows when nothing else moves, in pieces.
#[test]
fn responses_through_small_windows() {
    for (window, piece, size) in
        [(1, 1, 300), (2, 1, 300), (100, 33, 5000), (16_384, 16_384, 200_000), (65_535, 40_000, MIB), (1000, 1, 1500)]
    {
        for part in [size, size / 7 + 1] {
            for eager in [false, true] {
                let mut exchange = Exchange::get(b"");
                exchange.answer.parts = parts(&bytes(size), part);
                exchange.answer.eager = eager;
                exchange.lazy.1 = true;
                exchange.pieces = piece;
                let mut builder = builder();
                builder.initial_window_size(window);
                all(plain(), &builder, Chops::Random(8), vec![exchange; 3]);
            }
        }
    }
}

/// The client's window of the connection is shared, and is what holds up all.
#[test]
fn responses_through_the_connection_s_window() {
    let mut builder = builder();
    builder.initial_window_size(1 << 20).initial_connection_window_size(65_535);
    let mut exchange = Exchange::get(&bytes(100_000));
    exchange.lazy.1 = true;
    exchange.pieces = 10_000;
    all(plain(), &builder, Chops::Random(9), vec![exchange; 10]);
}

/// RFC 9113 section 6.9.2: with a window of 0 nothing of a body comes; a setting opens it, and shuts it again.
#[test]
fn http2_6_9_2_a_setting_moves_the_windows_of_streams() {
    for chops in [Chops::Whole, Chops::Single, Chops::Random(10)] {
        let mut builder = builder();
        builder.initial_window_size(0);
        let mut world = World::new(plain(), &builder, chops);
        let exchange = Exchange { lazy: (false, false), pieces: usize::MAX, ..Exchange::get(&bytes(2_000)) };
        let numbers = [world.begin(exchange.clone()), world.begin(exchange)];
        world.begin(Exchange::get(b""));
        world.run();
        let mut seen = Vec::new();
        for window in [0, 1, 2, 300, 100, 0, 500, 65_535] {
            world.client.as_mut().unwrap().set_initial_window_size(window).unwrap();
            world.run();
            seen.push(numbers.map(|number| world.answered(number).body.len()));
            assert_eq!(world.answered(numbers[0]).status, 200, "the head needs no window");
            assert!(world.answered(2).over, "nor does a body of nothing");
        }
        assert!(seen[0] == [0; 2] && seen[1][0] > 0 && seen[7] == [2_000; 2], "{seen:?}");
        assert!(seen.is_sorted(), "{seen:?}");
        world.check();
        world.end();
    }
}

/// The server's windows, with an application that takes a body when nothing else moves.
#[test]
fn requests_through_small_windows() {
    for (window, size) in [(1, 300), (2, 301), (100, 5000), (16_384, 100_000), (65_535, 300_000)] {
        for lazy in [false, true] {
            let limits = with(|limits| limits.stream_window = window);
            let mut world = World::new(limits, &builder(), Chops::Random(11));
            // What comes before the client knows the setting may be longer.
            world.run();
            for part in [size, size / 3 + 1] {
                let mut exchange = Exchange::echo(&parts(&bytes(size), part));
                exchange.lazy.0 = lazy;
                world.begin(exchange);
            }
            world.run();
            world.check();
            world.end();
        }
    }
}

/// A client that has not seen the settings yet goes by the usual window (section 6.9.2).
#[test]
fn http2_6_9_2_a_first_flight_goes_by_the_usual_window() {
    for window in [100, 65_535, 1 << 20] {
        let mut world = World::new(with(|limits| limits.stream_window = window), &builder(), Chops::Whole);
        world.wire.borrow_mut().is_held = true;
        let number = world.begin(Exchange::echo(&[bytes(70_000)]));
        world.run();
        let sent = world.server.connection.take_body(1, &world.server.now());
        assert_eq!(sent, None, "the application has it already");
        world.wire.borrow_mut().let_go();
        world.run();
        assert!(world.answered(number).over);
        world.check();
        world.end();
    }
}

/// Many at once share the server's window of the connection.
#[test]
fn requests_through_the_connection_s_window() {
    let limits = with(|limits| limits.connection_window = 65_535);
    let mut exchange = Exchange::echo(&parts(&bytes(200_000), 30_000));
    exchange.lazy.0 = true;
    all(limits, &builder(), Chops::Random(12), vec![exchange; 10]);
}

/// RFC 9113 section 4.2: each side writes frames as large as the other allows, and we none larger than ours.
#[test]
fn http2_4_2_large_frames() {
    for (ours, theirs) in [(16_384, 1 << 20), (1 << 20, 16_384), (100_000, 100_001), (16_385, 16_385)] {
        let mut builder = builder();
        builder.max_frame_size(theirs).initial_window_size(1 << 20).initial_connection_window_size(4 << 20);
        let limits = with(|limits| limits.max_frame_size = ours);
        let sizes = [16_384, 16_385, 99_999, 100_000, 100_001, MIB];
        all(limits, &builder, Chops::Random(13), sizes.map(|size| Exchange::echo(&[bytes(size)])));
    }
}

/// RFC 9113 section 5.1.2: more than the server allows wait in the client, and each gets its own answer.
#[test]
fn http2_5_1_2_many_streams() {
    for (most, chops) in [(1, Chops::Random(14)), (7, Chops::Whole), (128, Chops::Random(15))] {
        let limits = with(|limits| limits.max_concurrent_streams = most);
        let mut world = World::new(limits, &builder(), chops);
        // The settings come first: what the client had sent before would be refused.
        world.run();
        for number in 0..300 {
            let mut exchange = Exchange::echo(&parts(&bytes(number * 37), 1 + number * 5));
            exchange.lazy = (number % 3 == 0, number % 4 == 0);
            world.begin(exchange);
        }
        world.run();
        world.check();
        world.end();
    }
}
