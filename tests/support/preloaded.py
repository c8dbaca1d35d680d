"""`python -m ferricorn` with what is imported late in memory: tests may run an interpreter that only root can read."""

from __future__ import annotations

import contextlib
import importlib

import ferricorn.cli


def preload() -> None:
    for module in ("asyncio", "concurrent.futures.thread", "encodings.idna", "uvloop"):
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(module)


if __name__ == "__main__":
    preload()
    ferricorn.cli.main(prog_name="ferricorn")
