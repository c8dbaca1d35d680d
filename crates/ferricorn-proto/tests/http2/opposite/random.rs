//! Whatever both sides send, through whatever windows and tables, in whatever chops: the other side sees just that.

use std::time::Duration;

use ferricorn_proto::{Drain, Limits, http2};
use h2::Reason;
use proptest::prelude::*;

use super::super::support::plain;
use super::exchange::{Answer, Exchange, Failure, Fields, bytes};
use super::wire::Chops;
use super::world::{World, builder};

const NAMES: [&str; 8] = ["x", "cookie", "accept", "x-a-longer-name", "secret", "user-agent", "x", "etag"];

fn some_fields() -> impl Strategy<Value = Fields> {
    let value = prop_oneof![
        4 => "[!-~]([ -~]{0,40}[!-~])?".prop_map(String::into_bytes),
        1 => Just(Vec::new()),
        1 => (1..3000_usize).prop_map(|length| vec![b'z'; length]),
        1 => proptest::collection::vec(0x80..=0xff_u8, 1..100),
    ];
    let field = (0..NAMES.len(), value).prop_map(|(name, value)| (NAMES[name].to_owned(), value));
    proptest::collection::vec(field, 0..8)
}

fn some_parts() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let length =
        prop_oneof![4 => 0..100_usize, 3 => 0..20_000_usize, 1 => 16_380..16_390_usize, 1 => 60_000..70_000_usize];
    proptest::collection::vec(length.prop_map(bytes), 0..5)
}

fn some_answer() -> impl Strategy<Value = Answer> {
    let hints = proptest::collection::vec(Just(vec!["</a.css>; rel=preload", "</b.js>"]), 0..3);
    let trailers = proptest::option::of(some_fields());
    let status = prop_oneof![4 => Just(200_u16), 1 => Just(204), 1 => Just(304), 2 => 200..600_u16];
    let flags = (any::<bool>(), proptest::bool::weighted(0.1), proptest::bool::weighted(0.2));
    (hints, status, some_fields(), some_parts(), trailers, flags).prop_map(
        |(hints, status, fields, parts, trailers, (eager, fails, files))| {
            // A response that has to be empty is whole when its head has gone, whatever its application does then.
            let fails = fails && !parts.is_empty() && !matches!(status, 204 | 304);
            Answer { hints, status, fields, parts, files, trailers, early: false, fails, eager }
        },
    )
}

fn some_exchange() -> impl Strategy<Value = Exchange> {
    let method = prop_oneof![Just("GET"), Just("POST"), Just("PUT"), Just("HEAD")];
    let trailers = prop_oneof![3 => Just(Fields::new()), 1 => some_fields()];
    let taking = (any::<(bool, bool)>(), prop_oneof![Just(usize::MAX), 200..5000_usize], any::<bool>());
    (method, some_fields(), some_parts(), trailers, some_answer(), taking).prop_map(
        |(method, mut fields, body, trailers, mut answer, (lazy, pieces, te))| {
            if te {
                fields.push(("te".to_owned(), b"trailers".to_vec()));
            }
            answer.fails &= method != "HEAD";
            Exchange { method, fields, body, trailers, answer, lazy, pieces }
        },
    )
}

fn some_chops() -> impl Strategy<Value = Chops> {
    prop_oneof![1 => Just(Chops::Whole), 4 => any::<u64>().prop_map(Chops::Random)]
}

/// The client's window and table, and its largest frame.
fn some_client() -> impl Strategy<Value = (u32, u32, u32)> {
    let window = prop_oneof![200..1000_u32, 1000..70_000_u32, Just(65_535_u32), Just(1 << 20)];
    let table = prop_oneof![Just(4096_u32), Just(0), 1..300_u32, Just(65_536)];
    (window, table, prop_oneof![Just(16_384_u32), 16_384..100_000_u32])
}

fn some_limits() -> impl Strategy<Value = http2::Limits> {
    let window = prop_oneof![200..1000_u32, 1000..70_000_u32, Just(1 << 20)];
    (window, prop_oneof![Just(128_u32), 1..5_u32], prop_oneof![Just(16_384_u32), 16_384..100_000_u32]).prop_map(
        |(stream_window, max_concurrent_streams, max_frame_size)| http2::Limits {
            stream_window,
            max_concurrent_streams,
            max_frame_size,
            connection_window: stream_window.max(65_535),
            ..http2::Limits::default()
        },
    )
}

/// What becomes of a connection while exchanges go on.
#[derive(Clone, Debug)]
enum Act {
    /// So many turns pass.
    Turns(usize),
    Begin(Exchange),
    /// The client gives one of those that have begun up.
    GiveUp(usize),
    /// Time passes: less than any deadline.
    Time(u64),
    Drain(Drain),
    /// The application sleeps, or wakes.
    Sleep(bool),
    /// Nothing reaches the client, or all does.
    Hold(bool),
}

fn some_acts() -> impl Strategy<Value = Vec<Act>> {
    let drain = prop_oneof![Just(Drain::Patient), Just(Drain::Quick)];
    let act = prop_oneof![
        12 => (0..20_usize).prop_map(Act::Turns),
        12 => some_exchange().prop_map(Act::Begin),
        6 => (0..30_usize).prop_map(Act::GiveUp),
        2 => (0..3000_u64).prop_map(Act::Time),
        1 => drain.prop_map(Act::Drain),
        3 => any::<bool>().prop_map(Act::Sleep),
        3 => any::<bool>().prop_map(Act::Hold),
    ];
    proptest::collection::vec(act, 1..40)
}

/// Does what is said; which exchanges were given up, and whether the server drains.
fn perform(world: &mut World, acts: Vec<Act>) -> (Vec<usize>, bool) {
    let (mut given_up, mut drains) = (Vec::new(), false);
    for act in acts {
        let begun = world.server.book.len();
        match act {
            Act::Turns(turns) => world.run_for(turns),
            Act::Begin(exchange) => _ = world.begin(exchange),
            Act::GiveUp(which) if begun > 0 => {
                world.give_up(which % begun);
                given_up.push(which % begun);
            }
            Act::GiveUp(_) => {}
            Act::Time(time) if begun > given_up.len() => _ = world.server.pass(Duration::from_millis(time)),
            Act::Time(_) => {}
            Act::Drain(drain) => {
                world.server.connection.drain(drain);
                drains = true;
            }
            Act::Sleep(sleeps) => world.server.is_asleep = sleeps,
            Act::Hold(false) => world.wire.borrow_mut().let_go(),
            Act::Hold(true) => world.wire.borrow_mut().is_held = true,
        }
    }
    world.server.is_asleep = false;
    world.wire.borrow_mut().let_go();
    world.run();
    (given_up, drains)
}

/// What was given up is gone or was whole before; of what a drain left out, or was refused, the application has seen nothing;
/// all else is as it was sent.
fn check(world: &World, given_up: &[usize], drains: bool) {
    assert_eq!((world.server.broken, &world.server.refused[..]), (None, &[][..]));
    for number in 0..world.server.book.len() {
        let answered = world.answered(number);
        if given_up.contains(&number) && !answered.over {
            let expected = world.server.book[number].asked(number).finished;
            let asked = world.find_asked(number);
            assert!(asked.is_none_or(|asked| asked.gone || asked.finished == expected), "exchange {number}");
        } else if let Some(Failure::GoAway(reason)) = answered.failure {
            assert!(drains && reason == Reason::NO_ERROR && world.find_asked(number).is_none(), "exchange {number}");
        } else if answered.failure == Some(Failure::Reset(Reason::REFUSED_STREAM)) {
            // A call goes on for a while when its client has given it up, and takes the place of another.
            assert!(!given_up.is_empty() && world.find_asked(number).is_none(), "exchange {number}");
        } else {
            world.check_one(number);
        }
    }
}

/// Both ends, the client with its window, table and frame size, once they have exchanged their settings.
fn connected((window, table, frame): (u32, u32, u32), limits: http2::Limits, chops: Chops) -> World {
    let mut builder = builder();
    builder.initial_window_size(window).header_table_size(table).max_frame_size(frame);
    let mut world = World::new(Limits { http2: Some(limits.into()), ..plain() }, &builder, chops);
    world.run();
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_sent_is_what_is_seen(
        exchanges in proptest::collection::vec(some_exchange(), 1..12),
        chops in some_chops(),
        client in some_client(),
        limits in some_limits(),
    ) {
        let mut world = connected(client, limits, chops);
        for exchange in exchanges {
            world.begin(exchange);
        }
        world.run();
        world.check();
        world.end();
    }

    #[test]
    fn what_ends_early_leaves_the_others_alone(
        acts in some_acts(),
        chops in some_chops(),
        client in some_client(),
        limits in some_limits(),
    ) {
        let mut world = connected(client, limits, chops);
        let (given_up, drains) = perform(&mut world, acts);
        check(&world, &given_up, drains);
        world.sender = None;
        world.run();
        world.check_end();
    }
}
