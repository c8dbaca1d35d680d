//! What an operator's files hold: certificates, keys, revocation lists, in PEM. Each error names the file and says what
//! is wrong with it.

use std::fs;

use data_encoding::{BASE64, BASE64_MIME_PERMISSIVE};
use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use super::ContextError;

const ENCRYPTED_KEY: (&str, &str) = ("-----BEGIN ENCRYPTED PRIVATE KEY-----", "-----END ENCRYPTED PRIVATE KEY-----");

/// What the older format of OpenSSL writes into a key that a password protects.
const ENCRYPTED_THE_OLD_WAY: &str = "Proc-Type: 4,ENCRYPTED";

pub(super) fn read(path: &str) -> Result<Vec<u8>, ContextError> {
    fs::read(path).map_err(|error| ContextError::of(path, error.to_string()))
}

/// The certificates of a file, at least one.
pub(super) fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, ContextError> {
    let certificates = CertificateDer::pem_slice_iter(&read(path)?).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| ContextError::of(path, format!("is no PEM file: {error}")))?;
    if certificates.is_empty() {
        return Err(ContextError::of(path, "has no certificate (BEGIN CERTIFICATE) in it"));
    }
    Ok(certificates)
}

/// The private key of a file, in PKCS#8, PKCS#1 or SEC1; the password is for an encrypted one (PKCS#8 with PBES2).
pub(super) fn key(path: &str, password: Option<&str>) -> Result<PrivateKeyDer<'static>, ContextError> {
    let bytes = read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    if let Some(encrypted) = section(&text, ENCRYPTED_KEY) {
        let wrong = |what: &str| ContextError::of(path, what);
        let password = password.ok_or_else(|| wrong("has an encrypted key, and there is no password for it"))?;
        let der = BASE64_MIME_PERMISSIVE.decode(encrypted.as_bytes()).map_err(|_| wrong("is no PEM file"))?;
        let encrypted = EncryptedPrivateKeyInfoRef::try_from(der.as_slice())
            .map_err(|error| wrong(&format!("has a key in an encryption that is not supported: {error}")))?;
        let key = encrypted.decrypt(password).map_err(|_| wrong("has a key that the password does not open"))?;
        return PrivateKeyDer::try_from(key.as_bytes().to_vec())
            .map_err(|error| wrong(&format!("has a key that the password does not open: {error}")));
    }
    if text.contains(ENCRYPTED_THE_OLD_WAY) {
        let what = "has a key in OpenSSL's old encryption; convert it: openssl pkcs8 -topk8 -in OLD -out NEW";
        return Err(ContextError::of(path, what));
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => {
            ContextError::of(path, "has no private key (BEGIN PRIVATE KEY) in it")
        }
        error => ContextError::of(path, format!("is no PEM file: {error}")),
    })
}

/// The authorities of a file, at least one.
pub(super) fn authorities(path: &str) -> Result<RootCertStore, ContextError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        let added = roots.add(certificate);
        added.map_err(|error| ContextError::of(path, format!("has a certificate that cannot be used: {error}")))?;
    }
    Ok(roots)
}

/// The revocation lists of a file, at least one.
pub(super) fn revocation_lists(path: &str) -> Result<Vec<CertificateRevocationListDer<'static>>, ContextError> {
    let lists = CertificateRevocationListDer::pem_slice_iter(&read(path)?).collect::<Result<Vec<_>, _>>();
    let lists = lists.map_err(|error| ContextError::of(path, format!("is no PEM file: {error}")))?;
    if lists.is_empty() {
        return Err(ContextError::of(path, "has no revocation list (BEGIN X509 CRL) in it"));
    }
    Ok(lists)
}

/// A certificate in PEM, as applications are given it (TLS-02, TLS-03).
pub(super) fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = BASE64.encode(certificate);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// What stands between two lines.
fn section<'a>(text: &'a str, (begin, end): (&str, &str)) -> Option<&'a str> {
    let (_, rest) = text.split_once(begin)?;
    Some(rest.split_once(end)?.0)
}
