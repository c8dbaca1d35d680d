"""nghttp, the client of the nghttp2 library: what curl does not let one choose about frames and header tables."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.app import LINK, PAGE, pattern
from tests.interop.origin import Origin
from tests.interop.programs.program import run

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Nghttp:
    origin: Origin

    def run(self, path: str, *options: str | Path) -> str:
        """Bodies, and with --verbose the frames. It checks no certificate."""
        return run("nghttp", "--no-verify-peer", "--timeout=30", *options, self.origin.url + path)

    def frames(self, path: str, *options: str | Path) -> str:
        """All frames, without the bodies."""
        return self.run(path, "--verbose", "--null-out", *options)


@pytest.fixture
def nghttp(origin: Origin) -> Nghttp:
    return Nghttp(origin)


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    """A file of 3 MiB that is the same at no two places."""
    path = tmp_path / "upload"
    path.write_bytes(b"".join(pattern(3 * MEBIBYTE)))
    return path


def statuses(frames: str) -> list[str]:
    return re.findall(r"recv \(stream_id=\d+\) :status: (\d+)", frames)


def test_a_page_comes_and_the_connection_ends_in_order(nghttp: Nghttp) -> None:
    assert nghttp.run("/") == PAGE.decode()
    frames = nghttp.frames("/")
    assert statuses(frames) == ["200"]
    assert "recv SETTINGS frame <length=0, flags=0x01" in frames
    assert "send GOAWAY" in frames
    assert "error_code=NO_ERROR" in frames


@pytest.mark.parametrize(
    "option",
    [
        "--padding=200",
        "--continuation",
        "--no-dep",
        "--no-rfc7540-pri",
        "--weight=256",
        "--header-table-size=0",
        "--header-table-size=65536",
        "--encoder-header-table-size=0",
        "--window-bits=8",
    ],
)
def test_what_a_client_may_choose_changes_no_response(nghttp: Nghttp, option: str) -> None:
    assert nghttp.run("/", option) == PAGE.decode()
    assert statuses(nghttp.frames("/about", option, "--multiply=20")) == ["200"] * 20


def test_a_table_that_shrinks_and_grows_again_stays_in_step(nghttp: Nghttp) -> None:
    sizes = ["--header-table-size=0", "--header-table-size=4096"]
    assert statuses(nghttp.frames("/about", *sizes, "--multiply=50")) == ["200"] * 50


def test_a_hundred_streams_are_answered_side_by_side(nghttp: Nghttp) -> None:
    about = json.loads(nghttp.run("/about"))
    assert about["http_version"] == "2"
    assert statuses(nghttp.frames("/large?bytes=100000", "--multiply=100")) == ["200"] * 100


def test_small_windows_bring_a_large_response_whole(nghttp: Nghttp) -> None:
    """Windows of 16 KiB less 1: the server waits for credit a thousand times."""
    frames = nghttp.frames(f"/large?bytes={8 * MEBIBYTE}", "--window-bits=14", "--connection-window-bits=14")
    lengths = [int(length) for length in re.findall(r"recv DATA frame <length=(\d+)", frames)]
    assert sum(lengths) == 8 * MEBIBYTE
    assert max(lengths) < 1 << 14


@pytest.mark.parametrize("options", [[], ["--expect-continue"], ["--no-content-length"], ["--padding=255"]])
def test_an_upload_arrives_whole(nghttp: Nghttp, upload: Path, options: list[str]) -> None:
    answer = nghttp.run("/digest", f"--data={upload}", *options)
    assert answer == f"{3 * MEBIBYTE} {hashlib.sha256(upload.read_bytes()).hexdigest()}\n"


def test_what_is_expected_is_told_to_go_on(nghttp: Nghttp, upload: Path) -> None:
    assert statuses(nghttp.frames("/digest", f"--data={upload}", "--expect-continue")) == ["100", "200"]


def test_an_upload_with_trailers_is_taken(nghttp: Nghttp, upload: Path) -> None:
    frames = nghttp.frames("/digest", f"--data={upload}", "--trailer=x-sum: 1")
    assert statuses(frames) == ["200"]


def test_trailers_early_hints_and_head(nghttp: Nghttp) -> None:
    trailers = nghttp.frames("/trailers", "--header=te: trailers")
    assert re.search(r"recv DATA frame.*recv \(stream_id=\d+\) x-checksum: c0ffee", trailers, re.DOTALL)
    hints = nghttp.frames("/hints")
    assert statuses(hints) == ["103", "200"]
    assert f"link: {LINK.decode()}" in hints
    head = nghttp.frames("/", "--header=:method: HEAD")
    assert statuses(head) == ["200"]
    assert f"content-length: {len(PAGE)}" in head
    assert "recv DATA frame" not in head


def test_an_upgrade_from_http_1_is_left_alone(nghttp: Nghttp) -> None:
    """RFC 9113 section 3.1: the upgrade is deprecated; its request is answered as any other of HTTP/1.1."""
    if nghttp.origin.secure:
        frames = nghttp.frames("/about")
        assert "The negotiated protocol: h2" in frames
        return
    told = nghttp.run("/about", "--upgrade", "--verbose")
    assert "HTTP/1.1 200" in told
    assert "101 Switching" not in told
