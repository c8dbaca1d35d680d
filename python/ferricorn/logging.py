"""What the log looks like: "ferricorn.error" on stderr for everything, "ferricorn.access" on stdout for responses.

Only these two loggers and their parent are touched, and not by logging.config.dictConfig: it closes every handler that
the application has made before. It is used for the operator's own log configuration alone (logconfig.py).
"""

from __future__ import annotations

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


def reopen() -> None:
    """Closes the files of all handlers, which open them anew with their next record: they may have been rotated."""
    for handler in _file_handlers():
        handler.acquire()
        try:
            if handler.stream is not None:
                handler.stream.close()
                # What FileHandler takes for "not open yet".
                handler.stream = None
        finally:
            handler.release()


def _file_handlers() -> set[logging.FileHandler]:
    manager = logging.root.manager
    loggers = [logging.root, *(found for found in manager.loggerDict.values() if isinstance(found, logging.Logger))]
    return {handler for found in loggers for handler in found.handlers if isinstance(handler, logging.FileHandler)}


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
        self.setFormatter(formatter(has_colors(self.stream) if use_colors is None else use_colors))

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        stream: TextIO = getattr(sys, self._name_in_sys)
        return stream

    def write(self, text: str) -> None:
        """Writes whole lines that need no record any more."""
        self.acquire()
        try:
            self.stream.write(text)
            self.stream.flush()
        except OSError as error:
            self.handleError(logging.makeLogRecord({"msg": f"cannot write the log: {error}"}))
        finally:
            self.release()


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

    def lines(self, accesses: Sequence[Access]) -> str:
        """What formatting a record for each would give."""
        prefix = self.prefix(logging.INFO, "INFO")
        return "".join([f"{prefix}{self.line((access[0] or 'unix', *access[1:]))}\n" for access in accesses])

    def _status(self, status: object) -> str:
        hundreds = status // 100 if isinstance(status, int) else 0
        return self.paint(_phrase(status), _STATUS_COLORS.get(hundreds, ""))


@functools.cache
def _phrase(status: object) -> str:
    try:
        return f"{status} {http.HTTPStatus(status).phrase}"  # type: ignore[arg-type]
    except ValueError:
        return str(status)


def log_accesses(accesses: Sequence[Access]) -> None:
    """Logs finished responses.

    Where nobody but our own handler would see the records, none are made, and all lines are written at once: the log is
    on by default, and a record costs more than the rest of a small response.
    """
    handler = access_log.handlers[0] if len(access_log.handlers) == 1 else None
    if isinstance(handler, StandardHandler) and _is_all_that_listens(handler):
        formatter = handler.formatter
        # A subclass may have a format of its own.
        if type(formatter) is AccessFormatter:
            handler.write(formatter.lines(accesses))
            return
    for access in accesses:
        access_log.handle(access_record(access))


def _is_all_that_listens(handler: StandardHandler) -> bool:
    return not (access_log.propagate or access_log.filters or handler.filters)


def access_record(access: Access) -> logging.LogRecord:
    """The log record of one response. Made directly: there is no caller to look for."""
    client = access[0] or "unix"
    return logging.LogRecord(access_log.name, logging.INFO, "", 0, ACCESS_FORMAT, (client, *access[1:]), None)
