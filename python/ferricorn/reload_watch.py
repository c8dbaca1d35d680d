"""Which files reload the application when they change, and when one of them has changed. It reloads nothing itself.

The rules are uvicorn's, with two more: an exclusion holds for what is inside of a folder that it matches, so hidden
folders are not looked into, and `__pycache__` is one of them.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

from ferricorn.config import Config
from ferricorn.errors import StartupError
from ferricorn.logging import error_log as log

INCLUDES: Final = ("*.py",)
EXCLUDES: Final = (".*", ".py[cod]", ".sw.*", "~*", "__pycache__")
"""The patterns that hold where the options do not say the opposite."""

_IDLE_SHARE: Final = 4
"""A look at all files that took a second is followed by a pause of so many seconds at the least."""
_STEP_MILLISECONDS: Final = 50
"""Changes that follow each other so quickly are told together: an editor saves in several steps."""
_QUIET_MILLISECONDS: Final = 200
"""How often watchfiles says that nothing has changed."""
_CLOSE_SECONDS: Final = 1.0

Seen: TypeAlias = Mapping[Path, tuple[int, int, int]]
"""Each selected file with what changes when it is written: time, size, inode."""


class Selection:
    """The files that count, by `reload_dir`, `reload_include` and `reload_exclude`. Raises StartupError.

    Relative paths are from `base`, the current folder by default. A pattern is compared with the end of a path, as
    `Path.match` does it; one that names folders below `base` means these as well.
    """

    def __init__(self, config: Config, base: Path | None = None) -> None:
        self._base = base or Path.cwd()
        includes, excludes = tuple(config.reload_include), tuple(config.reload_exclude)
        self._includes = {*INCLUDES, *includes} - {*excludes}
        self._excludes = {*EXCLUDES, *excludes} - {*includes}
        self._known: dict[Path, bool] = {}
        """What `has` has said, for looks at all files again and again."""
        self._excluded = {folder for pattern in excludes for folder in self._folders_of(pattern)}
        self.folders = self._chosen(config, includes)
        """What has to be watched, with everything below."""

    def _chosen(self, config: Config, includes: Sequence[str]) -> tuple[Path, ...]:
        named = {self._existing(folder) for folder in config.reload_dir}
        named |= {folder for pattern in includes for folder in self._folders_of(pattern)}
        if not named:
            named = {self._base.resolve(), self._existing(config.app_dir)}
        chosen = {folder for folder in named if not self._excluded & {folder, *folder.parents}}
        if not chosen:
            raise StartupError("There is no folder to watch for changes: all that are named are excluded as well.")
        return tuple(sorted(folder for folder in chosen if not chosen & {*folder.parents}))

    def _existing(self, folder: str) -> Path:
        path = (self._base / folder).resolve()
        if not path.is_dir():
            raise StartupError(f"Cannot watch {folder!r} for changes: there is no such folder.")
        return path

    def _folders_of(self, pattern: str) -> Iterator[Path]:
        if pattern == ".*":
            # Meant for files: hidden folders are not looked for.
            return
        named = self._base / pattern
        relative = not Path(pattern).is_absolute()
        for path in [named] if named.exists() or not relative else self._base.glob(pattern):
            if path.is_dir():
                yield path.resolve()

    def has(self, path: Path) -> bool:
        """Whether the application is reloaded when this file changes."""
        matching = [pattern for pattern in self._includes if path.match(pattern)]
        if any(str(path).endswith(pattern) for pattern in matching):
            # Named without a wildcard: it is meant, whatever is excluded.
            return True
        return bool(matching) and not self.leaves_out(path)

    def leaves_out(self, path: Path) -> bool:
        """Whether the file is excluded, or a folder that it is in, up to one that is watched."""
        for each in (path, *path.parents):
            if each in self.folders:
                return False
            if self.excludes(each):
                return True
        return False

    def excludes(self, path: Path) -> bool:
        """Whether the file or folder is excluded by itself."""
        return path in self._excluded or any(map(path.match, self._excludes))

    def files(self, folders: Iterable[Path]) -> Iterator[Path]:
        """All files in these folders that count, links followed; each folder once, by whatever way it is reached."""
        entered: set[tuple[int, int]] = set()
        for folder in folders:
            for name, inner, files in os.walk(folder, followlinks=True):
                inside = Path(name)
                inner[:] = [
                    each for each in inner if not self.excludes(inside / each) and _is_new(inside / each, entered)
                ]
                yield from (inside / each for each in files if self._has_known(inside / each))

    def _has_known(self, path: Path) -> bool:
        known = self._known.get(path)
        if known is None:
            known = self._known[path] = self.has(path)
        return known


def _is_new(folder: Path, entered: set[tuple[int, int]]) -> bool:
    """Whether it is not in `entered`; then it is."""
    try:
        status = folder.stat()
    except OSError:
        return False
    before = len(entered)
    entered.add((status.st_dev, status.st_ino))
    return len(entered) > before


class FileWatch:
    """Tells when selected files change; a context manager. Raises StartupError where there is nothing to watch.

        with FileWatch(config) as watch:
            selector.register(watch.fileno(), selectors.EVENT_READ)
            ...                        # readable:
            changed = watch.take()

    A thread of its own looks: by watchfiles where that is installed, else at every file's time and size. Changes within
    `reload_delay` after those that were told last are told together.
    """

    def __init__(self, config: Config) -> None:
        self.selection = Selection(config)
        self.method = "watchfiles" if importlib.util.find_spec("watchfiles") else "polling"
        """How it looks: for the log."""
        self.watching = threading.Event()
        """Set when no later change is missed."""
        self._delay = config.reload_delay
        self._changed: set[Path] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ferricorn-files", daemon=True)

    def __enter__(self) -> Self:
        self._reader, self._writer = socket.socketpair()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(_CLOSE_SECONDS)
        self._reader.close()
        self._writer.close()

    def fileno(self) -> int:
        """A descriptor that is readable while there is something to `take`."""
        return self._reader.fileno()

    def take(self) -> list[Path]:
        """The files that have changed, appeared or gone since the last call."""
        with self._lock:
            changed, self._changed = self._changed, set()
            if changed:
                self._reader.recv(1)
        return sorted(changed)

    # --- the thread

    def _run(self) -> None:
        batches = self._by_watchfiles if self.method == "watchfiles" else self._by_polling
        try:
            self._tell_all(batches())
        except OSError as error:
            # As a rule: more folders than the kernel watches for one user.
            log.warning("Cannot watch files by %s, looking at each of them instead: %s", self.method, error)
            self.method = "polling"
            self._tell_all(self._by_polling())

    def _tell_all(self, batches: Iterable[set[Path]]) -> None:
        for changed in batches:
            if changed:
                self._tell(changed)

    def _tell(self, changed: set[Path]) -> None:
        with self._lock:
            if not self._changed and not self._stop.is_set():
                self._writer.send(b"\0")
            self._changed |= changed

    def _by_watchfiles(self) -> Iterator[set[Path]]:
        watchfiles: Any = importlib.import_module("watchfiles")
        changes = watchfiles.watch(
            *self.selection.folders,
            watch_filter=None,
            stop_event=self._stop,
            step=_STEP_MILLISECONDS,
            rust_timeout=_QUIET_MILLISECONDS,
            yield_on_timeout=True,
            raise_interrupt=False,
            ignore_permission_denied=True,
        )
        for batch in changes:
            self.watching.set()
            if batch:
                added = {Path(name) for change, name in batch if change == watchfiles.Change.added}
                yield set(self._added(added)) | self._others({Path(name) for _, name in batch} - added)
                self._stop.wait(self._delay)

    def _added(self, paths: set[Path]) -> Iterator[Path]:
        """Without those that have gone again: files that programs use for a moment."""
        for path in paths:
            if path.is_dir():
                # Its files may have been there before it was watched.
                yield from self.selection.files([path])
            elif os.path.lexists(path) and self.selection.has(path):
                yield path

    def _others(self, paths: set[Path]) -> set[Path]:
        return {path for path in paths if self.selection.has(path)}

    def _by_polling(self) -> Iterator[set[Path]]:
        seen = self._look()
        self.watching.set()
        while not self._stop.wait(self._delay):
            begun = time.monotonic()
            before, seen = seen, self._look()
            yield {path for path in before.keys() | seen.keys() if before.get(path) != seen.get(path)}
            self._stop.wait(_IDLE_SHARE * (time.monotonic() - begun) - self._delay)

    def _look(self) -> Seen:
        return dict(filter(None, map(_seen, self.selection.files(self.selection.folders))))


def _seen(file: Path) -> tuple[Path, tuple[int, int, int]] | None:
    try:
        status = file.stat()
    except OSError:
        # It has gone meanwhile, or is a link to nothing.
        return None
    return file, (status.st_mtime_ns, status.st_size, status.st_ino)
