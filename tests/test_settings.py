"""Where values come from: the command line, the environment, a file, defaults; and what says so."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from ferricorn import application, environment, settings
from ferricorn.config import OPTIONS, Config
from ferricorn.errors import StartupError
from ferricorn.options import Option

every_uvicorn_option = pytest.mark.parametrize(
    "option", [option for option in OPTIONS if option.uvicorn], ids=lambda option: option.name
)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


# --- order


def test_the_order_of_the_sources(config_of: Callable[..., Config], tmp_path: Path) -> None:
    write(tmp_path / "ferricorn.toml", "port = 1\nbacklog = 1\nws_max_queue = 1\nws_max_size = 1\n")
    config = config_of(
        "main:app",
        "--port",
        "4",
        FERRICORN_PORT="3",
        FERRICORN_BACKLOG="3",
        UVICORN_PORT="2",
        UVICORN_BACKLOG="2",
        UVICORN_WS_MAX_QUEUE="2",
    )
    assert config == Config("main:app", port=4, backlog=3, ws_max_queue=2, ws_max_size=1)


@every_uvicorn_option
def test_uvicorns_variable_is_read(option: Option, config_of: Callable[..., Config], tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    texts = {"env_file": "empty", "headers": "A:b C:d", "log_level": "debug", "interface": "asgi2", "loop": "asyncio"}
    texts |= {
        "lifespan": "off",
        "ws": "wsproto",
        "host": "::1",
        "uds": "a",
        "app_dir": "a",
        "root_path": "/a",
        "limit_request_head": "128",
        "forwarded_allow_ips": "*",
        "ssl_version": "17",
    }
    text = texts.get(option.name, "1")
    value = {"headers": (("A", "b"), ("C", "d"))}.get(option.name, option.kind.parse(text.replace(" ", "\n")))
    config = config_of("main:app", **{option.uvicorn_environment: text})
    assert getattr(config, option.name) == value


def named(name: str) -> Option:
    return next(option for option in OPTIONS if option.name == name)


def test_a_platforms_variable_is_read_where_ours_and_uvicorns_are_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    option = replace(named("port"), fallbacks=("WEB_PORT", "OTHER_PORT"))
    set_one_by_one = ["OTHER_PORT", "WEB_PORT", "UVICORN_PORT", "FERRICORN_PORT"]
    monkeypatch.setattr(os, "environ", {})
    for number, name in enumerate(set_one_by_one):
        monkeypatch.setenv(name, str(number))
        assert environment.variable(option) == name
        assert environment.check(option, name) == number
    assert sorted(option.variables) == sorted(set_one_by_one)


FALLBACKS = [(option, name) for option in OPTIONS for name in option.fallbacks]


@pytest.mark.parametrize(("option", "name"), FALLBACKS, ids=[name for _, name in FALLBACKS])
def test_a_platforms_variable_is_shown_with_its_name(option: Option, name: str, run: Callable[..., Result]) -> None:
    text = {"WEB_CONCURRENCY": "4", "FORWARDED_ALLOW_IPS": "10.0.0.0/8,::1"}[name]
    result = run("--print-config", "main:app", **{name: text})
    line = next(line for line in result.output.splitlines() if line.startswith(f"{option.name} = "))
    assert line.endswith(f"# ${name}")
    assert text.split(",")[0] in line
    result = run("--print-config", "main:app", **{name: text, option.uvicorn_environment: text})
    assert f"# ${option.uvicorn_environment}" in result.output


LISTS = [
    ("headers", "UVICORN_HEADERS", "A:b C:d,e", ["A:b", "C:d,e"]),
    ("bind", "UVICORN_BIND", "a:1, b:2 c:3", ["a:1", "b:2", "c:3"]),
    ("bind", "FERRICORN_BIND", "a:1, b:2,", ["a:1", "b:2"]),
    ("bind", "PLATFORM_BIND", "a:1,b:2", ["a:1", "b:2"]),
    ("reload_dir", "UVICORN_RELOAD_DIRS", f"a{os.pathsep}b c", ["a", "b c"]),
    ("reload_include", "UVICORN_RELOAD_INCLUDES", "*.html *.css", ["*.html", "*.css"]),
    ("reload_dir", "FERRICORN_RELOAD_DIR", "a,b c", ["a", "b c"]),
    ("ssl_keyfile_password", "UVICORN_SSL_KEYFILE_PASSWORD", "a,b c", ["a,b c"]),
    ("ssl_keyfile_password", "FERRICORN_SSL_KEYFILE_PASSWORD", "a,b c\nd", ["a,b c", "d"]),
]


@pytest.mark.parametrize(("option", "variable", "text", "parts"), LISTS)
def test_several_values_in_a_variable(
    monkeypatch: pytest.MonkeyPatch, option: str, variable: str, text: str, parts: list[str]
) -> None:
    monkeypatch.setenv(variable, text)
    described = replace(named(option), fallbacks=("PLATFORM_BIND",))
    if option == "bind":
        described = replace(described, uvicorn=option)
    assert environment.parts(described, variable) == parts


def test_an_empty_variable_is_absent(config_of: Callable[..., Config]) -> None:
    assert config_of("main:app", FERRICORN_PORT="", UVICORN_PORT="7").port == 7


def test_a_mistake_in_uvicorns_variable_is_told_by_its_name(run: Callable[..., Result]) -> None:
    result = run("main:app", UVICORN_LOOP="zuvloop")
    assert result.exit_code == 2
    assert "Invalid value for $UVICORN_LOOP: must be one of auto, asyncio, uvloop" in result.output


def test_options_of_our_own_have_no_name_in_uvicorn(config_of: Callable[..., Config]) -> None:
    assert config_of("main:app", UVICORN_BIND="a:1", UVICORN_UDS_MODE="600") == Config("main:app")


# --- the file


def test_the_file_may_name_everything(config_of: Callable[..., Config], tmp_path: Path) -> None:
    write(
        tmp_path / "ferricorn.toml",
        """
        app = "other:app"
        bind = ["a:1", "unix:b"]
        uds-mode = 0o600
        header = ["X-A: b", ["X-C", "d"]]
        access_log = false
        timeout-keep-alive = 2.5
        """,
    )
    assert config_of() == Config(
        "other:app",
        bind=["a:1", "unix:b"],
        uds_mode=0o600,
        headers=[("X-A", "b"), ("X-C", "d")],
        access_log=False,
        timeout_keep_alive=2.5,
    )


@pytest.mark.parametrize(
    ("files", "arguments", "port"),
    [
        (["ferricorn.toml", "pyproject.toml", "a/b.toml"], ["--config", "a/b.toml"], 3),
        (["ferricorn.toml", "pyproject.toml", "a/b.toml"], [], 1),
        (["pyproject.toml", "a/b.toml"], [], 2),
        (["a/pyproject.toml"], ["--config", "a/pyproject.toml"], 2),
        (["a/b.toml", "a/ferricorn.toml"], [], 8000),
    ],
)
def test_one_file_is_read(
    config_of: Callable[..., Config], tmp_path: Path, files: list[str], arguments: list[str], port: int
) -> None:
    for name in files:
        contents = {"ferricorn.toml": "port = 1", "pyproject.toml": "port = 2\n[tool.ferricorn]\nport = 2"}
        write(tmp_path / name, contents.get(Path(name).name, "port = 3"))
    assert config_of("main:app", *arguments).port == port


def test_the_file_may_be_named_in_the_environment(config_of: Callable[..., Config], tmp_path: Path) -> None:
    write(tmp_path / "a.toml", "port = 4")
    assert config_of("main:app", FERRICORN_CONFIG="a.toml").port == 4


def test_a_project_file_of_others_is_no_concern(config_of: Callable[..., Config], tmp_path: Path) -> None:
    write(tmp_path / "pyproject.toml", "[tool.other]\nport = 1\n[project]\nname = 'a'\n")
    assert config_of("main:app") == Config("main:app")


MISTAKES = [
    ("prot = 1", "x.toml: there is no option 'prot'; did you mean 'port'?"),
    ("log-leve = 'info'", "x.toml: there is no option 'log-leve'; did you mean 'log_level'?"),
    ("ap = 'main:app'", "x.toml: there is no option 'ap'; did you mean 'app'?"),
    ("xyzzy = 1", "x.toml: there is no option 'xyzzy'."),
    ("[server]\nport = 1", "x.toml: there is no option 'server'; did you mean 'server_header'?"),
    ("port = '1'", "x.toml: port must be a whole number, not '1'."),
    ("port = 70000", "x.toml: port must be between 0 and 65535, not 70000."),
    ("header = ['x']", "x.toml: headers must read \"Name: value\", not 'x'."),
    ("header = ['A: b']\nheaders = []", "x.toml: headers is set twice, by two spellings."),
    ("app = 5", "x.toml: app must be text, not 5."),
    ("port =", "x.toml is not TOML: Invalid value (at end of document)."),
]


@pytest.mark.parametrize(("text", "sentence"), MISTAKES)
def test_a_mistake_in_the_file_exits_2(run: Callable[..., Result], tmp_path: Path, text: str, sentence: str) -> None:
    write(tmp_path / "x.toml", text)
    result = run("main:app", "--config", "x.toml")
    assert result.exit_code == 2
    assert result.output.splitlines()[-1] == f"Error: {sentence}"


def test_a_mistake_in_the_project_file_names_its_table(run: Callable[..., Result], tmp_path: Path) -> None:
    write(tmp_path / "pyproject.toml", "[tool.ferricorn]\nprot = 1")
    output = run("main:app").output
    assert output.endswith("Error: pyproject.toml [tool.ferricorn]: there is no option 'prot'; did you mean 'port'?\n")


def test_a_table_of_the_project_file_that_is_none(run: Callable[..., Result], tmp_path: Path) -> None:
    write(tmp_path / "pyproject.toml", "[tool]\nferricorn = 5")
    output = run("main:app").output
    assert output.endswith("Error: pyproject.toml [tool.ferricorn] must be a table, not 5.\n")


@pytest.mark.parametrize(
    ("name", "why"), [("none.toml", "no such file or directory"), (".", "is a directory")], ids=["absent", "folder"]
)
def test_a_file_that_is_named_has_to_be_there(run: Callable[..., Result], name: str, why: str) -> None:
    result = run("main:app", "--config", name)
    assert result.exit_code == 2
    assert result.output.splitlines()[-1] == f"Error: Cannot read {name}: {why}."


# --- the env file


def test_an_env_file_holds_variables_of_options_and_of_the_application(
    config_of: Callable[..., Config], tmp_path: Path
) -> None:
    write(tmp_path / "a.env", "# a comment\nexport FERRICORN_PORT=5\nDATABASE='a b'\nFERRICORN_BACKLOG=5\n")
    config = config_of("--port", "6", "main:app", "--env-file", "a.env", FERRICORN_BACKLOG="7")
    assert config == Config("main:app", port=6, backlog=7, env_file="a.env")
    assert os.environ["DATABASE"] == "a b"
    assert os.environ["FERRICORN_PORT"] == "5"


def test_an_env_file_may_name_the_file_of_options(config_of: Callable[..., Config], tmp_path: Path) -> None:
    write(tmp_path / "a.env", "FERRICORN_CONFIG=a.toml\nFERRICORN_APP=other:app")
    write(tmp_path / "a.toml", "port = 5")
    assert config_of("--env-file", "a.env") == Config("other:app", port=5, env_file="a.env")


def test_an_env_file_is_read_before_the_application_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.env", "GREETING=hello")
    write(tmp_path / "reads_environment.py", "import os\ngreeting = os.environ['GREETING']\n")
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setattr(sys, "path", sys.path.copy())
    config = Config("reads_environment:greeting", app_dir=tmp_path, env_file=tmp_path / "a.env")  # type: ignore[arg-type]
    assert application.find(config) == "hello"


def test_an_env_file_that_is_not_there(run: Callable[..., Result]) -> None:
    result = run("main:app", "--env-file", "none.env")
    assert result.exit_code == 2
    assert result.output.splitlines()[-1] == "Error: Cannot read the env file none.env: no such file or directory."


def test_an_env_file_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_bytes(b"A=\xff")
    with pytest.raises(StartupError, match="it is not UTF-8"):
        environment.load(str(tmp_path / "a.env"))


def test_without_the_library_an_env_file_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dotenv", None)
    with pytest.raises(StartupError, match=r'needs the package python-dotenv.*pip install "ferricorn\[standard\]"'):
        environment.load(str(tmp_path / "a.env"))


# --- check and print


def test_a_valid_configuration_is_said_to_be(run: Callable[..., Result]) -> None:
    result = run("nowhere:app", "--check-config")
    assert (result.exit_code, result.output) == (0, "The configuration is valid.\n")


def test_a_check_reads_the_files_that_are_named(run: Callable[..., Result], tmp_path: Path) -> None:
    write(tmp_path / "ferricorn.toml", "env_file = 'none.env'")
    result = run("main:app", "--check-config")
    assert result.exit_code == 2
    assert "Cannot read the env file none.env" in result.output


@pytest.mark.parametrize("command", ["--check-config", "--print-config"])
def test_a_wrong_configuration_is_told_by_either(run: Callable[..., Result], command: str) -> None:
    result = run("main:app", command, FERRICORN_PORT="x")
    assert result.exit_code == 2
    assert "Error: Invalid value for $FERRICORN_PORT" in result.output


def test_every_value_is_printed_with_its_origin(run: Callable[..., Result], tmp_path: Path) -> None:
    write(tmp_path / "pyproject.toml", "[tool.ferricorn]\nbacklog = 5\nfd = 3")
    result = run("--print-config", "main:app", "--no-access-log", FERRICORN_PORT="1", UVICORN_WS="none")
    assert result.exit_code == 0
    origins = {
        line.split("=")[0].strip("# "): line.split("  # ")[-1] for line in result.output.splitlines() if "=" in line
    }
    given = {"app", "access_log", "port", "ws", "backlog", "fd"}
    assert origins["app"] == origins["access_log"] == "command line"
    assert origins["port"] == "$FERRICORN_PORT"
    assert origins["ws"] == "$UVICORN_WS"
    assert origins["backlog"] == origins["fd"] == "pyproject.toml [tool.ferricorn]"
    assert {origins[option.name] for option in OPTIONS if option.name not in given} == {"default"}


def test_what_is_printed_can_be_read_again(config_of: Callable[..., Config]) -> None:
    chosen: dict[str, Any] = {
        "bind": ["a:1", "unix:/a b"],
        "uds_mode": 0o640,
        "headers": [("A", 'b "c" \\ \u00e9')],
        "timeout_keep_alive": 0.25,
        "use_colors": False,
        "root_path": "/a\u007f",
    }
    config = Config("main:app", **chosen)
    text = settings.render({name: settings.Setting(getattr(config, name), "") for name in ("app", *chosen)})
    defaults = {option.name for option in OPTIONS if option.default is not None}
    assert set(tomllib.loads(text)) == {"app", *defaults, *chosen}
    Path("again.toml").write_text(text)
    assert config_of("--config", "again.toml") == config
