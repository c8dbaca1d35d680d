"""Writes what a run found: the raw cells as JSON, and from those RESULTS.md with its charts."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from harness.cell import Cell
from harness.chart import Bar, Chart, Panel
from harness.machine import Conditions
from harness.native import BENCH
from harness.scenarios import SCENARIOS
from harness.summary import Summary, summarise
from harness.tables import full_table, heading, overview

_READING = """\
CPU is what the server's whole process tree spent for one request; user and kernel are its parts. "Spread" is the
range of CPU over the rounds. A ratio is {reference} divided by the server of the row, taken within each round, of
which the median stands here: under 1 {reference} needs less, but for requests/s, where over 1 is more. RSS is the
largest process, PSS the whole tree. Where "client busy" is near 100 %, the client and not the server bounds
requests/s and latency. "Noise" is what other processes took of the machine's cores, at most, during a cell. Latencies
of pipelined requests are those of a batch.
"""

_OVERVIEWS = {
    "total": "Server CPU per request",
    "throughput": "Requests a second (over 1 is more)",
    "p99": "99th percentile of latency",
}


@dataclass(frozen=True)
class Results:
    """A run: how it was made, what it found, and what failed."""

    conditions: Conditions
    reference: str
    clients: Mapping[str, str]
    """By scenario."""
    cells: Sequence[Cell]
    failures: Sequence[str]

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        fields = json.loads(path.read_text())
        conditions = Conditions(**fields.pop("conditions"))
        return cls(conditions=conditions, cells=[Cell(**cell) for cell in fields.pop("cells")], **fields)

    def publish(self, directory: Path = BENCH) -> None:
        """Writes RESULTS.md and its charts."""
        summaries = summarise(self.cells, self.reference)
        for name, chart in _charts(summaries, self.reference).items():
            (directory / f"{name}.svg").write_text(chart.svg())
        (directory / "RESULTS.md").write_text(self._page(summaries))

    def _page(self, summaries: Mapping[str, Sequence[Summary]]) -> str:
        return "\n".join(
            (
                "# Results",
                "",
                "Written by the command below; README.md says how it measures.",
                "",
                *_conditions(self.conditions),
                "",
                _READING.format(reference=self.reference),
                "![Server CPU per request](cpu.svg)",
                "",
                *self._overviews(summaries),
                *self._tables(summaries),
                "## Latency and memory",
                "",
                "![Latency](latency.svg)",
                "",
                "![Memory](memory.svg)",
                *(["", "## Failures", "", *(f"- {failure}" for failure in self.failures)] if self.failures else []),
                "",
            )
        )

    def _overviews(self, summaries: Mapping[str, Sequence[Summary]]) -> list[str]:
        lines: list[str] = []
        for metric, title in _OVERVIEWS.items():
            lines += [f"## {title}: {self.reference} / server", "", overview(summaries, metric), ""]
        return lines

    def _tables(self, summaries: Mapping[str, Sequence[Summary]]) -> list[str]:
        lines: list[str] = []
        for name, rows in summaries.items():
            title = heading(SCENARIOS[name], self.clients[name])
            lines += [f"## {title[0].upper()}{title[1:]}", "", full_table(rows), ""]
        return lines


def _conditions(conditions: Conditions) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(conditions.versions.items()))
    return [
        f"    {conditions.command}",
        "",
        f"- {conditions.date}, {conditions.machine}, Linux {conditions.kernel}",
        f"- {conditions.python}; {conditions.wrk}",
        f"- {versions}",
    ]


def _charts(summaries: Mapping[str, Sequence[Summary]], reference: str) -> dict[str, Chart]:
    def panels(first: Callable[[Summary], float], second: Callable[[Summary], float]) -> list[Panel]:
        return [
            Panel(
                SCENARIOS[name].title,
                [Bar(row.server, first(row), second(row), ours=row.server == reference) for row in rows],
            )
            for name, rows in summaries.items()
        ]

    cpu = panels(lambda row: row.user, lambda row: row.kernel)
    latency = panels(lambda row: row.p50, lambda row: row.p99 - row.p50)
    memory = panels(lambda row: row.pss / 1024, lambda _: 0.0)
    return {
        "cpu": Chart("Server CPU per request", "microseconds", reference, ("user", "kernel"), cpu),
        "latency": Chart("Latency", "microseconds", reference, ("median", "up to the 99th percentile"), latency),
        "memory": Chart("Memory after the load", "MB, PSS of all processes", reference, ("PSS",), memory),
    }
