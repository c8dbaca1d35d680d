"""A case: its name, its section, what is sent, what is expected. And the list of them all."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .expectations import Expectation
from .frames import Settings
from .peer import FailedError, NotApplicableError, Peer, Target

PASSED = "passed"
FAILED = "FAILED"
NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True)
class Case:
    """`name` is group/section/number. `section` is of RFC 9113 unless it says otherwise."""

    name: str
    section: str
    sends: str
    expects: Expectation
    action: Callable[[Peer], None]
    settings: Settings | None
    """The client's; None where the case makes its own preface."""

    @property
    def group(self) -> str:
        return self.name.partition("/")[0]


@dataclass(frozen=True)
class Result:
    """What came of a case against one server."""

    case: Case
    verdict: str
    detail: str = ""
    remarks: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False)

    def __str__(self) -> str:
        told = f"{self.case.name} ({self.case.section}): {self.case.sends}: expected {self.case.expects}"
        return f"{told}; {self.detail or ', '.join(self.remarks) or self.verdict}"


CASES: dict[str, Case] = {}


class Group:
    """Names cases: `group/section/1`, `group/section/2`, ... in the order in which they are declared."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._counts: dict[str, int] = {}

    def __call__(
        self,
        place: str,
        section: str,
        sends: str,
        expects: Expectation,
        *,
        settings: Settings | None = None,
        preface: bool = True,
    ) -> Callable[[Callable[[Peer], None]], Callable[[Peer], None]]:
        """Declares a case. `place` is what stands in its name. `settings` are the client's. Without `preface` nothing
        has been sent when it begins."""

        def declare(action: Callable[[Peer], None]) -> Callable[[Peer], None]:
            self._counts[place] = number = self._counts.get(place, 0) + 1
            name = f"{self.name}/{place}/{number}"
            CASES[name] = Case(name, section, sends, expects, action, (settings or {}) if preface else None)
            return action

        return declare


def run(case: Case, target: Target) -> Result:
    """Runs `case` on a connection of its own."""
    begun = time.monotonic()
    try:
        with Peer(target) as peer:
            if case.settings is not None:
                peer.handshake(case.settings)
            case.action(peer)
            remarks = tuple(case.expects.check(peer))
    except FailedError as failure:
        return Result(case, FAILED, str(failure), (), time.monotonic() - begun)
    except NotApplicableError as reason:
        return Result(case, NOT_APPLICABLE, str(reason), (), time.monotonic() - begun)
    return Result(case, PASSED, "", remarks, time.monotonic() - begun)
