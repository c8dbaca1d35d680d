"""Running a program that is a client."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.support.deadline import DEADLINE

PACKAGES = {"curl": "curl", "nghttp": "nghttp2-client", "chromium": "chromium"}


def find(name: str) -> str:
    """The path of a program. Fails where it is not installed: nothing is skipped."""
    path = shutil.which(name)
    assert path, f"{name} is not on the PATH; in Debian it is in the package {PACKAGES[name]}"
    return path


def run(name: str, *arguments: str | Path, status: int = 0) -> str:
    """What the program writes to standard output. Fails unless it ends with `status` within the deadline."""
    command = [find(name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, timeout=4 * DEADLINE, check=False)
    assert done.returncode == status, f"status {done.returncode} of {' '.join(command)}: {done.stderr.decode()}"
    return done.stdout.decode()
