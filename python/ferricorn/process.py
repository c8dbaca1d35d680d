"""What the command does to its process before the application is there: umask, sockets, pid file, user and group.

    umask > bind > pid file > unix sockets change their owner > user and group change ... the application is imported

Only the command does this: a `Server` in a program leaves the program's process alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Final

from ferricorn import pidfile, privileges
from ferricorn._ferricorn import Listener
from ferricorn.config import Config
from ferricorn.errors import StartupError
from ferricorn.privileges import Identity
from ferricorn.serving import bound, closing

_OF_THE_COMMAND: Final = ("pid_file", "user", "group", "umask")
_UNIX: Final = "unix:"


@contextlib.contextmanager
def prepared(config: Config) -> Iterator[Sequence[Listener]]:
    """The sockets, with everything done but the change of user and group, which `become` does.

    In the end the sockets are closed and the pid file is removed. Raises StartupError.
    """
    identity = privileges.resolve(config.user, config.group)
    if config.umask is not None:
        os.umask(config.umask)
    with closing(bound(config)) as listeners, pidfile.written(config.pid_file):
        if identity is not None:
            _give_away(listeners, config, identity)
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


def _give_away(listeners: Sequence[Listener], config: Config, identity: Identity) -> None:
    """Those unix sockets that were bound here. One that was inherited is its maker's."""
    for asked, listener in zip(config.addresses, listeners, strict=True):
        if asked.startswith(_UNIX):
            privileges.own(listener.address.removeprefix(_UNIX), identity)
