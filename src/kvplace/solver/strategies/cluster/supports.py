"""Which stages can pay for a cluster, and at which point."""

import math

from kvplace.core.result import OPTIMAL_GAP
from kvplace.solver.clock import Within
from kvplace.solver.strategies.assigned import far, ready
from kvplace.solver.strategies.cluster.search import ClusterState


def regroupable(search: ClusterState) -> bool:
    """Whether most models are one shard, under one pressure, and the value is far above."""
    instance = search.instance
    most = 2 * sum(len(row) == row[0].shards == 1 for row in instance.options) >= instance.n
    few = instance.n <= search.params.undivided.program_models
    return instance.pressures == 1 and few and most and far(search)


def rankable(search: ClusterState) -> bool:
    """Whether the maximum of a tiny cluster is proved, and no copy is there to be chosen.

    Copies that bring little are not made, so that leximax is not all that is asked for.
    """
    chosen = any(len({o.copies for o in options}) > 1 for options in search.instance.options)
    proved = search.placed and search.closed and search.gap <= OPTIMAL_GAP
    return proved and search.tiny and not chosen and not search.watch.stop


def begun(search: ClusterState) -> bool:
    """Whether there are starts, the best of which is to be bettered."""
    return search.board is not None and bool(search.starts)


def begun_large(search: ClusterState) -> bool:
    """Whether there are, and compiled kernels better them."""
    return search.large and begun(search)


def exchanged(search: ClusterState) -> bool:
    """Whether kernels better the best start."""
    return arrayed(search) and search.placed


def few(search: ClusterState) -> bool:
    """Whether models are few enough for searches that look at each of them."""
    return search.board is not None and not search.many


def configurable(search: ClusterState) -> bool:
    """Whether models and GPUs are so many that configurations are a better start than best fit.

    Very many models are dealt out near the bound as soon as anywhere, so that is done at any time;
    but not where the search is one question of many, which must end on time.
    """
    instance = search.instance
    many = search.large or instance.n * instance.g >= search.knobs.configured
    timed = not search.watch.stop or (search.many and not isinstance(search.watch, Within))
    return many and instance.pressures == 1 and timed and not search.closed


def ejectable(search: ClusterState) -> bool:
    """Whether models are few enough, and domains are not filled with more effort before.

    Under several pressures fillings end soon, and ejection goes on from them.
    """
    later = search.round > 0 or search.instance.pressures > 1
    fit = few(search) and search.placed and not roomy(search)
    return fit and (later or not refillable(search))


def roomy(search: ClusterState) -> bool:
    """Whether GPUs are many, under one pressure: there is room somewhere for what is too hot."""
    return search.large and search.instance.pressures == 1 and few(search) and search.placed


def quick(search: ClusterState) -> bool:
    """Whether there are several pressures, and few enough models for a program of their sets."""
    return search.instance.pressures > 1 and _sparse(search)


def asking(search: ClusterState) -> bool:
    """Whether that program is asked before link domains are filled, as its bound says where to."""
    return quick(search) and refillable(search) and not small(search)


def classed(search: ClusterState) -> bool:
    """Whether the program on size classes is asked for a bound before the rounds."""
    first = keeps(search) or not refillable(search)
    return few(search) and search.placed and first and not asking(search)


def decided_at_once(search: ClusterState) -> bool:
    """Whether targets are decided before the rounds, as no kernels are loaded for those."""
    return quick(search) and not long(search)


def decided_again(search: ClusterState) -> bool:
    """Whether targets are decided in the rounds: in the first only where they were not before."""
    return quick(search) and (long(search) or search.round > 0)


def choosable(search: ClusterState) -> bool:
    """Whether that program says which options to take where link domains are filled."""
    return _sparse(search, search.knobs.tightened_options)


def _sparse(search: ClusterState, most: int | None = None) -> bool:
    """Whether models are few enough for that program, and their options no more than that.

    Fewer may be asked about under more pressures, but where compiled kernels fill link domains.
    """
    knobs, instance = search.knobs, search.instance
    filled = instance.pressures > 1 and fillable(search)
    if most is None:
        most = knobs.tightened_options if filled else knobs.quick_options
    sparse = instance.n <= knobs.quick_density * instance.g
    sparse &= len(instance.size) * (1.0 if filled else max(1.0, instance.pressures / 2)) <= most
    # At no pressure at all, what is left is broken soft rules, of which the program says nothing.
    return sparse and search.placed and search.value > 0


def coverable(search: ClusterState) -> bool:
    """Whether that program is far from the value, for models with options.

    All soft rules are kept.
    """
    near = search.value <= search.low * (1 + search.knobs.covered_most)
    # Half of a large gap is no target for which the dive finds a plan.
    reached = near or _few_places(search) or not asking(search)
    return not search.instance.simple and _far(search) and reached


def soon_covered(search: ClusterState) -> bool:
    """Whether sets cover models soon, for the time before link domains are filled: few options."""
    instance, timed = search.instance, search.watch.limit < math.inf
    few = len(instance.size) * instance.pressures <= 2 * search.knobs.quick_options
    return few and timed and asking(search) and coverable(search)


def _far(search: ClusterState) -> bool:
    """Whether it is, and all soft rules are kept."""
    far = search.value > search.low * (1 + search.knobs.covered_gap)
    return _sparse(search) and far and not any(search.best.flaws)


def searchable(search: ClusterState) -> bool:
    """Whether searches over the sets of undivided models end soon: few GPUs, or few models each."""
    knobs, instance = search.params.undivided, search.instance
    few = instance.g <= knobs.searched_gpus << search.round
    return few or instance.n <= knobs.best_fit_density * instance.g


def small(search: ClusterState) -> bool:
    """Whether options and link domains are so few that targets are decided by cases over them.

    Where many models share a GPU, the program of one case takes too long.
    """
    sparse = search.instance.n <= search.knobs.divided_density * search.instance.g
    return sparse and _few_places(search)


def _few_places(search: ClusterState) -> bool:
    return _places(search) <= search.knobs.divided


def _places(search: ClusterState) -> int:
    """Return options times link domains."""
    instance = search.instance
    return len(instance.size) * len(set(instance.domain_of or range(instance.g)))


def refutable(search: ClusterState) -> bool:
    """Whether the program of all sets is small enough to tell soon if the models fit at all."""
    knobs, instance = search.knobs, search.instance
    sparse = instance.n <= knobs.quick_density * instance.g
    return sparse and len(instance.size) <= knobs.tightened_options


def dividable(search: ClusterState) -> bool:
    """Whether they are, several pressures hold, and the program is far from the value.

    Compiled kernels decide a case so fast that there may be more.
    """
    several = search.instance.pressures > 1
    return several and (small(search) or _quickly_decided(search)) and _far(search)


def _quickly_decided(search: ClusterState) -> bool:
    knobs, instance = search.knobs, search.instance
    sparse = instance.n <= knobs.divided_density * instance.g
    return search.program.compiled and sparse and _places(search) <= knobs.divided_compiled


def tightened(search: ClusterState) -> bool:
    """Whether a bound that was asked for early is low for it, on few enough models.

    Under several pressures exact decisions raise it, where options are few.
    """
    asked = search.instance.pressures > 1 and quick(search)
    refuted = not asked and refutable(search) and search.placed
    return refuted and search.value > 0 and not search.tiny


def tightened_beside(search: ClusterState) -> bool:
    """Whether that is the configuration program's bound, and link domains are filled meanwhile.

    Without a time limit one comes after the other, so that each run ends the same.
    """
    timed = search.watch.limit < math.inf
    return timed and keeps(search) and tightened(search) and ready(search, "FILLING")


def priced_by_kernels(search: ClusterState) -> bool:
    """Whether compiled kernels look for the sets of the configuration program.

    They must not be compiled within a time limit, and cost more than they bring where models are
    few.
    """
    knobs, instance, limit = search.knobs, search.instance, search.watch.limit
    timed = knobs.compiled <= limit < math.inf and instance.n * instance.g >= knobs.refilled
    pays = fillable(search) or (instance.pressures > 1 and timed)
    return pays and ready(search, "PRICING")


def keeps(search: ClusterState) -> bool:
    """Whether models must be left KV."""
    return search.instance.columns.keeps


def long(search: ClusterState) -> bool:
    """Whether there are several pressures, and time to load the kernels."""
    knobs, several = search.knobs, search.instance.pressures > 1
    return several and few(search) and search.placed and search.watch.limit >= knobs.compiled


def kicked_first(search: ClusterState) -> bool:
    """Whether kicks come before exact searches, which lower undivided models less fast."""
    return long(search) and search.instance.simple


def kicked_last(search: ClusterState) -> bool:
    """Whether kicks come after exact searches."""
    return long(search) and not search.instance.simple


def arrayed(search: ClusterState) -> bool:
    """Whether many models of one way each, under several pressures, are left to kernels."""
    knobs, instance = search.knobs, search.instance
    several = instance.simple and instance.pressures > 1 and not search.large
    size = instance.n * instance.g * instance.pressures
    return several and size >= knobs.arrayed and search.watch.limit >= knobs.compiled


def fillable(search: ClusterState) -> bool:
    """Whether it pays to fill link domains by kernels many times, and there is time to."""
    knobs, instance, limit = search.knobs, search.instance, search.watch.limit
    least = knobs.refilled if limit < math.inf else knobs.refilled_untimed
    timed = limit >= knobs.compiled and instance.n * instance.g >= least
    return domains_pay(search) and (timed or search.large)


def domains_pay(search: ClusterState) -> bool:
    """Whether models may be split, over link domains that are neither too few nor too many."""
    knobs, instance = search.knobs, search.instance
    many = instance.n * instance.g >= knobs.refilled
    few = instance.n * len(instance.size) * instance.g <= knobs.filled
    return max(instance.degree, default=1) > 1 and many and few


def refillable(search: ClusterState) -> bool:
    """Whether there is an assignment, too, the domains of which can be filled anew."""
    return search.placed and fillable(search)


def passes(search: ClusterState) -> int:
    """Return how many rounds there are at most."""
    timed = search.watch.left < math.inf or search.limit is not None
    return search.knobs.timed_passes if timed else search.knobs.passes
