//! The bounds and times of HTTP/2 that an operator sets: default, unit, reason. This file knows no option's name, and the
//! bounds that nobody sets are not here but in `bounds`.

use std::time::Duration;

/// Bounds and times of HTTP/2; shared by the connections of a worker.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Streams that are open at the same time, 128. The client is told; one above it is refused (RFC 9113 section 5.1.2).
    pub max_concurrent_streams: u32,
    /// Bytes of one request's body that a client may send ahead of the application, 1 MiB (RFC 9113 section 6.9.2).
    pub stream_window: u32,
    /// The same of all streams of a connection together, 2 MiB; 65,535 at least, which is where a connection begins.
    pub connection_window: u32,
    /// Bytes of a frame's payload that are taken, and that are written at most, 16,384 (RFC 9113 section 4.2).
    pub max_frame_size: u32,
    /// Bytes of a request's fields, each counted with 32 more, 65,536 (RFC 9113 section 10.5.1). Answered 431 above.
    pub max_header_list_size: u32,
    /// From one ping of the server's to the next while nothing comes, none; None: it sends none.
    pub keep_alive_interval: Option<Duration>,
    /// From a ping, and from the first SETTINGS, to its acknowledgement, 20 s.
    pub keep_alive_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_concurrent_streams: 128,
            stream_window: 1024 * 1024,
            connection_window: 2 * 1024 * 1024,
            max_frame_size: 16_384,
            max_header_list_size: 65_536,
            keep_alive_interval: None,
            keep_alive_timeout: Duration::from_secs(20),
        }
    }
}
