//! The worker's options, as the process declares them (`python/ferricorn/config_*.py`): a typed mirror without defaults.

use std::rc::Rc;
use std::time::Duration;

use asgi::Headers;
use ferricorn_server::forwarded::{Fields, Trust};
use ferricorn_server::{AccessFormat, Config, Identity, Limits, Proxies, http2, websocket};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyAnyMethods, PyDict};

/// Every key that is read: each must be there, and no other may be.
pub(crate) const NAMES: &[&str] = &[
    "access_log",
    "access_log_format",
    "date_header",
    "forwarded_allow_ips",
    "forwarded_fields",
    "headers",
    "health_path",
    "hsts",
    "http2",
    "http2_initial_connection_window_size",
    "http2_initial_stream_window_size",
    "http2_keep_alive_interval",
    "http2_keep_alive_timeout",
    "http2_max_concurrent_streams",
    "http2_max_frame_size",
    "http2_max_header_list_size",
    "limit_concurrency",
    "limit_max_requests",
    "limit_request_body",
    "limit_request_head",
    "metrics_bind",
    "proxy_headers",
    "proxy_protocol",
    "request_id_header",
    "root_path",
    "server_header",
    "stall_warning",
    "timeout_keep_alive",
    "timeout_request_body",
    "timeout_request_head",
    "timeout_websocket_drain",
    "traceparent",
    "ws",
    "ws_max_queue",
    "ws_max_size",
    "ws_per_message_deflate",
    "ws_ping_interval",
    "ws_ping_timeout",
];

/// What a timeout of 0 means: none. Ten years, so that it can still be added to a time.
const NO_TIMEOUT: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// Reads the options.
///
/// # Errors
/// TypeError for a missing or unknown key, or a value of the wrong type.
pub(crate) fn read(options: &Bound<'_, PyDict>) -> PyResult<Config> {
    for key in options.keys() {
        let key: String = key.extract()?;
        if !NAMES.contains(&key.as_str()) {
            return Err(PyTypeError::new_err(format!("the worker has no option '{key}'")));
        }
    }
    let options = Options(options);
    let plain = Limits {
        head: options.get("limit_request_head")?,
        body: Some(options.get("limit_request_body")?).filter(|limit| *limit != 0),
        keep_alive: options.seconds("timeout_keep_alive")?,
        request_head: options.seconds("timeout_request_head")?,
        request_body: options.seconds("timeout_request_body")?,
        date: options.get("date_header")?,
        headers: default_headers(options.get("headers")?, options.get("server_header")?)?,
        websocket: options.websocket()?,
        http2: options.http2()?,
        ..Limits::default()
    };
    let plain = Rc::new(plain);
    let hsts: String = options.get("hsts")?;
    Ok(Config {
        limits: if hsts.is_empty() { Rc::clone(&plain) } else { Rc::new(with_hsts(&plain, &hsts)?) },
        plain_limits: Some(plain).filter(|_| !hsts.is_empty()),
        root_path: options.get("root_path")?,
        concurrency: options.get("limit_concurrency")?,
        health_path: options.get("health_path")?,
        websocket_drain: options.duration("timeout_websocket_drain")?,
        max_calls: options.get("limit_max_requests")?,
        proxies: options.proxies()?,
        access_log: options.get("access_log")?,
        metrics: options.get::<Option<String>>("metrics_bind")?.is_some(),
        access_format: Rc::new(options.access_format()?),
        identity: Identity::new(&options.get::<String>("request_id_header")?, options.get("traceparent")?),
        ..Config::default()
    })
}

/// How long the event loop may be blocked before that is logged; zero: it is not.
///
/// # Errors
/// As [`read`], which has to be called as well.
pub(crate) fn stall_warning(options: &Bound<'_, PyDict>) -> PyResult<Duration> {
    let seconds: f64 = Options(options).get("stall_warning")?;
    Duration::try_from_secs_f64(seconds).map_err(|error| PyValueError::new_err(error.to_string()))
}

struct Options<'a, 'py>(&'a Bound<'py, PyDict>);

impl<'py> Options<'_, 'py> {
    fn get<T: FromPyObjectOwned<'py>>(&self, name: &str) -> PyResult<T> {
        let value = self.0.as_any().get_item(name);
        let value = value.map_err(|_| PyTypeError::new_err(format!("the worker's option '{name}' is missing")))?;
        value.extract::<T>().map_err(|error| {
            let error: PyErr = error.into();
            PyTypeError::new_err(format!("the worker's option '{name}': {}", error.value(self.0.py())))
        })
    }

    fn access_format(&self) -> PyResult<AccessFormat> {
        let text: String = self.get("access_log_format")?;
        let request_id: String = self.get("request_id_header")?;
        AccessFormat::parse(&text, &request_id, self.get("traceparent")?)
            .map_err(|error| PyValueError::new_err(format!("the worker's option 'access_log_format' {error}")))
    }

    /// None where there are no WebSockets.
    fn websocket(&self) -> PyResult<Option<Rc<websocket::Limits>>> {
        let implementation: String = self.get("ws")?;
        let limits = websocket::Limits {
            max_message: self.get("ws_max_size")?,
            queue: self.get("ws_max_queue")?,
            ping_interval: Some(self.seconds("ws_ping_interval")?).filter(|interval| *interval < NO_TIMEOUT),
            ping_timeout: Some(self.seconds("ws_ping_timeout")?).filter(|timeout| *timeout < NO_TIMEOUT),
            deflate: self.get("ws_per_message_deflate")?,
            ..websocket::Limits::default()
        };
        Ok((implementation != "none").then(|| Rc::new(limits)))
    }

    /// None where it is not offered.
    fn http2(&self) -> PyResult<Option<Rc<http2::Limits>>> {
        let limits = http2::Limits {
            max_concurrent_streams: self.get("http2_max_concurrent_streams")?,
            stream_window: self.get("http2_initial_stream_window_size")?,
            connection_window: self.get("http2_initial_connection_window_size")?,
            max_frame_size: self.get("http2_max_frame_size")?,
            max_header_list_size: self.get("http2_max_header_list_size")?,
            keep_alive_interval: Some(self.seconds("http2_keep_alive_interval")?)
                .filter(|interval| *interval < NO_TIMEOUT),
            keep_alive_timeout: self.seconds("http2_keep_alive_timeout")?,
        };
        Ok(self.get::<bool>("http2")?.then(|| Rc::new(limits)))
    }

    fn proxies(&self) -> PyResult<Proxies> {
        let entries: Vec<String> = self.get("forwarded_allow_ips")?;
        let words: Vec<String> = self.get("forwarded_fields")?;
        let trust = Trust::read(entries.iter().map(String::as_str));
        let wrong = |name: &str, error: String| PyValueError::new_err(format!("the worker's option '{name}': {error}"));
        let mut fields = Fields::NONE;
        for word in words {
            fields = fields.with(word.parse().map_err(|error| wrong("forwarded_fields", error))?);
        }
        Ok(Proxies {
            trust: trust.map_err(|error| wrong("forwarded_allow_ips", error.to_string()))?,
            fields: if self.get("proxy_headers")? { fields } else { Fields::NONE },
            protocol: self.get("proxy_protocol")?,
        })
    }

    /// 0 is no timeout.
    fn seconds(&self, name: &str) -> PyResult<Duration> {
        Ok(Some(self.duration(name)?).filter(|duration| !duration.is_zero()).unwrap_or(NO_TIMEOUT))
    }

    fn duration(&self, name: &str) -> PyResult<Duration> {
        let seconds = self.get(name)?;
        Duration::try_from_secs_f64(seconds)
            .map_err(|error| PyValueError::new_err(format!("the worker's option '{name}': {error}")))
    }
}

/// RFC 6797 section 7: every response over TLS says it, and none without (section 7.2).
fn with_hsts(plain: &Limits, value: &str) -> PyResult<Limits> {
    let mut limits = plain.clone();
    let pushed = limits.headers.push(b"strict-transport-security", value.as_bytes());
    pushed.map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(limits)
}

fn default_headers(fields: Vec<(Vec<u8>, Vec<u8>)>, server: bool) -> PyResult<Headers> {
    let mut headers = Headers::new();
    let named = fields.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"server"));
    if server && !named {
        headers.push(b"server", b"ferricorn").map_err(|error| PyValueError::new_err(error.to_string()))?;
    }
    for (name, value) in fields {
        headers.push(&name, &value).map_err(|error| PyValueError::new_err(error.to_string()))?;
    }
    Ok(headers)
}
