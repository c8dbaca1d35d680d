"""One cell of the results: one server under one scenario, once. Knows how to measure, not what it means."""

import time
from dataclasses import dataclass
from typing import Self

from harness import clients
from harness.clients import Load
from harness.counters import CpuTime, Memory, machine_busy
from harness.h2load import H2LOAD
from harness.process import Running, serve
from harness.scenarios import HttpScenario, Scenario, WebSocketScenario
from harness.servers import Target
from harness.websocket_client import WebSocketClient

_MICROSECONDS = 1e6


@dataclass(frozen=True)
class Plan:
    """How every cell of a run is measured."""

    seconds: float
    warmup: float
    server_core: int | None
    """None: not pinned."""
    client_core: int | None
    client: str | None
    """Instead of an HTTP scenario's own client."""

    def client_of(self, scenario: Scenario) -> str:
        if isinstance(scenario, WebSocketScenario) or scenario.http2 or not scenario.keep_alive:
            return scenario.client
        return self.client or scenario.client


@dataclass(frozen=True)
class Cell:
    """CPU per request, or per message received, and latencies in microseconds, memory in KiB, shares of one core."""

    scenario: str
    server: str
    round: int
    requests: int
    total: float
    user: float
    kernel: float
    throughput: float
    """Responses a second."""
    p50: float
    p99: float
    rss: int
    pss: int
    server_busy: float
    client_busy: float
    foreign_busy: float
    """What the machine did besides: the noise. Of all cores together, so that it may exceed 1."""
    client: float = 0.0
    """CPU of the client per request or message; `client_user` its part that is not the kernel's, of our own client."""
    client_user: float = 0.0
    received: float = 0.0
    """Bytes per response or message, heads included: how well a server compresses."""


@dataclass(frozen=True)
class Gap:
    """A server that has no cell under a scenario, and why, in a word or two."""

    scenario: str
    server: str
    reason: str


@dataclass(frozen=True)
class _Reading:
    """What has been spent up to a moment, in seconds; a difference of two is what was spent in between."""

    wall: float
    machine: float
    server: CpuTime

    @classmethod
    def take(cls, pid: int) -> Self:
        return cls(time.monotonic(), machine_busy(), CpuTime.of_tree(pid))

    def __sub__(self, other: Self) -> Self:
        return type(self)(self.wall - other.wall, self.machine - other.machine, self.server - other.server)


def measure(scenario: Scenario, target: Target, plan: Plan, round_number: int) -> Cell:
    """Starts the server anew, warms it up, loads it, ends it.

    Raises ServerFailedError and LoadFailedError, and NotNegotiatedError where the server does not do what is compared.
    """
    with serve(target, scenario, plan.server_core) as server:
        if isinstance(scenario, WebSocketScenario):
            load, spent, memory = _websocket(scenario, server, plan)
        else:
            load, spent, memory = _http(scenario, server, plan)
    foreign = spent.machine - spent.server.total - load.client_cpu
    return Cell(
        scenario=scenario.name,
        server=target.label,
        round=round_number,
        requests=load.requests,
        total=spent.server.total / load.requests * _MICROSECONDS,
        user=spent.server.user / load.requests * _MICROSECONDS,
        kernel=spent.server.kernel / load.requests * _MICROSECONDS,
        throughput=load.requests / load.seconds,
        p50=load.p50,
        p99=load.p99,
        rss=memory.rss,
        pss=memory.pss,
        server_busy=spent.server.total / spent.wall,
        client_busy=load.client_cpu / spent.wall,
        foreign_busy=max(0.0, foreign / spent.wall),
        client=load.client_cpu / load.requests * _MICROSECONDS,
        client_user=load.client_user / load.requests * _MICROSECONDS,
        received=load.received / load.requests,
    )


def _http(scenario: HttpScenario, server: Running, plan: Plan) -> tuple[Load, _Reading, Memory]:
    # The warm-up lasts a fraction of a second, which wrk cannot do.
    warmer = H2LOAD if scenario.http2 else clients.LOAD
    clients.run(warmer, scenario, server.port, plan.warmup, plan.client_core)
    before = _Reading.take(server.pid)
    load = clients.run(plan.client_of(scenario), scenario, server.port, plan.seconds, plan.client_core)
    return load, _Reading.take(server.pid) - before, Memory.of_tree(server.pid)


def _websocket(scenario: WebSocketScenario, server: Running, plan: Plan) -> tuple[Load, _Reading, Memory]:
    """The memory is that with all connections open."""
    with WebSocketClient.start(
        scenario, server.port, seconds=plan.seconds, warmup=plan.warmup, core=plan.client_core
    ) as client:
        before = _Reading.take(server.pid)
        load = client.load()
        return load, _Reading.take(server.pid) - before, Memory.of_tree(server.pid)
