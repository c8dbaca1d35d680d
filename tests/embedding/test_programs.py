"""Programs that serve, as people write them, in processes of their own: scripts, modules, what comes after `run`."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent

import pytest

from tests.support.client import GET
from tests.support.process import Program

APPLICATION = dedent("""
    async def app(scope, receive, send):
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": __name__.encode()})
    """)
SCRIPT = "import ferricorn\n" + APPLICATION

Start = Callable[..., Program]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Writes files into an empty folder and starts `python ARGUMENTS` there."""
    with ExitStack() as running:

        def begin(*arguments: str, files: dict[str, str]) -> Program:
            for name, text in files.items():
                path = tmp_path / name
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
            return running.enter_context(Program(tmp_path, *arguments))

        yield begin


@pytest.mark.parametrize(("named", "answer"), [("app", b"__main__"), ('"main:app"', b"main")])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_script(start: Start, named: str, answer: bytes, number: signal.Signals) -> None:
    """A signal means the server: the program goes on behind `run`, and ends as it likes."""
    main = f"""
        if __name__ == "__main__":
            ferricorn.run({named}, host="127.0.0.1", port=0, log_level="info")
            print("after")
        """
    program = start("main.py", files={"main.py": SCRIPT + dedent(main)}).wait_until_running()
    assert program.exchange(GET).body == answer
    assert program.stop(number) == 0
    assert program.lines[-1] == "after"


def test_a_module_of_a_package_that_is_run_with_m(start: Start) -> None:
    main = """
        import ferricorn

        from package.application import app

        if __name__ == "__main__":
            ferricorn.run(app, port=0)
        """
    files = {"package/main.py": dedent(main), "package/application.py": APPLICATION}
    program = start("-m", "package.main", files=files).wait_until_running()
    assert program.exchange(GET).body == b"package.application"
    assert program.stop() == 0


def test_a_package_that_is_run_with_m_and_names_its_application(start: Start) -> None:
    main = """
        import ferricorn

        ferricorn.run("package.application:app", port=0, workers=None, reload=False)
        """
    files = {"package/__main__.py": dedent(main), "package/application.py": APPLICATION}
    program = start("-m", "package", files=files).wait_until_running()
    assert program.exchange(GET).body == b"package.application"
    assert program.stop() == 0


def test_the_name_of_the_application_from_a_script_in_another_folder(start: Start) -> None:
    script = """
        import ferricorn

        ferricorn.run("application:app", app_dir="source", port=0)
        """
    files = {"scripts/serve.py": dedent(script), "source/application.py": APPLICATION}
    program = start("scripts/serve.py", files=files).wait_until_running()
    assert program.exchange(GET).body == b"application"
    assert program.stop() == 0


def test_a_program_that_serves_one_after_the_other(start: Start) -> None:
    loop = "for number in range(2): ferricorn.run(app, port=0)"
    program = start("main.py", files={"main.py": SCRIPT + loop})
    for _ in range(2):
        program.wait_until_running()
        assert program.exchange(GET).body == b"__main__"
        program.send_signal(signal.SIGINT)
    assert program.wait() == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)])
def test_asyncio_run_of_serve_ends_by_the_signal(start: Start, number: signal.Signals, status: int) -> None:
    """`serve` leaves the end of the program to the program: asyncio raises KeyboardInterrupt, SIGTERM ends it."""
    main = """
        import asyncio

        async def main():
            server = ferricorn.Server(ferricorn.Config(app, port=0))
            await server.serve()

        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print("interrupted")
        """
    program = start("main.py", files={"main.py": SCRIPT + dedent(main)}).wait_until_running()
    assert program.stop(number) == status
    assert "Finished server process" in program.output
    assert (program.lines[-1] == "interrupted") is (number == signal.SIGINT)


def test_what_cannot_start_exits_with_3_from_run_and_raises_from_serve(start: Start) -> None:
    run = start("-c", 'import ferricorn; ferricorn.run("nowhere:app", port=0)', files={})
    assert run.wait() == 3
    assert "Traceback" not in run.output
    script = """
        import asyncio, ferricorn
        asyncio.run(ferricorn.Server(ferricorn.Config("nowhere:app", port=0)).serve())
        """
    serve = start("-c", dedent(script), files={})
    assert serve.wait() == 1
    assert serve.lines[-1].startswith("ferricorn.errors.StartupError: Cannot import 'nowhere:app'")


WORKERS = """
    import os

    async def app(scope, receive, send):
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"%d %d" % (os.getpid(), os.getppid())})
    """


@pytest.mark.parametrize("preload", ["", ", preload=True"], ids=["fresh", "preload"])
def test_workers_of_a_script(start: Start, preload: str) -> None:
    """The script's own module is imported by the workers; what stands behind `run` is done once, in the end."""
    main = f"""
        import ferricorn

        if __name__ == "__main__":
            ferricorn.run("main:app", workers=2, port=0{preload})
            print("after")
        """
    program = start("main.py", files={"main.py": dedent(WORKERS) + dedent(main)}).wait_until_running()
    worker, _ = map(int, program.exchange(GET).body.split())
    assert worker != program.process.pid
    assert program.stop() == 0
    assert program.lines.count("after") == 1
    assert program.lines[-1] == "after"


@pytest.mark.parametrize(
    "arguments", [("scripts/serve.py",), ("-m", "scripts.serve")], ids=["by its path", "by its name"]
)
def test_workers_import_from_where_the_program_does(start: Start, arguments: tuple[str, ...]) -> None:
    """A script's own folder is in its sys.path, a module's is not: there, `app_dir` says it."""
    script = """
        import ferricorn

        if __name__ == "__main__":
            ferricorn.run("beside:app", workers=2, port=0, app_dir=APP_DIR)
        """
    app_dir = '"scripts"' if arguments[0] == "-m" else "None"
    files = {"scripts/serve.py": dedent(script).replace("APP_DIR", app_dir), "scripts/beside.py": dedent(WORKERS)}
    program = start(*arguments, files=files).wait_until_running()
    assert program.exchange(GET).status == 200
    assert program.stop(signal.SIGINT) == 0


@pytest.mark.parametrize("option", ["workers=2", "reload=True", "preload=True"])
def test_worker_processes_need_the_name_of_the_application(start: Start, option: str) -> None:
    program = start("main.py", files={"main.py": SCRIPT + f"ferricorn.run(app, {option}, port=0)"})
    assert program.wait() == 3
    assert "Traceback" not in program.output
    assert "Worker processes import the application: it has to be given as text" in program.output


def test_workers_do_not_begin_workers(start: Start) -> None:
    """Without the guard, each worker would run the script again: on port 0 without an end."""
    program = start(
        "main.py",
        files={"main.py": dedent(WORKERS) + 'import ferricorn\nferricorn.run("main:app", workers=2, port=0)\n'},
    )
    assert program.wait() == 3
    assert "RuntimeError: ferricorn.run is called while 'main:app' is imported" in program.output
    assert "running on" not in program.output


def test_one_worker_of_an_application_that_is_here_is_this_process(start: Start) -> None:
    """`workers=1` is what programs say that were written for uvicorn."""
    main = """
        import ferricorn

        ferricorn.run(app, workers=1, port=0)
        """
    program = start("main.py", files={"main.py": dedent(WORKERS) + dedent(main)}).wait_until_running()
    assert program.exchange(GET).body.split()[0] == b"%d" % program.process.pid
    assert program.stop() == 0


def test_a_program_that_ends_while_a_daemon_thread_serves(start: Start) -> None:
    """Nothing is shut down then, and nothing crashes."""
    main = """
        import http.client, threading

        server = ferricorn.Server(ferricorn.Config(app, port=0, log_level="warning"))
        threading.Thread(target=server.run, daemon=True).start()
        assert server.ready.wait(15)
        client = http.client.HTTPConnection(*server.servers[0].sockets[0].getsockname())
        client.request("GET", "/")
        print(client.getresponse().read())
        """
    program = start("main.py", files={"main.py": SCRIPT + dedent(main)})
    assert program.wait() == 0
    assert program.lines == ["b'__main__'"]


def test_the_reload_of_a_script(start: Start, tmp_path: Path) -> None:
    """What development is made of: the script names the module beside it, which changes."""
    main = """
        import ferricorn

        if __name__ == "__main__":
            ferricorn.run("beside:app", reload=True, reload_dirs="source", app_dir="source", port=0)
        """
    files = {"main.py": dedent(main), "source/beside.py": APPLICATION.replace("__name__.encode()", "b'before'")}
    program = start("main.py", files=files).wait_until_running()
    assert program.exchange(GET).body == b"before"
    (tmp_path / "source" / "beside.py").write_text(APPLICATION.replace("__name__.encode()", "b'after it'"))
    program.wait_for_line("Reloading, for a change of")
    program.wait_for_line("Finished server process")
    assert program.exchange(GET).body == b"after it"
    assert program.stop(signal.SIGINT) == 0
