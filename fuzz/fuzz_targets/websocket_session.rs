//! Clients and applications of any kind against each other over one WebSocket: an input is two bytes of choices (what is
//! agreed to, how to cut) and a sequence of what both do, and what time does.
//!
//! The laws: however the client's bytes are cut, the application sees the same and the client gets the same; what the
//! client gets are frames that a server may send; as long as the client sends whole frames, right or wrong, both get what
//! a second, simpler session says; and memory holds no more than the limits and what was handed in.
#![no_main]

#[path = "../../crates/ferricorn-proto/tests/websocket/support/mod.rs"]
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ferricorn_proto::TimeoutKind;
use ferricorn_proto::websocket::Limits;
use libfuzzer_sys::fuzz_target;
use support::frames::{ClientFrame, ServerFrame, take_frames};
use support::inflate::Inflater;
use support::model::{Model, State};
use support::{Driver, Seen, bytes_of, write};
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush};

fuzz_target!(|data: &[u8]| {
    let [agreement, cut, rest @ ..] = data else { return };
    let agreement = Agreement::of(*agreement);
    let ops = ops(rest, &agreement);
    let before = ALLOCATED.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let mut whole = Run::new(&agreement, true).run(&ops, None);
    let handed_in: usize = ops.iter().map(|op| op.size(agreement.compresses())).sum();
    let peak = PEAK.load(Ordering::Relaxed) - before;
    // Many times over: a buffer that grows is there twice, and all that was seen and written is kept here and by the model.
    assert!(peak < FIXED + 16 * handed_in, "{peak} bytes for {handed_in}");
    let mut cut_up = Run::new(&agreement, false).run(&ops, Some(usize::from(*cut)));
    whole.same(&mut cut_up);
});

/// What a session may hold whatever was handed in: a compressor, a decompressor and their windows, memory taken ahead of
/// the data, and the model's own.
const FIXED: usize = 1024 * 1024;

/// Counts what is allocated.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: all is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What the two sides agreed to.
struct Agreement {
    offer: &'static str,
    limits: Limits,
    server_bits: u8,
    client_bits: u8,
    takeover: bool,
}

impl Agreement {
    fn of(choice: u8) -> Self {
        let (offer, server_bits, client_bits, takeover) = [
            ("", 0, 0, true),
            ("permessage-deflate; client_max_window_bits", 13, 12, true),
            (
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=9",
                13,
                9,
                false,
            ),
            ("permessage-deflate; server_max_window_bits=8; client_max_window_bits=8", 8, 8, true),
        ][usize::from(if choice & 128 == 0 { choice & 3 } else { 0 })];
        let max_message = [16 * 1024 * 1024, 0, 10, 300][usize::from(choice >> 2 & 3)];
        let queue = [32, 1, 2, 0][usize::from(choice >> 4 & 3)];
        let ping_timeout = (choice & 64 == 0).then_some(Duration::from_secs(20));
        let limits = Limits { max_message, queue, ping_timeout, ..Limits::default() };
        Self { offer, limits, server_bits, client_bits, takeover }
    }

    fn compresses(&self) -> bool {
        !self.offer.is_empty()
    }
}

enum Op {
    Frames(Vec<ClientFrame>),
    Raw(Vec<u8>),
    Send { opcode: u8, payload: Vec<u8> },
    Close(u16, String),
    Pass(Option<u64>),
    Receive(bool),
    Write(bool),
    Release,
    End,
}

impl Op {
    /// Bytes that may come of it; DEFLATE makes 1,032 of one at most.
    fn size(&self, compresses: bool) -> usize {
        let factor = if compresses { 1032 } else { 1 };
        match self {
            Self::Frames(frames) => frames.iter().map(|frame| frame.payload.len() * factor + 14).sum(),
            Self::Raw(bytes) => bytes.len() * factor,
            Self::Send { payload, .. } => payload.len() + 10,
            Self::Close(_, reason) => reason.len() + 4,
            _ => 8,
        }
    }
}

fn ops(data: &[u8], agreement: &Agreement) -> Vec<Op> {
    let mut choices = Choices { data, compressor: None };
    let mut ops = Vec::new();
    while let Some(choice) = choices.next() {
        ops.push(choices.op(choice, agreement));
    }
    ops
}

struct Choices<'a> {
    data: &'a [u8],
    compressor: Option<Deflate>,
}

impl Choices<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.data.split_first()?;
        self.data = rest;
        Some(*first)
    }

    fn byte(&mut self) -> u8 {
        self.next().unwrap_or_default()
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let (taken, rest) = self.data.split_at(length.min(self.data.len()));
        self.data = rest;
        taken.to_vec()
    }

    fn some_bytes(&mut self) -> Vec<u8> {
        let length = self.byte() % 24;
        self.bytes(length.into())
    }

    fn op(&mut self, choice: u8, agreement: &Agreement) -> Op {
        let (variant, fin) = (choice >> 4 & 7, choice & 128 == 0);
        match choice % 16 {
            opcode @ 0..=2 => Op::Frames(vec![ClientFrame { fin, ..ClientFrame::new(opcode, self.some_bytes()) }]),
            3 => {
                let text = "aé漢\u{1f980}".repeat(1 + usize::from(variant));
                let cut = usize::from(self.byte()) % text.len();
                let last = ClientFrame { fin, ..ClientFrame::continuation(&text.as_bytes()[cut..]) };
                Op::Frames(vec![ClientFrame::text(&text.as_bytes()[..cut]).begun(), last])
            }
            4 => Op::Frames(vec![ClientFrame::ping(self.some_bytes())]),
            5 => Op::Frames(vec![ClientFrame::pong([0, 0, 0, variant])]),
            6 => self.close_frame(variant),
            7 => self.odd_frame(agreement),
            8 => self.compressed(variant, fin, agreement),
            9 => Op::Raw(self.some_bytes()),
            10 => {
                let length = [125, 126, 127, 128, 299, 300, 301, 700][usize::from(variant)];
                Op::Frames(vec![ClientFrame { fin, ..ClientFrame::new(1 + (self.byte() & 1), vec![b'x'; length]) }])
            }
            11 => {
                let length = [0, 5, 125, 126, 130, 200, 300, 16_384][usize::from(variant)];
                let payload = some_text(length, self.byte()).into_bytes();
                Op::Send { opcode: if fin { 1 } else { 2 }, payload }
            }
            12 => {
                let code = [1000, 1001, 1005, 999, 1012, 3000, 4999, 5000][usize::from(variant)];
                Op::Close(code, "r".repeat(self.byte().into()))
            }
            13 => Op::Pass([Some(0), Some(1), Some(10), Some(20), Some(1000), None, None, None][usize::from(variant)]),
            14 => match variant {
                0 | 1 => Op::Receive(variant == 0),
                2 | 3 => Op::Write(variant == 2),
                4..=6 => Op::Release,
                _ => Op::End,
            },
            _ => {
                let length = [1 << 20, 1 << 40, 1 << 62, 65_535, 66_000, 200, 126, u64::MAX][usize::from(variant)];
                let frame = ClientFrame { fin, ..ClientFrame::new(self.byte() & 3, "") };
                let compressed = ClientFrame { reserved: self.byte() & 4, ..frame };
                Op::Raw([compressed.head(length), self.some_bytes()].concat())
            }
        }
    }

    fn close_frame(&mut self, variant: u8) -> Op {
        let code = match variant {
            0 => return Op::Frames(vec![ClientFrame::new(8, "")]),
            1 => return Op::Frames(vec![ClientFrame::new(8, [self.byte()])]),
            2 => 1000,
            3 => 4999,
            _ => u16::from_be_bytes([self.byte(), self.byte()]),
        };
        Op::Frames(vec![ClientFrame::close(code, self.some_bytes())])
    }

    fn odd_frame(&mut self, agreement: &Agreement) -> Op {
        let (first, second) = (self.byte(), self.byte());
        let mask = (second & 0x80 == 0).then_some([first, second, 3, 4]);
        let payload = vec![first; usize::from(second & 0x7f)];
        let (fin, reserved) = (first & 0x80 == 0, first >> 4 & 7);
        let frame = ClientFrame { fin, reserved, opcode: first & 15, mask, payload };
        // What no compressor wrote is judged as it comes, which is beyond the model.
        if agreement.compresses() && reserved == 4 { Op::Raw(frame.bytes()) } else { Op::Frames(vec![frame]) }
    }

    /// A message as a compressor writes it, in two fragments perhaps, with a ping between them.
    fn compressed(&mut self, variant: u8, whole: bool, agreement: &Agreement) -> Op {
        let kind = self.byte();
        let length = [1, 5, 20, 60, 100, 300, 301, 600][usize::from(variant)];
        let text = if kind & 2 == 0 { some_text(length, kind).into_bytes() } else { self.some_bytes() };
        let payload = self.compress(&text, agreement);
        let frame = ClientFrame::new(1 + (kind & 1), &payload).compressed();
        if whole {
            return Op::Frames(vec![frame]);
        }
        let cut = usize::from(kind >> 2) % (payload.len() + 1);
        let first = ClientFrame { payload: payload[..cut].to_vec(), ..frame }.begun();
        let mut frames = vec![first, ClientFrame::continuation(&payload[cut..])];
        // What is wrong with a part may be seen before the ping or behind it.
        if text.len() as u64 <= agreement.limits.max_message && str::from_utf8(&text).is_ok() {
            frames.insert(1, ClientFrame::ping("between"));
        }
        Op::Frames(frames)
    }

    fn compress(&mut self, message: &[u8], agreement: &Agreement) -> Vec<u8> {
        if message.is_empty() || !agreement.compresses() {
            return vec![0; usize::from(!agreement.takeover)];
        }
        let window_bits = -i32::from(agreement.client_bits.max(9));
        let level = if agreement.takeover { 1 } else { 6 };
        let config = DeflateConfig { level, window_bits, ..DeflateConfig::default() };
        let stream = self.compressor.get_or_insert_with(|| Deflate::new_with_config(config));
        let mut output = vec![0; message.len() * 2 + 100];
        let before = stream.total_out();
        stream.compress(message, &mut output, DeflateFlush::SyncFlush).unwrap();
        output.truncate((stream.total_out() - before) as usize - 4);
        if !agreement.takeover {
            stream.reset();
        }
        output
    }
}

fn some_text(length: usize, seed: u8) -> String {
    let part: String = (0..29_u8).map(|at| char::from(b'a' + at.wrapping_mul(at).wrapping_mul(seed) % 26)).collect();
    part.repeat(length / 29 + 1)[..length].to_owned()
}

struct Run {
    driver: Driver,
    model: Option<Model>,
    /// Reads what the server compresses.
    inflater: Inflater,
    closed_by_application: bool,
    /// What was sent, in frames that a server may send.
    frames: Vec<ServerFrame>,
    refused: Vec<bool>,
}

impl Run {
    fn new(agreement: &Agreement, judged: bool) -> Self {
        let inflater = agreement.compresses().then(|| Inflater::new(agreement.client_bits, agreement.takeover));
        Self {
            driver: Driver::with_offer(agreement.limits.clone(), agreement.offer),
            model: judged.then(|| Model::new(agreement.limits.max_message, inflater)),
            inflater: Inflater::new(agreement.server_bits, agreement.takeover),
            closed_by_application: false,
            frames: Vec::new(),
            refused: Vec::new(),
        }
    }

    fn run(mut self, ops: &[Op], cut: Option<usize>) -> Self {
        self.driver.settle();
        for op in ops {
            // Behind more than that, pings are not all answered, which is beyond the model.
            if self.driver.transmit.len() > 40_000 {
                write(&mut self.driver.transmit, &mut self.driver.output);
            }
            self.apply(op, cut);
            self.check_laws();
        }
        self.end();
        self
    }

    fn apply(&mut self, op: &Op, cut: Option<usize>) {
        if !matches!(op, Op::Frames(_) | Op::Raw(_)) {
            self.catch_up();
        }
        match op {
            Op::Frames(frames) => {
                if let Some(model) = &mut self.model {
                    frames.iter().for_each(|frame| model.frame(frame));
                }
                self.feed(&bytes_of(frames), cut);
            }
            Op::Raw(bytes) => {
                self.model = None;
                self.feed(bytes, cut);
            }
            Op::Send { opcode, payload } => self.send(*opcode, payload),
            Op::Close(code, reason) => {
                let accepted = self.driver.close(*code, reason).is_ok();
                self.closed_by_application |= accepted;
                let expected = self.model.as_mut().map(|model| model.close(*code, reason));
                assert!(expected.is_none_or(|expected| expected == accepted));
                self.refused.push(!accepted);
            }
            Op::Pass(seconds) => self.pass(*seconds),
            Op::Receive(receiving) => {
                self.driver.receiving = *receiving;
                self.driver.settle();
            }
            Op::Write(writing) => {
                self.driver.writing = *writing;
                self.driver.settle();
            }
            Op::Release => self.driver.session.release_memory(),
            Op::End => {
                self.driver.end();
                if let Some(model) = &mut self.model {
                    model.lost();
                }
            }
        }
    }

    /// The model does not know what waits behind a full queue.
    fn catch_up(&mut self) {
        if !self.driver.inbox.is_empty() {
            let receiving = std::mem::replace(&mut self.driver.receiving, true);
            self.driver.settle();
            self.driver.receiving = receiving;
            self.driver.settle();
        }
    }

    fn feed(&mut self, bytes: &[u8], cut: Option<usize>) {
        match cut {
            None => self.driver.feed(bytes),
            Some(0) => bytes.chunks(1 + bytes.len() / 100).for_each(|piece| self.driver.feed(piece)),
            Some(cut) => {
                let (front, back) = bytes.split_at(cut % (bytes.len() + 1));
                self.driver.feed(front);
                self.driver.feed(back);
            }
        }
    }

    fn send(&mut self, opcode: u8, payload: &[u8]) {
        let sent = match str::from_utf8(payload) {
            Ok(text) if opcode == 1 => self.driver.send_text(text),
            _ => self.driver.send_binary(payload),
        };
        let expected = self.model.as_mut().map(|model| model.send(opcode, payload));
        assert!(expected.is_none_or(|expected| expected == sent.is_ok()));
        self.refused.push(sent.is_err());
    }

    fn pass(&mut self, seconds: Option<u64>) {
        let due = self.driver.session.next_timeout();
        let to_next = due.map(|due| due.saturating_duration_since(self.driver.instant));
        let time = seconds.map(Duration::from_secs).or(to_next).unwrap_or_default();
        let passed = self.driver.pass(time);
        assert!(passed.is_none() || self.driver.session.is_over());
        match (passed, &mut self.model) {
            (Some(TimeoutKind::Pong), Some(model)) => model.end(1011),
            (Some(_), Some(model)) => model.lost(),
            _ => {}
        }
        // Whatever was due is done.
        assert!(self.driver.session.next_timeout().is_none_or(|next| next > self.driver.instant));
    }

    fn check_laws(&mut self) {
        let session = &self.driver.session;
        if session.is_over() {
            assert!(!session.wants_input() && session.next_timeout().is_none() && session.closed().is_some());
            assert!(self.driver.inbox.is_empty());
        } else {
            assert!(session.next_timeout().is_some());
            assert!(session.wants_input() || !self.driver.receiving);
            // A head or a control frame that is not whole; nothing else is left where more is wanted.
            assert!(!session.wants_input() || self.driver.inbox.len() < 14 + 125);
        }
        if let Some(model) = &self.model
            && self.driver.inbox.is_empty()
        {
            assert_eq!(model.state == State::Over, session.is_over());
            assert_eq!(model.closed, session.closed().map(|(code, _)| code));
        }
    }

    fn end(&mut self) {
        self.catch_up();
        self.driver.receiving = true;
        self.driver.settle();
        write(&mut self.driver.transmit, &mut self.driver.output);
        self.frames = take_frames(&mut self.driver.output);
        assert!(self.driver.output.is_empty());
        self.check_pings();
        for frame in self.frames.iter_mut().filter(|frame| frame.compressed) {
            frame.payload = self.inflater.message(&frame.payload).expect("the message as it was");
            frame.compressed = false;
        }
        self.check_laws();
        let Some(model) = &self.model else { return };
        let is_message = |seen: &&Seen| matches!(seen, Seen::Text(_) | Seen::Binary(_));
        let messages: Vec<_> = self.driver.seen.iter().filter(is_message).cloned().collect();
        assert!(model.messages.starts_with(&messages));
        assert!(self.closed_by_application || messages.len() == model.messages.len());
        let without_reason = |frame: &ServerFrame| match frame.opcode {
            8 => frame.payload[..frame.payload.len().min(2)].to_vec(),
            _ => frame.payload.clone(),
        };
        let written: Vec<_> = self.frames.iter().filter(|frame| frame.opcode != 9).collect();
        assert_eq!(written.len(), model.written.len());
        for (frame, expected) in written.iter().zip(&model.written) {
            assert_eq!((frame.opcode, without_reason(frame)), (expected.opcode, without_reason(expected)));
        }
    }

    /// Each of the server's pings has a payload of its own.
    fn check_pings(&self) {
        let pings = self.frames.iter().filter(|frame| frame.opcode == 9);
        for (count, ping) in pings.enumerate() {
            assert_eq!(ping.payload, (count as u32 + 1).to_be_bytes());
        }
    }

    fn same(&mut self, other: &mut Self) {
        assert_eq!(self.driver.seen, other.driver.seen);
        assert_eq!(self.frames, other.frames);
        assert_eq!(self.refused, other.refused);
        assert_eq!(self.driver.inbox, other.driver.inbox);
        let facts = |run: &mut Self| {
            let session = &mut run.driver.session;
            (session.is_over(), session.wants_input(), session.has_message(), session.take_round_trip())
        };
        assert_eq!(facts(self), facts(other));
    }
}
