//! Version 2: binary (proxy-protocol.txt section 2.2).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use asgi::Address;

use super::{Found, Header, ProxyError, check_start};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The bytes ahead of the addresses: the signature, version and command, family and transport, the length of the rest.
const HEAD: usize = 16;

/// The bytes of a unix socket's path.
const PATH: usize = 108;

#[derive(Clone, Copy)]
enum Family {
    /// None, or one that does not matter.
    Unspecified,
    Inet,
    Inet6,
    Unix,
}

impl Family {
    /// The bytes of its two addresses, ports included.
    const fn size(self) -> usize {
        match self {
            Self::Unspecified => 0,
            Self::Inet => 12,
            Self::Inet6 => 36,
            Self::Unix => 2 * PATH,
        }
    }
}

pub(super) fn read(input: &[u8]) -> Result<Option<Found>, ProxyError> {
    check_start(input, SIGNATURE)?;
    let Some(&command) = input.get(12) else { return Ok(None) };
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(ProxyError::Command),
    };
    let Some(&family) = input.get(13) else { return Ok(None) };
    let family = if is_local { Family::Unspecified } else { read_family(family)? };
    let Some(&[high, low]) = input.get(14..HEAD).and_then(|length| length.first_chunk()) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let Some(follows) = length.checked_sub(family.size()) else { return Err(ProxyError::Length) };
    let taken = HEAD + family.size();
    let Some(addresses) = input.get(HEAD..taken) else { return Ok(None) };
    let header = match family {
        Family::Unspecified if is_local => Header::Local,
        Family::Unspecified => Header::Unknown,
        Family::Inet => proxied(addresses, |bytes: [u8; 4]| Ipv4Addr::from(bytes)),
        Family::Inet6 => proxied(addresses, |bytes: [u8; 16]| Ipv6Addr::from(bytes)),
        Family::Unix => Header::Proxied { client: None, server: path(&addresses[PATH..]) },
    };
    Ok(Some((header, taken, follows)))
}

/// Family and transport. A proxy that was spoken to by datagrams (QUIC) says so, and its addresses are what counts here.
fn read_family(byte: u8) -> Result<Family, ProxyError> {
    match (byte >> 4, byte & 15) {
        (0..=3, 0) | (0, 1 | 2) => Ok(Family::Unspecified),
        (1, 1 | 2) => Ok(Family::Inet),
        (2, 1 | 2) => Ok(Family::Inet6),
        (3, 1 | 2) => Ok(Family::Unix),
        _ => Err(ProxyError::Family),
    }
}

/// Both addresses, then both ports.
fn proxied<const N: usize, I: Into<std::net::IpAddr>>(bytes: &[u8], address: fn([u8; N]) -> I) -> Header {
    let end = |index: usize| {
        let host = *bytes.get(index * N..)?.first_chunk::<N>()?;
        let port = *bytes.get(2 * (N + index)..)?.first_chunk::<2>()?;
        Some(Address::Ip(SocketAddr::new(address(host).into(), u16::from_be_bytes(port))))
    };
    Header::Proxied { client: end(0), server: end(1) }
}

/// A path up to its first NUL; an abstract one begins with that and is none here.
fn path(bytes: &[u8]) -> Option<Address> {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    (end > 0).then(|| Address::Unix(String::from_utf8_lossy(&bytes[..end]).into_owned()))
}
