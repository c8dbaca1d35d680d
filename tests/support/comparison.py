"""A page of docs/ that goes through the options of another server, and that server's own command line beside it."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import click

from ferricorn import cli
from ferricorn.config import OPTIONS
from ferricorn.ignored import IGNORED, SWITCHES

DOCS = Path(__file__).parents[2] / "docs"
TAKEN, NOT_TAKEN = ("same", "different"), ("not yet", "refused")
_FLAG = r"--?[A-Za-z0-9][A-Za-z0-9_-]*"
_ROW = re.compile(r"^\| (`-.*?`) \| (.*?) \| ?(.*?) ?\|$", re.MULTILINE)


@dataclass(frozen=True)
class Comparison:
    """docs/SERVER.md and `python -m SERVER --help`."""

    server: str

    @property
    def text(self) -> str:
        return (DOCS / f"{self.server}.md").read_text()

    @cached_property
    def flags(self) -> list[str]:
        """Every flag in the left column of the server's own help."""
        command = [sys.executable, "-m", self.server, "--help"]
        output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
        columns = re.findall(r"^  (-\S.*?)(?:  |$)", output, re.MULTILINE)
        return [flag for column in columns for flag in re.findall(rf"(?<![\w-]){_FLAG}", column)]

    @cached_property
    def rows(self) -> list[tuple[list[str], str, str]]:
        """The page's table: the flags of a row, its status, and what is said of it."""
        return [(re.findall(rf"`({_FLAG})`", flags), status, why) for flags, status, why in _ROW.findall(self.text)]

    @property
    def statuses(self) -> dict[str, str]:
        return {flag: status for flags, status, _ in self.rows for flag in flags}

    @property
    def told(self) -> list[str]:
        return [flag for flags, _, _ in self.rows for flag in flags]


def our_flags() -> set[str]:
    """All that our command line takes."""
    context = click.Context(cli.main, **cli.main.context_settings)
    parameters = [*cli.main.params, *filter(None, [cli.main.get_help_option(context)])]
    return {flag for parameter in parameters for flag in (*parameter.opts, *parameter.secondary_opts)}


def flags_taken_from(server: str) -> set[str]:
    """What our declarations say to be a spelling of that server."""
    aliases = {flag for option in OPTIONS for flag, servers in option.aliases.items() if server in servers.split(", ")}
    aliases |= {switch.flag for switch in SWITCHES if switch.servers == server}
    return aliases | {flag for ignored in IGNORED if server in ignored.servers.split(", ") for flag in ignored.flags}
