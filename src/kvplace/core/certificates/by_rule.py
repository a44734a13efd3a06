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

All arithmetic is exact: floats are taken as the rationals they are, and the sum of loads is
rounded down.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem

__all__ = ["RULES", "RuleCertificate", "check_rule"]

RULES = ("fluid", "single-model")


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
    """

    threshold: float
    rule: str
    model: str = ""
    resource: str = "kv"
    window: int = 0


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
        return "models may be split, copied or tied to GPUs, of which the rule says nothing"
    return _unknown_pressure(problem, certificate) or _check_by_rule(problem, certificate)


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
