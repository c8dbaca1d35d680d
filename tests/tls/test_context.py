"""What `TlsContext` makes of an operator's files, and what it says of those that are no good."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ferricorn._ferricorn import TlsContext
from tests.support.certificates import Authority, Issued, Key


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def issued(authority: Authority) -> Issued:
    return authority.issue("example.org", "*.Example.org")


def problem_of(*pair: str | None, **options: object) -> str:
    """What is wrong with a certificate, a key, a password, and options."""
    certificate, key, password = pair
    assert certificate and key
    with pytest.raises(ValueError, match=r".") as raised:
        TlsContext([(certificate, key, password)], **options)  # type: ignore[arg-type]
    return str(raised.value)


def test_the_names_and_files_are_told(authority: Authority, issued: Issued) -> None:
    other = authority.issue("other.org", "example.org")
    context = TlsContext(
        [issued.pair, other.pair],
        ca_certs=authority.certfile,
        cert_reqs="optional",
        crl=authority.revoke([]),
        ocsp=authority.staple(issued),
    )
    assert context.names == ["example.org", "*.example.org", "other.org"]
    names = [authority.certfile, str(authority.folder / "revoked.pem"), str(authority.folder / "staple.der")]
    assert context.files == [issued.certfile, issued.keyfile, other.certfile, other.keyfile, *names]
    assert TlsContext([issued.pair], ca_certs=authority.certfile).files == [issued.certfile, issued.keyfile]


@pytest.mark.parametrize("form", ["PKCS8", "TraditionalOpenSSL"])
@pytest.mark.parametrize("kind", ["rsa", "p256", "p384"])
def test_keys_of_every_form_are_read(authority: Authority, kind: str, form: str) -> None:
    curves: dict[str, ec.EllipticCurve] = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1()}
    key: Key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(curves[kind])
    issued = authority.issue("example.org", key=key)
    keyfile = authority.write_key("key.pem", key, form=form)
    assert TlsContext([(issued.certfile, keyfile, None)]).names == ["example.org"]


def test_ed25519_is_read(authority: Authority) -> None:
    issued = authority.issue("example.org", key=ed25519.Ed25519PrivateKey.generate())  # type: ignore[arg-type]
    assert TlsContext([issued.pair]).names == ["example.org"]


def test_one_file_may_have_the_key_and_the_chain(authority: Authority, issued: Issued) -> None:
    both = authority.folder / "both.pem"
    parts = [issued.keyfile, issued.certfile, authority.certfile]
    both.write_text("Some words ahead\n" + "".join(Path(part).read_text() for part in parts))
    assert TlsContext([(str(both), str(both), None)]).files == [str(both)]


def test_an_encrypted_key_takes_its_password(authority: Authority, issued: Issued) -> None:
    keyfile = authority.write_key("secret.pem", issued.key, password=b"\xc3\xa4bc")
    assert TlsContext([(issued.certfile, keyfile, "\xe4bc")]).names
    assert problem_of(issued.certfile, keyfile, "wrong") == f"'{keyfile}': has a key that the password does not open"
    without = problem_of(issued.certfile, keyfile, None)
    assert without == f"'{keyfile}': has an encrypted key, and there is no password for it"


def test_the_old_encryption_is_refused_with_a_way_out(authority: Authority, issued: Issued) -> None:
    keyfile = authority.write_key("old.pem", issued.key, password=b"abc", form="TraditionalOpenSSL")
    assert "convert it: openssl pkcs8 -topk8" in problem_of(issued.certfile, keyfile, "abc")


def test_a_key_of_another_certificate_is_refused(authority: Authority, issued: Issued) -> None:
    other = authority.issue("other.org")
    expected = f"'{other.keyfile}': is not the key of the certificate in '{issued.certfile}'"
    assert problem_of(issued.certfile, other.keyfile, None) == expected


def test_each_file_is_named_with_what_is_wrong(authority: Authority, issued: Issued, tmp_path: Path) -> None:
    missing, empty, broken = (str(tmp_path / name) for name in ("missing", "empty", "broken"))
    Path(empty).write_text("")
    Path(broken).write_text("-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n")
    for path, fragment in [
        (missing, "No such file"),
        (empty, "has no certificate (BEGIN CERTIFICATE) in it"),
        (broken, "is no PEM file"),
        (issued.keyfile, "has no certificate"),
    ]:
        assert problem_of(path, issued.keyfile, None).startswith(f"'{path}': {fragment}")
        asked = {"ca_certs": path, "cert_reqs": "required"}
        assert problem_of(*issued.pair, **asked).startswith(f"'{path}': {fragment}")
    assert "has no private key" in problem_of(issued.certfile, issued.certfile, None)
    asked = {"ca_certs": authority.certfile, "cert_reqs": "required"}
    assert "has no revocation list" in problem_of(*issued.pair, crl=issued.certfile, **asked)
    assert problem_of(*issued.pair, ocsp=missing).startswith(f"'{missing}': No such file")


def test_options_are_checked(issued: Issued) -> None:
    assert "no authority is given" in problem_of(*issued.pair, cert_reqs="required")
    assert "cert_reqs" in problem_of(*issued.pair, cert_reqs="maybe")
    assert "minimum_version" in problem_of(*issued.pair, minimum_version="1.1")
    assert "no cipher suite" in problem_of(*issued.pair, ciphers="RC4-MD5")
    assert "handshake_timeout" in problem_of(*issued.pair, handshake_timeout=-1.0)
    with pytest.raises(ValueError, match="there is no certificate"):
        TlsContext([])


def test_a_reload_reads_what_the_files_say_now(authority: Authority, issued: Issued) -> None:
    context = TlsContext([issued.pair])
    other = authority.issue("other.org")
    Path(issued.certfile).write_text(Path(other.certfile).read_text())
    with pytest.raises(ValueError, match="is not the key"):
        context.reload()
    assert context.names == ["example.org", "*.example.org"]
    Path(issued.keyfile).write_text(Path(other.keyfile).read_text())
    context.reload()
    assert context.names == ["other.org"]
