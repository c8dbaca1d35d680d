//! Bodies and who has to wait for whom: backpressure both ways, and `receive` that is dropped.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use asgi::{Receive, ReceiveEvent, Send, SendError};
use ferricorn_server::Config;

use crate::support::{Direct, FLOOD_PART, Gate, Journal, Server, hello, last, once_pending, part, pattern, start};

/// More than both sockets of a connection hold, by far.
const MUCH: usize = 64 << 20;

/// What the sockets of a connection hold at the most, generously.
const SOCKETS: usize = 24 << 20;

/// The high-water mark, a part above it, and one of which some has been written.
const BOUND: usize = 64 * 1024 + 2 * FLOOD_PART;

/// Sends, and says how many bytes had gone before where it has to wait.
async fn send_and_tell(
    send: &Send,
    bytes: Vec<u8>,
    before: usize,
    tell: &mut impl FnMut(usize),
) -> Result<(), SendError> {
    let mut sending = pin!(send.send(part(bytes)));
    std::future::poll_fn(|context| {
        let sent = sending.as_mut().poll(context);
        if sent.is_pending() {
            tell(before);
        }
        sent
    })
    .await
}

#[test]
fn send_waits_for_a_client_that_does_not_read() {
    let (note, blocked) = Journal::new();
    let server = Server::start(move |_, _, send: Send| {
        let note = note.clone();
        async move {
            send.send(start(200)).await?;
            let mut first = true;
            let mut tell = |sent| {
                if std::mem::take(&mut first) {
                    note.send(sent).unwrap();
                }
            };
            for sent in (0..MUCH).step_by(FLOOD_PART) {
                send_and_tell(&send, vec![b'x'; FLOOD_PART.min(MUCH - sent)], sent, &mut tell).await?;
            }
            send.send(last("")).await
        }
    });
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let sent = blocked.next();
    assert!(sent < SOCKETS, "{sent} bytes are held for a client that reads nothing");
    // Nor does it keep the others waiting.
    let response = client.response();
    assert_eq!(response.body.len(), MUCH);
}

#[test]
fn what_the_client_has_not_taken_is_bounded_in_the_server() {
    let direct = Direct::new(Config::default());
    let mut client = direct.connect();
    let parts = MUCH / FLOOD_PART;
    client.send(format!("GET /flood/{parts} HTTP/1.1\r\nHost: a\r\n\r\n"));
    direct.run_until(None, Direct::is_blocked);
    assert!(direct.alive() <= BOUND, "{}", direct.alive());

    // Others are served meanwhile.
    let mut other = direct.connect();
    other.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    direct.serve(&other);
    assert_eq!(other.response().text(), "hello");

    let reading = std::thread::spawn(move || client.response().body.len());
    direct.run_until(None, |_| reading.is_finished());
    assert_eq!(reading.join().unwrap(), parts * FLOOD_PART);
    assert!(direct.most_alive() <= BOUND, "{}", direct.most_alive());
    direct.run_until(None, |direct| direct.alive() == 0);
}

#[test]
fn a_body_that_is_not_received_stays_in_the_network() {
    let (note, called) = Journal::new();
    let gate = Gate::default();
    let opened = gate.clone();
    let server = Server::start(move |scope, receive: Receive, send: Send| {
        let (note, gate) = (note.clone(), opened.clone());
        async move {
            if crate::support::path(&scope) == "/other" {
                return hello(scope, receive, send).await;
            }
            note.send(()).unwrap();
            gate.passed().await;
            let mut received = 0;
            while let ReceiveEvent::Request { body, more_body } = receive.receive().await {
                received += body.len();
                if !more_body {
                    break;
                }
            }
            send.send(start(200)).await?;
            send.send(last(received.to_string())).await
        }
    });
    let mut client = server.connect();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {MUCH}\r\n\r\n"));
    called.next();
    let body = vec![b'x'; MUCH];
    let mut offered = 0;
    loop {
        let taken = client.offer(&body[offered..]);
        offered += taken;
        assert!(offered < SOCKETS, "{offered} bytes are taken that nobody asked for");
        // A turn of the server in which it would have read more.
        assert_eq!(server.exchange("GET /other HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
        if taken == 0 {
            break;
        }
    }
    gate.open();
    let sending = client.send_beside(body[offered..].to_vec());
    assert_eq!(client.response().text(), MUCH.to_string());
    sending.join().unwrap().unwrap();
}

#[test]
fn a_receive_that_is_dropped_loses_nothing() {
    let (note, waiting) = Journal::new();
    let gate = Gate::default();
    let opened = gate.clone();
    let server = Server::start(move |_, receive: Receive, send: Send| {
        let (note, gate) = (note.clone(), opened.clone());
        async move {
            let mut body = Vec::new();
            {
                let mut dropped = pin!(receive.receive());
                once_pending(&mut dropped).await;
                note.send(()).unwrap();
                // The body arrives while nobody but this future waits for it.
                gate.passed().await;
            }
            loop {
                let ReceiveEvent::Request { body: part, more_body } = receive.receive().await else { return Ok(()) };
                body.extend(part);
                if !more_body {
                    break;
                }
                // Asked, and dropped at once, whether or not there is something.
                drop(receive.receive());
            }
            send.send(start(200)).await?;
            send.send(last(body)).await
        }
    });
    let body = pattern(100_000);
    let mut client = server.connect();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()));
    waiting.next();
    client.send(&body[..50_000]);
    gate.open();
    client.send(&body[50_000..]);
    assert!(client.response().body == body);
}

#[test]
fn two_receives_share_what_comes() {
    let (note, waiting) = Journal::new();
    let server = Server::start(move |_, receive: Receive, send: Send| {
        let note = note.clone();
        async move {
            let (mut one, mut other) = (pin!(receive.receive()), pin!(receive.receive()));
            once_pending(&mut one).await;
            once_pending(&mut other).await;
            note.send(()).unwrap();
            let mut events = [None, None];
            std::future::poll_fn(|context| {
                for (event, future) in events.iter_mut().zip([&mut one, &mut other]) {
                    if event.is_none()
                        && let Poll::Ready(ready) = future.as_mut().poll(context)
                    {
                        note.send(()).unwrap();
                        *event = Some(ready);
                    }
                }
                if events.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            let parts = events.into_iter().flatten().map(|event| match event {
                ReceiveEvent::Request { body, .. } => body,
                _ => Vec::new(),
            });
            let mut parts: Vec<_> = parts.collect();
            parts.sort();
            send.send(start(200)).await?;
            send.send(last(parts.concat())).await
        }
    });
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    waiting.next();
    client.send("1\r\na\r\n");
    waiting.next();
    client.send("1\r\nb\r\n0\r\n\r\n");
    assert_eq!(client.response().text(), "ab");
}

/// A response of one part that is larger than what the sockets hold, and a next request behind it.
#[test]
fn the_last_send_ends_well_though_the_next_request_follows() {
    let (note, journal) = Journal::new();
    let server = Server::start(move |_, _, send: Send| {
        let note = note.clone();
        async move {
            send.send(start(200)).await?;
            let sent = send.send(last(vec![b'x'; SOCKETS])).await;
            note.send(sent.as_ref().err().map(ToString::to_string)).unwrap();
            sent
        }
    });
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3));
    for _ in 0..3 {
        assert_eq!(client.response().body.len(), SOCKETS);
    }
    assert_eq!([journal.next(), journal.next(), journal.next()], [None, None, None]);
}
