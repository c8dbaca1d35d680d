"""What the process makes of the options, and when it reads the files again."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ferricorn import tls
from ferricorn.config import Config
from ferricorn.errors import StartupError
from ferricorn.logging import error_log as log
from tests.support.certificates import Authority, Issued


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


class Lines(logging.Handler):
    """What the server logs; `wait` waits for a line."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._came = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        with self._came:
            self.lines.append(f"{record.levelname} {record.getMessage()}")
            self._came.notify_all()

    def wait(self, begin: str) -> str:
        """The next line that begins so; it is taken away with those before."""

        def found() -> bool:
            return any(line.startswith(begin) for line in self.lines)

        with self._came:
            assert self._came.wait_for(found, 20), self.lines
            while not self.lines[0].startswith(begin):
                self.lines.pop(0)
            return self.lines.pop(0)


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield handler
    log.removeHandler(handler)
    log.setLevel(level)


def certificates(issued: Issued, **options: object) -> tls.Certificates:
    config = Config("main:app", ssl_certfile=issued.certfile, ssl_keyfile=issued.keyfile, **options)  # type: ignore[arg-type]
    made = tls.read(config)
    assert made is not None
    return made


def put(issued: Issued, *, over: Issued) -> None:
    """Has the files of one certificate be another's, whole from one moment to the next."""
    for new, old in ((issued.keyfile, over.keyfile), (issued.certfile, over.certfile)):
        os.replace(new, old)


def test_a_server_without_a_certificate_has_none() -> None:
    assert tls.read(Config("main:app")) is None
    with tls.watched(None, Config("main:app")) as watch:
        assert watch is None


def test_what_is_wrong_with_a_file_is_one_sentence_with_its_name(authority: Authority, tmp_path: Path) -> None:
    with pytest.raises(StartupError) as refusal:
        tls.read(Config("main:app", ssl_certfile=str(tmp_path / "none.pem")))
    assert str(refusal.value).startswith(f"Cannot serve https: '{tmp_path}/none.pem': No such file")
    issued = authority.issue("example.org")
    with pytest.raises(StartupError, match=r"has no private key"):
        tls.read(Config("main:app", ssl_certfile=issued.certfile))


def test_a_file_may_hold_certificate_and_key(authority: Authority, tmp_path: Path) -> None:
    issued = authority.issue("example.org")
    both = tmp_path / "both.pem"
    both.write_text(Path(issued.certfile).read_text() + Path(issued.keyfile).read_text())
    made = tls.read(Config("main:app", ssl_certfile=[both]))  # type: ignore[list-item]
    assert made is not None
    assert made.context.names == ["example.org"]


def test_names_and_expiry_are_told(authority: Authority, lines: Lines) -> None:
    made = certificates(authority.issue("a.org", "b.org", "c.org", "d.org", "e.org"))
    made.announce()
    assert lines.lines[0].startswith("INFO TLS certificates for a.org, b.org, c.org and 2 more until 20")
    assert lines.lines[0].endswith(" UTC")


def test_one_that_has_expired_is_told(authority: Authority, lines: Lines) -> None:
    end = datetime.now(UTC) - timedelta(minutes=5)
    certificates(authority.issue("example.org", end=end)).announce()
    assert (
        lines.wait("WARNING")
        == f"WARNING A TLS certificate has expired, on {end:%Y-%m-%d %H:%M} UTC: clients refuse it"
    )


def test_a_look_reads_again_what_has_changed(authority: Authority, lines: Lines) -> None:
    issued = authority.issue("old.org")
    made = certificates(issued)
    made.look()
    assert lines.lines == []
    put(authority.issue("new.org"), over=issued)
    made.look()
    assert made.context.names == ["new.org"]
    assert lines.wait("INFO").startswith("INFO TLS certificates read anew: new.org until ")
    made.look()
    assert lines.lines == []


def test_a_bad_file_is_told_once_and_what_was_read_stays(authority: Authority, lines: Lines) -> None:
    issued = authority.issue("old.org")
    made = certificates(issued)
    whole = Path(issued.certfile).read_bytes()
    Path(issued.certfile).write_bytes(whole[: len(whole) // 2])
    made.look()
    made.look()
    assert len(lines.lines) == 1
    assert lines.wait("ERROR").startswith(f"ERROR The TLS certificates stay as they were: '{issued.certfile}': ")
    assert made.context.names == ["old.org"]
    os.unlink(issued.certfile)
    made.look()
    assert "No such file" in lines.wait("ERROR")
    put(authority.issue("new.org"), over=issued)
    made.look()
    assert made.context.names == ["new.org"]


def test_the_folder_that_kubernetes_exchanges_is_seen(authority: Authority, tmp_path: Path, lines: Lines) -> None:
    """tls.crt -> ..data/tls.crt, ..data -> ..1: a volume of a Secret, of which the link in the middle is exchanged."""
    for number, name in enumerate(["old.org", "new.org"]):
        issued = authority.issue(name)
        folder = tmp_path / f"..{number}"
        folder.mkdir()
        os.rename(issued.certfile, folder / "tls.crt")
        os.rename(issued.keyfile, folder / "tls.key")
    data = tmp_path / "..data"
    data.symlink_to("..0")
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    made = tls.read(Config("main:app", ssl_certfile=str(tmp_path / "tls.crt"), ssl_keyfile=str(tmp_path / "tls.key")))
    assert made is not None
    assert made.context.names == ["old.org"]
    (tmp_path / "..new").symlink_to("..1")
    os.rename(tmp_path / "..new", data)
    made.look()
    assert made.context.names == ["new.org"]


def test_a_thread_looks_every_so_often(authority: Authority, lines: Lines) -> None:
    issued = authority.issue("old.org")
    config = Config("main:app", ssl_certfile=issued.certfile, ssl_keyfile=issued.keyfile, ssl_reload_interval=0.01)
    made = tls.read(config)
    with tls.watched(made, config):
        for number in range(5):
            put(authority.issue(f"{number}.org"), over=issued)
            assert lines.wait(f"INFO TLS certificates read anew: {number}.org")


def test_without_an_interval_it_reads_when_it_is_told_to(authority: Authority, lines: Lines) -> None:
    issued = authority.issue("old.org")
    made = certificates(issued)
    with contextlib.closing(tls.Watch(made, 0)) as watch:
        watch.reload()
        assert lines.wait("INFO TLS certificates read anew: old.org")
        put(authority.issue("new.org"), over=issued)
        watch.reload()
        assert lines.wait("INFO TLS certificates read anew: new.org")


def test_what_has_changed_before_the_thread_began_is_seen(authority: Authority, lines: Lines) -> None:
    """A worker that is forked long after its certificates were read."""
    issued = authority.issue("old.org")
    made = certificates(issued)
    put(authority.issue("new.org"), over=issued)
    with contextlib.closing(tls.Watch(made, 0)):
        assert lines.wait("INFO TLS certificates read anew: new.org")


@pytest.mark.parametrize(
    ("passwords", "works"), [(["one"], False), (["one", "two"], True), (["two", "one"], False), ([], False)]
)
def test_passwords_are_for_the_keys_in_their_order(authority: Authority, passwords: list[str], works: bool) -> None:
    pairs = []
    for word in ("one", "two"):
        issued = authority.issue(f"{word}.org")
        pairs.append((issued.certfile, authority.write_key(f"{word}-key.pem", issued.key, password=word.encode())))
    certfiles, keyfiles = zip(*pairs, strict=True)
    config = Config("main:app", ssl_certfile=certfiles, ssl_keyfile=keyfiles, ssl_keyfile_password=passwords)
    if works:
        made = tls.read(config)
        assert made is not None
        assert made.context.names == ["one.org", "two.org"]
    else:
        with pytest.raises(StartupError, match=r"password") as refusal:
            tls.read(config)
        assert not {"one'", "two'"} & set(str(refusal.value).split())
