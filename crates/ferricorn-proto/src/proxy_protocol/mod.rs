//! The PROXY protocol, versions 1 and 2, the receiver's side (HAProxy's proxy-protocol.txt): the header that a proxy sends
//! ahead of everything else on a connection, with the addresses of the connection that it has taken. This file knows no
//! socket: that the peer is to be believed has been decided before its bytes are handed in.

mod v1;
mod v2;

use std::fmt;

use asgi::Address;

/// Reads the header of one connection, in as many parts as it comes in.
#[derive(Debug, Default)]
pub struct Reader {
    /// Once the addresses have been read: what they are, and how many bytes of what nobody needs (TLVs) still follow.
    read: Option<(Header, usize)>,
}

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Header {
    /// The proxy speaks for itself, to see whether somebody is here: the connection's own addresses stand.
    Local,
    /// The proxy speaks for somebody whose address it does not tell: the connection's own addresses stand, but what comes
    /// is not the proxy's.
    Unknown,
    /// The connection that the proxy has taken.
    Proxied {
        /// Who made it; None: the peer of a unix socket.
        client: Option<Address>,
        /// What it was made to, where that was told.
        server: Option<Address>,
    },
}

/// What came of handing bytes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// How many bytes at the front of the input are done with; those that are not are handed in again with more behind them.
    pub consumed: usize,
    /// The header, once it is whole. None: more bytes are needed.
    pub header: Result<Option<Header>, ProxyError>,
}

/// Why a connection is refused. There is no answer: who sent this does not speak HTTP, or is no proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyError {
    /// Neither version begins so.
    Missing,
    /// The line of version 1 is none, or longer than 107 bytes.
    Line,
    /// Not version 2, or a command that it has not.
    Command,
    /// An address family or a transport that version 2 has not.
    Family,
    /// The header of version 2 is too short for its addresses.
    Length,
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "it does not begin with a PROXY protocol header",
            Self::Line => "the line of the PROXY protocol is malformed",
            Self::Command => "the PROXY protocol has no such version or command",
            Self::Family => "the PROXY protocol has no such address family",
            Self::Length => "the PROXY protocol header is too short for its addresses",
        })
    }
}

impl std::error::Error for ProxyError {}

/// A header, the bytes that it has taken, and how many of it still come that nobody needs.
type Found = (Header, usize, usize);

impl Reader {
    /// Takes what it can of `input`. Behind the header, nothing is consumed.
    pub fn handle_input(&mut self, input: &[u8]) -> Step {
        let mut taken = 0;
        if self.read.is_none() {
            match read(input) {
                Ok(Some((header, length, follows))) => {
                    taken = length;
                    self.read = Some((header, follows));
                }
                Ok(None) => return Step { consumed: 0, header: Ok(None) },
                Err(error) => return Step { consumed: 0, header: Err(error) },
            }
        }
        let skipped = self.read.as_mut().map_or(0, |(_, follows)| {
            let skipped = (*follows).min(input.len() - taken);
            *follows -= skipped;
            skipped
        });
        let header = self.read.take_if(|(_, follows)| *follows == 0).map(|(header, _)| header);
        Step { consumed: taken + skipped, header: Ok(header) }
    }
}

fn read(input: &[u8]) -> Result<Option<Found>, ProxyError> {
    match input.first() {
        None => Ok(None),
        Some(b'P') => v1::read(input),
        Some(b'\r') => v2::read(input),
        Some(_) => Err(ProxyError::Missing),
    }
}

/// Whether the input begins so, as far as it goes.
fn check_start(input: &[u8], start: &[u8]) -> Result<(), ProxyError> {
    let known = input.len().min(start.len());
    if input[..known] == start[..known] { Ok(()) } else { Err(ProxyError::Missing) }
}
