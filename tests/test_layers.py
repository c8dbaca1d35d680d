"""The arrows between the layers (ARCHITECTURE.md) and the licences of what is built on, read from `cargo metadata`."""

import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent

ARROWS = {
    "asgi": set(),
    "ferricorn-proto": {"asgi", "memchr"},
    "ferricorn-server": {"asgi", "ferricorn-proto", "httpdate", "mio", "rustc-hash", "rustix", "socket2"},
    "ferricorn-python": {"asgi", "ferricorn-server", "libc", "pyo3", "rustc-hash"},
}
"""What each crate may name, ours and others': a new arrow is a decision, to be taken in ARCHITECTURE.md."""

LICENCES = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
}


@cache
def metadata() -> dict[str, Any]:
    command = ["cargo", "metadata", "--format-version", "1", "--locked"]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    loaded: dict[str, Any] = json.loads(output)
    return loaded


def package(name: str) -> dict[str, Any]:
    return next(package for package in metadata()["packages"] if package["name"] == name)


def test_every_crate_has_its_arrows_written_down() -> None:
    ours = metadata()["workspace_members"]
    members = {package["name"] for package in metadata()["packages"] if package["id"] in ours}
    assert members == set(ARROWS)


@pytest.mark.parametrize("crate", ARROWS)
def test_arrows_point_one_way(crate: str) -> None:
    named = {dependency["name"] for dependency in package(crate)["dependencies"] if dependency["kind"] is None}
    assert named <= ARROWS[crate]


@pytest.mark.parametrize("crate", ARROWS)
def test_unsafe_code_is_forbidden_but_in_one_module(crate: str) -> None:
    for source in (ROOT / "crates" / crate / "src").rglob("*.rs"):
        if source.relative_to(ROOT).as_posix() != "crates/ferricorn-python/src/ffi.rs":
            code = re.sub(r"//.*", "", source.read_text())
            assert not re.search(r"\bunsafe\b", code), source
    if crate != "ferricorn-python":
        assert "#![forbid(unsafe_code)]" in (ROOT / "crates" / crate / "src" / "lib.rs").read_text()


def test_every_dependency_has_a_licence_that_ours_allows() -> None:
    for dependency in metadata()["packages"]:
        choices = re.split(r"\s+OR\s+|/", (dependency["license"] or "none").replace("(", "").replace(")", ""))
        allowed = [choice for choice in choices if set(choice.strip().split(" AND ")) <= LICENCES]
        assert allowed, f"{dependency['name']}: {dependency['license']}"
