//! Requests and responses on one connection: hello, echo, keep-alive, pipelining.

use std::pin::pin;

use asgi::{Receive, Scope, Send, SendError};

use crate::support::{
    Answer, Gate, Journal, Server, echo, first_of, hello, last, once_pending, part, path, pattern, start, start_with,
};

#[test]
fn hello_answers() {
    let response = Server::start(hello).exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((response.status, response.text()), (200, "Hello, world!"));
    assert_eq!(response.get("content-type"), Some("text/plain"));
    assert_eq!(response.get("content-length"), Some("13"));
    assert_eq!(response.get("date").map(str::len), Some("Sun, 06 Nov 1994 08:49:37 GMT".len()));
}

#[test]
fn a_connection_is_kept_until_one_side_says_otherwise() {
    let server = Server::start(hello);
    let mut client = server.connect();
    for _ in 0..100 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response().text(), "Hello, world!");
    }
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(client.response().get("connection"), Some("close"));
    assert_eq!(client.rest().unwrap(), b"");
}

#[test]
fn http_1_0_closes_unless_asked_not_to() {
    let server = Server::start(hello);
    let mut client = server.connect();
    client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(client.response().get("connection"), Some("keep-alive"));
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.response().text(), "Hello, world!");
    assert_eq!(client.rest().unwrap(), b"");
}

#[test]
fn the_answer_to_head_has_no_body() {
    let server = Server::start(hello);
    let mut client = server.connect();
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let response = client.try_response_to("HEAD").unwrap();
    assert_eq!((response.status, response.get("content-length")), (200, Some("13")));
    assert_eq!(client.response().text(), "Hello, world!");
}

#[test]
fn a_head_may_come_byte_by_byte() {
    let server = Server::start(hello);
    let mut client = server.connect();
    for byte in b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" {
        client.send([*byte]);
    }
    assert_eq!(client.response().text(), "Hello, world!");
}

#[test]
fn echo_of_a_body_with_a_length() {
    let server = Server::start(echo);
    for length in [0, 1, 5, 4096, 300_000] {
        let body = pattern(length);
        let mut request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n").into_bytes();
        request.extend(&body);
        let response = server.exchange(request);
        assert!(response.body == body, "{length}");
    }
}

#[test]
fn echo_of_a_chunked_body() {
    let server = Server::start(echo);
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("5;extension\r\nHello\r\n1\r\n,\r\n");
    client.send("007\r\n world!\r\n0\r\ntrailer: dropped\r\n\r\n");
    assert_eq!(client.response().text(), "Hello, world!");
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(client.response().text(), "");
}

#[test]
fn echo_answers_a_chunk_before_the_next_is_sent() {
    let server = Server::start(echo);
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for word in ["one", "two", "three"] {
        client.send(format!("{:x}\r\n{word}\r\n", word.len()));
        if word == "one" {
            assert_eq!(client.head().unwrap().status, 200);
        }
        assert_eq!(client.chunk().unwrap(), word.as_bytes());
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.chunk().unwrap(), b"");
}

#[test]
fn echo_of_8_mebibytes_both_ways_at_once() {
    let server = Server::start(echo);
    let body = pattern(8 << 20);
    let mut client = server.connect();

    let mut request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    request.extend(&body);
    let sending = client.send_beside(request);
    assert!(client.response().body == body);
    sending.join().unwrap().unwrap();

    let mut request = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(100_001) {
        request.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
        request.extend(chunk);
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\n\r\n");
    let sending = client.send_beside(request);
    assert!(client.response().body == body);
    sending.join().unwrap().unwrap();
}

#[test]
fn an_application_that_does_not_receive_asks_for_no_body() {
    let server = Server::start(hello);
    let response = server.exchange("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!((response.status, response.get("connection")), (200, Some("close")));
}

async fn reads_first(_: Scope, receive: Receive, send: Send) -> Result<(), SendError> {
    let _ = receive.receive().await;
    send.send(start(204)).await?;
    send.send(last("")).await
}

#[test]
fn expect_100_continue_comes_before_the_body_and_the_response() {
    let server = Server::start(reads_first);
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.head().unwrap().status, 100);
    client.send("ab");
    assert_eq!(client.response().status, 204);
}

/// Answers with its path, when `/slow` is let through and `/fast` at once.
fn by_path(gate: Gate) -> impl Fn(Scope, Receive, Send) -> Answer + std::marker::Send + 'static {
    move |scope, _, send| {
        let gate = gate.clone();
        Box::pin(async move {
            let path = path(&scope);
            if path.starts_with("/slow") {
                gate.passed().await;
            }
            send.send(start_with(&[("content-length", &path.len().to_string())])).await?;
            send.send(last(path)).await
        })
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let gate = Gate::default();
    let server = Server::start(by_path(gate.clone()));
    let mut client = server.connect();
    let mut requests = String::from("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    for number in 0..500 {
        requests.push_str(&format!("GET /fast/{number} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    client.send(requests);
    // Another connection does not wait for the first request of this one.
    assert_eq!(server.exchange("GET /fast HTTP/1.1\r\nHost: a\r\n\r\n").text(), "/fast");
    gate.open();
    assert_eq!(client.response().text(), "/slow");
    for number in 0..500 {
        assert_eq!(client.response().text(), format!("/fast/{number}"));
    }
}

#[test]
fn pipelined_requests_with_bodies_do_not_run_into_each_other() {
    let server = Server::start(echo);
    let mut client = server.connect();
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nonePOST / HTTP/1.1\r\nHost: a\r\n\
         Transfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nthree",
    );
    for word in ["one", "two", "three"] {
        assert_eq!(client.response().text(), word);
    }
}

#[test]
fn a_body_that_the_application_leaves_is_no_request() {
    let server = Server::start(hello);
    let mut client = server.connect();
    let body = "GET /evil HTTP/1.1\r\nHost: a\r\n";
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(client.response().text(), "Hello, world!");
    assert_eq!(client.response().text(), "Hello, world!");
    assert_eq!(client.rest().unwrap(), b"");
}

#[test]
fn a_streamed_part_arrives_while_the_application_goes_on() {
    let gate = Gate::default();
    let opened = gate.clone();
    let server = Server::start(move |_, _, send: Send| {
        let gate = opened.clone();
        async move {
            send.send(start(200)).await?;
            send.send(part("first")).await?;
            gate.passed().await;
            send.send(last("second")).await
        }
    });
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.head().unwrap().get("transfer-encoding"), Some("chunked"));
    assert_eq!(client.chunk().unwrap(), b"first");
    gate.open();
    assert_eq!(client.chunk().unwrap(), b"second");
    assert_eq!(client.chunk().unwrap(), b"");
}

#[test]
fn a_future_is_woken_from_another_thread() {
    let (note, waiting) = Journal::new();
    let server = Server::start(move |_, _, send: Send| {
        let note = note.clone();
        async move {
            // So often that a server which only looks at its next tick does not come to the end in time.
            for _ in 0..1000 {
                let gate = Gate::default();
                note.send(gate.clone()).unwrap();
                gate.passed().await;
            }
            send.send(start(204)).await?;
            send.send(last("")).await
        }
    });
    let opening = std::thread::spawn(move || (0..3000).for_each(|_| waiting.next().open()));
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.response().status, 204);
    }
    opening.join().unwrap();
}

#[test]
fn an_application_may_wait_for_two_things_at_once() {
    let gate = Gate::default();
    let opened = gate.clone();
    let (note, waiting) = Journal::new();
    let server = Server::start(move |_, receive: Receive, send: Send| {
        let (gate, note) = (opened.clone(), note.clone());
        async move {
            let _ = receive.receive().await;
            {
                let mut disconnect = pin!(receive.receive());
                let mut passed = pin!(gate.passed());
                once_pending(&mut disconnect).await;
                note.send(()).unwrap();
                first_of(&mut disconnect, &mut passed).await;
            }
            send.send(start(204)).await?;
            send.send(last("")).await
        }
    });
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    waiting.next();
    gate.open();
    assert_eq!(client.response().status, 204);
}

#[test]
fn ext_15_trailers_that_never_come_end_the_response_when_the_application_returns() {
    let gate = Gate::default();
    let opened = gate.clone();
    let server = Server::start(move |_, _, send: Send| {
        let gate = opened.clone();
        async move {
            let start = asgi::ResponseStart { status: 200, trailers: true, ..asgi::ResponseStart::default() };
            send.send(asgi::SendEvent::ResponseStart(start)).await?;
            send.send(last("body")).await?;
            gate.passed().await;
            Ok(())
        }
    });
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n");
    assert_eq!(client.head().unwrap().status, 200);
    assert_eq!(client.chunk().unwrap(), b"body");
    gate.open();
    assert_eq!(client.chunk().unwrap(), b"");
}
