"""The log as it is without a configuration, written as one: for programs that change a part of it."""

from __future__ import annotations

from typing import Any, Final

LOGGING_CONFIG: Final[dict[str, Any]] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "default": {
            "()": "ferricorn.formatters.DefaultFormatter",
            "fmt": "%(levelprefix)s %(message)s",
            "use_colors": None,
        },
        "access": {
            "()": "ferricorn.formatters.AccessFormatter",
            "fmt": '%(levelprefix)s %(client_addr)s - "%(request_line)s" %(status_code)s',
        },
    },
    "handlers": {
        "default": {"formatter": "default", "class": "logging.StreamHandler", "stream": "ext://sys.stderr"},
        "access": {"formatter": "access", "class": "logging.StreamHandler", "stream": "ext://sys.stdout"},
    },
    "loggers": {
        "ferricorn": {"handlers": ["default"], "level": "INFO", "propagate": False},
        "ferricorn.error": {"level": "INFO"},
        "ferricorn.access": {"handlers": ["access"], "level": "INFO", "propagate": False},
    },
}
"""In the shape of uvicorn's LOGGING_CONFIG, with its names of formatters and handlers."""
