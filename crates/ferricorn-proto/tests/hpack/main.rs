//! HPACK from outside (RFC 7541): laws over generated blocks and lists, and what another implementation says of them.
//! The appendix's examples are in `src/http2/hpack/tests.rs`.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod model;

use std::ops::ControlFlow;

use asgi::Headers;
use ferricorn_proto::http2::hpack::{DecodeError, Decoded, Decoder, Encoder, FIELD_OVERHEAD};
use model::{Model, Pair, size};
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// All fields of a block with their tokens.
fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(Pair, u32)>, DecodeError> {
    let mut list = Vec::new();
    let decoded = decoder.decode(block, usize::MAX, &mut |field| {
        list.push(((field.name.to_vec(), field.value.to_vec()), field.token));
        ControlFlow::Continue(())
    })?;
    assert_eq!(decoded, Decoded::Whole);
    Ok(list)
}

fn pairs(list: Vec<(Pair, u32)>) -> Vec<Pair> {
    list.into_iter().map(|(pair, _)| pair).collect()
}

fn slices(list: &[Pair]) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
    list.iter().map(|(name, value)| (&name[..], &value[..]))
}

fn pair(name: &str, value: &str) -> Pair {
    (name.into(), value.into())
}

fn encoded(encoder: &mut Encoder, list: &[Pair]) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.encode(slices(list), &mut out);
    out
}

mod errors {
    use super::*;

    fn error(blocks: &[&[u8]]) -> DecodeError {
        let mut decoder = Decoder::new(4096);
        let (last, before) = blocks.split_last().unwrap();
        for block in before {
            decode(&mut decoder, block).unwrap();
        }
        decode(&mut decoder, last).unwrap_err()
    }

    /// RFC 7541 sections 2.3.3 and 6.1.
    #[test]
    fn an_index_has_to_be_in_a_table() {
        for block in [&[0x80][..], &[0xbe], &[0xff, 0x00], &[0xff, 0x80, 0xff, 0xff, 0xff, 0x0f]] {
            assert_eq!(error(&[block]), DecodeError::Index, "{block:x?}");
        }
        assert_eq!(error(&[&[0x7e, 0x00]]), DecodeError::Index);
        assert_eq!(error(&[&[0x0f, 0x2f, 0x00]]), DecodeError::Index);
        // One entry: 62 is there, 63 is not.
        assert_eq!(error(&[b"\x40\x01a\x01b", &[0xbe], &[0xbf]]), DecodeError::Index);
    }

    /// RFC 7541 sections 4.2 and 6.3.
    #[test]
    fn a_size_update_comes_first_and_stays_below_the_announced_size() {
        assert_eq!(error(&[&[0x82, 0x20]]), DecodeError::SizeUpdate);
        assert_eq!(error(&[&[0x20, 0x82, 0x20]]), DecodeError::SizeUpdate);
        assert_eq!(error(&[&[0x3f, 0xe2, 0x1f]]), DecodeError::SizeUpdate);
        let mut decoder = Decoder::new(4096);
        assert_eq!(decode(&mut decoder, &[0x20, 0x3f, 0xe1, 0x1f, 0x82]).map(|list| list.len()), Ok(1));
        assert_eq!(decode(&mut Decoder::new(64 * 1024), &[0x3f, 0xe2, 0x1f, 0x82]).map(|list| list.len()), Ok(1));
    }

    #[test]
    fn a_reduced_size_has_to_be_taken_notice_of() {
        let mut decoder = Decoder::new(4096);
        decode(&mut decoder, b"\x40\x01a\x01b").unwrap();
        decoder.set_max_table_size(100);
        assert_eq!(decode(&mut decoder, &[0x82]), Err(DecodeError::SizeUpdateMissing));
        let mut decoder = Decoder::new(4096);
        decoder.set_max_table_size(100);
        assert_eq!(decode(&mut decoder, &[0x3f, 0x46]), Err(DecodeError::SizeUpdate));
        let mut decoder = Decoder::new(4096);
        decoder.set_max_table_size(100);
        decode(&mut decoder, &[0x3f, 0x45, 0x82]).unwrap();
        decode(&mut decoder, &[0x82]).unwrap();
        // A larger one is only an offer.
        decoder.set_max_table_size(4096);
        decode(&mut decoder, &[0x82]).unwrap();
    }

    #[test]
    fn a_block_has_to_end_with_a_field() {
        for block in [&b"\x40"[..], b"\x40\x01", b"\x40\x01a", b"\x40\x01a\x02b", b"\x41", b"\x3f", b"\x00\x7f"] {
            assert_eq!(error(&[block]), DecodeError::Truncated, "{block:x?}");
        }
        assert_eq!(error(&[&[0xff, 0xff, 0xff, 0xff, 0xff, 0x1f]]), DecodeError::Integer);
        assert_eq!(error(&[b"\x41\x81\xff"]), DecodeError::Huffman);
        assert_eq!(error(&[b"\x40\x81\x00\x00"]), DecodeError::Huffman);
    }

    #[test]
    fn every_error_is_a_sentence() {
        assert_eq!(DecodeError::Index.to_string(), "a header block refers to a field that is in no table");
        assert_eq!(DecodeError::Huffman.to_string(), "a header block has a string that is no Huffman code");
    }
}

mod decoding {
    use super::*;

    #[test]
    fn a_token_stands_for_one_field() {
        let mut decoder = Decoder::new(4096);
        let first = decode(&mut decoder, b"\x82\x40\x01a\x01b\x40\x01c\x01d\x00\x01e\x01f").unwrap();
        assert_eq!(first.iter().map(|(_, token)| *token).collect::<Vec<_>>(), [2, 64, 65, 0]);
        let again = decode(&mut decoder, &[0xbe, 0xbf]).unwrap();
        assert_eq!(again, [(pair("c", "d"), 65), (pair("a", "b"), 64)]);
        // What is larger than the table is never in it.
        decode(&mut decoder, &[0x3f, 0x04]).unwrap();
        assert_eq!(decode(&mut decoder, b"\x40\x02ab\x02cd").unwrap(), [(pair("ab", "cd"), 0)]);
        assert_eq!(decode(&mut decoder, b"\x40\x01a\x02cd").unwrap(), [(pair("a", "cd"), 66)]);
    }

    #[test]
    fn what_an_idle_decoder_gives_back_is_no_part_of_its_table() {
        let mut decoder = Decoder::new(4096);
        // x-a: 0 with a Huffman code.
        decode(&mut decoder, b"\x40\x03x-a\x81\x07").unwrap();
        decoder.release_memory();
        assert_eq!(decode(&mut decoder, b"\xbe\x7e\x81\x0f").unwrap()[0], (pair("x-a", "0"), 64));
        assert_eq!(pairs(decode(&mut decoder, b"\xbe").unwrap()), [pair("x-a", "1")]);
    }

    #[test]
    fn changes_tell_whether_a_block_means_what_it_meant() {
        let mut decoder = Decoder::new(4096);
        let mut changed_by = |block: &[u8]| {
            let before = decoder.changes();
            decode(&mut decoder, block).unwrap();
            decoder.changes() != before
        };
        assert!(!changed_by(&[0x82, 0x86]));
        assert!(changed_by(b"\x40\x01a\x01b"));
        assert!(!changed_by(&[0xbe]));
        assert!(!changed_by(b"\x00\x01a\x01b"));
        assert!(changed_by(&[0x20]));
        assert!(!changed_by(&[0x20, 0x82]));
    }

    /// Each field of a large list is told up to the limit, and the table is what it would be.
    #[test]
    fn a_list_that_is_too_large_is_decoded_to_its_end() {
        let mut decoder = Decoder::new(4096);
        let mut seen = 0;
        let block = b"\x40\x01a\x01b\x40\x01c\x01d\x40\x01e\x01f";
        let decoded = decoder.decode(block, 2 * 34 + 33, &mut |_| {
            seen += 1;
            ControlFlow::Continue(())
        });
        assert_eq!((decoded, seen), (Ok(Decoded::TooLarge), 2));
        assert_eq!(decode(&mut decoder, &[0xbe]).unwrap(), [(pair("e", "f"), 66)]);
        assert_eq!(decoder.decode(&[0xbe], 34, &mut |_| ControlFlow::Continue(())), Ok(Decoded::Whole));
        assert_eq!(decoder.decode(&[0xbe], 33, &mut |_| ControlFlow::Continue(())), Ok(Decoded::TooLarge));
    }

    #[test]
    fn a_sink_that_wants_no_more_gets_no_more() {
        let mut decoder = Decoder::new(4096);
        let mut seen = 0;
        let decoded = decoder.decode(b"\x82\x86\x40\x01a\x01b", 4096, &mut |_| {
            seen += 1;
            ControlFlow::Break(())
        });
        assert_eq!((decoded, seen), (Ok(Decoded::Stopped), 1));
        assert_eq!(decode(&mut decoder, &[0xbe]).unwrap(), [(pair("a", "b"), 64)]);
    }

    /// A byte each for fields of 4 KiB: what is behind the limit costs nothing.
    #[test]
    fn a_header_bomb_is_counted_and_not_told() {
        let mut decoder = Decoder::new(4096);
        let mut field = b"\x40\x01a\x7f\xc0\x1e".to_vec();
        field.extend_from_slice(&[b'v'; 3999 + 32]);
        decode(&mut decoder, &field).unwrap();
        let mut told = 0;
        let decoded = decoder.decode(&[0xbe; 16_384], 65_536, &mut |field| {
            told += field.name.len() + field.value.len() + FIELD_OVERHEAD;
            ControlFlow::Continue(())
        });
        assert_eq!((decoded, told / 4064), (Ok(Decoded::TooLarge), 16));
    }
}

mod encoding {
    use super::*;

    fn response(encoder: &mut Encoder, status: u16, headers: &Headers, own: &[Pair]) -> Vec<u8> {
        let mut out = Vec::new();
        encoder.encode_response(status, headers, slices(own), &mut out);
        out
    }

    #[test]
    fn a_list_that_comes_again_becomes_indices() {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
        let headers = Headers::from_iter([("content-type", "text/plain"), ("content-length", "13")]).unwrap();
        let own = |date: &str| [pair("server", "ferricorn"), pair("date", date)];
        let mut lengths = Vec::new();
        for date in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:38 GMT"] {
            for _ in 0..4 {
                let block = response(&mut encoder, 200, &headers, &own(date));
                lengths.push(block.len());
                let [server, date] = own(date);
                let expected =
                    [pair(":status", "200"), pair("content-type", "text/plain"), pair("content-length", "13")];
                assert_eq!(pairs(decode(&mut decoder, &block).unwrap()), [&expected[..], &[server, date]].concat());
            }
        }
        // :status, content-type, server, date: one byte each. content-length: two for its name, three for its value.
        assert_eq!(lengths[2..4], [9, 9]);
        assert_eq!(lengths[6..8], [9, 9]);
    }

    #[test]
    fn what_never_comes_again_pushes_nothing_out() {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
        for count in 0..1000 {
            let id = count.to_string();
            let headers = Headers::from_iter([("x-request-id", &id[..]), ("x-frame-options", "DENY")]).unwrap();
            let block = response(&mut encoder, 200, &headers, &[]);
            decode(&mut decoder, &block).unwrap();
        }
        // x-frame-options alone.
        assert_eq!(decoder.changes(), 1);
    }

    /// Fields that say something of one resource alone stay out of the table, however often they come (RFC 7541 section 6.2.2).
    #[test]
    fn what_belongs_to_one_resource_is_not_indexed() {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
        let names = ["age", "content-length", "content-range", "etag", "expires", "if-modified-since"];
        for name in [&names[..], &["if-none-match", "last-modified", "location", "retry-after"]].concat() {
            let field = [pair(name, "12345")];
            for _ in 0..3 {
                let block = encoded(&mut encoder, &field);
                // Four bits of the name's index, which goes on in a second byte where it is larger than that.
                assert_eq!(block[0] & 0xf0, 0, "{name}: {block:x?}");
                assert_eq!(pairs(decode(&mut decoder, &block).unwrap()), field);
            }
        }
        assert_eq!(decoder.changes(), 0);
    }

    /// RFC 7541 section 7.1.3.
    #[test]
    fn secrets_are_never_indexed() {
        let mut encoder = Encoder::new();
        for (name, index) in
            [("authorization", &[0x1f, 0x08][..]), ("set-cookie", &[0x1f, 0x28]), ("cookie", &[0x1f, 0x11])]
        {
            for _ in 0..3 {
                let block = encoded(&mut encoder, &[pair(name, "secret")]);
                assert!(block.starts_with(index), "{name}: {block:x?}");
            }
        }
        let long = pair("cookie", "a long one that nobody guesses");
        let blocks = [(); 3].map(|()| encoded(&mut encoder, std::slice::from_ref(&long)));
        assert_eq!(blocks[2].len(), 1);
    }

    #[test]
    fn statuses_of_the_static_table_take_a_byte() {
        for (status, index) in
            [(200, 0x88), (204, 0x89), (206, 0x8a), (304, 0x8b), (400, 0x8c), (404, 0x8d), (500, 0x8e)]
        {
            assert_eq!(response(&mut Encoder::new(), status, &Headers::new(), &[]), [index]);
        }
    }

    /// RFC 7541 section 4.2: the smallest size in between, then the last one; and nothing where nothing has changed.
    #[test]
    fn a_changed_size_is_told_at_the_next_block() {
        let mut encoder = Encoder::new();
        let list = [pair(":status", "200")];
        encoder.set_max_table_size(64 * 1024);
        assert_eq!(encoded(&mut encoder, &list), [0x88]);
        encoder.set_max_table_size(100);
        encoder.set_max_table_size(0);
        encoder.set_max_table_size(4096);
        assert_eq!(encoded(&mut encoder, &list), [0x20, 0x3f, 0xe1, 0x1f, 0x88]);
        encoder.set_max_table_size(0);
        assert_eq!(encoded(&mut encoder, &list), [0x20, 0x88]);
        assert_eq!(encoded(&mut encoder, &list), [0x88]);
    }

    #[test]
    fn a_remembered_response_begins_with_a_size_update_that_is_due() {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
        let headers = Headers::from_iter([("x", "y")]).unwrap();
        for round in 0..8 {
            if round == 4 {
                encoder.set_max_table_size(50);
                decoder.set_max_table_size(50);
            }
            let block = response(&mut encoder, 200, &headers, &[]);
            assert_eq!(pairs(decode(&mut decoder, &block).unwrap()), [pair(":status", "200"), pair("x", "y")]);
        }
    }
}

const NAMES: [&str; 9] =
    [":path", "accept", "cache-control", "content-type", "cookie", "set-cookie", "server", "x-a", "x-b"];

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => select(&NAMES[..]).prop_map(|name| name.as_bytes().to_vec()),
        1 => "[a-z-]{1,12}".prop_map(String::into_bytes),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => select(&["", "0", "no-cache", "text/html; charset=utf-8", "a value of some length that is longer"][..])
            .prop_map(|value| value.as_bytes().to_vec()),
        2 => "[ -~]{0,40}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..200),
    ]
}

fn list() -> impl Strategy<Value = Vec<Pair>> {
    prop::collection::vec((name(), value()), 0..8)
}

/// What happens to an encoder.
#[derive(Clone, Debug)]
enum Event {
    List(Vec<Pair>),
    Size(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![8 => list().prop_map(Event::List), 1 => select(&[0, 40, 100, 300, 4096, 65_536][..]).prop_map(Event::Size)]
}

/// A field as any encoder may send it.
#[derive(Clone, Debug)]
enum Representation {
    Indexed(Index),
    Literal { pattern: u8, name: Result<Index, Vec<u8>>, value: Vec<u8> },
}

fn representation() -> impl Strategy<Value = Representation> {
    let name = prop_oneof![any::<Index>().prop_map(Ok), name().prop_map(Err)];
    let pattern = select(&[0x40, 0x40, 0x40, 0x00, 0x10][..]);
    prop_oneof![
        any::<Index>().prop_map(Representation::Indexed),
        (pattern, name, value()).prop_map(|(pattern, name, value)| Representation::Literal { pattern, name, value }),
    ]
}

/// Appends the field; the indices it may refer to are those of the model, which reads it. What it reads.
fn write(model: &mut Model, field: &Representation, out: &mut Vec<u8>) -> (Pair, u32) {
    let start = out.len();
    let pick = |index: &Index| 1 + index.index(61 + model.table.len());
    match field {
        Representation::Indexed(index) => integer(out, 0x80, 7, pick(index)),
        Representation::Literal { pattern, name, value } => {
            let bits = if *pattern == 0x40 { 6 } else { 4 };
            match name {
                Ok(index) => integer(out, *pattern, bits, pick(index)),
                Err(name) => {
                    out.push(*pattern);
                    integer(out, 0, 7, name.len());
                    out.extend_from_slice(name);
                }
            }
            integer(out, 0, 7, value.len());
            out.extend_from_slice(value);
        }
    }
    let [field] = model.decode(&out[start..]).unwrap().try_into().unwrap();
    field
}

fn integer(out: &mut Vec<u8>, pattern: u8, bits: u32, mut value: usize) {
    let most = (1 << bits) - 1;
    if value < most {
        return out.push(pattern | value as u8);
    }
    out.push(pattern | most as u8);
    value -= most;
    while value >= 128 {
        out.push(value as u8 | 128);
        value /= 128;
    }
    out.push(value as u8);
}

proptest! {
    /// What we encode, we and others decode, whatever becomes of the table's size.
    #[test]
    fn lists_go_there_and_back(events in prop::collection::vec(event(), 1..30)) {
        let (mut encoder, mut decoder, mut other) = (Encoder::new(), Decoder::new(4096), fluke_hpack::Decoder::new());
        for event in events {
            match event {
                Event::Size(size) => {
                    encoder.set_max_table_size(size);
                    decoder.set_max_table_size(size);
                }
                Event::List(list) => {
                    let block = encoded(&mut encoder, &list);
                    prop_assert_eq!(&pairs(decode(&mut decoder, &block).unwrap()), &list);
                    // The other one refuses a size update that has no field behind it.
                    if list.is_empty() && !block.is_empty() {
                        let _ = other.decode(&block);
                    } else {
                        prop_assert_eq!(&other.decode(&block).unwrap(), &list);
                    }
                }
            }
        }
    }

    /// The same of responses, which are remembered.
    #[test]
    fn responses_go_there_and_back(
        lists in prop::collection::vec(prop::collection::vec(("[a-z]{1,4}", "[a-z]{0,9}"), 0..4), 1..3),
        rounds in prop::collection::vec((any::<Index>(), select(&[200_u16, 201, 404][..]), 0_u8..3, 0_u8..12), 1..60),
    ) {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
        for (list, status, own, resize) in rounds {
            if resize < 3 {
                let size = [0, 120, 4096][usize::from(resize)];
                encoder.set_max_table_size(size);
                decoder.set_max_table_size(size);
            }
            let list = list.get(&lists);
            let own = vec![pair("date", &own.to_string()); usize::from(own)];
            let headers = Headers::from_iter(list.iter().cloned()).unwrap();
            let mut block = b"before".to_vec();
            encoder.encode_response(status, &headers, slices(&own), &mut block);
            let mut expected = vec![pair(":status", &status.to_string())];
            expected.extend(list.iter().map(|(name, value)| pair(name, value)));
            expected.extend(own);
            prop_assert_eq!(pairs(decode(&mut decoder, block.strip_prefix(b"before").unwrap()).unwrap()), expected);
        }
    }

    /// Whatever representation an encoder chooses, both decoders say what it meant, and a token stands for one field.
    #[test]
    fn every_representation_is_understood(
        blocks in prop::collection::vec((prop::option::of(0_usize..400), prop::collection::vec(representation(), 1..12)), 1..12),
    ) {
        let mut model = Model::new(4096);
        let (mut decoder, mut other) = (Decoder::new(4096), fluke_hpack::Decoder::new());
        let mut tokens = std::collections::HashMap::new();
        for (size, fields) in blocks {
            let mut block = Vec::new();
            if let Some(size) = size {
                integer(&mut block, 0x20, 5, size);
                model.decode(&block).unwrap();
            }
            let list: Vec<_> = fields.iter().map(|field| write(&mut model, field, &mut block)).collect();
            prop_assert_eq!(&decode(&mut decoder, &block).unwrap(), &list);
            for (pair, token) in list.iter().filter(|(_, token)| *token != 0) {
                let known = tokens.entry(*token).or_insert_with(|| pair.clone());
                prop_assert_eq!(&*known, pair);
            }
            prop_assert_eq!(&other.decode(&block).unwrap(), &pairs(list));
        }
    }

    /// What the other one encodes, we decode.
    #[test]
    fn blocks_of_others_are_understood(lists in prop::collection::vec(list(), 1..10)) {
        let (mut other, mut decoder) = (fluke_hpack::Encoder::new(), Decoder::new(4096));
        for list in lists {
            let block = other.encode(slices(&list));
            prop_assert_eq!(pairs(decode(&mut decoder, &block).unwrap()), list);
        }
    }

    /// Any bytes give what the model gives: a list, or the same error.
    #[test]
    fn arbitrary_bytes_are_what_the_model_says(
        blocks in prop::collection::vec(prop::collection::vec(byte(), 0..60), 1..5),
        reduced in prop::option::of(0_usize..200),
    ) {
        let (mut decoder, mut model) = (Decoder::new(4096), Model::new(4096));
        for block in blocks {
            let list = decode(&mut decoder, &block);
            prop_assert_eq!(&list, &model.decode(&block));
            if list.is_err() {
                break;
            }
            if let Some(size) = reduced {
                decoder.set_max_table_size(size);
                model.announce(size);
            }
        }
    }

    /// What is told stays within the limit, and a limit changes nothing of what comes later.
    #[test]
    fn lists_stay_within_their_limit(
        blocks in prop::collection::vec(prop::collection::vec(byte(), 0..60), 1..5),
        limit in 0_usize..300,
    ) {
        let (mut limited, mut unlimited) = (Decoder::new(4096), Decoder::new(4096));
        for block in blocks {
            let mut list = Vec::new();
            let decoded = limited.decode(&block, limit, &mut |field| {
                list.push(((field.name.to_vec(), field.value.to_vec()), field.token));
                ControlFlow::Continue(())
            });
            prop_assert!(list.iter().map(|(pair, _)| size(pair)).sum::<usize>() <= limit);
            match decode(&mut unlimited, &block) {
                Ok(whole) if decoded == Ok(Decoded::Whole) => prop_assert_eq!(list, whole),
                Ok(whole) => {
                    prop_assert_eq!(decoded, Ok(Decoded::TooLarge));
                    prop_assert!(whole.starts_with(&list) && whole.len() > list.len());
                }
                Err(error) => {
                    prop_assert_eq!(decoded, Err(error));
                    break;
                }
            }
        }
    }
}

/// A byte of a block: often one that means something.
fn byte() -> impl Strategy<Value = u8> {
    let usual = [0x40, 0x41, 0x00, 0x10, 0x20, 0x3f, 0x01, 0x02, 0x03, 0x81, 0x82, 0xbe, 0xbf, 0xff, 0x07, 0x1f];
    prop_oneof![3 => select(usual.to_vec()), 1 => any::<u8>()]
}
