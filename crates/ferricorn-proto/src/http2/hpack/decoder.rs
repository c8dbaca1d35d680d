//! The peer's header blocks (RFC 7541 sections 3 and 6).

use std::ops::ControlFlow;

use super::integer::{RawString, Reader};
use super::table::{DynamicTable, STATIC, STATIC_TABLE};
use super::{DEFAULT_TABLE_SIZE, DecodeError, FIELD_OVERHEAD, huffman};

/// One field of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name, as it was sent.
    pub name: &'a [u8],
    /// Its value, as it was sent.
    pub value: &'a [u8],
    /// Stands for this name and value on this connection; 0: nothing does.
    pub token: u32,
}

/// What the sink has got of a block that was decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Every field.
    Whole,
    /// The fields ahead of the one with which the list became larger than the limit.
    TooLarge,
    /// The fields up to the one after which it wanted no more.
    Stopped,
}

/// Decodes the blocks of one connection, in their order.
pub struct Decoder {
    table: DynamicTable,
    /// What the table's size may be changed to.
    limit: usize,
    /// The limit has become smaller than the table, and the peer has not said so yet.
    update_due: bool,
    name: Vec<u8>,
    value: Vec<u8>,
}

/// How large a buffer for strings may stay: larger ones are given back after their block.
const KEPT_BUFFER: usize = 16 * 1024;

impl Decoder {
    /// `max_table`: the SETTINGS_HEADER_TABLE_SIZE that we announce.
    pub fn new(max_table: usize) -> Self {
        Self {
            table: DynamicTable::new(max_table.min(DEFAULT_TABLE_SIZE)),
            limit: max_table,
            update_due: false,
            name: Vec::new(),
            value: Vec::new(),
        }
    }

    /// Another SETTINGS_HEADER_TABLE_SIZE of ours, when the peer has acknowledged it: where it makes the table smaller, the
    /// next block has to begin with a size update (RFC 7541 section 4.2).
    pub fn set_max_table_size(&mut self, max_table: usize) {
        self.limit = max_table;
        self.update_due = self.table.capacity() > max_table;
        self.table.touch();
    }

    /// Gives back the buffers for strings; the table stays, for the peer counts on it.
    pub fn release_memory(&mut self) {
        (self.name, self.value) = (Vec::new(), Vec::new());
    }

    /// How often the table has changed. What a block means hangs on the table: it means what it meant where this is now what
    /// it was before the block was decoded.
    pub const fn changes(&self) -> u64 {
        self.table.changes()
    }

    /// Decodes a whole block: hands each field to `sink`, until it breaks or the list is larger than `limit` (bytes of names
    /// and values, and 32 for each field). The block is decoded to its end in any case.
    ///
    /// # Errors
    /// [`DecodeError`]: a connection error (COMPRESSION_ERROR). This decoder is of no use any more.
    pub fn decode(
        &mut self,
        block: &[u8],
        limit: usize,
        sink: &mut impl FnMut(Field<'_>) -> ControlFlow<()>,
    ) -> Result<Decoded, DecodeError> {
        let mut list = List { left: limit, state: Decoded::Whole, sink };
        let mut reader = Reader::new(block);
        let mut first = reader.first();
        while let Some(byte) = first.filter(|byte| byte & 0xe0 == 0x20) {
            self.size_update(reader.integer(byte, 5)?)?;
            first = reader.first();
        }
        if self.update_due {
            return Err(DecodeError::SizeUpdateMissing);
        }
        while let Some(byte) = first {
            match byte {
                0x80.. => self.indexed(reader.integer(byte, 7)?, &mut list)?,
                0x40.. => self.literal(&mut reader, byte, 6, &mut list)?,
                0x20.. => return Err(DecodeError::SizeUpdate),
                // Without indexing, or never indexed.
                _ => self.literal(&mut reader, byte, 4, &mut list)?,
            }
            first = reader.first();
        }
        for buffer in [&mut self.name, &mut self.value].into_iter().filter(|buffer| buffer.len() > KEPT_BUFFER) {
            *buffer = Vec::new();
        }
        Ok(list.state)
    }

    #[cfg(test)]
    pub(super) const fn table(&self) -> &DynamicTable {
        &self.table
    }

    fn size_update(&mut self, size: usize) -> Result<(), DecodeError> {
        if size > self.limit {
            return Err(DecodeError::SizeUpdate);
        }
        self.update_due = false;
        self.table.set_capacity(size);
        Ok(())
    }

    fn indexed<S: FnMut(Field<'_>) -> ControlFlow<()>>(
        &self,
        index: usize,
        list: &mut List<'_, S>,
    ) -> Result<(), DecodeError> {
        let index = index.checked_sub(1).ok_or(DecodeError::Index)?;
        let (name, value, token) = match STATIC_TABLE.get(index) {
            Some(&(name, value)) => (name, value, index as u32 + 1),
            None => {
                let age = index - STATIC;
                let (name, value) = self.table.get(age).ok_or(DecodeError::Index)?;
                (name, value, self.table.token(age))
            }
        };
        list.add(Field { name, value, token });
        Ok(())
    }

    /// A literal whose name's index has a prefix of 6 bits, with incremental indexing, or of 4, without.
    fn literal<S: FnMut(Field<'_>) -> ControlFlow<()>>(
        &mut self,
        reader: &mut Reader<'_>,
        first: u8,
        bits: u32,
        list: &mut List<'_, S>,
    ) -> Result<(), DecodeError> {
        let index = reader.integer(first, bits)?;
        let literal_name = if index == 0 { text(reader.string()?, &mut self.name)? } else { b"" };
        let name = match index.checked_sub(1) {
            None => literal_name,
            Some(index) => match STATIC_TABLE.get(index) {
                Some(&(name, _)) => name,
                None => self.table.get(index - STATIC).ok_or(DecodeError::Index)?.0,
            },
        };
        let value = text(reader.string()?, &mut self.value)?;
        let is_indexed = bits == 6;
        let token = if is_indexed { self.table.next_token(name.len(), value.len()) } else { 0 };
        list.add(Field { name, value, token });
        match index.checked_sub(1) {
            _ if !is_indexed => {}
            Some(index) if index >= STATIC => self.table.insert_with_name_of(index - STATIC, value),
            Some(index) => self.table.insert(STATIC_TABLE[index].0, value),
            None => self.table.insert(literal_name, value),
        }
        Ok(())
    }
}

/// The bytes of a string, in the block or decoded into the buffer.
fn text<'a>(string: RawString<'a>, buffer: &'a mut Vec<u8>) -> Result<&'a [u8], DecodeError> {
    if !string.huffman {
        return Ok(string.bytes);
    }
    let length = huffman::decode(string.bytes, buffer)?;
    Ok(&buffer[..length])
}

/// The list as it goes to the sink.
struct List<'a, S> {
    /// How much larger it may become.
    left: usize,
    state: Decoded,
    sink: &'a mut S,
}

impl<S: FnMut(Field<'_>) -> ControlFlow<()>> List<'_, S> {
    fn add(&mut self, field: Field<'_>) {
        if self.state != Decoded::Whole {
            return;
        }
        let Some(left) = self.left.checked_sub(field.name.len() + field.value.len() + FIELD_OVERHEAD) else {
            self.state = Decoded::TooLarge;
            return;
        };
        self.left = left;
        if (self.sink)(field).is_break() {
            self.state = Decoded::Stopped;
        }
    }
}
