//! Reads messages and compares each with the one that is expected, byte for byte, without keeping it.

use std::io::{self, ErrorKind};

use flate2::{Decompress, FlushDecompress, Status};

use crate::frame::{Event, FrameReader, Opcode, invalid};
use crate::script::TAIL;

#[derive(Debug, PartialEq)]
pub enum Progress {
    /// All bytes were taken; the message goes on.
    More,
    /// The expected message is there.
    Message,
    /// To be answered with the same payload.
    Ping(Vec<u8>),
}

pub struct MessageReader {
    frames: FrameReader,
    inflater: Option<Decompress>,
    /// How much of the expected message has been seen.
    at: usize,
}

impl MessageReader {
    /// With `deflate`, compressed messages are understood.
    pub fn new(frames: FrameReader, deflate: bool) -> Self {
        Self { frames, inflater: deflate.then(|| Decompress::new(false)), at: 0 }
    }

    /// Takes bytes from the front of `bytes` up to the next thing to do. `scratch` is where compressed bytes are inflated.
    ///
    /// Fails where the message is another one than expected, where the server closes, and where it breaks the protocol.
    pub fn next(
        &mut self,
        bytes: &mut &[u8],
        kind: Opcode,
        expected: &[u8],
        scratch: &mut [u8],
    ) -> io::Result<Progress> {
        while let Some(event) = self.frames.next(bytes)? {
            match event {
                Event::Data { kind: found, .. } if found != kind => return Err(invalid(format!("{found:?}"))),
                Event::Data { compressed, payload, end, .. } => {
                    self.take(compressed, payload, expected, scratch)?;
                    if end {
                        self.take(compressed, if compressed { &TAIL } else { &[] }, expected, scratch)?;
                        return self.end(expected);
                    }
                }
                Event::Ping(payload) => return Ok(Progress::Ping(payload)),
                Event::Close(payload) => return Err(closed(&payload)),
            }
        }
        Ok(Progress::More)
    }

    fn take(&mut self, compressed: bool, payload: &[u8], expected: &[u8], scratch: &mut [u8]) -> io::Result<()> {
        let at = &mut self.at;
        if !compressed {
            return compare(at, payload, expected);
        }
        let inflater = self.inflater.as_mut().ok_or_else(|| invalid("compressed without a word"))?;
        inflate(inflater, payload, scratch, |part| compare(at, part, expected))
    }

    fn end(&mut self, expected: &[u8]) -> io::Result<Progress> {
        let length = std::mem::take(&mut self.at);
        if length != expected.len() {
            return Err(invalid(format!("a message of {length} bytes, expected {}", expected.len())));
        }
        Ok(Progress::Message)
    }
}

fn compare(at: &mut usize, part: &[u8], expected: &[u8]) -> io::Result<()> {
    let end = *at + part.len();
    if expected.get(*at..end) != Some(part) {
        return Err(invalid(format!("another message than expected, between its bytes {at} and {end}")));
    }
    *at = end;
    Ok(())
}

/// Gives `take` what the input inflates to, in parts of at most `scratch`.
fn inflate(
    inflater: &mut Decompress,
    mut input: &[u8],
    scratch: &mut [u8],
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    loop {
        let before = (inflater.total_in(), inflater.total_out());
        let status = inflater.decompress(input, scratch, FlushDecompress::Sync)?;
        let read = usize::try_from(inflater.total_in() - before.0).map_err(invalid)?;
        let written = usize::try_from(inflater.total_out() - before.1).map_err(invalid)?;
        input = &input[read..];
        take(&scratch[..written])?;
        if status == Status::StreamEnd {
            // A final block (RFC 7692 section 7.2.3.4); what follows begins anew.
            inflater.reset(false);
        } else if written < scratch.len() {
            return if input.is_empty() { Ok(()) } else { Err(ErrorKind::InvalidData.into()) };
        }
    }
}

fn closed(payload: &[u8]) -> io::Error {
    let (code, reason) = payload.split_at(payload.len().min(2));
    let code = code.try_into().map_or(1005, u16::from_be_bytes);
    invalid(format!("closed by the server with {code} {}", String::from_utf8_lossy(reason)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parts: &[&[u8]], expected: &[u8], deflate: bool) -> io::Result<Vec<Progress>> {
        let mut reader = MessageReader::new(FrameReader::default(), deflate);
        let mut found = Vec::new();
        for part in parts {
            let mut bytes = *part;
            loop {
                // So little room that inflating goes on in several steps.
                match reader.next(&mut bytes, Opcode::Text, expected, &mut [0; 3])? {
                    Progress::More => break,
                    progress => found.push(progress),
                }
            }
        }
        Ok(found)
    }

    // RFC 7692 section 7.2.3.2: "Hello" twice, the second time by reference to the first; 7.2.3.4: in a final block.
    const FIRST: &[u8] = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00";
    const SECOND: &[u8] = b"\xc1\x05\xf2\x00\x11\x00\x00";
    const FINAL: &[u8] = b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00";
    // 7.2.3.1: fragmented.
    const FRAGMENTS: &[u8] = b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00";

    #[test]
    fn any_split_gives_the_same_messages() -> io::Result<()> {
        let stream = [FIRST, SECOND, b"\x81\x05Hello", b"\x89\x00", FRAGMENTS, FINAL].concat();
        let ping = || Progress::Ping(vec![]);
        let message = || Progress::Message;
        let expected = [message(), message(), message(), ping(), message(), message()];
        for split in 0..=stream.len() {
            assert_eq!(read(&[&stream[..split], &stream[split..]], b"Hello", true)?, expected, "split at {split}");
        }
        assert_eq!(read(&stream.chunks(1).collect::<Vec<_>>(), b"Hello", true)?, expected);
        Ok(())
    }

    #[test]
    fn what_is_not_the_expected_message_is_an_error() {
        let wrong: [&[u8]; 6] =
            [b"\x81\x05Hallo", b"\x81\x04Hell", b"\x81\x06Hello!", b"\x82\x05Hello", b"\x81\x00", b"\x88\x02\x03\xe8"];
        for bytes in wrong {
            assert!(read(&[bytes], b"Hello", true).is_err(), "{bytes:?}");
        }
        assert!(read(&[FIRST], b"Hello", false).is_err(), "compressed, and not agreed");
        assert!(read(&[FIRST], b"Hallo", true).is_err());
        assert!(read(&[FIRST], b"Hello!", true).is_err());
    }

    #[test]
    fn the_code_and_reason_of_a_close_are_told() {
        let error = read(&[b"\x88\x07\x03\xf1large"], b"", false).map_err(|error| error.to_string());
        assert_eq!(error, Err("closed by the server with 1009 large".to_owned()));
    }
}
