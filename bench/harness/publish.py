"""Writes what a run found: the raw cells as JSON, and from those RESULTS.md with its charts."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Self

from harness.cell import Cell, Gap
from harness.chart import Bar, Chart, Panel
from harness.machine import Conditions
from harness.native import BENCH
from harness.scenarios import GROUPS, SCENARIOS, WebSocketScenario
from harness.summary import Summary, summarise
from harness.tables import full_table, heading, overview, unit

_READING = """\
CPU is what the server's whole process tree spent for one {unit}; user and kernel are its parts. "Spread" is the
range of CPU over the rounds. A ratio is {reference} divided by the server of the row, taken within each round, of
which the median stands here: under 1 {reference} needs less, but for {unit}s/s, where over 1 is more. RSS is the
largest process, PSS the whole tree. Where "client busy" is near 100 %, the client and not the server bounds
{unit}s/s and latency. "Noise" is what other processes took of the machine's cores, at most, during a cell. {latencies}
"""

_LATENCIES = {
    "http": "Latencies\nof pipelined requests are those of a batch.",
    "h2": """A handshake
is a request on a connection of its own, connecting and closing included. Of "upload" and "download" one request is
1 MiB: a ratio of CPU is the inverse of that of bytes per CPU second.""",
    "ws": """Of a
broadcast, every message that a connection received counts; its latency is the time until all had it. "client us" is the
load client's own CPU for a message, in parentheses without the kernel's; "bytes" is what a message took on its way from
the server, which tells how well it compresses.""",
}

# The part of the page, and how its charts' names begin.
_PARTS = {"http": ("HTTP", ""), "h2": ("HTTP/2 and HTTPS", "http2-"), "ws": ("WebSocket", "websocket-")}


@dataclass(frozen=True)
class Results:
    """A run: how it was made, what it found, and what failed."""

    conditions: Conditions
    reference: str
    clients: Mapping[str, str]
    """By scenario."""
    cells: Sequence[Cell]
    failures: Sequence[str]
    gaps: Sequence[Gap] = field(default=())
    """Where a server has no cell."""

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        fields = json.loads(path.read_text())
        conditions = Conditions(**fields.pop("conditions"))
        cells = [Cell(**cell) for cell in fields.pop("cells")]
        gaps = [Gap(**gap) for gap in fields.pop("gaps", [])]
        return cls(conditions=conditions, cells=cells, gaps=gaps, **fields)

    def of_group(self, group: str) -> Self:
        """Only what belongs to the scenarios of the group. A failure's text begins with its scenario."""
        names = {scenario.name for scenario in GROUPS[group]}
        return replace(
            self,
            cells=[cell for cell in self.cells if cell.scenario in names],
            failures=[failure for failure in self.failures if failure.partition(",")[0] in names],
            gaps=[gap for gap in self.gaps if gap.scenario in names],
        )

    def of_scenario(self, name: str) -> list[Gap]:
        return [gap for gap in self.gaps if gap.scenario == name]


def publish(runs: Sequence[Results], directory: Path = BENCH) -> None:
    """Writes RESULTS.md and its charts: a part per group of scenarios, each from the last run that has it."""
    lines = ["# Results", "", "Written by the commands below; README.md says how it measures.", ""]
    for group, (title, prefix) in _PARTS.items():
        parts = [part for run in runs if (part := run.of_group(group)).cells]
        if parts:
            lines += _part(parts[-1], group, title, prefix)
            for name, chart in _charts(parts[-1], group).items():
                (directory / f"{prefix}{name}.svg").write_text(chart.svg())
    (directory / "RESULTS.md").write_text("\n".join(lines))


def _part(results: Results, group: str, title: str, prefix: str) -> list[str]:
    summaries = summarise(results.cells, results.reference)
    noun = unit(GROUPS[group][0])
    return [
        f"# {title}",
        "",
        *_conditions(results.conditions),
        "",
        _READING.format(reference=results.reference, unit=noun, latencies=_LATENCIES[group]),
        f"![Server CPU per {noun}]({prefix}cpu.svg)",
        "",
        *_overviews(results, summaries, noun),
        *_tables(results, summaries),
        "## Latency and memory",
        "",
        f"![Latency]({prefix}latency.svg)",
        "",
        f"![Memory]({prefix}memory.svg)",
        "",
        *(["## Failures", "", *(f"- {failure}" for failure in results.failures), ""] if results.failures else []),
    ]


def _overviews(results: Results, summaries: Mapping[str, Sequence[Summary]], noun: str) -> list[str]:
    titles = {
        "total": f"Server CPU per {noun}",
        "user": f"Server CPU per {noun} without the kernel's",
        "throughput": f"{noun.capitalize()}s a second (over 1 is more)",
        "p99": "99th percentile of latency",
    }
    lines: list[str] = []
    for metric, title in titles.items():
        lines += [f"## {title}: {results.reference} / server", "", overview(summaries, metric, results.gaps), ""]
    return lines


def _tables(results: Results, summaries: Mapping[str, Sequence[Summary]]) -> list[str]:
    lines: list[str] = []
    for name, rows in summaries.items():
        title = heading(SCENARIOS[name], results.clients[name])
        table = full_table(SCENARIOS[name], rows, results.of_scenario(name))
        lines += [f"## {title[0].upper()}{title[1:]}", "", table, ""]
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


def _charts(results: Results, group: str) -> dict[str, Chart]:
    def panels(first: Callable[[Summary], float], second: Callable[[Summary], float]) -> list[Panel]:
        return [
            Panel(
                SCENARIOS[name].title,
                [Bar(row.server, first(row), second(row), ours=row.server == reference) for row in rows],
            )
            for name, rows in charted.items()
        ]

    reference = results.reference
    charted = {name: rows for name, rows in summarise(results.cells, reference).items() if _is_charted(name)}
    cpu = panels(lambda row: row.user, lambda row: row.kernel)
    latency = panels(lambda row: row.p50, lambda row: row.p99 - row.p50)
    memory = panels(lambda row: row.pss / 1024, lambda _: 0.0)
    noun = unit(GROUPS[group][0])
    return {
        "cpu": Chart(f"Server CPU per {noun}", "microseconds", reference, ("user", "kernel"), cpu),
        "latency": Chart("Latency", "microseconds", reference, ("median", "up to the 99th percentile"), latency),
        "memory": Chart("Memory after the load", "MB, PSS of all processes", reference, ("PSS",), memory),
    }


def _is_charted(name: str) -> bool:
    scenario = SCENARIOS[name]
    return not isinstance(scenario, WebSocketScenario) or scenario.charted
