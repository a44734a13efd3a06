"""Certificates by rule: a bound on a million models in one line instead of a million prices.

``fluid`` prices every model at its size and every GPU at its memory: a placement below K would
have ``sum(s_j + l_j u / K) < sum(M)`` over everything, so K stands proved where

    sum(l_j) u >= K (sum(M) - sum(s_j)).

``single-model`` prices one model alone: below K it would have to be on a GPU with
``s + l u / K < M``. Where K is infinite, both speak of memory alone: of ``sum(s_j + m_j)``
against ``sum(M)``, and of ``s + max(1, m)`` against M.

All arithmetic is exact: floats are taken as the rationals they are, and the sum of loads is
rounded down.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

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
    """

    threshold: float
    rule: str
    model: str = ""


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
    if certificate.rule == "fluid":
        return _check_fluid(problem, threshold)
    if certificate.rule == "single-model":
        return _check_single(problem, threshold, certificate.model)
    return f"there is no rule {certificate.rule!r}"


def _check_fluid(problem: Problem, threshold: float) -> str:
    """Say why the sum of everything does not prove a threshold; empty where it does."""
    memory = sum(gpu.usable_bytes for gpu in problem.fleet.gpus)
    weights = sum(problem.undivided_bytes)
    if math.isinf(threshold):
        taken = weights + max(1, sum(problem.min_kv_bytes))
        return "" if taken > memory else f"all models take {taken} bytes of {memory}"
    loads = Fraction(math.nextafter(math.fsum(problem.loads), 0.0))
    if loads * problem.goal.memory_unit_bytes >= Fraction(threshold) * (memory - weights):
        return ""
    return f"all loads together are below {threshold!r} times the {memory - weights} bytes left"


def _check_single(problem: Problem, threshold: float, name: str) -> str:
    """Say why a model does not prove a threshold; empty where it does."""
    index = problem.index_of.get(name)
    if index is None:
        return f"{name!r} is no model of the problem"
    largest = max(gpu.usable_bytes for gpu in problem.fleet.gpus)
    left = largest - problem.undivided_bytes[index]
    if math.isinf(threshold):
        fits = left >= max(1, problem.min_kv_bytes[index])
        return f"{name!r} fits the largest GPU" if fits else ""
    load = Fraction(problem.loads[index]) * problem.goal.memory_unit_bytes
    if load >= Fraction(threshold) * left:
        return ""
    return f"{name!r} alone on the largest GPU is below {threshold!r}"
