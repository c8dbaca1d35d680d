"""What the log looks like, and what it leaves alone."""

from __future__ import annotations

import io
import logging
import logging.handlers
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ferricorn.config import Config
from ferricorn.logging import (
    COLORED,
    NATIVE,
    RECORDS,
    TEXT,
    Access,
    AccessFormatter,
    LevelFormatter,
    Route,
    StandardHandler,
    access_record,
    access_route,
    configure,
    has_colors,
    log_accesses,
    reopen,
    write_accesses,
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


def test_our_own_handler_needs_no_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "__stdout__", sys.stdout)
    configure(Config("main:app", use_colors=False))
    assert access_route()[0] == NATIVE
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert access_route()[0] == TEXT
    configure(Config("main:app", use_colors=True))
    assert access_route()[0] == TEXT + COLORED


class Other(logging.Handler):
    """Listens."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class Otherwise(AccessFormatter):
    """A format of its own, perhaps."""


def holds(route: Route) -> bool:
    """As the worker sees it."""
    _, attributes, lists = route
    same = all(names.get(name) is value for names, name, value in attributes)
    return bool(attributes) and same and all(items == held for items, held in lists)


@pytest.mark.parametrize(
    "change",
    [
        lambda: ACCESS.addHandler(Other()),
        lambda: ACCESS.addFilter(no_health_checks),
        lambda: ACCESS.handlers[0].addFilter(no_health_checks),
        lambda: ACCESS.handlers[0].setFormatter(Otherwise(use_colors=False)),
        lambda: setattr(ACCESS, "propagate", True),
        lambda: ACCESS.handlers.clear(),
    ],
)
def test_whoever_else_listens_gets_records(change: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ACCESS, "filters", [])
    monkeypatch.setattr(sys, "__stdout__", sys.stdout)
    configure(Config("main:app"))
    route = access_route()
    assert route[0] & ~COLORED == NATIVE
    assert holds(route)
    change()
    assert not holds(route)
    assert access_route() == (RECORDS, (), ())


def test_a_route_holds_until_something_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "__stdout__", sys.stdout)
    configure(Config("main:app", use_colors=False))
    route = access_route()
    configure(Config("main:app", use_colors=True))
    assert not holds(route)
    route = access_route()
    assert (route[0], holds(route)) == (NATIVE + COLORED, True)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert not holds(route)


def test_a_text_is_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    writes = []

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            writes.append(text)
            return len(text)

    monkeypatch.setattr(sys, "stdout", Stream())
    configure(Config("main:app"))
    write_accesses("one\ntwo\n")
    assert writes == ["one\ntwo\n"]


class Full(io.StringIO):
    """A stream that takes nothing for a while."""

    full = True

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(28, "No space left on device")
        return super().write(text)


def test_what_cannot_be_written_is_told_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = Full()
    monkeypatch.setattr(sys, "stdout", stream)
    configure(Config("main:app"))
    for _ in range(3):
        write_accesses("lost\n")
    assert capsys.readouterr().err.count("Cannot write the access log: [Errno 28] No space left on device.") == 1
    stream.full = False
    write_accesses("kept\n")
    stream.full = True
    write_accesses("lost\n")
    assert stream.getvalue() == "kept\n"
    assert capsys.readouterr().err.count("Cannot write the access log") == 1


@pytest.mark.parametrize("stream", [None, "closed"])
def test_a_stream_that_is_not_there_is_told_once(
    stream: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", None if stream is None else closed)
    configure(Config("main:app", use_colors=False))
    for _ in range(3):
        assert access_route()[0] == TEXT
        write_accesses("lost\n")
    assert capsys.readouterr().err.count("Cannot write the access log") == 1


def test_a_format_of_the_operator_is_the_message(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Config("main:app"))
    own = Other()
    monitored = logging.StreamHandler(sys.stdout)
    monitored.setFormatter(logging.Formatter("own %(message)s"))
    ACCESS.handlers += [own, monitored]
    log_accesses([LINE], ["a % line"])
    assert capsys.readouterr().out == "a % line\nown a % line\n"
    assert (own.records[0].getMessage(), own.records[0].args) == ("a % line", LINE)


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


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[tuple[logging.FileHandler, Path]]:
    """A file that a logger of the application writes to, once behind a buffer."""
    path = tmp_path / "app.log"
    handler = logging.FileHandler(path, mode="w")
    buffer = logging.handlers.MemoryHandler(1, target=handler)
    named, root = logging.getLogger("some.library"), logging.getLogger()
    named.addHandler(handler)
    root.addHandler(buffer)
    yield handler, path
    named.removeHandler(handler)
    root.removeHandler(buffer)
    buffer.close()
    handler.close()


def test_reopen_follows_a_rotation(log_file: tuple[logging.FileHandler, Path]) -> None:
    handler, path = log_file
    handler.emit(record(logging.INFO, "before"))
    rotated = path.with_suffix(".1")
    path.rename(rotated)
    handler.emit(record(logging.INFO, "still the old one"))
    assert reopen() == []
    handler.emit(record(logging.INFO, "after"))
    assert rotated.read_text() == "before\nstill the old one\n"
    assert path.read_text() == "after\n"


def test_reopen_empties_no_file(log_file: tuple[logging.FileHandler, Path]) -> None:
    handler, path = log_file
    handler.emit(record(logging.INFO, "before"))
    for _ in range(2):
        assert reopen() == []
    handler.emit(record(logging.INFO, "after"))
    assert path.read_text() == "before\nafter\n"


def test_reopen_keeps_the_old_file_where_there_can_be_no_new_one(
    log_file: tuple[logging.FileHandler, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    handler, path = log_file
    configure(Config("main:app"))
    rotated = path.with_suffix(".1")
    path.rename(rotated)
    path.mkdir()
    assert reopen() == [f"Cannot open the log file {path} again: is a directory."]
    assert str(path) in capsys.readouterr().err
    handler.emit(record(logging.INFO, "after"))
    assert rotated.read_text() == "after\n"


def test_reopen_leaves_closed_files_closed(tmp_path: Path) -> None:
    delayed = logging.FileHandler(tmp_path / "delayed.log", delay=True)
    watched = logging.handlers.WatchedFileHandler(tmp_path / "watched.log")
    root = logging.getLogger()
    root.addHandler(delayed)
    root.addHandler(watched)
    try:
        (tmp_path / "watched.log").rename(tmp_path / "watched.1")
        assert reopen() == []
        assert not (tmp_path / "delayed.log").exists()
        watched.emit(record(logging.INFO, "after"))
        assert (tmp_path / "watched.log").read_text() == "after\n"
    finally:
        for handler in (delayed, watched):
            root.removeHandler(handler)
            handler.close()
