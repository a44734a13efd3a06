"""Regions, and shards that kernels move between GPUs of one region."""

import random
from dataclasses import replace

import numpy as np
import pytest

from boards import assert_kept_up, drawn_boards
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.core.rules.apart import Apart
from kvplace.core.rules.forbid import Forbid
from kvplace.core.rules.places import Places
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.improve.movable_shards import improve_mobile, iterate_mobile
from kvplace.solver.instance.door import load_instance
from tiny import byte_model


def problem_of(*rules, models=12, seed=1):
    """Models on two nodes of three GPUs each."""
    draw = random.Random(seed)
    fleet = Fleet(
        tuple(
            Node(f"n{k}", tuple(GPU(f"n{k}/{i}", "t", 60) for i in range(3)), {"zone": "ab"[k]})
            for k in range(2)
        )
    )
    drawn = tuple(
        byte_model(f"m{j}", draw.randint(3, 9), draw.uniform(0, 20)) for j in range(models)
    )
    return Problem(drawn, fleet, Objective.REQUESTS, rules)


def one_node(instance):
    """An assignment that leaves half of the GPUs empty."""
    return Assignment(instance, [((j % 3,),) for j in range(instance.n)])


def test_without_rules_there_is_one_region_and_all_are_free():
    regions = load_instance(problem_of()).regions
    assert regions.count == 1
    assert regions.bound.all()
    assert regions.free.all()


def test_a_rule_tells_its_domains_apart_for_the_models_it_speaks_of():
    instance = load_instance(problem_of(Apart(("m0", "m1"), over="node")))
    regions = instance.regions
    assert regions.count == 2
    named = [j for j, i in enumerate(instance.model_index) if i in (0, 1)]
    assert np.flatnonzero(~regions.free).tolist() == sorted(named)
    assert regions.bound.all()
    for plan in instance.blueprints:
        for region in range(regions.count):
            inside = np.flatnonzero(regions.of == region)
            assert len({plan.labels[g] for g in inside}) == 1


def test_models_under_a_rule_with_too_many_labels_stay(monkeypatch):
    monkeypatch.setattr("kvplace.solver.instance.regions.REGIONS", 3)
    instance = load_instance(problem_of(Apart(("m0", "m1"), over="gpu")))
    regions = instance.regions
    assert regions.count == 1
    named = [j for j, i in enumerate(instance.model_index) if i in (0, 1)]
    assert np.flatnonzero(~regions.bound).tolist() == sorted(named)


@pytest.mark.parametrize(
    "rules",
    [(), (Apart(("m0", "m1"), over="node"),), (Forbid(("m2",), places=Places(nodes=("n0",))),)],
    ids=["no rule", "apart", "forbidden"],
)
def test_hot_gpus_are_relieved_and_rules_are_kept(rules):
    instance = load_instance(problem_of(*rules))
    board = one_node(instance)
    if not board.valid:
        for j in range(instance.n):
            board.apply([(j, board.option[j], ((j % 6,),))])
    if not board.valid:
        pytest.skip("the start breaks the rule")
    before, flaws = board.worst(), board.flaws
    made = improve_mobile(board, 1e-9, 50.0, 0, Watch())
    assert made > 0
    assert board.worst() < before
    assert board.flaws <= flaws
    assert_kept_up(board)


@pytest.mark.parametrize("search", ["improve", "iterate"])
def test_random_clusters_never_get_worse(search):
    moved = 0
    for _, _, board in drawn_boards(4, 60, gpus=2, valid=True):
        before, flaws = board.worst(), board.flaws
        if search == "improve":
            moved += improve_mobile(board, 1e-12, 20.0, 0, Watch())
        else:
            moved += iterate_mobile(board, 0.0, 256, 0, Watch())
        assert board.worst() <= before
        assert board.flaws <= flaws
        assert_kept_up(board)
    assert moved > 20


def test_a_limit_of_exchanges_and_of_time_is_kept():
    instance = load_instance(problem_of())
    board = one_node(instance)
    assert improve_mobile(board, 1e-9, 50.0, 0, Watch(), limit=1) <= 1
    where = list(board.where)
    assert improve_mobile(board, 1e-9, 50.0, 0, Watch(0.0)) == 0
    assert iterate_mobile(board, 1e-9, 100, 0, Watch(0.0)) == 0
    assert board.where == where


def test_an_assignment_that_is_not_valid_is_left_alone():
    instance = load_instance(problem_of())
    board = one_node(instance)
    board.apply([(0, None, ())])
    assert improve_mobile(board, 1e-9, 50.0, 0, Watch()) == 0
    assert iterate_mobile(board, 1e-9, 100, 0, Watch()) == 0


def test_a_margin_is_kept():
    instance = load_instance(problem_of())
    board = one_node(instance)
    board.spare(0.85)
    free = list(board.free)
    improve_mobile(board, 1e-9, 50.0, 0, Watch())
    for now, then, spare in zip(board.free, free, board.arrays.spare, strict=True):
        assert now >= min(then, spare)
    assert replace(problem_of(), rules=()).plain
