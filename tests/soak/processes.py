"""What /proc says about processes: who is whose child, and what each holds. Linux only."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PR_SET_CHILD_SUBREAPER: Final = 36
_PARENT, _STARTED = 1, 19
"""Fields of /proc/PID/stat behind the name, counted from the state (proc(5))."""


def adopt_orphans() -> None:
    """Makes this process the parent of what its children leave behind: after a hand-over, of the new server."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_CHILD_SUBREAPER")


@dataclass(frozen=True)
class Process:
    """One process, as it was when it was looked at."""

    pid: int
    parent: int
    started: int
    """Ticks since the machine's start."""
    state: str

    @classmethod
    def look(cls, pid: int) -> Process | None:
        """None where there is none."""
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            return None
        return cls(pid, int(fields[_PARENT]), int(fields[_STARTED]), fields[0])

    @property
    def is_alive(self) -> bool:
        return self.state not in "ZX"


def everything() -> Iterator[Process]:
    for entry in os.listdir("/proc"):
        if entry.isdecimal() and (process := Process.look(int(entry))):
            yield process


def descendants(root: int, *, with_dead: bool = False) -> dict[int, Process]:
    """All processes below `root` that live, or whose end their parent has not heard of, by their pid."""
    children: dict[int, list[Process]] = {}
    for process in everything():
        children.setdefault(process.parent, []).append(process)
    found: dict[int, Process] = {}
    below = [root]
    while below:
        for child in children.get(below.pop(), ()):
            below.append(child.pid)
            if with_dead or child.is_alive:
                found[child.pid] = child
    return found


def command(pid: int) -> list[bytes]:
    """What it was started with; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    except OSError:
        return []


def reap(not_these: set[int]) -> None:
    """Takes the exit status of adopted processes that have ended."""
    for process in everything():
        if process.parent == os.getpid() and not process.is_alive and process.pid not in not_these:
            with suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)


@dataclass(frozen=True)
class Holding:
    """What a process has."""

    descriptors: int
    sockets: int
    resident: int
    """KiB."""
    threads: int
    children: int

    @classmethod
    def of(cls, pid: int) -> Holding:
        targets = list(_descriptors(pid))
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        children = sum(process.parent == pid for process in everything())
        return cls(
            len(targets),
            sum(target.startswith("socket:") for target in targets),
            int(status["VmRSS"].split()[0]),
            int(status["Threads"]),
            children,
        )


def kill_and_tell_clients(pid: int, port: int) -> set[int]:
    """SIGKILL, and the ports of the clients whose connections to `port` the process had accepted until then.

    It is stopped before it is looked at, so that the set is exact: what waits to be accepted is not its own.
    """
    os.kill(pid, signal.SIGSTOP)
    # On another processor it may just be at accepting one.
    while (process := Process.look(pid)) and process.state not in "TZX":
        os.sched_yield()
    inodes = {target[8:-1] for target in _descriptors(pid) if target.startswith("socket:")}
    clients = _clients(port, inodes)
    os.kill(pid, signal.SIGKILL)
    return clients


def _descriptors(pid: int) -> Iterator[str]:
    folder = f"/proc/{pid}/fd"
    for entry in os.listdir(folder):
        with suppress(OSError):
            yield os.readlink(f"{folder}/{entry}")


def _clients(port: int, inodes: set[str]) -> set[int]:
    """The other ends' ports of IPv4 connections to `port` that are these sockets."""
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port and fields[9] in inodes:
            found.add(int(fields[2].rpartition(":")[2], 16))
    return found
