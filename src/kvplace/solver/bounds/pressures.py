"""The fluid bound under several pressures, at the best weighting of them on each kind of GPU.

Below a target K every GPU holds ``sum(s + l_w / K) < M`` and ``sum(u_w) < K`` in every window w, so
any non-negative weights make one limit of all of them, on one weighted size per shard. The weights
may differ by kind of GPU, as one is short of memory and another of time. Every model takes at least
the weighted size of the cheapest of its options on the cheapest kind for it; where that exceeds
what all GPUs have, K is impossible. The excess is a concave function of the weights, so the best
weighting is found by cutting planes (Kelley, SIAM Journal 8, 1960): a small linear program in as
many variables as there are pressures on kinds. Each plane is a choice of option and kind for every
model, which holds at other targets, too. A model of which no shard is within every pressure on any
GPU is the single-model bound.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from kvplace.core.certificates.by_rule import RuleCertificate
from kvplace.core.certificates.certificate import Bound, Certificate, every_possible
from kvplace.core.certificates.weighted import Kind, weighted_limit, weighted_sizes
from kvplace.core.problem import Problem
from kvplace.solver.array_types import Bools, Floats
from kvplace.solver.bisection import bisect
from kvplace.solver.bounds.best_weighting import best_weighting
from kvplace.solver.bounds.certify import checked, lowered
from kvplace.solver.instance.columns import padded
from kvplace.solver.instance.instance import Instance

__all__ = ["BY_RULE", "PressureBound", "by_window", "weighted_certificate"]

CUTS = 40
"""Weightings tried per target at most."""
NEAR = 1e-11
"""Relative distance of the first two targets from what one pressure alone comes to."""
WIDTH = 1e-6
"""Relative width at which the search for a weighting ends where there is something to choose."""
EDGE = 1e-12
"""Relative excess that counts as none."""
WEIGHT_BITS, MOST_WEIGHT = 40, 1e300
"""Precision of the weights of a certificate, in bits of the largest, and that at most."""
BY_RULE = 10_000
"""Undivided models from which a certificate is the rule, not a price for each."""


KindWeights = dict[Kind, tuple[int, ...]]
"""The weighting of each kind of GPU in whole numbers, as in `Certificate.weights`."""


class _Choice(NamedTuple):
    """What all models take on each kind of GPU, each in one way.

    Parameters
    ----------
    size, loads, shares
        (kinds,) bytes, (kinds, kv) loads and (kinds, time) shares of time.
    alone
        Largest pressure of one of the shards alone: above it they may be there.
    """

    size: Floats
    loads: Floats
    shares: Floats
    alone: float

    def excess(self, target: float, limits: Floats) -> Floats:
        """Return (kinds, pressures) the part of the limits by which they are exceeded."""
        taken = np.column_stack([self.size[:, None] + self.loads / target, self.shares])
        found: Floats = taken / limits - 1
        return found


class PressureBound:
    """The best fluid or single-model bound over all weightings of the pressures.

    Parameters
    ----------
    instance
        Of a problem under the objective ``pressure``.
    priced
        Whether there is time for a certificate of a price for each of many models.

    Attributes
    ----------
    ruled
        Whether the certificate is a rule, which knows one pressure or one model.
    value
        The bound, not yet certified; ``inf`` where even the weights are proved not to fit.
    weighting
        (kinds, pressures) the share that each pressure on each kind of GPU has in the limit that
        proves it.
    count
        (kinds,) GPUs of each kind.
    """

    def __init__(self, instance: Instance, *, priced: bool = True) -> None:
        self._instance, self._kv, columns = instance, instance.kv, instance.columns
        self._columns, self._model = columns, columns.model
        # One row per pressure, as few of them have a weight.
        loads = np.ascontiguousarray(columns.loads[:, 0, : self._kv].T)
        shares = np.ascontiguousarray(columns.loads[:, :, self._kv :].transpose(1, 2, 0))
        self._type = np.array([type_ for type_, _ in columns.kinds])
        self._memory = np.array([float(memory) for _, memory in columns.kinds])
        self.count: Floats = np.bincount(columns.kind_of).astype(np.float64)
        allowed = columns.on_kinds(columns.kind_of, np.array(instance.degree))
        allowed &= columns.least[:, None] <= self._memory
        room = np.maximum(self._memory - columns.size[:, None], 1.0)
        alone = np.maximum(loads.max(axis=0)[:, None] / room, shares.max(axis=1)[self._type].T)
        self._alone: Floats = np.where(allowed, alone, np.inf)
        # Of uneven copies the weights alone are sure.
        loads[:, columns.unsure] = shares[:, :, columns.unsure] = 0.0
        self._loads, self._shares = loads, shares
        seated = (np.diff(columns.starts) > 0).all()
        least = np.minimum.reduceat(self._alone.min(axis=1), columns.starts[:-1]) if seated else ()
        self._single = float(max(least)) if seated else math.inf
        self._forced = len(self._model) == instance.n and len(self._memory) == 1
        self._choices: list[_Choice] = []
        self.weighting: Floats = self._over_kinds(np.ones(instance.pressures), 1.0)
        self.weighting /= instance.pressures
        self._by_one = False
        self.ruled = instance.simple and instance.n >= BY_RULE
        self.ruled &= self._forced or not priced
        self.value = self._best()

    def _best(self) -> float:
        """Return the largest target that is impossible."""
        if self._impossible(math.inf):
            return math.inf
        low, high, step = 0.0, 1e-9, NEAR
        levels = self._levels()
        guess = float(levels.max())
        if self.ruled and not self._forced:
            self.weighting = self._over_kinds(np.eye(len(levels))[levels.argmax()], 1.0)
            return max(guess, self._single)
        if guess > high and self._impossible(guess * (1 - NEAR)):
            low, high = guess * (1 - NEAR), guess * (1 + NEAR)
        while high < 1e300 and self._impossible(high):
            step *= 16
            low, high = high, high * (min(1 + step, 16.0) if low else 16.0)
        low, high = bisect(self._impossible, low, high, width=EDGE if self._forced else WIDTH)
        return bisect(self._still, low, high, width=EDGE)[0]

    def _levels(self) -> Floats:
        """Return (pressures,) the level of each alone, where each model has one option; else 0."""
        if len(self._model) > self._instance.n:
            return np.zeros(self._instance.pressures)
        shards = self._columns.shards
        free = max(float(self._memory @ self.count - self._columns.size @ shards), 0.0)
        in_memory = self._loads @ shards / free if free else np.zeros(self._kv)
        in_time = self._shares.min(axis=0) @ shards / self.count.sum()
        return np.concatenate([in_memory, in_time])

    def _impossible(self, target: float) -> bool:
        """Whether some weighting proves a target impossible; keeps the one that does."""
        weighting = self.weighting
        for _ in range(CUTS):
            if self._proves(target, weighting):
                return True
            if not math.isfinite(target):  # memory alone, by one weighting
                return False
            limits = self._limits(target)
            cuts = [c.excess(target, limits).ravel() for c in self._choices if c.alone < target]
            weighting, most = best_weighting(np.array(cuts))
            weighting = weighting.reshape(limits.shape)
            if most <= EDGE:
                return False
        return False

    def _still(self, target: float) -> bool:
        """Whether the weighting kept proves a target impossible."""
        return self._proves(target, self.weighting)

    def _proves(self, target: float, weighting: Floats) -> bool:
        """Whether a weighting proves a target impossible; it is kept then, its choice else."""
        self._by_one = target <= self._single
        if self._by_one:
            return True
        if not math.isfinite(target):
            return self._full
        limits = self._limits(target)
        choice = self._choose(target, weighting / limits)
        if float((weighting * choice.excess(target, limits)).sum()) > EDGE:
            self.weighting = weighting
            return True
        self._choices.append(choice)
        return False

    @property
    def _full(self) -> bool:
        """Whether the weights alone take more than all memory."""
        each = np.where(np.isfinite(self._alone).any(axis=1), self._columns.size, np.inf)
        least = np.minimum.reduceat(each * self._columns.shards, self._columns.starts[:-1])
        return float(least.sum()) > float(self._memory @ self.count) * (1 + EDGE)

    def fit(self, target: float) -> Bools:
        """Return (rows, kinds) whether a shard alone is within every pressure on a kind of GPU."""
        found: Bools = self._alone < target
        return found

    def weighted(self, target: float, weighting: Floats) -> tuple[Floats, Floats, Floats]:
        """Return weighted sizes at a target.

        Returns
        -------
        each
            (n, o) least weighted size of a shard of each option, ``inf`` where it fits nowhere.
        shards
            (n, o) shards of each option, 0 where a model has fewer.
        capacity
            (kinds,) weighted limit of each kind of GPU.
        """
        limits = self._limits(target)
        cost = self._costs(target, weighting / limits)
        each = padded(self._columns.starts, cost.min(axis=1))
        shards = padded(self._columns.starts, self._columns.shards, 0.0)
        return each, shards, weighting.sum(axis=1) / self.count

    def weightings(self, target: float) -> list[Floats]:
        """Return weightings worth trying at a target: the best one, and each resource alone."""
        limits, of_all = self._limits(target), np.arange(self._instance.pressures)
        choice = self._choose(target, self.weighting / limits)
        used = ((choice.excess(target, limits) + 1) * limits).sum(axis=0) / limits.sum(axis=0)
        found = [self.weighting]
        for resource in (of_all < self._kv, of_all >= self._kv):
            alone = np.zeros(len(of_all))
            alone[np.where(resource, used, -np.inf).argmax()] = 1.0
            alone = self._over_kinds(alone, target)
            if not any(np.allclose(alone, other) for other in found):
                found.append(alone)
        return found

    def _over_kinds(self, weights: Floats, target: float) -> Floats:
        """Return (kinds, pressures) the weighting that weighs pressures alike on all kinds."""
        limits = self._limits(target)
        found: Floats = weights * limits / limits.sum(axis=0)
        return found

    def _limits(self, target: float) -> Floats:
        """Return (kinds, pressures) what all GPUs of a kind have of each pressure."""
        kv, time = (self._memory * self.count)[:, None], (target * self.count)[:, None]
        return np.hstack([kv.repeat(self._kv, axis=1), time.repeat(self._instance.time, axis=1)])

    def _costs(self, target: float, weights: Floats) -> Floats:
        """Return (rows, kinds) weighted sizes of a shard, ``inf`` where it does not fit."""
        cost = np.empty(self._alone.shape)
        for kind, (type_, of) in enumerate(zip(self._type, weights, strict=True)):
            in_memory, in_time = of[: self._kv], of[self._kv :]
            cost[:, kind] = self._columns.size * in_memory.sum()
            for at in np.flatnonzero(in_memory):
                cost[:, kind] += self._loads[at] * (in_memory[at] / target)
            for at in np.flatnonzero(in_time):
                cost[:, kind] += self._shares[type_, at] * in_time[at]
        cost[self._alone >= target] = np.inf
        return cost

    def _choose(self, target: float, weights: Floats) -> _Choice:
        """Return the cheapest way of each model, which each has."""
        if self._forced and self._choices:
            return self._choices[0]
        cost = self._costs(target, weights) * self._columns.shards[:, None]
        kind = cost.argmin(axis=1)
        least = cost[np.arange(len(cost)), kind]
        row = np.arange(len(least))
        if len(least) > self._instance.n:
            whole = np.minimum.reduceat(least, self._columns.starts[:-1])
            at = np.flatnonzero(least == whole[self._model])
            # Of equal options the first of each model.
            row = at[np.unique(self._model[at], return_index=True)[1]]
        taken = np.zeros((len(self._memory), len(cost)))
        taken[kind[row], row] = self._columns.shards[row]
        pairs = list(zip(self._type, taken, strict=True))
        return _Choice(
            taken @ self._columns.size,
            np.array([(self._loads * of).sum(axis=1) for _, of in pairs]),
            np.array([(self._shares[type_] * of).sum(axis=1) for type_, of in pairs]),
            float(self._alone[row, kind[row]].max()),
        )

    def certified(self, problem: Problem) -> Bound:
        """Return the bound with a certificate that checks, at most a part in 1e8 lower."""
        finite = 0 < self.value < math.inf
        if finite:
            self._still(self.value)  # which says by what
        method = "single-model" if self._by_one else "fluid"

        def priced(target: float) -> Bound | None:
            return checked(problem, method, self._certificate(problem, target))

        rule = self._by_rule(problem, method) if self.ruled and finite else None
        return rule or lowered(self.value, priced)

    def _by_rule(self, problem: Problem, method: str) -> Bound | None:
        """Return the bound as a rule, of many undivided models and one pressure; None if not so."""
        resource, window = self._instance.resource(int(self.weighting.sum(axis=0).argmax()))
        hottest = problem.names[self._instance.model_index[self._alone.min(axis=1).argmax()]]
        of = ("", resource, window) if method == "fluid" else (hottest,)

        def rule(target: float) -> Bound | None:
            return checked(problem, method, RuleCertificate(target, method, *of))

        found = lowered(self.value, rule)
        return found if found.value > 0 else None

    def _certificate(self, problem: Problem, target: float) -> Certificate:
        """Price each option at its weighted size, and each GPU at its weighted limit."""
        if math.isinf(target):
            return self._in_memory(problem)
        if self._by_one:  # a model that fits nowhere proves it by itself

            def none(_: int) -> int:
                return 0

            alike = np.ones(self.weighting.shape)
            weights = self.whole_weights(problem, target, self._over_kinds(alike, target))
            return weighted_certificate(problem, target, weights, none, none, nowhere=1)
        weights = self.whole_weights(problem, target, self.weighting)
        return weighted_certificate(problem, target, weights, int, int)

    def _in_memory(self, problem: Problem) -> Certificate:
        """Price each option at the bytes that it needs at least: memory alone does not suffice."""
        options, prices = problem.option_table, []
        for index, possible in enumerate(every_possible(problem, math.inf)):
            first, end = options.starts[index], options.starts[index + 1]
            row = [options.weights_bytes[at] + options.min_kv_bytes[at] for at in range(first, end)]
            if self._by_one:
                row = [int(not possible)] * len(row)
            prices.append(row[0] if problem.plain else tuple(row))
        memories = sorted({gpu.usable_bytes for gpu in problem.fleet.gpus})
        worths = tuple((m, 0 if self._by_one else m) for m in memories)
        return Certificate(math.inf, tuple(prices), worths)

    def whole_weights(self, problem: Problem, target: float, weighting: Floats) -> KindWeights:
        """Return a weighting as integers, per byte and per share of time, by kind of GPU."""
        limits = self._limits(target)
        with np.errstate(over="ignore"):  # at a target beyond all that is real
            scale = np.minimum(2.0**WEIGHT_BITS * (limits.max() / limits), MOST_WEIGHT)
        kept = np.where(weighting > EDGE, weighting, 0.0)
        weights = [
            by_window(problem, self._instance, [int(part) for part in row])
            for row in (kept * scale).tolist()
        ]
        gpus = (problem.fleet.gpus[at] for at in self._instance.gpu_index)
        pairs = zip(gpus, self._columns.kind_of.tolist(), strict=True)
        return {(gpu.type, gpu.usable_bytes): weights[kind] for gpu, kind in pairs}


def by_window(problem: Problem, instance: Instance, weights: Sequence[int]) -> tuple[int, ...]:
    """Return weights of pressures as a certificate states them: of KV, then of time, by window."""
    found = {"kv": [0] * len(problem.windows), "time": [0] * len(problem.windows)}
    for at, weight in enumerate(weights):
        resource, window = instance.resource(at)
        found[resource][window] = weight
    return (*found["kv"], *found["time"])


def weighted_certificate(
    problem: Problem,
    target: float,
    weights: KindWeights,
    price: Callable[[int], int],
    worth: Callable[[int], int],
    nowhere: int = 0,
) -> Certificate:
    """Return the certificate of a weighting of the pressures on each kind of GPU.

    Parameters
    ----------
    problem, target
        What is proved of what.
    weights
        The weightings; on a kind where nothing weighs anything, models and GPUs are worth nothing.
    price, worth
        Return the price of an option by its least weighted size, and the worth of a GPU by its
        weighted limit.
    nowhere
        Price of the options of a model that fits nowhere.
    """
    stated = list(dict.fromkeys(of for of in weights.values() if any(of)))
    of_kind = {kind: stated.index(of) for kind, of in weights.items() if any(of)}
    kinds = sorted(weights)
    worths = tuple(
        (memory, worth(weighted_limit(target, memory, weights[type_, memory])))
        if (type_, memory) in of_kind
        else (memory, 0)
        for type_, memory in kinds
    )
    prices: list[int | tuple[int, ...]] = []
    for index, options in enumerate(weighted_sizes(problem, target, stated)):
        row = [0 if options else nowhere] * problem.option_table.count(index)
        for option in options:
            sizes = option.sizes
            row[option.at] = price(
                min(sizes[kind][of_kind[kind]] if kind in of_kind else 0 for kind in sizes)
            )
        prices.append(row[0] if problem.plain else tuple(row))
    types = tuple(gpu_type for gpu_type, _ in kinds)
    return Certificate(target, tuple(prices), worths, (), tuple(stated), types)
