"""Fixtures: an application that changes, and servers on one event loop where it makes no difference."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import ServerProcess, StartProcess
from tests.support.workers import Code


@pytest.fixture
def start_once() -> Iterator[StartProcess]:
    """As `start_process`, for what happens in the supervisor: on asyncio alone."""
    with ExitStack() as running:

        def start(app: str, *arguments: str, **more: Any) -> ServerProcess:
            return running.enter_context(ServerProcess(app, "--loop", "asyncio", *arguments, **more))

        yield start


@pytest.fixture
def code(tmp_path: Path) -> Code:
    return Code(tmp_path)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path
