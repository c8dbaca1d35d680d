"""The file that tells other programs the process's id. Knows no server."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Final

from ferricorn.errors import StartupError

_READABLE: Final = 0o644
"""For everyone: who sends signals reads it. Nobody else may write it, whatever the umask is."""
_LONGEST: Final = 32
"""More bytes than a process id has."""


class PidFile:
    """A file with this process's id and a line break, from `write` to `remove`."""

    def __init__(self, path: str) -> None:
        # The application may change the current folder.
        self.path = os.path.abspath(path)
        self._fd = -1

    def write(self, *, instead_of: int = 0) -> None:
        """Writes it in one step, so that nobody reads a half. What an ended process has left is replaced.

        `instead_of` is the process that hands over to this one: its file is replaced while it lives. Raises
        StartupError where another process lives, the file holds no process id, or it cannot be written.
        """
        temporary = os.path.join(os.path.dirname(self.path), f".{os.path.basename(self.path)}.{os.getpid()}")
        try:
            self._refuse_another(instead_of)
            self._fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _READABLE)
            try:
                os.fchmod(self._fd, _READABLE)
                os.write(self._fd, b"%d\n" % os.getpid())
                os.rename(temporary, self.path)
            except OSError:
                os.unlink(temporary)
                self._close()
                raise
        except OSError as error:
            raise StartupError(f"Cannot write the pid file {self.path}: {_reason(error)}.") from None

    def remove(self) -> None:
        """Removes it, if it still holds this process's id. Where the user has changed, it may only become empty."""
        try:
            if self._read() == b"%d" % os.getpid():
                os.unlink(self.path)
        except PermissionError:
            # The file was opened by a user who was allowed to.
            os.ftruncate(self._fd, 0)
        except OSError:
            # Somebody else has taken it away, or the folder with it.
            pass
        finally:
            self._close()

    def _refuse_another(self, instead_of: int) -> None:
        held = self._read()
        if not held.isdigit() and held:
            raise StartupError(f"{self.path} is no pid file: it holds something else, and is left alone.")
        pid = int(held or b"0")
        if pid not in (os.getpid(), instead_of) and _runs(pid):
            raise StartupError(f"{self.path} names process {pid}, which runs: is the server running already?")

    def _read(self) -> bytes:
        try:
            with open(self.path, "rb") as file:
                return file.read(_LONGEST).strip()
        except FileNotFoundError:
            return b""

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


@contextlib.contextmanager
def written(path: str | None, *, instead_of: int = 0) -> Iterator[None]:
    """Keeps a pid file at `path`, or none for None. `instead_of` as in `PidFile.write`."""
    if path is None:
        yield
        return
    file = PidFile(path)
    file.write(instead_of=instead_of)
    try:
        yield
    finally:
        file.remove()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return pid > 0


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
