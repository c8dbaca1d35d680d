"""Every option of the server, declared once.

Each field of `Config` but `app` is an option: its name, type, default, unit, bounds and help stand in one of the files
config_*.py, by subject, and nowhere else; each of their classes adds its own to those of the one before. The command
line (cli.py), the environment, the keyword arguments of `Config` and `run`, what the native worker is given and
docs/options.md (reference.py) follow from the fields. Knows no argv, no environment, no sockets.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from ferricorn.config_groups import GROUPS
from ferricorn.config_logging import LOG_LEVELS as LOG_LEVELS  # noqa: PLC0414 (with the options, for who reads them)
from ferricorn.config_logging import LoggingOptions
from ferricorn.cpus import cpus
from ferricorn.ignored import IGNORED
from ferricorn.keywords import foreign, translated
from ferricorn.log_defaults import LOGGING_CONFIG as LOGGING_CONFIG  # noqa: PLC0414 (uvicorn has it here)
from ferricorn.options import Option, declared

C = TypeVar("C", bound=Any)


def _taking_foreign_keywords(config: C) -> C:
    """Has the class `config` take uvicorn's keywords too."""
    made = config.__init__

    @functools.wraps(made)
    def init(self: object, *positional: object, **keywords: object) -> None:
        made(self, *positional, **translated(keywords, OPTIONS, FOREIGN_KEYWORDS))

    config.__init__ = init
    return config


@_taking_foreign_keywords
@dataclass(frozen=True, slots=True, kw_only=True)
class Config(LoggingOptions):
    """What to serve and how: `Config("main:app", port=9000)`. Immutable, checked when made.

    A keyword left out takes its default, and one given as None too, but for the few that say what None means. uvicorn's
    keywords are taken as well, where they ask for nothing that is not there (keywords.py). Raises TypeError for an
    unknown keyword or a value of the wrong type, and ValueError for a value out of bounds, each in one sentence that
    names the option.
    """

    def __post_init__(self) -> None:
        if not (isinstance(self.app, str) or callable(self.app)):
            raise TypeError(f"app must be an ASGI application or a text like 'module:attribute', not {self.app!r}")
        for declaration in OPTIONS:
            value = _normal(declaration, getattr(self, declaration.name))
            object.__setattr__(self, declaration.name, value)
        if self.metrics_bind in self.addresses and not str(self.metrics_bind).endswith(":0"):
            raise ValueError(f"metrics_bind must not be an address of the application, and {self.metrics_bind} is one")

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where to listen, in the syntax of `bind`. Host and port count where no other place is named."""
        named = list(self.bind)
        if self.uds is not None:
            named.append(f"unix:{self.uds}")
        if self.fd is not None:
            named.append(f"fd://{self.fd}")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return tuple(named) or (f"{host}:{self.port}",)

    @property
    def is_ssl(self) -> bool:
        """Whether what is served is https."""
        return bool(self.ssl_certfile or self.dev_cert)

    @property
    def redirect_address(self) -> str | None:
        """Where `redirect_http` listens, in the syntax of `bind`: a port alone is one of the host that is served."""
        if self.redirect_http is None or not self.redirect_http.isdecimal():
            return self.redirect_http
        hosts = [
            host for host, colon, port in (address.rpartition(":") for address in self.addresses) if port.isdecimal()
        ]
        return f"{hosts[0] if hosts else self.host}:{self.redirect_http}"

    @property
    def is_supervised(self) -> bool:
        """Whether worker processes serve, and not the process that has this configuration.

        An application that is here already, and not to be imported, stays here where one process is enough.
        """
        recycles = self.limit_max_requests or self.limit_worker_memory or self.limit_worker_lifetime
        if isinstance(self.app, str) and (self.workers == 1 or recycles):
            return True
        return self.workers not in (None, 1) or self.preload or self.reload

    @property
    def worker_count(self) -> int:
        """How many worker processes there are to be, where it is supervised."""
        if self.reload:
            return 1
        return cpus() if self.workers == 0 else self.workers or 1

    @property
    def thread_count(self) -> int:
        """How many event loops each process that serves is to have."""
        return cpus() if self.threads == 0 else self.threads or 1

    def native_options(self) -> dict[str, object]:
        """What the native worker reads: each native option by its name, header fields in bytes, names in lower case.

        A field that `headers` names is not added a second time.
        """
        chosen: dict[str, object] = {o.name: getattr(self, o.name) for o in OPTIONS if o.native}
        headers = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in self.headers]
        names = {name for name, _ in headers}
        return chosen | {
            "headers": headers,
            "server_header": self.server_header and b"server" not in names,
            "date_header": self.date_header and b"date" not in names,
        }


OPTIONS: Final[tuple[Option, ...]] = declared(Config)
"""All options, in the order of their declaration."""


def grouped() -> list[tuple[str, list[Option]]]:
    """All options under their headings, for a reader."""
    headings = dict.fromkeys((*GROUPS, *(option.group for option in OPTIONS)))
    return [(heading, [option for option in OPTIONS if option.group == heading]) for heading in headings]


FOREIGN_KEYWORDS: Final = foreign(IGNORED, OPTIONS)
"""What programs for uvicorn may say as well."""


def _normal(declaration: Option, value: object) -> object:
    """`value` checked, None as the option reads it; what the kind refuses is told with the option's name in front."""
    if value is None:
        return declaration.none
    try:
        return declaration.kind.check(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{declaration.name} {error}") from None
