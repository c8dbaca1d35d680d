"""The function `run`: one call that serves."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ParamSpec

from ferricorn.config import Config
from ferricorn.importer import importing
from ferricorn.server import Server
from ferricorn.supervisor import Supervisor

P = ParamSpec("P")


def _taking_options_of(config: Callable[P, Config]) -> Callable[[Callable[..., None]], Callable[P, None]]:
    """Gives a function the parameters of `config`, so that they are not written a second time."""

    def decorate(function: Callable[..., None]) -> Callable[P, None]:
        function.__signature__ = inspect.signature(config).replace(return_annotation=None)  # type: ignore[attr-defined]
        return function

    return decorate


@_taking_options_of(Config)
def run(*app: Any, **options: Any) -> None:
    """Serves an application until SIGINT or SIGTERM: `run("main:app", port=9000)`. Takes what `Config` takes.

    Raises SystemExit(3) when the server cannot start, and RuntimeError where a worker would begin workers of its own,
    because it imports a module that calls this outside of `if __name__ == "__main__"`. Works in any thread, and where
    an event loop runs already.
    """
    config = Config(*app, **options)
    if config.is_supervised:
        _refuse_while_imported()
        Supervisor(config).run()
    else:
        Server(config).run()


def _refuse_while_imported() -> None:
    if target := importing.get():
        raise RuntimeError(
            f"ferricorn.run is called while {target!r} is imported, for which it was called: put the call under "
            'if __name__ == "__main__":'
        )
