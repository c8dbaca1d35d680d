//! DEFLATE (RFC 1951) read bit by bit, slowly and strictly: what a client with exactly the agreed window understands.

use std::sync::OnceLock;

const LENGTHS: [(usize, u32); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];

/// The decompressor of one direction.
pub struct Inflater {
    window: usize,
    takeover: bool,
    history: Vec<u8>,
}

impl Inflater {
    pub fn new(window_bits: u8, takeover: bool) -> Self {
        Self { window: 1 << window_bits, takeover, history: Vec::new() }
    }

    /// A message, its tail left out; None: it is none.
    pub fn message(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        if !self.takeover {
            self.history.clear();
        }
        // No compressor should write nothing, not even for nothing; some do.
        if payload.is_empty() {
            return Some(Vec::new());
        }
        let start = self.history.len();
        let bytes = [payload, &[0, 0, 0xff, 0xff]].concat();
        let mut bits = Bits { bytes: &bytes, at: 0 };
        // Behind a last block there may be others, or nothing.
        let end = payload.len() * 8;
        loop {
            let is_last = self.block(&mut bits)?;
            let at = bits.at.next_multiple_of(8);
            if at == bytes.len() * 8 || is_last && at == end {
                return Some(self.history[start..].to_vec());
            }
            if is_last {
                bits.at = at;
            }
        }
    }

    /// Whether it was a last one.
    fn block(&mut self, bits: &mut Bits<'_>) -> Option<bool> {
        let is_last = bits.take(1)? == 1;
        match bits.take(2)? {
            0 => self.stored(bits)?,
            1 => {
                let (lengths, distances) = fixed();
                self.symbols(bits, lengths, distances)?;
            }
            2 => {
                let (lengths, distances) = tables(bits)?;
                self.symbols(bits, &lengths, &distances)?;
            }
            _ => return None,
        }
        Some(is_last)
    }

    fn stored(&mut self, bits: &mut Bits<'_>) -> Option<()> {
        bits.at = bits.at.next_multiple_of(8);
        let (length, inverted) = (bits.take(16)?, bits.take(16)?);
        if length ^ inverted != 0xffff {
            return None;
        }
        for _ in 0..length {
            self.history.push(bits.take(8)? as u8);
        }
        Some(())
    }

    fn symbols(&mut self, bits: &mut Bits<'_>, lengths: &Code, distances: &Code) -> Option<()> {
        loop {
            let symbol = lengths.read(bits)?;
            match symbol {
                0..=255 => self.history.push(symbol as u8),
                256 => return Some(()),
                _ => {
                    let (base, extra) = *LENGTHS.get(symbol - 257)?;
                    let length = base + bits.take(extra)?;
                    let symbol = distances.read(bits)?;
                    let extra = (symbol as u32 / 2).saturating_sub(1);
                    let base = if symbol < 2 { symbol } else { (2 + symbol % 2) << extra };
                    let distance = 1 + base + bits.take(extra)?;
                    if symbol > 29 || distance > self.window || distance > self.history.len() {
                        return None;
                    }
                    for _ in 0..length {
                        self.history.push(self.history[self.history.len() - distance]);
                    }
                }
            }
        }
    }
}

fn tables(bits: &mut Bits<'_>) -> Option<(Code, Code)> {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let (lengths, distances, widths) = (bits.take(5)? + 257, bits.take(5)? + 1, bits.take(4)? + 4);
    let mut of_widths = [0; 19];
    for place in &ORDER[..widths] {
        of_widths[*place] = bits.take(3)? as u8;
    }
    let code = Code::new(&of_widths);
    let mut all = Vec::new();
    while all.len() < lengths + distances {
        let (width, times) = match code.read(bits)? {
            16 => (*all.last()?, 3 + bits.take(2)?),
            17 => (0, 3 + bits.take(3)?),
            18 => (0, 11 + bits.take(7)?),
            width => (width as u8, 1),
        };
        all.resize(all.len() + times, width);
    }
    (all.len() == lengths + distances).then(|| (Code::new(&all[..lengths]), Code::new(&all[lengths..])))
}

fn fixed() -> &'static (Code, Code) {
    static FIXED: OnceLock<(Code, Code)> = OnceLock::new();
    FIXED.get_or_init(|| {
        let widths = [[8; 144].as_slice(), &[9; 112], &[7; 24], &[8; 8]].concat();
        (Code::new(&widths), Code::new(&[5; 30]))
    })
}

/// A canonical Huffman code: the symbols in the order of their codes, and how many there are of each width.
struct Code {
    symbols: Vec<usize>,
    counts: [usize; 16],
}

impl Code {
    fn new(widths: &[u8]) -> Self {
        let mut counts = [0; 16];
        widths.iter().for_each(|width| counts[usize::from(*width)] += 1);
        counts[0] = 0;
        let mut symbols: Vec<usize> = (0..widths.len()).filter(|&at| widths[at] > 0).collect();
        symbols.sort_by_key(|&at| widths[at]);
        Self { symbols, counts }
    }

    fn read(&self, bits: &mut Bits<'_>) -> Option<usize> {
        // The first code of a width follows the last of the one before, with a bit added.
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in &self.counts[1..] {
            code |= bits.take(1)?;
            if code < first + count {
                return self.symbols.get(index + code.checked_sub(first)?).copied();
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        None
    }
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Option<usize> {
        let mut value = 0;
        for place in 0..count {
            let bit = self.bytes.get(self.at / 8)? >> (self.at % 8) & 1;
            value |= usize::from(bit) << place;
            self.at += 1;
        }
        Some(value)
    }
}
