"""What a placement is worth. The only code that computes pressures and violations.

Bytes are summed as integers and loads with `math.fsum`, which rounds once; so the result does
not depend on the order of models, replicas or GPUs.
"""

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat
from operator import sub

from kvplace.core.evaluation.constraints import Violation, rule_violations, structure_violations
from kvplace.core.evaluation.sums import Rows, Sums, suits, sum_replicas, sum_up
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Assigned, Placement, copies_by_model
from kvplace.core.problem import Problem
from kvplace.units import format_bytes

FEW = 1_000
"""GPUs up to which all are made at once: whoever evaluates few looks at them again and again."""


@dataclass(frozen=True, slots=True)
class Shard:
    """The part of a replica on one GPU.

    Parameters
    ----------
    model, replica, index
        Name of the model, number of the copy, and rank within the copy.
    weights_bytes, min_kv_bytes, load
        What it takes, as in `kvplace.core.derived.needs.ShardNeed`.
    window_loads, time_shares
        Per window, its mean KV bytes in use and the share of the GPU's time that it needs; empty
        where shares of time are not known.
    """

    model: str
    replica: int
    index: int
    weights_bytes: int
    min_kv_bytes: int
    load: float
    window_loads: tuple[float, ...] = ()
    time_shares: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class GPUEvaluation:
    """One GPU under a placement.

    Parameters
    ----------
    id, type, memory_bytes
        The GPU, with its usable memory.
    weights_bytes
        Weights and overheads of its shards.
    load
        Sum of the loads of its shards.
    kvpr
        `kvpr_of` the load and the free memory; ``inf`` where the memory is exceeded. Under the
        objective ``pressure``, the largest of `occupancies`.
    shards
        In the order of the placement.
    occupancies, time_shares
        Per window of the problem, the occupancy of the KV pool and the sum of the shares of the
        GPU's time that its shards need; empty where shares of time are not known.
    timed
        Whether `time_shares` count, as they do under the objective ``pressure``.
    """

    id: str
    type: str
    memory_bytes: int
    weights_bytes: int
    load: float
    kvpr: float
    shards: tuple[Shard, ...]
    occupancies: tuple[float, ...] = ()
    time_shares: tuple[float, ...] = ()
    timed: bool = False

    @property
    def pressure(self) -> float:
        """How full the scarcest resource is: the KVPR, or the largest time share if that counts."""
        return max(self.kvpr, *self.time_shares) if self.timed else self.kvpr

    @property
    def binding(self) -> tuple[str, int]:
        """What is fullest: ``kv`` or ``time``, and the position of its window."""
        pairs = (("kv", self.occupancies), ("time", self.time_shares))
        ranked = [(value, kind, at) for kind, of in pairs for at, value in enumerate(of)]
        _, kind, at = max(ranked, key=lambda entry: entry[0], default=(0, "kv", 0))
        return kind, at

    @property
    def free_bytes(self) -> int:
        """Memory left for the KV pool; negative where the weights exceed the memory."""
        return self.memory_bytes - self.weights_bytes


@dataclass(frozen=True, slots=True, repr=False)
class Evaluation:
    """What a placement is worth.

    Parameters
    ----------
    gpus
        One entry per GPU of the fleet, in the fleet's order.
    violations
        What is wrong with the placement; empty for a valid one.
    preferences
        Soft rules that are broken, each with its tier.
    kvprs, pressures
        KVPR of each GPU, and its pressure: its KVPR, unless time counts as well.
    sums
        What was summed up.
    """

    gpus: Sequence[GPUEvaluation]
    violations: tuple[Violation, ...]
    preferences: tuple[Violation, ...]
    kvprs: Sequence[float] = field(repr=False, compare=False)
    pressures: Sequence[float] = field(repr=False, compare=False)
    sums: Sums = field(repr=False, compare=False)

    def __repr__(self) -> str:
        wrong = f"not valid, {self.violations[0].message}" if self.violations else "valid"
        on = f"{self.busy:,} of {len(self.gpus):,} GPUs busy"
        return f"<Evaluation {wrong}: max {self.quantity} {self.value:.4g}, {on}>"

    @property
    def quantity(self) -> str:
        """What `value` is, for people: ``pressure`` where time counts as well, else ``KVPR``."""
        return "pressure" if len(self.gpus) and self.gpus[0].timed else "KVPR"

    @property
    def busy(self) -> int:
        """Number of GPUs that hold something."""
        return len(self.sums.busy)

    @property
    def occupied(self) -> list[GPUEvaluation]:
        """The GPUs that hold something, in the fleet's order."""
        return [self.gpus[at] for at in self.sums.busy]

    @property
    def value(self) -> float:
        """Pressure of the worst GPU; ``inf`` where the placement is not valid."""
        return math.inf if self.violations else max(self.pressures)

    @property
    def valid(self) -> bool:
        """Whether nothing is violated."""
        return not self.violations

    def profile(self) -> tuple[float, ...]:
        """Return the pressures from the worst GPU to the best: what leximax compares."""
        return tuple(sorted(self.pressures, reverse=True))


def part_of(shard: Shard, gpu: GPUEvaluation) -> float:
    """Return the part of what presses most on a GPU that is one of its shards', from 0 to 1."""
    mine, whole = shard.load, gpu.load
    if gpu.timed:
        kind, at = gpu.binding
        if kind == "time":
            mine, whole = shard.time_shares[at], gpu.time_shares[at]
        else:
            mine = shard.window_loads[at]
            whole = math.fsum(held.window_loads[at] for held in gpu.shards)
    return mine / whole if whole else 0.0


def kvpr_of(load: float, free_bytes: int, memory_unit_bytes: int = 1) -> float:
    """Return the KVPR of one GPU.

    Parameters
    ----------
    load
        Sum of loads.
    free_bytes
        Memory left for KV.
    memory_unit_bytes
        `Objective.memory_unit_bytes`.

    Returns
    -------
    float
        ``load / (free_bytes / memory_unit_bytes)``, and ``inf`` where nothing is left.
    """
    return load / (free_bytes / memory_unit_bytes) if free_bytes > 0 else math.inf


def evaluate(problem: Problem, placement: Placement) -> Evaluation:
    """Compute what a placement is worth, whoever made it.

    A placement that is wrong in any way is evaluated as far as it goes, and the `violations`
    say what is wrong: models lost or unknown, GPUs unknown, memory exceeded, too little KV.
    """
    assigned = placement.replicas
    if isinstance(assigned, Assigned) and suits(problem, assigned):
        return _evaluation(problem, sum_up(problem, assigned.gpu_of), [], [])
    copies = copies_by_model(placement)
    sums, sound = sum_replicas(problem, copies)
    structure = list(structure_violations(problem, copies, sound))
    # Where nothing is wrong so far, no copy is of an unknown model or on an unknown GPU.
    broken = list(rule_violations(problem, placement, None if structure else copies))
    return _evaluation(problem, sums, structure, broken)


def _evaluation(
    problem: Problem,
    sums: Sums,
    structure: list[Violation],
    broken: list[Violation],
) -> Evaluation:
    """Return the evaluation of what is on each GPU; of many, they are made when looked at."""
    gpus, unit = problem.fleet.gpus, problem.goal.memory_unit_bytes
    frees = list(map(sub, problem.fleet.usable_bytes, sums.weights_bytes))
    timed = problem.goal is Objective.PRESSURE
    # The fullest window of a GPU is that of its largest load.
    loads = array("d", map(max, *sums.window_loads, repeat(0.0))) if timed else sums.loads
    kvprs = array("d", map(kvpr_of, loads, frees, repeat(unit)))
    pressures = kvprs
    if timed:
        pressures = array("d", map(max, kvprs, *sums.time_shares))

    def made(at: int) -> GPUEvaluation:
        gpu = gpus[at]
        sum_ = (sums.weights_bytes[at], sums.loads[at], kvprs[at])
        occupancies = tuple(kvpr_of(loads[at], frees[at]) for loads in sums.window_loads)
        shares = tuple(of[at] for of in sums.time_shares)
        named = (gpu.id, gpu.type, gpu.usable_bytes)
        return GPUEvaluation(*named, *sum_, _shards(sums, at), occupancies, shares, timed)

    least = sums.min_kv_bytes
    short = [at for at in sums.busy if frees[at] < (least[at] or 1)]
    violations = (
        *structure,
        *(violation for at in short for violation in _memory_violations(made(at))),
        *(violation for violation in broken if violation.tier is None),
    )
    preferences = tuple(violation for violation in broken if violation.tier is not None)
    rows = Rows(len(gpus), made)
    few = len(gpus) <= FEW
    return Evaluation(tuple(rows) if few else rows, violations, preferences, kvprs, pressures, sums)


def _shards(sums: Sums, gpu: int) -> tuple[Shard, ...]:
    """Return the shards of a GPU."""
    rows, held = sums.rows, sums.held(gpu)
    columns = (map(of.__getitem__, held) for of in rows[1:-1])
    in_use = [tuple([loads[row] for loads, _ in rows.windows]) for row in held]
    time = [tuple([shares[row] for _, shares in rows.windows]) for row in held]
    return tuple(map(Shard, *columns, in_use, time))


def _memory_violations(gpu: GPUEvaluation) -> list[Violation]:
    """Return what is wrong with the memory of a GPU that holds something."""
    if gpu.free_bytes <= 0:
        message = (
            f"{gpu.id} holds {format_bytes(gpu.weights_bytes, 3)} of weights and overhead in "
            f"{format_bytes(gpu.memory_bytes, 3)} usable; more than 0 bytes must stay free"
        )
        return [Violation("memory", gpu.id, message, 1 - gpu.free_bytes)]
    least = sum(shard.min_kv_bytes for shard in gpu.shards)
    if gpu.free_bytes < least:
        message = (
            f"{gpu.id} leaves {format_bytes(gpu.free_bytes, 3)} for KV; its models must be left "
            f"{format_bytes(least, 3)} together (min_kv)"
        )
        return [Violation("min_kv", gpu.id, message, least - gpu.free_bytes)]
    return []
