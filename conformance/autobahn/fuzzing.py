"""The suite's process: starts it, follows which case it is at, and ends it where it hangs. Knows no verdict."""

import json
import os
import re
import resource
import select
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .environment import clean_environment

# No case may take longer than 480 s, the suite says; a connection that does not close takes some more.
STALL_SECONDS = 520.0
_CASE = re.compile(rb"Running test case ID (\S+) ")


class SuiteFailedError(Exception):
    """The suite ended with an error, or hung; the message says where its output is."""


def run(python: Path, url: str, agent: str, cases: Sequence[str], folder: Path, begun: Callable[[str], None]) -> float:
    """Runs the cases against `url` and writes the suite's report about `agent` into the folder.

    `begun` is called with each case whose connection has opened. Returns the CPU seconds that the suite itself took.
    Raises SuiteFailedError.
    """
    specification = folder / "specification.json"
    servers = [{"url": url, "agent": agent}]
    specification.write_text(json.dumps({"outdir": str(folder), "servers": servers, "cases": list(cases)}))
    log = folder / "suite.log"
    before = _ended_children()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [python, "-u", "-m", "autobahntestsuite.wstest", "-m", "fuzzingclient", "-s", specification],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=clean_environment(),
        )
        try:
            _follow(process, output.write, begun)
        except (TimeoutError, subprocess.TimeoutExpired) as error:
            raise SuiteFailedError(f"the suite has been silent for {STALL_SECONDS:.0f} s: {log}") from error
        finally:
            process.kill()
            process.wait()
    if process.returncode or not (folder / "index.json").exists():
        raise SuiteFailedError(f"the suite ended with status {process.returncode} and wrote no report: {log}")
    return _ended_children() - before


def _ended_children() -> float:
    """CPU seconds of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _follow(process: subprocess.Popen[bytes], write: Callable[[bytes], object], begun: Callable[[str], None]) -> None:
    for line in _lines(process):
        write(line + b"\n")
        found = _CASE.match(line)
        if found:
            begun(found[1].decode())
    process.wait(STALL_SECONDS)


def _lines(process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """Lines as they come. Raises TimeoutError when none comes for too long."""
    assert process.stdout is not None
    with process.stdout as stream:
        rest = b""
        while True:
            if not select.select([stream], [], [], STALL_SECONDS)[0]:
                raise TimeoutError
            received = os.read(stream.fileno(), 65536)
            if not received:
                return
            *whole, rest = (rest + received).split(b"\n")
            yield from whole
