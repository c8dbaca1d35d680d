//! The class `TlsContext`: what `_ferricorn.pyi` says of it, for the context of the server. It knows no file's content.

use std::sync::Arc;
use std::time::Duration;

use ferricorn_server::tls::{ClientCertificates, Context, ContextError, MinimumVersion, Pair, Settings};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Certificates and whatever else the connections of a server have in common in TLS.
#[pyclass(frozen, module = "ferricorn", name = "TlsContext")]
pub(crate) struct PyTlsContext(Arc<Context>);

#[pymethods]
impl PyTlsContext {
    #[new]
    #[pyo3(signature = (
        certificates, *, ca_certs = None, cert_reqs = "none", crl = None, minimum_version = "1.2", ciphers = "",
        alpn = vec!["h2".to_owned(), "http/1.1".to_owned()], ocsp = None, ticket_secret = None, handshake_timeout = 10.0
    ))]
    #[expect(clippy::too_many_arguments, reason = "keywords alone, each named where it is given")]
    fn new(
        py: Python<'_>,
        certificates: Vec<(String, String, Option<String>)>,
        ca_certs: Option<String>,
        cert_reqs: &str,
        crl: Option<String>,
        minimum_version: &str,
        ciphers: &str,
        alpn: Vec<String>,
        ocsp: Option<String>,
        ticket_secret: Option<Vec<u8>>,
        handshake_timeout: f64,
    ) -> PyResult<Self> {
        let pair = |(certificate, key, password)| Pair { certificate, key, password };
        let settings = Settings {
            pairs: certificates.into_iter().map(pair).collect(),
            authorities: ca_certs,
            client_certificates: client_certificates(cert_reqs)?,
            revocation_lists: crl,
            minimum_version: version(minimum_version)?,
            ciphers: ciphers.to_owned(),
            protocols: alpn,
            ocsp,
            ticket_secret,
            handshake_timeout: Duration::try_from_secs_f64(handshake_timeout)
                .map_err(|error| PyValueError::new_err(format!("handshake_timeout: {error}")))?,
        };
        // Opening an encrypted key is slow on purpose.
        let context = py.detach(|| Context::new(settings)).map_err(wrong)?;
        Ok(Self(Arc::new(context)))
    }

    fn reload(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.reload()).map_err(wrong)
    }

    #[getter]
    fn files(&self) -> Vec<String> {
        self.0.files()
    }

    #[getter]
    fn names(&self) -> Vec<String> {
        self.0.names()
    }

    #[getter]
    fn expiry(&self) -> Option<i64> {
        self.0.expiry()
    }
}

impl PyTlsContext {
    pub(crate) fn context(&self) -> Arc<Context> {
        Arc::clone(&self.0)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err gives it")]
fn wrong(error: ContextError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

fn client_certificates(name: &str) -> PyResult<ClientCertificates> {
    match name {
        "none" => Ok(ClientCertificates::None),
        "optional" => Ok(ClientCertificates::Optional),
        "required" => Ok(ClientCertificates::Required),
        _ => Err(PyValueError::new_err(format!("cert_reqs: \"{name}\" is not none, optional or required"))),
    }
}

fn version(name: &str) -> PyResult<MinimumVersion> {
    match name {
        "1.2" => Ok(MinimumVersion::Tls12),
        "1.3" => Ok(MinimumVersion::Tls13),
        _ => Err(PyValueError::new_err(format!("minimum_version: \"{name}\" is not 1.2 or 1.3"))),
    }
}
