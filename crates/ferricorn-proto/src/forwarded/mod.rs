//! What proxies tell of a request's way in its header fields: `X-Forwarded-*` and RFC 7239 `Forwarded`. This file knows no
//! connection: that its peer is to be believed has been decided before it is asked.
//!
//! Each proxy puts what it knows behind what it was sent, so a list is read from its end. The address at the end was put
//! there by the peer; an address that is trusted vouches for the one ahead of it; the first that is not trusted is the
//! client, and what stands ahead of it was written by the client, who may write what it likes. Where all are trusted, the
//! first of the list is the client.

mod element;
mod node;
mod trust;

use std::borrow::Cow;
use std::str::FromStr;

use asgi::{Address, Headers, Scheme};

use crate::semantics;
use element::Element;
use node::Node;

pub use trust::{InvalidTrust, Trust};

/// Which fields count: a set of those below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields(u8);

impl Fields {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// `X-Forwarded-For`: the client.
    pub const FOR: Self = Self(1);
    /// `X-Forwarded-Proto`: the scheme.
    pub const PROTO: Self = Self(1 << 1);
    /// `X-Forwarded-Host`: the host that the client asked for.
    pub const HOST: Self = Self(1 << 2);
    /// `X-Forwarded-Port`: the port that the client asked at.
    pub const PORT: Self = Self(1 << 3);
    /// `X-Forwarded-Prefix`: what a proxy has taken off the path.
    pub const PREFIX: Self = Self(1 << 4);
    /// `Forwarded` (RFC 7239): client, scheme and host. Where it is there, the first three above do not count.
    pub const FORWARDED: Self = Self(1 << 5);

    /// Whether all of `other` are in it.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Those of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether none is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromStr for Fields {
    type Err = String;

    /// The field that a word of the option `forwarded_fields` names.
    fn from_str(word: &str) -> Result<Self, String> {
        Ok(match word {
            "for" => Self::FOR,
            "proto" => Self::PROTO,
            "host" => Self::HOST,
            "port" => Self::PORT,
            "prefix" => Self::PREFIX,
            "forwarded" => Self::FORWARDED,
            _ => return Err(format!("\"{word}\" is none of for, proto, host, port, prefix, forwarded")),
        })
    }
}

/// What was told, and may be believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarded<'h> {
    /// Who the client is.
    pub client: Client,
    /// How the client speaks to the first of the proxies.
    pub scheme: Option<Scheme>,
    /// What the client asked for: a host, perhaps with a port.
    pub host: Option<Cow<'h, [u8]>>,
    /// The port at which it asked.
    pub port: Option<u16>,
    /// What was taken off the path, as it was written: empty, or a slash and more, the last byte of it no slash.
    pub prefix: Vec<u8>,
}

/// Who sent a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Client {
    /// Nothing was told: the connection's peer.
    #[default]
    Peer,
    /// Somebody whom the proxies do not know, or whose address cannot be read.
    Unknown,
    /// This one. Its port is 0 where none was told, as in uvicorn.
    At(Address),
}

/// Reads what the fields say on a connection whose peer is trusted.
pub fn read<'h>(headers: &'h Headers, fields: Fields, trust: &Trust) -> Forwarded<'h> {
    let (mut forwarded, place) = match standard(headers, fields, trust) {
        Some(told) => told,
        None => customary(headers, fields, trust),
    };
    if fields.has(Fields::PORT) {
        forwarded.port = member(headers, b"x-forwarded-port", place).and_then(port);
    }
    if fields.has(Fields::PREFIX) {
        forwarded.prefix = prefix(headers, place).unwrap_or_default();
    }
    forwarded
}

/// What `X-Forwarded-For`, `-Proto` and `-Host` say, and the place of the client in the first, from its end.
fn customary<'h>(headers: &'h Headers, fields: Fields, trust: &Trust) -> (Forwarded<'h>, usize) {
    let mut forwarded = Forwarded::default();
    let mut place = 0;
    if fields.has(Fields::FOR) {
        let mut last = None;
        for (at, text) in members(headers, b"x-forwarded-for").enumerate() {
            place = at;
            if !last.insert(Node::read(text)).is_trusted(trust) {
                break;
            }
        }
        forwarded.client = last.map_or(Client::Peer, |node| node.client());
    }
    if fields.has(Fields::PROTO) {
        forwarded.scheme = member(headers, b"x-forwarded-proto", place).and_then(scheme);
    }
    if fields.has(Fields::HOST) {
        forwarded.host = member(headers, b"x-forwarded-host", place).filter(|host| is_host(host)).map(Cow::Borrowed);
    }
    (forwarded, place)
}

/// What `Forwarded` says, where it is there and counts, and the place of the client's element, from the end.
fn standard<'h>(headers: &'h Headers, fields: Fields, trust: &Trust) -> Option<(Forwarded<'h>, usize)> {
    if !fields.has(Fields::FORWARDED) {
        return None;
    }
    let mut told = None;
    let mut client = Client::Peer;
    for (place, text) in headers.get_all(b"forwarded").rev().flat_map(element::from_the_end).enumerate() {
        let Some(element) = Element::read(text) else {
            return Some((Forwarded { client: Client::Unknown, ..Forwarded::default() }, place));
        };
        // Who leaves `for` out says nothing of who was there before.
        let is_trusted = match element.client.as_deref().map(Node::read) {
            Some(node) => {
                client = node.client();
                node.is_trusted(trust)
            }
            None => trust.is_everyone(),
        };
        let scheme = element.proto.as_deref().and_then(scheme);
        let host = element.host.filter(|host| is_host(host));
        told = Some((Forwarded { client: client.clone(), scheme, host, ..Forwarded::default() }, place));
        if !is_trusted {
            break;
        }
    }
    told
}

/// The members of a list that may stand in several fields, from its end, without empty ones (RFC 9110 section 5.6.1).
fn members<'h>(headers: &'h Headers, name: &'static [u8]) -> impl Iterator<Item = &'h [u8]> {
    let fields = headers.get_all(name).rev();
    fields.flat_map(|value| value.rsplit(|&byte| byte == b',')).map(<[u8]>::trim_ascii).filter(|text| !text.is_empty())
}

/// What the client's own proxy put into a list: the member at this place from the end, of a shorter list the first.
fn member<'h>(headers: &'h Headers, name: &'static [u8], place: usize) -> Option<&'h [u8]> {
    members(headers, name).take(place + 1).last()
}

/// A scheme of HTTP or of a WebSocket: some proxies write this, some that. Any other is none.
fn scheme(text: &[u8]) -> Option<Scheme> {
    let is = |name: &str| text.eq_ignore_ascii_case(name.as_bytes());
    if is("https") || is("wss") {
        return Some(Scheme::Https);
    }
    (is("http") || is("ws")).then_some(Scheme::Http)
}

fn is_host(text: &[u8]) -> bool {
    !text.is_empty() && !text.starts_with(b":") && semantics::is_host(text)
}

fn port(text: &[u8]) -> Option<u16> {
    let digits = str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().filter(|port| *port != 0)
}

/// What all proxies from the client's on have taken off, together. None where one of them is no path.
fn prefix(headers: &Headers, place: usize) -> Option<Vec<u8>> {
    let parts: Vec<_> = members(headers, b"x-forwarded-prefix").take(place + 1).collect();
    let mut prefix = Vec::new();
    for part in parts.iter().rev() {
        let part = part.trim_ascii_end();
        let end = part.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
        if !part.starts_with(b"/") || !part.iter().all(|&byte| may_stand_in_prefix(byte)) {
            return None;
        }
        prefix.extend_from_slice(&part[..end]);
    }
    // What a browser takes for another host.
    (!prefix.starts_with(b"//")).then_some(prefix)
}

const fn may_stand_in_prefix(byte: u8) -> bool {
    !matches!(byte, 0..=b' ' | 0x7f | b'?' | b'#' | b'\\' | b'"' | b'<' | b'>')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> Headers {
        Headers::from_iter(fields.iter().copied()).unwrap()
    }

    fn every_field() -> Fields {
        let words = ["for", "proto", "host", "port", "prefix", "forwarded"];
        words.iter().map(|word| word.parse().unwrap()).fold(Fields::NONE, Fields::with)
    }

    fn told<'h>(headers: &'h Headers, trusted: &str) -> Forwarded<'h> {
        read(headers, every_field(), &Trust::read(trusted.split(',')).unwrap())
    }

    fn client(fields: &[(&str, &str)], trusted: &str) -> String {
        match told(&headers(fields), trusted).client {
            Client::Peer => "peer".to_owned(),
            Client::Unknown => "unknown".to_owned(),
            Client::At(address) => address.to_string(),
        }
    }

    #[test]
    fn the_last_address_that_is_not_trusted_is_the_client() {
        for (list, expected) in [
            ("192.0.2.1", "192.0.2.1:0"),
            ("192.0.2.1:4711", "192.0.2.1:4711"),
            ("203.0.113.9, 192.0.2.1", "192.0.2.1:0"),
            ("203.0.113.9, 192.0.2.1, 10.0.0.2", "192.0.2.1:0"),
            ("203.0.113.9, 192.0.2.1 ,10.0.0.2,10.255.0.1", "192.0.2.1:0"),
            ("10.0.0.3, 10.0.0.2", "10.0.0.3:0"),
            ("2001:db8::1", "[2001:db8::1]:0"),
            ("[2001:DB8::1]", "[2001:db8::1]:0"),
            ("[2001:db8::1]:65535", "[2001:db8::1]:65535"),
            ("::ffff:10.0.0.3, ::ffff:10.0.0.2", "[::ffff:10.0.0.3]:0"),
            ("192.0.2.1, ,", "192.0.2.1:0"),
            ("", "peer"),
            (" , ,", "peer"),
            ("192.0.2.1, unknown", "unknown"),
            ("192.0.2.1, _hidden", "_hidden:0"),
            ("192.0.2.1, host.example:80, 10.0.0.2", "host.example:80"),
            ("192.0.2.1, <script>", "unknown"),
            ("192.0.2.1, 192.0.2.2:70000", "unknown"),
        ] {
            assert_eq!(client(&[("x-forwarded-for", list)], "10.0.0.0/8"), expected, "{list}");
        }
    }

    #[test]
    fn several_fields_are_one_list() {
        let fields = [("x-forwarded-for", "192.0.2.1"), ("x", "y"), ("x-forwarded-for", "192.0.2.2, 10.0.0.1")];
        assert_eq!(client(&fields, "10.0.0.1"), "192.0.2.2:0");
        assert_eq!(client(&fields, "10.0.0.1,192.0.2.2"), "192.0.2.1:0");
    }

    #[test]
    fn with_everyone_trusted_the_first_is_the_client() {
        assert_eq!(client(&[("x-forwarded-for", "_a, 192.0.2.1, what?, unknown")], "*"), "_a:0");
        assert_eq!(client(&[("forwarded", "for=_a;proto=https, proto=http, for=192.0.2.1")], "*"), "_a:0");
    }

    #[test]
    fn the_standard_field_counts_alone() {
        let fields = [
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "a.example"),
            ("forwarded", "for=\"[2001:db8::1]:80\""),
        ];
        let headers = headers(&fields);
        let told = told(&headers, "10.0.0.1");
        assert_eq!(told.client, Client::At(Address::Ip("[2001:db8::1]:80".parse().unwrap())));
        assert_eq!((told.scheme, told.host), (None, None));
        let without = read(&headers, Fields::FOR, &Trust::default());
        assert_eq!(without.client, Client::At(Address::Ip("192.0.2.1:0".parse().unwrap())));
        assert_eq!((without.scheme, without.host), (None, None));
    }

    #[test]
    fn the_client_s_element_is_found_from_the_end() {
        for (value, expected) in [
            ("for=192.0.2.1", "192.0.2.1:0"),
            ("For=192.0.2.1;By=10.0.0.9 , for=10.0.0.1; proto=https", "192.0.2.1:0"),
            ("for=\"_g4zonk:_p\"", "_g4zonk:0"),
            ("for=unknown, for=10.0.0.1", "unknown"),
            ("proto=https", "peer"),
            ("by=x, for=10.0.0.1", "10.0.0.1:0"),
            // A quote that the client left open must not swallow what the proxy put behind it.
            ("for=203.0.113.9;x=\", for=192.0.2.1;host=\"a\"", "192.0.2.1:0"),
            ("for=203.0.113.9;x=\"\\\", for=192.0.2.1", "192.0.2.1:0"),
            ("for=203.0.113.9;x=\"\\, for=192.0.2.1;host=\"\\\"\\\\\"", "192.0.2.1:0"),
            ("for=203.0.113.9, for=192.0.2.1;for=192.0.2.2", "unknown"),
            ("for=203.0.113.9, what", "unknown"),
            ("for=203.0.113.9, for=\"192.0.2.1\"x", "unknown"),
            ("", "peer"),
            (",,", "peer"),
        ] {
            assert_eq!(client(&[("forwarded", value)], "10.0.0.0/8"), expected, "{value}");
        }
        let lines = [("forwarded", "for=\"192.0.2.1"), ("forwarded", "for=192.0.2.2"), ("forwarded", "for=10.0.0.1")];
        assert_eq!(client(&lines, "10.0.0.1"), "192.0.2.2:0");
    }

    #[test]
    fn lists_beside_it_are_read_at_the_client_s_place() {
        let fields = [
            ("x-forwarded-for", "203.0.113.9, 192.0.2.1, 10.0.0.2"),
            ("x-forwarded-proto", "http, https, http"),
            ("x-forwarded-host", "forged.example, a.example, b.example:80"),
            ("x-forwarded-port", "1, 443, 80"),
            ("x-forwarded-prefix", "/forged, /a/, /b"),
        ];
        let headers = headers(&fields);
        let told = told(&headers, "10.0.0.0/8");
        assert_eq!((told.scheme, told.port), (Some(Scheme::Https), Some(443)));
        assert_eq!((told.host.as_deref(), &*told.prefix), (Some(&b"a.example"[..]), &b"/a/b"[..]));
    }

    #[test]
    fn of_a_shorter_list_the_first_counts() {
        let fields = [("x-forwarded-for", "192.0.2.1, 10.0.0.2, 10.0.0.3"), ("x-forwarded-proto", "https, http")];
        assert_eq!(told(&headers(&fields), "10.0.0.0/8").scheme, Some(Scheme::Https));
    }

    #[test]
    fn schemes_are_those_of_http_and_websockets() {
        for (text, expected) in [
            ("https", Some(Scheme::Https)),
            ("HTTP", Some(Scheme::Http)),
            ("wss", Some(Scheme::Https)),
            ("ws", Some(Scheme::Http)),
            ("ftp", None),
            ("https:", None),
            ("", None),
        ] {
            assert_eq!(told(&headers(&[("x-forwarded-proto", text)]), "").scheme, expected, "{text}");
        }
    }

    #[test]
    fn hosts_and_ports_that_are_none_do_not_count() {
        for host in ["", ":80", "a b", "a/b", "a:b", "[::1", "a@b", "a\\b"] {
            assert_eq!(told(&headers(&[("x-forwarded-host", host)]), "").host, None, "{host}");
        }
        for port in ["0", "65536", "+80", "-1", "80a", "", "0x50"] {
            assert_eq!(told(&headers(&[("x-forwarded-port", port)]), "").port, None, "{port}");
        }
    }

    #[test]
    fn a_prefix_is_a_path() {
        let prefix = |text| String::from_utf8(told(&headers(&[("x-forwarded-prefix", text)]), "").prefix).unwrap();
        for (text, expected) in [("/api", "/api"), ("/a/b/", "/a/b"), ("/", ""), ("///", ""), ("/a%20b", "/a%20b")] {
            assert_eq!(prefix(text), expected, "{text}");
        }
        for text in ["api", "//evil.example", "/a?b", "/a#b", "/\\evil.example", "/a b", "https://evil.example/", ""] {
            assert_eq!(prefix(text), "", "{text}");
        }
    }

    #[test]
    fn words_are_those_of_the_option() {
        assert_eq!("x".parse::<Fields>().unwrap_err(), "\"x\" is none of for, proto, host, port, prefix, forwarded");
        assert!(every_field().has(Fields::FOR.with(Fields::FORWARDED)) && !Fields::FOR.has(Fields::PROTO));
        assert!(Fields::NONE.is_empty() && !every_field().is_empty());
    }
}
