"""Claims: a lower bound that holds for every placement, and the evidence for it."""

from collections import Counter
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

from kvplace.core.certificates.by_rule import RuleCertificate
from kvplace.core.problem import Problem

PRICE_BITS = 256
"""Most bits of a price, a worth or a weight; sizes at a threshold have some 110."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """Prices that prove a lower bound on the max pressure of every placement.

    Parameters
    ----------
    threshold
        K in the objective's unit; ``inf`` claims that no valid placement exists at all.
    prices
        y, a non-negative integer per model, in the order of the problem's models; or, of a
        problem that is not `Problem.plain`, one per entry of `Problem.options`.
    worths
        z: usable bytes and a non-negative integer, one pair per size of memory in the scope.
    scope
        Ids of the GPUs that are worth anything; empty for all of them.
    weights
        Under the objective ``pressure``, one or more weightings, each of which makes one limit of
        all pressures: non-negative integers, first those of the KV memory in each window, then
        those of the time in each window. Empty under the other objectives.
    types
        GPU type of each entry of `worths`, where there are `weights`.
    """

    threshold: float
    prices: tuple[int | tuple[int, ...], ...]
    worths: tuple[tuple[int, int], ...]
    scope: tuple[str, ...] = ()
    weights: tuple[tuple[int, ...], ...] = ()
    types: tuple[str, ...] = ()


class Choice(NamedTuple):
    """Ways to have a model: the tree goes on with one of them, then with none of them.

    Parameters
    ----------
    model
        Position of the model.
    options
        Positions in `Problem.options` of the model.
    domains
        Link domains in which the options are meant; empty for all, as it has to be for an option of
        several copies.
    """

    model: int
    options: tuple[int, ...]
    domains: tuple[str, ...] = ()


class Leaf(NamedTuple):
    """What closes a case.

    Parameters
    ----------
    prices
        As in `Certificate`. One number of a model that has options is what all of its shards are
        priced together, in each of them.
    worths, types
        As in `Certificate`, in the order of `kvplace.core.certificates.tree`.
    weights
        As in `Certificate`; empty for those of the leaf before.
    """

    prices: tuple[int | tuple[int, ...], ...]
    worths: tuple[tuple[int, int], ...]
    weights: tuple[tuple[int, ...], ...] = ()
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProofTree:
    """A proof by cases.

    Parameters
    ----------
    threshold
        K in the objective's unit; ``inf`` claims that no valid placement exists at all.
    nodes
        The tree in preorder: each choice, then the whole of its first case, then the whole of its
        second.
    """

    threshold: float
    nodes: tuple[Choice | Leaf, ...]


Evidence = Certificate | RuleCertificate | ProofTree
"""What proves a bound."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A proved lower limit on the optimum.

    Parameters
    ----------
    value
        No placement that keeps the soft rules as well as can be has a smaller max pressure;
        ``inf`` where no placement is valid.
    method
        ``trivial``, ``fluid``, ``single-model``, ``lifted``, ``dual-feasible``,
        ``configuration`` or ``search``.
    certificate
        Checkable evidence for `value`; None for the trivial bound 0, and for a ``search`` that is
        not written down as a `ProofTree`.
    breaches
        Tier by tier, the weightiest first, amounts below which no placement breaks the soft
        rules; empty where nothing is proved of them, or where there are none.
    """

    value: float
    method: str
    certificate: Evidence | None = None
    breaches: tuple[float, ...] = ()


def malformed_prices(  # noqa: PLR0911 - one return per way to be malformed
    problem: Problem, certificate: Certificate, capacities: Counter[int]
) -> str:
    """Say why a certificate speaks of no problem, or not of this one; empty where it does."""
    threshold, worths = certificate.threshold, dict(certificate.worths)
    if not threshold > 0:
        return f"the threshold {threshold!r} is not above 0"
    if any(problem.fleet.gpu(gpu) is None for gpu in certificate.scope):
        return "its scope names a GPU that the fleet does not have"
    if worths.keys() != capacities.keys() or len(worths) != len(certificate.worths):
        return "the worths do not name each size of memory of the fleet once"
    if len(certificate.prices) != len(problem.models):
        return f"{len(certificate.prices)} prices for {len(problem.models)} models"
    numbers: list[Any] = [*worths.values(), *certificate.prices]
    if not problem.plain:
        table = problem.option_table
        for index, price in enumerate(certificate.prices):
            if not isinstance(price, tuple) or len(price) != table.count(index):
                name, options = problem.models[index].name, table.count(index)
                return f"{name!r} needs {options} prices, one per option"
        numbers = [*worths.values(), *chain.from_iterable(numbers[len(worths) :])]
    if not set(map(type, numbers)) <= {int} or min(numbers, default=0) < 0:
        return "a price or a worth is not a non-negative integer"
    if max(numbers, default=0).bit_length() > PRICE_BITS:
        return f"a price or a worth has more than {PRICE_BITS} bits"
    return ""
