"""What the log looks like, and what it leaves alone."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator

import pytest

from ferricorn.config import Config
from ferricorn.logging import (
    Access,
    AccessFormatter,
    LevelFormatter,
    StandardHandler,
    access_record,
    configure,
    has_colors,
    log_accesses,
)

PARENT, ERROR, ACCESS = (logging.getLogger(name) for name in ("ferricorn", "ferricorn.error", "ferricorn.access"))
LINE: Access = ("127.0.0.1:5000", "GET", "/a?b=c", "1.1", 200)


@pytest.fixture(autouse=True)
def _as_in_a_new_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    levels = [logger.level for logger in (PARENT, ERROR, ACCESS)]
    for logger in (PARENT, ERROR, ACCESS):
        monkeypatch.setattr(logger, "handlers", [])
        monkeypatch.setattr(logger, "propagate", True)
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    yield
    for logger, level in zip((PARENT, ERROR, ACCESS), levels, strict=True):
        logger.setLevel(level)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def record(level: int, message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("ferricorn.error", level, "", 0, message, args, None)
    made.__dict__.update(extra)
    return made


def test_the_levels_are_one_column() -> None:
    configure(Config("main:app"))
    formatter = LevelFormatter(use_colors=False)
    assert formatter.format(record(logging.INFO, "Started [%d]", 5)) == "INFO:     Started [5]"
    assert formatter.format(record(logging.CRITICAL, "text")) == "CRITICAL: text"
    assert formatter.format(record(5, "text")) == "TRACE:    text"


def test_colours() -> None:
    formatter = LevelFormatter(use_colors=True)
    assert formatter.format(record(logging.ERROR, "text")) == "\x1b[31mERROR\x1b[0m:    text"
    assert formatter.format(record(logging.INFO, "on %s!", "here", bold="here")).endswith(" on \x1b[1mhere\x1b[0m!")
    assert LevelFormatter(use_colors=False).format(record(logging.INFO, "on here", bold="here")) == "INFO:     on here"


@pytest.mark.parametrize(("status", "phrase"), [(200, "200 OK"), (404, "404 Not Found"), (299, "299"), (999, "999")])
def test_the_access_log(status: int, phrase: str) -> None:
    formatter = AccessFormatter(use_colors=False)
    line = (*LINE[:4], status)
    assert formatter.format(access_record(line)) == f'INFO:     127.0.0.1:5000 - "GET /a?b=c HTTP/1.1" {phrase}'


def test_the_access_log_in_colours() -> None:
    text = AccessFormatter(use_colors=True).format(access_record(LINE))
    assert text.endswith('127.0.0.1:5000 - "\x1b[1mGET /a?b=c HTTP/1.1\x1b[0m" \x1b[32m200 OK\x1b[0m')


def test_an_access_record_reads_the_same_in_any_other_format() -> None:
    assert access_record(LINE).getMessage() == '127.0.0.1:5000 - "GET /a?b=c HTTP/1.1" 200'


def test_many_responses_are_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    writes = []

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            writes.append(text)
            return len(text)

    monkeypatch.setattr(sys, "stdout", Stream())
    configure(Config("main:app"))
    log_accesses([LINE, ("", *LINE[1:4], 404)])
    assert len(writes) == 1
    assert writes[0].splitlines() == [
        'INFO:     127.0.0.1:5000 - "GET /a?b=c HTTP/1.1" 200 OK',
        'INFO:     unix - "GET /a?b=c HTTP/1.1" 404 Not Found',
    ]


@pytest.mark.parametrize("use_colors", [True, False])
def test_a_handler_that_needs_records_changes_nothing_in_ours(
    use_colors: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(Config("main:app", use_colors=use_colors))
    log_accesses([LINE, LINE])
    alone = capsys.readouterr().out
    records: list[logging.LogRecord] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    ACCESS.addHandler(Collect())
    log_accesses([LINE, LINE])
    assert capsys.readouterr().out == alone
    assert [record.args for record in records] == [LINE, LINE]


@pytest.mark.parametrize("place", [ACCESS, "handler"])
def test_filters_are_heard(place: object, capsys: pytest.CaptureFixture[str]) -> None:
    """The usual way to keep health checks out of the log."""
    configure(Config("main:app"))
    filterer = ACCESS.handlers[0] if place == "handler" else ACCESS
    try:
        filterer.addFilter(no_health_checks)
        log_accesses([LINE, (*LINE[:2], "/health", *LINE[3:])])
        assert capsys.readouterr().out == 'INFO:     127.0.0.1:5000 - "GET /a?b=c HTTP/1.1" 200 OK\n'
    finally:
        filterer.removeFilter(no_health_checks)


def no_health_checks(record: logging.LogRecord) -> bool:
    return "/health" not in record.getMessage()


def test_another_formatter_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Config("main:app"))
    ACCESS.handlers[0].setFormatter(logging.Formatter("%(name)s %(message)s"))
    log_accesses([LINE])
    assert capsys.readouterr().out == 'ferricorn.access 127.0.0.1:5000 - "GET /a?b=c HTTP/1.1" 200\n'


def test_a_client_without_an_address_came_by_a_unix_socket() -> None:
    assert access_record(("", *LINE[1:])).getMessage() == 'unix - "GET /a?b=c HTTP/1.1" 200'


def test_errors_go_to_stderr_and_accesses_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Config("main:app"))
    ERROR.info("started")
    ACCESS.handle(access_record(LINE))
    out, err = capsys.readouterr()
    assert err == "INFO:     started\n"
    assert out == 'INFO:     127.0.0.1:5000 - "GET /a?b=c HTTP/1.1" 200 OK\n'


def test_the_level() -> None:
    configure(Config("main:app", log_level="warning"))
    assert not ERROR.isEnabledFor(logging.INFO)
    assert not ACCESS.isEnabledFor(logging.INFO)
    configure(Config("main:app", log_level="trace"))
    assert ERROR.isEnabledFor(5)


def test_a_second_server_adds_no_second_line(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        configure(Config("main:app"))
    ERROR.info("once")
    ACCESS.handle(access_record(LINE))
    out, err = capsys.readouterr()
    assert (out.count("\n"), err.count("\n")) == (1, 1)


def test_a_stream_that_is_replaced_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    configure(Config("main:app"))
    replaced = io.StringIO()
    monkeypatch.setattr(sys, "stderr", replaced)
    ERROR.info("text")
    assert replaced.getvalue() == "INFO:     text\n"


def test_handlers_of_the_program_are_kept_and_closed_by_nobody() -> None:
    closed = []

    class Own(logging.Handler):
        def close(self) -> None:
            closed.append(self)
            super().close()

    own, root = Own(), Own()
    PARENT.addHandler(own)
    logging.getLogger().addHandler(root)
    try:
        configure(Config("main:app"))
        assert PARENT.handlers == [own]
        assert PARENT.propagate
        assert root in logging.getLogger().handlers
        assert [type(handler) for handler in ACCESS.handlers] == [StandardHandler]
        assert closed == []
    finally:
        logging.getLogger().removeHandler(root)


def test_a_logger_of_the_application_is_not_disabled() -> None:
    application = logging.getLogger("an_application")
    configure(Config("main:app"))
    assert not application.disabled
    assert application.propagate


def test_colours_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_colors(Terminal())
    assert not has_colors(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "")
    assert has_colors(Terminal()), "set to nothing is not set (no-color.org)"
    monkeypatch.setenv("NO_COLOR", "1")
    assert not has_colors(Terminal())


def test_no_colours_on_a_dumb_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert not has_colors(Terminal())


@pytest.mark.parametrize("use_colors", [True, False])
def test_the_option_decides_before_the_terminal(use_colors: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO() if use_colors else Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    configure(Config("main:app", use_colors=use_colors))
    ERROR.info("text")
    assert ("\x1b[" in stream.getvalue()) is use_colors
