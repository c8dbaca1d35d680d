"""Where the suite runs: an old Python, and a virtual environment below target/ with the locked packages.

This file knows no server and no case.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parent.parent.parent
TARGET = ROOT / "target" / "conformance"
LOCK = Path(__file__).parent / "requirements.txt"
VARIABLE = "AUTOBAHN_PYTHON"
# 20.22 makes no environments for Python 2.7 any more. What it brings along for 2.7 needs no pip there.
VIRTUALENV = "virtualenv==20.21.1"
_TAIL_LINES = 15
# Prints the interpreter itself, because `python2.7` may be a shim of pyenv that answers in some folders only.
_PROBE = (
    "import platform, ssl, sys, zlib; "
    "assert sys.version_info[:2] == (2, 7) and platform.python_implementation() == 'CPython'; "
    "print(sys.executable)"
)
_ADVICE = (
    "the Autobahn test suite runs on CPython 2.7 alone, and none was found. Install it with `pyenv install 2.7.18` or, "
    "where the system has it, `apt install python2.7-dev`; or name one: {variable}=/path/to/python2.7"
)


class UnavailableError(Exception):
    """The suite cannot be run on this machine; the message says what is missing."""


def prepare(say: Callable[[str], None]) -> Path:
    """The Python that has the suite, made at the first call. Raises UnavailableError."""
    python = find_python()
    identity = f"{python} {VIRTUALENV}\n".encode() + LOCK.read_bytes()
    home = TARGET / f"autobahn-{hashlib.sha256(identity).hexdigest()[:12]}"
    # Written last, so that an environment that was interrupted is made anew.
    complete = home / "complete"
    if not complete.exists():
        say(f"making the suite's environment with {python}: once, about half a minute")
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        _make(home, python)
        complete.touch()
    return home / "suite" / "bin" / "python"


def find_python() -> Path:
    """A CPython 2.7 that works: the one that the variable names, or one on the PATH, or pyenv's.

    Raises UnavailableError.
    """
    named = os.environ.get(VARIABLE)
    for candidate in [named] if named else _candidates():
        found = _probe(candidate)
        if found:
            return found
    if named:
        raise UnavailableError(f"{VARIABLE}={named} is no CPython 2.7 that works (with ssl and zlib)")
    raise UnavailableError(_ADVICE.format(variable=VARIABLE))


def clean_environment() -> dict[str, str]:
    """The environment without what is meant for another Python."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def _candidates() -> Iterator[str]:
    for name in ("python2.7", "python2"):
        path = shutil.which(name)
        if path:
            yield path
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from map(str, sorted(pyenv.glob("versions/2.7*/bin/python2.7"), reverse=True))


def _probe(candidate: str) -> Path | None:
    try:
        told = subprocess.run(
            [candidate, "-c", _PROBE], check=True, capture_output=True, text=True, env=clean_environment()
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return Path(told.stdout.strip())


def _make(home: Path, python: Path) -> None:
    tools, suite = home / "virtualenv", home / "suite"
    # The interpreters with -m, not the commands beside them: those cannot begin with a long path.
    new, old = tools / "bin" / "python", suite / "bin" / "python"
    steps: tuple[list[str | Path], ...] = (
        [sys.executable, "-m", "venv", tools],
        [new, "-m", "pip", "install", VIRTUALENV],
        # What virtualenv keeps for the next time goes here too, not into the home folder.
        [new, "-m", "virtualenv", "--no-periodic-update", "--app-data", home / "seeds", "-p", python, suite],
        # Not resolved again: the lock names everything, and nothing newer than it.
        [old, "-m", "pip", "install", "--no-deps", "-r", LOCK],
        [old, "-c", "import autobahntestsuite.wstest, wsaccel"],
    )
    with (home / "setup.log").open("w+") as log:
        for step in steps:
            _run(step, log)


def _run(step: list[str | Path], log: IO[str]) -> None:
    try:
        subprocess.run(step, check=True, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=clean_environment())
    except (OSError, subprocess.CalledProcessError) as error:
        log.seek(0)
        tail = "".join(log.readlines()[-_TAIL_LINES:])
        raise UnavailableError(f"the suite's environment could not be made: {error}\n{tail}") from error
