#!/usr/bin/env python3
"""Measures ferricorn and every installed peer side by side. `python bench/run.py --help`; README.md explains it.

Ends with status 1 where a cell failed, so that no result with an error in it passes for a whole one.
"""

import argparse
import os
import resource
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.cell import Cell, Gap, Plan, measure
from harness.clients import LOAD, WRK, LoadFailedError
from harness.exchange import NotNegotiatedError
from harness.machine import conditions
from harness.native import binary
from harness.process import ServerFailedError
from harness.publish import Results, publish
from harness.scenarios import GROUPS, SCENARIOS, Scenario, select
from harness.servers import FERRICORN, NotInstalledError, Target, installed_targets, parse_targets
from harness.summary import summarise
from harness.tables import full_table, heading, overview, quick_table

OPEN_FILES = 8192
NOT_NEGOTIATED, FAILED = "not negotiated", "failed"


def main() -> int:
    options = _parse()
    if options.render:
        publish([Results.load(path) for path in options.render])
        return 0
    _allow_open_files()
    targets = _targets(options)
    results = _run(options, select(_names(options.quick or options.scenarios)), targets)
    _print(results, quick=bool(options.quick))
    if options.save:
        results.save(options.save)
    if options.publish:
        publish([results])
    return 1 if results.failures else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures ASGI servers side by side.")
    parser.add_argument(
        "--scenarios",
        type=_scenarios,
        default="http",
        help=f"comma-separated names, groups ({', '.join(GROUPS)}), or patterns such as 'ws64-*'; default http",
    )
    parser.add_argument("--servers", type=_names, help="comma-separated NAME or NAME@PYTHON; default: all installed")
    parser.add_argument("--rounds", type=int, help="default 5, quick 3")
    parser.add_argument("--seconds", type=float, help="of load per cell (wrk: whole ones); default 5, quick 2")
    parser.add_argument("--warmup", type=float, help="seconds of load before each cell; default 1, quick 0.3")
    parser.add_argument(
        "--quick", type=_scenarios, metavar="SCENARIOS", help="a short run of these scenarios, CPU and ratios only"
    )
    parser.add_argument("--python", type=_interpreter, default=_interpreter(sys.executable), help="runs the servers")
    parser.add_argument("--reference", help="ratios are taken against it; default: ferricorn, or else the first server")
    parser.add_argument("--client", choices=(WRK, LOAD), help="of HTTP; default: as the scenario says")
    parser.add_argument("--server-core", type=int, default=0, help="default 0; -1: not pinned")
    parser.add_argument("--client-core", type=int, default=1, help="default 1; -1: not pinned")
    parser.add_argument("--save", type=Path, metavar="FILE", help="writes every cell as JSON")
    parser.add_argument(
        "--render", type=Path, nargs="+", metavar="FILE", help="measures nothing: publishes what was saved there"
    )
    parser.add_argument("--publish", action="store_true", help="writes bench/RESULTS.md and its charts")
    options = parser.parse_args()
    for name, full, quick in (("rounds", 5, 3), ("seconds", 5, 2), ("warmup", 1.0, 0.3)):
        if getattr(options, name) is None:
            setattr(options, name, quick if options.quick else full)
    return options


def _names(text: str) -> list[str]:
    return text.split(",")


def _scenarios(text: str) -> str:
    try:
        select(_names(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _interpreter(text: str) -> Path:
    # Absolute because servers start in another directory; not resolved, for that would leave a virtual environment.
    return Path(text).absolute()


def _targets(options: argparse.Namespace) -> list[Target]:
    if not options.servers:
        targets, absent = installed_targets(options.python)
        for reason in absent:
            _say(f"left out: {reason}")
        return targets
    try:
        return parse_targets(options.servers, options.python)
    except (NotInstalledError, ValueError) as error:
        sys.exit(str(error))


def _run(options: argparse.Namespace, scenarios: Sequence[Scenario], targets: Sequence[Target]) -> Results:
    plan = _plan(options)
    binary(LOAD), binary("epoll")
    cells: list[Cell] = []
    failures: list[str] = []
    gaps: dict[tuple[str, str], Gap] = {}
    for scenario in scenarios:
        for round_number, target in _schedule(scenario, targets, options.rounds):
            where = (scenario.name, target.label)
            if where in gaps and gaps[where].reason == NOT_NEGOTIATED:
                continue
            try:
                cells.append(measure(scenario, target, plan, round_number))
                _say(_progress(cells[-1]))
            except NotNegotiatedError as error:
                gaps[where] = Gap(*where, NOT_NEGOTIATED)
                _say(f"{scenario.name}, {target.label}: {error} was not negotiated")
            except (ServerFailedError, LoadFailedError) as error:
                gaps[where] = Gap(*where, FAILED)
                failures.append(f"{scenario.name}, {target.label}, round {round_number}: {error}")
                _say(f"FAILED: {failures[-1]}")
    measured = {(cell.scenario, cell.server) for cell in cells}
    return Results(
        conditions=conditions(_command(options), targets, options.python),
        reference=options.reference or _reference(targets),
        clients={scenario.name: plan.client_of(scenario) for scenario in scenarios},
        cells=cells,
        failures=failures,
        # A server that failed in one round of several has a row of its own.
        gaps=[gap for where, gap in gaps.items() if where not in measured],
    )


def _allow_open_files() -> None:
    """A thousand connections and what else a server opens are more than the usual soft limit of 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _plan(options: argparse.Namespace) -> Plan:
    cores = [core if core >= 0 else None for core in (options.server_core, options.client_core)]
    if cores[1] is not None:
        # What this process does between the cells' ends must not touch the server's core.
        os.sched_setaffinity(0, {cores[1]})
    return Plan(options.seconds, options.warmup, cores[0], cores[1], options.client)


def _schedule(scenario: Scenario, targets: Sequence[Target], rounds: int) -> Iterator[tuple[int, Target]]:
    """Every server once a round, so that noise hits all alike; each round begins with another one."""
    able = [target for target in targets if target.plays(scenario)]
    for round_number in range(rounds):
        shift = round_number % len(able) if able else 0
        for target in (*able[shift:], *able[:shift]):
            yield round_number, target


def _reference(targets: Sequence[Target]) -> str:
    labels = [target.label for target in targets]
    return next((label for label in labels if label.startswith(FERRICORN)), labels[0])


def _command(options: argparse.Namespace) -> str:
    """The command as anyone would type it: without the paths of this machine."""
    parts = ["python bench/run.py", f"--rounds {options.rounds}", f"--seconds {options.seconds:g}"]
    parts.append(f"--quick {options.quick}" if options.quick else f"--scenarios {options.scenarios}")
    if options.servers:
        parts.append("--servers " + ",".join(name.partition("@")[0] for name in options.servers))
    if options.client:
        parts.append(f"--client {options.client}")
    return " ".join(parts)


def _progress(cell: Cell) -> str:
    return (
        f"round {cell.round}  {cell.scenario:<24}  {cell.server:<15}  {cell.total:8.2f} us = {cell.user:8.2f} user "
        f"+ {cell.kernel:8.2f} kernel  {cell.throughput:10,.0f}/s  noise {cell.foreign_busy:.0%}"
    )


def _print(results: Results, *, quick: bool) -> None:
    table = quick_table if quick else full_table
    summaries = summarise(results.cells, results.reference)
    print(f"ratio: {results.reference} / server, the median of the rounds' ratios")
    for name, client in results.clients.items():
        rows = table(SCENARIOS[name], summaries.get(name, ()), results.of_scenario(name))
        print(f"\n{heading(SCENARIOS[name], client)}\n\n{rows}")
    if len(summaries) > 1:
        for metric in ("total", "user", "throughput", "p99"):
            print(f"\n{metric}: {results.reference} / server\n\n{overview(summaries, metric, results.gaps)}")
    for failure in results.failures:
        print(f"\nFAILED: {failure}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
