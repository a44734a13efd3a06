"""Certificates: prices and worths turned into the integers that core's checker accepts.

Prices are rounded down and worths up, so that rounding never turns an honest bound into a wrong
one; the checker decides, and a bound that it rejects is dropped or lowered.
"""

import math
from collections.abc import Callable

from kvplace.core.certificates.by_rule import RULES, RuleCertificate
from kvplace.core.certificates.certificate import (
    Bound,
    Certificate,
    check_certificate,
    spelled_out,
)
from kvplace.core.certificates.claim import Leaf, ProofTree
from kvplace.core.problem import Problem
from kvplace.solver.clock import Watch

SCALE = 10**12
"""Integer worth of all that is worth 1."""
TREE_STEPS = 4_000_000
"""Steps that the checker may spend on a tree here; whoever reads the plan allows more."""
SLACK, MOST_SLACK = 2.0**-50, 1e-8
"""First and last relative amount by which a bound is lowered until its certificate checks."""


def searched(problem: Problem, prices: Certificate, watch: Watch) -> Bound:
    """Return the bound of an exhaustive search that rests on prices, with its proof tree.

    Without the tree where the checker does not accept it within `TREE_STEPS`, or in time.
    """
    leaf = Leaf(prices.prices, prices.worths, prices.weights, prices.types)
    found = treed(problem, ProofTree(prices.threshold, (leaf,)), watch)
    return found or Bound(prices.threshold, "search")


def treed(problem: Problem, tree: ProofTree, watch: Watch) -> Bound | None:
    """Return the bound of a proof tree, None where it does not check within `TREE_STEPS`."""
    from kvplace.core.certificates.tree import check_tree  # noqa: PLC0415 - few plans need one

    if check_tree(problem, tree, TREE_STEPS, lambda: watch.stop):
        return None
    return Bound(tree.threshold, "search", tree)


def checked(
    problem: Problem,
    method: str,
    certificate: Certificate | RuleCertificate,
    watch: Watch | None = None,
) -> Bound | None:
    """Return the bound of a certificate, or None where that does not check, or not in time."""
    halt = None if watch is None else lambda: watch.overdue
    if check_certificate(problem, certificate, halt):
        return None
    return Bound(certificate.threshold, method, certificate)


def lowered(value: float, certificate: Callable[[float], Bound | None]) -> Bound:
    """Return a bound that checks, at most a part in 1e8 below a value; the trivial one if none.

    Parameters
    ----------
    value
        A bound that holds but for rounding.
    certificate
        Returns the bound at a threshold, or None where its certificate does not check.
    """
    if value <= 0:
        return Bound(0.0, "trivial")
    slack = 0.0
    while slack < MOST_SLACK:
        found = certificate(value if math.isinf(value) else value * (1 - slack))
        if found is not None:
            return found
        if math.isinf(value):
            break
        slack = slack * 8 if slack else SLACK
    return Bound(0.0, "trivial")


def certified_rule(problem: Problem, bound: Bound, hottest: int, *, by_rule: bool = False) -> Bound:
    """Return a fluid or single-model bound with its certificate.

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

    def at(threshold: float) -> Bound | None:
        # By rule a little lower, so that the prices of the rule prove it as well.
        threshold *= 1 - SLACK if by_rule and math.isfinite(threshold) else 1
        rule = RuleCertificate(threshold, bound.method, model)
        return checked(problem, bound.method, rule if by_rule else spelled_out(problem, rule))

    return lowered(bound.value, at)
