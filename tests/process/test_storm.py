"""A short storm (tests/soak/README.md): reloads, killed workers and hand-overs, and no request is lost."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.support.process import ROOT

WEATHER = ("--requests", "2500", "--reload-every", "0.7", "--kill-every", "1.3", "--hand-over-every", "1.1")
KEPT = ("--keep-alive", "30")
"""So long that a slow machine's clients find none closed because they came late."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("server", "option"), [("ferricorn", "--loop"), ("ferricorn-gunicorn", "--asgi-loop")])
def test_a_storm_loses_no_request(server: str, option: str, loop: str) -> None:
    command = [sys.executable, "-m", "tests.soak.storm", server, "--verbose", *WEATHER, "--more", option, loop, *KEPT]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    # The weather was as told: in each of them there was something that could have gone wrong.
    for event in ("reloads", "kills", "hand-overs"):
        assert re.search(rf"[1-9]\d* {event}", result.stdout), result.stdout
    assert "failed: 0 " in result.stdout
