"""The command: starts servers, runs the cases against them, and says what came out.

    python -m conformance.http2                                  all cases against ferricorn, in cleartext
    python -m conformance.http2 --tls                            over TLS
    python -m conformance.http2 --cases 'http2/5.1/*'            some cases
    python -m conformance.http2 --server hypercorn,granian       others, with a table of all at the end
    python -m conformance.http2 --address 127.0.0.1:8000         a server that runs already, with app.py

The status is 0 when every case passed without a remark, 1 when any did not, 2 when the suite could not be run.
"""

from __future__ import annotations

import argparse
import dataclasses
import fnmatch
import ssl
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from conformance.autobahn.servers import FERRICORN, ServerFailedError, serve, versions

from . import cases
from .case import CASES, NOT_APPLICABLE, PASSED, Case, Result, run
from .peer import Target, tls_context
from .servers import SERVERS, make_certificate
from .tables import group_table, problem_list, server_table

SIDE_BY_SIDE = 8
"""Cases mostly wait for the server. Each has a connection of its own."""


def main() -> int:
    options = _parse()
    try:
        chosen = select(options.cases)
        runs = _address(options, chosen) if options.address else _servers(options, chosen)
    except (ValueError, ServerFailedError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for label, results in runs.items():
        print(f"\n{label}\n\n{group_table(results)}\n\n{problem_list(results)}")
    if len(runs) > 1:
        print(f"\n{server_table(runs)}")
    return 0 if all(_perfect(result) for results in runs.values() for result in results) else 1


def select(patterns: Sequence[str]) -> list[Case]:
    """The cases that any of `patterns` names; all without one. Raises ValueError for a pattern that names none."""
    assert cases.__all__, "importing them declares them"
    if not patterns:
        return list(CASES.values())
    for pattern in patterns:
        if not fnmatch.filter(CASES, pattern):
            raise ValueError(f"no case is called {pattern}")
    return [case for name, case in CASES.items() if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]


def run_all(chosen: Sequence[Case], target: Target) -> list[Result]:
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        return list(pool.map(lambda case: run(case, target), chosen))


def _address(options: argparse.Namespace, chosen: Sequence[Case]) -> dict[str, list[Result]]:
    host, _, port = options.address.rpartition(":")
    if not port.isdecimal():
        raise ValueError(f"{options.address} is no HOST:PORT")
    return {options.address: run_all(chosen, Target(host.strip("[]"), int(port), _tls(options)))}


def _servers(options: argparse.Namespace, chosen: Sequence[Case]) -> dict[str, list[Result]]:
    runs = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        certificate = make_certificate(folder) if options.tls else None
        for server in options.server:
            described = dataclasses.replace(SERVERS[server], certificate=certificate)
            label = f"{server} ({versions(described, options.python)})"
            with serve(described, options.python, folder / f"{server}.log") as running:
                port = int(running.url.rpartition(":")[2])
                runs[label] = run_all(chosen, Target("127.0.0.1", port, _tls(options)))
                if running.exit_status() is not None:
                    raise ServerFailedError(f"{server} ended during the cases")
    return runs


def _tls(options: argparse.Namespace) -> ssl.SSLContext | None:
    return tls_context() if options.tls else None


def _perfect(result: Result) -> bool:
    return result.verdict == NOT_APPLICABLE or (result.verdict == PASSED and not result.remarks)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m conformance.http2", description=__doc__.partition("\n")[0])
    parser.add_argument("--tls", action="store_true", help="over TLS (ALPN h2), not in cleartext")
    parser.add_argument("--cases", type=lambda text: text.split(","), default=[], metavar="PATTERN,...")
    parser.add_argument("--server", type=_names, default=[FERRICORN], metavar="NAME,...", help=", ".join(SERVERS))
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="the one that has the servers")
    parser.add_argument("--address", metavar="HOST:PORT", help="a server that runs already")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in SERVERS]:
        raise argparse.ArgumentTypeError(f"not known: {', '.join(unknown)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
