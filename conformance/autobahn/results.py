"""What the suite found: its report read, and held against what is expected. Knows no process and prints nothing."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Self

EXPECTED = Path(__file__).parent / "expected.json"

OK = "OK"
NON_STRICT = "NON-STRICT"
INFORMATIONAL = "INFORMATIONAL"
FAILED = "FAILED"
UNIMPLEMENTED = "UNIMPLEMENTED"
COMPRESSION = ("12", "13")
BEHAVIORS = (OK, NON_STRICT, INFORMATIONAL, FAILED, UNIMPLEMENTED)

_EVENTS_LENGTH = 200

QUICK = (
    "[1-7].*",
    "9.[12].[1-3]",
    "9.[3-6].[7-9]",
    "9.[78].1",
    "10.*",
    "12.*.[15]",
    "12.1.1[18]",
    "13.*.[15]",
    "13.7.18",
)
"""Patterns of the subset for every change: the rules whole, of the limits and the compression what takes a moment."""


@dataclass(frozen=True)
class Outcome:
    """The suite's two verdicts on a case: on what happened, and on how the connection ended."""

    behavior: str
    close: str

    @property
    def clean(self) -> bool:
        return self.close in (OK, INFORMATIONAL)

    @property
    def perfect(self) -> bool:
        return self.behavior == self.close == OK

    def __str__(self) -> str:
        return f"{self.behavior}, close {self.close}"


@dataclass(frozen=True)
class Result:
    """A case that was run. `seconds` are from its open handshake to the end of its connection."""

    case: str
    outcome: Outcome
    seconds: float
    cpu_seconds: float
    """CPU time of the server."""
    close_code: int | None
    """What the server's close frame said."""
    report: Path

    @classmethod
    def read(cls, case: str, entry: Mapping[str, object], folder: Path, cpu_seconds: float) -> Self:
        code = entry["remoteCloseCode"]
        return cls(
            case=case,
            outcome=Outcome(str(entry["behavior"]), str(entry["behaviorClose"])),
            seconds=float(str(entry["duration"])) / 1000,
            cpu_seconds=cpu_seconds,
            close_code=int(str(code)) if code is not None else None,
            report=folder / str(entry["reportfile"]),
        )

    def reasons(self) -> list[str]:
        """What the suite did and saw: its own words on the case and on both verdicts, and the events."""
        detail = json.loads(self.report.read_text())
        reasons = [_plain(detail["description"]), detail["result"]]
        if detail["expected"]:
            reasons.append(f"wanted {_short(detail['expected'].get(OK))}, received {_short(detail['received'])}")
        return [*reasons, detail["resultClose"]]


def read_results(folder: Path, agent: str, cpu_seconds: Mapping[str, float]) -> list[Result]:
    """The results in the suite's report about `agent`, in the suite's order."""
    entries = json.loads((folder / "index.json").read_text()).get(agent, {})
    return [
        Result.read(case, entries[case], folder, cpu_seconds.get(case, 0.0)) for case in sorted(entries, key=numbers)
    ]


def read_expected() -> dict[str, Outcome]:
    """Every case of the suite, with what it has to end with."""
    cases = json.loads(EXPECTED.read_text())
    return {case: Outcome(*verdicts) for case, verdicts in cases.items()}


def select(cases: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """The cases that any pattern matches, in the suite's order. Raises ValueError for a pattern that matches none."""
    known = sorted(cases, key=numbers)
    for pattern in patterns:
        if not any(fnmatchcase(case, pattern) for case in known):
            raise ValueError(f"no case is called {pattern}")
    return [case for case in known if any(fnmatchcase(case, pattern) for pattern in patterns)]


def parts(cases: Iterable[str]) -> dict[str, list[str]]:
    """The cases in parts of some half a minute, by name: the compression's second numbers, and all others together."""
    divided: dict[str, list[str]] = {}
    for case in cases:
        name = case.rpartition(".")[0] if group(case) in COMPRESSION else "rules"
        divided.setdefault(name, []).append(case)
    return divided


def differences(expected: Mapping[str, Outcome], results: Iterable[Result]) -> dict[str, str]:
    """The cases whose outcome is not the expected one, those that one side lacks included, each with what differs."""
    found = {result.case: result.outcome for result in results}
    return {
        case: f"expected {expected.get(case, 'no such case')}; got {found.get(case, 'no result')}"
        for case in sorted({*expected, *found}, key=numbers)
        if expected.get(case) != found.get(case)
    }


def numbers(case: str) -> tuple[int, ...]:
    """What cases are sorted by: "9.10.1" comes behind "9.2.1"."""
    return tuple(map(int, case.split(".")))


def group(case: str) -> str:
    """The first number of the case."""
    return case.partition(".")[0]


def _plain(description: str) -> str:
    """Its first sentence: what follows a markup or a line's end are the bytes."""
    return re.split(r"<br|\n", description.strip())[0].replace("<b>", "").replace("</b>", "")


def _short(events: object) -> str:
    text = json.dumps(events, ensure_ascii=False)
    return text if len(text) <= _EVENTS_LENGTH else f"{text[:_EVENTS_LENGTH]}..."
