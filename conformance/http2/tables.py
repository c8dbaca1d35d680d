"""The results as text for people. Knows no socket and judges nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from conformance.autobahn.tables import markdown

from .case import FAILED, NOT_APPLICABLE, PASSED, Result

GROUPS = {
    "generic": "h2spec's generic cases",
    "http2": "h2spec's HTTP/2 cases",
    "hpack": "h2spec's HPACK cases",
    "rfc9113": "more of RFC 9113",
    "rfc7541": "more of RFC 7541",
}


def group_table(results: Sequence[Result]) -> str:
    """Verdicts by group of cases, and in all."""
    rows = []
    for group, name in GROUPS.items():
        members = [result for result in results if result.case.group == group]
        if members:
            rows.append([f"{group}: {name}", str(len(members)), *_verdicts(members)])
    header = ["group", "cases", "passed", "failed", "not applicable", "passed with a remark"]
    return markdown(header, [*rows, ["all", str(len(results)), *_verdicts(results)]])


def server_table(runs: Mapping[str, Sequence[Result]]) -> str:
    """A line for each server: what passed of each group, what failed, what passed with a remark."""
    header = ["server", *GROUPS, "failed", "not applicable", "passed with a remark"]
    return markdown(header, [[label, *_by_group(results), *_verdicts(results)[1:]] for label, results in runs.items()])


def problem_list(results: Sequence[Result]) -> str:
    """A line for each case that did not pass, or passed with a remark."""
    return "\n".join(f"{result.verdict:8} {result}" for result in results if result.verdict != PASSED or result.remarks)


def _by_group(results: Sequence[Result]) -> list[str]:
    figures = []
    for group in GROUPS:
        members = [result for result in results if result.case.group == group]
        figures.append(f"{sum(result.verdict == PASSED for result in members)}/{len(members)}")
    return figures


def _verdicts(results: Sequence[Result]) -> list[str]:
    counts = [sum(result.verdict == verdict for result in results) for verdict in (PASSED, FAILED, NOT_APPLICABLE)]
    return [str(count) for count in (*counts, sum(bool(result.remarks) for result in results))]
