"""From cells to figures: medians over the rounds, and ratios that are taken within each round first."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from harness.cell import Cell
from harness.servers import EPOLL, FERRICORN

# Per metric: what "ferricorn / server" is made of. Below 1 is better for the reference, but for throughput.
RATIOS: dict[str, Callable[[Cell], float]] = {
    "total": lambda cell: cell.total,
    "user": lambda cell: cell.user,
    "throughput": lambda cell: cell.throughput,
    "p99": lambda cell: cell.p99,
    "pss": lambda cell: cell.pss,
}


@dataclass(frozen=True)
class Summary:
    """One server under one scenario, over all rounds in which it was measured."""

    scenario: str
    server: str
    rounds: int
    total: float
    user: float
    kernel: float
    spread: float
    """(largest - smallest) / median of `total` over the rounds."""
    throughput: float
    p50: float
    p99: float
    rss: float
    pss: float
    server_busy: float
    client_busy: float
    client: float
    client_user: float
    received: float
    foreign_busy: float
    """The largest of all rounds, unlike the others."""
    peer: bool
    """Whether it is neither the reference, nor another build of ours, nor the limit."""
    ratios: dict[str, float]
    """Reference / this server, by metric; the median of the ratios of the rounds. Empty without a common round."""


def summarise(cells: Iterable[Cell], reference: str) -> dict[str, list[Summary]]:
    """By scenario, in the order in which they were measured; servers likewise."""
    groups: dict[str, dict[str, list[Cell]]] = {}
    for cell in sorted(cells, key=lambda cell: cell.round):
        groups.setdefault(cell.scenario, {}).setdefault(cell.server, []).append(cell)
    return {
        scenario: [
            _summary(own, servers.get(reference, []), peer=_is_peer(name, reference)) for name, own in servers.items()
        ]
        for scenario, servers in groups.items()
    }


def _is_peer(server: str, reference: str) -> bool:
    return server != reference and not server.startswith((EPOLL, FERRICORN))


def _summary(cells: Sequence[Cell], reference: Sequence[Cell], *, peer: bool) -> Summary:
    def middle(value: Callable[[Cell], float]) -> float:
        return median(map(value, cells))

    totals = [cell.total for cell in cells]
    return Summary(
        scenario=cells[0].scenario,
        server=cells[0].server,
        rounds=len(cells),
        total=median(totals),
        user=middle(lambda cell: cell.user),
        kernel=middle(lambda cell: cell.kernel),
        spread=(max(totals) - min(totals)) / median(totals),
        throughput=middle(lambda cell: cell.throughput),
        p50=middle(lambda cell: cell.p50),
        p99=middle(lambda cell: cell.p99),
        rss=middle(lambda cell: cell.rss),
        pss=middle(lambda cell: cell.pss),
        server_busy=middle(lambda cell: cell.server_busy),
        client_busy=middle(lambda cell: cell.client_busy),
        client=middle(lambda cell: cell.client),
        client_user=middle(lambda cell: cell.client_user),
        received=middle(lambda cell: cell.received),
        foreign_busy=max(cell.foreign_busy for cell in cells),
        peer=peer,
        ratios=_ratios(cells, reference),
    )


def _ratios(cells: Sequence[Cell], reference: Sequence[Cell]) -> dict[str, float]:
    by_round = {cell.round: cell for cell in reference}
    pairs = [(by_round[cell.round], cell) for cell in cells if cell.round in by_round]
    if not pairs:
        return {}
    return {
        name: median(_quotient(value(ours), value(theirs)) for ours, theirs in pairs) for name, value in RATIOS.items()
    }


def _quotient(ours: float, theirs: float) -> float:
    return ours / theirs if theirs else float("inf")
