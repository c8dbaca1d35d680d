"""Which event loop to run on."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable
from typing import Any, cast

from ferricorn.errors import StartupError
from ferricorn.importer import import_object

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def loop_factory(name: str | LoopFactory | asyncio.AbstractEventLoop) -> LoopFactory:
    """What makes the event loop that the option `loop` names: auto, asyncio, uvloop, none, or "module:factory".

    auto is uvloop where it is installed; none is what the event loop policy makes; a function is what it is.
    Raises StartupError for a loop that is not there, and for one that is a loop already.
    """
    if isinstance(name, asyncio.AbstractEventLoop):
        raise StartupError("The option loop is an event loop already: await serve() on it, in the place of run().")
    if not isinstance(name, str):
        return name
    if ":" in name:
        return _imported(name)
    if name == "none":
        return asyncio.new_event_loop
    if name == "asyncio" or (name == "auto" and importlib.util.find_spec("uvloop") is None):
        # Not the policy's loop: on Windows that one has no add_reader.
        return asyncio.SelectorEventLoop
    try:
        uvloop: Any = importlib.import_module("uvloop")
    except ImportError as error:
        raise StartupError(f"The event loop uvloop cannot be used: {error}; --loop asyncio needs no package.") from None
    return cast(LoopFactory, uvloop.new_event_loop)


def _imported(target: str) -> LoopFactory:
    made = import_object(target)
    if not callable(made):
        raise StartupError(f"The event loop factory {target!r} is {made!r}, which cannot be called.")
    return made
