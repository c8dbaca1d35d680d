"""The headings under which options are shown, and bounds of numbers that several of them have."""

from __future__ import annotations

from typing import Final

APPLICATION: Final = "Application"
LISTENING: Final = "Listening"
TLS: Final = "TLS"
RESPONSES: Final = "Responses"
PROXIES: Final = "Proxies"
HTTP2: Final = "HTTP/2"
WEBSOCKET: Final = "WebSocket"
PROCESS: Final = "Process"
RELOADING: Final = "Reloading"
LIMITS: Final = "Limits"
TIMEOUTS: Final = "Timeouts"
LOGGING: Final = "Logging"
GROUPS: Final = (
    APPLICATION,
    LISTENING,
    TLS,
    PROCESS,
    RELOADING,
    PROXIES,
    RESPONSES,
    HTTP2,
    WEBSOCKET,
    LIMITS,
    TIMEOUTS,
    LOGGING,
)
"""The headings in the order in which a reader wants them; one that is missing here comes last."""

MOST: Final = 2**31 - 1
LARGEST: Final = 2**53
