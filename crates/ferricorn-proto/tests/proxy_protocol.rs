//! The header of the PROXY protocol, right and wrong: whole, byte by byte, cut anywhere, with a tail behind it.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::net::{IpAddr, SocketAddr};

use asgi::Address;
use ferricorn_proto::proxy_protocol::{Header, ProxyError, Reader};
use proptest::prelude::*;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// More than this never waits unread: the addresses of unix sockets, and what stands ahead of them.
const LARGEST: usize = 16 + 216;

/// What comes of bytes that arrive in these pieces, and how many of them are taken.
fn feed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Result<Option<Header>, ProxyError>, usize) {
    let (mut reader, mut inbox, mut taken) = (Reader::default(), Vec::new(), 0);
    for piece in pieces {
        inbox.extend_from_slice(piece);
        let step = reader.handle_input(&inbox);
        inbox.drain(..step.consumed);
        taken += step.consumed;
        if step.header != Ok(None) {
            return (step.header, taken);
        }
        assert!(inbox.len() < LARGEST);
    }
    (Ok(None), taken)
}

/// What comes of the bytes, however they arrive.
fn header_of(bytes: &[u8]) -> (Result<Option<Header>, ProxyError>, usize) {
    let whole = feed([bytes]);
    assert_eq!(feed(bytes.chunks(1)), whole, "byte by byte");
    for at in 0..bytes.len() {
        assert_eq!(feed([&bytes[..at], &bytes[at..]]), whole, "cut at {at}");
    }
    whole
}

fn ip(address: &str) -> Option<Address> {
    Some(Address::Ip(address.parse().unwrap()))
}

fn proxied(client: &str, server: &str) -> Header {
    Header::Proxied { client: ip(client), server: ip(server) }
}

/// A header of version 2.
fn binary(command: u8, family: u8, addresses: &[u8], extensions: &[u8]) -> Vec<u8> {
    let length = ((addresses.len() + extensions.len()) as u16).to_be_bytes();
    [SIGNATURE, &[command, family], &length, addresses, extensions].concat()
}

fn octets(address: &IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Both ends as version 2 has them.
fn ends(client: &str, server: &str) -> Vec<u8> {
    let ends: [SocketAddr; 2] = [client.parse().unwrap(), server.parse().unwrap()];
    let hosts = ends.iter().flat_map(|end| octets(&end.ip()));
    hosts.chain(ends.iter().flat_map(|end| end.port().to_be_bytes())).collect()
}

#[test]
fn version_1() {
    for (line, expected) in [
        ("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443", proxied("192.0.2.1:56324", "198.51.100.2:443")),
        ("PROXY TCP4 255.255.255.255 0.0.0.0 65535 0", proxied("255.255.255.255:65535", "0.0.0.0:0")),
        ("PROXY TCP6 2001:db8::1 ::1 1 2", proxied("[2001:db8::1]:1", "[::1]:2")),
        (
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535",
            proxied(
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
            ),
        ),
        ("PROXY UNKNOWN", Header::Unknown),
        (
            "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535",
            Header::Unknown,
        ),
    ] {
        let line = format!("{line}\r\n");
        assert_eq!(header_of(line.as_bytes()), (Ok(Some(expected.clone())), line.len()), "{line}");
        let with_tail = format!("{line}GET / HTTP/1.1\r\n");
        assert_eq!(header_of(with_tail.as_bytes()), (Ok(Some(expected)), line.len()), "{line}");
    }
}

#[test]
fn lines_that_are_wrong() {
    for line in [
        "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\rX",
        "PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 1\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 \r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.2 56324 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 056324 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 56324 65536\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 +56324 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 00 443\r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.2 56324 443\r\n",
        "PROXY TCP4 2001:db8::1 ::1 1 2\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.2 56324 443\r\n",
        "PROXY TCP6 2001:db8::1%lo ::1 1 2\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.2 56324 443\r\n",
        "PROXY tcp4 192.0.2.1 198.51.100.2 56324 443\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY \r\n",
        "PROXY TCP4 \u{e4} 198.51.100.2 56324 443\r\n",
    ] {
        assert_eq!(header_of(line.as_bytes()).0, Err(ProxyError::Line), "{line}");
    }
    assert_eq!(header_of(&[b"PROXY UNKNOWN ", &[b'x'; 92][..], b"\r\n"].concat()).0, Err(ProxyError::Line));
    assert!(header_of(&[b"PROXY UNKNOWN ", &[b'x'; 91][..], b"\r\n"].concat()).0.is_ok());
    assert_eq!(header_of(&[b'P'; 6]).0, Err(ProxyError::Missing));
}

#[test]
fn what_begins_otherwise() {
    let tls = b"\x16\x03\x01\x02\x00";
    for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"POST / HTTP/1.1\r\n", b"PROXZ", b"\r\nGET", b"\n", b"\0", tls] {
        assert_eq!(header_of(bytes).0, Err(ProxyError::Missing), "{}", bytes.escape_ascii());
    }
    let mut signature = SIGNATURE.to_vec();
    signature[11] = b'\r';
    assert_eq!(header_of(&signature).0, Err(ProxyError::Missing));
    assert_eq!(header_of(b""), (Ok(None), 0));
}

#[test]
fn version_2() {
    let (v4, v6) = (ends("192.0.2.1:56324", "198.51.100.2:443"), ends("[2001:db8::1]:1", "[::1]:2"));
    let mut unix = vec![0; 216];
    unix[108..118].copy_from_slice(b"/run/a.soc");
    let mut full = unix.clone();
    full[108..].fill(b'x');
    let path = |path: &str| Header::Proxied { client: None, server: Some(Address::Unix(path.to_owned())) };
    for (command, family, addresses, expected) in [
        (0x21, 0x11, &v4, proxied("192.0.2.1:56324", "198.51.100.2:443")),
        (0x21, 0x12, &v4, proxied("192.0.2.1:56324", "198.51.100.2:443")),
        (0x21, 0x21, &v6, proxied("[2001:db8::1]:1", "[::1]:2")),
        (0x21, 0x31, &unix, path("/run/a.soc")),
        (0x21, 0x31, &full, path(&"x".repeat(108))),
        (0x21, 0x31, &vec![0; 216], Header::Proxied { client: None, server: None }),
        (0x21, 0x00, &vec![], Header::Unknown),
        (0x21, 0x10, &v4, Header::Unknown),
        (0x20, 0x00, &vec![], Header::Local),
        (0x20, 0x11, &v4, Header::Local),
        (0x20, 0xff, &vec![1, 2, 3], Header::Local),
    ] {
        for extensions in [&b""[..], b"\x03\0\x04\x01\x02\x03\x04", b"\xff\xff"] {
            let header = binary(command, family, addresses, extensions);
            assert_eq!(header_of(&header), (Ok(Some(expected.clone())), header.len()));
            let with_tail = [&header, &b"\r\n\r\n"[..]].concat();
            assert_eq!(header_of(&with_tail), (Ok(Some(expected.clone())), header.len()));
        }
    }
}

#[test]
fn extensions_may_be_as_long_as_the_length_can_say() {
    let header = binary(0x21, 0x11, &ends("192.0.2.1:1", "192.0.2.2:2"), &vec![b'x'; 65_535 - 12]);
    let pieces = header.chunks(1000).chain([&b"tail"[..]]);
    assert_eq!(feed(pieces), (Ok(Some(proxied("192.0.2.1:1", "192.0.2.2:2"))), header.len()));
    assert_eq!(feed([&header[..header.len() - 1]]), (Ok(None), header.len() - 1));
}

#[test]
fn binary_headers_that_are_wrong() {
    for command in [0x00, 0x10, 0x11, 0x22, 0x2f, 0x31, 0xff] {
        assert_eq!(header_of(&binary(command, 0x11, &[0; 12], b"")).0, Err(ProxyError::Command), "{command:x}");
    }
    for family in [0x13, 0x1f, 0x23, 0x33, 0x03, 0x40, 0x41, 0xf1] {
        assert_eq!(header_of(&binary(0x21, family, &[0; 216], b"")).0, Err(ProxyError::Family), "{family:x}");
    }
    for (family, size) in [(0x11, 11), (0x21, 35), (0x31, 215)] {
        assert_eq!(header_of(&binary(0x21, family, &vec![0; size], b"")).0, Err(ProxyError::Length), "{family:x}");
    }
}

/// One end, as likely of IPv4 as of IPv6.
fn end() -> impl Strategy<Value = (IpAddr, u16)> {
    (prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)], any::<u16>())
}

/// Two ends of one family.
fn both_ends() -> impl Strategy<Value = [SocketAddr; 2]> {
    let of_one_family = |ends: &[(IpAddr, u16); 2]| ends[0].0.is_ipv4() == ends[1].0.is_ipv4();
    [end(), end()].prop_filter("of one family", of_one_family).prop_map(|ends| ends.map(SocketAddr::from))
}

fn line([client, server]: &[SocketAddr; 2]) -> Vec<u8> {
    let family = if client.is_ipv4() { 4 } else { 6 };
    let (ips, ports) = ((client.ip(), server.ip()), (client.port(), server.port()));
    format!("PROXY TCP{family} {} {} {} {}\r\n", ips.0, ips.1, ports.0, ports.1).into_bytes()
}

proptest! {
    #[test]
    fn what_a_proxy_writes_is_what_is_read(
        ends_of in both_ends(), extensions in proptest::collection::vec(any::<u8>(), 0..300), tail in any::<[u8; 3]>(),
        version in 1..=2,
    ) {
        let [client, server] = ends_of.map(|end| Some(Address::Ip(end)));
        let header = if version == 1 {
            line(&ends_of)
        } else {
            let addresses = ends(&ends_of[0].to_string(), &ends_of[1].to_string());
            binary(0x21, if ends_of[0].is_ipv4() { 0x11 } else { 0x21 }, &addresses, &extensions)
        };
        let bytes = [&header[..], &tail].concat();
        prop_assert_eq!(header_of(&bytes), (Ok(Some(Header::Proxied { client, server })), header.len()));
    }

    #[test]
    fn any_bytes_are_the_same_however_they_are_cut(
        start in proptest::sample::select(vec![&b""[..], b"PROXY ", b"PROXY TCP4 ", SIGNATURE, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"]),
        rest in proptest::collection::vec(any::<u8>(), 0..260),
    ) {
        let bytes = [start, &rest].concat();
        let (header, taken) = header_of(&bytes);
        prop_assert!(taken <= bytes.len() && (header.is_ok() || taken == 0));
    }

    #[test]
    fn a_byte_that_is_changed_is_no_panic(ends_of in both_ends(), at in any::<prop::sample::Index>(), byte: u8) {
        for mut header in [line(&ends_of), binary(0x21, 0x11, &[7; 12], b"")] {
            let at = at.index(header.len());
            header[at] = byte;
            prop_assert!(header_of(&header).1 <= header.len());
        }
    }
}
