//! DEFLATE (RFC 1951) written fast and from little memory: one block of the fixed codes a message, matches found by one look
//! into one table. This file knows no message's meaning, and refers to nothing but what it was given.
//!
//! A general compressor would do. But zlib-rs, at its fastest level the same algorithm, has a table of 128 KiB for each
//! connection, to be cleared where nothing may be remembered; this one has 8, next to 16 of bytes, and nothing to clear.

/// Bytes that are held: what may be referred to, and what is being compressed.
const HELD: usize = 16 * 1024;

/// Bytes that are compressed at a time. A match does not go on from one part into the next, which costs nothing to speak
/// of; and what does not get shorter is seen early.
const PART: usize = 4 * 1024;

/// Entries of the table, as a power of two.
const PLACES: u32 = 12;

/// Matches are of 4 to 258 bytes; shorter ones gain next to nothing.
const SHORTEST: usize = 4;
const LONGEST: usize = 258;

/// Bits of a block's end, and of the start of the stored block that the tail belongs to (RFC 7692 section 7.2.1).
const END: u32 = 7 + 3;

/// The start of a block that is not the last, in the fixed codes (RFC 1951 section 3.2.3).
const BLOCK: (u32, u32) = (0b010, 3);

/// What compresses the messages of one side.
pub(super) struct Compressor {
    /// The last of what was compressed.
    bytes: Vec<u8>,
    /// Where four bytes with this hash stood last. An old entry does no harm: the bytes are compared.
    places: Box<[u16; 1 << PLACES]>,
    /// How far back a match may lie.
    window: usize,
}

impl Compressor {
    /// `window`: as an exponent, 13 at most.
    pub(super) fn new(window: u8) -> Self {
        debug_assert!(1 << window < HELD);
        Self { bytes: Vec::new(), places: Box::new([0; 1 << PLACES]), window: 1 << window }
    }

    /// Refers no more to what was compressed until now.
    pub(super) fn forget(&mut self) {
        self.bytes.clear();
    }

    /// Appends the message as permessage-deflate sends it. False: it gets no shorter; then what was appended is worthless,
    /// and so is what is remembered.
    pub(super) fn compress(&mut self, mut message: &[u8], output: &mut Vec<u8>) -> bool {
        let start = output.len();
        let end = start + message.len();
        let mut bits = Bits { waiting: 0, count: 0, end: start };
        bits.put(BLOCK);
        while !message.is_empty() {
            let room = self.make_room();
            let (part, rest) = message.split_at(message.len().min(room).min(PART));
            // The longest codes have 9 bits a byte; a word is written at a time.
            output.resize(bits.end + part.len() + part.len() / 8 + 16, 0);
            let from = self.bytes.len();
            self.bytes.extend_from_slice(part);
            self.symbols(from, &mut bits, output);
            message = rest;
            // What does not get shorter at its start will not in the end.
            if bits.end + message.len() >= end {
                return false;
            }
        }
        bits.put((0, END));
        bits.flush(output);
        output.truncate(bits.end + usize::from(bits.count > 0));
        output.len() < end
    }

    /// Room for what is next; a window before it stays.
    fn make_room(&mut self) -> usize {
        if self.bytes.len() == HELD {
            let moved = HELD - self.window;
            self.bytes.drain(..moved);
            for place in &mut self.places[..] {
                *place = place.saturating_sub(moved as u16);
            }
        }
        HELD - self.bytes.len()
    }

    fn symbols(&mut self, from: usize, bits: &mut Bits, output: &mut [u8]) {
        let bytes = &self.bytes[..];
        let mut at = from;
        while let Some(four) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
            let hash = u32::from_le_bytes(*four).wrapping_mul(0x9e37_79b1) >> (32 - PLACES);
            let place = usize::from(std::mem::replace(&mut self.places[hash as usize], at as u16));
            let distance = at.wrapping_sub(place);
            if distance.wrapping_sub(1) < self.window && bytes[place..].first_chunk() == Some(four) {
                let (before, now) = (&bytes[place + SHORTEST..], &bytes[at + SHORTEST..]);
                let length = SHORTEST + common(before, &now[..now.len().min(LONGEST - SHORTEST)]);
                bits.put(LENGTHS[length]);
                bits.put(distance_code(distance));
                at += length;
            } else {
                bits.put(LITERALS[usize::from(four[0])]);
                at += 1;
            }
            bits.flush(output);
        }
        for byte in &bytes[at..] {
            bits.put(LITERALS[usize::from(*byte)]);
            bits.flush(output);
        }
    }
}

/// How many bytes at the start are the same, at most all of `b`; eight at a time.
fn common(a: &[u8], b: &[u8]) -> usize {
    let words = a.as_chunks().0.iter().zip(b.as_chunks().0);
    for (index, (a, b)) in words.enumerate() {
        let difference = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if difference != 0 {
            return index * 8 + difference.trailing_zeros() as usize / 8;
        }
    }
    let done = a.len().min(b.len()) / 8 * 8;
    done + a[done..].iter().zip(&b[done..]).take_while(|(a, b)| a == b).count()
}

/// Bits on their way into bytes, the first in the lowest place (RFC 1951 section 3.1.1).
struct Bits {
    waiting: u64,
    count: u32,
    /// Where the next byte goes.
    end: usize,
}

impl Bits {
    fn put(&mut self, (code, length): (u32, u32)) {
        self.waiting |= u64::from(code) << self.count;
        self.count += length;
    }

    /// Writes the whole bytes; fewer than eight bits stay, and stand in the byte behind as well.
    fn flush(&mut self, output: &mut [u8]) {
        output[self.end..self.end + 8].copy_from_slice(&self.waiting.to_le_bytes());
        let whole = self.count / 8;
        self.end += whole as usize;
        self.waiting >>= whole * 8;
        self.count %= 8;
    }
}

/// A Huffman code is written from its highest bit on.
const fn reversed(code: u32, length: u32) -> (u32, u32) {
    (code.reverse_bits() >> (32 - length), length)
}

/// The fixed code of a literal or length (RFC 1951 section 3.2.6).
const fn fixed(symbol: u32) -> (u32, u32) {
    match symbol {
        0..=143 => reversed(0b0011_0000 + symbol, 8),
        144..=255 => reversed(0b1_1001_0000 + symbol - 144, 9),
        256..=279 => reversed(symbol - 256, 7),
        _ => reversed(0b1100_0000 + symbol - 280, 8),
    }
}

const LITERALS: [(u32, u32); 256] = {
    let mut codes = [(0, 0); 256];
    let mut byte = 0;
    while byte < codes.len() {
        codes[byte] = fixed(byte as u32);
        byte += 1;
    }
    codes
};

/// Symbol and extra bits of each length (RFC 1951 section 3.2.5): four symbols share each number of extra bits.
const LENGTHS: [(u32, u32); LONGEST + 1] = {
    let mut codes = [(0, 0); LONGEST + 1];
    let mut length = 3;
    while length < LONGEST {
        let value = length as u32 - 3;
        let extra = if value < 8 { 0 } else { 29 - value.leading_zeros() };
        let symbol = if value < 8 { value } else { 4 * extra + (value >> extra) };
        let (code, width) = fixed(257 + symbol);
        codes[length] = (code | (value & ((1 << extra) - 1)) << width, width + extra);
        length += 1;
    }
    // The last one has a symbol of its own.
    codes[LONGEST] = fixed(285);
    codes
};

/// Symbol and extra bits of a distance (RFC 1951 section 3.2.5): two symbols share each number of extra bits.
const fn distance_code(distance: usize) -> (u32, u32) {
    let value = distance as u32 - 1;
    let extra = if value < 4 { 0 } else { 30 - value.leading_zeros() };
    let symbol = if value < 4 { value } else { 2 * extra + (value >> extra) };
    let (code, width) = reversed(symbol, 5);
    (code | (value & ((1 << extra) - 1)) << width, width + extra)
}
