"""Ferricorn serves ASGI applications: `ferricorn.run("main:app")`, or `ferricorn main:app` in a shell."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ferricorn._ferricorn import ClientDisconnected, __version__
    from ferricorn._run import run
    from ferricorn.config import Config
    from ferricorn.errors import StartupError
    from ferricorn.server import Server

__all__ = ["ClientDisconnected", "Config", "Server", "StartupError", "__version__", "run"]

_HOMES = {
    "ClientDisconnected": "_ferricorn",
    "Config": "config",
    "Server": "server",
    "StartupError": "errors",
    "__version__": "_ferricorn",
    "run": "_run",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first asked for: who needs one exception pays for no more."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
