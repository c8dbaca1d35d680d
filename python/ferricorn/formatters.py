"""Log formatters for a log configuration, with the fields of uvicorn's: `levelprefix`, and those of a response.

{"formatters": {"default": {"()": "ferricorn.formatters.DefaultFormatter", "fmt": "%(levelprefix)s %(message)s"}}}
"""

from __future__ import annotations

import copy
import logging
import sys
from typing import Literal

from ferricorn.logging import AccessFormatter as StandardAccessFormatter
from ferricorn.logging import LevelFormatter, has_colors


class DefaultFormatter(LevelFormatter):
    """Any format, in which `levelprefix` is the level with its colon, padded to nine characters, coloured.

    `use_colors`: None is yes on a terminal, unless NO_COLOR is set.
    """

    _stream = "stderr"

    def __init__(
        self,
        fmt: str | None = None,
        datefmt: str | None = None,
        style: Literal["%", "{", "$"] = "%",
        use_colors: bool | None = None,
    ) -> None:
        super().__init__(has_colors(getattr(sys, self._stream)) if use_colors is None else use_colors)
        logging.Formatter.__init__(self, fmt, datefmt, style)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging calls it so)
        shown = copy.copy(record)
        shown.levelprefix = self.prefix(record.levelno, record.levelname).removesuffix(" ")
        shown.message = self.message(record)
        return logging.Formatter.formatMessage(self, shown)


class AccessFormatter(DefaultFormatter, StandardAccessFormatter):
    """Also knows `client_addr`, `method`, `full_path`, `http_version`, `request_line` and `status_code` ("200 OK")."""

    _stream = "stdout"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging calls it so)
        shown = copy.copy(record)
        shown.__dict__.update(self.fields(record))
        return super().formatMessage(shown)
