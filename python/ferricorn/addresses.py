"""What host names among the addresses to listen on stand for. Opens no socket that stays."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Iterable, Iterator
from typing import Any, Final

_NOT_HERE: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def expanded(addresses: Iterable[str]) -> list[str]:
    """`addresses`, in the syntax of the option `bind`, with each host name in the place of all that it stands for.

    "localhost:8000" is "127.0.0.1:8000" and "[::1]:8000" where the machine has both, as uvicorn has it. A name with
    port 0 stays as it is: one free port is asked for, and not one of each kind.
    """
    return [each for address in addresses for each in _of(address)]


def _of(address: str) -> list[str]:
    host, _, port = address.rpartition(":")
    if address.startswith(("unix:", "fd://")) or port == "0" or not _is_name(host):
        return [address]
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except OSError:
        return [address]  # Who binds it says what is wrong.
    return list(dict.fromkeys(_available(found))) or [address]


def _is_name(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return bool(host)
    return False


def _available(found: Iterable[tuple[Any, ...]]) -> Iterator[str]:
    """Those that this machine has: a container often knows ::1 by its name alone."""
    for family, _type, _protocol, _name, place in found:
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.bind((place[0], 0, *place[2:]))
        except OSError as error:
            if error.errno in _NOT_HERE:
                continue
        yield f"[{place[0]}]:{place[1]}" if ":" in place[0] else f"{place[0]}:{place[1]}"
