"""The page of metrics: where it is, in which form, and that it is nowhere unless it is asked for."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from ferricorn import Config, StartupError
from ferricorn._ferricorn import Board, Listener, MetricsServer
from tests.metrics.conftest import ServeCounted
from tests.support.asgi import Receive, Scope, Send, respond
from tests.support.client import GET, Client, request
from tests.support.metrics import OPENMETRICS, Metrics
from tests.support.process import StartProcess
from tests.support.server import DEFAULTS, RunningServer, Serve, parse_address
from tests.support.websocket import HANDSHAKE

HELLO = "tests.support.apps:hello"
PAGE = request(target=b"/metrics")


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send)


def is_answered_for() -> bool:
    """Whether a thread of this process answers for metrics (Linux)."""
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    return "ferricorn-metri" in names


def test_both_forms_say_the_same(serve_counted: ServeCounted) -> None:
    server, metrics = serve_counted(app)
    assert server.exchange(GET).status == 200
    metrics.wait_for("connections_open", lambda count: count == 0)
    plain, opened = metrics.values(), metrics.values(accept=OPENMETRICS)
    assert plain.keys() == opened.keys()
    # What goes on meanwhile: the ticks of the event loop.
    changing = re.compile("event_loop_(lag|blocked)")
    assert {key: value for key, value in plain.items() if not changing.search(key)} == {
        key: value for key, value in opened.items() if not changing.search(key)
    }
    assert metrics.get().header(b"content-type") == b"text/plain; version=0.0.4; charset=utf-8"
    content_type = metrics.get(accept=OPENMETRICS).header(b"content-type")
    assert content_type == b"application/openmetrics-text; version=1.0.0; charset=utf-8"


def test_every_metric_has_a_help_and_is_in_the_documentation() -> None:
    documentation = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    page = Board(1).render()
    names = re.findall(r"^# TYPE (\S+) ", page, re.MULTILINE)
    assert names == re.findall(r"^# HELP (\S+) \S", page, re.MULTILINE)
    assert re.findall(r"^\| `(ferricorn_\w+)` \|", documentation, re.MULTILINE) == names


def test_other_places_and_methods_have_no_metrics(serve_counted: ServeCounted) -> None:
    _, metrics = serve_counted(app)
    assert metrics.get(b"/").status == 404
    assert metrics.get(b"/metrics/").status == 404
    assert metrics.get(b"/metrics?name[]=up").status == 200
    head = metrics.get(method=b"HEAD")
    assert (head.status, head.body) == (200, b"")
    posted = metrics.get(method=b"POST")
    assert (posted.status, posted.header(b"allow")) == (405, b"GET, HEAD")
    with Client.connect(metrics.address) as client:
        client.send(HANDSHAKE)
        assert client.response().status == 403


def test_the_application_has_its_own_metrics_path(serve_counted: ServeCounted) -> None:
    server, _ = serve_counted(app)
    assert server.exchange(PAGE).body == b"ok"


def test_a_connection_serves_many_scrapes(serve_counted: ServeCounted) -> None:
    _, metrics = serve_counted(app)
    with Client.connect(metrics.address) as client:
        for _ in range(3):
            client.send(PAGE)
            assert client.response().status == 200


def test_a_bad_request_is_refused_quietly(serve_counted: ServeCounted, capfd: pytest.CaptureFixture[str]) -> None:
    _, metrics = serve_counted(app)
    with Client.connect(metrics.address) as client:
        client.send(b"GET /metrics\r\n\r\n")
        assert client.response().status == 400
    assert metrics.value("requests_refused_total", status="400") == 0
    assert "refused" not in capfd.readouterr().err


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="threads are looked up in /proc")
def test_nothing_answers_unless_it_is_asked_for(serve: Serve, place: str) -> None:
    with RunningServer(app) as quiet:
        assert quiet.exchange(GET).status == 200
        assert not is_answered_for()
    server = serve(app, metrics_bind=f"unix:{place}")
    assert is_answered_for()
    server.stop()
    assert not is_answered_for()
    assert not os.path.exists(place)


def test_a_stop_waits_for_no_idle_client(serve_counted: ServeCounted) -> None:
    server, metrics = serve_counted(app)
    with Client.connect(metrics.address) as client:
        client.send(PAGE)
        assert client.response().status == 200
        server.stop()
        assert client.ends()


def test_the_address_is_told(serve: Serve) -> None:
    server = serve(app, metrics_bind="127.0.0.1:0")
    (place,) = [match[1] for record in server.log.records if (match := re.search("Metrics on (.*)", record.message))]
    metrics = Metrics(parse_address(re.fullmatch("http://(.*)/metrics", place)[1]))  # type: ignore[index]
    assert metrics.value("workers") == 1


@pytest.mark.parametrize(
    ("options", "address"),
    [
        ({"port": 8000}, "127.0.0.1:8000"),
        ({"bind": ["[::1]:80", "unix:/run/app"]}, "unix:/run/app"),
        ({"uds": "/run/app"}, "unix:/run/app"),
    ],
)
def test_an_address_of_the_application_is_refused(options: dict[str, Any], address: str) -> None:
    with pytest.raises(ValueError, match="metrics_bind must not be an address of the application"):
        Config(app, metrics_bind=address, **options)
    assert Config(app, metrics_bind="127.0.0.1:0", port=0).metrics_bind == "127.0.0.1:0"


def test_an_address_that_is_taken_stops_the_start() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        server = RunningServer(app, **(DEFAULTS | {"metrics_bind": address}))
        with pytest.raises(StartupError, match=f"Cannot listen on {address}"), server:
            pass
    assert isinstance(server.failure, SystemExit)


def test_the_command_answers_for_its_metrics(start_process: StartProcess, place: str) -> None:
    process = start_process(HELLO, "--metrics-bind", f"unix:{place}", "--lifespan", "off").wait_until_running()
    assert process.exchange(GET).status == 200
    metrics = Metrics(place)
    assert metrics.value("requests_total", method="GET", status="2xx") == 1
    assert process.stop() == 0
    assert not os.path.exists(place)


def test_a_closed_listener_is_refused() -> None:
    listener = Listener.bind("127.0.0.1:0")
    listener.close()
    with pytest.raises(ValueError, match="closed"):
        MetricsServer(listener, Board(1))


def test_closing_twice_is_closing_once() -> None:
    listener = Listener.bind("127.0.0.1:0")
    server = MetricsServer(listener, Board(1))
    listener.close()
    for _ in range(2):
        server.close()
