"""The log configuration that the operator gives: a file or a dict for logging.config, written for us or for uvicorn.

Knows no handler and no format of its own.
"""

from __future__ import annotations

import configparser
import copy
import importlib
import json
import logging.config
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from ferricorn.errors import StartupError

Loaded: TypeAlias = dict[str, Any] | configparser.RawConfigParser

_LOGGERS: Final = {
    "uvicorn": "ferricorn",
    "uvicorn.error": "ferricorn.error",
    "uvicorn.access": "ferricorn.access",
}
_FORMATTERS: Final = {
    "uvicorn.logging.ColourizedFormatter": "ferricorn.formatters.DefaultFormatter",
    "uvicorn.logging.DefaultFormatter": "ferricorn.formatters.DefaultFormatter",
    "uvicorn.logging.AccessFormatter": "ferricorn.formatters.AccessFormatter",
    # Where somebody has replaced one word by the other.
    "ferricorn.logging.ColourizedFormatter": "ferricorn.formatters.DefaultFormatter",
    "ferricorn.logging.DefaultFormatter": "ferricorn.formatters.DefaultFormatter",
    "ferricorn.logging.AccessFormatter": "ferricorn.formatters.AccessFormatter",
}
_OURS: Final = frozenset(_FORMATTERS.values())


def load(source: str | Mapping[str, Any]) -> Loaded:
    """What the file or dict `source` says, with our names in the place of uvicorn's. Raises StartupError.

    A file's ending tells its format: .json, .yaml, .yml, .toml; any other is the ini format of logging.config.
    """
    if isinstance(source, configparser.RawConfigParser):
        return _renamed_ini(copy.deepcopy(source))
    if not isinstance(source, str):
        return _renamed(dict(source))
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8")
        read: Any = _READERS.get(path.suffix.lower(), _ini)(text)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise StartupError(f"Cannot read the log configuration {source}: {why}.") from None
    except ModuleNotFoundError:
        raise StartupError(
            f"Cannot read the log configuration {source}: it needs the package PyYAML, which is not installed."
        ) from None
    except Exception as error:
        # Each format has errors of its own.
        raise StartupError(f"Cannot read the log configuration {source}: {' '.join(str(error).split())}.") from None
    if isinstance(read, configparser.RawConfigParser):
        return _renamed_ini(read)
    if not isinstance(read, dict):
        raise StartupError(f"Cannot read the log configuration {source}: it holds no table at its top.")
    return _renamed(read)


def apply(loaded: Loaded, use_colors: bool | None) -> None:
    """Hands it to logging.config. Loggers that exist already are not disabled, unless it says so. Raises StartupError.

    `use_colors`, where it is not None, overrules what formatters of ours are told about colours.
    """
    try:
        if isinstance(loaded, configparser.RawConfigParser):
            logging.config.fileConfig(loaded, disable_existing_loggers=False)
        else:
            logging.config.dictConfig(_coloured({"version": 1, "disable_existing_loggers": False} | loaded, use_colors))
    except Exception as error:
        # It may name any class of the operator's, which may raise anything.
        cause = f": {error.__cause__}" if error.__cause__ else ""
        raise StartupError(f"Cannot use the log configuration: {type(error).__name__}: {error}{cause}.") from None


def _ini(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read_string(text, source="the file")
    return parser


def _yaml(text: str) -> object:
    yaml: Any = importlib.import_module("yaml")
    loaded: object = yaml.safe_load(text)
    return loaded


_READERS: Final[dict[str, Any]] = {".json": json.loads, ".toml": tomllib.loads, ".yaml": _yaml, ".yml": _yaml}


def _renamed(loaded: dict[str, Any]) -> dict[str, Any]:
    """A copy with our loggers and formatters. What is said of ours goes before what is said of uvicorn's."""
    renamed = {**loaded, "formatters": copy.deepcopy(loaded.get("formatters", {}))}
    loggers = loaded.get("loggers", {})
    renamed["loggers"] = {_LOGGERS.get(name, name): said for name, said in loggers.items()} | {
        name: said for name, said in loggers.items() if name in _LOGGERS.values()
    }
    for formatter in renamed["formatters"].values():
        for key in {"()", "class"} & formatter.keys():
            named = formatter[key]
            formatter[key] = _FORMATTERS.get(named, named) if isinstance(named, str) else named
    return renamed


def _renamed_ini(parser: configparser.RawConfigParser) -> configparser.RawConfigParser:
    logger_names = {_option(parser, section, "qualname") for section in parser.sections()}
    for section in parser.sections():
        logger = _LOGGERS.get(_option(parser, section, "qualname"), "")
        if logger and logger not in logger_names:
            parser.set(section, "qualname", logger)
        if formatter := _FORMATTERS.get(_option(parser, section, "class"), ""):
            parser.set(section, "class", formatter)
    return parser


def _option(parser: configparser.RawConfigParser, section: str, name: str) -> str:
    return parser.get(section, name, raw=True, fallback="")


def _coloured(loaded: dict[str, Any], use_colors: bool | None) -> dict[str, Any]:
    formatters = {
        name: said | ({"use_colors": use_colors} if use_colors is not None and said.get("()") in _OURS else {})
        for name, said in loaded["formatters"].items()
    }
    return loaded | {"formatters": formatters}
