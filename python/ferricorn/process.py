"""What the command does to its process before the application is there: umask, sockets, pid file, user and group.

    umask > bind, or take from systemd > owner of unix sockets > pid file > user and group ... import the application

Only the command does this: a `Server` in a program leaves the program's process alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ferricorn import environment, pidfile, privileges, systemd
from ferricorn._ferricorn import Listener
from ferricorn.addresses import expanded
from ferricorn.config import Config
from ferricorn.errors import StartupError
from ferricorn.handover import PLAIN, Predecessor
from ferricorn.logging import error_log as log
from ferricorn.privileges import Identity
from ferricorn.serving import bound, closed_on_error, closing, redirecting
from ferricorn.systemd import Passed

_OF_THE_COMMAND: Final = ("pid_file", "user", "group", "umask")
_UNIX: Final = "unix:"
_SYSTEMD: Final = "systemd:"
"""In front of the number that a socket had when systemd passed it."""


@contextlib.contextmanager
def prepared(config: Config, predecessor: Predecessor | None = None) -> Iterator[Mapping[str, Listener]]:
    """The sockets by what asked for them, with everything done but the change of user and group: `become` does that.

    `predecessor` has handed over its own, and the pid file. In the end the sockets are closed and the pid file is
    removed. Raises StartupError.
    """
    for sentence in environment.unknown():
        log.warning("%s", sentence)
    identity = privileges.resolve(config.user, config.group)
    if config.umask is not None:
        os.umask(config.umask)
    predecessor = predecessor or Predecessor()
    plain = _redirecting(config, identity, predecessor)
    with closed_on_error(plain.values()):
        listeners = {**_listeners(config, identity, predecessor), **plain}
    with closing(list(listeners.values())), pidfile.written(config.pid_file, instead_of=predecessor.pid):
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


def _listeners(config: Config, identity: Identity | None, predecessor: Predecessor) -> Mapping[str, Listener]:
    """What systemd has passed stands for host and port; an address that is named goes before it."""
    passed = systemd.take_sockets(os.environ)
    if not (config.bind or config.uds is not None or config.fd is not None):
        inherited = predecessor.give(lambda asked: asked.startswith(_SYSTEMD))
        if passed or inherited:
            return inherited or _adopted(passed)
    for unused in passed:
        if f"fd://{unused.fd}" not in config.addresses:
            log.warning("systemd passed the socket %r, which is not served: other addresses are named", unused.name)
    wanted = _distinct(expanded(config.addresses))
    inherited = predecessor.give(lambda asked: asked in wanted)
    missing = [asked for asked in wanted if asked not in inherited]
    made = dict(zip(missing, bound(config, [wanted[asked] for asked in missing]), strict=True))
    if identity is not None:
        _give_away(made, identity)
    return {asked: (inherited | made)[asked] for asked in wanted}


def _redirecting(config: Config, identity: Identity | None, predecessor: Predecessor) -> Mapping[str, Listener]:
    """The one that `redirect_http` asks for, if it does."""
    asked = f"{PLAIN}{config.redirect_address}"
    if inherited := predecessor.give(lambda name: name == asked):
        return inherited
    made = redirecting(config)
    if identity is not None:
        with closed_on_error(made):
            _give_away({str(config.redirect_address): listener for listener in made}, identity)
    return {asked: listener for listener in made}  # noqa: B035 (there is one, or none)


def _distinct(addresses: Sequence[str]) -> dict[str, str]:
    """Each address by a name of its own: "127.0.0.1:0" may be asked for twice."""
    return {address + " again" * addresses[:number].count(address): address for number, address in enumerate(addresses)}


def _adopted(passed: Sequence[Passed]) -> Mapping[str, Listener]:
    listeners = {}
    for given in passed:
        try:
            listener = Listener.bind(f"fd://{given.fd}")
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise StartupError(f"Cannot listen on the socket {given.name!r} that systemd passed: {reason}.") from None
        # The listener has one of its own, and closes it when it stops accepting.
        os.close(given.fd)
        listeners[f"{_SYSTEMD}{given.fd}"] = listener
        log.info("systemd passed the socket %r: %s", given.name, listener.address)
    return listeners


def _give_away(listeners: Mapping[str, Listener], identity: Identity) -> None:
    """Those unix sockets that were bound here. One that was inherited is its maker's."""
    for asked, listener in listeners.items():
        if asked.startswith(_UNIX):
            privileges.own(listener.address.removeprefix(_UNIX), identity)
