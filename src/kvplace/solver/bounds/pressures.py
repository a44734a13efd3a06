"""The fluid bound under several pressures, at the best weighting of them.

Below a target K every GPU holds ``sum(s + l_w / K) < M`` and ``sum(u_w) < K`` in every window w, so
any non-negative weights make one limit of all of them, on one weighted size per shard. Every model
takes at least the weighted size of the cheapest of its options on the cheapest GPU for it; where
that exceeds what all GPUs have, K is impossible. The excess is a concave function of the weights,
so the best weighting is found by cutting planes (Kelley, SIAM Journal 8, 1960): a small linear
program in as many variables as there are pressures. A model of which no shard is within every
pressure on any GPU is the single-model bound.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from kvplace.core.certificates.by_rule import RuleCertificate
from kvplace.core.certificates.certificate import Bound, Certificate, every_possible
from kvplace.core.certificates.weighted import weighted_limit, weighted_sizes
from kvplace.core.problem import Problem
from kvplace.solver.array_types import Bools, Floats
from kvplace.solver.bisection import bisect
from kvplace.solver.bounds.certify import checked, lowered
from kvplace.solver.instance.columns import padded
from kvplace.solver.instance.instance import Instance

__all__ = ["BY_RULE", "PressureBound", "best_weighting", "by_window", "weighted_certificate"]

CUTS = 40
"""Weightings tried per target at most."""
NEAR = 1e-11
"""Relative distance of the first two targets from what one pressure alone comes to."""
EDGE = 1e-12
"""Relative excess that counts as none."""
WEIGHT_BITS = 40
"""Precision of the weights of a certificate, in bits of the largest."""
BY_RULE = 10_000
"""Undivided models from which a certificate is the rule, not a price for each."""


class PressureBound:
    """The best fluid or single-model bound over all weightings of the pressures.

    Parameters
    ----------
    instance
        Of a problem under the objective ``pressure``.

    Attributes
    ----------
    value
        The bound, not yet certified; ``inf`` where even the weights are proved not to fit.
    weighting
        (pressures,) the share that each pressure has in the limit that proves it.
    count
        (kinds,) GPUs of each kind.
    """

    def __init__(self, instance: Instance) -> None:
        self._instance, self._kv, columns = instance, instance.kv, instance.columns
        self._columns, self._model = columns, columns.model
        self._loads = np.ascontiguousarray(columns.loads[:, 0, : self._kv])
        self._shares = np.ascontiguousarray(columns.loads[:, :, self._kv :])
        self._most_load, self._most_share = self._loads.max(axis=1), self._shares.max(axis=2)
        # Of uneven copies the weights alone are sure.
        self._sure = np.where(columns.unsure, 0.0, 1.0)
        self._type = np.array([type_ for type_, _ in columns.kinds])
        self._memory = np.array([float(memory) for _, memory in columns.kinds])
        self.count: Floats = np.bincount(columns.kind_of).astype(np.float64)
        self._allowed: Bools = columns.on_kinds(columns.kind_of, np.array(instance.degree))
        self._allowed &= self._columns.least[:, None] <= self._memory
        self._forced = len(self._model) == instance.n and len(self._memory) == 1
        self.weighting: Floats = np.full(instance.pressures, 1 / instance.pressures)
        self._alone = False
        self.value = self._best()

    def _best(self) -> float:
        """Return the largest target that is impossible."""
        if self._impossible(math.inf):
            return math.inf
        low, high = 0.0, 1e-9
        guess, step = self._guess(), NEAR
        if guess > high and self._impossible(guess * (1 - NEAR)):
            low, high = guess * (1 - NEAR), guess * (1 + NEAR)
        while high < 1e300 and self._impossible(high):
            step *= 16
            low, high = high, high * (min(1 + step, 16.0) if low else 16.0)
        return bisect(self._impossible, low, high, width=1e-12)[0]

    def _guess(self) -> float:
        """Return the highest level of one pressure alone, where each model has one option."""
        if len(self._model) > self._instance.n:
            return 0.0
        free = float(self._memory @ self.count - self._columns.size @ self._columns.shards)
        in_memory = float((self._columns.shards @ self._loads).max()) / free if free > 0 else 0.0
        least = self._shares.min(axis=1)
        return max(in_memory, float((self._columns.shards @ least).max() / self.count.sum()))

    def _impossible(self, target: float) -> bool:
        """Whether some weighting proves a target impossible; keeps the one that does."""
        if (np.diff(self._columns.starts) == 0).any():
            self._alone = True
            return True
        fit = self.fit(target)
        if not np.logical_or.reduceat(fit.any(axis=1), self._columns.starts[:-1]).all():
            self._alone = True
            return True
        limits = self._limits(target)
        sizes = self._sizes(target)
        cuts = np.empty((0, self._instance.pressures))
        weighting = self.weighting
        for _ in range(CUTS):
            used = self._used(weighting / limits, sizes, fit)
            excess = used / limits - 1  # of each pressure, for the choice that is cheapest now
            if float(weighting @ excess) > EDGE:
                self.weighting, self._alone = weighting, False
                return True
            cuts = np.vstack([cuts, excess])
            weighting, most = best_weighting(cuts)
            if most <= EDGE:
                return False
        return False

    def fit(self, target: float) -> Bools:
        """Return (rows, kinds) whether a shard alone is within every pressure on a kind of GPU."""
        in_memory = self._columns.size + self._most_load / target
        fit = self._allowed & (in_memory[:, None] < self._memory)
        found: Bools = fit & (self._most_share < target)[:, self._type]
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
        w, weights = self._kv, weighting / self._limits(target)
        sure = self._sure[:, None]
        in_memory = (self._columns.size[:, None] + self._loads * sure / target) @ weights[:w]
        in_time = (self._shares @ weights[w:]) * sure
        cost = np.where(self.fit(target), in_memory[:, None] + in_time[:, self._type], np.inf)
        capacity = self._memory * weights[:w].sum() + target * weights[w:].sum()
        each = padded(self._columns.starts, cost.min(axis=1))
        return each, padded(self._columns.starts, self._columns.shards, 0.0), capacity

    def weightings(self, target: float) -> list[Floats]:
        """Return weightings worth trying at a target: the best one, and each resource alone."""
        limits, of_all = self._limits(target), np.arange(self._instance.pressures)
        sizes = self._sizes(target)
        used = self._used(self.weighting / limits, sizes, self.fit(target)) / limits
        found = [self.weighting]
        for resource in (of_all < self._kv, of_all >= self._kv):
            alone = np.zeros(len(of_all))
            alone[np.where(resource, used, -np.inf).argmax()] = 1.0
            if not any(np.allclose(alone, other) for other in found):
                found.append(alone)
        return found

    def _limits(self, target: float) -> Floats:
        """Return (pressures,) what all GPUs together have of each pressure."""
        bytes_, gpus = float(self._memory @ self.count), float(self.count.sum())
        time = gpus * target if target < math.inf else 1e300
        return np.repeat([bytes_, time], [self._kv, self._instance.time])

    def _sizes(self, target: float) -> Floats:
        """Return (rows, kv) bytes that a shard takes for sure at a target in each window."""
        found: Floats = self._columns.size[:, None] + self._loads * (self._sure[:, None] / target)
        return found

    def _used(self, weights: Floats, sizes: Floats, fit: Bools) -> Floats:
        """Return what all models take of each pressure where each takes the cheapest way."""
        w = self._kv
        shares = self._shares * self._sure[:, None, None]
        if self._forced:  # there is nothing to choose
            return np.concatenate(
                [self._columns.shards @ sizes, self._columns.shards @ shares[:, self._type[0]]]
            )
        cost = (sizes @ weights[:w])[:, None] + (shares @ weights[w:])[:, self._type]
        cost = np.where(fit, cost, np.inf) * self._columns.shards[:, None]
        kind = cost.argmin(axis=1)
        least = cost[np.arange(len(cost)), kind]
        whole = np.minimum.reduceat(least, self._columns.starts[:-1])
        row = np.arange(len(least))
        if len(least) > len(whole):
            at = np.flatnonzero(least == whole[self._model])
            # Of equal options the first of each model.
            row = at[np.unique(self._model[at], return_index=True)[1]]
        many = self._columns.shards[row]
        return np.concatenate([many @ sizes[row], many @ shares[row, self._type[kind[row]]]])

    def certified(self, problem: Problem) -> Bound:
        """Return the bound with a certificate that checks, at most a part in 1e8 lower."""
        finite = 0 < self.value < math.inf
        if finite:
            self._impossible(self.value)  # which keeps what proves it
        method = "single-model" if self._alone else "fluid"

        def priced(target: float) -> Bound | None:
            return checked(problem, method, self._certificate(problem, target))

        rule = self._by_rule(problem, method) if finite else None
        return rule or lowered(self.value, priced)

    def _by_rule(self, problem: Problem, method: str) -> Bound | None:
        """Return the bound as a rule, of many undivided models and one pressure; None if not so."""
        if not problem.plain or len(problem.names) < BY_RULE or method != "fluid":
            return None
        resource, window = self._instance.resource(int(self.weighting.argmax()))

        def rule(target: float) -> Bound | None:
            certificate = RuleCertificate(target, "fluid", "", resource, window)
            return checked(problem, method, certificate)

        found = lowered(self.value, rule)
        return found if found.value > 0 else None

    def _certificate(self, problem: Problem, target: float) -> Certificate:
        """Price each option at its weighted size, and each GPU at its weighted limit."""
        if math.isinf(target):
            return self._in_memory(problem)
        weights = self.whole_weights(problem, target, self.weighting)
        if self._alone:  # a model that fits nowhere proves it by itself

            def none(_: int) -> int:
                return 0

            return weighted_certificate(problem, target, (1, *weights[1:]), none, none, nowhere=1)
        return weighted_certificate(problem, target, weights, int, int)

    def _in_memory(self, problem: Problem) -> Certificate:
        """Price each option at the bytes that it needs at least: memory alone does not suffice."""
        options, prices = problem.option_table, []
        for index, possible in enumerate(every_possible(problem, math.inf)):
            first, end = options.starts[index], options.starts[index + 1]
            row = [options.weights_bytes[at] + options.min_kv_bytes[at] for at in range(first, end)]
            if self._alone:
                row = [int(not possible)] * len(row)
            prices.append(row[0] if problem.plain else tuple(row))
        memories = sorted({gpu.usable_bytes for gpu in problem.fleet.gpus})
        worths = tuple((m, 0 if self._alone else m) for m in memories)
        return Certificate(math.inf, tuple(prices), worths)

    def whole_weights(self, problem: Problem, target: float, weighting: Floats) -> tuple[int, ...]:
        """Return a weighting as integers, per byte and per share of time, window by window."""
        limits = self._limits(target)
        scale = float(2**WEIGHT_BITS) * float(limits.max())
        kept = np.where(weighting > EDGE, weighting, 0.0)
        weights = [int(part * (scale / limit)) for part, limit in zip(kept, limits, strict=True)]
        return by_window(problem, self._instance, weights)


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
    weights: tuple[int, ...],
    price: Callable[[int], int],
    worth: Callable[[int], int],
    nowhere: int = 0,
) -> Certificate:
    """Return the certificate of one weighting of the pressures.

    Parameters
    ----------
    problem, target
        What is proved of what.
    weights
        The weighting.
    price, worth
        Return the price of an option by its least weighted size, and the worth of a GPU by its
        weighted limit.
    nowhere
        Price of the options of a model that fits nowhere.
    """
    kinds = sorted({(gpu.type, gpu.usable_bytes) for gpu in problem.fleet.gpus})
    worths = tuple((memory, worth(weighted_limit(target, memory, weights))) for _, memory in kinds)
    prices: list[int | tuple[int, ...]] = []
    for index, options in enumerate(weighted_sizes(problem, target, [weights])):
        row = [0 if options else nowhere] * problem.option_table.count(index)
        for option in options:
            row[option.at] = price(min(size for (size,) in option.sizes.values()))
        prices.append(row[0] if problem.plain else tuple(row))
    types = tuple(gpu_type for gpu_type, _ in kinds)
    return Certificate(target, tuple(prices), worths, (), (weights,), types)


def best_weighting(cuts: Floats) -> tuple[Floats, float]:
    """Return the weighting whose least excess over some cuts is largest, and that excess.

    Parameters
    ----------
    cuts
        (c, pressures) the excess of each pressure over what there is, for c choices of options.

    Returns
    -------
    weighting
        (pressures,) not negative, with the sum 1.
    excess
        The least that it comes to over the cuts.
    """
    pressures = cuts.shape[1]
    if len(cuts) == 1:
        best = int(cuts[0].argmax())
        return np.eye(pressures)[best], float(cuts[0, best])
    if pressures == 2:  # the KV memory and the time of one window
        return _best_of_two(cuts)
    from kvplace.solver.column_generation import master  # noqa: PLC0415 - HiGHS: several windows

    highs = master.quiet_highs()
    infinite = highs.getInfinity()
    master.add_rows(highs, [1.0, *[0.0] * len(cuts)], [1.0, *[infinite] * len(cuts)])
    rows = range(1 + len(cuts))
    entries = [master.Entry(rows, (1.0, *cuts[:, at])) for at in range(pressures)]
    master.add_columns(highs, entries)
    # The excess itself, of either sign, is maximised.
    rest = np.arange(1, 1 + len(cuts), dtype=np.int32)
    highs.addCol(-1.0, -infinite, infinite, len(rest), rest, np.full(len(rest), -1.0))
    highs.run()
    value = np.array(highs.getSolution().col_value)
    weighting: Floats = np.maximum(value[:pressures], 0.0)
    return weighting / max(float(weighting.sum()), 1e-300), float(value[pressures])


def _best_of_two(cuts: Floats) -> tuple[Floats, float]:
    """Return what `best_weighting` does of two pressures.

    Each cut is a line over the part of the first one; the highest point below all lines is where
    two of them meet, or at an end.
    """
    slopes, heights = cuts[:, 0] - cuts[:, 1], cuts[:, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        meet = (heights - heights[:, None]) / (slopes[:, None] - slopes)
    parts = np.concatenate([meet[(meet > 0) & (meet < 1)], (0.0, 1.0)])
    least = (heights + parts[:, None] * slopes).min(axis=1)
    best = int(least.argmax())
    return np.array([parts[best], 1 - parts[best]]), float(least[best])
