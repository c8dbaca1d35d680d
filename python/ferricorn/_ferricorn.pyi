"""The native part: listeners, and the worker that serves an application from inside its own event loop.

Not public: `ferricorn.run`, `ferricorn.Config` and `ferricorn.Server` are.
"""

from asyncio import AbstractEventLoop
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, Protocol, Self, TypeAlias, final

__all__ = [
    "OPTION_NAMES",
    "TICK_SECONDS",
    "Board",
    "ClientDisconnected",
    "Listener",
    "MetricsServer",
    "TlsContext",
    "Worker",
    "__version__",
    "check_access_log_format",
    "issue_certificate",
    "make_authority",
]

__version__: str

def check_access_log_format(text: str) -> None:
    """Raises ValueError, whose text begins with "must", where an access log format asks for what there is not."""

def make_authority(not_before: int, not_after: int) -> tuple[str, str]:
    """A new authority for development, good for these seconds since 1970: its certificate and its key, in PEM."""

def issue_certificate(authority_key: str, names: Sequence[str], not_before: int, not_after: int) -> tuple[str, str]:
    """A certificate for host names and IP addresses by that authority, good for these seconds: it and its key, in PEM.

    Raises ValueError for a key that cannot be read, and for what is no name.
    """

Application: TypeAlias = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[Any]
]
"""An ASGI 3 application."""

OPTION_NAMES: tuple[str, ...]
"""The keys that `Worker` reads from its `options`: each must be there, and no other may be."""

class Hooks(Protocol):
    """What the worker tells the process, on the worker's thread as a rule. Exceptions are reported, not raised."""

    def application_failed(self, exception: BaseException | None, problem: str) -> None:
        """An application call ended badly: `exception` with its traceback, or None where it returned too early."""

    def peer_failed(self, problem: str) -> None:
        """A peer sent what the server refuses: one line for the log."""

    def file_failed(self, problem: str) -> None:
        """A file that was being sent has become shorter, or cannot be read: one line for the log."""

    def access_route(
        self,
    ) -> tuple[int, tuple[tuple[dict[str, Any], str, object], ...], tuple[tuple[list[Any], list[Any]], ...]]:
        """Where finished responses are to be logged, and what the answer depends on.

        0: to `accessed`. 1: to `access_text`. 2: the worker writes the lines to standard output itself, on a thread of
        its own. With 4 added to 1 or 2 they have colours, in the standard format.

        Asked once for the responses of a turn, but not while the answer holds: as long as each (`__dict__`, name,
        object) still is so, and each (list, its items). Where the first of both is empty, it holds for this turn alone.
        While lines wait to be written, some milliseconds, only the lists are looked at.
        """

    def access_log_begins(self) -> None:
        """The worker is about to write lines, after it had written all: what was printed before goes before them."""

    def accessed(self, accesses: Sequence[tuple[str, str, str, str, int]], lines: Sequence[str] | None) -> None:
        """Finished responses, in order: (client "host:port" or "", method, target, http version, status).

        `lines` is what each says in the operator's format, None where that is the standard one.
        """

    def access_text(self, text: str) -> None:
        """The lines of finished responses, in order, each with its line end."""

    def access_log_failed(self, problem: str) -> None:
        """Standard output cannot be written to, or can be again: one sentence for the log."""

    def limit_reached(self) -> None:
        """The application was called `limit_max_requests` times. Called once; the worker goes on serving."""

    def stack(self) -> Sequence[tuple[str, int | None, str, str | None]] | None:
        """What the loop's thread is in: (file, line, function, text of the line), the innermost last.

        None where the loop does not run. Called on another thread, as `stalled` is.
        """

    def stalled(self, message: str) -> bool:
        """The loop is blocked, or runs again. Whether it is in the log: if not, the message goes to standard error."""

    def drained(self) -> None:
        """After `Worker.drain`: the last connection is closed. Called once."""

@final
class Board:
    """What all workers count, in memory that their processes share: a row of 64-bit cells for each worker.

    The memory lives as long as the process, the descriptor as long as the object. A forked process has the same memory;
    another one gets the descriptor (`pass_fds`) and calls `attach`. May be used on any thread.
    """

    def __new__(cls, rows: int) -> Self:
        """Memory for so many workers, all zero. Raises OSError where there is none."""

    @staticmethod
    def attach(fd: int) -> Board:
        """The board behind a descriptor that was inherited, which stays with the caller.

        Raises OSError for what is no file, and ValueError for one that is no board of this version.
        """

    def fileno(self) -> int:
        """The descriptor of the memory; closed on exec, unless `pass_fds` names it."""

    @property
    def rows(self) -> int: ...
    def beats(self, row: int) -> tuple[int, int]:
        """How often the worker's native thread and its event loop have said that they run. Raises IndexError.

        The first goes up while the process runs, the second with each turn of the loop and with each tick.
        """

    def retire(self, row: int) -> None:
        """Adds what the row has counted to the sums of ended workers, and zeroes it. Raises IndexError.

        To be called when its worker has ended, in one process and on one thread.
        """

    def count_restart(self, reason: str) -> None:
        """Counts a worker that was replaced or added: by one process, on one thread. Raises ValueError.

        The reasons are crash, reload, max_requests, memory, lifetime, stalled, scaled.
        """

    def render(self, *, openmetrics: bool = False) -> str:
        """The sums of all rows in the text format of Prometheus 0.0.4, or in that of OpenMetrics 1.0."""

@final
class ClientDisconnected(OSError):
    """Raised from `await send(...)` after the client has gone (HTTP-28)."""

@final
class Listener:
    """A bound, listening, non-blocking socket."""

    @staticmethod
    def bind(address: str, *, backlog: int = 2048, mode: int | None = None, plain: bool = False) -> Listener:
        """Binds `"HOST:PORT"`, `"[V6]:PORT"`, `"unix:PATH"` or adopts `"fd://N"`.

        `plain`: it speaks no TLS, also where its worker does.
        `mode` is the permission of a unix socket's file (default 0o666, as the umask allows not to matter).
        Raises OSError with `filename` set to the address, ValueError for an address that cannot be read.
        A host name that resolves to several addresses binds the first; port 0 picks a free one.
        """

    @property
    def address(self) -> str:
        """As bound, in the syntax of `bind`, with the real port: "127.0.0.1:8000", "[::1]:8000", "unix:/run/a.sock"."""

    @property
    def plain(self) -> bool:
        """Whether it speaks no TLS."""

    removes_file: bool
    """Whether closing it removes the file of its unix socket: True where `bind` made it. Always False for TCP."""

    def fileno(self) -> int: ...
    def close(self) -> None:
        """Closes the socket, and removes the file of a unix socket that `bind` made. Idempotent."""

@final
class MetricsServer:
    """A native thread that answers `GET /metrics` with what the board says, and everything else with 404.

    It needs no interpreter lock, so it answers whatever applications do.
    """

    def __new__(cls, listener: Listener, board: Board) -> Self:
        """Has a handle of its own of `listener`, and answers when this returns. Raises OSError, or ValueError."""

    def close(self) -> None:
        """Stops it, and waits for what is on its way, for a second or two at the most. Idempotent."""

@final
class TlsContext:
    """Certificates, and whatever else the connections of a server have in common in TLS. May be used on any thread."""

    def __new__(
        cls,
        certificates: Sequence[tuple[str, str, str | None]],
        *,
        ca_certs: str | None = None,
        cert_reqs: str = "none",
        crl: str | None = None,
        minimum_version: str = "1.2",
        ciphers: str = "",
        alpn: Sequence[str] = ...,
        ocsp: str | None = None,
        ticket_secret: bytes | None = None,
        handshake_timeout: float = 10.0,
    ) -> Self:
        """Reads the files. Raises ValueError, which names the file and says what is wrong with it.

        `certificates`: paths of a chain and its key in PEM, and the password of an encrypted key. Of several, a client
        gets the one that has the name which it asks for; the first where it names nothing, or nothing that is known.
        `cert_reqs`: whether clients are asked for a certificate: "none", "optional" or "required". One that is sent has
        to be of an authority in `ca_certs`, and not revoked by the lists in `crl`, which has one for each authority.
        `minimum_version`: "1.2" or "1.3". `ciphers`: suites as OpenSSL or IANA name them, apart by ":"; where it names
        none (as "TLSv1" and "HIGH:!aNULL" do), all that there are, which are all modern.
        `alpn`: the protocols to be offered, the preferred first; by default "h2", "http/1.1".
        `ocsp`: the file of a response (DER) that goes with the first certificate.
        `ticket_secret`: sessions of one context are resumed by every other with the same secret, in whichever process.
        `handshake_timeout`: in seconds.
        """

    def reload(self) -> None:
        """Reads the files anew, for the connections to come. Raises ValueError: then all stays as it was."""

    @property
    def files(self) -> list[str]:
        """The paths that are read."""

    @property
    def names(self) -> list[str]:
        """The DNS names of the certificates, in lowercase: what a client may ask for."""

    @property
    def expiry(self) -> int | None:
        """The last second, since 1970, of the certificate that ends first."""

@final
class Worker:
    """Serves one application on one event loop, on the thread that made it.

    `loop.add_reader(worker.fileno(), worker.poll)` makes it live; `tick` has to be called about twice a second.
    `beat` or `tick` has to be called four times within the seconds of the option `stall_warning`, until `close`.
    """

    def __new__(
        cls,
        app: Application,
        *,
        loop: AbstractEventLoop,
        listeners: Sequence[Listener],
        state: dict[str, Any],
        asgi_version: str,
        options: Mapping[str, object],
        hooks: Hooks,
        board: Board | None = None,
        row: int = 0,
        beats_per_tick: int = 1,
        tls: TlsContext | None = None,
    ) -> Self:
        """With `tls`, all `listeners` speak TLS but those that are plain.

        Counts in this row of `board`; without one, where nobody looks. Raises IndexError for a row it has not.

        `beats_per_tick`: how often `beat` or `tick` will be called in `TICK_SECONDS`, at regular times.
        """

    def fileno(self) -> int:
        """The poller's descriptor, readable when `poll` has work."""

    def poll(self) -> None:
        """Handles a bounded batch of what is ready, then flushes what the application answered."""

    def tick(self) -> None:
        """Looks at the coarse deadlines: call it every `TICK_SECONDS`."""

    def beat(self) -> None:
        """Shows that the event loop runs, as `poll` and `tick` do."""

    def drain(self, *, patient: bool = False) -> None:
        """Stops accepting and lets running exchanges finish; then calls `hooks.drained()`.

        Idle connections are closed. Who has connected before is served: what is in the backlog is accepted first.
        `patient` is for a worker that another one replaces: idle connections stay for their keep-alive timeout, and are
        served once more when a request comes; the backlog is left to the other. A call without it may follow.

        WebSockets go on for the option timeout_websocket_drain, then they are closed with 1012. Where nothing is open,
        `drained` is called before this returns.
        """

    def set_healthy(self, healthy: bool) -> None:
        """What the health path says; 503 anyway once a drain has begun that is not patient."""

    def cancel(self, *, websockets: bool = True) -> int:
        """Cancels the tasks of the exchanges that still run, and returns how many there were.

        Without `websockets`, those of WebSockets that have been accepted go on.
        """

    def close(self) -> None:
        """Closes every connection and the listeners, whatever state they are in. Idempotent."""

    @property
    def connections(self) -> int: ...
    @property
    def websockets(self) -> int:
        """WebSockets that have been accepted and are still open, or whose application calls have not ended."""

    @property
    def exchanges(self) -> int:
        """Application calls that have not ended."""

TICK_SECONDS: float
