//! WebSockets over extended CONNECT (RFC 8441), with the crate as the client of the stream that carries them.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::Cursor;
use std::rc::Rc;

use ferricorn_proto::{Finished, Limits, websocket};
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request};

use super::super::support::plain;
use super::client::Bytes;
use super::exchange::{Exchange, bytes, fields, fields_of};
use super::wire::Chops;
use super::world::{World, builder};

const CHOPS: [Chops; 3] = [Chops::Whole, Chops::Single, Chops::Random(41)];

/// No pings of the server's own.
fn quiet() -> Limits {
    let websocket = websocket::Limits { ping_interval: None, ..websocket::Limits::default() };
    Limits { websocket: Some(websocket.into()), ..plain() }
}

fn connect(number: usize) -> Request<()> {
    let request = Request::connect(format!("http://a.example/{number}"));
    let request = request.extension(Protocol::from_static("websocket"));
    request.header("sec-websocket-version", "13").body(()).unwrap()
}

/// A frame of the client's (RFC 6455 section 5.2), masked.
fn client(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [7, 0, 255, 99];
    let mut bytes = head(first, payload.len(), 0x80);
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A frame of the server's.
fn server(first: u8, payload: &[u8]) -> Vec<u8> {
    [head(first, payload.len(), 0), payload.to_vec()].concat()
}

fn head(first: u8, length: usize, mask: u8) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..=125 => bytes.push(mask | length as u8),
        126..=65_535 => {
            bytes.push(mask | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(mask | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes
}

/// So many bytes of the stream.
async fn read(body: &mut RecvStream, length: usize) -> Vec<u8> {
    let mut read = Vec::new();
    while read.len() < length {
        let part = body.data().await.expect("the stream has ended").unwrap();
        body.flow_control().release_capacity(part.len()).unwrap();
        read.extend_from_slice(&part);
    }
    read
}

/// Begins a WebSocket: its number, and what `talk` makes of the open stream.
fn begin<F>(world: &mut World, talk: impl FnOnce(SendStream<Bytes>, RecvStream) -> F + 'static) -> usize
where
    F: Future<Output = ()> + 'static,
{
    let mut exchange = Exchange::get(b"");
    exchange.answer.fields = fields(&[("x", "y")]);
    world.server.book.push(Rc::new(exchange));
    world.forget_answer();
    let number = world.server.book.len() - 1;
    let mut sender = world.sender();
    world.spawn(async move {
        poll_fn(|cx| sender.poll_ready(cx)).await.unwrap();
        assert!(sender.is_extended_connect_protocol_enabled());
        let (response, stream) = sender.send_request(connect(number), false).unwrap();
        let (head, body) = response.await.unwrap().into_parts();
        assert_eq!((head.status.as_u16(), fields_of(&head.headers)), (200, fields(&[("x", "y")])));
        talk(stream, body).await;
    });
    number
}

fn open(chops: Chops) -> World {
    let mut world = World::new(quiet(), &builder(), chops);
    // The client may ask only when it has seen the setting (RFC 8441 section 3).
    world.run();
    world
}

#[test]
fn http2_rfc_8441_messages_come_back() {
    for chops in CHOPS {
        let mut world = open(chops);
        let numbers = [(); 3].map(|()| {
            begin(&mut world, move |mut stream, mut body| async move {
                for length in [0, 1, 125, 126, 1000, 65_535, 65_536, 100_000]
                    .into_iter()
                    .filter(|&length| length <= 1000 || !matches!(chops, Chops::Single))
                {
                    let sent = bytes(length);
                    stream.send_data(Cursor::new(client(0x82, &sent)), false).unwrap();
                    let expected = server(0x82, &sent);
                    assert!(read(&mut body, expected.len()).await == expected, "{length}");
                }
                // A message in two frames, which are in one DATA frame each and then in one for both, with a ping between.
                for whole in [false, true] {
                    let frames = [client(0x01, b"frag"), client(0x89, b"ping"), client(0x80, b"mented")];
                    let parts = if whole { vec![frames.concat()] } else { frames.to_vec() };
                    for part in parts {
                        stream.send_data(Cursor::new(part), false).unwrap();
                    }
                    let expected = [server(0x8a, b"ping"), server(0x81, b"fragmented")].concat();
                    assert_eq!(read(&mut body, expected.len()).await, expected);
                }
                stream.send_data(Cursor::new(client(0x88, b"\x03\xe8bye")), false).unwrap();
                let closed = read(&mut body, 4).await;
                assert_eq!(closed, server(0x88, b"\x03\xe8"));
                assert!(body.data().await.is_none());
            })
        });
        world.run();
        for number in numbers {
            let asked = world.asked(number);
            assert_eq!((&asked.method[..], &asked.path), ("CONNECT", &format!("/{number}")));
            assert_eq!(asked.fields, fields(&[("host", "a.example"), ("sec-websocket-version", "13")]));
            assert_eq!(asked.body.escape_ascii().to_string(), "fragmentedfragmented1000");
            assert_eq!(asked.finished, Some(Finished::Complete));
        }
        world.end();
    }
}

/// RFC 8441 section 5: a stream that ends without a close frame is as a TCP connection that does: 1006, by END_STREAM and by
/// RST_STREAM.
#[test]
fn http2_rfc_8441_a_stream_that_just_ends() {
    for (chops, resets) in CHOPS.into_iter().flat_map(|chops| [(chops, false), (chops, true)]) {
        let mut world = open(chops);
        let error = Rc::new(RefCell::new(None));
        let seen = Rc::clone(&error);
        let number = begin(&mut world, move |mut stream, mut body| async move {
            stream.send_data(Cursor::new(client(0x81, b"hello")), false).unwrap();
            assert_eq!(read(&mut body, 7).await, server(0x81, b"hello"));
            if resets {
                stream.send_reset(Reason::CANCEL);
            } else {
                stream.send_data(Cursor::new(Vec::new()), true).unwrap();
            }
            let end = body.data().await;
            *seen.borrow_mut() = end.and_then(|end| end.unwrap_err().reason());
        });
        world.run();
        assert_eq!(world.asked(number).body, b"hello1006");
        assert_eq!(*error.borrow(), Some(Reason::CANCEL));
        world.end();
    }
}

/// RFC 9113 section 8.5: without :protocol, CONNECT asks for a tunnel, which nobody has here.
#[test]
fn http2_8_5_a_tunnel_is_refused() {
    let mut world = open(Chops::Random(42));
    let mut sender = world.sender();
    let status = Rc::new(RefCell::new(None));
    let seen = Rc::clone(&status);
    world.spawn(async move {
        let mut request = Request::new(());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = "a.example:443".parse().unwrap();
        let (response, _stream) = sender.send_request(request, false).unwrap();
        *seen.borrow_mut() = Some(response.await.unwrap().status().as_u16());
    });
    world.run();
    assert_eq!(world.server.refused, [ferricorn_proto::RequestError::Connect]);
    assert_eq!(*status.borrow(), Some(world.server.refused[0].status()));
    world.end();
}

/// RFC 8441 section 3: without the setting, no client asks.
#[test]
fn http2_rfc_8441_without_websockets_nothing_is_announced() {
    let mut world = World::new(Limits { websocket: None, ..plain() }, &builder(), Chops::Whole);
    world.begin(Exchange::get(b"hello"));
    world.run();
    assert!(!world.sender().is_extended_connect_protocol_enabled());
    world.check();
    world.end();
}
