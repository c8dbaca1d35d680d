//! Scopes, events and errors as text and as copies.
#![allow(clippy::unwrap_used, reason = "tests may fail")]

use std::borrow::Cow;
use std::error::Error;
use std::fs::File;
use std::io;

use asgi::{
    Address, Extensions, Headers, HttpScope, HttpScopeRef, HttpVersion, InvalidHeader, ResponseStart, Scheme,
    SendError, SendEvent,
};

#[test]
fn events_are_called_what_asgi_calls_them() {
    let file = File::open(env!("CARGO_MANIFEST_PATH")).unwrap();
    let events: [(SendEvent, &str); 6] = [
        (SendEvent::ResponseStart(ResponseStart::default()), "http.response.start"),
        (SendEvent::ResponseBody { body: Vec::new(), more_body: false }, "http.response.body"),
        (SendEvent::ResponseTrailers { headers: Headers::new(), more_trailers: false }, "http.response.trailers"),
        (SendEvent::ResponsePathsend { path: "/file".into() }, "http.response.pathsend"),
        (
            SendEvent::ResponseZerocopysend { file, offset: None, count: None, more_body: false },
            "http.response.zerocopysend",
        ),
        (SendEvent::ResponseEarlyHint { links: Vec::new() }, "http.response.early_hint"),
    ];
    for (event, name) in events {
        assert_eq!(event.name(), name);
    }
}

#[test]
fn errors_say_what_was_wrong_and_what_is_allowed() {
    let errors: [(SendError, &str); 8] = [
        (SendError::Disconnected, "the client has disconnected"),
        (
            SendError::OutOfOrder { event: "http.response.body", allowed: "http.response.start" },
            "'http.response.body' may not be sent now: expected http.response.start",
        ),
        (SendError::Status(101), "101 is no status of a final response: expected 200 to 999"),
        (InvalidHeader::Name(b"a b".to_vec()).into(), "the header name \"a b\" is not a token"),
        (InvalidHeader::Value(b"x".to_vec()).into(), "the value of header \"x\" has CR, LF or NUL in it"),
        (SendError::ContentLength, "the content-length is not one decimal number"),
        (SendError::BodyTooLong { promised: 7 }, "the response body is longer than its content-length of 7 bytes"),
        (SendError::File(io::Error::other("worn out")), "the file to send cannot be read: worn out"),
    ];
    for (error, text) in errors {
        assert_eq!(error.to_string(), text);
        let is_caused = matches!(error, SendError::Header(_) | SendError::File(_));
        assert_eq!(error.source().is_some(), is_caused, "{error}");
    }
    assert_eq!(
        InvalidHeader::PseudoHeader(b":path".to_vec()).to_string(),
        "the pseudo-header \":path\" is the server's, an application may not send it"
    );
    assert_eq!(InvalidHeader::Name(b"\r\n\xff".to_vec()).to_string(), "the header name \"\\r\\n\\xff\" is not a token");
}

#[test]
fn versions_schemes_and_addresses_are_written_as_the_scope_has_them() {
    assert_eq!((HttpVersion::Http10.as_str(), HttpVersion::Http11.as_str()), ("1.0", "1.1"));
    assert_eq!((Scheme::Http.as_str(), Scheme::Https.as_str()), ("http", "https"));
    assert_eq!(Address::Ip("[::1]:80".parse().unwrap()).to_string(), "[::1]:80");
    assert_eq!(Address::Unix("/run/socket".to_owned()).to_string(), "/run/socket");
}

#[test]
fn an_owned_scope_has_all_that_the_borrowed_one_had() {
    let headers = Headers::from_iter([("a", "1"), ("b", "2"), ("a", "3")]).unwrap();
    let (client, server) = (Address::Ip("127.0.0.1:1".parse().unwrap()), Address::Unix("/s".to_owned()));
    let extensions = Extensions { trailers: true, pathsend: false, zerocopysend: true, early_hint: false };
    let scope = HttpScope::from(&HttpScopeRef {
        http_version: HttpVersion::Http10,
        method: "PUT",
        scheme: Scheme::Https,
        path: Cow::Borrowed("/r\u{e4}"),
        raw_path: b"/r%C3%A4",
        query_string: b"q=1",
        root_path: "/root",
        headers: &headers,
        headers_repeated: true,
        client: Some(&client),
        server: Some(&server),
        extensions,
    });
    assert_eq!((scope.http_version, scope.scheme, scope.extensions), (HttpVersion::Http10, Scheme::Https, extensions));
    assert_eq!((scope.method.as_str(), scope.path.as_str(), scope.root_path.as_str()), ("PUT", "/r\u{e4}", "/root"));
    assert_eq!((scope.raw_path.as_slice(), scope.query_string.as_slice()), (&b"/r%C3%A4"[..], &b"q=1"[..]));
    assert_eq!((scope.client, scope.server), (Some(client), Some(server)));
    assert_eq!(scope.headers, headers);
}

#[test]
fn hdr_09_header_lists_keep_their_order_and_say_so() {
    let headers = Headers::from_iter([("B", " 2 "), ("a", "\t1"), ("b", "")]).unwrap();
    let fields: Vec<_> = headers.iter().collect();
    assert_eq!(fields, [(&b"b"[..], &b"2"[..]), (b"a", b"1"), (b"b", b"")]);
    assert_eq!((headers.len(), headers.is_empty()), (3, false));
    assert_eq!((headers.get(b"b"), headers.get(b"c")), (Some(&b"2"[..]), None));
    assert_eq!(format!("{headers:?}"), r#"{"b": "2", "a": "1", "b": ""}"#);
}

#[test]
fn a_header_list_that_was_cleared_is_as_new() {
    let mut headers = Headers::from_iter([("date", "x")]).unwrap();
    headers.clear();
    assert_eq!(headers, Headers::new());
    assert!(!headers.has(asgi::KnownField::Date));
    headers.push(b"Upgrade", b"h2c").unwrap();
    assert_eq!(headers.as_block(), b"upgrade: h2c\r\n");
}
