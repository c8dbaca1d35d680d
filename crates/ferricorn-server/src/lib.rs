//! The server: listeners, connections, deadlines and the poller, for any [`asgi::Application`].
//!
//! A [`Worker`] owns its sockets and one poller whose descriptor can be watched by any event loop. Each call of
//! [`Worker::poll`] drains a bounded batch of what is ready: read, parse, call the application, write.
//!
//! ```text
//!   event loop of the application (asyncio, uvloop, or `serve` below)
//!        | the poller's descriptor is readable
//!        v
//!   Worker::poll ── Connection (one a socket) ── ferricorn_proto (bytes in, events out)
//!        |                                            ^
//!        v  Application::call(scope, exchange)        |  Worker::receive, Worker::send, Worker::finish
//!   the application ──────────────────────────────────┘
//! ```
//!
//! It does not know Python, and it does not know a protocol's bytes. No borrow of a worker's state is held while the
//! application is called, because the application calls straight back.
#![forbid(unsafe_code)]

mod accepting;
mod access_log;
mod board;
mod cells;
mod clock;
mod connection;
mod counting;
mod exchange;
mod exchanges;
mod files;
mod handshakes;
mod host;
mod identity;
mod listener;
mod metrics;
mod metrics_server;
mod poller;
mod proxies;
mod redirect;
mod requests;
mod scope;
mod serve;
mod slab;
mod socket;
mod stall;
mod state;
mod tasks;
pub mod tls;
mod worker;
mod writing;

pub use access_log::{Access, AccessFormat, AccessLog, FormatError, LogWriter};
pub use board::{Board, Restart, Row};
pub use cells::Cell;
pub use exchanges::{Sent, Take};
pub use ferricorn_proto::Limits;
pub use ferricorn_proto::forwarded;
pub use ferricorn_proto::{Drain, Finished};
pub use ferricorn_proto::{http2, websocket};
pub use files::FileFault;
pub use host::{Config, Host, Problem, TICK};
pub use identity::Identity;
pub use listener::{Bind, Listener};
pub use metrics::Format;
pub use metrics_server::serve_metrics;
pub use proxies::Proxies;
pub use serve::{Stop, serve};
pub use stall::{Stall, Verdict};
pub use tasks::Tasks;
pub use worker::Worker;
