"""Becomes `python -m ferricorn` as systemd would start it: the descriptors in $PASSED become 3, 4 and so on.

$LISTEN_PID is the process's own id, unless it is set. One has to be that process to know it before.
"""

from __future__ import annotations

import fcntl
import os
import sys

FIRST_FD = 3
ABOVE = 100

if __name__ == "__main__":
    passed = [int(fd) for fd in os.environ.pop("PASSED").split()]
    copies = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, ABOVE) for fd in passed]
    for fd in passed:
        os.close(fd)
    for number, copy in enumerate(copies, FIRST_FD):
        os.dup2(copy, number)
    os.environ.setdefault("LISTEN_PID", str(os.getpid()))
    os.environ["LISTEN_FDS"] = str(len(passed))
    os.execv(sys.executable, [sys.executable, "-m", "ferricorn", *sys.argv[1:]])
