"""How worker processes come to life: as new interpreters, or forked from one that has imported the application.

Knows no pool and no signals' meaning.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

from ferricorn._ferricorn import __version__
from ferricorn.channel import Channel, Word, pair
from ferricorn.worker_process import Orders

_LAST_SECONDS: Final = 2.0
"""How long a template may take to end."""
_FRESH: Final = "ferricorn.worker_process"
_TEMPLATE: Final = "ferricorn.template"
_CODE: Final = "import sys; sys.path[:] = {path!r}; from {module} import main; main({descriptor})"
"""With the supervisor's sys.path before anything is imported: it begins with the current folder in neither or both."""
_GONE: Final = -int(signal.SIGKILL)
"""The status of a process of which nobody can say how it ended."""


class WorkerProcess(Protocol):
    """A worker, as its supervisor sees it."""

    channel: Channel

    @property
    def pid(self) -> int:
        """0 while there is no process yet."""

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""

    def kill(self, number: int) -> None:
        """Sends a signal, unless it has ended."""


class Nursery(Protocol):
    """Where worker processes come from."""

    def start(self, generation: int, orders: Orders, rows: Sequence[int]) -> WorkerProcess:
        """A new worker, whose threads count in these rows, if in any. Those of one generation have the same code."""

    def keep(self, generations: Iterable[int]) -> None:
        """No worker of another generation will be asked for."""

    def close(self) -> None: ...


class FreshWorkers:
    """Each worker is a new interpreter, which imports the application itself."""

    def start(self, _generation: int, orders: Orders, rows: Sequence[int]) -> WorkerProcess:
        process, channel = _interpreter(_FRESH, orders)
        channel.send_object(rows)
        return FreshWorker(process, channel)

    def keep(self, generations: Iterable[int]) -> None:
        pass

    def close(self) -> None:
        pass


class FreshWorker:
    """A child process."""

    def __init__(self, process: subprocess.Popen[bytes], channel: Channel) -> None:
        self._process = process
        self.channel = channel

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.poll()

    def kill(self, number: int) -> None:
        self._process.send_signal(number)


def _interpreter(module: str, orders: Orders) -> tuple[subprocess.Popen[bytes], Channel]:
    """A new interpreter like this one, in `main` of `module` with a channel's descriptor; `orders` are sent to it."""
    ours, theirs = pair()
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001 (as multiprocessing does)
    with theirs:
        descriptor = theirs.fileno()
        code = _CODE.format(path=list(orders.path), module=module, descriptor=descriptor)
        process = subprocess.Popen(
            [sys.executable, *flags, "-c", code],
            pass_fds=(descriptor, orders.board, *orders.listeners),
        )
    ours.send_object(__version__)
    ours.send_object(orders)
    return process, ours


class ForkedWorkers:
    """Workers are forked from a template process, one for each generation, which has imported the application."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        """`selector`: of the supervisor's loop, which calls the `data` of what is readable."""
        self._selector = selector
        self._templates: dict[int, Template] = {}

    def start(self, generation: int, orders: Orders, rows: Sequence[int]) -> WorkerProcess:
        template = self._templates.get(generation)
        if template is None:
            template = self._templates[generation] = Template(orders)
            self._selector.register(template, selectors.EVENT_READ, lambda: self._hear(generation))
        return template.fork(rows)

    def keep(self, generations: Iterable[int]) -> None:
        for generation in self._templates.keys() - set(generations):
            self._drop(generation)

    def close(self) -> None:
        self.keep(())

    def _hear(self, generation: int) -> None:
        if not self._templates[generation].hear():
            self._drop(generation)

    def _drop(self, generation: int) -> None:
        template = self._templates.pop(generation)
        self._selector.unregister(template)
        template.close()


class Template:
    """The supervisor's view of a template process."""

    def __init__(self, orders: Orders) -> None:
        self._process, self._channel = _interpreter(_TEMPLATE, orders)
        self._is_ready = False
        self._asked: deque[ForkedWorker] = deque()
        self._workers: dict[int, ForkedWorker] = {}

    def fileno(self) -> int:
        return self._channel.fileno()

    def fork(self, rows: Sequence[int]) -> ForkedWorker:
        worker = ForkedWorker(self._withdraw)
        worker.channel.send_object(rows)
        self._asked.append(worker)
        if self._is_ready:
            self._ask(worker)
        return worker

    def hear(self) -> bool:
        """Takes what the process says. False when it has ended."""
        messages = self._channel.receive()
        for message in messages or ():
            self._hear(message)
        return messages is not None

    def close(self) -> None:
        """Ends the process. Its workers go on, but nobody will tell how they end; those it has not made, never come."""
        if not self._channel.is_over:
            self._process.terminate()
        # Else it ends by itself, with a status that says whether it could start.
        try:
            self._process.wait(_LAST_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        status = self._process.wait()
        for worker in self._asked:
            worker.status = status
        for worker in self._workers.values():
            worker.is_orphan = True
        self._channel.close()

    def _withdraw(self, worker: ForkedWorker) -> bool:
        """Has `worker` not made, while the import still runs. Whether that was possible."""
        if self._is_ready:
            return False
        self._asked.remove(worker)
        worker.end.close()
        return True

    def _hear(self, message: list[Any]) -> None:
        match message:
            case [Word.READY]:
                self._is_ready = True
                for worker in self._asked:
                    self._ask(worker)
            case [Word.FORKED, pid]:
                self._workers[pid] = self._asked.popleft()
                self._workers[pid].pid = pid
            case [Word.EXITED, pid, status]:
                self._workers.pop(pid).status = status

    def _ask(self, worker: ForkedWorker) -> None:
        self._channel.send_descriptor(worker.end)


class ForkedWorker:
    """A child of a template process. Its status comes from there."""

    def __init__(self, withdraw: Callable[[ForkedWorker], bool]) -> None:
        """`withdraw` says whether it has kept this worker from being made."""
        self.channel, self.end = pair()
        self._withdraw = withdraw
        self.pid = 0
        self.status: int | None = None
        self.is_orphan = False

    def poll(self) -> int | None:
        if self.status is None and self.is_orphan and (self.channel.is_over or not _exists(self.pid)):
            self.status = _GONE
        return self.status

    def kill(self, number: int) -> None:
        if self.poll() is not None:
            return
        if not self.pid:
            # One that is being forked will find in its channel what it is to do.
            self.status = -number if self._withdraw(self) else None
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
