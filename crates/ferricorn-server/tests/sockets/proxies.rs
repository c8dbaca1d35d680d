//! Behind proxies: what scopes and log lines say of the client, when it is told anew, and what ends a connection of the
//! PROXY protocol.

use std::rc::Rc;
use std::time::Duration;

use ferricorn_server::forwarded::{Fields, Trust};
use ferricorn_server::{Config, Limits, Proxies};

use crate::support::{Client, Direct};

const HEADER: &str = "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n";

/// Believes everybody on the loopback, in everything.
fn config(protocol: bool) -> Config {
    let words = ["for", "proto", "host", "port", "prefix", "forwarded"];
    let fields = words.iter().map(|word| word.parse().unwrap()).fold(Fields::NONE, Fields::with);
    let proxies = Proxies { trust: Trust::read(["127.0.0.0/8"]).unwrap(), fields, protocol };
    Config { proxies, access_log: true, ..Config::default() }
}

fn with_head_timeout(protocol: bool) -> Config {
    let limits = Limits { request_head: Duration::from_millis(50), ..Limits::default() };
    Config { limits: Rc::new(limits), ..config(protocol) }
}

fn get(fields: &str) -> String {
    format!("GET /hello HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

/// Lets the request be answered; what its scope said.
fn ask(direct: &Direct, client: &mut Client, request: &str) -> String {
    client.send(request);
    direct.serve(client);
    assert_eq!(client.response().status, 200);
    let [ends] = &direct.ends()[..] else { panic!("another number of calls") };
    ends.clone()
}

/// Waits until the server has no connection left; what it says of that.
fn closed(direct: &Direct) -> Vec<String> {
    direct.run_until(None, |direct| direct.worker.connections() == 0);
    direct.problems()
}

#[test]
fn ends_are_told_anew_where_they_differ() {
    let direct = Direct::new(config(false));
    let mut client = direct.connect();
    let own = format!("{} http://{}", client.address(), direct.address);
    let first = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n";
    let told = format!("192.0.2.1:0 https://{}", direct.address);
    for (fields, expected) in [
        (first.to_owned(), told.clone()),
        (first.to_owned(), format!("{told} again")),
        (format!("A: b\r\n{first}"), format!("{told} again")),
        (first.replace("2.1", "2.2"), told.replace("2.1:", "2.2:")),
        (String::new(), own.clone()),
        (String::new(), format!("{own} again")),
        ("A: b\r\n".to_owned(), format!("{own} again")),
        ("X-Forwarded-Host: a\r\nX-Forwarded-Port: 81\r\n".to_owned(), format!("{} http://a:81", client.address())),
        (first.to_owned(), told.clone()),
    ] {
        assert_eq!(ask(&direct, &mut client, &get(&fields)), expected, "{fields}");
    }
}

#[test]
fn an_idle_connection_forgets_the_fields_and_reads_them_again() {
    let direct = Direct::new(config(false));
    let mut client = direct.connect();
    let fields = "X-Forwarded-For: 192.0.2.1:80\r\nX-Forwarded-Host: a.example\r\n";
    let told = "192.0.2.1:80 http://a.example:80";
    assert_eq!(ask(&direct, &mut client, &get(fields)), told);
    assert_eq!(direct.kept(), 1);
    direct.run_until(None, |direct| direct.kept() == 0);
    assert_eq!(ask(&direct, &mut client, &get(fields)), format!("{told} again"));
    let own = format!("{} http://{}", client.address(), direct.address);
    assert_eq!(ask(&direct, &mut client, &get("")), own);
}

#[test]
fn log_lines_name_the_client_and_problems_the_peer() {
    let direct = Direct::new(config(false));
    let mut client = direct.connect();
    ask(&direct, &mut client, &get("X-Forwarded-For: 192.0.2.1:80\r\n"));
    assert_eq!(ask(&direct, &mut client, &get("Forwarded: for=unknown\r\n"))[..11], *"nobody http");
    let lines = direct.accesses();
    assert_eq!(lines[0], "192.0.2.1:80 - \"GET /hello HTTP/1.1\" 200");
    assert_eq!(lines[1], "unknown:0 - \"GET /hello HTTP/1.1\" 200");
    client.send("GET /hello HTTP/1.1\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n");
    direct.serve(&client);
    assert_eq!(client.response().status, 400);
    let expected = format!("{}: refused a request: the host header field is missing", client.address());
    assert_eq!(direct.problems(), [expected]);
}

#[test]
fn the_header_and_the_request_come_in_any_pieces() {
    let bytes = format!("{HEADER}{}", get(""));
    let direct = Direct::new(config(true));
    for at in 0..=bytes.len() {
        let mut client = direct.connect();
        client.send(&bytes[..at]);
        if at > 0 {
            // All that has come is read before the rest follows.
            direct.run_until(None, |direct| direct.worker.connections() == 1);
            direct.worker.poll();
        }
        client.send(&bytes[at..]);
        direct.serve(&client);
        assert_eq!(client.response().status, 200, "cut at {at}");
        assert_eq!(direct.ends(), ["192.0.2.1:56324 http://198.51.100.2:443 again"], "cut at {at}");
        drop(client);
        assert_eq!(closed(&direct), [""; 0]);
    }
}

#[test]
fn who_is_not_trusted_is_refused_before_it_says_anything() {
    let trust = Trust::read(["10.0.0.0/8", "unix"]).unwrap();
    let proxies = Proxies { trust, ..config(true).proxies };
    let direct = Direct::new(Config { proxies, ..config(true) });
    let mut client = direct.connect();
    direct.serve(&client);
    assert_eq!(client.rest().unwrap(), b"");
    let why = "refused a connection: it is not trusted to begin with a PROXY protocol header";
    assert_eq!(closed(&direct), [format!("{}: {why}", client.address())]);
}

#[test]
fn what_is_no_header_breaks_the_connection_off() {
    let direct = Direct::new(config(true));
    let mut client = direct.connect();
    client.send(get(""));
    direct.serve(&client);
    assert!(client.try_response().is_err());
    let why = "refused a connection: it does not begin with a PROXY protocol header";
    assert_eq!(closed(&direct), [format!("{}: {why}", client.address())]);
    assert_eq!(direct.ends(), [""; 0]);
}

#[test]
fn who_says_nothing_or_leaves_is_no_news() {
    let direct = Direct::new(with_head_timeout(true));
    for sent in ["", &HEADER[..20], HEADER] {
        let mut client = direct.connect();
        client.send(sent);
        direct.serve(&client);
        assert_eq!(client.rest().unwrap(), b"", "at the deadline of a head");
        let mut client = direct.connect();
        client.send(sent);
        client.half_close();
        direct.serve(&client);
        assert_eq!(client.rest().unwrap(), b"");
        assert_eq!(closed(&direct), [""; 0]);
    }
}
