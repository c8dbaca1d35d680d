"""docs/uvicorn.md, granian.md, hypercorn.md and gunicorn.md against those servers' own command lines."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.comparison import NOT_TAKEN, TAKEN, Comparison, flags_taken_from, our_flags

PAGES = [Comparison(server) for server in ("uvicorn", "granian", "hypercorn", "gunicorn")]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.server)


@each_page
def test_no_option_of_the_server_is_missing(page: Comparison) -> None:
    assert len(page.flags) > 40
    assert set(page.flags) <= page.statuses.keys()


@each_page
def test_every_flag_is_told_once(page: Comparison) -> None:
    assert [flag for flag, times in Counter(page.told).items() if times > 1] == []


@each_page
def test_every_status_is_one_of_four_and_true(page: Comparison) -> None:
    ours = our_flags()
    for flag, status in page.statuses.items():
        assert status in TAKEN + NOT_TAKEN, flag
        assert (flag in ours) is (status in TAKEN), flag


@each_page
def test_what_is_not_the_same_says_why(page: Comparison) -> None:
    for flags, status, why in page.rows:
        assert status in {"same", "not yet"} or len(why) > 10, flags


@each_page
def test_every_spelling_that_is_taken_from_the_server_is_told(page: Comparison) -> None:
    for flag in flags_taken_from(page.server):
        assert page.statuses[flag] in TAKEN, flag


@each_page
def test_a_flag_of_the_same_name_for_something_else_is_not_called_the_same(page: Comparison) -> None:
    """What another server spells as we spell something is told apart by hand: these are the servers' own spellings."""
    spellings = flags_taken_from(page.server)
    short = {flag for flag, status in page.statuses.items() if status == "same" and not flag.startswith("--")}
    assert short - {"-h"} <= spellings
