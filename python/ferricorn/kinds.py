"""The kinds of option with a grammar of their own: header fields, addresses, users, passwords, levels of the log."""

from __future__ import annotations

import configparser
import io
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ferricorn.options import Choice, Kind, Text, check_bounds

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ACCOUNT: Final = re.compile(r"[^\s:\0-]\S{0,255}")
_HIGHEST_ID: Final = 2**32 - 2
"""One more means "leave it as it is" to the system."""
_PATH: Final = re.compile(r"/[!\"$->@-~]*")
_HIGHEST_LEVEL: Final = 100
_HSTS: Final = re.compile(r"""[a-z0-9=;" -]*\bmax-age="?\d+"?[a-z0-9=;" -]*""", re.IGNORECASE | re.ASCII)
_SIZE: Final = re.compile(r"(\d+) ?([KMG]?)(?:i?B)?", re.IGNORECASE | re.ASCII)
_SHIFTS: Final = {"": 0, "K": 10, "M": 20, "G": 30}
_FRAMING: Final = frozenset(
    ("connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)


@dataclass(frozen=True, slots=True)
class Header(Kind):
    """A response header field, "Name: value" in text and a pair of texts in Python (RFC 9110 section 5)."""

    metavar: str = '"NAME: VALUE"'

    def parse(self, text: str) -> tuple[str, str]:
        name, colon, value = text.partition(":")
        if not colon:
            raise ValueError(f'must read "Name: value", not {text!r}')
        return self.check((name, value))

    def check(self, value: object) -> tuple[str, str]:
        if isinstance(value, str):
            return self.parse(value)
        if not isinstance(value, Sequence) or len(value) != 2:
            raise TypeError(f'must be ("Name", "value") pairs, not {value!r}')
        name, content = (_as_text(part) for part in value)
        content = content.strip(" \t")
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"must be named by letters, digits and dashes, not {name!r}")
        if name.lower() in _FRAMING:
            raise ValueError(f"must not set {name!r}: the server frames messages itself")
        if any((ord(c) < 32 and c != "\t") or ord(c) == 127 or ord(c) > 255 for c in content):
            raise ValueError(f"must hold only printable Latin-1 characters, not {content!r}")
        return name, content

    def show(self, value: Any) -> str:
        return f"{value[0]}: {value[1]}"


@dataclass(frozen=True, slots=True)
class FieldName(Text):
    """The name of a header field that frames no message; empty for none (RFC 9110 section 5.1)."""

    metavar: str = "NAME"

    def check(self, value: object) -> str:
        name = Text.check(self, value)
        if name and not _TOKEN.fullmatch(name):
            raise ValueError(f"must be the name of a header field like X-Request-ID, not {name!r}")
        if name.lower() in _FRAMING | {"host"}:
            raise ValueError(f"must not be {name!r}, which means something else")
        return name


def _as_text(part: object) -> str:
    if isinstance(part, bytes):
        return part.decode("latin-1")
    if not isinstance(part, str):
        raise TypeError(f"must be a pair of texts, not {part!r}")
    return part


@dataclass(frozen=True, slots=True)
class RequestPath(Text):
    """A path as it stands in a request line, without a query; empty for none."""

    metavar: str = "PATH"

    def check(self, value: object) -> str:
        path = Text.check(self, value)
        if path and not _PATH.fullmatch(path):
            raise ValueError(f"must be a path like /health, not {path!r}")
        return path


@dataclass(frozen=True, slots=True)
class AccessLogFormat(Text):
    """What a line of the access log is made of; the native module reads it."""

    def check(self, value: object) -> str:
        text = Text.check(self, value)
        if text:
            # Here, for the Python parts alone work without the native module.
            from ferricorn._ferricorn import check_access_log_format

            check_access_log_format(text)
        return text


@dataclass(frozen=True, slots=True)
class Address(Kind):
    """Where to listen: "HOST:PORT", "[IPV6]:PORT", "unix:PATH" or "fd://NUMBER"."""

    metavar: str = "ADDRESS"

    def check(self, value: object) -> str:
        if not isinstance(value, str) or not _is_address(value):
            raise ValueError(f"must be HOST:PORT, [IPV6]:PORT, unix:PATH or fd://NUMBER, not {value!r}")
        return value


def _is_address(text: str) -> bool:
    if text.startswith("unix:"):
        return len(text) > len("unix:")
    if text.startswith("fd://"):
        return text[len("fd://") :].isdecimal()
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    return bool(colon) and (bracketed or ":" not in host) and port.isdecimal() and int(port) <= 65535


@dataclass(frozen=True, slots=True)
class ListenPlace(Address):
    """Where to listen as well: an `Address` that is no descriptor, or a port alone, a number in Python too."""

    def check(self, value: object) -> str:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        is_port = isinstance(value, str) and value.isascii() and value.isdecimal() and int(value) <= 65535
        if not isinstance(value, str) or value.startswith("fd://") or not (is_port or _is_address(value)):
            raise ValueError(f"must be a port, HOST:PORT, [IPV6]:PORT or unix:PATH, not {value!r}")
        return value


@dataclass(frozen=True, slots=True)
class Account(Kind):
    """A user or a group, by name or number. Whether there is one of that name is known only where it is needed."""

    def check(self, value: object) -> str:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise TypeError(f"must be a name or a number, not {value!r}")
        if not _ACCOUNT.fullmatch(value) or (value.isdecimal() and int(value) > _HIGHEST_ID):
            raise ValueError(f"must be a name or a number, not {value!r}")
        return value


@dataclass(frozen=True, slots=True)
class Level(Choice):
    """A level of the log: one of the words, in any case, or a number of Python's logging."""

    @property
    def words(self) -> tuple[str, ...]:
        return (*self.choices, "NUMBER")

    def parse(self, text: str) -> str | int:
        text = text.strip()
        return self.check(int(text) if text.isdecimal() else text)

    def check(self, value: object) -> str | int:  # type: ignore[override]
        if isinstance(value, int) and not isinstance(value, bool):
            check_bounds(value, 0, _HIGHEST_LEVEL)
            return value
        return Choice.check(self, value.lower() if isinstance(value, str) else value)


@dataclass(frozen=True, slots=True)
class Numbered(Choice):
    """One of a few words, each of which has a number as well: it is among the synonyms, as text."""

    def check(self, value: object) -> str:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(int(value))
        return Choice.check(self, value)


@dataclass(frozen=True, slots=True)
class Password(Text):
    """What is shown to nobody, in no message either. Empty stands for none."""

    metavar: str = "PASSWORD"

    @property
    def is_secret(self) -> bool:
        return True

    def check(self, value: object) -> str:
        if not isinstance(value, str):
            raise TypeError("must be text")
        return Text.check(self, value)


@dataclass(frozen=True, slots=True)
class TransportSecurity(Text):
    """The value of Strict-Transport-Security, or its seconds alone; empty for none (RFC 6797 section 6.1)."""

    metavar: str = "SECONDS|VALUE"

    def check(self, value: object) -> str:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        text = Text.check(self, value).strip()
        if text.isascii() and text.isdecimal():
            text = f"max-age={int(text)}"
        if text and not _HSTS.fullmatch(text):
            raise ValueError(f'must be seconds, or a value like "max-age=31536000; includeSubDomains", not {value!r}')
        return text


@dataclass(frozen=True, slots=True)
class Loop(Choice):
    """An event loop by name; in Python also a function that makes one, or the very loop that `serve` will run on."""

    def check(self, value: object) -> Any:
        is_loop = hasattr(value, "run_until_complete")
        return value if callable(value) or is_loop else Choice.check(self, value)


@dataclass(frozen=True, slots=True)
class LogConfig(Text):
    """A file, or in Python a dict, an open ini file or what configparser made of one, for logging.config."""

    def check(self, value: object) -> Any:
        if isinstance(value, Mapping):
            # A parser is a mapping too.
            return value if isinstance(value, configparser.RawConfigParser) else dict(value)
        if isinstance(value, io.TextIOBase):
            parser = configparser.ConfigParser()
            parser.read_file(value)
            return parser
        return Text.check(self, value)


@dataclass(frozen=True, slots=True)
class Listed(Kind):
    """Some values of one kind in one text, commas between them; in Python such a text, or several values."""

    item: Kind

    def parse(self, text: str) -> tuple[object, ...]:
        return tuple(self.item.parse(part.strip()) for part in text.split(",") if part.strip())

    def check(self, value: object) -> tuple[object, ...]:
        if isinstance(value, str):
            return self.parse(value)
        if not isinstance(value, Iterable):
            raise TypeError(f"must be texts, not {value!r}")
        return tuple(self.item.check(item) for item in value)

    def show(self, value: Any) -> str:
        return ",".join(self.item.show(item) for item in value)


@dataclass(frozen=True, slots=True)
class Trusted(Kind):
    """Whose word counts: an address, a network like 10.0.0.0/8, "unix" or "*". What the worker reads is the same."""

    metavar: str = "ADDRESS"

    def check(self, value: object) -> str:
        if not isinstance(value, str):
            raise TypeError(f"must be texts, not {value!r}")
        value = value.strip()
        if value not in ("*", "unix") and _bits_behind_prefix(value):
            raise ValueError(f"must have no bits behind a prefix, as {value!r} has")
        return value


def _bits_behind_prefix(network: str) -> int:
    """What stands behind the prefix of "address/length". Raises ValueError for what is no network and no address."""
    address, slash, length = network.partition("/")
    try:
        packed = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    except (OSError, ValueError):
        packed = b""
    width = len(packed) * 8
    is_length = not slash or (length.isascii() and length.isdecimal() and int(length) <= width)
    if not packed or not is_length:
        raise ValueError(f"must be addresses, networks like 10.0.0.0/8, unix or *, not {network!r}")
    rest = width - int(length) if slash else 0
    return int.from_bytes(packed) & ((1 << rest) - 1)


@dataclass(frozen=True, slots=True)
class Size(Kind):
    """A size of memory: bytes, or in text also with K, M or G behind (1024, 1024 ** 2, 1024 ** 3 bytes)."""

    metavar: str = "SIZE"
    maximum: int = 2**53

    def parse(self, text: str) -> int:
        match = _SIZE.fullmatch(text.strip())
        if not match:
            raise ValueError(f"must be a number of bytes, with K, M or G behind it or not, not {text!r}")
        return self.check(int(match[1]) << _SHIFTS[match[2].upper()])

    def check(self, value: object) -> int:
        if isinstance(value, str):
            return self.parse(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"must be a number of bytes, not {value!r}")
        check_bounds(value, 0, self.maximum)
        return value

    def show(self, value: Any) -> str:
        for suffix in "GMK":
            if value and not value % (1 << _SHIFTS[suffix]):
                return f"{value >> _SHIFTS[suffix]}{suffix}"
        return str(value)
