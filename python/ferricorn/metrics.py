"""Metrics for Prometheus, on an address of their own: docs/metrics.md. Counting and answering are native."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Final

from ferricorn._ferricorn import Board, Listener, MetricsServer
from ferricorn.config import Config
from ferricorn.handover import Predecessor
from ferricorn.logging import error_log as log
from ferricorn.serving import bind

_METRICS: Final = "metrics:"
"""In front of the address, among the sockets that are handed over to another process."""


@contextlib.contextmanager
def serving(config: Config, board: Board, predecessor: Predecessor | None = None) -> Iterator[Mapping[str, Listener]]:
    """Answers for what `board` says at `config.metrics_bind`, if there is such an address.

    Gives the sockets by their names for a hand-over; `predecessor` has handed over its own. Raises StartupError where
    the address cannot be had.
    """
    if config.metrics_bind is None:
        yield {}
        return
    asked = _METRICS + config.metrics_bind
    given = predecessor.give(lambda name: name == asked) if predecessor else {}
    listener = given[asked] if given else bind(config.metrics_bind, config)
    listener.removes_file = config.metrics_bind.startswith("unix:")
    with contextlib.closing(listener), contextlib.closing(MetricsServer(listener, board)):
        place = listener.address if listener.address.startswith("unix:") else f"http://{listener.address}/metrics"
        log.info("Metrics on %s", place, extra={"bold": place})
        yield {asked: listener}


@contextlib.contextmanager
def counted(config: Config) -> Iterator[Board | None]:
    """A board for one worker, a row for each of its threads, answered for; None where nobody asks."""
    board = None if config.metrics_bind is None else Board(config.thread_count)
    with contextlib.nullcontext() if board is None else serving(config, board):
        yield board
