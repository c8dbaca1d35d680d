//! How streams and connections end, by either side (RFC 9113 sections 5.4, 6.4, 6.7 and 6.8), and that what does not end with
//! them goes on.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::Cursor;
use std::rc::Rc;
use std::time::Duration;

use ferricorn_proto::http2::ConnectionError;
use ferricorn_proto::{Closing, Drain, Finished, Limits, TimeoutKind, http2};
use h2::{Ping, Reason};

use super::super::support::{plain, window_update};
use super::exchange::{Answered, Exchange, Failure, bytes, fields};
use super::wire::Chops;
use super::world::{World, builder};

const CHOPS: [Chops; 3] = [Chops::Whole, Chops::Single, Chops::Random(21)];

fn open(chops: Chops) -> World {
    let mut world = World::new(plain(), &builder(), chops);
    world.run();
    world
}

fn post(body: &[u8]) -> Exchange {
    Exchange::echo(&[body.to_vec()])
}

/// An exchange that a test drives itself; only the application's side is seen.
fn by_hand(world: &mut World, exchange: Exchange) -> usize {
    world.server.book.push(Rc::new(exchange));
    world.forget_answer();
    world.server.book.len() - 1
}

/// The other exchanges are whole.
fn others(world: &World, numbers: &[usize]) {
    for &number in numbers {
        assert_eq!(world.answered(number), world.server.book[number].answered());
        assert_eq!(world.asked(number), &world.server.book[number].asked(number));
    }
}

/// RFC 9113 section 6.4: the client gives up what it sends.
#[test]
fn http2_6_4_the_client_resets_a_request() {
    for chops in CHOPS {
        let mut world = open(chops);
        let before = world.begin(post(b"before"));
        let number = by_hand(&mut world, post(b""));
        let (mut sender, request) = (world.sender(), world.server.book[number].request(number));
        let idle = world.idle.clone();
        world.spawn(async move {
            poll_fn(|cx| sender.poll_ready(cx)).await.unwrap();
            let (response, mut stream) = sender.send_request(request, false).unwrap();
            stream.send_data(Cursor::new(b"a part".to_vec()), false).unwrap();
            idle.wait().await;
            stream.send_reset(Reason::CANCEL);
            assert_eq!(response.await.unwrap_err().reason(), Some(Reason::CANCEL));
        });
        world.run();
        let after = world.begin(post(b"after"));
        world.run();
        others(&world, &[before, after]);
        let asked = world.asked(number);
        assert_eq!((asked.gone, asked.whole, &asked.body[..]), (true, false, &b"a part"[..]));
        assert_eq!(asked.finished, Some(Finished::Disconnected));
        world.end();
    }
}

/// Whoever drops the crate's handles resets the stream: ahead of the response, and inside of it.
#[test]
fn http2_6_4_the_client_drops_a_response() {
    for (chops, taken) in CHOPS.into_iter().flat_map(|chops| [(chops, None), (chops, Some(0)), (chops, Some(1000))]) {
        let mut world = open(chops);
        world.server.is_asleep = taken.is_none();
        let mut exchange = Exchange::get(b"");
        exchange.answer.parts = vec![bytes(60_000); 3];
        let number = by_hand(&mut world, exchange);
        let (mut sender, request) = (world.sender(), world.server.book[number].request(number));
        let idle = world.idle.clone();
        world.spawn(async move {
            let (response, _) = sender.send_request(request, true).unwrap();
            let Some(taken) = taken else {
                idle.wait().await;
                return drop(response);
            };
            let mut body = response.await.unwrap().into_body();
            let mut sum = 0;
            while sum < taken {
                sum += body.data().await.unwrap().unwrap().len();
            }
        });
        world.run();
        world.server.is_asleep = false;
        world.run();
        let asked = world.asked(number);
        assert_eq!((asked.gone, asked.finished), (true, Some(Finished::Disconnected)), "{taken:?}");
        let after = world.begin(post(b"after"));
        world.run();
        others(&world, &[after]);
        world.end();
    }
}

/// What the client never took of a response does not hold up others (section 5.2.2).
#[test]
fn http2_5_2_2_responses_that_are_dropped_give_their_window_back() {
    let mut world = open(Chops::Random(22));
    for _ in 0..20 {
        let mut exchange = Exchange::get(b"");
        exchange.answer.parts = vec![bytes(60_000); 3];
        let number = by_hand(&mut world, exchange);
        let (mut sender, request) = (world.sender(), world.server.book[number].request(number));
        world.spawn(async move {
            let (response, _) = sender.send_request(request, true).unwrap();
            drop(response.await.unwrap());
        });
        world.run();
        assert!(world.asked(number).gone);
    }
    let after = world.begin(post(&bytes(200_000)));
    world.run();
    others(&world, &[after]);
    world.end();
}

/// RFC 9113 section 5.4.2: a response that cannot be completed is reset, and what was sent before has come.
#[test]
fn http2_5_4_2_the_application_fails() {
    for chops in CHOPS {
        let mut world = open(chops);
        for parts in [vec![], vec![b"part".to_vec()], vec![Vec::new()], vec![bytes(1000); 3]] {
            let mut exchange = post(b"asked");
            exchange.answer.parts = parts;
            exchange.answer.fails = true;
            world.begin(exchange);
            world.begin(post(b"another"));
        }
        world.run();
        world.check();
        world.end();
    }
}

/// RFC 9113 section 8.1: an answer ahead of the request's end is whole, and asks for the rest not to be sent.
#[test]
fn http2_8_1_an_early_answer() {
    for chops in [Chops::Whole, Chops::Random(23), Chops::Random(24)] {
        let mut world = open(chops);
        for size in [1, 70_000, 3 << 20] {
            for parts in [vec![b"no".to_vec()], vec![bytes(50_000); 3]] {
                let mut exchange = post(&bytes(size));
                exchange.answer.status = 413;
                exchange.answer.early = true;
                exchange.answer.parts = parts;
                world.begin(exchange);
            }
        }
        world.run();
        let after = world.begin(post(&bytes(100_000)));
        world.run();
        for number in 0..after {
            assert_eq!(world.answered(number), world.server.book[number].answered());
            assert_eq!(world.asked(number).finished, Some(Finished::Complete));
        }
        others(&world, &[after]);
        world.end();
    }
}

/// RFC 9113 section 5.1.2: what a client sent before it knew the number of streams is refused, and may be tried again.
#[test]
fn http2_5_1_2_a_first_flight_above_the_number_of_streams() {
    let limits = http2::Limits { max_concurrent_streams: 10, ..http2::Limits::default() };
    let mut builder = builder();
    builder.initial_max_send_streams(200);
    let mut world = World::new(Limits { http2: Some(limits.into()), ..plain() }, &builder, Chops::Random(25));
    world.wire.borrow_mut().is_held = true;
    world.server.is_asleep = true;
    let numbers: Vec<usize> = (0..50).map(|_| world.begin(post(b"hello"))).collect();
    world.run();
    world.server.is_asleep = false;
    world.wire.borrow_mut().let_go();
    world.run();
    let refused = Answered { failure: Some(Failure::Reset(Reason::REFUSED_STREAM)), over: true, ..Answered::default() };
    others(&world, &numbers[..10]);
    assert!(numbers[10..].iter().all(|&number| world.answered(number) == refused));
    let after: Vec<usize> = (0..50).map(|_| world.begin(post(b"hello"))).collect();
    world.run();
    others(&world, &after);
    world.end();
}

/// RFC 9113 section 6.7: the client's pings are answered, also among data.
#[test]
fn http2_6_7_pings_of_the_client() {
    for chops in CHOPS {
        let mut world = open(chops);
        let mut pings = world.client.as_mut().unwrap().ping_pong().unwrap();
        let pongs = Rc::new(Cell::new(0));
        let count = Rc::clone(&pongs);
        world.spawn(async move {
            for _ in 0..20 {
                pings.ping(Ping::opaque()).await.unwrap();
                count.set(count.get() + 1);
            }
        });
        world.begin(post(&bytes(5000)));
        world.run();
        assert_eq!(pongs.get(), 20);
        world.check();
        world.end();
    }
}

/// The server's pings are answered by the client: the connection stays, for as long as anything is open on it.
#[test]
fn http2_6_7_pings_of_the_server() {
    let interval = Duration::from_secs(10);
    let limits = http2::Limits { keep_alive_interval: Some(interval), ..http2::Limits::default() };
    let mut world = World::new(Limits { http2: Some(limits.into()), ..plain() }, &builder(), Chops::Random(26));
    world.server.is_asleep = true;
    world.begin(post(b"hello"));
    world.run();
    for _ in 0..20 {
        assert_eq!(world.server.pass(interval), None);
        world.run();
        let due = world.server.connection.next_timeout().unwrap() - world.server.instant;
        assert_eq!(due, interval, "the ping was answered");
    }
    world.server.is_asleep = false;
    world.run();
    world.check();
    world.end();
}

/// RFC 9113 section 6.8: whatever the client had sent before it knew is answered; then both ends come to theirs.
#[test]
fn http2_6_8_a_patient_drain() {
    for chops in CHOPS {
        let mut world = open(chops);
        world.server.is_asleep = true;
        (0..5).for_each(|_| _ = world.begin(post(b"accepted")));
        world.run();
        world.wire.borrow_mut().is_held = true;
        world.server.connection.drain(Drain::Patient);
        (0..3).for_each(|_| _ = world.begin(post(b"on its way")));
        world.run();
        world.wire.borrow_mut().let_go();
        world.run();
        // It knows.
        let late = world.begin(post(b"late"));
        world.run();
        assert_eq!(world.answered(late).failure, Some(Failure::GoAway(Reason::NO_ERROR)));
        world.server.is_asleep = false;
        world.run();
        others(&world, &[0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(world.server.asked.len(), 8);
        assert!(matches!(world.result, Some(Ok(()))), "{:?}", world.result);
        assert_eq!(world.server.connection.closing(), Closing::Now);
    }
}

/// The same where nothing new is served: the client is told what was, and may try the others again elsewhere.
#[test]
fn http2_6_8_a_quick_drain() {
    for chops in CHOPS {
        let mut world = open(chops);
        world.server.is_asleep = true;
        let accepted: Vec<usize> = (0..5).map(|_| world.begin(post(&bytes(100)))).collect();
        world.run();
        world.wire.borrow_mut().is_held = true;
        world.server.connection.drain(Drain::Quick);
        let late: Vec<usize> = (0..3).map(|_| world.begin(post(b"too late"))).collect();
        world.run();
        world.wire.borrow_mut().let_go();
        world.server.is_asleep = false;
        world.run();
        others(&world, &accepted);
        assert_eq!(world.server.asked.len(), 5);
        for number in late {
            assert_eq!(world.answered(number).failure, Some(Failure::GoAway(Reason::NO_ERROR)));
        }
        assert!(matches!(world.result, Some(Ok(()))), "{:?}", world.result);
        assert_eq!(world.server.connection.closing(), Closing::Now);
    }
}

#[test]
fn http2_6_8_an_idle_connection_ends_well() {
    for chops in CHOPS {
        let mut world = open(chops);
        world.begin(post(b"hello"));
        world.run();
        world.check();
        assert_eq!(world.server.pass(Duration::from_secs(5)), Some(TimeoutKind::KeepAlive));
        world.run();
        assert!(matches!(world.result, Some(Ok(()))), "{:?}", world.result);
        assert_eq!(world.server.connection.closing(), Closing::Now);
    }
}

/// RFC 9113 section 5.4.1: an error of the connection ends everything on it, and says why.
#[test]
fn http2_5_4_1_an_error_of_the_connection() {
    for chops in CHOPS {
        let mut world = open(chops);
        world.server.is_asleep = true;
        let number = world.begin(post(b"hello"));
        world.run();
        // Behind a whole frame: nothing of the client's is on its way.
        world.wire.borrow_mut().to_server.extend(window_update(99, 1));
        world.run();
        assert_eq!(world.server.broken, Some(ConnectionError::IdleStream));
        // It may have been served: GOAWAY says so.
        assert!(matches!(world.answered(number).failure, Some(Failure::Other(_))));
        let error = world.result.take().unwrap().unwrap_err();
        assert!(error.is_go_away() && error.is_remote(), "{error}");
        assert!(error.to_string().contains("protocol error"), "{error}");
        world.server.is_asleep = false;
        world.run();
        assert!(world.asked(number).gone);
    }
}

/// HTTP-12: a client that waits for 100 Continue gets it when the application asks for the body, and not before.
#[test]
fn a_client_waits_for_100_continue() {
    for chops in CHOPS {
        let mut world = open(chops);
        world.server.is_asleep = true;
        let mut exchange = post(b"body");
        exchange.fields = fields(&[("expect", "100-continue")]);
        let number = by_hand(&mut world, exchange);
        let (mut sender, request) = (world.sender(), world.server.book[number].request(number));
        let seen = Rc::new(RefCell::new(Vec::new()));
        let told = Rc::clone(&seen);
        world.spawn(async move {
            let (mut response, mut stream) = sender.send_request(request, false).unwrap();
            let interim = poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
            told.borrow_mut().push(interim.status().as_u16());
            stream.send_data(Cursor::new(b"body".to_vec()), true).unwrap();
            let (head, mut body) = response.await.unwrap().into_parts();
            told.borrow_mut().push(head.status.as_u16());
            assert_eq!(&body.data().await.unwrap().unwrap()[..], b"body");
            assert!(body.data().await.is_none());
        });
        world.run();
        assert!(seen.borrow().is_empty());
        world.server.is_asleep = false;
        world.run();
        assert_eq!(*seen.borrow(), [100, 200]);
        assert_eq!(world.asked(number), &world.server.book[number].asked(number));
        world.end();
    }
}
