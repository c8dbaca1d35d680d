//! RFC 7692: permessage-deflate, with every parameter.

use ferricorn_proto::websocket::{Limits, ProtocolError};
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush};

use crate::support::frames::ClientFrame;
use crate::support::inflate::Inflater;
use crate::support::{Driver, Seen};

const OFFER: &str = "permessage-deflate; client_max_window_bits";

/// A client's compressor.
pub struct Client {
    stream: Deflate,
    takeover: bool,
}

impl Client {
    pub fn new(level: i32, window_bits: u8, takeover: bool) -> Self {
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

    pub fn message(&mut self, message: &[u8]) -> Vec<u8> {
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
