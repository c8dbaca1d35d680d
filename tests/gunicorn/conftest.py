"""Fixtures: gunicorn processes that end with their test, on each event loop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.gunicorn import GunicornProcess, StartGunicorn


@pytest.fixture
def start_gunicorn(loop: str) -> Iterator[StartGunicorn]:
    """Starts gunicorn with our worker class, and ends the processes that the test has left running."""
    with ExitStack() as running:

        def start(
            app: str, *arguments: str, folder: Path | None = None, pass_fds: tuple[int, ...] = ()
        ) -> GunicornProcess:
            process = GunicornProcess(app, "--asgi-loop", loop, *arguments, folder=folder, pass_fds=pass_fds)
            return running.enter_context(process)

        yield start
