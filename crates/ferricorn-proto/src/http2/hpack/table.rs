//! RFC 7541 section 2.3: the static table, and the dynamic table as both sides keep it.

use std::collections::VecDeque;

use super::FIELD_OVERHEAD;

/// How many entries the static table has; dynamic ones are counted from here.
pub(super) const STATIC: usize = STATIC_TABLE.len();

/// The token of the first entry that the dynamic table ever had.
const FIRST_DYNAMIC_TOKEN: u64 = 64;

/// RFC 7541 appendix A; the entry of index 1 is the first.
#[rustfmt::skip]
pub(super) const STATIC_TABLE: [(&[u8], &[u8]); 61] = [
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
];

/// The dynamic table: entries that come at one end and go at the other.
///
/// The bytes of entries lie one behind the other, name and value. What has been evicted stays until it is half of all; then
/// the rest is moved to the front.
#[derive(Default)]
pub(super) struct DynamicTable {
    /// The oldest first.
    entries: VecDeque<Entry>,
    bytes: Vec<u8>,
    /// Where the first byte of `bytes` stands, counted from the first that ever was.
    base: u64,
    size: usize,
    capacity: usize,
    insertions: u64,
    changes: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    /// Counted as `base` is.
    start: u64,
    name: u32,
    value: u32,
}

impl Entry {
    const fn size(self) -> usize {
        self.name as usize + self.value as usize + FIELD_OVERHEAD
    }
}

impl DynamicTable {
    /// An empty table that may grow to this size; allocates nothing.
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, ..Self::default() }
    }

    pub(super) const fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    #[cfg(test)]
    pub(super) const fn size(&self) -> usize {
        self.size
    }

    /// How often an entry has come or gone.
    pub(super) const fn changes(&self) -> u64 {
        self.changes
    }

    /// Lets nothing count as unchanged.
    pub(super) const fn touch(&mut self) {
        self.changes += 1;
    }

    /// The entry so many places behind the newest: its name and value.
    pub(super) fn get(&self, age: usize) -> Option<(&[u8], &[u8])> {
        let entry = *self.entries.get(self.entries.len().checked_sub(age + 1)?)?;
        let start = (entry.start - self.base) as usize;
        let (name, rest) = self.bytes[start..].split_at(entry.name as usize);
        Some((name, &rest[..entry.value as usize]))
    }

    /// The token of the entry so many places behind the newest, which exists.
    pub(super) fn token(&self, age: usize) -> u32 {
        u32::try_from(FIRST_DYNAMIC_TOKEN + self.insertions - 1 - age as u64).unwrap_or(0)
    }

    /// The token that an entry of this size gets when it is inserted: none where it does not fit (RFC 7541 section 4.4).
    pub(super) fn next_token(&self, name: usize, value: usize) -> u32 {
        if name + value + FIELD_OVERHEAD > self.capacity {
            return 0;
        }
        u32::try_from(FIRST_DYNAMIC_TOKEN + self.insertions).unwrap_or(0)
    }

    /// Changes the size that the table may have (RFC 7541 section 4.3).
    pub(super) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
        self.evict(self.capacity);
    }

    /// Inserts a field; one that is larger than the table empties it (RFC 7541 section 4.4).
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8]) {
        if self.make_room(name.len(), value.len()) {
            self.bytes.extend_from_slice(name);
            self.push(name.len(), value);
        }
    }

    /// Inserts a field with the name of the entry so many places behind the newest, which exists and may be evicted by it.
    pub(super) fn insert_with_name_of(&mut self, age: usize, value: &[u8]) {
        let entry = self.entries[self.entries.len() - 1 - age];
        let name = entry.name as usize;
        if self.make_room(name, value.len()) {
            let start = (entry.start - self.base) as usize;
            self.bytes.extend_from_within(start..start + name);
            self.push(name, value);
        }
    }

    /// The name is at the end of the bytes already.
    fn push(&mut self, name: usize, value: &[u8]) {
        let start = self.base + (self.bytes.len() - name) as u64;
        self.bytes.extend_from_slice(value);
        let entry = Entry { start, name: name as u32, value: value.len() as u32 };
        self.entries.push_back(entry);
        self.size += entry.size();
        self.insertions += 1;
        self.changes += 1;
        self.evict(self.capacity);
    }

    fn evict(&mut self, capacity: usize) {
        while self.size > capacity
            && let Some(entry) = self.entries.pop_front()
        {
            self.size -= entry.size();
            self.changes += 1;
        }
        if self.entries.is_empty() && !self.bytes.is_empty() {
            self.base += self.bytes.len() as u64;
            self.bytes.clear();
        }
    }

    /// Moves what is left to the front where that is better than to grow. False: the entry does not fit, and the table is
    /// empty now.
    fn make_room(&mut self, name: usize, value: usize) -> bool {
        if name + value + FIELD_OVERHEAD > self.capacity {
            self.evict(0);
            return false;
        }
        let gone = self.entries.front().map_or(0, |first| (first.start - self.base) as usize);
        if self.bytes.len() + name + value > self.bytes.capacity() && gone > 0 && gone >= self.bytes.len() / 2 {
            self.bytes.drain(..gone);
            self.base += gone as u64;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(table: &DynamicTable) -> Vec<(Vec<u8>, Vec<u8>)> {
        (0..table.len()).map(|age| table.get(age).unwrap()).map(|(name, value)| (name.into(), value.into())).collect()
    }

    fn pair(name: &str, value: &str) -> (Vec<u8>, Vec<u8>) {
        (name.into(), value.into())
    }

    #[test]
    fn the_newest_is_first_and_the_oldest_goes() {
        let mut table = DynamicTable::new(3 * 34);
        for value in ["1", "2", "3", "4"] {
            table.insert(b"a", value.as_bytes());
        }
        assert_eq!(fields(&table), [pair("a", "4"), pair("a", "3"), pair("a", "2")]);
        assert_eq!((table.token(0), table.token(2), table.next_token(1, 1)), (67, 65, 68));
        assert_eq!(table.get(3), None);
    }

    /// RFC 7541 section 4.4: the entry whose name is referred to may go to make room for the new one.
    #[test]
    fn the_name_of_an_evicted_entry_is_kept() {
        let mut table = DynamicTable::new(40);
        table.insert(b"name", b"1234");
        table.insert_with_name_of(0, b"5678");
        assert_eq!(fields(&table), [pair("name", "5678")]);
    }

    #[test]
    fn what_is_too_large_empties_the_table() {
        let mut table = DynamicTable::new(40);
        table.insert(b"name", b"1234");
        assert_eq!(table.next_token(4, 5), 0);
        table.insert(b"name", b"12345");
        assert_eq!((table.len(), table.size, table.get(0)), (0, 0, None));
        table.insert(b"name", b"");
        // It was never in the table, so it has had no token.
        assert_eq!(table.token(0), 65);
    }

    #[test]
    fn a_smaller_capacity_evicts_and_a_larger_one_does_not() {
        let mut table = DynamicTable::new(80);
        table.insert(b"a", b"");
        table.insert(b"b", b"");
        let before = table.changes();
        table.set_capacity(33);
        assert_eq!(fields(&table), [pair("b", "")]);
        assert_eq!(table.changes(), before + 1);
        table.set_capacity(0);
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn memory_stays_bounded() {
        let mut table = DynamicTable::new(4096);
        let value = [b'v'; 100];
        for length in (0..100_000).map(|count| count % 100) {
            table.insert(b"a-name", &value[..length]);
            assert_eq!(table.get(0).unwrap(), (&b"a-name"[..], &value[..length]));
            assert!(table.size <= 4096 && table.bytes.len() <= 4 * 4096, "{} bytes", table.bytes.len());
        }
        assert!(table.bytes.capacity() <= 4 * 4096);
    }
}
