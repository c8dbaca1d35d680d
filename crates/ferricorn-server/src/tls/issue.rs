//! Certificates for development: an authority of one's own, and what it issues. It writes no file and reads no clock.

use std::fmt;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

/// A certificate with its private key, both in PEM.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its key (PKCS#8).
    pub key: String,
}

/// From when to when a certificate is good, in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Validity {
    /// The first second.
    pub from: u64,
    /// The last second.
    pub until: u64,
}

/// Why there is no certificate.
#[derive(Debug)]
pub struct IssueError(String);

impl fmt::Display for IssueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for IssueError {}

impl From<rcgen::Error> for IssueError {
    fn from(error: rcgen::Error) -> Self {
        Self(error.to_string())
    }
}

/// A new authority, whose certificate clients have to trust.
///
/// # Errors
/// Where no key can be made.
pub fn authority(validity: Validity) -> Result<Issued, IssueError> {
    let key = KeyPair::generate()?;
    let mut params = of_authority(&key)?;
    set_validity(&mut params, validity);
    Ok(Issued { certificate: params.self_signed(&key)?.pem(), key: key.serialize_pem() })
}

/// A certificate for `names`, host names and IP addresses, by the authority that has this key.
///
/// # Errors
/// Where the key cannot be read, or a name is none.
pub fn issue(authority_key: &str, names: Vec<String>, validity: Validity) -> Result<Issued, IssueError> {
    let authority_key = KeyPair::from_pem(authority_key)?;
    let authority = Issuer::new(of_authority(&authority_key)?, authority_key);
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    set_validity(&mut params, validity);
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::OrganizationName, "Ferricorn development certificate");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(Issued { certificate: params.signed_by(&key, &authority)?.pem(), key: key.serialize_pem() })
}

/// All that follows from the key, so that nothing else of an authority has to be kept. The name has a part of the key in
/// it: whoever trusts the authorities of several machines can tell them apart.
fn of_authority(key: &KeyPair) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    let identifier: String = params.key_identifier(key).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::OrganizationName, "Ferricorn development authority");
    params.distinguished_name.push(DnType::CommonName, format!("Ferricorn development authority {identifier}"));
    // It issues for servers, and makes no further authorities.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn set_validity(params: &mut CertificateParams, validity: Validity) {
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(validity.from);
    params.not_after = epoch + Duration::from_secs(validity.until);
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR: Validity = Validity { from: 1_700_000_000, until: 1_730_000_000 };

    #[test]
    fn what_is_issued_is_new_every_time_and_its_authority_stays() {
        let authority = authority(YEAR).unwrap();
        let names = || vec!["localhost".to_owned(), "::1".to_owned()];
        let (one, other) =
            (issue(&authority.key, names(), YEAR).unwrap(), issue(&authority.key, names(), YEAR).unwrap());
        assert_ne!(one.key, other.key);
        assert_ne!(one.certificate, other.certificate);
        let again = of_authority(&KeyPair::from_pem(&authority.key).unwrap()).unwrap();
        let name = |params: &CertificateParams| params.distinguished_name.get(&DnType::CommonName).cloned();
        assert_eq!(name(&again), name(&of_authority(&KeyPair::from_pem(&authority.key).unwrap()).unwrap()));
    }

    #[test]
    fn what_is_no_key_or_no_name_is_told() {
        assert!(issue("no key", vec!["localhost".to_owned()], YEAR).is_err());
        let authority = authority(YEAR).unwrap();
        assert!(issue(&authority.key, vec!["kein Name \u{e9}".to_owned()], YEAR).is_err());
    }
}
