"""nghttp2's load client, for HTTP/2: its command, and what it reports. Knows no server."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.scenarios import HttpScenario

H2LOAD = "h2load"

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
_PROTOCOLS = {False: "h2c", True: "h2"}


def command(scenario: HttpScenario, port: int, seconds: float, log: Path, body: Path) -> list[str]:
    """Writes a line to `log` for each request; sends what is in `body` where the scenario has one."""
    scheme = "https" if scenario.tls else "http"
    options = f"--clients {scenario.connections} --max-concurrent-streams {scenario.depth} --log-file {log}"
    data = ["--data", str(body)] if scenario.body else []
    duration = f"--duration={round(seconds * 1000)}ms"
    return [H2LOAD, *options.split(), *data, duration, f"{scheme}://127.0.0.1:{port}{scenario.path}"]


def report(scenario: HttpScenario, output: str, log: Path) -> dict[str, Any]:
    """What the other clients say as JSON. Requests that were still running at the end are not counted."""
    total, done, failed = (_number(rf"requests: .*?(\d+) {what}", output) for what in ("total", "done", "failed"))
    errors = failed + sum(_number(rf"(\d+) {what}", output) for what in ("errored", "timeout"))
    errors += sum(_number(rf"(\d+) {status}xx", output) for status in (3, 4, 5))
    if f"Application protocol: {_PROTOCOLS[scenario.tls]}\n" not in output:
        errors += total
    latencies = sorted(int(line.rpartition("\t")[2]) for line in log.read_text().splitlines())
    return {
        "requests": done,
        "seconds": _seconds(output),
        "bytes": _number(r"traffic: .*?\((\d+)\) total", output),
        "p50": _percentile(latencies, 0.5),
        "p99": _percentile(latencies, 0.99),
        "errors": errors,
    }


def _seconds(output: str) -> float:
    match = re.search(r"finished in ([\d.]+)(us|ms|s|m)", output)
    return float(match[1]) * _UNITS[match[2]] if match else 0.0


def _percentile(ordered: Sequence[int], share: float) -> float:
    return float(ordered[round((len(ordered) - 1) * share)]) if ordered else 0.0


def _number(pattern: str, output: str) -> int:
    return int(_text(pattern, output))


def _text(pattern: str, output: str) -> str:
    """The group of the first match; "0" where there is none, as in the output of a run that came to nothing."""
    match = re.search(pattern, output)
    return match[1] if match else "0"
