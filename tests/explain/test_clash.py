"""Every clash is one, and none of its members could be left out: judged by brute force."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from judge_splits import clash_faults
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.model import Replicas
from kvplace.core.rules.apart import Apart
from kvplace.core.rules.limit import Limit
from kvplace.core.rules.pin import Pin
from kvplace.core.rules.places import Places
from kvplace.core.rules.spread import Spread
from kvplace.core.rules.together import Together
from kvplace.explain.clash import find_clash
from kvplace.explain.demanded import Demanded, Kind, demanded_of, keeping, without
from kvplace.explain.words import clash_in_words, demand_in_words, room_of
from kvplace.solver.clock import Watch
from made import fleet, model, problem
from oracle import solve_exactly
from oracle_splits import solve_by_force
from splits import random_split_problem
from tiny import GIB, byte_problem, byte_problems


def members(clash):
    """Return the members as pairs of kind and subject."""
    return [(member.kind.value, member.subject) for member in clash.members]


def judged(problem_, force):
    """Assert that the clash of a problem is one, and return it; None where there is none."""
    clash = find_clash(problem_)
    if force(problem_):
        assert clash is None
        return None
    assert list(clash_faults(problem_, clash, force)) == []
    assert clash_in_words(clash)
    assert all(demand_in_words(problem_, member) for member in clash.members)
    return clash


def by_force(problem_):
    return solve_by_force(problem_).feasible


def test_three_pins_on_one_node():
    # 30 + 30 + 28 = 88 GiB on a GPU of 80: 8 GiB more. d is free and no part of it.
    pins = [Pin((name,), places=Places(nodes=("h0",))) for name in "abc"]
    models = [model("a", 30), model("b", 30), model("c", 28), model("d", 28)]
    clash = judged(problem(models, fleet(80, 80), *pins), by_force)
    assert members(clash) == [
        ("model", "a"), ("model", "b"), ("model", "c"),
        ("rule", "rules[0]"), ("rule", "rules[1]"), ("rule", "rules[2]"),
    ]  # fmt: skip
    assert clash.smallest
    assert clash_in_words(clash) == (
        "these 3 models under these 3 rules need 8.0 GiB more than node h0 has: 88.0 GiB with "
        "overhead in 80.0 GiB usable"
    )
    assert room_of(clash.problem).excess_bytes == 8 * GIB


def test_a_model_that_fits_nowhere_clashes_alone():
    clash = judged(problem([model("a", 10), model("big", 90)], fleet(80, 40)), by_force)
    assert members(clash) == [("model", "big")]
    assert clash_in_words(clash) == (
        "'big' needs 90.0 GiB with overhead; the largest GPU has 80.0 GiB usable; with "
        "tensor_parallel: 2 a copy fits, 45.0 GiB on each GPU of a node of 2 or more; no node has "
        "more than 1"
    )


def test_least_kv_is_a_demand_of_its_own():
    where = fleet(80)
    clash = judged(problem([model("a", 40), model("b", 39, min_kv_bytes=2 * GIB)], where), by_force)
    assert members(clash) == [("model", "a"), ("model", "b"), ("min_kv", "b")]
    assert demand_in_words(clash.problem, clash.members[2]).startswith("'b' is left 2.0 GiB")


def test_copies_types_and_capacities_are_demands_of_their_own():
    two = Replicas(2, 2)
    clash = judged(problem([model("a", 10, replicas=two)], fleet(80)), by_force)
    assert members(clash) == [("model", "a"), ("replicas", "a")]
    typed = [model("a", 50, gpu_types=("80GiB",)), model("b", 50, gpu_types=("80GiB",))]
    clash = judged(problem(typed, fleet(80, 90)), by_force)
    kinds = [kind for kind, _ in members(clash)]
    assert kinds == ["model", "gpu_types", "model", "gpu_types"]
    node = Node("h0", (GPU("h0/0", "t", 80 * GIB, resources={"compute": 1.0}),))
    taking = [model(name, 1, resources={"compute": 0.6}) for name in "ab"]
    clash = judged(problem(taking, Fleet((node,))), by_force)
    assert members(clash) == [("model", "a"), ("model", "b"), ("resource", "compute")]


def test_rules_that_contradict_each_other():
    rules = (Together(("a", "b"), over="gpu"), Apart(("*",), over="gpu"), Limit(most=9))
    clash = judged(problem([model("a", 1), model("b", 1), model("c", 1)], fleet(80, 80), *rules),
                   by_force)  # fmt: skip
    assert members(clash) == [
        ("model", "a"), ("model", "b"), ("rule", "rules[0]"), ("rule", "rules[1]"),
    ]  # fmt: skip


def test_a_soft_rule_demands_nothing():
    pin = Pin(("a",), soft=1, places=Places(nodes=("h0",)))
    assert find_clash(problem([model("a", 50)], fleet(40, 80), pin)) is None


def test_what_is_possible_has_no_clash():
    assert find_clash(problem([model("a", 10)], fleet(80))) is None


def test_a_spread_may_need_more_where_less_is_demanded():
    # Two copies in zone a alone are spread evenly; without the pin zone b counts as well.
    zones = [{"zone": "a"}, {"zone": "a"}, {"zone": "b"}]
    pin = Pin(("m",), places=Places(labels=(("zone", "a"),)))
    spread = Spread(("m",), over="zone")
    copies = model("m", 10, replicas=Replicas(3, 3))
    judged(problem([copies], fleet(80, 80, 80, labels=zones), pin, spread), by_force)


def test_sums_may_fit_where_no_packing_does():
    # 3 x 50 in 2 x 80: 150 of 160 GiB, but two never share a GPU.
    clash = judged(problem([model(name, 50) for name in "abc"], fleet(80, 80)), by_force)
    assert "cannot be divided so" in clash_in_words(clash)


def test_an_interrupt_leaves_a_clash_that_may_not_be_irreducible():
    watch = Watch()
    tight = problem([model(name, 50) for name in "abcdefgh"], fleet(80, 80))
    watch.interrupt()
    clash = find_clash(tight, watch)
    assert clash is None or not clash.irreducible


@settings(max_examples=80, deadline=None)
@given(byte_problems(gpus=3, models=5))
def test_bytes(problem_):
    judged(problem_, lambda part: solve_exactly(part, leximax=False).feasible)


@pytest.mark.parametrize("seed", range(3))
def test_splits_copies_and_rules(seed):
    draw = random.Random(seed)
    found = 0
    while found < 15:
        found += judged(random_split_problem(draw, models=4), by_force) is not None


@given(st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_leaving_out_one_thing_is_keeping_all_others(seed):
    drawn = random_split_problem(random.Random(seed))
    hard = replace(drawn, rules=tuple(rule for rule in drawn.rules if rule.soft is None))
    everything = demanded_of(hard)
    for dropped in everything:
        kept = keeping(hard, [m for m in everything if m != dropped])
        assert without(hard, dropped) == kept or dropped.kind is Kind.MODEL
    assert keeping(hard, everything) == hard
    assert keeping(hard, []) is None


def test_a_rule_loses_the_names_of_models_left_out():
    rules = (Apart(("a", "b")), Apart(("b",)), Limit(("?",), most=1))
    part = keeping(
        problem([model("a", 1), model("b", 1)], fleet(80), *rules),
        [Demanded(Kind.MODEL, "a"), *(Demanded(Kind.RULE, f"rules[{i}]", i) for i in range(3))],
    )
    assert [rule.models for rule in part.rules] == [("a",), ("?",)]


def test_names_and_order_of_the_input_do_not_change_what_clashes():
    sizes = [9, 8, 7, 6, 5]
    forward = byte_problem([12, 12], [(size, 1.0) for size in sizes])
    backward = replace(forward, models=forward.models[::-1])
    first, second = find_clash(forward), find_clash(backward)
    assert set(first.members) == set(second.members)
