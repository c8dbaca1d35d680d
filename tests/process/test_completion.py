"""Completion in the shell: the command that a shell asks, and bash asking it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.deadline import DEADLINE

SHELLS = ["bash", "zsh", "fish"]
PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """One in which `ferricorn` is a command, as an installation makes it."""
    command = tmp_path / "ferricorn"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ferricorn "$@"\n')
    command.chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}


def asked(environment: dict[str, str], **variables: str) -> str:
    result = subprocess.run(
        ["ferricorn"], env=environment | variables, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert result.stderr == ""
    return result.stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_for_a_shell_asks_the_command(environment: dict[str, str], shell: str) -> None:
    script = asked(environment, _FERRICORN_COMPLETE=f"{shell}_source")
    assert f"_FERRICORN_COMPLETE={shell}_complete" in script
    assert f"_FERRICORN_COMPLETE={shell}_source ferricorn" in PAGE.read_text()


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_is_told_options_choices_and_files(environment: dict[str, str], shell: str) -> None:
    def completed(words: str, begun: str) -> str:
        place = begun if shell == "fish" else str(len(words.split()) + 1)
        line = f"ferricorn {words}" if shell == "fish" else f"ferricorn {words} {begun}"
        variables = {"COMP_WORDS": line, "COMP_CWORD": place, "_FERRICORN_COMPLETE": f"{shell}_complete"}
        return asked(environment, **variables)

    assert "--log-level" in completed("main:app ", "--lo")
    assert "uvloop" in completed("--loop ", "uv")
    assert "file" in completed("--log-config ", "lo")


def test_bash_completes(environment: dict[str, str]) -> None:
    bash = shutil.which("bash")
    assert bash
    script = """
        eval "$(_FERRICORN_COMPLETE=bash_source ferricorn)"
        complete -p ferricorn
        COMP_WORDS=(ferricorn main:app --timeout-g)
        COMP_CWORD=2
        _ferricorn_completion ferricorn
        echo "${COMPREPLY[@]}"
        """
    result = subprocess.run(
        [bash, "--norc", "-c", script], env=environment, capture_output=True, text=True, timeout=DEADLINE, check=True
    )
    declared, offered = result.stdout.splitlines()
    assert declared.endswith("_ferricorn_completion ferricorn")
    assert offered == "--timeout-graceful-shutdown"
