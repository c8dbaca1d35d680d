"""How an option is declared, read from text and checked. Knows none of them by name: config_*.py declare them.

A *kind* says what an option's values are: `parse` reads one from text (command line, environment), `check` accepts one
from Python or refuses it, `show` prints it. What a refusal raises is the predicate of a sentence whose subject is the
option: "must be between 0 and 65535, not 70000".
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Final

ENVIRONMENT_PREFIX: Final = "FERRICORN_"
UVICORN_PREFIX: Final = "UVICORN_"


@dataclass(frozen=True, slots=True)
class Kind(ABC):
    """What the values of an option are. `metavar` stands for a value in help texts, `unit` is what a number counts."""

    metavar: str
    unit: str = field(default="", kw_only=True)

    def parse(self, text: str) -> object:
        """The value that `text` spells. Raises ValueError when it spells none."""
        return self.check(text)

    @abstractmethod
    def check(self, value: object) -> object:
        """`value` in its one normal form. Raises TypeError for a wrong type, ValueError for a wrong value."""

    def show(self, value: Any) -> str:
        """`value` as `parse` would read it."""
        return str(value)

    @property
    def is_secret(self) -> bool:
        """Whether its values are to be seen nowhere."""
        return False


@dataclass(frozen=True, slots=True)
class Text(Kind):
    """Any text, or a path."""

    metavar: str = "TEXT"

    def check(self, value: object) -> str:
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        if not isinstance(value, str):
            raise TypeError(f"must be text, not {value!r}")
        if "\0" in value:
            raise ValueError("must not contain a NUL character")
        return value


@dataclass(frozen=True, slots=True)
class Choice(Kind):
    """One of a few words; where `importable`, also "module:attribute"."""

    choices: tuple[str, ...]
    importable: bool = False
    synonyms: tuple[tuple[str, str], ...] = ()
    """Other servers' words, each with the choice that it means."""
    refused: tuple[tuple[str, str], ...] = ()
    """Other servers' words that mean nothing here, each with what to do instead."""

    @property
    def words(self) -> tuple[str, ...]:
        """What a help text offers."""
        return (*self.choices, "MODULE:FACTORY") if self.importable else self.choices

    def check(self, value: object) -> str:
        value = dict[object, object](self.synonyms).get(value, value) if isinstance(value, str) else value
        if isinstance(value, str) and (value in self.choices or (self.importable and ":" in value)):
            return value
        instead = dict[object, str](self.refused).get(value, "") if isinstance(value, str) else ""
        raise ValueError(f"must be one of {', '.join(self.words)}, not {value!r}{instead and f': {instead}'}")


@dataclass(frozen=True, slots=True)
class Number(Kind):
    """A whole number from `minimum` to `maximum`, both allowed."""

    minimum: int
    maximum: int

    def parse(self, text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise ValueError(f"must be a whole number, not {text!r}") from None
        return self.check(number)

    def check(self, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"must be a whole number, not {value!r}")
        check_bounds(value, self.minimum, self.maximum)
        return value


@dataclass(frozen=True, slots=True)
class Seconds(Kind):
    """A duration in seconds, fractions allowed, from `minimum` to `maximum`."""

    metavar: str = "SECONDS"
    unit: str = field(default="seconds", kw_only=True)
    minimum: float = 0.0
    maximum: float = 31_536_000.0
    """A year: far enough for any use, near enough that a deadline can always be computed."""

    def parse(self, text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            raise ValueError(f"must be a number of seconds, not {text!r}") from None
        return self.check(number)

    def check(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"must be a number of seconds, not {value!r}")
        check_bounds(value, self.minimum, self.maximum)
        return float(value)

    def show(self, value: Any) -> str:
        return f"{value:g}"


@dataclass(frozen=True, slots=True)
class Flag(Kind):
    """Yes or no."""

    metavar: str = "BOOLEAN"

    def parse(self, text: str) -> bool:
        word = text.strip().lower()
        if word in {"1", "true", "t", "yes", "y", "on"}:
            return True
        if word in {"0", "false", "f", "no", "n", "off"}:
            return False
        raise ValueError(f"must be true or false, not {text!r}")

    def check(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise TypeError(f"must be True or False, not {value!r}")
        return value

    def show(self, value: Any) -> str:
        return "true" if value else "false"


@dataclass(frozen=True, slots=True)
class Permissions(Kind):
    """The permission bits of a file: an int in Python, octal digits in text."""

    metavar: str = "OCTAL"

    def parse(self, text: str) -> int:
        try:
            bits = int(text, 8)
        except ValueError:
            bits = -1
        if not 0 <= bits <= 0o777:
            raise ValueError(f"must be octal permissions like 660, not {text!r}")
        return bits

    def check(self, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"must be a whole number like 0o660, not {value!r}")
        check_bounds(value, 0, 0o777)
        return value

    def show(self, value: Any) -> str:
        return f"{value:o}"


@dataclass(frozen=True, slots=True)
class Repeated(Kind):
    """Any number of values of one kind, as a tuple. In one text, `separator` stands between them."""

    item: Kind
    separator: str

    def parse(self, text: str) -> tuple[object, ...]:
        return tuple(self.item.parse(part.strip()) for part in text.split(self.separator) if part.strip())

    def check(self, value: object) -> tuple[object, ...]:
        if isinstance(value, str) or not isinstance(value, Iterable):
            value = (value,)
        return tuple(self.item.check(item) for item in value)

    def show(self, value: Any) -> str:
        return self.separator.join(self.item.show(item) for item in value)

    @property
    def is_secret(self) -> bool:
        return self.item.is_secret


def check_bounds(value: float, minimum: float, maximum: float) -> None:
    """Raises ValueError for a number that is not between the two, both allowed."""
    if not minimum <= value <= maximum:
        raise ValueError(f"must be between {minimum:.0f} and {maximum:.0f}, not {value}")


@dataclass(frozen=True, slots=True)
class Option:
    """One option: what was written beside its field, and the names that follow from the field's name."""

    name: str
    kind: Kind
    default: Any
    group: str
    help: str
    flag: str
    native: bool
    uvicorn: str
    """uvicorn's name for it, "" where uvicorn has none that means the same."""
    aliases: Mapping[str, str]
    """Spellings of the flag in other servers: "-b" -> "gunicorn, hypercorn"."""
    none: Any
    """What None as a keyword means: the default, but where uvicorn gives it another meaning."""
    fallbacks: tuple[str, ...]
    """Variables that platforms set for any server, read where ours and uvicorn's are absent: "WEB_CONCURRENCY"."""

    @property
    def environment(self) -> str:
        """The environment variable that sets it."""
        return ENVIRONMENT_PREFIX + self.name.upper()

    @property
    def uvicorn_environment(self) -> str:
        """uvicorn's variable, read where ours is absent; "" where there is none."""
        return UVICORN_PREFIX + self.uvicorn.upper() if self.uvicorn else ""

    @property
    def variables(self) -> tuple[str, ...]:
        """All variables that set it; the first one that is there counts."""
        return tuple(filter(None, (self.environment, self.uvicorn_environment, *self.fallbacks)))

    @property
    def flags(self) -> str:
        """The command line's spelling: "--port", or "--date-header/--no-date-header" where there are two ways."""
        two_way = isinstance(self.kind, Flag) and self.default is not False
        return f"--{self.flag}/--no-{self.flag}" if two_way else f"--{self.flag}"

    @property
    def shown_default(self) -> str:
        """The default with its unit, "" where there is none."""
        if self.default is None or self.default in ("", ()):
            return ""
        shown = self.kind.show(self.default)
        unit = self.kind.unit.removesuffix("s") if shown == "1" else self.kind.unit
        return f"{shown} {unit}" if unit and self.default else shown


@dataclass(frozen=True, slots=True)
class Ignored:
    """Flags of other servers' command lines that are taken and change nothing, with a few values or with none."""

    flags: tuple[str, ...]
    values: tuple[str, ...]
    servers: str
    reason: str
    """Why nothing else can be asked for, in one sentence."""

    def check(self, value: str) -> None:
        """Raises ValueError for another value."""
        if value not in self.values:
            raise ValueError(f"must be {' or '.join(self.values)}, not {value!r}. {self.reason}")


@dataclass(frozen=True, slots=True)
class Switch:
    """A flag of another server's command line that stands for an option of ours with a value."""

    flag: str
    meaning: str
    """As one argument: "--option=value"."""
    servers: str


def option(  # noqa: PLR0913 (keywords alone, each named where it is given)
    kind: Kind,
    default: Any,
    group: str,
    help: str,
    *,
    flag: str = "",
    native: bool = False,
    uvicorn: str | None = None,
    aliases: Mapping[str, str] | None = None,
    fallbacks: tuple[str, ...] = (),
    none: Any = MISSING,
    positional: bool = False,
) -> Any:
    """Declares an option as a dataclass field.

    `help` is one or more sentences; `flag` is the command line's name without dashes (the field's name by default);
    `native` options go to the native worker; `uvicorn` is uvicorn's name for it, "" for none (the field's name by
    default); `aliases` are other servers' flags that mean the same, each with those servers; `fallbacks` are
    variables of platforms, such as WEB_CONCURRENCY; `none` is what None means (the default by default); `positional`
    says that Python may give it without its name.
    """
    described = {"kind": kind, "group": group, "help": help, "flag": flag, "native": native, "uvicorn": uvicorn}
    more = {"aliases": aliases or {}, "fallbacks": fallbacks, "none": default if none is MISSING else none}
    metadata = {"option": described | more}
    return field(default=default, kw_only=not positional, repr=not kind.is_secret, metadata=metadata)


def declared(config: type) -> tuple[Option, ...]:
    """The options that the dataclass `config` declares, in the order of their fields."""
    return tuple(
        _described(made.name, made.default, **made.metadata["option"])
        for made in fields(config)
        if "option" in made.metadata and made.default is not MISSING
    )


def _described(name: str, default: Any, *, flag: str, uvicorn: str | None, **more: Any) -> Option:
    named = name if uvicorn is None else uvicorn
    return Option(name, default=default, flag=flag or name.replace("_", "-"), uvicorn=named, **more)
