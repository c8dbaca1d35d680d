"""The environment: which variable sets an option, and the file that `env_file` names. Knows no command line."""

from __future__ import annotations

import importlib
import os
import re
from typing import Any, Final

from ferricorn.errors import StartupError
from ferricorn.options import Kind, Option, Repeated

_NEEDS_DOTENV: Final = 'it needs the package python-dotenv, which is not installed (pip install "ferricorn[standard]")'


def variable(option: Option) -> str:
    """The variable that sets `option`: ours, else uvicorn's, else a fallback. "" where all are absent or empty."""
    return next((name for name in option.variables if os.environ.get(name)), "")


def parts(option: Option, name: str) -> list[str]:
    """The texts of an option that can be repeated, from the variable `name`.

    uvicorn's variable has blanks between them, as click reads such a variable, or commas.
    """
    text = os.environ[name]
    separator = option.kind.separator if isinstance(option.kind, Repeated) else ""
    if name == option.uvicorn_environment:
        return [part for part in re.split(r"[,\s]+" if separator == "," else r"\s+", text) if part]
    return [part.strip() for part in text.split(separator) if part.strip()]


def check(option: Option, name: str) -> object:
    """What the variable `name` sets `option` to. Raises ValueError where it spells no value."""
    kind: Kind = option.kind
    if isinstance(kind, Repeated):
        return tuple(kind.item.parse(part) for part in parts(option, name))
    return kind.parse(os.environ[name])


def load(path: str) -> None:
    """Adds the NAME=VALUE lines of a file to os.environ; what is set there already stays. Raises StartupError."""
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
