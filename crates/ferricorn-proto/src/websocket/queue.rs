//! Messages that came before anybody waited for one, in two buffers that are used again: a message costs no allocation.
//! This file limits nothing.

use std::collections::VecDeque;

use asgi::Message;

use super::message::{Assembly, Kind};

/// An assembled message of this length or more is kept as it is instead of being copied.
const LARGE: usize = 16 * 1024;

/// Bytes at the front of a buffer that have been taken, from which on they are worth moving the others.
const TAKEN: usize = 16 * 1024;

#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: VecDeque<Entry>,
    text: String,
    text_taken: usize,
    binary: Vec<u8>,
    binary_taken: usize,
    bytes: usize,
}

#[derive(Debug)]
enum Entry {
    Text(usize),
    Binary(usize),
    Large(Message),
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of all messages in it.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a copy.
    pub(super) fn push(&mut self, message: Message<&[u8], &str>) {
        self.bytes += message.as_bytes().len();
        self.entries.push_back(match message {
            Message::Text(text) => {
                self.text.push_str(text);
                Entry::Text(text.len())
            }
            Message::Binary(bytes) => {
                self.binary.extend_from_slice(bytes);
                Entry::Binary(bytes.len())
            }
        });
    }

    /// Adds the message that has been assembled; of a large one the memory goes along.
    pub(super) fn push_assembled(&mut self, assembly: &mut Assembly, kind: Kind) {
        let message = assembly.message(kind);
        let length = message.as_bytes().len();
        if length < LARGE {
            self.push(message);
        } else {
            self.bytes += length;
            self.entries.push_back(Entry::Large(assembly.take(kind)));
        }
    }

    /// Takes the first out.
    pub(super) fn take<R>(&mut self, take: impl FnOnce(Message<&[u8], &str>) -> R) -> Option<R> {
        let taken = match self.entries.pop_front()? {
            Entry::Text(length) => {
                let start = self.text_taken;
                self.text_taken += length;
                self.bytes -= length;
                take(Message::Text(&self.text[start..start + length]))
            }
            Entry::Binary(length) => {
                let start = self.binary_taken;
                self.binary_taken += length;
                self.bytes -= length;
                take(Message::Binary(&self.binary[start..start + length]))
            }
            Entry::Large(message) => {
                self.bytes -= message.as_bytes().len();
                match &message {
                    Message::Text(text) => take(Message::Text(text)),
                    Message::Binary(bytes) => take(Message::Binary(bytes)),
                }
            }
        };
        self.compact();
        Some(taken)
    }

    /// Forgets what has been taken, at a cost that the taken bytes have paid for.
    fn compact(&mut self) {
        if self.text_taken == self.text.len() || self.text_taken >= TAKEN && self.text_taken * 2 >= self.text.len() {
            self.text.drain(..self.text_taken);
            self.text_taken = 0;
        }
        if self.binary_taken == self.binary.len()
            || self.binary_taken >= TAKEN && self.binary_taken * 2 >= self.binary.len()
        {
            self.binary.drain(..self.binary_taken);
            self.binary_taken = 0;
        }
    }
}
