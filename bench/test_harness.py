"""The parts of the harness that could lie without anyone noticing: parsing, checking, arithmetic, drawing."""

import os
import re
import socket
import ssl
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
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded
from harness import h2load
from harness.callgrind import self_cost
from harness.cell import Cell, Gap
from harness.certificate import certificate
from harness.chart import Bar, Chart, Panel
from harness.counters import CpuTime, Memory, process_tree
from harness.exchange import Connection, NotNegotiatedError, WrongResponseError, tls_context
from harness.http2 import Http2Connection
from harness.machine import Conditions
from harness.publish import Results, publish
from harness.scenarios import GROUPS, SCENARIOS, HttpScenario, Scenario, select
from harness.servers import SERVERS, parse_targets
from harness.summary import Summary, summarise
from harness.tables import full_table, overview, quick_table
from harness.websocket import WebSocketConnection

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
    assert len({scenario.name for scenario in select(["http", "ws"])}) == len(SCENARIOS) - len(GROUPS["h2"])
    assert [scenario.name for scenario in select(["ws64-32*"])] == [
        "ws64-32",
        "ws64-32-deflate",
        "ws64-32-binary",
        "ws64-32-binary-deflate",
    ]
    with pytest.raises(ValueError, match="nonsense"):
        select(["hello1", "nonsense"])


def test_all_groups_are_published_and_read_again(tmp_path: Path) -> None:
    conditions = Conditions("command", "date", "machine", "kernel", "python", "wrk", {"ferricorn": "1"})
    http = Results(conditions, "ferricorn", {"hello64": "wrk"}, cells("ferricorn", 10.0), [])
    measured = [replace(cell, scenario="ws64-32") for name in ("ferricorn", "peer") for cell in cells(name, 10.0)]
    gaps = [Gap("ws64-32", "mute", "not negotiated"), Gap("ws64-32", "broken", "failed")]
    websocket = Results(
        conditions, "ferricorn", {"ws64-32": "load"}, measured, ["ws64-32, broken, round 0: <why>"], gaps
    )
    http2 = replace(http, cells=[replace(CELL, scenario="h2-hello32")], clients={"h2-hello32": "h2load"})
    http.save(tmp_path / "http.json")
    http2.save(tmp_path / "h2.json")
    websocket.save(tmp_path / "ws.json")
    publish([Results.load(tmp_path / f"{name}.json") for name in ("http", "h2", "ws")], tmp_path)
    page = (tmp_path / "RESULTS.md").read_text()
    parts = page.split("\n# ")
    assert [part.partition("\n")[0] for part in parts] == ["# Results", "HTTP", "HTTP/2 and HTTPS", "WebSocket"]
    assert "requests/s" in parts[1] and "messages/s" not in parts[1] and "mute" not in parts[1]
    assert "(h2-hello32, h2load)" in parts[2] and "hello64" not in parts[2]
    assert "messages/s" in parts[3] and "requests/s" not in parts[3]
    assert re.search(r"\| mute +\| not negotiated \|", parts[3])
    assert re.search(r"\| broken +\| +failed \|", parts[3])
    assert "- ws64-32, broken, round 0: <why>" in parts[3]
    drawn = {path.name for path in tmp_path.glob("*.svg")}
    assert drawn == {
        f"{prefix}{name}.svg" for prefix in ("", "http2-", "websocket-") for name in ("cpu", "latency", "memory")
    }
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


def speak_http2(accepted: socket.socket, body: bytes, status: str = "200") -> None:
    """Answers each request, once it has come whole, with this body as the windows allow, until the client goes."""
    http2 = H2Connection(H2Configuration(client_side=False))
    http2.initiate_connection()
    rest: dict[int, bytes] = {}
    accepted.sendall(http2.data_to_send())
    while data := accepted.recv(1 << 16):
        for event in http2.receive_data(data):
            if isinstance(event, DataReceived):
                http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded):
                http2.send_headers(event.stream_id, [(":status", status)])
                rest[event.stream_id] = body
        for stream in list(rest):
            while stream in rest and (size := min(http2.local_flow_control_window(stream), 16384)):
                http2.send_data(stream, rest[stream][:size], end_stream=size >= len(rest[stream]))
                rest[stream] = rest[stream][size:]
                if not rest[stream]:
                    del rest[stream]
        accepted.sendall(http2.data_to_send())


def test_http2_bodies_are_larger_than_the_windows_and_come_on_several_streams() -> None:
    body = bytes(range(256)) * 1024
    scenario = HttpScenario("name", "title", "app", expected=body, body=body, depth=3, http2=True)
    with server(lambda accepted: speak_http2(accepted, body)) as port, Http2Connection(port, None) as connection:
        connection.exchange(scenario)
        connection.exchange(scenario)


@pytest.mark.parametrize(("status", "body"), [("200", b"Hallo"), ("500", b"Hello")])
def test_a_wrong_answer_on_one_stream_is_noticed(status: str, body: bytes) -> None:
    scenario = HttpScenario("name", "title", "app", expected=b"Hello", depth=2, http2=True)
    with (
        server(lambda accepted: speak_http2(accepted, body, status)) as port,
        Http2Connection(port, None) as connection,
        pytest.raises(WrongResponseError, match=body.decode()),
    ):
        connection.exchange(scenario)


@pytest.mark.parametrize("alpn", ["h2", "http/1.1"])
def test_http2_over_tls_has_to_be_negotiated(alpn: str) -> None:
    pair = certificate()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(pair.certificate, pair.key)
    server_side.set_alpn_protocols([alpn])

    def answer(accepted: socket.socket) -> None:
        with server_side.wrap_socket(accepted, server_side=True) as secure:
            if alpn == "h2":
                speak_http2(secure, b"Hello")

    scenario = HttpScenario("name", "title", "app", expected=b"Hello", tls=True, http2=True)
    offers = tls_context(pair.certificate, "h2")
    with server(answer) as port:
        if alpn == "h2":
            with Http2Connection(port, offers) as connection:
                connection.exchange(scenario)
        else:
            with pytest.raises(NotNegotiatedError):
                Http2Connection(port, offers)


H2LOAD_OUTPUT = """\
starting benchmark...
Application protocol: h2c

finished in 1.50s, 47854.00 req/s, 1.83MB/s
requests: 300 total, 316 started, 300 done, 300 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 304 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 12.54KB (12840) total, 1.86KB (1904) headers (space savings 90.00%), 3.91KB (4000) data
"""


def test_the_report_of_h2load_is_read(tmp_path: Path) -> None:
    (scenario,) = select(["h2c-hello32"])
    assert isinstance(scenario, HttpScenario)
    log = tmp_path / "log"
    log.write_text("".join(f"1795277666973833\t200\t{microseconds}\n" for microseconds in (300, 100, 200)))
    report = h2load.report(scenario, H2LOAD_OUTPUT, log)
    assert report == {"requests": 300, "seconds": 1.5, "bytes": 12840, "p50": 200.0, "p99": 300.0, "errors": 0}
    assert h2load.report(scenario, H2LOAD_OUTPUT.replace("1.50s", "950.00ms"), log)["seconds"] == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("0 failed", "2 failed"),
        ("0 errored", "2 errored"),
        ("0 timeout", "2 timeout"),
        ("0 4xx", "2 4xx"),
        ("0 5xx", "2 5xx"),
        ("protocol: h2c", "protocol: http/1.1"),
    ],
)
def test_what_h2load_met_that_is_wrong_is_an_error(right: str, wrong: str, tmp_path: Path) -> None:
    (scenario,) = select(["h2c-hello32"])
    assert isinstance(scenario, HttpScenario)
    (tmp_path / "log").write_text("")
    assert h2load.report(scenario, H2LOAD_OUTPUT.replace(right, wrong), tmp_path / "log")["errors"] > 0


def test_a_server_only_plays_what_it_has_arguments_for() -> None:
    cleartext, http2, https = select(["hello64", "h2-hello1", "https-hello"])
    assert [SERVERS["uvicorn"].plays(scenario) for scenario in (cleartext, http2, https)] == [True, False, True]
    words = SERVERS["granian"].command(Path("python"), http2, 8000)
    assert words[-6:] == [
        *("--http", "2", "--ssl-certificate", str(certificate().certificate)),
        *("--ssl-keyfile", str(certificate().key)),
    ]
    assert "--ssl-certificate" not in SERVERS["granian"].command(Path("python"), cleartext, 8000)


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
    closing = replace(hello, keep_alive=False)
    assert closing.request("h") == b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    head, _, body = echo1k.request("h").partition(b"\r\n\r\n")
    assert b"Content-Length: 1024" in head
    assert body == echo1k.body


def test_an_unknown_server_is_named() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        parse_targets(["nonsense"], Path(sys.executable))
