"""Costs of all rules: tier by tier, priced by an update and its reverse."""

import random

import pytest

from kvplace.core.evaluation.evaluate import evaluate
from kvplace.solver.instance.door import load_instance, unload_copies
from kvplace.solver.instance.penalties.tracker import Tracker
from kvplace.solver.instance.rule_penalties import Blueprint, Costs
from splits import random_split_problem, random_where


class Counting(Tracker):
    """As many as there are copies."""

    def update(self, j, old, new):  # noqa: ARG002 - all alike
        """Count."""
        self.amount += len(new) - len(old)


def costs(*tiers, models=2):
    plans = [Blueprint(Counting, list(range(models)), tier, []) for tier in tiers]
    return Costs(plans, [list(range(len(tiers)))] * models)


def test_tiers_are_summed_and_what_must_hold_comes_first():
    found = costs(2, 0, 1, 2)
    found.update(0, (), ((1,), (2,)))
    assert found.vector == (2, 2, 4)
    assert found.broken == 2
    found.update(0, ((1,), (2,)), ())
    assert found.vector == (0, 0, 0)


def test_without_a_rule_that_must_hold_nothing_is_broken():
    found = costs(1)
    found.update(0, (), ((1,),))
    assert (found.broken, found.vector) == (0, (1,))
    none = Costs([], [[]])
    none.update(0, (), ((1,),))
    assert (none.broken, none.vector, none.free(0)) == (0, (), True)


def test_a_model_that_no_rule_names_is_free():
    found = Costs([Blueprint(Counting, [1], 0, [])], [[], [0]])
    assert found.free(0)
    assert not found.free(1)


@pytest.mark.parametrize("seed", range(2))
def test_an_update_and_its_reverse_leave_everything_as_it_was(seed):
    draw, seen = random.Random(seed), 0
    while seen < 50:
        problem = random_split_problem(draw)
        instance = load_instance(problem)
        where = random_where(draw, problem, instance)
        if where is None or not instance.blueprints:
            continue
        seen += 1
        found = Costs(instance.blueprints, instance.rules_of)
        for j, copies in enumerate(where):
            found.update(j, (), copies)
        before = found.vector, found.broken
        other = random_where(draw, problem, instance)
        for j in range(instance.n):
            spares = found.spares(j, where[j], other[j])
            found.update(j, where[j], other[j])
            assert spares == (found.broken <= before[1] and found.vector <= before[0])
            found.update(j, other[j], where[j])
        assert (found.vector, found.broken) == before


@pytest.mark.parametrize("seed", range(2))
def test_soft_rules_cost_what_core_says(seed):
    draw, broken = random.Random(seed), 0
    for _ in range(120):
        problem = random_split_problem(draw)
        instance = load_instance(problem)
        where = random_where(draw, problem, instance)
        if where is None:
            continue
        found = Costs(instance.blueprints, instance.rules_of)
        for j, copies in enumerate(where):
            found.update(j, (), copies)
        evaluation = evaluate(problem, unload_copies(problem, instance, where))
        tiers = sorted({plan.tier for plan in instance.blueprints} - {0})
        soft = found.vector[len(found.vector) - len(tiers) :]
        sums = dict.fromkeys(tiers, 0.0)
        for preference in evaluation.preferences:
            sums[preference.tier] += preference.amount
        assert soft == pytest.approx(tuple(sums[tier] for tier in tiers))
        broken += sum(soft) > 0
    assert broken > 10
