"""Among plans within a stated part of the best pressure, one on fewer, cheaper or thriftier GPUs.

Load spreads over every GPU that there is: that is what lowers the worst of them. Where a little
more pressure is acceptable, GPUs can be left idle. A plan is made first that knows nothing of this.
GPUs are then kept free, kind by kind, as long as a plan on the others stays within the limit.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache, partial
from itertools import accumulate

from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.hardware import GPU, Fleet
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import Result, Stop
from kvplace.core.rules.places import Places
from kvplace.core.rules.reserve import Reserve
from kvplace.errors import Fault, InputError
from kvplace.facts.catalogue.gpus import find_gpu_type, price_of
from kvplace.size.answer import PROVED
from kvplace.size.floor import ROUNDING, least_sums
from kvplace.solver.clock import Watch, Within
from kvplace.solver.solve import solve

_BEST_SHARE = 0.4
"""Share of a time limit for the plan that the part is counted from."""
_QUESTION_SHARE = 0.2
"""Share of what is left for one question whether fewer GPUs are enough."""
_LAST_SHARE = 0.6
"""The same once fewer GPUs were not found in such a time, for one GPU less than was found."""
_LEAST_SECONDS = 0.2


class Saving(StrEnum):
    """What is to be as little as can be.

    ``gpus``
        GPUs that hold something.
    ``cost``
        What these cost per hour.
    ``power``
        What these draw at most, in watts: their rated power.
    """

    GPUS = "gpus"
    COST = "cost"
    POWER = "power"


@dataclass(frozen=True, slots=True)
class Fewer:
    """A plan that leaves GPUs idle, and what that saves.

    Parameters
    ----------
    result
        The plan, of the problem that was given.
    best
        The plan that knows nothing of saving.
    saving, within
        What was asked for.
    limit
        Highest pressure allowed: that of `best` and the part on top.
    spent, spent_before
        GPUs, cost per hour or watts of the GPUs that hold something, of `result` and of `best`.
    least
        No plan within the limit takes less.
    proof
        What that rests on: ``sums``, or ``search`` where the solver proved that one GPU less is
        too few.
    idle
        GPUs that hold nothing, in the order of the fleet.
    """

    result: Result
    best: Result
    saving: Saving
    within: float
    limit: float
    spent: float
    spent_before: float
    least: float
    proof: str
    idle: tuple[str, ...]

    @property
    def proved(self) -> bool:
        """Whether nothing takes less."""
        return self.least >= self.spent * (1 - PROVED)


def costs_of(
    problem: Problem, saving: Saving, prices: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Return what each GPU counts for.

    Parameters
    ----------
    problem
        With its fleet.
    saving
        What is counted.
    prices
        Per hour by type, before those that the fleet states.

    Raises
    ------
    InputError
        A price or a power is not known: each type that lacks it.
    """
    meant = cache(find_gpu_type)
    price_at = cache(partial(price_of, prices or {}))
    found: dict[str, float] = {}
    missing: dict[str, None] = {}
    for gpu in problem.fleet.gpus:
        known: float | None = 1.0
        if saving is Saving.COST:
            stated = price_at(gpu.type)
            known = gpu.price_per_hour if stated is None else stated
        elif saving is Saving.POWER:
            listed = meant(gpu.type)
            known = gpu.watts or (None if listed is None else listed.tdp_watts)
        if known is None:
            missing[gpu.type] = None
        else:
            found[gpu.id] = known
    if missing:
        what, key = ("price", "price_per_hour") if saving is Saving.COST else ("power", "watts")
        where = " in the fleet file" + (", or name --prices" if saving is Saving.COST else "")
        raise InputError(
            [
                Fault(f"the {what} of {kind!r} is not known; give its GPUs {key}{where}")
                for kind in missing
            ]
        )
    return found


def solve_fewer(
    problem: Problem,
    saving: Saving | str = Saving.GPUS,
    *,
    within: float = 0.05,
    prices: Mapping[str, float] | None = None,
    time_limit: float | str | None = None,
    gap: float = 0.0,
    seed: int = 0,
    iterations: int | None = None,
    watch: Watch | None = None,
) -> Fewer:
    """Find a plan within a part of the best pressure that takes fewer, cheaper or thriftier GPUs.

    Parameters
    ----------
    problem
        What to place on what.
    saving
        What is to be as little as can be.
    within
        Part of the best pressure found by which the plan's may be higher: 0.05 for 5 %.
    prices
        Per hour by GPU type; by default what the fleet states.
    time_limit, gap, seed, iterations, watch
        As in `kvplace.solve`.

    Returns
    -------
    Fewer
        The saving is proved where `Fewer.proved` says so. Sums of memory and time prove how little
        is too little; on a fleet of GPUs that are all alike, without rules and tensor parallelism,
        so does the solver.

    Raises
    ------
    InputError
        No such saving, `within` is negative, or what a GPU counts for is not known.
    """
    if saving not in list(Saving):
        raise InputError(f"{saving!r} is no saving; choose one of {', '.join(Saving)}")
    if not 0 <= within < math.inf:
        raise InputError(f"within is {within!r}; it must be finite and at least 0")
    saving, watch = Saving(saving), watch or Watch(time_limit)
    costs = costs_of(problem, saving, prices)
    seconds = None if math.isinf(watch.left) else _BEST_SHARE * watch.left
    watch.tell("the best pressure")
    best = solve(problem, gap=gap, seed=seed, iterations=iterations, watch=Within(watch, seconds))
    if best.placement is None:
        return Fewer(best, best, saving, within, math.inf, math.inf, math.inf, 0.0, "sums", ())
    limit = best.value * (1 + within)
    search = _Search(problem, costs, limit, best.placement, seed, iterations, watch)
    search.run()
    evaluation = evaluate(problem, search.placement)
    result = best
    if search.placement is not best.placement:
        result = replace(
            best, placement=search.placement, evaluation=evaluation, stop=Stop.LOCAL_OPTIMUM,
            progress=(), seconds=watch.seconds, ranks=0, balance=(),
        )  # fmt: skip
    idle = tuple(gpu.id for gpu in evaluation.gpus if not gpu.shards)
    least, proof = search.least()
    spent, before = search.cost(search.placement), search.cost(best.placement)
    return Fewer(result, best, saving, within, limit, spent, before, min(least, spent), proof, idle)


class _Search:
    """Keeps GPUs free, kind by kind.

    Parameters
    ----------
    problem, costs, limit
        What is placed, what each GPU counts for, and the highest pressure allowed.
    placement
        A plan within the limit.
    seed, iterations, watch
        Of the plans that are tried.
    """

    def __init__(
        self,
        problem: Problem,
        costs: Mapping[str, float],
        limit: float,
        placement: Placement,
        seed: int,
        iterations: int | None,
        watch: Watch,
    ) -> None:
        self._problem, self._costs, self._limit = problem, costs, limit
        self._seed, self._iterations, self._watch = seed, iterations, watch
        self.placement = placement
        self._kinds = _kinds(problem, costs)
        self._too_few = 0
        self._needs = least_sums(problem, limit)
        alike = len(self._kinds) == 1 and not problem.rules
        self._symmetric = alike and all(model.tensor_parallel == (1,) for model in problem.models)

    def cost(self, placement: Placement) -> float:
        """Return what the GPUs count for that hold something."""
        used = {gpu for replica in placement for gpu in replica.gpus}
        return math.fsum(self._costs[gpu] for gpu in used)

    def run(self) -> None:
        """Keep as many GPUs free as is found, the dear kinds first, then the cheap ones first."""
        for order in (1, -1) if len(self._kinds) > 1 else (1,):
            counts = [len(kind) for kind in self._kinds]
            for at in range(len(self._kinds))[::order]:
                self._shrink(counts, at)
        self._use_time_left()

    def _use_time_left(self) -> None:
        """Ask again for one GPU less of a kind, with more time than the first questions had."""
        if math.isinf(self._watch.left):
            return
        used = {gpu for replica in self.placement for gpu in replica.gpus}
        counts = [sum(gpu.id in used for gpu in kind) for kind in self._kinds]
        for at in range(len(counts)):
            while counts[at] > self._fewest(counts, at) and not self._watch.stop:
                fewer = [*counts[:at], counts[at] - 1, *counts[at + 1 :]]
                if not self._enough(fewer, _LAST_SHARE):
                    break
                counts = fewer

    def _shrink(self, counts: list[int], at: int) -> None:
        """Halve what is open between too few GPUs of one kind and enough of them."""
        low, high = self._fewest(counts, at) - 1, counts[at]
        while high - low > 1 and not self._watch.stop:
            middle = (low + high) // 2
            kept = [*counts[:at], middle, *counts[at + 1 :]]
            low, high = (low, middle) if self._enough(kept) else (middle, high)
        counts[at] = high

    def _fewest(self, counts: Sequence[int], at: int) -> int:
        """Return how many GPUs of a kind sums admit beside the others that are kept."""
        fewest = 0
        for needed, room in self._needs:
            rooms = [room(kind[0]) for kind in self._kinds]
            there = sum(n * one for n, one in zip(counts, rooms, strict=True))
            missing = needed - (there - counts[at] * rooms[at])
            fewest = max(fewest, math.ceil(missing / rooms[at] * (1 - ROUNDING)))
        return min(fewest, counts[at])

    def _enough(self, counts: Sequence[int], share: float = _QUESTION_SHARE) -> bool:
        """Whether a plan within the limit is found on the first GPUs of each kind."""
        kept = {gpu.id for n, kind in zip(counts, self._kinds, strict=True) for gpu in kind[:n]}
        part = _only(self._problem, kept)
        if part is None:
            return False
        left = self._watch.left * share
        seconds = None if math.isinf(left) else max(_LEAST_SECONDS, left)
        self._watch.tell(f"on {len(kept):,} GPUs")
        found = solve(
            part, seed=self._seed, iterations=self._iterations,
            watch=Within(self._watch, seconds, enough=self._limit, hopeless=self._limit),
        )  # fmt: skip
        if found.bound > self._limit * (1 + PROVED) and self._symmetric:
            self._too_few = max(self._too_few, counts[0])
        if found.placement is None or found.value > self._limit:
            return False
        whole = evaluate(self._problem, found.placement)
        if whole.violations or whole.value > self._limit:
            return False
        if self.cost(found.placement) < self.cost(self.placement) * (1 - PROVED):
            self.placement = found.placement
        return True

    def least(self) -> tuple[float, str]:
        """Return what any plan within the limit takes at least, and what proves it."""
        gpus = self._problem.fleet.gpus
        costs = [self._costs[gpu.id] for gpu in gpus]
        least, count = 0.0, 0
        for needed, room in self._needs:
            missing, cost = needed * (1 - ROUNDING), 0.0
            for gpu, price in sorted(
                zip(gpus, costs, strict=True), key=lambda pair: pair[1] / room(pair[0])
            ):
                if missing <= 0:
                    break
                part = min(1.0, missing / room(gpu))
                missing, cost = missing - part * room(gpu), cost + part * price
            least = max(least, cost)
            largest = accumulate(sorted(map(room, gpus), reverse=True))
            count = max(count, 1 + sum(there < needed * (1 - ROUNDING) for there in largest))
        # So many GPUs are needed whichever they are, and no part of one can be had.
        least = max(least, math.fsum(sorted(costs)[:count]))
        if self._too_few and (self._too_few + 1) * costs[0] > least * (1 + PROVED):
            return (self._too_few + 1) * costs[0], "search"
        return least, "sums"


def _kinds(problem: Problem, costs: Mapping[str, float]) -> list[list[GPU]]:
    """Return GPUs that are alike, those first that count most for their memory."""
    kinds: dict[object, list[GPU]] = {}
    for gpu in problem.fleet.gpus:
        resources = tuple(sorted(gpu.resources.items()))
        kinds.setdefault((gpu.type, gpu.usable_bytes, costs[gpu.id], resources), []).append(gpu)
    return sorted(
        kinds.values(), key=lambda kind: (-costs[kind[0].id] / kind[0].usable_bytes, kind[0].id)
    )


def _only(problem: Problem, kept: set[str]) -> Problem | None:
    """Return the problem with all other GPUs left alone; None where that is no problem."""
    if not kept:
        return None
    if problem.plain:
        nodes = (
            replace(node, gpus=tuple(gpu for gpu in node.gpus if gpu.id in kept))
            for node in problem.fleet.nodes
        )
        return replace(problem, fleet=Fleet(tuple(node for node in nodes if node.gpus)))
    others = tuple(gpu.id for gpu in problem.fleet.gpus if gpu.id not in kept)
    if not others:
        return problem
    return replace(problem, rules=(*problem.rules, Reserve(places=Places(gpus=others))))
