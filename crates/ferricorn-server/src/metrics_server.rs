//! The page of metrics, as an application in Rust on a loop of its own: it needs no Python, so it answers whatever the
//! workers' event loops do. What is on the page is told in `metrics.rs`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use asgi::{Headers, HttpScope, Receive, ResponseStart, Scope, Send, SendError, SendEvent};

use crate::board::Board;
use crate::host::Config;
use crate::listener::Listener;
use crate::metrics::Format;
use crate::serve::{Manner, Stop, serve_so};

/// How long an answer that is on its way may take once the server is stopped.
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers `GET /metrics` with what the board says, and everything else with 404, until it is stopped. `started` is called
/// when it answers.
///
/// # Errors
/// Where the listener cannot be watched.
pub fn serve_metrics(board: Arc<Board>, listener: Listener, stop: &Stop, started: impl FnOnce()) -> io::Result<()> {
    let application = move |scope: Scope, _: Receive, send: Send| answer(Arc::clone(&board), scope, send);
    let manner = Manner { tells: false, patience: Some(PATIENCE), started };
    serve_so(application, Config::default(), vec![listener], stop, manner)
}

async fn answer(board: Arc<Board>, scope: Scope, send: Send) -> Result<(), SendError> {
    let Scope::Http(scope) = scope else {
        return send.send(SendEvent::WebSocketClose { code: 1000, reason: String::new() }).await;
    };
    let page = Page::of(&board, &scope);
    let mut headers = Headers::from_iter([("content-type", page.kind)])?;
    if page.status == 405 {
        headers.push(b"allow", b"GET, HEAD")?;
    }
    send.send(SendEvent::ResponseStart(ResponseStart { status: page.status, headers, trailers: false })).await?;
    send.send(SendEvent::ResponseBody { body: page.text.into_bytes(), more_body: false }).await
}

struct Page {
    status: u16,
    kind: &'static str,
    text: String,
}

impl Page {
    fn of(board: &Board, scope: &HttpScope) -> Self {
        let plain = "text/plain; charset=utf-8";
        if scope.path != "/metrics" {
            return Self { status: 404, kind: plain, text: "The metrics are at /metrics.\n".to_owned() };
        }
        if !matches!(&*scope.method, "GET" | "HEAD") {
            return Self { status: 405, kind: plain, text: "The metrics can be read.\n".to_owned() };
        }
        let format = accepted(&scope.headers);
        let kind = match format {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        };
        Self { status: 200, kind, text: board.render(format) }
    }
}

/// The form that the client would rather have (RFC 9110 section 12.5.1): that of Prometheus unless it names the other.
fn accepted(headers: &Headers) -> Format {
    let (mut open, mut plain) = (0.0_f32, 0.0_f32);
    let fields = headers.iter().filter(|(name, _)| *name == b"accept");
    for (_, value) in fields {
        for range in String::from_utf8_lossy(value).split(',') {
            let mut parts = range.split(';').map(str::trim);
            let best = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "application/openmetrics-text" => &mut open,
                "text/plain" | "text/*" | "*/*" => &mut plain,
                _ => continue,
            };
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
            *best = best.max(weight);
        }
    }
    if open > 0.0 && open >= plain { Format::OpenMetrics } else { Format::Prometheus }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_chooses_the_format() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;\
                          q=0.4,text/plain;version=1.0.0;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for (accept, format) in [
            (prometheus, Format::OpenMetrics),
            ("Application/OpenMetrics-Text", Format::OpenMetrics),
            ("application/openmetrics-text; q=0", Format::Prometheus),
            ("application/openmetrics-text;q=0.4, text/plain;q=0.5", Format::Prometheus),
            ("text/html, */*", Format::Prometheus),
            ("", Format::Prometheus),
            (";;,,q=", Format::Prometheus),
        ] {
            assert_eq!(accepted(&Headers::from_iter([("accept", accept)]).unwrap()), format, "{accept}");
        }
        assert_eq!(accepted(&Headers::new()), Format::Prometheus);
    }
}
