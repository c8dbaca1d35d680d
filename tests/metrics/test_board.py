"""The memory in which workers count: shared by processes, and kept when workers come and go."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from typing import Any

import pytest

from ferricorn import Config
from ferricorn._ferricorn import Board, Worker
from tests.support.deadline import DEADLINE

ATTACH = """
import sys
from ferricorn._ferricorn import Board
board = Board.attach(int(sys.argv[1]))
board.count_restart("crash")
print(board.rows, board.beats(1))
"""


class Quiet:
    """Hooks that nothing is expected of but the end."""

    def drained(self) -> None: ...

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


async def app(scope: Any, receive: Any, send: Any) -> None: ...


def worker(board: Board, row: int) -> Worker:
    return Worker(
        app,
        loop=asyncio.get_running_loop(),
        listeners=[],
        state={},
        asgi_version="3.0",
        options=Config(app).native_options(),
        hooks=Quiet(),
        board=board,
        row=row,
    )


def test_a_new_board_is_all_zero() -> None:
    board = Board(3)
    assert board.rows == 3
    assert [board.beats(row) for row in range(3)] == [(0, 0)] * 3


@pytest.mark.parametrize("row", [2, 2**63])
def test_a_row_that_is_not_there_is_an_index_error(row: int) -> None:
    board = Board(2)
    for call in (board.beats, board.retire):
        with pytest.raises(IndexError):
            call(row)

    async def attach() -> None:
        worker(board, row)

    with pytest.raises(IndexError):
        asyncio.run(attach())


def test_each_turn_and_each_tick_is_a_beat_of_its_row() -> None:
    board = Board(2)

    async def turn() -> None:
        made = worker(board, 1)
        made.poll()
        made.tick()
        assert "ferricorn_workers 1\n" in board.render()
        made.close()

    asyncio.run(turn())
    assert "ferricorn_workers 0\n" in board.render()
    assert (board.beats(0), board.beats(1)[1]) == ((0, 0), 2)
    board.retire(1)
    assert board.beats(1)[1] == 0


def test_lag_is_measured_at_regular_times_alone() -> None:
    """A turn comes when something is ready, which says nothing of how late the loop is."""
    board = Board(1)

    async def turns() -> None:
        made = worker(board, 0)
        for _ in range(5):
            made.poll()
        assert "ferricorn_event_loop_lag_seconds_count 0\n" in board.render()
        made.tick()
        made.beat()
        made.close()

    asyncio.run(turns())
    assert "ferricorn_event_loop_lag_seconds_count 2\n" in board.render()
    assert board.beats(0)[1] == 7


def test_a_descriptor_is_attached_to_by_another_process() -> None:
    board = Board(2)
    command = [sys.executable, "-c", ATTACH, str(board.fileno())]
    done = subprocess.run(
        command, pass_fds=[board.fileno()], check=True, capture_output=True, text=True, timeout=DEADLINE
    )
    assert done.stdout == "2 (0, 0)\n"


def test_a_descriptor_is_closed_on_exec() -> None:
    assert not os.get_inheritable(Board(1).fileno())


def test_attaching_leaves_the_descriptor_alone() -> None:
    board = Board(1)
    attached = Board.attach(board.fileno())
    assert attached.fileno() != board.fileno()
    del attached
    assert os.fstat(board.fileno()).st_size > 0


def test_what_is_no_board_is_refused() -> None:
    with tempfile.TemporaryFile() as file:
        with pytest.raises(OSError, match="nvalid argument"):
            Board.attach(file.fileno())
        file.write(b"\1" * 100_000)
        file.flush()
        with pytest.raises(ValueError, match="no board"):
            Board.attach(file.fileno())
    with socket.socket() as connection, pytest.raises(OSError):  # noqa: PT011 (which error is the system's choice)
        Board.attach(connection.fileno())
    with pytest.raises(OSError, match="ad file descriptor"):
        Board.attach(2**31 - 1)


def test_restarts_are_counted_for_known_reasons() -> None:
    board = Board(1)
    board.count_restart("max_requests")
    assert 'ferricorn_worker_restarts_total{reason="max_requests"} 1\n' in board.render()
    with pytest.raises(ValueError, match="boredom"):
        board.count_restart("boredom")


def test_a_board_outlives_its_object() -> None:
    """A worker may go on counting when nobody holds the board any more."""
    board = Board(1)

    async def count() -> int:
        nonlocal board
        made = worker(board, 0)
        fd = os.dup(board.fileno())
        del board
        made.tick()
        beats = Board.attach(fd).beats(0)[1]
        os.close(fd)
        made.close()
        return beats

    assert asyncio.run(count()) == 1
