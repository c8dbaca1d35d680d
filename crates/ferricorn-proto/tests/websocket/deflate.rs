//! RFC 7692: permessage-deflate, with every parameter.

use ferricorn_proto::websocket::{Limits, ProtocolError};
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush};

use crate::support::frames::ClientFrame;
use crate::support::inflate::Inflater;
use crate::support::{Driver, Seen, bytes_of};

const OFFER: &str = "permessage-deflate; client_max_window_bits";

/// A client's compressor.
pub(crate) struct Client {
    stream: Deflate,
    takeover: bool,
}

impl Client {
    pub(crate) fn new(level: i32, window_bits: u8, takeover: bool) -> Self {
        let config = DeflateConfig { level, window_bits: -i32::from(window_bits.max(9)), ..DeflateConfig::default() };
        Self { stream: Deflate::new_with_config(config), takeover }
    }

    fn compress(&mut self, message: &[u8], flush: DeflateFlush) -> Vec<u8> {
        let mut output = vec![0; message.len() * 2 + 1000];
        let before = self.stream.total_out();
        self.stream.compress(message, &mut output, flush).unwrap();
        output.truncate((self.stream.total_out() - before) as usize);
        output
    }

    pub(crate) fn message(&mut self, message: &[u8]) -> Vec<u8> {
        // zlib writes nothing for nothing; section 7.2.3.6 says what stands for it.
        if message.is_empty() {
            return vec![0];
        }
        let mut output = self.compress(message, DeflateFlush::SyncFlush);
        assert!(output.ends_with(&[0, 0, 0xff, 0xff]));
        output.truncate(output.len() - 4);
        if !self.takeover {
            self.stream.reset();
        }
        output
    }
}

/// Text that is worth compressing, of this length.
fn text(length: usize, seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = String::new();
    while text.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text += ["{\"name\": ", "\"value\", ", "é漢", "0123456789", "}, ", "null"][state as usize % 6];
        if state.is_multiple_of(11) {
            text += &state.to_string();
        }
    }
    while !text.is_char_boundary(length) {
        text.insert(0, 'x');
    }
    text.truncate(length);
    text
}

/// Section 7.2.3: the same message in every way that the RFC shows.
#[test]
fn the_examples_of_the_rfc() {
    let one_block = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let sharing = [0xf2, 0x00, 0x11, 0x00, 0x00];
    let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
    let last = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    let two_blocks = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
    let payloads: [&[u8]; 6] = [&one_block, &sharing, &stored, &last, &two_blocks, &sharing];
    for cut in 1..8 {
        let mut driver = Driver::with_offer(Limits::default(), OFFER);
        for payload in payloads {
            let first = ClientFrame::text(&payload[..cut.min(payload.len() - 1)]).compressed().begun();
            driver.feed_frames(&[first, ClientFrame::continuation(&payload[cut.min(payload.len() - 1)..])]);
            driver.feed_frames(&[ClientFrame::text(payload).compressed()]);
            driver.session.release_memory();
        }
        assert_eq!(driver.seen, vec![Seen::Text("Hello".to_owned()); 12], "cut at {cut}");
    }
}

#[test]
fn all_parameters_both_ways() {
    for server_window in [None, Some(8), Some(9), Some(10), Some(15)] {
        for client_window in [None, Some(8), Some(9), Some(12), Some(15)] {
            for takeover in 0..4 {
                round_trips(server_window, client_window, takeover & 1 != 0, takeover & 2 != 0);
            }
        }
    }
}

fn round_trips(server_window: Option<u8>, client_window: Option<u8>, server_takeover: bool, client_takeover: bool) {
    let mut offer = "permessage-deflate".to_owned();
    offer += &server_window.map(|bits| format!("; server_max_window_bits={bits}")).unwrap_or_default();
    offer += &client_window.map(|bits| format!("; client_max_window_bits={bits}")).unwrap_or_default();
    offer += if server_takeover { "" } else { "; server_no_context_takeover" };
    offer += if client_takeover { "" } else { "; client_no_context_takeover" };
    let mut driver = Driver::with_offer(Limits::default(), &offer);
    let client_bits = client_window.map_or(15, |bits| bits.min(12));
    let mut inflater = Inflater::new(server_window.unwrap_or(13).min(13), server_takeover);
    for level in [1, 6] {
        let mut client = Client::new(level, client_bits, client_takeover);
        for (seed, length) in [130, 1, 2_000, 300, 0, 9_000, 255, 1_000].into_iter().enumerate() {
            let text = text(length, seed as u64);
            driver.feed_frames(&[ClientFrame::text(client.message(text.as_bytes())).compressed()]);
            assert_eq!(driver.seen.pop(), Some(Seen::Text(text.clone())), "{offer}");
            driver.send_text(&text).unwrap();
            let [frame] = &driver.written()[..] else { panic!("{offer}") };
            assert_eq!(frame.compressed, length >= 256 || server_takeover && length >= 128, "{offer}: {length}");
            let received =
                if frame.compressed { inflater.message(&frame.payload) } else { Some(frame.payload.clone()) };
            assert_eq!(received.as_deref(), Some(text.as_bytes()), "{offer}");
            if seed % 3 == 2 {
                driver.session.release_memory();
            }
        }
        assert!(driver.seen.is_empty());
    }
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let limits = Limits { max_message: 100_000, ..Limits::default() };
    let mut client = Client::new(9, 15, true);
    let mut driver = Driver::with_offer(limits, OFFER);
    driver.feed_frames(&[ClientFrame::binary(client.message(&vec![0; 100_000])).compressed()]);
    assert_eq!(driver.seen, [Seen::Binary(vec![0; 100_000])]);
    driver.feed_frames(&[ClientFrame::binary(client.message(&vec![0; 100_001])).compressed()]);
    assert_eq!(driver.seen[1], Seen::Failed(ProtocolError::MessageTooBig));
    assert_eq!(driver.written()[0].close_code(), Some(1009));
}

/// "Hello" in one block (section 7.2.3.1), and a block that repeats the five bytes before it (7.2.3.2).
const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
const AGAIN: [u8; 5] = [0xf2, 0x00, 0x11, 0x00, 0x00];

/// "Hello" in a last block, without what has to come behind it (7.2.3.4).
const LAST: [u8; 7] = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

fn receive(offer: &str, payloads: &[&[u8]]) -> Vec<Seen> {
    let frames: Vec<_> = payloads.iter().map(|payload| ClientFrame::text(payload).compressed()).collect();
    let whole = {
        let mut driver = Driver::with_offer(Limits::default(), offer);
        driver.feed_frames(&frames);
        driver.seen
    };
    let mut driver = Driver::with_offer(Limits::default(), offer);
    bytes_of(&frames).chunks(1).for_each(|byte| driver.feed(byte));
    assert_eq!(driver.seen, whole);
    whole
}

fn texts(texts: &[&str]) -> Vec<Seen> {
    texts.iter().map(|text| Seen::Text((*text).to_owned())).collect()
}

/// Section 7.2.3.4: last blocks end neither the message nor the window.
#[test]
fn blocks_behind_a_last_block() {
    let behind = [&LAST[..], &AGAIN].concat();
    assert_eq!(receive(OFFER, &[&behind]), texts(&["HelloHello"]));
    let twice = [&LAST[..], &LAST, &LAST, &AGAIN].concat();
    assert_eq!(receive(OFFER, &[&twice, &AGAIN]), texts(&["HelloHelloHelloHello", "Hello"]));
    // With nothing behind it, not even the byte that has to be there, its meaning is clear as well.
    assert_eq!(receive(OFFER, &[&LAST, &AGAIN, &LAST]), texts(&["Hello", "Hello", "Hello"]));
    let without_context = format!("{OFFER}; client_no_context_takeover");
    assert_eq!(receive(&without_context, &[&behind, &LAST, &behind]), texts(&["HelloHello", "Hello", "HelloHello"]));
}

/// Section 7.2.3.6, and what compressors make of nothing that nobody should.
#[test]
fn empty_messages() {
    let stored = [0, 0, 0, 0xff, 0xff, 0];
    assert_eq!(receive(OFFER, &[&[0], &[], &HELLO, &[], &stored, &AGAIN]), texts(&["", "", "Hello", "", "", "Hello"]));
}

#[test]
fn what_is_no_compressed_message_is_1007() {
    let truncated = &HELLO[..5];
    let garbage = [&HELLO[..6], &[0x06, 0xff]].concat();
    let behind_last = [&LAST[..], &[0xff, 0xff]].concat();
    let half_stored = [0, 5, 0, 0xfa, 0xff, b'H', b'e'];
    let without_context = format!("{OFFER}; client_no_context_takeover");
    let table: [(&str, &[&[u8]]); 9] = [
        (OFFER, &[truncated]),
        (OFFER, &[&garbage]),
        (OFFER, &[&behind_last]),
        (OFFER, &[&half_stored]),
        // A block type that is none.
        (OFFER, &[&[0x06, 0x00]]),
        // Nothing to repeat: at the start, and where the client had agreed to forget.
        (OFFER, &[&AGAIN]),
        (&without_context, &[&HELLO, &AGAIN]),
        // A whole block without the start of the next, which is not left out.
        (OFFER, &[&[0, 1, 0, 0xfe, 0xff, b'H']]),
        // A length without its complement.
        (OFFER, &[&[0, 1, 0, 0, 0, b'H', 0]]),
    ];
    for (offer, payloads) in table {
        let seen = receive(offer, payloads);
        assert_eq!(seen[payloads.len() - 1], Seen::Failed(ProtocolError::Deflate), "{payloads:x?}");
    }
}

#[test]
fn ws_26_text_that_is_compressed_is_judged_as_well() {
    let mut client = Client::new(6, 12, true);
    let text = "é漢\u{1f980}".repeat(10_000);
    let compressed = client.message(text.as_bytes());
    assert_eq!(receive(OFFER, &[&compressed]), texts(&[&text]));
    for bad in [&b"\xff"[..], b"a\xc3", "é".repeat(20_000).as_bytes().split_last().unwrap().1] {
        let compressed = Client::new(6, 12, true).message(bad);
        assert_eq!(receive(OFFER, &[&compressed])[0], Seen::Failed(ProtocolError::Utf8));
    }
}

/// What is decompressed at a time is no matter.
#[test]
fn messages_of_every_length_around_a_chunk() {
    let mut client = Client::new(6, 12, true);
    for length in [4_095, 4_096, 4_097, 8_192, 65_536] {
        for message in [vec![b'x'; length], text(length, 1).into_bytes()] {
            let payload = client.message(&message);
            let mut driver = Driver::with_offer(Limits::default(), OFFER);
            driver.feed_frames(&[ClientFrame::binary(&payload).compressed()]);
            assert_eq!(driver.seen, [Seen::Binary(message)]);
            client.stream.reset();
        }
    }
}

/// A message that never gets longer, however much of it comes.
#[test]
fn endless_empty_blocks_are_too_big() {
    let limits = Limits { max_message: 1000, ..Limits::default() };
    let mut driver = Driver::with_offer(limits, OFFER);
    let blocks = [0, 0, 0, 0xff, 0xff].repeat(20);
    driver.feed_frames(&[ClientFrame::binary(&blocks).compressed().begun()]);
    for _ in 0..20 {
        assert!(driver.seen.is_empty());
        driver.feed_frames(&[ClientFrame::continuation(&blocks).begun()]);
    }
    driver.feed_frames(&[ClientFrame::continuation(&blocks).begun(), ClientFrame::continuation(&blocks)]);
    assert_eq!(driver.seen[0], Seen::Failed(ProtocolError::MessageTooBig));
}

/// What does not get shorter is sent as it is, and what follows does not refer to it.
#[test]
fn what_does_not_get_shorter_is_not_compressed() {
    let mut driver = Driver::with_offer(Limits::default(), OFFER);
    let mut inflater = Inflater::new(13, true);
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(20_000)
    .collect();
    for length in [130, 20_000] {
        let payload = &noise[..length];
        driver.send_binary(payload).unwrap();
        let frames = driver.written();
        assert!(!frames[0].compressed && frames[0].payload == payload);
        let both = payload.repeat(2);
        driver.send_binary(&both).unwrap();
        let frames = driver.written();
        let received = if frames[0].compressed { inflater.message(&frames[0].payload) } else { Some(both.clone()) };
        assert_eq!(received, Some(both));
    }
}

/// Bytes of which no four come twice in the first 8 KiB.
fn unlike(length: usize) -> Vec<u8> {
    (0..length).map(|at| if at % 2 == 0 { (at / 2) as u8 } else { (at / 512) as u8 ^ 0x5a }).collect()
}

/// RFC 1951 section 3.2.5: lengths and distances at both ends of each of their symbols.
#[test]
fn every_length_and_distance_that_the_server_writes() {
    let lengths = (4..=300).map(|length| (300, length));
    let distances = (0..13).flat_map(|power| [(1 << power) - 1, 1 << power, (1 << power) + 1, 3 << power >> 1]);
    let distances = distances.chain([8191, 8192, 8193]).filter(|distance| *distance > 0).map(|distance| (distance, 40));
    for (distance, length) in lengths.chain(distances) {
        // What is worth it has to be seen at the start.
        let mut message = [b"!?".repeat(1000), unlike(distance)].concat();
        for _ in 0..length {
            message.push(message[message.len() - distance]);
        }
        let mut driver = Driver::with_offer(Limits::default(), OFFER);
        driver.send_binary(&message).unwrap();
        let [frame] = &driver.written()[..] else { panic!() };
        assert!(frame.compressed, "{distance} {length}");
        assert_eq!(Inflater::new(13, true).message(&frame.payload).as_ref(), Some(&message), "{distance} {length}");
    }
}
