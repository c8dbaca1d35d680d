"""The files in deploy/ and their page: every option in them exists, and the numbers fit together."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from ferricorn import cli
from ferricorn.config import Config
from tests.support.deadline import DEADLINE

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "systemd" / "ferricorn.service"
NGINX = DEPLOY / "nginx" / "ferricorn.conf"
HAPROXY = DEPLOY / "haproxy" / "haproxy.cfg"
PAGE = ROOT / "docs" / "deployment.md"
CUT = 2.0
"""Seconds that cut requests, or the last words of WebSockets, may take beyond the timeouts."""
MOST_EXPOSED = 20
"""What `systemd-analyze security` may find, in tenths of its 0 (sandboxed) to 10 (unsafe)."""

OF_OTHERS = {
    *("--now", "--kill-whom", "--signal"),
    *("--cap-drop", "--init", "--read-only", "--security-opt", "--stop-timeout", "--tmpfs"),
}
"""Flags of systemctl and of docker."""

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


def our_flags() -> set[str]:
    return {flag for parameter in cli.main.params for flag in (*parameter.opts, *parameter.secondary_opts)}


def comments(path: Path) -> str:
    """The lines that begin with #, as one text."""
    return " ".join(line.lstrip("# ") for line in path.read_text().splitlines() if line.startswith("#"))


def longest_stop(config: Config) -> float:
    """Seconds from SIGTERM to the end of the process."""
    return config.drain_delay + config.timeout_graceful_shutdown + config.timeout_lifespan_shutdown


# --- every file


@pytest.mark.parametrize(
    "path",
    [PAGE, *(path for path in DEPLOY.rglob("*") if path.suffix in {".service", ".conf", ".cfg", ".yaml"})],
    ids=lambda path: path.name,
)
def test_every_option_that_is_named_exists(path: Path) -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", path.read_text()))
    assert named - our_flags() <= OF_OTHERS


def test_the_page_names_every_file() -> None:
    page = PAGE.read_text()
    files = [path for path in DEPLOY.rglob("*") if path.is_file() and "docker" not in path.parts]
    assert len(files) >= 6
    for path in files:
        assert f"../{path.relative_to(ROOT)}" in page


def test_every_link_of_the_page_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", PAGE.read_text()):
        assert target.startswith("https://") or (PAGE.parent / target).exists(), target


# --- systemd


def unit(path: Path = UNIT) -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=True, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text())
    return parser["Service"]


def test_the_service_can_be_started_so(config_of: Callable[..., Config]) -> None:
    service = unit()
    config = config_of(*shlex.split(service["ExecStart"])[1:])
    assert service["Type"] == "notify"
    assert float(service["TimeoutStopSec"]) > longest_stop(config) + CUT
    # An address that is named would go before the socket that systemd passes.
    assert not (config.bind or config.uds or config.fd)
    # SIGHUP, of ExecReload=, is for a parent process.
    assert config.workers is not None


def test_a_wrong_option_is_not_tried_again() -> None:
    assert unit()["RestartPreventExitStatus"] == "2"


@needs_systemd
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    units = [tmp_path / "ferricorn.service", tmp_path / "ferricorn.socket"]
    for path in units:
        text = (DEPLOY / "systemd" / path.name).read_text()
        path.write_text(text.replace("/srv/app/venv/bin/ferricorn", sys.executable))
    verify = subprocess.run(
        ["systemd-analyze", "verify", *map(str, units)], check=False, capture_output=True, text=True, timeout=DEADLINE
    )
    assert (verify.returncode, verify.stdout + verify.stderr) == (0, "")
    command = [
        "systemd-analyze",
        "security",
        "--offline=yes",
        f"--threshold={MOST_EXPOSED}",
        "--no-pager",
        str(units[0]),
    ]
    security = subprocess.run(command, check=False, capture_output=True, text=True, timeout=DEADLINE)
    assert security.returncode == 0, security.stdout


# --- proxies


@pytest.mark.parametrize("path", [NGINX, HAPROXY], ids=lambda path: path.name)
def test_the_proxy_ends_idle_connections_before_the_server(path: Path, config_of: Callable[..., Config]) -> None:
    """Else it would send a request on a connection that is just being closed."""
    part = re.search(r"Ferricorn's part: ((?:--\S+(?: [^-\s]\S*)? ?)+)", comments(path))
    assert part
    config = config_of("main:app", *shlex.split(part[1]))
    pattern = r"keepalive_timeout (\d+)s;" if path is NGINX else r"pool-purge-delay (\d+)s"
    idle = re.search(pattern, path.read_text())
    assert idle
    assert int(idle[1]) + 10 <= config.timeout_keep_alive
    silent = re.search(r"proxy_read_timeout (\d+)s" if path is NGINX else r"timeout tunnel (\d+)s", path.read_text())
    assert silent
    assert int(silent[1]) > config.ws_ping_interval + config.ws_ping_timeout


# --- Kubernetes


def manifests() -> list[dict[str, Any]]:
    texts = [path.read_text() for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))]
    return [manifest for text in texts for manifest in yaml.safe_load_all(text)]


def deployment() -> dict[str, Any]:
    return next(manifest for manifest in manifests() if manifest["kind"] == "Deployment")


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = deployment()["spec"]["template"]["spec"]
    return spec


def container() -> dict[str, Any]:
    only: dict[str, Any]
    [only] = pod()["containers"]
    return only


@pytest.fixture
def served(config_of: Callable[..., Config]) -> Config:
    """What the container's arguments lead to."""
    assert container()["command"] == ["ferricorn"]
    return config_of(*container()["args"])


def failing_seconds(probe: dict[str, Any]) -> float:
    """How long it may take until a probe that fails has its consequence."""
    return float(probe["failureThreshold"] * probe["periodSeconds"] + probe["timeoutSeconds"])


def test_the_probes_ask_where_the_server_answers(served: Config) -> None:
    [port] = container()["ports"]
    assert (served.host, served.port) == ("0.0.0.0", port["containerPort"])
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container()[name]["httpGet"] == {"path": served.health_path, "port": port["name"]}


def test_the_pod_is_not_asked_before_it_stops(served: Config) -> None:
    assert served.drain_delay > failing_seconds(container()["readinessProbe"])


def test_the_pod_gets_the_time_that_its_stop_takes(served: Config) -> None:
    before: float = container()["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod()["terminationGracePeriodSeconds"] > before + longest_stop(served) + CUT


def test_a_slow_start_and_a_busy_minute_are_left_alone(served: Config) -> None:
    assert failing_seconds(container()["startupProbe"]) > 60
    assert failing_seconds(container()["livenessProbe"]) > max(60, served.drain_delay)


def test_the_labels_find_the_pods() -> None:
    labels = deployment()["spec"]["template"]["metadata"]["labels"]
    selectors = {manifest["kind"]: manifest["spec"]["selector"] for manifest in manifests()}
    assert selectors["Service"] == labels
    assert selectors["Deployment"] == selectors["PodDisruptionBudget"] == {"matchLabels": labels}


def test_the_container_may_do_little() -> None:
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    writable = {mount["mountPath"] for mount in container()["volumeMounts"]}
    assert writable == {"/tmp"}
