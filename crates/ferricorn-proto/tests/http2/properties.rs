//! What holds whatever comes in whatever order: windows are never exceeded in either direction, bytes arrive whole and in
//! order, and every split of the same input gives the same.

use std::collections::BTreeMap;

use ferricorn_proto::Content;
use proptest::prelude::*;

use super::support::{
    DATA, Driver, END_STREAM, Event, Got, SETTINGS, frame, plain, reset, setting, start, window_update,
};

/// What happens next, to one of four streams.
#[derive(Clone, Debug)]
enum Act {
    /// The application sends so many bytes, in parts of this size.
    Send(u8, usize),
    /// The client opens a window; 0 is the connection's.
    Open(u8, u32),
    /// The client's setting for windows.
    Setting(u32),
    /// What waits is written, or not from now on.
    Write(bool),
    /// The client gives a stream up.
    Reset(u8),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..4_u8, 0..40_000_usize).prop_map(|(stream, size)| Act::Send(stream, size)),
        6 => (0..5_u8, 1..60_000_u32).prop_map(|(stream, size)| Act::Open(stream, size)),
        1 => (0..80_000_u32).prop_map(Act::Setting),
        2 => any::<bool>().prop_map(Act::Write),
        1 => (0..4_u8).prop_map(Act::Reset),
    ]
}

/// The client's side of four responses.
struct Model {
    connection: i64,
    initial: i64,
    streams: BTreeMap<u32, Side>,
}

#[derive(Default)]
struct Side {
    window: i64,
    sent: Vec<u8>,
    received: Vec<u8>,
    ended: bool,
    is_reset: bool,
    counter: u8,
}

impl Model {
    fn take(&mut self, driver: &mut Driver) {
        for got in driver.take() {
            let (stream, bytes, end) = match got {
                Got::Data(stream, bytes, end) => (stream, bytes, end),
                Got::Headers(stream, _, end) => (stream, Vec::new(), end),
                _ => continue,
            };
            let side = self.streams.get_mut(&stream).unwrap();
            assert!(!side.ended, "data behind the end");
            side.window -= bytes.len() as i64;
            self.connection -= bytes.len() as i64;
            // A setting that is on its way can make a window negative, but nothing is sent into one.
            assert!(bytes.is_empty() || side.window >= 0 && self.connection >= 0, "a window was exceeded");
            side.received.extend(bytes);
            side.ended = end;
            assert!(side.is_reset || side.sent.starts_with(&side.received), "bytes out of order");
        }
    }
}

/// Does what is asked for on both sides.
fn perform(driver: &mut Driver, model: &mut Model, act: &Act) {
    match *act {
        Act::Send(stream, size) => {
            let stream = 2 * u32::from(stream) + 1;
            let side = model.streams.get_mut(&stream).unwrap();
            if side.is_reset {
                return;
            }
            let bytes: Vec<u8> = (0..size).map(|index| (index as u8).wrapping_add(side.counter)).collect();
            side.counter = side.counter.wrapping_add(31);
            side.sent.extend(&bytes);
            driver.body(stream, &bytes, true);
            driver.write();
        }
        Act::Open(0, size) => {
            model.connection += i64::from(size);
            driver.feed(&window_update(0, size));
        }
        Act::Open(stream, size) => {
            let stream = 2 * u32::from(stream) - 1;
            let side = model.streams.get_mut(&stream).unwrap();
            side.window += i64::from(size);
            driver.feed(&window_update(stream, size));
        }
        Act::Setting(size) => {
            // What was written before counts against the old one.
            driver.writes = true;
            driver.write();
            model.take(driver);
            let by = i64::from(size) - model.initial;
            model.initial += by;
            model.streams.values_mut().for_each(|side| side.window += by);
            driver.feed(&frame(SETTINGS, 0, 0, &setting(4, size)));
        }
        Act::Write(writes) => {
            driver.writes = writes;
            driver.write();
        }
        Act::Reset(stream) => {
            let stream = 2 * u32::from(stream) + 1;
            model.streams.get_mut(&stream).unwrap().is_reset = true;
            driver.feed(&reset(stream, 8));
        }
    }
    model.take(driver);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn responses_keep_to_their_windows(acts in proptest::collection::vec(act(), 1..60)) {
        let mut driver = Driver::open_with(plain(), &[]);
        let mut model = Model { connection: 65_535, initial: 65_535, streams: BTreeMap::new() };
        for stream in [1, 3, 5, 7] {
            driver.get(stream, "/");
            driver.connection.start(stream, &start(200, &[])).unwrap();
            model.streams.insert(stream, Side { window: 65_535, ..Side::default() });
        }
        acts.iter().for_each(|act| perform(&mut driver, &mut model, act));
        // In the end there is room for everything: all of it arrives, and what follows.
        driver.writes = true;
        driver.write();
        model.take(&mut driver);
        for stream in [1, 3, 5, 7] {
            perform(&mut driver, &mut model, &Act::Open(0, 1 << 26));
            perform(&mut driver, &mut model, &Act::Open(stream as u8 / 2 + 1, 1 << 26));
            if !model.streams[&stream].is_reset {
                driver.body(stream, b"", false);
                driver.write();
            }
        }
        model.take(&mut driver);
        for (stream, side) in &model.streams {
            prop_assert!(side.is_reset || side.ended && side.received == side.sent, "stream {stream}");
            driver.connection.release(*stream);
        }
        prop_assert!(driver.connection.is_idle());
        prop_assert!(driver.events.iter().all(|event| matches!(event, Event::Request(..))));
    }

    /// A client that keeps to the windows it was given sends its bodies whole, whenever the application takes them.
    #[test]
    fn requests_get_their_windows_back(
        sizes in proptest::collection::vec(1..16_384_usize, 1..300),
        takes in proptest::collection::vec(0..3_u8, 300),
    ) {
        let mut driver = Driver::open_with(plain(), &[]);
        let streams = [1_u32, 3, 5];
        for stream in streams {
            let bytes = driver.request(stream, "POST /", &[], false);
            driver.feed(&bytes);
        }
        let mut connection = 2 * 1024 * 1024_i64;
        let mut windows = BTreeMap::from(streams.map(|stream| (stream, 1024 * 1024_i64)));
        let (mut sent, mut taken) = (BTreeMap::<u32, usize>::new(), BTreeMap::<u32, usize>::new());
        for (index, size) in sizes.iter().enumerate() {
            let stream = streams[index % 3];
            let window = windows.get_mut(&stream).unwrap();
            if connection >= *size as i64 && *window >= *size as i64 {
                connection -= *size as i64;
                *window -= *size as i64;
                driver.feed(&frame(DATA, 0, stream, &vec![7; *size]));
                *sent.entry(stream).or_default() += size;
            }
            let stream = streams[usize::from(takes[index])];
            if let Some((body, false)) = driver.take_body(stream) {
                *taken.entry(stream).or_default() += body.len();
            }
            for got in driver.frames() {
                match got {
                    Got::WindowUpdate(0, increment) => connection += i64::from(increment),
                    Got::WindowUpdate(stream, increment) => *windows.get_mut(&stream).unwrap() += i64::from(increment),
                    other => prop_assert!(false, "{other:?}"),
                }
            }
        }
        for stream in streams {
            driver.feed(&frame(DATA, END_STREAM, stream, b""));
            let (body, end) = driver.take_body(stream).unwrap();
            prop_assert!(end);
            prop_assert_eq!(sent.get(&stream).copied().unwrap_or(0), taken.get(&stream).copied().unwrap_or(0) + body.len());
        }
    }

    /// However it is cut, the same input gives the same events, bodies and frames.
    #[test]
    fn every_split_gives_the_same(cuts in proptest::collection::vec(1..200_usize, 1..100), seed in 0..4_usize) {
        let whole = conversation(seed, &[]);
        let parts = conversation(seed, &cuts);
        prop_assert_eq!(whole, parts);
    }
}

/// Events, bodies and frames.
type Outcome = (Vec<Event>, Vec<Option<(Vec<u8>, bool)>>, Vec<Got>);

/// What comes of one of several conversations, cut so.
fn conversation(seed: usize, cuts: &[usize]) -> Outcome {
    let mut driver = Driver::open_with(plain(), &[]);
    let mut bytes = Vec::new();
    bytes.extend(driver.request(1, "POST /a?b", &[("content-length", "300")], false));
    bytes.extend(frame(DATA, 0, 1, &[b'x'; 100]));
    bytes.extend(driver.request(3, "GET /", &[("priority", "u=1")], true));
    bytes.extend(frame(DATA, 8, 1, &[&[20][..], &[b'y'; 150], &[0; 20]].concat()));
    bytes.extend(frame(6, 0, 0, b"pingping"));
    bytes.extend(frame(0x42, 0, 0, &[7; 70]));
    match seed {
        0 => bytes.extend(frame(DATA, END_STREAM, 1, &[b'z'; 50])),
        1 => bytes.extend(frame(DATA, END_STREAM, 1, &[b'z'; 51])),
        2 => bytes.extend(reset(1, 8)),
        _ => bytes.extend(driver.headers_frame(1, &[("a", "b")], true)),
    }
    bytes.extend(driver.headers_frame(5, &[(":method", "GET"), ("x", "y")], true));
    bytes.extend(driver.request(7, "GET /last", &[], true));
    let mut rest = &bytes[..];
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let size = cuts.next().map_or(rest.len(), |cut| (*cut).min(rest.len()));
        driver.feed(&rest[..size]);
        rest = &rest[size..];
    }
    let bodies = [1, 3, 5, 7].map(|stream| driver.take_body(stream)).to_vec();
    if driver.connection.exchange_is_open(7) {
        let now = driver.now();
        driver.connection.start(7, &start(200, &[])).unwrap();
        driver.connection.body(7, Content::Bytes(b"done".to_vec()), false, &now).unwrap();
    }
    let got = driver.frames();
    (driver.events, bodies, got)
}
