"""Metrics for Prometheus, on an address of their own: docs/metrics.md. Counting and answering are native."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ferricorn._ferricorn import Board, MetricsServer
from ferricorn.config import Config
from ferricorn.logging import error_log as log
from ferricorn.serving import bind


@contextlib.contextmanager
def serving(config: Config, board: Board) -> Iterator[None]:
    """Answers for what `board` says at `config.metrics_bind`, if there is such an address.

    Raises StartupError where it cannot be had.
    """
    if config.metrics_bind is None:
        yield
        return
    listener = bind(config.metrics_bind, config)
    with contextlib.closing(listener), contextlib.closing(MetricsServer(listener, board)):
        place = listener.address if listener.address.startswith("unix:") else f"http://{listener.address}/metrics"
        log.info("Metrics on %s", place, extra={"bold": place})
        yield


@contextlib.contextmanager
def counted(config: Config) -> Iterator[Board | None]:
    """A board for one worker, answered for; None where nobody asks."""
    board = None if config.metrics_bind is None else Board(1)
    with contextlib.nullcontext() if board is None else serving(config, board):
        yield board
