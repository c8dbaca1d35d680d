//! WebSockets (RFC 6455) with compression (RFC 7692), the server's side. No socket and no clock, and no HTTP either:
//! whatever carries a session hands its bytes in and takes them out. This file holds the bounds and the public names.
//!
//! - [`Handshake`]: what a request asks for and what its response says. [`WebSocket`]: what the application sees.
//! - [`Session`]: frames in, messages out, and back; it drives the others.
//! - `frame`: heads, masks and close codes; `message`: text and binary assembled from parts; `queue`: messages that nobody
//!   waits for yet; `keepalive`: pings and what they measure; `extension`, `deflate` and `compressor`: permessage-deflate,
//!   agreed and done.

pub(crate) mod close_code;
mod compressor;
mod deflate;
mod error;
mod extension;
mod frame;
mod handshake;
mod keepalive;
mod message;
mod queue;
mod session;
mod socket;

use std::time::Duration;

pub use error::ProtocolError;
pub use handshake::Handshake;
pub use session::{Session, Step};
pub use socket::WebSocket;

/// Bounds and times of WebSockets; shared by those of a worker.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a message, decompressed, 16 MiB. A longer one ends the WebSocket with 1009: at once where a length says so.
    pub max_message: u64,
    /// Messages that are read ahead of the application, 32.
    pub queue: usize,
    /// From one ping of the server's to the next, 20 s; None: it sends none.
    pub ping_interval: Option<Duration>,
    /// From a ping to its pong, 20 s; None: it may come late or never.
    pub ping_timeout: Option<Duration>,
    /// From the server's close frame to the client's, 10 s.
    pub close: Duration,
    /// Whether permessage-deflate is agreed to where a client offers it, true.
    pub deflate: bool,
}

impl Limits {
    /// Bytes of messages that are read ahead of the application, beyond the first, 64 KiB: so much of small messages is
    /// no burden, and of large ones one at a time is.
    pub const QUEUED: usize = 64 * 1024;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message: 16 * 1024 * 1024,
            queue: 32,
            ping_interval: Some(Duration::from_secs(20)),
            ping_timeout: Some(Duration::from_secs(20)),
            close: Duration::from_secs(10),
            deflate: true,
        }
    }
}
