"""How a worker process is: whether its event loop turns, how much memory it has, how long it has served.

Looks at what the supervisor can see from outside; knows no pool. What blocks a loop is told by the worker itself.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from ferricorn.config import Config

_LONGEST_PAUSE: Final = 5.0
"""Seconds between two looks that count. After more, this process was stopped itself, and the worker perhaps with it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a worker is to be replaced."""

    reason: str
    """One of those that the board counts: "memory", "lifetime", "stalled", "max_requests"."""
    sentence: str
    """For the log, the predicate of a sentence about the worker."""


class Pulse:
    """When the two beats of a worker have last been seen to move. It begins when the worker has become ready."""

    def __init__(self, now: float) -> None:
        self._beats = (0, 0)
        self._process_moved = now
        self._loop_moved = now
        self._looked = now

    def look(self, beats: tuple[int, int], now: float) -> None:
        """Takes down what the board says: the beats of the process and of its loop."""
        unseen = max(now - self._looked - _LONGEST_PAUSE, 0.0)
        self._looked = now
        self._process_moved += unseen
        self._loop_moved += unseen
        if beats[0] != self._beats[0]:
            self._process_moved = now
        if beats[1] != self._beats[1]:
            self._loop_moved = now
        self._beats = beats

    def verdict(self, limit: float, now: float) -> Verdict | None:
        """For a worker whose loop has not moved for `limit` seconds."""
        if now - self._loop_moved < limit:
            return None
        if self._beats[0] and now - self._process_moved >= limit:
            return Verdict("stalled", f"has not run at all for {limit:g} seconds")
        return Verdict("stalled", f"has had its event loop blocked for {limit:g} seconds")


def outworn(config: Config, age: float, pid: int) -> Verdict | None:
    """For a worker that has served for `age` seconds and has had enough of it."""
    lifetime, limit = config.limit_worker_lifetime, config.limit_worker_memory
    if lifetime and age >= lifetime:
        return Verdict("lifetime", f"has served for {lifetime:g} seconds")
    if limit and (memory := resident_memory(pid)) > limit:
        return Verdict("memory", f"has {memory >> 20} MiB of memory, more than {limit >> 20} MiB")
    return None


def resident_memory(pid: int) -> int:
    """The memory that a process has now, in bytes; 0 where it cannot be told (Linux can)."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
