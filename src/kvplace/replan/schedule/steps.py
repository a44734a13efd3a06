"""Steps and schedules: what is done to turn one placement into another, in which order."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

from kvplace.core.placement import Replica


class StepKind(StrEnum):
    """What a step does.

    ``load``
        Start the engine and load the weights; it serves nobody yet.
    ``switch``
        Lead requests to the new copies, and no longer to those they take the place of.
    ``drain``
        Send a copy no more requests and wait for those that it has.
    ``unload``
        Stop the engine; its memory is free.
    ``sleep``
        Take weights and KV off the GPUs and keep the process, where the runtime can do that.
    ``wake``
        Bring them back; it serves nobody yet.
    """

    LOAD = "load"
    SWITCH = "switch"
    DRAIN = "drain"
    UNLOAD = "unload"
    SLEEP = "sleep"
    WAKE = "wake"


class Unit(StrEnum):
    """What a runtime starts and stops as one.

    ``engine``: each by itself. ``pod``: those of the GPUs that engines tie together. ``node``: all
    of a node. ``fleet``: all.
    """

    ENGINE = "engine"
    POD = "pod"
    NODE = "node"
    FLEET = "fleet"


@dataclass(frozen=True, slots=True)
class Pricing:
    """What steps take. The defaults are estimates, to be replaced by measurements.

    Parameters
    ----------
    load_bytes_per_second
        Rate at which one engine loads weights from disk or network onto one GPU. Default: 2 GiB/s,
        what one NVMe disk gives.
    read_bytes_per_second
        Rate at which a node reads weights from its disk or the network, all its loads together;
        infinite where that is never what a load waits for.
    start_seconds
        What a start takes besides loading: imports and profiling. Default: 45 s, with the capture
        of graphs.
    graph_seconds
        What the capture of graphs takes beside that.
    drain_seconds
        Time that requests in flight are given. Default: 30 s.
    unload_seconds
        Time until a stopped engine's memory is free. Default: 5 s.
    loads_per_node
        Most engines of a node that load at a time.
    unit
        What starts and stops as one.
    fixed_parts
        Whether an engine holds a fixed part of the KV memory, so that neighbours of whoever comes
        start again with less.
    in_place
        Whether a replica that moves stops before it starts elsewhere.
    sleep
        Level at which copies that leave sleep until all else is done, so that the way back is
        quick: 1 keeps weights in the node's memory, 2 reads them again; 0: they stop at once.
    offload_bytes_per_second
        Rate at which weights go from one GPU to the node's memory. Default: 1.8 GiB/s, measured
        for 75 GiB that sleep for the first time (imokuri.com, vLLM Sleep Mode, October 2025).
    wake_seconds
        What it takes to wake, of level 2 besides loading. Default: 6 s, the longest of 0.1 to 6 s
        that are published for models up to 235B (blog.vllm.ai, 2025-10-26).
    """

    load_bytes_per_second: float = 2.0 * 2**30
    read_bytes_per_second: float = math.inf
    start_seconds: float = 45.0
    graph_seconds: float = 0.0
    drain_seconds: float = 30.0
    unload_seconds: float = 5.0
    loads_per_node: int = 2
    unit: Unit = Unit.ENGINE
    fixed_parts: bool = False
    in_place: bool = False
    sleep: int = 0
    offload_bytes_per_second: float = 1.8 * 2**30
    wake_seconds: float = 6.0

    def load_seconds(self, bytes_per_gpu: int, gpus: int = 1) -> float:
        """Return how long one engine takes from its start until it can serve.

        Its GPUs load at once; what the node reads is shared by as many loads as there may be.
        """
        link = bytes_per_gpu / self.load_bytes_per_second
        disk = bytes_per_gpu * gpus * self.loads_per_node / self.read_bytes_per_second
        return self.start_seconds + self.graph_seconds + max(link, disk)

    def sleep_seconds(self, bytes_per_gpu: int) -> float:
        """Return how long one engine takes until its memory is free and it sleeps."""
        keeps = bytes_per_gpu / self.offload_bytes_per_second if self.sleep == 1 else 0.0
        return max(self.unload_seconds, keeps)

    def waking_seconds(self, bytes_per_gpu: int, gpus: int = 1) -> float:
        """Return how long one engine takes until it can serve again."""
        if self.sleep == 1:
            return self.wake_seconds
        started = self.start_seconds + self.graph_seconds
        return self.wake_seconds + self.load_seconds(bytes_per_gpu, gpus) - started


RUNTIMES: dict[str, tuple[Unit, bool]] = {
    "compose": (Unit.ENGINE, False),
    "kubernetes": (Unit.POD, False),
    "kvcached": (Unit.ENGINE, False),
    "aibrix": (Unit.ENGINE, False),
    "ray-serve": (Unit.FLEET, True),
    "llama-swap": (Unit.NODE, False),
    "shell": (Unit.NODE, False),
}
"""Runtimes, each with what it starts as one and whether a move is made in place: as the files that
``kvplace export`` writes for it behave. Ray Serve starts all deployments of an application again
where any argument of it changes, which is part of their version (Ray 2.60,
serve/_private/deploy_utils.py, get_app_code_version; seen so on a real cluster)."""
SLEEPERS = {"compose": (1, 2), "kvcached": (1, 2), "aibrix": (1,)}
"""Runtimes that stop one engine by itself, with the levels at which it can sleep instead: vLLM's
``POST /sleep`` has both, and AIBrix's runtime wakes without reading weights again
(aibrix 0.8.0, runtime/model_runtime.py)."""
POOLED = ("kvcached", "aibrix")
"""Runtimes whose engines share the KV memory of a GPU whatever is asked."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do.

    Parameters
    ----------
    number
        From 1, in an order in which steps may be done one by one.
    kind
        What it is.
    replicas
        Whom it concerns: of a switch, the copies that begin to serve.
    replaced
        Of a switch, the copies that end to serve.
    after
        Numbers of the steps that must be done before; steps of which none waits for the other
        may be done at once.
    seconds
        How long it takes, estimated from `Pricing`.
    begins_seconds
        When it begins, counted from the first step, where all begin as early as they may.
    loaded_bytes
        Weights that are read, over all GPUs of the replica.
    level
        Of a sleep and a wake: how deep, as `Pricing.sleep` says.
    """

    number: int
    kind: StepKind
    replicas: tuple[Replica, ...]
    replaced: tuple[Replica, ...] = ()
    after: tuple[int, ...] = ()
    seconds: float = 0.0
    begins_seconds: float = 0.0
    loaded_bytes: int = 0
    level: int = 0

    @property
    def ends_seconds(self) -> float:
        """When it ends."""
        return self.begins_seconds + self.seconds


@dataclass(frozen=True, slots=True)
class Pause:
    """A time in which a replica serves nobody: stopped first, started later.

    Parameters
    ----------
    model, index
        The replica.
    seconds
        From the end of its drain to the switch to its new place.
    others
        Copies of the model that serve meanwhile, at least; 0 means that the model is down.
    """

    model: str
    index: int
    seconds: float
    others: int


@dataclass(frozen=True, slots=True)
class Restarts:
    """Engines that start again although they stay, because of what changes beside them.

    Parameters
    ----------
    replicas
        They.
    loaded_bytes
        Weights that they read again.
    downtime_seconds
        Sum of the times in which a model is without a serving copy meanwhile, estimated.
    down
        Those models.
    """

    replicas: tuple[Replica, ...] = ()
    loaded_bytes: int = 0
    downtime_seconds: float = 0.0
    down: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Schedule:
    """A safe order of steps, or why there is none.

    Parameters
    ----------
    steps
        By number; empty where nothing is to be done, or nothing can be.
    pauses
        What is stopped before it is started again.
    parked
        Replicas that go to their place by way of another.
    found
        Whether there is an order.
    reason
        Why there is none, or why something pauses or is parked; empty where all is plain.
    proved
        Whether `reason` is proved by an exhaustive search, and not only what a search ended with.
    restarts
        What starts again although it stays.
    """

    steps: tuple[Step, ...] = ()
    pauses: tuple[Pause, ...] = ()
    parked: tuple[Replica, ...] = ()
    found: bool = True
    reason: str = ""
    proved: bool = field(default=False)
    restarts: Restarts = field(default=Restarts())

    @property
    def seconds(self) -> float:
        """How long all of it takes, estimated."""
        return max((step.ends_seconds for step in self.steps), default=0.0)

    @property
    def downtime_seconds(self) -> float:
        """Sum of the times in which a model is without a serving copy, estimated."""
        paused = sum(pause.seconds for pause in self.pauses if not pause.others)
        return paused + self.restarts.downtime_seconds

    @property
    def loaded_bytes(self) -> int:
        """Weights that are read."""
        return sum(step.loaded_bytes for step in self.steps) + self.restarts.loaded_bytes
