"""Processes that listen on one socket, each with an event loop of its own."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from tests.support.client import GET, Client, request
from tests.support.process import StartProcess


def test_a_worker_that_is_blocked_does_not_hold_new_connections_up(start_process: StartProcess, tmp_path: Path) -> None:
    """The others accept them. What it had accepted before is answered when it goes on."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number, address = listener.fileno(), listener.getsockname()
        arguments = ("--fd", str(number), "--stall-warning", "0", "--lifespan", "off")
        processes = [
            start_process(
                "tests.support.apps:blocking_on_demand", *arguments, pass_fds=[number], environment={"FIFO": str(fifo)}
            )
            for _ in range(2)
        ]
        for process in processes:
            process.wait_until_running()
        with Client.connect(address) as blocked:
            blocked.send(request(target=b"/block"))
            # Opened once the application has opened the other end.
            with fifo.open("w") as release:
                for _ in range(20):
                    with Client.connect(address) as client:
                        client.send(GET)
                        assert client.response().body == b"ok"
                release.write("go on")
            assert blocked.response().body == b"go on"
    assert [process.stop() for process in processes] == [0, 0]
