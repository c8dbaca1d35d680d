"""Errors in naming the application: one sentence that says what was tried; a traceback only where code has raised."""

from __future__ import annotations

import itertools
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ferricorn.errors import StartupError
from ferricorn.importer import add_to_path, import_object

MakeModule = Callable[[str], str]
_numbers = itertools.count()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeModule]:
    """Writes a module of the given text and gives its name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made: list[str] = []

    def make(text: str) -> str:
        name = f"imported_by_a_test_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(text)
        made.append(name)
        return name

    yield make
    for name in made:
        sys.modules.pop(name, None)


def refusal(target: str) -> StartupError:
    with pytest.raises(StartupError) as caught:
        import_object(target)
    return caught.value


def test_an_attribute_of_an_attribute(module: MakeModule) -> None:
    name = module("class outer:\n    class inner:\n        app = 5\n")
    assert import_object(f"{name}:outer.inner.app") == 5


@pytest.mark.parametrize(
    ("target", "example"),
    [
        ("main", "main:app"),
        ("main:", "main:app"),
        (":app", "main:app"),
        ("", "main:app"),
        ("main.py", "main:app"),
        ("pkg/main.py", "pkg.main:app"),
        ("pkg.main", "pkg.main:app"),
    ],
)
def test_without_an_attribute(target: str, example: str) -> None:
    error = refusal(target)
    assert str(error) == f"Cannot import {target!r}: it must be MODULE:ATTRIBUTE, for example {example!r}."
    assert error.__cause__ is None


def test_no_such_module() -> None:
    error = refusal("no_such_module:app")
    assert str(error).startswith("Cannot import 'no_such_module:app': there is no module 'no_such_module' in ")
    assert error.__cause__ is None


def test_no_such_module_in_a_package() -> None:
    assert "there is no module 'email.nothing' in " in str(refusal("email.nothing:app"))
    assert "there is no module 'nothing.main' (no 'nothing') in " in str(refusal("nothing.main:app"))


def test_a_module_that_imports_what_is_not_there_keeps_its_traceback(module: MakeModule) -> None:
    name = module("x = 1\nimport nowhere_to_be_found\n")
    error = refusal(f"{name}:app")
    assert str(error) == f"Cannot import '{name}:app': importing '{name}' raised ModuleNotFoundError."
    assert isinstance(error.__cause__, ModuleNotFoundError)
    assert error.__cause__.name == "nowhere_to_be_found"
    assert [frame.lineno for frame in traceback.extract_tb(error.__cause__.__traceback__)] == [2]


@pytest.mark.parametrize(
    ("text", "raised"),
    [("1 / 0\n", ZeroDivisionError), ("def (:\n", SyntaxError), ("import sys\nsys.nope\n", AttributeError)],
)
def test_a_module_that_raises_keeps_its_traceback(module: MakeModule, text: str, raised: type[Exception]) -> None:
    name = module(text)
    error = refusal(f"{name}:app")
    assert str(error) == f"Cannot import '{name}:app': importing '{name}' raised {raised.__name__}."
    assert isinstance(error.__cause__, raised)
    assert all("importlib" not in frame.filename for frame in traceback.extract_tb(error.__cause__.__traceback__))


def test_a_missing_attribute_names_what_is_near(module: MakeModule) -> None:
    name = module("application = create_app = 5\n")
    assert str(refusal(f"{name}:aplication")) == (
        f"Cannot import '{name}:aplication': '{name}' has no attribute 'aplication'; did you mean 'application'?"
    )
    assert str(refusal(f"{name}:zzz")) == f"Cannot import '{name}:zzz': '{name}' has no attribute 'zzz'."


def test_a_missing_attribute_of_an_attribute_names_its_owner(module: MakeModule) -> None:
    name = module("class web:\n    app = 5\n")
    assert str(refusal(f"{name}:web.ap")) == (
        f"Cannot import '{name}:web.ap': '{name}:web' has no attribute 'ap'; did you mean 'app'?"
    )


def test_the_current_folder_is_first_in_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/elsewhere"])
    monkeypatch.chdir(tmp_path)
    add_to_path("")
    add_to_path("")
    assert sys.path == [str(tmp_path), "/elsewhere"]
    add_to_path("sub")
    assert sys.path == [str(tmp_path / "sub"), str(tmp_path), "/elsewhere"]
