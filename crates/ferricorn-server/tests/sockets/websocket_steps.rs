//! WebSockets one step at a time: what a worker tells its host and its application, what it holds, and what outlives a
//! connection.

use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use asgi::{Headers, Message, Outcome, ReceiveEvent, ResponseStart, SendError, SendEvent, Wake};
use ferricorn_server::{Config, Drain, Finished, Limits, Sent, websocket};

use crate::support::websocket::{Frame, frame, handshake};
use crate::support::{Client, Direct, FLOOD_PART, Owned};

fn logging() -> Config {
    Config { access_log: true, ..Config::default() }
}

fn with(websocket: websocket::Limits) -> Config {
    let limits = Limits { websocket: Some(Rc::new(websocket)), ..Limits::default() };
    Config { limits: Rc::new(limits), ..Config::default() }
}

fn name(client: &Client) -> String {
    client.address().to_string()
}

fn received(text: &str) -> ReceiveEvent {
    ReceiveEvent::WebSocketReceive(Message::Text(text.to_owned()))
}

fn disconnect(code: u16, reason: &str) -> ReceiveEvent {
    ReceiveEvent::WebSocketDisconnect { code, reason: reason.to_owned() }
}

fn close(code: u16) -> SendEvent<crate::support::Counted, crate::support::Counted> {
    SendEvent::WebSocketClose { code, reason: String::new() }
}

/// Lets the server do what there is to do, until all that this client had sent before has been read.
fn read_all(direct: &Direct, client: &mut crate::support::websocket::Socket) {
    client.ping("read");
    direct.serve(&client.client);
    assert_eq!(client.next_pong(), "read");
}

/// The next lines of the access log, waited for.
fn accesses(direct: &Direct) -> Vec<String> {
    let mut lines = Vec::new();
    direct.run_until(None, |direct| {
        lines.extend(direct.accesses());
        !lines.is_empty()
    });
    lines
}

#[test]
fn a_websocket_is_one_line_of_the_access_log_when_it_is_answered() {
    let direct = Direct::new(logging());
    let (socket, _) = direct.open();
    assert_eq!(accesses(&direct), [format!("{} - \"GET /hold HTTP/1.1\" 101", name(&socket.client))]);

    let (client, exchange) = direct.ask("");
    assert_eq!(direct.worker.send(exchange, close(1000)).unwrap(), Sent::Open);
    direct.worker.finish(exchange, Outcome::Returned);
    assert_eq!(accesses(&direct), [format!("{} - \"GET /hold HTTP/1.1\" 403", name(&client))]);

    let (client, exchange) = direct.ask("");
    let start = ResponseStart { status: 401, ..ResponseStart::default() };
    assert_eq!(direct.worker.send(exchange, SendEvent::WebSocketResponseStart(start)).unwrap(), Sent::Open);
    for more_body in [true, false] {
        let body = direct.counted("no");
        direct.worker.send(exchange, SendEvent::WebSocketResponseBody { body, more_body }).unwrap();
    }
    assert_eq!(accesses(&direct), [format!("{} - \"GET /hold HTTP/1.1\" 401", name(&client))]);

    let (client, exchange) = direct.ask("");
    assert_eq!(direct.worker.finish(exchange, Outcome::Failed), Finished::Failed500);
    assert_eq!(accesses(&direct), [format!("{} - \"GET /hold HTTP/1.1\" 500", name(&client))]);
    assert_eq!(direct.problems(), [""; 0]);
}

#[test]
fn above_the_limit_of_calls_a_handshake_is_answered_503() {
    let direct = Direct::new(Config { concurrency: 1, ..logging() });
    let (_socket, _) = direct.open();
    let mut second = direct.connect();
    second.send(handshake("/hold", ""));
    direct.serve(&second);
    assert_eq!((second.response().status, direct.worker.calls()), (503, 1));
}

#[test]
fn what_breaks_the_protocol_is_logged_once_whoever_reads_it() {
    for waits in [false, true] {
        let direct = Direct::new(Config::default());
        let (mut socket, exchange) = direct.open();
        let line = format!("{}: closed a WebSocket with 1002: a frame is not masked", name(&socket.client));
        if waits {
            assert!(direct.worker.receive(exchange, Owned).is_pending());
        }
        socket.client.send(b"\x81\x02hi\x81\x02hi");
        let end = disconnect(1002, "a frame is not masked");
        assert_eq!([direct.event(exchange), direct.event(exchange)], [end.clone(), end]);
        direct.serve(&socket.client);
        assert_eq!(socket.next_close(), Some((1002, "a frame is not masked".to_owned())));
        drop(socket);
        direct.run_until(None, |direct| direct.worker.connections() == 0);
        direct.worker.finish(exchange, Outcome::Returned);
        assert_eq!(direct.problems(), [line]);
    }
}

#[test]
fn a_client_that_vanishes_is_no_news_for_the_log() {
    let millisecond = Some(Duration::from_millis(1));
    let limits = websocket::Limits { ping_interval: millisecond, ping_timeout: millisecond, ..Default::default() };
    let direct = Direct::new(with(limits));
    let (socket, silent) = direct.open();
    let (gone, reset) = direct.open();
    gone.client.reset();
    assert_eq!(direct.event(reset), disconnect(1006, ""));
    assert_eq!(direct.event(silent), disconnect(1011, "keepalive ping timeout"));
    drop(socket);
    direct.run_until(None, |direct| direct.worker.connections() == 0);
    assert_eq!(direct.problems(), [""; 0]);
}

#[test]
fn a_wake_follows_a_message_that_is_waited_for_and_no_ping() {
    let direct = Direct::new(Config::default());
    let (mut socket, exchange) = direct.open();
    direct.wakes();
    read_all(&direct, &mut socket);
    assert_eq!(direct.wakes(), []);
    assert!(direct.worker.receive(exchange, Owned).is_pending());
    socket.text("a");
    direct.run_until(None, |direct| direct.wakes() == [Wake::Receive]);
    assert_eq!(direct.event(exchange), received("a"));
    // Both came before anybody asked.
    socket.client.send([frame(1, "b"), frame(1, "c")].concat());
    read_all(&direct, &mut socket);
    assert_eq!(direct.worker.receive(exchange, Owned), Poll::Ready(received("b")));
    assert_eq!(direct.worker.receive(exchange, Owned), Poll::Ready(received("c")));
    assert!(direct.worker.receive(exchange, Owned).is_pending());
    assert_eq!(direct.wakes(), []);
}

#[test]
fn ws_23_after_its_close_the_application_finds_nobody() {
    let direct = Direct::new(Config::default());
    let (mut socket, exchange) = direct.open();
    assert_eq!(direct.worker.send(exchange, close(4001)).unwrap(), Sent::Open);
    let late = direct.counted("late");
    let late = direct.worker.send(exchange, SendEvent::WebSocketSend(Message::Text(late)));
    assert!(matches!(late, Err(SendError::Disconnected)), "{late:?}");
    assert!(matches!(direct.worker.send(exchange, close(1000)), Err(SendError::Disconnected)));
    assert_eq!(direct.event(exchange), disconnect(4001, ""));
    assert_eq!(direct.worker.finish(exchange, Outcome::Failed), Finished::Complete);
    direct.serve(&socket.client);
    assert_eq!(socket.next_close(), Some((4001, String::new())));
    // The call has ended: nobody is asked any more, and nothing is kept.
    socket.close(4001, "");
    drop(socket);
    direct.run_until(None, |direct| direct.worker.connections() == 0);
    assert_eq!(direct.worker.receive(exchange, Owned), Poll::Ready(ReceiveEvent::Disconnect));
    assert_eq!(direct.worker.running(), 0);
}

#[test]
fn ws_18_what_was_read_ahead_outlives_its_connection_until_the_call_ends() {
    let direct = Direct::new(Config::default());
    let (mut socket, exchange) = direct.open();
    socket.client.send([frame(1, "one"), frame(1, "two"), frame(8, 4000_u16.to_be_bytes())].concat());
    drop(socket);
    direct.run_until(None, |direct| direct.worker.connections() == 0);
    // Its place may be another's by now.
    let (mut other, others) = direct.open();
    other.text("another's");
    assert_eq!([direct.event(exchange), direct.event(exchange)], [received("one"), received("two")]);
    assert_eq!([direct.event(exchange), direct.event(exchange)], [disconnect(4000, ""), disconnect(4000, "")]);
    let late = SendEvent::WebSocketSend(Message::Binary(direct.counted("late")));
    assert!(matches!(direct.worker.send(exchange, late), Err(SendError::Disconnected)));
    assert_eq!(direct.worker.finish(exchange, Outcome::Returned), Finished::Disconnected);
    assert_eq!(direct.worker.receive(exchange, Owned), Poll::Ready(ReceiveEvent::Disconnect));
    assert_eq!(direct.event(others), received("another's"));
}

#[test]
fn con_05_messages_of_a_client_that_does_not_read_are_bounded() {
    let direct = Direct::new(Config::default());
    let (mut socket, exchange) = direct.open();
    let send = || {
        let message = Message::Text(direct.counted("x".repeat(FLOOD_PART)));
        direct.worker.send(exchange, SendEvent::WebSocketSend(message)).unwrap()
    };
    let mut sent = 1;
    while send() != Sent::Blocked {
        sent += 1;
        direct.worker.poll();
        assert!(sent < 1000, "the buffers of the sockets never fill");
    }
    assert!(direct.worker.sent(exchange).is_pending());
    // What waits is the application's own memory, not a copy of it, and at most one message above the mark.
    assert!((FLOOD_PART..=3 * FLOOD_PART).contains(&direct.alive()), "{}", direct.alive());
    assert!(direct.most_alive() <= 3 * FLOOD_PART, "{}", direct.most_alive());
    direct.wakes();
    for _ in 0..sent {
        let mut length = 0;
        while length == 0 {
            direct.serve(&socket.client);
            length = socket.next_text().len();
        }
        assert_eq!(length, FLOOD_PART);
        direct.worker.poll();
    }
    assert_eq!((direct.wakes(), direct.alive()), (vec![Wake::Send], 0));
    assert!(matches!(direct.worker.sent(exchange), Poll::Ready(Ok(()))));
}

#[test]
fn what_is_sent_in_one_turn_is_one_write() {
    let direct = Direct::new(Config::default());
    let (mut socket, exchange) = direct.open();
    for word in ["one", "two", "three"] {
        let message = Message::Text(direct.counted(word));
        assert_eq!(direct.worker.send(exchange, SendEvent::WebSocketSend(message)).unwrap(), Sent::Open);
    }
    direct.serve(&socket.client);
    let frames: Vec<_> = (0..3).map(|_| socket.frame().unwrap()).collect();
    assert_eq!(frames, ["one", "two", "three"].map(Frame::text));
    assert_eq!(direct.alive(), 0);
}

#[test]
fn ws_27_a_drain_ends_when_the_websockets_have() {
    let direct = Direct::new(Config::default());
    let (mut socket, open) = direct.open();
    let (denied, asked) = direct.ask("");
    assert!(direct.worker.receive(open, Owned).is_pending());
    direct.wakes();
    direct.worker.drain(Drain::Quick);
    assert_eq!(direct.wakes(), [Wake::Receive]);
    assert_eq!(direct.event(open), disconnect(1012, ""));
    // The other may still be answered.
    direct.worker.send(asked, close(1000)).unwrap();
    direct.worker.finish(asked, Outcome::Returned);
    direct.serve(&denied);
    drop(denied);
    direct.serve(&socket.client);
    assert_eq!(socket.next_close(), Some((1012, String::new())));
    socket.close(1012, "");
    drop(socket);
    direct.run_until(None, |direct| direct.worker.connections() == 0);
    assert_eq!(direct.drained(), 0);
    direct.worker.finish(open, Outcome::Returned);
    direct.run_until(None, |direct| direct.drained() == 1);
}

#[test]
fn ws_27_websockets_may_outlive_a_drain_by_their_own_deadline() {
    for drain in [Drain::Patient, Drain::Quick] {
        let direct = Direct::new(Config { websocket_drain: Duration::from_millis(1_500), ..Config::default() });
        let (mut socket, open) = direct.open();
        let (mut late, asked) = direct.ask("");
        let begin = Instant::now();
        direct.worker.drain(drain);
        assert_eq!((direct.worker.websockets(), direct.worker.is_websocket(asked)), (1, false));
        // What is accepted meanwhile has as long.
        let accept = SendEvent::WebSocketAccept { subprotocol: None, headers: Headers::new() };
        assert_eq!(direct.worker.send(asked, accept).unwrap(), Sent::Open);
        direct.serve(&late);
        assert_eq!(late.head().unwrap().status, 101);
        socket.text("hello");
        assert_eq!(direct.event(open), received("hello"));
        assert!(direct.worker.receive(open, Owned).is_pending());
        assert_eq!((direct.worker.websockets(), direct.drained()), (2, 0));
        // A quick drain that follows does not change it.
        direct.worker.drain(Drain::Quick);
        assert_eq!(direct.event(open), disconnect(1012, ""));
        assert!(begin.elapsed() >= Duration::from_millis(1_500));
        direct.serve(&socket.client);
        assert_eq!(socket.next_close(), Some((1012, String::new())));
        direct.worker.finish(open, Outcome::Returned);
        direct.worker.finish(asked, Outcome::Returned);
        drop((socket, late));
        direct.run_until(None, |direct| direct.drained() == 1);
        assert_eq!(direct.worker.websockets(), 0);
    }
}

#[test]
fn closing_tells_every_websocket_that_it_is_gone() {
    let direct = Direct::new(Config::default());
    let (mut socket, open) = direct.open();
    let (_client, asked) = direct.ask("");
    socket.text("read ahead");
    read_all(&direct, &mut socket);
    direct.worker.close();
    assert_eq!([direct.event(open), direct.event(open)], [received("read ahead"), disconnect(1006, "")]);
    assert_eq!([direct.event(asked), direct.event(asked)], [ReceiveEvent::WebSocketConnect, disconnect(1006, "")]);
    assert!(socket.frame().is_err());
}

#[test]
fn an_idle_websocket_gives_its_memory_back_and_goes_on() {
    let direct = Direct::new(Config::default());
    let (mut socket, exchange) = direct.open();
    socket.binary(&[1; 50_000]);
    assert_eq!(direct.event(exchange), ReceiveEvent::WebSocketReceive(Message::Binary(vec![1; 50_000])));
    assert_eq!(direct.kept(), 1);
    direct.run_until(None, |direct| direct.kept() == 0);
    for word in ["still", "here"] {
        socket.text(word);
        assert_eq!(direct.event(exchange), received(word));
    }
}

#[test]
fn http_21_a_denial_that_is_too_short_is_told_to_the_application() {
    let direct = Direct::new(logging());
    let (mut client, exchange) = direct.ask("");
    let headers = Headers::from_iter([("content-length", "5")]).unwrap();
    let start = ResponseStart { status: 401, headers, trailers: false };
    direct.worker.send(exchange, SendEvent::WebSocketResponseStart(start)).unwrap();
    let body = direct.counted("no");
    let sent = direct.worker.send(exchange, SendEvent::WebSocketResponseBody { body, more_body: false }).unwrap();
    assert_eq!(sent, Sent::Short { promised: 5, sent: 2 });
    direct.serve(&client);
    assert!(client.try_response().is_err());
}

#[test]
fn a_handshake_that_is_answered_503_leaves_nothing_behind() {
    let direct = Direct::new(Config { concurrency: 1, ..logging() });
    let (_socket, first) = direct.open();
    let mut second = direct.connect();
    second.send(handshake("/hold", ""));
    direct.serve(&second);
    assert_eq!(second.response().status, 503);
    drop(second);
    direct.run_until(None, |direct| direct.worker.connections() == 1);
    for generation in 0..4 {
        let refused = asgi::ExchangeId { slot: first.slot + 1, generation, sequence: 1 };
        assert_eq!(direct.worker.receive(refused, Owned), Poll::Ready(ReceiveEvent::Disconnect));
    }
}
