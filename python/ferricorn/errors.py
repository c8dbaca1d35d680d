"""What can keep the server from starting."""

from __future__ import annotations

from typing import Final

EXIT_STARTUP_FAILURE: Final = 3
"""The process's exit status when it could not start (uvicorn's number); 2 is a usage error, 0 a finished shutdown."""


class StartupError(Exception):
    """The server cannot start: one sentence for the operator.

    Where the application's own code raised, that exception is the `__cause__`, and its traceback is worth showing.
    """
