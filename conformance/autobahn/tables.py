"""The results as text for people. Knows no process and judges nothing."""

from collections.abc import Iterable, Mapping, Sequence

from .results import BEHAVIORS, COMPRESSION, UNIMPLEMENTED, Result, group

GROUPS = {
    "1": "framing",
    "2": "pings and pongs",
    "3": "reserved bits",
    "4": "opcodes",
    "5": "fragmentation",
    "6": "UTF-8",
    "7": "closing",
    "9": "limits and speed",
    "10": "auto-fragmentation",
    "12": "compression, payloads",
    "13": "compression, parameters",
}


def group_table(results: Sequence[Result]) -> str:
    """Verdicts, seconds and server CPU seconds by group of cases, and in all."""
    header = ["group", "cases", *BEHAVIORS, "close not clean", "seconds", "server CPU s"]
    groups = {f"{number} {name}": _of(results, number) for number, name in GROUPS.items()}
    rows = [[name, *_figures(members)] for name, members in groups.items() if members]
    return markdown(header, [*rows, ["all", *_figures(results)]])


def server_table(servers: Mapping[str, Sequence[Result]]) -> str:
    """A line for each server, by its name with version: verdicts, and seconds of the compression's groups apart."""
    header = ["server", *BEHAVIORS, "close not clean", "1-10 s", "12 s", "13 s", "12+13 s", "CPU of 12+13 s"]
    return markdown(header, [[name, *_server_figures(results)] for name, results in servers.items()])


def case_list(results: Iterable[Result], different: Mapping[str, str]) -> str:
    """Every case that is not OK in both verdicts or not as expected, with what the suite says of it."""
    told: list[str] = []
    for result in results:
        if not result.outcome.perfect or result.case in different:
            told += _case_lines(result, different.get(result.case))
    found = {result.case for result in results}
    told += [f"{case:8} {difference}" for case, difference in different.items() if case not in found]
    return "\n".join(told)


def _case_lines(result: Result, difference: str | None) -> list[str]:
    if difference is None:
        return [f"{result.case:8} {result.outcome}, code {result.close_code}: as expected"]
    line = f"{result.case:8} {difference}, code {result.close_code}"
    if result.outcome.behavior == UNIMPLEMENTED:
        # Hundreds of them where a server does not compress, and the suite has nothing to say about any.
        return [line]
    return [line, *(f"{'':9}{reason}" for reason in (*result.reasons(), str(result.report)))]


def _figures(results: Sequence[Result]) -> list[str]:
    cpu = sum(result.cpu_seconds for result in results)
    return [str(len(results)), *_verdicts(results), _seconds(results), f"{cpu:.1f}"]


def _server_figures(results: Sequence[Result]) -> list[str]:
    compression = _of(results, *COMPRESSION)
    others = [result for result in results if result not in compression]
    parts = (others, *(_of(results, number) for number in COMPRESSION), compression)
    cpu = sum(result.cpu_seconds for result in compression)
    return [*_verdicts(results), *map(_seconds, parts), f"{cpu:.1f}"]


def _verdicts(results: Sequence[Result]) -> list[str]:
    counts = [sum(result.outcome.behavior == behavior for result in results) for behavior in BEHAVIORS]
    return [str(count) for count in (*counts, sum(not result.outcome.clean for result in results))]


def _seconds(results: Iterable[Result]) -> str:
    return f"{sum(result.seconds for result in results):.1f}"


def _of(results: Sequence[Result], *groups: str) -> list[Result]:
    return [result for result in results if group(result.case) in groups]


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown, and readable as it is: the first column to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = [f"{'-' * (width - 1)}{'-' if index == 0 else ':'}" for index, width in enumerate(widths)]
    return "\n".join(_line(cells, widths) for cells in (header, rule, *rows))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    padded = [f"{first[0]:<{first[1]}}", *(f"{cell:>{width}}" for cell, width in others)]
    return f"| {' | '.join(padded)} |"
