"""Laws over all options: each is declared once, and whatever is derived from the declaration agrees with it."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from typing import Any

import pytest

import ferricorn
from ferricorn import _ferricorn, reference
from ferricorn.config import OPTIONS, Config
from ferricorn.ignored import IGNORED
from ferricorn.options import Option

every_option = pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)


def test_names_are_unique() -> None:
    flags = [flag for option in OPTIONS for flag in (*option.flags.split("/"), *option.aliases)]
    flags += [flag for ignored in IGNORED for flag in ignored.flags]
    assert len(set(flags)) == len(flags)
    assert len({option.environment for option in OPTIONS}) == len(OPTIONS)


def test_every_field_but_the_application_is_an_option() -> None:
    assert [field.name for field in dataclasses.fields(Config)] == ["app", *(option.name for option in OPTIONS)]


def test_the_native_worker_reads_the_options_that_are_declared_native() -> None:
    assert sorted(Config("main:app").native_options()) == sorted(_ferricorn.OPTION_NAMES)


def test_the_reference_page_is_current() -> None:
    page = Path(__file__).parent.parent / "docs" / "options.md"
    assert page.read_text() == reference.render(), "run: python -m ferricorn.reference > docs/options.md"


@every_option
def test_the_reference_page_names_it(option: Option) -> None:
    row = next(line for line in reference.render().splitlines() if f"| `{option.name}` |" in line)
    assert option.environment in row
    assert option.help in row
    assert option.shown_default in row


def test_run_takes_what_config_takes() -> None:
    assert inspect.signature(ferricorn.run).parameters == inspect.signature(Config).parameters


@every_option
def test_the_default_is_what_its_text_says(option: Option) -> None:
    if option.default is not None:
        assert option.kind.check(option.default) == option.default
        assert option.kind.parse(option.kind.show(option.default)) == option.default


@every_option
def test_none_is_the_default_or_what_uvicorn_means_by_it(option: Option) -> None:
    none: Any = {option.name: None}
    meant = {"ws_ping_interval": 0.0, "ws_ping_timeout": 0.0, "log_config": None}.get(option.name, option.default)
    assert getattr(Config("main:app", **none), option.name) == meant


@every_option
def test_the_help_is_a_sentence(option: Option) -> None:
    assert option.help[0].isupper()
    assert option.help.endswith(".")


REFUSED: list[tuple[str, object, str]] = [
    ("port", 70000, "port must be between 0 and 65535, not 70000"),
    ("port", -1, "port must be between 0 and 65535, not -1"),
    ("backlog", 0, "backlog must be between 1 and 2147483647, not 0"),
    ("timeout_keep_alive", float("nan"), "timeout_keep_alive must be between 0 and 31536000, not nan"),
    ("timeout_request_head", float("inf"), "timeout_request_head must be between 0 and 31536000, not inf"),
    ("uds_mode", 0o1000, "uds_mode must be between 0 and 511, not 512"),
    ("lifespan", "maybe", "lifespan must be one of auto, on, off, not 'maybe'"),
    (
        "loop",
        "trio",
        (
            "loop must be one of auto, asyncio, uvloop, none, MODULE:FACTORY, not 'trio': "
            "the event loop has to be one of asyncio's"
        ),
    ),
    (
        "interface",
        "wsgi",
        (
            "interface must be one of auto, asgi3, asgi2, not 'wsgi': "
            "wrap a WSGI application for ASGI, for example with a2wsgi"
        ),
    ),
    ("ws", "wsproto2", "ws must be one of auto, none, not 'wsproto2'"),
    ("ws_max_size", 0, "ws_max_size must be between 1 and 9007199254740992, not 0"),
    ("ws_max_queue", 0, "ws_max_queue must be between 1 and 2147483647, not 0"),
    ("ws_ping_interval", -1, "ws_ping_interval must be between 0 and 31536000, not -1"),
    ("ws_ping_timeout", float("inf"), "ws_ping_timeout must be between 0 and 31536000, not inf"),
    ("log_level", "all", "log_level must be one of critical, error, warning, info, debug, trace, NUMBER, not 'all'"),
    ("log_level", 101, "log_level must be between 0 and 100, not 101"),
    ("user", "", "user must be a name or a number, not ''"),
    ("user", "a b", "user must be a name or a number, not 'a b'"),
    ("group", "-1", "group must be a name or a number, not '-1'"),
    ("group", 2**32 - 1, "group must be a name or a number, not '4294967295'"),
    ("umask", 0o1000, "umask must be between 0 and 511, not 512"),
    ("uds", "a\0b", "uds must not contain a NUL character"),
    ("health_path", "health", "health_path must be a path like /health, not 'health'"),
    ("health_path", "/a?b", "health_path must be a path like /health, not '/a?b'"),
    ("health_path", "/a b", "health_path must be a path like /health, not '/a b'"),
    ("bind", "localhost", "bind must be HOST:PORT, [IPV6]:PORT, unix:PATH or fd://NUMBER, not 'localhost'"),
    ("bind", "::1:8000", "bind must be HOST:PORT, [IPV6]:PORT, unix:PATH or fd://NUMBER, not '::1:8000'"),
    ("bind", ["a:1", "b:65536"], "bind must be HOST:PORT, [IPV6]:PORT, unix:PATH or fd://NUMBER, not 'b:65536'"),
    ("bind", "8000", "bind must be HOST:PORT, [IPV6]:PORT, unix:PATH or fd://NUMBER, not '8000'"),
    ("bind", ":http", "bind must be HOST:PORT, [IPV6]:PORT, unix:PATH or fd://NUMBER, not ':http'"),
    ("bind", "unix:", "bind must be HOST:PORT, [IPV6]:PORT, unix:PATH or fd://NUMBER, not 'unix:'"),
    ("bind", "fd://x", "bind must be HOST:PORT, [IPV6]:PORT, unix:PATH or fd://NUMBER, not 'fd://x'"),
    ("ssl_version", 4, "ssl_version must be one of 1.2, 1.3, not '4': it is not safe, and not spoken"),
    ("ssl_cert_reqs", 3, "ssl_cert_reqs must be one of none, optional, required, not '3'"),
    (
        "hsts",
        "includeSubDomains",
        "hsts must be seconds, or a value like \"max-age=31536000; includeSubDomains\", not 'includeSubDomains'",
    ),
    (
        "hsts",
        "max-age=1\r\nx: y",
        "hsts must be seconds, or a value like \"max-age=31536000; includeSubDomains\", not 'max-age=1\\r\\nx: y'",
    ),
    ("redirect_http", 65536, "redirect_http must be a port, HOST:PORT, [IPV6]:PORT or unix:PATH, not '65536'"),
    ("redirect_http", "fd://3", "redirect_http must be a port, HOST:PORT, [IPV6]:PORT or unix:PATH, not 'fd://3'"),
    ("headers", ["x-name"], "headers must read \"Name: value\", not 'x-name'"),
    ("headers", [("a b", "c")], "headers must be named by letters, digits and dashes, not 'a b'"),
    ("headers", [("", "c")], "headers must be named by letters, digits and dashes, not ''"),
    ("headers", [("a", "b\r\nc: d")], "headers must hold only printable Latin-1 characters, not 'b\\r\\nc: d'"),
    ("headers", [("a", "\u20ac")], "headers must hold only printable Latin-1 characters, not '\u20ac'"),
    ("headers", [("Content-Length", "5")], "headers must not set 'Content-Length': the server frames messages itself"),
]


@pytest.mark.parametrize(("name", "value", "sentence"), REFUSED)
def test_a_wrong_value_is_refused_in_one_sentence(name: str, value: object, sentence: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (its text is compared)
        Config("main:app", **{name: value})  # type: ignore[arg-type]
    assert str(refusal.value) == sentence


WRONG_TYPES: list[tuple[str, object, str]] = [
    ("port", "8000", "port must be a whole number, not '8000'"),
    ("port", True, "port must be a whole number, not True"),
    ("port", 8000.0, "port must be a whole number, not 8000.0"),
    ("host", 0, "host must be text, not 0"),
    ("uds_mode", "660", "uds_mode must be a whole number like 0o660, not '660'"),
    ("user", True, "user must be a name or a number, not True"),
    ("log_config", 1, "log_config must be text, not 1"),
    ("access_log", 1, "access_log must be True or False, not 1"),
    ("timeout_keep_alive", "5", "timeout_keep_alive must be a number of seconds, not '5'"),
    ("ws_per_message_deflate", "true", "ws_per_message_deflate must be True or False, not 'true'"),
    ("ws_max_size", 1e6, "ws_max_size must be a whole number, not 1000000.0"),
    ("headers", [("a", 1)], "headers must be a pair of texts, not 1"),
    ("headers", [("a", "b", "c")], "headers must be (\"Name\", \"value\") pairs, not ('a', 'b', 'c')"),
]


@pytest.mark.parametrize(("name", "value", "sentence"), WRONG_TYPES)
def test_a_value_of_the_wrong_type_is_refused_in_one_sentence(name: str, value: object, sentence: str) -> None:
    with pytest.raises(TypeError) as refusal:
        Config("main:app", **{name: value})  # type: ignore[arg-type]
    assert str(refusal.value) == sentence


UNREADABLE: list[tuple[str, str, str]] = [
    ("port", "x", "must be a whole number, not 'x'"),
    ("port", "65536", "must be between 0 and 65535, not 65536"),
    ("timeout_keep_alive", "5s", "must be a number of seconds, not '5s'"),
    ("uds_mode", "888", "must be octal permissions like 660, not '888'"),
    ("uds_mode", "7777", "must be octal permissions like 660, not '7777'"),
    ("access_log", "maybe", "must be true or false, not 'maybe'"),
]


@pytest.mark.parametrize(("name", "text", "sentence"), UNREADABLE)
def test_a_text_that_cannot_be_read_is_refused(name: str, text: str, sentence: str) -> None:
    option = next(option for option in OPTIONS if option.name == name)
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (its text is compared)
        option.kind.parse(text)
    assert str(refusal.value) == sentence


READ: list[tuple[str, str, object]] = [
    ("port", " 80 ", 80),
    ("uds_mode", "660", 0o660),
    ("timeout_keep_alive", "0.25", 0.25),
    ("access_log", "Off", False),
    ("use_colors", "yes", True),
    ("log_level", "Warning", "warning"),
    ("log_level", " 15 ", 15),
    ("log_level", "WARN", "warning"),
    ("ws", "websockets-sansio", "auto"),
    ("interface", "asgi", "asgi3"),
    ("bind", "a:1, [::]:2,", ("a:1", "[::]:2")),
    ("headers", "A: b: c\n\nD:e\n", (("A", "b: c"), ("D", "e"))),
]


@pytest.mark.parametrize(("name", "text", "value"), READ)
def test_text_is_read(name: str, text: str, value: object) -> None:
    option = next(option for option in OPTIONS if option.name == name)
    assert option.kind.parse(text) == value


@pytest.mark.parametrize(
    ("keyword", "hint"),
    [("prot", "; did you mean 'port'?"), ("loglevel", "; did you mean 'log_level'?"), ("xyzzy", "")],
)
def test_an_unknown_keyword_names_the_nearest(keyword: str, hint: str) -> None:
    with pytest.raises(TypeError) as refusal:
        Config("main:app", **{keyword: 1})  # type: ignore[arg-type]
    assert str(refusal.value) == f"Config has no option {keyword!r}{hint}"


@pytest.mark.parametrize("app", [None, 5, b"main:app"])
def test_an_application_is_a_callable_or_a_text(app: Any) -> None:
    with pytest.raises(TypeError, match="app must be an ASGI application or a text like 'module:attribute'"):
        Config(app)


def test_a_config_does_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config("main:app").port = 1  # type: ignore[misc]


ADDRESSES: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({}, ("127.0.0.1:8000",)),
    ({"host": "::1", "port": 0}, ("[::1]:0",)),
    ({"bind": "0.0.0.0:80"}, ("0.0.0.0:80",)),
    ({"bind": [":80", "unix://tmp/a"]}, (":80", "unix://tmp/a")),
    ({"bind": ["a:1", "b:2"], "port": 9}, ("a:1", "b:2")),
    ({"uds": Path("/run/a.sock")}, ("unix:/run/a.sock",)),
    ({"fd": 3, "uds": "b", "bind": ["a:1"]}, ("a:1", "unix:b", "fd://3")),
]


@pytest.mark.parametrize(("options", "addresses"), ADDRESSES)
def test_addresses(options: dict[str, Any], addresses: tuple[str, ...]) -> None:
    assert Config("main:app", **options).addresses == addresses


def test_native_headers_are_bytes_in_lower_case() -> None:
    config = Config("main:app", headers=["X-Name:  a \u00e9 ", ("Other", ""), (b"b", b"c")])  # type: ignore[list-item]
    assert config.native_options()["headers"] == [(b"x-name", b"a \xe9"), (b"other", b""), (b"b", b"c")]


def test_the_native_worker_is_given_the_websocket_options_as_they_are() -> None:
    chosen: dict[str, Any] = {
        "ws": "none",
        "ws_max_size": 1_000,
        "ws_max_queue": 2,
        "ws_ping_interval": 0,
        "ws_ping_timeout": 0.5,
        "ws_per_message_deflate": False,
    }
    assert Config("main:app", **chosen).native_options().items() >= chosen.items()


@pytest.mark.parametrize(("name", "option"), [("Server", "server_header"), ("date", "date_header")])
def test_a_header_that_is_given_is_not_added_again(name: str, option: str) -> None:
    config = Config("main:app", headers=[(name, "mine")])
    assert config.native_options()[option] is False
    assert getattr(config, option) is True
