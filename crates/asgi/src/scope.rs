//! What an application is called with: the scope (SCP-01 to SCP-27).

use std::borrow::Cow;
use std::fmt;

use crate::Headers;

/// The version of the HTTP and WebSocket message format that the events here follow (SCP-04).
pub const SPEC_VERSION: &str = "2.5";

/// An owned scope, for applications that outlive the call they were made in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Scope {
    /// One HTTP request.
    Http(Box<HttpScope>),
}

/// The HTTP version of a request (SCP-05).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

impl HttpVersion {
    /// As the scope writes it: `"1.0"`, `"1.1"`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
        }
    }
}

/// Whether the connection is encrypted (SCP-07).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain text.
    Http,
    /// TLS or QUIC.
    Https,
}

impl Scheme {
    /// As the scope of an HTTP request writes it: `"http"`, `"https"`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// One end of a connection (SCP-13, SCP-14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An address and port.
    Ip(std::net::SocketAddr),
    /// The path of a unix socket.
    Unix(String),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => f.write_str(path),
        }
    }
}

/// Which ASGI extensions the exchange has (section 6 of the requirements): advertised per scope type and protocol version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// `http.response.trailers` (EXT-13)
    pub trailers: bool,
    /// `http.response.pathsend` (EXT-08)
    pub pathsend: bool,
    /// `http.response.zerocopysend` (EXT-06)
    pub zerocopysend: bool,
    /// `http.response.early_hint` (EXT-11)
    pub early_hint: bool,
}

/// The scope of one HTTP request, borrowed from the connection it came in on.
#[derive(Debug)]
pub struct HttpScopeRef<'a> {
    /// The protocol version (SCP-05).
    pub http_version: HttpVersion,
    /// The method, in uppercase (SCP-06).
    pub method: &'a str,
    /// The scheme (SCP-07).
    pub scheme: Scheme,
    /// The path, percent-decoded once, then UTF-8 with U+FFFD for what is none (SCP-08, SCP-20, SCP-21).
    pub path: Cow<'a, str>,
    /// The path as received, without the query (SCP-09).
    pub raw_path: &'a [u8],
    /// What stands behind the `?`, still percent-encoded (SCP-10).
    pub query_string: &'a [u8],
    /// Where the application is mounted (SCP-11).
    pub root_path: &'a str,
    /// The header fields, names in lowercase (SCP-12).
    pub headers: &'a Headers,
    /// Whether `headers` is, byte for byte, what this connection's last scope had: an application that kept its own
    /// form of that list in its connection memory may take it again.
    pub headers_repeated: bool,
    /// The peer (SCP-13).
    pub client: Option<&'a Address>,
    /// The address that the peer connected to (SCP-14).
    pub server: Option<&'a Address>,
    /// What the exchange can do beyond the core (SCP-17).
    pub extensions: Extensions,
}

/// The scope of one HTTP request, owned. Fields as in [`HttpScopeRef`].
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "documented on HttpScopeRef, field by field")]
pub struct HttpScope {
    pub http_version: HttpVersion,
    pub method: String,
    pub scheme: Scheme,
    pub path: String,
    pub raw_path: Vec<u8>,
    pub query_string: Vec<u8>,
    pub root_path: String,
    pub headers: Headers,
    pub client: Option<Address>,
    pub server: Option<Address>,
    pub extensions: Extensions,
}

impl From<&HttpScopeRef<'_>> for HttpScope {
    fn from(scope: &HttpScopeRef<'_>) -> Self {
        Self {
            http_version: scope.http_version,
            method: scope.method.to_owned(),
            scheme: scope.scheme,
            path: scope.path.clone().into_owned(),
            raw_path: scope.raw_path.to_vec(),
            query_string: scope.query_string.to_vec(),
            root_path: scope.root_path.to_owned(),
            headers: scope.headers.clone(),
            client: scope.client.cloned(),
            server: scope.server.cloned(),
            extensions: scope.extensions,
        }
    }
}
