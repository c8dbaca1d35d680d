//! Header blocks of HTTP/2. An input is a byte of choices and what they choose.
//!
//! Blocks of a peer, right and wrong: a second, simpler decoder says the same of each, its error included; what is told stays
//! within the limit, and a limit changes nothing of what comes later.
//!
//! Lists of ours: what we encode, that decoder reads, with a table of no more than the peer allows, however that changes; no
//! secret goes into a table; no block is much larger than its list.
#![no_main]

#[path = "../../crates/ferricorn-proto/tests/hpack/model.rs"]
mod model;

use std::ops::ControlFlow;

use asgi::Headers;
use ferricorn_proto::http2::hpack::{DecodeError, Decoded, Decoder, Encoder};
use libfuzzer_sys::fuzz_target;
use model::{Model, Pair, size};

fuzz_target!(|data: &[u8]| {
    let [choice, rest @ ..] = data else { return };
    if choice & 1 == 0 {
        read(*choice, rest);
    } else {
        write(*choice, rest);
    }
});

/// Sizes of tables that are announced.
const SIZES: [usize; 8] = [4096, 0, 33, 64, 100, 200, 1000, 65_536];

/// Blocks behind their lengths. A length of 255 announces another size.
fn read(choice: u8, mut bytes: &[u8]) {
    let announced = SIZES[usize::from(choice >> 1 & 7)];
    let limit = [usize::MAX, 0, 40, 100][usize::from(choice >> 4 & 3)];
    let (mut decoder, mut model) = (Decoder::new(announced), Model::new(announced));
    let mut limited = Decoder::new(announced);
    while let [length, rest @ ..] = bytes {
        bytes = rest;
        if *length == 255 {
            let announced = SIZES[usize::from(bytes.len() as u8 & 7)];
            decoder.set_max_table_size(announced);
            limited.set_max_table_size(announced);
            model.announce(announced);
            continue;
        }
        let (block, rest) = bytes.split_at(usize::from(*length).min(bytes.len()));
        bytes = rest;
        let (list, expected) = (decode(&mut decoder, block), model.decode(block));
        assert_eq!(list, expected);
        let (decoded, told) = decode_within(&mut limited, block, limit);
        assert_eq!(decoder.changes(), limited.changes());
        assert!(told.iter().map(|(pair, _)| size(pair)).sum::<usize>() <= limit);
        let Ok(list) = list else {
            assert_eq!(decoded.err(), list.err());
            return;
        };
        let fits = list.iter().map(|(pair, _)| size(pair)).sum::<usize>() <= limit;
        assert_eq!(decoded, Ok(if fits { Decoded::Whole } else { Decoded::TooLarge }));
        assert!(if fits { told == list } else { list.starts_with(&told) && told.len() < list.len() });
    }
}

fn decode_within(
    decoder: &mut Decoder,
    block: &[u8],
    limit: usize,
) -> (Result<Decoded, DecodeError>, Vec<(Pair, u32)>) {
    let mut list = Vec::new();
    let decoded = decoder.decode(block, limit, &mut |field| {
        list.push(((field.name.to_vec(), field.value.to_vec()), field.token));
        ControlFlow::Continue(())
    });
    (decoded, list)
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(Pair, u32)>, DecodeError> {
    let (decoded, list) = decode_within(decoder, block, usize::MAX);
    decoded.map(|decoded| {
        assert_eq!(decoded, Decoded::Whole);
        list
    })
}

const NAMES: [&str; 16] = [
    "date",
    "server",
    "content-type",
    "content-length",
    "set-cookie",
    "cookie",
    "authorization",
    "etag",
    "location",
    "vary",
    "x-a",
    "x-b",
    "accept-encoding",
    "cache-control",
    "strict-transport-security",
    "x-request-id",
];
const VALUES: [&str; 8] =
    ["", "0", "gzip, deflate", "text/plain; charset=utf-8", "Sun, 06 Nov 1994 08:49:37 GMT", "a", "b", "ab"];
const STATUSES: [u16; 4] = [200, 201, 404, 599];

/// Two bytes for each field, of which a list has eight at the most; it ends where a byte says so, or another size comes.
fn write(choice: u8, bytes: &[u8]) {
    let (mut encoder, mut decoder, mut model) = (Encoder::new(), Decoder::new(4096), Model::new(4096));
    let mut list: Vec<Pair> = Vec::new();
    let mut rest = bytes;
    let step = |encoder: &mut Encoder, decoder: &mut Decoder, model: &mut Model, list: &[Pair], status: Option<u16>| {
        let (block, expected) = encode(encoder, list, status);
        assert!(block.len() <= expected.iter().map(size).sum::<usize>() + 8, "{} bytes", block.len());
        let read = model.decode(&block).expect("a block that can be read");
        let other = decode(decoder, &block).expect("a block that can be read");
        assert_eq!(read, other);
        assert!(read.into_iter().map(|(pair, _)| pair).eq(expected));
        let secrets = [&b"authorization"[..], b"set-cookie"];
        assert!(!model.table.iter().any(|(name, _)| secrets.contains(&&name[..])));
        assert!(model.table.iter().map(size).sum::<usize>() <= 4096);
    };
    while let [field, rest_of_field @ ..] = rest {
        rest = rest_of_field;
        match field {
            0..16 => {
                let [value, behind @ ..] = rest else { break };
                rest = behind;
                list.truncate(7);
                list.push((NAMES[usize::from(*field)].into(), value_of(*value, rest.len())));
            }
            16..24 => {
                let size = SIZES[usize::from(field & 7)];
                encoder.set_max_table_size(size);
                decoder.set_max_table_size(size);
                model.announce(size);
            }
            _ => {
                let status = (choice & 2 == 0 || field & 64 != 0).then_some(STATUSES[usize::from(field & 3)]);
                step(&mut encoder, &mut decoder, &mut model, &list, status);
                // The same list again, or another one.
                if field & 128 != 0 {
                    list.clear();
                }
            }
        }
    }
}

/// One of the usual ones, one of any length, or one that never comes again.
fn value_of(byte: u8, at: usize) -> Vec<u8> {
    match byte {
        0..64 => VALUES[usize::from(byte & 7)].into(),
        64..192 => vec![byte; usize::from(byte - 64) * 4],
        _ => format!("{byte}-{at}").into(),
    }
}

/// A block and its list.
fn encode(encoder: &mut Encoder, list: &[Pair], status: Option<u16>) -> (Vec<u8>, Vec<Pair>) {
    let fields = list.iter().map(|(name, value)| (&name[..], &value[..]));
    let mut block = Vec::new();
    let Some(status) = status else {
        encoder.encode(fields, &mut block);
        return (block, list.to_vec());
    };
    let (front, own) = list.split_at(list.len() / 2);
    let own = own.iter().filter(|(_, value)| value.is_ascii());
    let front = front.iter().filter(|(_, value)| value.is_ascii());
    let headers = Headers::from_iter(front.clone().cloned()).expect("valid fields");
    encoder.encode_response(status, &headers, own.clone().map(|(name, value)| (&name[..], &value[..])), &mut block);
    let status = (b":status".to_vec(), status.to_string().into_bytes());
    (block, std::iter::once(status).chain(front.chain(own).cloned()).collect())
}
