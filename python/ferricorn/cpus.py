"""How many CPUs this process may use."""

from __future__ import annotations

import math
import os


def cpus() -> int:
    """The CPUs that the system lets this process run on, and no more than its control group has time for (Linux)."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(affinity, math.ceil(_quota())))


def _quota() -> float:
    """CPUs' worth of time that a container has, as its control group says; infinite without one."""
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
        return int(quota) / int(period)
    except (OSError, ValueError):
        return 1e6
