"""Every repair repairs, which brute force confirms, and the numbers in its words are right."""

import random
from dataclasses import replace

import pytest

from kvplace.core.rules.pin import Pin
from kvplace.core.rules.places import Places
from kvplace.explain.changes import Effort
from kvplace.explain.clash import find_clash
from kvplace.explain.repairs import find_repairs
from kvplace.solver.clock import Watch
from made import fleet, model, problem
from oracle_splits import solve_by_force
from splits import random_split_problem


def repairs(problem_):
    return find_repairs(problem_, find_clash(problem_))


def texts(problem_):
    return [repair.text for repair in repairs(problem_)]


def test_three_pins_are_repaired_by_a_rule_smaller_weights_a_gpu_or_less_service():
    pins = [Pin((name,), places=Places(nodes=("h0",))) for name in "abc"]
    models = [model("a", 30), model("b", 30), model("c", 28)]
    found = repairs(problem(models, fleet(80, 80), *pins))
    # 88 GiB in 80: half of any one is at least 14 GiB less. The smallest of the three, 28 GiB,
    # can go to a further GPU of more than 28 GiB: 60 GiB stay.
    assert [(repair.effort, repair.text) for repair in found] == [
        (Effort.RULE, "release the rule: 'a' is pinned to node h0"),
        (Effort.RULE, "release the rule: 'b' is pinned to node h0"),
        (Effort.RULE, "release the rule: 'c' is pinned to node h0"),
        *(
            (
                Effort.ENGINE,
                f"FP8 weights for {name}: half of its {size}.0 GiB, if they are 16 bits wide now",
            )
            for name, size in (("a", 30), ("b", 30), ("c", 28))
        ),
        (Effort.HARDWARE, "1 more GPU of at least 29 GiB usable in node h0"),
        (Effort.SERVICE, "leave out a"),
        (Effort.SERVICE, "leave out b"),
        (Effort.SERVICE, "leave out c"),
    ]


def test_the_fewest_gpus_of_the_fewest_gib():
    # Four models of 50 GiB on one GPU of 80: three more GPUs of more than 50 GiB.
    assert "3 more GPUs of at least 51 GiB usable" in texts(
        problem([model(name, 50) for name in "abcd"], fleet(80))
    )


def test_a_model_that_fits_nowhere_can_be_split():
    found = texts(problem([model("big", 100)], fleet(80, gpus=2)))
    assert found == [
        "tensor parallel 2 for big",
        "FP8 weights for big: half of its 100.0 GiB, if they are 16 bits wide now",
        "1 more GPU of at least 101 GiB usable",
    ]


def test_several_clashes_take_several_changes():
    # Neither big model fits, nor does half of it help one alone.
    found = repairs(problem([model("big", 100), model("huge", 120), model("a", 1)], fleet(80, 80)))
    assert [change.kind for change in found[0].changes] == ["weights", "weights"]
    assert "; and " in found[0].text


def test_nodes_like_those_there_are():
    # Two copies' worth of 2-GPU nodes: 5 models of 50 GiB need 5 GPUs of 80 GiB.
    found = texts(problem([model(name, 50) for name in "abcde"], fleet(80, gpus=2)))
    assert "2 more nodes like h0 (2 x 80GiB)" in found


@pytest.mark.parametrize("seed", range(2))
def test_every_repair_repairs(seed):
    draw = random.Random(seed)
    found = 0
    while found < 5:
        drawn = random_split_problem(draw, models=3)
        hard = replace(drawn, rules=tuple(rule for rule in drawn.rules if rule.soft is None))
        clash = find_clash(hard)
        if clash is None:
            continue
        found += 1
        for repair in find_repairs(hard, clash):
            changed = repair.changes[-1].problem
            if len(changed.fleet.gpus) <= 7:
                assert solve_by_force(changed).feasible, repair.text


def test_an_interrupt_ends_the_search():
    tight = problem([model(name, 50) for name in "abcd"], fleet(80))
    clash = find_clash(tight)
    watch = Watch()
    watch.interrupt()
    assert find_repairs(tight, clash, watch) == ()
