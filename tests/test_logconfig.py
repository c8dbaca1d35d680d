"""A log configuration of the operator's own, in every format, written for us or for uvicorn."""

from __future__ import annotations

import configparser
import importlib
import io
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from ferricorn import settings
from ferricorn.config import Config
from ferricorn.errors import StartupError
from ferricorn.formatters import AccessFormatter, DefaultFormatter
from ferricorn.logging import Access, access_record, configure, log_accesses
from ferricorn.server import Server

ROOT, PARENT, ERROR, ACCESS = (
    logging.getLogger(name) for name in ("", "ferricorn", "ferricorn.error", "ferricorn.access")
)
LINE: Access = ("127.0.0.1:5000", "GET", "/a?b=c", "1.1", 200)

FOR_UVICORN: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "default": {
            "()": "uvicorn.logging.DefaultFormatter",
            "fmt": "D %(levelprefix)s %(message)s",
            "use_colors": None,
        },
        "access": {
            "()": "uvicorn.logging.AccessFormatter",
            "fmt": 'A %(levelprefix)s %(client_addr)s - "%(request_line)s" %(status_code)s',
        },
    },
    "handlers": {
        "default": {"formatter": "default", "class": "logging.StreamHandler", "stream": "ext://sys.stderr"},
        "access": {"formatter": "access", "class": "logging.StreamHandler", "stream": "ext://sys.stdout"},
    },
    "loggers": {
        "uvicorn": {"handlers": ["default"], "level": "INFO", "propagate": False},
        "uvicorn.error": {"level": "INFO"},
        "uvicorn.access": {"handlers": ["access"], "level": "INFO", "propagate": False},
    },
}
"""In the shape of uvicorn's own default, which people copy and change."""

YAML = """
version: 1
formatters:
  default: {"()": uvicorn.logging.DefaultFormatter, fmt: "D %(levelprefix)s %(message)s"}
  access:
    (): uvicorn.logging.AccessFormatter
    fmt: 'A %(levelprefix)s %(client_addr)s - "%(request_line)s" %(status_code)s'
handlers:
  default: {class: logging.StreamHandler, formatter: default, stream: "ext://sys.stderr"}
  access: {class: logging.StreamHandler, formatter: access, stream: "ext://sys.stdout"}
loggers:
  uvicorn: {handlers: [default], level: INFO, propagate: no}
  uvicorn.access: {handlers: [access], level: INFO, propagate: no}
"""

TOML = """
version = 1
[formatters.default]
"()" = "ferricorn.formatters.DefaultFormatter"
fmt = "D %(levelprefix)s %(message)s"
[formatters.access]
"()" = "ferricorn.formatters.AccessFormatter"
fmt = 'A %(levelprefix)s %(client_addr)s - "%(request_line)s" %(status_code)s'
[handlers]
default = {class = "logging.StreamHandler", formatter = "default", stream = "ext://sys.stderr"}
access = {class = "logging.StreamHandler", formatter = "access", stream = "ext://sys.stdout"}
[loggers]
ferricorn = {handlers = ["default"], level = "INFO", propagate = false}
"ferricorn.access" = {handlers = ["access"], level = "INFO", propagate = false}
"""

INI = """
[loggers]
keys=root,server,access
[handlers]
keys=default,access
[formatters]
keys=default,access
[logger_root]
handlers=
[logger_server]
qualname=uvicorn
handlers=default
level=INFO
propagate=0
[logger_access]
qualname=uvicorn.access
handlers=access
level=INFO
propagate=0
[handler_default]
class=StreamHandler
args=(sys.stderr,)
formatter=default
[handler_access]
class=StreamHandler
args=(sys.stdout,)
formatter=access
[formatter_default]
class=uvicorn.logging.DefaultFormatter
format=D %(levelprefix)s %(message)s
[formatter_access]
class=uvicorn.logging.AccessFormatter
format=A %(levelprefix)s %(client_addr)s - "%(request_line)s" %(status_code)s
"""


@pytest.fixture(autouse=True)
def _as_in_a_new_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    loggers = (ROOT, PARENT, ERROR, ACCESS)
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        monkeypatch.setattr(logger, "handlers", [])
        monkeypatch.setattr(logger, "propagate", True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def logged(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """What goes to standard error and to standard output for a message and for a response."""
    ERROR.info("started")
    log_accesses([LINE])
    out, err = capsys.readouterr()
    return err, out


EXPECTED = ("D INFO:     started\n", 'A INFO:     127.0.0.1:5000 - "GET /a?b=c HTTP/1.1" 200 OK\n')


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.json", json.dumps(FOR_UVICORN)), ("a.yaml", YAML), ("a.YML", YAML), ("a.toml", TOML), ("a.ini", INI)],
)
def test_every_format(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    configure(Config("main:app", log_config=str(tmp_path / name)))
    assert logged(capsys) == EXPECTED


def test_an_open_file_and_a_parser(capsys: pytest.CaptureFixture[str]) -> None:
    parser = configparser.RawConfigParser()
    parser.read_string(INI)
    for source in (parser, io.StringIO(INI)):
        configure(Config("main:app", log_config=source))  # type: ignore[arg-type]
        assert logged(capsys) == EXPECTED
    assert parser["logger_server"]["qualname"] == "uvicorn", "left as it is"


def test_none_leaves_the_programs_logging_alone(capsys: pytest.CaptureFixture[str]) -> None:
    for logger in (PARENT, ERROR, ACCESS):
        logger.setLevel(logging.NOTSET)
    configure(Config("main:app", log_config=None))
    assert logged(capsys) == ("", "")
    assert (PARENT.level, PARENT.handlers, ACCESS.handlers) == (logging.NOTSET, [], [])

    own = logging.StreamHandler(sys.stdout)
    own.setFormatter(logging.Formatter("%(name)s %(message)s"))
    ROOT.addHandler(own)
    ROOT.setLevel(logging.INFO)
    expected = 'ferricorn.error started\nferricorn.access 127.0.0.1:5000 - "GET /a?b=c HTTP/1.1" 200\n'
    configure(Config("main:app"))  # A server before, with the log as we have it.
    configure(Config("main:app", log_config=None))
    assert logged(capsys) == ("", expected)

    configure(Config("main:app", log_config=None, log_level="error"))
    assert not (ERROR.isEnabledFor(logging.INFO) or ACCESS.isEnabledFor(logging.INFO))


def test_one_word_replaced_by_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    replaced = json.loads(json.dumps(FOR_UVICORN).replace("uvicorn", "ferricorn"))
    configure(Config("main:app", log_config=replaced))
    assert logged(capsys) == EXPECTED


def test_a_dict_which_is_left_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    before = json.dumps(FOR_UVICORN)
    configure(Config("main:app", log_config=FOR_UVICORN))
    assert logged(capsys) == EXPECTED
    assert json.dumps(FOR_UVICORN) == before


@pytest.mark.parametrize("module", ["uvicorn.config", "ferricorn.config"])
def test_what_programs_change_a_part_of_reads_as_without_it(capsys: pytest.CaptureFixture[str], module: str) -> None:
    configure(Config("main:app", log_config=importlib.import_module(module).LOGGING_CONFIG))
    assert type(ACCESS.handlers[0].formatter) is AccessFormatter
    told = logged(capsys)
    for logger in (PARENT, ACCESS):
        logger.handlers.clear()
    configure(Config("main:app"))
    assert logged(capsys) == told


def test_what_is_said_of_our_loggers_goes_before_what_is_said_of_uvicorns() -> None:
    loggers = {"ferricorn.error": {"level": "DEBUG"}, "uvicorn.error": {"level": "ERROR"}, "other": {"level": "ERROR"}}
    configure(Config("main:app", log_config={"loggers": loggers}))
    assert ERROR.level == logging.DEBUG
    assert logging.getLogger("other").level == logging.ERROR


def test_a_configuration_of_the_root_logger_alone(capsys: pytest.CaptureFixture[str]) -> None:
    handlers = {"all": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "all"}}
    config = {
        "formatters": {"all": {"format": "%(name)s %(levelname)s %(message)s"}},
        "handlers": handlers,
        "root": {"handlers": ["all"], "level": "INFO"},
    }
    configure(Config("main:app"))
    configure(Config("main:app", log_config=config))
    err, out = logged(capsys)
    assert err == ""
    assert out.splitlines() == [
        "ferricorn.error INFO started",
        'ferricorn.access INFO 127.0.0.1:5000 - "GET /a?b=c HTTP/1.1" 200',
    ]


def test_loggers_of_the_application_go_on() -> None:
    application = logging.getLogger("an_application")
    configure(Config("main:app", log_config={}))
    assert (application.disabled, ERROR.disabled) == (False, False)


def test_a_level_that_is_given_goes_before_the_configurations() -> None:
    configure(Config("main:app", log_config=FOR_UVICORN))
    assert not ERROR.isEnabledFor(logging.DEBUG)
    configure(Config("main:app", log_config=FOR_UVICORN, log_level="debug"))
    assert ERROR.isEnabledFor(logging.DEBUG)
    configure(Config("main:app", log_config=FOR_UVICORN, log_level=logging.ERROR))
    assert not ACCESS.isEnabledFor(logging.WARNING)


def test_a_level_may_be_a_number() -> None:
    configure(Config("main:app", log_level=15))
    assert ERROR.isEnabledFor(15)
    assert not ERROR.isEnabledFor(14)


@pytest.mark.parametrize("use_colors", [True, False, None])
def test_colours(use_colors: bool | None, capsys: pytest.CaptureFixture[str]) -> None:
    configure(Config("main:app", log_config=FOR_UVICORN, use_colors=use_colors))
    err, out = logged(capsys)
    assert ("\x1b[32mINFO\x1b[0m:     started" in err) is bool(use_colors)
    assert ('"\x1b[1mGET /a?b=c HTTP/1.1\x1b[0m" \x1b[32m200 OK\x1b[0m' in out) is bool(use_colors)


def test_colours_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.delenv("TERM", raising=False)
    assert AccessFormatter().use_colors
    assert not DefaultFormatter().use_colors


def test_the_fields_of_a_response() -> None:
    fields = "%(client_addr)s %(method)s %(full_path)s %(http_version)s %(status_code)s"
    assert AccessFormatter(fields).format(access_record(LINE)) == "127.0.0.1:5000 GET /a?b=c 1.1 200 OK"
    other = logging.LogRecord("other", logging.INFO, "", 0, "text", (), None)
    assert AccessFormatter("[%(request_line)s%(status_code)s] %(message)s").format(other) == "[] text"


def test_a_formatter_of_ours_with_a_format_is_used_by_the_standard_handler(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Config("main:app"))
    ACCESS.handlers[0].setFormatter(AccessFormatter("%(status_code)s"))
    log_accesses([LINE])
    assert capsys.readouterr().out == "200 OK\n"


UNREADABLE = [
    ("none.json", None, "Cannot read the log configuration none.json: no such file or directory."),
    ("a.json", "{", "Cannot read the log configuration a.json: Expecting property name enclosed in double quotes: "),
    ("a.json", "[]", "Cannot read the log configuration a.json: it holds no table at its top."),
    ("a.yaml", "a: [", "Cannot read the log configuration a.yaml: while parsing a flow node"),
    ("a.toml", "a", "Cannot read the log configuration a.toml: "),
    ("a.ini", "a", "Cannot read the log configuration a.ini: File contains no section headers."),
]


@pytest.mark.parametrize(("name", "text", "sentence"), UNREADABLE)
def test_a_file_that_cannot_be_read_is_seen_by_the_check(
    run: Callable[..., Result], tmp_path: Path, name: str, text: str | None, sentence: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    result = run("main:app", "--check-config", "--log-config", name)
    assert result.exit_code == 2
    assert result.output.splitlines()[-1].startswith(f"Error: {sentence}")


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (
            {"handlers": {"a": {"class": "nowhere.Handler"}}},
            "ValueError: Unable to configure handler 'a': Cannot resol",
        ),
        ({"version": 2}, "ValueError: Unsupported version: 2"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_told_in_our_log(
    config: dict[str, Any], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server = Server(Config("main:app", log_config=config))
    with pytest.raises(SystemExit) as exit_status:
        server.run()
    assert exit_status.value.code == 3
    assert capsys.readouterr().err.startswith(f"ERROR:    Cannot use the log configuration: {why}")


def test_without_yaml_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.yaml").write_text(YAML)
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(StartupError, match="it needs the package PyYAML, which is not installed"):
        configure(Config("main:app", log_config=tmp_path / "a.yaml"))  # type: ignore[arg-type]


def test_it_may_stand_in_the_file_of_options(config_of: Callable[..., Config], run: Callable[..., Result]) -> None:
    Path("ferricorn.toml").write_text(
        "[log_config]\nversion = 1\n[log_config.loggers.uvicorn]\nlevel = 'DEBUG'\nhandlers = ['a', 'b']\n"
    )
    config = config_of("main:app")
    assert config.log_config == {"version": 1, "loggers": {"uvicorn": {"level": "DEBUG", "handlers": ["a", "b"]}}}
    shown = run("main:app", "--print-config").output
    Path("ferricorn.toml").write_text(shown)
    assert settings.load(None)["log_config"].value == config.log_config


def test_a_server_without_a_log_configuration_does_not_load_what_reads_one() -> None:
    code = "import sys, ferricorn.cli; sys.exit('logging.config' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
