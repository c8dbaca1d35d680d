"""What a scanner would ask of the server: versions, ciphers, renegotiation, compression, stapling, names."""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.certificates import Authority, Issued, common_name
from tests.support.client import Client
from tests.support.https import connect, fetch, shown, tls_of
from tests.support.process import ServerProcess, StartProcess
from tests.support.workers import APP

MODERN_12 = {
    f"ECDHE-{key}-{cipher}"
    for key in ("ECDSA", "RSA")
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
}
MODERN_13 = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
OPENSSL = shutil.which("openssl") or "openssl"

Scan = Callable[..., str]


@pytest.fixture
def loop() -> str:
    """One will do: nothing of this depends on the event loop."""
    return "asyncio"


@pytest.fixture
def server(start_process: StartProcess, authority: Authority, tls: list[str]) -> ServerProcess:
    """With a certificate for ECDSA, and one for RSA, so that no cipher is left out for want of a key."""
    rsa_key = authority.issue("localhost", key=rsa.generate_private_key(65537, 2048))
    pair = ["--ssl-certfile", rsa_key.certfile, "--ssl-keyfile", rsa_key.keyfile]
    return start_process(APP, *tls, *pair).wait_until_running()


@pytest.fixture
def scan(server: ServerProcess) -> Scan:
    def run(*arguments: str, say: str = "") -> str:
        """`openssl s_client` with all old things allowed on its side: what it prints."""
        command = [*s_client(server), *arguments]
        done = subprocess.run(command, input=say, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout + done.stderr

    return run


def s_client(server: ServerProcess) -> list[str]:
    host, port = map(str, server.addresses[0])
    return [OPENSSL, "s_client", "-connect", f"{host}:{port}", "-servername", "localhost"]


def ciphers_of(version: str) -> list[str]:
    """All that OpenSSL has for a version, the worst ones included."""
    listed = subprocess.run(
        [OPENSSL, "ciphers", "-s", f"-{version}", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"],
        capture_output=True,
        text=True,
        check=True,
    )
    return listed.stdout.strip().split(":")


def is_accepted(output: str) -> bool:
    return re.search(r"Cipher is (?!\(NONE\))", output) is not None


def test_old_versions_are_refused(server: ServerProcess, scan: Scan) -> None:
    for version in ("tls1", "tls1_1"):
        assert not is_accepted(scan(f"-{version}", "-cipher", "ALL:@SECLEVEL=0")), version
        assert "no version of TLS that is allowed" in server.wait_for_line("TLS handshake failed").string
    for version in ("tls1_2", "tls1_3"):
        assert is_accepted(scan(f"-{version}")), version
    assert server.stop() == 0


def test_ssl_2_and_3_are_refused(server: ServerProcess) -> None:
    """What OpenSSL cannot even send any more: the first bytes of a client's greeting."""
    ssl3_body = b"\x03\x00" + bytes(32) + b"\x00" + b"\x00\x02\x00\x0a" + b"\x01\x00"
    ssl3 = b"\x01" + len(ssl3_body).to_bytes(3) + ssl3_body
    ssl2 = b"\x01\x00\x02\x00\x03\x00\x00\x00\x10\x01\x00\x80" + bytes(16)
    for greeting in (
        b"\x16\x03\x00" + len(ssl3).to_bytes(2) + ssl3,
        (0x8000 | len(ssl2)).to_bytes(2) + ssl2,
    ):
        with Client.connect(server.addresses[0]) as client:
            client.send(greeting)
            answer = client.socket.recv(100)
            # An alert (21), or nothing: no greeting of the server's (22).
            assert answer[:1] in (b"\x15", b"")
        server.wait_for_line("TLS handshake failed")
    assert server.stop() == 0


def test_only_modern_ciphers_are_accepted(server: ServerProcess, scan: Scan) -> None:
    offered = ciphers_of("tls1_2")
    assert len(offered) > 60
    old = [cipher for cipher in offered if cipher not in MODERN_12]
    assert not is_accepted(scan("-tls1_2", "-cipher", f"{':'.join(old)}:@SECLEVEL=0"))
    server.wait_for_line("no cipher suite in common")
    for cipher in sorted(MODERN_12):
        assert f"Cipher is {cipher}" in scan("-tls1_2", "-cipher", cipher), cipher
    for cipher in sorted(MODERN_13):
        assert f"Cipher is {cipher}" in scan("-tls1_3", "-ciphersuites", cipher), cipher
    assert server.stop() == 0


def test_nothing_is_compressed_and_nothing_renegotiated(server: ServerProcess, scan: Scan) -> None:
    output = scan("-tls1_2", "-legacy_renegotiation", "-comp", say="R\n")
    assert "Compression: NONE" in output
    # It says that it is safe against the attack of 2009 (RFC 5746), and refuses all the same.
    assert "Secure Renegotiation IS supported" in output
    assert "RENEGOTIATING" in output
    assert re.search(r"no renegotiation|handshake failure|unexpected message|alert", output), output
    assert server.stop() == 0


def test_keys_are_exchanged_on_modern_curves_alone(server: ServerProcess, scan: Scan) -> None:
    for curve in ("X25519", "P-256", "P-384"):
        assert is_accepted(scan("-tls1_3", "-groups", curve)), curve
    for curve in ("P-521", "ffdhe2048"):
        assert not is_accepted(scan("-tls1_3", "-groups", curve)), curve
        server.wait_for_line("no key exchange group in common")
    assert server.stop() == 0


def test_a_handshake_of_1_2_has_an_extended_master_secret(server: ServerProcess, scan: Scan) -> None:
    assert "Extended master secret: yes" in scan("-tls1_2")
    assert server.stop() == 0


def test_1_3_alone_where_that_is_wanted(start_process: StartProcess, authority: Authority, tls: list[str]) -> None:
    server = start_process(APP, *tls, "--ssl-version", "1.3").wait_until_running()
    context = authority.client_context()
    with connect(server.addresses[0], context) as client:
        assert tls_of(client).version() == "TLSv1.3"
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        fetch(server.addresses[0], context)
    server.wait_for_line("no version of TLS that is allowed")
    assert server.stop() == 0


def test_chosen_ciphers_alone(start_process: StartProcess, authority: Authority, tls: list[str]) -> None:
    server = start_process(APP, *tls, "--ssl-ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384").wait_until_running()
    context = authority.client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with connect(server.addresses[0], context) as client:
        assert tls_of(client).cipher() == ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLSv1.2", 256)
    context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
        fetch(server.addresses[0], context)
    server.wait_for_line("no cipher suite in common")
    assert server.stop() == 0


def test_a_staple_is_passed_on(
    start_process: StartProcess, authority: Authority, issued: Issued, tls: list[str]
) -> None:
    server = start_process(APP, *tls, "--ssl-ocsp", authority.staple(issued)).wait_until_running()
    command = [*s_client(server), "-status"]
    output = subprocess.run(command, input="", capture_output=True, text=True, timeout=60, check=False).stdout
    assert "OCSP Response Status: successful" in output
    assert "Cert Status: good" in output
    assert server.stop() == 0


def test_the_name_chooses_the_certificate(start_process: StartProcess, authority: Authority, tls: list[str]) -> None:
    names = ["one.example", "*.two.example", "www.two.example"]
    pairs = [
        word
        for issued in (authority.issue(name) for name in names)
        for word in ("--ssl-certfile", issued.certfile, "--ssl-keyfile", issued.keyfile)
    ]
    server = start_process(APP, *tls, *pairs).wait_until_running()
    context = authority.client_context()
    for asked, expected in {
        "one.example": "one.example",
        "ONE.example": "one.example",
        "a.two.example": "*.two.example",
        "www.two.example": "www.two.example",
        "a.b.two.example": "localhost",
        "two.example": "localhost",
        "unknown.example": "localhost",
        None: "localhost",
    }.items():
        assert common_name(shown(server.addresses[0], context, asked)) == expected, asked
    assert server.stop() == 0


CLIENTS: list[tuple[Callable[[Authority, Authority], Issued | None], str]] = [
    (lambda _, __: None, "the client sent no certificate"),
    (lambda _, other: other.issue("eve", client=True), "the client's certificate is of no authority"),
    (lambda authority, _: authority.issue("server"), "the client's certificate is not one for clients"),
    (lambda authority, _: authority.issue("revoked", client=True), "the client's certificate is revoked"),
]


@pytest.mark.parametrize(("present", "told"), CLIENTS, ids=["none", "stranger", "server", "revoked"])
def test_what_is_wrong_with_a_clients_certificate_is_in_the_log(
    start_process: StartProcess,
    authority: Authority,
    tls: list[str],
    tmp_path: Path,
    present: Callable[[Authority, Authority], Issued | None],
    told: str,
) -> None:
    (tmp_path / "other").mkdir()
    shows = present(authority, Authority(tmp_path / "other", "CN=Other"))
    revoked = authority.revoke([shows] if shows and "revoked" in told else [])
    required = ["--ssl-ca-certs", authority.certfile, "--ssl-cert-reqs", "required", "--ssl-crl", revoked]
    server = start_process(APP, *tls, *required).wait_until_running()
    fetch(server.addresses[0], authority.client_context(authority.issue("alice", client=True)))
    # In TLS 1.3 a client learns of it behind its handshake: by an alert, or by the end.
    with pytest.raises((ssl.SSLError, OSError, AssertionError)):
        fetch(server.addresses[0], authority.client_context(shows))
    line = server.wait_for_line("TLS handshake failed").string
    assert told in line
    assert "127.0.0.1:" in line
    assert server.stop() == 0
