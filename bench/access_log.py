#!/usr/bin/env python3
"""Measures what the access log costs: server CPU per request of raw hello with it and without it, in turns.

`python bench/access_log.py` compares the standard line and some formats with no access log, each written to a file and
to /dev/null; the ratios are taken within a round, and their median is shown.
"""

import argparse
import contextlib
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness import clients
from harness.counters import CpuTime
from harness.process import Running, end, free_port, start, wait_until_right
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
    parser.add_argument("--rounds", type=int, default=20, help="default 20")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement, whole ones; default 1")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="runs the server")
    return parser.parse_args()


def _compare(options: argparse.Namespace, names: Sequence[str], label: str, place: Path) -> None:
    costs: dict[str, list[float]] = {name: [] for name in names}
    with contextlib.ExitStack() as running:
        # All at once, so that the turns are short: a server that nobody asks costs nothing.
        servers = {name: running.enter_context(_server(options, VARIANTS[name], place)) for name in names}
        for name in names:
            _measure(options, servers[name])
        for number in range(options.rounds):
            # Every round begins with another one.
            for name in [*names[number % len(names) :], *names[: number % len(names)]]:
                costs[name].append(_measure(options, servers[name]))
    print(f"standard output: {label}")
    for name in names:
        ratios = [cost / off for cost, off in zip(costs[name], costs[OFF], strict=True)]
        low, middle, high = statistics.quantiles(ratios)
        median = statistics.median(costs[name])
        print(f"  {name:9} {median:6.2f} us a request, {middle:.3f} of {OFF} (quartiles {low:.3f}, {high:.3f})")


@contextmanager
def _server(options: argparse.Namespace, flags: Sequence[str], place: Path) -> Iterator[Running]:
    port = free_port()
    command = SERVERS[FERRICORN].command(options.python, _scenario(options).app, port)
    # What the other comparisons switch off.
    command = [argument for argument in command if argument != "--no-access-log"] + ["--log-level", "info", *flags]
    with place.open("a+b") as output:
        process = start(command, 0, output)
        try:
            wait_until_right(process, _scenario(options), port, output)
            yield Running(process.pid, port)
        finally:
            end(process)


def _measure(options: argparse.Namespace, server: Running) -> float:
    """Microseconds of CPU a request, of the whole server."""
    scenario = _scenario(options)
    before = CpuTime.of_tree(server.pid)
    load = clients.run(scenario.client, scenario, server.port, options.seconds, 1)
    spent = CpuTime.of_tree(server.pid) - before
    return spent.total * _MICROSECONDS / load.requests


def _scenario(options: argparse.Namespace) -> HttpScenario:
    scenario = SCENARIOS[options.scenario]
    if not isinstance(scenario, HttpScenario):
        sys.exit("the access log has one line of a WebSocket")
    return scenario


if __name__ == "__main__":
    sys.exit(main())
