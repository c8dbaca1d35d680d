"""A long random walk of the pool: whatever happens, in whatever order, it keeps a few laws."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from ferricorn.pool import Member, Stage
from tests.support.pool import NEVER, Acted

Event = Callable[[], set[Member]]
"""Something that happens to a pool; who has stopped serving by it."""


class Walk:
    """Random events on a pool whose workers do as they are told after a while, or do not."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.acted = Acted(self._random.randint(1, 4))
        self._highest = self.acted.pool.count

    def run(self, events: int) -> None:
        self.acted.step()
        for event in self._events(events):
            before = {*self.acted.pool.serving}
            gone = event()
            self.acted.step()
            self._check(before - gone)
            self.acted.at(self._random.choice([0.0, 0.1, 1.0, 10.0]))

    def _events(self, count: int) -> Iterator[Event]:
        choices: list[Event] = [
            self._becomes_ready,
            self._becomes_ready,
            self._becomes_ready,
            self._closes,
            self._ends_as_told,
            self._ends_as_told,
            self._crashes,
            self._retires,
            self._leaves,
            self._reload,
            self._scale,
            set,
        ]
        return (self._random.choice(choices) for _ in range(count))

    def settle(self) -> None:
        """From here on every worker starts, and ends when it is told to."""
        for _ in range(1000):
            if self.acted.is_settled() and len(self.acted.pool.members) == self.acted.pool.count:
                return
            before = {*self.acted.pool.serving}
            self._becomes_ready()
            self._ends_as_told()
            self.acted.at(1).step()
            self._check(before)
        raise AssertionError(f"not settled: {self.acted.pool.members}")

    def _check(self, before: set[Member]) -> None:
        """`before`: who served before this step and has not left or died in it."""
        pool = self.acted.pool
        present = [member for member in pool.members if member.stage is not Stage.STOPPING]
        # A number that was lowered is reached as soon as those that start have come to an end of that.
        assert len(pool.serving) <= pool.count, "more serve than there should be"
        self._highest = max(min(self._highest, len(present) - 1), pool.count)
        assert len(present) <= self._highest + 1
        newest = {member for member in pool.members if member.generation == pool.generation}
        if pool.is_settled:
            assert {member for member in pool.members if member.accepts} <= newest, "one of the old ones still accepts"
        if before - {*pool.serving}:
            assert len(pool.serving) >= pool.count, "one was stopped before its replacement was ready"

    # --- events: who has gone by itself

    def _one(self, *stages: Stage) -> set[Member]:
        found = [member for member in self.acted.pool.members if member.stage in stages]
        return {self._random.choice(found)} if found else set()

    def _becomes_ready(self) -> set[Member]:
        for member in self._one(Stage.STARTING):
            self.acted.pool.became_ready(member, self.acted.now)
        return set()

    def _closes(self) -> set[Member]:
        for member in self._one(Stage.STOPPING):
            self.acted.pool.closed(member)
        return set()

    def _ends_as_told(self) -> set[Member]:
        for member in self._one(Stage.STOPPING):
            self.acted.pool.exited(member, self.acted.now, by_itself=True)
        return set()

    def _crashes(self) -> set[Member]:
        died = self._one(*Stage)
        for member in died:
            # With a status only beside one that serves: without, a failed start would be the end.
            others = [other for other in self.acted.pool.serving if other is not member]
            by_itself = bool(others) and self._random.random() < 0.5
            self.acted.pool.exited(member, self.acted.now, by_itself=by_itself)
        return died

    def _retires(self) -> set[Member]:
        for member in self._one(*Stage):
            self.acted.pool.retires(member)
        return set()

    def _leaves(self) -> set[Member]:
        left = self._one(Stage.READY, Stage.RETIRING)
        for member in left:
            self.acted.pool.leaves(member, self.acted.now, 30)
        return left

    def _reload(self) -> set[Member]:
        self.acted.pool.renew()
        return set()

    def _scale(self) -> set[Member]:
        self.acted.pool.count = self._random.randint(1, 4)
        return set()


@pytest.mark.parametrize("seed", range(50))
def test_the_laws_hold_whatever_happens(seed: int) -> None:
    """At most one more than the number, none stopped before its replacement is ready, and an end to every change."""
    walk = Walk(seed)
    walk.run(500)
    walk.settle()
    assert walk.acted.crew.told == []
    assert walk.acted.pool.next_step() == NEVER
