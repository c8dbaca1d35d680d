//! What an application is called with: the scope (SCP-01 to SCP-27).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::Headers;

/// The version of the HTTP and WebSocket message format that the events here follow (SCP-04).
pub const SPEC_VERSION: &str = "2.5";

/// An owned scope, for applications that outlive the call they were made in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Scope {
    /// One HTTP request.
    Http(Box<HttpScope>),
    /// One WebSocket (WS-28).
    WebSocket(Box<WebSocketScope>),
}

/// The HTTP version of a request (SCP-05).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

impl HttpVersion {
    /// As the scope writes it: `"1.0"`, `"1.1"`, `"2"`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
            Self::Http2 => "2",
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

    /// As the scope of a WebSocket writes it: `"ws"`, `"wss"`.
    pub const fn as_websocket_str(self) -> &'static str {
        match self {
            Self::Http => "ws",
            Self::Https => "wss",
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
    /// A name and a port, as a proxy told them: a host's name, or what stands for an address that is kept secret
    /// (RFC 7239 section 6.3). The port is 0 where none was told.
    Name(String, u16),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => f.write_str(path),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
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
    /// `websocket.http.response` (EXT-01)
    pub denial_response: bool,
}

/// What is known of an encrypted connection (the TLS extension 0.2, TLS-01 to TLS-07).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The certificate that the server sent, in PEM (TLS-02).
    pub server_cert: Option<Arc<str>>,
    /// The client's certificates in PEM, its own first; empty where it sent none (TLS-03).
    pub client_cert_chain: Vec<String>,
    /// The subject of the client's certificate as RFC 4514 writes it (TLS-04).
    pub client_cert_name: Option<String>,
    /// Why the client's certificate could not be verified, where it was let in nevertheless (TLS-05).
    pub client_cert_error: Option<String>,
    /// The version as TLS numbers it: 0x0304 is TLS 1.3 (TLS-06).
    pub tls_version: Option<u16>,
    /// The cipher suite as IANA numbers it (TLS-07).
    pub cipher_suite: Option<u16>,
}

/// What only one type of scope has.
#[derive(Clone, Copy, Debug)]
pub enum ScopeKind<'a> {
    /// `"http"`: one request.
    Http {
        /// The method, in uppercase (SCP-06).
        method: &'a str,
    },
    /// `"websocket"`: one WebSocket, from its handshake to its end (WS-28).
    WebSocket {
        /// What the client offers, in its order of preference (SCP-15).
        subprotocols: &'a [String],
    },
}

/// The scope of one HTTP request or WebSocket, borrowed from the connection it came in on.
#[derive(Debug)]
pub struct ScopeRef<'a> {
    /// Its type, and what only that type has.
    pub kind: ScopeKind<'a>,
    /// The protocol version (SCP-05).
    pub http_version: HttpVersion,
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
    /// Whether `scheme`, `root_path`, `client` and `server` are what this connection's last scope had.
    pub ends_repeated: bool,
    /// What the exchange can do beyond the core (SCP-17).
    pub extensions: Extensions,
    /// Of an encrypted connection, what is known of it: the same in all its scopes.
    pub tls: Option<&'a Tls>,
}

/// The scope of one HTTP request, owned. Fields as in [`ScopeRef`].
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "documented on ScopeRef, field by field")]
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
    pub tls: Option<Box<Tls>>,
}

/// The scope of one WebSocket, owned. Fields as in [`ScopeRef`].
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "documented on ScopeRef, field by field")]
pub struct WebSocketScope {
    pub http_version: HttpVersion,
    pub scheme: Scheme,
    pub path: String,
    pub raw_path: Vec<u8>,
    pub query_string: Vec<u8>,
    pub root_path: String,
    pub headers: Headers,
    pub client: Option<Address>,
    pub server: Option<Address>,
    pub subprotocols: Vec<String>,
    pub extensions: Extensions,
    pub tls: Option<Box<Tls>>,
}

impl From<&ScopeRef<'_>> for Scope {
    fn from(scope: &ScopeRef<'_>) -> Self {
        let path = scope.path.clone().into_owned();
        let (client, server) = (scope.client.cloned(), scope.server.cloned());
        let tls = scope.tls.cloned().map(Box::new);
        match scope.kind {
            ScopeKind::Http { method } => Self::Http(Box::new(HttpScope {
                http_version: scope.http_version,
                method: method.to_owned(),
                scheme: scope.scheme,
                path,
                raw_path: scope.raw_path.to_vec(),
                query_string: scope.query_string.to_vec(),
                root_path: scope.root_path.to_owned(),
                headers: scope.headers.clone(),
                client,
                server,
                extensions: scope.extensions,
                tls,
            })),
            ScopeKind::WebSocket { subprotocols } => Self::WebSocket(Box::new(WebSocketScope {
                http_version: scope.http_version,
                scheme: scope.scheme,
                path,
                raw_path: scope.raw_path.to_vec(),
                query_string: scope.query_string.to_vec(),
                root_path: scope.root_path.to_owned(),
                headers: scope.headers.clone(),
                client,
                server,
                subprotocols: subprotocols.to_vec(),
                extensions: scope.extensions,
                tls,
            })),
        }
    }
}
