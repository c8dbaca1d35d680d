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
