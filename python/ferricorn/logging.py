"""What the log looks like: "ferricorn.error" on stderr for everything, "ferricorn.access" on stdout for responses.

Only these two loggers and their parent are touched, and not by logging.config.dictConfig: it closes every handler that
the application has made before. It is used for the operator's own log configuration alone (logconfig.py).
"""

from __future__ import annotations

import contextlib
import functools
import http
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, TextIO, TypeAlias

from ferricorn.config import LOG_LEVELS, Config
from ferricorn.errors import StartupError

TRACE: Final = LOG_LEVELS["trace"]
ACCESS_FORMAT: Final = '%s - "%s %s HTTP/%s" %d'
"""Of the access log's records; their arguments are (client, method, target, http version, status), as uvicorn's are."""

Access: TypeAlias = tuple[str, str, str, str, int]
"""A finished response: (client "host:port" or "", method, target, http version, status)."""
_ACCESS_FIELDS: Final = 5

RECORDS: Final = 0
TEXT: Final = 1
NATIVE: Final = 2
COLORED: Final = 4
"""What `access_route` says (`Hooks.access_route` in _ferricorn.pyi)."""
Route: TypeAlias = tuple[int, tuple[tuple[dict[str, Any], str, object], ...], tuple[tuple[list[Any], list[Any]], ...]]
"""One of them, and what it depends on: attributes that are certain objects, lists that hold certain objects."""

_parent: Final = logging.getLogger("ferricorn")
error_log: Final = logging.getLogger("ferricorn.error")
access_log: Final = logging.getLogger("ferricorn.access")

_LEVEL_COLORS: Final = {
    TRACE: "\x1b[34m",
    logging.DEBUG: "\x1b[36m",
    logging.INFO: "\x1b[32m",
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[91m",
}
_STATUS_COLORS: Final = {1: "\x1b[97m", 2: "\x1b[32m", 3: "\x1b[33m", 4: "\x1b[31m", 5: "\x1b[91m"}
_BOLD: Final = "\x1b[1m"
_RESET: Final = "\x1b[0m"


def configure(config: Config) -> None:
    """Sets the two loggers' levels, and gives them handlers unless the program has given them its own.

    With `log_config`, that decides. Where it cannot be used, StartupError is raised, and the log is as it is without.
    None leaves all as the program has made it, but for a level that is asked for.
    """
    logging.addLevelName(TRACE, "TRACE")
    if config.log_config is None:
        _leave_alone(config)
        return
    _configure_ours(config)
    if config.log_config != "":
        _configure_as_told(config, config.log_config)


def _leave_alone(config: Config) -> None:
    if any(isinstance(handler, StandardHandler) for handler in _parent.handlers):
        _leave()
    _set_levels(config)


def _configure_as_told(config: Config, source: str | Mapping[str, Any]) -> None:
    # Here, for logging.config takes memory and time that most servers need not spend.
    from ferricorn import logconfig

    loaded = logconfig.load(source)
    _leave()
    try:
        logconfig.apply(loaded, config.use_colors)
    except StartupError:
        _configure_ours(config)
        raise
    _set_levels(config)


def _set_levels(config: Config) -> None:
    if config.log_level is not None:
        for logger in (_parent, error_log, access_log):
            logger.setLevel(_level(config.log_level))


def _configure_ours(config: Config) -> None:
    _parent.setLevel(logging.INFO if config.log_level is None else _level(config.log_level))
    _attach(_parent, StandardHandler("stderr", LevelFormatter, config.use_colors))
    _attach(access_log, StandardHandler("stdout", AccessFormatter, config.use_colors))


def _level(named: str | int) -> int:
    return LOG_LEVELS[named] if isinstance(named, str) else named


def _leave() -> None:
    """Takes our handlers and our level away again, for a log configuration that may speak of the root logger alone."""
    _parent.setLevel(logging.NOTSET)
    for logger in (_parent, access_log):
        ours = [handler for handler in logger.handlers if isinstance(handler, StandardHandler)]
        for handler in ours:
            logger.removeHandler(handler)
            logger.propagate = True


def _attach(logger: logging.Logger, handler: StandardHandler) -> None:
    """Makes `handler` the logger's, in the place of an earlier run's, unless the program has given it its own."""
    for old in [h for h in logger.handlers if isinstance(h, StandardHandler)]:
        logger.removeHandler(old)
    if not logger.handlers:
        logger.addHandler(handler)
        logger.propagate = False


class StandardHandler(logging.StreamHandler[TextIO]):
    """Writes to what sys.stderr or sys.stdout is at the moment, so that a stream that was replaced is followed."""

    def __init__(self, name: str, formatter: type[LevelFormatter], use_colors: bool | None) -> None:
        logging.Handler.__init__(self)
        self._name_in_sys = name
        self._fails = False
        self.setFormatter(formatter(has_colors(self.stream) if use_colors is None else use_colors))

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        stream: TextIO = getattr(sys, self._name_in_sys)
        return stream

    def write(self, text: str) -> None:
        """Writes whole lines that need no record. What cannot be written is lost, and the log says so once."""
        with self.lock or contextlib.nullcontext():
            try:
                self.stream.write(text)
                self.stream.flush()
                self._fails = False
                return
            except (OSError, ValueError, AttributeError) as error:
                # Besides what the system says: a stream that was closed, and None, where there is no such stream.
                problem = error
            first, self._fails = not self._fails, True
        if first:
            error_log.error("Cannot write the access log: %s. Lines are lost until it can be written.", problem)


def has_colors(stream: TextIO) -> bool:
    """Whether `stream` is a terminal that shows colours, and the user has not declined them (https://no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return bool(getattr(stream, "isatty", bool)())


class LevelFormatter(logging.Formatter):
    """`INFO:     message`, the messages of all levels in one column."""

    def __init__(self, use_colors: bool) -> None:
        super().__init__()
        self.use_colors = use_colors

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging calls it so)
        if isinstance(record, AccessRecord):
            # The operator's own format has everything in it.
            return record.line
        return self.prefix(record.levelno, record.levelname) + self.message(record)

    def prefix(self, level: int, name: str) -> str:
        return f"{self.paint(name, _LEVEL_COLORS.get(level, ''))}:{' ' * (9 - len(name))}"

    def message(self, record: logging.LogRecord) -> str:
        """The text after the level; `extra={"bold": text}` names the part of it to show in bold."""
        bold = getattr(record, "bold", "")
        return record.message.replace(bold, self.paint(bold, _BOLD)) if bold and self.use_colors else record.message

    def paint(self, text: str, color: str) -> str:
        return f"{color}{text}{_RESET}" if self.use_colors and color else text


class AccessFormatter(LevelFormatter):
    """`INFO:     127.0.0.1:5000 - "GET / HTTP/1.1" 200 OK`."""

    def message(self, record: logging.LogRecord) -> str:
        if isinstance(record, AccessRecord):
            return record.line
        args = record.args
        return self.line(args) if isinstance(args, tuple) and len(args) == _ACCESS_FIELDS else record.message

    def fields(self, record: logging.LogRecord) -> dict[str, object]:
        """The parts of a response's record by uvicorn's names; empty where it is the record of something else."""
        args = record.args
        whole = isinstance(args, tuple) and len(args) == _ACCESS_FIELDS
        client, method, target, version, status = args if whole else ("",) * _ACCESS_FIELDS  # type: ignore[misc]
        request = f"{method} {target} HTTP/{version}" if whole else ""
        return {
            "client_addr": client,
            "method": method,
            "full_path": target,
            "http_version": version,
            "request_line": self.paint(request, _BOLD) if request else "",
            "status_code": self._status(status) if whole else "",
        }

    def line(self, access: tuple[object, ...]) -> str:
        """The text of one response: (client, method, target, http version, status)."""
        client, method, target, version, status = access
        if self.use_colors:
            return f'{client} - "{_BOLD}{method} {target} HTTP/{version}{_RESET}" {self._status(status)}'
        return f'{client} - "{method} {target} HTTP/{version}" {_phrase(status)}'

    def _status(self, status: object) -> str:
        hundreds = status // 100 if isinstance(status, int) else 0
        return self.paint(_phrase(status), _STATUS_COLORS.get(hundreds, ""))


@functools.cache
def _phrase(status: object) -> str:
    try:
        return f"{status} {http.HTTPStatus(status).phrase}"  # type: ignore[arg-type]
    except ValueError:
        return str(status)


class AccessRecord(logging.LogRecord):
    """The record of a response in the operator's own format; its arguments are those of any response's record."""

    def __init__(self, access: Access, line: str) -> None:
        client = access[0] or "unix"
        super().__init__(access_log.name, logging.INFO, "", 0, ACCESS_FORMAT, (client, *access[1:]), None)
        self.line = line

    def getMessage(self) -> str:  # noqa: N802 (logging calls it so)
        return self.line


def access_route() -> Route:
    """How finished responses reach the log now: as RECORDS, as TEXT, or written by the worker itself (NATIVE).

    Where nobody but our own handler would see the records, none are made: the log is on by default, and a record costs
    more than the rest of a small response. The worker writes where standard output is the process's own. That answer
    holds for as long as what it depends on is the same, so that the worker need not ask each time.
    """
    handlers = access_log.handlers
    handler = handlers[0] if len(handlers) == 1 else None
    if not isinstance(handler, StandardHandler) or access_log.propagate or access_log.filters or handler.filters:
        return RECORDS, (), ()
    formatter = handler.formatter
    # A subclass may have a format of its own.
    if type(formatter) is not AccessFormatter:
        return RECORDS, (), ()
    colors = COLORED if formatter.use_colors else 0
    if sys.stdout is None or sys.stdout is not sys.__stdout__:
        return TEXT + colors, (), ()
    depends = (
        *((vars(access_log), name, vars(access_log)[name]) for name in ("handlers", "propagate", "filters")),
        *((vars(handler), name, vars(handler)[name]) for name in ("formatter", "filters")),
        (vars(formatter), "use_colors", formatter.use_colors),
        (vars(sys), "stdout", sys.stdout),
    )
    return NATIVE + colors, depends, ((handlers, [handler]), (access_log.filters, []), (handler.filters, []))


def flush_printed() -> None:
    """Has what was printed so far go to standard output ahead of the lines that the worker writes there itself."""
    # What cannot be written, the worker will find out, and say so.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()


def write_accesses(text: str) -> None:
    """Writes the lines of finished responses where TEXT was the route."""
    for handler in access_log.handlers:
        if isinstance(handler, StandardHandler):
            handler.write(text)


def log_accesses(accesses: Sequence[Access], lines: Sequence[str] | None = None) -> None:
    """Makes a record of each finished response; `lines` has what each says in the operator's own format."""
    for index, access in enumerate(accesses):
        access_log.handle(access_record(access) if lines is None else AccessRecord(access, lines[index]))


def access_record(access: Access) -> logging.LogRecord:
    """The log record of one response. Made directly: there is no caller to look for."""
    client = access[0] or "unix"
    return logging.LogRecord(access_log.name, logging.INFO, "", 0, ACCESS_FORMAT, (client, *access[1:]), None)


def reopen() -> list[str]:
    """Closes and opens again the files of all logging.FileHandlers of every logger, after logrotate has renamed them.

    A file is opened for appending, whatever it was before. Where one cannot be opened, its handler keeps the old one.
    Returns what went wrong, a sentence each.
    """
    problems = []
    for handler in _file_handlers():
        try:
            _reopen(handler)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            problems.append(f"Cannot open the log file {handler.baseFilename} again: {why}.")
    for problem in problems:
        error_log.error("%s", problem)
    return problems


def _file_handlers() -> list[logging.FileHandler]:
    """Each once; those behind a MemoryHandler too."""
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    found: dict[int, logging.FileHandler] = {}
    waiting = [handler for logger in loggers if isinstance(logger, logging.Logger) for handler in logger.handlers]
    while waiting:
        handler = waiting.pop()
        target = getattr(handler, "target", None)
        if isinstance(target, logging.Handler):
            waiting.append(target)
        if isinstance(handler, logging.FileHandler):
            found[id(handler)] = handler
    return list(found.values())


def _reopen(handler: logging.FileHandler) -> None:
    with handler.lock or contextlib.nullcontext():
        if handler.stream is None:
            # It opens its file when it has something to write.
            return
        handler.mode = handler.mode.replace("w", "a").replace("x", "a")
        opened = handler._open()  # noqa: SLF001 (what the class has for its subclasses)
        old = handler.setStream(opened)
        if old is not None:
            old.close()
        # A WatchedFileHandler compares with what it saw last.
        watched = getattr(handler, "_statstream", None)
        if watched is not None:
            watched()
