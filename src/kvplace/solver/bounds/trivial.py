"""Simple lower bounds on the max KVPR: fluid and single-model, each with its prices.

Both are special cases of the certificate in `kvplace.core.certificates`: the fluid bound prices
every model at its size w_j(K) and every GPU at its memory, the single-model bound prices one
model alone.
"""

import math

from kvplace.core.certificates.by_rule import RULES, RuleCertificate
from kvplace.core.certificates.certificate import Bound, check_certificate, spelled_out
from kvplace.core.problem import Problem
from kvplace.solver.instance.instance import Instance

__all__ = ["certified", "fluid_bound", "simple_bound", "single_model_bound"]


def fluid_bound(arrays: Instance) -> float:
    """Return ``sum l / (sum M - sum s)``: all GPUs as one; ``inf`` where the weights exceed it."""
    free = sum(arrays.memory) - sum(arrays.size)
    if free <= 0 or free < sum(arrays.keep):
        return math.inf
    return math.fsum(arrays.load) / free


def single_model_bound(arrays: Instance) -> tuple[float, int]:
    """Return ``max_j l_j / (max M - s_j)`` and the model that attains it.

    The value is ``inf`` where a model fits no GPU even alone.
    """
    largest = arrays.memory[0]
    best, arg = -1.0, 0
    for j, (size, keep, load) in enumerate(zip(arrays.size, arrays.keep, arrays.load, strict=True)):
        ratio = load / (largest - size) if size + max(1, keep) <= largest else math.inf
        if ratio > best:
            best, arg = ratio, j
    return best, arg


def simple_bound(arrays: Instance) -> Bound:
    """Return the better of the fluid and the single-model bound, not yet certified."""
    fluid = fluid_bound(arrays)
    single, _ = single_model_bound(arrays)
    if max(fluid, single) <= 0:
        return Bound(0.0, "trivial")
    return Bound(single, "single-model") if single >= fluid else Bound(fluid, "fluid")


def certified(problem: Problem, bound: Bound, hottest: int, *, by_rule: bool = False) -> Bound:
    """Return a simple bound with a certificate that checks, at most a part in 1e8 lower.

    Other bounds come back as they are; one that cannot be certified is dropped to 0.

    Parameters
    ----------
    problem, bound
        The bound, and what it is on.
    hottest
        Position in the problem of the model that attains the single-model bound.
    by_rule
        Whether the certificate is to be the rule, not the prices that follow from it.
    """
    if bound.method not in RULES:
        return bound
    model = problem.names[hottest] if bound.method == "single-model" else ""
    slack = 2.0**-50 if by_rule else 0.0  # so that the prices of the rule prove it as well
    while slack < 1e-8:
        threshold = bound.value if math.isinf(bound.value) else bound.value * (1 - slack)
        rule = RuleCertificate(threshold, bound.method, model)
        certificate = rule if by_rule else spelled_out(problem, rule)
        if not check_certificate(problem, certificate):
            return Bound(threshold, bound.method, certificate)
        if math.isinf(bound.value):
            break
        slack = slack * 8 if slack else 2.0**-50
    return Bound(0.0, "trivial")
