"""Headless Chromium, told what to do through its DevTools protocol. Knows no page."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from websockets.sync.client import connect

from tests.interop.programs.program import find
from tests.support.certificates import Issued
from tests.support.deadline import DEADLINE

_LISTENING = re.compile(r"DevTools listening on ws://(\S+?)/")
_OPTIONS = (
    # As root, as in most containers, it cannot build its sandbox. It visits nobody but the test's own server.
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-background-networking "
    "--disable-component-update --remote-debugging-port=0 about:blank"
)


class Browser:
    """`address` is where its DevTools listen."""

    def __init__(self, address: str) -> None:
        self._address = address

    def evaluate(self, url: str, expression: str) -> Any:
        """Opens a page, waits until it has loaded, and gives what a promise there comes to. Fails where it throws."""
        page = httpx.put(f"http://{self._address}/json/new?{url}", timeout=DEADLINE).json()
        with connect(page["webSocketDebuggerUrl"], max_size=None) as tools:
            self._call(tools, 1, "Page.enable")
            self._wait_for_page(tools, url)
            options = {"expression": expression, "awaitPromise": True, "returnByValue": True}
            answer = self._call(tools, 3, "Runtime.evaluate", **options)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def _wait_for_page(self, tools: Any, url: str) -> None:
        """Loads it again, so that its end cannot have been missed."""
        tools.send(json.dumps({"id": 2, "method": "Page.navigate", "params": {"url": url}}))
        while True:
            message = json.loads(tools.recv(timeout=DEADLINE))
            if message.get("id") == 2:
                assert "errorText" not in message["result"], message
            if message.get("method") == "Page.loadEventFired":
                return

    def _call(self, tools: Any, number: int, method: str, **parameters: Any) -> Any:
        tools.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (message := json.loads(tools.recv(timeout=4 * DEADLINE))).get("id") != number:
            pass
        assert "error" not in message, message
        return message["result"]


@contextmanager
def chromium(profile: Path, trusted: Issued) -> Iterator[Browser]:
    """With a profile of its own, and trusting this certificate beside those that it trusts anyway."""
    trust = f"--ignore-certificate-errors-spki-list={_key_hash(trusted)}"
    command = [find("chromium"), f"--user-data-dir={profile}", trust, *_OPTIONS.split()]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Browser(_devtools(process))
        finally:
            process.kill()


def _devtools(process: subprocess.Popen[str]) -> str:
    assert process.stderr
    said = []
    for line in process.stderr:
        said.append(line)
        if match := _LISTENING.search(line):
            return match[1]
    raise AssertionError(f"Chromium ended: {''.join(said)}")


def _key_hash(trusted: Issued) -> str:
    key = trusted.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(key).digest()).decode()
