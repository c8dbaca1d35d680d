//! What a run came to, and its one line of JSON.

use std::time::Duration;

/// Latencies are from the first byte sent to the last byte received: of a batch of requests, of one echoed message, or of
/// a broadcast until every connection has it.
#[derive(Default)]
pub struct Outcome {
    /// Responses, or messages received.
    pub responses: u64,
    /// As received, heads included.
    pub bytes: u64,
    pub errors: u64,
    pub latencies: Vec<Duration>,
    pub elapsed: Duration,
}

impl Outcome {
    pub fn new() -> Self {
        Self { latencies: Vec::with_capacity(1 << 20), ..Self::default() }
    }

    /// Latencies in microseconds.
    pub fn json(&mut self) -> String {
        self.latencies.sort_unstable();
        format!(
            r#"{{"requests": {}, "seconds": {:.6}, "bytes": {}, "errors": {}, "p50": {:.1}, "p99": {:.1}}}"#,
            self.responses,
            self.elapsed.as_secs_f64(),
            self.bytes,
            self.errors,
            self.percentile(0.50),
            self.percentile(0.99),
        )
    }

    /// The latency that `share` (0 to 1) did not exceed, in microseconds. Needs them sorted.
    fn percentile(&self, share: f64) -> f64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let index = (self.latencies.len().saturating_sub(1) as f64 * share).round() as usize;
        self.latencies.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
    }
}
