"""Which application is meant where none is named: found by reading the usual files, without importing anything."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

MODULES: Final = ("main", "app", "api", "asgi", "application", "server")
"""The first three, alone and in a folder `app`, are where `fastapi run` looks, in its order."""
_APPLICATIONS: Final = ("app", "application", "api")
_FACTORIES: Final = ("create_app", "make_app", "get_app")
_USUAL_PACKAGE: Final = "app"


def find(folder: str, *, factory: bool) -> str:
    """The application in `folder` ("" is the current one) as "module:attribute". `factory` asks for a factory first.

    Modules of the folder come first, then those of a folder `app`, then those of other packages. Raises ValueError in
    one sentence where there is none, or where more than one of the other packages has one.
    """
    root = Path(folder or ".")
    names = (*_FACTORIES, *_APPLICATIONS) if factory else (*_APPLICATIONS, *_FACTORIES)
    for package in (root, root / _USUAL_PACKAGE):
        if target := _in_folder(package, root, names):
            return target
    targets = [target for package in _packages(root) if (target := _in_folder(package, root, names))]
    if len(targets) > 1:
        raise ValueError(f"Which application is meant? There are {' and '.join(targets)} in {root.resolve()}.")
    if not targets:
        raise ValueError(_not_found(root, names))
    return targets[0]


def _packages(root: Path) -> list[Path]:
    try:
        return sorted(init.parent for init in root.glob("*/__init__.py") if init.parent.name.isidentifier())
    except OSError:
        return []


def _in_folder(folder: Path, root: Path, names: Iterable[str]) -> str | None:
    package = "" if folder == root else f"{folder.name}."
    for module in MODULES:
        if attribute := _attribute(folder / f"{module}.py", names):
            return f"{package}{module}:{attribute}"
    if package and (attribute := _attribute(folder / "__init__.py", names)):
        return f"{folder.name}:{attribute}"
    return None


def _attribute(path: Path, names: Iterable[str]) -> str | None:
    """The first of `names` that the module sets. One that Python cannot read has it: importing it tells the mistake."""
    try:
        body = ast.parse(path.read_bytes()).body
    except OSError:
        return None
    except (SyntaxError, ValueError):
        return next(iter(names))
    bound = set(_bound(body))
    return next((name for name in names if name in bound), None)


def _bound(statements: Iterable[ast.stmt]) -> Iterator[str]:
    """The names that the statements of a module set; not those of `import name`, which are modules."""
    for statement in statements:
        match statement:
            case ast.Assign(targets=targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.ImportFrom(names=imported):
                yield from (alias.asname or alias.name for alias in imported)
            case ast.If() | ast.Try() | ast.With():
                yield from _bound(_inside(statement))


def _inside(statement: ast.stmt) -> list[ast.stmt]:
    blocks: list[ast.stmt] = [*getattr(statement, "body", []), *getattr(statement, "orelse", [])]
    for handler in getattr(statement, "handlers", []):
        blocks += handler.body
    return blocks + getattr(statement, "finalbody", [])


def _not_found(root: Path, names: Iterable[str]) -> str:
    files = ", ".join(f"{module}.py" for module in MODULES)
    return (
        f"No application is named, and none was found: no {', '.join(names)} in {files} of {root.resolve()}, "
        f"nor in those files of its folder {_USUAL_PACKAGE!r} and its packages."
    )
