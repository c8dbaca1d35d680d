"""The arrows between the layers (ARCHITECTURE.md) and the licences of what is built on, read from `cargo metadata`.

It holds what deny.toml says also where cargo-deny is not installed, and a little more.
"""

import json
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent

ARROWS = {
    "asgi": set(),
    "ferricorn-proto": {"asgi", "data-encoding", "memchr", "sha1_smol", "simdutf8", "zlib-rs"},
    "ferricorn-server": {
        *{"asgi", "aws-lc-rs", "data-encoding", "ferricorn-proto", "httpdate", "mio"},
        *{"pkcs8", "rcgen", "rustc-hash", "rustix", "rustls", "socket2"},
    },
    "ferricorn-python": {"asgi", "ferricorn-server", "libc", "pyo3", "rustc-hash"},
}
"""What each crate may name, ours and others': a new arrow is a decision, to be taken in ARCHITECTURE.md."""

UNSAFE = ("crates/ferricorn-python/src/ffi.rs", "crates/ferricorn-python/src/ffi/")
DENY = tomllib.loads((ROOT / "deny.toml").read_text())
LICENCES = set(DENY["licenses"]["allow"])


@cache
def metadata() -> dict[str, Any]:
    command = ["cargo", "metadata", "--format-version", "1", "--locked"]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    loaded: dict[str, Any] = json.loads(output)
    return loaded


def package(name: str) -> dict[str, Any]:
    return next(package for package in metadata()["packages"] if package["name"] == name)


def dependencies(name: str) -> set[tuple[str, str | None]]:
    """What a crate names, with the kind: None, `dev` or `build`."""
    return {(dependency["name"], dependency["kind"]) for dependency in package(name)["dependencies"]}


def test_every_crate_has_its_arrows_written_down() -> None:
    ours = metadata()["workspace_members"]
    members = {package["name"] for package in metadata()["packages"] if package["id"] in ours}
    assert members == set(ARROWS)


@pytest.mark.parametrize("crate", ARROWS)
def test_arrows_point_one_way(crate: str) -> None:
    assert {named for named, kind in dependencies(crate) if kind != "dev"} == ARROWS[crate]


@pytest.mark.parametrize("crate", ARROWS)
def test_no_crate_names_one_above_it(crate: str) -> None:
    layers = list(ARROWS)
    assert not ARROWS[crate] & set(layers[layers.index(crate) :])


@pytest.mark.parametrize("ban", DENY["bans"]["deny"], ids=lambda ban: ban["crate"])
def test_deny_toml_says_the_same_of_who_may_name_what(ban: dict[str, Any]) -> None:
    in_tests = {crate for crate in ARROWS if (ban["crate"], "dev") in dependencies(crate)}
    ours = set(ban.get("wrappers", [])) & set(ARROWS)
    assert {crate for crate, named in ARROWS.items() if ban["crate"] in named} == ours - in_tests


@pytest.mark.parametrize("crate", ARROWS)
def test_unsafe_code_is_forbidden_but_in_one_module(crate: str) -> None:
    for source in (ROOT / "crates" / crate / "src").rglob("*.rs"):
        if not source.relative_to(ROOT).as_posix().startswith(UNSAFE):
            code = re.sub(r"//.*", "", source.read_text())
            assert not re.search(r"\bunsafe\b", code), source
    if crate != "ferricorn-python":
        assert "#![forbid(unsafe_code)]" in (ROOT / "crates" / crate / "src" / "lib.rs").read_text()


def is_allowed(expression: str) -> bool:
    """Whether ours allows what an SPDX expression asks for; the old form has a slash for OR."""
    while inner := re.search(r"\(([^()]*)\)", expression):
        expression = expression.replace(inner[0], "MIT" if is_allowed(inner[1]) else "none")
    choices = re.split(r" OR |/", expression)
    return any(all(name.strip() in LICENCES for name in choice.split(" AND ")) for choice in choices)


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT/Apache-2.0", True),
        ("GPL-3.0-only OR MIT", True),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", True),
        ("(MIT OR Apache-2.0) AND GPL-3.0-only", False),
        ("MIT AND (GPL-3.0-only OR LGPL-3.0-only)", False),
        ("", False),
    ],
)
def test_licence_expressions_are_understood(expression: str, allowed: bool) -> None:
    assert is_allowed(expression) == allowed


def test_every_dependency_has_a_licence_that_ours_allows() -> None:
    licences = {each["name"]: each["license"] or "" for each in metadata()["packages"]}
    assert {name: licence for name, licence in licences.items() if not is_allowed(licence)} == {}
