//! Laws over what proxies tell in header fields: whatever a client writes, it cannot change what proxies put behind it.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::net::{IpAddr, SocketAddr};

use asgi::{Address, Headers, Scheme};
use ferricorn_proto::forwarded::{Client, Fields, Forwarded, Trust, read};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const ALL: [Fields; 6] = [Fields::FOR, Fields::PROTO, Fields::HOST, Fields::PORT, Fields::PREFIX, Fields::FORWARDED];

/// What trusted proxies in a row have, in these tests.
const PROXIES: &str = "10.0.0.0/8";

fn every_field() -> Fields {
    ALL.into_iter().fold(Fields::NONE, Fields::with)
}

fn headers(fields: &[(&str, Vec<u8>)]) -> Headers {
    Headers::from_iter(fields.iter().map(|(name, value)| (*name, value))).unwrap()
}

fn trust(entries: &str) -> Trust {
    Trust::read(entries.split(',')).unwrap()
}

/// What may stand in a field, with more of what matters there.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        select(b"\",;=\\ :.[]0123456789abcdef_%/".to_vec()),
        any::<u8>().prop_filter("may stand in a field", |byte| *byte >= b' ' && *byte != 0x7f),
    ];
    let word = prop_oneof![
        select(vec!["for=", "proto=https", "host=\"", "\\\"", "192.0.2.7", "10.0.0.1", "unknown", ", "])
            .prop_map(|word| word.as_bytes().to_vec()),
        vec(byte, 0..12),
    ];
    vec(word, 0..6).prop_map(|words| words.concat())
}

/// Who is no proxy of these tests.
fn stranger() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
        .prop_filter("is no proxy", |address| !trust(PROXIES).has_address(*address))
}

fn at(address: IpAddr, port: u16) -> Client {
    Client::At(Address::Ip(SocketAddr::new(address, port)))
}

/// An element of RFC 7239.
fn element(client: IpAddr, port: u16, host: &str) -> Vec<u8> {
    format!("for=\"{}\";host=\"{host}\";proto=https", SocketAddr::new(client, port)).into_bytes()
}

proptest! {
    #[test]
    fn nothing_that_a_client_writes_hides_it(
        forged in text(), client in stranger(), hops in vec(any::<u8>(), 0..4), in_one_field: bool,
    ) {
        let mut list = client.to_string().into_bytes();
        for hop in hops {
            list.extend_from_slice(format!(", 10.0.0.{hop}").as_bytes());
        }
        let headers = if in_one_field {
            headers(&[("x-forwarded-for", [&forged[..], b",", &list].concat())])
        } else {
            headers(&[("x-forwarded-for", forged), ("x-forwarded-for", list)])
        };
        let told = read(&headers, Fields::FOR, &trust(PROXIES));
        prop_assert_eq!(told, Forwarded { client: at(client, 0), ..Forwarded::default() });
    }

    #[test]
    fn nor_in_the_standard_field(
        forged in text(), client in stranger(), port: u16, hops in vec(any::<u8>(), 0..4), in_one_field: bool,
        quoted in "[a-z\", ;=\\\\]{0,8}",
    ) {
        let mut list = element(client, port, "a.example");
        let escaped = quoted.replace('\\', "\\\\").replace('"', "\\\"");
        for hop in hops {
            list.extend_from_slice(format!(", for=10.0.0.{hop};by=\"{escaped}\"").as_bytes());
        }
        let headers = if in_one_field {
            headers(&[("forwarded", [&forged[..], b", ", &list].concat())])
        } else {
            headers(&[("forwarded", forged), ("forwarded", list)])
        };
        let told = read(&headers, every_field(), &trust(PROXIES));
        prop_assert_eq!(told.client, at(client, port));
        prop_assert_eq!((told.scheme, told.host.as_deref()), (Some(Scheme::Https), Some(&b"a.example"[..])));
    }

    #[test]
    fn what_counts_is_what_is_asked_for(values in vec(text(), 6), which in vec(any::<bool>(), 6), trusted in select(vec!["", "*", PROXIES])) {
        let names =
            ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix", "forwarded"];
        let lines: Vec<_> = names.into_iter().zip(values).collect();
        let headers = headers(&lines);
        let asked = ALL.into_iter().zip(&which).filter(|(_, is_asked)| **is_asked);
        let fields = asked.map(|(field, _)| field).fold(Fields::NONE, Fields::with);
        let told = read(&headers, fields, &trust(trusted));
        let standard = fields.has(Fields::FORWARDED);
        prop_assert!(standard || fields.has(Fields::FOR) || told.client == Client::Peer);
        prop_assert!(standard || fields.has(Fields::PROTO) || told.scheme.is_none());
        prop_assert!(standard || fields.has(Fields::HOST) || told.host.is_none());
        prop_assert!(fields.has(Fields::PORT) || told.port.is_none());
        prop_assert!(fields.has(Fields::PREFIX) || told.prefix.is_empty());
        // What goes into a scope, a line of the log or a header list is fit for it.
        if let Client::At(Address::Name(name, _)) = &told.client {
            prop_assert!(!name.is_empty() && name.len() <= 255);
            prop_assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)));
        }
        prop_assert!(told.host.is_none_or(|host| !host.is_empty() && !host.contains(&b' ') && !host.contains(&b'/')));
        prop_assert!(told.port != Some(0));
        prop_assert!(told.prefix.is_empty() || (told.prefix[0] == b'/' && told.prefix.get(1) != Some(&b'/')));
        prop_assert!(told.prefix.last() != Some(&b'/'));
    }

    #[test]
    fn an_address_is_read_as_it_is_written(address in stranger(), port: u16, with_port: bool) {
        let text = if with_port { SocketAddr::new(address, port).to_string() } else { address.to_string() };
        let headers = headers(&[("x-forwarded-for", text.into_bytes())]);
        let told = read(&headers, Fields::FOR, &Trust::default());
        prop_assert_eq!(told.client, at(address, if with_port { port } else { 0 }));
    }

    /// Against the bits one by one.
    #[test]
    fn a_network_has_the_addresses_that_begin_like_it(first: [u8; 4], other: [u8; 4], length in 0_usize..=32) {
        let bits = |bytes: [u8; 4]| bytes.into_iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1 == 1));
        let mask = u32::MAX.checked_shl(32 - length as u32).unwrap_or(0);
        let network = IpAddr::from((u32::from_be_bytes(first) & mask).to_be_bytes());
        let expected = bits(first).zip(bits(other)).take(length).all(|(ours, theirs)| ours == theirs);
        prop_assert_eq!(trust(&format!("{network}/{length}")).has_address(IpAddr::from(other)), expected);
    }
}
