"""All that brute force and the checker can say of a result with splits, copies and rules."""

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations

from kvplace.checking.check import check
from kvplace.core.certificates.certificate import Certificate, check_certificate
from kvplace.core.problem import Problem
from kvplace.core.result import OPTIMAL_GAP, Result, Status
from kvplace.explain.clash import Clash
from kvplace.explain.demanded import demanded_of, keeping
from kvplace.formats.plan.io import write_plan
from kvplace.formats.plan.of_result import plan_of
from kvplace.formats.plan.schema import parse_plan
from oracle_splits import Answer, worth


def faults(problem: Problem, result: Result, truth: Answer) -> Iterator[str]:
    """Yield what is wrong with a result, as sentences."""
    yield from _proof(problem, result)
    yield from map(str, check(problem, parse_plan(write_plan(plan_of(result)))))
    if not truth.feasible:
        if result.status is not Status.INFEASIBLE:
            yield f"brute force finds no placement; the result is {result.status}"
        return
    if result.bound > truth.value * (1 + OPTIMAL_GAP):
        yield f"the bound {result.bound!r} is above the optimum {truth.value!r}"
    if result.placement is None:
        yield f"{result.status}, yet brute force finds {truth.breaches} {truth.value!r}"
        return
    found = worth(problem, result.placement)
    if found is None:
        yield "the placement is not valid"
        return
    breaches, value = found
    if value != result.value:
        yield f"the value is {result.value!r}, evaluated {value!r}"
    best = (truth.breaches, truth.value * (1 + OPTIMAL_GAP))
    if (breaches, value) > best:
        yield f"{breaches} {value!r}, not the best {truth.breaches} {truth.value!r}"
    if (breaches, value * (1 + OPTIMAL_GAP)) < (truth.breaches, truth.value):
        yield "better than brute force"


def clash_faults(
    problem: Problem, clash: Clash | None, possible: Callable[[Problem], bool]
) -> Iterator[str]:
    """Yield what is wrong with the clash of an impossible problem, as sentences.

    Parameters
    ----------
    problem, clash
        The problem, and what is said to clash in it.
    possible
        Decides by brute force whether a problem has a placement.
    """
    if clash is None:
        yield "no clash is found, and yet nothing can be placed"
        return
    if possible(clash.problem):
        yield "what is said to clash can be placed"
    if not clash.irreducible:
        yield "the clash is not known to be irreducible"
    for dropped in clash.members:
        rest = keeping(problem, [member for member in clash.members if member != dropped])
        if rest is not None and not possible(rest):
            yield f"without {dropped.kind.value} {dropped.subject} the rest clashes as well"
    if clash.smallest:
        for some in combinations(demanded_of(problem), len(clash.members) - 1):
            part = keeping(problem, some)
            if part is not None and not possible(part):
                yield f"said to be smallest, yet fewer clash: {some}"
                return


def damage(draw: random.Random, claim: Certificate) -> Certificate:
    """Return a claim under several pressures with one of its parts changed."""
    part = draw.choice(["threshold", "price", "worth", "weight", "types"])
    if part == "threshold":
        return replace(claim, threshold=claim.threshold * draw.choice([1.01, 1.5, 3.0]))
    if part == "worth":
        worths = list(claim.worths)
        at = draw.randrange(len(worths))
        worths[at] = (worths[at][0], max(0, worths[at][1] + draw.choice([-2, -1, 1, 2])))
        return replace(claim, worths=tuple(worths))
    if part == "weight":
        rows = [list(row) for row in claim.weights]
        row = draw.choice(rows)
        row[draw.randrange(len(row))] += draw.choice([1, 5, -1])
        return replace(claim, weights=tuple(map(tuple, rows)))
    if part == "types":
        return replace(claim, types=claim.types[::-1])
    prices = list(claim.prices)
    at = draw.randrange(len(prices))
    if isinstance(prices[at], tuple):
        prices[at] = tuple(price + draw.choice([-1, 0, 1]) for price in prices[at])
    else:
        prices[at] += draw.choice([-1, 1])
    return replace(claim, prices=tuple(prices))


def damage_faults(
    problem: Problem, proof: Certificate, truth: Answer, draw: random.Random, counts: Counter[str]
) -> Iterator[str]:
    """Yield damaged certificates that are believed and claim what is false, as sentences."""
    for _ in range(3):
        broken = damage(draw, proof)
        if check_certificate(problem, broken):
            counts["damaged: rejected"] += 1
            continue
        counts["damaged: still proved"] += 1
        if broken.threshold > truth.value * (1 + OPTIMAL_GAP):
            yield f"a damaged certificate is believed: {broken!r}"


def _proof(problem: Problem, result: Result) -> Iterator[str]:
    """Yield what is wrong with the bound's evidence."""
    proof = result.proof
    if proof.certificate is None:
        if proof.value > 0 and proof.method not in ("search", "counting"):
            yield f"a bound {proof.value!r} by {proof.method} without evidence"
        return
    objection = check_certificate(problem, proof.certificate)
    if objection:
        yield f"the certificate is rejected: {objection}"
    if proof.certificate.threshold < proof.value:
        yield f"the certificate proves {proof.certificate.threshold!r}, not {proof.value!r}"
    if not (proof.value > 0 or math.isinf(proof.value)):
        yield f"a certificate for the bound {proof.value!r}"
