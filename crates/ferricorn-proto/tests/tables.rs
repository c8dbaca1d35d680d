//! The tables and texts: each entry against a second list of it.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use asgi::ResponseStart;
use ferricorn_proto::{Content, Limits, RequestError, TimeoutKind};
use support::{Action, Driver};

/// IANA's registry of HTTP status codes, the final ones.
const REGISTERED: &str = "200 OK
201 Created
202 Accepted
203 Non-Authoritative Information
204 No Content
205 Reset Content
206 Partial Content
207 Multi-Status
208 Already Reported
226 IM Used
300 Multiple Choices
301 Moved Permanently
302 Found
303 See Other
304 Not Modified
305 Use Proxy
307 Temporary Redirect
308 Permanent Redirect
400 Bad Request
401 Unauthorized
402 Payment Required
403 Forbidden
404 Not Found
405 Method Not Allowed
406 Not Acceptable
407 Proxy Authentication Required
408 Request Timeout
409 Conflict
410 Gone
411 Length Required
412 Precondition Failed
413 Content Too Large
414 URI Too Long
415 Unsupported Media Type
416 Range Not Satisfiable
417 Expectation Failed
421 Misdirected Request
422 Unprocessable Content
423 Locked
424 Failed Dependency
425 Too Early
426 Upgrade Required
428 Precondition Required
429 Too Many Requests
431 Request Header Fields Too Large
451 Unavailable For Legal Reasons
500 Internal Server Error
501 Not Implemented
502 Bad Gateway
503 Service Unavailable
504 Gateway Timeout
505 HTTP Version Not Supported
506 Variant Also Negotiates
507 Insufficient Storage
508 Loop Detected
510 Not Extended
511 Network Authentication Required";

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

fn status_line(status: u16) -> String {
    let start = Action::Start(ResponseStart { status, ..ResponseStart::default() });
    let body = Action::Body { bytes: Vec::new(), more: false };
    let mut driver = Driver::new(Limits::default(), &[vec![start, body]]);
    driver.feed(REQUEST);
    assert_eq!(driver.connection.response_status(), Some(status));
    let output = String::from_utf8(driver.output).unwrap();
    output.lines().next().unwrap().to_owned()
}

#[test]
fn every_status_has_its_registered_phrase_or_none() {
    let mut registered: Vec<_> = REGISTERED.lines().map(|line| line.split_once(' ').unwrap()).collect();
    // Reserved, but everybody sends it.
    registered.push(("418", "I'm a Teapot"));
    for status in 200..1000 {
        let phrase = registered.iter().find(|(code, _)| *code == status.to_string()).map_or("", |(_, phrase)| *phrase);
        assert_eq!(status_line(status), format!("HTTP/1.1 {status} {phrase}"));
    }
}

#[test]
fn every_error_of_a_peer_has_a_status_and_one_line() {
    let all = [
        (400, RequestError::RequestLine),
        (400, RequestError::Method),
        (400, RequestError::Target),
        (414, RequestError::TargetTooLong),
        (505, RequestError::Version),
        (501, RequestError::Connect),
        (400, RequestError::LineEnd),
        (400, RequestError::BlankLines),
        (400, RequestError::FieldName),
        (400, RequestError::FieldSpace),
        (400, RequestError::FieldFolded),
        (400, RequestError::FieldValue),
        (431, RequestError::FieldsTooLarge),
        (431, RequestError::TooManyFields),
        (400, RequestError::HostMissing),
        (400, RequestError::HostRepeated),
        (400, RequestError::HostInvalid),
        (400, RequestError::ContentLength),
        (400, RequestError::LengthAndCoding),
        (400, RequestError::CodingInHttp10),
        (400, RequestError::CodingNotChunked),
        (501, RequestError::CodingUnknown),
        (417, RequestError::Expectation),
        (413, RequestError::BodyTooLarge),
        (400, RequestError::ChunkSize),
        (400, RequestError::ChunkFraming),
        (400, RequestError::ChunkExtension),
        (400, RequestError::Trailer),
        (431, RequestError::TrailersTooLarge),
        (400, RequestError::WebSocketMethod),
        (400, RequestError::WebSocketBody),
        (400, RequestError::WebSocketKey),
        (426, RequestError::WebSocketVersion),
        (400, RequestError::WebSocketSubprotocols),
        (400, RequestError::WebSocketExtensions),
        (408, RequestError::HeadTimeout),
        (408, RequestError::BodyTimeout),
    ];
    let texts: std::collections::HashSet<String> = all.iter().map(|(_, error)| error.to_string()).collect();
    assert_eq!(texts.len(), all.len(), "no two say the same");
    for (status, error) in all {
        let text = error.to_string();
        assert_eq!(error.status(), status, "{error:?}");
        assert!(!text.is_empty() && !text.contains('\n') && !text.ends_with('.'), "{text:?}");
    }
}

#[test]
fn every_timeout_has_one_line() {
    use TimeoutKind::{Close, KeepAlive, Linger, Pong, RequestBody, RequestHead, Response};
    let texts: std::collections::HashSet<String> =
        [KeepAlive, RequestHead, RequestBody, Response, Linger, Pong, Close].iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 7);
    assert!(texts.iter().all(|text| !text.is_empty() && !text.contains('\n')));
}

#[test]
fn common_methods_and_others_are_in_uppercase() {
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "PROPFIND", "M-SEARCH"] {
        for sent in [method.to_owned(), method.to_ascii_lowercase()] {
            let mut driver = Driver::new(Limits::default(), &[vec![Action::Hang]]);
            driver.feed(format!("{sent} / HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
            let [support::Seen::Request { line, .. }] = &driver.seen[..] else { panic!("{:?}", driver.seen) };
            assert_eq!(*line, format!("{method} / 1.1"));
        }
    }
}

#[test]
fn what_can_be_printed_says_what_it_is() {
    let mut driver = Driver::new(Limits::default(), &[vec![Action::Hang]]);
    driver.feed(REQUEST);
    let printed = format!("{:?}", driver.connection);
    assert!(printed.contains("exchange: Waiting") && printed.contains("fate: Open"), "{printed}");
    assert!(printed.contains("Transmit { waiting: 0, held: 0"), "{printed}");
    assert!(Content::Bytes(b"").is_empty() && !Content::Bytes(b"x").is_empty());
}

#[test]
fn extensions_are_those_of_the_request() {
    let of = |request: &str| {
        let mut driver = Driver::new(Limits::default(), &[vec![Action::Hang]]);
        driver.feed(request.as_bytes());
        let extensions = driver.connection.extensions();
        assert!(extensions.pathsend && extensions.zerocopysend && !extensions.denial_response);
        (extensions.early_hint, extensions.trailers)
    };
    assert_eq!(of("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), (true, false));
    assert_eq!(of("GET / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\n\r\n"), (true, true));
    assert_eq!(of("GET / HTTP/1.0\r\nTE: trailers\r\n\r\n"), (false, false));
}
