"""What would lower the worst GPU most: changes, each with the KVPR that it would give.

Nothing is estimated: every changed problem is solved, starting from the placement that is there.
The effort is counted, so that a busy machine finds what an idle one does; a time limit only cuts
the list.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from kvplace.core.evaluation.evaluate import Evaluation, evaluate, part_of
from kvplace.core.hardware import Fleet
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import Result
from kvplace.explain.changes import (
    Change,
    Effort,
    another_copy,
    another_degree,
    more_nodes,
    node_kinds,
    smaller_weights,
)
from kvplace.explain.demanded import Demanded, Kind, demanded_of, without, without_models
from kvplace.explain.pressing import another_hour, better_gpu
from kvplace.explain.words import demand_in_words
from kvplace.solver.clock import Watch, Within
from kvplace.solver.solve import solve
from kvplace.solver.strategies.params import ClusterParams, LargeParams, Params
from kvplace.units import format_bytes

HOT_MODELS = 4
"""Models of the worst GPU, those with the most load first, of which changes are tried."""
RULES_TRIED = 12
GAIN = 1e-6
"""Relative gain from which a lever is worth telling."""
EFFORT = Params(
    cluster=ClusterParams(
        passes=1,
        nodes=2_000,
        program_rounds=30,
        turns=5,
        pairs=2.5e5,
        least_pairs=2.5,
        most_pairs=100.0,
    ),
    large=LargeParams(pairs=3e5, least_pairs=2.5, most_pairs=10.0),
)
"""Effort for one changed problem, some fifth of that for a plan."""
FEW_MODELS = 24
LONG = ("configuration-bound", "ejection", "exact-decisions")
"""Stages that are left out with more models: seconds each, for the last percent of a plan."""


@dataclass(frozen=True, slots=True)
class Lever:
    """One change and what it would give.

    Parameters
    ----------
    change
        What is done.
    result
        Of the changed problem: value, bound, placement.
    before
        Value without the change.
    """

    change: Change
    result: Result
    before: float

    @property
    def value(self) -> float:
        """Max KVPR after the change."""
        return self.result.value

    @property
    def gain(self) -> float:
        """Share by which the max KVPR falls."""
        return (self.before - self.value) / self.before if self.before else 0.0


def find_levers(
    problem: Problem,
    placement: Placement,
    watch: Watch | None = None,
    seed: int = 0,
    *,
    before: float | None = None,
) -> tuple[Lever, ...]:
    """Return the changes that lower the max KVPR, the most helpful first.

    To serve a model no longer comes last, however much it would help.

    Parameters
    ----------
    problem
        What is placed.
    placement
        How; it is the start of every search.
    watch
        Clock and interrupt; when it ends, the levers found so far are returned.
    seed
        Of the searches.
    before
        Value that gains are told against; that of the placement where it is None.
    """
    watch = watch or Watch()
    evaluation = evaluate(problem, placement)
    before = evaluation.value if before is None else before
    enough = min(evaluation.value, before) * (1 - GAIN)
    found = []
    for change in _changes(problem, evaluation):
        if watch.stop:
            break
        result = solve(
            change.problem,
            start=_start(change.problem, placement),
            seed=seed,
            watch=Within(watch, hopeless=enough, counted=True),
            without=_left_out(change.problem),
            params=EFFORT,
        )
        if result.value < enough:
            found.append(Lever(change, result, before))
    return tuple(sorted(found, key=_by_help))


def _left_out(problem: Problem) -> tuple[str, ...]:
    """Return the stages that take too long for one change of many."""
    long = LONG if len(problem.names) > FEW_MODELS else ()
    # Of clusters it needs kernels, which a new installation has not compiled yet.
    plain = problem.plain and problem.goal is not Objective.PRESSURE
    return long if plain else (*long, "iterated-local-search")


def _by_help(lever: Lever) -> tuple[bool, float, Effort]:
    """Order changes by what they give, those that give up a service last."""
    effort = lever.change.effort
    return effort is Effort.SERVICE, lever.value, effort


def _start(problem: Problem, placement: Placement) -> Placement | None:
    """Return the placement without what the problem does not have; None where it breaks it."""
    kept = Placement(tuple(r for r in placement if r.model in problem.index_of))
    return kept if evaluate(problem, kept).valid else None


def _changes(problem: Problem, evaluation: Evaluation) -> Iterator[Change]:
    """Yield what could be done about the worst GPU."""
    worst = max(evaluation.gpus, key=lambda gpu: gpu.pressure)
    hot = sorted(worst.shards, key=lambda shard: -part_of(shard, worst))[:HOT_MODELS]
    copies = Counter(
        shard.model for gpu in evaluation.gpus for shard in gpu.shards if shard.index == 0
    )
    for shard in hot:
        index = problem.index_of[shard.model]
        if problem.models[index].replicas.max <= copies[shard.model] < len(problem.allowed(index)):
            yield another_copy(problem, index, copies[shard.model])
        engine = (smaller_weights(problem, index), another_degree(problem, index))
        yield from (change for change in engine if change is not None)
        rest = without_models(problem, {shard.model})
        if rest is not None:
            text = f"leave out {shard.model}"
            yield Change("leave_out", shard.model, text, Effort.SERVICE, rest)
    better = better_gpu(problem, worst)
    if better is not None:
        yield better
    if hot and problem.goal is Objective.PRESSURE:
        later = another_hour(problem, worst, hot[0].model)
        if later is not None:
            yield later
    yield from _hardware(problem)
    yield from _limits(problem, {shard.model for shard in hot})


def _hardware(problem: Problem) -> Iterator[Change]:
    """Yield one more GPU of each type and one more node of each kind."""
    types: set[tuple[str, int]] = set()
    for like in node_kinds(problem.fleet):
        first = like.gpus[0]
        if (first.type, first.usable_bytes) not in types:
            types.add((first.type, first.usable_bytes))
            yield more_nodes(problem, like, single=True)
        if len(like.gpus) > 1:
            yield more_nodes(problem, like)


def _limits(problem: Problem, hot: set[str]) -> Iterator[Change]:
    """Yield the problem without each rule, without limits of hot models, and without reserves."""
    rules = [Demanded(Kind.RULE, f"rules[{index}]", index) for index in range(len(problem.rules))][
        :RULES_TRIED
    ]
    limits = [m for m in demanded_of(problem) if m.kind in (Kind.GPU_TYPES, Kind.MIN_KV)]
    for member in (*rules, *(member for member in limits if member.subject in hot)):
        changed = without(problem, member)
        assert changed is not None
        what = "release the rule" if member.kind is Kind.RULE else "give up"
        text = f"{what}: {demand_in_words(problem, member)}"
        yield Change("release", member.subject, text, Effort.RULE, changed)
    reserved = sum(gpu.reserve_bytes for gpu in problem.fleet.gpus)
    if reserved:
        nodes = tuple(
            replace(node, gpus=tuple(replace(gpu, reserve_bytes=0) for gpu in node.gpus))
            for node in problem.fleet.nodes
        )
        text = f"give up the reserve of all GPUs ({format_bytes(reserved)})"
        changed = replace(problem, fleet=Fleet(nodes))
        yield Change("reserve", "", text, Effort.RULE, changed)
