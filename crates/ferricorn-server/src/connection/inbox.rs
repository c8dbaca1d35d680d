//! What has been read of a connection and not been taken. It knows no protocol.

/// Bytes that were read and not yet taken: a partial head, a body nobody has asked for, pipelined requests.
#[derive(Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    /// The protocol has looked at all of it, and waits for more.
    pub(super) seen: bool,
}

impl Inbox {
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    pub(super) fn rest(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.seen = false;
        if self.is_empty() {
            self.bytes.clear();
            self.start = 0;
        } else if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn take(&mut self, count: usize) {
        self.start += count;
        if self.is_empty() && self.bytes.capacity() > 4096 {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inbox_gives_out_what_was_put_in() {
        let mut inbox = Inbox::default();
        inbox.put(b"abc");
        inbox.take(1);
        inbox.put(b"de");
        assert_eq!(inbox.rest(), b"bcde");
        inbox.take(3);
        // The part that was taken is let go when it is the larger one.
        inbox.put(b"f");
        assert_eq!((inbox.start, inbox.rest()), (0, b"ef".to_vec().as_mut_slice()));
        inbox.take(2);
        assert!(inbox.is_empty());
        inbox.put(b"g");
        assert_eq!((inbox.bytes.len(), inbox.rest()), (1, b"g".to_vec().as_mut_slice()));
    }

    #[test]
    fn an_inbox_that_was_large_keeps_no_memory() {
        let mut inbox = Inbox::default();
        inbox.put(&[0; 100_000]);
        inbox.take(99_999);
        assert!(!inbox.is_empty());
        inbox.take(1);
        assert_eq!((inbox.is_empty(), inbox.bytes.capacity()), (true, 0));
    }

    #[test]
    fn new_bytes_are_worth_another_look() {
        let mut inbox = Inbox::default();
        inbox.put(b"GET /");
        inbox.seen = true;
        inbox.put(b" HTTP/1.1");
        assert!(!inbox.seen);
    }
}
