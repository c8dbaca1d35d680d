//! The protocols of the Ferricorn server: bytes in, events out; events in, bytes out.
//!
//! This crate has no socket, no clock, no thread and no application. What arrives is handed in, what is to be written is
//! taken out, the time is an argument, and deadlines are asked for: so every behaviour can be tested exactly, and every
//! split of the same bytes gives the same events.
//!
//! ```text
//!   bytes ──> handle_input ──> Input::Request, Input::Body          the application's
//!                 │                                                 events
//!             Connection  <── start, body, trailers, early_hint ──────┘
//!                 │
//!   bytes <── transmit        next_timeout, closing: what the driver has to do
//! ```
//!
//! - [`http1`]: the connection of HTTP/1.0 and HTTP/1.1. [`http2`]: that of HTTP/2.
//! - [`forwarded`], [`proxy_protocol`]: what proxies tell of a request and of a connection.
//! - `protocol`: the events, and what a driver is told, whatever the version.
//! - `exchange`: the one state machine that checks the order and meaning of an application's events for every protocol.
//! - `semantics`: what RFC 9110 says whatever the version; `bytes`: looking at bytes eight at a time.
//! - [`Transmit`]: what waits to be written. [`Limits`]: every bound and time. [`RequestError`]: why a request is refused.
#![forbid(unsafe_code)]

mod bytes;
mod error;
mod exchange;
pub mod forwarded;
pub mod http1;
pub mod http2;
mod limits;
mod protocol;
pub mod proxy_protocol;
mod semantics;
mod transmit;
pub mod websocket;

pub use bytes::write_decimal;
pub use error::{RequestError, TimeoutKind};
pub use limits::{Limits, Now};
pub use protocol::{Answer, Closing, Drain, Finished, Input, Protocol, RequestHead, Step};
pub use transmit::{Content, Piece, Transmit};
