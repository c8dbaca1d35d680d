"""docs/uvicorn.md against uvicorn itself: defaults, names, variables. tests/test_comparisons.py has its flags."""

from __future__ import annotations

import re

import pytest
import uvicorn

from ferricorn.config import OPTIONS
from ferricorn.options import Option
from tests.support.comparison import TAKEN, Comparison

PAGE = Comparison("uvicorn")


@pytest.mark.parametrize(
    "option",
    [option for option in OPTIONS if option.uvicorn and PAGE.statuses.get(f"--{option.flag}") == "same"],
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
    taken = {flag[2:] for flag, status in PAGE.statuses.items() if status in TAKEN and not flag.startswith("--no-")}
    names = {option.flag: option.uvicorn_environment for option in OPTIONS}
    aliases = {flag[2:]: option.uvicorn_environment for option in OPTIONS for flag in option.aliases}
    unread = {
        variable
        for flag in taken - commands
        if (variable := (names | aliases).get(flag) or f"UVICORN_{flag.upper().replace('-', '_')}") not in read
    }
    assert unread == set(re.findall(r"`(UVICORN_[A-Z_]+)`", PAGE.text.split("but for")[1].split(".")[0]))
