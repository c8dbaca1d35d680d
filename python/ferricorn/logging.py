"""What the log looks like: "ferricorn.error" on stderr for everything, "ferricorn.access" on stdout for responses.

Only these two loggers and their parent are touched, and not by logging.config.dictConfig: it closes every handler that
the application has made before.
"""

from __future__ import annotations

import http
import logging
import os
import sys
from typing import Final, TextIO

from ferricorn.config import LOG_LEVELS, Config

TRACE: Final = LOG_LEVELS["trace"]
ACCESS_FORMAT: Final = '%s - "%s %s HTTP/%s" %d'
"""Of the access log's records; their arguments are (client, method, target, http version, status), as uvicorn's are."""

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
    """Sets the two loggers' levels, and gives them handlers unless the program has given them its own."""
    logging.addLevelName(TRACE, "TRACE")
    parent = logging.getLogger("ferricorn")
    parent.setLevel(LOG_LEVELS[config.log_level])
    _attach(parent, StandardHandler("stderr", LevelFormatter, config.use_colors))
    _attach(access_log, StandardHandler("stdout", AccessFormatter, config.use_colors))


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
        level = self.paint(record.levelname, _LEVEL_COLORS.get(record.levelno, ""))
        return f"{level}:{' ' * (9 - len(record.levelname))}{self.message(record)}"

    def message(self, record: logging.LogRecord) -> str:
        """The text after the level; `extra={"bold": text}` names the part of it to show in bold."""
        bold = getattr(record, "bold", "")
        return record.message.replace(bold, self.paint(bold, _BOLD)) if bold and self.use_colors else record.message

    def paint(self, text: str, color: str) -> str:
        return f"{color}{text}{_RESET}" if self.use_colors and color else text


class AccessFormatter(LevelFormatter):
    """`INFO:     127.0.0.1:5000 - "GET / HTTP/1.1" 200 OK`."""

    def message(self, record: logging.LogRecord) -> str:
        if not isinstance(record.args, tuple) or len(record.args) != 5:
            return record.message
        client, method, target, version, status = record.args
        request = self.paint(f"{method} {target} HTTP/{version}", _BOLD)
        return f'{client} - "{request}" {self._status(status)}'

    def _status(self, status: object) -> str:
        code = status if isinstance(status, int) else 0
        return self.paint(f"{status} {_phrase(code)}".rstrip(), _STATUS_COLORS.get(code // 100, ""))


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""


def access_record(line: tuple[str, str, str, str, int]) -> logging.LogRecord:
    """The log record of one response. Made directly: there is no caller to look for, and it is made every time."""
    client = line[0] or "unix"
    return logging.LogRecord(access_log.name, logging.INFO, "", 0, ACCESS_FORMAT, (client, *line[1:]), None)
