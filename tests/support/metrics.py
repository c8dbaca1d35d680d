"""Reads metrics as Prometheus does: over a connection of its own, with the parsers of its client library."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from tests.support.client import Address, Client, Response, request
from tests.support.deadline import DEADLINE

OPENMETRICS = b"application/openmetrics-text;version=1.0.0"

_LOOK = 0.02
"""Seconds between two looks at the metrics, while something is waited for."""


class Metrics:
    """The metrics at `address`, by name and labels."""

    def __init__(self, address: Address) -> None:
        self.address = address

    def get(self, target: bytes = b"/metrics", *, method: bytes = b"GET", accept: bytes = b"") -> Response:
        with Client.connect(self.address) as client:
            client.send(request(method, target, [(b"accept", accept)]))
            return client.response(to=method)

    def values(self, *, accept: bytes = b"") -> dict[str, float]:
        """Every sample, by its name with its labels: 'ferricorn_requests_total{method="GET",status="2xx"}'."""
        response = self.get(accept=accept)
        assert response.status == 200, response
        page = response.body.decode()
        parse = openmetrics.text_string_to_metric_families if accept else text_string_to_metric_families
        return {_key(sample.name, sample.labels): sample.value for family in parse(page) for sample in family.samples}

    def value(self, name: str, **labels: str) -> float:
        return self.values()[_key(f"ferricorn_{name}", labels)]

    def wait_for(self, name: str, is_right: Callable[[float], bool], **labels: str) -> float:
        """The value, once it is as it should be: what is counted after the client has its answer."""
        deadline = time.monotonic() + DEADLINE
        while not is_right(value := self.value(name, **labels)):
            assert time.monotonic() < deadline, f"{name}{labels} stays {value}"
            time.sleep(_LOOK)
        return value


def _key(name: str, labels: dict[str, str]) -> str:
    shown = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{shown}}}" if shown else name
