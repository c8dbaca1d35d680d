"""The command: makes the suite's environment, starts a server, runs the cases, and says what came out of them.

    python -m conformance.autobahn                             all cases against ferricorn
    python -m conformance.autobahn --quick                     a part of them
    python -m conformance.autobahn --server uvicorn,granian    others, with a table of all at the end

The status is 0 when every case ended as expected.json says, 1 when any did not, 2 when the suite could not be run.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import environment, fuzzing
from .progress import Progress
from .results import QUICK, Outcome, Result, differences, read_expected, read_results, select
from .servers import FERRICORN, SERVERS, Running, ServerFailedError, serve, versions
from .tables import case_list, group_table, server_table

REPORTS = environment.TARGET / "autobahn-reports"


@dataclass(frozen=True)
class Run:
    """What came out for one server."""

    label: str
    results: Sequence[Result]
    different: Mapping[str, str]
    seconds: float
    suite_cpu_seconds: float


def main() -> int:
    options = _parse()
    expected = read_expected()
    cases = list(expected)
    patterns = QUICK if options.quick else options.cases
    try:
        # Where all are asked for, the suite says which those are: one that is not expected shows.
        chosen = select(cases, patterns) if patterns else ["*"]
        suite = environment.prepare(_say)
        wanted = {case: expected[case] for case in (chosen if patterns else cases)}
        runs = [_run(options, name, suite, chosen, wanted) for name in options.server]
    except (ValueError, environment.UnavailableError, fuzzing.SuiteFailedError, ServerFailedError) as error:
        _say(f"error: {error}")
        return 2
    if len(runs) > 1:
        print(f"\n{server_table({run.label: run.results for run in runs})}")
    return 1 if any(run.different for run in runs) else 0


def _parse() -> argparse.Namespace:
    description = "Runs the Autobahn WebSocket test suite, all its cases by default."
    parser = argparse.ArgumentParser(prog="python -m conformance.autobahn", description=description)
    known = ", ".join(SERVERS)
    parser.add_argument("--server", type=_servers, default=[FERRICORN], help=f"comma-separated, of {known}")
    parser.add_argument("--python", type=_interpreter, default=Path(sys.executable), help="the Python that has them")
    parser.add_argument("--url", help="a server that runs already and echoes, such as ws://127.0.0.1:9000")
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--quick", action="store_true", help="a part of every group, in well under a minute")
    part.add_argument("--cases", type=_words, default=[], help="comma-separated patterns, such as 5.*,12.1.*")
    options = parser.parse_args()
    if options.url:
        options.server = [options.url]
    return options


def _words(text: str) -> list[str]:
    return text.split(",")


def _servers(text: str) -> list[str]:
    for name in _words(text):
        if name not in SERVERS:
            raise argparse.ArgumentTypeError(f"unknown server {name!r}; known: {', '.join(SERVERS)}")
    return _words(text)


def _interpreter(text: str) -> Path:
    # Absolute because servers start in another directory; not resolved, for that would leave a virtual environment.
    return Path(text).absolute()


def _run(
    options: argparse.Namespace, name: str, suite: Path, chosen: Sequence[str], wanted: Mapping[str, Outcome]
) -> Run:
    folder = REPORTS / ("url" if options.url else name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    label = name if options.url else f"{name} ({versions(SERVERS[name], options.python)})"
    _say(f"{label}: {len(wanted)} cases")
    with _running(options, name, folder / "server.log") as server:
        progress = Progress(len(wanted), server.cpu_seconds)
        suite_cpu = fuzzing.run(suite, server.url, name, chosen, folder, progress.begun)
        progress.ended()
        status = server.exit_status()
    results = read_results(folder, name, progress.cpu_seconds)
    run = Run(label, results, differences(wanted, results), progress.seconds, suite_cpu)
    _tell(run)
    if status is not None:
        _say(f"the server ended by itself, with status {status}: {folder / 'server.log'}")
    return run


@contextmanager
def _running(options: argparse.Namespace, name: str, log: Path) -> Iterator[Running]:
    if options.url:
        yield Running(options.url)
        return
    with serve(SERVERS[name], options.python, log) as server:
        yield server


def _tell(run: Run) -> None:
    """The closing line has the form of pytest's, for whoever looks for those in a log."""
    print(f"\n{run.label}\n\n{group_table(run.results)}\n")
    print(f"the suite itself took {run.suite_cpu_seconds:.1f} s of CPU time, which no server can save\n")
    notable = case_list(run.results, run.different)
    if notable:
        print(f"not OK in both verdicts, or not as expected:\n\n{notable}\n")
    failed = f"{len(run.different)} failed, " if run.different else ""
    passed = sum(result.case not in run.different for result in run.results)
    print(f"==== Autobahn: {failed}{passed} passed in {run.seconds:.2f}s ====", flush=True)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
