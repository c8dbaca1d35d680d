//! What WebSocket sessions allocate: nothing for a message, and next to nothing while they are idle.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests are outside, and may fail")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use asgi::{Headers, Message};
use ferricorn_proto::Transmit;
use ferricorn_proto::websocket::{Handshake, Limits, Session};
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush};

/// Counts what this thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: all is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        BYTES.set(BYTES.get().wrapping_add(layout.size()));
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.set(BYTES.get().wrapping_sub(layout.size()));
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

const OFFER: &str = "permessage-deflate; client_max_window_bits";

/// Text that is bytes as well, as an application's is.
#[derive(Clone, Copy)]
struct Text(&'static str);

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self.0
    }
}

impl From<Text> for &'static [u8] {
    fn from(text: Text) -> Self {
        text.0.as_bytes()
    }
}

struct Peers {
    session: Session,
    transmit: Transmit<&'static [u8]>,
    now: Instant,
    /// What the client compresses with.
    compressor: Option<Deflate>,
}

impl Peers {
    fn new(offer: &str) -> Self {
        let fields = [
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-extensions", offer),
        ];
        let limits = Rc::new(Limits::default());
        let handshake = Handshake::read("GET", &Headers::from_iter(fields).unwrap(), false, &limits).unwrap();
        let now = Instant::now();
        let config = DeflateConfig { window_bits: -12, ..DeflateConfig::default() };
        let compressor = (!offer.is_empty()).then(|| Deflate::new_with_config(config));
        Self { session: handshake.session(limits, now), transmit: Transmit::new(), now, compressor }
    }

    /// A text frame of the client, its mask all zeros.
    fn frame(&mut self, text: &str) -> Vec<u8> {
        let mut payload = text.as_bytes().to_vec();
        let mut first = 0x81;
        if let Some(compressor) = &mut self.compressor {
            let before = compressor.total_out();
            payload = vec![0; text.len() * 2 + 100];
            compressor.compress(text.as_bytes(), &mut payload, DeflateFlush::SyncFlush).unwrap();
            payload.truncate((compressor.total_out() - before) as usize - 4);
            first |= 0x40;
        }
        let mut frame = vec![first];
        if payload.len() < 126 {
            frame.push(0x80 | payload.len() as u8);
        } else if payload.len() < 65_536 {
            frame.push(0xfe);
            frame.extend((payload.len() as u16).to_be_bytes());
        } else {
            frame.push(0xff);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
        frame.extend([0; 4]);
        frame.extend(payload);
        frame
    }

    /// Hands the frame in by parts; whether the message was given.
    fn receive(&mut self, frame: &mut [u8], part: usize) -> bool {
        let mut given = false;
        for bytes in frame.chunks_mut(part) {
            given |= self.session.handle_input(bytes, &mut self.transmit, self.now).event.unwrap().is_some();
        }
        given
    }

    fn send(&mut self, text: &'static str) {
        self.session.send(Message::Text(Text(text)), &mut self.transmit).unwrap();
        self.transmit.consume(self.transmit.len() as usize);
    }
}

fn text(length: usize) -> &'static str {
    let text = (0..length).map(|at| char::from(b'a' + (at * at / 11 % 23) as u8)).collect::<String>();
    text.leak()
}

/// How many times the work allocates once it has run for a while: windows have filled by then.
fn allocations(mut work: impl FnMut()) -> usize {
    (0..300).for_each(|_| work());
    let before = ALLOCATIONS.get();
    (0..20).for_each(|_| work());
    ALLOCATIONS.get() - before
}

#[test]
fn a_message_costs_no_allocation() {
    for (length, part) in [(32, 64), (32, 7), (1024, 2048), (1024, 100), (60_000, 70_000), (60_000, 16_384)] {
        for offer in ["", OFFER] {
            let mut peers = Peers::new(offer);
            let frame = peers.frame(text(length));
            // A compressed frame that refers to nothing before it can come again.
            let mut input = frame.clone();
            let received = allocations(|| {
                peers.session.want_message(true);
                input.copy_from_slice(&frame);
                assert!(peers.receive(&mut input, part));
            });
            assert_eq!(received, 0, "receiving {length} by {part}, {offer:?}");
            assert_eq!(allocations(|| peers.send(text_of(length))), 0, "sending {length}, {offer:?}");
        }
    }
}

/// Made once: the texts themselves are not what is counted.
fn text_of(length: usize) -> &'static str {
    thread_local!(static TEXT: Cell<&'static str> = const { Cell::new("") });
    if TEXT.get().len() != length {
        TEXT.set(text(length));
    }
    TEXT.get()
}

#[test]
fn a_queued_message_costs_no_allocation() {
    let mut peers = Peers::new("");
    let frame = peers.frame(text(1000));
    let mut input = frame.clone();
    let count = allocations(|| {
        for _ in 0..20 {
            input.copy_from_slice(&frame);
            assert!(!peers.receive(&mut input, 5000));
        }
        for _ in 0..20 {
            assert_eq!(peers.session.take_message(|message| message.as_bytes().len()), Some(1000));
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn an_idle_session_holds_next_to_nothing() {
    assert!(size_of::<Session>() < 300, "{} bytes", size_of::<Session>());
    // The window that was agreed to, and less where less was sent; what says that there is compression.
    for (offer, length, limit) in [("", 60_000, 0), (OFFER, 60_000, 4096 + 128), (OFFER, 100, 100 + 128)] {
        let mut peers = Peers::new(offer);
        let before = BYTES.get();
        let frame = peers.frame(text(length));
        let answer = text(length);
        let mut input = frame.clone();
        let texts = frame.capacity() + input.capacity() + 2 * length;
        peers.session.want_message(true);
        assert!(peers.receive(&mut input, 1000));
        peers.send(answer);
        input.copy_from_slice(&frame);
        // Nobody waits for this one.
        peers.receive(&mut input, 1000);
        peers.session.take_message(|_| ()).unwrap();
        peers.session.release_memory();
        peers.transmit = Transmit::new();
        let held = BYTES.get().wrapping_sub(before).saturating_sub(texts);
        assert!(held <= limit, "{held} bytes after {length}, {offer:?}");
    }
}
