//! Where the server listens: unix sockets with their mode, IPv6, several at once, inherited descriptors.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::{fs, io};

use asgi::{Address, Receive, Scope, Send, SendError};
use ferricorn_server::{Bind, Limits, Listener};

use crate::support::{Scratch, Server, hello, last, start};

/// Answers with both addresses of the scope.
async fn addresses(scope: Scope, _: Receive, send: Send) -> Result<(), SendError> {
    let Scope::Http(http) = scope else { return Ok(()) };
    let text = |address: &Option<Address>| address.as_ref().map_or_else(|| "none".to_owned(), Address::to_string);
    send.send(start(200)).await?;
    send.send(last(format!("{} {}", text(&http.client), text(&http.server)))).await
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn a_unix_socket_has_the_mode_that_was_asked_for_and_goes_with_the_server() {
    let scratch = Scratch::new("unix");
    let path = scratch.path().join("socket");
    let listener = Listener::unix(&path, 0o640, 16).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(listener.to_string(), format!("unix:{}", path.display()));

    let mut server = Server::on(vec![listener], Limits::default, addresses);
    assert_eq!(server.exchange(GET).text(), format!("none {}", path.display()));
    server.begin_stop();
    server.join();
    assert!(!path.exists());
}

#[test]
fn bind_gives_a_unix_socket_to_everyone() {
    let scratch = Scratch::new("bind");
    let path = scratch.path().join("socket");
    let listener = Listener::bind(&Bind::Unix(path.clone()), 16).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
    let server = Server::on(vec![listener], Limits::default, hello);
    assert_eq!(server.exchange(GET).status, 200);
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let scratch = Scratch::new("file");
    let path = scratch.file("precious", b"data");
    let error = Listener::unix(&path, 0o600, 16).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert_eq!(fs::read(&path).unwrap(), b"data");
}

#[test]
fn the_loopback_of_ipv6() {
    let listener = Listener::bind(&"[::1]:0".parse().unwrap(), 16).unwrap();
    let Address::Ip(bound) = listener.address().clone() else { panic!("an IP address was bound") };
    assert!(bound.is_ipv6() && bound.port() != 0);
    let server = Server::on(vec![listener], Limits::default, addresses);
    let response = server.exchange(GET);
    let (client, local) = response.text().split_once(' ').unwrap();
    assert_eq!(local, bound.to_string());
    assert!(client.starts_with("[::1]:"), "{client}");
}

#[test]
fn several_listeners_serve_the_same_application() {
    let scratch = Scratch::new("several");
    let listeners = vec![
        Listener::tcp("127.0.0.1", 0, 16).unwrap(),
        Listener::tcp("localhost", 0, 16).unwrap(),
        Listener::unix(&scratch.path().join("socket"), 0o600, 16).unwrap(),
    ];
    let server = Server::on(listeners, Limits::default, hello);
    for address in &server.addresses {
        let mut client = crate::support::Client::connect(address);
        client.send(GET);
        assert_eq!(client.response().status, 200, "{address}");
    }
}

#[test]
fn a_port_that_is_taken_is_an_error() {
    let taken = Listener::tcp("127.0.0.1", 0, 16).unwrap();
    let error = Listener::bind(&taken.to_string().parse().unwrap(), 16).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn a_descriptor_that_listens_or_can_is_taken_over() {
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let bound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    bound.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    for fd in [OwnedFd::from(listening), OwnedFd::from(bound)] {
        let listener = Listener::from_fd(fd).unwrap();
        let server = Server::on(vec![listener], Limits::default, hello);
        assert_eq!(server.exchange(GET).status, 200);
    }
}

#[test]
fn a_descriptor_that_cannot_be_served_is_an_error() {
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    assert_eq!(Listener::from_fd(datagrams.into()).err().unwrap().kind(), io::ErrorKind::InvalidInput);
    assert_eq!(Listener::bind(&Bind::Descriptor(0), 16).err().unwrap().kind(), io::ErrorKind::Unsupported);
}

#[test]
fn a_duplicate_leaves_the_file_of_the_unix_socket() {
    let scratch = Scratch::new("duplicate");
    let path = scratch.path().join("socket");
    let listener = Listener::unix(&path, 0o600, 16).unwrap();
    drop(listener.duplicate().unwrap());
    assert!(path.exists());
    let server = Server::on(vec![listener.duplicate().unwrap()], Limits::default, hello);
    assert_eq!(server.exchange(GET).status, 200);
}
