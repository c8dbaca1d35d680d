"""Ferricorn as gunicorn's worker: `gunicorn main:app -k ferricorn.gunicorn.Worker`.

gunicorn's arbiter owns the sockets, starts and ends workers, and watches their heartbeat; what it asks of one by its
settings, signals and hooks is carried over to a `Server` here. Knows no HTTP. Needs the package gunicorn.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any, ClassVar, Final

from gunicorn.workers import base

from ferricorn._ferricorn import Listener
from ferricorn._types import Receive, Scope, Send
from ferricorn.config import OPTIONS, Config
from ferricorn.errors import EXIT_STARTUP_FAILURE
from ferricorn.logging import access_log
from ferricorn.logging import error_log as log
from ferricorn.server import Server
from ferricorn.serving import Serving
from ferricorn.tls import SECRET_BYTES

BEAT_SECONDS: Final = 1.0
"""How often the loop shows that it is alive, as gunicorn's own workers do; the half of a shorter timeout."""
QUICK_SECONDS: Final = 1.0
"""How long lifespan shutdown may take behind requests that were cut: gunicorn gives a quick end two seconds."""
PATIENCE_SECONDS: Final = 5.0
"""How long idle connections are left open at the most, for one more request, since other workers go on serving."""
LAST_PATIENCE_SECONDS: Final = 1.0
"""The same at max_requests: gunicorn starts the replacement when this worker has ended, so it may be the only one."""
_RESERVE_SECONDS: Final = 2.0
"""Of graceful_timeout, kept for cancelling requests and lifespan shutdown: at its end the arbiter sends SIGKILL."""
_MOST_HEAD: Final = 2**31 - 1
_DECLARED_HEAD: Final[int] = next(option.default for option in OPTIONS if option.name == "limit_request_head")
_FRAMES: Final = 10
"""How many calls to show of what blocks the loop."""

_RENAMED: Final = {"h11_max_incomplete_event_size": "limit_request_head"}
_MEANINGLESS: Final = ("http", "reset_contextvars")
"""What `CONFIG_KWARGS` written for uvicorn's worker may say: there is one implementation of HTTP (config.IGNORED)."""

_OF_THE_SUPERVISOR: Final = (
    *("host", "port", "bind", "uds", "fd", "pid_file", "user", "group", "umask", "metrics_bind", "workers", "preload"),
    *("threads", "redirect_http"),
    *("limit_worker_memory", "limit_worker_lifetime", "timeout_worker_healthcheck"),
)
"""Options that a worker of gunicorn's does not have: sockets and processes are the arbiter's."""

_WITHOUT_EFFECT: Final = {
    "threads": "one event loop serves all requests of a worker",
    "worker_connections": "connections are not limited",
    "limit_request_fields": "the limit is 100",
    "pre_request": "the hook is for WSGI",
    "post_request": "the hook is for WSGI",
    "statsd_host": "requests are not reported to statsd",
    "secure_scheme_headers": "the scheme is that of X-Forwarded-Proto",
    "forwarder_headers": "there is no WSGI environment to put them into",
    "header_map": "header fields are passed on as they came",
    "strip_header_spaces": "such a request is refused",
    "permit_obsolete_folding": "such a request is refused",
    "permit_unconventional_http_method": "the application decides on methods",
    "permit_unconventional_http_version": "such a request is refused",
    "casefold_http_method": "methods are passed on as they came",
    "http_parser": "there is one parser",
    "ssl_version": "versions 1.2 and 1.3 are spoken; CONFIG_KWARGS may have another ssl_version",
    "suppress_ragged_eofs": "a connection that ends without a close is no error",
    "do_handshake_on_connect": "a handshake holds nobody up",
    "asgi_disconnect_grace_period": "a request is not cancelled when its client leaves",
}
"""gunicorn's settings that its operator may have changed in vain, and why."""


class Worker(base.Worker):  # type: ignore[misc]  # gunicorn has no types
    """One worker process. A subclass may set `CONFIG_KWARGS`, as those of uvicorn's worker do."""

    CONFIG_KWARGS: ClassVar[Mapping[str, Any]] = {}
    """Keywords of `ferricorn.Config` that come before gunicorn's settings."""
    _ticket_secret: ClassVar[bytes | None] = None

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._server: _WorkerServer | None = None
        self._aborted = False

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """What gunicorn's arbiter calls before it starts workers. Raises RuntimeError for what cannot be served."""
        if problem := _refused(cfg):
            raise RuntimeError(problem)
        # In the arbiter, from which all workers are forked: each goes on with the sessions of the others.
        cls._ticket_secret = cls._ticket_secret or secrets.token_bytes(SECRET_BYTES)
        for name, reason in _WITHOUT_EFFECT.items():
            if _is_changed(cfg, name):
                log.warning("%s has no effect on Ferricorn's worker: %s.", name, reason)

    # --- starting

    def load_wsgi(self) -> None:
        """Imports the application. With `reload`, one with a syntax error is replaced by one that shows the error."""
        try:
            self.wsgi = self.app.wsgi()
        except SyntaxError as error:
            if not self.cfg.reload:
                raise
            self.log.exception(error)
            if self.reloader is not None and error.filename is not None:
                self.reloader.add_extra_file(error.filename)
            self.wsgi = _Failed("".join(traceback.format_exception(error)))

    def init_signals(self) -> None:
        super().init_signals()
        # To wake the event loop is the event loop's; nobody reads the pipe that gunicorn has set.
        signal.set_wakeup_fd(-1)

    def run(self) -> None:
        """Serves until the arbiter says that it is enough. Raises SystemExit(3) where it cannot: the arbiter stops."""
        if problem := _refused(self.cfg):
            self.log.error("%s", problem)
            sys.exit(EXIT_STARTUP_FAILURE)
        forward(log.parent, getattr(self.log, "error_log", None))
        forward(access_log, getattr(self.log, "access_log", None))
        try:
            config = self.make_config()
        except (TypeError, ValueError) as error:
            self.log.error("%s", error)
            sys.exit(EXIT_STARTUP_FAILURE)
        self._server = _WorkerServer(config, [_adopted(sock) for sock in self.sockets], self)
        self._server.share_tickets(self._ticket_secret)
        self._server.run()
        if self._aborted:
            sys.exit(1)

    def make_config(self) -> Config:
        """gunicorn's settings as ours. Raises TypeError and ValueError as `Config` does."""
        # Its jitter is in it already; sys.maxsize is never.
        limit = {"limit_max_requests": self.max_requests if self.cfg.max_requests else 0}
        return Config(self.wsgi, **(settings(self.cfg, self.log) | limit | _translated(self.CONFIG_KWARGS)))

    # --- signals, each on the main thread

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 (gunicorn's signature)
        """SIGTERM: what runs may finish. The arbiter repeats it every second."""
        self.alive = False
        if self._server is None:
            sys.exit(0)
        self._server.finish()

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """SIGQUIT, SIGINT: what runs is cancelled. A terminal sends one, and then the arbiter the other."""
        if self._server is None:
            super().handle_quit(sig, frame)
        elif not self._server.in_hurry:
            self.cfg.worker_int(self)
            self._server.hurry()
            self.alive = False

    def handle_usr1(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Opens the log's files anew, not in the middle of a line that is being written."""
        if self._server is None or not self._server.call_soon(self.log.reopen_files):
            self.log.reopen_files()

    def handle_abort(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """SIGABRT: the heartbeat has not come for `timeout` seconds. A second later, the arbiter sends SIGKILL."""
        self.alive = False
        self._aborted = True
        where = "".join(traceback.format_stack(frame, _FRAMES))
        self.log.critical("The event loop is blocked (pid:%s), innermost call last:\n%s", self.pid, where.rstrip())
        self.cfg.worker_abort(self)
        if self._server is not None:
            # An application's call that is interrupted ends itself alone.
            self._server.hurry()
        sys.exit(1)

    # --- the loop's turn

    def beat(self) -> None:
        """Tells the arbiter that the event loop is alive, and looks whether there is still an arbiter."""
        self.notify()
        if self.alive and os.getppid() != self.ppid:
            self.log.info("Parent changed, shutting down: %s", self)
            self.alive = False
            assert self._server is not None
            self._server.finish()

    def look_for_reload(self) -> None:
        """Something is in the pipe: gunicorn's reloader has seen a file change."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.PIPE[0], 64)
        if not self.alive and self._server is not None:
            self._server.hurry()


class UvloopWorker(Worker):
    """On uvloop, which has to be installed, whatever `asgi_loop` says."""

    CONFIG_KWARGS: ClassVar[Mapping[str, Any]] = {"loop": "uvloop"}


class AsyncioWorker(Worker):
    """On asyncio's own event loop, whatever `asgi_loop` says."""

    CONFIG_KWARGS: ClassVar[Mapping[str, Any]] = {"loop": "asyncio"}


class _WorkerServer(Server):
    """A server whose signals are gunicorn's, and whose loop shows that it is alive, from before lifespan startup."""

    def __init__(self, config: Config, listeners: Sequence[Listener], worker: Worker) -> None:
        super().__init__(config, listeners)
        self.drains_patiently = True
        self.in_hurry = False
        self._is_finishing = False
        self._patience = PATIENCE_SECONDS
        self._gunicorn = worker

    def share_tickets(self, secret: bytes | None) -> None:
        """TLS sessions go on with every server of the same secret."""
        self._ticket_secret = secret

    def finish(self) -> None:
        """Stops when what runs has ended. To be repeated is without effect: it does not cut a drain delay short."""
        if not self._is_finishing:
            self._is_finishing = True
            self._on_signal(signal.SIGTERM)

    def hurry(self) -> None:
        """Stops at once: requests that run are cancelled."""
        self.in_hurry = True
        self.timeout_graceful_shutdown = min(self.timeout_graceful_shutdown, QUICK_SECONDS)
        self._on_signal(signal.SIGQUIT)

    def call_soon(self, function: Any) -> bool:
        """Has the loop call it; False where no loop runs."""
        if self._loop is None or self._loop.is_closed():
            return False
        self._loop.call_soon_threadsafe(function)
        return True

    async def _serve(self, found: object) -> None:
        loop = asyncio.get_running_loop()
        interval = min(BEAT_SECONDS, self._gunicorn.timeout / 2 or BEAT_SECONDS)
        beating = asyncio.create_task(self._beat(interval), name="ferricorn heartbeat")
        loop.add_reader(self._gunicorn.PIPE[0], self._gunicorn.look_for_reload)
        try:
            await super()._serve(found)
        finally:
            loop.remove_reader(self._gunicorn.PIPE[0])
            beating.cancel()

    async def _beat(self, interval: float) -> None:
        while True:
            self._gunicorn.beat()
            await asyncio.sleep(interval)

    async def _close(self, serving: Serving, patient: bool) -> bool:
        patience = asyncio.get_running_loop().call_later(self._patience, serving.hasten)
        try:
            return await super()._close(serving, patient)
        finally:
            patience.cancel()

    def _limit_reached(self, limit: int) -> None:
        log.info("Worker restarting after %d requests, as max_requests says.", limit)
        self._gunicorn.alive = False
        self._patience = LAST_PATIENCE_SECONDS
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        handle = self._gunicorn.handle_exit if sig == signal.SIGTERM else self._gunicorn.handle_quit
        handle(sig, frame)


# --- settings


def settings(cfg: Any, log: Any) -> dict[str, Any]:
    """gunicorn's settings that mean the same here, as keywords of `Config`. `log` is gunicorn's logger."""
    chosen: dict[str, Any] = {
        "loop": _setting(cfg, "asgi_loop", "auto"),
        "lifespan": _setting(cfg, "asgi_lifespan", "auto"),
        "root_path": _setting(cfg, "root_path", ""),
        # gunicorn believes the peers of unix sockets always.
        "forwarded_allow_ips": [*cfg.forwarded_allow_ips, "unix"],
        "proxy_protocol": _takes_proxy_protocol(cfg),
        "ws_max_size": _setting(cfg, "websocket_max_message_size", None),
        "backlog": cfg.backlog,
        # Ours would have no limit at 0; gunicorn's does not keep such a connection.
        "timeout_keep_alive": cfg.keepalive or 0.001,
        "timeout_graceful_shutdown": max(cfg.graceful_timeout - _RESERVE_SECONDS, cfg.graceful_timeout / 2),
        "limit_request_head": _limit_of_head(cfg.limit_request_line, cfg.limit_request_field_size),
        "log_level": log.error_log.getEffectiveLevel() if hasattr(log, "error_log") else None,
        "access_log": getattr(log, "access_log_enabled", True) and _has_handlers(log),
    }
    if cfg.is_ssl:
        chosen |= _tls_settings(cfg)
    if "http_protocols" in cfg.settings:
        chosen |= _http2_settings(cfg)
    if _is_changed(cfg, "access_log_format"):
        chosen["access_log_format"] = cfg.access_log_format
    return chosen


def _http2_settings(cfg: Any) -> dict[str, Any]:
    """It is spoken where it is asked for. Older versions of gunicorn do not know it: then our own default holds."""
    wanted = "h2" in _setting(cfg, "http_protocols", ()) or _setting(cfg, "http2_cleartext", "off") != "off"
    limits = {
        "http2_max_concurrent_streams": "http2_max_concurrent_streams",
        "http2_initial_window_size": "http2_initial_stream_window_size",
        "http2_max_frame_size": "http2_max_frame_size",
        "http2_max_header_list_size": "http2_max_header_list_size",
    }
    return {"http2": wanted} | {
        ours: cfg.settings[name].get() for name, ours in limits.items() if _is_changed(cfg, name)
    }


def _tls_settings(cfg: Any) -> dict[str, Any]:
    """As Python's ssl has it, certificate and key may be one file."""
    return {
        "ssl_certfile": cfg.certfile or cfg.keyfile,
        "ssl_keyfile": cfg.keyfile,
        "ssl_cert_reqs": cfg.cert_reqs,
        "ssl_ca_certs": cfg.ca_certs,
        "ssl_ciphers": cfg.ciphers or "",
    }


def _setting(cfg: Any, name: str, otherwise: Any) -> Any:
    """A setting that older versions of gunicorn do not have."""
    setting = cfg.settings.get(name)
    return otherwise if setting is None else setting.get()


def _takes_proxy_protocol(cfg: Any) -> bool:
    return _setting(cfg, "proxy_protocol", "off") not in ("off", False)


def _has_handlers(log: Any) -> bool:
    """Whether the access log goes anywhere: without a setting for it, gunicorn has given its logger no handler."""
    target = getattr(log, "access_log", None)
    return target is None or target.hasHandlers()


def _limit_of_head(line: int, field: int) -> int:
    """Ours is of line and fields together, so it has to leave room for the larger of the two. 0 is no limit."""
    if not (line and field):
        return _MOST_HEAD
    return max(_DECLARED_HEAD, 2 * line, 2 * field)


def _translated(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """`CONFIG_KWARGS` in our words, where they are uvicorn's. Raises ValueError for what is up to gunicorn."""
    for name in keywords:
        if name in _OF_THE_SUPERVISOR:
            raise ValueError(f"CONFIG_KWARGS cannot have {name}: it is for the command ferricorn and its own workers")
    return {_RENAMED.get(name, name): value for name, value in keywords.items() if name not in _MEANINGLESS}


def _refused(cfg: Any) -> str:
    """What gunicorn is asked for and this server cannot do, as one sentence; empty where there is no such thing."""
    if cfg.is_ssl and _is_changed(cfg, "ssl_context"):
        return "Ferricorn's worker makes no context of Python's ssl: take the hook ssl_context away."
    if _setting(cfg, "http2_cleartext", "off") == "upgrade":
        return "Ferricorn's worker knows no upgrade to HTTP/2: set http2_cleartext to prior-knowledge, or off."
    if (protocol := _setting(cfg, "protocol", "http")) != "http":
        return f"Ferricorn's worker speaks HTTP alone: the protocol {protocol!r} cannot be served."
    if _takes_proxy_protocol(cfg) and set(cfg.proxy_allow_ips) != set(cfg.forwarded_allow_ips):
        return "Ferricorn's worker trusts one list of proxies: set proxy_allow_ips and forwarded_allow_ips to the same."
    return ""


def _is_changed(cfg: Any, name: str) -> bool:
    setting = cfg.settings.get(name)
    return setting is not None and setting.get() != type(setting)().get()


def _adopted(sock: Any) -> Listener:
    """A handle of our own on gunicorn's socket, whose own handle in this process is closed: it would keep it open."""
    number = os.dup(sock.fileno())
    sock.close()
    try:
        return Listener.bind(f"fd://{number}")
    except BaseException:
        os.close(number)
        raise


# --- the log


class _Forward(logging.Handler):
    """Hands records to another logger: its handlers, its filters, and what they become later."""

    def __init__(self, target: logging.Logger) -> None:
        super().__init__()
        self._target = target

    def emit(self, record: logging.LogRecord) -> None:
        self._target.handle(record)


def forward(logger: logging.Logger | None, target: logging.Logger | None) -> None:
    """Has all that `logger` is told written by `target`."""
    if logger is not None and target is not None:
        logger.handlers = [_Forward(target)]
        logger.propagate = False


class _Failed:
    """An application in the place of one that cannot be imported: it answers with the reason."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        if scope["type"] != "http":
            raise RuntimeError("the application cannot be imported")
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        await send({"type": "http.response.start", "status": 500, "headers": headers})
        await send({"type": "http.response.body", "body": self._reason.encode()})
