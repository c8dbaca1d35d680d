//! What the connections send: a ring of messages, with their frames made beforehand, so that sending one costs the client
//! no more than a copy into the kernel.
//!
//! Compressed, each message but the ring's first refers to the ones before it, as a peer with context takeover writes them.
//! The first refers to nothing, so that the ring can be sent over and over: a window may hold what is never referred to
//! (RFC 7692 section 7.2.1). Every connection begins with the first.

use std::io;

use flate2::{Compress, Compression, FlushCompress};

use crate::frame::{Opcode, masked};
use crate::handshake::Deflate;

/// Of all payloads of a ring, so that the processor's cache holds it.
const RING_BYTES: usize = 512 * 1024;
const FEWEST: usize = 8;
const MOST: usize = 64;
/// What `Z_SYNC_FLUSH` ends with and a message goes without (RFC 7692 section 7.2.1).
pub const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
/// What compressed data can at most be longer than plain data, generously.
const COMPRESSED_EXTRA: usize = 1024;

pub struct Message {
    pub payload: Vec<u8>,
    pub frame: Vec<u8>,
}

pub struct Script {
    pub kind: Opcode,
    messages: Vec<Message>,
}

impl Script {
    /// Messages of so many bytes each.
    pub fn new(kind: Opcode, size: usize, deflate: Option<Deflate>) -> io::Result<Self> {
        let mut numbers = Numbers(0x5EED);
        let mut compressor = deflate.map(|deflate| (deflate, compressor(deflate)));
        let messages = (0..(RING_BYTES / size).clamp(FEWEST, MOST))
            .map(|_| {
                let payload = records(size, &mut numbers);
                let key = numbers.next().to_be_bytes();
                let frame = match &mut compressor {
                    Some((deflate, compressor)) => masked(kind, true, &compress(compressor, *deflate, &payload)?, key),
                    None => masked(kind, false, &payload, key),
                };
                Ok(Message { payload, frame })
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { kind, messages })
    }

    /// The message that a connection sends or expects as its `position`th.
    pub fn message(&self, position: usize) -> &Message {
        &self.messages[position % self.messages.len()]
    }
}

fn compressor(deflate: Deflate) -> Compress {
    Compress::new_with_window_bits(Compression::default(), false, deflate.window_bits)
}

fn compress(compressor: &mut Compress, deflate: Deflate, payload: &[u8]) -> io::Result<Vec<u8>> {
    if !deflate.takeover {
        compressor.reset();
    }
    let mut compressed = Vec::with_capacity(payload.len() + COMPRESSED_EXTRA);
    compressor.compress_vec(payload, &mut compressed, FlushCompress::Sync)?;
    let length = compressed.strip_suffix(&TAIL).ok_or(io::ErrorKind::InvalidData)?.len();
    compressed.truncate(length);
    Ok(compressed)
}

/// JSON as an exchange might send it, cut to the size: the keys repeat, the values do not, ASCII alone.
fn records(size: usize, numbers: &mut Numbers) -> Vec<u8> {
    const NAMES: [&str; 8] = ["falcon", "heron", "kestrel", "osprey", "merlin", "goshawk", "harrier", "buzzard"];
    let mut text = String::new();
    while text.len() < size {
        let (id, price, quantity) = (numbers.below(1_000_000), numbers.below(50_000), numbers.below(1_000));
        let name = NAMES[numbers.below(8) as usize];
        let action = ["buy", "sell"][numbers.below(2) as usize];
        let price = format!("{}.{:02}", price / 100, price % 100);
        text.extend([
            format!(r#"{{"id":{id:06},"name":"{name}","price":{price},"quantity":{quantity},"#),
            format!(r#""action":"{action}"}},"#),
        ]);
    }
    text.truncate(size);
    text.into_bytes()
}

/// xorshift32 (Marsaglia 2003): the same numbers in every run, none of them zero.
struct Numbers(u32);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    fn below(&mut self, bound: u32) -> u32 {
        (self.next() >> 8) % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FrameReader;
    use crate::message::{MessageReader, Progress};

    const TAKEOVER: Deflate = Deflate { window_bits: 15, takeover: true };

    /// The payload of a frame as the server reads it.
    fn unmasked(frame: &[u8]) -> Vec<u8> {
        let head = match frame[1] & 0x7F {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        let (key, payload) = frame[head..].split_at(4);
        payload.iter().zip(key.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
    }

    /// The frame as a server that echoes the bytes as they are would send it.
    fn echoed(frame: &[u8]) -> Vec<u8> {
        let payload = unmasked(frame);
        let head = frame.len() - payload.len() - 4;
        let mut echo = frame[..head].to_vec();
        echo[1] &= 0x7F;
        echo.extend(payload);
        echo
    }

    #[test]
    fn the_ring_can_be_read_over_and_over() -> io::Result<()> {
        let narrow = Deflate { window_bits: 9, takeover: true };
        for deflate in [None, Some(TAKEOVER), Some(narrow), Some(Deflate { window_bits: 12, takeover: false })] {
            for size in [32, 1024, 65536] {
                let script = Script::new(Opcode::Text, size, deflate)?;
                let mut reader = MessageReader::new(FrameReader::default(), deflate.is_some());
                let mut scratch = vec![0; 4096];
                for position in 0..3 * script.messages.len() {
                    let echo = echoed(&script.message(position).frame);
                    let expected = &script.message(position).payload;
                    assert_eq!(expected.len(), size);
                    let progress = reader.next(&mut &echo[..], Opcode::Text, expected, &mut scratch)?;
                    assert_eq!(progress, Progress::Message);
                }
            }
        }
        Ok(())
    }

    #[test]
    fn the_first_message_refers_to_nothing_and_the_others_do() -> io::Result<()> {
        let script = Script::new(Opcode::Text, 1024, Some(TAKEOVER))?;
        let lengths: Vec<_> = script.messages.iter().map(|message| message.frame.len()).collect();
        assert!(lengths[1..].iter().all(|length| *length < lengths[0] - 50), "{lengths:?}");
        Ok(())
    }

    #[test]
    fn the_payloads_compress_as_json_does() -> io::Result<()> {
        for size in [1024, 65536] {
            let script = Script::new(Opcode::Text, size, Some(TAKEOVER))?;
            let compressed: usize = script.messages.iter().map(|message| message.frame.len()).sum();
            let tenths = 10 * size * script.messages.len() / compressed;
            assert!((40..=60).contains(&tenths), "{size} bytes: {tenths} tenths");
        }
        Ok(())
    }

    #[test]
    fn messages_differ() -> io::Result<()> {
        let script = Script::new(Opcode::Binary, 32, None)?;
        let mut payloads: Vec<_> = script.messages.iter().map(|message| &message.payload).collect();
        payloads.sort();
        payloads.dedup();
        assert_eq!(payloads.len(), MOST);
        Ok(())
    }
}
