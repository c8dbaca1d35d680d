"""The settings file: options in TOML, read, and written by `--print-config`. Knows no command line and no environment.

A key is an option's keyword, or its flag without the first dashes. A value is what the keyword takes in Python.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ferricorn.config import OPTIONS, grouped
from ferricorn.options import Flag, Number, Option, Permissions, Repeated, Seconds

FILE: Final = "ferricorn.toml"
PROJECT_FILE: Final = "pyproject.toml"
_TABLE: Final = "tool.ferricorn"
_DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True)
class Setting:
    """A value, and where it comes from: "command line", "$FERRICORN_PORT", "ferricorn.toml", "default"."""

    value: Any
    origin: str


def load(path: str | None) -> dict[str, Setting]:
    """What the file `path` sets, by the names of the options and "app"; {} where no file is named and none is found.

    With None, ./ferricorn.toml is read, or else the table [tool.ferricorn] of ./pyproject.toml. Raises ValueError in
    one sentence that names the file: it cannot be read, is not TOML, has an unknown key or a value that is refused.
    """
    if path is not None:
        return _read(Path(path), needed=True)
    return _read(Path(FILE), needed=True) if Path(FILE).is_file() else _read(Path(PROJECT_FILE), needed=False)


def _read(path: Path, *, needed: bool) -> dict[str, Setting]:
    if not needed and not path.is_file():
        return {}
    try:
        table: Any = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"Cannot read {path}: {(error.strerror or str(error)).lower()}.") from None
    except ValueError as error:
        raise ValueError(f"{path} is not TOML: {error}.") from None
    origin = str(path)
    if path.name == PROJECT_FILE:
        origin = f"{path} [{_TABLE}]"
        table = table.get("tool", {}).get("ferricorn", {})
    values: dict[str, Setting] = {}
    for name, value in _values(table, origin):
        if name in values:
            raise ValueError(f"{origin}: {name} is set twice, by two spellings.")
        values[name] = Setting(value, origin)
    return values


def _values(table: object, origin: str) -> Iterator[tuple[str, object]]:
    if not isinstance(table, dict):
        raise ValueError(f"{origin} must be a table, not {table!r}.")
    options = _options_by_key()
    for key, value in table.items():
        name = key.replace("-", "_")
        if name == "app":
            if not isinstance(value, str):
                raise ValueError(f"{origin}: app must be text, not {value!r}.")
            yield name, value
        elif name in options:
            yield options[name].name, _checked(options[name], value, origin)
        else:
            raise ValueError(f"{origin}: there is no option {key!r}{_nearest(name, [*options, 'app'])}")


def _options_by_key() -> dict[str, Option]:
    return {key: option for option in OPTIONS for key in (option.flag.replace("-", "_"), option.name)}


def _checked(option: Option, value: object, origin: str) -> object:
    try:
        return option.kind.check(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{origin}: {option.name} {error}.") from None


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else "."


def render(settings: Mapping[str, Setting]) -> str:
    """The application and all options, each with its origin behind it: TOML that `load` reads to the same values.

    Passwords are left out. `settings` has "app", and the options that are not at their default.
    """
    app = settings["app"]
    sections = [("", [(f"app = {_text(app.value)}", app.origin)])]
    for group, options in grouped():
        sections.append((group, [_line(option, settings.get(option.name)) for option in options]))
    width = max(len(line) for _, lines in sections for line, _ in lines)
    return "\n".join(_section(group, lines, min(width, 50)) for group, lines in sections)


def _section(group: str, lines: list[tuple[str, str]], width: int) -> str:
    head = f"# {group}\n" if group else ""
    return head + "".join(f"{line:{width}}  # {origin}\n" for line, origin in lines)


def _line(option: Option, setting: Setting | None) -> tuple[str, str]:
    chosen = setting or Setting(option.default, _DEFAULT)
    if chosen.value is None:
        return f"# {option.name} =", chosen.origin
    if option.kind.is_secret and chosen.value:
        return f"# {option.name} = (not shown)", chosen.origin
    return f"{option.name} = {_toml(option, chosen.value)}", chosen.origin


def _toml(option: Option, value: Any) -> str:
    """`value` as TOML. A table is written in one line."""
    if isinstance(option.kind, Repeated):
        return f"[{', '.join(_text(option.kind.item.show(item)) for item in value)}]"
    if isinstance(option.kind, Permissions):
        return f"0o{value:03o}"
    if isinstance(option.kind, Flag | Number | Seconds):
        return option.kind.show(value)
    return _inline(value)


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_text(key)} = {_inline(item)}' for key, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_inline, value))}]"
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(value: str) -> str:
    # TOML's basic strings are JSON's, but that TOML wants DEL escaped as well.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
