"""A notebook: cells run inside of an event loop that runs all the time, and one is run again and again."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import signal
import threading
from textwrap import dedent
from typing import Any

import pytest

from tests.support.client import GET, Client
from tests.support.deadline import DEADLINE
from tests.support.embedded import run_async, when_ready


class Notebook:
    """Runs cells as a kernel does: one after the other, in one namespace, on a loop that goes on between them.

    A cell may have `await` at its top level; then it runs as a coroutine.
    """

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.beats = 0

    async def cell(self, source: str) -> None:
        code = compile(dedent(source), "<cell>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if code.co_flags & inspect.CO_COROUTINE:
            await eval(code, self.names)
        else:
            exec(code, self.names)

    async def beat(self) -> None:
        """Goes on while the loop does."""
        while True:
            self.beats += 1
            await asyncio.sleep(0)

    async def passes(self) -> None:
        """Shows that the kernel's loop is alive."""
        before = self.beats
        while self.beats < before + 10:
            await asyncio.sleep(0)


APPLICATION = """
    import asyncio, threading
    import ferricorn

    async def app(scope, receive, send):
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": answer})

    async def ask():
        host, port = server.servers[0].sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
        response = await reader.read()
        writer.close()
        return response.split(b"\\r\\n\\r\\n")[1]

    def config():
        return ferricorn.Config(app, port=0, loop=loop, lifespan="off", log_level="warning")
"""


def with_notebook(loop: str, *cells: str) -> Notebook:
    notebook = Notebook()
    notebook.names["loop"] = loop

    async def main() -> None:
        beating = asyncio.create_task(notebook.beat())
        for source in (APPLICATION, *cells):
            await notebook.cell(source)
            await notebook.passes()
        beating.cancel()

    run_async(loop, main())
    return notebook


def test_a_server_in_a_thread_that_a_cell_starts_and_another_stops(loop: str) -> None:
    start = """
        answer = b"first"
        server = ferricorn.Server(config())
        thread = threading.Thread(target=server.run)
        thread.start()
    """
    ask = "await server.wait_started(); bodies.append(await ask())"
    change = "answer = b'second'; bodies.append(await ask())"
    stop = "server.should_exit = True; thread.join(15); assert not thread.is_alive()"
    cells = ["bodies = []", start, ask, change, stop, start, ask, stop]
    assert with_notebook(loop, *cells).names["bodies"] == [b"first", b"second", b"first"]


def test_a_server_as_a_task_of_the_notebook_s_loop(loop: str) -> None:
    cells = [
        "answer = b'task'; server = ferricorn.Server(config()); task = asyncio.create_task(server.serve())",
        "await server.wait_started(); body = await ask()",
        "server.should_exit = True; await task",
    ]
    assert with_notebook(loop, *cells).names["body"] == b"task"


def test_a_task_that_a_cell_cancels(loop: str) -> None:
    cells = [
        "answer = b''; server = ferricorn.Server(config()); task = asyncio.create_task(server.serve())",
        "await server.wait_started(); task.cancel()",
        "await asyncio.wait({task}); cancelled = task.cancelled()",
    ]
    assert with_notebook(loop, *cells).names["cancelled"]


def test_run_in_a_cell_serves_until_the_kernel_is_interrupted(loop: str) -> None:
    """The stop button sends SIGINT. The next cell runs as if nothing had been."""
    serve = "answer = b'run'; server = ferricorn.Server(config()); started.set(); server.run()"
    notebook = Notebook()
    notebook.names |= {"loop": loop, "started": threading.Event()}
    bodies: list[bytes] = []

    def interrupt() -> None:
        assert notebook.names["started"].wait(DEADLINE)
        server = notebook.names["server"]

        def ask_and_interrupt() -> None:
            with Client.connect(server.servers[0].sockets[0].getsockname()) as client:
                client.send(GET)
                bodies.append(client.response().body)
            os.kill(os.getpid(), signal.SIGINT)

        with when_ready(server, ask_and_interrupt):
            pass

    async def main() -> None:
        beating = asyncio.create_task(notebook.beat())
        await notebook.cell(APPLICATION)
        await notebook.cell(serve)
        await notebook.passes()
        await notebook.cell("after = 1")
        beating.cancel()

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    run_async(loop, main())
    interrupting.join(DEADLINE)
    assert bodies == [b"run"]
    assert notebook.names["after"] == 1


def test_a_cell_that_cannot_start_says_so_and_the_next_one_runs(loop: str) -> None:
    cells = [
        """
        try:
            ferricorn.run("no_such_module:app", port=0, log_level="critical")
        except SystemExit as left:
            status = left.code
    """
    ]
    assert with_notebook(loop, *cells).names["status"] == 3


@pytest.mark.parametrize("command", ["ferricorn.run(app, port=port)", "ferricorn.Server(config()).run()"])
def test_what_run_raises_comes_out_of_the_cell(loop: str, command: str) -> None:
    cells = [
        "port = 'not a number'; app = 5 if 'Server' in %r else app" % command,  # noqa: UP031 (braces)
        f"""
        try:
            {command}
        except Exception as error:
            raised = str(error)
        """,
    ]
    assert " must be " in with_notebook(loop, *cells).names["raised"]
