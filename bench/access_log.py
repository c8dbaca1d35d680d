#!/usr/bin/env python3
"""Measures what the access log costs: server CPU per request of raw hello with it and without it, in turns.

`python bench/access_log.py` compares the standard line and some formats with no access log, each written to a file and
to /dev/null; the ratios are taken within a round, and their median is shown.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness import clients
from harness.counters import CpuTime
from harness.process import end, free_port, start, wait_until_right
from harness.scenarios import SCENARIOS, HttpScenario
from harness.servers import FERRICORN, SERVERS

OFF = "off"
VARIANTS: Mapping[str, Sequence[str]] = {
    OFF: ["--no-access-log"],
    "standard": ["--access-log"],
    "common": ["--access-log", "--access-log-format", "common"],
    "combined": ["--access-log", "--access-log-format", "combined"],
    "json": ["--access-log", "--access-log-format", "json"],
    "ids": ["--no-access-log", "--request-id-header", "X-Request-ID", "--traceparent"],
}
_WARMUP_SECONDS = 1.0
_MICROSECONDS = 1e6


def main() -> int:
    options = _parse()
    names = [OFF, *(name for name in options.variants.split(",") if name != OFF)]
    places = {"/dev/null": Path("/dev/null"), "file": Path(tempfile.gettempdir()) / f"access-{free_port()}.log"}
    try:
        for label in options.outputs.split(","):
            _compare(options, names, label, places[label])
    finally:
        places["file"].unlink(missing_ok=True)
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures what the access log costs.")
    parser.add_argument("--variants", default=",".join(VARIANTS), help=f"comma-separated, of {', '.join(VARIANTS)}")
    parser.add_argument("--outputs", default="file,/dev/null", help="where standard output goes: file, /dev/null")
    parser.add_argument("--scenario", default="hello64", help="an HTTP scenario of run.py; default hello64")
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement; default 3")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="runs the server")
    return parser.parse_args()


def _compare(options: argparse.Namespace, names: Sequence[str], label: str, place: Path) -> None:
    costs: dict[str, list[float]] = {name: [] for name in names}
    for number in range(options.rounds):
        # Every round begins with another one.
        for name in [*names[number % len(names) :], *names[: number % len(names)]]:
            costs[name].append(_measure(options, VARIANTS[name], place))
    print(f"standard output: {label}")
    for name in names:
        ratios = [cost / off for cost, off in zip(costs[name], costs[OFF], strict=True)]
        print(
            f"  {name:9} {statistics.median(costs[name]):6.2f} us a request, {statistics.median(ratios):.3f} of {OFF} "
            f"({min(ratios):.3f} to {max(ratios):.3f})"
        )


def _measure(options: argparse.Namespace, flags: Sequence[str], place: Path) -> float:
    """Microseconds of CPU a request, of the whole server."""
    scenario = SCENARIOS[options.scenario]
    assert isinstance(scenario, HttpScenario), "WebSockets are one line each"
    port = free_port()
    command = SERVERS[FERRICORN].command(options.python, scenario.app, port)
    # What the other comparisons switch off.
    command = [argument for argument in command if argument != "--no-access-log"] + ["--log-level", "info", *flags]
    with place.open("w+b") as output:
        process: subprocess.Popen[bytes] = start(command, 0, output)
        try:
            wait_until_right(process, scenario, port, output)
            clients.run(scenario.client, scenario, port, _WARMUP_SECONDS, 1)
            before = CpuTime.of_tree(process.pid)
            load = clients.run(scenario.client, scenario, port, options.seconds, 1)
            spent = CpuTime.of_tree(process.pid) - before
        finally:
            end(process)
    return spent.total * _MICROSECONDS / load.requests


if __name__ == "__main__":
    sys.exit(main())
