"""The options of TLS: what they mean beside each other, and that a password is seen nowhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from ferricorn import tls
from ferricorn.config import Config
from ferricorn.config_tls import contradiction
from ferricorn.errors import StartupError
from tests.support.certificates import Authority

CERTIFICATE = {"ssl_certfile": "a.pem"}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"ssl_keyfile": "k"}, "ssl_keyfile needs a certificate: ssl_certfile"),
        ({"ssl_ca_certs": "ca"}, "ssl_ca_certs needs a certificate: ssl_certfile"),
        ({"ssl_cert_reqs": 2}, "ssl_cert_reqs needs a certificate: ssl_certfile"),
        ({"hsts": "60"}, "hsts needs a certificate: ssl_certfile"),
        ({"redirect_http": 80}, "redirect_http needs a certificate: ssl_certfile"),
        ({"dev_cert": True, **CERTIFICATE}, "dev_cert is instead of a certificate: leave it out, or ssl_certfile"),
        (
            {"ssl_certfile": ["a", "b"], "ssl_keyfile": ["k"]},
            "ssl_keyfile must be given once for each ssl_certfile: 2 times, not 1",
        ),
        (
            {**CERTIFICATE, "ssl_keyfile": ["k", "l"]},
            "ssl_keyfile must be given once for each ssl_certfile: 1 times, not 2",
        ),
        (
            {"ssl_certfile": ["a", "b", "c"], "ssl_keyfile_password": ["x", "y"]},
            "ssl_keyfile_password must be given once, or once for each key",
        ),
        (
            {**CERTIFICATE, "ssl_cert_reqs": "optional"},
            "ssl_cert_reqs needs ssl_ca_certs: the authorities whose client certificates are taken",
        ),
        (
            {**CERTIFICATE, "ssl_crl": "crl", "ssl_ca_certs": "ca"},
            "ssl_crl is for client certificates, which ssl_cert_reqs asks for",
        ),
    ],
)
def test_what_does_not_go_together_is_told_in_one_sentence(options: dict[str, Any], problem: str) -> None:
    config = Config("main:app", **options)
    assert contradiction(config) == problem
    with pytest.raises(StartupError) as refusal:
        tls.read(config)
    assert str(refusal.value) == f"{problem}."


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ssl_version": 17, "ssl_cert_reqs": 0, "ssl_ciphers": "TLSv1", "ssl_keyfile_password": "x"},
        {**CERTIFICATE},
        {"ssl_certfile": ["a", "b"], "ssl_keyfile": ["k", "l"], "ssl_keyfile_password": "x"},
        {"ssl_certfile": ["a", "b"], "ssl_keyfile_password": ["x", ""]},
        {**CERTIFICATE, "ssl_cert_reqs": 1, "ssl_ca_certs": "ca", "ssl_crl": "crl", "ssl_ocsp": "o"},
        {"dev_cert": True, "hsts": 60, "redirect_http": "[::]:80"},
    ],
)
def test_what_goes_together(options: dict[str, Any]) -> None:
    config = Config("main:app", **options)
    assert contradiction(config) == ""
    assert config.is_ssl == bool({"ssl_certfile", "dev_cert"} & options.keys())


@pytest.mark.parametrize(
    ("options", "address"),
    [
        ({}, None),
        ({"redirect_http": 80}, "127.0.0.1:80"),
        ({"redirect_http": "80", "host": "0.0.0.0"}, "0.0.0.0:80"),
        ({"redirect_http": "80", "host": "::1"}, "[::1]:80"),
        ({"redirect_http": "80", "bind": ["unix:/run/a", "[::]:443"]}, "[::]:80"),
        ({"redirect_http": "80", "uds": "/run/a"}, "127.0.0.1:80"),
        ({"redirect_http": "a.example:80"}, "a.example:80"),
        ({"redirect_http": "unix:/run/b"}, "unix:/run/b"),
    ],
)
def test_a_port_to_redirect_from_is_one_of_the_host_that_is_served(options: dict[str, Any], address: str) -> None:
    assert Config("main:app", **options).redirect_address == address


def test_the_value_of_hsts() -> None:
    for given, value in {
        "0": "max-age=0",
        3600: "max-age=3600",
        'max-age="31536000"; includeSubDomains; preload': 'max-age="31536000"; includeSubDomains; preload',
        "includeSubDomains; max-age=1": "includeSubDomains; max-age=1",
        "": "",
    }.items():
        assert Config("main:app", hsts=given).hsts == value  # type: ignore[arg-type]


SECRET = "correct horse, battery staple"


def test_a_password_is_shown_nowhere(run: Callable[..., Result], tmp_path: Path) -> None:
    assert SECRET not in repr(Config("main:app", ssl_keyfile_password=SECRET))
    result = run("main:app", "--print-config", "--ssl-keyfile-password", SECRET)
    assert SECRET not in result.output
    line = next(line for line in result.output.splitlines() if "ssl_keyfile_password" in line)
    assert line.split("  ")[0] == "# ssl_keyfile_password = (not shown)"
    assert line.endswith("# command line")
    (tmp_path / "ferricorn.toml").write_text(f"ssl_keyfile_password = [1, '{SECRET}']")
    mistake = run("main:app")
    assert mistake.output.splitlines()[-1] == "Error: ferricorn.toml: ssl_keyfile_password must be text."


@pytest.mark.parametrize(("flag", "meaning"), [("--ssl-client-verify", "required"), ("--no-ssl-client-verify", "none")])
def test_granians_switch_for_client_certificates(flag: str, meaning: str, config_of: Callable[..., Config]) -> None:
    assert config_of("main:app", flag, "--ssl-ca", "ca.pem") == Config(
        "main:app", ssl_cert_reqs=meaning, ssl_ca_certs="ca.pem"
    )


def test_the_certificates_are_a_part_of_the_check(run: Callable[..., Result], tmp_path: Path) -> None:
    issued = Authority(tmp_path).issue("example.org")
    good = run("main:app", "--check-config", "--ssl-certfile", issued.certfile, "--ssl-keyfile", issued.keyfile)
    assert good.exit_code == 0
    assert "TLS certificates for example.org until 20" in good.output
    bad = run("main:app", "--check-config", "--ssl-certfile", issued.certfile)
    assert bad.exit_code == 2
    assert f"Error: Cannot serve https: '{issued.certfile}': has no private key" in bad.output
    alone = run("main:app", "--check-config", "--hsts", "60")
    assert alone.exit_code == 2
    assert alone.output.splitlines()[-1] == "Error: hsts needs a certificate: ssl_certfile."
