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
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kvplace.core.certificates.by_rule import RuleCertificate
from kvplace.core.certificates.certificate import Bound, Certificate
from kvplace.core.certificates.weighted import weighted_limit, weighted_sizes
from kvplace.core.problem import Problem
from kvplace.solver.array_types import Floats
from kvplace.solver.bisection import bisect
from kvplace.solver.bounds.best_weighting import best_weighting
from kvplace.solver.bounds.certify import checked, lowered
from kvplace.solver.instance.instance import Instance

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
    """

    def __init__(self, instance: Instance, *, priced: bool = True) -> None:
        self._instance, self._kv, columns = instance, instance.kv, instance.columns
        self._columns, self._model = columns, columns.model
        # One row per pressure, as few of them have a weight.
        loads = np.ascontiguousarray(columns.loads[:, 0, : self._kv].T)
        shares = np.ascontiguousarray(columns.loads[:, :, self._kv :].transpose(1, 2, 0))
        self._type = np.array([type_ for type_, _ in columns.kinds])
        self._memory = np.array([float(memory) for _, memory in columns.kinds])
        self._count = np.bincount(columns.kind_of).astype(np.float64)
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
        free = max(float(self._memory @ self._count - self._columns.size @ shards), 0.0)
        in_memory = self._loads @ shards / free if free else np.zeros(self._kv)
        in_time = self._shares.min(axis=0) @ shards / self._count.sum()
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
        return float(least.sum()) > float(self._memory @ self._count) * (1 + EDGE)

    def _over_kinds(self, weights: Floats, target: float) -> Floats:
        """Return (kinds, pressures) the weighting that weighs pressures alike on all kinds."""
        limits = self._limits(target)
        found: Floats = weights * limits / limits.sum(axis=0)
        return found

    def _limits(self, target: float) -> Floats:
        """Return (kinds, pressures) what all GPUs of a kind have of each pressure."""
        kv, time = (self._memory * self._count)[:, None], (target * self._count)[:, None]
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

        def by_rule(target: float) -> Bound | None:
            return checked(problem, method, self._rule(problem, target))

        def priced(target: float) -> Bound | None:
            return checked(problem, method, self._certificate(problem, target))

        found = lowered(self.value, by_rule if self.ruled or not finite else priced)
        return lowered(self.value, priced) if finite and found.value <= 0 else found

    def _rule(self, problem: Problem, target: float) -> RuleCertificate:
        """Return the bound as a rule, of undivided models and one pressure, or of memory alone."""
        if self._by_one and problem.plain:
            hottest = self._instance.model_index[self._alone.min(axis=1).argmax()]
            return RuleCertificate(target, "single-model", problem.names[hottest])
        if math.isinf(target):
            return RuleCertificate(target, "fluid")
        at = int(self.weighting.sum(axis=0).argmax())
        return RuleCertificate(target, "fluid", "", *self._instance.resource(at))

    def _certificate(self, problem: Problem, target: float) -> Certificate:
        """Price each option at its weighted size, and each GPU at its weighted limit.

        On a kind of GPU where nothing has a weight, nothing is worth anything. Where one model fits
        nowhere, it alone is priced.
        """
        parts = np.where(self.weighting > EDGE, self.weighting, 0.0) / self._count[:, None]
        kinds = [(problem.gpu_types[type_], memory) for type_, memory in self._columns.kinds]
        every = whole_weights(problem, self._instance, self._memory, target, parts)
        stated = list(dict.fromkeys(filter(any, every)))
        used = {kind: stated.index(of) for kind, of in zip(kinds, every, strict=True) if any(of)}
        prices: list[int | tuple[int, ...]] = []
        for index, options in enumerate(weighted_sizes(problem, target, stated)):
            row = [int(self._by_one and not options)] * problem.option_table.count(index)
            for at, *_, sizes in () if self._by_one else options:
                row[at] = min(sizes[kind][used[kind]] if kind in used else 0 for kind in sizes)
            prices.append(row[0] if problem.plain else tuple(row))
        worths = dict.fromkeys(sorted(kinds), 0)
        for kind, at in () if self._by_one else used.items():
            worths[kind] = weighted_limit(target, kind[1], stated[at])
        pairs = tuple((memory, worth) for (_, memory), worth in worths.items())
        types = tuple(of for of, _ in worths)
        return Certificate(target, tuple(prices), pairs, (), tuple(stated), types)


def whole_weights(
    problem: Problem, instance: Instance, memory: Floats, target: float, parts: Floats
) -> list[tuple[int, ...]]:
    """Return a weighting for each kind of GPU in integers, per byte and per share of time.

    Parameters
    ----------
    problem, instance, target
        What is proved of what.
    memory
        (kinds,) usable bytes.
    parts
        (kinds, pressures) what each pressure counts in the limit of one GPU.
    """
    limits = np.full(parts.shape, target)
    limits[:, : instance.kv] = memory[:, None]
    with np.errstate(over="ignore"):  # at a target beyond all that is real
        scale = np.minimum(2.0**WEIGHT_BITS * (limits.max() / limits), MOST_WEIGHT)
    rows = (parts / max(float(parts.max()), 1e-300) * scale).tolist()
    return [by_window(problem, instance, list(map(int, row))) for row in rows]


def by_window(problem: Problem, instance: Instance, weights: Sequence[int]) -> tuple[int, ...]:
    """Return weights of pressures as a certificate states them: of KV, then of time, by window."""
    found = {"kv": [0] * len(problem.windows), "time": [0] * len(problem.windows)}
    for at, weight in enumerate(weights):
        resource, window = instance.resource(at)
        found[resource][window] = weight
    return (*found["kv"], *found["time"])
