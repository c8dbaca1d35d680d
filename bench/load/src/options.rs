//! The command line.
//!
//!     load --port N --request FILE --body-bytes N [--depth D] [--tls CERTIFICATE] [--keep-alive on|off]
//!     load --port N --websocket echo|broadcast --message-bytes N [--kind text|binary] [--deflate on|off]
//!         [--warmup S] [--gate on|off]
//!
//! Both take `[--host H] [--connections C] [--seconds S]`.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use crate::frame::Opcode;

pub struct Options {
    /// Default 127.0.0.1.
    pub host: String,
    pub port: u16,
    /// Connections that are open at the same time. Default 64.
    pub connections: usize,
    /// Default 5 seconds.
    pub duration: Duration,
    pub workload: Workload,
}

pub enum Workload {
    Http(Http),
    WebSocket(WebSocket),
}

pub struct Http {
    /// Requests sent together on a connection before it waits for their responses. Default 1.
    pub depth: usize,
    /// One whole request, as read from the file.
    pub request: Vec<u8>,
    /// The length that every response's body has to have, in bytes.
    pub body_bytes: u64,
    /// The server speaks TLS and has the certificate in this PEM file. Default: no TLS.
    pub certificate: Option<PathBuf>,
    /// Otherwise every batch has a connection of its own, which the server closes. Default on.
    pub keep_alive: bool,
}

impl Http {
    fn new() -> Self {
        Self { depth: 1, request: Vec::new(), body_bytes: u64::MAX, certificate: None, keep_alive: true }
    }
}

pub struct WebSocket {
    /// One connection sends and all wait for the message, instead of each for its own. Given with `--websocket`.
    pub broadcast: bool,
    /// Of one message.
    pub message_bytes: usize,
    /// Text or binary. Default text.
    pub kind: Opcode,
    /// Whether permessage-deflate is offered, and has to be accepted. Default off.
    pub deflate: bool,
    /// Sending before the measurement, on the same connections. Default 0 seconds.
    pub warmup: Duration,
    /// Whether the client speaks with whoever started it: see gate.rs. Default off.
    pub gate: bool,
}

/// What has been read so far of either workload.
struct Parsed {
    options: Options,
    http: Http,
    websocket: WebSocket,
    is_websocket: bool,
}

impl Options {
    /// Fails where an option is unknown, lacks its value or cannot be read, and where a needed one is missing.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut parsed = Parsed::default();
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            parsed.set(&name, value).map_err(|error| format!("{name}: {error}"))?;
        }
        match parsed.missing() {
            Some(name) => Err(format!("{name} is needed").into()),
            None => Ok(parsed.finish()),
        }
    }
}

impl Default for Parsed {
    fn default() -> Self {
        let http = Http::new();
        let websocket = WebSocket {
            broadcast: false,
            message_bytes: 0,
            kind: Opcode::Text,
            deflate: false,
            warmup: Duration::ZERO,
            gate: false,
        };
        let options = Options {
            host: "127.0.0.1".to_owned(),
            port: 0,
            connections: 64,
            duration: Duration::from_secs(5),
            workload: Workload::Http(Http::new()),
        };
        Self { options, http, websocket, is_websocket: false }
    }
}

impl Parsed {
    fn set(&mut self, name: &str, value: String) -> Result<(), Box<dyn Error>> {
        match name {
            "--host" => self.options.host = value,
            "--port" => self.options.port = value.parse()?,
            "--connections" => self.options.connections = value.parse()?,
            "--seconds" => self.options.duration = Duration::from_secs_f64(value.parse()?),
            "--depth" => self.http.depth = value.parse()?,
            "--request" => self.http.request = std::fs::read(value)?,
            "--body-bytes" => self.http.body_bytes = value.parse()?,
            "--tls" => self.http.certificate = Some(value.into()),
            "--keep-alive" => self.http.keep_alive = choice(&value, "off", "on")?,
            _ => return self.set_websocket(name, &value),
        }
        Ok(())
    }

    fn set_websocket(&mut self, name: &str, value: &str) -> Result<(), Box<dyn Error>> {
        let websocket = &mut self.websocket;
        match name {
            "--websocket" => {
                self.is_websocket = true;
                websocket.broadcast = choice(value, "echo", "broadcast")?;
            }
            "--message-bytes" => websocket.message_bytes = value.parse()?,
            "--kind" => websocket.kind = if choice(value, "text", "binary")? { Opcode::Binary } else { Opcode::Text },
            "--deflate" => websocket.deflate = choice(value, "off", "on")?,
            "--warmup" => websocket.warmup = Duration::from_secs_f64(value.parse()?),
            "--gate" => websocket.gate = choice(value, "off", "on")?,
            _ => return Err("unknown option".into()),
        }
        Ok(())
    }

    fn missing(&self) -> Option<&'static str> {
        let both = [("--port", self.options.port == 0), ("--connections above 0", self.options.connections == 0)];
        let http = [
            ("--request", self.http.request.is_empty()),
            ("--body-bytes", self.http.body_bytes == u64::MAX),
            ("--depth above 0", self.http.depth == 0),
        ];
        let websocket = [("--message-bytes above 0", self.websocket.message_bytes == 0)];
        let workload: &[_] = if self.is_websocket { &websocket } else { &http };
        both.iter().chain(workload).find(|(_, absent)| *absent).map(|(name, _)| *name)
    }

    fn finish(self) -> Options {
        let workload = if self.is_websocket { Workload::WebSocket(self.websocket) } else { Workload::Http(self.http) };
        Options { workload, ..self.options }
    }
}

/// Whether the value is the second one.
fn choice(value: &str, first: &str, second: &str) -> Result<bool, String> {
    match value {
        _ if value == first => Ok(false),
        _ if value == second => Ok(true),
        _ => Err(format!("{value} is neither {first} nor {second}")),
    }
}
