"""Some assignment is found soon, and a search that ends then returns it."""

import math
import random
from itertools import pairwise

import pytest

import made
from boards import assert_kept_up, undivided
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.models.objective import Objective
from kvplace.solver.bounds.fluid import FluidBound
from kvplace.solver.clock import Progress, Watch
from kvplace.solver.construct import target_search
from kvplace.solver.construct.target_search import construct, some_assignments
from kvplace.solver.instance.door import load_instance, unload_copies
from kvplace.solver.instance.options import Chooser
from kvplace.solver.solve import solve
from kvplace.solver.strategies.params import ClusterParams, Params
from oracle_splits import solve_by_force
from splits import random_split_problem
from tiny import byte_problem


def test_some_assignments_are_whole_and_valid():
    draw, found = random.Random(3), 0
    for _ in range(40):
        problem = random_split_problem(draw, models=4)
        chooser = Chooser(load_instance(problem))
        low = FluidBound(chooser).value
        if not 0 < low < math.inf:
            continue
        for board in some_assignments(chooser, low, Watch()):
            found += 1
            placement = unload_copies(problem, chooser.instance, board.where)
            assert not evaluate(problem, placement).violations
    assert found >= 20
    assert not list(some_assignments(chooser, 1.0, Watch(0.0)))


def test_all_models_are_placed_in_the_time_kept_for_what_comes_after():
    models = [made.model(f"m{at}", 1, 1.0) for at in range(3 * target_search.PLACED)]
    problem = made.problem(models, made.fleet(80, 80, 80, gpus=4))
    watch = Watch(600.0)
    watch.keep(600.0)
    board = next(construct(Chooser(load_instance(problem)), 1.0, watch))
    assert board.valid
    assert watch.stop


def test_a_search_that_is_interrupted_while_it_configures_has_a_plan():
    models = [made.model(f"m{at}", 10 + at, 1.0 + at, tensor_parallel=(1, 2)) for at in range(12)]
    problem = made.problem(models, made.fleet(80, 80, 80, gpus=4))

    def stop(progress: Progress) -> None:
        if progress.phase == "configure":
            watch.interrupt()

    watch = Watch(60.0, stop)
    result = solve(problem, watch=watch, params=Params(cluster=ClusterParams(large=0)))
    assert result.placement is not None
    assert not result.evaluation.violations


OBJECTIVES = Objective.REQUESTS, Objective.TOKENS


def cases(seed, count):
    draw = random.Random(seed)
    while count:
        problem = random_split_problem(draw, models=4, objectives=OBJECTIVES)
        chooser = Chooser(load_instance(problem))
        if not all(chooser.instance.options):
            continue
        bound = FluidBound(chooser).value
        if bound < math.inf:
            count -= 1
            yield problem, chooser, bound


@pytest.mark.parametrize("seed", range(2))
def test_starts_are_never_better_than_the_optimum_and_often_near_it(seed):
    near = valid = 0
    for problem, chooser, bound in cases(seed, 30):
        truth = solve_by_force(problem)
        boards = list(construct(chooser, bound, Watch()))
        assert boards
        for board in boards:
            assert_kept_up(board)
            if board.valid and board.flaws[1:] == tuple(truth.breaches):
                assert board.worst() >= truth.value * (1 - 1e-9)
        found = [board for board in boards if board.valid]
        valid += bool(found)
        if truth.feasible and truth.value and found:
            near += min(board.worst() for board in found) <= truth.value * 1.5
    assert valid > 15
    assert near > 8


def test_no_bound_and_no_time_still_give_a_start():
    for _, chooser, bound in cases(3, 10):
        assert list(construct(chooser, 0.0, Watch()))
        assert len(list(construct(chooser, bound, Watch(0.0)))) == 1


def test_undivided_models_are_placed_too():
    instance = undivided(2, gpus=5, models=14)
    chooser = Chooser(instance)
    bound = FluidBound(chooser).value
    boards = list(construct(chooser, bound, Watch()))
    best = min(board.worst() for board in boards if board.valid)
    assert bound <= best <= bound * 3


def test_many_models_and_gpus_get_few_rules(monkeypatch):
    chooser = Chooser(undivided(2, gpus=5, models=14))
    many = len(target_search._rules(chooser))
    monkeypatch.setattr(target_search, "LARGE", 10)
    few = target_search._rules(chooser)
    assert len(few) == 2 < many
    assert [order for _, order in few] == ["apart", "room"]
    assert list(construct(chooser, FluidBound(chooser).value, Watch()))


def test_what_no_rule_places_is_packed_by_exchanges_last():
    # Six GPUs of 1,000 MiB, each cut into four parts that leave four of them.
    mib, by_rules, last = 2**20, 0, 0
    for seed in range(4):
        draw, parts = random.Random(seed), []
        for _ in range(6):
            cuts = sorted(draw.sample(range(60, 936), 3))
            parts += [(b - a) * mib for a, b in pairwise([0, *cuts, 996])]
        draw.shuffle(parts)
        problem = byte_problem([1000 * mib] * 6, [(size, 1.0) for size in parts])
        boards = list(construct(Chooser(load_instance(problem)), 0.5, Watch()))
        by_rules += any(board.valid for board in boards[:-1])
        last += boards[-1].valid
    assert by_rules == 0
    assert last >= 3


def test_many_models_that_no_rule_places_are_packed_after_the_first(monkeypatch):
    monkeypatch.setattr(target_search, "LARGE", 0)
    mib, draw, parts = 2**20, random.Random(0), []
    for _ in range(20):
        cuts = sorted(draw.sample(range(60, 936), 3))
        parts += [(b - a) * mib for a, b in pairwise([0, *cuts, 996])]
    draw.shuffle(parts)
    instance = load_instance(byte_problem([1000 * mib] * 20, [(size, 1.0) for size in parts]))
    first, second = construct(Chooser(instance), 0.5, Watch())
    assert first.missing
    assert second.valid
