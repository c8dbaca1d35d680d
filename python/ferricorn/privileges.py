"""Whom the process runs as: names are resolved to ids first, then the process becomes that user, for good.

Knows no server: who calls it has bound its sockets and opened its files before.
"""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass

from ferricorn.errors import StartupError


@dataclass(frozen=True, slots=True)
class Identity:
    """A user and a group by their ids. `name` is the user's, whose other groups are taken on too; None has none."""

    uid: int
    gid: int
    name: str | None = None

    def __str__(self) -> str:
        return f"user {self.name or self.uid} (uid {self.uid}, gid {self.gid})"

    def is_current(self) -> bool:
        """Whether the process runs as this user and group already."""
        return (os.getuid(), os.geteuid(), os.getgid(), os.getegid()) == (self.uid, self.uid, self.gid, self.gid)


def resolve(user: str | None, group: str | None) -> Identity | None:
    """The ids that two names or numbers stand for; None where there are none.

    Without a group it is the user's own, without a user the present one. Raises StartupError for an unknown name.
    """
    if user is None and group is None:
        return None
    entry = _entry(user)
    if entry is None and group is None:
        raise StartupError(f"User {user} is not in the user database: its group has to be given, too (--group).")
    uid = entry.pw_uid if entry else os.geteuid() if user is None else int(user)
    gid = _gid(group) if group is not None else entry.pw_gid if entry else os.getegid()
    return Identity(uid, gid, entry.pw_name if entry else None)


def drop(identity: Identity) -> None:
    """Becomes `identity`, all threads included, with no way back. Raises StartupError where that is not allowed.

    Does nothing where the process is that user and group already: then it needs no right to change.
    """
    if identity.is_current():
        return
    try:
        # The rights to set groups go with the user, so he comes last.
        if identity.name is None:
            os.setgroups([identity.gid])
        else:
            os.initgroups(identity.name, identity.gid)
        os.setgid(identity.gid)
        os.setuid(identity.uid)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StartupError(
            f"Cannot become {identity}: {reason}. Only root may change user and group; this is uid {os.geteuid()}."
        ) from None
    _check(identity)


def own(path: str, identity: Identity) -> None:
    """Gives a file to `identity`. Raises StartupError where that is not allowed."""
    if identity.is_current():
        return
    try:
        # A link that somebody has put there meanwhile leads nowhere.
        os.chown(path, identity.uid, identity.gid, follow_symlinks=False)
    except OSError as error:
        raise StartupError(f"Cannot give {path} to {identity}: {(error.strerror or str(error)).lower()}.") from None


def _check(identity: Identity) -> None:
    """Looks at what the system calls have done. A process that may become root again has lost nothing."""
    if not identity.is_current():
        raise StartupError(f"The process did not become {identity}.")
    if identity.uid != 0:
        try:
            os.setuid(0)
        except PermissionError:
            return
        raise StartupError(f"The process could become root again after it had become {identity}.")


def _entry(user: str | None) -> pwd.struct_passwd | None:
    """The line of the user database; None for a number without one. A name that looks like a number is a name."""
    try:
        return pwd.getpwuid(os.geteuid()) if user is None else pwd.getpwnam(user)
    except KeyError:
        if user is None:
            return None
    if not user.isdecimal():
        raise StartupError(f"There is no user {user!r}.")
    try:
        return pwd.getpwuid(int(user))
    except KeyError:
        return None


def _gid(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        if not group.isdecimal():
            raise StartupError(f"There is no group {group!r}.") from None
        return int(group)
