//! HTTP/2, the server's side of a connection (RFC 9113, RFC 8441, RFC 9218). No socket and no clock: bytes are handed in,
//! bytes are taken out, the time is an argument. This file holds the connection, and reads and writes no byte itself.
//!
//! - `frame`, `settings`, `priority`, [`hpack`]: bytes. `request`: from a header block to a request.
//! - `input`: frames in their order; `receive`: what they mean for streams. `stream`, `streams`: what is kept of each.
//! - `output`: the application's events; `pump`: what waits goes out as windows allow, the most urgent first.
//! - `closing`: how streams and the connection end; `deadlines`: what happens when nothing happens; `bounds`: floods.
//! - `websocket`: a WebSocket on a stream.

mod bounds;
mod closing;
mod deadlines;
mod error;
mod frame;
pub mod hpack;
mod input;
mod limits;
mod output;
mod priority;
mod pump;
mod receive;
mod request;
mod settings;
mod stream;
mod streams;
mod websocket;

use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use asgi::{Extensions, Gather, HttpVersion};

pub use error::{ConnectionError, ErrorCode};
pub use frame::PREFACE;
pub use limits::Limits;
pub use pump::FileWanted;

use crate::error::TimeoutKind;
use crate::exchange::State;
use crate::limits::{Limits as CommonLimits, Now};
use crate::protocol::RequestHead;
use crate::transmit::Transmit;
use bounds::{Bounds, Unwritten};
use closing::{Draining, Fate};
use deadlines::Ping;
use hpack::Encoder;
use input::{Block, Reading};
use priority::Announced;
use request::Requests;
use settings::{DEFAULT_WINDOW, Settings};
use stream::{Start, Stream};
use streams::Streams;

/// One connection of HTTP/2. `B` is what the application holds the bytes of responses in, `G` what it gets those of
/// requests in.
///
/// The kinds of method are those of [`http1::Connection`](crate::http1::Connection). Those of one exchange take the number
/// of its stream, which [`RequestHead::stream`] has told. A driver looks at [`take_changed`](Self::take_changed) after
/// input, writing and time, and says [`release`](Self::release) when an application's call has ended.
pub struct Connection<B, G = Vec<u8>> {
    limits: Rc<CommonLimits>,
    http2: Rc<Limits>,
    reading: Reading,
    /// The header block that has begun.
    block: Option<Block>,
    requests: Requests,
    streams: Streams<B, G>,
    /// The last stream that the client has opened.
    last_stream: u32,
    /// How many the client takes for open.
    open: u32,
    changed: VecDeque<u32>,
    /// Those that have something to send.
    ready: Vec<u32>,
    /// Counts the frames of data, for whose turn it is; of those that are not incremental, each urgency has one.
    turn: u64,
    turns: [u64; 8],
    /// What the client has said of streams that have not begun.
    announced: Announced,
    peer: Settings,
    encoder: Encoder,
    /// What the last response began with.
    last_start: Option<Rc<Start>>,
    transmit: Transmit<B>,
    /// How much of all streams together the peer takes.
    send_window: i64,
    /// How much of all streams together the peer may still send, and what of it has been taken and not told.
    receive_window: i64,
    owed: u32,
    /// What the windows of new streams are, as far as the peer may believe.
    initial_window: i64,
    bounds: Bounds,
    control: Unwritten,
    /// Requests are not read until responses have gone.
    held_up: bool,
    fate: Fate,
    draining: Draining,
    /// Whether a WebSocket is closed as soon as it is open.
    restarting: bool,
    end_of_input: bool,
    /// When something was last done.
    instant: Instant,
    deadline: Option<(Instant, TimeoutKind)>,
    /// Until when a frame that has begun has to be whole, or a header block.
    head_due: Option<Instant>,
    /// Until when the peer has to take a byte, while bytes wait.
    stalled: Option<Instant>,
    /// Nothing of a stream is due before.
    streams_due: Option<Instant>,
    settings_due: Option<Instant>,
    ping: Ping,
    round_trip: Option<Duration>,
}

impl<B: AsRef<[u8]>, G: Gather> Connection<B, G> {
    /// A connection on which the client speaks HTTP/2: its input begins with the preface. The server's SETTINGS wait to be
    /// written.
    pub fn new(limits: Rc<CommonLimits>, now: Instant) -> Self {
        let http2 = limits.http2.clone().unwrap_or_default();
        let mut transmit = Transmit::new();
        transmit.append(|buffer| settings::write(buffer, &http2, limits.websocket.is_some()));
        let deadline = Some((now + limits.request_head, TimeoutKind::KeepAlive));
        Self {
            reading: Reading::Preface,
            block: None,
            requests: Requests::new(),
            streams: Streams::new(),
            last_stream: 0,
            open: 0,
            changed: VecDeque::new(),
            ready: Vec::new(),
            turn: 0,
            turns: [0; 8],
            announced: Announced::default(),
            peer: Settings::DEFAULT,
            encoder: Encoder::new(),
            last_start: None,
            transmit,
            send_window: i64::from(DEFAULT_WINDOW),
            receive_window: i64::from(http2.connection_window.max(DEFAULT_WINDOW)),
            owed: 0,
            // Until it has seen the setting, the client takes the default.
            initial_window: i64::from(http2.stream_window.max(DEFAULT_WINDOW)),
            bounds: Bounds::new(now),
            control: Unwritten::default(),
            held_up: false,
            fate: Fate::Open,
            draining: Draining::No,
            restarting: false,
            end_of_input: false,
            instant: now,
            deadline,
            head_due: None,
            stalled: None,
            streams_due: None,
            settings_due: Some(now + http2.keep_alive_timeout),
            ping: Ping::new(&http2, now),
            round_trip: None,
            limits,
            http2,
        }
    }

    /// What waits to be written.
    pub fn transmit(&mut self) -> &mut Transmit<B> {
        &mut self.transmit
    }

    /// A stream whose receiver or sender, if one waits, should look again: a part of a body came, or its end, bytes went, or
    /// it is over. Each is told once for what happened since.
    pub fn take_changed(&mut self) -> Option<u32> {
        loop {
            let stream = self.changed.pop_front()?;
            if let Some(slot) = self.streams.find(stream) {
                self.streams[slot].changed = false;
                return Some(stream);
            }
        }
    }

    /// Whether an exchange is open: a response is still to be made.
    pub fn has_open_exchange(&self) -> bool {
        self.streams.iter().any(is_open)
    }

    /// Whether no stream is open, nothing has begun to come and nothing waits to be written; or there are only WebSockets.
    pub fn is_idle(&self) -> bool {
        let is_between = matches!(self.reading, Reading::Frames) && self.block.is_none() && self.head_due.is_none();
        is_between
            && self.fate == Fate::Open
            && self.transmit.is_empty()
            && self.streams.iter().all(|stream| stream.exchange.state() == State::Upgraded)
    }

    /// Gives back the buffers and the remembered header blocks of an idle connection; else does nothing.
    pub fn release_memory(&mut self) {
        if !self.is_idle() {
            return;
        }
        self.requests.release_memory();
        self.encoder.release_memory();
        self.transmit.release_memory();
        self.announced.release_memory();
        self.last_start = None;
        self.changed.shrink_to_fit();
        self.ready.shrink_to_fit();
        for slot in self.streams.slots().collect::<Vec<_>>() {
            if let Some(session) = websocket::session_of(&mut self.streams[slot].websocket) {
                session.release_memory();
            }
        }
        self.streams.release_memory();
    }

    /// Whether a request was given out on the stream whose response is not whole, or a WebSocket that is not closed, and
    /// whose client is there.
    pub fn exchange_is_open(&self, stream: u32) -> bool {
        self.stream(stream).is_some_and(is_open)
    }

    /// Whether the body of the request has been given out whole, and nothing can follow it.
    pub fn request_complete(&self, stream: u32) -> bool {
        self.stream(stream).is_none_or(|stream| stream.receive.end_given)
    }

    /// Whether the exchange lost its client, or its WebSocket was closed by either side.
    pub fn disconnected(&self, stream: u32) -> bool {
        self.stream(stream).is_none_or(|stream| {
            stream.exchange.state() == State::Disconnected || websocket::is_closed(stream.websocket.as_deref())
        })
    }

    /// What the exchange can do beyond the core.
    pub fn extensions(&self, stream: u32) -> Extensions {
        match self.stream(stream) {
            Some(stream) if stream.websocket.is_some() => Extensions { denial_response: true, ..Extensions::default() },
            stream => Extensions {
                trailers: stream.is_some_and(|stream| stream.te_trailers),
                pathsend: true,
                zerocopysend: true,
                early_hint: true,
                ..Extensions::default()
            },
        }
    }

    /// Of a response body that ended before its promised length: (promised, sent) in bytes (HTTP-21).
    pub fn shortfall(&self, stream: u32) -> Option<(u64, u64)> {
        self.stream(stream)?.exchange.shortfall()
    }

    /// The status of the response, once it has started.
    pub fn response_status(&self, stream: u32) -> Option<u16> {
        self.stream(stream)?.exchange.status()
    }

    /// How many bytes of the response's body have been sent, its framing not counted.
    pub fn response_body_bytes(&self, stream: u32) -> u64 {
        self.stream(stream).map_or(0, |stream| stream.sent)
    }

    /// Bytes of the response that wait for windows and for room.
    pub fn unsent(&self, stream: u32) -> u64 {
        self.stream(stream).map_or(0, |stream| stream.unsent.len())
    }

    fn stream(&self, stream: u32) -> Option<&Stream<B, G>> {
        self.streams.find(stream).map(|slot| &self.streams[slot])
    }

    /// The request that was read last, as its event.
    fn request_head(&self, slot: usize, repeated: bool) -> RequestHead<'_> {
        let (request, stream) = (self.requests.request(), &self.streams[slot]);
        let (path, query) = request.target();
        RequestHead {
            stream: stream.id,
            version: HttpVersion::Http2,
            method: request.method(),
            path,
            query,
            headers: Rc::clone(&request.headers),
            headers_repeated: repeated,
            has_body: !stream.receive.end_given,
            websocket: stream.websocket.is_some(),
        }
    }

    /// Has the driver look at a stream.
    fn note_changed(&mut self, slot: usize) {
        let stream = &mut self.streams[slot];
        if !std::mem::replace(&mut stream.changed, true) {
            self.changed.push_back(stream.id);
        }
    }
}

fn is_open<B, G>(stream: &Stream<B, G>) -> bool {
    stream.exchange.is_open() && !websocket::is_closed(stream.websocket.as_deref())
}

impl<B: AsRef<[u8]>, G: Gather> fmt::Debug for Connection<B, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("streams", &self.streams.len())
            .field("fate", &self.fate)
            .field("transmit", &self.transmit)
            .finish_non_exhaustive()
    }
}
