"""Programs of somebody's own that run workers."""

from __future__ import annotations

from pathlib import Path
from signal import SIGTERM
from textwrap import dedent

from tests.support.process import Program
from tests.support.workers import ask, ends

UNGUARDED = """
    import ferricorn

    print("the script runs", flush=True)
    ferricorn.run("tests.support.worker_apps:app", workers=2, port=0)
    """
IN_A_THREAD = """
    import threading

    import ferricorn

    options = {"workers": 1, "port": 0}
    threading.Thread(target=ferricorn.run, args=["tests.support.worker_apps:app"], kwargs=options, daemon=True).start()
    threading.Event().wait()
    """
STOPPED_FROM_OUTSIDE = """
    import threading

    from ferricorn import Config
    from ferricorn.supervisor import Supervisor

    supervisor = Supervisor(Config("tests.support.worker_apps:app", workers=1, port=0))
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    while not supervisor.addresses:
        pass
    print("stopping", flush=True)
    supervisor.should_exit = True
    thread.join()
    """


def program(folder: Path, text: str) -> Program:
    path = folder / "main.py"
    path.write_text(dedent(text))
    return Program(folder, str(path))


def test_a_script_without_a_guard(tmp_path: Path) -> None:
    """The workers import the application, and not the script: it runs once."""
    with program(tmp_path, UNGUARDED) as server:
        assert ask(server.wait_until_running()).pid != server.process.pid
        assert server.stop() == 0
        assert server.output.count("the script runs") == 1


def test_a_current_folder_with_names_of_the_library(tmp_path: Path) -> None:
    """Workers have the sys.path of their parent from the beginning, and it does not begin with that folder."""
    (tmp_path / "logging.py").write_text("raise ImportError('this is not the logging that is meant')")
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "main.py").write_text(dedent(UNGUARDED))
    with Program(tmp_path, str(scripts / "main.py")) as server:
        assert ask(server.wait_until_running())
        assert server.stop() == 0


def test_in_a_thread_that_ends_with_its_program(tmp_path: Path) -> None:
    with program(tmp_path, IN_A_THREAD) as server:
        pid = ask(server.wait_until_running()).pid
        assert server.stop(SIGTERM) == -SIGTERM
        assert ends(pid)


def test_in_a_thread_that_is_told_to_stop(tmp_path: Path) -> None:
    with program(tmp_path, STOPPED_FROM_OUTSIDE) as server:
        server.wait_for_line("stopping")
        assert server.wait() == 0
        assert "Finished parent process" in server.output
