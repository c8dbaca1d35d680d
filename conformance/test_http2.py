"""The parts of the HTTP/2 suite that could let a fault of a server pass: reading, judging, choosing.

A server that says what a test tells it to stands on the other side.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import hpack
import pytest

from conformance.http2 import fields, frames, peer
from conformance.http2.__main__ import select
from conformance.http2.case import CASES, FAILED, NOT_APPLICABLE, PASSED, Case, Result, run
from conformance.http2.expectations import (
    Answer,
    BrokenConnection,
    BrokenStream,
    Done,
    End,
    Expectation,
    Ignored,
    IgnoredOrEnd,
    Refusal,
)
from conformance.http2.frames import Code, Frame, Type
from conformance.http2.peer import FailedError, NotApplicableError, Peer, Target
from conformance.http2.tables import group_table, problem_list, server_table

OK = hpack.Encoder().encode([(":status", "200")])
NOT_FOUND = hpack.Encoder().encode([(":status", "404")])
PROTOCOL = Code.PROTOCOL_ERROR
OPENING = frames.settings() + frames.settings(ack=True)


@contextmanager
def saying(
    *said: bytes, opening: bytes = frames.settings() + frames.settings(ack=True), goes_on: bool = False
) -> Iterator[Target]:
    """A server that says `said` after its side of the handshake, then half-closes, unless it `goes_on`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as client, suppress(ConnectionError):
                client.sendall(opening + b"".join(said))
                if not goes_on:
                    client.shutdown(socket.SHUT_WR)
                while client.recv(65_536):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield Target("127.0.0.1", listener.getsockname()[1])
        thread.join(10)
        assert not thread.is_alive()


def judged(expects: Expectation, *said: bytes, goes_on: bool = False) -> Result:
    """What comes of a case that `expects` something, of a server that says `said`."""

    def action(peer: Peer) -> None:
        del peer

    with saying(*said, goes_on=goes_on) as target:
        return run(Case("x/1/1", "1", "nothing", expects, action, {}), target)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes a server for silent soon."""
    monkeypatch.setattr(peer, "DEADLINE", 0.2)


@pytest.mark.parametrize(
    ("expects", "said"),
    [
        (BrokenConnection(PROTOCOL), frames.goaway(0, PROTOCOL)),
        (BrokenStream(PROTOCOL), frames.rst_stream(1, PROTOCOL)),
        (BrokenStream(PROTOCOL), frames.headers(1, NOT_FOUND) + frames.rst_stream(1, PROTOCOL)),
        (Refusal(PROTOCOL), frames.rst_stream(1, PROTOCOL)),
        (Answer(), frames.headers(1, OK)),
        (Answer(), frames.headers(1, OK, end=False) + frames.data(1, b"x", end=True)),
        (Ignored(), frames.ping(b"are you?", ack=True)),
        (IgnoredOrEnd(), b""),
        (End(), b""),
    ],
    ids=lambda value: str(value)[:40] if not isinstance(value, bytes) else value.hex(),
)
def test_what_is_expected_passes_without_a_remark(expects: Expectation, said: bytes) -> None:
    result = judged(expects, said)
    assert (result.verdict, result.remarks) == (PASSED, ()), result


@pytest.mark.parametrize(
    ("expects", "said", "remark"),
    [
        (BrokenConnection(PROTOCOL), b"", "no GOAWAY"),
        (BrokenConnection(PROTOCOL), frames.goaway(0, Code.INTERNAL_ERROR), "GOAWAY with INTERNAL_ERROR"),
        (BrokenStream(PROTOCOL), frames.goaway(0, PROTOCOL), "GOAWAY in place of RST_STREAM"),
        (BrokenStream(PROTOCOL), b"", "no RST_STREAM, no GOAWAY"),
        (IgnoredOrEnd(), frames.goaway(0, PROTOCOL), "GOAWAY with PROTOCOL_ERROR"),
    ],
)
def test_what_is_less_passes_with_a_remark(expects: Expectation, said: bytes, remark: str) -> None:
    result = judged(expects, said)
    assert (result.verdict, result.remarks) == (PASSED, (remark,)), result


@pytest.mark.parametrize(
    ("expects", "said"),
    [
        (BrokenStream(PROTOCOL), frames.rst_stream(1, Code.CANCEL)),
        (BrokenStream(PROTOCOL), frames.rst_stream(3, PROTOCOL)),
        (Answer(), b""),
        (Answer(), frames.headers(1, NOT_FOUND)),
        (Answer(), frames.headers(1, OK, end=False)),
        (Answer(), frames.headers(1, OK, end=False) + frames.rst_stream(1, Code.NO_ERROR)),
        (Answer(), frames.headers(1, fields.plain([(b":status", b"200"), (b"Upper", b"1")]))),
        (Answer(), frames.headers(1, fields.plain([(b"server", b"x"), (b":status", b"200")]))),
        (Answer(), frames.headers(1, fields.plain([(b":status", b"200"), (b"connection", b"close")]))),
        (Answer(), frames.headers(1, fields.indexed(99))),
        (Answer(), frames.headers(1, OK, end=False, complete=False) + frames.data(1, end=True)),
        (Ignored(), frames.rst_stream(1) + frames.ping(b"are you?", ack=True)),
        (Ignored(), frames.goaway(0, PROTOCOL)),
        (Ignored(), frames.headers(1, OK) + frames.data(1, b"behind the end")),
        (Refusal(PROTOCOL), frames.rst_stream(1, Code.INTERNAL_ERROR)),
    ],
    ids=lambda value: str(value)[:40] if not isinstance(value, bytes) else value.hex(),
)
def test_anything_else_fails(expects: Expectation, said: bytes) -> None:
    assert judged(expects, said).verdict == FAILED


@pytest.mark.parametrize(
    ("expects", "said"),
    [
        (BrokenConnection(PROTOCOL), b""),
        (BrokenConnection(PROTOCOL), frames.goaway(0, Code.INTERNAL_ERROR)),
        (BrokenStream(PROTOCOL), frames.headers(1, NOT_FOUND)),
        (Refusal(PROTOCOL), frames.headers(1, OK)),
        (Answer(), b""),
        (Ignored(), b""),
        (IgnoredOrEnd(), b""),
        (End(), b""),
    ],
    ids=lambda value: str(value)[:40] if not isinstance(value, bytes) else value.hex(),
)
@pytest.mark.usefixtures("impatient")
def test_a_server_that_goes_on_as_if_nothing_had_been_fails(expects: Expectation, said: bytes) -> None:
    assert judged(expects, said, goes_on=True).verdict == FAILED


@pytest.mark.usefixtures("impatient")
def test_a_refusal_may_be_a_response() -> None:
    result = judged(Refusal(PROTOCOL), frames.headers(1, NOT_FOUND), goes_on=True)
    assert (result.verdict, result.remarks) == (PASSED, ())


@pytest.mark.usefixtures("impatient")
def test_goaway_without_the_end_is_remarked() -> None:
    result = judged(BrokenConnection(PROTOCOL), frames.goaway(0, PROTOCOL), goes_on=True)
    assert (result.verdict, result.remarks) == (PASSED, ("stays open behind GOAWAY",))


def test_a_server_that_is_not_there_fails() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    result = run(CASES["generic/1/1"], Target("127.0.0.1", port))
    assert result.verdict == FAILED
    assert "no connection" in result.detail


def test_the_first_frame_of_a_server_has_to_be_settings() -> None:
    with saying(opening=frames.ping()) as target:
        result = run(CASES["generic/1/1"], target)
    assert result.verdict == FAILED
    assert "the first frame of a server is SETTINGS" in result.detail


def test_a_case_that_does_not_apply_says_why() -> None:
    def action(_: Peer) -> None:
        raise NotApplicableError("no limit")

    with saying() as target:
        result = run(Case("x/1/1", "1", "nothing", Done("nothing"), action, {}), target)
    assert (result.verdict, result.detail) == (NOT_APPLICABLE, "no limit")


def test_there_are_the_cases_of_h2spec_and_more() -> None:
    """h2spec 2.6 has 146."""
    counts: dict[str, int] = {}
    for case in CASES.values():
        counts[case.group] = counts.get(case.group, 0) + 1
    assert counts["generic"] + counts["http2"] + counts["hpack"] >= 146
    assert counts["rfc9113"] >= 100
    assert counts["rfc7541"] >= 20


def test_a_pattern_chooses_and_one_without_a_case_is_an_error() -> None:
    assert [case.name for case in select(["hpack/5.2/*", "hpack/6.1/1"])] == [
        "hpack/5.2/1",
        "hpack/5.2/2",
        "hpack/5.2/3",
        "hpack/6.1/1",
    ]
    assert select([]) == list(CASES.values())
    with pytest.raises(ValueError, match="no case is called http3"):
        select(["http3/*"])


def test_frames_are_read_as_they_are_written() -> None:
    written = frames.headers(5, b"block", padding=3, priority=frames.dependency(1))
    with saying(written) as target, Peer(target) as client:
        client.handshake()
        with suppress(FailedError):
            client.next_frame()
        first = client.read[-1]
        assert (Type(first.type), first.stream, first.content) == (Type.HEADERS, 5, b"block")
    assert Frame(Type.GOAWAY, 0, 0, frames.goaway(7, Code.CANCEL)[9:]).last_stream == 7
    assert Frame(Type.RST_STREAM, 0, 1, frames.rst_stream(1, Code.CANCEL)[9:]).code == Code.CANCEL


@pytest.mark.parametrize(
    ("representation", "field"),
    [
        (fields.indexed(2), (b":method", b"GET")),
        (fields.literal(58, b"x" * 300), (b"user-agent", b"x" * 300)),
        (fields.indexing(b"x-new", b"1", huffman=True), (b"x-new", b"1")),
        (fields.never_indexed(22, b""), (b"allow", b"")),
        (fields.size_update(100) + fields.indexed(8), (b":status", b"200")),
    ],
)
def test_header_blocks_are_what_a_library_reads(representation: bytes, field: tuple[bytes, bytes]) -> None:
    assert [tuple(pair) for pair in hpack.Decoder().decode(representation, raw=True)] == [field]


def test_tables_add_up_and_name_what_differs() -> None:
    cases = [CASES[name] for name in ("generic/1/1", "http2/6.9/1", "http2/6.9/2", "hpack/6.1/1")]
    results = [
        Result(cases[0], PASSED),
        Result(cases[1], FAILED, "the server is silent"),
        Result(cases[2], PASSED, remarks=("no GOAWAY",)),
        Result(cases[3], NOT_APPLICABLE, "no table"),
    ]
    *_, total = group_table(results).splitlines()
    assert _cells(total) == ["all", "4", "2", "1", "1", "1"]
    *_, line = server_table({"x 1.0": results}).splitlines()
    assert _cells(line) == ["x 1.0", "1/1", "1/2", "0/1", "0/0", "0/0", "1", "1", "1"]
    told = problem_list(results).splitlines()
    assert len(told) == 3
    assert (
        "http2/6.9/1 (6.9): WINDOW_UPDATE of 0 for the connection: expected connection error PROTOCOL_ERROR" in told[0]
    )
    assert told[0].endswith("; the server is silent")


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]
