//! RFC 6455 section 5: the frames that a client writes, and those of a server, however the bytes are split. Knows no
//! extension but the bit that permessage-deflate sets.

use std::io::{self, ErrorKind};

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2_3: u8 = 0x30;
const MASK: u8 = 0x80;
/// What the short length says where the real one follows in two or in eight bytes.
const LENGTH_16: u8 = 0x7E;
const LENGTH_64: u8 = 0x7F;
/// Without a mask: two bytes, and eight of the longest length.
const LONGEST_HEAD: usize = 10;
const LONGEST_CONTROL: u64 = 125;

/// Section 5.2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    fn parse(bits: u8) -> io::Result<Self> {
        [Self::Continuation, Self::Text, Self::Binary, Self::Close, Self::Ping, Self::Pong]
            .into_iter()
            .find(|opcode| *opcode as u8 == bits)
            .ok_or_else(|| invalid(format!("opcode {bits}")))
    }

    fn is_control(self) -> bool {
        self as u8 & 8 != 0
    }
}

/// One whole frame as a client sends it, masked with `key`.
pub fn masked(opcode: Opcode, compressed: bool, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + LONGEST_HEAD + key.len());
    frame.push(FIN | if compressed { RSV1 } else { 0 } | opcode as u8);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ ..=125), _) => frame.push(MASK | length),
        (_, Ok(length)) => {
            frame.push(MASK | LENGTH_16);
            frame.extend(length.to_be_bytes());
        }
        _ => {
            frame.push(MASK | LENGTH_64);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend(key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

#[derive(Debug, PartialEq)]
pub enum Event<'a> {
    /// Bytes of a message, with `end` its last ones.
    Data { kind: Opcode, compressed: bool, payload: &'a [u8], end: bool },
    /// To be answered with the same payload.
    Ping(Vec<u8>),
    /// With the payload: a code and a reason, or nothing.
    Close(Vec<u8>),
}

#[derive(Clone, Copy)]
struct Head {
    opcode: Opcode,
    last: bool,
    compressed: bool,
    length: u64,
}

#[derive(Default)]
pub struct FrameReader {
    /// The running frame, and how many bytes of its payload are still to come.
    frame: Option<(Head, u64)>,
    /// Kind of the running message, and whether it is compressed.
    message: Option<(Opcode, bool)>,
    /// A head of which the end has not come yet.
    partial: Vec<u8>,
    /// The payload so far of the running control frame.
    control: Vec<u8>,
}

impl FrameReader {
    /// Takes what belongs to the next event from the front of `bytes`. None: more bytes are needed, and all were taken.
    ///
    /// Fails where a server may not send what is there.
    pub fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> io::Result<Option<Event<'a>>> {
        loop {
            if self.frame.is_none() && !self.begin(bytes)? {
                return Ok(None);
            }
            let Some((head, left)) = self.frame else { return Ok(None) };
            if bytes.is_empty() && left > 0 {
                return Ok(None);
            }
            let (payload, rest) = bytes.split_at(bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
            *bytes = rest;
            let left = left - payload.len() as u64;
            self.frame = (left > 0).then_some((head, left));
            let event = if head.opcode.is_control() {
                self.control(head.opcode, payload, left == 0)
            } else {
                Some(self.data(head, payload, left == 0))
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    /// Reads a head. False: its end has not come yet.
    fn begin(&mut self, bytes: &mut &[u8]) -> io::Result<bool> {
        let mut parsed = if self.partial.is_empty() { parse(bytes)? } else { None };
        if let Some((_, size)) = parsed {
            *bytes = &bytes[size..];
        }
        while parsed.is_none() {
            let Some((byte, rest)) = bytes.split_first() else { return Ok(false) };
            self.partial.push(*byte);
            *bytes = rest;
            parsed = parse(&self.partial)?;
        }
        self.partial.clear();
        let Some((head, _)) = parsed else { return Ok(false) };
        self.admit(head)?;
        self.frame = Some((head, head.length));
        Ok(true)
    }

    /// Section 5.4: a message goes on in continuation frames, and only there.
    fn admit(&mut self, head: Head) -> io::Result<()> {
        if head.opcode.is_control() {
            return if head.last && head.length <= LONGEST_CONTROL { Ok(()) } else { Err(invalid("a control frame")) };
        }
        if (head.opcode == Opcode::Continuation) != self.message.is_some() {
            return Err(invalid("a message within a message, or the rest of none"));
        }
        self.message.get_or_insert((head.opcode, head.compressed));
        Ok(())
    }

    fn data<'a>(&mut self, head: Head, payload: &'a [u8], whole: bool) -> Event<'a> {
        let (kind, compressed) = self.message.unwrap_or((head.opcode, head.compressed));
        let end = whole && head.last;
        if end {
            self.message = None;
        }
        Event::Data { kind, compressed, payload, end }
    }

    fn control(&mut self, opcode: Opcode, payload: &[u8], whole: bool) -> Option<Event<'static>> {
        self.control.extend_from_slice(payload);
        if !whole {
            return None;
        }
        let payload = std::mem::take(&mut self.control);
        match opcode {
            Opcode::Ping => Some(Event::Ping(payload)),
            Opcode::Close => Some(Event::Close(payload)),
            _ => None,
        }
    }
}

/// The head at the front of `bytes`, and its size. None: more bytes are needed.
fn parse(bytes: &[u8]) -> io::Result<Option<(Head, usize)>> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    if first & RSV2_3 != 0 || second & MASK != 0 {
        return Err(invalid("a reserved bit or a mask"));
    }
    let long = match *second {
        LENGTH_16 => rest.first_chunk().map(|bytes| (u64::from(u16::from_be_bytes(*bytes)), 4)),
        LENGTH_64 => rest.first_chunk().map(|bytes| (u64::from_be_bytes(*bytes), LONGEST_HEAD)),
        short => Some((u64::from(short), 2)),
    };
    let Some((length, size)) = long else { return Ok(None) };
    let opcode = Opcode::parse(first & 0x0F)?;
    Ok(Some((Head { opcode, last: first & FIN != 0, compressed: first & RSV1 != 0, length }, size)))
}

pub fn invalid(problem: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reader makes of the parts: messages as (kind, payload), pings as (Ping, payload).
    fn events(parts: &[&[u8]]) -> io::Result<Vec<(Opcode, Vec<u8>)>> {
        let (mut reader, mut found, mut message) = (FrameReader::default(), Vec::new(), Vec::new());
        for part in parts {
            let mut bytes = *part;
            while let Some(event) = reader.next(&mut bytes)? {
                match event {
                    Event::Data { kind, payload, end, .. } => {
                        message.extend_from_slice(payload);
                        if end {
                            found.push((kind, std::mem::take(&mut message)));
                        }
                    }
                    Event::Ping(payload) => found.push((Opcode::Ping, payload)),
                    Event::Close(payload) => found.push((Opcode::Close, payload)),
                }
            }
            assert!(bytes.is_empty());
        }
        Ok(found)
    }

    #[test]
    fn any_split_gives_the_same_messages() -> io::Result<()> {
        let long = [&[0x82, 126, 1, 0][..], &[7; 256]].concat();
        let longer = [&[0x82, 127, 0, 0, 0, 0, 0, 0, 1, 1][..], &[8; 257]].concat();
        let fragments = b"\x01\x02he\x89\x01!\x8a\x00\x00\x00\x80\x03llo";
        let stream = [&fragments[..], &long, b"\x81\x00", &longer, b"\x88\x02\x03\xe8"].concat();
        let expected = vec![
            (Opcode::Ping, b"!".to_vec()),
            (Opcode::Text, b"hello".to_vec()),
            (Opcode::Binary, vec![7; 256]),
            (Opcode::Text, vec![]),
            (Opcode::Binary, vec![8; 257]),
            (Opcode::Close, vec![3, 0xE8]),
        ];
        for split in 0..=stream.len() {
            assert_eq!(events(&[&stream[..split], &stream[split..]])?, expected, "split at {split}");
        }
        assert_eq!(events(&stream.chunks(1).collect::<Vec<_>>())?, expected);
        Ok(())
    }

    #[test]
    fn what_a_server_may_not_send_is_an_error() {
        let wrong: [&[u8]; 7] = [
            b"\x81\x81\x00\x00\x00\x00a",
            b"\xa1\x01a",
            b"\x83\x00",
            b"\x80\x01a",
            b"\x01\x01a\x81\x01b",
            b"\x09\x00",
            b"\x89\x7e\x00\x7e",
        ];
        for bytes in wrong {
            assert!(events(&[bytes]).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_written_frame_is_masked_and_has_the_shortest_length() {
        // RFC 6455 section 5.7, the masked text frame.
        let hello = masked(Opcode::Text, false, b"Hello", [0x37, 0xFA, 0x21, 0x3D]);
        assert_eq!(hello, [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58]);
        let head = |length| masked(Opcode::Binary, true, &vec![0; length], [0; 4]);
        assert_eq!(head(125)[..2], [0xC2, MASK + 125]);
        assert_eq!(head(126)[..4], [0xC2, MASK + 126, 0, 126]);
        assert_eq!(head(65536)[..10], [0xC2, MASK + 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
