//! What proxies tell, and what clients pretend that proxies told: an input is a byte of choices and the bytes themselves.
//!
//! The laws: however the header of the PROXY protocol is cut, it says the same and takes the same bytes, and little waits
//! unread; and whatever a client writes into the header fields, it cannot change what trusted proxies put behind it.
#![no_main]

use asgi::{Address, Headers, Scheme};
use ferricorn_proto::forwarded::{Client, Fields, Trust, read};
use ferricorn_proto::proxy_protocol::{Header, ProxyError, Reader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [choice, rest @ ..] = data else { return };
    if choice & 1 == 0 {
        let cut = usize::from(*choice) % (rest.len() + 1);
        let whole = feed([rest]);
        assert_eq!(feed([&rest[..cut], &rest[cut..]]), whole);
        assert_eq!(feed(rest.chunks(1)), whole);
    } else {
        fields(choice >> 1, rest);
    }
});

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
        assert!(inbox.len() < 232);
    }
    (Ok(None), taken)
}

/// The field that a client forges, and what its proxy adds to it.
fn fields(choice: u8, forged: &[u8]) {
    let (name, added): (_, &[u8]) = match choice & 3 {
        0 => ("x-forwarded-for", b", 192.0.2.1"),
        1 => ("x-forwarded-for", b", 192.0.2.1, 10.0.0.1,10.0.0.2"),
        2 => ("forwarded", b", for=192.0.2.1;proto=https;host=a"),
        _ => ("forwarded", b",for=\"192.0.2.1\";host=\"a\";proto=https , for=10.0.0.1;by=\"\\\"\\\\,for=x\""),
    };
    let mut headers = Headers::new();
    let mut value = forged.to_vec();
    value.extend_from_slice(added);
    let other = ["x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix"];
    if headers.push(name.as_bytes(), &value).is_err()
        || headers.push(other[usize::from(choice >> 2 & 3)].as_bytes(), forged).is_err()
    {
        return;
    }
    let words = ["for", "proto", "host", "port", "prefix", "forwarded"];
    let every_field = words.iter().filter_map(|word| word.parse().ok()).fold(Fields::NONE, Fields::with);
    let trust = Trust::read(["10.0.0.0/8"]).expect("a network");
    let told = read(&headers, every_field, &trust);
    let client = Address::Ip("192.0.2.1:0".parse().expect("an address"));
    assert_eq!(told.client, Client::At(client));
    if name == "forwarded" {
        assert_eq!((told.scheme, told.host.as_deref()), (Some(Scheme::Https), Some(&b"a"[..])));
    }
    assert!(told.port != Some(0));
    assert!(told.prefix.is_empty() || told.prefix.starts_with(b"/") && !told.prefix.starts_with(b"//"));
}
