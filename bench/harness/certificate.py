"""A self-signed certificate for the servers that speak TLS, made anew for every run. Knows no server."""

import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# Not a certificate authority's, which some clients would refuse as a server's own.
_REQUEST = """\
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = 127.0.0.1
[extensions]
basicConstraints = critical, CA:FALSE
subjectAltName = IP:127.0.0.1
"""
_OPENSSL = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30"


@dataclass(frozen=True)
class Certificate:
    """PEM files; the key is ECDSA P-256, as PKCS #8. They are there as long as this object."""

    directory: "tempfile.TemporaryDirectory[str]"

    @property
    def certificate(self) -> Path:
        return Path(self.directory.name) / "certificate.pem"

    @property
    def key(self) -> Path:
        return Path(self.directory.name) / "key.pem"


@cache
def certificate() -> Certificate:
    """For 127.0.0.1, valid for 30 days; the same one for all servers of a run."""
    made = Certificate(tempfile.TemporaryDirectory(prefix="bench-"))
    request = Path(made.directory.name) / "request.cnf"
    request.write_text(_REQUEST)
    files = ["-config", str(request), "-keyout", str(made.key), "-out", str(made.certificate)]
    subprocess.run([*_OPENSSL.split(), *files], check=True, capture_output=True)
    return made
