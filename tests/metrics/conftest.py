"""Fixtures: servers with metrics."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.metrics import Metrics
from tests.support.server import RunningServer, Serve

ServeCounted = Callable[..., tuple[RunningServer, Metrics]]


@pytest.fixture
def place() -> Iterator[str]:
    """A path for the unix socket of the metrics, short enough for one."""
    with tempfile.TemporaryDirectory() as folder:
        yield f"{folder}/metrics"


@pytest.fixture
def serve_counted(serve: Serve, place: str) -> ServeCounted:
    """Starts a server with metrics."""

    def start(app: Callable[..., Any], **options: Any) -> tuple[RunningServer, Metrics]:
        return serve(app, metrics_bind=f"unix:{place}", **options), Metrics(place)

    return start
