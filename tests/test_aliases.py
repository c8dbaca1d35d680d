"""Command lines that were written for other servers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from ferricorn import reference
from ferricorn.config import OPTIONS, Config
from ferricorn.ignored import IGNORED
from ferricorn.options import Choice, Flag, Ignored, Option

ALIASES = [(flag, option) for option in OPTIONS for flag in option.aliases]
every_alias = pytest.mark.parametrize(("flag", "option"), ALIASES, ids=[flag for flag, _ in ALIASES])
every_ignored_flag = pytest.mark.parametrize(
    ("flag", "ignored"), [(flag, ignored) for ignored in IGNORED for flag in ignored.flags]
)


@every_alias
def test_an_alias_means_its_option(flag: str, option: Option, config_of: Callable[..., Config]) -> None:
    meant: Any
    if isinstance(option.kind, Flag):
        meant = {option.name: True}
        assert config_of("main:app", flag) == Config("main:app", **meant)
        return
    text = option.kind.choices[-1] if isinstance(option.kind, Choice) else {"bind": "a:1"}.get(option.name, "400")
    meant = {option.name: option.kind.parse(text)}
    assert config_of("main:app", flag, text) == Config("main:app", **meant)


@every_alias
def test_an_alias_is_in_the_reference_and_not_in_the_help(
    flag: str, option: Option, run: Callable[..., Result]
) -> None:
    row = next(line for line in reference.render().splitlines() if f"| `{option.name}` |" in line)
    assert f"`{flag}` ({option.aliases[flag]})" in row
    assert flag not in run("--help", COLUMNS="400").output.split()


def test_a_mistake_in_an_alias_names_the_option(run: Callable[..., Result]) -> None:
    result = run("main:app", "--graceful-timeout", "soon")
    assert result.exit_code == 2
    sentence = "Error: Invalid value for '--timeout-graceful-shutdown': must be a number of seconds, not 'soon'."
    assert result.output.splitlines()[-1] == sentence


@every_ignored_flag
def test_what_is_ignored_is_taken(flag: str, ignored: Ignored, config_of: Callable[..., Config]) -> None:
    for value in ignored.values:
        assert config_of(flag, value, "main:app") == Config("main:app")
    if not ignored.values:
        assert config_of(flag, "main:app") == Config("main:app")


@pytest.mark.parametrize(
    ("flag", "ignored"), [(flag, ignored) for ignored in IGNORED if ignored.values for flag in ignored.flags]
)
def test_what_is_ignored_does_not_take_everything(flag: str, ignored: Ignored, run: Callable[..., Result]) -> None:
    result = run("main:app", flag, "access.log")
    assert result.exit_code == 2
    assert f"not 'access.log'. {ignored.reason}" in result.output


LINES = [
    (
        (
            "uvicorn main:app --host 0.0.0.0 --port 80 --http httptools --ws websockets --no-server-header "
            "--ws-per-message-deflate false --timeout-keep-alive 75 --header X-A:b --h11-max-incomplete-event-size 8192"
        ),
        {
            "host": "0.0.0.0",
            "port": 80,
            "ws": "websockets",
            "server_header": False,
            "ws_per_message_deflate": False,
            "timeout_keep_alive": 75,
            "headers": [("X-A", "b")],
            "limit_request_head": 8192,
        },
    ),
    (
        (
            "granian --interface asgi main:app --host ::1 --port 80 --loop uvloop --http 1 --url-path-prefix /api "
            "--no-access-log --backlog 9 --uds-permissions 600"
        ),
        {
            "interface": "asgi3",
            "host": "::1",
            "port": 80,
            "loop": "uvloop",
            "root_path": "/api",
            "access_log": False,
            "backlog": 9,
            "uds_mode": 0o600,
        },
    ),
    (
        (
            "hypercorn -b 0.0.0.0:80 --bind unix:/run/a -k uvloop --access-logfile - --error-logfile - "
            "--graceful-timeout 5 --keep-alive 9 --websocket-ping-interval 30 --log-level INFO main:app"
        ),
        {
            "bind": ["0.0.0.0:80", "unix:/run/a"],
            "loop": "uvloop",
            "timeout_graceful_shutdown": 5,
            "timeout_keep_alive": 9,
            "ws_ping_interval": 30,
            "log_level": "info",
        },
    ),
    (
        (
            "gunicorn main:app -b fd://3 --asgi-loop asyncio --asgi-lifespan on --log-file=- --backlog=5 "
            "--root-path /a --websocket-max-message-size 1000"
        ),
        {
            "bind": ["fd://3"],
            "loop": "asyncio",
            "lifespan": "on",
            "backlog": 5,
            "root_path": "/a",
            "ws_max_size": 1000,
        },
    ),
]


@pytest.mark.parametrize(("line", "meant"), LINES, ids=[line.split()[0] for line, _ in LINES])
def test_only_the_first_word_has_to_change(line: str, meant: dict[str, Any], config_of: Callable[..., Config]) -> None:
    assert config_of(*line.split()[1:]) == Config("main:app", **meant)


def test_the_page_of_the_options_tells_what_is_ignored() -> None:
    page = (Path(__file__).parent.parent / "docs" / "options.md").read_text()
    assert all(f"`{flag}`" in page and ignored.reason in page for ignored in IGNORED for flag in ignored.flags)
