"""The processes and threads that serve, and when they are replaced.

Declarations alone: config.py says how they come together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ferricorn.config_groups import PROCESS, RELOADING
from ferricorn.config_http2 import Http2Options
from ferricorn.kinds import Account, Size
from ferricorn.options import Flag, Number, Permissions, Repeated, Seconds, Text, option


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessOptions(Http2Options):
    """Worker processes, users and files of the process, and reloading for development."""

    workers: int | None = option(
        Number("NUMBER", 0, 10_000),
        None,
        PROCESS,
        "Worker processes under a supervisor; 0 is one for each CPU. Without this option, one process does everything.",
        aliases={"-w": "gunicorn, hypercorn"},
        fallbacks=("WEB_CONCURRENCY",),
    )
    threads: int | None = option(
        Number("NUMBER", 0, 10_000),
        None,
        PROCESS,
        "Event loops of each process that serves, each in a thread of its own, for a free-threaded Python; 0 is one "
        "for each CPU. Without this option, there is one.",
        uvicorn="",
    )
    preload: bool = option(
        Flag(),
        False,
        PROCESS,
        "Import the application once and fork the workers from that, so that they share its memory.",
        uvicorn="",
    )
    limit_worker_memory: int = option(
        Size(),
        0,
        PROCESS,
        "Memory that a worker may have, with K, M or G behind the number; above it, it is replaced. 0 is no limit.",
        uvicorn="",
    )
    limit_worker_lifetime: float = option(
        Seconds(),
        0.0,
        PROCESS,
        "How long a worker may serve; then it is replaced. 0 is no limit.",
        uvicorn="",
        aliases={"--workers-lifetime": "granian"},
    )
    timeout_worker_healthcheck: float = option(
        Seconds(),
        300.0,
        PROCESS,
        "How long a worker's event loop may be blocked before the worker is killed and replaced. 0 is no limit.",
        aliases={"--timeout": "gunicorn", "-t": "gunicorn"},
    )

    pid_file: str | None = option(
        Text("PATH"),
        None,
        PROCESS,
        "Write the process's id to this file, and remove it in the end.",
        uvicorn="",
        aliases={"--pid": "gunicorn, hypercorn", "-p": "gunicorn, hypercorn"},
    )
    user: str | None = option(
        Account("USER"),
        None,
        PROCESS,
        "Run as this user, by name or number, once the sockets are bound. Unix sockets become his.",
        uvicorn="",
        aliases={"-u": "gunicorn"},
    )
    group: str | None = option(
        Account("GROUP"),
        None,
        PROCESS,
        "Run as this group, by name or number; the user's own by default.",
        uvicorn="",
        aliases={"-g": "gunicorn"},
    )
    umask: int | None = option(
        Permissions(),
        None,
        PROCESS,
        "Permissions that new files and unix sockets do not get; inherited by default.",
        uvicorn="",
        aliases={"-m": "gunicorn"},
    )
    reload: bool = option(
        Flag(),
        False,
        RELOADING,
        "For development: watch the application's files, and start it anew when one changes. One worker serves.",
    )
    reload_dir: Sequence[str] = option(
        Repeated("PATH", Text("PATH"), ","),
        (),
        RELOADING,
        "Folder to watch, with all below; may be repeated. By default the current folder, and the one of --app-dir.",
        uvicorn="reload_dirs",
        aliases={"--reload-paths": "granian"},
    )
    reload_include: Sequence[str] = option(
        Repeated("PATTERN", Text("PATTERN"), ","),
        (),
        RELOADING,
        "Pattern of files that count beside *.py, such as *.html, or a folder to watch; may be repeated.",
        uvicorn="reload_includes",
    )
    reload_exclude: Sequence[str] = option(
        Repeated("PATTERN", Text("PATTERN"), ","),
        (),
        RELOADING,
        "Pattern of files or folders that do not count, beside .*, .py[cod], .sw.*, ~*, __pycache__; may be repeated.",
        uvicorn="reload_excludes",
        aliases={"--reload-ignore-dirs": "granian", "--reload-ignore-paths": "granian"},
    )
    reload_delay: float = option(
        Seconds(), 0.25, RELOADING, "How long changes are gathered, and the pause between two looks at the files."
    )
