//! What a worker tells its host and its application, one step at a time: log lines, wakes, limits, the end of a drain.

use std::os::fd::AsRawFd;
use std::time::Duration;

use asgi::{Outcome, ReceiveEvent, SendError, SendEvent, Wake};
use ferricorn_server::{Config, Drain, Limits, Listener};
use std::task::Poll;

use crate::support::{Client, Direct, Owned, Scratch};

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn name(client: &Client) -> String {
    client.address().to_string()
}

fn logging() -> Config {
    Config { access_log: true, ..Config::default() }
}

#[test]
fn each_response_is_one_line_of_the_access_log() {
    let direct = Direct::new(logging());
    let mut client = direct.connect();
    client.send(get("/hello?a=%20b") + &get("/hello"));
    direct.serve(&client);
    assert_eq!(client.response().status, 200);
    client.send("DELETE /fail HTTP/1.0\r\n\r\n");
    direct.run_until(None, |direct| direct.worker.connections() == 1 && direct.worker.calls() == 3);
    direct.serve(&client);
    let name = name(&client);
    assert_eq!(
        direct.accesses(),
        [
            format!("{name} - \"GET /hello?a=%20b HTTP/1.1\" 200"),
            format!("{name} - \"GET /hello HTTP/1.1\" 200"),
            format!("{name} - \"DELETE /fail HTTP/1.0\" 500"),
        ]
    );
    assert_eq!(direct.problems(), [""; 0]);
}

#[test]
fn a_client_of_a_unix_socket_has_no_address_in_the_log() {
    let scratch = Scratch::new("log");
    let direct = Direct::on(Listener::unix(&scratch.path().join("socket"), 0o600, 16).unwrap(), logging());
    let mut client = direct.connect();
    client.send(get("/hello"));
    direct.serve(&client);
    assert_eq!(client.response().status, 200);
    assert_eq!(direct.accesses(), ["\"GET /hello HTTP/1.1\" 200"]);
    client.send("nonsense\r\n\r\n");
    direct.serve(&client);
    let problems = direct.problems();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].starts_with("a client: refused a request: "), "{}", problems[0]);
}

#[test]
fn the_access_log_can_be_off() {
    let direct = Direct::new(Config::default());
    let mut client = direct.connect();
    client.send(get("/hello"));
    direct.serve(&client);
    assert_eq!(client.response().status, 200);
    assert_eq!(direct.accesses(), [""; 0]);
}

#[test]
fn a_refused_request_is_answered_and_logged_once() {
    let direct = Direct::new(logging());
    let mut client = direct.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET");
    direct.serve(&client);
    let response = client.response();
    assert_eq!((response.status, response.get("connection")), (400, Some("close")));
    let name = name(&client);
    drop(client);
    direct.run_until(None, |direct| direct.worker.connections() == 0);
    assert_eq!(direct.problems(), [format!("{name}: refused a request: both content-length and transfer-encoding")]);
    assert_eq!(direct.accesses(), [""; 0]);
    assert_eq!(direct.worker.calls(), 0);
}

#[test]
fn a_body_that_is_refused_while_it_is_received_is_logged_once() {
    let direct = Direct::new(logging());
    let mut client = direct.connect();
    client.send("POST /hold HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n");
    direct.run_until(None, |direct| !direct.held().is_empty());
    let exchange = direct.held()[0];
    for _ in 0..3 {
        assert_eq!(direct.worker.receive(exchange, Owned), Poll::Ready(ReceiveEvent::Disconnect));
    }
    direct.serve(&client);
    assert_eq!(client.response().status, 400);
    direct.worker.finish(exchange, Outcome::Returned);
    drop(client);
    direct.run_until(None, |direct| direct.worker.connections() == 0);
    assert_eq!(direct.problems().len(), 1);
}

#[test]
fn above_the_limit_of_calls_the_answer_is_503() {
    let direct = Direct::new(Config { concurrency: 1, ..logging() });
    let (mut first, mut second) = (direct.connect(), direct.connect());
    first.send(get("/hold"));
    direct.run_until(None, |direct| direct.worker.running() == 1);
    second.send(get("/hello"));
    direct.serve(&second);
    assert_eq!(second.response().status, 503);
    direct.release();
    direct.serve(&first);
    assert_eq!(first.response().text(), "hello");
    second = direct.connect();
    second.send(get("/hello"));
    direct.serve(&second);
    assert_eq!(second.response().status, 200);
    let statuses: Vec<_> = direct.accesses().iter().map(|line| line[line.len() - 3..].to_owned()).collect();
    assert_eq!(statuses, ["503", "200", "200"]);
}

#[test]
fn the_limit_of_all_calls_is_told_once_and_the_worker_goes_on() {
    let direct = Direct::new(Config { max_calls: 2, ..Config::default() });
    let mut client = direct.connect();
    for told in [0, 1, 1, 1] {
        client.send(get("/hello"));
        direct.serve(&client);
        assert_eq!((client.response().status, direct.limits_reached()), (200, told));
    }
}

#[test]
fn a_wake_follows_what_was_waited_for_and_nothing_else() {
    let direct = Direct::new(Config::default());
    let mut client = direct.connect();
    client.send("POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n");
    direct.run_until(None, |direct| !direct.held().is_empty());
    let exchange = direct.held()[0];
    client.send("ab");
    direct.run_until(None, |direct| {
        direct.worker.receive(exchange, Owned)
            == Poll::Ready(ReceiveEvent::Request { body: b"ab".to_vec(), more_body: true })
    });
    assert!(direct.worker.receive(exchange, Owned).is_pending());
    direct.wakes();
    client.send("cd");
    let mut wakes = Vec::new();
    direct.run_until(None, |direct| {
        wakes.extend(direct.wakes());
        !wakes.is_empty()
    });
    assert_eq!(wakes, [Wake::Receive]);
    let event = ReceiveEvent::Request { body: b"cd".to_vec(), more_body: false };
    assert_eq!(direct.worker.receive(exchange, Owned), Poll::Ready(event));
    direct.release();
    direct.serve(&client);
    assert_eq!(client.response().text(), "hello");
    assert_eq!(direct.wakes(), []);
}

#[test]
fn con_14_an_exchange_that_is_over_finds_nothing() {
    let direct = Direct::new(Config::default());
    let mut client = direct.connect();
    client.send(get("/hold"));
    direct.run_until(None, |direct| !direct.held().is_empty());
    let exchange = direct.held()[0];
    direct.release();
    direct.serve(&client);
    assert_eq!(client.response().text(), "hello");
    // The next exchange of the connection is another one.
    client.send(get("/hold"));
    direct.run_until(None, |direct| !direct.held().is_empty());
    assert_ne!(direct.held()[0], exchange);
    assert_eq!(direct.worker.receive(exchange, Owned), Poll::Ready(ReceiveEvent::Disconnect));
    // So is one of another connection in its place.
    direct.release();
    drop(client);
    direct.run_until(None, |direct| direct.worker.connections() == 0);
    let mut client = direct.connect();
    client.send(get("/hello"));
    direct.serve(&client);
    let hint = SendEvent::ResponseEarlyHint { links: Vec::new() };
    assert!(matches!(direct.worker.send(exchange, hint), Err(SendError::Disconnected)));
    assert_eq!(client.response().text(), "hello");
}

#[test]
fn a_late_failure_breaks_the_connection_off() {
    let direct = Direct::new(logging());
    let mut client = direct.connect();
    client.send(get("/fail/late"));
    direct.serve(&client);
    direct.run_until(None, |direct| direct.worker.connections() == 0);
    assert_eq!(client.head().unwrap().status, 200);
    assert_eq!(client.chunk().unwrap(), b"part");
    assert!(client.chunk().is_err());
}

#[test]
fn a_drain_ends_once_with_the_last_call() {
    let direct = Direct::new(Config::default());
    let (mut held, idle) = (direct.connect(), direct.connect());
    held.send(get("/hold"));
    direct.run_until(None, |direct| direct.worker.running() == 1 && direct.worker.connections() == 2);
    direct.worker.drain(Drain::Quick);
    direct.run_until(Some(idle.as_raw_fd()), |direct| direct.worker.connections() == 1);
    assert!(Client::try_connect(&direct.address).is_err());
    assert_eq!(direct.drained(), 0);
    direct.release();
    direct.serve(&held);
    assert_eq!(held.response().get("connection"), Some("close"));
    drop((held, idle));
    direct.run_until(None, |direct| direct.drained() > 0);
    direct.worker.poll();
    direct.worker.tick();
    assert_eq!(direct.drained(), 1);
}

#[test]
fn a_request_that_came_in_time_is_answered_however_late_it_is_seen() {
    let limits = Limits { keep_alive: Duration::ZERO, ..Limits::default() };
    let direct = Direct::new(Config { limits: limits.into(), ..Config::default() });
    let mut client = direct.connect();
    direct.run_until(None, |direct| direct.worker.connections() == 1);
    client.send(get("/hello"));
    direct.worker.poll();
    assert_eq!(client.response().text(), "hello");
    client.send(get("/hello"));
    // As after a call that has blocked the loop, where a loop looks at its timers first.
    direct.worker.tick();
    direct.worker.poll();
    assert_eq!(client.response().text(), "hello");
    direct.worker.tick();
    assert_eq!(client.rest().unwrap(), b"", "closed, for nothing came");
}

#[test]
fn a_request_that_was_underway_when_the_drain_began_is_answered() {
    let direct = Direct::new(Config::default());
    let mut client = direct.connect();
    direct.run_until(None, |direct| direct.worker.connections() == 1);
    client.send(get("/hello"));
    let mut waiting = direct.connect();
    waiting.send(get("/hello"));
    direct.worker.drain(Drain::Quick);
    for client in [&mut client, &mut waiting] {
        direct.serve(client);
        assert_eq!(client.response().text(), "hello");
    }
}

#[test]
fn con_09_a_patient_drain_serves_idle_connections_once_more() {
    let direct = Direct::new(Config::default());
    let (mut used, mut fresh) = (direct.connect(), direct.connect());
    used.send(get("/hello"));
    direct.serve(&used);
    assert_eq!(used.response().get("connection"), None);
    direct.run_until(None, |direct| direct.worker.connections() == 2);
    direct.worker.drain(Drain::Patient);
    for client in [&mut used, &mut fresh] {
        client.send(get("/hello") + &get("/hello"));
        direct.serve(client);
        assert_eq!(client.response().get("connection"), Some("close"));
        direct.serve(client);
        assert_eq!(client.rest().unwrap(), b"", "the second of two pipelined requests is not begun, and nothing reset");
    }
    assert_eq!((direct.worker.calls(), direct.drained()), (3, 0));
    drop((used, fresh));
    direct.run_until(None, |direct| direct.drained() == 1);
}

#[test]
fn con_09_a_patient_drain_lets_idle_connections_time_out() {
    let limits = Limits { keep_alive: Duration::from_millis(600), ..Limits::default() };
    let direct = Direct::new(Config { limits: limits.into(), ..Config::default() });
    let mut client = direct.connect();
    client.send(get("/hello"));
    direct.serve(&client);
    client.response();
    direct.worker.drain(Drain::Patient);
    assert_eq!((direct.worker.connections(), direct.drained()), (1, 0));
    direct.run_until(None, |direct| direct.drained() == 1);
    assert_eq!(client.rest().unwrap(), b"");
}

#[test]
fn con_09_a_quick_drain_ends_a_patient_one() {
    let direct = Direct::new(Config::default());
    let client = direct.connect();
    direct.run_until(None, |direct| direct.worker.connections() == 1);
    direct.worker.drain(Drain::Patient);
    assert_eq!(direct.drained(), 0);
    direct.worker.drain(Drain::Quick);
    direct.run_until(Some(client.as_raw_fd()), |direct| direct.drained() == 1);
}

#[test]
fn a_worker_that_is_replaced_leaves_the_backlog_to_the_others() {
    let listener = Listener::tcp("127.0.0.1", 0, 128).unwrap();
    let shared = listener.duplicate().unwrap();
    let (old, new) = (Direct::on(listener, Config::default()), Direct::on(shared, Config::default()));
    let mut client = old.connect();
    client.send(get("/hello"));
    old.worker.drain(Drain::Patient);
    assert_eq!((old.worker.connections(), old.drained()), (0, 1));
    new.serve(&client);
    assert_eq!(client.response().get("connection"), None);
}

#[test]
fn closing_tells_the_application_and_drops_every_connection() {
    let direct = Direct::new(Config::default());
    let mut client = direct.connect();
    client.send(get("/hold"));
    direct.run_until(None, |direct| !direct.held().is_empty());
    let exchange = direct.held()[0];
    let _ = direct.worker.receive(exchange, Owned);
    assert!(direct.worker.receive(exchange, Owned).is_pending());
    direct.worker.close();
    assert_eq!(direct.wakes(), [Wake::Receive]);
    assert_eq!(direct.worker.receive(exchange, Owned), Poll::Ready(ReceiveEvent::Disconnect));
    assert!(client.try_response().is_err());
    assert_eq!((direct.worker.connections(), direct.drained()), (0, 0));
    direct.worker.finish(exchange, Outcome::Returned);
    direct.run_until(None, |direct| direct.drained() == 1);
}
