"""A law over the tests: each requirement of ASGI has a test that is named after it.

The ids are those of the project's ASGI checklist, listed in support/requirement_ids.txt. A test for HTTP-21 is called
`test_http_21_...`. Those that no test here can show stand below with the reason.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
NAME = re.compile(r"test_([a-z]+)_(\d\d)_")

HTTP_2 = "HTTP/2 and HTTP/3 only"
PERMISSION = "permits something that is not made use of here"

UNTESTABLE = {
    "APP-11": f"{PERMISSION}: ASGI 2 is on, see APP-05",
    "HTTP-30": "about servers below spec_version 2.4; 2.5 is advertised, see SCP-04 and HTTP-28",
    "EXT-04": f"{HTTP_2}, and not advertised there, see EXT-05",
    "EXT-19": f"{PERMISSION}: there are no extensions of our own, see EXT-20",
    "TLS-09": "a proposal to be watched: it would leave keys out that are given here",
    "CON-13": "shown by running all tests on a free-threaded Python",
}


def listed() -> set[str]:
    return set((TESTS / "support" / "requirement_ids.txt").read_text().split())


def ids_with_tests() -> dict[str, list[str]]:
    """The ids in the names of test functions, each with these names."""
    found: dict[str, list[str]] = {}
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (match := NAME.match(node.name)):
                found.setdefault(f"{match[1].upper()}-{match[2]}", []).append(node.name)
    return found


def test_every_requirement_has_a_test_or_a_reason() -> None:
    assert sorted(listed() - set(ids_with_tests()) - set(UNTESTABLE)) == []


def test_no_requirement_has_both() -> None:
    assert sorted(set(ids_with_tests()) & set(UNTESTABLE)) == []


def test_no_test_is_named_after_an_unknown_requirement() -> None:
    assert sorted(set(ids_with_tests()) - listed()) == []


def test_no_reason_is_given_for_an_unknown_requirement() -> None:
    assert sorted(set(UNTESTABLE) - listed()) == []
