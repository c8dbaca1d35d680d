"""The parts of the harness that could lie without anyone noticing: parsing, checking, arithmetic, drawing."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from harness.callgrind import self_cost
from harness.cell import Cell
from harness.chart import Bar, Chart, Panel
from harness.counters import CpuTime, Memory, process_tree
from harness.exchange import Connection, WrongResponseError
from harness.scenarios import SCENARIOS
from harness.servers import parse_targets
from harness.summary import Summary, summarise
from harness.tables import full_table, quick_table

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
    assert "| -" in re.sub(" +", " ", full_table(rows))


@pytest.mark.parametrize("table", [quick_table, full_table])
def test_every_row_of_a_table_has_all_columns(table: Callable[[Sequence[Summary]], str]) -> None:
    (rows,) = summarise([*cells("ferricorn", 10.0), *cells("peer", 2000.0)], "ferricorn").values()
    lines = table(rows).splitlines()
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1
    assert len(set(map(len, lines))) == 1


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


def exchange(response: bytes) -> None:
    """Sends two requests at once to a server that answers both with `response` and closes; expects the body "hi"."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            accepted, _ = listener.accept()
            with accepted:
                while accepted.recv(100).count(b"?") < 2:
                    pass
                accepted.sendall(response * 2)

        server = threading.Thread(target=answer)
        server.start()
        try:
            with Connection(listener.getsockname()[1]) as connection:
                connection.exchange(b"?", b"hi", depth=2)
        finally:
            server.join()


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
    assert SCENARIOS["hello1"].request("h") == b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    head, _, body = SCENARIOS["echo1k"].request("h").partition(b"\r\n\r\n")
    assert b"Content-Length: 1024" in head
    assert body == SCENARIOS["echo1k"].body


def test_an_unknown_server_is_named() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        parse_targets(["nonsense"], Path(sys.executable))
