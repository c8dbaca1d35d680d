"""The life of a worker under gunicorn's arbiter: signals, heartbeat, the number of workers, reload, the end."""

from __future__ import annotations

import os
import signal
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.client import GET, request
from tests.support.gunicorn import GunicornProcess, StartGunicorn
from tests.support.workers import ends

APP = "tests.gunicorn.apps:app"
POST = request(b"POST", headers=[(b"content-length", b"4")])
"""A request whose body is to follow."""


def test_sigterm_lets_a_running_request_finish(start_gunicorn: StartGunicorn) -> None:
    server = start_gunicorn(APP).wait_until_running()
    with server.connect() as client:
        client.send(POST)
        server.wait_for_line("body begins")
        server.send_signal(signal.SIGTERM)
        server.wait_for_line("Waiting for connections to close")
        client.send(b"body")
        response = client.response()
        assert response.status == 200
        assert response.header(b"connection") == b"close"
    server.wait_for_line("shutdown in")
    assert server.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGINT], ids=lambda number: number.name)
def test_a_quick_end_cuts_what_runs_and_shuts_the_application_down(
    start_gunicorn: StartGunicorn, number: signal.Signals
) -> None:
    server = start_gunicorn(APP, "--graceful-timeout", "60").wait_until_running()
    with server.connect() as client:
        client.send(request(target=b"/forever"))
        server.wait_for_line("forever begins")
        server.send_signal(number)
        assert client.response().status == 500
        assert client.ends()
    assert server.wait() == 0
    assert "shutdown in" in server.output


def test_sigquit_after_sigterm_waits_no_longer(start_gunicorn: StartGunicorn) -> None:
    server = start_gunicorn(APP, "--graceful-timeout", "60").wait_until_running()
    with server.connect() as client:
        client.send(request(target=b"/forever"))
        server.wait_for_line("forever begins")
        server.send_signal(signal.SIGTERM)
        server.wait_for_line("Waiting for connections to close")
        server.send_signal(signal.SIGQUIT)
        assert client.response().status == 500
    assert server.wait() == 0


def test_what_runs_at_the_graceful_timeout_is_cut_before_gunicorn_kills(start_gunicorn: StartGunicorn) -> None:
    server = start_gunicorn(APP, "--graceful-timeout", "4").wait_until_running()
    with server.connect() as client:
        client.send(request(target=b"/forever"))
        server.wait_for_line("forever begins")
        server.send_signal(signal.SIGTERM)
        server.wait_for_line("not finished 2 seconds after the stop")
        assert client.response().status == 500
    server.wait_for_line("shutdown in")
    assert server.wait() == 0
    assert "SIGKILL" not in server.output


def test_a_blocked_worker_is_killed_and_replaced(start_gunicorn: StartGunicorn) -> None:
    server = start_gunicorn(APP, "--timeout", "2").wait_until_running()
    blocked = server.wait_for_worker()
    with server.connect() as client:
        client.send(request(target=b"/block"))
        server.wait_for_line("block begins")
        server.wait_for_line(f"WORKER TIMEOUT .pid:{blocked}")
        server.wait_for_line("The event loop is blocked")
        server.wait_for_line("in block")
        replacement = server.wait_for_worker()
        assert replacement != blocked
    assert server.exchange(GET).body == str(replacement).encode()


def test_a_worker_with_a_long_request_is_not_killed(start_gunicorn: StartGunicorn) -> None:
    """What waits holds no loop up: the heartbeat comes."""
    server = start_gunicorn(APP, "--timeout", "1", "--log-level", "debug").wait_until_running()
    worker = str(server.wait_for_worker()).encode()
    with server.connect() as client:
        client.send(POST)
        server.wait_for_line("body begins")
        with server.connect() as other:
            # As long as three timeouts, by the clock that closes an idle connection after two seconds.
            other.send(GET)
            assert other.response().body == worker
            assert other.ends()
        client.send(b"body")
        assert client.response().body == worker
    assert "TIMEOUT" not in server.output


def test_sighup_replaces_the_workers_and_cuts_no_idle_connection(start_gunicorn: StartGunicorn) -> None:
    """A client that has idled finds its connection as it was, and is told that this was its last response."""
    server = start_gunicorn(APP, "--workers", "2", "--keep-alive", "60").wait_until_running()
    old = [server.wait_for_worker() for _ in range(2)]
    clients = [server.connect() for _ in range(8)]
    with ExitStack() as opened:
        for client in clients:
            opened.enter_context(client)
            client.send(GET)
            assert client.response().header(b"connection") is None
        server.send_signal(signal.SIGHUP)
        for _ in old:
            server.wait_for_line("Shutting down$")
        for client in clients:
            client.send(GET)
            response = client.response()
            assert response.status == 200
            assert int(response.body) in old
            assert response.header(b"connection") == b"close"
            assert client.ends()
    assert all(ends(pid) for pid in old)
    assert int(server.exchange(GET).body) not in old
    assert server.wait_until_serving(workers=4).stop() == 0


def test_an_idle_connection_is_not_waited_for_longer_than_its_time(start_gunicorn: StartGunicorn) -> None:
    server = start_gunicorn(APP, "--keep-alive", "60").wait_until_running()
    with server.connect() as client:
        client.send(GET)
        client.response()
        server.send_signal(signal.SIGTERM)
        assert client.ends()
        assert server.wait() == 0


def test_a_drain_delay_says_that_the_worker_will_stop(start_gunicorn: StartGunicorn) -> None:
    server = start_gunicorn(APP, "-k", "tests.gunicorn.apps.DelayingWorker").wait_until_running()
    assert server.exchange(request(target=b"/healthy")).status == 200
    with server.connect() as client:
        server.send_signal(signal.SIGTERM)
        server.wait_for_line("Serving for another 1 seconds")
        client.send(request(target=b"/healthy"))
        assert client.response().status == 503
    assert server.wait() == 0


def test_max_requests_under_load(start_gunicorn: StartGunicorn) -> None:
    """Workers come and go, and every request is answered: on a connection that was told so, by the next one."""
    server = start_gunicorn(APP, "--workers", "2", "--max-requests", "50", "--max-requests-jitter", "20")
    server.wait_until_running()
    seen: set[bytes] = set()

    def ask(count: int) -> None:
        while count:
            with server.connect() as client:
                while count:
                    client.send(GET)
                    response = client.response()
                    assert response.status == 200
                    seen.add(response.body)
                    count -= 1
                    if response.header(b"connection") == b"close":
                        break

    with ThreadPoolExecutor(8) as clients:
        for result in [clients.submit(ask, 100) for _ in range(8)]:
            result.result()
    assert len(seen) > 4
    server.wait_for_line("Worker restarting after [5-7][0-9] requests")
    assert "exited with code" not in server.output


def test_ttin_and_ttou_change_the_number_of_workers(start_gunicorn: StartGunicorn) -> None:
    server = start_gunicorn(APP).wait_until_running()
    first = server.wait_for_worker()
    server.wait_for_line("running on")
    server.send_signal(signal.SIGTTIN)
    second = server.wait_for_worker()
    server.wait_for_line("running on")
    server.send_signal(signal.SIGTTOU)
    server.wait_for_line(rf"Worker exiting \(pid: {first}\)")
    assert ends(first)
    assert server.exchange(GET).body == str(second).encode()
    assert server.stop() == 0


def test_a_worker_ends_where_the_arbiter_is_gone(start_gunicorn: StartGunicorn) -> None:
    server = start_gunicorn(APP).wait_until_running()
    worker = server.wait_for_worker()
    server.wait_for_line("running on")
    server.send_signal(signal.SIGKILL)
    server.wait_for_line("Parent changed, shutting down")
    server.wait_for_line(f"shutdown in {worker}")
    assert ends(worker)


def test_a_killed_worker_is_replaced(start_gunicorn: StartGunicorn) -> None:
    server = start_gunicorn(APP).wait_until_running()
    worker = server.wait_for_worker()
    server.wait_for_line("running on")
    os.kill(worker, signal.SIGKILL)
    replacement = server.wait_for_worker()
    assert server.exchange(GET).body == str(replacement).encode()


def test_a_stop_during_startup(start_gunicorn: StartGunicorn) -> None:
    """SIGTERM before the application is ready ends the worker, without an error."""
    server = start_gunicorn("tests.gunicorn.apps:never_ready").wait_until_running()
    server.wait_for_line("startup begins")
    assert server.stop() == 0
    assert "Traceback" not in server.output


def test_hooks_are_called(start_gunicorn: StartGunicorn, tmp_path: Path) -> None:
    settings = tmp_path / "gunicorn.conf.py"
    settings.write_text(
        textwrap.dedent("""
        def post_fork(server, worker): worker.log.info("hook post_fork %s", worker.pid)
        def post_worker_init(worker): worker.log.info("hook post_worker_init %s", worker.pid)
        def worker_int(worker): worker.log.info("hook worker_int %s", worker.pid)
        def worker_abort(worker): worker.log.info("hook worker_abort %s", worker.pid)
        def worker_exit(server, worker): worker.log.info("hook worker_exit %s", worker.pid)
        def child_exit(server, worker): worker.log.info("hook child_exit %s", worker.pid)
        """)
    )
    server = start_gunicorn(APP, "--config", str(settings)).wait_until_running()
    first = server.wait_for_worker()
    for name in ("post_fork", "post_worker_init"):
        server.wait_for_line(f"hook {name} {first}")
    server.wait_for_line("running on")
    os.kill(first, signal.SIGABRT)
    for name in ("worker_abort", "worker_exit", "child_exit"):
        server.wait_for_line(f"hook {name} {first}")
    second = server.wait_for_worker()
    server.wait_for_line("running on")
    server.send_signal(signal.SIGQUIT)
    for name in ("worker_int", "worker_exit"):
        server.wait_for_line(f"hook {name} {second}")
    assert server.wait() == 0


def test_a_changed_file_reloads_while_a_response_streams(start_gunicorn: StartGunicorn, tmp_path: Path) -> None:
    module = tmp_path / "changing.py"
    write_application(module, "one")
    server = start_gunicorn(
        "changing:app", "--reload", "--reload-engine", "poll", "--graceful-timeout", "60", folder=tmp_path
    ).wait_until_running()
    server.wait_for_line("running on")
    assert server.exchange(GET).body == b"one"
    with server.connect() as client:
        client.send(request(target=b"/stream"))
        client.head()
        assert client.chunk() == b"one"
        write_application(module, "two")
        wait_for_reload(server, module)
    assert server.exchange(GET).body == b"two"


def test_a_syntax_error_is_shown_until_it_is_mended(start_gunicorn: StartGunicorn, tmp_path: Path) -> None:
    module = tmp_path / "changing.py"
    module.write_text("def app(:\n")
    server = start_gunicorn("changing:app", "--reload", "--reload-engine", "poll", folder=tmp_path)
    server.wait_until_running()
    response = server.exchange(GET)
    assert response.status == 500
    assert b"changing.py" in response.body
    assert b"SyntaxError" in response.body
    write_application(module, "mended")
    wait_for_reload(server, module)
    assert server.exchange(GET).body == b"mended"


def write_application(module: Path, answer: str) -> None:
    """Answers with `answer`; below /stream its response goes on forever."""
    module.write_text(
        textwrap.dedent(f"""
        import asyncio

        async def app(scope, receive, send):
            assert scope["type"] == "http"
            stream = scope["path"] == "/stream"
            await send({{"type": "http.response.start", "status": 200, "headers": []}})
            await send({{"type": "http.response.body", "body": b"{answer}", "more_body": stream}})
            if stream:
                await asyncio.Event().wait()
        """)
    )


def wait_for_reload(server: GunicornProcess, module: Path) -> None:
    """Until there is a worker that was started because `module` has changed.

    gunicorn notes when a file was changed at its first look, which may come later than the test's change of it: so it
    is changed until gunicorn sees it.
    """
    seen = threading.Event()

    def touch() -> None:
        time_of_change = int(module.stat().st_mtime)
        while not seen.wait(0.1):
            time_of_change += 1
            os.utime(module, (time_of_change, time_of_change))

    toucher = threading.Thread(target=touch)
    toucher.start()
    try:
        server.wait_for_line(f"Worker reloading: .*{module.name} modified")
    finally:
        seen.set()
        toucher.join()
    server.wait_for_worker()
