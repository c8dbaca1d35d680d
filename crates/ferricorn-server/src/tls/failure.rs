//! Why a connection failed in TLS, in plain words: one line of the log.

use std::fmt;

use rustls::{CertificateError, Error, InvalidMessage, PeerIncompatible};

/// What went wrong on a connection.
#[derive(Debug)]
pub struct Failure(Cause);

#[derive(Debug)]
enum Cause {
    Tls { error: Error, handshake: bool },
    PlainText,
    Late,
}

impl Failure {
    pub(super) fn new(error: Error, handshake: bool) -> Self {
        Self(Cause::Tls { error, handshake })
    }

    /// The client speaks HTTP without TLS.
    pub(super) fn plain_text() -> Self {
        Self(Cause::PlainText)
    }

    /// The handshake was not over in time.
    pub(super) fn late() -> Self {
        Self(Cause::Late)
    }

    /// Whether it is worth a line: not that the client did not like what it got, or has closed with a complaint.
    pub(super) fn is_news(&self) -> bool {
        !matches!(self.0, Cause::Tls { error: Error::AlertReceived(_), .. })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::PlainText => f.write_str("refused a connection: it speaks HTTP, and this is a port for HTTPS"),
            Cause::Late => f.write_str("refused a connection: its TLS handshake took too long"),
            Cause::Tls { error, handshake: true } => {
                f.write_str("a TLS handshake failed: ")?;
                explain(error, f)
            }
            Cause::Tls { error, handshake: false } => {
                f.write_str("broke off a TLS connection: ")?;
                explain(error, f)
            }
        }
    }
}

fn explain(error: &Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match error {
        Error::NoCertificatesPresented => f.write_str("the client sent no certificate"),
        Error::InvalidCertificate(error) => explain_certificate(error, f),
        Error::PeerIncompatible(error) => explain_incompatible(error, f),
        Error::NoApplicationProtocol => f.write_str("the client offers no protocol that is spoken here (ALPN)"),
        Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
            f.write_str("what the client sent is no TLS")
        }
        Error::DecryptError => f.write_str("a record of the client cannot be decrypted"),
        Error::PeerSentOversizedRecord => f.write_str("a record of the client is too large"),
        error => write!(f, "{error}"),
    }
}

fn explain_certificate(error: &CertificateError, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("the client's certificate ")?;
    f.write_str(match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "is not valid yet",
        CertificateError::Revoked => "is revoked",
        CertificateError::UnknownIssuer => "is of no authority that is trusted here",
        CertificateError::UnknownRevocationStatus => "is of an authority without a revocation list",
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            "cannot be checked: the revocation list of its authority has expired"
        }
        CertificateError::BadSignature => "has a wrong signature",
        CertificateError::BadEncoding => "cannot be read",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not one for clients (extended key usage)"
        }
        error => return write!(f, "cannot be used: {error}"),
    })
}

fn explain_incompatible(error: &PeerIncompatible, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(match error {
        PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::Tls13RequiredForQuic
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired
        | PeerIncompatible::SupportedVersionsExtensionRequired => "the client speaks no version of TLS that is allowed",
        PeerIncompatible::NoCipherSuitesInCommon => "the client and the server have no cipher suite in common",
        PeerIncompatible::NoKxGroupsInCommon => "the client and the server have no key exchange group in common",
        PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon
        | PeerIncompatible::NoSignatureSchemesInCommon => {
            "the client and the server have no signature scheme in common"
        }
        error => return write!(f, "the client lacks what is needed here ({error:?})"),
    })
}
