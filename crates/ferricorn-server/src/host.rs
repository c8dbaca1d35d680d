//! What a worker is told by the process around it, and what it tells that process.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use asgi::Address;
use ferricorn_proto::http2::ConnectionError;
use ferricorn_proto::proxy_protocol::ProxyError;
use ferricorn_proto::websocket::ProtocolError;
use ferricorn_proto::{Limits, RequestError, TimeoutKind};

#[cfg(doc)]
use crate::Worker;
use crate::access_log::{Access, AccessFormat};
use crate::board::Row;
use crate::files::FileFault;
use crate::identity::Identity;
use crate::proxies::Proxies;
use crate::tls::{Context, Failure};

/// How often [`Worker::tick`] has to be called.
pub const TICK: Duration = Duration::from_millis(500);

/// What a worker is told once.
#[derive(Clone, Default)]
pub struct Config {
    /// Bounds and times of its connections.
    pub limits: Rc<Limits>,
    /// Those of connections without TLS beside others with it, where they are not the same.
    pub plain_limits: Option<Rc<Limits>>,
    /// Where the application is mounted: paths that do not start with it get it put before them (SCP-23).
    pub root_path: String,
    /// How many application calls may run at once; requests above it are answered 503. 0: no limit.
    pub concurrency: usize,
    /// After how many application calls [`Host::limit_reached`] is said. 0: never.
    pub max_calls: u64,
    /// What listeners speak TLS with, but for those that are [plain](crate::Listener::set_plain). None: all are plain.
    pub tls: Option<Arc<Context>>,
    /// Which proxies are believed, and what they may tell.
    pub proxies: Proxies,
    /// GET and HEAD on this path are answered without the application: whether the worker is healthy. Empty: there is none.
    pub health_path: String,
    /// How long WebSockets go on when a drain has begun.
    pub websocket_drain: Duration,
    /// What every request is known by.
    pub identity: Identity,
    /// Whether finished responses are reported to [`Host::accessed`].
    pub access_log: bool,
    /// What is kept of a request for its line.
    pub access_format: Rc<AccessFormat>,
    /// Where the worker counts; by default where nobody else looks.
    pub row: Row,
    /// How often [`Worker::beat`] is called from tick to tick, the tick itself included; 0 is 1.
    pub beats_per_tick: u32,
    /// Whether somebody reads that: requests are then counted and their times taken.
    pub metrics: bool,
}

/// What the worker tells the process around it. Called with nothing borrowed, but for [`Host::put_off`] and
/// [`Host::caught_up`], which must not call back.
pub trait Host: 'static {
    /// [`Worker::poll`] has work although no descriptor is ready: call it soon.
    fn poll_soon(&self);

    /// Something for the log that is not the application's doing.
    fn problem(&self, problem: &Problem);

    /// Finished responses, in order.
    fn accessed(&self, accesses: &[Box<Access>]);

    /// Bytes wait for the end of the turn, so that more can go with them. Says whether somebody will call
    /// [`Worker::flush_put_off`] where the application blocks or computes meanwhile: if not, a streamed part is written
    /// at once.
    fn put_off(&self) -> bool {
        false
    }

    /// Everything that was put off has been written.
    fn caught_up(&self) {}

    /// There have been [`Config::max_calls`] application calls. Said once; the worker goes on serving.
    fn limit_reached(&self) {}

    /// After [`Worker::drain`]: the last connection is closed and the last application call has ended.
    fn drained(&self);
}

/// What is worth a line in the log.
#[derive(Debug)]
#[non_exhaustive]
pub enum Problem {
    /// A peer sent what the server refuses.
    Request {
        /// Who, where it has an address.
        client: Option<Address>,
        /// What was wrong.
        error: RequestError,
    },
    /// A peer broke the WebSocket protocol.
    WebSocket {
        /// Who, where it has an address.
        client: Option<Address>,
        /// What it did.
        error: ProtocolError,
    },
    /// A peer broke HTTP/2, so that its connection had to be given up.
    Http2 {
        /// Who, where it has an address.
        client: Option<Address>,
        /// What it did.
        error: ConnectionError,
    },
    /// A peer let a deadline pass.
    Timeout {
        /// Who, where it has an address.
        client: Option<Address>,
        /// Which deadline.
        kind: TimeoutKind,
    },
    /// A peer did not begin with the header of the PROXY protocol.
    Proxy {
        /// Who, where it has an address.
        client: Option<Address>,
        /// What it did.
        error: ProxyError,
    },
    /// A peer whose PROXY protocol header would not be believed, so that it is not waited for.
    Stranger {
        /// Who, where it has an address.
        client: Option<Address>,
    },
    /// A file cannot be sent as it was promised: the response is broken off.
    File {
        /// Who was to get it, where it has an address.
        client: Option<Address>,
        /// What has become of the file.
        fault: FileFault,
    },
    /// TLS failed on a connection.
    Tls {
        /// Who, where it has an address.
        client: Option<Address>,
        /// Why.
        failure: Failure,
    },
    /// The poller failed; it is asked again at the next turn.
    Poll(io::Error),
    /// Accepting failed, for want of descriptors as a rule; it is tried again at the next tick.
    Accept(io::Error),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = |client: &Option<Address>| client.as_ref().map_or_else(|| "a client".to_owned(), Address::to_string);
        match self {
            Self::Request { client, error } => write!(f, "{}: refused a request: {error}", who(client)),
            Self::WebSocket { client, error } => {
                write!(f, "{}: closed a WebSocket with {}: {error}", who(client), error.code())
            }
            Self::Http2 { client, error } => write!(f, "{}: gave up an HTTP/2 connection: {error}", who(client)),
            Self::Timeout { client, kind } => write!(f, "{}: {kind}", who(client)),
            Self::Proxy { client, error } => write!(f, "{}: refused a connection: {error}", who(client)),
            Self::Tls { client, failure } => write!(f, "{}: {failure}", who(client)),
            Self::Stranger { client } => {
                let why = "it is not trusted to begin with a PROXY protocol header";
                write!(f, "{}: refused a connection: {why}", who(client))
            }
            Self::File { client, fault } => write!(f, "{}: broke off a response: {fault}", who(client)),
            Self::Poll(error) => write!(f, "cannot ask what is ready: {error}"),
            Self::Accept(error) => write!(f, "cannot accept connections: {error}; trying again shortly"),
        }
    }
}
