//! What the access log says of a finished response. Formatting and writing are the process's work.

use std::fmt;

use asgi::{Address, HttpVersion};

/// One finished response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The peer, where it has an address.
    pub client: Option<Address>,
    /// The method, in uppercase.
    pub method: String,
    /// The target as received, the query included.
    pub target: String,
    /// The protocol version of the request.
    pub http_version: HttpVersion,
    /// The status of the response.
    pub status: u16,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(client) = &self.client {
            write!(f, "{client} - ")?;
        }
        let Self { method, target, http_version, status, .. } = self;
        write!(f, "\"{method} {target} HTTP/{}\" {status}", http_version.as_str())
    }
}

/// A request whose response is not complete yet.
pub(crate) struct Pending {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) http_version: HttpVersion,
}

impl Pending {
    pub(crate) fn finished(self, client: Option<Address>, status: u16) -> Access {
        Access { client, method: self.method, target: self.target, http_version: self.http_version, status }
    }
}
