//! What the cells of a board mean to those who read metrics: the families of the Prometheus text format, summed over all
//! workers. It counts nothing itself; docs/metrics.md says the same to operators.

use std::fmt::{self, Write};

use crate::board::{Board, CELLS, Cell, Group, RESTARTS, Restart};

/// Metrics of one kind, under one name.
struct Family {
    /// Without the ending of its samples.
    name: &'static str,
    help: &'static str,
    samples: Samples,
}

enum Samples {
    Gauge(Cell),
    /// A counter for each value of a label.
    Counters {
        label: &'static str,
        values: &'static [&'static str],
        cells: Group,
    },
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

const FAMILIES: &[Family] = &[
    Family { name: "ferricorn_workers", help: "Workers that run.", samples: Samples::Gauge(Cell::WORKERS) },
    Family {
        name: "ferricorn_worker_restarts",
        help: "Workers that were replaced or added, by reason.",
        samples: Samples::Counters { label: "reason", values: &RESTART_REASONS, cells: RESTARTS },
    },
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
        let sums = self.sums();
        let mut text = String::with_capacity(16 * 1024);
        for family in FAMILIES {
            // Nothing fails that writes into a text.
            let _ = family.write(&mut text, &sums, format);
        }
        if format == Format::OpenMetrics {
            text.push_str("# EOF\n");
        }
        text
    }
}

impl Family {
    fn write(&self, text: &mut String, sums: &[u64; CELLS], format: Format) -> fmt::Result {
        let Self { name, help, samples } = self;
        let kind = samples.kind();
        // A counter's family is named with its ending in the one format, and without in the other.
        let ending = if format == Format::Prometheus && kind == "counter" { "_total" } else { "" };
        writeln!(text, "# HELP {name}{ending} {help}\n# TYPE {name}{ending} {kind}")?;
        match samples {
            Samples::Gauge(cell) => writeln!(text, "{name} {}", sums[cell.0]),
            Samples::Counters { label, values, cells } => values.iter().enumerate().try_for_each(|(index, value)| {
                writeln!(text, "{name}_total{{{label}=\"{value}\"}} {}", sums[cells.at(index).0])
            }),
        }
    }
}

impl Samples {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Gauge(_) => "gauge",
            Self::Counters { .. } => "counter",
        }
    }
}
