//! Looking at bytes eight at a time, and numbers as digits. This file knows nothing of what they mean.
//!
//! Values of fields are short: a vectorized loop spends its time on what is left behind its last whole vector. Words of
//! eight bytes, the last one overlapping the one before, have no such rest.

const ONES: u64 = u64::from_le_bytes([1; 8]);
const HIGH: u64 = ONES << 7;

/// A word of which every test here says no.
const QUIET: u64 = ONES * b'a' as u64;

/// Where the first control character stands: a byte below the space, or DEL.
pub(crate) fn position_of_control(bytes: &[u8]) -> Option<usize> {
    first(bytes, |word| less_than(word, b' ') | equal_to(word, 0x7f))
}

/// Where the byte stands first.
pub(crate) fn position(bytes: &[u8], byte: u8) -> Option<usize> {
    first(bytes, |word| equal_to(word, byte))
}

/// Whether there is anything that is neither visible ASCII nor above ASCII, or a `#`.
pub(crate) fn has_control_space_or_hash(bytes: &[u8]) -> bool {
    any(bytes, |word| less_than(word, b' ' + 1) | equal_to(word, 0x7f) | equal_to(word, b'#'))
}

/// Marks each byte below `limit` (at most 128); above a right mark there may be wrong ones, but none without it.
const fn less_than(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(ONES * limit as u64) & !word & HIGH
}

/// Marks each byte that is this; above a right mark there may be wrong ones, but none without it.
const fn equal_to(word: u64, byte: u8) -> u64 {
    less_than(word ^ (ONES * byte as u64), 1)
}

fn first(bytes: &[u8], test: impl Fn(u64) -> u64) -> Option<usize> {
    let (words, rest) = bytes.as_chunks();
    for (index, word) in words.iter().enumerate() {
        let marks = test(u64::from_le_bytes(*word));
        if marks != 0 {
            // Wrong marks stand only above a right one: the lowest is right.
            return Some(index * 8 + marks.trailing_zeros() as usize / 8);
        }
    }
    let at = rest.iter().position(|&byte| test(QUIET & !0xff | u64::from(byte)) != 0)?;
    Some(words.len() * 8 + at)
}

fn any(bytes: &[u8], test: impl Fn(u64) -> u64) -> bool {
    let (words, _) = bytes.as_chunks();
    let last = match bytes.last_chunk() {
        Some(last) => u64::from_le_bytes(*last),
        None => bytes.iter().fold(QUIET, |word, &byte| word << 8 | u64::from(byte)),
    };
    words.iter().fold(test(last), |marks, word| marks | test(u64::from_le_bytes(*word))) != 0
}

/// Appends a number in decimal digits.
pub fn write_decimal(buffer: &mut Vec<u8>, number: u64) {
    buffer.extend_from_slice(decimal_digits(&mut [0; 20], number));
}

/// A number in decimal digits.
pub(crate) fn decimal_digits(digits: &mut [u8; 20], mut number: u64) -> &[u8] {
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[start..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte at every place of every length up to three words.
    #[test]
    fn words_say_what_bytes_say() {
        for length in 0..24 {
            for place in 0..length {
                for byte in 0..=255 {
                    let mut bytes = vec![b'x'; length];
                    bytes[place] = byte;
                    let control = byte < b' ' || byte == 0x7f;
                    assert_eq!(position_of_control(&bytes), control.then_some(place), "{byte} at {place} of {length}");
                    assert_eq!(has_control_space_or_hash(&bytes), control || byte == b' ' || byte == b'#');
                    assert_eq!(position(&bytes, b':'), (byte == b':').then_some(place));
                }
            }
        }
        assert!(position_of_control(b"").is_none() && !has_control_space_or_hash(b"") && position(b"", 0).is_none());
    }

    #[test]
    fn the_first_of_several_is_found() {
        assert_eq!(position(b"0123456:::9abcdef:", b':'), Some(7));
        assert_eq!(position(b"012345678\x3b\x3a", b'\x3a'), Some(10));
        assert_eq!(position(b"ab\x3a\x3bcdefgh", b'\x3b'), Some(3));
    }
}
