"""A pool whose workers do nothing but what a test says: no process, no clock."""

from __future__ import annotations

from ferricorn.pool import Member, Pool

PATIENT_SECONDS = 40.0
HASTY_SECONDS = 30.0
NEVER = float("inf")


class Crew:
    """Takes the orders of a pool down, in words, and does nothing."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.names: dict[Member, str] = {}

    def start(self, member: Member) -> None:
        self.names[member] = "abcdefghijklmnopqrstuvwxyz"[len(self.names) % 26]
        self.told.append(f"start {self.names[member]}")

    def stop(self, member: Member, *, patient: bool) -> float:
        self.told.append(f"stop {self.names[member]}{' patiently' if patient else ''}")
        return PATIENT_SECONDS if patient else HASTY_SECONDS

    def kill(self, member: Member) -> None:
        self.told.append(f"kill {self.names[member]}")

    def failed(self) -> None:
        self.told.append("failed")

    def rollout_failed(self) -> None:
        self.told.append("rollout failed")

    def starts_again(self, delay: float) -> None:
        self.told.append(f"starts again after {delay:g}")

    def take(self) -> list[str]:
        """What was told since the last time."""
        told, self.told = self.told, []
        return told


class Acted:
    """A pool, what happens to its members by their letters, in the order of their start, and the time of it."""

    def __init__(self, count: int) -> None:
        self.crew = Crew()
        self.pool = Pool(self.crew, count)
        self.now = 100.0
        self.crew.take()

    def at(self, seconds: float) -> Acted:
        """So many seconds later."""
        self.now += seconds
        return self

    def step(self) -> list[str]:
        """The orders of this moment: who waits until `next_step` waits no longer than now where there are more."""
        self.pool.step(self.now)
        while self.pool.next_step() <= self.now:
            self.pool.step(self.now)
        return self.crew.take()

    def ready(self, names: str) -> list[str]:
        for name in names:
            self.pool.became_ready(self.member(name), self.now)
        return self.step()

    def closed(self, names: str) -> list[str]:
        for name in names:
            self.pool.closed(self.member(name))
        return self.step()

    def exits(self, names: str, *, by_itself: bool = True) -> list[str]:
        for name in names:
            self.pool.exited(self.member(name), self.now, by_itself=by_itself)
        return self.step()

    def killed(self, names: str) -> list[str]:
        return self.exits(names, by_itself=False)

    def renew(self) -> list[str]:
        self.pool.renew()
        return self.step()

    def scale(self, count: int) -> list[str]:
        self.pool.count = count
        return self.step()

    def stop(self, *, patient: bool = False) -> list[str]:
        self.pool.stop(self.now, patient=patient)
        return self.step()

    def member(self, name: str) -> Member:
        return next(member for member in self.pool.members if self.crew.names[member] == name)

    def is_settled(self) -> bool:
        return self.pool.is_settled

    @property
    def serving(self) -> str:
        return "".join(self.crew.names[member] for member in self.pool.serving)


def begun(count: int) -> Acted:
    """A pool of workers that are all ready, and have been for long."""
    acted = Acted(count)
    acted.step()
    acted.ready("abcdef"[:count])
    assert acted.is_settled()
    return acted.at(60)
