"""Evidence for a bound as a plan file states it, and as `kvplace.core.certificates` has it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import ConfigDict

from kvplace.core.certificates.by_rule import RuleCertificate
from kvplace.core.certificates.claim import Certificate, Choice, Leaf, ProofTree
from kvplace.core.problem import Problem
from kvplace.formats.validation.fields import Integer, Name, NumberOrInfinity, Price, Text, word
from kvplace.formats.validation.parts import Told

METHODS = (
    "trivial", "fluid", "single-model", "counting", "lifted", "dual-feasible", "configuration",
    "search",
)  # fmt: skip
"""How bounds are found; ``counting`` is that a hard rule can never be kept, or of older plans."""


class Stated(Told):
    """A mapping of a plan file that is its own part: known keys only."""

    __slots__ = ()
    __pydantic_config__ = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class PlanWorth(Stated):
    """The worth of one size of memory, and of one type of GPU where there are several pressures."""

    memory_bytes: Integer
    worth: Integer
    type: Text = ""


@dataclass(frozen=True, slots=True)
class PlanWeight(Stated):
    """How much the KV memory and the time of one window count."""

    window: Name
    kv: Integer
    time: Integer


@dataclass(frozen=True, slots=True)
class PlanCertificate(Stated):
    """Prices that prove the bound, free of the order of the models."""

    method: Annotated[str, *word(*METHODS)]
    threshold: NumberOrInfinity
    prices: dict[str, Price]
    """Price of each model by its name, or of each of its options, degree by degree and within that
    copies by copies."""
    worths: tuple[PlanWorth, ...]
    scope: tuple[Name, ...] = ()
    """GPUs that are worth anything; all where it is left out."""
    weights: tuple[tuple[PlanWeight, ...], ...] = ()
    """Weightings of all pressures, each of which makes one limit."""

    def for_problem(self, problem: Problem) -> Certificate | str:
        """Return the certificate in the order of a problem's models, or why there is none."""
        unknown = sorted(self.prices.keys() - problem.index_of.keys())
        if unknown:
            return f"it prices {unknown[0]!r}, which is no model of the problem"
        missing = [model.name for model in problem.models if model.name not in self.prices]
        if missing:
            return f"it has no price for {missing[0]!r}"
        prices = tuple(self.prices[model.name] for model in problem.models)
        weights = weights_for(problem, self.weights)
        if isinstance(weights, str):
            return weights
        worths, types = _pairs_and_types(self)
        return Certificate(self.threshold, prices, worths, self.scope, weights, types)


@dataclass(frozen=True, slots=True)
class PlanRule(Stated):
    """The rule that the prices of a certificate follow, as in `RuleCertificate`."""

    rule: Text
    threshold: NumberOrInfinity
    model: Text
    resource: Text = "kv"
    window: Text = ""
    scope: tuple[Name, ...] = ()

    def for_problem(self, problem: Problem) -> RuleCertificate | str:
        """Return the certificate for the windows of a problem, or why there is none."""
        windows = [window.name for window in problem.windows]
        if self.window and self.window not in windows:
            return f"it speaks of {self.window!r}, which is no window of the problem"
        at = windows.index(self.window) if self.window else 0
        return RuleCertificate(self.threshold, self.rule, self.model, self.resource, at, self.scope)


@dataclass(frozen=True, slots=True)
class PlanTreeNode(Stated):
    """A choice of a proof tree, which names a model, or a leaf, which has prices."""

    model: Text = ""
    """Of a choice: the case that the model takes one of the options, in one of the link domains, is
    next, then the case that it does not."""
    options: tuple[Integer, ...] = ()
    """Of a choice: positions of options in the order of their prices."""
    domains: tuple[Text, ...] = ()
    """Of a choice: link domains; all where left out."""
    prices: tuple[Price, ...] = ()
    """Of a leaf: as in a certificate, in the order of the tree's models, or what all shards of a
    model are priced together."""
    worths: tuple[PlanWorth, ...] = ()
    """Of a leaf: by kind of GPU, and after a choice for the link domains that are alike, in the
    order of the fleet."""
    weights: tuple[tuple[PlanWeight, ...], ...] = ()
    """Of a leaf: as in a certificate; left out where the last leaf's hold."""


@dataclass(frozen=True, slots=True)
class PlanTree(Stated):
    """A proof by cases, as in `ProofTree`."""

    threshold: NumberOrInfinity
    models: tuple[Name, ...]
    nodes: tuple[PlanTreeNode, ...]
    """In preorder: a choice, all of its first case, all of its second."""

    def for_problem(self, problem: Problem) -> ProofTree | str:
        """Return the tree in the order of a problem's models, or why there is none."""
        place = {name: at for at, name in enumerate(self.models)}
        if len(place) < len(self.models) or place.keys() != problem.index_of.keys():
            return "it does not name each model of the problem once"
        order = [place[name] for name in problem.names]
        nodes: list[Choice | Leaf] = []
        for number, node in enumerate(self.nodes):
            if node.model:
                if node.model not in place or node.prices:
                    return f"node {number} is no choice of a model of the problem"
                nodes.append(Choice(problem.index_of[node.model], node.options, node.domains))
            elif len(node.prices) != len(order):
                return f"node {number} has {len(node.prices)} prices for {len(order)} models"
            else:
                weights = weights_for(problem, node.weights)
                if isinstance(weights, str):
                    return f"node {number}: {weights}"
                prices = tuple(node.prices[at] for at in order)
                worths, types = _pairs_and_types(node)
                nodes.append(Leaf(prices, worths, weights, types))
        return ProofTree(self.threshold, tuple(nodes))


def worths_of(pairs: Sequence[tuple[int, int]], types: Sequence[str]) -> tuple[PlanWorth, ...]:
    """Return worths of sizes of memory, and of types where there are any, as a plan states them."""
    every = zip(pairs, types or ("",) * len(pairs), strict=True)
    return tuple(PlanWorth(*pair, type_) for pair, type_ in every)


def _pairs_and_types(
    stated: PlanCertificate | PlanTreeNode,
) -> tuple[tuple[tuple[int, int], ...], tuple[str, ...]]:
    """Return worths as a certificate has them; types only where it states any."""
    types = tuple(entry.type for entry in stated.worths)
    types = types if any(types) else ()
    return tuple((entry.memory_bytes, entry.worth) for entry in stated.worths), types


def weights_for(
    problem: Problem, rows: Iterable[Sequence[PlanWeight]]
) -> tuple[tuple[int, ...], ...] | str:
    """Return weightings as a certificate has them, or why they are none of the problem's."""
    windows, found = [window.name for window in problem.windows], []
    for row in rows:
        of = {weight.window: weight for weight in row}
        if of.keys() != set(windows) or len(row) != len(windows):
            return "a weighting does not name each window of the problem once"
        found.append((*(of[w].kv for w in windows), *(of[w].time for w in windows)))
    return tuple(found)


def weights_by_window(
    windows: Sequence[str], rows: Iterable[Sequence[int]]
) -> tuple[tuple[PlanWeight, ...], ...]:
    """Return weightings, KV of each window and then time of each, as a plan states them."""
    n = len(windows)
    return tuple(tuple(map(PlanWeight, windows, row[:n], row[n:])) for row in rows)
