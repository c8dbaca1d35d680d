//! What the cells of a board mean to those who read metrics: the families of the Prometheus text format, summed over all
//! workers. It counts nothing itself; docs/metrics.md says the same to operators.

use std::fmt::{self, Write};
use std::time::Duration;

use crate::board::{Board, Restart};
use crate::cells::{
    BOUNDS, CELLS, CLASSES, Cell, DURATION, Group, HTTP2_CODES, HTTP2_ERRORS, LAG, METHODS, QUEUE_TIME, REFUSALS,
    REFUSED, REQUESTS, RESTARTS, ROUND_TRIP, TIMEOUT_KINDS, TIMEOUTS, sum_of,
};

/// Metrics of one kind, under one name.
struct Family {
    /// Without the ending that the samples of its kind have.
    name: &'static str,
    help: &'static str,
    kind: Kind,
}

enum Kind {
    /// The version, as a label.
    Version,
    Gauge(Cell),
    /// For how long the worker whose event loop is the latest has been so.
    Blocked,
    Counter(Cell),
    /// A counter for each value of a label.
    Counters(&'static str, &'static [&'static str], Group),
    /// A counter for each method and class of status.
    Requests,
    Histogram(Group),
}

use Kind::{Blocked, Counter, Counters, Gauge, Histogram, Requests, Version};

const fn family(name: &'static str, kind: Kind, help: &'static str) -> Family {
    Family { name, help, kind }
}

const RESTART_REASONS: [&str; Restart::ALL.len()] = {
    let mut names = [""; Restart::ALL.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = Restart::ALL[index].as_str();
        index += 1;
    }
    names
};

/// Help texts have neither backslashes nor line ends, label values no quotes either: nothing has to be escaped.
const FAMILIES: &[Family] = &[
    family("ferricorn_build", Version, "The version of the server."),
    family("ferricorn_workers", Gauge(Cell::WORKERS), "Workers that run."),
    family(
        "ferricorn_worker_restarts",
        Counters("reason", &RESTART_REASONS, RESTARTS),
        "Workers that were replaced or added, by reason.",
    ),
    family("ferricorn_requests", Requests, "Responses that are complete, by the request's method and the status."),
    family("ferricorn_requests_in_flight", Gauge(Cell::IN_FLIGHT), "Calls of the application that have not ended."),
    family(
        "ferricorn_request_duration_seconds",
        Histogram(DURATION),
        "Time from the turn that saw a request's head to the last byte of the application's response.",
    ),
    family(
        "ferricorn_request_queue_seconds",
        Histogram(QUEUE_TIME),
        "Time from the turn that saw a request's head to the application's call.",
    ),
    family(
        "ferricorn_requests_refused",
        Counters("status", &REFUSALS, REFUSED),
        "Requests that the server answered itself because of what they were, or because there were too many.",
    ),
    family(
        "ferricorn_requests_abandoned",
        Counter(Cell::ABANDONED),
        "Requests whose connection ended before their response was complete.",
    ),
    family(
        "ferricorn_timeouts",
        Counters("kind", &TIMEOUT_KINDS, TIMEOUTS),
        "Deadlines that clients let pass, by kind.",
    ),
    family(
        "ferricorn_http2_errors",
        Counters("code", &HTTP2_CODES, HTTP2_ERRORS),
        "HTTP/2 connections given up because the client broke the protocol, by error code.",
    ),
    family("ferricorn_event_loop_lag_seconds", Histogram(LAG), "How late each beat of an event loop came."),
    family(
        "ferricorn_event_loop_blocked_seconds",
        Blocked,
        "How late the next beat is by now, in the worker where it is the latest.",
    ),
    family("ferricorn_connections_open", Gauge(Cell::CONNECTIONS), "Open connections."),
    family("ferricorn_connections_accepted", Counter(Cell::CONNECTIONS_ACCEPTED), "Connections that were accepted."),
    family("ferricorn_accept_errors", Counter(Cell::ACCEPT_ERRORS), "Times that no connection could be accepted."),
    family("ferricorn_received_bytes", Counter(Cell::BYTES_RECEIVED), "Bytes read from connections."),
    family("ferricorn_sent_bytes", Counter(Cell::BYTES_SENT), "Bytes written to connections."),
    family("ferricorn_websockets_open", Gauge(Cell::WEBSOCKETS), "Connections that are WebSockets."),
    family("ferricorn_websockets_accepted", Counter(Cell::WEBSOCKETS_ACCEPTED), "WebSockets that were accepted."),
    family(
        "ferricorn_websocket_messages_received",
        Counter(Cell::MESSAGES_RECEIVED),
        "Messages that applications received.",
    ),
    family("ferricorn_websocket_messages_sent", Counter(Cell::MESSAGES_SENT), "Messages that applications sent."),
    family(
        "ferricorn_websocket_violations",
        Counter(Cell::VIOLATIONS),
        "WebSockets closed because the client broke the protocol or sent too much.",
    ),
    family(
        "ferricorn_websocket_round_trip_seconds",
        Histogram(ROUND_TRIP),
        "Time from a ping of the server to the client's pong.",
    ),
];

/// The two forms of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The text format of Prometheus, version 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Board {
    /// Everything that all workers have counted, the ended ones as well.
    pub fn render(&self, format: Format) -> String {
        let (sums, blocked) = (self.sums(), self.blocked());
        let mut page = Page { text: String::with_capacity(16 * 1024), format };
        for family in FAMILIES {
            // Nothing fails that writes into a text.
            let _ = page.write(family, &sums, blocked);
        }
        if format == Format::OpenMetrics {
            page.text.push_str("# EOF\n");
        }
        page.text
    }
}

struct Page {
    text: String,
    format: Format,
}

impl Page {
    fn write(&mut self, family: &Family, sums: &[u64; CELLS], blocked: Duration) -> fmt::Result {
        self.write_heading(family)?;
        let (text, Family { name, .. }) = (&mut self.text, family);
        match &family.kind {
            Version => writeln!(text, "{name}_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")),
            Gauge(cell) => writeln!(text, "{name} {}", sums[cell.0]),
            Blocked => writeln!(text, "{name} {}", blocked.as_secs_f64()),
            Counter(cell) => writeln!(text, "{name}_total {}", sums[cell.0]),
            Counters(label, values, cells) => values
                .iter()
                .zip(cells.of(sums))
                .try_for_each(|(value, count)| writeln!(text, "{name}_total{{{label}=\"{value}\"}} {count}")),
            Requests => {
                let labels = METHODS.iter().flat_map(|method| CLASSES.iter().map(move |class| (method, class)));
                labels.zip(REQUESTS.of(sums)).try_for_each(|((method, class), count)| {
                    writeln!(text, "{name}_total{{method=\"{method}\",status=\"{class}\"}} {count}")
                })
            }
            Histogram(cells) => self.write_histogram(name, *cells, sums),
        }
    }

    /// A counter's family, and that of the version, is named with the ending of its samples in the one format, and without
    /// it in the other.
    fn write_heading(&mut self, family: &Family) -> fmt::Result {
        let Family { name, help, kind } = family;
        let is_open = self.format == Format::OpenMetrics;
        let (kind, ending) = match kind {
            Version if is_open => ("info", ""),
            Version => ("gauge", "_info"),
            Gauge(_) | Blocked => ("gauge", ""),
            Counter(_) | Counters(..) | Requests if is_open => ("counter", ""),
            Counter(_) | Counters(..) | Requests => ("counter", "_total"),
            Histogram(_) => ("histogram", ""),
        };
        writeln!(self.text, "# HELP {name}{ending} {help}\n# TYPE {name}{ending} {kind}")?;
        match ["seconds", "bytes"].into_iter().find(|unit| is_open && name.ends_with(unit)) {
            Some(unit) => writeln!(self.text, "# UNIT {name} {unit}"),
            None => Ok(()),
        }
    }

    fn write_histogram(&mut self, name: &str, cells: Group, sums: &[u64; CELLS]) -> fmt::Result {
        let text = &mut self.text;
        let mut count = 0;
        for (index, bucket) in cells.of(sums).iter().enumerate().take(BOUNDS.len() + 1) {
            count += bucket;
            match BOUNDS.get(index) {
                Some(bound) => writeln!(text, "{name}_bucket{{le=\"{:?}\"}} {count}", *bound as f64 / 1e6)?,
                None => writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {count}")?,
            }
        }
        let sum = sums[sum_of(cells).0] as f64 / 1e9;
        writeln!(text, "{name}_sum {sum}\n{name}_count {count}")
    }
}

impl Group {
    fn of(self, sums: &[u64; CELLS]) -> &[u64] {
        &sums[self.first..self.first + self.len]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::cells::request_cell;

    fn board() -> Board {
        let memory: Vec<_> = (0..Board::cells_for(2)).map(|_| AtomicU64::new(0)).collect();
        Board::new(memory.leak()).unwrap()
    }

    #[test]
    fn every_cell_that_counts_is_in_one_family() {
        let mut cells = HashSet::new();
        for family in FAMILIES {
            match &family.kind {
                Gauge(cell) | Counter(cell) => assert!(cells.insert(cell.0), "{}", family.name),
                Counters(_, values, group) => {
                    assert_eq!(values.len(), group.len, "{}", family.name);
                    assert!((0..group.len).all(|index| cells.insert(group.at(index).0)), "{}", family.name);
                }
                Requests => assert!((0..REQUESTS.len).all(|index| cells.insert(REQUESTS.at(index).0))),
                Histogram(group) => assert!((0..group.len).all(|index| cells.insert(group.at(index).0))),
                Version | Blocked => {}
            }
        }
        for cell in Cell::FIRST_COUNT.0..ROUND_TRIP.first + ROUND_TRIP.len {
            assert!(cells.contains(&cell), "cell {cell}");
        }
    }

    #[test]
    fn what_is_written_needs_no_escape() {
        for family in FAMILIES {
            assert!(family.help.ends_with('.') && !family.help.contains(['\\', '\n', '"']), "{}", family.name);
            assert!(family.name.starts_with("ferricorn_") && !family.name.ends_with("_total"), "{}", family.name);
            if let Counters(label, values, _) = family.kind {
                assert!(values.iter().chain([&label]).all(|text| !text.contains(['\\', '\n', '"'])));
            }
        }
    }

    #[test]
    fn rows_are_added_up_and_histograms_cumulate() {
        let board = board();
        for (worker, milliseconds) in [(0, 1), (0, 2), (1, 20_000)] {
            let row = board.row(worker).unwrap();
            row.add(request_cell(0, 200), 1);
            row.observe(DURATION, Duration::from_millis(milliseconds));
        }
        let text = board.render(Format::Prometheus);
        for line in [
            "# TYPE ferricorn_requests_total counter",
            "ferricorn_requests_total{method=\"GET\",status=\"2xx\"} 3",
            "ferricorn_requests_total{method=\"other\",status=\"5xx\"} 0",
            "ferricorn_request_duration_seconds_bucket{le=\"0.0005\"} 0",
            "ferricorn_request_duration_seconds_bucket{le=\"0.001\"} 1",
            "ferricorn_request_duration_seconds_bucket{le=\"1.0\"} 2",
            "ferricorn_request_duration_seconds_bucket{le=\"10.0\"} 2",
            "ferricorn_request_duration_seconds_bucket{le=\"+Inf\"} 3",
            "ferricorn_request_duration_seconds_sum 20.003",
            "ferricorn_request_duration_seconds_count 3",
            "ferricorn_event_loop_blocked_seconds 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        board.retire(0);
        assert_eq!(board.render(Format::Prometheus), text);
    }

    #[test]
    fn the_formats_name_counters_differently() {
        let (board, endings) = (board(), ["_total", ""]);
        for (format, ending) in [Format::Prometheus, Format::OpenMetrics].into_iter().zip(endings) {
            let text = board.render(format);
            assert!(text.contains(&format!("# TYPE ferricorn_sent_bytes{ending} counter\n")), "{text}");
            assert!(text.contains("\nferricorn_sent_bytes_total 0\n"), "{text}");
            assert_eq!(text.ends_with("# EOF\n"), format == Format::OpenMetrics);
            assert_eq!(text.contains("# UNIT ferricorn_sent_bytes bytes\n"), format == Format::OpenMetrics);
        }
    }
}
