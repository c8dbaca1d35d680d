"""curl, in each way it reaches a server: HTTP/1.1 and HTTP/2, with TLS and without."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.app import EVENTS, LINK, PAGE, pattern
from tests.interop.origin import Origin
from tests.interop.programs.program import find, run

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Curl:
    """curl with the options that choose the version, which is "1.1" or "2" as curl writes it."""

    origin: Origin
    version: str

    @property
    def options(self) -> list[str]:
        """Of every call: quiet but for errors, bounded in time."""
        common = ["--silent", "--show-error", "--max-time", "60", "--cacert", self.origin.authority.certfile]
        if self.version == "1.1":
            return [*common, "--http1.1"]
        return [*common, "--http2" if self.origin.secure else "--http2-prior-knowledge"]

    def run(self, path: str, *options: str | Path, status: int = 0) -> str:
        return run("curl", *self.options, *options, self.origin.url + path, status=status)


@pytest.fixture(params=["1.1", "2"])
def curl(origin: Origin, request: pytest.FixtureRequest) -> Curl:
    return Curl(origin, request.param)


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    """A file of 5 MiB that is the same at no two places."""
    path = tmp_path / "upload"
    path.write_bytes(b"".join(pattern(5 * MEBIBYTE)))
    return path


def test_a_page_comes_with_the_version_that_was_asked_for(curl: Curl) -> None:
    shown = curl.run("/", "--write-out", "\n%{http_version} %{response_code} %{num_connects}")
    assert shown == PAGE.decode() + f"\n{curl.version} 200 1"


def test_the_scope_has_the_version_the_host_and_the_cookies_as_sent(curl: Curl) -> None:
    about = json.loads(curl.run("/about", "--cookie", "a=1; b=2", "--header", "X-Empty;"))
    assert about["http_version"] == curl.version
    assert about["scheme"] == curl.origin.url.partition(":")[0]
    fields = dict(about["headers"])
    assert fields["host"] == f"localhost:{curl.origin.port}"
    assert (fields["cookie"], fields["x-empty"]) == ("a=1; b=2", "")


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("expect", ["", "100-continue"])
def test_an_upload_arrives_whole(curl: Curl, upload: Path, method: str, expect: str) -> None:
    how = ["--upload-file", upload] if method == "PUT" else ["--data-binary", f"@{upload}"]
    answer = curl.run("/digest", *how, "--header", f"Expect: {expect}")
    assert answer == f"{5 * MEBIBYTE} {hashlib.sha256(upload.read_bytes()).hexdigest()}\n"


def test_an_upload_of_unknown_length_comes_back_as_it_was(curl: Curl, upload: Path, tmp_path: Path) -> None:
    back = tmp_path / "back"
    with upload.open("rb") as source:
        command = [find("curl"), *curl.options, "--upload-file", "-", "--output", str(back), f"{curl.origin.url}/echo"]
        subprocess.run(command, stdin=source, check=True, timeout=60)
    assert back.read_bytes() == upload.read_bytes()


def test_head_gives_the_fields_and_no_body(curl: Curl) -> None:
    shown = curl.run("/", "--head", "--write-out", "%{size_download}").lower()
    assert f"content-length: {len(PAGE)}\r\n" in shown
    assert shown.endswith("\r\n\r\n0")


def test_events_come_one_by_one(curl: Curl) -> None:
    """Each is sent only when the one before has been seen."""
    url = f"{curl.origin.url}/events?channel=curl-{curl.version}"
    with subprocess.Popen(
        [find("curl"), *curl.options, "--no-buffer", url], stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout
        for number in range(EVENTS):
            assert client.stdout.readline() == f"data: {number}\n"
            assert client.stdout.readline() == "\n"
            assert curl.run(f"/seen?channel=curl-{curl.version}") == "told\n"
        assert client.stdout.read() == ""
    assert client.returncode == 0


def test_trailers_come_behind_the_body(curl: Curl, tmp_path: Path) -> None:
    fields = tmp_path / "fields"
    shown = curl.run("/trailers", "--dump-header", fields, "--header", "TE: trailers")
    assert shown == "before the trailers\n"
    head, _, trailers = fields.read_text().partition("\n\n")
    assert "x-checksum" not in head.lower()
    assert trailers.strip().lower() == "x-checksum: c0ffee"


def test_early_hints_come_before_the_response(curl: Curl, tmp_path: Path) -> None:
    fields = tmp_path / "fields"
    assert curl.run("/hints", "--dump-header", fields) == "after the hints\n"
    hints, final, _ = fields.read_text().split("\n\n")
    assert hints.split()[:2] == [f"HTTP/{curl.version}", "103"]
    assert f"link: {LINK.decode()}" in hints.lower()
    assert final.split()[:2] == [f"HTTP/{curl.version}", "200"]


def test_a_large_response_reaches_a_slow_reader(curl: Curl, tmp_path: Path) -> None:
    output = tmp_path / "output"
    curl.run(f"/large?bytes={6 * MEBIBYTE}", "--limit-rate", "8M", "--output", output)
    assert output.read_bytes() == b"".join(pattern(6 * MEBIBYTE))


def test_an_aborted_download_leaves_the_server_well(curl: Curl) -> None:
    url = f"{curl.origin.url}/large?bytes={64 * MEBIBYTE}"
    with subprocess.Popen([find("curl"), *curl.options, url], stdout=subprocess.PIPE) as client:
        assert client.stdout
        assert client.stdout.read(MEBIBYTE) == b"".join(pattern(MEBIBYTE))
        client.kill()
    assert json.loads(curl.run("/about"))["http_version"] == curl.version


def test_many_requests_run_side_by_side(curl: Curl) -> None:
    """With TLS and HTTP/2 on one connection. By prior knowledge curl 7.88 fails at that with every server."""
    count, how = (150, "--parallel") if curl.origin.secure or curl.version == "1.1" else (100, "--parallel-immediate")
    options = ["--parallel", how, "--parallel-max", "100", "--write-out", "%{response_code} %{num_connects}\n"]
    path = f"/large?bytes=[10001-{10000 + count}]"
    shown = curl.run(path, *options, "--output", "/dev/null").splitlines()
    codes, connects = zip(*(line.split() for line in shown), strict=True)
    assert codes == ("200",) * count
    if curl.version == "2" and curl.origin.secure:
        assert sum(map(int, connects)) < 10, "streams of one connection should have done"
