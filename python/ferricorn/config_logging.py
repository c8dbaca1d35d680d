"""What the log says.

Declarations alone: config.py says how they come together.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ferricorn.config_groups import LOGGING
from ferricorn.config_process import ProcessOptions
from ferricorn.kinds import AccessLogFormat, FieldName, Level, LogConfig
from ferricorn.options import Flag, Seconds, option

LOG_LEVELS: Final = {
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": 5,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggingOptions(ProcessOptions):
    """The log, the access log and ids of requests."""

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
