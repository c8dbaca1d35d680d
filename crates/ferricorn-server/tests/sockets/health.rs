//! The health path: the worker itself answers, and nobody else hears of it.

use ferricorn_server::{Config, Drain, Listener};

use crate::support::{Client, Direct, Response, Scratch};

fn config() -> Config {
    Config { health_path: "/health".to_owned(), access_log: true, concurrency: 1, max_calls: 1, ..Config::default() }
}

fn ask(direct: &Direct, client: &mut Client, line: &str) -> Response {
    client.send(format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n"));
    direct.serve(client);
    client.try_response_to(line.split(' ').next().unwrap()).unwrap()
}

#[test]
fn the_worker_says_that_it_serves() {
    let direct = Direct::new(config());
    let mut client = direct.connect();
    for (line, body) in [("GET /health", "ok\n"), ("GET /health?verbose", "ok\n"), ("HEAD /health", "")] {
        let response = ask(&direct, &mut client, line);
        assert_eq!((response.status, response.text(), response.get("connection")), (200, body, None));
        assert_eq!(response.get("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(response.get("content-length"), Some("3"));
    }
    assert_eq!((direct.worker.calls(), direct.limits_reached()), (0, 0));
    assert_eq!(direct.accesses(), [""; 0]);
}

#[test]
fn every_other_request_is_the_applications() {
    let direct = Direct::new(Config { health_path: "/hello".to_owned(), ..config() });
    for line in ["POST /hello", "GET /flood/0", "GET /hold", "OPTIONS /hello"] {
        let calls = direct.worker.calls();
        let mut client = direct.connect();
        client.send(format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n"));
        direct.run_until(None, |direct| direct.worker.calls() == calls + 1);
        direct.release();
    }
}

#[test]
fn a_worker_with_as_much_to_do_as_it_may_is_healthy() {
    let direct = Direct::new(config());
    let (mut held, mut client) = (direct.connect(), direct.connect());
    held.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    direct.run_until(None, |direct| direct.worker.running() == 1);
    assert_eq!(ask(&direct, &mut client, "GET /health").status, 200);
    assert_eq!(ask(&direct, &mut client, "GET /hello").status, 503);
}

#[test]
fn it_is_answered_between_pipelined_requests() {
    let direct = Direct::new(config());
    let mut client = direct.connect();
    client.send(["/hello", "/health", "/hello"].map(|path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).concat());
    direct.run_until(None, |direct| direct.worker.calls() == 2);
    for body in ["hello", "ok\n", "hello"] {
        assert_eq!(client.response().text(), body);
    }
}

#[test]
fn the_process_can_say_that_it_will_not_serve_for_long() {
    let direct = Direct::new(config());
    direct.worker.set_healthy(false);
    let mut client = direct.connect();
    let response = ask(&direct, &mut client, "GET /health");
    assert_eq!((response.status, response.text(), response.get("connection")), (503, "draining\n", Some("close")));
    let mut other = direct.connect();
    assert_eq!(ask(&direct, &mut other, "GET /hello").get("connection"), None, "requests are served as ever");
    direct.worker.set_healthy(true);
    assert_eq!(ask(&direct, &mut direct.connect(), "GET /health").status, 200);
}

#[test]
fn a_drain_says_so_as_well() {
    let scratch = Scratch::new("health");
    let direct = Direct::on(Listener::unix(&scratch.path().join("socket"), 0o600, 16).unwrap(), config());
    let (mut first, mut second) = (direct.connect(), direct.connect());
    for client in [&mut first, &mut second] {
        assert_eq!(ask(&direct, client, "GET /health").status, 200);
    }
    // Others go on where a worker is replaced.
    direct.worker.drain(Drain::Patient);
    let response = ask(&direct, &mut first, "GET /health");
    assert_eq!((response.status, response.get("connection")), (200, Some("close")));
    second.send("GET /health HTTP/1.1\r\n");
    direct.run_until(None, |direct| {
        direct.worker.poll();
        direct.worker.connections() == 2
    });
    direct.worker.drain(Drain::Quick);
    direct.worker.set_healthy(true);
    second.send("Host: a\r\n\r\n");
    direct.serve(&second);
    let response = second.response();
    assert_eq!((response.status, response.get("connection")), (503, Some("close")));
    drop((first, second));
    direct.run_until(None, |direct| direct.drained() == 1);
}

#[test]
fn without_a_path_there_is_none() {
    let direct = Direct::new(Config::default());
    let mut client = direct.connect();
    assert_eq!(ask(&direct, &mut client, "GET /hello").text(), "hello");
    assert_eq!(direct.worker.calls(), 1);
}
