"""gunicorn serves with our worker: its sockets, its settings, and what it refuses."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support.client import GET, Client, request
from tests.support.gunicorn import StartGunicorn

APP = "tests.gunicorn.apps:app"


def test_a_worker_answers(start_gunicorn: StartGunicorn) -> None:
    server = start_gunicorn(APP).wait_until_running()
    worker = server.wait_for_worker()
    assert server.exchange(GET).body == str(worker).encode()
    assert server.stop() == 0
    assert "Traceback" not in server.output


def test_the_loop_is_the_one_that_is_asked_for(start_gunicorn: StartGunicorn, loop: str) -> None:
    server = start_gunicorn(APP, "--root-path", "/api").wait_until_running()
    root_path, module = eval(server.exchange(request(target=b"/scope")).body)
    assert root_path == "/api"
    assert module.partition(".")[0] == loop


def test_several_addresses_unix_sockets_among_them(start_gunicorn: StartGunicorn, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server = start_gunicorn(APP, "--bind", "127.0.0.1:0", "--bind", f"unix:{path}").wait_until_running()
    worker = str(server.wait_for_worker()).encode()
    assert server.addresses[1] == str(path)
    for address in server.addresses:
        with Client.connect(address) as client:
            client.send(GET)
            assert client.response().body == worker
    assert server.stop() == 0
    assert not path.exists()


def test_an_inherited_descriptor(start_gunicorn: StartGunicorn) -> None:
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        number = inherited.fileno()
        server = start_gunicorn(APP, "--bind", f"fd://{number}", pass_fds=(number,)).wait_until_running()
        assert server.addresses == [inherited.getsockname()]
        assert server.exchange(GET).status == 200


def test_sockets_of_its_own_for_each_worker(start_gunicorn: StartGunicorn) -> None:
    with socket.socket() as reserved:
        # With SO_REUSEPORT gunicorn makes the sockets in the workers, so the port has to be known beforehand.
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))
        host, port = reserved.getsockname()
        server = start_gunicorn(APP, "--reuse-port", "--bind", f"{host}:{port}")
        server.wait_for_line("Application startup complete")
        server.wait_for_line("running on")
        with Client.connect((host, port)) as client:
            client.send(GET)
            assert client.response().status == 200


def test_preloaded_application_and_factory(start_gunicorn: StartGunicorn) -> None:
    server = start_gunicorn("tests.gunicorn.apps:create_app()", "--preload", "--workers", "2").wait_until_running()
    workers = {str(server.wait_for_worker()).encode() for _ in range(2)}
    assert server.exchange(GET).body in workers
    assert server.wait_until_serving(workers=2).stop() == 0


def test_who_is_believed_is_gunicorns_setting(start_gunicorn: StartGunicorn, tmp_path: Path) -> None:
    """Its own addresses are those that gunicorn trusts by default, and the peers of unix sockets always."""
    path = tmp_path / "socket"
    ask = request(target=b"/client", headers=[(b"x-forwarded-for", b"192.0.2.7")])
    binds = ("--bind", "127.0.0.1:0", "--bind", f"unix:{path}")
    trusting = start_gunicorn(APP, *binds).wait_until_running()
    assert [trusting.exchange_at(place, ask).body for place in trusting.addresses] == [b"192.0.2.7"] * 2
    strict = start_gunicorn(APP, "--forwarded-allow-ips", "10.0.0.1").wait_until_running()
    assert strict.exchange(ask).body == b"127.0.0.1"


def test_proxy_protocol(start_gunicorn: StartGunicorn) -> None:
    server = start_gunicorn(APP, "--proxy-protocol").wait_until_running()
    header = b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n"
    assert server.exchange(header + request(target=b"/client")).body == b"192.0.2.7"


def test_an_idle_connection_is_closed_after_keepalive(start_gunicorn: StartGunicorn) -> None:
    server = start_gunicorn(APP, "--keep-alive", "1").wait_until_running()
    with server.connect() as client:
        client.send(GET)
        assert client.response().header(b"connection") is None
        assert client.ends()


def test_keepalive_0_keeps_no_connection(start_gunicorn: StartGunicorn) -> None:
    server = start_gunicorn(APP, "--keep-alive", "0").wait_until_running()
    with server.connect() as client:
        client.send(GET)
        assert client.response().status == 200
        assert client.ends()


@pytest.mark.parametrize("arguments", [(), ("--limit-request-line", "8190", "--limit-request-field_size", "0")])
def test_long_header_fields_as_far_as_gunicorn_is_told_to_take_them(
    start_gunicorn: StartGunicorn, arguments: tuple[str, ...]
) -> None:
    server = start_gunicorn(APP, *arguments).wait_until_running()
    with server.connect() as client:
        client.send_until_end(request(headers=[(b"long", b"x" * 70_000)]))
        assert client.response().status == (200 if arguments else 431)


def test_the_settings_of_a_class_come_first(start_gunicorn: StartGunicorn) -> None:
    server = start_gunicorn(APP, "-k", "tests.gunicorn.apps.UvicornStyleWorker", "--root-path", "/x")
    server.wait_until_running()
    assert server.exchange(request(target=b"/scope")).body.startswith(b"('/mounted', 'asyncio.")
    assert server.exchange(request(headers=[(b"long", b"x" * 2000)])).status == 431
    assert server.stop() == 0
    assert "startup in" not in server.output


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("WrongWorker", "'rootpath'; did you mean 'root_path'?"),
        ("SupervisingWorker", "CONFIG_KWARGS cannot have metrics_bind"),
    ],
)
def test_a_wrong_setting_of_a_class_stops_gunicorn(start_gunicorn: StartGunicorn, name: str, problem: str) -> None:
    server = start_gunicorn(APP, "-k", f"tests.gunicorn.apps.{name}")
    assert server.wait() == 3
    assert problem in server.output
    assert "Traceback" not in server.output


@pytest.mark.parametrize("name", ["UvloopWorker", "AsyncioWorker"])
def test_classes_for_each_loop(start_gunicorn: StartGunicorn, name: str) -> None:
    if name == "UvloopWorker":
        pytest.importorskip("uvloop")
    server = start_gunicorn(APP, "-k", f"ferricorn.gunicorn.{name}").wait_until_running()
    assert name[:6].lower() in server.exchange(request(target=b"/scope")).body.decode()


def test_a_failed_startup_stops_gunicorn(start_gunicorn: StartGunicorn) -> None:
    server = start_gunicorn("tests.support.apps:failing_startup")
    assert server.wait() == 3
    assert "no database" in server.output
    assert "Worker failed to boot" in server.output
    assert "Traceback" not in server.output


def test_lifespan_on_lets_no_failure_pass(start_gunicorn: StartGunicorn) -> None:
    server = start_gunicorn("tests.support.apps:raising_startup", "--asgi-lifespan", "on")
    assert server.wait() == 3
    assert "no settings" in server.output


@pytest.mark.parametrize(("mode", "told"), [("auto", True), ("off", False)])
def test_lifespan_is_gunicorns_setting(start_gunicorn: StartGunicorn, mode: str, told: bool) -> None:
    server = start_gunicorn("tests.support.apps:raising_startup", "--asgi-lifespan", mode)
    server.wait_for_line("running on")
    assert server.stop() == 0
    assert ("ASGI 'lifespan' protocol appears unsupported" in server.output) == told


def test_an_application_that_is_not_there_stops_gunicorn(start_gunicorn: StartGunicorn) -> None:
    server = start_gunicorn("tests.gunicorn.apps:missing")
    assert server.wait() == 4
    assert "missing" in server.output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--http2-cleartext", "upgrade"), "knows no upgrade to HTTP/2"),
        (("--protocol", "uwsgi"), "'uwsgi' cannot be served"),
        (("--proxy-protocol", "--proxy-allow-from", "10.0.0.1"), "one list of proxies"),
    ],
)
def test_what_cannot_be_served_is_refused_before_there_are_workers(
    start_gunicorn: StartGunicorn, arguments: tuple[str, ...], reason: str
) -> None:
    server = start_gunicorn(APP, *arguments)
    assert server.wait() == 1
    assert reason in server.output
    assert "Booting" not in server.output
    assert "Traceback" not in server.output


def test_settings_without_effect_are_told_once(start_gunicorn: StartGunicorn) -> None:
    server = start_gunicorn(APP, "--threads", "4", "--workers", "2").wait_until_running()
    server.wait_for_line("threads has no effect on Ferricorn's worker")
    server.wait_until_serving(workers=2).stop()
    assert server.output.count("has no effect") == 1
