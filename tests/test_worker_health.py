"""What the supervisor makes of a worker's beats, memory and age."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ferricorn import Config
from ferricorn.health import Pulse, Verdict, outworn, resident_memory

LIMIT = 10.0
BLOCKED = Verdict("stalled", "has had its event loop blocked for 10 seconds")
STOPPED = Verdict("stalled", "has not run at all for 10 seconds")


def verdict(*looks: tuple[float, int, int]) -> Verdict | None:
    """After looks at (time, beats of the process, beats of its loop), for a pulse that begins at 100."""
    pulse = Pulse(100.0)
    said = None
    for time, process, loop in looks:
        assert said is None, "it was said before the last look"
        pulse.look((process, loop), time)
        said = pulse.verdict(LIMIT, time)
    return said


def test_a_loop_that_turns() -> None:
    assert verdict(*((100.0 + second, second, second) for second in range(60))) is None


@pytest.mark.parametrize(("loop", "said"), [(3, BLOCKED), (0, BLOCKED)], ids=["later", "from the beginning"])
def test_a_loop_that_is_blocked_in_a_process_that_runs(loop: int, said: Verdict) -> None:
    looks = [(100.0 + second, second, min(second, loop)) for second in range(11 + loop)]
    assert verdict(*looks[:-1]) is None
    assert verdict(*looks) == said


def test_a_process_that_does_not_run() -> None:
    assert verdict((101, 1, 1), (105, 1, 1), (110, 1, 1), (111, 1, 1)) == STOPPED


def test_one_without_a_beat_of_the_process() -> None:
    """There is none where nobody warns of stalls."""
    assert verdict((105, 0, 0), (110, 0, 0)) == BLOCKED


def test_a_supervisor_that_was_stopped_itself_blames_nobody() -> None:
    """CTRL+Z for an hour, and then fg: all of them had stopped. A worker that stays so is found out later."""
    assert verdict((101, 1, 1), (3701, 1, 1), (3702, 2, 2), (3703, 3, 3)) is None
    assert verdict((101, 1, 1), (3701, 1, 1), (3705, 1, 1), (3706, 1, 1)) == STOPPED


def test_who_has_served_for_long() -> None:
    config = Config("main:app", limit_worker_lifetime=60)
    assert outworn(config, 59.9, os.getpid()) is None
    assert outworn(config, 60.0, os.getpid()) == Verdict("lifetime", "has served for 60 seconds")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says how much memory a process has")
def test_who_has_too_much_memory() -> None:
    has = resident_memory(os.getpid())
    assert outworn(Config("main:app", limit_worker_memory=2 * has), 1.0, os.getpid()) is None
    said = outworn(Config("main:app", limit_worker_memory=has // 2), 1.0, os.getpid())
    assert said is not None
    assert said.reason == "memory"
    assert said.sentence.startswith("has ")


def test_who_has_ended_has_no_memory() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    assert resident_memory(process.pid) == 0
    assert outworn(Config("main:app", limit_worker_memory=1), 1.0, process.pid) is None


def test_without_limits_nobody_has_had_enough() -> None:
    assert outworn(Config("main:app"), 1e9, os.getpid()) is None
