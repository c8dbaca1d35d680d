"""Summaries as markdown tables that are also readable on a terminal."""

from collections.abc import Callable, Mapping, Sequence

from harness.cell import Gap
from harness.scenarios import Scenario, WebSocketScenario
from harness.summary import Summary

Row = Sequence[str]
Column = tuple[str, Callable[[Summary], str]]

# A cell counts as noisy where other processes took more than this share of one core.
NOISY = 0.05
MORE_IS_BETTER = {"throughput"}


def quick_table(scenario: Scenario, summaries: Sequence[Summary], gaps: Sequence[Gap] = ()) -> str:
    """CPU per request or message and its ratios: what an optimisation looks at."""
    return _table(
        summaries,
        gaps,
        [
            ("server", lambda row: row.server),
            *_cpu_columns(),
            ("CPU ratio", lambda row: _ratio(row, "total")),
            ("user ratio", lambda row: _ratio(row, "user")),
            (f"{unit(scenario)}s/s", lambda row: f"{row.throughput:,.0f}"),
            ("p99 us", lambda row: f"{row.p99:,.0f}"),
            *_busy_columns(),
            *_message_columns(scenario),
        ],
    )


def full_table(scenario: Scenario, summaries: Sequence[Summary], gaps: Sequence[Gap] = ()) -> str:
    """Everything that was measured."""
    rate = f"{unit(scenario)}s/s"
    return _table(
        summaries,
        gaps,
        [
            ("server", lambda row: row.server),
            *_cpu_columns(),
            (rate, lambda row: f"{row.throughput:,.0f}"),
            ("p50 us", lambda row: f"{row.p50:,.0f}"),
            ("p99 us", lambda row: f"{row.p99:,.0f}"),
            ("RSS MB", lambda row: f"{row.rss / 1024:.1f}"),
            ("PSS MB", lambda row: f"{row.pss / 1024:.1f}"),
            ("CPU ratio", lambda row: _ratio(row, "total")),
            ("user ratio", lambda row: _ratio(row, "user")),
            (f"{rate} ratio", lambda row: _ratio(row, "throughput")),
            ("p99 ratio", lambda row: _ratio(row, "p99")),
            ("PSS ratio", lambda row: _ratio(row, "pss")),
            *_busy_columns(),
            *_message_columns(scenario),
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


def _message_columns(scenario: Scenario) -> list[Column]:
    """The client's own CPU, in parentheses without the kernel's; and what a message took on its way back."""
    if not isinstance(scenario, WebSocketScenario):
        return []
    return [
        ("client us", lambda row: f"{row.client:.1f} ({row.client_user:.1f})"),
        ("bytes", lambda row: f"{row.received:,.0f}"),
    ]


def unit(scenario: Scenario) -> str:
    """What is counted."""
    return "message" if isinstance(scenario, WebSocketScenario) else "request"


def heading(scenario: Scenario, client: str) -> str:
    return f"{scenario.title} ({scenario.name}, {client})"


def _ratio(row: Summary, metric: str) -> str:
    return f"{row.ratios[metric]:.2f}" if metric in row.ratios else "-"


def _microseconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def overview(summaries: Mapping[str, Sequence[Summary]], metric: str, gaps: Sequence[Gap] = ()) -> str:
    """The ratios of one metric: a row per scenario, a column per server, and the peer that does best."""
    servers = list(dict.fromkeys(row.server for rows in summaries.values() for row in rows))
    servers += dict.fromkeys(gap.server for gap in gaps if gap.server not in servers)
    reasons = {(gap.scenario, gap.server): gap.reason for gap in gaps}
    body: list[Row] = []
    for name in dict.fromkeys((*summaries, *(gap.scenario for gap in gaps))):
        rows = summaries.get(name, ())
        ratios = {row.server: _ratio(row, metric) for row in rows}
        own = (ratios.get(server, reasons.get((name, server), "-")) for server in servers)
        body.append([name, *own, _best_peer(rows, metric)])
    return _layout(["scenario", *servers, "best peer"], body)


def _best_peer(summaries: Sequence[Summary], metric: str) -> str:
    """Of what is better when it is less, the best peer is the one to which the reference has the largest ratio."""
    peers = [row for row in summaries if row.peer and metric in row.ratios]
    if not peers:
        return "-"
    choose = min if metric in MORE_IS_BETTER else max
    best = choose(peers, key=lambda row: row.ratios[metric])
    return f"{_ratio(best, metric)} {best.server}"


def _table(summaries: Sequence[Summary], gaps: Sequence[Gap], columns: Sequence[Column]) -> str:
    rows = [[render(row) for _, render in columns] for row in summaries]
    empty = [[gap.server, gap.reason, *("-" for _ in columns[2:])] for gap in gaps]
    return _layout([name for name, _ in columns], [*rows, *empty])


def _layout(head: Row, rows: Sequence[Row]) -> str:
    """Markdown with aligned columns: the first to the left, the others to the right."""
    widths = [max(map(len, values)) for values in zip(head, *rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(_line(row, widths) for row in (head, rule, *rows))


def _line(row: Row, widths: Sequence[int]) -> str:
    first, *others = row
    cells = [first.ljust(widths[0]), *(value.rjust(width) for value, width in zip(others, widths[1:], strict=True))]
    return f"| {' | '.join(cells)} |"
