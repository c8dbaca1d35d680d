"""The parts of the harness that could lie without anyone noticing: parsing, checking, arithmetic, drawing."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from harness.callgrind import self_cost
from harness.cell import Cell, Gap
from harness.chart import Bar, Chart, Panel
from harness.counters import CpuTime, Memory, process_tree
from harness.exchange import Connection, WrongResponseError
from harness.machine import Conditions
from harness.publish import Results, publish
from harness.scenarios import GROUPS, SCENARIOS, HttpScenario, Scenario, select
from harness.servers import parse_targets
from harness.summary import Summary, summarise
from harness.tables import full_table, overview, quick_table
from harness.websocket import NotNegotiatedError, WebSocketConnection

CELL = Cell(
    scenario="hello64",
    server="ferricorn",
    round=0,
    requests=1000,
    total=10.0,
    user=4.0,
    kernel=6.0,
    throughput=100_000.0,
    p50=500.0,
    p99=700.0,
    rss=30_000,
    pss=20_000,
    server_busy=1.0,
    client_busy=0.8,
    foreign_busy=0.0,
)


def cells(server: str, *totals: float) -> list[Cell]:
    return [replace(CELL, server=server, round=at, total=total) for at, total in enumerate(totals)]


def test_a_ratio_is_taken_within_each_round_before_the_median() -> None:
    # The machine was twice as slow in the last round: within a round the servers still compare.
    found = summarise([*cells("ferricorn", 10.0, 11.0, 20.0), *cells("peer", 20.0, 20.0, 40.0)], "ferricorn")
    ours, peer = found["hello64"]
    assert (ours.total, peer.total) == (11.0, 20.0)
    assert ours.ratios["total"] == 1.0
    assert peer.ratios["total"] == 0.5
    assert ours.spread == pytest.approx(10 / 11)


def test_a_round_that_the_reference_lacks_gives_no_ratio() -> None:
    (rows,) = summarise([*cells("peer", 20.0)], "ferricorn").values()
    assert rows[0].ratios == {}
    assert "| -" in re.sub(" +", " ", full_table(SCENARIOS["hello64"], rows))


Table = Callable[[Scenario, Sequence[Summary], Sequence[Gap]], str]


@pytest.mark.parametrize("table", [quick_table, full_table])
@pytest.mark.parametrize("name", ["hello64", "ws64-32"])
def test_every_row_of_a_table_has_all_columns(table: Table, name: str) -> None:
    (rows,) = summarise([*cells("ferricorn", 10.0), *cells("peer", 2000.0)], "ferricorn").values()
    lines = table(SCENARIOS[name], rows, [Gap(name, "mute", "not negotiated")]).splitlines()
    assert len(lines) == 5
    assert len({line.count("|") for line in lines}) == 1
    assert len(set(map(len, lines))) == 1


def test_the_best_peer_is_no_limit_no_build_of_ours_and_none_that_failed() -> None:
    names = {"ferricorn": 10.0, "slow": 40.0, "fast": 20.0, "epoll": 5.0, "ferricorn@other": 5.0}
    measured = [cell for name, total in names.items() for cell in cells(name, total)]
    fast = [replace(cell, throughput=50_000.0) if cell.server == "slow" else cell for cell in measured]
    summaries = summarise(fast, "ferricorn")
    table = overview(summaries, "total", [Gap("hello64", "broken", "failed"), Gap("ws64-32", "fast", "not negotiated")])
    head, _, http, websocket = (re.split(r" *\| *", line)[1:-1] for line in table.splitlines())
    assert head == ["scenario", *names, "broken", "best peer"]
    assert http == ["hello64", "1.00", "0.25", "0.50", "2.00", "2.00", "failed", "0.50 fast"]
    assert websocket == ["ws64-32", "-", "-", "not negotiated", "-", "-", "-", "-"]
    assert "1.00 fast" in overview(summaries, "throughput")


def test_scenarios_are_found_by_name_group_and_pattern() -> None:
    assert [scenario.name for scenario in select(["hello1", "pipeline16", "hello1"])] == ["hello1", "pipeline16"]
    assert len(select(["ws"])) == len(GROUPS["ws"]) == 37
    assert len({scenario.name for scenario in select(["http", "ws"])}) == len(SCENARIOS)
    assert [scenario.name for scenario in select(["ws64-32*"])] == [
        "ws64-32",
        "ws64-32-deflate",
        "ws64-32-binary",
        "ws64-32-binary-deflate",
    ]
    with pytest.raises(ValueError, match="nonsense"):
        select(["hello1", "nonsense"])


def test_both_groups_are_published_and_read_again(tmp_path: Path) -> None:
    conditions = Conditions("command", "date", "machine", "kernel", "python", "wrk", {"ferricorn": "1"})
    http = Results(conditions, "ferricorn", {"hello64": "wrk"}, cells("ferricorn", 10.0), [])
    measured = [replace(cell, scenario="ws64-32") for name in ("ferricorn", "peer") for cell in cells(name, 10.0)]
    gaps = [Gap("ws64-32", "mute", "not negotiated"), Gap("ws64-32", "broken", "failed")]
    websocket = Results(
        conditions, "ferricorn", {"ws64-32": "load"}, measured, ["ws64-32, broken, round 0: <why>"], gaps
    )
    http.save(tmp_path / "http.json")
    websocket.save(tmp_path / "ws.json")
    publish([Results.load(tmp_path / "http.json"), Results.load(tmp_path / "ws.json")], tmp_path)
    page = (tmp_path / "RESULTS.md").read_text()
    parts = page.split("\n# ")
    assert [part.partition("\n")[0] for part in parts] == ["# Results", "HTTP", "WebSocket"]
    assert "requests/s" in parts[1] and "messages/s" not in parts[1] and "mute" not in parts[1]
    assert "messages/s" in parts[2] and "requests/s" not in parts[2]
    assert re.search(r"\| mute +\| not negotiated \|", parts[2])
    assert re.search(r"\| broken +\| +failed \|", parts[2])
    assert "- ws64-32, broken, round 0: <why>" in parts[2]
    drawn = {path.name for path in tmp_path.glob("*.svg")}
    assert drawn == {f"{prefix}{name}.svg" for prefix in ("", "websocket-") for name in ("cpu", "latency", "memory")}
    assert all(f"({name})" in page for name in drawn)


def test_own_cost_leaves_out_what_is_called() -> None:
    dump = [
        "ob=(1) /usr/lib/libpython3.13.so.1.0",
        "fn=(1) eval",
        "10 5",
        "+2 7",
        "cob=(2) /site-packages/_ferricorn.abi3.so",
        "cfn=(2) send",
        "calls=3 40",
        "* 900",
        "-1 1",
        "ob=(2)",
        "fn=(2)",
        "* 300",
    ]
    assert self_cost(dump) == {"libpython3.13.so.1.0": 13, "_ferricorn.abi3.so": 300}


def test_the_clocks_of_a_process_are_those_that_it_sees_itself() -> None:
    before, own = CpuTime.of_tree(os.getpid()), time.process_time()
    while time.process_time() - own < 0.2:
        sum(range(100_000))
    spent = CpuTime.of_tree(os.getpid()) - before
    assert spent.total == pytest.approx(time.process_time() - own, abs=0.02)
    assert spent.user + spent.kernel == pytest.approx(spent.total)
    assert spent.user > spent.kernel


def test_a_tree_holds_children_of_children_and_their_memory() -> None:
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(flush=True); input()'])"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        parent.stdout.readline()
        members = process_tree(parent.pid)
        memory = Memory.of_tree(parent.pid)
        parent.communicate(b"\n")
    assert len(members) == 2
    assert memory.rss > 1000
    assert memory.pss > 1000


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 500 Oops\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nho",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\n\r\nhi",
    ],
)
def test_a_wrong_response_is_noticed(response: bytes) -> None:
    with pytest.raises(WrongResponseError):
        exchange(response)


def test_right_responses_pass_sized_and_chunked() -> None:
    exchange(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    exchange(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n")


HANDSHAKE = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
)
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=10\r\n"


# RFC 6455 section 5.7 and RFC 7692 section 7.2.3.
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (b"", b"\x81\x05Hello"),
        (b"", b"\x89\x00\x01\x03Hel\x89\x00\x80\x02lo"),
        (DEFLATE, b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"),
        (DEFLATE, b"\x81\x05Hello"),
    ],
)
def test_the_right_echo_passes_however_it_is_framed(fields: bytes, message: bytes) -> None:
    echo(HANDSHAKE + fields + b"\r\n", message)


@pytest.mark.parametrize(
    "message", [b"\x81\x05Hallo", b"\x82\x05Hello", b"\x81\x04Hell", b"\x81\x05Hel", b"\x88\x02\x03\xe8"]
)
def test_a_wrong_echo_is_noticed(message: bytes) -> None:
    with pytest.raises(WrongResponseError):
        echo(HANDSHAKE + b"\r\n", message)


def test_a_wrong_handshake_is_told_from_one_without_compression() -> None:
    with pytest.raises(NotNegotiatedError):
        echo(HANDSHAKE + b"\r\n", b"", deflate=True)
    with pytest.raises(WrongResponseError):
        echo(HANDSHAKE + DEFLATE + b"\r\n", b"", deflate=False)
    with pytest.raises(WrongResponseError):
        echo(HANDSHAKE.replace(b"101", b"200") + b"\r\n", b"")
    with pytest.raises(WrongResponseError):
        echo(HANDSHAKE.replace(b"xOo=", b"xOp=") + b"\r\n", b"")


def echo(handshake: bytes, message: bytes, *, deflate: bool | None = None) -> None:
    """Expects the echo of "Hello" from a server that answers a handshake and then a message, and closes."""

    def answer(accepted: socket.socket) -> None:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += accepted.recv(1000)
        accepted.sendall(handshake)
        # Nothing where the client does not get beyond the handshake.
        if accepted.recv(1000):
            accepted.sendall(message)

    with server(answer) as port, WebSocketConnection(port) as connection:
        connection.shake_hands(deflate=b"permessage-deflate" in handshake if deflate is None else deflate)
        connection.echo(b"Hello", text=True)


@contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of a server that accepts one connection, calls `answer` for it, and closes it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            accepted, _ = listener.accept()
            with accepted:
                answer(accepted)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join()


def exchange(response: bytes) -> None:
    """Sends two requests at once to a server that answers both with `response` and closes; expects the body "hi"."""

    def answer(accepted: socket.socket) -> None:
        while accepted.recv(100).count(b"?") < 2:
            pass
        accepted.sendall(response * 2)

    with server(answer) as port, Connection(port) as connection:
        connection.exchange(b"?", b"hi", depth=2)


def test_a_bar_is_as_long_as_its_figure_and_a_cut_one_is_marked() -> None:
    bars = [Bar("ours", 3.0, 5.0, ours=True), Bar("peer", 8.0, 8.0), Bar("other", 16.0), Bar("giant <&>", 900.0)]
    root = ElementTree.fromstring(Chart("CPU", "us", "ours", ("user", "kernel"), [Panel("hello", bars)]).svg())
    name = "{http://www.w3.org/2000/svg}"
    drawn = {
        group.findtext(f"{name}text"): sum(float(part.attrib["width"]) for part in group.findall(f"{name}rect"))
        for group in root.iter(f"{name}g")
        if group.find(f"{name}text") is not None
    }
    assert drawn["peer"] == pytest.approx(drawn["other"], abs=0.2)
    assert drawn["ours"] == pytest.approx(drawn["peer"] / 2, abs=0.2)
    assert drawn["giant <&>"] == pytest.approx(drawn["other"], abs=0.2)
    assert len(list(root.iter(f"{name}path"))) == 1


def test_requests_carry_their_body_and_its_length() -> None:
    hello, echo1k = select(["hello1", "echo1k"])
    assert isinstance(hello, HttpScenario) and isinstance(echo1k, HttpScenario)
    assert hello.request("h") == b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    head, _, body = echo1k.request("h").partition(b"\r\n\r\n")
    assert b"Content-Length: 1024" in head
    assert body == echo1k.body


def test_an_unknown_server_is_named() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        parse_targets(["nonsense"], Path(sys.executable))
