//! A client: sends bytes as they are, reads responses by their framing (RFC 9112 section 6.3), written apart from the
//! code that it checks.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use asgi::Address;
use socket2::{Domain, SockAddr, Socket, Type};

use super::DEADLINE;

pub(crate) struct Client {
    socket: Socket,
    unread: Vec<u8>,
}

/// A whole response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in lowercase.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Client {
    pub(crate) fn connect(address: &Address) -> Self {
        Self::try_connect(address).unwrap()
    }

    pub(crate) fn try_connect(address: &Address) -> io::Result<Self> {
        let (domain, address) = match address {
            Address::Ip(address) => (Domain::for_address(*address), (*address).into()),
            Address::Unix(path) => (Domain::UNIX, SockAddr::unix(path)?),
            Address::Name(..) => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let socket = Socket::new(domain, Type::STREAM, None)?;
        // Small, so that a server that writes to one who does not read soon cannot.
        socket.set_recv_buffer_size(64 * 1024)?;
        socket.connect(&address)?;
        socket.set_read_timeout(Some(DEADLINE))?;
        socket.set_write_timeout(Some(DEADLINE))?;
        Ok(Self { socket, unread: Vec::new() })
    }

    /// Its own address.
    pub(crate) fn address(&self) -> Address {
        Address::Ip(self.socket.local_addr().unwrap().as_socket().unwrap())
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends from a thread of its own, for what does not fit into the buffers of the sockets.
    pub(crate) fn send_beside(&self, bytes: Vec<u8>) -> std::thread::JoinHandle<io::Result<()>> {
        let mut socket = self.socket.try_clone().unwrap();
        std::thread::spawn(move || socket.write_all(&bytes))
    }

    /// As much of `bytes` as the socket takes now.
    pub(crate) fn offer(&mut self, bytes: &[u8]) -> usize {
        self.socket.set_nonblocking(true).unwrap();
        let mut offered = 0;
        while let Some(rest) = bytes.get(offered..).filter(|rest| !rest.is_empty()) {
            match self.socket.write(rest) {
                Ok(written) => offered += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        self.socket.set_nonblocking(false).unwrap();
        offered
    }

    /// FIN: nothing more will be sent, everything is still read.
    pub(crate) fn half_close(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// RST.
    pub(crate) fn reset(self) {
        self.socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    pub(crate) fn response(&mut self) -> Response {
        self.try_response().unwrap()
    }

    /// The response, or how it broke off.
    pub(crate) fn try_response(&mut self) -> io::Result<Response> {
        self.try_response_to("GET")
    }

    pub(crate) fn try_response_to(&mut self, method: &str) -> io::Result<Response> {
        let mut response = self.head()?;
        let length = response.get("content-length").map(|value| value.parse::<usize>().unwrap());
        let bodiless = method == "HEAD" || matches!(response.status, 204 | 304);
        response.body = match length {
            _ if bodiless => Vec::new(),
            _ if response.get("transfer-encoding") == Some("chunked") => self.chunked()?,
            Some(length) => self.take(length)?,
            None => self.rest()?,
        };
        Ok(response)
    }

    /// The response's head alone.
    pub(crate) fn head(&mut self) -> io::Result<Response> {
        let line = self.line()?;
        let (version, rest) = line.split_once(' ').unwrap();
        assert!(matches!(version, "HTTP/1.1" | "HTTP/1.0"), "{line}");
        let status = rest.get(..3).unwrap().parse().unwrap();
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else {
                assert!(line.is_empty(), "{line}");
                return Ok(Response { status, fields, body: Vec::new() });
            };
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// The content of the next chunk; empty is the last.
    pub(crate) fn chunk(&mut self) -> io::Result<Vec<u8>> {
        let size = usize::from_str_radix(&self.line()?, 16).unwrap();
        let mut chunk = self.take(size + 2)?;
        assert!(chunk.ends_with(b"\r\n"));
        chunk.truncate(size);
        Ok(chunk)
    }

    fn chunked(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let chunk = self.chunk()?;
            if chunk.is_empty() {
                return Ok(body);
            }
            body.extend(chunk);
        }
    }

    /// All that comes before the server's end of the connection.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.fill()? {}
        Ok(std::mem::take(&mut self.unread))
    }

    fn line(&mut self) -> io::Result<String> {
        let end = loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                break end;
            }
            self.need()?;
        };
        let mut line = self.take(end + 2)?;
        line.truncate(end);
        Ok(String::from_utf8(line).unwrap())
    }

    pub(crate) fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < count {
            self.need()?;
        }
        let rest = self.unread.split_off(count);
        Ok(std::mem::replace(&mut self.unread, rest))
    }

    fn need(&mut self) -> io::Result<()> {
        if self.fill()? { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Reads once; false at the end of the connection.
    fn fill(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 64 * 1024];
        let read = self.socket.read(&mut buffer)?;
        self.unread.extend_from_slice(&buffer[..read]);
        Ok(read > 0)
    }
}

impl AsRawFd for Client {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
