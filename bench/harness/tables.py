"""Summaries as markdown tables that are also readable on a terminal."""

from collections.abc import Callable, Mapping, Sequence

from harness.scenarios import Scenario
from harness.summary import Summary

Row = Sequence[str]
Column = tuple[str, Callable[[Summary], str]]

# A cell counts as noisy where other processes took more than this share of one core.
NOISY = 0.05


def quick_table(summaries: Sequence[Summary]) -> str:
    """CPU per request and its ratios: what an optimisation looks at."""
    return _table(
        summaries,
        [
            ("server", lambda row: row.server),
            *_cpu_columns(),
            ("CPU ratio", lambda row: _ratio(row, "total")),
            ("user ratio", lambda row: _ratio(row, "user")),
            ("requests/s", lambda row: f"{row.throughput:,.0f}"),
            ("p99 us", lambda row: f"{row.p99:,.0f}"),
            *_busy_columns(),
        ],
    )


def full_table(summaries: Sequence[Summary]) -> str:
    """Everything that was measured."""
    return _table(
        summaries,
        [
            ("server", lambda row: row.server),
            *_cpu_columns(),
            ("requests/s", lambda row: f"{row.throughput:,.0f}"),
            ("p50 us", lambda row: f"{row.p50:,.0f}"),
            ("p99 us", lambda row: f"{row.p99:,.0f}"),
            ("RSS MB", lambda row: f"{row.rss / 1024:.1f}"),
            ("PSS MB", lambda row: f"{row.pss / 1024:.1f}"),
            ("CPU ratio", lambda row: _ratio(row, "total")),
            ("user ratio", lambda row: _ratio(row, "user")),
            ("requests/s ratio", lambda row: _ratio(row, "throughput")),
            ("p99 ratio", lambda row: _ratio(row, "p99")),
            ("PSS ratio", lambda row: _ratio(row, "pss")),
            *_busy_columns(),
        ],
    )


def _cpu_columns() -> list[Column]:
    return [
        ("CPU us", lambda row: _microseconds(row.total)),
        ("user us", lambda row: _microseconds(row.user)),
        ("kernel us", lambda row: _microseconds(row.kernel)),
        ("spread", lambda row: f"{row.spread:.0%}"),
    ]


def _busy_columns() -> list[Column]:
    return [
        ("server busy", lambda row: f"{row.server_busy:.0%}"),
        ("client busy", lambda row: f"{row.client_busy:.0%}"),
        ("noise", lambda row: f"{row.foreign_busy:.0%}" + ("!" if row.foreign_busy > NOISY else "")),
    ]


def heading(scenario: Scenario, client: str) -> str:
    return f"{scenario.title} ({scenario.name}, {client})"


def _ratio(row: Summary, metric: str) -> str:
    return f"{row.ratios[metric]:.2f}" if metric in row.ratios else "-"


def _microseconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def overview(summaries: Mapping[str, Sequence[Summary]], metric: str) -> str:
    """The ratios of one metric: a row per scenario, a column per server."""
    servers = list(dict.fromkeys(row.server for rows in summaries.values() for row in rows))
    body = [
        [name, *(next((_ratio(row, metric) for row in rows if row.server == server), "-") for server in servers)]
        for name, rows in summaries.items()
    ]
    return _layout(["scenario", *servers], body)


def _table(summaries: Sequence[Summary], columns: Sequence[Column]) -> str:
    return _layout([name for name, _ in columns], [[render(row) for _, render in columns] for row in summaries])


def _layout(head: Row, rows: Sequence[Row]) -> str:
    """Markdown with aligned columns: the first to the left, the others to the right."""
    widths = [max(map(len, values)) for values in zip(head, *rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(_line(row, widths) for row in (head, rule, *rows))


def _line(row: Row, widths: Sequence[int]) -> str:
    first, *others = row
    cells = [first.ljust(widths[0]), *(value.rjust(width) for value, width in zip(others, widths[1:], strict=True))]
    return f"| {' | '.join(cells)} |"
