//! The listener without TLS beside one with it: whoever comes there is sent to the same place with https, by 308, which
//! keeps the method and is remembered (RFC 9110 section 15.4.9). The application hears of none of it.
//!
//! Who came by https to a proxy that is believed is there already: to be sent to where he comes from would never end.

use asgi::{Address, Application, ExchangeId, Scheme};
use ferricorn_proto::Answer;

use crate::connection::{Request, RequestLine};
use crate::host::Config;
use crate::listener::Listener;
use crate::state::{State, key_of};

/// Where an authority asks for proof that a host is whose it says (RFC 8555 section 8.3): without TLS, by its nature.
const CHALLENGES: &[u8] = b"/.well-known/acme-challenge/";

const HTTP: u16 = 80;
const HTTPS: u16 = 443;

/// The ports of both kinds of listener; None where they are no TCP sockets, or there are none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Redirect {
    https: Option<u16>,
    plain: Option<u16>,
}

impl Redirect {
    pub(crate) fn of(listeners: &[Listener]) -> Self {
        let port = |plain: bool| {
            listeners.iter().filter(|listener| listener.is_plain() == plain).find_map(|listener| {
                match listener.address() {
                    Address::Ip(address) => Some(address.port()),
                    _ => None,
                }
            })
        };
        Self { https: port(false), plain: port(true) }
    }

    /// The place of a request with https, by what its Host says. None: it says nothing of use.
    pub(crate) fn location(self, host: Option<&[u8]>, line: &RequestLine) -> Option<Vec<u8>> {
        let (name, port) = split(host?);
        if name.is_empty() {
            return None;
        }
        let mut location = b"https://".to_vec();
        location.extend_from_slice(name);
        if let Some(port) = self.port(port.is_empty()) {
            location.push(b':');
            location.extend_from_slice(port.to_string().as_bytes());
        }
        // Behind the host, so that no path can be taken for another one. `OPTIONS *` is about the server.
        location.extend_from_slice(if line.path() == b"*" { b"/" } else { line.path() });
        if !line.query().is_empty() {
            location.push(b'?');
            location.extend_from_slice(line.query());
        }
        Some(location)
    }

    /// The port of https as the client has to name it; None is the default one. A client that has found port 80 where
    /// this server listens on another came through a translation of ports, which has the default one for https as well.
    fn port(self, is_at_default: bool) -> Option<u16> {
        let is_translated = is_at_default && self.plain != Some(HTTP);
        self.https.filter(|port| *port != HTTPS && !is_translated)
    }
}

impl<A: Application> State<A> {
    /// Sends whoever came without TLS to the same place with https.
    pub(crate) fn redirect(&mut self, id: ExchangeId, request: &Request) {
        let Some(connection) = self.connections.get_mut(key_of(id)) else { return };
        let now = self.clock.now();
        match self.redirect.location(request.headers.get(b"host"), &self.line) {
            // It could not follow.
            _ if request.websocket => connection.http.refuse(id.sequence, 403, &now),
            // It has come from there (RFC 9110 section 15.5.20).
            _ if connection.ends.scheme == Scheme::Https => connection.http.refuse(id.sequence, 421, &now),
            None => connection.http.refuse(id.sequence, 400, &now),
            Some(location) => {
                // Nobody waits for a body that has to be sent again anyway.
                let close = !connection.http.request_complete(id.sequence);
                let answer = Answer { status: 308, text: "", location: Some(&location), close };
                connection.http.respond(id.sequence, &answer, &now);
            }
        }
        self.complete(id);
        self.forget(id);
    }
}

/// Whether the application is not to see a request that came without TLS. `scheme` is what proxies tell, if they do.
pub(crate) fn is_due(config: &Config, scheme: Scheme, line: &RequestLine) -> bool {
    let Some(tls) = &config.tls else { return false };
    // That the client has a certificate is nothing that a proxy tells.
    let is_secure = scheme == Scheme::Https && !tls.requires_client_certificates();
    !is_secure && !is_challenge(line)
}

fn is_challenge(line: &RequestLine) -> bool {
    line.path().starts_with(CHALLENGES)
}

/// The name and the port of a checked Host.
fn split(host: &[u8]) -> (&[u8], &[u8]) {
    let end = match host.first() {
        Some(b'[') => host.iter().position(|byte| *byte == b']').map_or(host.len(), |end| end + 1),
        _ => host.iter().position(|byte| *byte == b':').unwrap_or(host.len()),
    };
    let (name, port) = host.split_at(end);
    (name, port.strip_prefix(b":").unwrap_or(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(ports: (u16, u16), host: &str, path: &str, query: &str) -> Option<String> {
        let mut line = RequestLine::default();
        line.set("GET", path.as_bytes(), query.as_bytes());
        let redirect = Redirect { https: Some(ports.0), plain: Some(ports.1) };
        redirect.location(Some(host.as_bytes()), &line).map(|location| String::from_utf8(location).unwrap())
    }

    #[test]
    fn the_place_is_the_same_with_https() {
        for (host, expected) in [
            ("example.org", "https://example.org/a%20b?c=d"),
            ("example.org:80", "https://example.org/a%20b?c=d"),
            ("example.org:", "https://example.org/a%20b?c=d"),
            ("[::1]:80", "https://[::1]/a%20b?c=d"),
            ("[::1]", "https://[::1]/a%20b?c=d"),
        ] {
            assert_eq!(location((443, 80), host, "/a%20b", "c=d").as_deref(), Some(expected));
        }
        assert_eq!(location((443, 80), "a", "//evil.example/", "").as_deref(), Some("https://a//evil.example/"));
        assert_eq!(location((443, 80), "a", "*", "").as_deref(), Some("https://a/"));
    }

    #[test]
    fn the_port_is_the_one_that_the_client_can_reach() {
        assert_eq!(location((8443, 8080), "a:8080", "/", "").as_deref(), Some("https://a:8443/"));
        assert_eq!(location((8443, 80), "a", "/", "").as_deref(), Some("https://a:8443/"));
        assert_eq!(location((8443, 8080), "a", "/", "").as_deref(), Some("https://a/"));
        let sockets = Redirect { https: None, plain: None };
        let mut line = RequestLine::default();
        line.set("GET", b"/", b"");
        assert_eq!(sockets.location(Some(b"a:1"), &line).as_deref(), Some(&b"https://a/"[..]));
    }

    #[test]
    fn without_a_host_there_is_no_place() {
        for host in ["", ":80"] {
            assert_eq!(location((443, 80), host, "/", ""), None);
        }
        let line = RequestLine::default();
        assert_eq!(Redirect { https: None, plain: None }.location(None, &line), None);
    }

    #[test]
    fn challenges_are_the_applications() {
        let mut line = RequestLine::default();
        for (path, expected) in
            [("/.well-known/acme-challenge/token", true), ("/.well-known/acme-challenge", false), ("/", false)]
        {
            line.set("GET", path.as_bytes(), b"");
            assert_eq!(is_challenge(&line), expected, "{path}");
        }
    }
}
