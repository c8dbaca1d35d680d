//! What is kept of one stream: its exchange, what has come and is not given out, what waits to go. This file reads and
//! writes no frame.

use std::rc::Rc;
use std::time::Instant;

use asgi::{Gather, Headers};

use super::error::ErrorCode;
use super::priority::Priority;
use crate::exchange::Exchange;
use crate::transmit::Transmit;
use crate::websocket::WebSocket;

/// Capacity of a buffer that is kept for the next stream.
const KEPT_CAPACITY: usize = 16 * 1024;

/// One stream (RFC 9113 section 5.1). A record is used again for another when its own is over.
pub(super) struct Stream<B, G> {
    pub(super) id: u32,
    pub(super) exchange: Exchange,
    pub(super) websocket: Option<Box<WebSocket>>,
    pub(super) te_trailers: bool,
    /// The client waits for `100 Continue`, and has not got it.
    pub(super) expects_continue: bool,
    pub(super) receive: Receive<G>,
    /// The head of the response that is held back.
    pub(super) start: Option<Rc<Start>>,
    /// A field that the response is to carry: its name, and behind that its value. Empty: there is none.
    pub(super) own_field: Vec<u8>,
    pub(super) own_name: usize,
    /// Bytes of the response's body that are on the wire or on their way there.
    pub(super) sent: u64,
    /// What of the body (or of a WebSocket) has not been framed.
    pub(super) unsent: Transmit<B>,
    /// What of the trailers has come.
    pub(super) trailers: Option<Box<Headers>>,
    /// What comes behind what waits.
    pub(super) end: End,
    /// How much the peer takes (section 6.9.1); a setting can make it negative.
    pub(super) window: i64,
    pub(super) priority: Priority,
    /// When it was last its turn among those of its urgency.
    pub(super) turn: u64,
    /// Whether our side has ended, by END_STREAM or a reset.
    pub(super) local_ended: bool,
    /// Whether it was reset, by whichever side.
    pub(super) reset: bool,
    /// Whether it was we who reset it: the peer may send more before it knows.
    pub(super) reset_sent: bool,
    /// Whether it ended ahead of its response: for the peer it is over, and its call still runs.
    pub(super) abandoned: bool,
    /// Whether the peer takes it for open.
    pub(super) counted: bool,
    /// Whether it is in the queue of those that have something to send.
    pub(super) queued: bool,
    /// Whether it is in the queue of those whose driver is to look.
    pub(super) changed: bool,
    /// Whether the driver has done with it.
    pub(super) released: bool,
    /// Until when the peer has to send a byte of the body that is waited for.
    pub(super) body_due: Option<Instant>,
    /// Until when the peer has to open a window that holds the response back.
    pub(super) window_due: Option<Instant>,
}

/// What comes on a stream.
#[derive(Debug, Default)]
pub(super) struct Receive<G> {
    /// What of the body has not been given out.
    pub(super) body: G,
    /// Frames of a WebSocket that its session has not taken.
    pub(super) frames: Vec<u8>,
    /// How much the peer may still send.
    pub(super) window: i64,
    /// Bytes that were given out, and of which the peer has not been told.
    pub(super) owed: u32,
    /// Bytes of the body that have come.
    pub(super) total: u64,
    /// What content-length says.
    pub(super) length: Option<u64>,
    /// END_STREAM came.
    pub(super) ended: bool,
    /// The end has been given out.
    pub(super) end_given: bool,
    /// The application waits for a part.
    pub(super) asked: bool,
    /// Nobody wants what still comes.
    pub(super) unwanted: bool,
}

impl<G: Gather> Receive<G> {
    fn renew(&mut self) {
        self.body = G::default();
        self.frames.clear();
        self.frames.shrink_to(KEPT_CAPACITY);
        (self.window, self.owed, self.total, self.length) = (0, 0, 0, None);
        (self.ended, self.end_given, self.asked, self.unwanted) = (false, false, false, false);
    }
}

/// How our side of a stream ends, once what waits has gone.
#[derive(Debug)]
pub(super) enum End {
    /// There is more to come.
    Open,
    /// By END_STREAM.
    Stream,
    /// By trailers with END_STREAM.
    Trailers(Headers),
    /// By RST_STREAM: the response is not whole.
    Reset(ErrorCode),
}

/// The start of a response, kept until the first part of its body; those that say the same share it.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) status: u16,
    pub(super) headers: Headers,
}

impl<B: AsRef<[u8]>, G: Gather> Stream<B, G> {
    pub(super) fn new() -> Self {
        Self {
            id: 0,
            exchange: Exchange::none(),
            websocket: None,
            te_trailers: false,
            expects_continue: false,
            receive: Receive::default(),
            start: None,
            own_field: Vec::new(),
            own_name: 0,
            sent: 0,
            unsent: Transmit::new(),
            trailers: None,
            end: End::Open,
            window: 0,
            priority: Priority::UNKNOWN,
            turn: 0,
            local_ended: false,
            reset: false,
            reset_sent: false,
            abandoned: false,
            counted: false,
            queued: false,
            changed: false,
            released: false,
            body_due: None,
            window_due: None,
        }
    }

    /// Makes it the record of another stream; buffers that are not large are kept. Field by field, for every request comes
    /// by here: a whole record, written and moved and dropped, costs ten times as much.
    pub(super) fn renew(&mut self, id: u32) {
        self.id = id;
        self.exchange = Exchange::none();
        (self.websocket, self.start, self.trailers) = (None, None, None);
        (self.te_trailers, self.expects_continue) = (false, false);
        self.receive.renew();
        self.own_field.clear();
        (self.own_name, self.sent) = (0, 0);
        if !self.unsent.is_empty() {
            self.unsent.clear();
        }
        self.end = End::Open;
        (self.window, self.turn) = (0, 0);
        self.priority = Priority::UNKNOWN;
        (self.local_ended, self.reset, self.reset_sent) = (false, false, false);
        (self.abandoned, self.counted, self.queued) = (false, false, false);
        (self.changed, self.released) = (false, false);
        (self.body_due, self.window_due) = (None, None);
    }

    /// Whether both sides have ended: the peer counts it no more (section 5.1.2).
    pub(super) const fn is_closed(&self) -> bool {
        self.reset || self.local_ended && self.receive.ended
    }

    /// Whether there is something to be framed, if windows allow it.
    pub(super) fn has_output(&self) -> bool {
        !self.local_ended && (!self.unsent.is_empty() || !matches!(self.end, End::Open))
    }

    /// The field that the response is to carry unless it says it itself.
    pub(super) fn own_field(&self) -> Option<(&[u8], &[u8])> {
        (!self.own_field.is_empty()).then(|| self.own_field.split_at(self.own_name))
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests are outside")]
mod tests {
    use super::*;

    /// Whatever a stream was, its record says nothing of it to the next.
    #[test]
    fn a_record_is_as_new() {
        let start = Start { status: 200, headers: Headers::new() };
        let due = Some(Instant::now());
        let mut used = Stream::<Vec<u8>, Vec<u8>> {
            id: 1,
            exchange: Exchange::open(true, true),
            websocket: None,
            te_trailers: true,
            expects_continue: true,
            receive: Receive {
                body: vec![0],
                frames: vec![0; 2 * KEPT_CAPACITY],
                window: 1,
                owed: 1,
                total: 1,
                length: Some(1),
                ended: true,
                end_given: true,
                asked: true,
                unwanted: true,
            },
            start: Some(Rc::new(start)),
            own_field: vec![1],
            own_name: 1,
            sent: 1,
            unsent: Transmit::new(),
            trailers: Some(Box::default()),
            end: End::Stream,
            window: 1,
            priority: Priority::read(b"u=1"),
            turn: 1,
            local_ended: true,
            reset: true,
            reset_sent: true,
            abandoned: true,
            counted: true,
            queued: true,
            changed: true,
            released: true,
            body_due: due,
            window_due: due,
        };
        used.unsent.append(|buffer| buffer.push(1));
        used.renew(3);
        let mut new = Stream::<Vec<u8>, Vec<u8>>::new();
        new.id = 3;
        assert_eq!(told(&used), told(&new));
        assert!(used.receive.frames.capacity() <= KEPT_CAPACITY);
    }

    /// All that a record says but its buffers' capacities.
    fn told(stream: &Stream<Vec<u8>, Vec<u8>>) -> String {
        let flags = [
            stream.te_trailers,
            stream.expects_continue,
            stream.local_ended,
            stream.reset,
            stream.reset_sent,
            stream.abandoned,
            stream.counted,
            stream.queued,
            stream.changed,
            stream.released,
            stream.websocket.is_some(),
            stream.unsent.is_empty(),
        ];
        format!(
            "{:?}",
            (
                (stream.id, stream.exchange, &stream.receive, &stream.start, &stream.own_field, stream.own_name),
                (stream.sent, &stream.trailers, &stream.end, stream.window, stream.priority, stream.turn),
                (flags, stream.body_due, stream.window_due),
            )
        )
    }
}
