"""Certificates by rule: a bound on a million models in one line instead of a million prices.

``fluid`` prices every model at its size and every GPU at its memory: a placement below K would
have ``sum(s_j + l_j u / K) < sum(M)`` over everything, so K stands proved where

    sum(l_j) u >= K (sum(M) - sum(s_j)).

``single-model`` prices one model alone: below K it would have to be on a GPU with
``s + l u / K < M``. Where K is infinite, both speak of memory alone: of ``sum(s_j + m_j)``
against ``sum(M)``, and of ``s + max(1, m)`` against M.

Under the objective ``pressure`` the loads l are the KV bytes in use in one window, and ``fluid``
may add up shares of time instead: with the least share u_j of each model over the types of GPU, K
stands proved for G GPUs where ``sum(u_j) >= K G``. ``single-model`` then asks that on every kind
of GPU one of the pressures is at K or above, in any window.

Where models may be split, copied or tied to GPUs, ``fluid`` takes each model in the option that
takes least room of those of which a shard fits some GPU that it may run on, in a link domain that
is wide enough for a copy; the model counts as
nothing where such a shard fits a GPU outside the scope. K stands proved where all models take more
than the GPUs of the scope have, or where one model fits nowhere.

All arithmetic is exact: floats are taken as the rationals they are, and the sum of loads is
rounded down. What options take is computed in floats, below the exact amount by more than
rounding can add to it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, repeat

from kvplace.core.models.model import Split
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem

RULES = ("fluid", "single-model")
BELOW, ABOVE = 1 - 2.0**-49, 1 + 2.0**-47
"""Factors that take what is computed by few roundings below its exact value, and from there above
it: each rounding changes it by a part of 2**-53 at most."""


@dataclass(frozen=True, slots=True)
class RuleCertificate:
    """A bound that follows from the problem by a rule.

    Parameters
    ----------
    threshold
        K in the objective's unit; ``inf`` claims that no valid placement exists at all.
    rule
        One of `RULES`.
    model
        Name of the model that ``single-model`` speaks of; empty for ``fluid``.
    resource, window
        What ``fluid`` adds up under the objective ``pressure``: ``kv`` or ``time``, and in the
        window at which position.
    scope
        Ids of the GPUs that ``fluid`` adds up, where models may be split, copied or tied to GPUs;
        empty for all.
    """

    threshold: float
    rule: str
    model: str = ""
    resource: str = "kv"
    window: int = 0
    scope: tuple[str, ...] = ()


def check_rule(problem: Problem, certificate: RuleCertificate) -> str:
    """Check a certificate by rule, knowing nothing of who made it.

    Returns
    -------
    str
        Empty where the claim is proved; otherwise a sentence that says what fails.
    """
    threshold = certificate.threshold
    if not threshold > 0:
        return f"the threshold {threshold!r} is not above 0"
    if not problem.plain:
        return _check_options(problem, certificate)
    if certificate.scope:
        return "models that are free to go anywhere have no scope"
    return _unknown_pressure(problem, certificate) or _check_by_rule(problem, certificate)


def _check_options(problem: Problem, certificate: RuleCertificate) -> str:
    """Say why the options with least room do not prove a threshold; empty where they do."""
    threshold, scope = certificate.threshold, frozenset(certificate.scope)
    several = problem.goal is Objective.PRESSURE and not math.isinf(threshold)
    if certificate.rule != "fluid" or several:
        return "models may be split, copied or tied to GPUs, of which the rule says nothing"
    if any(problem.fleet.gpu(gpu) is None for gpu in scope):
        return "its scope names a GPU that the fleet does not have"
    if problem.goal.memory_unit_bytes / threshold == math.inf:
        return f"the threshold {threshold!r} is too near to 0"
    inside = map(problem.usable_bytes, scope) if scope else problem.fleet.usable_bytes
    memory, rooms = sum(inside), list(_least_rooms(problem, threshold, scope))
    if math.inf in rooms:
        return ""  # not one shard of a model fits anywhere below the threshold
    if math.isinf(threshold):
        proved = (taken := sum(rooms)) > memory
    else:
        proved = (taken := math.nextafter(math.fsum(rooms), 0.0)) >= memory
    return "" if proved else f"all models take {taken:.0f} bytes of {memory}"


def _least_rooms(problem: Problem, threshold: float, scope: frozenset[str]) -> Iterator[float]:
    """Yield what each model takes at least inside a scope, in bytes; ``inf`` if it fits nowhere.

    Exact at an infinite threshold, else rounded down.
    """
    table, models, unit = problem.option_table, problem.models, problem.goal.memory_unit_bytes
    finite, factor = math.isfinite(threshold), unit / threshold
    rows = list(
        zip(
            table.degrees, table.copies, table.weights_bytes, table.min_kv_bytes, table.loads,
            strict=True,
        )
    )  # fmt: skip
    outside = outside_bytes(problem, scope) if scope else repeat(0)
    every = zip(pairwise(table.starts), problem.every_largest_bytes, outside, strict=False)
    for index, ((first, end), undivided, most) in enumerate(every):
        least = math.inf
        for row in range(first, end):
            degree, copies, taken, min_kv, load = rows[row]
            kept = taken + min_kv
            largest = undivided if degree == 1 else problem.widest_bytes(index, degree)
            size = (taken + load * factor) * BELOW if finite else taken
            if kept > largest or size >= largest:
                continue
            if finite and size * ABOVE >= largest:
                exact = taken + Fraction(load) * unit / Fraction(threshold)
                if exact >= largest:
                    continue
            if degree > 1 and not problem.seated(index, row):
                continue
            if finite and copies > 1 and models[index].replicas.split is not Split.EVEN:
                size = taken * BELOW  # what uneven copies carry is not known
            if size < most and kept <= most:
                least = 0.0
                break
            least = min(least, (size if finite else kept) * (degree * copies))
        yield least


def outside_bytes(problem: Problem, scope: frozenset[str]) -> Iterator[int]:
    """Yield the usable memory of the largest GPU outside a scope that each model may run on."""
    known: dict[int, int] = {}
    for index in range(len(problem.names)):
        allowed = problem.allowed(index)
        if id(allowed) not in known:
            known[id(allowed)] = max(map(problem.usable_bytes, allowed - scope), default=0)
        yield known[id(allowed)]


def _check_by_rule(problem: Problem, certificate: RuleCertificate) -> str:
    """Say why a rule does not prove a threshold; empty where it does."""
    threshold, window = certificate.threshold, certificate.window
    if certificate.rule == "fluid" and certificate.resource == "time":
        return _check_fluid_time(problem, threshold, window)
    if certificate.rule == "fluid":
        return _check_fluid(problem, threshold, window)
    if certificate.rule == "single-model":
        return _check_single(problem, threshold, certificate.model)
    return f"there is no rule {certificate.rule!r}"


def _unknown_pressure(problem: Problem, certificate: RuleCertificate) -> str:
    """Say why the resource and the window are none of the problem's; empty where they are."""
    resource, window = certificate.resource, certificate.window
    several = problem.goal is Objective.PRESSURE and not math.isinf(certificate.threshold)
    resources = ("kv", "time") if several else ("kv",)
    windows = len(problem.windows) if several else 1
    if resource not in resources:
        return f"the problem has no pressure on {resource!r}"
    if type(window) is not int or not 0 <= window < windows:
        return f"the problem has no window {window!r}"
    return ""


def _check_fluid(problem: Problem, threshold: float, window: int) -> str:
    """Say why the sum of everything does not prove a threshold; empty where it does."""
    memory = sum(gpu.usable_bytes for gpu in problem.fleet.gpus)
    weights = sum(problem.undivided_bytes)
    if math.isinf(threshold):
        taken = weights + max(1, sum(problem.min_kv_bytes))
        return "" if taken > memory else f"all models take {taken} bytes of {memory}"
    several = problem.goal is Objective.PRESSURE
    of_models = problem.pressures.window_loads[window] if several else problem.loads
    loads = Fraction(math.nextafter(math.fsum(of_models), 0.0))
    if loads * problem.goal.memory_unit_bytes >= Fraction(threshold) * (memory - weights):
        return ""
    return f"all loads together are below {threshold!r} times the {memory - weights} bytes left"


def _check_fluid_time(problem: Problem, threshold: float, window: int) -> str:
    """Say why the shares of time of all models do not prove a threshold; empty where they do."""
    table, gpus = problem.pressures.table, len(problem.fleet.gpus)
    step, types = table.windows, len(table.gpu_types)
    by_type = [table.shares[window + at * step :: step * types] for at in range(types)]
    shares = Fraction(math.nextafter(math.fsum(map(min, zip(*by_type, strict=True))), 0.0))
    if shares >= Fraction(threshold) * gpus:
        return ""
    return f"all shares of time together are below {threshold!r} times {gpus} GPUs"


def _check_single(problem: Problem, threshold: float, name: str) -> str:
    """Say why a model does not prove a threshold; empty where it does."""
    if name not in problem.names:
        return f"{name!r} is no model of the problem"
    index = problem.names.index(name)  # one of a million: a dictionary of all takes 80 MB
    size = problem.undivided_bytes[index]
    if math.isinf(threshold):
        left = max(gpu.usable_bytes for gpu in problem.fleet.gpus) - size
        fits = left >= max(1, problem.min_kv_bytes[index])
        return f"{name!r} fits the largest GPU" if fits else ""
    unit = problem.goal.memory_unit_bytes
    for gpu_type, memory in {(gpu.type, gpu.usable_bytes) for gpu in problem.fleet.gpus}:
        loads: Sequence[float] = (problem.loads[index],)
        shares: Sequence[float] = ()
        if problem.goal is Objective.PRESSURE:
            loads, shares = problem.pressures.shard(index, 1, 1.0, gpu_type)
        bound = Fraction(threshold) * (memory - size)
        at_least = any(Fraction(load) * unit >= bound for load in loads)
        if not at_least and not any(share >= threshold for share in shares):
            return f"{name!r} alone on a GPU of {memory} bytes is below {threshold!r}"
    return ""
