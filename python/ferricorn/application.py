"""From the options to an application that can be called: imported, made by its factory, adapted to ASGI 3."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ferricorn import environment
from ferricorn.config import Config
from ferricorn.errors import StartupError
from ferricorn.importer import add_to_path, import_object
from ferricorn.interface import FACTORY, Application, adapt, detect
from ferricorn.logging import error_log as log


def find(config: Config) -> object:
    """What `config.app` names, or is, in the environment that `config.env_file` adds to. Raises StartupError.

    Not a coroutine, so that a module may run an event loop of its own when it is imported.
    """
    if config.env_file is not None:
        environment.load(config.env_file)
    if not isinstance(config.app, str):
        return config.app
    add_to_path(config.app_dir)
    return import_object(config.app)


async def make(found: object, config: Config) -> Application:
    """The application that `found` is or, as a factory, plain or async, makes. Raises StartupError."""
    if callable(found) and (config.factory or _must_be_factory(found, config)):
        found = await _made_by(found)
    return adapt(found, config.interface)


def _must_be_factory(found: Callable[..., Any], config: Config) -> bool:
    if config.interface != "auto" or detect(found) != FACTORY:
        return False
    log.warning("The application takes no arguments, so it is called as a factory; --factory says so.")
    return True


async def _made_by(factory: Callable[[], Any]) -> object:
    try:
        made = factory()
        return await made if inspect.iscoroutine(made) else made
    except Exception as error:
        raise StartupError(f"The application factory {_name(factory)} raised {type(error).__name__}.") from error


def _name(factory: object) -> str:
    return getattr(factory, "__qualname__", None) or repr(factory)
