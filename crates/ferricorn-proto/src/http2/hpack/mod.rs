//! RFC 7541: header compression. This file and those below it know fields and bytes, and nothing of HTTP/2: no frame, no
//! stream, no rule of what a field may say.
//!
//! - [`Decoder`]: the peer's blocks. `decode(block, limit, sink)` hands each [`Field`] to the sink, borrowed from the table
//!   or from a buffer of the decoder's. It decodes to the end also where the list is larger than `limit` or the sink wants no
//!   more: the table has to stay in step with the peer's. An error is a connection error (COMPRESSION_ERROR).
//! - [`Encoder`]: our blocks. `encode_response(status, headers, own, out)` for the head of a response, where the same lists
//!   come again and again: those of the last ones are remembered with their bytes. `encode(fields, out)` for any other list.
//!   A block is to be written in the order of encoding, whole or never: a block that was encoded has changed the table.
//! - A token stands for one (name, value) pair on its connection: the static table's 1 to 61, then each entry of the dynamic
//!   table one from 64 on, in order of insertion. 0: none.
//!
//! Whether a block means what it meant before: where [`Decoder::changes`] is now what it was *before* that block was
//! decoded. A block that changes the table itself never does.
//!
//! `integer`: the two primitives of section 5. `huffman`: appendix B. `table`: appendix A and section 2.3.

mod decoder;
mod encoder;
mod huffman;
mod integer;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;

pub use decoder::{Decoded, Decoder, Field};
pub use encoder::Encoder;

/// The size of a table where nobody has said another one (RFC 9113 section 6.5.2, SETTINGS_HEADER_TABLE_SIZE).
pub const DEFAULT_TABLE_SIZE: usize = 4096;

/// What each field counts in the size of a table and of a list, besides its bytes (RFC 7541 section 4.1; RFC 9113 section
/// 6.5.2, SETTINGS_MAX_HEADER_LIST_SIZE).
pub const FIELD_OVERHEAD: usize = 32;

/// Why a block cannot be decoded. The peer's table is not known any more: the connection is over (RFC 9113 section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The block ends inside of a field.
    Truncated,
    /// An integer of more than 32 bits, or of more than five bytes behind its prefix (RFC 7541 section 5.1).
    Integer,
    /// An index that neither table has (RFC 7541 section 2.3.3).
    Index,
    /// A string with EOS in it, or with padding that is longer than seven bits or not all ones (RFC 7541 section 5.2).
    Huffman,
    /// A size update above the size that was announced, or behind a field (RFC 7541 sections 4.2 and 6.3).
    SizeUpdate,
    /// The announced size was reduced, and no size update came (RFC 7541 section 4.2).
    SizeUpdateMissing,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "a header block ends inside of a field",
            Self::Integer => "a header block has an integer that is too large",
            Self::Index => "a header block refers to a field that is in no table",
            Self::Huffman => "a header block has a string that is no Huffman code",
            Self::SizeUpdate => "a header block makes its table larger than announced, or changes its size too late",
            Self::SizeUpdateMissing => "a header block does not say that its table became smaller",
        })
    }
}

impl std::error::Error for DecodeError {}
