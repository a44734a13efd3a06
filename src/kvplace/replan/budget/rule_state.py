"""By how much rules and further capacities are broken, kept up to date while copies change."""

from __future__ import annotations

import math
from collections.abc import Mapping

from kvplace.core.placement import Replica
from kvplace.core.problem import Problem
from kvplace.core.rules.rule import Rule

_ROUNDING = 1e-9  # as in core: amounts of capacities are decimals in floats
Amounts = tuple[float, ...]
"""How far hard rules and capacities are from holding, then each tier of soft rules."""


class RuleState:
    """Copies by model, and what of the rules they break.

    Parameters
    ----------
    problem
        Whose rules.
    copies
        Replicas by the name of the model.
    """

    def __init__(self, problem: Problem, copies: Mapping[str, list[Replica]]) -> None:
        self._problem = problem
        self.idle = not problem.rules and not problem.resource_scopes
        self._copies = {} if self.idle else dict(copies)
        names = problem.index_of
        self._concerned = [frozenset(rule.concerned(names)) for rule in problem.rules]
        self._tiers = sorted({rule.soft for rule in problem.rules if rule.soft is not None})
        self._amounts = [self._amount(rule, self._copies) for rule in problem.rules]
        self._room = {
            (name, holder): amount
            for name, scope in problem.resource_scopes.items()
            for holder, amount in _holders(problem, scope, name)
        }
        self._taken: dict[tuple[str, str], float] = {}
        for held in self._copies.values():
            self._count(held, 1)

    def amounts(self) -> Amounts:
        """Return how much is broken now."""
        over = math.fsum(max(0.0, self._over(key)) for key in self._taken)
        return self._summed(self._amounts, over)

    def after(self, copies: Mapping[str, list[Replica]]) -> Amounts:
        """Return how much is broken once models have other copies."""
        before = {name: self._copies.get(name, []) for name in copies}
        kept = list(self._amounts)
        self.replace(copies)
        found = self.amounts()
        self._restore(before)
        self._amounts = kept
        return found

    def replace(self, copies: Mapping[str, list[Replica]]) -> None:
        """Give models other copies."""
        if self.idle:
            return
        self._restore(copies)
        touched = copies.keys()
        for at, (rule, concerned) in enumerate(
            zip(self._problem.rules, self._concerned, strict=True)
        ):
            if not concerned.isdisjoint(touched):
                self._amounts[at] = self._amount(rule, self._copies)

    def broken(self) -> set[str]:
        """Return the names of models of which something would have to change."""
        found: set[str] = set()
        for rule, amount in zip(self._problem.rules, self._amounts, strict=True):
            if amount and rule.soft is None:
                found.update(
                    name
                    for breach in rule.breaches(self._problem, self._copies)
                    for name in breach.models
                )
        for name, holder in self._taken:
            if self._over((name, holder)) > 0:
                found.update(
                    model
                    for model, held in self._copies.items()
                    if any((name, holder) in self._uses(replica) for replica in held)
                )
        return found

    def _over(self, key: tuple[str, str]) -> float:
        """Return by how much more of a capacity is taken than there is; below 0 where it is not."""
        return self._taken[key] - self._room.get(key, 0.0) * (1 + _ROUNDING) - _ROUNDING

    def _restore(self, copies: Mapping[str, list[Replica]]) -> None:
        for name, held in copies.items():
            self._count(self._copies.get(name, []), -1)
            self._count(held, 1)
            if held:
                self._copies[name] = held
            else:
                self._copies.pop(name, None)

    def _summed(self, amounts: list[float], over: float) -> Amounts:
        rules = self._problem.rules
        hard = math.fsum(a for rule, a in zip(rules, amounts, strict=True) if rule.soft is None)
        soft = (
            math.fsum(a for rule, a in zip(rules, amounts, strict=True) if rule.soft == tier)
            for tier in self._tiers
        )
        return (hard + over, *soft)

    def _amount(self, rule: Rule, copies: dict[str, list[Replica]]) -> float:
        return math.fsum(breach.amount for breach in rule.breaches(self._problem, copies))

    def _count(self, held: list[Replica], sign: int) -> None:
        if self._room:
            for replica in held:
                for key, amount in self._uses(replica).items():
                    self._taken[key] = self._taken.get(key, 0.0) + sign * amount

    def _uses(self, replica: Replica) -> dict[tuple[str, str], float]:
        found: dict[tuple[str, str], float] = {}
        model = self._problem.models[self._problem.index_of[replica.model]]
        for name, amount in model.resources.items():
            scope = self._problem.resource_scopes[name]
            for gpu in replica.gpus:
                key = (name, self._problem.fleet.domain(gpu, scope) or "")
                found[key] = found.get(key, 0.0) + amount
        return found


def _holders(problem: Problem, scope: str, name: str) -> list[tuple[str, float]]:
    """Return each GPU or node with what it has of a capacity."""
    if scope == "node":
        return [(node.name, node.resources.get(name, 0.0)) for node in problem.fleet.nodes]
    return [(gpu.id, gpu.resources.get(name, 0.0)) for gpu in problem.fleet.gpus]
