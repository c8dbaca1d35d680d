//! The command line: `load --port N --request FILE --body-bytes N [--host H] [--connections C] [--depth D] [--seconds S]`.

use std::error::Error;
use std::time::Duration;

pub struct Options {
    /// Default 127.0.0.1.
    pub host: String,
    pub port: u16,
    /// Connections that are open at the same time. Default 64.
    pub connections: usize,
    /// Requests sent together on a connection before it waits for their responses. Default 1.
    pub depth: usize,
    /// Default 5 seconds.
    pub duration: Duration,
    /// One whole request, as read from the file.
    pub request: Vec<u8>,
    /// The length that every response's body has to have, in bytes.
    pub body_bytes: u64,
}

impl Options {
    /// Fails where an option is unknown, lacks its value or cannot be read, and where port, request or body length is missing.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut options = Self {
            host: "127.0.0.1".to_owned(),
            port: 0,
            connections: 64,
            depth: 1,
            duration: Duration::from_secs(5),
            request: Vec::new(),
            body_bytes: u64::MAX,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--host" => options.host = value,
                "--port" => options.port = value.parse()?,
                "--connections" => options.connections = value.parse()?,
                "--depth" => options.depth = value.parse()?,
                "--seconds" => options.duration = Duration::from_secs_f64(value.parse()?),
                "--request" => options.request = std::fs::read(value)?,
                "--body-bytes" => options.body_bytes = value.parse()?,
                _ => return Err(format!("unknown option {name}").into()),
            }
        }
        options.check()
    }

    fn check(self) -> Result<Self, Box<dyn Error>> {
        let missing = [
            ("--port", self.port == 0),
            ("--request", self.request.is_empty()),
            ("--body-bytes", self.body_bytes == u64::MAX),
            ("--connections above 0", self.connections == 0),
            ("--depth above 0", self.depth == 0),
        ];
        match missing.iter().find(|(_, absent)| *absent) {
            Some((name, _)) => Err(format!("{name} is needed").into()),
            None => Ok(self),
        }
    }
}
