"""Our own client under a WebSocket scenario. Handshakes, warming up and closing stay outside of what is measured."""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from harness.clients import LOAD, Load, LoadFailedError
from harness.counters import CpuTime
from harness.native import binary
from harness.scenarios import WebSocketScenario

# For connecting, and for the messages that are still on their way when the time is over. Seconds.
_GRACE_SECONDS = 90.0


class WebSocketClient:
    """A client whose connections are open and warm."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def load(self) -> Load:
        """Loads the server. The connections stay open. Raises LoadFailedError."""
        before = CpuTime.of_tree(self._process.pid)
        report: dict[str, Any] = json.loads(self._exchange("\n"))
        cpu = CpuTime.of_tree(self._process.pid) - before
        return Load(
            report["requests"], report["seconds"], report["p50"], report["p99"], cpu.total, report["bytes"], cpu.user
        )

    def _exchange(self, line: str) -> str:
        """Says a line, "" for nothing, and gives the client's next one."""
        if self._process.stdin is None or self._process.stdout is None or self._process.stderr is None:
            raise RuntimeError("started without pipes")
        with suppress(BrokenPipeError):
            self._process.stdin.write(line)
            self._process.stdin.flush()
        if not (answer := self._process.stdout.readline()):
            raise LoadFailedError(f"{LOAD}: {self._process.stderr.read().strip()[-500:] or 'did not end in time'}")
        return answer

    @classmethod
    @contextmanager
    def start(
        cls, scenario: WebSocketScenario, port: int, *, seconds: float, warmup: float, core: int | None
    ) -> Iterator["WebSocketClient"]:
        """Connects and warms up. Raises LoadFailedError."""
        command = _command(scenario, port, seconds=seconds, warmup=warmup)
        pinned = command if core is None else ["taskset", "--cpu-list", str(core), *command]
        pipe = subprocess.PIPE
        with subprocess.Popen(pinned, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
            watchdog = threading.Timer(warmup + seconds + _GRACE_SECONDS, process.kill)
            watchdog.start()
            try:
                client = cls(process)
                client._exchange("")
                yield client
            finally:
                watchdog.cancel()
                process.kill()


def _command(scenario: WebSocketScenario, port: int, *, seconds: float, warmup: float) -> list[str]:
    options = {
        "port": port,
        "websocket": "broadcast" if scenario.broadcast else "echo",
        "connections": scenario.connections,
        "message-bytes": scenario.size,
        "kind": "text" if scenario.text else "binary",
        "deflate": "on" if scenario.deflate else "off",
        "warmup": warmup,
        "seconds": seconds,
        "gate": "on",
    }
    return [str(binary(LOAD)), *(part for name, value in options.items() for part in (f"--{name}", str(value)))]
