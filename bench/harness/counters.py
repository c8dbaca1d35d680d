"""What the kernel knows of a process tree: CPU time, memory; and of the machine: time spent elsewhere. Linux only."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_JIFFY_SECONDS = 0.01
# The clocks of a process, as <linux/posix-timers.h> numbers them: user and system ticks, user ticks, exact run time.
_CLOCK_TICKS, _CLOCK_USER_TICKS, _CLOCK_RUN_TIME = 0, 1, 2


@dataclass(frozen=True)
class CpuTime:
    """CPU seconds of a process tree, threads and those that ended included.

    `total` is the scheduler's own account in nanoseconds. Its split is by the ticks that hit in user mode or in the
    kernel (250 a second here), the only split that a kernel without VIRT_CPU_ACCOUNTING_GEN has.
    """

    total: float
    ticks: float
    user_ticks: float

    @classmethod
    def of_tree(cls, pid: int) -> Self:
        clocks = [_clocks(member) for member in process_tree(pid)]
        return cls(*(sum(values) for values in zip(*clocks, strict=True)))

    def __sub__(self, other: Self) -> Self:
        return type(self)(self.total - other.total, self.ticks - other.ticks, self.user_ticks - other.user_ticks)

    @property
    def user(self) -> float:
        return self.total * self.user_ticks / self.ticks if self.ticks else 0.0

    @property
    def kernel(self) -> float:
        return self.total - self.user


def _clocks(pid: int) -> tuple[float, float, float]:
    """Run time, ticks and user ticks of a whole process, in seconds; zeros once it has gone."""
    try:
        run_time, ticks, user = (
            time.clock_gettime(~pid << 3 | clock) for clock in (_CLOCK_RUN_TIME, _CLOCK_TICKS, _CLOCK_USER_TICKS)
        )
    except OSError:
        return 0.0, 0.0, 0.0
    return run_time, ticks, user


def process_tree(pid: int) -> list[int]:
    """The process and all its descendants."""
    parents = dict(_parents())
    members = [pid]
    for member in members:
        members.extend(child for child, parent in parents.items() if parent == member)
    return members


def _parents() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
        except OSError:
            continue
        # The name in parentheses may hold anything, so the fields are counted from its end.
        yield int(entry.name), int(stat.rpartition(")")[2].split()[1])


@dataclass(frozen=True)
class Memory:
    """In KiB. `rss` is that of the largest process, the worker; `pss` of the whole tree, shared pages divided."""

    rss: int
    pss: int

    @classmethod
    def of_tree(cls, pid: int) -> Self:
        rollups = [_rollup(member) for member in process_tree(pid)]
        return cls(max(rss for rss, _ in rollups), sum(pss for _, pss in rollups))


def _rollup(pid: int) -> tuple[int, int]:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return 0, 0
    fields = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return fields["Rss"], fields["Pss"]


def machine_busy() -> float:
    """CPU seconds that all cores spent on anything since boot, time stolen by the host included."""
    user, nice, system, _idle, _iowait, *rest = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    return sum(map(int, (user, nice, system, *rest))) * _JIFFY_SECONDS
