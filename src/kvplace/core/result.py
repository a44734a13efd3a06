"""Result: a placement with its evaluation, its bound, and why the solver stopped."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from kvplace.core.certificates.balance import RankBound
from kvplace.core.certificates.certificate import Bound
from kvplace.core.certificates.standing import standing_of
from kvplace.core.evaluation.evaluate import Evaluation
from kvplace.core.failure import Failure
from kvplace.core.models.launch import EngineName
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.errors import InputError

OPTIMAL_GAP = 1e-9
"""A certified gap up to this counts as proved optimal: the rounding of floats, nothing more."""


_ROWS = 20
"""GPUs that a notebook shows of a result."""


class Status(StrEnum):
    """What is known of the result.

    ``optimal``: valid, and proved to be within `OPTIMAL_GAP` of the best possible, soft rules
    before the KVPR.
    ``feasible``: valid, with a certified gap. ``infeasible``: proved that no placement is valid.
    ``unknown``: no placement was found and none was proved impossible.
    """

    OPTIMAL = "optimal"
    FEASIBLE = "feasible"
    INFEASIBLE = "infeasible"
    UNKNOWN = "unknown"


class Stop(StrEnum):
    """Why the solver stopped."""

    OPTIMAL = "optimal"  # proved, and the rest balanced as far as the search goes
    GAP = "gap"  # the gap asked for is certified
    LOCAL_OPTIMUM = "local_optimum"  # the algorithm has nothing more to try
    ITERATION_LIMIT = "iteration_limit"
    TIME_LIMIT = "time_limit"  # cut by the clock: not reproducible
    MEMORY_LIMIT = "memory_limit"  # the system gave no more
    INTERRUPTED = "interrupted"
    INFEASIBLE = "infeasible"
    GIVEN = "given"  # nothing was searched: a placement that somebody made


@dataclass(frozen=True, slots=True)
class Step:
    """How far a search was at one time.

    Parameters
    ----------
    seconds
        Since its start.
    value, bound
        Best max KVPR so far, ``inf`` before the first, and best bound proved.
    """

    seconds: float
    value: float
    bound: float


class StageGain(NamedTuple):
    """What one stage of a search brought, in all of its calls together.

    Parameters
    ----------
    name
        Of the stage.
    calls, seconds, steps
        How often it ran, its wall time, and the steps it made.
    lowered
        Factor by which it lowered the value: 0.9 for a tenth; 1 where it changed nothing or found
        the first placement.
    raised
        Factor by which it raised the bound; 1 where it changed nothing or found the first.
    """

    name: str
    calls: int = 0
    seconds: float = 0.0
    steps: int = 0
    lowered: float = 1.0
    raised: float = 1.0

    def added(self, seconds: float, steps: int, lowered: float, raised: float) -> "StageGain":
        """Return the gain with one more call in it."""
        return StageGain(
            self.name,
            self.calls + 1,
            self.seconds + seconds,
            self.steps + steps,
            self.lowered * lowered,
            self.raised * raised,
        )


@dataclass(frozen=True, slots=True, repr=False)
class Result:
    """What a solver found and what is proved about it.

    Parameters
    ----------
    problem
        What was solved.
    placement
        The best placement found; None where none was.
    evaluation
        Its evaluation by `kvplace.core.evaluation`; None where there is no placement.
    proof
        The lower bound with its evidence.
    stop
        Why the solver stopped.
    solver
        Its name.
    seed
        Seed of its random choices.
    iterations
        Improving steps and kicks made.
    seconds
        Wall time.
    progress
        How value and bound came together, oldest first; empty where that was not recorded.
    stages
        What each stage of the search brought, in the order of their first calls; empty for a
        result that was read from a file.
    kv_parts
        Bytes of each GPU's KV memory that engines have and are to keep where they share a GPU by
        fixed parts, by model and number of the copy; exports make the others.
    ranks
        How many GPUs, from the worst on, are proved to be the best by leximax: with the GPUs
        before it no worse, none of them can be better by more than `OPTIMAL_GAP`. 0 where not
        even the worst is proved.
    engine_names
        Labels and ports that engines have and are to keep, by model and number of the copy;
        exports make the others.
    failures
        What becomes of the placement in each failure that it was to leave room for; empty where
        no failure was looked at, and for a result that was read from a file.
    balance
        What is proved of some GPUs after the worst: the pressure that each is at least at, where
        the worst is no worse. Empty for small fleets.
    """

    problem: Problem
    placement: Placement | None
    evaluation: Evaluation | None
    proof: Bound
    stop: Stop
    solver: str
    seed: int
    iterations: int
    seconds: float
    progress: tuple[Step, ...] = field(default=(), compare=False)
    stages: tuple[StageGain, ...] = field(default=(), compare=False)
    kv_parts: Mapping[tuple[str, int], int] = field(default_factory=dict, compare=False)
    ranks: int = 0
    engine_names: Mapping[tuple[str, int], EngineName] = field(default_factory=dict, compare=False)
    failures: tuple[Failure, ...] = field(default=(), compare=False)
    balance: tuple[RankBound, ...] = field(default=(), compare=False)

    @property
    def value(self) -> float:
        """KVPR of the worst GPU; ``inf`` where there is no placement."""
        return self.evaluation.value if self.evaluation else math.inf

    @property
    def bound(self) -> float:
        """No placement has a smaller value."""
        return self.proof.value

    @property
    def gap(self) -> float:
        """``(value - bound) / bound``: 0 at a proved optimum, ``inf`` where nothing is known."""
        return relative_gap(self.value, self.bound)

    @property
    def status(self) -> Status:
        """What is known."""
        if self.placement is None:
            return Status.INFEASIBLE if math.isinf(self.bound) else Status.UNKNOWN
        assert self.evaluation is not None
        return status_of(self.problem, self.evaluation, self.proof)

    def to_dict(self) -> dict[str, Any]:
        """Return what was found as plain data; `kvplace.write_plan` gives the whole plan."""
        gpus = self.evaluation.gpus if self.evaluation else ()
        return {
            "status": self.status.value,
            "stop": self.stop.value,
            "objective": self.problem.goal.value,
            "value": self.value,
            "bound": self.bound,
            "gap": self.gap,
            "ranks": self.ranks,
            "pressures": {gpu.id: gpu.pressure for gpu in gpus},
            "placements": [
                {"model": replica.model, "replica": replica.index, "gpus": list(replica.gpus)}
                for replica in self.placement or ()
            ],
            "solver": self.solver,
            "seed": self.seed,
            "iterations": self.iterations,
            "seconds": self.seconds,
        }

    def __repr__(self) -> str:
        models, gpus = len(self.problem.models), len(self.problem.fleet.gpus)
        return (
            f"<Result {self.status.value}: {models} models on {gpus} GPUs, "
            f"value {self.value:.4g}, bound {self.bound:.4g}, stop {self.stop.value}>"
        )

    def _repr_html_(self) -> str:
        """Return a table of the GPUs under most pressure, for notebooks."""
        from html import escape  # noqa: PLC0415 - only in a notebook

        worst = sorted(
            self.evaluation.gpus if self.evaluation else (), key=lambda gpu: -gpu.pressure
        )
        rows = "".join(
            f"<tr><td>{escape(gpu.id)}</td><td>{gpu.pressure:.4g}</td><td>"
            f"{escape(', '.join(dict.fromkeys(shard.model for shard in gpu.shards)))}</td></tr>"
            for gpu in worst[:_ROWS]
        )
        more = f"<p>and {len(worst) - _ROWS} more GPUs</p>" if len(worst) > _ROWS else ""
        head = "<tr><th>GPU</th><th>pressure</th><th>models</th></tr>"
        return f"<p>{escape(repr(self))}</p><table>{head}{rows}</table>{more}"


def what_runs(
    problem: Problem | Result, placement: Placement | Result | None
) -> tuple[Problem, Placement]:
    """Return a problem and where its models run.

    Parameters
    ----------
    problem
        The problem; or a result, which stands for its own.
    placement
        Where its models run; or a result, which stands for its own. None for that of the result
        that stands for the problem.

    Raises
    ------
    InputError
        The result has no placement.
    TypeError
        There is a problem alone.
    """
    if placement is None:
        if not isinstance(problem, Result):
            raise TypeError(
                "a problem alone does not say what runs where; give a placement beside it, or the "
                "Result that kvplace.solve(problem) returns in place of both"
            )
        placement = problem
    return (
        problem.problem if isinstance(problem, Result) else problem,
        placed(placement) if isinstance(placement, Result) else placement,
    )


def placed(result: Result) -> Placement:
    """Return the placement of a result that must have one.

    Raises
    ------
    InputError
        It has none.
    """
    if result.placement is None:
        raise InputError("this plan places nothing")
    return result.placement


def evaluated(result: Result) -> Evaluation:
    """Return the evaluation of a result that must have a placement.

    Raises
    ------
    InputError
        It has none.
    """
    if result.evaluation is None:
        raise InputError("this plan places nothing")
    return result.evaluation


def status_of(problem: Problem, evaluation: Evaluation, proof: Bound) -> Status:
    """Return the status of a valid placement under what is proved.

    Where soft rules are broken, it must be proved as well that they cannot be kept better.
    """
    closed = relative_gap(evaluation.value, proof.value) <= OPTIMAL_GAP
    kept = not evaluation.preferences
    if closed and not kept:
        kept = standing_of(problem, evaluation).breaches == proof.breaches
    return Status.OPTIMAL if closed and kept else Status.FEASIBLE


def relative_gap(value: float, bound: float) -> float:
    """Return ``(value - bound) / bound``, never negative.

    0 where both are 0; ``inf`` where only the bound is 0 or there is no value.
    """
    if value <= bound:
        return 0.0
    return (value - bound) / bound if bound > 0 else math.inf
