"""How a search over clusters begins: every start is one that core accepts, in time and in order."""

import math
from dataclasses import replace

import pytest

import made
from boards import drawn_boards
from kvplace.core.certificates.certificate import check_certificate
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.core.result import Status
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.solve import solve
from kvplace.solver.strategies.cluster import starts
from kvplace.solver.strategies.cluster.starts import (
    configure,
    descend,
    exchange_many,
    mend,
    start,
    start_as_reference,
)
from kvplace.solver.strategies.cluster.strategy import ClusterSearch
from kvplace.solver.strategies.params import ClusterParams, Params
from kvplace.solver.strategies.stages import Settings
from kvplace.units import GIB
from oracle_splits import solve_by_force, worth
from timings import PowerTiming

BOTH = Objective.REQUESTS, Objective.PRESSURE


def search_of(problem, *, watch=None, iterations=None, **knobs):
    params = replace(Params(), cluster=replace(ClusterParams(), **knobs))
    settings = Settings(watch=watch or Watch(), iterations=iterations, params=params)
    return ClusterSearch(problem, settings)


def searches(seed, count, *, objectives=BOTH, **given):
    """Yield random searches that have no start, and a random valid assignment for each."""
    for draw, problem, board in drawn_boards(seed, count, objectives=objectives, valid=True):
        search = search_of(problem, **given)
        yield draw, problem, search, Assignment(search.instance, board.where)


def split_fleet():
    """Models of one to four shards on two nodes of four GPUs."""
    models = [
        made.model(f"m{k}", 6 + 5 * (k % 4), 1.0 + k % 5, tensor_parallel=(1 + k % 2, 4))
        for k in range(9)
    ]
    return made.problem(models, made.fleet(80, 80, gpus=4))


@pytest.mark.parametrize("objective", [Objective.OCCUPANCY, Objective.PRESSURE])
def test_split_models_without_room_are_proved_to_have_none(objective):
    """Two shards of any two models are on no GPU together, though two thirds of memory are used."""
    demand, slo = Demand(1.0, 1.0, 0.0), SLO(1.0, 1.0, 1.0)
    models = [
        Model(f"m{k}", (96 + k) * GIB, demand, slo, 1, tensor_parallel=(2,), overhead_bytes=0)
        for k in range(9)
    ]
    timing = PowerTiming({model.name: 0.01 for model in models}, {"80GiB": 1.0}, 1.0)
    problem = Problem(tuple(models), made.fleet(*[80] * 8, gpus=2), objective, timing=timing)
    search = search_of(problem)
    start(search)
    assert (search.low, search.board, search.starts) == (math.inf, None, [])
    result = solve(problem)
    assert result.status is Status.INFEASIBLE
    assert check_certificate(problem, result.proof.certificate) == ""


def test_where_a_rule_leaves_models_out_link_domains_are_filled(monkeypatch):
    models = [made.model(f"m{k}", 16 + k, tensor_parallel=(2, 4)) for k in range(20)]
    problem = made.problem(models, made.fleet(80, 80, gpus=4))
    search = search_of(problem, watch=Watch(1000))
    lacking = Assignment(search.instance)
    monkeypatch.setattr(starts, "construct", lambda *_, **__: iter([lacking]))
    monkeypatch.setattr(starts, "ready", lambda *_: True)
    start(search)
    assert search.placed
    assert search.best.valid
    assert search.best.worst() < 2 * search.low


def interrupted():
    watch = Watch()
    watch.interrupt()
    return watch


@pytest.mark.parametrize("tiny", [0, 64])
@pytest.mark.parametrize("begin", [start, start_as_reference])
def test_what_is_begun_is_no_better_than_the_optimum(begin, tiny):
    valid, total = 0, 0
    for _, problem, search, _ in searches(1, 10, tiny=tiny):
        begin(search)
        assert search.low == math.inf or search.board is not None
        total += 1
        if search.placement is None:
            continue
        valid += 1
        truth = solve_by_force(problem)
        assert worth(problem, search.placement) >= (truth.breaches, truth.value * (1 - 1e-9))
    assert valid > 0.7 * total


def test_the_best_start_comes_first():
    for _, _, search, board in searches(2, 15, tiny=0):
        search.starts = [board]
        start(search)
        assert search.board is search.starts[0]
        assert search.starts == sorted(search.starts, key=Assignment.worth)
        assert board in search.starts


def test_a_start_given_spares_the_constructions():
    for _, _, search, board in searches(3, 10):
        search.starts = [board]
        start(search)
        assert search.starts == [board]
        assert search.board is board


def test_the_first_construction_will_do_for_a_tiny_cluster():
    for _, _, search, _ in searches(4, 10, tiny=10**6):
        start(search)
        assert len(search.starts) == 1


@pytest.mark.parametrize("begin", [start, start_as_reference])
def test_nothing_is_begun_where_nothing_is_possible(begin):
    models = [made.model("a", 400, tensor_parallel=(4,)), made.model("b", 1)]
    search = search_of(made.problem(models, made.fleet(80, gpus=4)))
    assert search.low == math.inf
    begin(search)
    assert search.board is None
    assert search.starts == []


def test_an_interrupt_leaves_what_there_was_before():
    for _, _, search, board in searches(5, 10, watch=interrupted()):
        search.board = board
        where = list(board.where)
        start(search)
        assert search.board is board
        search.starts = [board]
        descend(search)
        assert search.best.where == where
        assert search.steps == 0


@pytest.mark.parametrize("objective", BOTH)
def test_descending_betters_the_best_starts_and_keeps_the_best(objective):
    moved = 0
    for _, problem, search, board in searches(6, 12, objectives=(objective,), starts=2):
        boards = [board, board.copy(), board.copy()]
        search.starts = list(boards)
        before = board.worth()
        third = boards[2].worth()
        descend(search)
        assert search.starts == []
        assert search.best in boards[:2]
        assert search.best.worth() <= before
        assert boards[2].worth() == third
        assert not evaluate(problem, search.placement).violations
        moved += search.steps
    assert moved > 3


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_steps_of_a_descent_are_limited(limit):
    for _, _, search, board in searches(7, 10, iterations=limit):
        search.starts = [board, board.copy()]
        descend(search)
        assert search.steps <= limit


@pytest.mark.parametrize("lacking", [1, 9])
def test_a_start_that_leaves_models_out_is_mended(lacking):
    search = search_of(split_fleet(), tiny=0)
    start(search)
    assert search.placed
    where = list(search.best.where)
    where[:lacking] = [()] * lacking
    search.board = Assignment(search.instance, where)
    assert not search.placed
    mend(search)
    assert search.placed
    assert not evaluate(search.problem, search.placement).violations


def test_what_cannot_be_mended_stays_as_it_is():
    models = [made.model(f"m{k}", 50, 1.0, tensor_parallel=(1,)) for k in range(4)]
    search = search_of(made.problem(models, made.fleet(80, gpus=3)), tiny=0)
    search.board = board = Assignment(search.instance, [()] * 4)
    mend(search)
    assert search.board is board
    assert search.placement is None


@pytest.mark.parametrize("wide", [20_000, 0], ids=["every exchange", "kernels first"])
def test_many_gpus_are_exchanged_without_loss(wide):
    """By kernels and single steps in turn, on a cluster that is small enough to check."""
    moved = 0
    for _, problem, search, board in searches(8, 12, wide_gpus=wide, turns=3, large=0):
        search.starts, before = [board], board.worth()
        descend(search)
        assert search.best.worth() <= before
        assert not evaluate(problem, search.placement).violations
        moved += search.steps
    assert moved > 2


def test_exchanges_stop_at_the_steps_allowed_and_at_the_bound():
    for _, _, search, board in searches(9, 8, iterations=2, turns=3):
        exchange_many(search, board)
        assert search.steps <= 2
    for _, _, search, board in searches(9, 8, turns=5):
        if any(board.flaws) or not search.low:
            continue
        search.gap = 1e9
        exchange_many(search, board)
        told = search.steps
        exchange_many(search, board)
        assert search.steps >= told
        assert board.valid


@pytest.mark.parametrize("limit", [None, 1000.0])
def test_configurations_give_a_start_that_is_valid(limit):
    search = search_of(split_fleet(), watch=Watch(limit))
    configure(search)
    assert [board.valid for board in search.starts] == [True]
    assert search.low > 0
    assert (search.board is not None) == (limit is not None)  # one at once, lest time runs out
    start(search)
    assert search.best.valid
    assert search.value >= search.low * (1 - 1e-9)
    assert len(search.starts) == 1 + (limit is not None)


def test_configurations_out_of_time_leave_what_is_placed_at_once():
    search = search_of(split_fleet(), watch=Watch(0.0))
    configure(search)
    start(search)
    assert search.board is None or search.best.missing >= 0
    assert all(board.valid for board in search.starts[1:])


def test_where_the_time_is_up_one_plan_is_made_all_the_same(monkeypatch):
    monkeypatch.setattr(Watch, "late", 60.0)
    for large in (0, 10**9):
        search = search_of(split_fleet(), watch=Watch(0.0), tiny=0, large=large)
        start(search)
        assert search.best.valid
        assert search.watch.left == 0


def test_where_even_that_takes_too_long_a_search_over_many_ends(monkeypatch):
    monkeypatch.setattr(Watch, "late", 0.0)
    search = search_of(split_fleet(), watch=Watch(0.0), tiny=0, large=0, soon=0.0, soon_model=0.0)
    search.solve(None)
    assert search.board is None
    assert search.placement is None
    assert search.low > 0


def test_a_certificate_that_takes_too_long_is_left_out_of_a_plan():
    params = replace(Params(), cluster_certificate=1e9)
    found = solve(split_fleet(), time_limit=0.0, params=params)
    assert found.placement is not None
    assert found.bound == 0
    assert found.status is Status.FEASIBLE
