#!/usr/bin/env python3
"""Counts the instructions per request under callgrind: a guard against slow decay that no noisy neighbour disturbs.

`python bench/instructions.py` prints them, `--write` records them in instructions.json, and `--check` fails (status 1)
where a count is more than 3 % above the recorded one, or (status 2) where nothing comparable is recorded.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from harness.callgrind import Instructions, count
from harness.machine import python_build
from harness.native import BENCH
from harness.process import ServerFailedError
from harness.scenarios import SCENARIOS
from harness.servers import FERRICORN, NotInstalledError, Target, distributions, parse_targets

REFERENCE = BENCH / "instructions.json"
TOLERANCE = 0.03
OWN = "_ferricorn"
DEFAULT_SCENARIOS = "hello1,pipeline16,h2c-hello32"
_SHOWN_OBJECTS = 6

Counts = Mapping[str, Instructions]


def main() -> int:
    options = _parse()
    try:
        (target,) = parse_targets([options.server], options.python)
        counts = _count(options, target)
    except (NotInstalledError, ServerFailedError, ValueError) as error:
        sys.exit(str(error))
    for scenario, instructions in counts.items():
        print(_describe(scenario, instructions))
    if options.write:
        _record(_conditions(target), counts)
    return _check(_conditions(target), counts) if options.check else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Counts a server's instructions per request.")
    parser.add_argument("--scenarios", default=DEFAULT_SCENARIOS, help=f"comma-separated; default {DEFAULT_SCENARIOS}")
    parser.add_argument("--server", default=FERRICORN, help="one that serves in its first process; default ferricorn")
    parser.add_argument("--requests", type=int, default=1024, help="N of the difference 2N - N; default 1024")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="runs the server")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keeps the dumps there, for callgrind_annotate")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--write", action="store_true", help="records the counts as the reference for these conditions")
    action.add_argument("--check", action="store_true", help="compares with the reference")
    options = parser.parse_args()
    options.python = options.python.absolute()
    return options


def _count(options: argparse.Namespace, target: Target) -> dict[str, Instructions]:
    counts: dict[str, Instructions] = {}
    for name in options.scenarios.split(","):
        with tempfile.TemporaryDirectory() as temporary:
            directory = options.keep.resolve() / name if options.keep else Path(temporary)
            directory.mkdir(parents=True, exist_ok=True)
            counts[name] = count(target, SCENARIOS[name], options.requests, directory)
    return counts


def _describe(scenario: str, instructions: Instructions) -> str:
    parts = sorted(instructions.objects.items(), key=lambda item: -item[1])[:_SHOWN_OBJECTS]
    shown = ", ".join(f"{name} {cost:,.0f}" for name, cost in parts)
    return f"{scenario}: {instructions.total:,.0f} instructions a request ({shown})"


def _conditions(target: Target) -> dict[str, str]:
    """What the counts depend on besides the project's own code."""
    valgrind = subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True)
    return {
        "server": target.label.partition("@")[0],
        "python": python_build(target.python),
        "uvloop": distributions(target.python).get("uvloop", ""),
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()),
        "valgrind": valgrind.stdout.strip(),
    }


def _records() -> list[dict[str, dict[str, object]]]:
    records: list[dict[str, dict[str, object]]] = json.loads(REFERENCE.read_text()) if REFERENCE.exists() else []
    return records


def _record(conditions: dict[str, str], counts: Counts) -> None:
    """Replaces what is recorded for the same conditions."""
    others = [record for record in _records() if record["conditions"] != conditions]
    entry = {"conditions": conditions, "counts": {name: _rounded(value) for name, value in counts.items()}}
    REFERENCE.write_text(json.dumps([*others, entry], indent=2) + "\n")


def _rounded(instructions: Instructions) -> dict[str, float]:
    return {"total": round(instructions.total), "own": round(instructions.of(OWN))}


def _check(conditions: dict[str, str], counts: Counts) -> int:
    recorded = next((record["counts"] for record in _records() if record["conditions"] == conditions), None)
    if recorded is None:
        print(f"nothing is recorded for {conditions}: compare by hand, or record with --write", file=sys.stderr)
        return 2
    grown = [line for name, value in counts.items() for line in _growth(name, _rounded(value), recorded.get(name))]
    print("\n".join(grown) or f"within {TOLERANCE:.0%} of the reference")
    return 1 if grown else 0


def _growth(name: str, now: Mapping[str, float], before: object) -> list[str]:
    if not isinstance(before, dict):
        return [f"{name}: not recorded"]
    return [
        f"{name}, {kind}: {value:,} instructions, {value / before[kind] - 1:.1%} above the recorded {before[kind]:,}"
        for kind, value in now.items()
        if value > before[kind] * (1 + TOLERANCE)
    ]


if __name__ == "__main__":
    sys.exit(main())
