"""A certificate for development: from an authority of this user's own, made once and kept. The option `dev_cert`.

Knows no server and no option but where it listens.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from ferricorn._ferricorn import issue_certificate, make_authority
from ferricorn.config import Config
from ferricorn.errors import StartupError
from ferricorn.logging import error_log as log

AUTHORITY: Final = "authority.pem"
_AUTHORITY_KEY: Final = "authority-key.pem"
_SERVER: Final = "server.pem"
"""The certificate, its key behind it. Its first line, as that of the authority's key, says what it is for."""
_HEAD: Final = re.compile(r"# until (\d+) for ([^ \n]+)\n")
_DAY: Final = 86_400
_AUTHORITY_DAYS: Final = 3650
_DAYS: Final = 397
"""What browsers take from authorities of the public, too."""
_RENEWED_DAYS: Final = 30
"""A certificate with less than that left is renewed."""
_EARLY: Final = _DAY
"""For clocks that are behind."""
_LOCAL: Final = ("localhost", "127.0.0.1", "::1")
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_EVERY: Final = ("0.0.0.0", "::", "")


def folder() -> Path:
    """Where all of it is kept: `ferricorn` in the user's data directory (XDG)."""
    data = os.environ.get("XDG_DATA_HOME", "")
    return (Path(data) if os.path.isabs(data) else Path.home() / ".local" / "share") / "ferricorn"


def pair(config: Config) -> tuple[str, str, None]:
    """The files of the certificate and its key, for what `config` listens on: those that are kept, or new ones.

    Logs what clients have to trust. Raises StartupError.
    """
    wanted = names(config)
    try:
        home = folder()
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(home):
            key, is_new = _authority(home)
            if is_new or not _is_good(home / _SERVER, wanted, _RENEWED_DAYS):
                _issue(home, key, wanted)
    except (OSError, RuntimeError, ValueError) as error:
        raise StartupError(f"Cannot make a certificate for development: {error}.") from None
    if is_new:
        log.info("Made an authority for development. Have clients trust %s", home / AUTHORITY)
    return str(home / _SERVER), str(home / _SERVER), None


def names(config: Config) -> list[str]:
    """Whom the certificate is for: this machine, and the addresses that are listened on by name."""
    tcp = [address for address in config.addresses if not address.startswith(("unix:", "fd://"))]
    hosts = [address.rpartition(":")[0].strip("[]") for address in tcp]
    named = [host.lower() for host in (socket.gethostname(), *hosts) if host not in _EVERY]
    return list(dict.fromkeys([*_LOCAL, *filter(_is_name, named)]))


def _is_name(host: str) -> bool:
    if ":" in host:
        with contextlib.suppress(OSError):
            return bool(socket.inet_pton(socket.AF_INET6, host))
        return False
    return _HOST.fullmatch(host) is not None


def _authority(home: Path) -> tuple[str, bool]:
    """The key of the authority, and whether it was made just now."""
    if _is_good(home / _AUTHORITY_KEY, (), _DAYS + _RENEWED_DAYS) and (home / AUTHORITY).exists():
        return (home / _AUTHORITY_KEY).read_text(), False
    now = int(time.time())
    until = now + _AUTHORITY_DAYS * _DAY
    certificate, key = make_authority(now - _EARLY, until)
    key = f"# until {until} for all\n{key}"
    _write(home / _AUTHORITY_KEY, key, 0o600)
    _write(home / AUTHORITY, certificate, 0o644)
    return key, True


def _is_good(file: Path, wanted: Sequence[str], days: int) -> bool:
    """Whether the file is for all that is wanted, for so long at the least."""
    head = _head(file)
    return head is not None and head[0] - time.time() > days * _DAY and set(wanted) <= set(head[1])


def _head(file: Path) -> tuple[int, list[str]] | None:
    """Until when the certificate of a file is good, and for whom; None where there is none."""
    try:
        head = _HEAD.match(file.read_text())
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    return (int(head[1]), head[2].split(",")) if head else None


def _issue(home: Path, authority_key: str, wanted: Sequence[str]) -> None:
    """Writes a new certificate, for those that the one before was for as well."""
    before = _head(home / _SERVER)
    every = list(dict.fromkeys([*wanted, *(before[1] if before else ())]))
    now = int(time.time())
    until = now + _DAYS * _DAY
    certificate, key = issue_certificate(authority_key, every, now - _EARLY, until)
    _write(home / _SERVER, f"# until {until} for {','.join(every)}\n{certificate}{key}", 0o600)
    log.info("Made a certificate for development, for %s", ", ".join(every))


def _write(file: Path, text: str, mode: int) -> None:
    """The whole file or nothing of it, for other processes and after a crash."""
    with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=file.name, delete=False) as new:
        os.fchmod(new.fileno(), mode)
        new.write(text)
    os.replace(new.name, file)


@contextlib.contextmanager
def _locked(home: Path) -> Iterator[None]:
    """One process at a time."""
    with open(home / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
