//! The server's certificates, and which of them a client gets: by the name that it asks for (RFC 6066 section 3), and by
//! the signatures that it can check.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use super::context::Pair;
use super::{ContextError, der, files};

/// All of a context, in the operator's order: the first one is for clients that name nothing, or nothing that is known.
pub(super) struct Certificates(Vec<Certificate>);

struct Certificate {
    key: Arc<CertifiedKey>,
    names: Vec<String>,
    /// The leaf, for applications.
    pem: Arc<str>,
}

impl Certificates {
    /// Reads the pairs; `ocsp` is what is stapled to the first of them.
    pub(super) fn read(pairs: &[Pair], ocsp: Option<&str>, provider: &CryptoProvider) -> Result<Self, ContextError> {
        let mut certificates = pairs.iter().map(|pair| read(pair, provider)).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = certificates.first_mut() else {
            return Err(ContextError { file: None, problem: "there is no certificate".to_owned() });
        };
        if let Some(path) = ocsp {
            let mut key = CertifiedKey::clone(&first.key);
            key.ocsp = Some(files::read(path)?);
            first.key = Arc::new(key);
        }
        Ok(Self(certificates))
    }

    /// What clients may ask for: the names of all, in order.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for name in self.0.iter().flat_map(|certificate| &certificate.names) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    /// The last second of the one that ends first, since 1970.
    pub(super) fn expiry(&self) -> Option<i64> {
        self.0.iter().filter_map(|certificate| der::expiry(certificate.key.cert.first()?)).min()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The leaf of one of them in PEM.
    pub(super) fn pem(&self, index: usize) -> Option<Arc<str>> {
        self.0.get(index).map(|certificate| Arc::clone(&certificate.pem))
    }

    /// The first one that has the name and whose signature the client can check, else the first one that has the name;
    /// an exact name goes before a wildcard.
    fn choose(&self, name: Option<&str>, can_sign: impl Fn(&CertifiedKey) -> bool) -> usize {
        let name = name.map(str::to_ascii_lowercase);
        let matches = |matches: fn(&str, &str) -> bool, name: &str| {
            let found = |index: &usize| self.0[*index].names.iter().any(|pattern| matches(pattern, name));
            let mut found = (0..self.0.len()).filter(found).peekable();
            let first = found.peek().copied();
            found.find(|index| can_sign(&self.0[*index].key)).or(first)
        };
        let named = name.and_then(|name| matches(is_exact, &name).or_else(|| matches(is_wildcard, &name)));
        named.or_else(|| self.0.iter().position(|certificate| can_sign(&certificate.key))).unwrap_or(0)
    }
}

fn read(pair: &Pair, provider: &CryptoProvider) -> Result<Certificate, ContextError> {
    let chain = files::certificates(&pair.certificate)?;
    let (names, pem) = (der::dns_names(&chain[0]), files::pem(&chain[0]).into());
    let key = signing_key(pair, provider)?;
    let key = CertifiedKey::new(chain, key);
    match key.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(Error::InconsistentKeys(_)) => {
            let problem = format!("is not the key of the certificate in '{}'", pair.certificate);
            return Err(ContextError::of(&pair.key, problem));
        }
        Err(error) => return Err(ContextError::of(&pair.certificate, format!("cannot be used: {error}"))),
    }
    Ok(Certificate { key: Arc::new(key), names, pem })
}

fn signing_key(pair: &Pair, provider: &CryptoProvider) -> Result<Arc<dyn rustls::sign::SigningKey>, ContextError> {
    let key: PrivateKeyDer<'static> = files::key(&pair.key, pair.password.as_deref())?;
    let loaded = provider.key_provider.load_private_key(key);
    loaded.map_err(|error| ContextError::of(&pair.key, format!("has a key that cannot be used: {error}")))
}

fn is_exact(pattern: &str, name: &str) -> bool {
    pattern == name
}

/// RFC 9525 section 6.3: a wildcard stands for one whole label.
fn is_wildcard(pattern: &str, name: &str) -> bool {
    let parent = pattern.strip_prefix("*.");
    name.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && parent == Some(rest))
}

/// Chooses for one connection, and remembers what it has chosen: rustls does not tell.
pub(super) struct Choice {
    certificates: Arc<Certificates>,
    chosen: AtomicUsize,
}

impl Choice {
    pub(super) fn new(certificates: Arc<Certificates>) -> Self {
        Self { certificates, chosen: AtomicUsize::new(0) }
    }

    /// The leaf that was chosen, in PEM.
    pub(super) fn pem(&self) -> Option<Arc<str>> {
        self.certificates.pem(self.chosen.load(Ordering::Relaxed))
    }
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let index = self.certificates.choose(hello.server_name(), |key| key.key.choose_scheme(schemes).is_some());
        self.chosen.store(index, Ordering::Relaxed);
        self.certificates.0.get(index).map(|certificate| Arc::clone(&certificate.key))
    }
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Choice")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        for (name, expected) in [
            ("www.example.org", true),
            ("a.www.example.org", false),
            ("example.org", false),
            (".example.org", false),
            ("www.example.com", false),
        ] {
            assert_eq!(is_wildcard("*.example.org", name), expected, "{name}");
        }
        assert!(!is_wildcard("w*.example.org", "www.example.org"));
    }
}
