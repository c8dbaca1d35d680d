"""The command line: every option arrives, every mistake is one sentence and the right exit status."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import ShellComplete
from click.testing import Result

from ferricorn import __version__, cli
from ferricorn.config import OPTIONS, Config, grouped
from ferricorn.config_groups import GROUPS
from ferricorn.kinds import (
    AccessLogFormat,
    Account,
    Address,
    FieldName,
    Header,
    Listed,
    ListenPlace,
    LogConfig,
    Password,
    RequestPath,
    Size,
    TransportSecurity,
    Trusted,
)
from ferricorn.options import Choice, Flag, Kind, Number, Option, Permissions, Repeated, Seconds, Text

every_option = pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)

SAMPLES: dict[type[Kind], tuple[str, object]] = {
    Text: ("some text", "some text"),
    Seconds: ("0.5", 0.5),
    Permissions: ("640", 0o640),
    AccessLogFormat: ("%(h)s", "%(h)s"),
    Account: ("www-data", "www-data"),
    FieldName: ("X-Request-ID", "X-Request-ID"),
    Address: ("localhost:81", "localhost:81"),
    RequestPath: ("/health", "/health"),
    Header: ("X-Name: a, b", ("X-Name", "a, b")),
    ListenPlace: ("80", "80"),
    LogConfig: ("a.json", "a.json"),
    Password: ("pass word, and more", "pass word, and more"),
    Size: ("3M", 3 * 1024 * 1024),
    TransportSecurity: ("3600", "max-age=3600"),
    Trusted: ("10.0.0.0/8", "10.0.0.0/8"),
}
"""For each kind a text that is no option's default, and what it means."""


def sample(option: Option) -> tuple[list[str], object]:
    """Two texts for an option that can be repeated, one for another, and the value that they mean."""
    if isinstance(option.kind, Repeated):
        text, value = _sample(option.kind.item)
        return [text, text], (value, value)
    if isinstance(option.kind, Listed):
        text, value = _sample(option.kind.item)
        return [f"{text}, {text}"], (value, value)
    text, value = _sample(option.kind)
    return [text], value


def _sample(kind: Kind) -> tuple[str, object]:
    if isinstance(kind, Number):
        number = max(4321, kind.minimum + 1)
        return str(number), number
    return (kind.choices[-1], kind.choices[-1]) if isinstance(kind, Choice) else SAMPLES[type(kind)]


def with_option(option: Option, value: object) -> Config:
    keyword: Any = {option.name: value}
    return Config("main:app", **keyword)


def test_without_options_everything_is_default(config_of: Callable[..., Config]) -> None:
    assert config_of("main:app") == Config("main:app")


@every_option
def test_every_option_arrives_from_the_command_line(
    option: Option, config_of: Callable[..., Config], tmp_path: Path
) -> None:
    if isinstance(option.kind, Flag):
        for flag in option.flags.split("/"):
            assert getattr(config_of(flag, "main:app"), option.name) is not flag.startswith("--no-")
        return
    texts, value = sample(option)
    (tmp_path / "some text").touch()
    arguments = [argument for text in texts for argument in (f"--{option.flag}", text)]
    assert config_of("main:app", *arguments) == with_option(option, value)


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["--ws-per-message-deflate", "false", "main:app"], False),
        (["--ws-per-message-deflate", "True", "main:app"], True),
        (["main:app", "--ws-per-message-deflate", "0"], False),
        (["main:app", "--ws-per-message-deflate=no"], False),
        (["main:app", "--ws-per-message-deflate=on"], True),
        (["--no-ws-per-message-deflate", "main:app", "--ws-per-message-deflate", "1"], True),
        (["--ws-per-message-deflate", "off", "--access-log", "main:app"], False),
    ],
    ids=str,
)
def test_a_flag_may_be_given_a_value(config_of: Callable[..., Config], arguments: list[str], meant: bool) -> None:
    assert config_of(*arguments) == Config("main:app", ws_per_message_deflate=meant, access_log=True)


@pytest.mark.parametrize(
    "option",
    [o for o in OPTIONS if isinstance(o.kind, Flag) and o.default is False],
    ids=lambda option: option.name,
)
def test_what_is_switched_on_can_be_switched_off_again(option: Option, config_of: Callable[..., Config]) -> None:
    on, off = f"--{option.flag}", f"--no-{option.flag}"
    assert config_of(on, "main:app", off) == Config("main:app")
    assert config_of(f"{on}=false", "main:app", on, "off") == Config("main:app")
    assert getattr(config_of(off, "main:app", on), option.name) is True


@every_option
def test_every_option_arrives_from_the_environment(
    option: Option, config_of: Callable[..., Config], tmp_path: Path
) -> None:
    if isinstance(option.kind, Flag):
        for text, meant in (("1", True), ("no", False)):
            assert getattr(config_of("main:app", **{option.environment: text}), option.name) is meant
        return
    texts, value = sample(option)
    (tmp_path / "some text").touch()
    separator = option.kind.separator if isinstance(option.kind, Repeated) else ""
    config = config_of("main:app", **{option.environment: separator.join(texts)})
    assert config == with_option(option, value)


def test_the_command_line_comes_before_the_environment(config_of: Callable[..., Config]) -> None:
    environment = {"FERRICORN_PORT": "1", "FERRICORN_BIND": "a:1", "FERRICORN_ACCESS_LOG": "0", "FERRICORN_APP": "a:b"}
    config = config_of("main:app", "--port", "2", "--bind", "b:2", "--access-log", **environment)
    assert config == Config("main:app", port=2, bind=["b:2"], access_log=True)


def test_the_application_may_come_from_the_environment(config_of: Callable[..., Config]) -> None:
    assert config_of(FERRICORN_APP="main:app").app == "main:app"


@every_option
def test_the_help_tells_all_of_an_option(option: Option, run: Callable[..., Result]) -> None:
    words = " ".join(run("--help", COLUMNS="400").output.split())
    two_way = "/" in option.flags
    assert f" --[no-]{option.flag} " in words if two_way else f" --{option.flag} " in words
    assert _by_flags(option.help) in words
    if option.shown_default and option.default is not False:
        assert f"default: {option.shown_default}]" in words
    if isinstance(option.kind, Choice):
        assert any(f"[{separator.join(option.kind.words)}" in words for separator in ("|", ", "))


def _by_flags(text: str) -> str:
    """The reference page names options by their keywords, the help by their flags."""
    for option in sorted(OPTIONS, key=lambda option: -len(option.name)):
        text = text.replace(option.name, f"--{option.flag}") if "_" in option.name else text
    return text


def test_the_help_has_no_keywords(run: Callable[..., Result]) -> None:
    words = set(re.findall(r"\w+", run("--help", COLUMNS="400").output))
    assert not {option.name for option in OPTIONS if "_" in option.name} & words


@pytest.mark.parametrize("columns", ["80", "120"])
def test_the_help_is_grouped_and_in_two_columns(run: Callable[..., Result], columns: str) -> None:
    lines = run("--help", COLUMNS=columns).output.splitlines()
    headings = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert headings == [f"{group}:" for group in (*GROUPS, "Other")]
    assert max(map(len, lines)) <= int(columns)
    body = lines[lines.index(headings[0]) : -3]
    texts = [line for line in body if line.startswith("  ") and not line.startswith("  -")]
    assert {len(line) - len(line.lstrip()) for line in texts} == {34}


@pytest.mark.parametrize("columns", ["80", "120"])
def test_no_line_of_the_help_ends_within_a_flag_or_a_default(run: Callable[..., Result], columns: str) -> None:
    output = run("--help", COLUMNS=columns).output
    assert output.isascii()
    for line in output.splitlines():
        assert not line.endswith("-")
        assert not re.search(r"default:[^\]]*$", line)


def test_every_option_has_a_heading() -> None:
    assert {option.group for option in OPTIONS} == set(GROUPS)
    assert sorted(o.name for _, options in grouped() for o in options) == sorted(o.name for o in OPTIONS)


def test_the_help_says_how_the_environment_is_named(run: Callable[..., Result]) -> None:
    assert "--log-level from $FERRICORN_LOG_LEVEL" in " ".join(run("--help").output.split())


COMPLETIONS = [
    ([], "--log", {"--log-level", "--log-config"}),
    ([], "--ti", {"--timeout-keep-alive", "--timeout-request-head", "--timeout-request-body"}),
    ([], "--no-s", {"--no-server-header"}),
    (["--loop"], "", {"auto", "asyncio", "uvloop"}),
    (["--interface"], "asgi", {"asgi2", "asgi3"}),
]


@pytest.mark.parametrize(("words", "begun", "offered"), COMPLETIONS)
def test_the_shell_completes(words: list[str], begun: str, offered: set[str]) -> None:
    completion = ShellComplete(cli.main, {}, "ferricorn", "_FERRICORN_COMPLETE")
    assert offered <= {item.value for item in completion.get_completions(words, begun)}


def test_the_shell_completes_files_and_no_spellings_of_others() -> None:
    completion = ShellComplete(cli.main, {}, "ferricorn", "_FERRICORN_COMPLETE")
    for flag in ("--log-config", "--env-file", "--app-dir", "--config"):
        assert [item.type for item in completion.get_completions([flag], "a")] == ["file"], flag
    offered = {item.value for item in completion.get_completions([], "--")}
    assert "--timeout-graceful-shutdown" in offered
    assert not offered & {"--graceful-timeout", "--http", "--no-factory"}


def test_the_version(run: Callable[..., Result]) -> None:
    assert run("--version").output.startswith(f"ferricorn {__version__} (CPython 3.")


MISTAKES: list[tuple[list[str], dict[str, str], str]] = [
    (["a:b", "c:d"], {}, "Got unexpected extra argument (c:d)"),
    (["a:b", "--port", "x"], {}, "Invalid value for '--port': must be a whole number, not 'x'."),
    (["a:b", "--port", "70000"], {}, "Invalid value for '--port': must be between 0 and 65535, not 70000."),
    (["a:b", "--header", "x"], {}, "Invalid value for '--header': must read \"Name: value\", not 'x'."),
    (["a:b", "--lifespan", "no"], {}, "Invalid value for '--lifespan': must be one of auto, on, off, not 'no'."),
    (["a:b", "--ws-per-message-deflate", "maybe"], {}, "Got unexpected extra argument (maybe)"),
    (["a:b", "--ws-per-message-deflate=maybe"], {}, "Option '--ws-per-message-deflate' does not take a value."),
    (["a:b", "--factory", "maybe"], {}, "Got unexpected extra argument (maybe)"),
    (
        ["a:b", "--ws", "off"],
        {},
        "Invalid value for '--ws': must be one of auto, none, not 'off'.",
    ),
    (["a:b"], {"FERRICORN_PORT": "x"}, "Invalid value for $FERRICORN_PORT: must be a whole number, not 'x'."),
    (["a:b"], {"FERRICORN_FACTORY": "x"}, "Invalid value for $FERRICORN_FACTORY: must be true or false, not 'x'."),
    (
        ["a:b"],
        {"FERRICORN_BIND": "a:1,b"},
        "Invalid value for $FERRICORN_BIND: must be HOST:PORT, [IPV6]:PORT, unix:PATH or fd://NUMBER, not 'b'.",
    ),
]


@pytest.mark.parametrize(("arguments", "environment", "sentence"), MISTAKES)
def test_a_mistake_in_the_usage_exits_2(
    run: Callable[..., Result], arguments: list[str], environment: dict[str, str], sentence: str
) -> None:
    result = run(*arguments, **environment)
    assert result.exit_code == 2
    assert result.output.splitlines()[-1] == f"Error: {sentence}"


def test_an_unknown_option_names_the_nearest(run: Callable[..., Result]) -> None:
    result = run("a:b", "--prot", "1")
    assert result.exit_code == 2
    assert "--port" in result.output


FAILURES: list[tuple[list[str], str]] = [
    (["main"], "Cannot import 'main': it must be MODULE:ATTRIBUTE, for example 'main:app'."),
    (["good:ap"], "Cannot import 'good:ap': 'good' has no attribute 'ap'; did you mean 'app'?"),
    (["good:number"], "The application is 5, which cannot be called."),
    (
        ["good:wsgi"],
        (
            "The application must take (scope, receive, send), but what was given is wsgi(environ, start) "
            "(it looks like WSGI)."
        ),
    ),
    (["good:app", "--loop", "good:number"], "The event loop factory 'good:number' is 5, which cannot be called."),
]


@pytest.mark.parametrize(("arguments", "sentence"), FAILURES)
def test_a_failure_to_start_exits_3(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    (tmp_path / "good.py").write_text(
        "number = 5\nasync def app(scope, receive, send): ...\ndef wsgi(environ, start): ...\n"
    )
    monkeypatch.delitem(sys.modules, "good", raising=False)
    result = run(*arguments, "--port", "0")
    assert result.exit_code == 3
    assert [line for line in result.output.splitlines() if line.startswith("ERROR")] == [f"ERROR:    {sentence}"]


def test_a_traceback_is_shown_where_the_module_raised(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.py").write_text("import nowhere_at_all\n")
    monkeypatch.delitem(sys.modules, "bad", raising=False)
    result = run("bad:app", "--port", "0")
    assert result.exit_code == 3
    assert (
        result.output.splitlines()[0]
        == "ERROR:    Cannot import 'bad:app': importing 'bad' raised ModuleNotFoundError."
    )
    assert 'bad.py", line 1, in <module>' in result.output
    assert result.output.splitlines()[-1] == "ModuleNotFoundError: No module named 'nowhere_at_all'"


COMMANDS = ["config", "check_config", "print_config"]


def test_the_parameters_are_those_that_are_declared() -> None:
    declared = [option.name for option in OPTIONS]
    foreign = (cli.IgnoredOption, cli.SwitchOption)
    ignored = [parameter.name for parameter in cli.main.params if isinstance(parameter, foreign)]
    assert [parameter.name for parameter in cli.main.params] == ["app", *declared, *ignored, *COMMANDS, "version"]
