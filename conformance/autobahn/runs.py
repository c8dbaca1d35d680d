"""A server's way through the cases, in one go or in parts that take turns with other servers'. Knows no option."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from . import fuzzing
from .progress import Progress
from .results import Outcome, Result, differences, read_results
from .servers import Running, ServerFailedError

Start = Callable[[Path], AbstractContextManager[Running]]
"""Starts a server whose output goes into the file."""


@dataclass
class Run:
    """What came out for one server up to now."""

    name: str
    label: str
    """The name, with versions."""
    wanted: Mapping[str, Outcome]
    """The cases to run, with what each has to end with."""
    folder: Path
    """For the suite's reports. Emptied at the beginning."""
    start: Start
    results: list[Result] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """What went wrong beside the cases: the server or the suite did not start, or ended too early."""
    seconds: float = 0.0
    suite_cpu_seconds: float = 0.0

    def __post_init__(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def different(self) -> dict[str, str]:
        """The cases that ended otherwise, or not at all; see `differences`."""
        return differences(self.wanted, self.results)

    def go_on(self, suite: Path, part: str, chosen: Sequence[str], total: int) -> None:
        """Runs the chosen cases, or patterns of them, with a server of their own, and keeps what came out."""
        folder = self.folder / part
        folder.mkdir(parents=True)
        try:
            self._go_on(suite, folder, chosen, total)
        except (ServerFailedError, fuzzing.SuiteFailedError) as error:
            self.failures.append(str(error))

    def _go_on(self, suite: Path, folder: Path, chosen: Sequence[str], total: int) -> None:
        log = folder / "server.log"
        with self.start(log) as server:
            progress = Progress(total, server.cpu_seconds)
            self.suite_cpu_seconds += fuzzing.run(suite, server.url, self.name, chosen, folder, progress.begun)
            progress.ended()
            status = server.exit_status()
        self.seconds += progress.seconds
        self.results += read_results(folder, self.name, progress.cpu_seconds)
        if status is not None:
            self.failures.append(f"the server ended by itself, with status {status}: {log}")
