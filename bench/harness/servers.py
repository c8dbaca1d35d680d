"""The servers: how each is started, with one worker, uvloop where it can, no access log. Knows no single scenario."""

import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from harness.certificate import certificate
from harness.scenarios import Scenario, WebSocketScenario

EPOLL = "epoll"
FERRICORN = "ferricorn"


class NotInstalledError(Exception):
    """A server was asked for by name and the interpreter cannot import it."""


@dataclass(frozen=True)
class Server:
    """A Python server: `PYTHON -m MODULE ARGUMENTS`, with {app} and {port} filled in."""

    name: str
    arguments: str
    module: str = ""
    """Default: the name."""
    distribution: str = ""
    """Default: the name."""
    needs: tuple[str, ...] = ("uvloop",)
    """Distributions without which the arguments would not work or the server would be measured below its best."""
    tls: str | None = field(default=None, kw_only=True)
    """Further arguments for TLS, with {certificate} and {key} filled in. None: it has none."""
    http2: str | None = field(default=None, kw_only=True)
    """Further arguments for HTTP/2, with TLS and without. None: it has none."""
    http: bool = field(default=True, kw_only=True)
    """Whether it takes part in the HTTP scenarios: not where it would only be another one again."""
    optional: bool = field(default=False, kw_only=True)
    """Only measured when asked for by name."""

    def command(self, python: Path, scenario: Scenario, port: int) -> list[str]:
        arguments = self.arguments.format(app=scenario.app, port=port)
        if scenario.http2:
            arguments += f" {self.http2 or ''}"
        if scenario.tls:
            pair = certificate()
            arguments += " " + (self.tls or "").format(certificate=pair.certificate, key=pair.key)
        return [str(python), "-m", self.module or self.name, *arguments.split()]

    def plays(self, scenario: Scenario) -> bool:
        able = not (scenario.tls and self.tls is None) and not (scenario.http2 and self.http2 is None)
        return able and (self.http or isinstance(scenario, WebSocketScenario))

    def versions(self, python: Path) -> dict[str, str]:
        """The versions of the server and of what it needs, "" for what is missing."""
        installed = distributions(python)
        return {name: installed.get(name, "") for name in (self.distribution or self.name, *self.needs)}


_SSL_FILES = "--ssl-certfile {certificate} --ssl-keyfile {key}"
_TLS_FILES = "--tls-cert {certificate} --tls-key {key}"

_ALL = (
    Server(
        FERRICORN,
        "{app} --host 127.0.0.1 --port {port} --loop uvloop --no-access-log --log-level warning",
        tls=_SSL_FILES,
        http2="",
    ),
    Server(
        "ferricorn-asyncio",
        "{app} --host 127.0.0.1 --port {port} --loop asyncio --no-access-log --log-level warning",
        module=FERRICORN,
        distribution=FERRICORN,
        needs=(),
        tls=_SSL_FILES,
        http2="",
        optional=True,
    ),
    # Takes uvloop by itself when it is installed; writes no access log unless told to. Like weft, it only accepts
    # permessage-deflate when told to.
    Server(
        "peregrine",
        "--host 127.0.0.1 --port {port} --log-level warning --ws-compress {app}",
        distribution="peregrine-server",
        tls=_TLS_FILES,
        http2="",
    ),
    # Its runtime is the loop's selector, so that uvloop cannot be used.
    Server(
        "weft",
        "--host 127.0.0.1 --port {port} --log-level warning --ws-compress {app}",
        distribution="weft-server",
        needs=(),
        tls=_TLS_FILES,
        http2="",
    ),
    Server(
        "granian",
        "--interface asgi --host 127.0.0.1 --port {port} --loop uvloop --no-access-log --log-level warning "
        "--backlog 2048 {app}",
        tls="--ssl-certificate {certificate} --ssl-keyfile {key}",
        # It would answer both versions by default, which costs it a little.
        http2="--http 2",
    ),
    # Its proxy header middleware is off because no other server here looks at those headers.
    Server(
        "uvicorn",
        "--host 127.0.0.1 --port {port} --loop uvloop --http httptools --no-access-log --log-level warning "
        "--no-proxy-headers --ws websockets-sansio {app}",
        needs=("uvloop", "httptools", "websockets"),
        tls=_SSL_FILES,
    ),
    Server(
        "uvicorn-wsproto",
        "--host 127.0.0.1 --port {port} --loop uvloop --http httptools --no-access-log --log-level warning "
        "--no-proxy-headers --ws wsproto {app}",
        module="uvicorn",
        distribution="uvicorn",
        needs=("uvloop", "httptools", "wsproto"),
        http=False,
    ),
    # Its limit of 1,000 requests a connection can be lifted in its configuration file only.
    Server(
        "hypercorn",
        "--config hypercorn.toml --bind 127.0.0.1:{port} --worker-class uvloop --workers 1 --backlog 2048 "
        "--log-level WARNING {app}",
        needs=("uvloop", "wsproto"),
        tls="--certfile {certificate} --keyfile {key}",
        http2="",
    ),
    # One Tokio thread beside the event loop's: both share the one core.
    Server(
        "h2corn",
        "--host 127.0.0.1 --port {port} --loop uvloop --runtime-threads 1 --no-access-log --backlog 2048 {app}",
        tls="--certfile {certificate} --keyfile {key}",
        http2="",
    ),
)

SERVERS: Mapping[str, Server] = {server.name: server for server in _ALL}


@dataclass(frozen=True)
class Target:
    """A server in an interpreter, or the bare epoll responder where `server` is None."""

    label: str
    server: Server | None
    python: Path

    def versions(self) -> dict[str, str]:
        return self.server.versions(self.python) if self.server else {}

    def plays(self, scenario: Scenario) -> bool:
        """Whether it takes part in the scenario."""
        if self.server is None:
            return scenario.fixed
        return self.server.plays(scenario)


@cache
def distributions(python: Path) -> Mapping[str, str]:
    """Name (lower case) and version of every distribution that the interpreter has."""
    code = (
        "import importlib.metadata as m, json;"
        "print(json.dumps({d.metadata['Name'].lower(): d.version for d in m.distributions()}))"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def parse_targets(names: Iterable[str], python: Path) -> list[Target]:
    """Targets from "NAME" or "NAME@PYTHON"; the latter compares two builds of one server.

    Raises NotInstalledError, and ValueError for an unknown name.
    """
    return [_parse_target(name, python) for name in names]


def _parse_target(text: str, python: Path) -> Target:
    name, _, interpreter = text.partition("@")
    interpreter_path = Path(interpreter) if interpreter else python
    if name == EPOLL:
        return Target(text, None, interpreter_path)
    if name not in SERVERS:
        raise ValueError(f"unknown server {name!r}; known: {', '.join((*SERVERS, EPOLL))}")
    target = Target(text, SERVERS[name], interpreter_path)
    missing = [distribution for distribution, version in target.versions().items() if not version]
    if missing:
        raise NotInstalledError(f"{text}: not installed in {interpreter_path}: {', '.join(missing)}")
    return target


def installed_targets(python: Path) -> tuple[list[Target], list[str]]:
    """Every server that the interpreter has, the epoll responder last; and why the others are left out."""
    targets: list[Target] = []
    absent: list[str] = []
    for name in (*(name for name, server in SERVERS.items() if not server.optional), EPOLL):
        try:
            targets.append(_parse_target(name, python))
        except NotInstalledError as error:
            absent.append(str(error))
    return targets, absent
