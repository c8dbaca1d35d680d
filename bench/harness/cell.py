"""One cell of the results: one server under one scenario, once. Knows how to measure, not what it means."""

import time
from dataclasses import dataclass

from harness import clients
from harness.counters import CpuTime, Memory, machine_busy
from harness.process import serve
from harness.scenarios import Scenario
from harness.servers import Target

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
    """Instead of the scenario's own client."""

    def client_of(self, scenario: Scenario) -> str:
        return self.client or scenario.client


@dataclass(frozen=True)
class Cell:
    """CPU per request and latencies in microseconds, memory in KiB, shares of one core."""

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


def measure(scenario: Scenario, target: Target, plan: Plan, round_number: int) -> Cell:
    """Starts the server anew, warms it up, loads it, ends it. Raises ServerFailedError and LoadFailedError."""
    with serve(target, scenario, plan.server_core) as server:
        # The warm-up lasts a fraction of a second, which wrk cannot do.
        clients.run(clients.LOAD, scenario, server.port, plan.warmup, plan.client_core)
        begun, busy, before = time.monotonic(), machine_busy(), CpuTime.of_tree(server.pid)
        load = clients.run(plan.client_of(scenario), scenario, server.port, plan.seconds, plan.client_core)
        spent = CpuTime.of_tree(server.pid) - before
        foreign = machine_busy() - busy - spent.total - load.client_cpu
        wall = time.monotonic() - begun
        memory = Memory.of_tree(server.pid)
    return Cell(
        scenario=scenario.name,
        server=target.label,
        round=round_number,
        requests=load.requests,
        total=spent.total / load.requests * _MICROSECONDS,
        user=spent.user / load.requests * _MICROSECONDS,
        kernel=spent.kernel / load.requests * _MICROSECONDS,
        throughput=load.requests / load.seconds,
        p50=load.p50,
        p99=load.p99,
        rss=memory.rss,
        pss=memory.pss,
        server_busy=spent.total / wall,
        client_busy=load.client_cpu / wall,
        foreign_busy=max(0.0, foreign / wall),
    )
