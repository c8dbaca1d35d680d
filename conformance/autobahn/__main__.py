"""The command: makes the suite's environment, starts a server, runs the cases, and says what came out of them.

    python -m conformance.autobahn                             all cases against ferricorn
    python -m conformance.autobahn --quick                     a part of them
    python -m conformance.autobahn --server uvicorn,granian    others, with a table of all at the end
    python -m conformance.autobahn --http2                     the same cases over HTTP/2

The status is 0 when every case ended as expected.json says, 1 when any did not, 2 when the suite could not be run.
"""

import argparse
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from . import environment
from .bridge import bridged
from .results import QUICK, Outcome, parts, read_expected, select
from .runs import Run
from .servers import FERRICORN, SERVERS, Running, ServerFailedError, serve, versions
from .tables import case_list, group_table, server_table

REPORTS = environment.TARGET / "autobahn-reports"


def main() -> int:
    options = _parse()
    # So that a command that is ended leaves no server behind.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        wanted = _wanted(options)
        suite = environment.prepare(_say)
        runs = [_prepare(options, name, wanted) for name in options.server]
    except (ValueError, environment.UnavailableError, ServerFailedError) as error:
        _say(f"error: {error}")
        return 2
    if len(runs) > 1:
        _take_turns(runs, suite, list(wanted))
    else:
        # Where all are asked for, the suite says which those are: one that is not expected shows.
        everything = not (options.quick or options.cases)
        _say(f"{runs[0].label}: {len(wanted)} cases")
        runs[0].go_on(suite, "", ["*"] if everything else list(wanted), len(wanted))
    for run in runs:
        _tell(run)
    if len(runs) > 1:
        print(f"\n{server_table({run.label: run.results for run in runs})}")
    return _status(runs)


def _wanted(options: argparse.Namespace) -> dict[str, Outcome]:
    expected = read_expected()
    patterns = QUICK if options.quick else options.cases
    return {case: expected[case] for case in select(expected, patterns)} if patterns else expected


def _take_turns(runs: Sequence[Run], suite: Path, cases: Sequence[str]) -> None:
    """Each part with every server, each time another one first, so that a slow minute of the machine hits all alike."""
    for number, (part, chosen) in enumerate(parts(cases).items()):
        shift = number % len(runs)
        for run in (*runs[shift:], *runs[:shift]):
            _say(f"{run.label}: {len(chosen)} cases, {part}")
            run.go_on(suite, part, chosen, len(chosen))


def _status(runs: Sequence[Run]) -> int:
    if not all(run.results for run in runs):
        return 2
    return 1 if any(run.different or run.failures for run in runs) else 0


def _parse() -> argparse.Namespace:
    description = "Runs the Autobahn WebSocket test suite, all its cases by default."
    parser = argparse.ArgumentParser(prog="python -m conformance.autobahn", description=description)
    known = ", ".join(SERVERS)
    parser.add_argument("--server", type=_servers, default=[FERRICORN], help=f"comma-separated, of {known}")
    parser.add_argument("--python", type=_interpreter, default=Path(sys.executable), help="the Python that has them")
    parser.add_argument("--url", help="a server that runs already and echoes, such as ws://127.0.0.1:9000")
    parser.add_argument("--http2", action="store_true", help="over HTTP/2 without TLS, by a bridge from HTTP/1.1")
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


def _prepare(options: argparse.Namespace, name: str, wanted: Mapping[str, Outcome]) -> Run:
    """Raises ServerFailedError where the server is not installed."""
    label = name if options.url else f"{name} ({versions(SERVERS[name], options.python)})"
    folder = REPORTS / ("url" if options.url else name)
    if options.http2:
        label, folder = f"{label} over HTTP/2", folder.with_name(f"{folder.name}-http2")
    return Run(name, label, wanted, folder, partial(_running, options, name))


@contextmanager
def _running(options: argparse.Namespace, name: str, log: Path) -> Iterator[Running]:
    with ExitStack() as ends:
        server = Running(options.url) if options.url else ends.enter_context(serve(SERVERS[name], options.python, log))
        if options.http2:
            address = urlsplit(server.url)
            port = ends.enter_context(bridged(address.hostname or "127.0.0.1", address.port or 80))
            server = Running(f"ws://127.0.0.1:{port}", server.process)
        yield server


def _tell(run: Run) -> None:
    """The closing line has the form of pytest's, for whoever looks for those in a log."""
    for failure in run.failures:
        _say(f"error: {run.label}: {failure}")
    if not run.results:
        return
    print(f"\n{run.label}\n\n{group_table(run.results)}\n")
    print(f"the suite itself took {run.suite_cpu_seconds:.1f} s of CPU time, which no server can save\n")
    different = run.different
    notable = case_list(run.results, different)
    if notable:
        print(f"not OK in both verdicts, or not as expected:\n\n{notable}\n")
    failed = f"{len(different)} failed, " if different else ""
    passed = sum(result.case not in different for result in run.results)
    print(f"==== Autobahn: {failed}{passed} passed in {run.seconds:.2f}s ====", flush=True)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
