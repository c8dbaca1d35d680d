"""TLS, as the process sees it: what the options ask for, and whether that can be had. Knows no protocol."""

from __future__ import annotations

from ferricorn.config import Config
from ferricorn.config_tls import contradiction
from ferricorn.errors import StartupError


def check(config: Config) -> None:
    """Raises StartupError where options of TLS do not go together, or cannot be had."""
    if problem := contradiction(config):
        raise StartupError(f"{problem}.")
    if config.is_ssl:
        raise StartupError("There is no TLS yet: let a proxy in front of the server have the certificate.")
