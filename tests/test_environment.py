"""Variables that begin as ours do and are none of ours."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import Result

from ferricorn.config import OPTIONS, Config
from tests.support.process import StartProcess

SERVICE_LINKS = {
    "FERRICORN_SERVICE_HOST": "10.0.0.1",
    "FERRICORN_SERVICE_PORT": "80",
    "FERRICORN_SERVICE_PORT_HTTP": "80",
    "FERRICORN_PORT": "tcp://10.0.0.1:80",
    "FERRICORN_PORT_80_TCP": "tcp://10.0.0.1:80",
    "FERRICORN_PORT_80_TCP_PROTO": "tcp",
    "FERRICORN_PORT_80_TCP_PORT": "80",
    "FERRICORN_PORT_80_TCP_ADDR": "10.0.0.1",
    "FERRICORN_API_SERVICE_HOST": "10.0.0.1",
    "FERRICORN_API_PORT": "tcp://10.0.0.1:80",
    "UVICORN_PORT": "udp://10.0.0.1:80",
}
"""What a pod finds in a namespace with Services of these names (Kubernetes: "Discovering services")."""


def warnings(result: Result) -> list[str]:
    return [line for line in result.output.splitlines() if line.startswith("Warning")]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("FERRICORN_PROT", "; did you mean FERRICORN_PORT?"),
        ("FERRICORN_HEADER", "; did you mean FERRICORN_HEADERS?"),
        ("FERRICORN_CONFG", "; did you mean FERRICORN_CONFIG?"),
        ("FERRICORN_SOMETHING_ELSE", "."),
    ],
)
def test_a_variable_that_sets_nothing_is_told(run: Callable[..., Result], name: str, hint: str) -> None:
    result = run("main:app", "--check-config", **{name: "1"})
    assert result.exit_code == 0
    assert warnings(result) == [f"Warning: The environment variable {name} is for no option{hint}"]


def test_every_variable_that_is_read_is_known(run: Callable[..., Result]) -> None:
    """An empty one counts as absent, and those of other programs are none of ours."""
    texts = {option.environment: "" for option in OPTIONS}
    texts |= {"FERRICORN_LOG_LEVEL": "debug", "FERRICORN_APP": "main:app", "FERRICORN_PROT": "", "FERRICORNS": "1"}
    assert warnings(run("--check-config", **texts)) == []


def test_what_kubernetes_sets_for_a_service_is_no_option(
    config_of: Callable[..., Config], run: Callable[..., Result]
) -> None:
    assert config_of("main:app", **SERVICE_LINKS) == Config("main:app")
    assert warnings(run("main:app", "--check-config", **SERVICE_LINKS)) == []


def test_a_port_that_is_no_number_is_still_an_error(run: Callable[..., Result]) -> None:
    assert run("main:app", "--check-config", FERRICORN_PORT="http").exit_code == 2


def test_the_log_of_a_server_tells_it_once(start_process: StartProcess) -> None:
    server = start_process("tests.support.apps:hello", environment={"FERRICORN_PROT": "1"}).wait_until_running()
    sentence = "The environment variable FERRICORN_PROT is for no option; did you mean FERRICORN_PORT?"
    assert server.stop() == 0
    assert [line for line in server.lines if "FERRICORN_PROT" in line] == [f"WARNING:  {sentence}"]
