"""The fixtures: a running server for each framework, and a client for it."""

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Protocol, cast

import httpx
import pytest

from . import websocket
from .catalogue import CATALOGUE, HTTP, Feature, Framework
from .server import Server, expected_status, faults_in, running

CLIENT_SECONDS = 15.0
SMALL_FILE_BYTES = 300_017
LARGE_FILE_BYTES = 64 * 1024 * 1024


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(feature): the test runs for the frameworks that have this feature")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs a test for every framework that speaks HTTP, or for those that the module names in `FRAMEWORKS`."""
    if "framework" not in metafunc.fixturenames:
        return
    names = getattr(metafunc.module, "FRAMEWORKS", HTTP)
    needed = [mark.args[0] for mark in metafunc.definition.iter_markers("needs")]
    chosen = [each for each in CATALOGUE.values() if each.name in names and all(map(each.has, needed))]
    metafunc.parametrize("framework", chosen, ids=lambda each: each.name, scope="module", indirect=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps the tests of one server together: pytest's own order starts it anew where a feature is lacking."""
    ours = [index for index, item in enumerate(items) if "framework" in getattr(item, "fixturenames", ())]
    ordered = sorted((items[index] for index in ours), key=_file_framework_line)
    for index, item in zip(ours, ordered, strict=True):
        items[index] = item


def _file_framework_line(item: pytest.Item) -> tuple[str, int, int]:
    assert isinstance(item, pytest.Function)
    name = cast("Framework", item.callspec.params["framework"]).name
    return str(item.path), list(CATALOGUE).index(name), item.location[1] or 0


@pytest.fixture(scope="module")
def framework(request: pytest.FixtureRequest) -> Framework:
    """Whose application is served."""
    chosen: Framework = request.param
    return chosen


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the applications send as files: small.bin with a pattern, large.bin with 64 MiB of zeros."""
    directory = tmp_path_factory.mktemp("files")
    (directory / "small.bin").write_bytes((bytes(range(251)) * (SMALL_FILE_BYTES // 251 + 1))[:SMALL_FILE_BYTES])
    with (directory / "large.bin").open("wb") as large:
        large.truncate(LARGE_FILE_BYTES)
    return directory


@pytest.fixture(scope="module")
def server(framework: Framework, files: Path) -> Iterator[Server]:
    """A server process of the module's own. At the end, after all that was asked of it, it has to stop as a good server
    does: no test stops it, for others may come after that one.
    """
    with running(framework.target, files) as started:
        yield started
        assert_stops_cleanly(started, framework)


@pytest.fixture
def own_server(framework: Framework, files: Path) -> Iterator[Server]:
    """A server process that a test may stop."""
    with running(framework.target, files) as started:
        yield started


def assert_stops_cleanly(server: Server, framework: Framework) -> None:
    """Stops the server: exit status 0, the application shut down, nothing lost in the log."""
    status = server.stop()
    log = f"{framework.name}:\n{server.log}"
    assert status == expected_status(), log
    assert not (faults := faults_in(server.log)), f"{faults[0]}\nin the log of {log}"
    assert server.log.count("application: shut down") == framework.has(Feature.LIFESPAN), log


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    """Asks the module's server; a connection of its own for each request under way, kept alive after it."""
    with connected(server) as client:
        yield client


class Connect(Protocol):
    def __call__(self, path: str, **options: Any) -> websocket.Client: ...


@pytest.fixture
def connect(server: Server) -> Iterator[Connect]:
    """Opens WebSockets to the module's server, with the options of `websockets`; all are closed after the test."""
    with ExitStack() as opened:

        def connect(path: str, **options: Any) -> websocket.Client:
            return opened.enter_context(websocket.connected(server.url + path, **options))

        yield connect


@pytest.fixture
def raw(server: Server) -> Iterator[HTTPConnection]:
    """One connection driven by hand: a request can be sent in parts, an answer left unread, the connection dropped."""
    connection = HTTPConnection(httpx.URL(server.url).netloc.decode(), timeout=CLIENT_SECONDS)
    yield connection
    connection.close()


@pytest.fixture
def name() -> str:
    """A fresh name for the signals of one test."""
    return uuid.uuid4().hex


@pytest.fixture
def other_client(server: Server) -> Iterator[httpx.Client]:
    """As `client`, on connections of its own."""
    with connected(server) as client:
        yield client


def connected(server: Server) -> httpx.Client:
    """A client that asks for no compression, so that a piece is seen when it comes."""
    return httpx.Client(
        base_url=server.url, timeout=CLIENT_SECONDS, trust_env=False, headers={"accept-encoding": "identity"}
    )
