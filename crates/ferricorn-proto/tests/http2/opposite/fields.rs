//! Fields of requests and responses, their trailers and hints, and the tables that compress them (RFC 7541; RFC 9113
//! sections 4.3, 6.10 and 8.2).

use ferricorn_proto::{Limits, RequestError, http2};

use super::super::support::{SETTINGS, frame, plain, setting};
use super::exchange::{Exchange, Fields, fields};
use super::wire::Chops;
use super::world::{World, builder};

const CHOPS: [Chops; 4] = [Chops::Whole, Chops::Single, Chops::Random(31), Chops::Random(32)];

/// The same fields both ways.
fn both(kept: &Fields) -> Exchange {
    let mut exchange = Exchange::echo(&[b"body".to_vec()]);
    exchange.fields = kept.clone();
    exchange.answer.fields = kept.clone();
    exchange
}

fn all(builder: &h2::client::Builder, chops: Chops, exchanges: Vec<Exchange>) {
    let mut world = World::new(plain(), builder, chops);
    // One behind the other, so that each finds what the last has left in the tables.
    for exchange in exchanges {
        world.begin(exchange);
        world.run();
    }
    world.check();
    world.end();
}

/// Values that Huffman makes shorter, longer, or leaves alone; of every length near a bound of its integers.
fn values() -> Vec<Vec<u8>> {
    let mut values = vec![b"".to_vec(), b"text/html; charset=utf-8".to_vec(), b"tab\tand blank inside".to_vec()];
    values.push((0x21..0x7f).collect());
    values.push((0x80..=0xff).collect());
    for length in [1, 126, 127, 128, 254, 255, 256, 1000, 4095, 4096] {
        values.push(vec![b'a'; length]);
        values.push(vec![b'~'; length]);
        values.push(vec![0xff; length]);
    }
    values
}

#[test]
fn values_of_every_kind_and_length() {
    for chops in CHOPS {
        let exchanges = values().into_iter().map(|value| both(&vec![("x-value".to_owned(), value)]));
        let exchanges: Vec<Exchange> = exchanges.collect();
        all(&builder(), chops, [exchanges.clone(), exchanges].concat());
    }
}

/// RFC 9113 section 8.2.3: cookies come apart as they were sent, and so does any other field.
#[test]
fn http2_8_2_3_cookies_and_repeated_fields_stay_apart() {
    let kept = fields(&[
        ("cookie", "a=1"),
        ("x", "1"),
        ("cookie", "a=1; b=2"),
        ("x", "1"),
        ("cookie", ""),
        ("accept", "*/*"),
        ("x", "2, 3"),
        ("cookie", "a-cookie-that-is-long-enough-for-the-table=0123456789"),
    ]);
    for chops in CHOPS {
        let mut exchange = both(&kept);
        exchange.answer.fields = fields(&[("set-cookie", "a=1"), ("vary", "x"), ("set-cookie", "b=2"), ("vary", "y")]);
        all(&builder(), chops, vec![exchange; 4]);
    }
}

/// What may never be indexed (RFC 7541 section 6.2.3), and what is never worth it.
#[test]
fn hpack_6_2_3_secrets() {
    let kept =
        fields(&[("authorization", "Bearer x"), ("secret", "one"), ("secret-of-late", "two"), ("etag", "\"x\"")]);
    let mut exchange = both(&kept);
    exchange.answer.fields.extend(fields(&[("www-authenticate", "Basic"), ("set-cookie", "x=y")]));
    all(&builder(), Chops::Random(33), vec![exchange; 4]);
}

#[test]
fn many_fields() {
    let names: Vec<String> = (0..99).map(|number| format!("x-field-{number}")).collect();
    let kept: Fields = names.iter().map(|name| (name.clone(), name.repeat(3).into_bytes())).collect();
    for chops in CHOPS {
        all(&builder(), chops, vec![both(&kept); 3]);
    }
}

/// RFC 9113 section 6.10: lists that are longer than a frame, with and without a body behind them.
#[test]
fn http2_6_10_long_lists_go_on_in_continuations() {
    for chops in [Chops::Whole, Chops::Random(34)] {
        for length in [16_300, 16_384, 33_000, 60_000] {
            let value = |byte: u8| vec![byte; length];
            for byte in [b'a', b'~', 0xe4] {
                let long = both(&vec![("x-long".to_owned(), value(byte)), ("x-short".to_owned(), b"y".to_vec())]);
                let mut bare = long.clone();
                (bare.method, bare.body) = ("GET", Vec::new());
                bare.answer.parts.clear();
                let mut trailing = Exchange::echo(&[b"body".to_vec()]);
                trailing.fields = fields(&[("te", "trailers")]);
                trailing.trailers = vec![("x-long".to_owned(), value(byte))];
                trailing.answer.trailers = Some(trailing.trailers.clone());
                all(&builder(), chops, vec![long, bare, trailing]);
            }
        }
    }
}

/// RFC 9113 section 10.5.1: a list that is too large is answered, and what follows on the connection is as ever.
#[test]
fn http2_10_5_1_a_list_that_is_too_large() {
    let limits = http2::Limits { max_header_list_size: 1000, ..http2::Limits::default() };
    let mut world = World::new(Limits { http2: Some(limits.into()), ..plain() }, &builder(), Chops::Random(36));
    let large = world.begin(both(&vec![("x-indexed".to_owned(), vec![b'x'; 900])]));
    world.run();
    assert_eq!(world.server.refused, [RequestError::FieldsTooLarge]);
    let answered = world.answered(large);
    assert_eq!((answered.status, answered.failure), (431, None));
    world.server.refused.clear();
    for exchange in [both(&fields(&[("x-small", "y")])), Exchange::get(b"hello")] {
        let number = world.begin(exchange);
        world.run();
        assert_eq!(world.answered(number), world.server.book[number].answered());
        assert_eq!(world.asked(number), &world.server.book[number].asked(number));
    }
    world.end();
}

/// Many lists, of which each shares something with those before it.
fn varied() -> Vec<Exchange> {
    let mut exchanges = Vec::new();
    for round in 0..40_usize {
        let mut kept = fields(&[("content-type", "text/plain"), ("x-same", "the same in every response")]);
        kept.push(("x-round".to_owned(), round.to_string().into_bytes()));
        kept.push((format!("x-{}", round % 5), vec![b'v'; 10 * (round % 3)]));
        kept.push(("x-two-values".to_owned(), vec![b'0' + (round / 10) as u8; 50]));
        kept.push(("x-large".to_owned(), vec![b'l'; 100 * (round % 11)]));
        let mut exchange = both(&kept);
        exchange.answer.status = [200, 404, 201, 500, 299][round % 5];
        exchanges.push(exchange);
    }
    exchanges
}

/// RFC 7541 section 4.2: the client's table is of any size, also of none.
#[test]
fn hpack_4_2_tables_of_every_size() {
    for size in [0, 1, 31, 32, 33, 64, 100, 200, 1000, 4095, 4096, 4097, 65_536] {
        for chops in [Chops::Whole, Chops::Random(37)] {
            let mut builder = builder();
            builder.header_table_size(size);
            all(&builder, chops, varied());
        }
    }
}

/// RFC 7541 section 4.2: the size changes while the connection is in use, also several times ahead of the next response. Our
/// side acknowledges a setting that the crate has not sent, so that it must not see the acknowledgement.
#[test]
fn hpack_4_2_a_table_changes_its_size() {
    let mut world = World::new(plain(), &builder(), Chops::Random(38));
    let sizes: [&[u32]; 9] =
        [&[100], &[0], &[4096], &[0, 4096], &[200, 50, 300], &[50, 4096, 0], &[33], &[64], &[4096]];
    for (round, exchange) in varied().into_iter().enumerate() {
        world.run();
        if round % 4 == 3 {
            let payload: Vec<u8> = sizes[round / 4 % 9].iter().flat_map(|&size| setting(1, size)).collect();
            world.server.receive(&frame(SETTINGS, 0, 0, &payload));
            assert_eq!(world.server.write(|length| length), frame(SETTINGS, 1, 0, b""));
        }
        world.begin(exchange);
    }
    world.run();
    world.check();
    world.end();
}

/// EXT-13, EXT-14, EXT-16: trailers of responses come where the client takes them, those of requests go nowhere (HTTP-03).
#[test]
fn http2_8_1_trailers_both_ways() {
    let kept = fields(&[("checksum", "abc"), ("x", "1"), ("x", "2"), ("grpc-status", "0")]);
    for chops in CHOPS {
        for te in [&[("te", "trailers")][..], &[]] {
            let mut exchanges = Vec::new();
            for parts in [vec![], vec![b"".to_vec()], vec![b"one".to_vec()], vec![vec![b'x'; chops.scale(20_000)]; 5]] {
                for trailers in [kept.clone(), Fields::new()] {
                    let mut exchange = Exchange::echo(&parts);
                    exchange.fields = fields(te);
                    exchange.trailers = trailers.clone();
                    exchange.answer.trailers = Some(trailers);
                    exchanges.push(exchange);
                }
            }
            for method in ["HEAD", "GET"] {
                let mut exchange = Exchange { method, ..exchanges[4].clone() };
                (exchange.body, exchange.trailers) = (Vec::new(), Fields::new());
                exchange.answer.status = if method == "HEAD" { 200 } else { 204 };
                exchanges.push(exchange);
            }
            all(&builder(), chops, exchanges);
        }
    }
}

/// EXT-11: one 103 for each event, ahead of the response.
#[test]
fn http2_8_1_early_hints() {
    for chops in CHOPS {
        let mut exchanges = Vec::new();
        for hints in
            [vec![vec!["</a.css>; rel=preload"]], vec![vec!["</a>", "</b>"], vec!["</c>"], vec!["</a>", "</b>"]]]
        {
            for mut exchange in
                [Exchange::get(b"hello"), Exchange::echo(&[vec![b'x'; chops.scale(70_000)]]), Exchange::get(b"")]
            {
                exchange.answer.hints = hints.clone();
                exchanges.push(exchange);
            }
        }
        let mut failing = exchanges[0].clone();
        failing.answer.parts.clear();
        failing.answer.fails = true;
        exchanges.push(failing);
        all(&builder(), chops, exchanges);
    }
}
