//! A WebSocket client: sends frames as they are told, reads frames one by one (RFC 6455 section 5.2), written apart from
//! the code that it checks.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use super::{Client, Response, Server};

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame of the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self { opcode: 1, payload: text.into().into_bytes() }
    }

    pub(crate) fn binary(payload: Vec<u8>) -> Self {
        Self { opcode: 2, payload }
    }

    pub(crate) fn ping(payload: &[u8]) -> Self {
        Self { opcode: 9, payload: payload.to_vec() }
    }

    pub(crate) fn pong(payload: &str) -> Self {
        Self { opcode: 10, payload: payload.into() }
    }
}

/// A client whose handshake was accepted.
pub(crate) struct Socket {
    pub(crate) client: Client,
}

/// The handshake of RFC 6455 section 1.3, with these further lines.
pub(crate) fn handshake(path: &str, lines: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{lines}\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

impl Socket {
    pub(crate) fn open(server: &Server) -> Self {
        Self::open_with(server, "/", "").0
    }

    /// With the head of the response.
    pub(crate) fn open_with(server: &Server, path: &str, lines: &str) -> (Self, Response) {
        let mut client = server.connect();
        client.send(handshake(path, lines));
        Self::opened(client)
    }

    /// Reads the response to a handshake that was sent.
    pub(crate) fn opened(mut client: Client) -> (Self, Response) {
        let head = client.head().unwrap();
        assert_eq!(
            (head.status, head.get("upgrade"), head.get("connection")),
            (101, Some("websocket"), Some("Upgrade"))
        );
        assert_eq!(head.get("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        (Self { client }, head)
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.client.send(frame(1, text));
    }

    pub(crate) fn binary(&mut self, bytes: &[u8]) {
        self.client.send(frame(2, bytes));
    }

    pub(crate) fn ping(&mut self, payload: &str) {
        self.client.send(frame(9, payload));
    }

    pub(crate) fn close(&mut self, code: u16, reason: &str) {
        self.client.send(frame(8, [&code.to_be_bytes(), reason.as_bytes()].concat()));
    }

    /// The next frame, or how the connection ended.
    pub(crate) fn frame(&mut self) -> io::Result<Frame> {
        let head = self.client.take(2)?;
        let length = match head[1] {
            126 => usize::from(u16::from_be_bytes(self.client.take(2)?.try_into().unwrap())),
            127 => u64::from_be_bytes(self.client.take(8)?.try_into().unwrap()) as usize,
            length => usize::from(length),
        };
        assert_eq!(head[0] & 0xf0, 0x80, "whole messages, nothing compressed");
        Ok(Frame { opcode: head[0] & 0x0f, payload: self.client.take(length)? })
    }

    pub(crate) fn next_text(&mut self) -> String {
        let frame = self.frame().unwrap();
        assert_eq!(frame.opcode, 1, "{frame:?}");
        String::from_utf8(frame.payload).unwrap()
    }

    pub(crate) fn next_binary(&mut self) -> Vec<u8> {
        let frame = self.frame().unwrap();
        assert_eq!(frame.opcode, 2, "{frame:?}");
        frame.payload
    }

    pub(crate) fn next_pong(&mut self) -> String {
        let frame = self.frame().unwrap();
        assert_eq!(frame.opcode, 10, "{frame:?}");
        String::from_utf8(frame.payload).unwrap()
    }

    /// The next frames, so many of both: a pong may come ahead of messages that the application has still to send.
    pub(crate) fn messages_and_pongs(&mut self, count: usize) -> (Vec<Frame>, Vec<Frame>) {
        (0..count).map(|_| self.frame().unwrap()).partition(|frame| frame.opcode != 10)
    }

    /// Code and reason of the close frame that has to come next; None: it has none.
    pub(crate) fn next_close(&mut self) -> Option<(u16, String)> {
        let frame = self.frame().unwrap();
        assert_eq!(frame.opcode, 8, "{frame:?}");
        let (code, reason) = frame.payload.split_first_chunk()?;
        Some((u16::from_be_bytes(*code), String::from_utf8(reason.to_vec()).unwrap()))
    }

    /// Answers the close frame that has to come next, and sees the connection end.
    pub(crate) fn ends_with(&mut self, code: u16, reason: &str) {
        assert_eq!(self.next_close(), Some((code, reason.to_owned())));
        self.close(code, "");
        assert_eq!(self.client.rest().unwrap(), b"");
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.client.as_raw_fd()
    }
}

/// A masked frame that is a whole message or control frame.
pub(crate) fn frame(opcode: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => frame.extend([&[0xfe], &(length as u16).to_be_bytes()[..]].concat()),
        length => frame.extend([&[0xff], &(length as u64).to_be_bytes()[..]].concat()),
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
