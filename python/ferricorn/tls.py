"""TLS, as the process sees it: the certificates that options name, read, and read again when their files change.

Knows no protocol: the native `TlsContext` is given to the workers as it is.
"""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

from ferricorn._ferricorn import TlsContext
from ferricorn.config import Config
from ferricorn.config_tls import contradiction
from ferricorn.errors import StartupError
from ferricorn.logging import error_log as log

SECRET_BYTES: Final = 32
_NAMES: Final = 3
"""So many names of certificates are logged."""
_STOP_SECONDS: Final = 1.0
"""How long the end of a look at the files is waited for: a file system may hang."""

Facts: TypeAlias = tuple[int, int, int, int]
"""Device, inode, time of change in ns and size of a file."""
Seen: TypeAlias = Sequence[Facts | None]
"""Those of each file, None where there is none."""


def read(config: Config, ticket_secret: bytes | None = None) -> Certificates | None:
    """The certificates of `config`; None where it has none. Raises StartupError, which names the file or the option.

    Sessions are resumed by every process with the same `ticket_secret`; without one, by this alone.
    """
    if problem := contradiction(config):
        raise StartupError(f"{problem}.")
    return Certificates(config, ticket_secret) if config.is_ssl else None


class Certificates:
    """What a process serves https with. Used by all its threads."""

    def __init__(self, config: Config, ticket_secret: bytes | None = None) -> None:
        pairs = _pairs(config)
        self._files = [*{file: None for pair in pairs for file in pair[:2]}, *_checks(config)]
        self._seen: Seen = [None] * len(self._files)
        self._seen = self._look()
        try:
            self.context = TlsContext(
                pairs,
                ca_certs=config.ssl_ca_certs,
                cert_reqs=str(config.ssl_cert_reqs),
                crl=config.ssl_crl,
                minimum_version=str(config.ssl_version),
                ciphers=config.ssl_ciphers,
                alpn=("h2", "http/1.1") if config.http2 else ("http/1.1",),
                ocsp=config.ssl_ocsp,
                # Without one of its own, sessions would end with each reload.
                ticket_secret=ticket_secret or secrets.token_bytes(SECRET_BYTES),
                handshake_timeout=config.timeout_tls_handshake,
            )
        except ValueError as error:
            raise StartupError(f"Cannot serve https: {error}.") from None

    def __str__(self) -> str:
        """Whom they are for, and until when: "example.org, www.example.org until 2030-01-31 12:00 UTC"."""
        names = self.context.names
        more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
        shown = ", ".join(names[:_NAMES]) + more or "no host name"
        return f"{shown} until {_utc(self.context.expiry)}"

    def announce(self) -> None:
        """Logs what is served, and warns where it has ended."""
        log.info("TLS certificates for %s", self)
        self._warn()

    def look(self) -> None:
        """Reads the files again where one of them is another than before."""
        if self._look() != self._seen:
            self.reload()

    def reload(self) -> None:
        """Reads the files again. What is wrong with them is logged, and what was read before stays."""
        # Before they are read: what changes meanwhile is seen at the next look.
        self._seen = self._look()
        try:
            self.context.reload()
        except ValueError as error:
            log.error("The TLS certificates stay as they were: %s", error)
            return
        log.info("TLS certificates read anew: %s", self)
        self._warn()

    def _warn(self) -> None:
        expiry = self.context.expiry
        if expiry is not None and expiry < time.time():
            log.warning("A TLS certificate has expired, on %s: clients refuse it", _utc(expiry))

    def _look(self) -> Seen:
        return [_facts(file, before) for file, before in zip(self._files, self._seen, strict=True)]


class Watch:
    """A thread that looks at the files every `interval` seconds (0: never), and reads them when it is told to."""

    def __init__(self, certificates: Certificates, interval: float) -> None:
        self._certificates = certificates
        self._interval = interval or None
        # Can be put into by a signal handler, whatever it has interrupted.
        self._wishes: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ferricorn certificates", daemon=True)
        self._thread.start()

    def reload(self) -> None:
        """Has the files read at once, changed or not. Does not wait for it."""
        self._wishes.put(True)

    def close(self) -> None:
        self._wishes.put(False)
        self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        # What was read before a fork may be old by now.
        self._certificates.look()
        while True:
            try:
                if not self._wishes.get(timeout=self._interval):
                    return
                self._certificates.reload()
            except queue.Empty:
                self._certificates.look()


@contextlib.contextmanager
def watched(certificates: Certificates | None, config: Config) -> Iterator[Watch | None]:
    """Has the files looked at meanwhile. None where there are none."""
    if certificates is None:
        yield None
        return
    with contextlib.closing(Watch(certificates, config.ssl_reload_interval)) as watch:
        yield watch


def _pairs(config: Config) -> list[tuple[str, str, str | None]]:
    """Certificate, key and password of each. Raises StartupError where a certificate for development cannot be made."""
    if config.dev_cert:
        # Here, for it is needed for nothing else.
        from ferricorn import dev_cert

        return [dev_cert.pair(config)]
    keys = config.ssl_keyfile or config.ssl_certfile
    given = config.ssl_keyfile_password or [""]
    passwords = [word or None for word in given] * (len(keys) if len(given) == 1 else 1)
    return list(zip(config.ssl_certfile, keys, passwords, strict=True))


def _checks(config: Config) -> list[str]:
    """The other files that are read."""
    clients = (config.ssl_ca_certs, config.ssl_crl) if config.ssl_cert_reqs != "none" else ()
    return [file for file in (*clients, config.ssl_ocsp) if file]


def _facts(file: str, before: Facts | None) -> Facts | None:
    # Of what a link leads to: Kubernetes exchanges the folder in the middle of the path.
    try:
        found = os.stat(file)
    except PermissionError:
        # It was root's to read, and this process is root no more.
        return before
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _utc(seconds: int | None) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds)) if seconds is not None else "an unknown date"
    except (OverflowError, OSError, ValueError):
        return "a date far away"
