"""Every option of the server, declared once.

Each field of `Config` but `app` is an option: its name, type, default, unit, bounds and help stand here and nowhere
else. The command line (cli.py), the environment, the keyword arguments of `Config` and `run`, what the native worker is
given and docs/options.md (reference.py) follow from the fields. Knows no argv, no environment, no sockets.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ferricorn.cpus import cpus
from ferricorn.ignored import IGNORED
from ferricorn.keywords import foreign, translated
from ferricorn.kinds import (
    AccessLogFormat,
    Account,
    Address,
    FieldName,
    Header,
    Level,
    Listed,
    LogConfig,
    Loop,
    RequestPath,
    Size,
    Trusted,
)
from ferricorn.log_defaults import LOGGING_CONFIG as LOGGING_CONFIG  # noqa: PLC0414 (uvicorn has it here)
from ferricorn.options import (
    Choice,
    Flag,
    Number,
    Option,
    Permissions,
    Repeated,
    Seconds,
    Text,
    declared,
    option,
)

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    LoopChoice = str | Callable[[], AbstractEventLoop] | AbstractEventLoop

APPLICATION: Final = "Application"
LISTENING: Final = "Listening"
RESPONSES: Final = "Responses"
PROXIES: Final = "Proxies"
WEBSOCKET: Final = "WebSocket"
PROCESS: Final = "Process"
RELOADING: Final = "Reloading"
LIMITS: Final = "Limits"
TIMEOUTS: Final = "Timeouts"
LOGGING: Final = "Logging"
GROUPS: Final = (APPLICATION, LISTENING, PROCESS, RELOADING, PROXIES, RESPONSES, WEBSOCKET, LIMITS, TIMEOUTS, LOGGING)
"""The headings in the order in which a reader wants them; one that is missing here comes last."""

LOG_LEVELS: Final = {
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": 5,
}
_MOST: Final = 2**31 - 1
_LARGEST: Final = 2**53

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
class Config:
    """What to serve and how: `Config("main:app", port=9000)`. Immutable, checked when made.

    A keyword left out takes its default, and one given as None too, but for the few that say what None means. uvicorn's
    keywords are taken as well, where they ask for nothing that is not there (keywords.py). Raises TypeError for an
    unknown keyword or a value of the wrong type, and ValueError for a value out of bounds, each in one sentence that
    names the option.
    """

    app: Callable[..., Any] | str = field(kw_only=False)
    """The application: an ASGI callable, or where to import it from, as "module:attribute"."""

    host: str = option(
        Text("HOST"),
        "127.0.0.1",
        LISTENING,
        "Address or host name to listen on; 0.0.0.0 or :: for every interface.",
        positional=True,
    )
    port: int = option(
        Number("PORT", 0, 65535), 8000, LISTENING, "TCP port to listen on; 0 picks a free one.", positional=True
    )
    bind: Sequence[str] = option(
        Repeated("ADDRESS", Address(), ","),
        (),
        LISTENING,
        "Listen on HOST:PORT, [IPV6]:PORT, unix:PATH or fd://NUMBER instead of host and port; may be repeated.",
        uvicorn="",
        aliases={"-b": "gunicorn, hypercorn"},
    )
    uds: str | None = option(Text("PATH"), None, LISTENING, "Listen on a unix domain socket.", positional=True)
    uds_mode: int = option(
        Permissions(),
        0o666,
        LISTENING,
        "File permissions of unix domain sockets.",
        uvicorn="",
        aliases={"--uds-permissions": "granian"},
    )
    fd: int | None = option(
        Number("NUMBER", 0, _MOST), None, LISTENING, "Listen on an inherited file descriptor.", positional=True
    )
    backlog: int = option(
        Number("NUMBER", 1, _MOST), 2048, LISTENING, "Connections that the kernel may hold before they are accepted."
    )
    metrics_bind: str | None = option(
        Address(),
        None,
        LISTENING,
        "Answer GET /metrics in the text format of Prometheus on HOST:PORT or unix:PATH, by default nowhere; "
        "not an address of the application.",
        native=True,
        uvicorn="",
    )

    env_file: str | None = option(
        Text("PATH"),
        None,
        APPLICATION,
        "File of NAME=VALUE lines for the environment (needs python-dotenv); variables that are set already stay.",
    )
    factory: bool = option(
        Flag(), False, APPLICATION, "APP is a function that takes nothing and returns the application."
    )
    app_dir: str = option(
        Text("PATH"),
        "",
        APPLICATION,
        "Folder to import APP from, put first in sys.path; the current folder by default.",
    )
    interface: str = option(
        Choice(
            "NAME",
            ("auto", "asgi3", "asgi2"),
            synonyms=(("asgi", "asgi3"),),
            refused=(
                ("wsgi", "wrap a WSGI application for ASGI, for example with a2wsgi"),
                ("rsgi", "only granian calls RSGI applications"),
                ("asginl", "that is asgi with --lifespan off"),
            ),
        ),
        "auto",
        APPLICATION,
        "Style of ASGI that the application is written in; auto finds out.",
    )
    lifespan: str = option(
        Choice("MODE", ("auto", "on", "off")),
        "auto",
        APPLICATION,
        "Tell the application of start-up and shutdown. Where it raises at start-up, auto goes on without, on exits.",
        aliases={"--asgi-lifespan": "gunicorn"},
    )
    loop: LoopChoice = option(  # noqa: RUF009 (a field)
        Loop(
            "NAME",
            ("auto", "asyncio", "uvloop", "none"),
            importable=True,
            refused=(("trio", "the event loop has to be one of asyncio's"),),
        ),
        "auto",
        APPLICATION,
        "Event loop to run on; auto is uvloop where it is installed, none what asyncio makes by itself, MODULE:FACTORY "
        "a function that makes one.",
        aliases={"--asgi-loop": "gunicorn", "--worker-class": "hypercorn", "-k": "hypercorn"},
    )
    root_path: str = option(
        Text("PATH"),
        "",
        APPLICATION,
        "Path under which the application is mounted, told to it in the scope; put before request paths that lack it.",
        native=True,
        aliases={"--url-path-prefix": "granian"},
    )

    headers: Sequence[tuple[str, str]] = option(
        Repeated('"NAME: VALUE"', Header(), "\n"),
        (),
        RESPONSES,
        "Header field added to every response; may be repeated.",
        flag="header",
        native=True,
    )
    server_header: bool = option(Flag(), True, RESPONSES, "Add the Server header field.", native=True)
    date_header: bool = option(Flag(), True, RESPONSES, "Add the Date header field.", native=True)
    health_path: str = option(
        RequestPath(),
        "",
        RESPONSES,
        "Path on which GET and HEAD are answered 200, or 503 once the server is about to stop, without the application "
        "and without a line in the access log. Empty is none.",
        native=True,
        uvicorn="",
    )

    proxy_headers: bool = option(
        Flag(),
        True,
        PROXIES,
        "Believe X-Forwarded-For and the other fields of --forwarded-fields where a trusted proxy sends them.",
        native=True,
    )
    forwarded_allow_ips: Sequence[str] | str = option(
        Listed("ADDRESSES", Trusted()),
        ("127.0.0.1", "::1"),
        PROXIES,
        "Proxies that are trusted: addresses, networks like 10.0.0.0/8, unix for the peers of unix sockets, * for all.",
        native=True,
        fallbacks=("FORWARDED_ALLOW_IPS",),
    )
    forwarded_fields: Sequence[str] | str = option(
        Listed("FIELDS", Choice("FIELD", ("for", "proto", "host", "port", "prefix", "forwarded"))),
        ("for", "proto"),
        PROXIES,
        "Which X-Forwarded-* fields count: for, proto, host, port, prefix, and forwarded for that of RFC 7239. "
        "Name those alone that the proxy sets itself: others it passes on as clients send them.",
        native=True,
        uvicorn="",
    )
    proxy_protocol: bool = option(
        Flag(),
        False,
        PROXIES,
        "Every connection begins with a PROXY protocol header (version 1 or 2), and comes from a trusted proxy.",
        native=True,
        uvicorn="",
    )

    ws: str = option(
        Choice(
            "NAME",
            ("auto", "none"),
            synonyms=(("websockets", "auto"), ("websockets-sansio", "auto"), ("wsproto", "auto")),
        ),
        "auto",
        WEBSOCKET,
        "Serve WebSockets; none leaves their handshakes to the application as plain requests.",
        native=True,
    )
    ws_max_size: int = option(
        Number("BYTES", 1, _LARGEST, unit="bytes"),
        16 * 1024 * 1024,
        WEBSOCKET,
        "Size of a received message, decompressed; a larger one closes its connection with 1009.",
        native=True,
        aliases={"--websocket-max-message-size": "gunicorn"},
    )
    ws_max_queue: int = option(
        Number("NUMBER", 1, _MOST, unit="messages"),
        32,
        WEBSOCKET,
        "Messages read ahead while the application does not receive; then the client has to wait.",
        native=True,
    )
    ws_ping_interval: float = option(
        Seconds(),
        20.0,
        WEBSOCKET,
        "How often every client is sent a ping. 0 is never.",
        native=True,
        none=0.0,
        aliases={"--websocket-ping-interval": "hypercorn"},
    )
    ws_ping_timeout: float = option(
        Seconds(),
        20.0,
        WEBSOCKET,
        "How long a client may take to answer a ping; then its connection is closed with 1011. 0 is no limit.",
        native=True,
        none=0.0,
    )
    ws_per_message_deflate: bool = option(
        Flag(), True, WEBSOCKET, "Compress messages where the client offers it (permessage-deflate).", native=True
    )

    workers: int | None = option(
        Number("NUMBER", 0, 10_000),
        None,
        PROCESS,
        "Worker processes under a supervisor; 0 is one for each CPU. Without this option, one process does everything.",
        aliases={"-w": "gunicorn, hypercorn"},
        fallbacks=("WEB_CONCURRENCY",),
    )
    threads: int | None = option(
        Number("NUMBER", 0, 10_000),
        None,
        PROCESS,
        "Event loops of each process that serves, each in a thread of its own, for a free-threaded Python; 0 is one "
        "for each CPU. Without this option, there is one.",
        uvicorn="",
    )
    preload: bool = option(
        Flag(),
        False,
        PROCESS,
        "Import the application once and fork the workers from that, so that they share its memory.",
        uvicorn="",
    )
    limit_worker_memory: int = option(
        Size(),
        0,
        PROCESS,
        "Memory that a worker may have, with K, M or G behind the number; above it, it is replaced. 0 is no limit.",
        uvicorn="",
    )
    limit_worker_lifetime: float = option(
        Seconds(),
        0.0,
        PROCESS,
        "How long a worker may serve; then it is replaced. 0 is no limit.",
        uvicorn="",
        aliases={"--workers-lifetime": "granian"},
    )
    timeout_worker_healthcheck: float = option(
        Seconds(),
        300.0,
        PROCESS,
        "How long a worker's event loop may be blocked before the worker is killed and replaced. 0 is no limit.",
        aliases={"--timeout": "gunicorn", "-t": "gunicorn"},
    )

    pid_file: str | None = option(
        Text("PATH"),
        None,
        PROCESS,
        "Write the process's id to this file, and remove it in the end.",
        uvicorn="",
        aliases={"--pid": "gunicorn, hypercorn", "-p": "gunicorn, hypercorn"},
    )
    user: str | None = option(
        Account("USER"),
        None,
        PROCESS,
        "Run as this user, by name or number, once the sockets are bound. Unix sockets become his.",
        uvicorn="",
        aliases={"-u": "gunicorn"},
    )
    group: str | None = option(
        Account("GROUP"),
        None,
        PROCESS,
        "Run as this group, by name or number; the user's own by default.",
        uvicorn="",
        aliases={"-g": "gunicorn"},
    )
    umask: int | None = option(
        Permissions(),
        None,
        PROCESS,
        "Permissions that new files and unix sockets do not get; inherited by default.",
        uvicorn="",
        aliases={"-m": "gunicorn"},
    )
    reload: bool = option(
        Flag(),
        False,
        RELOADING,
        "For development: watch the application's files, and start it anew when one changes. One worker serves.",
    )
    reload_dir: Sequence[str] = option(
        Repeated("PATH", Text("PATH"), ","),
        (),
        RELOADING,
        "Folder to watch, with all below; may be repeated. By default the current folder, and the one of --app-dir.",
        uvicorn="reload_dirs",
        aliases={"--reload-paths": "granian"},
    )
    reload_include: Sequence[str] = option(
        Repeated("PATTERN", Text("PATTERN"), ","),
        (),
        RELOADING,
        "Pattern of files that count beside *.py, such as *.html, or a folder to watch; may be repeated.",
        uvicorn="reload_includes",
    )
    reload_exclude: Sequence[str] = option(
        Repeated("PATTERN", Text("PATTERN"), ","),
        (),
        RELOADING,
        "Pattern of files or folders that do not count, beside .*, .py[cod], .sw.*, ~*, __pycache__; may be repeated.",
        uvicorn="reload_excludes",
        aliases={"--reload-ignore-dirs": "granian", "--reload-ignore-paths": "granian"},
    )
    reload_delay: float = option(
        Seconds(), 0.25, RELOADING, "How long changes are gathered, and the pause between two looks at the files."
    )

    limit_concurrency: int = option(
        Number("NUMBER", 0, _MOST, unit="requests"),
        0,
        LIMITS,
        "Requests served at the same time; those above are answered 503. 0 is no limit.",
        native=True,
    )
    limit_request_head: int = option(
        Number("BYTES", 128, _MOST, unit="bytes"),
        65536,
        LIMITS,
        "Size of a request line with all header fields; larger ones are answered 431, or 414.",
        native=True,
        uvicorn="h11_max_incomplete_event_size",
        aliases={"--h11-max-incomplete-event-size": "uvicorn"},
    )
    limit_request_body: int = option(
        Number("BYTES", 0, _LARGEST, unit="bytes"),
        0,
        LIMITS,
        "Size of a request body; larger ones are answered 413. 0 is no limit.",
        native=True,
        uvicorn="",
    )

    limit_max_requests: int = option(
        Number("NUMBER", 0, _MOST, unit="requests"),
        0,
        LIMITS,
        "Requests after which a worker process is replaced; a server without worker processes stops. 0 is no limit.",
        native=True,
        aliases={"--max-requests": "gunicorn, hypercorn"},
    )
    limit_max_requests_jitter: int = option(
        Number("NUMBER", 0, _MOST, unit="requests"),
        0,
        LIMITS,
        "Up to so many requests are added to limit_max_requests, at random, so that not all workers end at once.",
        aliases={"--max-requests-jitter": "gunicorn, hypercorn"},
    )

    timeout_keep_alive: float = option(
        Seconds(),
        5.0,
        TIMEOUTS,
        "How long a connection may wait for its next request. 0 is no limit.",
        native=True,
        aliases={"--keep-alive": "gunicorn, hypercorn"},
    )
    timeout_request_head: float = option(
        Seconds(),
        10.0,
        TIMEOUTS,
        "How long a client may take to send a request's line and header fields. 0 is no limit.",
        native=True,
        uvicorn="",
    )
    timeout_request_body: float = option(
        Seconds(),
        60.0,
        TIMEOUTS,
        "How long a client may pause while it sends a request body. 0 is no limit.",
        native=True,
        uvicorn="",
    )
    timeout_graceful_shutdown: float = option(
        Seconds(),
        30.0,
        TIMEOUTS,
        "How long running requests may take to finish when the server stops; then they are cancelled.",
        aliases={"--graceful-timeout": "gunicorn, hypercorn", "--workers-kill-timeout": "granian"},
    )
    timeout_websocket_drain: float = option(
        Seconds(),
        0.0,
        TIMEOUTS,
        "How long open WebSockets go on when the server stops, or a worker process is replaced; then they are closed "
        "with 1012. It may be longer than timeout_graceful_shutdown.",
        native=True,
        uvicorn="",
    )
    timeout_lifespan_shutdown: float = option(
        Seconds(),
        60.0,
        TIMEOUTS,
        "How long the application may take to shut down when all requests have finished. 0 is no limit.",
        uvicorn="",
    )
    drain_delay: float = option(
        Seconds(),
        0.0,
        TIMEOUTS,
        "How long the server still accepts and serves after SIGTERM, with health_path answered 503, before it stops: "
        "for load balancers that have to notice first.",
        uvicorn="",
    )

    stall_warning: float = option(
        Seconds(),
        1.0,
        LOGGING,
        "How long the event loop may be blocked before the log says so, and by what code. 0 is never.",
        native=True,
        uvicorn="",
    )
    log_level: str | int | None = option(
        Level("LEVEL", tuple(LOG_LEVELS), synonyms=(("warn", "warning"),)),
        None,
        LOGGING,
        "Least severe messages to log; info by default, or what the log configuration says.",
    )
    log_config: str | Mapping[str, Any] | None = option(
        LogConfig("FILE"),
        "",
        LOGGING,
        "Configuration of Python's logging, in JSON, YAML, TOML or its ini format; uvicorn's logger names mean ours.",
        none=None,
    )
    access_log: bool = option(Flag(), True, LOGGING, "Log a line for every response.", native=True)
    access_log_format: str = option(
        AccessLogFormat("FORMAT"),
        "",
        LOGGING,
        "What a line of the access log says: common, combined, json, or a text with atoms such as %(h)s or %h; "
        "by default client, request line and status.",
        native=True,
        uvicorn="",
        aliases={"--access-logformat": "gunicorn, hypercorn", "--access-log-fmt": "granian"},
    )
    request_id_header: str = option(
        FieldName("NAME"),
        "",
        LOGGING,
        "Header field for an id of each request, seen by the application, the response and the log: the client's is "
        "taken over, else one is made. None by default.",
        native=True,
        uvicorn="",
    )
    traceparent: bool = option(
        Flag(),
        False,
        LOGGING,
        "Begin a W3C trace (traceparent) for requests that come without one.",
        native=True,
        uvicorn="",
    )
    use_colors: bool | None = option(
        Flag(), None, LOGGING, "Colour the log; on a terminal by default, unless NO_COLOR is set."
    )

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
