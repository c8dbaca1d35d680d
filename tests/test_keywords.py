"""`Config`, `run` and `Server` called as programs call uvicorn's: positions, names, values, and what is refused."""

from __future__ import annotations

import asyncio
import inspect
import ssl
from pathlib import Path
from typing import Any

import pytest
import uvicorn

import ferricorn
from ferricorn import Config, Server, StartupError, keywords
from ferricorn.config import FOREIGN_KEYWORDS, OPTIONS
from ferricorn.loops import loop_factory

ROOT = Path(__file__).parent.parent
UVICORNS = {
    (function.__name__, name): parameter
    for function in (uvicorn.run, uvicorn.Config)
    for name, parameter in inspect.signature(function).parameters.items()
    if name != "app"
}
OURS = {name for option in OPTIONS for name in (option.name, option.uvicorn)}
every_keyword = pytest.mark.parametrize(("function", "name"), UVICORNS, ids=lambda part: part)


@every_keyword
def test_every_keyword_of_uvicorn_is_an_option_or_has_its_reason(function: str, name: str) -> None:
    """With uvicorn's default it means what it means there, as far as docs/uvicorn.md says nothing else."""
    parameter = UVICORNS[function, name]
    assert (name in OURS) != (name in FOREIGN_KEYWORDS)
    Config("main:app", **{name: parameter.default})


@pytest.mark.parametrize("name", FOREIGN_KEYWORDS)
def test_a_keyword_without_effect_is_in_the_reference(name: str) -> None:
    page = (ROOT / "docs" / "options.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
    assert FOREIGN_KEYWORDS[name].reason in row


def test_a_keyword_that_has_become_an_option_is_not_listed_any_more() -> None:
    assert not keywords.FOREIGN.keys() & OURS, "remove it from keywords.FOREIGN"


def test_every_keyword_without_effect_is_uvicorns() -> None:
    assert FOREIGN_KEYWORDS.keys() <= {name for _, name in UVICORNS}


@pytest.mark.parametrize("name", [name for name, foreign in FOREIGN_KEYWORDS.items() if foreign.values])
def test_a_keyword_that_asks_for_what_is_not_there_is_refused(name: str) -> None:
    """In one sentence about it, and one that says why, or what to do."""
    something: dict[str, Any] = {name: "something"}
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (its text is compared)
        Config("main:app", **something)
    assert str(refusal.value).startswith(f"{name} must be ")
    assert str(refusal.value).endswith(f", not 'something'. {FOREIGN_KEYWORDS[name].reason}")
    nothing: dict[str, Any] = {name: None}
    assert Config("main:app", **nothing) == Config("main:app")


class Protocol:
    """Somebody's own implementation of HTTP."""


NO_CONTEXT = "TLS is not Python's here: the options ssl_... and hsts say what can be chosen."
WORDS = "'auto' or 'h11' or 'httptools' or 'zttp' or '1'"
REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"ssl_context_factory": ssl.create_default_context},
        f"ssl_context_factory must be left out, not {ssl.create_default_context!r}. {NO_CONTEXT}",
    ),
    (
        {"ssl_version": ssl.PROTOCOL_TLSv1},
        "ssl_version must be one of 1.2, 1.3, not '3': it is not safe, and not spoken",
    ),
    ({"http": Protocol}, f"http must be {WORDS}, not {Protocol!r}. {FOREIGN_KEYWORDS['http'].reason}"),
]


@pytest.mark.parametrize(("keywords", "sentence"), REFUSED, ids=lambda part: next(iter(part)) if part else "")
def test_refusals(keywords: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (its text is compared)
        Config("main:app", **keywords)
    assert str(refusal.value) == sentence


def app(scope: object, receive: object, send: object) -> None:
    raise AssertionError("never called")


MEANT: list[tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]] = [
    (("main:app", "0.0.0.0", 80), {}, {"host": "0.0.0.0", "port": 80}),
    (("main:app", "::1", 80, "/run/a", 3), {}, {"host": "::1", "port": 80, "uds": "/run/a", "fd": 3}),
    ((), {"app": "main:app", "host": "a"}, {"host": "a"}),
    (("main:app",), {"host": None, "port": None, "uds": None, "fd": None}, {}),
    (("main:app",), {"h11_max_incomplete_event_size": 4096}, {"limit_request_head": 4096}),
    (("main:app",), {"h11_max_incomplete_event_size": None}, {}),
    (("main:app",), {"http": "httptools", "reset_contextvars": True, "timeout_notify": 5}, {}),
    (("main:app",), {"ssl_certfile": None, "ssl_version": ssl.PROTOCOL_TLS_SERVER}, {}),
    (
        ("main:app",),
        {"ssl_certfile": Path("a"), "ssl_keyfile": "b", "ssl_keyfile_password": "c", "ssl_ciphers": "TLSv1"},
        {"ssl_certfile": ["a"], "ssl_keyfile": ["b"], "ssl_keyfile_password": ["c"], "ssl_ciphers": "TLSv1"},
    ),
    (
        ("main:app",),
        {"ssl_ca_certs": "a", "ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_version": ssl.PROTOCOL_TLS_SERVER},
        {"ssl_ca_certs": "a", "ssl_cert_reqs": "required", "ssl_version": "1.2"},
    ),
    (("main:app",), {"ws_ping_interval": None, "ws_ping_timeout": None}, {"ws_ping_interval": 0, "ws_ping_timeout": 0}),
    (("main:app",), {"http2": False}, {"http2": False}),
    (("main:app",), {"limit_concurrency": None, "timeout_graceful_shutdown": None}, {}),
    (("main:app",), {"headers": [["A", "b"], (b"C", b"d")]}, {"headers": [("A", "b"), ("C", "d")]}),
    (("main:app",), {"headers": None, "root_path": "/api"}, {"root_path": "/api"}),
    (("main:app",), {"app_dir": Path("src"), "env_file": Path(".env")}, {"app_dir": "src", "env_file": ".env"}),
    (("main:app",), {"uds": Path("/run/a"), "factory": True}, {"uds": "/run/a", "factory": True}),
    (
        ("main:app",),
        {"log_config": Path("log.ini"), "log_level": "INFO"},
        {"log_config": "log.ini", "log_level": "info"},
    ),
    (
        ("main:app",),
        {"loop": "none", "interface": "asgi3", "lifespan": "on"},
        {"loop": "none", "interface": "asgi3", "lifespan": "on"},
    ),
]


@pytest.mark.parametrize(("positional", "keywords", "meant"), MEANT)
def test_what_programs_write_for_uvicorn(
    positional: tuple[Any, ...], keywords: dict[str, Any], meant: dict[str, Any]
) -> None:
    assert Config(*positional, **keywords) == Config("main:app", **meant)
    uvicorn_knows = {name: value for name, value in keywords.items() if name not in {"app_dir", "log_config"}}
    uvicorn_knows["env_file"] = None
    uvicorn.Config(*positional, **uvicorn_knows)


def test_a_loop_of_the_programs_own() -> None:
    """What serves bots and the like: the loop is there, and named needlessly."""
    loop = asyncio.new_event_loop()
    assert Config("main:app", loop=loop).loop is loop
    with pytest.raises(StartupError, match=r"The option loop is an event loop already: await serve\(\) on it"):
        loop_factory(loop)
    loop.close()
    assert loop_factory(Config("main:app", loop=asyncio.SelectorEventLoop).loop) is asyncio.SelectorEventLoop


def test_a_keyword_by_two_names_is_given_twice() -> None:
    with pytest.raises(TypeError) as refusal:
        Config("main:app", limit_request_head=4096, h11_max_incomplete_event_size=4096)  # type: ignore[call-arg]
    assert str(refusal.value) == "limit_request_head is given twice, by two names"


def test_a_misspelled_keyword_of_uvicorn_is_told_too() -> None:
    with pytest.raises(TypeError, match=r"Config has no option 'ssl_certfiles'; did you mean 'ssl_certfile'\?"):
        Config("main:app", ssl_certfiles="cert.pem")  # type: ignore[call-arg]


def test_a_config_with_one_thing_changed() -> None:
    """uvicorn's can be changed after it is made; ours by making another one."""
    import copy
    import dataclasses
    import pickle

    config = Config(app, port=1, headers=[("A", "b")], ws_ping_interval=None)  # type: ignore[arg-type]
    assert dataclasses.replace(config, port=2) == Config(app, port=2, headers=[("A", "b")], ws_ping_interval=0)
    assert pickle.loads(pickle.dumps(config)) == copy.copy(config) == config


def test_run_and_server_take_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Config] = []
    monkeypatch.setattr(Server, "run", lambda server: served.append(server.config))
    ferricorn.run("main:app", http="h11", h11_max_incomplete_event_size=4096)  # type: ignore[call-arg]
    ferricorn.run(app="main:app", host="127.0.0.1", port=9)
    Server(config=Config(app=app)).run()
    assert served == [Config("main:app", limit_request_head=4096), Config("main:app", port=9), Config(app)]
