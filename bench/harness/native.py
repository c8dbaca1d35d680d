"""Builds the two Rust helpers: the bare epoll responder and the load client."""

import json
import subprocess
from functools import cache
from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent


@cache
def binary(crate: str) -> Path:
    """Builds `bench/<crate>` in release mode and gives its executable. Honours CARGO_TARGET_DIR."""
    manifest = BENCH / crate / "Cargo.toml"
    command = [
        "cargo",
        "build",
        "--quiet",
        "--release",
        "--locked",
        "--message-format=json",
        f"--manifest-path={manifest}",
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    return next(Path(message["executable"]) for message in messages if message.get("executable"))
