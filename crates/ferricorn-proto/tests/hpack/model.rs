//! A second decoder of header blocks, as simple as can be: a list for a table, a bit at a time, everything copied. What it
//! says of a block is what the first has to say.

use std::sync::OnceLock;

use ferricorn_proto::http2::hpack::DecodeError;

pub(crate) type Pair = (Vec<u8>, Vec<u8>);

/// A decoder whose peer was told this size of the table.
pub(crate) struct Model {
    /// The newest first.
    pub(crate) table: Vec<Pair>,
    pub(crate) capacity: usize,
    pub(crate) announced: usize,
    /// The tokens of the entries of `table`.
    tokens: Vec<u32>,
    size: usize,
    inserted: u32,
    /// Whether the announced size was made smaller than the table.
    pub(crate) update_due: bool,
}

impl Model {
    pub(crate) fn new(announced: usize) -> Self {
        let capacity = announced.min(4096);
        Self { table: Vec::new(), capacity, announced, tokens: Vec::new(), size: 0, inserted: 0, update_due: false }
    }

    pub(crate) fn announce(&mut self, size: usize) {
        self.announced = size;
        self.update_due = self.capacity > size;
    }

    /// The fields of a block with their tokens.
    pub(crate) fn decode(&mut self, block: &[u8]) -> Result<Vec<(Pair, u32)>, DecodeError> {
        let mut input = Input(block);
        let mut list = Vec::new();
        let mut seen_field = false;
        while let Some(&first) = input.0.first() {
            if first & 0xe0 == 0x20 {
                let size = if seen_field { usize::MAX } else { input.integer(5)? };
                if size > self.announced {
                    return Err(DecodeError::SizeUpdate);
                }
                (self.capacity, self.update_due) = (size, false);
                self.evict();
                continue;
            }
            if self.update_due {
                return Err(DecodeError::SizeUpdateMissing);
            }
            seen_field = true;
            if first & 0x80 != 0 {
                let index = input.integer(7)?;
                list.push((self.entry(index)?, self.token(index)));
                continue;
            }
            let is_indexed = first & 0x40 != 0;
            let index = input.integer(if is_indexed { 6 } else { 4 })?;
            let name = if index == 0 { input.string()? } else { self.entry(index)?.0 };
            let pair = (name, input.string()?);
            let token = if is_indexed { self.insert(&pair) } else { 0 };
            list.push((pair, token));
        }
        if self.update_due { Err(DecodeError::SizeUpdateMissing) } else { Ok(list) }
    }

    fn entry(&self, index: usize) -> Result<Pair, DecodeError> {
        match index {
            0 => Err(DecodeError::Index),
            1..=61 => Ok((STATIC[index - 1].0.into(), STATIC[index - 1].1.into())),
            _ => self.table.get(index - 62).cloned().ok_or(DecodeError::Index),
        }
    }

    fn token(&self, index: usize) -> u32 {
        if index <= 61 { index as u32 } else { self.tokens[index - 62] }
    }

    fn insert(&mut self, pair: &Pair) -> u32 {
        if size(pair) > self.capacity {
            self.table.clear();
            self.tokens.clear();
            self.size = 0;
            return 0;
        }
        self.inserted += 1;
        self.size += size(pair);
        self.table.insert(0, pair.clone());
        self.tokens.insert(0, 63 + self.inserted);
        self.evict();
        63 + self.inserted
    }

    fn evict(&mut self) {
        while self.size > self.capacity {
            self.size -= size(&self.table.pop().unwrap());
            self.tokens.pop();
        }
    }
}

pub(crate) fn size(pair: &Pair) -> usize {
    pair.0.len() + pair.1.len() + 32
}

/// What is left of a block.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> Result<u8, DecodeError> {
        let (&byte, rest) = self.0.split_first().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(byte)
    }

    /// RFC 7541 section 5.1, as its pseudocode has it; five bytes behind the prefix at the most, and 32 bits.
    fn integer(&mut self, bits: u32) -> Result<usize, DecodeError> {
        let most = (1_u128 << bits) - 1;
        let mut value = u128::from(self.byte()?) & most;
        if value == most {
            for at in 0.. {
                if at == 5 {
                    return Err(DecodeError::Integer);
                }
                let byte = self.byte()?;
                value += u128::from(byte & 127) << (7 * at);
                if byte & 128 == 0 {
                    break;
                }
            }
        }
        if value > u128::from(u32::MAX) { Err(DecodeError::Integer) } else { Ok(value as usize) }
    }

    fn string(&mut self) -> Result<Vec<u8>, DecodeError> {
        let is_huffman = self.0.first().ok_or(DecodeError::Truncated)? & 0x80 != 0;
        let length = self.integer(7)?;
        if length > self.0.len() {
            return Err(DecodeError::Truncated);
        }
        let (string, rest) = self.0.split_at(length);
        self.0 = rest;
        if is_huffman { huffman(string) } else { Ok(string.to_vec()) }
    }
}

/// RFC 7541 section 5.2, a bit at a time.
fn huffman(encoded: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let tree = tree();
    let mut out = Vec::new();
    let (mut node, mut depth, mut all_ones) = (0, 0, true);
    for bit in encoded.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)) {
        (depth, all_ones) = (depth + 1, all_ones && bit == 1);
        node = match tree[node][usize::from(bit)] {
            Next::Node(next) => next,
            Next::Symbol(EOS) => return Err(DecodeError::Huffman),
            Next::Symbol(symbol) => {
                out.push(symbol as u8);
                (depth, all_ones) = (0, true);
                0
            }
        };
    }
    if depth < 8 && all_ones { Ok(out) } else { Err(DecodeError::Huffman) }
}

const EOS: usize = 256;

/// Where a bit leads.
#[derive(Clone, Copy)]
enum Next {
    Node(usize),
    Symbol(usize),
}

/// The code as a tree; the first node is its root.
fn tree() -> &'static [[Next; 2]] {
    static TREE: OnceLock<Vec<[Next; 2]>> = OnceLock::new();
    TREE.get_or_init(|| {
        let mut tree = vec![[Next::Node(0); 2]];
        for (symbol, (length, code)) in HUFFMAN.into_iter().enumerate() {
            let mut node = 0;
            for place in (1..length).rev() {
                let bit = (code >> place & 1) as usize;
                // The root is no one's next node: it stands for none.
                node = match tree[node][bit] {
                    Next::Node(0) => {
                        let new = tree.len();
                        tree.push([Next::Node(0); 2]);
                        tree[node][bit] = Next::Node(new);
                        new
                    }
                    Next::Node(next) => next,
                    Next::Symbol(other) => panic!("the code of {symbol} goes on from that of {other}"),
                };
            }
            tree[node][(code & 1) as usize] = Next::Symbol(symbol);
        }
        tree
    })
}

/// RFC 7541 appendix B: the length of each symbol's code, and its bits.
#[rustfmt::skip]
const HUFFMAN: [(u8, u32); 257] = [
    (13, 0x1ff8), (23, 0x7fffd8), (28, 0xfffffe2), (28, 0xfffffe3), (28, 0xfffffe4), (28, 0xfffffe5), (28, 0xfffffe6),
    (28, 0xfffffe7), (28, 0xfffffe8), (24, 0xffffea), (30, 0x3ffffffc), (28, 0xfffffe9), (28, 0xfffffea),
    (30, 0x3ffffffd), (28, 0xfffffeb), (28, 0xfffffec), (28, 0xfffffed), (28, 0xfffffee), (28, 0xfffffef),
    (28, 0xffffff0), (28, 0xffffff1), (28, 0xffffff2), (30, 0x3ffffffe), (28, 0xffffff3), (28, 0xffffff4),
    (28, 0xffffff5), (28, 0xffffff6), (28, 0xffffff7), (28, 0xffffff8), (28, 0xffffff9), (28, 0xffffffa),
    (28, 0xffffffb), (6, 0x14), (10, 0x3f8), (10, 0x3f9), (12, 0xffa), (13, 0x1ff9), (6, 0x15), (8, 0xf8), (11, 0x7fa),
    (10, 0x3fa), (10, 0x3fb), (8, 0xf9), (11, 0x7fb), (8, 0xfa), (6, 0x16), (6, 0x17), (6, 0x18), (5, 0x0), (5, 0x1),
    (5, 0x2), (6, 0x19), (6, 0x1a), (6, 0x1b), (6, 0x1c), (6, 0x1d), (6, 0x1e), (6, 0x1f), (7, 0x5c), (8, 0xfb),
    (15, 0x7ffc), (6, 0x20), (12, 0xffb), (10, 0x3fc), (13, 0x1ffa), (6, 0x21), (7, 0x5d), (7, 0x5e), (7, 0x5f),
    (7, 0x60), (7, 0x61), (7, 0x62), (7, 0x63), (7, 0x64), (7, 0x65), (7, 0x66), (7, 0x67), (7, 0x68), (7, 0x69),
    (7, 0x6a), (7, 0x6b), (7, 0x6c), (7, 0x6d), (7, 0x6e), (7, 0x6f), (7, 0x70), (7, 0x71), (7, 0x72), (8, 0xfc),
    (7, 0x73), (8, 0xfd), (13, 0x1ffb), (19, 0x7fff0), (13, 0x1ffc), (14, 0x3ffc), (6, 0x22), (15, 0x7ffd), (5, 0x3),
    (6, 0x23), (5, 0x4), (6, 0x24), (5, 0x5), (6, 0x25), (6, 0x26), (6, 0x27), (5, 0x6), (7, 0x74), (7, 0x75),
    (6, 0x28), (6, 0x29), (6, 0x2a), (5, 0x7), (6, 0x2b), (7, 0x76), (6, 0x2c), (5, 0x8), (5, 0x9), (6, 0x2d),
    (7, 0x77), (7, 0x78), (7, 0x79), (7, 0x7a), (7, 0x7b), (15, 0x7ffe), (11, 0x7fc), (14, 0x3ffd), (13, 0x1ffd),
    (28, 0xffffffc), (20, 0xfffe6), (22, 0x3fffd2), (20, 0xfffe7), (20, 0xfffe8), (22, 0x3fffd3), (22, 0x3fffd4),
    (22, 0x3fffd5), (23, 0x7fffd9), (22, 0x3fffd6), (23, 0x7fffda), (23, 0x7fffdb), (23, 0x7fffdc), (23, 0x7fffdd),
    (23, 0x7fffde), (24, 0xffffeb), (23, 0x7fffdf), (24, 0xffffec), (24, 0xffffed), (22, 0x3fffd7), (23, 0x7fffe0),
    (24, 0xffffee), (23, 0x7fffe1), (23, 0x7fffe2), (23, 0x7fffe3), (23, 0x7fffe4), (21, 0x1fffdc), (22, 0x3fffd8),
    (23, 0x7fffe5), (22, 0x3fffd9), (23, 0x7fffe6), (23, 0x7fffe7), (24, 0xffffef), (22, 0x3fffda), (21, 0x1fffdd),
    (20, 0xfffe9), (22, 0x3fffdb), (22, 0x3fffdc), (23, 0x7fffe8), (23, 0x7fffe9), (21, 0x1fffde), (23, 0x7fffea),
    (22, 0x3fffdd), (22, 0x3fffde), (24, 0xfffff0), (21, 0x1fffdf), (22, 0x3fffdf), (23, 0x7fffeb), (23, 0x7fffec),
    (21, 0x1fffe0), (21, 0x1fffe1), (22, 0x3fffe0), (21, 0x1fffe2), (23, 0x7fffed), (22, 0x3fffe1), (23, 0x7fffee),
    (23, 0x7fffef), (20, 0xfffea), (22, 0x3fffe2), (22, 0x3fffe3), (22, 0x3fffe4), (23, 0x7ffff0), (22, 0x3fffe5),
    (22, 0x3fffe6), (23, 0x7ffff1), (26, 0x3ffffe0), (26, 0x3ffffe1), (20, 0xfffeb), (19, 0x7fff1), (22, 0x3fffe7),
    (23, 0x7ffff2), (22, 0x3fffe8), (25, 0x1ffffec), (26, 0x3ffffe2), (26, 0x3ffffe3), (26, 0x3ffffe4),
    (27, 0x7ffffde), (27, 0x7ffffdf), (26, 0x3ffffe5), (24, 0xfffff1), (25, 0x1ffffed), (19, 0x7fff2), (21, 0x1fffe3),
    (26, 0x3ffffe6), (27, 0x7ffffe0), (27, 0x7ffffe1), (26, 0x3ffffe7), (27, 0x7ffffe2), (24, 0xfffff2),
    (21, 0x1fffe4), (21, 0x1fffe5), (26, 0x3ffffe8), (26, 0x3ffffe9), (28, 0xffffffd), (27, 0x7ffffe3),
    (27, 0x7ffffe4), (27, 0x7ffffe5), (20, 0xfffec), (24, 0xfffff3), (20, 0xfffed), (21, 0x1fffe6), (22, 0x3fffe9),
    (21, 0x1fffe7), (21, 0x1fffe8), (23, 0x7ffff3), (22, 0x3fffea), (22, 0x3fffeb), (25, 0x1ffffee), (25, 0x1ffffef),
    (24, 0xfffff4), (24, 0xfffff5), (26, 0x3ffffea), (23, 0x7ffff4), (26, 0x3ffffeb), (27, 0x7ffffe6), (26, 0x3ffffec),
    (26, 0x3ffffed), (27, 0x7ffffe7), (27, 0x7ffffe8), (27, 0x7ffffe9), (27, 0x7ffffea), (27, 0x7ffffeb),
    (28, 0xffffffe), (27, 0x7ffffec), (27, 0x7ffffed), (27, 0x7ffffee), (27, 0x7ffffef), (27, 0x7fffff0),
    (26, 0x3ffffee), (30, 0x3fffffff),
];

/// RFC 7541 appendix A.
#[rustfmt::skip]
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];
