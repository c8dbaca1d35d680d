"""Where a run is: shown while it goes on, and the server's CPU time charged to the cases. Knows no verdict."""

import sys
import time
from collections.abc import Callable

_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """To be told of each case that begins, and of the end. `cpu_seconds` then has the server's CPU time by case."""

    def __init__(self, total: int, cpu_seconds: Callable[[], float]) -> None:
        self.cpu_seconds: dict[str, float] = {}
        self._total = total
        self._cpu_seconds = cpu_seconds
        self._before = cpu_seconds()
        self._case = ""
        self._count = 0
        self._began = self._said = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    def begun(self, case: str) -> None:
        """The connection of the next case has opened, and that of the case before is closed."""
        self._charge()
        self._case = case
        self._count += 1
        self._show()

    def ended(self) -> None:
        """The last case is over."""
        self._charge()
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")

    def _charge(self) -> None:
        now = self._cpu_seconds()
        if self._case:
            self.cpu_seconds[self._case] = now - self._before
        self._before = now

    def _show(self) -> None:
        text = f"{self._count:4} of {self._total}  {self.seconds:4.0f} s  case {self._case}"
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{text}\x1b[K")
            sys.stderr.flush()
        # A log gets a line now and then, and the last one.
        elif time.monotonic() - self._said > _SECONDS_BETWEEN_LINES or self._count == self._total:
            self._said = time.monotonic()
            print(text, file=sys.stderr, flush=True)
