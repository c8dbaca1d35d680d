"""Fixtures: the event loops that every test runs on, servers that stop when their test ends, and the command."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from click.testing import Result

    from ferricorn.config import Config
    from tests.support.process import ServerProcess, StartProcess
    from tests.support.server import RunningServer, Serve
    from tests.support.transports import Transport

LOOPS = ["asyncio", *(["uvloop"] if importlib.util.find_spec("uvloop") else [])]
OTHERS = {"https1": LOOPS[0], "h2c": LOOPS[-1], "h2": LOOPS[0]}
"""The transports but HTTP/1.1 in cleartext, which has every loop: what depends on both is nobody's promise."""
EVERYWHERE = ("http", "lifespan", "scope", "websocket")
"""Folders of tests about what applications may rely on, whatever the transport."""


def pytest_configure() -> None:
    """Has SIGINT do what Python's documentation says, also where a shell runs the tests in the background."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    return f"event loops: {', '.join(LOOPS)}"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Takes a skipped test for a failure in CI, where everything is installed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs what needs an event loop on each, and what serves in the folders `EVERYWHERE` over more transports."""
    if "loop" not in metafunc.fixturenames:
        return
    if any("loop" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")):
        # A test of one loop.
        if "transport" in metafunc.fixturenames:
            metafunc.parametrize("transport", ["http1"], indirect=True, ids=[""])
        return
    if "transport" not in metafunc.fixturenames:
        metafunc.parametrize("loop", LOOPS, indirect=True)
        return
    runs = [pytest.param(loop, "http1", id=loop) for loop in LOOPS]
    if metafunc.definition.path.parent.name in EVERYWHERE:
        runs += [pytest.param(other, name, id=f"{other}-{name}") for name, other in OTHERS.items()]
    metafunc.parametrize(("loop", "transport"), runs, indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves those out that are about another transport: see the markers in pyproject.toml."""
    items[:] = [item for item in items if _is_meant(item)]


def _is_meant(item: pytest.Item) -> bool:
    transport = getattr(item, "callspec", None) and item.callspec.params.get("transport")  # type: ignore[attr-defined]
    left_out = {"http1": ("h2c", "h2"), "cleartext": ("https1", "h2")}
    return not any(transport in others and item.get_closest_marker(name) for name, others in left_out.items())


@pytest.fixture
def loop(request: pytest.FixtureRequest) -> str:
    """The value of `--loop` to test with."""
    name: str = request.param
    return name


@pytest.fixture
def transport(request: pytest.FixtureRequest) -> Transport:
    """What the servers and clients of the test speak with each other."""
    from tests.support.transports import Transport

    return Transport(request.param)


@pytest.fixture
def serve(loop: str, transport: Transport) -> Iterator[Serve]:
    """Starts servers. In the end they have to stop, with nothing in their log that the test did not expect."""
    # Imported here: tests of the Python parts alone run without the native module.
    from tests.support.server import RunningServer

    servers: list[RunningServer] = []
    chosen: dict[str, Any] = {"loop": loop, "transport": transport}
    with ExitStack() as running:

        def start(app: Callable[..., Any], **options: Any) -> RunningServer:
            server = running.enter_context(RunningServer(app, **(chosen | options)))
            servers.append(server)
            return server

        yield start
    for server in servers:
        assert server.failure is None
        assert server.log.remaining_problems() == []


@pytest.fixture
def start_process(loop: str) -> Iterator[StartProcess]:
    """Starts `ferricorn` in processes of their own, and ends those that the test has left running."""
    from tests.support.process import ServerProcess

    with ExitStack() as running:

        def start(app: str, *arguments: str, **more: Any) -> ServerProcess:
            return running.enter_context(ServerProcess(app, "--loop", loop, *arguments, **more))

        yield start


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """Runs the command in an empty folder, in an environment without options but for those that are given."""
    from click.testing import CliRunner

    from ferricorn import cli
    from ferricorn.config import OPTIONS

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    for logger in (logging.getLogger("ferricorn"), logging.getLogger("ferricorn.access")):
        # As in a new process: without the handlers of earlier servers, or pytest's.
        monkeypatch.setattr(logger, "handlers", [])
        monkeypatch.setattr(logger, "propagate", True)
    # A copy: what an env file sets ends with the test.
    fallbacks = {name for option in OPTIONS for name in option.fallbacks}
    ours = {name for name in os.environ if name.startswith(("FERRICORN_", "UVICORN_"))}
    kept = {name: text for name, text in os.environ.items() if name not in ours | fallbacks}
    monkeypatch.setattr(os, "environ", kept)

    def invoke(*arguments: str, **environment: str) -> Result:
        return CliRunner().invoke(cli.main, arguments, env=environment, prog_name="ferricorn")

    return invoke


@pytest.fixture
def config_of(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    """The configuration that a command line leads to, without serving."""
    from ferricorn import cli

    made: list[Config] = []

    def record(config: Config, *_: object, **__: object) -> None:
        made.append(config)

    monkeypatch.setattr(cli, "_run", record)

    def config(*arguments: str, **environment: str) -> Config:
        result = run(*arguments, **environment)
        assert result.exit_code == 0, result.output
        return made.pop()

    return config
