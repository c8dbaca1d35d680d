"""From "module:attribute" to the object, with an error that says what was tried. Knows nothing of applications."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Iterable
from contextvars import ContextVar
from types import ModuleType, TracebackType
from typing import Final

from ferricorn.errors import StartupError

importing: Final[ContextVar[str]] = ContextVar("importing", default="")
"""What `import_object` imports just now."""


def import_object(target: str) -> object:
    """The object that `target`, "module:attribute" or "package.module:attribute.attribute", names.

    Raises StartupError in one sentence; when the module was found and raised, that exception is its cause.
    """
    module_name, colon, path = target.partition(":")
    if not colon or not module_name or not path:
        raise StartupError(_malformed(target, module_name))
    found: object = _import_module(target, module_name)
    passed = module_name
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise StartupError(_missing(target, passed, name, _names(found))) from None
        passed = f"{passed}.{name}" if passed != module_name else f"{module_name}:{name}"
    return found


def add_to_path(folder: str) -> None:
    """Puts `folder` first in sys.path, the current folder for ""."""
    path = os.path.abspath(folder)
    if sys.path[:1] != [path]:
        sys.path.insert(0, path)


def _import_module(target: str, name: str) -> ModuleType:
    before = importing.set(target)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise StartupError(_not_found(target, name, error.name)) from None
        raise _failed(target, name, error) from _without_import_frames(error)
    except Exception as error:
        raise _failed(target, name, error) from _without_import_frames(error)
    finally:
        importing.reset(before)


def _malformed(target: str, module_name: str) -> str:
    wanted = f"'{target}:app'" if module_name == target and target else "'main:app'"
    if target.endswith(".py"):
        wanted = f"'{target.removesuffix('.py').replace(os.sep, '.')}:app'"
    return f"Cannot import {target!r}: it must be MODULE:ATTRIBUTE, for example {wanted}."


def _not_found(target: str, name: str, missing: str) -> str:
    part = "" if missing == name else f" (no {missing!r})"
    place = sys.path[0] or os.getcwd()
    return f"Cannot import {target!r}: there is no module {name!r}{part} in {place} or elsewhere in sys.path."


def _failed(target: str, name: str, error: Exception) -> StartupError:
    return StartupError(f"Cannot import {target!r}: importing {name!r} raised {type(error).__name__}.")


def _missing(target: str, owner: str, name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, [n for n in names if not n.startswith("__")], n=3)
    hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else "."
    return f"Cannot import {target!r}: {owner!r} has no attribute {name!r}{hint}"


def _names(owner: object) -> list[str]:
    try:
        return dir(owner)
    except Exception:
        return []


def _without_import_frames(error: Exception) -> Exception:
    """`error` with the frames of this file and of the import machinery taken off the top of its traceback."""
    frame: TracebackType | None = error.__traceback__
    while frame is not None and _is_import_machinery(frame):
        frame = frame.tb_next
    return error.with_traceback(frame)


def _is_import_machinery(frame: TracebackType) -> bool:
    filename = frame.tb_frame.f_code.co_filename
    return filename == __file__ or filename == importlib.__file__ or filename.startswith("<frozen importlib")
