//! Our header blocks (RFC 7541 sections 2.2, 2.3 and 6).
//!
//! What goes into the table: a field that comes for the second time while the first is still remembered as seen. So values
//! that never come again push nothing out, and a list that comes again is all indices with its third block. A block that
//! neither changed the table nor noted a field is remembered with its bytes, and copied when the list comes again.

use std::collections::VecDeque;

use asgi::Headers;

use super::integer::push_integer;
use super::table::{DynamicTable, STATIC, STATIC_TABLE};
use super::{DEFAULT_TABLE_SIZE, FIELD_OVERHEAD, huffman};

/// Encodes the blocks of one connection, in their order.
pub struct Encoder {
    table: DynamicTable,
    /// Of each entry's name and value, the oldest first.
    hashes: VecDeque<u32>,
    /// The smallest size that the table has had since the last block, where its size was changed.
    resized: Option<usize>,
    seen: Seen,
    remembered: [Option<Box<Remembered>>; SLOTS],
}

/// How many responses are remembered: a connection's requests may be for several things at once.
const SLOTS: usize = 4;

/// The largest list that is remembered, in bytes as HTTP/1.1 writes it.
const REMEMBERED: usize = 2048;

/// An entry larger than this is not worth the ones it would push out: a quarter of the usual table.
const LARGEST_ENTRY: usize = 1024;

/// The head of a response, and its bytes.
#[derive(Default)]
struct Remembered {
    status: u16,
    headers: Vec<u8>,
    own: Headers,
    bytes: Vec<u8>,
    /// The table's count of changes when the bytes were right.
    changes: u64,
}

impl Remembered {
    fn set<'a>(&mut self, status: u16, headers: &[u8], own: impl Iterator<Item = (&'a [u8], &'a [u8])>, bytes: &[u8]) {
        self.status = status;
        self.headers.clear();
        self.headers.extend_from_slice(headers);
        self.own.clear();
        own.for_each(|(name, value)| self.own.push_checked(name, value));
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
    }
}

/// Hashes of the last fields that came and are in no table.
#[derive(Default)]
struct Seen {
    hashes: [u32; 16],
    at: usize,
    noted: u64,
}

impl Seen {
    /// Whether the field has been seen; it has from now on.
    fn note(&mut self, hash: u32) -> bool {
        if self.hashes.contains(&hash) {
            return true;
        }
        self.hashes[self.at] = hash;
        self.at = (self.at + 1) % self.hashes.len();
        self.noted += 1;
        false
    }
}

/// What may become of a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Indexing {
    /// It may go into the table.
    Incremental,
    /// Its values differ as a rule, or are of no use beyond one message: it would push out what is of use.
    Without,
    /// A secret that someone could guess by what compresses well (RFC 7541 section 7.1.3). No one may index it.
    Never,
}

impl Indexing {
    fn of(name: &[u8], value: &[u8]) -> Self {
        match name {
            b"authorization" | b"proxy-authorization" | b"set-cookie" | b"set-cookie2" => Self::Never,
            b"authentication-info" | b"proxy-authentication-info" | b"www-authenticate" | b"proxy-authenticate" => {
                Self::Never
            }
            // A short one can be guessed (as section 7.1.3 has it of cookies).
            b"cookie" if value.len() < 20 => Self::Never,
            b":path" | b"age" | b"content-length" | b"content-range" | b"etag" | b"expires" | b"if-modified-since" => {
                Self::Without
            }
            b"if-none-match" | b"last-modified" | b"location" | b"retry-after" => Self::Without,
            _ => Self::Incremental,
        }
    }
}

/// Where the static table has a field, or its name.
enum Found {
    Field(usize),
    Name(usize),
    Nothing,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// With a table of [`DEFAULT_TABLE_SIZE`], which every peer allows to begin with.
    pub fn new() -> Self {
        Self {
            table: DynamicTable::new(DEFAULT_TABLE_SIZE),
            hashes: VecDeque::new(),
            resized: None,
            seen: Seen::default(),
            remembered: Default::default(),
        }
    }

    /// The peer's SETTINGS_HEADER_TABLE_SIZE. Ours never becomes larger than [`DEFAULT_TABLE_SIZE`]; the next block tells what we make of it (RFC 7541 section 4.2).
    pub fn set_max_table_size(&mut self, size: usize) {
        let capacity = size.min(DEFAULT_TABLE_SIZE);
        if capacity == self.table.capacity() {
            return;
        }
        self.resized = Some(self.resized.map_or(capacity, |smallest| smallest.min(capacity)));
        self.table.set_capacity(capacity);
        // What is remembered does not begin with the size update.
        self.table.touch();
        self.forget_evicted();
    }

    /// Gives back the memory of what is only remembered.
    pub fn release_memory(&mut self) {
        self.remembered = Default::default();
    }

    /// Appends the block of a response's head: `:status`, the application's fields, and those of the server behind them.
    pub fn encode_response<'a>(
        &mut self,
        status: u16,
        headers: &Headers,
        own: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
        out: &mut Vec<u8>,
    ) {
        let block = headers.as_block();
        let slot = (block.len() ^ usize::from(status)) % SLOTS;
        if let Some(kept) = &self.remembered[slot]
            && kept.changes == self.table.changes()
            && kept.status == status
            && kept.headers == block
            && is_list(&kept.own, own.clone())
        {
            out.extend_from_slice(&kept.bytes);
            return;
        }
        let (start, before) = (out.len(), (self.table.changes(), self.seen.noted));
        self.push_size_updates(out);
        self.push_status(status, out);
        headers.iter().for_each(|(name, value)| self.push_field(name, value, out));
        own.clone().for_each(|(name, value)| self.push_field(name, value, out));
        if before == (self.table.changes(), self.seen.noted) && block.len() <= REMEMBERED {
            let kept = self.remembered[slot].get_or_insert_default();
            kept.set(status, block, own, &out[start..]);
            kept.changes = self.table.changes();
        }
    }

    /// Appends the block of any list of fields, pseudo-header fields first; names are in lowercase.
    pub fn encode<'a>(&mut self, fields: impl Iterator<Item = (&'a [u8], &'a [u8])>, out: &mut Vec<u8>) {
        self.push_size_updates(out);
        fields.for_each(|(name, value)| self.push_field(name, value, out));
    }

    /// Ahead of the first field: the smallest size that the table had, and the size that it has.
    fn push_size_updates(&mut self, out: &mut Vec<u8>) {
        if let Some(smallest) = self.resized.take() {
            if smallest < self.table.capacity() {
                push_integer(out, 0x20, 5, smallest);
            }
            push_integer(out, 0x20, 5, self.table.capacity());
        }
    }

    fn push_status(&mut self, status: u16, out: &mut Vec<u8>) {
        let index = match status {
            200 => 8,
            204 => 9,
            206 => 10,
            304 => 11,
            400 => 12,
            404 => 13,
            500 => 14,
            _ => {
                let digits = [status / 100 % 10, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8);
                return self.push_field(b":status", &digits, out);
            }
        };
        out.push(0x80 | index);
    }

    fn push_field(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        let hash = hash(name, value);
        // Most of what a server sends is here.
        if let Some(index) = self.find(name, value, hash) {
            return push_integer(out, 0x80, 7, index);
        }
        let indexing = Indexing::of(name, value);
        let name_index = match find_static(name, value) {
            Found::Field(index) if indexing != Indexing::Never => return push_integer(out, 0x80, 7, index),
            Found::Field(index) | Found::Name(index) => index,
            Found::Nothing => self.find_name(name).unwrap_or(0),
        };
        let size = name.len() + value.len() + FIELD_OVERHEAD;
        let inserts = indexing == Indexing::Incremental
            && size <= LARGEST_ENTRY.min(self.table.capacity())
            && self.seen.note(hash);
        match indexing {
            _ if inserts => push_integer(out, 0x40, 6, name_index),
            Indexing::Never => push_integer(out, 0x10, 4, name_index),
            _ => push_integer(out, 0, 4, name_index),
        }
        if name_index == 0 {
            push_string(name, out);
        }
        push_string(value, out);
        if inserts {
            self.table.insert(name, value);
            self.hashes.push_back(hash);
            self.forget_evicted();
        }
    }

    /// The index of a field of the dynamic table.
    fn find(&self, name: &[u8], value: &[u8], hash: u32) -> Option<usize> {
        let mut entries = self.hashes.iter().rev().enumerate().filter(|&(_, &kept)| kept == hash);
        let (age, _) = entries.find(|&(age, _)| self.table.get(age) == Some((name, value)))?;
        Some(STATIC + age + 1)
    }

    /// The index of a name of the dynamic table.
    fn find_name(&self, name: &[u8]) -> Option<usize> {
        let age = (0..self.table.len()).find(|&age| self.table.get(age).is_some_and(|entry| entry.0 == name))?;
        Some(STATIC + age + 1)
    }

    fn forget_evicted(&mut self) {
        self.hashes.drain(..self.hashes.len() - self.table.len());
    }
}

fn is_list<'a>(kept: &Headers, mut fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> bool {
    let mut kept = kept.iter();
    fields.all(|(name, value)| kept.next().is_some_and(|field| field.0 == name && field.1 == value))
        && kept.next().is_none()
}

/// As a Huffman code where that is shorter.
fn push_string(string: &[u8], out: &mut Vec<u8>) {
    let length = huffman::encoded_length(string);
    if length < string.len() {
        push_integer(out, 0x80, 7, length);
        huffman::encode(string, out);
    } else {
        push_integer(out, 0, 7, string.len());
        out.extend_from_slice(string);
    }
}

fn hash(name: &[u8], value: &[u8]) -> u32 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = name.len() as u64;
    let mut mix = |word: u64| hash = (hash.rotate_left(5) ^ word).wrapping_mul(ODD);
    for part in [name, value] {
        let (words, rest) = part.as_chunks::<8>();
        words.iter().for_each(|word| mix(u64::from_le_bytes(*word)));
        mix(rest.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)));
    }
    (hash >> 32) as u32
}

/// The slots in which the names of the static table are looked up: more than twice as many as there are names.
const NAME_SLOTS: usize = 128;

/// For each slot the first entry of a name, or `NO_ENTRY`.
static NAMES: [u8; NAME_SLOTS] = {
    let mut slots = [NO_ENTRY; NAME_SLOTS];
    let mut entry = 0;
    while entry < STATIC {
        let name = STATIC_TABLE[entry].0;
        if entry == 0 || !is_same(STATIC_TABLE[entry - 1].0, name) {
            let mut slot = name_slot(name);
            while slots[slot] != NO_ENTRY {
                slot = (slot + 1) % NAME_SLOTS;
            }
            slots[slot] = entry as u8;
        }
        entry += 1;
    }
    slots
};

const NO_ENTRY: u8 = u8::MAX;

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

/// Where the search for a name starts.
const fn name_slot(name: &[u8]) -> usize {
    match name {
        [] => 0,
        [first, .., last] => (*first as usize * 5 + *last as usize * 17 + name.len() * 31) % NAME_SLOTS,
        [only] => *only as usize % NAME_SLOTS,
    }
}

fn find_static(name: &[u8], value: &[u8]) -> Found {
    let Some(first) = static_index(name) else { return Found::Nothing };
    let mut values = STATIC_TABLE[first..].iter().take_while(|entry| entry.0 == name).map(|entry| entry.1);
    match values.position(|kept| kept == value) {
        Some(at) => Found::Field(first + at + 1),
        None => Found::Name(first + 1),
    }
}

/// The first entry of the static table with this name, counted from 0.
fn static_index(name: &[u8]) -> Option<usize> {
    let mut slot = name_slot(name);
    while NAMES[slot] != NO_ENTRY {
        let entry = usize::from(NAMES[slot]);
        if STATIC_TABLE[entry].0 == name {
            return Some(entry);
        }
        slot = (slot + 1) % NAME_SLOTS;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_static_name_is_found_by_its_first_entry() {
        for (entry, (name, _)) in STATIC_TABLE.iter().enumerate() {
            let first = STATIC_TABLE.iter().position(|other| other.0 == *name);
            assert_eq!(static_index(name), first, "entry {}", entry + 1);
        }
        for name in [&b""[..], b"x", b"statuS", b"x-request-id"] {
            assert_eq!(static_index(name), None);
        }
    }
}
