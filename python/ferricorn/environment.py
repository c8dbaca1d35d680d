"""The environment: which variable sets an option, and the file that `env_file` names. Knows no command line."""

from __future__ import annotations

import difflib
import importlib
import os
import re
from typing import Any, Final

from ferricorn.config import OPTIONS
from ferricorn.errors import StartupError
from ferricorn.options import ENVIRONMENT_PREFIX, Kind, Option, Repeated

APP: Final = f"{ENVIRONMENT_PREFIX}APP"
"""Names the application, where the command line does not."""
CONFIG: Final = f"{ENVIRONMENT_PREFIX}CONFIG"
"""Names the settings file."""

_NEEDS_DOTENV: Final = 'it needs the package python-dotenv, which is not installed (pip install "ferricorn[standard]")'
_SERVICE_LINK: Final = re.compile(
    rf"{ENVIRONMENT_PREFIX}(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_SERVICE_ADDRESS: Final = re.compile(r"(tcp|udp|sctp)://\S+")


def variable(option: Option) -> str:
    """The variable that sets `option`: ours, else uvicorn's, else a fallback. "" where all are absent or empty."""
    return next((name for name in option.variables if os.environ.get(name) and not _is_service_link(name)), "")


def unknown() -> list[str]:
    """A sentence for each variable that begins as ours do and sets nothing: a misspelled one, most likely."""
    known = [APP, CONFIG, *(option.environment for option in OPTIONS)]
    names = [name for name, text in os.environ.items() if name.startswith(ENVIRONMENT_PREFIX) and text]
    return [
        f"The environment variable {name} is for no option{_nearest(name, known)}"
        for name in sorted(set(names) - set(known))
        if not _is_service_link(name)
    ]


def _nearest(name: str, known: list[str]) -> str:
    # Without the beginning that they share, which would make any two look alike.
    words = {each.removeprefix(ENVIRONMENT_PREFIX): each for each in known}
    near = difflib.get_close_matches(name.removeprefix(ENVIRONMENT_PREFIX), words, n=1)
    return f"; did you mean {words[near[0]]}?" if near else "."


def _is_service_link(name: str) -> bool:
    """Whether Kubernetes has set it, in a namespace with a Service "ferricorn" or "ferricorn-api".

    Each of its pods then has FERRICORN_PORT=tcp://10.0.0.1:80, FERRICORN_SERVICE_HOST and more.
    """
    if name.endswith("_PORT") and _SERVICE_ADDRESS.fullmatch(os.environ[name]):
        return True
    return _SERVICE_LINK.fullmatch(name) is not None


def parts(option: Option, name: str) -> list[str]:
    """The texts of an option that can be repeated, from the variable `name`.

    uvicorn's variable is read as click reads it: with blanks between them, or commas; paths are parted as in $PATH. A
    password may have any of these in it.
    """
    text = os.environ[name]
    kind = option.kind
    assert isinstance(kind, Repeated)
    if name != option.uvicorn_environment or kind.is_secret:
        separator = re.escape(kind.separator)
    elif kind.item.metavar == "PATH":
        separator = re.escape(os.pathsep)
    else:
        separator = r"[,\s]" if kind.separator == "," else r"\s"
    return [part.strip() for part in re.split(separator, text) if part.strip()]


def check(option: Option, name: str) -> object:
    """What the variable `name` sets `option` to. Raises ValueError where it spells no value."""
    kind: Kind = option.kind
    if isinstance(kind, Repeated):
        return tuple(kind.item.parse(part) for part in parts(option, name))
    return kind.parse(os.environ[name])


def load(path: str) -> set[str]:
    """Adds the NAME=VALUE lines of a file to os.environ; what is set there already stays. The names that were added.

    Raises StartupError.
    """
    before = set(os.environ)
    try:
        dotenv: Any = importlib.import_module("dotenv")
    except ModuleNotFoundError:
        raise StartupError(f"Cannot read the env file {path}: {_NEEDS_DOTENV}.") from None
    try:
        with open(path, encoding="utf-8") as file:
            dotenv.load_dotenv(stream=file)
    except OSError as error:
        raise StartupError(f"Cannot read the env file {path}: {(error.strerror or str(error)).lower()}.") from None
    except UnicodeDecodeError:
        raise StartupError(f"Cannot read the env file {path}: it is not UTF-8.") from None
    return set(os.environ) - before
