//! RFC 7541 appendix B: the Huffman code. It is canonical, so the lengths say all of it.
//!
//! Decoding looks at 11 bits at a time, which are two symbols of most texts. Codes that are longer are found by their length,
//! as a canonical code allows: the symbols that have them are rare.

use super::DecodeError;

/// The end of string: no string has it (RFC 7541 section 5.2).
const EOS: u16 = 256;

/// The bits of each symbol's code, EOS the last.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28,
    28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13,
    6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6,
    6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23,
    23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23,
    22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21,
    22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

/// The shortest and the longest code.
const SHORTEST: u32 = 5;
const LONGEST: usize = 30;

/// The symbols in the order of their codes: by length, then by number.
const SORTED: [u16; 257] = {
    let mut sorted = [0; 257];
    let (mut at, mut length) = (0, 0);
    while length <= LONGEST {
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] as usize == length {
                sorted[at] = symbol as u16;
                at += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    sorted
};

/// What a code of some length is found by.
#[derive(Clone, Copy)]
struct Length {
    /// Its first code, and the place of that in `SORTED`.
    first: u32,
    place: u32,
    /// The first code that is longer, with zeros behind it to 32 bits.
    end: u64,
}

const BY_LENGTH: [Length; LONGEST + 1] = {
    let mut all = [Length { first: 0, place: 0, end: 0 }; LONGEST + 1];
    let (mut code, mut place, mut length) = (0, 0, 1);
    while length <= LONGEST {
        code <<= 1;
        all[length].first = code;
        all[length].place = place;
        while (place as usize) < 257 && LENGTHS[SORTED[place as usize] as usize] as usize == length {
            code += 1;
            place += 1;
        }
        all[length].end = (code as u64) << (32 - length);
        length += 1;
    }
    all
};

/// Each byte's code, and below it in the lowest 8 bits how long it is.
const CODES: [u64; 256] = {
    let mut codes = [0; 256];
    let mut place = 0;
    while place < 257 {
        let symbol = SORTED[place] as usize;
        let length = LENGTHS[symbol] as usize;
        if symbol < 256 {
            let code = BY_LENGTH[length].first + (place as u32 - BY_LENGTH[length].place);
            codes[symbol] = (code as u64) << 8 | length as u64;
        }
        place += 1;
    }
    codes
};

/// How many bits one look takes.
const BITS: u32 = 11;

/// What the next bits say: one or two symbols in the low bytes, how many bits they take, how many symbols they are. Zero
/// where a longer code starts. The bits are inverted: see [`Bits`].
static PAIRS: [[u8; 4]; 1 << BITS] = {
    let mut pairs = [[0; 4]; 1 << BITS];
    let mut prefix = 0;
    while prefix < 1 << BITS {
        if let Some(first) = short_symbol(prefix) {
            let used = LENGTHS[first as usize] as u32;
            let rest = prefix << used & ((1 << BITS) - 1);
            let second = match short_symbol(rest) {
                Some(second) if used + LENGTHS[second as usize] as u32 <= BITS => Some(second),
                _ => None,
            };
            pairs[!prefix as usize & ((1 << BITS) - 1)] = match second {
                Some(second) => [first, second, used as u8 + LENGTHS[second as usize], 2],
                None => [first, 0, used as u8, 1],
            };
        }
        prefix += 1;
    }
    pairs
};

/// The symbol whose code is at the front of these `BITS` bits.
const fn short_symbol(bits: u32) -> Option<u8> {
    let mut length = SHORTEST;
    while length <= BITS {
        let entry = BY_LENGTH[length as usize];
        if ((bits as u64) << (32 - BITS)) < entry.end {
            return Some(SORTED[(entry.place + (bits >> (BITS - length)) - entry.first) as usize] as u8);
        }
        length += 1;
    }
    None
}

/// The symbol at the front of 32 bits, whatever its length, and that length.
#[cold]
fn symbol(bits: u32) -> (u16, u32) {
    let mut length = SHORTEST;
    while u64::from(bits) >= BY_LENGTH[length as usize].end {
        length += 1;
    }
    let entry = BY_LENGTH[length as usize];
    (SORTED[(entry.place + (bits >> (32 - length)) - entry.first) as usize], length)
}

/// How many bytes a string of so many encoded bytes has at the most: the shortest code has five bits.
const fn most(encoded: usize) -> usize {
    encoded * 8 / 5 + 2
}

/// Decodes a string into the buffer, which grows and never shrinks; the length of what stands at its front then.
pub(super) fn decode(encoded: &[u8], buffer: &mut Vec<u8>) -> Result<usize, DecodeError> {
    if buffer.len() < most(encoded.len()) {
        buffer.resize(most(encoded.len()), 0);
    }
    Bits { rest: encoded, word: 0, count: 0 }.decode(buffer)
}

/// The bits of a string, inverted: behind the last one stand zeros, which are the ones of the padding.
struct Bits<'a> {
    rest: &'a [u8],
    /// The next bits, the first one highest.
    word: u64,
    count: u32,
}

impl Bits<'_> {
    fn decode(mut self, out: &mut [u8]) -> Result<usize, DecodeError> {
        let mut length = 0;
        loop {
            self.refill();
            if self.count < 5 * BITS {
                break;
            }
            for _ in 0..5 {
                let [first, second, bits, symbols] = self.look();
                if symbols == 0 {
                    self.refill();
                    self.one(out, &mut length)?;
                    break;
                }
                out[length..length + 2].copy_from_slice(&[first, second]);
                length += usize::from(symbols);
                self.take(u32::from(bits));
            }
        }
        while !self.is_padding() {
            let [first, second, bits, symbols] = self.look();
            if symbols == 0 || u32::from(bits) > self.count {
                self.one(out, &mut length)?;
            } else {
                out[length..length + 2].copy_from_slice(&[first, second]);
                length += usize::from(symbols);
                self.take(u32::from(bits));
            }
            self.refill();
        }
        Ok(length)
    }

    fn look(&self) -> [u8; 4] {
        PAIRS[(self.word >> (64 - BITS)) as usize]
    }

    fn take(&mut self, bits: u32) {
        self.word <<= bits;
        self.count -= bits;
    }

    /// Takes in whole bytes until there are more than 55 bits, or all.
    #[inline]
    fn refill(&mut self) {
        if let Some(next) = self.rest.first_chunk::<8>() {
            let bytes = (63 - self.count) / 8;
            self.word |= !u64::from_be_bytes(*next) >> self.count;
            self.rest = &self.rest[bytes as usize..];
            self.count += bytes * 8;
            // Not the byte of which there is only a part.
            self.word &= u64::MAX << (64 - self.count);
            return;
        }
        while self.count < 56 {
            let Some((&byte, rest)) = self.rest.split_first() else { return };
            self.rest = rest;
            self.word |= u64::from(!byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// Takes one symbol, also one of a long code, and also of the last bits.
    #[cold]
    fn one(&mut self, out: &mut [u8], length: &mut usize) -> Result<(), DecodeError> {
        let (symbol, bits) = symbol(!((self.word >> 32) as u32));
        if symbol == EOS || bits > self.count {
            return Err(DecodeError::Huffman);
        }
        out[*length] = symbol as u8;
        *length += 1;
        self.take(bits);
        Ok(())
    }

    /// Whether what is left is at most seven bits, all ones: the front of EOS (RFC 7541 section 5.2). No code is that.
    const fn is_padding(&self) -> bool {
        self.count < 8 && self.word == 0
    }
}

/// The length of a string's code in bytes.
pub(super) fn encoded_length(string: &[u8]) -> usize {
    let bits: u32 = string.iter().map(|&byte| u32::from(LENGTHS[usize::from(byte)])).sum();
    (bits as usize).div_ceil(8)
}

/// Appends a string's code.
pub(super) fn encode(string: &[u8], out: &mut Vec<u8>) {
    let (mut word, mut count) = (0_u64, 0);
    for &byte in string {
        let code = CODES[usize::from(byte)];
        let bits = code as u8;
        word = word << bits | code >> 8;
        count += u32::from(bits);
        if count >= 32 {
            count -= 32;
            out.extend_from_slice(&((word >> count) as u32).to_be_bytes());
        }
    }
    // Ones behind the last bit: the front of EOS.
    let padded = (word << 32 | 0xffff_ffff) >> count;
    out.extend_from_slice(&(padded as u32).to_be_bytes()[..count.div_ceil(8) as usize]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(encoded: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let mut buffer = Vec::new();
        decode(encoded, &mut buffer).map(|length| buffer[..length].to_vec())
    }

    fn encoded(string: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(string, &mut out);
        assert_eq!(out.len(), encoded_length(string));
        out
    }

    /// Some of each length.
    #[test]
    fn codes_are_those_of_the_appendix() {
        let codes = [
            (b'0', 0x0, 5),
            (b't', 0x9, 5),
            (b' ', 0x14, 6),
            (b'u', 0x2d, 6),
            (b':', 0x5c, 7),
            (b'z', 0x7b, 7),
            (b'&', 0xf8, 8),
            (b'Z', 0xfd, 8),
            (b'!', 0x3f8, 10),
            (b'|', 0x7fc, 11),
            (b'>', 0xffb, 12),
            (0, 0x1ff8, 13),
            (b'}', 0x3ffd, 14),
            (b'{', 0x7ffe, 15),
            (b'\\', 0x7fff0, 19),
            (208, 0x7fff2_u64, 19),
            (1, 0x7f_ffd8, 23),
            (9, 0xff_ffea, 24),
            (255, 0x3ff_ffee, 26),
            (254, 0x7ff_fff0, 27),
            (22, 0x3fff_fffe, 30),
        ];
        for (byte, code, length) in codes {
            assert_eq!(CODES[usize::from(byte)], code << 8 | length, "{byte}");
        }
        assert_eq!(symbol(u32::MAX), (EOS, 30));
    }

    #[test]
    fn strings_go_there_and_back() {
        for byte in 0..=255 {
            for length in 0..20 {
                for tail in [&b""[..], b"a", b"0123456789"] {
                    let string = [&vec![byte; length], tail].concat();
                    assert_eq!(decoded(&encoded(&string)), Ok(string));
                }
            }
        }
    }

    #[test]
    fn the_end_of_string_in_a_string_is_an_error() {
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), Err(DecodeError::Huffman));
        // 00000 is 0, then 30 ones, then ones to a whole byte.
        assert_eq!(decoded(&[0x07, 0xff, 0xff, 0xff, 0xff]), Err(DecodeError::Huffman));
        let mut long = encoded(&[b'0'; 40]);
        long.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00]);
        assert_eq!(decoded(&long), Err(DecodeError::Huffman));
    }

    #[test]
    fn padding_is_at_most_seven_ones() {
        assert_eq!(decoded(b""), Ok(vec![]));
        assert_eq!(decoded(&[0x07]), Ok(b"0".to_vec()));
        for zero in 0..3 {
            assert_eq!(decoded(&[0x07 & !(1 << zero)]), Err(DecodeError::Huffman), "bit {zero}");
        }
        // Of a code that ends with its byte, a whole byte of ones is left.
        assert_eq!(decoded(&[0xf8, 0xff]), Err(DecodeError::Huffman));
        assert_eq!(decoded(&[0x07, 0xff]), Err(DecodeError::Huffman));
        assert_eq!(decoded(&[0xff]), Err(DecodeError::Huffman));
        // Seven bits: "0" five times and one bit is 26 bits, with six of padding; `&0` has 13, three of padding.
        assert_eq!(decoded(&encoded(b"&0")), Ok(b"&0".to_vec()));
    }
}
