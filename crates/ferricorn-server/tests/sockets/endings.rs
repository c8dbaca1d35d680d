//! How exchanges end other than well: clients that go, applications that fail, a server that stops.

use std::io;

use asgi::{Receive, ReceiveEvent, Send, SendError};
use ferricorn_server::Limits;
use std::time::Duration;

use crate::support::{Client, Gate, Journal, Server, hello, last, part, path, start, start_with};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// What the application saw of the request, then how its `send` ended.
#[derive(Debug, PartialEq, Eq)]
enum Saw {
    Called,
    Part(Vec<u8>),
    End(Vec<u8>),
    Disconnect,
    SendFailed(String),
    Sent,
}

/// Receives until the client is gone, then sends, and notes all of it.
fn witness() -> (Server, Journal<Saw>) {
    let (note, journal) = Journal::new();
    let server = Server::start(move |_, receive: Receive, send: Send| {
        let note = note.clone();
        async move {
            note.send(Saw::Called).unwrap();
            loop {
                let saw = match receive.receive().await {
                    ReceiveEvent::Request { body, more_body: true } => Saw::Part(body),
                    ReceiveEvent::Request { body, .. } => Saw::End(body),
                    _ => Saw::Disconnect,
                };
                let gone = saw == Saw::Disconnect;
                note.send(saw).unwrap();
                if gone {
                    break;
                }
            }
            let sent = send.send(start(200)).await;
            note.send(sent.as_ref().err().map_or(Saw::Sent, |error| Saw::SendFailed(error.to_string()))).unwrap();
            sent
        }
    });
    (server, journal)
}

fn gone() -> Saw {
    Saw::SendFailed("the client has disconnected".to_owned())
}

#[test]
fn a_client_that_closes_while_its_request_runs_is_gone() {
    let leavings: [fn(Client); 3] = [drop, Client::reset, |client| {
        client.half_close();
        // Open for reading until the application has seen that it is gone: nothing will come.
        std::thread::spawn(move || { client }.rest());
    }];
    for leave in leavings {
        let (server, journal) = witness();
        let mut client = server.connect();
        client.send(GET);
        assert_eq!((journal.next(), journal.next()), (Saw::Called, Saw::End(Vec::new())));
        leave(client);
        assert_eq!((journal.next(), journal.next()), (Saw::Disconnect, gone()));
    }
}

#[test]
fn a_request_that_comes_with_its_end_of_input_is_still_one() {
    let (server, journal) = witness();
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    client.half_close();
    assert_eq!(journal.next(), Saw::Called);
    assert_eq!(journal.next(), Saw::End(b"hello".to_vec()));
    assert_eq!((journal.next(), journal.next()), (Saw::Disconnect, gone()));
    assert_eq!(client.rest().unwrap(), b"");
}

#[test]
fn a_reset_in_the_body_is_a_disconnect_and_not_its_end() {
    let (server, journal) = witness();
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    assert_eq!((journal.next(), journal.next()), (Saw::Called, Saw::Part(b"half".to_vec())));
    client.reset();
    assert_eq!((journal.next(), journal.next()), (Saw::Disconnect, gone()));
}

#[test]
fn a_close_in_the_body_is_a_disconnect_and_not_its_end() {
    for framing in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let (server, journal) = witness();
        let mut client = server.connect();
        let body = if framing.ends_with("10") { "half" } else { "4\r\nhalf\r\n" };
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{body}"));
        assert_eq!((journal.next(), journal.next()), (Saw::Called, Saw::Part(b"half".to_vec())));
        client.half_close();
        assert_eq!((journal.next(), journal.next()), (Saw::Disconnect, gone()));
    }
}

/// Calls the application with this request, whose client then closes, and lets it receive only after that: what it gets.
fn received_late(request: &str, body: &str) -> Vec<ReceiveEvent> {
    let (gate, (note, journal)) = (Gate::default(), Journal::new());
    let opened = gate.clone();
    let server = Server::start(move |scope, receive: Receive, send: Send| {
        let (gate, note) = (opened.clone(), note.clone());
        async move {
            if path(&scope) == "/other" {
                return hello(scope, receive, send).await;
            }
            note.send(None).unwrap();
            gate.passed().await;
            loop {
                let event = receive.receive().await;
                note.send(Some(event.clone())).unwrap();
                if event == ReceiveEvent::Disconnect {
                    return Ok(());
                }
            }
        }
    });
    let mut client = server.connect();
    client.send(request);
    assert_eq!(journal.next(), None);
    client.send(body);
    client.half_close();
    // A turn in which the server has seen that.
    assert_eq!(server.exchange("GET /other HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    gate.open();
    let mut events = Vec::new();
    while events.last() != Some(&ReceiveEvent::Disconnect) {
        events.extend(journal.next());
    }
    events
}

#[test]
fn http_09_what_was_sent_is_received_before_the_disconnect() {
    let last = |body: &[u8]| ReceiveEvent::Request { body: body.to_vec(), more_body: false };
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(received_late(head, "hello"), [last(b"hello"), ReceiveEvent::Disconnect]);
    assert_eq!(received_late(&format!("{head}hello"), ""), [last(b"hello"), ReceiveEvent::Disconnect]);
    assert_eq!(received_late(GET, ""), [last(b""), ReceiveEvent::Disconnect]);
    let half = ReceiveEvent::Request { body: b"half".to_vec(), more_body: true };
    assert_eq!(received_late(head, "half"), [half.clone(), ReceiveEvent::Disconnect]);
    assert_eq!(received_late(&format!("{head}half"), ""), [half, ReceiveEvent::Disconnect]);
}

#[test]
fn a_reset_in_the_response_ends_a_send_that_waits() {
    let (note, journal) = Journal::new();
    let server = Server::start(move |_, _, send: Send| {
        let note = note.clone();
        async move {
            send.send(start(200)).await?;
            loop {
                if let Err(error) = send.send(part(vec![b'x'; 256 * 1024])).await {
                    note.send(error.to_string()).unwrap();
                    return Err(error);
                }
            }
        }
    });
    let mut client = server.connect();
    client.send(GET);
    assert_eq!(client.head().unwrap().status, 200);
    client.reset();
    assert_eq!(journal.next(), "the client has disconnected");
    assert_eq!(server.exchange_head(GET).status, 200);
}

#[test]
fn an_application_that_fails_first_is_answered_500() {
    let server = Server::start(|_, _, _| async { Err(SendError::Status(7)) });
    let response = server.exchange(GET);
    assert_eq!(response.status, 500);
    assert!(response.get("content-length").is_some());
}

#[test]
fn an_application_that_returns_first_is_answered_500() {
    let server = Server::start(|_, _, _| async { Ok(()) });
    assert_eq!(server.exchange(GET).status, 500);
}

#[test]
fn a_head_that_was_not_sent_yet_gives_way_to_the_500() {
    let server = Server::start(|_, _, send: Send| async move {
        send.send(start_with(&[("content-length", "5")])).await?;
        Err(SendError::Status(7))
    });
    assert_eq!(server.exchange(GET).status, 500);
}

#[test]
fn a_response_that_the_application_leaves_is_visibly_broken() {
    for length in [None, Some(("content-length", "100"))] {
        let server = Server::start(move |_, _, send: Send| async move {
            send.send(start_with(length.as_slice())).await?;
            send.send(part("part")).await?;
            Err(SendError::Status(7))
        });
        let mut client = server.connect();
        client.send(GET);
        let error = client.try_response().unwrap_err();
        assert!(matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset), "{error}");
        // The others do not notice.
        assert_eq!(server.exchange_head(GET).status, 200);
    }
}

#[test]
fn a_misuse_is_refused_and_the_exchange_goes_on() {
    let (note, journal) = Journal::new();
    let server = Server::start(move |_, _, send: Send| {
        let note = note.clone();
        async move {
            note.send(send.send(last("early")).await.unwrap_err().to_string()).unwrap();
            note.send(send.send(start(99)).await.unwrap_err().to_string()).unwrap();
            send.send(start_with(&[("content-length", "2")])).await?;
            note.send(send.send(start(200)).await.unwrap_err().to_string()).unwrap();
            note.send(send.send(last("too long")).await.unwrap_err().to_string()).unwrap();
            send.send(last("ok")).await?;
            // What comes after the end is ignored.
            send.send(last("more")).await
        }
    });
    assert_eq!(server.exchange(GET).text(), "ok");
    let errors = [journal.next(), journal.next(), journal.next(), journal.next()];
    assert!(errors[0].starts_with("'http.response.body' may not be sent now"), "{}", errors[0]);
    assert_eq!(errors[1], "99 is no status of a final response: expected 200 to 999");
    assert!(errors[2].starts_with("'http.response.start' may not be sent now"), "{}", errors[2]);
    assert_eq!(errors[3], "the response body is longer than its content-length of 2 bytes");
}

#[test]
fn after_the_response_receive_gives_disconnect_again_and_again() {
    let (note, journal) = Journal::new();
    let server = Server::start(move |scope, receive: Receive, send: Send| {
        let note = note.clone();
        async move {
            hello(scope, receive.clone(), send.clone()).await?;
            for _ in 0..3 {
                note.send(receive.receive().await).unwrap();
            }
            Ok(())
        }
    });
    server.exchange(GET);
    // The event of an unread body may come first.
    let mut events = vec![journal.next(), journal.next(), journal.next()];
    events.retain(|event| !matches!(event, ReceiveEvent::Request { body, more_body: false } if body.is_empty()));
    assert!(events.len() >= 2 && events.iter().all(|event| *event == ReceiveEvent::Disconnect), "{events:?}");
}

#[test]
fn stopping_lets_what_runs_finish_and_closes_the_rest() {
    let (gate, (note, called)) = (Gate::default(), Journal::new());
    let opened = gate.clone();
    let mut server = Server::start(move |scope, receive: Receive, send: Send| {
        let (gate, note) = (opened.clone(), note.clone());
        async move {
            if path(&scope) == "/slow" {
                note.send(()).unwrap();
                gate.passed().await;
            }
            hello(scope, receive, send).await
        }
    });
    let (mut idle, mut running) = (server.connect(), server.connect());
    idle.send(GET);
    assert_eq!(idle.response().status, 200);
    running.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    called.next();
    server.begin_stop();
    // An idle connection is closed at once, and nobody is accepted any more.
    assert_eq!(idle.rest().unwrap(), b"");
    let refused = Client::try_connect(&server.addresses[0]).err().unwrap();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    gate.open();
    let response = running.response();
    assert_eq!((response.text(), response.get("connection")), ("Hello, world!", Some("close")));
    assert_eq!(running.rest().unwrap(), b"");
    drop(running);
    server.join();
}

#[test]
fn stopping_without_a_connection_ends_at_once() {
    let mut server = Server::start(hello);
    server.begin_stop();
    server.join();
}

#[test]
fn a_head_that_stays_away_is_answered_408() {
    let limits = || Limits { request_head: Duration::from_millis(1), ..Limits::default() };
    let server = Server::with(limits, hello);
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost:");
    assert_eq!(client.response().status, 408);
    assert_eq!(client.rest().unwrap(), b"");
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let limits = || Limits { keep_alive: Duration::from_millis(1), ..Limits::default() };
    let server = Server::with(limits, hello);
    let mut client = server.connect();
    client.send(GET);
    assert_eq!(client.response().status, 200);
    assert_eq!(client.rest().unwrap(), b"");
}

#[test]
fn a_body_that_is_too_large_is_refused_before_the_application() {
    let limits = || Limits { body: Some(10), ..Limits::default() };
    let server = Server::with(limits, crate::support::echo);
    let response = server.exchange("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n");
    assert_eq!((response.status, response.get("connection")), (413, Some("close")));
}
