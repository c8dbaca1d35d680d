//! RFC 6455 section 4.2 and RFC 7692 section 7.1: what is asked for, and what is agreed to.

use asgi::{Headers, SendError};
use ferricorn_proto::RequestError;
use ferricorn_proto::websocket::{Handshake, Limits};

use crate::support::{agreed, request};

const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
const VERSION: (&str, &str) = ("sec-websocket-version", "13");

fn read(fields: &[(&str, &str)]) -> Result<Handshake, RequestError> {
    let headers = Headers::from_iter(fields.iter().copied()).unwrap();
    Handshake::read("GET", &headers, false, &Limits::default())
}

fn refused(fields: &[(&str, &str)]) -> RequestError {
    read(fields).expect_err("no handshake")
}

fn fields(handshake: &Handshake, subprotocol: Option<&str>) -> String {
    let mut buffer = Vec::new();
    handshake.write_fields(subprotocol, &mut buffer);
    String::from_utf8(buffer).unwrap()
}

/// Section 1.3.
#[test]
fn the_example_of_the_rfc() {
    let handshake = read(&[KEY, VERSION, ("sec-websocket-protocol", "chat, superchat")]).unwrap();
    let accept = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    assert_eq!(fields(&handshake, Some("chat")), format!("{accept}sec-websocket-protocol: chat\r\n"));
    assert_eq!(fields(&handshake, None), accept);
}

#[test]
fn ws_25_what_is_no_handshake() {
    let headers = request(&[]);
    let limits = Limits::default();
    for (method, has_body, error) in
        [("POST", false, RequestError::WebSocketMethod), ("GET", true, RequestError::WebSocketBody)]
    {
        assert_eq!(Handshake::read(method, &headers, has_body, &limits).unwrap_err(), error);
    }
    assert_eq!(refused(&[VERSION]), RequestError::WebSocketKey);
    assert_eq!(refused(&[VERSION, KEY, KEY]), RequestError::WebSocketKey);
    let keys = [
        "",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25j",
        "dGhlIHNhbXBsZSBub25jZR==",
        "dGhlIHNhbXBsZSBub25jZWZm",
        "dGhlIHNhbXBsZSBub25jZWY=",
        "dGhlIHNhbXBsZSBub25jZQ=!",
        "dGhlIHNhbXBsZSBub25jZQ== ,x",
        "dGhlIHNhbXBsZSBub25jZQ==dGhl",
    ];
    for key in keys {
        assert_eq!(refused(&[VERSION, ("sec-websocket-key", key)]), RequestError::WebSocketKey, "{key}");
    }
}

/// Section 4.4.
#[test]
fn other_versions_are_told_which_one_there_is() {
    assert_eq!(refused(&[KEY]), RequestError::WebSocketVersion);
    assert_eq!(refused(&[KEY, VERSION, VERSION]), RequestError::WebSocketVersion);
    for version in ["", "8", "0", "14", "130", "013", "13, 8", "x"] {
        let error = refused(&[KEY, ("sec-websocket-version", version)]);
        assert_eq!((error, error.status()), (RequestError::WebSocketVersion, 426), "{version}");
    }
}

#[test]
fn subprotocols_are_kept_in_order_over_all_lines() {
    let offer = |lines: &[&str]| {
        let lines = lines.iter().map(|line| ("sec-websocket-protocol", *line));
        let fields: Vec<_> = [KEY, VERSION].into_iter().chain(lines).collect();
        read(&fields).map(|handshake| handshake.subprotocols().to_vec())
    };
    assert_eq!(offer(&["chat, superchat", "v1.x~y,chat", ",, b"]).unwrap(), ["chat", "superchat", "v1.x~y", "b"]);
    assert!(offer(&[]).unwrap().is_empty() && offer(&[""]).unwrap().is_empty());
    for line in ["a b", "a;b", "\"a\"", "a, (", "\u{e9}", "a=b"] {
        assert_eq!(offer(&[line]), Err(RequestError::WebSocketSubprotocols), "{line}");
    }
}

#[test]
fn ws_05_ws_06_what_an_application_may_not_accept_with() {
    let handshake = read(&[KEY, VERSION, ("sec-websocket-protocol", "chat")]).unwrap();
    let none = Headers::new();
    assert!(handshake.check_accept(None, &none).is_ok() && handshake.check_accept(Some("chat"), &none).is_ok());
    for name in ["Chat", "", "chat, superchat", "other"] {
        let error = handshake.check_accept(Some(name), &none).unwrap_err();
        assert!(matches!(error, SendError::Subprotocol(refused) if refused == name));
    }
    for name in ["accept", "extensions", "key", "protocol", "version"] {
        let name = format!("sec-websocket-{name}");
        let headers = Headers::from_iter([("x", "y"), (&*name, "z")]).unwrap();
        let error = handshake.check_accept(None, &headers).unwrap_err();
        assert!(matches!(error, SendError::HandshakeHeader(refused) if refused == name));
    }
    let unknown = Headers::from_iter([("sec-websocket-new", "z")]).unwrap();
    assert!(matches!(handshake.check_accept(None, &unknown), Err(SendError::HandshakeHeader(_))));
    let other = Headers::from_iter([("set-cookie", "a=b"), ("sec-fetch-mode", "websocket")]).unwrap();
    assert!(handshake.check_accept(None, &other).is_ok());
}

fn agreement(offers: &[&str]) -> Result<Option<String>, RequestError> {
    let lines = offers.iter().map(|offer| ("sec-websocket-extensions", *offer));
    let fields: Vec<_> = [KEY, VERSION].into_iter().chain(lines).collect();
    Ok(agreed(&read(&fields)?))
}

/// RFC 7692 section 7.1: offers, and the answers to them.
#[test]
fn what_is_agreed_to() {
    let table = [
        ("permessage-deflate", "; server_max_window_bits=13"),
        ("permessage-deflate; client_max_window_bits", "; server_max_window_bits=13; client_max_window_bits=12"),
        ("permessage-deflate; client_max_window_bits=15", "; server_max_window_bits=13; client_max_window_bits=12"),
        ("permessage-deflate; client_max_window_bits=9", "; server_max_window_bits=13; client_max_window_bits=9"),
        ("permessage-deflate; client_max_window_bits=8", "; server_max_window_bits=13; client_max_window_bits=8"),
        ("permessage-deflate; server_max_window_bits=15", "; server_max_window_bits=13"),
        ("permessage-deflate; server_max_window_bits=10", "; server_max_window_bits=10"),
        ("permessage-deflate; server_max_window_bits=8", "; server_max_window_bits=8"),
        ("permessage-deflate; server_max_window_bits=\"1\\0\"", "; server_max_window_bits=10"),
        (
            "permessage-deflate;server_no_context_takeover ; client_no_context_takeover",
            "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=13",
        ),
        ("permessage-deflate; x, permessage-deflate; server_max_window_bits=9", "; server_max_window_bits=9"),
        ("x-webkit-deflate-frame, , permessage-deflate", "; server_max_window_bits=13"),
        ("permessage-deflate; server_max_window_bits=9, permessage-deflate", "; server_max_window_bits=9"),
    ];
    for (offer, answer) in table {
        assert_eq!(agreement(&[offer]), Ok(Some(format!("permessage-deflate{answer}"))), "{offer}");
    }
    let over_lines = agreement(&["x; y=z", "permessage-deflate; server_max_window_bits=11"]);
    assert_eq!(over_lines, Ok(Some("permessage-deflate; server_max_window_bits=11".to_owned())));
}

#[test]
fn what_is_declined() {
    let parameters = [
        "unknown",
        "server_no_context_takeover=1",
        "server_no_context_takeover; server_no_context_takeover",
        "client_no_context_takeover=true",
        "client_no_context_takeover; client_no_context_takeover",
        "server_max_window_bits",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=08",
        "server_max_window_bits=+9",
        "server_max_window_bits=10; server_max_window_bits=10",
        "client_max_window_bits=0",
        "client_max_window_bits=100",
        "client_max_window_bits; client_max_window_bits=10",
    ];
    for parameter in parameters {
        assert_eq!(agreement(&[&format!("permessage-deflate; {parameter}")]), Ok(None), "{parameter}");
    }
    for offer in ["", ",", "x-webkit-deflate-frame", "permessage-bzip2; q=\"a\"", "PERMESSAGE-DEFLATE"] {
        assert_eq!(agreement(&[offer]), Ok(None), "{offer}");
    }
    let limits = Limits { deflate: false, ..Limits::default() };
    let headers = request(&[("sec-websocket-extensions", "permessage-deflate")]);
    assert_eq!(agreed(&Handshake::read("GET", &headers, false, &limits).unwrap()), None);
}

/// RFC 6455 section 9.1.
#[test]
fn what_is_no_list_of_extensions() {
    let lines = [
        "permessage-deflate;",
        ";",
        "a b",
        "permessage-deflate; =1",
        "permessage-deflate; server_max_window_bits=",
        "permessage-deflate; server_max_window_bits=\"10",
        "permessage-deflate; server_max_window_bits=\"\"",
        "permessage-deflate; server_max_window_bits=\"a b\"",
        "permessage-deflate, (",
        "x=y",
    ];
    for line in lines {
        assert_eq!(agreement(&[line]), Err(RequestError::WebSocketExtensions), "{line}");
        assert_eq!(agreement(&["permessage-deflate", line]), Err(RequestError::WebSocketExtensions), "{line}");
    }
}
