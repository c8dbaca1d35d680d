#!/usr/bin/env python3
"""Starts Ferricorn in a container as tiangolo/uvicorn-gunicorn starts gunicorn: by its environment variables.

    start.py [ARGUMENTS]             serves /app/app/main.py or /app/main.py; ARGUMENTS are options of ferricorn
    start.py --reload [ARGUMENTS]    one process that reloads when a file changes, as the image's start-reload.sh
    start.py --health                exits with 0 where the server answers that it is healthy, else with 1

What an environment variable cannot mean here is said on standard error, and the server starts all the same. Needs
nothing but Python and the command.
"""

from __future__ import annotations

import http.client
import os
import shlex
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

FOLDER = "/app"
HEALTH_PATH = "/-/health"
HEALTH_SECONDS = 5.0
AFTER_PRE_START = "--after-pre-start"
SOURCING = '. "$1"; shift; exec "$@"'
"""For a shell: the script may export variables, as it may in that image."""

Environment = Mapping[str, str]


def main(arguments: Sequence[str], environment: Environment) -> None:
    if arguments == ["--health"]:
        sys.exit(not is_healthy(environment))
    if arguments[:1] == [AFTER_PRE_START]:
        arguments = arguments[1:]
    elif pre_start := pre_start_script(environment):
        say(f"Running script {pre_start}")
        again = [sys.executable, __file__, AFTER_PRE_START, *arguments]
        os.execvp("sh", ["sh", "-e", "-c", SOURCING, "sh", pre_start, *again])
    for problem in problems(environment):
        say(problem)
    command = command_line(arguments, environment)
    sys.stdout.flush()
    os.execvp(command[0], command)


def command_line(arguments: Sequence[str], environment: Environment) -> list[str]:
    """The command that serves. Options in `arguments` come last, so that they win."""
    reload = arguments[:1] == ["--reload"]
    chosen = [*options(environment, reload), *shlex.split(environment.get("GUNICORN_CMD_ARGS", "")), *arguments]
    return [sys.executable, "-m", "ferricorn", application(environment), *chosen]


def folder(environment: Environment) -> Path:
    """Where the application is; in that image always /app."""
    return Path(environment.get("APP_FOLDER") or FOLDER)


def application(environment: Environment) -> str:
    """APP_MODULE, or MODULE_NAME and VARIABLE_NAME, or what is in the folder."""
    default = "app.main" if (folder(environment) / "app" / "main.py").is_file() else "main"
    module = environment.get("MODULE_NAME") or default
    return environment.get("APP_MODULE") or f"{module}:{environment.get('VARIABLE_NAME') or 'app'}"


def options(environment: Environment, reload: bool) -> Iterator[str]:
    """What the variables say, by that image's defaults."""
    yield from ("--app-dir", str(folder(environment)))
    for address in addresses(environment):
        yield from ("--bind", address)
    if not addresses(environment):
        yield from ("--host", environment.get("HOST") or "0.0.0.0", "--port", environment.get("PORT") or "80")
    yield from ("--log-level", environment.get("LOG_LEVEL") or "info")
    if path := health_path(environment):
        yield from ("--health-path", path)
    if not reload:
        yield from ("--workers", str(workers(environment)))
        yield from ("--timeout-graceful-shutdown", environment.get("GRACEFUL_TIMEOUT") or "120")
        yield from ("--timeout-worker-healthcheck", environment.get("TIMEOUT") or "120")
        yield from ("--timeout-keep-alive", environment.get("KEEP_ALIVE") or "5")
        if environment.get("ACCESS_LOG", "-") == "":
            yield "--no-access-log"


def addresses(environment: Environment) -> list[str]:
    """What BIND names; empty where HOST and PORT count."""
    return [address for address in environment.get("BIND", "").split(",") if address]


def workers(environment: Environment) -> int:
    """WEB_CONCURRENCY, or WORKERS_PER_CORE (1) for each CPU, at least two, at most MAX_WORKERS."""
    if fixed := environment.get("WEB_CONCURRENCY"):
        return int(fixed)
    count = max(int(float(environment.get("WORKERS_PER_CORE") or "1") * cpus()), 2)
    most = environment.get("MAX_WORKERS")
    return min(count, int(most)) if most else count


def cpus() -> int:
    """Those that the container has, not those that the machine has."""
    from ferricorn.cpus import cpus as available

    return available()


def pre_start_script(environment: Environment) -> str | None:
    """The shell script that is to run first, if there is one."""
    path = environment.get("PRE_START_PATH") or str(folder(environment) / "prestart.sh")
    return path if Path(path).is_file() else None


def problems(environment: Environment) -> Iterator[str]:
    """One sentence for each variable that has no meaning here."""
    usual = [folder(environment) / name for name in ("gunicorn_conf.py", "app/gunicorn_conf.py")]
    found = [str(path) for path in usual if path.is_file()]
    if configuration := environment.get("GUNICORN_CONF") or next(iter(found), None):
        yield f"{configuration} is not read: a ferricorn.toml or FERRICORN_* variables take its place."
    if worker_class := environment.get("WORKER_CLASS"):
        yield f"WORKER_CLASS={worker_class} has no effect: there is one kind of worker."
    if (access := environment.get("ACCESS_LOG", "-")) not in ("", "-"):
        yield f"ACCESS_LOG={access} has no effect: the access log goes to standard output, or where --log-config says."
    if (error := environment.get("ERROR_LOG", "-")) != "-":
        yield f"ERROR_LOG={error} has no effect: the log goes to standard error, or where --log-config says."


def health_path(environment: Environment) -> str:
    """HEALTH_PATH; where it is set and empty, there is no health check but whether the server listens."""
    return environment.get("HEALTH_PATH", HEALTH_PATH)


def is_healthy(environment: Environment) -> bool:
    """Whether the server of this container says so."""
    connection = http.client.HTTPConnection("localhost", timeout=HEALTH_SECONDS)
    try:
        connection.sock = connected(environment)
        if not (path := health_path(environment)):
            return True
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def connected(environment: Environment) -> socket.socket:
    """A connection to where the server listens: the first address of BIND, or HOST and PORT."""
    bind = next(iter(addresses(environment)), "")
    if bind.startswith("unix:"):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(HEALTH_SECONDS)
        client.connect(bind.removeprefix("unix:"))
        return client
    host, _, port = bind.rpartition(":") if bind else (environment.get("HOST", ""), "", environment.get("PORT") or "80")
    anywhere = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
    host = host.strip("[]")
    return socket.create_connection((anywhere.get(host, host), int(port)), HEALTH_SECONDS)


def say(text: str) -> None:
    print(f"start.py: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)
