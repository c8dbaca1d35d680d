//! The examples, as people run them.

use crate::support::websocket::{Frame, Socket, handshake};
use crate::support::{Example, pattern};

#[test]
fn the_hello_example_serves() {
    let example = Example::run("hello");
    let mut client = example.connect();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let response = client.response();
        assert_eq!((response.status, response.text()), (200, "Hello, world!\n"));
        assert_eq!(response.get("content-type"), Some("text/plain"));
    }
}

#[test]
fn the_echo_example_serves() {
    let example = Example::run("echo");
    let mut client = example.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(client.response().text(), "hello");
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n");
    assert_eq!(client.response().text(), "onetwo");
    let body = pattern(8 << 20);
    let mut request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    request.extend(&body);
    let sending = client.send_beside(request);
    assert!(client.response().body == body);
    sending.join().unwrap().unwrap();
}

#[test]
fn the_websocket_example_serves() {
    let example = Example::run("websocket");
    let mut client = example.connect();
    client.send(handshake("/", ""));
    let (mut socket, _) = Socket::opened(client);
    let body = pattern(1 << 20);
    socket.text("w\u{f6}rter");
    socket.binary(&body);
    assert_eq!(socket.frame().unwrap(), Frame::text("w\u{f6}rter"));
    assert!(socket.next_binary() == body);
    socket.close(1000, "");
    assert_eq!(socket.next_close(), Some((1000, String::new())));
    assert_eq!(socket.client.rest().unwrap(), b"");
}
