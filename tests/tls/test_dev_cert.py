"""The certificate for development: what it is for, where it is kept, and when there is a new one."""

from __future__ import annotations

import concurrent.futures
import socket
import stat
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from ferricorn import dev_cert
from ferricorn._ferricorn import issue_certificate, make_authority
from ferricorn.config import Config
from ferricorn.errors import StartupError

CONFIG = Config("main:app", dev_cert=True)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "ferricorn"


def verified(home: Path, name: str) -> x509.Certificate:
    """The certificate, after it was checked as a client checks it that trusts the authority."""
    authority = x509.load_pem_x509_certificate((home / "authority.pem").read_bytes())
    certificate = x509.load_pem_x509_certificate((home / "server.pem").read_bytes())
    policy = PolicyBuilder().store(Store([authority])).build_server_verifier(x509.DNSName(name))
    policy.verify(certificate, [])
    return certificate


def test_it_is_made_once_and_kept(home: Path) -> None:
    pair = dev_cert.pair(CONFIG)
    first = verified(home, "localhost")
    assert pair == (str(home / "server.pem"), str(home / "server.pem"), None)
    assert dev_cert.pair(CONFIG) == pair
    assert verified(home, "localhost") == first


def test_its_keys_are_for_nobody_else(home: Path) -> None:
    dev_cert.pair(CONFIG)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in home.iterdir()}
    assert modes["server.pem"] == modes["authority-key.pem"] == 0o600
    assert modes["authority.pem"] == 0o644
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_it_is_for_this_machine_and_what_is_listened_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Laptop.example")
    dev_cert.pair(CONFIG)
    dev_cert.pair(
        Config("main:app", dev_cert=True, bind=["[::]:1", "10.1.2.3:1", "unix:/run/a", "App.test:0", "fd://3"])
    )
    names = verified(home, "laptop.example").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "laptop.example", "app.test"]
    assert list(map(str, names.get_values_for_type(x509.IPAddress))) == ["127.0.0.1", "::1", "10.1.2.3"]


def test_a_name_more_is_a_new_certificate_of_the_same_authority_for_the_old_names_too(home: Path) -> None:
    dev_cert.pair(CONFIG)
    authority = (home / "authority.pem").read_bytes()
    dev_cert.pair(Config("main:app", host="one.test", dev_cert=True))
    dev_cert.pair(Config("main:app", host="two.test", dev_cert=True))
    assert verified(home, "one.test") == verified(home, "two.test")
    assert (home / "authority.pem").read_bytes() == authority


def test_it_is_renewed_before_it_ends(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dev_cert.pair(CONFIG)
    first = verified(home, "localhost")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 366 * 86400)
    dev_cert.pair(CONFIG)
    assert verified_serial(home) == first.serial_number
    monkeypatch.setattr(time, "time", lambda: now + 368 * 86400)
    dev_cert.pair(CONFIG)
    assert verified_serial(home) != first.serial_number


def verified_serial(home: Path) -> int:
    return x509.load_pem_x509_certificate((home / "server.pem").read_bytes()).serial_number


def test_an_authority_that_would_end_before_its_certificate_is_made_anew(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dev_cert.pair(CONFIG)
    before = (home / "authority.pem").read_bytes()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3300 * 86400)
    dev_cert.pair(CONFIG)
    assert (home / "authority.pem").read_bytes() != before


@pytest.mark.parametrize("gone", ["server.pem", "authority.pem", "authority-key.pem"])
def test_what_is_gone_is_made_again(home: Path, gone: str) -> None:
    dev_cert.pair(CONFIG)
    (home / gone).unlink()
    dev_cert.pair(CONFIG)
    verified(home, "localhost")


def test_processes_that_start_at_once_have_the_same(home: Path) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        pairs = list(threads.map(dev_cert.pair, [CONFIG] * 8))
    assert len(set(pairs)) == 1
    verified(home, "localhost")
    assert {file.name for file in home.iterdir()} == {"authority.pem", "authority-key.pem", "server.pem", "lock"}


def test_where_nothing_can_be_written_it_says_so(home: Path) -> None:
    home.parent.write_text("a file")
    with pytest.raises(StartupError, match=r"Cannot make a certificate for development: .*Not a directory"):
        dev_cert.pair(CONFIG)


def test_a_relative_data_directory_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As the XDG specification has it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", "data")
    assert dev_cert.folder() == tmp_path / ".local" / "share" / "ferricorn"


def test_what_is_no_key_and_no_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"."):
        issue_certificate("no key", ["localhost"], 0, 1)
    _, key = make_authority(0, 1)
    with pytest.raises(ValueError, match=r"."):
        issue_certificate(key, ["a\u20acb"], 0, 1)
