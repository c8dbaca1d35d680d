"""The clients of HTTP, run on their core against a server that listens: wrk, h2load, and our own. Knows no server.

wrk's script calls no Lua per request: it replaces `wrk.format`, which wrk calls once, and leaves `request` undefined,
so that one string is sent again and again, the whole pipelined batch in it. wrk learns the depth by parsing it.
"""

import json
import resource
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import h2load
from harness.certificate import certificate
from harness.h2load import H2LOAD
from harness.native import binary
from harness.scenarios import HttpScenario

WRK, LOAD = "wrk", "load"

# What wrk may need beyond the load itself, to connect and to print. Seconds.
_GRACE_SECONDS = 60.0

_WRK_SCRIPT = """
function init(arguments)
   local file = assert(io.open(arguments[1], "rb"))
   local batch = file:read("*a"):rep(tonumber(arguments[2]))
   file:close()
   wrk.format = function() return batch end
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '\\n{"requests": %d, "seconds": %.6f, "bytes": %d, "p50": %.1f, "p99": %.1f, "errors": %d}\\n',
      summary.requests, summary.duration / 1e6, summary.bytes, latency:percentile(50), latency:percentile(99),
      errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


class LoadFailedError(Exception):
    """The client met errors or responses that are not the expected ones: what it measured is worthless."""


@dataclass(frozen=True)
class Load:
    """What a client counted. Latencies in microseconds, of a request or an echoed message.

    Of a pipelined batch, those of the whole batch; of a broadcast, until all have it.
    """

    requests: int
    seconds: float
    p50: float
    p99: float
    client_cpu: float
    """CPU seconds of the client itself."""
    received: int
    """Bytes, heads included."""
    client_user: float = 0.0
    """The part of `client_cpu` that is not the kernel's, where it is known."""


def run(client: str, scenario: HttpScenario, port: int, seconds: float, core: int | None) -> Load:
    """Loads the server for so many seconds (wrk: whole ones). Raises LoadFailedError."""
    with tempfile.TemporaryDirectory() as directory:
        before = _children_cpu()
        report = _CLIENTS[client](scenario, port, seconds, Path(directory), core)
        cpu = _children_cpu() - before
    if report["errors"] or not report["requests"]:
        raise LoadFailedError(f"{client}: {report['errors']} errors, {report['requests']} responses")
    if report["bytes"] < report["requests"] * len(scenario.expected):
        raise LoadFailedError(f"{client}: {report['bytes']} bytes are too few for {report['requests']} responses")
    return Load(report["requests"], report["seconds"], report["p50"], report["p99"], cpu, report["bytes"])


def _run_pinned(command: list[str], core: int | None, seconds: float) -> str:
    """What the client writes to stdout."""
    name = Path(command[0]).name
    pinned = command if core is None else ["taskset", "--cpu-list", str(core), *command]
    try:
        done = subprocess.run(pinned, capture_output=True, text=True, timeout=seconds + _GRACE_SECONDS, check=True)
    except subprocess.TimeoutExpired as error:
        raise LoadFailedError(f"{name} did not end") from error
    except subprocess.CalledProcessError as error:
        raise LoadFailedError(f"{name} ended with {error.returncode}: {error.stderr[-500:]}") from error
    if done.stderr:
        raise LoadFailedError(f"{name}: {done.stderr[-500:].strip()}")
    return done.stdout


def _run_json(command: list[str], core: int | None, seconds: float) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(_run_pinned(command, core, seconds).splitlines()[-1])
    return report


def _wrk(scenario: HttpScenario, port: int, seconds: float, directory: Path, core: int | None) -> dict[str, Any]:
    script, request = directory / "script.lua", _request(scenario, port, directory)
    script.write_text(_WRK_SCRIPT)
    options = f"--threads 1 --connections {scenario.connections} --duration {round(seconds)}s --timeout 30s"
    # Two dashes end wrk's own arguments; what follows goes to init.
    url = f"{'https' if scenario.tls else 'http'}://127.0.0.1:{port}"
    arguments = ["--script", str(script), url, "--", str(request), str(scenario.depth)]
    return _run_json([WRK, *options.split(), *arguments], core, seconds)


def _load(scenario: HttpScenario, port: int, seconds: float, directory: Path, core: int | None) -> dict[str, Any]:
    options = f"--port {port} --connections {scenario.connections} --depth {scenario.depth} --seconds {seconds}"
    request = _request(scenario, port, directory)
    arguments = ["--request", str(request), "--body-bytes", str(len(scenario.expected))]
    arguments += [] if scenario.keep_alive else ["--keep-alive", "off"]
    arguments += ["--tls", str(certificate().certificate)] if scenario.tls else []
    return _run_json([str(binary(LOAD)), *options.split(), *arguments], core, seconds)


def _h2load(scenario: HttpScenario, port: int, seconds: float, directory: Path, core: int | None) -> dict[str, Any]:
    log, body = directory / "log", directory / "body"
    body.write_bytes(scenario.body)
    output = _run_pinned(h2load.command(scenario, port, seconds, log, body), core, seconds)
    return h2load.report(scenario, output, log)


def _request(scenario: HttpScenario, port: int, directory: Path) -> Path:
    request = directory / "request"
    request.write_bytes(scenario.request(f"127.0.0.1:{port}"))
    return request


_CLIENTS = {WRK: _wrk, LOAD: _load, H2LOAD: _h2load}


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
