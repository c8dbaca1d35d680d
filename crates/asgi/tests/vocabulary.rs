//! Scopes, events and errors as text and as copies.
#![allow(clippy::unwrap_used, reason = "tests may fail")]

use std::borrow::Cow;
use std::error::Error;
use std::fs::File;
use std::io;

use asgi::{
    Address, Extensions, Headers, HttpVersion, InvalidHeader, Message, ResponseStart, Scheme, Scope, ScopeKind,
    ScopeRef, SendError, SendEvent, Tls,
};

#[test]
fn events_are_called_what_asgi_calls_them() {
    let file = File::open(env!("CARGO_MANIFEST_PATH")).unwrap();
    let events: [(SendEvent, &str); 11] = [
        (SendEvent::ResponseStart(ResponseStart::default()), "http.response.start"),
        (SendEvent::ResponseBody { body: Vec::new(), more_body: false }, "http.response.body"),
        (SendEvent::ResponseTrailers { headers: Headers::new(), more_trailers: false }, "http.response.trailers"),
        (SendEvent::ResponsePathsend { path: "/file".into() }, "http.response.pathsend"),
        (
            SendEvent::ResponseZerocopysend { file, offset: None, count: None, more_body: false },
            "http.response.zerocopysend",
        ),
        (SendEvent::ResponseEarlyHint { links: Vec::new() }, "http.response.early_hint"),
        (SendEvent::WebSocketAccept { subprotocol: None, headers: Headers::new() }, "websocket.accept"),
        (SendEvent::WebSocketSend(Message::Text(String::new())), "websocket.send"),
        (SendEvent::WebSocketClose { code: 1000, reason: String::new() }, "websocket.close"),
        (SendEvent::WebSocketResponseStart(ResponseStart::default()), "websocket.http.response.start"),
        (SendEvent::WebSocketResponseBody { body: Vec::new(), more_body: false }, "websocket.http.response.body"),
    ];
    for (event, name) in events {
        assert_eq!(event.name(), name);
    }
}

#[test]
fn errors_say_what_was_wrong_and_what_is_allowed() {
    let errors: [(SendError, &str); 12] = [
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
        (SendError::Subprotocol("a\"".to_owned()), "the client did not offer the subprotocol \"a\\\"\""),
        (
            SendError::HandshakeHeader("sec-websocket-accept"),
            "the header \"sec-websocket-accept\" is the server's to send when it accepts a WebSocket",
        ),
        (
            SendError::CloseCode(1005),
            "1005 may not be sent as a close code: expected 1000 to 4999, without 1005, 1006 and 1015",
        ),
        (SendError::CloseReason(124), "the reason of a close has 124 bytes in UTF-8: at most 123 fit into its frame"),
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
    let versions = [HttpVersion::Http10, HttpVersion::Http11, HttpVersion::Http2];
    assert_eq!(versions.map(HttpVersion::as_str), ["1.0", "1.1", "2"]);
    assert_eq!((Scheme::Http.as_str(), Scheme::Https.as_str()), ("http", "https"));
    assert_eq!((Scheme::Http.as_websocket_str(), Scheme::Https.as_websocket_str()), ("ws", "wss"));
    assert_eq!(Address::Ip("[::1]:80".parse().unwrap()).to_string(), "[::1]:80");
    assert_eq!(Address::Unix("/run/socket".to_owned()).to_string(), "/run/socket");
    assert_eq!(Address::Name("example.org".to_owned(), 443).to_string(), "example.org:443");
}

/// Asks of an owned scope, whichever type it has, what both types have.
macro_rules! assert_is_what_was_borrowed {
    ($scope:ident, $borrowed:ident) => {
        assert_eq!(($scope.http_version, $scope.scheme), ($borrowed.http_version, $borrowed.scheme));
        assert_eq!(
            ($scope.path, $scope.root_path.as_str()),
            ($borrowed.path.clone().into_owned(), $borrowed.root_path)
        );
        assert_eq!(($scope.raw_path, $scope.query_string), ($borrowed.raw_path.into(), $borrowed.query_string.into()));
        assert_eq!(($scope.client.as_ref(), $scope.server.as_ref()), ($borrowed.client, $borrowed.server));
        assert_eq!($scope.tls.as_deref(), $borrowed.tls);
        assert_eq!((&$scope.headers, $scope.extensions), ($borrowed.headers, $borrowed.extensions));
    };
}

#[test]
fn an_owned_scope_has_all_that_the_borrowed_one_had() {
    let headers = Headers::from_iter([("a", "1"), ("b", "2"), ("a", "3")]).unwrap();
    let (client, server) = (Address::Ip("127.0.0.1:1".parse().unwrap()), Address::Unix("/s".to_owned()));
    let subprotocols = ["chat".to_owned(), "b".to_owned()];
    let extensions = Extensions { trailers: true, zerocopysend: true, ..Extensions::default() };
    let tls = Tls { tls_version: Some(0x0304), ..Tls::default() };
    let mut borrowed = ScopeRef {
        kind: ScopeKind::Http { method: "PUT" },
        http_version: HttpVersion::Http10,
        scheme: Scheme::Https,
        path: Cow::Borrowed("/r\u{e4}"),
        raw_path: b"/r%C3%A4",
        query_string: b"q=1",
        root_path: "/root",
        headers: &headers,
        headers_repeated: true,
        client: Some(&client),
        server: Some(&server),
        ends_repeated: true,
        extensions,
        tls: Some(&tls),
    };
    let Scope::Http(scope) = Scope::from(&borrowed) else { panic!("another type") };
    assert_eq!(scope.method, "PUT");
    assert_is_what_was_borrowed!(scope, borrowed);

    borrowed.kind = ScopeKind::WebSocket { subprotocols: &subprotocols };
    let Scope::WebSocket(scope) = Scope::from(&borrowed) else { panic!("another type") };
    assert_eq!(scope.subprotocols, subprotocols);
    assert_is_what_was_borrowed!(scope, borrowed);
}

#[test]
fn a_message_is_its_bytes_whichever_kind_it_has() {
    let (text, binary): (Message, Message) = (Message::Text("\u{e4}".to_owned()), Message::Binary(vec![0xc3, 0xa4]));
    assert_eq!(text.as_bytes(), binary.as_bytes());
    assert_ne!(text, binary);
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
