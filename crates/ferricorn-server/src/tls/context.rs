//! What the connections of a server have in common in TLS: certificates, whom to ask for one, versions, tickets. Read from
//! files, and again when they change; connections that are open keep what they began with.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ProducesTickets, WebPkiClientVerifier};
use rustls::{ServerConfig, SupportedProtocolVersion, version};

use super::certificates::{Certificates, Choice};
use super::tickets::Tickets;
use super::{ciphers, files};

/// The protocols that can be offered (RFC 7301).
const SPOKEN: [&str; 2] = ["h2", "http/1.1"];

/// The paths of a certificate chain and its key, in PEM; both may be one file.
#[derive(Clone, Debug, Default)]
pub struct Pair {
    /// The chain, the server's own certificate first.
    pub certificate: String,
    /// The private key.
    pub key: String,
    /// What opens an encrypted key.
    pub password: Option<String>,
}

/// Whether clients are asked for a certificate. One that is sent is always checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not.
    #[default]
    None,
    /// They may send one.
    Optional,
    /// They have to.
    Required,
}

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinimumVersion {
    /// TLS 1.2
    #[default]
    Tls12,
    /// TLS 1.3
    Tls13,
}

/// What a [`Context`] is made of; paths are read when it is made, and with each reload.
#[derive(Clone, Debug)]
pub struct Settings {
    /// At least one: which of them a client gets follows from the name that it asks for, the first one by default.
    pub pairs: Vec<Pair>,
    /// The authorities of clients' certificates, in PEM.
    pub authorities: Option<String>,
    /// Whether clients are asked for certificates.
    pub client_certificates: ClientCertificates,
    /// Which of those certificates are revoked, in PEM: a list for each authority.
    pub revocation_lists: Option<String>,
    /// The oldest version.
    pub minimum_version: MinimumVersion,
    /// Cipher suites as OpenSSL or IANA name them; empty: all that there are.
    pub ciphers: String,
    /// The protocols that are offered, the preferred first; those that are not spoken are left out.
    pub protocols: Vec<String>,
    /// The file of an OCSP response (DER) that goes with the first certificate.
    pub ocsp: Option<String>,
    /// What keys of session tickets follow from: sessions go on with every context of the same secret. None: with this
    /// one alone.
    pub ticket_secret: Option<Vec<u8>>,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pairs: Vec::new(),
            authorities: None,
            client_certificates: ClientCertificates::None,
            revocation_lists: None,
            minimum_version: MinimumVersion::Tls12,
            ciphers: String::new(),
            protocols: SPOKEN.map(str::to_owned).to_vec(),
            ocsp: None,
            ticket_secret: None,
            handshake_timeout: Duration::from_secs(10),
        }
    }
}

impl Settings {
    /// The files that are read, each once.
    fn files(&self) -> Vec<String> {
        let pairs = self.pairs.iter().flat_map(|pair| [&pair.certificate, &pair.key]);
        let asked = self.client_certificates != ClientCertificates::None;
        let checks = [&self.authorities, &self.revocation_lists].into_iter().flatten().filter(|_| asked);
        let mut files: Vec<String> = Vec::new();
        for file in pairs.chain(checks).chain(&self.ocsp) {
            if !files.contains(file) {
                files.push(file.clone());
            }
        }
        files
    }
}

/// What is wrong with [`Settings`] or a file of theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextError {
    pub(super) file: Option<String>,
    pub(super) problem: String,
}

impl ContextError {
    pub(super) fn of(file: &str, problem: impl Into<String>) -> Self {
        Self { file: Some(file.to_owned()), problem: problem.into() }
    }

    fn new(problem: impl Into<String>) -> Self {
        Self { file: None, problem: problem.into() }
    }
}

impl fmt::Display for ContextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "'{file}': {}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}

impl std::error::Error for ContextError {}

/// TLS as a server speaks it: shared by all its connections, and its threads.
pub struct Context {
    settings: Settings,
    /// What the next connection gets.
    current: Mutex<Arc<Material>>,
}

/// What was made of the files.
struct Material {
    config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
    /// Who chooses for all connections, where there is nothing to be chosen.
    only: Option<Arc<Choice>>,
}

impl Context {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong, with the name of the file.
    pub fn new(settings: Settings) -> Result<Self, ContextError> {
        let current = Mutex::new(Arc::new(Material::read(&settings)?));
        Ok(Self { settings, current })
    }

    /// Reads the files anew. Connections that come from now on get what they say.
    ///
    /// # Errors
    /// As [`Context::new`]: all stays as it was.
    pub fn reload(&self) -> Result<(), ContextError> {
        let material = Arc::new(Material::read(&self.settings)?);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = material;
        Ok(())
    }

    /// The files that are read.
    pub fn files(&self) -> Vec<String> {
        self.settings.files()
    }

    /// The names that clients may ask for: those of all certificates.
    pub fn names(&self) -> Vec<String> {
        self.material().certificates.names()
    }

    /// The last second of the certificate that ends first, since 1970.
    pub fn expiry(&self) -> Option<i64> {
        self.material().certificates.expiry()
    }

    /// Whether no client is served without one.
    pub(crate) fn requires_client_certificates(&self) -> bool {
        self.settings.client_certificates == ClientCertificates::Required
    }

    pub(crate) fn handshake_timeout(&self) -> Duration {
        self.settings.handshake_timeout
    }

    /// For one connection, with what will know which certificate it was given.
    pub(super) fn config(&self) -> (Arc<ServerConfig>, Arc<Choice>) {
        let material = self.material();
        if let Some(only) = &material.only {
            return (Arc::clone(&material.config), Arc::clone(only));
        }
        let choice = Arc::new(Choice::new(Arc::clone(&material.certificates)));
        let mut config = ServerConfig::clone(&material.config);
        config.cert_resolver = Arc::<Choice>::clone(&choice);
        (Arc::new(config), choice)
    }

    fn material(&self) -> Arc<Material> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("files", &self.files()).finish_non_exhaustive()
    }
}

impl Material {
    fn read(settings: &Settings) -> Result<Self, ContextError> {
        let cipher_suites = ciphers::read(&settings.ciphers).map_err(ContextError::new)?;
        let provider = Arc::new(CryptoProvider { cipher_suites, ..default_provider() });
        let certificates = Arc::new(Certificates::read(&settings.pairs, settings.ocsp.as_deref(), &provider)?);
        let choice = Arc::new(Choice::new(Arc::clone(&certificates)));
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions(settings.minimum_version))
            .map_err(|_| {
                ContextError::new(format!("\"{}\" has no cipher suite of an allowed version", settings.ciphers))
            })?;
        let builder = match verifier(settings, provider)? {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(verifier),
        };
        let mut config = builder.with_cert_resolver(Arc::<Choice>::clone(&choice));
        let offered = settings.protocols.iter().filter(|name| SPOKEN.contains(&name.as_str()));
        config.alpn_protocols = offered.map(|name| name.clone().into_bytes()).collect();
        config.ticketer = ticketer(settings)?;
        config.ignore_client_order = true;
        // A second one would be for a second connection at the same time, and every handshake pays for it.
        config.send_tls13_tickets = 1;
        let only = (certificates.len() == 1).then_some(choice);
        Ok(Self { config: Arc::new(config), certificates, only })
    }
}

static FROM_TLS_12: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
static FROM_TLS_13: &[&SupportedProtocolVersion] = &[&version::TLS13];

fn versions(minimum: MinimumVersion) -> &'static [&'static SupportedProtocolVersion] {
    match minimum {
        MinimumVersion::Tls12 => FROM_TLS_12,
        MinimumVersion::Tls13 => FROM_TLS_13,
    }
}

/// Who checks clients' certificates, where they are asked for.
fn verifier(
    settings: &Settings,
    provider: Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, ContextError> {
    if settings.client_certificates == ClientCertificates::None {
        return Ok(None);
    }
    let Some(authorities) = &settings.authorities else {
        return Err(ContextError::new("clients are asked for certificates, and no authority is given to check them"));
    };
    let roots = Arc::new(files::authorities(authorities)?);
    let mut builder = WebPkiClientVerifier::builder_with_provider(roots, provider);
    if let Some(path) = &settings.revocation_lists {
        // As other servers do: what is out of date is no proof that a certificate is not revoked.
        builder = builder.with_crls(files::revocation_lists(path)?).enforce_revocation_expiration();
    }
    if settings.client_certificates == ClientCertificates::Optional {
        builder = builder.allow_unauthenticated();
    }
    let file = settings.revocation_lists.as_ref().unwrap_or(authorities);
    Ok(Some(builder.build().map_err(|error| ContextError::of(file, format!("cannot be used: {error}")))?))
}

/// Tickets carry what was checked when the session began. So they are good only for as long as the same would be checked.
fn ticketer(settings: &Settings) -> Result<Arc<dyn ProducesTickets>, ContextError> {
    let Some(secret) = &settings.ticket_secret else {
        return Ticketer::new().map_err(|error| ContextError::new(format!("cannot make session tickets: {error}")));
    };
    let mut purpose = digest::Context::new(&digest::SHA256);
    purpose.update(&[settings.client_certificates as u8]);
    if settings.client_certificates != ClientCertificates::None {
        for path in [&settings.authorities, &settings.revocation_lists].into_iter().flatten() {
            let content = files::read(path)?;
            purpose.update(&(content.len() as u64).to_be_bytes());
            purpose.update(&content);
        }
    }
    Ok(Arc::new(Tickets::new(secret, purpose.finish().as_ref())))
}
