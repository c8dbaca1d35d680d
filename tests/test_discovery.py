"""`ferricorn` without an application: which one it takes, and what it says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from ferricorn import discovery
from ferricorn.config import Config

APP = "async def app(scope, receive, send): ...\n"
APPLICATION = "application = get_asgi_application()\n"
FACTORY = "def create_app():\n    app = 5\n    return app\n"


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


FOUND: list[tuple[dict[str, str], str]] = [
    ({"main.py": APP, "app.py": APP, "api.py": APP}, "main:app"),
    ({"api.py": APP, "app.py": APP}, "app:app"),
    ({"api.py": APP, "asgi.py": APPLICATION}, "api:app"),
    ({"asgi.py": APPLICATION}, "asgi:application"),
    ({"asgi.py": APP}, "asgi:app"),
    ({"main.py": "api = 1\napplication = 2\n"}, "main:application"),
    ({"main.py": "application = app = 2\n"}, "main:app"),
    ({"main.py": "import app\n", "app.py": APP}, "app:app"),
    ({"main.py": "from web import site as app\n"}, "main:app"),
    ({"main.py": "app: Any\n", "api.py": "app: Any = 5\n"}, "api:app"),
    ({"main.py": "def f():\n    app = 5\n", "app.py": APP}, "app:app"),
    ({"main.py": "try:\n    import fast\nexcept ImportError:\n    app = 5\n"}, "main:app"),
    ({"main.py": "if DEBUG:\n    pass\nelse:\n    with open(path):\n        app = 5\n"}, "main:app"),
    ({"main.py": "# -*- coding: latin-1 -*-\napp = 5\n"}, "main:app"),
    ({"main.py": "print(\n", "app.py": APP}, "main:app"),
    ({"main.py": FACTORY}, "main:create_app"),
    ({"main.py": FACTORY + APP}, "main:app"),
    ({"app/main.py": APP, "shop/__init__.py": "", "shop/main.py": APP}, "app.main:app"),
    ({"app/__init__.py": APP}, "app:app"),
    ({"app/__init__.py": APP, "app/api.py": APP}, "app.api:app"),
    ({"shop/__init__.py": "", "shop/asgi.py": APPLICATION, "manage.py": ""}, "shop.asgi:application"),
    ({"main.py": "", "docs/main.py": APP, "shop/__init__.py": "", "shop/main.py": APP}, "shop.main:app"),
    ({"no-name/__init__.py": APP, "shop/__init__.py": APP}, "shop:app"),
]


@pytest.mark.parametrize(("files", "target"), FOUND, ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_found(tmp_path: Path, files: dict[str, str], target: str) -> None:
    write(tmp_path, files)
    assert discovery.find(str(tmp_path), factory=False) == target


def test_a_factory_is_looked_for_first_where_one_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path, {"main.py": APP + FACTORY})
    assert discovery.find(str(tmp_path), factory=True) == "main:create_app"


def test_nothing_is_imported(tmp_path: Path) -> None:
    write(tmp_path, {"main.py": "raise SystemExit\n" + APP, "app.py": APP})
    assert discovery.find(str(tmp_path), factory=False) == "main:app"


def test_where_nothing_is_found_it_says_what_was_looked_for(run: Callable[..., Result], tmp_path: Path) -> None:
    write(tmp_path, {"main.py": "", "docs/app.py": APP})
    result = run()
    assert result.exit_code == 2
    assert result.output.splitlines()[-1] == (
        "Error: No application is named, and none was found: "
        "no app, application, api, create_app, make_app, get_app in "
        f"main.py, app.py, api.py, asgi.py, application.py, server.py of {tmp_path}, "
        "nor in those files of its folder 'app' and its packages."
    )


def test_of_several_packages_none_is_guessed(run: Callable[..., Result], tmp_path: Path) -> None:
    write(tmp_path, {"b/__init__.py": APP, "a/__init__.py": "", "a/asgi.py": APPLICATION, "c/__init__.py": ""})
    result = run()
    assert result.exit_code == 2
    sentence = f"Error: Which application is meant? There are a.asgi:application and b:app in {tmp_path}."
    assert result.output.splitlines()[-1] == sentence


def test_it_is_looked_for_in_the_folder_of_the_application(config_of: Callable[..., Config], tmp_path: Path) -> None:
    write(tmp_path, {"src/api.py": FACTORY + APP, "main.py": APP})
    assert config_of("--app-dir", "src", "--factory").app == "api:create_app"


@pytest.mark.parametrize("where", ["command line", "environment", "file"])
def test_what_is_named_is_not_looked_for(config_of: Callable[..., Config], tmp_path: Path, where: str) -> None:
    write(tmp_path, {"main.py": APP})
    if where == "file":
        write(tmp_path, {"ferricorn.toml": "app = 'other:app'"})
    arguments = ["other:app"] if where == "command line" else []
    variables = {"FERRICORN_APP": "other:app"} if where == "environment" else {}
    assert config_of(*arguments, **variables).app == "other:app"


def test_the_log_says_which_one_was_taken(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"asgi.py": "application = 5\n"})
    monkeypatch.delitem(sys.modules, "asgi", raising=False)
    result = run("--port", "0")
    assert result.exit_code == 3
    assert result.output.splitlines()[0] == "INFO:     No application is named: serving asgi:application"


def test_print_config_says_that_it_was_found(run: Callable[..., Result], tmp_path: Path) -> None:
    write(tmp_path, {"main.py": APP})
    line = run("--print-config").output.splitlines()[0]
    assert (line.split(" #")[0].strip(), line.split("# ")[1]) == ('app = "main:app"', "found")
