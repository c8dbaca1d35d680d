//! RFC 7541 section 5: integers, and strings as they lie in a block. This file knows no table and no Huffman code.

use super::DecodeError;

/// The bytes behind a prefix that say one integer, at most: 32 bits need five.
const CONTINUATION: u32 = 5;

/// A block that is read from the front.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

/// A string as it lies in the block.
pub(super) struct RawString<'a> {
    pub(super) huffman: bool,
    pub(super) bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(block: &'a [u8]) -> Self {
        Self { rest: block }
    }

    /// The byte that starts a field, while there is one.
    pub(super) fn first(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// The integer whose prefix is the low `bits` of `first`, which has been read (RFC 7541 section 5.1).
    pub(super) fn integer(&mut self, first: u8, bits: u32) -> Result<usize, DecodeError> {
        let most = u8::MAX >> (8 - bits);
        let prefix = first & most;
        if prefix < most { Ok(usize::from(prefix)) } else { self.long_integer(prefix) }
    }

    #[cold]
    fn long_integer(&mut self, prefix: u8) -> Result<usize, DecodeError> {
        let mut value = u64::from(prefix);
        for place in 0..CONTINUATION {
            let byte = self.first().ok_or(DecodeError::Truncated)?;
            value += u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return u32::try_from(value).map(|value| value as usize).map_err(|_| DecodeError::Integer);
            }
        }
        Err(DecodeError::Integer)
    }

    /// The string that comes next (RFC 7541 section 5.2).
    pub(super) fn string(&mut self) -> Result<RawString<'a>, DecodeError> {
        let first = self.first().ok_or(DecodeError::Truncated)?;
        let length = self.integer(first, 7)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(RawString { huffman: first & 0x80 != 0, bytes })
    }
}

/// Appends an integer with a prefix of so many bits, below the bits of `pattern` (RFC 7541 section 5.1).
pub(super) fn push_integer(out: &mut Vec<u8>, pattern: u8, bits: u32, value: usize) {
    let most = u8::MAX >> (8 - bits);
    if value < usize::from(most) {
        out.push(pattern | value as u8);
        return;
    }
    out.push(pattern | most);
    let mut rest = value - usize::from(most);
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], bits: u32) -> Result<usize, DecodeError> {
        let mut reader = Reader::new(bytes);
        let first = reader.first().unwrap();
        reader.integer(first, bits)
    }

    /// RFC 7541 appendix C.1.
    #[test]
    fn integers_of_the_appendix() {
        for (value, bits, bytes) in [(10, 5, &[0x0a][..]), (1337, 5, &[0x1f, 0x9a, 0x0a]), (42, 8, &[0x2a])] {
            assert_eq!(read(bytes, bits), Ok(value));
            let mut out = Vec::new();
            push_integer(&mut out, 0, bits, value);
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn integers_go_there_and_back() {
        let around = (0..32).flat_map(|bit| [(1_usize << bit) - 1, 1 << bit, (1 << bit) + 1]);
        for value in around.chain([u32::MAX as usize]).filter(|&value| u32::try_from(value).is_ok()) {
            for bits in 1..=8 {
                let mut out = Vec::new();
                push_integer(&mut out, 0, bits, value);
                assert_eq!(read(&out, bits), Ok(value), "{value} in {bits} bits");
            }
        }
    }

    #[test]
    fn integers_that_are_too_large_or_not_whole_are_errors() {
        assert_eq!(read(&[0x1f, 0xe0, 0xff, 0xff, 0xff, 0x0f], 5), Ok(u32::MAX as usize));
        assert_eq!(read(&[0x1f, 0xe1, 0xff, 0xff, 0xff, 0x0f], 5), Err(DecodeError::Integer));
        assert_eq!(read(&[0x1f, 0xff, 0xff, 0xff, 0xff, 0x7f], 5), Err(DecodeError::Integer));
        // Zeros behind the number: no larger, but longer than any number needs.
        assert_eq!(read(&[0x1f, 0x80, 0x80, 0x80, 0x80, 0x00], 5), Ok(31));
        assert_eq!(read(&[0x1f, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00], 5), Err(DecodeError::Integer));
        assert_eq!(read(&[0x1f, 0x80, 0x80], 5), Err(DecodeError::Truncated));
    }

    #[test]
    fn strings_have_to_be_whole() {
        let mut reader = Reader::new(&[0x82, b'a', b'b', 0x02, b'c']);
        let string = reader.string().unwrap();
        assert!(string.huffman && string.bytes == b"ab");
        assert_eq!(reader.string().err(), Some(DecodeError::Truncated));
        assert_eq!(Reader::new(&[]).string().err(), Some(DecodeError::Truncated));
    }
}
