"""What the command does to its process before the application is there: umask, sockets, pid file, user and group.

    umask > bind, or take from systemd > owner of unix sockets > pid file > user and group ... import the application

Only the command does this: a `Server` in a program leaves the program's process alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Final

from ferricorn import environment, pidfile, privileges, systemd
from ferricorn._ferricorn import Listener
from ferricorn.config import Config
from ferricorn.errors import StartupError
from ferricorn.logging import error_log as log
from ferricorn.privileges import Identity
from ferricorn.serving import bound, closing
from ferricorn.systemd import Passed

_OF_THE_COMMAND: Final = ("pid_file", "user", "group", "umask")
_UNIX: Final = "unix:"


@contextlib.contextmanager
def prepared(config: Config) -> Iterator[Sequence[Listener]]:
    """The sockets, with everything done but the change of user and group, which `become` does.

    In the end the sockets are closed and the pid file is removed. Raises StartupError.
    """
    for sentence in environment.unknown():
        log.warning("%s", sentence)
    identity = privileges.resolve(config.user, config.group)
    if config.umask is not None:
        os.umask(config.umask)
    with closing(_listeners(config, identity)) as listeners, pidfile.written(config.pid_file):
        yield listeners


def become(config: Config) -> None:
    """Changes to the user and group of `config`, if it names any: for the rest of the process. Raises StartupError."""
    identity = privileges.resolve(config.user, config.group)
    if identity is not None:
        privileges.drop(identity)


def refuse(config: Config) -> None:
    """Raises StartupError where `config` asks a server that is a part of a program for what only the command does."""
    for name in _OF_THE_COMMAND:
        if getattr(config, name) is not None:
            raise StartupError(
                f"{name} is for the command alone: a server in a program leaves the program's process as it is."
            )


def _listeners(config: Config, identity: Identity | None) -> Sequence[Listener]:
    """What systemd has passed stands for host and port; an address that is named goes before it."""
    passed = systemd.take_sockets(os.environ)
    named = bool(config.bind) or config.uds is not None or config.fd is not None
    if passed and not named:
        return _adopted(passed)
    for unused in passed:
        if f"fd://{unused.fd}" not in config.addresses:
            log.warning("systemd passed the socket %r, which is not served: other addresses are named", unused.name)
    listeners = bound(config)
    if identity is not None:
        _give_away(listeners, config, identity)
    return listeners


def _adopted(passed: Sequence[Passed]) -> Sequence[Listener]:
    listeners = []
    for given in passed:
        try:
            listeners.append(Listener.bind(f"fd://{given.fd}"))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise StartupError(f"Cannot listen on the socket {given.name!r} that systemd passed: {reason}.") from None
        # The listener has one of its own, and closes it when it stops accepting.
        os.close(given.fd)
        log.info("systemd passed the socket %r: %s", given.name, listeners[-1].address)
    return listeners


def _give_away(listeners: Sequence[Listener], config: Config, identity: Identity) -> None:
    """Those unix sockets that were bound here. One that was inherited is its maker's."""
    for asked, listener in zip(config.addresses, listeners, strict=True):
        if asked.startswith(_UNIX):
            privileges.own(listener.address.removeprefix(_UNIX), identity)
