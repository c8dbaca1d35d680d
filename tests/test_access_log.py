"""The access log over sockets: what is in a line, who gets it, and that none is lost on its way to standard output."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import Result

from ferricorn import Config
from tests.support.asgi import Receive, Scope, Send, body, respond, start
from tests.support.deadline import DEADLINE
from tests.support.process import StartProcess
from tests.support.server import RunningServer, Serve

ACCESS = logging.getLogger("ferricorn.access")
HELLO = "tests.support.apps:hello"


def get(path: str = "/", fields: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode("latin-1")


class Output(io.StringIO):
    """Standard output as a program has replaced it; says when a line has come."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []
        self._came = threading.Condition()

    def write(self, text: str) -> int:
        with self._came:
            self.writes.append(text)
            self._came.notify_all()
        return len(text)

    def lines(self, number: int) -> list[str]:
        """All lines, once there are so many."""
        with self._came:
            assert self._came.wait_for(lambda: "".join(self.writes).count("\n") >= number, DEADLINE)
            return "".join(self.writes).splitlines()


@pytest.fixture
def replaced(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Output]:
    """Replaces standard output; to be called in the test itself, for pytest replaces it just before."""
    monkeypatch.setattr(ACCESS, "handlers", [])
    monkeypatch.setattr(ACCESS, "filters", [])
    monkeypatch.setattr(ACCESS, "propagate", True)

    def replace() -> Output:
        made = Output()
        monkeypatch.setattr(sys, "stdout", made)
        return made

    return replace


async def ok(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send(start(200, [(b"content-type", b"text/plain"), (b"x-quote", b'a"b')]))
    await send(body(b"hello", more=True))
    await send(body(b", world!\n"))


def logged(server: RunningServer, output: Output, request: bytes) -> tuple[str, str]:
    """The line of one request, and its client's address."""
    with server.connect() as client:
        host, port = client.socket.getsockname()[:2]
        client.send(request)
        client.response()
        return output.lines(1)[0], f"{host}:{port}"


def test_the_standard_line(serve: Serve, replaced: Callable[[], Output]) -> None:
    output = replaced()
    line, client = logged(serve(ok, access_log=True), output, get("/a%20b?c=d"))
    assert line == f'INFO:     {client} - "GET /a%20b?c=d HTTP/1.1" 200 OK'


def test_pipelined_requests_are_one_write(serve: Serve, replaced: Callable[[], Output]) -> None:
    output = replaced()
    server = serve(ok, access_log=True)
    with server.connect() as client:
        client.send(get("/1") + get("/2") + get("/3"))
        for _ in range(3):
            client.response()
        lines = output.lines(3)
    assert [line.split()[4] for line in lines] == ["/1", "/2", "/3"]
    # Before Python 3.12 a task begins with the loop's next round, and each response has a turn of its own.
    assert len(output.writes) == 1 or sys.version_info < (3, 12), "they were finished in one turn"


def test_records_say_the_same_as_lines(serve: Serve, replaced: Callable[[], Output]) -> None:
    """Also where a handler is added while the server runs: from the next line on."""
    output = replaced()
    server = serve(ok, access_log=True)
    records: list[logging.LogRecord] = []

    class Other(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    with server.connect() as client:
        client.send(get('/a"b?c'))
        client.response()
        (alone,) = output.lines(1)
        ACCESS.addHandler(Other())
        client.send(get('/a"b?c'))
        client.response()
        assert output.lines(2) == [alone, alone]
    (one,) = records
    assert isinstance(one.args, tuple)
    assert one.args[1:] == ("GET", '/a\\"b?c', "1.1", 200)


def test_a_filter_keeps_health_checks_out(serve: Serve, replaced: Callable[[], Output]) -> None:
    output = replaced()
    server = serve(ok, access_log=True)
    ACCESS.addFilter(lambda record: "/health" not in record.getMessage())
    with server.connect() as client:
        for path in ("/health", "/other"):
            client.send(get(path))
            client.response()
    (line,) = output.lines(1)
    assert "/other" in line


def test_the_operators_format(serve: Serve, replaced: Callable[[], Output]) -> None:
    output = replaced()
    form = '%h "%r" %>s %b "%{Referer}i" "%{X-Quote}o" %(B)s %{None}o'
    server = serve(ok, access_log=True, access_log_format=form)
    line, _ = logged(server, output, get("/x", 'Referer: "\x9b\r\n'))
    assert line == r'127.0.0.1 "GET /x HTTP/1.1" 200 14 "\"\x9b" "a\"b" 14 -'


def test_json(serve: Serve, replaced: Callable[[], Output]) -> None:
    output = replaced()
    server = serve(ok, access_log=True, access_log_format="json")
    line, _ = logged(server, output, get('/"?\xe9', 'User-Agent: a "\\\r\n'))
    said = json.loads(line)
    took = said.pop("duration_ms")
    assert 0 <= took < DEADLINE * 1000
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", said.pop("time"))
    assert said == {
        "client": "127.0.0.1",
        "method": "GET",
        "path": '/"',
        "query": "\ufffd",
        "protocol": "HTTP/1.1",
        "status": 200,
        "bytes": 14,
        "referer": None,
        "user_agent": 'a "\\',
    }


def test_how_long_it_took(serve: Serve, replaced: Callable[[], Output]) -> None:
    """A handler that computes takes its time, though no time passes for the event loop."""
    output = replaced()

    async def slow(_scope: Scope, _receive: Receive, send: Send) -> None:
        threading.Event().wait(0.02)
        await respond(send)

    server = serve(slow, access_log=True, access_log_format="%(M)s %(D)s %(L)s %(dt_ms).1f")
    line, _ = logged(server, output, get())
    millis, micros, seconds, exact = map(float, line.split())
    assert millis >= 20 and micros >= 20_000 and seconds >= 0.02 and exact >= 20


HOSTILE = ["\t200\t", '" 200 5 "-" "', "\\", "\x9b31m", "\xe2\x80\xa8", "\xc2\x85"]


@pytest.mark.parametrize("form", ["", "combined", "json"])
def test_no_request_forges_a_line(form: str, serve: Serve, replaced: Callable[[], Output]) -> None:
    output = replaced()
    server = serve(ok, access_log=True, access_log_format=form)
    for value in HOSTILE:
        # A target with a control character is refused before it is logged.
        target = "".join(character for character in value if character > " ")
        request = get(f"/{target}?{target}", f"Referer: x{value}x\r\nUser-Agent: {value}\r\n")
        assert server.exchange(request).status == 200, value
    lines = output.lines(len(HOSTILE))
    assert len(lines) == len(HOSTILE)
    for line in lines:
        assert line.isascii() and line.isprintable(), line
        if form == "json":
            assert json.loads(line)["status"] == 200


@pytest.mark.parametrize(
    ("form", "told"),
    [("%(h)s %(zz)s", "'%(zz)s'"), ("%h %z", "'%z'"), ("%(h", "'%(h'"), ("%(h)d", "'%(h)d'")],
)
def test_a_wrong_atom_is_named(form: str, told: str, run: Callable[..., Result]) -> None:
    result = run("main:app", "--access-log-format", form)
    assert result.exit_code == 2
    assert told in result.output
    with pytest.raises(ValueError, match=f"^access_log_format must not .*{re.escape(told)}"):
        Config("main:app", access_log_format=form)


@pytest.mark.parametrize("flag", ["--access-log-format", "--access-logformat", "--access-log-fmt"])
def test_other_servers_have_other_names_for_it(flag: str, config_of: Callable[..., Config]) -> None:
    assert config_of("main:app", flag, "%(t)s").access_log_format == "%(t)s"


# --- in a process of its own, on the real standard output


def test_a_line_comes_at_once(start_process: StartProcess) -> None:
    server = start_process(HELLO).wait_until_running()
    for path in ("/first", "/second"):
        server.exchange(get(path))
        # Nothing else happens that could bring it.
        server.wait_for_line(f'"GET {path} HTTP/1.1" 200 OK')
    assert server.stop() == 0


def test_every_line_is_there_in_the_end(start_process: StartProcess, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    count = 300
    with path.open("wb") as file:
        server = start_process(HELLO, "--access-log-format", "%U", stdout=file.fileno()).wait_until_running()
        with server.connect() as client:
            client.send(b"".join(get(f"/{number}") for number in range(count)))
            for _ in range(count):
                client.response()
        assert server.stop() == 0
    assert path.read_text() == "".join(f"/{number}\n" for number in range(count))


def test_several_workers_mix_no_lines(start_process: StartProcess) -> None:
    """They share a pipe, which takes no more than a page in one piece."""
    reader, writer = os.pipe()
    count = 200
    with closing(os.fdopen(reader, "rb")) as lines:
        collected: list[bytes] = []
        reading = threading.Thread(target=lambda: collected.extend(lines))
        reading.start()
        form = f"%(p)s %U {'x' * 700}"
        server = start_process(HELLO, "--workers", "2", "--access-log-format", form, stdout=writer)
        os.close(writer)
        server.wait_until_running()
        clients = [server.connect() for _ in range(8)]
        for number, client in enumerate(clients):
            client.send(b"".join(get(f"/{number}/{request}") for request in range(count)))
        for client in clients:
            for _ in range(count):
                assert client.response().status == 200
            client.close()
        assert server.stop() == 0
        reading.join(DEADLINE)
    pattern = re.compile(rb"<\d+> /(\d+/\d+) x{700}\n")
    found = [match[1].decode() for line in collected if (match := pattern.fullmatch(line))]
    assert len(collected) == len(found)
    assert sorted(found) == sorted(f"{number}/{request}" for number in range(8) for request in range(count))


def test_threads_that_are_left_behind_cost_no_line(start_process: StartProcess, tmp_path: Path) -> None:
    """The process is ended under them, without the interpreter's own end."""
    path = tmp_path / "access.log"
    with path.open("wb") as file:
        server = start_process(
            "tests.support.apps:threaded",
            *("--access-log-format", "%U", "--timeout-graceful-shutdown", "0.1"),
            stdout=file.fileno(),
        ).wait_until_running()
        with server.connect() as stuck:
            stuck.send(get("/stuck"))
            server.wait_for_line("stuck begins")
            for number in range(3):
                server.exchange(get(f"/{number}"))
            assert server.stop() == 0
    # What is cut is answered 500, and logged as well.
    assert path.read_text() == "/0\n/1\n/2\n/stuck\n"


def test_what_is_printed_comes_before(start_process: StartProcess, tmp_path: Path) -> None:
    """Lines that begin to wait bring what print has kept back; those that come while they wait go with them."""
    path = tmp_path / "output.log"
    with path.open("wb") as file:
        server = start_process(
            "tests.support.apps:printing",
            "--access-log-format",
            "logged %U",
            stdout=file.fileno(),
            environment={"PYTHONUNBUFFERED": ""},
        ).wait_until_running()
        for target in ("/1", "/2"):
            server.exchange(get(target))
            end = time.monotonic() + DEADLINE
            while f"logged {target}" not in path.read_text():
                assert time.monotonic() < end
        assert server.stop() == 0
    printed = [line for line in path.read_text().splitlines() if line.startswith("printed")]
    logged = [line for line in path.read_text().splitlines() if line.startswith("logged")]
    assert (printed, logged) == (["printed /1", "printed /2"], ["logged /1", "logged /2"])
    text = path.read_text()
    assert text.index("printed /1") < text.index("logged /1") and text.index("printed /2") < text.index("logged /2")


def broken_pipe() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def full_disk() -> int:
    return os.open("/dev/full", os.O_WRONLY)


@pytest.mark.parametrize("target", [broken_pipe, full_disk])
def test_an_output_that_takes_nothing_is_told_once(target: Callable[[], int], start_process: StartProcess) -> None:
    descriptor = target()
    try:
        server = start_process(HELLO, stdout=descriptor).wait_until_running()
    finally:
        os.close(descriptor)
    for _ in range(3):
        assert server.exchange(get()).status == 200
    server.wait_for_line("ERROR: .*Cannot write the access log: ")
    for _ in range(3):
        assert server.exchange(get()).status == 200
    assert server.stop() == 0
    assert server.output.count("Cannot write the access log: ") == 1
    assert "Traceback" not in server.output


def test_without_a_standard_output(start_process: StartProcess) -> None:
    server = start_process(
        HELLO, stdout=subprocess.DEVNULL, through=["sh", "-c", 'exec "$0" "$@" 1>&-']
    ).wait_until_running()
    for _ in range(3):
        assert server.exchange(get()).status == 200
    server.wait_for_line("ERROR: .*Cannot write the access log: ")
    assert server.stop() == 0
    assert server.output.count("Cannot write the access log: ") == 1
    assert "Traceback" not in server.output


def test_a_reader_that_pauses_loses_nothing(start_process: StartProcess) -> None:
    """More than the pipe takes is kept, and written when it is read; the server goes on answering meanwhile."""
    reader, writer = os.pipe()
    with closing(os.fdopen(reader, "rb")) as lines:
        server = start_process(HELLO, "--access-log-format", f"%U {'x' * 1000}", stdout=writer).wait_until_running()
        os.close(writer)
        count = 500
        with server.connect() as client:
            for number in range(count):
                client.send(get(f"/{number}"))
                assert client.response().status == 200
        collected: list[bytes] = []
        reading = threading.Thread(target=lambda: collected.extend(lines))
        reading.start()
        assert server.stop() == 0
        reading.join(DEADLINE)
    assert [line.split()[0] for line in collected] == [f"/{number}".encode() for number in range(count)]
