"""The hand-over of the listening sockets to a new process of the same command (SIGUSR2), a new version of it perhaps.

The new process inherits the sockets and finds in its environment which they are; when it serves, it says so, and the
old one stops. Knows no workers.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, Final

from ferricorn._ferricorn import Listener

VARIABLE: Final = "FERRICORN_HANDOVER"
_READY: Final = b"ready"
PLAIN: Final = "redirect:"
"""In front of the address of a socket that never speaks TLS."""


class Successor:
    """The new process, as the old one sees it. `listeners` by what has asked for them."""

    def __init__(self, listeners: Mapping[str, Listener], environment: Mapping[str, str], secret: bytes) -> None:
        """`environment` is what it has to find beside this process's own, `secret` what only it may know.

        Raises OSError where nothing is started.
        """
        self._end, theirs = socket.socketpair()
        self._end.sendall(secret)
        with theirs:
            sockets = {asked: listener.fileno() for asked, listener in listeners.items()}
            inherited = json.dumps({"sockets": sockets, "tell": theirs.fileno()})
            self._process = subprocess.Popen(
                _command(sys.executable, sys.orig_argv),
                env={**os.environ, **environment, VARIABLE: inherited},
                pass_fds=(*sockets.values(), theirs.fileno()),
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def fileno(self) -> int:
        """Readable when it is known whether the process has taken over."""
        return self._end.fileno()

    def stop(self) -> None:
        """Ends it, for it is not needed any more."""
        self._process.terminate()

    def has_taken_over(self) -> bool:
        """Whether it serves now. If not, it has ended."""
        with self._end, contextlib.suppress(OSError):
            if self._end.recv(16) == _READY:
                # It outlives this process: nobody here waits for its end.
                self._process.returncode = 0
                return True
        self._process.wait()
        return False


def _command(interpreter: str, arguments: Sequence[str]) -> Sequence[str]:
    """The same command line again, from `sys.executable` and `sys.orig_argv`.

    A script `ferricorn` that an installer has made is run itself: its first line names its interpreter, which is
    another one where a link to a virtual environment leads to a newer one by now.
    """
    script = arguments[1] if len(arguments) > 1 else ""
    if os.path.basename(script) == "ferricorn" and os.access(script, os.X_OK):
        return arguments[1:]
    return [interpreter, *arguments[1:]]


class Predecessor:
    """The old process, as the new one sees it, if there is one."""

    def __init__(self, inherited: Mapping[str, Any] | None = None) -> None:
        self._sockets: dict[str, int] = dict(inherited["sockets"]) if inherited else {}
        self._tell = socket.socket(fileno=inherited["tell"]) if inherited else None

    @classmethod
    def take(cls, environment: MutableMapping[str, str]) -> Predecessor:
        """The one that the environment tells of, which is no child's concern: the variable is removed."""
        inherited = environment.pop(VARIABLE, "")
        return cls(json.loads(inherited) if inherited else None)

    @property
    def pid(self) -> int:
        """0 without one."""
        return os.getppid() if self._tell else 0

    def secret(self, length: int) -> bytes:
        """What the old process has told this one alone, once; empty where it told nothing, or there is none."""
        if self._tell is None:
            return b""
        try:
            told = self._tell.recv(length, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return b""
        return told if len(told) == length else b""

    def give(self, wanted: Callable[[str], bool]) -> dict[str, Listener]:
        """Those sockets for which `wanted` says yes to what had asked for them."""
        return {asked: self._listener(asked) for asked in list(self._sockets) if wanted(asked)}

    def tell_ready(self) -> None:
        """This process serves: the old one stops."""
        if self._tell is not None:
            with self._tell, contextlib.suppress(OSError):
                self._tell.send(_READY)
            self._tell = None

    def _listener(self, asked: str) -> Listener:
        descriptor = self._sockets.pop(asked)
        listener = Listener.bind(f"fd://{descriptor}", plain=asked.startswith(PLAIN))
        os.close(descriptor)
        # A file of systemd stays: its unit is still there.
        listener.removes_file = asked.startswith(("unix:", "metrics:unix:", f"{PLAIN}unix:"))
        return listener
