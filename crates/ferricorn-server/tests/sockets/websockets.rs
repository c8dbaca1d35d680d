//! WebSockets with applications that are futures: messages, closes and vanished clients, backpressure, a server that stops.

use std::rc::Rc;
use std::time::Duration;

use asgi::{Headers, Message, Receive, ReceiveEvent, ResponseStart, Scope, Send, SendError, SendEvent};
use ferricorn_server::{Limits, websocket};

use crate::support::websocket::{Frame, Socket, frame, handshake};
use crate::support::{Client, Gate, Journal, Server, hello, path, pattern};

fn accept() -> SendEvent {
    SendEvent::WebSocketAccept { subprotocol: None, headers: Headers::new() }
}

fn text(text: impl Into<String>) -> SendEvent {
    SendEvent::WebSocketSend(Message::Text(text.into()))
}

fn close(code: u16, reason: &str) -> SendEvent {
    SendEvent::WebSocketClose { code, reason: reason.to_owned() }
}

fn received(text: &str) -> ReceiveEvent {
    ReceiveEvent::WebSocketReceive(Message::Text(text.to_owned()))
}

fn disconnect(code: u16, reason: &str) -> ReceiveEvent {
    ReceiveEvent::WebSocketDisconnect { code, reason: reason.to_owned() }
}

/// The echo of the ASGI documentation.
async fn echo(_: Scope, receive: Receive, send: Send) -> Result<(), SendError> {
    assert_eq!(receive.receive().await, ReceiveEvent::WebSocketConnect);
    send.send(accept()).await?;
    while let ReceiveEvent::WebSocketReceive(message) = receive.receive().await {
        send.send(SendEvent::WebSocketSend(message)).await?;
    }
    Ok(())
}

/// Accepts, and notes what comes when the gate is open, to the end and once more; then how a send ends.
fn witness(gate: &Gate) -> (Server, Journal<Result<ReceiveEvent, String>>) {
    let (note, journal) = Journal::new();
    let opened = gate.clone();
    let server = Server::start(move |scope, receive: Receive, send: Send| {
        let (gate, note) = (opened.clone(), note.clone());
        async move {
            if let Scope::Http(_) = scope {
                return hello(scope, receive, send).await;
            }
            note.send(Ok(receive.receive().await)).unwrap();
            send.send(accept()).await?;
            gate.passed().await;
            loop {
                let event = receive.receive().await;
                note.send(Ok(event.clone())).unwrap();
                if matches!(event, ReceiveEvent::WebSocketDisconnect { .. }) {
                    break;
                }
            }
            note.send(Ok(receive.receive().await)).unwrap();
            let sent = send.send(text("late")).await;
            note.send(Err(sent.as_ref().err().map_or_else(String::new, ToString::to_string))).unwrap();
            sent
        }
    });
    (server, journal)
}

/// How a client goes.
type Leaving = fn(Client);

fn open_gate() -> Gate {
    let gate = Gate::default();
    gate.open();
    gate
}

/// Sees the connect and these events, the last of them twice, and that a send finds nobody.
#[track_caller]
fn witnessed(journal: &Journal<Result<ReceiveEvent, String>>, events: &[ReceiveEvent]) {
    assert_eq!(journal.next(), Ok(ReceiveEvent::WebSocketConnect));
    for event in events.iter().chain(events.last()) {
        assert_eq!(journal.next().as_ref(), Ok(event));
    }
    assert_eq!(journal.next(), Err("the client has disconnected".to_owned()));
}

/// A turn in which the server has seen what was done before.
fn a_turn_passes(server: &Server) {
    assert_eq!(server.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
}

#[test]
fn ws_08_echo_of_text_and_bytes_of_any_length() {
    let server = Server::start(echo);
    let mut socket = Socket::open(&server);
    for length in [0, 1, 5, 125, 126, 65_535, 65_536, 300_000] {
        let bytes = pattern(length);
        socket.binary(&bytes);
        assert!(socket.next_binary() == bytes, "{length}");
        let words = "w\u{f6}rter ".repeat(length / 8);
        socket.text(&words);
        assert!(socket.next_text() == words, "{length}");
    }
    socket.close(1000, "enough");
    assert_eq!(socket.next_close(), Some((1000, String::new())));
    assert_eq!(socket.client.rest().unwrap(), b"");
}

#[test]
fn con_04_messages_both_ways_at_once_stay_in_order() {
    let server = Server::start(echo);
    let mut socket = Socket::open(&server);
    let messages: Vec<Vec<u8>> = (0..300).map(|number| pattern(number * 131 % 50_000 + number)).collect();
    let frames = messages.iter().flat_map(|message| frame(2, message)).collect();
    let sending = socket.client.send_beside(frames);
    for message in &messages {
        assert!(socket.next_binary() == *message);
    }
    sending.join().unwrap().unwrap();
}

#[test]
fn frames_may_come_byte_by_byte_and_right_behind_the_handshake() {
    let server = Server::start(echo);
    let mut client = server.connect();
    client.send([handshake("/", "").as_bytes(), &frame(1, "early")].concat());
    let (mut socket, _) = Socket::opened(client);
    assert_eq!(socket.next_text(), "early");
    for byte in [frame(1, "slow"), frame(9, "ping")].concat() {
        socket.client.send([byte]);
    }
    assert_eq!(socket.messages_and_pongs(2), (vec![Frame::text("slow")], vec![Frame::pong("ping")]));
}

#[test]
fn ws_28_the_scope_says_what_was_asked_for_and_the_response_what_was_accepted() {
    let (note, journal) = Journal::new();
    let server = Server::start(move |scope, _, send: Send| {
        let note = note.clone();
        async move {
            let Scope::WebSocket(scope) = scope else { panic!("{scope:?}") };
            let path = (scope.path.clone(), scope.query_string.clone(), scope.scheme.as_websocket_str());
            note.send((path, scope.subprotocols.clone(), scope.extensions.denial_response)).unwrap();
            let headers = Headers::from_iter([("set-cookie", "a"), ("set-cookie", "b")])?;
            send.send(SendEvent::WebSocketAccept { subprotocol: Some("chat".to_owned()), headers }).await
        }
    });
    let offers = "Sec-WebSocket-Protocol: super, chat\r\n";
    let (mut socket, response) = Socket::open_with(&server, "/a%20b?c=d", offers);
    let path = ("/a b".to_owned(), b"c=d".to_vec(), "ws");
    assert_eq!(journal.next(), (path, vec!["super".to_owned(), "chat".to_owned()], true));
    assert_eq!(response.get("sec-websocket-protocol"), Some("chat"));
    let cookies = response.fields.iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value.as_str());
    assert_eq!(cookies.collect::<Vec<_>>(), ["a", "b"]);
    socket.ends_with(1000, "");
}

#[test]
fn ws_21_how_the_application_ends_is_how_the_websocket_does() {
    let server = Server::start(|scope, _, send: Send| async move {
        let path = path(&scope);
        if path.starts_with("/accepted") {
            send.send(accept()).await?;
        }
        if path.ends_with("/raises") { Err(SendError::Status(7)) } else { Ok(()) }
    });
    for path in ["/", "/raises"] {
        assert_eq!(server.exchange(handshake(path, "")).status, 500);
    }
    for (path, code) in [("/accepted", 1000), ("/accepted/raises", 1011)] {
        Socket::open_with(&server, path, "").0.ends_with(code, "");
    }
}

#[test]
fn ws_11_a_close_before_the_accept_is_403() {
    let (note, journal) = Journal::new();
    let server = Server::start(move |_, receive: Receive, send: Send| {
        let note = note.clone();
        async move {
            send.send(close(1000, "")).await?;
            for _ in 0..3 {
                note.send(receive.receive().await).unwrap();
            }
            Ok(())
        }
    });
    let response = server.exchange(handshake("/", ""));
    assert_eq!((response.status, response.get("content-length")), (403, Some("0")));
    assert_eq!(journal.next(), ReceiveEvent::WebSocketConnect);
    assert_eq!([journal.next(), journal.next()], [disconnect(1006, ""), disconnect(1006, "")]);
}

#[test]
fn ext_01_a_denial_is_streamed() {
    let gate = Gate::default();
    let opened = gate.clone();
    let server = Server::start(move |_, _, send: Send| {
        let gate = opened.clone();
        async move {
            let start = ResponseStart { status: 401, ..ResponseStart::default() };
            send.send(SendEvent::WebSocketResponseStart(start)).await?;
            let part = |body: &[u8], more_body| SendEvent::WebSocketResponseBody { body: body.to_vec(), more_body };
            send.send(part(b"first", true)).await?;
            gate.passed().await;
            send.send(part(b"second", false)).await
        }
    });
    let mut client = server.connect();
    client.send(handshake("/", ""));
    let head = client.head().unwrap();
    assert_eq!((head.status, head.get("upgrade"), head.get("connection")), (401, None, Some("close")));
    assert_eq!(client.chunk().unwrap(), b"first");
    gate.open();
    assert_eq!((client.chunk().unwrap(), client.chunk().unwrap()), (b"second".to_vec(), Vec::new()));
    assert_eq!(client.rest().unwrap(), b"");
}

#[test]
fn ws_25_a_bad_handshake_never_reaches_the_application() {
    let server = Server::start(|_, _, _| async { panic!("it was called") });
    let good = handshake("/", "");
    for (from, to, status) in [
        ("GET", "POST", 400),
        ("dGhlIHNhbXBsZSBub25jZQ==", "short", 400),
        ("Host", "Sec-WebSocket-Protocol: ;\r\nHost", 400),
        ("Version: 13", "Version: 8", 426),
    ] {
        let response = server.exchange(good.replace(from, to));
        assert_eq!((response.status, response.get("sec-websocket-accept")), (status, None));
        assert_eq!(response.get("sec-websocket-version"), (status == 426).then_some("13"));
    }
}

#[test]
fn websockets_can_be_off() {
    let server = Server::with(|| Limits { websocket: None, ..Limits::default() }, hello);
    assert_eq!(server.exchange(handshake("/", "")).text(), "Hello, world!");
}

#[test]
fn ws_14_a_client_that_closes_is_answered_and_told_to_the_application() {
    let reason = "w\u{f6}rter";
    let (server, journal) = witness(&open_gate());
    let mut socket = Socket::open(&server);
    socket.text("last");
    socket.close(4000, reason);
    assert_eq!(socket.next_close(), Some((4000, String::new())));
    assert_eq!(socket.client.rest().unwrap(), b"");
    witnessed(&journal, &[received("last"), disconnect(4000, reason)]);

    let mut socket = Socket::open(&server);
    socket.client.send(frame(8, ""));
    assert_eq!(socket.next_close(), None);
    witnessed(&journal, &[disconnect(1005, "")]);
}

#[test]
fn ws_15_a_client_that_vanishes_is_1006() {
    let leavings: [Leaving; 3] = [drop, Client::reset, |client| {
        client.half_close();
        // Open for reading until the server has closed as well.
        std::thread::spawn(move || { client }.rest());
    }];
    for leave in leavings {
        let (server, journal) = witness(&open_gate());
        leave(Socket::open(&server).client);
        witnessed(&journal, &[disconnect(1006, "")]);
    }
}

#[test]
fn ws_24_a_client_that_vanishes_before_the_accept_is_1006() {
    let (gate, (note, journal)) = (Gate::default(), Journal::new());
    let opened = gate.clone();
    let server = Server::start(move |_, receive: Receive, send: Send| {
        let (gate, note) = (opened.clone(), note.clone());
        async move {
            note.send(Ok(receive.receive().await)).unwrap();
            gate.passed().await;
            note.send(Ok(receive.receive().await)).unwrap();
            let accepted = send.send(accept()).await;
            note.send(Err(accepted.as_ref().err().map_or_else(String::new, ToString::to_string))).unwrap();
            accepted
        }
    });
    let mut client = server.connect();
    client.send([handshake("/", "").as_bytes(), &frame(1, "early")].concat());
    assert_eq!(journal.next(), Ok(ReceiveEvent::WebSocketConnect));
    drop(client);
    gate.open();
    assert_eq!(journal.next(), Ok(disconnect(1006, "")));
    assert_eq!(journal.next(), Err("the client has disconnected".to_owned()));
}

/// The connection is gone before the application looks: it still gets all that came, and then why it ended.
#[test]
fn what_was_read_ahead_is_received_after_the_connection_is_gone() {
    let goodbyes: [(Vec<u8>, Leaving, _); 3] = [
        (frame(8, [&4000_u16.to_be_bytes(), &b"bye"[..]].concat()), drop, disconnect(4000, "bye")),
        (Vec::new(), drop, disconnect(1006, "")),
        (Vec::new(), Client::reset, disconnect(1006, "")),
    ];
    for (goodbye, leave, last) in goodbyes {
        let gate = Gate::default();
        let (server, journal) = witness(&gate);
        let mut socket = Socket::open(&server);
        socket.client.send([frame(1, "one"), frame(2, "bin"), frame(1, "two"), frame(9, "read")].concat());
        // All before it has been read.
        assert_eq!(socket.next_pong(), "read");
        socket.client.send(goodbye);
        leave(socket.client);
        a_turn_passes(&server);
        gate.open();
        let binary = ReceiveEvent::WebSocketReceive(Message::Binary(b"bin".to_vec()));
        witnessed(&journal, &[received("one"), binary, received("two"), last]);
    }
}

#[test]
fn ws_26_a_client_that_breaks_the_protocol_is_closed_with_the_code() {
    let limits = || {
        let websocket = websocket::Limits { max_message: 1000, ..websocket::Limits::default() };
        Limits { websocket: Some(Rc::new(websocket)), ..Limits::default() }
    };
    let violations: [(Vec<u8>, u16); 4] = [
        (b"\x81\x02hi".to_vec(), 1002),
        (frame(3, ""), 1002),
        (frame(1, b"\xff"), 1007),
        (frame(2, vec![0; 1001]), 1009),
    ];
    for (bytes, code) in violations {
        let (note, journal) = Journal::new();
        let server = Server::with(limits, move |_, receive: Receive, send: Send| {
            let note = note.clone();
            async move {
                send.send(accept()).await?;
                loop {
                    if let ReceiveEvent::WebSocketDisconnect { code, reason } = receive.receive().await {
                        note.send((code, reason)).unwrap();
                        return Ok(());
                    }
                }
            }
        });
        let mut socket = Socket::open(&server);
        socket.client.send(bytes);
        let closed = socket.next_close().unwrap();
        assert_eq!(closed.0, code);
        assert_eq!(journal.next(), closed);
        assert_eq!(socket.client.rest().unwrap(), b"");
    }
}

/// Sends this frame until nothing is taken any more, although the server runs; how many went, and how much of the next.
fn flood(socket: &mut Socket, frame: &[u8], server: &Server) -> (usize, usize) {
    let flood = frame.repeat(4096);
    let (mut sent, mut refusals) = (0, 0);
    while refusals < 2 {
        let offered = socket.client.offer(&flood[sent % frame.len()..]);
        refusals = if offered == 0 { refusals + 1 } else { 0 };
        sent += offered;
        assert!(sent < 64 << 20, "the client can send without end");
        a_turn_passes(server);
    }
    (sent / frame.len(), sent % frame.len())
}

#[test]
fn ws_29_an_application_that_does_not_receive_stops_the_client() {
    let gate = Gate::default();
    let (server, journal) = witness(&gate);
    let mut socket = Socket::open(&server);
    // While there is room for messages, who does not receive hinders no ping.
    socket.text("first");
    socket.ping("a");
    assert_eq!(socket.next_pong(), "a");
    let message = "m".repeat(1000);
    let (whole, begun) = flood(&mut socket, &frame(1, &message), &server);
    assert!(whole > 32, "{whole}");
    // Now it receives: all of it comes.
    gate.open();
    let rest = frame(1, &message)[begun..].to_vec();
    let goodbye = frame(8, 1000_u16.to_be_bytes());
    let sending = socket.client.send_beside([rest, goodbye].concat());
    let mut events = vec![received("first")];
    events.resize(whole + 2, received(&message));
    events.push(disconnect(1000, ""));
    witnessed(&journal, &events);
    sending.join().unwrap().unwrap();
}

#[test]
fn con_05_a_client_that_does_not_read_makes_send_wait() {
    let (note, journal) = Journal::new();
    let server = Server::start(move |scope, receive: Receive, send: Send| {
        let note = note.clone();
        async move {
            if let Scope::Http(_) = scope {
                return hello(scope, receive, send).await;
            }
            send.send(accept()).await?;
            for number in 0..1000_u32 {
                let message = [number.to_be_bytes().to_vec(), pattern(20_000)].concat();
                send.send(SendEvent::WebSocketSend(Message::Binary(message))).await?;
                note.send(number).unwrap();
            }
            Ok(())
        }
    });
    let mut socket = Socket::open(&server);
    // The first that is noted after a whole turn without any is the one that had to wait.
    let mut last = journal.next();
    loop {
        a_turn_passes(&server);
        let Some(number) = journal.poll().last() else { break };
        last = number;
    }
    assert!(last < 900, "{last} messages of 20 kB were taken from the application");
    for number in 0..1000_u32 {
        let message = socket.next_binary();
        assert!(message[..4] == number.to_be_bytes() && message[4..] == pattern(20_000));
    }
    socket.ends_with(1000, "");
}

#[test]
fn a_client_that_vanishes_ends_a_send_that_waits() {
    let (note, journal) = Journal::new();
    let server = Server::start(move |_, _, send: Send| {
        let note = note.clone();
        async move {
            send.send(accept()).await?;
            loop {
                if let Err(error) = send.send(text("x".repeat(100_000))).await {
                    note.send(error.to_string()).unwrap();
                    return Err(error);
                }
            }
        }
    });
    let mut socket = Socket::open(&server);
    assert_eq!(socket.next_text().len(), 100_000);
    socket.client.reset();
    assert_eq!(journal.next(), "the client has disconnected");
}

#[test]
fn many_connections_do_not_run_into_each_other() {
    let server = Server::start(echo);
    let mut sockets: Vec<_> = (0..200).map(|_| Socket::open(&server)).collect();
    for round in 0..5 {
        for (number, socket) in sockets.iter_mut().enumerate() {
            socket
                .client
                .send([frame(1, format!("{number} {round}")), frame(9, "p"), frame(2, pattern(number))].concat());
        }
        for (number, socket) in sockets.iter_mut().enumerate() {
            let messages = [Frame::text(format!("{number} {round}")), Frame::binary(pattern(number))];
            assert_eq!(socket.messages_and_pongs(3), (messages.to_vec(), vec![Frame::pong("p")]));
        }
    }
    // Every third leaves without a word; the others do not notice.
    let mut number = 0;
    sockets.retain(|_| {
        number += 1;
        number % 3 != 0
    });
    for socket in &mut sockets {
        socket.text("still here");
        assert_eq!(socket.next_text(), "still here");
    }
}

fn keepalive(interval: u64, timeout: Option<u64>) -> impl FnOnce() -> Limits + std::marker::Send + 'static {
    move || {
        let ping_interval = Some(Duration::from_millis(interval));
        let ping_timeout = timeout.map(Duration::from_millis);
        let websocket = websocket::Limits { ping_interval, ping_timeout, ..websocket::Limits::default() };
        Limits { websocket: Some(Rc::new(websocket)), ..Limits::default() }
    }
}

#[test]
fn ws_09_pings_go_out_and_who_answers_stays() {
    let server = Server::with(keepalive(1, Some(60_000)), echo);
    let mut socket = Socket::open(&server);
    for count in 1..=2_u32 {
        assert_eq!(socket.frame().unwrap(), Frame::ping(&count.to_be_bytes()));
        socket.client.send(frame(10, count.to_be_bytes()));
    }
    socket.text("here");
    assert_eq!(socket.next_text(), "here");
}

#[test]
fn ws_09_who_answers_no_ping_is_closed_with_1011() {
    let (note, journal) = Journal::new();
    let server = Server::with(keepalive(1, Some(1)), move |_, receive: Receive, send: Send| {
        let note = note.clone();
        async move {
            send.send(accept()).await?;
            assert_eq!(receive.receive().await, ReceiveEvent::WebSocketConnect);
            note.send(receive.receive().await).unwrap();
            Ok(())
        }
    });
    let mut socket = Socket::open(&server);
    assert_eq!(socket.frame().unwrap().opcode, 9);
    assert_eq!(socket.next_close(), Some((1011, "keepalive ping timeout".to_owned())));
    assert_eq!(journal.next(), disconnect(1011, "keepalive ping timeout"));
    assert_eq!(socket.client.rest().unwrap(), b"");
}

#[test]
fn a_client_that_does_not_answer_the_close_is_left() {
    let limits = || {
        let websocket = websocket::Limits { close: Duration::from_millis(1), ..websocket::Limits::default() };
        Limits { websocket: Some(Rc::new(websocket)), ..Limits::default() }
    };
    let server = Server::with(limits, |_, _, send: Send| async move { send.send(accept()).await });
    let mut socket = Socket::open(&server);
    assert_eq!(socket.next_close(), Some((1000, String::new())));
    assert_eq!(socket.client.rest().unwrap(), b"");
}

#[test]
fn ws_27_stopping_closes_with_1012_on_both_sides() {
    let (mut server, journal) = witness(&open_gate());
    let mut sockets: Vec<_> = (0..3).map(|_| Socket::open(&server)).collect();
    for socket in &mut sockets {
        assert_eq!(journal.next(), Ok(ReceiveEvent::WebSocketConnect));
        socket.ping("open");
        assert_eq!(socket.next_pong(), "open");
    }
    server.begin_stop();
    for socket in &mut sockets {
        socket.ends_with(1012, "");
    }
    let notes: Vec<_> = (0..9).map(|_| journal.next()).collect();
    assert_eq!(notes.iter().filter(|note| **note == Ok(disconnect(1012, ""))).count(), 6, "{notes:?}");
    drop(sockets);
    server.join();
}
#[test]
fn ws_12_the_applications_close_is_its_own_disconnect_at_once() {
    let (note, journal) = Journal::new();
    let server = Server::start(move |_, receive: Receive, send: Send| {
        let note = note.clone();
        async move {
            send.send(accept()).await?;
            assert_eq!(receive.receive().await, ReceiveEvent::WebSocketConnect);
            let refused = send.send(close(1005, "")).await.unwrap_err().to_string();
            send.send(close(4001, "that is all")).await.unwrap();
            note.send((refused, receive.receive().await, receive.receive().await)).unwrap();
            Ok(())
        }
    });
    let mut socket = Socket::open(&server);
    let (refused, first, again) = journal.next();
    assert!(refused.starts_with("1005 may not be sent as a close code"), "{refused}");
    assert_eq!((first, again), (disconnect(4001, "that is all"), disconnect(4001, "that is all")));
    // What is on its way is nobody's any more, and the answer still ends it.
    socket.text("late");
    socket.ends_with(4001, "that is all");
}

#[test]
fn ws_21_a_close_by_an_end_that_comes_later_is_sent_at_once() {
    for (fails, code) in [(false, 1000), (true, 1011)] {
        let gate = Gate::default();
        let opened = gate.clone();
        let server = Server::start(move |_, _, send: Send| {
            let gate = opened.clone();
            async move {
                send.send(accept()).await?;
                gate.passed().await;
                if fails { Err(SendError::Status(7)) } else { Ok(()) }
            }
        });
        let mut socket = Socket::open(&server);
        socket.ping("open");
        assert_eq!(socket.next_pong(), "open");
        let begin = std::time::Instant::now();
        gate.open();
        socket.ends_with(code, "");
        // Not only when the time for the client's answer is over.
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
}
