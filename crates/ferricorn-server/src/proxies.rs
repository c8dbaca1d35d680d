//! Behind proxies: which peers are believed, and what a scope then says of where its request comes from and what it was
//! sent to. It reads no bytes: `ferricorn_proto::forwarded` and `ferricorn_proto::proxy_protocol` do.

use std::borrow::Cow;
use std::rc::Rc;

use asgi::{Address, Application, Headers, KnownField, Scheme};
use ferricorn_proto::forwarded::{self, Client, Fields, Forwarded, Trust};
use ferricorn_proto::proxy_protocol::Header;

use crate::connection::{Connection, Request};
use crate::host::{Config, Problem};
use crate::scope::{decode, full_path};
use crate::slab::Key;
use crate::state::State;

/// What proxies may tell. The default is that none is believed.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// Whose word counts: that of a connection's peer, and of those whom such a one names.
    pub trust: Trust,
    /// Which header fields count where the peer is trusted.
    pub fields: Fields,
    /// Whether every connection has to begin with the header of the PROXY protocol, its peer being trusted.
    pub protocol: bool,
}

impl Proxies {
    /// Whether the word of a connection's peer counts. None: one of a unix socket.
    fn trusts(&self, peer: Option<&Address>) -> bool {
        match peer {
            Some(Address::Ip(address)) => self.trust.has_address(address.ip()),
            Some(_) => self.trust.is_everyone(),
            None => self.trust.has_unix(),
        }
    }

    /// Whether header fields count on a connection of this peer.
    pub(crate) fn believes_fields_of(&self, peer: Option<&Address>) -> bool {
        !self.fields.is_empty() && self.trusts(peer)
    }

    /// Whether a connection of this peer is refused, whatever it sends.
    pub(crate) fn refuses(&self, peer: Option<&Address>) -> bool {
        self.protocol && !self.trusts(peer)
    }
}

/// What a scope says of both ends: of the connection, or of that on which the client asked the first of the proxies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) client: Option<Address>,
    pub(crate) server: Address,
    pub(crate) scheme: Scheme,
    pub(crate) mount: Option<Mount>,
}

/// Where proxies have put the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// What they have taken off the path, decoded.
    prefix: String,
    root_path: String,
}

impl Ends {
    /// Those of a connection.
    pub(crate) const fn new(client: Option<Address>, server: Address) -> Self {
        Self { client, server, scheme: Scheme::Http, mount: None }
    }

    /// The scope's `root_path` and `path`.
    pub(crate) fn paths<'a>(&'a self, root_path: &'a str, raw_path: &'a [u8]) -> (&'a str, Cow<'a, str>) {
        let path = full_path(root_path, decode(raw_path));
        match &self.mount {
            None => (root_path, path),
            Some(mount) => (&mount.root_path, full_path(&mount.prefix, path)),
        }
    }

    /// What they are where trusted proxies tell this.
    fn seen_through(&self, told: &Forwarded<'_>, root_path: &str) -> Self {
        let client = match &told.client {
            Client::Peer => self.client.clone(),
            Client::Unknown => None,
            Client::At(address) => Some(address.clone()),
        };
        let scheme = told.scheme.unwrap_or(self.scheme);
        Self { client, server: self.server_seen_through(told, scheme), scheme, mount: mount(&told.prefix, root_path) }
    }

    fn server_seen_through(&self, told: &Forwarded<'_>, scheme: Scheme) -> Address {
        match (&told.host, &self.server) {
            (Some(host), _) => {
                let (name, port) = split_port(host);
                let port = told.port.or(port).unwrap_or(default_port(scheme));
                let name = name.strip_prefix(b"[").and_then(|name| name.strip_suffix(b"]")).unwrap_or(name);
                Address::Name(String::from_utf8_lossy(name).into_owned(), port)
            }
            (None, Address::Ip(address)) => {
                Address::Ip((address.ip(), told.port.unwrap_or_else(|| address.port())).into())
            }
            (None, server) => server.clone(),
        }
    }
}

/// None where nothing was taken off, or what would pass for another host once it is decoded.
fn mount(prefix: &[u8], root_path: &str) -> Option<Mount> {
    let prefix = decode(prefix);
    let is_path = !(prefix.is_empty() || prefix.starts_with("//") || prefix.contains('\\'));
    is_path.then(|| Mount { root_path: format!("{prefix}{root_path}"), prefix: prefix.into_owned() })
}

/// The list with the host that the client asked for; None where it is the same.
fn with_host(headers: &Headers, told: &Forwarded<'_>, scheme: Scheme) -> Option<Rc<Headers>> {
    let sent = headers.get(b"host").filter(|host| !host.is_empty());
    let (name, port) = split_port(told.host.as_deref().or(sent)?);
    let host = match told.port.or(port) {
        // The scheme says it already: with it, an application would take the host for another one.
        Some(port) if told.port.is_none() || port != default_port(scheme) => {
            Cow::Owned([name, b":", port.to_string().as_bytes()].concat())
        }
        _ => Cow::Borrowed(name),
    };
    (sent != Some(&host)).then(|| Rc::new(headers.with_checked(b"host", &host)))
}

/// Host and port of what has been checked to be a host.
fn split_port(host: &[u8]) -> (&[u8], Option<u16>) {
    let name_end = host.iter().rposition(|&byte| byte == b']').map_or(0, |end| end + 1);
    match host[name_end..].iter().position(|&byte| byte == b':') {
        None => (host, None),
        Some(colon) => {
            let (name, port) = host.split_at(name_end + colon);
            (name, str::from_utf8(&port[1..]).ok().and_then(|port| port.parse().ok()))
        }
    }
}

const fn default_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    }
}

impl<A: Application> Connection<A> {
    /// Prepares for what is to be believed of the peer of a new connection.
    pub(crate) fn expect_proxies(&mut self, proxies: &Proxies) {
        self.believes_fields = proxies.believes_fields_of(self.own_ends.client.as_ref());
        self.preface = proxies.protocol.then(Box::default);
    }

    /// Looks at what proxies tell of a request, and has it carry the host that they tell. Whether the ends are those of
    /// the connection's last request.
    pub(crate) fn look_through(&mut self, request: &mut Request, config: &Config) -> bool {
        if !self.believes_fields {
            return true;
        }
        // The same fields tell the same.
        let repeated = request.headers_repeated || self.read_fields(&request.headers, config);
        if let Some(headers) = &self.headers {
            request.headers = Rc::clone(headers);
        }
        repeated
    }

    fn read_fields(&mut self, headers: &Headers, config: &Config) -> bool {
        self.headers = None;
        let mut ends = Rc::clone(&self.own_ends);
        if headers.has(KnownField::Forwarded) {
            let told = forwarded::read(headers, config.proxies.fields, &config.proxies.trust);
            ends = Rc::new(ends.seen_through(&told, &config.root_path));
            if told.host.is_some() || told.port.is_some() {
                self.headers = with_host(headers, &told, ends.scheme);
            }
        }
        let repeated = ends == self.ends;
        self.ends = ends;
        repeated
    }

    /// The client in the access log. Who is unknown to the proxies is not taken for one of a unix socket.
    pub(crate) fn logged_client(&self) -> Option<Address> {
        let unknown = || self.own_ends.client.as_ref().map(|_| Address::Name("unknown".to_owned(), 0));
        self.ends.client.clone().or_else(unknown)
    }

    /// Takes what the proxy told ahead of the first request.
    fn set_ends(&mut self, header: Header, config: &Config) {
        let peer = match header {
            Header::Local => return,
            // What comes was written by somebody whom nobody names.
            Header::Unknown => return self.believes_fields = false,
            Header::Proxied { client, server } => {
                let server = server.unwrap_or_else(|| self.own_ends.server.clone());
                Ends { scheme: self.own_ends.scheme, ..Ends::new(client, server) }
            }
        };
        self.believes_fields = config.proxies.believes_fields_of(peer.client.as_ref());
        self.own_ends = Rc::new(peer);
        self.ends = Rc::clone(&self.own_ends);
    }
}

impl<A: Application> State<A> {
    /// Whether the header of the PROXY protocol has been read, so that requests may come.
    pub(crate) fn read_preface(&mut self, key: Key, config: &Config) -> bool {
        let Some(connection) = self.connections.get_mut(key) else { return false };
        match connection.take_preface(&mut self.buffer) {
            Some(Ok(header)) => {
                connection.set_ends(header, config);
                return true;
            }
            Some(Err(error)) => {
                self.problems.push(Problem::Proxy { client: connection.own_ends.client.clone(), error });
                connection.abort();
                self.enqueue(key);
            }
            None => {
                if connection.is_over(&mut self.buffer, &self.clock.now()) || connection.has_input() {
                    self.enqueue(key);
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> Ends {
        let ip = |address: &str| Address::Ip(address.parse().unwrap());
        Ends::new(Some(ip("10.0.0.1:5000")), ip("10.0.0.9:8000"))
    }

    fn told(host: &'static str, port: u16, scheme: Scheme) -> Forwarded<'static> {
        let host = (!host.is_empty()).then_some(Cow::Borrowed(host.as_bytes()));
        Forwarded { host, port: Some(port).filter(|port| *port != 0), scheme: Some(scheme), ..Forwarded::default() }
    }

    #[test]
    fn the_server_is_what_the_client_asked_for() {
        for (host, port, scheme, expected) in [
            ("", 0, Scheme::Https, "10.0.0.9:8000"),
            ("", 443, Scheme::Https, "10.0.0.9:443"),
            ("example.org", 0, Scheme::Http, "example.org:80"),
            ("example.org", 0, Scheme::Https, "example.org:443"),
            ("example.org:8443", 0, Scheme::Https, "example.org:8443"),
            ("example.org:8443", 444, Scheme::Https, "example.org:444"),
            ("[2001:db8::1]", 0, Scheme::Http, "2001:db8::1:80"),
            ("[2001:db8::1]:81", 0, Scheme::Http, "2001:db8::1:81"),
        ] {
            let server = ends().seen_through(&told(host, port, scheme), "").server;
            assert_eq!(server.to_string(), expected, "{host} {port}");
        }
        let unix = Ends::new(None, Address::Unix("/run/socket".to_owned()));
        assert_eq!(unix.seen_through(&told("", 443, Scheme::Https), "").server, unix.server);
    }

    #[test]
    fn the_host_is_what_the_client_asked_for() {
        for (sent, host, port, scheme, expected) in [
            ("inside:8000", "example.org", 0, Scheme::Https, Some("example.org")),
            ("inside:8000", "example.org:8443", 0, Scheme::Https, Some("example.org:8443")),
            ("inside:8000", "example.org:443", 0, Scheme::Https, Some("example.org:443")),
            ("inside:8000", "example.org:8000", 443, Scheme::Https, Some("example.org")),
            ("inside:8000", "example.org", 80, Scheme::Https, Some("example.org:80")),
            ("inside:8000", "[2001:db8::1]:9", 81, Scheme::Http, Some("[2001:db8::1]:81")),
            ("example.org", "", 443, Scheme::Https, None),
            ("example.org", "", 8443, Scheme::Https, Some("example.org:8443")),
            ("example.org:8000", "", 80, Scheme::Http, Some("example.org")),
            ("example.org", "example.org", 0, Scheme::Http, None),
            ("", "", 8443, Scheme::Https, None),
            ("", "example.org", 0, Scheme::Http, Some("example.org")),
        ] {
            let headers = Headers::from_iter([("host", sent)]).unwrap();
            let changed = with_host(&headers, &told(host, port, scheme), scheme);
            let changed = changed.map(|headers| String::from_utf8(headers.get(b"host").unwrap().to_vec()).unwrap());
            assert_eq!(changed.as_deref(), expected, "{sent} {host} {port}");
        }
    }

    #[test]
    fn scp_22_a_prefix_goes_ahead_of_the_root_path() {
        let paths = |prefix: &str, root_path: &str, raw_path: &str| {
            let told = Forwarded { prefix: prefix.as_bytes().to_vec(), ..Forwarded::default() };
            let ends = ends().seen_through(&told, root_path);
            let (root_path, path) = ends.paths(root_path, raw_path.as_bytes());
            format!("{root_path} {path}")
        };
        assert_eq!(paths("", "", "/users"), " /users");
        assert_eq!(paths("", "/v1", "/users"), "/v1 /v1/users");
        assert_eq!(paths("/api", "", "/users"), "/api /api/users");
        assert_eq!(paths("/api", "", "/api/users"), "/api /api/users");
        assert_eq!(paths("/api", "/v1", "/users"), "/api/v1 /api/v1/users");
        assert_eq!(paths("/api", "/v1", "/v1/users"), "/api/v1 /api/v1/users");
        assert_eq!(paths("/%C3%A4%20b", "", "/users"), "/\u{e4} b /\u{e4} b/users");
        assert_eq!(paths("/%2fevil.example", "", "/users"), " /users");
        assert_eq!(paths("/%5cevil.example", "", "/users"), " /users");
    }

    #[test]
    fn who_is_believed() {
        let ip = Address::Ip("10.0.0.1:80".parse().unwrap());
        let name = Address::Name("10.0.0.1".to_owned(), 80);
        let proxies = |entries: &str, protocol| Proxies {
            trust: Trust::read(entries.split(',')).unwrap(),
            fields: Fields::FOR,
            protocol,
        };
        for (entries, peer, expected) in [
            ("10.0.0.0/8", Some(&ip), true),
            ("10.0.0.2", Some(&ip), false),
            ("10.0.0.0/8", None, false),
            ("unix", None, true),
            ("unix", Some(&ip), false),
            ("10.0.0.0/8", Some(&name), false),
            ("*", Some(&name), true),
            ("*", None, true),
        ] {
            assert_eq!(proxies(entries, false).believes_fields_of(peer), expected, "{entries} {peer:?}");
            assert_eq!(proxies(entries, true).refuses(peer), !expected, "{entries} {peer:?}");
            assert!(!proxies(entries, false).refuses(peer));
        }
        assert!(!Proxies { fields: Fields::NONE, ..proxies("*", true) }.believes_fields_of(None));
        assert!(!Proxies { fields: Fields::FOR, ..Proxies::default() }.believes_fields_of(Some(&ip)));
    }
}
