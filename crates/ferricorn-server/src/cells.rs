//! What each cell of a worker's row counts: their names, their places and the labels that stand for them. It knows no
//! memory and no text format. Adding a cell changes the layout, which only workers of one process tree share.

use std::time::Duration;

use ferricorn_proto::TimeoutKind;
use ferricorn_proto::http2::ErrorCode;

use crate::board::{Restart, Row};

/// One cell of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell(pub(crate) usize);

impl Cell {
    /// Which layout the memory has: in the board's first row alone.
    pub(crate) const LAYOUT: Self = Self(0);
    /// Goes up while the worker's process runs, whatever its event loop does.
    pub const NATIVE_BEAT: Self = Self(1);
    /// Goes up with every turn of the worker's event loop that has work, with every call of the application, and with
    /// every tick.
    pub const LOOP_BEAT: Self = Self(2);
    /// 1 in the row of a worker that runs.
    pub const WORKERS: Self = Self(3);
    /// When the event loop's next beat is due, in nanoseconds of the monotonic clock; 0: none is.
    pub(crate) const NEXT_BEAT: Self = Self(4);
    /// Calls of the application that have not ended.
    pub(crate) const IN_FLIGHT: Self = Self(5);
    /// Open connections.
    pub(crate) const CONNECTIONS: Self = Self(6);
    /// Those of them that are WebSockets.
    pub(crate) const WEBSOCKETS: Self = Self(7);
    /// 1 while it accepts connections.
    pub(crate) const ACCEPTING: Self = Self(8);
    /// The first that is a count, and stays when its worker has ended.
    pub(crate) const FIRST_COUNT: Self = Self(9);
    pub(crate) const CONNECTIONS_ACCEPTED: Self = Self(9);
    pub(crate) const ACCEPT_ERRORS: Self = Self(10);
    pub(crate) const BYTES_RECEIVED: Self = Self(11);
    pub(crate) const BYTES_SENT: Self = Self(12);
    pub(crate) const ABANDONED: Self = Self(13);
    pub(crate) const WEBSOCKETS_ACCEPTED: Self = Self(14);
    pub(crate) const MESSAGES_RECEIVED: Self = Self(15);
    pub(crate) const MESSAGES_SENT: Self = Self(16);
    pub(crate) const VIOLATIONS: Self = Self(17);
}

/// Cells that stand side by side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    pub(crate) first: usize,
    pub(crate) len: usize,
}

impl Group {
    const fn after(group: Self, len: usize) -> Self {
        Self { first: group.first + group.len, len }
    }

    /// The cell number `index` of the group: where there is none, its last.
    pub(crate) const fn at(self, index: usize) -> Cell {
        Cell(self.first + if index < self.len { index } else { self.len - 1 })
    }
}

/// Responses, by method and class of status: those of GET first.
pub(crate) const REQUESTS: Group = Group { first: Cell::VIOLATIONS.0 + 1, len: METHODS.len() * CLASSES.len() };
/// Requests that the server refused, by status.
pub(crate) const REFUSED: Group = Group::after(REQUESTS, REFUSALS.len());
/// Deadlines that peers let pass, by kind.
pub(crate) const TIMEOUTS: Group = Group::after(REFUSED, TIMEOUT_KINDS.len());
/// Connections of HTTP/2 that were given up, by error code.
pub(crate) const HTTP2_ERRORS: Group = Group::after(TIMEOUTS, HTTP2_CODES.len());
/// Restarts of workers, by reason: counted by the supervisor, in the board's first row.
pub(crate) const RESTARTS: Group = Group::after(HTTP2_ERRORS, Restart::ALL.len());
/// A histogram: the time from a request's arrival to the end of its response.
pub(crate) const DURATION: Group = Group::after(RESTARTS, HISTOGRAM);
/// A histogram: the time from a request's arrival to the application's call.
pub(crate) const QUEUE_TIME: Group = Group::after(DURATION, HISTOGRAM);
/// A histogram: how late the beats of the event loop came.
pub(crate) const LAG: Group = Group::after(QUEUE_TIME, HISTOGRAM);
/// A histogram: how long the clients of WebSockets took to answer a ping.
pub(crate) const ROUND_TRIP: Group = Group::after(LAG, HISTOGRAM);

/// How many cells a row has: whole cache lines, also where those come in pairs, so that no two workers share one.
pub(crate) const CELLS: usize = (ROUND_TRIP.first + ROUND_TRIP.len).next_multiple_of(16);

/// The methods that are told apart; the last stands for all others, or anyone could fill the metrics with names.
pub(crate) const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"];

/// The classes of status (RFC 9110 section 15).
pub(crate) const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The statuses with which the server refuses by itself, and a last one for any other.
pub(crate) const REFUSALS: [&str; 10] = ["400", "413", "414", "417", "426", "431", "501", "503", "505", "other"];

/// The values of [`TimeoutKind`], in their order.
pub(crate) const TIMEOUT_KINDS: [&str; 8] =
    ["keep_alive", "request_head", "request_body", "response", "linger", "pong", "close", "settings"];

/// The codes with which connections of HTTP/2 are given up (RFC 9113 section 7), and a last one for any other.
pub(crate) const HTTP2_CODES: [&str; 8] = [
    "PROTOCOL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "COMPRESSION_ERROR",
    "ENHANCE_YOUR_CALM",
    "other",
];

/// The upper bounds of a histogram's buckets in microseconds; above the last is one more bucket.
pub(crate) const BOUNDS: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// How many cells a histogram has: its buckets, the one above the last bound, and the sum of all times in nanoseconds.
const HISTOGRAM: usize = BOUNDS.len() + 2;

/// The sum of a histogram's times.
pub(crate) const fn sum_of(histogram: Group) -> Cell {
    histogram.at(HISTOGRAM - 1)
}

/// Which of [`METHODS`] it is.
pub(crate) fn method_index(method: &str) -> u8 {
    let known = METHODS.iter().position(|known| *known == method);
    known.unwrap_or(METHODS.len() - 1) as u8
}

/// The cell for responses of this status.
pub(crate) const fn request_cell(method: u8, status: u16) -> Cell {
    let class = (status / 100).saturating_sub(1) as usize;
    let class = if class < CLASSES.len() { class } else { CLASSES.len() - 1 };
    REQUESTS.at(method as usize * CLASSES.len() + class)
}

/// The cell for requests that were refused with this status.
pub(crate) fn refusal_cell(status: u16) -> Cell {
    let known = REFUSALS.iter().position(|known| known.parse() == Ok(status));
    REFUSED.at(known.unwrap_or(REFUSALS.len() - 1))
}

/// The cell for connections of HTTP/2 that were given up with this code.
pub(crate) const fn http2_error_cell(code: ErrorCode) -> Cell {
    HTTP2_ERRORS.at(match code {
        ErrorCode::ProtocolError => 0,
        ErrorCode::FlowControlError => 1,
        ErrorCode::SettingsTimeout => 2,
        ErrorCode::StreamClosed => 3,
        ErrorCode::FrameSizeError => 4,
        ErrorCode::CompressionError => 5,
        ErrorCode::EnhanceYourCalm => 6,
        _ => 7,
    })
}

/// The cell for deadlines of this kind.
pub(crate) const fn timeout_cell(kind: TimeoutKind) -> Cell {
    TIMEOUTS.at(match kind {
        TimeoutKind::KeepAlive => 0,
        TimeoutKind::RequestHead => 1,
        TimeoutKind::RequestBody => 2,
        TimeoutKind::Response => 3,
        TimeoutKind::Linger => 4,
        TimeoutKind::Pong => 5,
        TimeoutKind::Close => 6,
        TimeoutKind::Settings => 7,
    })
}

impl Row {
    /// Puts a time into a histogram.
    #[inline]
    pub(crate) fn observe(&self, histogram: Group, time: Duration) {
        let nanoseconds = time.as_nanos() as u64;
        let bucket = BOUNDS.iter().position(|bound| nanoseconds <= bound * 1_000).unwrap_or(BOUNDS.len());
        self.add(histogram.at(bucket), 1);
        self.add(sum_of(histogram), nanoseconds);
    }
}

#[cfg(test)]
mod tests {
    use ferricorn_proto::RequestError;

    use super::*;

    #[test]
    fn methods_and_classes_have_cells_of_their_own() {
        let mut cells: Vec<_> = METHODS
            .iter()
            .flat_map(|method| (1..=5).map(move |class| request_cell(method_index(method), class * 100 + 4).0))
            .collect();
        cells.dedup();
        assert_eq!(cells, (REQUESTS.first..REQUESTS.first + REQUESTS.len).collect::<Vec<_>>());
        assert_eq!(method_index("get"), method_index("PROPFIND"));
        assert_eq!(METHODS[method_index("PURGE") as usize], "other");
        // What the application may say, however odd it is.
        assert_eq!(request_cell(0, 0), request_cell(0, 100));
        assert_eq!(request_cell(0, 999), request_cell(0, 500));
    }

    #[test]
    fn every_refusal_has_its_cell() {
        for (index, status) in REFUSALS.iter().enumerate().take(REFUSALS.len() - 1) {
            assert_eq!(refusal_cell(status.parse().unwrap()), REFUSED.at(index));
        }
        assert_eq!(refusal_cell(418), REFUSED.at(REFUSALS.len() - 1));
        assert_ne!(refusal_cell(RequestError::Version.status()), refusal_cell(418));
    }

    #[test]
    fn a_time_is_put_into_the_first_bucket_that_has_room_for_it() {
        let row = Row::default();
        for (time, bucket) in
            [(0, 0), (500, 0), (501, 1), (10_000_000, 13), (10_000_001, 14), (u64::MAX / 1_000_000, 14)]
        {
            let before = row.get(DURATION.at(bucket));
            row.observe(DURATION, Duration::from_micros(time));
            assert_eq!(row.get(DURATION.at(bucket)), before + 1, "{time}");
        }
        let sum = 500 + 501 + 10_000_000 + 10_000_001 + u64::MAX / 1_000_000;
        assert_eq!(row.get(sum_of(DURATION)), sum * 1_000);
        assert_eq!(row.get(sum_of(QUEUE_TIME)), 0);
    }
}
