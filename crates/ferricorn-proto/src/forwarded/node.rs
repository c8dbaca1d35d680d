//! Who is meant: an address, perhaps with a port, or what stands for one (RFC 7239 section 6). This file knows no list.

use std::net::{IpAddr, SocketAddr};

use asgi::Address;

use super::{Client, Trust};

/// The bytes of a name, 255: those of a host (RFC 1035 section 2.3.4).
const NAME: usize = 255;

/// What stands for one station of the way.
pub(super) enum Node<'a> {
    Ip(SocketAddr),
    /// A host's name, or what stands for a secret address (RFC 7239 section 6.3).
    Name(&'a str, u16),
    /// `unknown` (RFC 7239 section 6.2), or what is no node.
    Unknown,
}

impl<'a> Node<'a> {
    /// Reads `address`, `address:port`, `[address]`, `[address]:port`, `name`, `name:port`; IPv6 without brackets as well.
    pub(super) fn read(text: &'a [u8]) -> Self {
        let Ok(text) = str::from_utf8(text) else { return Self::Unknown };
        if let Some(address) = address(text) {
            return Self::Ip(SocketAddr::new(address, 0));
        }
        if let Some((host, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
            let port = if rest.is_empty() { Some(0) } else { rest.strip_prefix(':').and_then(port) };
            return match (address(host), port) {
                (Some(address), Some(port)) => Self::Ip(SocketAddr::new(address, port)),
                _ => Self::Unknown,
            };
        }
        let (host, port) = match text.split_once(':') {
            Some((host, digits)) => (host, port(digits)),
            None => (text, Some(0)),
        };
        match (address(host), port) {
            (Some(address), Some(port)) => Self::Ip(SocketAddr::new(address, port)),
            (None, Some(port)) if is_name(host) => Self::Name(host, port),
            _ => Self::Unknown,
        }
    }

    /// Whether it vouches for what stands ahead of it.
    pub(super) fn is_trusted(&self, trust: &Trust) -> bool {
        match self {
            Self::Ip(address) => trust.has_address(address.ip()),
            _ => trust.is_everyone(),
        }
    }

    pub(super) fn client(&self) -> Client {
        match *self {
            Self::Ip(address) => Client::At(Address::Ip(address)),
            Self::Name(name, port) => Client::At(Address::Name(name.to_owned(), port)),
            Self::Unknown => Client::Unknown,
        }
    }
}

/// The zone of a link-local address says nothing to anybody else (RFC 4007 section 6).
fn address(text: &str) -> Option<IpAddr> {
    let text = text.split_once('%').map_or(text, |(address, _)| address);
    text.parse().ok()
}

/// One that is secret (`_x`) is none, as far as a scope can say it.
fn port(text: &str) -> Option<u16> {
    if text.starts_with('_') && is_name(text) {
        return Some(0);
    }
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// What can neither end a line of the log nor look like two words of it.
fn is_name(text: &str) -> bool {
    let is_node = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    is_node && (1..=NAME).contains(&text.len()) && !text.eq_ignore_ascii_case("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        match Node::read(text.as_bytes()) {
            Node::Ip(address) => address.to_string(),
            Node::Name(name, port) => format!("name {name}:{port}"),
            Node::Unknown => "unknown".to_owned(),
        }
    }

    #[test]
    fn nodes_are_read() {
        for (text, expected) in [
            ("192.0.2.43", "192.0.2.43:0"),
            ("192.0.2.43:47011", "192.0.2.43:47011"),
            ("192.0.2.43:_hidden", "192.0.2.43:0"),
            ("[192.0.2.43]:1", "192.0.2.43:1"),
            ("2001:db8:cafe::17", "[2001:db8:cafe::17]:0"),
            ("[2001:db8:cafe::17]", "[2001:db8:cafe::17]:0"),
            ("[2001:db8:cafe::17]:47011", "[2001:db8:cafe::17]:47011"),
            ("fe80::1%eth0", "[fe80::1]:0"),
            ("_SEVKISEK", "name _SEVKISEK:0"),
            ("_SEVKISEK:80", "name _SEVKISEK:80"),
            ("unix", "name unix:0"),
            ("localhost:8000", "name localhost:8000"),
            ("Unknown", "unknown"),
            ("unknown:80", "unknown"),
            ("", "unknown"),
            (":80", "unknown"),
            ("192.0.2.43:", "unknown"),
            ("192.0.2.43:65536", "unknown"),
            ("192.0.2.43:+1", "unknown"),
            ("192.0.2.43:80:80", "unknown"),
            ("[2001:db8::1", "unknown"),
            ("[2001:db8::1]80", "unknown"),
            ("[2001:db8::1]:", "unknown"),
            ("[name]:1", "unknown"),
            ("a b", "unknown"),
            ("\u{e4}", "unknown"),
            ("/run/socket", "unknown"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        assert!(matches!(Node::read(b"\xff"), Node::Unknown));
        assert_eq!(read(&"a".repeat(256)), "unknown");
        assert_eq!(read(&"a".repeat(255)), format!("name {}:0", "a".repeat(255)));
    }
}
