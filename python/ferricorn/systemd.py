"""systemd: the sockets that it hands over (sd_listen_fds(3)) and what it is told in return (sd_notify(3)).

Only the command asks for either: a `Server` in a program does not speak for the program's service. The variables that
say so are taken out of the environment, so that no child takes what is meant for its parent. Knows no server.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Final

from ferricorn.errors import StartupError
from ferricorn.logging import error_log as log

Environment = MutableMapping[str, str]

_FIRST_FD: Final = 3
"""SD_LISTEN_FDS_START."""
_MOST_FDS: Final = 1024
"""Above it, the number is a mistake."""
_SEND_SECONDS: Final = 1.0
"""How long a message may wait for room in the service manager's queue; one that is repeated anyway does not wait."""
_MICROSECONDS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Passed:
    """A socket that was handed over: its descriptor, and its FileDescriptorName= ("unknown" without one)."""

    fd: int
    name: str


def take_sockets(environment: Environment) -> list[Passed]:
    """The sockets that $LISTEN_FDS and $LISTEN_PID give to this process, in their order; each is given once.

    Those of another process are left alone, with a warning. Raises StartupError where the variables make no sense.
    """
    if not environment.get("LISTEN_FDS"):
        return []
    count = _number(environment, "LISTEN_FDS", _MOST_FDS)
    pid = _number(environment, "LISTEN_PID")
    if pid != os.getpid():
        log.warning("systemd's sockets are for process %d, not for %d, this one: they are not served", pid, os.getpid())
        return []
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID"):
        environment.pop(name, None)
    names += [""] * (count - len(names))
    return [_taken(_FIRST_FD + number, names[number] or "unknown") for number in range(count)]


def _taken(fd: int, name: str) -> Passed:
    try:
        os.set_inheritable(fd, False)
    except OSError:
        raise StartupError(f"$LISTEN_FDS promises descriptor {fd}, which is not open.") from None
    return Passed(fd, name)


def _number(environment: Environment, name: str, most: int = 2**63) -> int:
    text = environment.get(name, "")
    if not text.isdecimal() or int(text) > most:
        raise StartupError(f"${name} must be a number, not {text!r}.")
    return int(text)


class Notifier:
    """Tells the service manager how the service is. Without one, every method does nothing.

    A message that cannot be sent is lost: the first one that is gets a warning, and the service goes on.
    """

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        """`address`: the path of a datagram socket, "@" in front of an abstract one; `watchdog`: seconds, 0 is none."""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._failed = False
        self.interval = watchdog / 2
        """How often to call `alive`, in seconds: twice as often as would do. 0.0 is never."""

    @classmethod
    def take(cls, environment: Environment) -> Notifier:
        """The one of this process, by $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID, which are removed."""
        address = environment.pop("NOTIFY_SOCKET", "")
        microseconds = environment.pop("WATCHDOG_USEC", "")
        pid = environment.pop("WATCHDOG_PID", "") or str(os.getpid())
        watched = microseconds.isdecimal() and pid == str(os.getpid())
        return cls(address, int(microseconds) / _MICROSECONDS if watched and address else 0.0)

    @property
    def environment(self) -> dict[str, str]:
        """What `take` has removed, for another process of the service that this one hands over to."""
        if not self._address:
            return {}
        address = f"@{self._address[1:]}" if self._address.startswith("\0") else self._address
        watchdog = {"WATCHDOG_USEC": str(int(self.interval * 2 * _MICROSECONDS))} if self.interval else {}
        return {"NOTIFY_SOCKET": address, **watchdog}

    def ready(self, status: str = "") -> None:
        """The service serves, after its start or a reload; this process is its main one."""
        self._send("READY=1", f"MAINPID={os.getpid()}", *_status(status))

    def reloading(self, status: str = "") -> None:
        """A reload begins, at this moment; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", *_status(status))

    def stopping(self, status: str = "") -> None:
        """The service has begun to stop."""
        self._send("STOPPING=1", *_status(status))

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(*_status(text))

    def main_pid(self, pid: int) -> None:
        """The service goes on in process `pid`, which this one hands over to."""
        self._send(f"MAINPID={pid}")

    def alive(self) -> None:
        """The service makes progress. Where that is not said for the whole watchdog time, systemd kills it."""
        if self.interval:
            self._send("WATCHDOG=1", wait=0.0)

    def _send(self, *assignments: str, wait: float = _SEND_SECONDS) -> None:
        if not self._address:
            return
        message = "\n".join(assignments).encode()
        try:
            # A socket for each: what is forked or changes its user has nothing to share or to lose.
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(wait)
                with contextlib.suppress(BlockingIOError):
                    sender.sendto(message, self._address)
        except (OSError, ValueError) as error:
            if not self._failed:
                self._failed = True
                log.warning("Cannot tell systemd how the service is (%s): %s", self._address.replace("\0", "@"), error)


def _status(text: str) -> list[str]:
    return [f"STATUS={' '.join(text.split())}"] if text else []
