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
    method: String,
    target: Vec<u8>,
    path_end: usize,
}

impl RequestLine {
    pub(crate) fn set(&mut self, method: &str, path: &[u8], query: &[u8]) {
        self.method.clear();
        self.method.push_str(method);
        self.target.clear();
        self.target.extend_from_slice(path);
        self.path_end = path.len();
        self.target.extend_from_slice(query);
    }

    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    pub(crate) fn len(&self) -> usize {
        self.method.len() + self.target.len()
    }

    pub(crate) fn path(&self) -> &[u8] {
        &self.target[..self.path_end]
    }

    pub(crate) fn query(&self) -> &[u8] {
        &self.target[self.path_end..]
    }
}

impl Clone for RequestLine {
    fn clone(&self) -> Self {
        Self { method: self.method.clone(), target: self.target.clone(), path_end: self.path_end }
    }

    /// Keeps the memory of `self`.
    fn clone_from(&mut self, other: &Self) {
        self.method.clone_from(&other.method);
        self.target.clone_from(&other.target);
        self.path_end = other.path_end;
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
