//! The records of a connection's streams, found by their numbers. This file knows nothing of what is in a record.
//!
//! Numbers only grow, two at a time (RFC 9113 section 5.1.1): taken modulo the size of the table, those of a busy
//! connection lie side by side and hardly ever collide, and looking one up costs a few instructions and no hash.

use std::ops::{Index, IndexMut};

use asgi::Gather;

use super::stream::Stream;

/// The records.
pub(super) struct Streams<B, G> {
    records: Vec<Stream<B, G>>,
    free: Vec<u32>,
    /// For each place the index of a record, plus one; 0: none. As long as a power of two, and at most half full.
    table: Vec<u32>,
    /// The last ones that are no more: those that ended otherwise, and those that we reset. What the others do does not push
    /// out what a client does not know yet.
    past: [Past; 2],
}

/// How many of each kind are remembered: frames that were on their way when a stream ended.
const PAST: usize = 128;

/// The last streams that are no more, of one kind.
#[derive(Debug)]
struct Past {
    ids: [u32; PAST],
    at: usize,
}

impl Past {
    const NONE: Self = Self { ids: [0; PAST], at: 0 };

    fn note(&mut self, id: u32) {
        self.ids[self.at] = id;
        self.at = (self.at + 1) % PAST;
    }
}

impl<B: AsRef<[u8]>, G: Gather> Streams<B, G> {
    pub(super) const fn new() -> Self {
        Self { records: Vec::new(), free: Vec::new(), table: Vec::new(), past: [Past::NONE; 2] }
    }

    /// How many records are in use.
    pub(super) fn len(&self) -> usize {
        self.records.len() - self.free.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The index of a stream's record.
    #[inline]
    pub(super) fn find(&self, id: u32) -> Option<usize> {
        let mask = self.table.len().wrapping_sub(1);
        let mut place = (id >> 1) as usize & mask;
        loop {
            let entry = *self.table.get(place)?;
            let slot = entry.checked_sub(1)? as usize;
            if self.records[slot].id == id {
                return Some(slot);
            }
            place = (place + 1) & mask;
        }
    }

    /// A record for a new stream.
    pub(super) fn insert(&mut self, id: u32) -> usize {
        if (self.len() + 1) * 2 > self.table.len() {
            self.grow();
        }
        let slot = match self.free.pop() {
            Some(slot) => slot as usize,
            None => {
                self.records.push(Stream::new());
                self.records.len() - 1
            }
        };
        self.records[slot].renew(id);
        self.place(id, slot);
        slot
    }

    fn place(&mut self, id: u32, slot: usize) {
        let mask = self.table.len() - 1;
        let mut place = (id >> 1) as usize & mask;
        while self.table[place] != 0 {
            place = (place + 1) & mask;
        }
        self.table[place] = slot as u32 + 1;
    }

    fn grow(&mut self) {
        let size = (self.table.len() * 2).max(16);
        let used: Vec<usize> = self.slots().collect();
        self.table = vec![0; size];
        for slot in used {
            self.place(self.records[slot].id, slot);
        }
    }

    /// Gives a record back. `reset`: it was we who ended it early.
    pub(super) fn remove(&mut self, slot: usize, reset: bool) {
        let id = self.records[slot].id;
        self.past[usize::from(reset)].note(id);
        let mask = self.table.len() - 1;
        let mut place = (id >> 1) as usize & mask;
        while self.table[place] != slot as u32 + 1 {
            place = (place + 1) & mask;
        }
        // What stands behind it moves up, unless it stands where it is looked for first.
        let mut next = place;
        loop {
            next = (next + 1) & mask;
            let entry = self.table[next];
            if entry == 0 {
                break;
            }
            let home = (self.records[entry as usize - 1].id >> 1) as usize & mask;
            if (next.wrapping_sub(home) & mask) >= (next.wrapping_sub(place) & mask) {
                self.table[place] = entry;
                place = next;
            }
        }
        self.table[place] = 0;
        self.records[slot].id = 0;
        // What of the body nobody has asked for.
        self.records[slot].receive.body = G::default();
        self.free.push(slot as u32);
    }

    /// We reset a stream that has no record: what was on its way for it is let go (section 5.1).
    pub(super) fn note_reset(&mut self, id: u32) {
        if self.past(id).is_none() {
            self.past[1].note(id);
        }
    }

    /// Of a stream without a record, whether we reset it; None: it ended otherwise, or long ago, or never began.
    pub(super) fn past(&self, id: u32) -> Option<bool> {
        [true, false].into_iter().find(|&reset| self.past[usize::from(reset)].ids.contains(&id))
    }

    /// The indices of all records in use.
    pub(super) fn slots(&self) -> impl Iterator<Item = usize> {
        self.records.iter().enumerate().filter(|(_, stream)| stream.id != 0).map(|(slot, _)| slot)
    }

    /// All records in use.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Stream<B, G>> {
        self.records.iter().filter(|stream| stream.id != 0)
    }

    /// Gives memory back where no record is in use.
    pub(super) fn release_memory(&mut self) {
        if self.is_empty() {
            (self.records, self.free, self.table) = Default::default();
        }
    }
}

impl<B, G> Index<usize> for Streams<B, G> {
    type Output = Stream<B, G>;

    fn index(&self, slot: usize) -> &Stream<B, G> {
        &self.records[slot]
    }
}

impl<B, G> IndexMut<usize> for Streams<B, G> {
    fn index_mut(&mut self, slot: usize) -> &mut Stream<B, G> {
        &mut self.records[slot]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Streams that come and go in any order are found, and no others.
    #[test]
    fn records_are_found_by_number() {
        let mut streams = Streams::<Vec<u8>, Vec<u8>>::new();
        let mut open = Vec::new();
        let mut random = 1_u32;
        for number in 0..2000_u32 {
            // Far apart now and then, so that they collide.
            let id = number * if number % 7 == 0 { 64 } else { 2 } + 1 + 200_000 * (number % 7).min(1);
            if streams.find(id).is_none() {
                streams.insert(id);
                open.push(id);
            }
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            while open.len() > 1 + (random >> 16) as usize % 60 {
                let id = open.swap_remove((random >> 8) as usize % open.len());
                let slot = streams.find(id).unwrap();
                streams.remove(slot, id % 3 == 0);
                assert_eq!(streams.find(id), None);
                assert_eq!(streams.past(id), Some(id % 3 == 0));
            }
            assert!(open.iter().all(|&id| streams.find(id).is_some_and(|slot| streams[slot].id == id)));
            assert_eq!(streams.len(), open.len());
        }
        assert!(streams.records.len() <= 62 && streams.table.len() <= 256);
    }
}
