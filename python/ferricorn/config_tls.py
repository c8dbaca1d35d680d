"""TLS: certificates, what is asked of clients, and what goes with it.

Declarations alone: config.py says how they come together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ferricorn.config_groups import TLS
from ferricorn.config_network import NetworkOptions
from ferricorn.kinds import ListenPlace, Numbered, Password, TransportSecurity
from ferricorn.options import Flag, Repeated, Seconds, Text, option


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOptions(NetworkOptions):
    """Certificates, client certificates, and the plain listener beside."""

    ssl_certfile: Sequence[str] = option(
        Repeated("PATH", Text("PATH"), ","),
        (),
        TLS,
        "Serve https with the certificate in this PEM file, the rest of its chain behind it; may be repeated, and each "
        "client gets the certificate for the name that it asks for.",
        aliases={"--ssl-certificate": "granian", "--certfile": "gunicorn, hypercorn"},
    )
    ssl_keyfile: Sequence[str] = option(
        Repeated("PATH", Text("PATH"), ","),
        (),
        TLS,
        "PEM file of the certificate's private key, one for each --ssl-certfile in the same order; without it, the key "
        "is in the file of the certificate.",
        aliases={"--keyfile": "gunicorn, hypercorn"},
    )
    ssl_keyfile_password: Sequence[str] = option(
        Repeated("PASSWORD", Password(), "\n"),
        (),
        TLS,
        "Password of the private key, one for all keys or one for each; better set in the environment, where fewer "
        "can see it.",
        aliases={"--keyfile-password": "hypercorn"},
    )
    ssl_version: str | int = option(
        Numbered(
            "VERSION",
            ("1.2", "1.3"),
            synonyms=(
                ("17", "1.2"),
                ("2", "1.2"),
                ("5", "1.2"),
                ("tls1.2", "1.2"),
                ("tls1.3", "1.3"),
                ("TLSv1.2", "1.2"),
                ("TLSv1.3", "1.3"),
            ),
            refused=tuple((old, "it is not safe, and not spoken") for old in ("1.0", "1.1", "3", "4")),
        ),
        "1.2",
        TLS,
        "Lowest version of TLS.",
        aliases={"--ssl-protocol-min": "granian"},
    )
    ssl_ciphers: str = option(
        Text("NAMES"),
        "",
        TLS,
        "Cipher suites in their order, by the names of IANA or OpenSSL with colons between them; by default all that "
        "are safe, AES-128 first.",
        aliases={"--ciphers": "gunicorn, hypercorn"},
    )
    ssl_cert_reqs: str | int = option(
        Numbered(
            "MODE",
            ("none", "optional", "required"),
            synonyms=(
                ("0", "none"),
                ("1", "optional"),
                ("2", "required"),
                ("CERT_NONE", "none"),
                ("CERT_OPTIONAL", "optional"),
                ("CERT_REQUIRED", "required"),
            ),
        ),
        "none",
        TLS,
        "Whether clients are asked for a certificate.",
        aliases={"--cert-reqs": "gunicorn, hypercorn", "--verify-mode": "hypercorn"},
    )
    ssl_ca_certs: str | None = option(
        Text("PATH"),
        None,
        TLS,
        "PEM file of the authorities whose client certificates are taken.",
        aliases={"--ssl-ca": "granian", "--ca-certs": "gunicorn, hypercorn"},
    )
    ssl_crl: str | None = option(
        Text("PATH"),
        None,
        TLS,
        "PEM file of revocation lists, for client certificates.",
        uvicorn="",
    )
    ssl_ocsp: str | None = option(
        Text("PATH"),
        None,
        TLS,
        "File of an OCSP response in DER, which clients get with the first certificate.",
        uvicorn="",
    )
    ssl_reload_interval: float = option(
        Seconds(),
        5.0,
        TLS,
        "How often the files are looked at: when one has changed they are read again, and new connections get what "
        "they say. 0 is never.",
        uvicorn="",
    )
    timeout_tls_handshake: float = option(
        Seconds(),
        10.0,
        TLS,
        "How long a client may take from connecting to the end of the handshake. 0 is no limit.",
        uvicorn="",
    )
    hsts: str = option(
        TransportSecurity(),
        "",
        TLS,
        "Strict-Transport-Security of every response over TLS: for how many seconds browsers are to use nothing else, "
        'or a whole value such as "max-age=31536000; includeSubDomains".',
        native=True,
        uvicorn="",
    )
    redirect_http: str | None = option(
        ListenPlace(),
        None,
        TLS,
        "Listen without TLS on this port, or HOST:PORT, and send whoever comes to the same path with https.",
        uvicorn="",
    )
    dev_cert: bool = option(
        Flag(),
        False,
        TLS,
        "For development: serve https with a certificate for localhost and this machine, from an authority that is "
        "made at the first time and kept.",
        uvicorn="",
    )


_NEED_A_CERTIFICATE: Final = ("ssl_keyfile", "ssl_ca_certs", "ssl_crl", "ssl_ocsp", "hsts", "redirect_http")


def contradiction(options: TlsOptions) -> str:
    """What is wrong with options of TLS beside each other, as a clause whose subject is an option. "": nothing is.

    What says how to encrypt may stand alone. What a server without a certificate would silently not do may not.
    """
    certificates, keys = options.ssl_certfile, options.ssl_keyfile
    asks = options.ssl_cert_reqs != "none"
    if options.dev_cert and certificates:
        return "dev_cert is instead of a certificate: leave it out, or ssl_certfile"
    if not (certificates or options.dev_cert):
        lonely = next((name for name in _NEED_A_CERTIFICATE if getattr(options, name)), "ssl_cert_reqs" if asks else "")
        return f"{lonely} needs a certificate: ssl_certfile" if lonely else ""
    if keys and len(keys) != len(certificates):
        return f"ssl_keyfile must be given once for each ssl_certfile: {len(certificates)} times, not {len(keys)}"
    if len(options.ssl_keyfile_password) not in (0, 1, len(certificates)):
        return "ssl_keyfile_password must be given once, or once for each key"
    if asks and options.ssl_ca_certs is None:
        return "ssl_cert_reqs needs ssl_ca_certs: the authorities whose client certificates are taken"
    if options.ssl_crl is not None and not asks:
        return "ssl_crl is for client certificates, which ssl_cert_reqs asks for"
    return ""
