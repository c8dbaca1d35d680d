//! A request on its way from its connection to the application: what was borrowed from the input is copied here.

use std::rc::Rc;

use asgi::{Headers, HttpVersion};

/// A request, apart from its line, which is in the [`RequestLine`].
pub(crate) struct Request {
    /// Its stream, in HTTP/2.
    pub(crate) stream: u32,
    pub(crate) version: HttpVersion,
    pub(crate) headers: Rc<Headers>,
    pub(crate) headers_repeated: bool,
    /// Whether it is the handshake of a WebSocket.
    pub(crate) websocket: bool,
}

/// The method and target of the request that is being given out, copied out of the input so that the input is free
/// while the application runs.
#[derive(Default)]
pub(crate) struct RequestLine {
    text: Vec<u8>,
    method_end: usize,
    path_end: usize,
}

impl RequestLine {
    pub(crate) fn set(&mut self, method: &str, path: &[u8], query: &[u8]) {
        self.text.clear();
        self.text.extend_from_slice(method.as_bytes());
        self.method_end = self.text.len();
        self.text.extend_from_slice(path);
        self.path_end = self.text.len();
        self.text.extend_from_slice(query);
    }

    pub(crate) fn method(&self) -> &str {
        std::str::from_utf8(&self.text[..self.method_end]).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn method_bytes(&self) -> &[u8] {
        &self.text[..self.method_end]
    }

    pub(crate) fn path(&self) -> &[u8] {
        &self.text[self.method_end..self.path_end]
    }

    pub(crate) fn query(&self) -> &[u8] {
        &self.text[self.path_end..]
    }
}

impl Clone for RequestLine {
    fn clone(&self) -> Self {
        Self { text: self.text.clone(), ..*self }
    }

    /// Keeps the memory of `self`.
    fn clone_from(&mut self, other: &Self) {
        self.text.clone_from(&other.text);
        (self.method_end, self.path_end) = (other.method_end, other.path_end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_line_is_told_part_by_part() {
        let mut line = RequestLine::default();
        line.set("DELETE", b"/a/b", b"c=d");
        line.set("GET", b"/x%20\xff", b"y");
        assert_eq!((line.method(), line.path(), line.query()), ("GET", &b"/x%20\xff"[..], &b"y"[..]));
        let mut copy = RequestLine::default();
        copy.clone_from(&line);
        line.set("PUT", b"/", b"");
        assert_eq!((copy.method(), copy.path(), copy.query()), ("GET", &b"/x%20\xff"[..], &b"y"[..]));
    }
}
