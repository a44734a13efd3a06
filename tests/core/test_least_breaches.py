"""What counting says of soft rules: never above what some placement breaks, and checked as said."""

import math
from dataclasses import replace
from itertools import product
from random import Random

import pytest

import made
from kvplace.checking.check import check
from kvplace.core.certificates.standing import least_breaches, never_kept, standing_of
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.models.model import Replicas
from kvplace.core.placement import Placement, Replica
from kvplace.core.rules.apart import Apart
from kvplace.core.rules.limit import Limit
from kvplace.core.rules.places import Places
from kvplace.formats.plan.of_result import plan_of
from kvplace.solver.solve import solve


def drawn(random):
    """Models of one or two copies on three GPUs in zones, with two soft rules."""
    copies = random.choice(((1, 1), (2, 1), (1, 1, 1), (2, 1, 1), (1, 1, 1, 1)))
    models = [made.model(f"m{at}", 1, replicas=Replicas(n, n)) for at, n in enumerate(copies)]
    names = tuple(model.name for model in models)
    labels = [{"zone": "a"}, {"zone": random.choice("ab")}]
    labels.append({} if random.random() < 0.3 else {"zone": "c"})
    where = made.fleet(80, 80, 80, labels=labels)
    rules = []
    for tier in (random.choice((1, 2)), 2):
        some = tuple(random.sample(names, random.randint(2, len(names))))
        over = random.choice(("gpu", "node", "link", "zone"))
        rules.append(
            Apart(some, tier, over)
            if random.random() < 0.5
            else Limit(some, tier, over, random.choice((1, 2)))
        )
    return made.problem(models, where, *rules)


@pytest.mark.parametrize("seed", range(40))
def test_no_placement_breaks_less_than_counting_says(seed):
    problem = drawn(Random(seed))
    gpus = [gpu.id for gpu in problem.fleet.gpus]
    slots = [(m.name, at) for m in problem.models for at in range(m.replicas.max)]
    least = least_breaches(problem)
    for choice in product(gpus, repeat=len(slots)):
        placement = Placement(
            tuple(Replica(name, at, (gpu,)) for (name, at), gpu in zip(slots, choice, strict=True))
        )
        found = evaluate(problem, placement)
        if found.valid:
            broken = standing_of(problem, found).breaches
            assert all(a <= b for a, b in zip(least, broken, strict=True))


def test_what_counting_says():
    models = [made.model(f"m{at}", 1) for at in range(5)]
    where = made.fleet(80, 80, gpus=2, labels=[{"zone": "a"}, {}])
    every = ("*",)
    rules = [Apart(every, 1, "gpu"), Apart(every, 2, "node"), Limit(every, 2, "node", 2)]
    rules += [Apart(every, 3, "zone"), Limit(every, 4, "gpu", 1, Places(nodes=("h0",)))]
    # 5 models over 4 GPUs: 1; over 2 nodes 3, and 5 shards where 4 may be: 1; no zone for all
    assert least_breaches(made.problem(models, where, *rules)) == (1.0, 4.0, 0.0, 0.0)


def test_no_model_is_looked_at_where_no_rule_is_soft():
    class Table:
        def __iter__(self):
            pytest.fail("the models of a large fleet are made one by one")

    problem = made.problem([made.model("m", 1)], made.fleet(80), Apart(("*",), over="gpu"))
    object.__setattr__(problem, "models", Table())
    assert least_breaches(problem) == ()


def test_a_plan_that_keeps_soft_rules_as_well_as_counting_allows_is_optimal_and_checked():
    models = [made.model(f"m{at:02}", 2, 1.0 + at) for at in range(26)]
    problem = made.problem(models, made.fleet(*[80] * 25), Apart(("*",), 1, "gpu"))
    result = solve(problem, time_limit=20)
    assert result.proof.breaches == (1.0,)
    found = check(problem, plan_of(result))
    assert found.holds
    assert any("counting shows it" in line for line in found.verified)
    stated = plan_of(result)
    (entry,) = stated.soft_rules
    forged = replace(stated, soft_rules=(replace(entry, bound=2.0),))
    assert not check(problem, forged).holds


@pytest.mark.parametrize("seed", range(60))
def test_hard_rules_that_are_never_kept_prove_that_nothing_can_be_placed(seed):
    soft = drawn(Random(seed))
    problem = replace(soft, rules=tuple(replace(rule, soft=None) for rule in soft.rules))
    wrong, result = never_kept(problem), solve(problem)
    plan = plan_of(result)
    if wrong:
        assert (result.status, result.stop, result.proof.method) == (
            "infeasible", "infeasible", "counting",
        )  # fmt: skip
        assert check(problem, plan).holds
    # What counting does not show is not believed of a plan that says so.
    forged = replace(
        plan, bound=math.inf, gap=0.0, bound_method="counting", certificate=None, tree=None,
        status="infeasible", stop="infeasible", proof="none", placement=Placement(()), gpus=(),
        value=math.inf, ranks=0,
    )  # fmt: skip
    assert check(problem, forged).agrees == bool(wrong)
