"""Which worker processes there are to be: when one is started, replaced, given up. Decisions alone.

Knows no processes, signals or clock: what has happened is told with its time, and what has to be done is asked of a
`Crew`. `step` compares what there is with what there should be, so that a reload during a crash during a scaling needs
no rule of its own:

    STARTING --ready--> READY --retire--> RETIRING (serves until its replacement is ready)
        |                 |                  |
        +------------> STOPPING <------------+          and from each of them: exited
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final, Protocol

SURGE: Final = 1
"""So many workers there may be above their number while some are replaced."""
SHORT_LIFE: Final = 2.0
"""A worker that dies within so many seconds of being ready is likely to do so again."""
_FIRST_DELAY: Final = 0.5
_LONGEST_DELAY: Final = 30.0
"""Seconds to wait before the next start, doubled with each death in a row."""


class Stage(enum.Enum):
    """What a worker is doing."""

    STARTING = "starting"
    READY = "ready"
    RETIRING = "retiring"
    STOPPING = "stopping"


@dataclass(eq=False, slots=True)
class Member:
    """A worker process, as the pool sees it."""

    generation: int
    started: float
    stage: Stage = Stage.STARTING
    ready: float = 0.0
    """When it became ready."""
    accepts: bool = True
    """Whether clients may still connect to it: not once its listeners are closed."""
    deadline: float = field(default=float("inf"))
    """When it is killed, once it has been told to stop."""


class Crew(Protocol):
    """Who does what the pool decides."""

    def start(self, member: Member) -> None:
        """A process is to be started for `member`."""

    def stop(self, member: Member, *, patient: bool) -> float:
        """Asks the process to stop; `patient` where others go on serving. How many seconds it may take at the most."""

    def kill(self, member: Member) -> None:
        """The process did not stop in time, or has nothing to lose."""

    def failed(self) -> None:
        """A worker could not start, and none serves: those that still start are stopped."""

    def rollout_failed(self) -> None:
        """The first worker of a new generation could not start, so the old one stays."""

    def starts_again(self, delay: float) -> None:
        """A worker has died too early, so that the next start waits for `delay` seconds."""


class Pool:
    """`count` workers of the newest generation."""

    def __init__(self, crew: Crew, count: int) -> None:
        self._crew = crew
        self.count = count
        self.members: list[Member] = []
        self.generation = 0
        self.failed = False
        """No worker could start, and none serves: there is no point in going on."""
        self.stopping = False
        self._newest = 0
        self._is_proven = False
        self._deaths = 0
        self._not_before = 0.0

    @property
    def serving(self) -> list[Member]:
        """Those that answer requests and have not been told to stop."""
        return [member for member in self.members if member.stage in (Stage.READY, Stage.RETIRING)]

    @property
    def is_settled(self) -> bool:
        """Whether there are just the workers that there should be, all of them ready, and nobody connects to old ones.

        One that was told to stop accepts until it has heard so: it may be busy, or hang until it is killed.
        """
        ready = [m for m in self.members if m.stage is Stage.READY and self._is_current(m)]
        has_old = any(member.accepts and not self._is_current(member) for member in self.members)
        return len(ready) == len(self.serving) == self.count and not has_old

    # --- what has happened

    def became_ready(self, member: Member, now: float) -> None:
        if member.stage is Stage.STARTING:
            member.stage, member.ready = Stage.READY, now
            self._is_proven |= member.generation == self.generation

    def retires(self, member: Member) -> None:
        """It is to be replaced, and stopped when its replacement is ready."""
        if member.stage is Stage.READY:
            member.stage = Stage.RETIRING

    def leaves(self, member: Member, now: float, within: float) -> None:
        """It stops of its own accord."""
        if member.stage is not Stage.STOPPING:
            member.stage, member.deadline = Stage.STOPPING, now + within

    def closed(self, member: Member) -> None:
        """Its listeners are closed."""
        member.accepts = False

    def exited(self, member: Member, now: float, *, by_itself: bool) -> None:
        """Its process has ended; `by_itself` with an exit status, else by a signal."""
        self.members.remove(member)
        if member.stage is Stage.STOPPING or self.stopping:
            return
        if member.stage is not Stage.STARTING:
            self._died(now, early=now - member.ready < SHORT_LIFE)
        elif member.generation == self.generation:
            self._did_not_start(now, by_itself)

    def _did_not_start(self, now: float, by_itself: bool) -> None:
        if self._is_proven or not by_itself:
            self._died(now, early=True)
        elif self.serving:
            self.generation = max(member.generation for member in self.serving)
            self._is_proven = True
            self._crew.rollout_failed()
        else:
            self.failed = True
            self._crew.failed()
            for member in self.members:
                self._stop(member, now, patient=False)

    def _died(self, now: float, *, early: bool) -> None:
        self._deaths = self._deaths + 1 if early else 0
        delay = min(_FIRST_DELAY * 2 ** (self._deaths - 1), _LONGEST_DELAY) if early else 0.0
        self._not_before = now + delay
        self._crew.starts_again(delay)

    # --- what is wanted

    def renew(self) -> None:
        """Every worker is to be replaced by a new one."""
        self._newest += 1
        self.generation = self._newest
        self._is_proven = False
        self._deaths, self._not_before = 0, 0.0

    def replace_now(self, now: float) -> None:
        """Every worker is to be stopped now, and new ones started, even where none could start before."""
        self.renew()
        self.failed = False
        for member in self.serving:
            # Patient in this alone, that connections which wait to be accepted are left to the new ones.
            self._stop(member, now, patient=True)

    def stop(self, now: float, *, patient: bool) -> None:
        """No worker is to be left. To be said again with another `patient`."""
        self.stopping = True
        for member in self.members:
            self._stop(member, now, patient=patient)

    def step(self, now: float) -> None:
        """Starts, stops and kills what has to be by now. For after anything has happened, and for `next_step`."""
        if not (self.stopping or self.failed):
            for member in self._outdated_starters():
                # One that is ready and was not heard yet has clients, who expect what those of the others can.
                self._stop(member, now, patient=True)
            while now >= self._not_before and self._lacks_one():
                self._start(now)
            for member in self._surplus():
                self._stop(member, now, patient=True)
        for member in self.members:
            if now >= member.deadline:
                member.deadline = float("inf")
                self._crew.kill(member)

    def next_step(self) -> float:
        """When `step` has something to do next, if nothing happens before."""
        times = [member.deadline for member in self.members]
        if self._lacks_one() and not (self.stopping or self.failed):
            times.append(self._not_before)
        return min(times, default=float("inf"))

    def _is_current(self, member: Member) -> bool:
        return member.generation == self.generation

    def _outdated_starters(self) -> list[Member]:
        return [m for m in self.members if m.stage is Stage.STARTING and not self._is_current(m)]

    def _lacks_one(self) -> bool:
        present = [member for member in self.members if member.stage is not Stage.STOPPING]
        fresh = [m for m in present if self._is_current(m) and m.stage is not Stage.RETIRING]
        return len(fresh) < self.count and len(present) < self.count + SURGE

    def _surplus(self) -> list[Member]:
        """Who serves and is not needed: those that retire first, then the oldest."""
        serving = sorted(self.serving, key=lambda m: (m.stage is Stage.READY, m.generation, m.started))
        return serving[: max(len(serving) - self.count, 0)]

    def _start(self, now: float) -> None:
        member = Member(self.generation, now)
        self.members.append(member)
        self._crew.start(member)

    def _stop(self, member: Member, now: float, *, patient: bool) -> None:
        deadline = now + self._crew.stop(member, patient=patient)
        # One that was told before has had its time: it does not get it anew.
        member.deadline = min(member.deadline, deadline) if member.stage is Stage.STOPPING else deadline
        member.stage = Stage.STOPPING
