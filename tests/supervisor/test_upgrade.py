"""New files of the server under a parent process that still runs the old ones."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ferricorn.channel import pair
from ferricorn.errors import EXIT_STARTUP_FAILURE
from tests.support.deadline import DEADLINE


@pytest.mark.parametrize("module", ["worker_process", "template"])
def test_a_process_of_another_version_does_not_start_and_says_what_to_do(module: str) -> None:
    ours, theirs = pair()
    with theirs:
        code = f"from ferricorn.{module} import main; main({theirs.fileno()})"
        process = subprocess.Popen([sys.executable, "-c", code], pass_fds=[theirs.fileno()], stderr=subprocess.PIPE)
    ours.send_object("0.0.1")
    _, said = process.communicate(timeout=DEADLINE)
    ours.close()
    assert process.returncode == EXIT_STARTUP_FAILURE
    assert b"ferricorn 0.0.1 was upgraded" in said
    assert b"SIGUSR2" in said
