"""Keywords of uvicorn's `run` and `Config` that are no options of ours: renamed, taken without effect, or refused.

They are not in the signature of `Config`: there is nothing to set by them. Knows no option by name.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ferricorn.options import Ignored, Option

_NO_CONTEXT: Final = "TLS is not Python's here: the options ssl_... and hsts say what can be chosen."


@dataclass(frozen=True, slots=True)
class Foreign:
    """A keyword that changes nothing. Another value than None and `values` is refused; without `values`, none is."""

    values: tuple[object, ...]
    reason: str
    """Why nothing else can be asked for, and what to do instead."""

    def check(self, value: object) -> None:
        """Raises ValueError for a value that asks for something."""
        if self.values and value is not None and value not in self.values:
            wanted = "left out" if None in self.values else " or ".join(map(repr, self.values))
            raise ValueError(f"must be {wanted}, not {value!r}. {self.reason}")


FOREIGN: Final[Mapping[str, Foreign]] = {
    "ssl_context_factory": Foreign((None,), _NO_CONTEXT),
    "callback_notify": Foreign((None,), "Nobody calls it: let a task of your own run beside Server.serve()."),
    "timeout_notify": Foreign((), "It goes with callback_notify."),
}
"""Those that have no flag on uvicorn's command line, or whose flag is refused there too."""


def foreign(ignored: Iterable[Ignored], options: Iterable[Option]) -> dict[str, Foreign]:
    """All keywords that are taken without being among `options`: those above, and uvicorn's flags among `ignored`."""
    named = {flag[2:].replace("-", "_"): i for i in ignored if "uvicorn" in i.servers for flag in i.flags}
    known = {name for option in options for name in (option.name, option.uvicorn)}
    every = {name: Foreign(i.values, i.reason) for name, i in named.items()} | dict(FOREIGN)
    return {name: one for name, one in every.items() if name not in known}


def translated(
    keywords: Mapping[str, Any], options: Sequence[Option], ignored: Mapping[str, Foreign]
) -> dict[str, Any]:
    """`keywords` as options of ours.

    Raises TypeError for one that nobody knows or that is given by two names, ValueError for one of uvicorn's that is
    here without effect and asks for something.
    """
    names = {option.uvicorn: option.name for option in options if option.uvicorn}
    names |= {option.name: option.name for option in options} | {"app": "app"}
    chosen: dict[str, Any] = {}
    for keyword, value in keywords.items():
        if keyword in names:
            name = names[keyword]
            if name in chosen:
                raise TypeError(f"{name} is given twice, by two names")
            chosen[name] = value
        elif keyword in ignored:
            _check(keyword, value, ignored[keyword])
        else:
            raise TypeError(_unknown(keyword, [*names, *ignored]))
    return chosen


def _check(name: str, value: object, foreign: Foreign) -> None:
    try:
        foreign.check(value)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None


def _unknown(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"Config has no option {name!r}{hint}"
