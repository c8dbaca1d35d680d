"""An authority that signs certificates for tests, and the files they are in."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

HOUR = timedelta(hours=1)


def rfc4514(text: str) -> x509.Name:
    return x509.Name.from_rfc4514_string(text)


@dataclass(frozen=True)
class Issued:
    """A certificate, its key, and the file of each."""

    certificate: x509.Certificate
    key: Key
    certfile: str
    keyfile: str

    @property
    def pair(self) -> tuple[str, str, None]:
        """As `TlsContext` takes it."""
        return self.certfile, self.keyfile, None

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()


class Authority:
    """A root of its own, whose files are in `folder`."""

    def __init__(self, folder: Path, name: str = "CN=Test Authority") -> None:
        self.folder = folder
        self.key: Key = ec.generate_private_key(ec.SECP256R1())
        self.name = rfc4514(name)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        self.certificate = self._sign(
            self._builder(self.name, self.key, {}).add_extension(x509.BasicConstraints(True, None), True),
            usage,
        )
        self.certfile = self._write("authority", self.certificate)

    def issue(
        self,
        *names: str,
        subject: str = "",
        key: Key | None = None,
        client: bool = False,
        **validity: datetime,
    ) -> Issued:
        """A certificate for the DNS `names`, by default with a key on P-256; `client`: for clients.

        `validity` may have `begin` and `end`.
        """
        key = key or ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        builder = self._builder(rfc4514(subject or f"CN={names[0]}"), key, validity)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
        certificate = self._sign(builder)
        stem = f"{certificate.serial_number:x}"
        return Issued(certificate, key, self._write(stem, certificate), self.write_key(f"{stem}.key", key))

    def write_key(self, name: str, key: Key, *, password: bytes | None = None, form: str = "PKCS8") -> str:
        """A key in a file of its own: `form` is PKCS8, or TraditionalOpenSSL (PKCS#1 and SEC1)."""
        encryption: Any = serialization.NoEncryption()
        if password is not None:
            encryption = serialization.BestAvailableEncryption(password)
        format_: serialization.PrivateFormat = getattr(serialization.PrivateFormat, form)
        path = self.folder / name
        path.write_bytes(key.private_bytes(serialization.Encoding.PEM, format_, encryption))
        return str(path)

    def revoke(self, revoked: Iterable[Issued], *, name: str = "revoked.pem", until: timedelta = HOUR) -> str:
        """A revocation list, in a file; `until` is how long from now it holds."""
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.name)
        builder = builder.last_update(now - 2 * HOUR).next_update(now + until)
        builder = builder.add_extension(x509.CRLNumber(1), False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False
        )
        for each in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(each.certificate.serial_number)
            builder = builder.add_revoked_certificate(entry.revocation_date(now - HOUR).build())
        path = self.folder / name
        path.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return str(path)

    def staple(self, issued: Issued) -> str:
        """An OCSP response that says that a certificate is good, in a file."""
        now = datetime.now(UTC)
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=issued.certificate,
            issuer=self.certificate,
            algorithm=hashes.SHA256(),
            cert_status=ocsp.OCSPCertStatus.GOOD,
            this_update=now - HOUR,
            next_update=now + HOUR,
            revocation_time=None,
            revocation_reason=None,
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.NAME, self.certificate)
        path = self.folder / "staple.der"
        path.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER))
        return str(path)

    def client_context(self, issued: Issued | None = None) -> ssl.SSLContext:
        """What trusts this authority alone, and shows a certificate of its own where it has one."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.certfile)
        if issued is not None:
            context.load_cert_chain(issued.certfile, issued.keyfile)
        return context

    def _builder(self, subject: x509.Name, key: Key, validity: dict[str, datetime]) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(validity.get("begin", now - HOUR))
        return builder.not_valid_after(validity.get("end", now + 24 * HOUR))

    def _sign(self, builder: x509.CertificateBuilder, usage: x509.KeyUsage | None = None) -> x509.Certificate:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(identifier, False)
        if usage is not None:
            builder = builder.add_extension(usage, True)
            subject_key = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
            builder = builder.add_extension(subject_key, False)
        return builder.sign(self.key, hashes.SHA256())

    def _write(self, stem: str, certificate: x509.Certificate) -> str:
        path = self.folder / f"{stem}.pem"
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return str(path)


def common_name(certificate: x509.Certificate) -> str:
    (attribute,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(attribute.value)
