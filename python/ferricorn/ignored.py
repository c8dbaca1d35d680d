"""Flags of other servers that are no options here, for command lines that were written for them: without effect, or
words of an option."""

from __future__ import annotations

from typing import Final

from ferricorn.options import Ignored, Switch

IGNORED: Final = (
    Ignored(
        ("--reset-contextvars",),
        (),
        "uvicorn",
        "What the application sets in its context during lifespan reaches no request anyway.",
    ),
    Ignored(
        ("--http",),
        ("auto", "h11", "httptools", "zttp", "1"),
        "uvicorn, granian",
        "There is one implementation of HTTP; --no-http2 leaves HTTP/1 alone.",
    ),
    Ignored(("--http-parser",), ("auto", "fast", "python"), "gunicorn", "There is one implementation of HTTP."),
    Ignored(("--http-protocols",), ("h1", "h2,h1"), "gunicorn", "Clients choose; --no-http2 leaves HTTP/1 alone."),
    Ignored(
        ("--http2-cleartext",),
        ("off", "prior-knowledge"),
        "gunicorn",
        "Clients choose; --no-http2 leaves HTTP/1 alone.",
    ),
    Ignored(("--protocol",), ("http",), "gunicorn", "Behind a proxy that speaks uwsgi, use its HTTP."),
    Ignored(("--http1-keep-alive",), (), "granian", "Connections are kept: --timeout-keep-alive."),
    Ignored(
        ("--http1-pipeline-flush", "--no-http1-pipeline-flush"),
        (),
        "granian",
        "Responses that are ready at the same time are written together.",
    ),
    Ignored(("--task-impl",), ("asyncio",), "granian", "Requests run in tasks of asyncio."),
    Ignored(("--runtime-mode",), ("auto", "st"), "granian", "The server runs on the thread of the event loop."),
    Ignored(
        ("--runtime-threads", "--blocking-threads"),
        ("1",),
        "granian",
        "The server runs on the thread of the event loop.",
    ),
    Ignored(
        ("--respawn-failed-workers",), (), "granian", "A worker that ends before it is told to is always replaced."
    ),
    Ignored(("--worker-tmp-dir",), ("/dev/shm",), "gunicorn", "Heartbeats are in shared memory, not in files."),
    Ignored(
        ("--enable-stdio-inheritance", "-R"), (), "gunicorn", "Standard output and standard error are what they are."
    ),
    Ignored(("--do-handshake-on-connect",), (), "gunicorn", "A handshake holds nobody up."),
    Ignored(("--suppress-ragged-eofs",), (), "gunicorn", "A connection that ends without a close is no error."),
    Ignored(("--no-control-socket",), (), "gunicorn", "There is no such socket; signals do what it does."),
    Ignored(("--log",), (), "granian", "There is a log unless --log-config says otherwise."),
    Ignored(("--no-metrics",), (), "granian", "There are none unless they are asked for."),
    Ignored(
        ("--access-logfile",),
        ("-",),
        "gunicorn, hypercorn",
        "The access log goes to standard output; --log-config can send it to a file.",
    ),
    Ignored(
        ("--error-logfile", "--log-file"),
        ("-",),
        "gunicorn, hypercorn",
        "The log goes to standard error; --log-config can send it to a file.",
    ),
)
"""What command lines for other servers may say as well."""

SWITCHES: Final = (
    Switch("--ssl-client-verify", "--ssl-cert-reqs=required", "granian"),
    Switch("--no-ssl-client-verify", "--ssl-cert-reqs=none", "granian"),
)
"""What stands there for an option with a value."""
