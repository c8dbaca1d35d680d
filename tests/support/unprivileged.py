"""`python -m ferricorn` started by nobody. What is imported late is in memory, as in preloaded.py."""

from __future__ import annotations

import os
import pwd

import ferricorn.cli
from tests.support import preloaded

if __name__ == "__main__":
    preloaded.preload()
    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)
    ferricorn.cli.main(prog_name="ferricorn")
