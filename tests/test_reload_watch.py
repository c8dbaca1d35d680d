"""Which files reload the application, and that their changes are told, by watchfiles and by looking at each of them."""

from __future__ import annotations

import contextlib
import os
import selectors
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ferricorn.config import Config
from ferricorn.errors import StartupError
from ferricorn.reload_watch import FileWatch, Selection
from tests.support.deadline import DEADLINE, SETTLED

Watch = Callable[..., FileWatch]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    folder = tmp_path.resolve() / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def selection(**options: Any) -> Selection:
    return Selection(Config("main:app", **options))


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# --- which files


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("main.py", True),
        ("package/views.py", True),
        ("page.html", False),
        ("main.pyc", False),
        (".main.py", False),
        ("~main.py", False),
        ("main.py~", False),
        (".main.py.swp", False),
        (".git/hooks/hook.py", False),
        (".venv/lib/site-packages/package.py", False),
        ("__pycache__/main.py", False),
    ],
)
def test_python_files_count_and_hidden_ones_do_not(here: Path, name: str, counts: bool) -> None:
    assert selection().has(here / name) is counts


@pytest.mark.parametrize(
    ("options", "name", "counts"),
    [
        ({"reload_include": "*.html"}, "templates/page.html", True),
        ({"reload_include": "*.html"}, "main.py", True),
        ({"reload_include": "*.html", "reload_exclude": "*.py"}, "main.py", False),
        ({"reload_include": ".env"}, ".env", True),
        ({"reload_include": ".env"}, "sub/.env", True),
        ({"reload_include": "config/settings.toml"}, "config/settings.toml", True),
        ({"reload_include": "config/settings.toml"}, "settings.toml", False),
        ({"reload_include": ".*"}, ".hidden.py", True),
        ({"reload_include": ".*"}, ".hidden/main.py", True),
        ({"reload_exclude": "test_*.py"}, "tests/test_main.py", False),
        ({"reload_exclude": "test_*.py"}, "tests/conftest.py", True),
        ({"reload_exclude": "tests/*"}, "tests/conftest.py", False),
        ({"reload_exclude": "tests"}, "tests/deep/down/main.py", False),
        ({"reload_exclude": "tests"}, "package/tests/main.py", False),
        ({"reload_exclude": "main.py", "reload_include": "main.py"}, "main.py", True),
        ({"reload_exclude": ["a.py", "b.py"]}, "b.py", False),
    ],
)
def test_patterns(here: Path, options: dict[str, Any], name: str, counts: bool) -> None:
    assert selection(**options).has(here / name) is counts


def test_an_excluded_folder_is_meant_by_its_place(here: Path) -> None:
    for folder in ("build/lib", "package/lib"):
        (here / folder).mkdir(parents=True)
    for excluded in ("build/lib", str(here / "build" / "lib"), "./build/../build/lib"):
        chosen = selection(reload_exclude=excluded)
        assert not chosen.has(here / "build" / "lib" / "main.py")
        assert chosen.has(here / "package" / "lib" / "main.py")


# --- which folders


def test_the_current_folder_is_watched_and_that_of_the_application(here: Path, tmp_path: Path) -> None:
    assert selection().folders == (here,)
    (here / "src").mkdir()
    assert selection(app_dir="src").folders == (here,)
    (tmp_path / "elsewhere").mkdir()
    assert set(selection(app_dir="../elsewhere").folders) == {here, tmp_path.resolve() / "elsewhere"}


def test_named_folders_take_its_place(here: Path) -> None:
    for folder in ("one/inner", "two", "three"):
        (here / folder).mkdir(parents=True)
    assert selection(reload_dir=["one", "two"]).folders == (here / "one", here / "two")
    assert selection(reload_dir=["one/inner", "one"]).folders == (here / "one",)
    assert selection(reload_dir="one", reload_include="t*").folders == (here / "one", here / "three", here / "two")
    assert selection(reload_dir=["one", "two"], reload_exclude="two").folders == (here / "one",)
    assert not selection(reload_dir=["one", "two"], reload_exclude="two").has(here / "two" / "main.py")


def test_a_folder_that_is_watched_may_be_hidden_itself(here: Path) -> None:
    (here / ".project").mkdir()
    chosen = selection(reload_dir=".project")
    assert chosen.has(here / ".project" / "main.py")
    assert not chosen.has(here / ".project" / ".git" / "main.py")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"reload_dir": "nowhere"}, "Cannot watch 'nowhere' for changes: there is no such folder."),
        ({"reload_dir": "src", "reload_exclude": "src"}, "There is no folder to watch for changes"),
    ],
)
def test_what_cannot_be_watched(here: Path, options: dict[str, Any], problem: str) -> None:
    (here / "src").mkdir()
    with pytest.raises(StartupError, match=problem):
        selection(**options)


# --- changes


@pytest.fixture(params=["watchfiles", "polling"])
def watch(request: pytest.FixtureRequest, here: Path) -> Iterator[Watch]:
    """Begins to watch the current folder."""
    if request.param == "watchfiles":
        pytest.importorskip("watchfiles")
    with contextlib.ExitStack() as watches:

        def begin(**options: Any) -> FileWatch:
            watch = FileWatch(Config("main:app", **({"reload_delay": 0.05} | options)))
            watch.method = request.param
            watches.enter_context(watch)
            assert watch.watching.wait(DEADLINE)
            return watch

        yield begin


def changes(watch: FileWatch, seconds: float = DEADLINE) -> set[Path]:
    """The changes that are told next, and all in the moment after."""
    told: set[Path] = set()
    with selectors.DefaultSelector() as selector:
        selector.register(watch.fileno(), selectors.EVENT_READ)
        while selector.select(SETTLED if told else seconds):
            told.update(watch.take())
    return told


def test_a_file_that_is_written(here: Path, watch: Watch) -> None:
    main, page = write(here / "main.py"), write(here / "page.html")
    watching = watch()
    page.write_text("changed")
    main.write_text("changed")
    assert changes(watching) == {main}
    main.write_text("changed again")
    assert changes(watching) == {main}


def test_files_that_come_and_go(here: Path, watch: Watch) -> None:
    main = write(here / "main.py")
    watching = watch()
    added = write(here / "package" / "deep" / "views.py")
    assert changes(watching) == {added}
    main.unlink()
    assert changes(watching) == {main}
    assert watching.take() == []


def test_an_editor_writes_beside_the_file_and_renames(here: Path, watch: Watch) -> None:
    main = write(here / "main.py", "old")
    watching = watch()
    for text in ("new", "newer"):
        # As vim and others do: a swap file, a backup, the new file, which takes the old one's place.
        swap, backup, new = (write(here / name, text) for name in (".main.py.swp", "main.py~", "main.py.tmp.4913"))
        os.replace(new, main)
        backup.unlink()
        swap.unlink()
        assert changes(watching) == {main}


def test_a_file_of_the_same_size_and_an_older_time(here: Path, watch: Watch) -> None:
    """As version control leaves it behind."""
    main = write(here / "main.py", "old")
    watching = watch()
    main.write_text("new")
    os.utime(main, (1_000_000_000, 1_000_000_000))
    assert changes(watching) == {main}


def test_what_programs_leave_behind_is_nothing(here: Path, watch: Watch) -> None:
    for folder in ("__pycache__", ".git", ".venv/lib"):
        (here / folder).mkdir(parents=True)
    watching = watch()
    write(here / "__pycache__" / "main.cpython-313.pyc")
    write(here / "__pycache__" / "made.py")
    write(here / ".git" / "index.py")
    write(here / ".venv" / "lib" / "module.py")
    write(here / "log.txt")
    last = write(here / "last.py")
    assert changes(watching) == {last}


def test_a_file_that_appears_and_vanishes(here: Path, watch: Watch) -> None:
    watching = watch(reload_delay=0.3)
    last = write(here / "last.py")
    write(here / "moment.py").unlink()
    assert changes(watching) == {last}


def test_links_to_folders_are_followed_and_loops_end(here: Path, tmp_path: Path, watch: Watch) -> None:
    elsewhere = write(tmp_path / "elsewhere" / "module.py")
    (here / "package").mkdir()
    (here / "package" / "link").symlink_to(elsewhere.parent)
    (here / "package" / "loop").symlink_to(here)
    watching = watch()
    elsewhere.write_text("changed")
    assert changes(watching) == {here / "package" / "link" / "module.py"}


def test_a_link_that_points_elsewhere(here: Path, watch: Watch) -> None:
    old, new = write(here / "old.txt", "1"), write(here / "new.txt", "2")
    link = here / "main.py"
    link.symlink_to(old)
    watching = watch()
    temporary = here / "temporary"
    temporary.symlink_to(new)
    os.replace(temporary, link)
    assert changes(watching) == {link}


def test_a_watched_folder_that_is_a_link(here: Path, tmp_path: Path, watch: Watch) -> None:
    real = write(tmp_path.resolve() / "real" / "main.py")
    (here / "link").symlink_to(real.parent)
    watching = watch(reload_dir="link")
    real.write_text("changed")
    assert changes(watching) == {real}


def test_excluded_folders_are_not_told_of(here: Path, watch: Watch) -> None:
    write(here / "data" / "generated.py")
    watching = watch(reload_exclude="data", reload_include="*.html")
    write(here / "data" / "generated.py", "changed")
    page = write(here / "page.html")
    assert changes(watching) == {page}


def test_it_ends_at_once(here: Path, watch: Watch) -> None:
    watching = watch(reload_delay=3600.0)
    write(here / "main.py")
    begun = time.monotonic()
    watching.__exit__()
    assert time.monotonic() - begun < DEADLINE
    assert "ferricorn-files" not in {thread.name for thread in threading.enumerate()}


def test_changes_are_told_together(here: Path, watch: Watch) -> None:
    watching = watch()
    files = {write(here / f"module{number}.py") for number in range(50)}
    assert changes(watching) == files


def test_without_watchfiles_it_looks_itself(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert FileWatch(Config("main:app")).method in {"watchfiles", "polling"}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert FileWatch(Config("main:app")).method == "polling"


def test_where_the_kernel_watches_no_more_it_looks_itself(
    here: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    watchfiles = pytest.importorskip("watchfiles")

    def refuse(*_: object, **__: object) -> None:
        raise OSError("OS file watch limit reached.")

    monkeypatch.setattr(watchfiles, "watch", refuse)
    with FileWatch(Config("main:app", reload_delay=0.05)) as watching:
        assert watching.watching.wait(DEADLINE)
        assert watching.method == "polling"
        main = write(here / "main.py")
        assert changes(watching) == {main}
    assert "Cannot watch files by watchfiles, looking at each of them instead: OS file watch limit" in caplog.text
