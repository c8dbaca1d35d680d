//! Any application against a model of what its response has to be: what is refused, what a client reads, how it ends.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::rc::Rc;
use std::time::Instant;

use asgi::{Headers, Message, Outcome, ResponseStart, SendError};
use ferricorn_proto::http1::Connection;
use ferricorn_proto::{Closing, Content, Drain, Limits, Now};
use proptest::prelude::*;
use proptest::sample::select;
use support::client::read_responses;
use support::model::{Asked, Model, Refusal};
use support::{Action, DATE, apply_websocket, file_of, take_output};

fn asked() -> impl Strategy<Value = Asked> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(to_head, http10, te_trailers)| Asked {
        to_head,
        http10,
        te_trailers,
    })
}

fn action() -> impl Strategy<Value = Action> {
    let bytes = prop_oneof![
        3 => select(vec![&b""[..], b"a", b"hello", b"0123456789abcdef"]).prop_map(<[u8]>::to_vec),
        1 => (0_usize..40_000).prop_map(|length| vec![b'x'; length]),
    ];
    let links = select(vec![
        vec![],
        vec![b"</a>".to_vec()],
        vec![b"</a>".to_vec(), b"</b>; rel=c".to_vec()],
        vec![b"\n".to_vec()],
    ]);
    prop_oneof![
        3 => start().prop_map(Action::Start),
        6 => (bytes.clone(), any::<bool>()).prop_map(|(bytes, more)| Action::Body { bytes, more }),
        1 => (0_u64..3, 0_u64..4, any::<bool>()).prop_map(|(offset, count, more)| {
            Action::File { bytes: b"contents".to_vec(), offset, count, more }
        }),
        1 => bytes.prop_map(Action::Pathsend),
        2 => (headers(), any::<bool>()).prop_map(|(headers, more)| Action::Trailers { headers, more }),
        1 => links.prop_map(Action::EarlyHint),
        1 => websocket_action(),
        1 => Just(Action::Refuse(503)),
        1 => select(vec![Drain::Patient, Drain::Quick]).prop_map(Action::Drain),
    ]
}

/// What belongs to a WebSocket, and never may come here.
fn websocket_action() -> impl Strategy<Value = Action> {
    select(vec![
        Action::Accept { subprotocol: None, headers: Headers::new() },
        Action::Send(Message::Text(String::new())),
        Action::Close { code: 1000, reason: String::new() },
        Action::Deny(ResponseStart { status: 401, ..ResponseStart::default() }),
        Action::DenyBody { bytes: Vec::new(), more: false },
    ])
}

fn start() -> impl Strategy<Value = ResponseStart> {
    let status =
        prop_oneof![6 => select(vec![200, 404, 299]), 2 => select(vec![204, 304]), 1 => select(vec![101, 0, 1000])];
    (status, headers(), any::<bool>()).prop_map(|(status, headers, trailers)| ResponseStart {
        status,
        headers,
        trailers,
    })
}

fn headers() -> impl Strategy<Value = Headers> {
    let plain = vec![("content-type", "text/plain"), ("set-cookie", "a"), ("server", "s"), ("date", "d")];
    let framing = vec![
        ("content-length", "5"),
        ("content-length", "0"),
        ("content-length", "x"),
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
        ("connection", "keep-alive, x"),
    ];
    let field = prop_oneof![3 => select(plain), 1 => select(framing)];
    prop::collection::vec(field, 0..4).prop_map(|fields| Headers::from_iter(fields).unwrap())
}

fn apply(connection: &mut Connection<Vec<u8>>, action: &Action, now: &Now<'_>) -> Result<(), Refusal> {
    let result = apply_websocket(connection, action, now).unwrap_or_else(|| match action.clone() {
        Action::Start(start) => connection.start(&start),
        Action::Body { bytes, more } => connection.body(Content::Bytes(bytes), more, now),
        Action::File { bytes, offset, count, more } => {
            connection.body(Content::File { file: file_of(&bytes), offset, count }, more, now)
        }
        Action::Pathsend(bytes) => connection.pathsend(file_of(&bytes), bytes.len() as u64, now),
        Action::Trailers { headers, more } => connection.trailers(&headers, more, now),
        Action::EarlyHint(links) => connection.early_hint(&links),
        Action::Refuse(status) => {
            connection.refuse(status, now);
            Ok(())
        }
        Action::Drain(drain) => {
            connection.drain(drain);
            Ok(())
        }
        other => unreachable!("{other:?}"),
    });
    result.map_err(|error| match error {
        SendError::OutOfOrder { .. } => Refusal::OutOfOrder,
        SendError::Status(_) => Refusal::Status,
        SendError::ContentLength => Refusal::ContentLength,
        SendError::BodyTooLong { .. } => Refusal::TooLong,
        SendError::Header(_) => Refusal::Header,
        other => panic!("{other}"),
    })
}

fn request(asked: Asked) -> Vec<u8> {
    let method = if asked.to_head { "HEAD" } else { "GET" };
    let version = if asked.http10 { "1.0" } else { "1.1" };
    let te = if asked.te_trailers { "TE: trailers\r\n" } else { "" };
    format!("{method} / HTTP/{version}\r\nHost: x\r\n{te}Connection: keep-alive\r\n\r\n").into_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(3_000),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test is outside")]
    fn any_application_gets_the_response_it_made(
        asked in asked(),
        actions in prop::collection::vec(action(), 0..12),
        failed in any::<bool>(),
    ) {
        let instant = Instant::now();
        let now = Now { instant, date: DATE };
        let mut connection = Connection::<Vec<u8>>::new(Rc::new(Limits::default()), instant);
        let _ = connection.handle_input(&mut request(asked), &now);
        prop_assert!(connection.exchange_is_open());
        prop_assert_eq!(connection.extensions().trailers, asked.te_trailers && !asked.http10);
        let mut model = Model::new(asked);
        let mut output = Vec::new();
        for action in &actions {
            prop_assert_eq!(apply(&mut connection, action, &now), model.apply(action), "{:?}", action);
            // Nothing of a head goes out before the first part of the body.
            take_output(&mut connection, &mut output);
            connection.handle_written(&now);
            if model.is_silent() {
                prop_assert_eq!(output.windows(4).filter(|end| end == b"\r\n\r\n").count(), model.hints);
            }
        }
        let outcome = if failed { Outcome::Failed } else { Outcome::Returned };
        prop_assert_eq!(connection.finish(outcome, &now), model.finish(outcome));
        prop_assert!(!connection.exchange_is_open());
        take_output(&mut connection, &mut output);
        connection.handle_written(&now);

        let responses = read_responses(&output, &[asked.to_head]).unwrap();
        prop_assert_eq!(responses.len(), 1);
        let response = &responses[0];
        let closing = connection.closing();
        prop_assert_eq!(model.check(response, closing == Closing::Abort), Ok(()));
        prop_assert_eq!(connection.response_status(), Some(response.status));
        // What says close, closes; what does not, goes on, but where draining began behind the head.
        let drained = actions.iter().any(|action| matches!(action, Action::Drain(Drain::Quick)));
        prop_assert!(!response.closes() || closing != Closing::No);
        prop_assert!(response.closes() || drained || closing != Closing::Flush);
        for field in ["date", "server", "connection", "content-length", "transfer-encoding"] {
            let sent_twice = actions.iter().any(|action| matches!(action, Action::Start(start) if start.headers.get_all(field.as_bytes()).nth(1).is_some()));
            prop_assert!(response.count(field) <= 1 || sent_twice || field == "connection", "{}", field);
        }
    }
}
