"""The conditions of a run, for whoever compares two of them."""

import datetime
import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.native import BENCH
from harness.servers import Target


@dataclass(frozen=True)
class Conditions:
    """What results may depend on besides the servers."""

    command: str
    date: str
    machine: str
    kernel: str
    python: str
    wrk: str
    versions: Mapping[str, str]
    """Of the servers and of what they use, by distribution; ferricorn's with its commit."""


def conditions(command: str, targets: Iterable[Target], python: Path) -> Conditions:
    versions: dict[str, str] = {}
    for target in targets:
        versions.update(target.versions())
    if "ferricorn" in versions:
        versions["ferricorn"] += f" ({_commit()})"
    return Conditions(
        command=command,
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=_machine(),
        kernel=platform.release(),
        python=python_build(python),
        wrk=_wrk_version(),
        versions=versions,
    )


def python_build(python: Path) -> str:
    """Such as "CPython 3.13.0, GCC 12.2.0, no PGO, no LTO"."""
    code = (
        "import platform, sysconfig; arguments = sysconfig.get_config_var('CONFIG_ARGS') or '';"
        "print(platform.python_implementation(), platform.python_version() + ',',"
        "platform.python_compiler() + ',',"
        "('' if '--enable-optimizations' in arguments else 'no ') + 'PGO,',"
        "('' if '--with-lto' in arguments else 'no ') + 'LTO')"
    )
    return _output([str(python), "-c", code])


def _machine() -> str:
    lines = (line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines())
    # One block per core: the last one's number tells how many there are.
    info = {name.strip(): value.strip() for name, _, value in lines}
    cores = int(info.get("processor", "0")) + 1
    hypervisor = " (virtual)" if "hypervisor" in info.get("flags", "") else ""
    return f"{info.get('model name', platform.machine())}, {cores} cores{hypervisor}"


def _wrk_version() -> str:
    # wrk prints its version with its usage and ends with status 1.
    done = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)
    return done.stdout.partition("[")[0].strip() or "unknown"


def _commit() -> str:
    commit = _output(["git", "-C", str(BENCH), "rev-parse", "--short", "HEAD"])
    changed = _output(
        ["git", "-C", str(BENCH), "status", "--porcelain", "--untracked-files=no", "--", ":/crates", ":/python"]
    )
    return commit + ("+changes" if changed else "")


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
