"""Counts the instructions that a server spends on a request or message, under callgrind. Knows no reference."""

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.dialogue import dialogue
from harness.process import ServerFailedError, command, end, free_port, start, wait_until_right
from harness.scenarios import Scenario
from harness.servers import Target

# Enough for the interpreter to specialise its bytecode and for every cache to be filled.
WARMUP_REQUESTS = 512
_NAMED_OBJECT = re.compile(r"c?ob=\((\d+)\)(?: (.+))?")


@dataclass(frozen=True)
class Instructions:
    """Per request, in user mode: all of them, and by the file name of the program or library they belong to."""

    total: float
    objects: dict[str, float]

    def of(self, part: str) -> float:
        """Those of the objects whose name contains `part`."""
        return sum(count for name, count in self.objects.items() if part in name)


def count(target: Target, scenario: Scenario, requests: int, directory: Path) -> Instructions:
    """Instructions per request, or per message and its echo.

    That is the difference between 2N and N requests on one connection, divided by N: it leaves out what the
    measuring itself costs. The dumps stay in `directory`, for callgrind_annotate.
    """
    with (
        _under_callgrind(target, scenario, directory) as (port, control),
        dialogue(scenario, port, timeout=120.0) as exchange,
    ):

        def send(number: int) -> None:
            for _ in range(number // scenario.depth):
                exchange()

        send(WARMUP_REQUESTS)
        control("--instr=on")
        control("--zero")
        dumps: list[Counter[str]] = []
        for times in (1, 2):
            send(requests * times)
            control("--dump")
            dumps.append(self_cost((directory / f"callgrind.out.{times}").read_text().splitlines()))
    difference = dumps[1] - dumps[0]
    return Instructions(
        difference.total() / requests, {name: cost / requests for name, cost in difference.most_common()}
    )


@contextmanager
def _under_callgrind(
    target: Target, scenario: Scenario, directory: Path
) -> Iterator[tuple[int, Callable[[str], None]]]:
    port = free_port()
    # The layout of memory is fixed because sets of objects are ordered by their addresses.
    prefix = "setarch --addr-no-randomize valgrind --tool=callgrind --instr-atstart=no"
    output_file = f"--callgrind-out-file={directory}/callgrind.out"
    with tempfile.TemporaryFile("w+b") as output:
        process = start([*prefix.split(), output_file, *command(target, scenario, port)], None, output)

        def control(action: str) -> None:
            done = subprocess.run(
                ["callgrind_control", action, str(process.pid)], capture_output=True, text=True, check=False
            )
            if "OK." not in done.stdout:
                raise ServerFailedError(f"callgrind_control {action}: {done.stdout}{done.stderr}")

        try:
            wait_until_right(process, scenario, port, output)
            yield port, control
        finally:
            end(process)


def self_cost(lines: Iterable[str]) -> Counter[str]:
    """The own cost of each object file in a callgrind dump, by file name (format: Valgrind's manual, chapter 6.3)."""
    names: dict[str, str] = {}
    cost: Counter[str] = Counter()
    current, called = "", False
    for line in lines:
        if match := _NAMED_OBJECT.match(line):
            identifier, name = match.groups()
            names.setdefault(identifier, (name or "").rpartition("/")[2])
            current = names[identifier] if line.startswith("ob=") else current
        elif line.startswith("calls="):
            # The next line is what the called function cost, which is counted where it is defined.
            called = True
        elif line[:1] in "+-*0123456789" and line:
            cost[current] += 0 if called else int(line.split()[1])
            called = False
    return cost
