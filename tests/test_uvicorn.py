"""docs/uvicorn.md against uvicorn's own command line: nothing is missing, and what the page says is so."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import click
import pytest
import uvicorn

from ferricorn import cli
from ferricorn.config import OPTIONS
from ferricorn.options import Option

PAGE = Path(__file__).parent.parent / "docs" / "uvicorn.md"
TAKEN, NOT_TAKEN = {"same", "different"}, {"not yet", "refused"}


@cache
def uvicorns_flags() -> list[str]:
    """Every flag in the left column of `uvicorn --help`."""
    command = [sys.executable, "-m", "uvicorn", "--help"]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    rows = re.findall(r"^  (--[a-z0-9-]+(?: / --[a-z0-9-]+)*)", output, re.MULTILINE)
    return [flag for row in rows for flag in row.split(" / ")]


def statuses() -> dict[str, str]:
    """The second column of the page's table by each flag of the first."""
    rows = re.findall(r"^\| (`--.*?`) \| (.*?) \|(.*)\|$", PAGE.read_text(), re.MULTILINE)
    told = [(flag, status) for flags, status, _ in rows for flag in re.findall(r"`(--[a-z0-9-]+)`", flags)]
    assert len(dict(told)) == len(told), "a flag is told twice"
    return dict(told)


def our_flags() -> set[str]:
    context = click.Context(cli.main)
    parameters = [*cli.main.params, *filter(None, [cli.main.get_help_option(context)])]
    return {flag for parameter in parameters for flag in (*parameter.opts, *parameter.secondary_opts)}


def test_no_option_of_uvicorn_is_missing() -> None:
    assert len(uvicorns_flags()) > 50
    assert set(uvicorns_flags()) <= statuses().keys()


def test_every_status_is_one_of_four_and_true() -> None:
    ours = our_flags()
    for flag, status in statuses().items():
        assert status in TAKEN | NOT_TAKEN, flag
        assert (flag in ours) is (status in TAKEN), flag


@pytest.mark.parametrize("status", ["different", "refused"])
def test_what_is_not_the_same_says_why(status: str) -> None:
    rows = re.findall(rf"^\| `--.*?` \| {status} \|(.*)\|$", PAGE.read_text(), re.MULTILINE)
    assert all(len(why.strip()) > 20 for why in rows)


@pytest.mark.parametrize(
    "option",
    [option for option in OPTIONS if option.uvicorn and statuses().get(f"--{option.flag}") == "same"],
    ids=lambda option: option.name,
)
def test_what_is_the_same_has_the_same_default(option: Option) -> None:
    defaults = {parameter.name: parameter.default for parameter in uvicorn.main.params}
    theirs = defaults[option.uvicorn]
    # click's word for "not given" has changed over its versions.
    absent = option.default in (None, (), "", False) and not isinstance(theirs, int | float | str)
    assert absent or theirs == option.default


def test_uvicorns_names_are_those_that_uvicorn_has() -> None:
    names = {parameter.name for parameter in uvicorn.main.params}
    assert {option.uvicorn for option in OPTIONS if option.uvicorn} <= names


def test_the_page_names_the_variables_that_are_not_read() -> None:
    read = {option.uvicorn_environment for option in OPTIONS if option.uvicorn}
    commands = {"version", "help"}
    taken = {flag[2:] for flag, status in statuses().items() if status in TAKEN and not flag.startswith("--no-")}
    names = {option.flag: option.uvicorn_environment for option in OPTIONS}
    aliases = {flag[2:]: option.uvicorn_environment for option in OPTIONS for flag in option.aliases}
    unread = {
        variable
        for flag in taken - commands
        if (variable := (names | aliases).get(flag) or f"UVICORN_{flag.upper().replace('-', '_')}") not in read
    }
    assert unread == set(re.findall(r"`(UVICORN_[A-Z_]+)`", PAGE.read_text().split("but for")[1].split(".")[0]))
