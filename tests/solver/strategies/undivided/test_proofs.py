"""The stages that prove assignments of undivided models good, each by itself beside brute force."""

import math
import random
from dataclasses import replace
from itertools import islice, pairwise

import pytest

import made
from kvplace.bench.families import stress
from kvplace.core.certificates.certificate import check_certificate
from kvplace.core.result import OPTIMAL_GAP
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.option_sets import Verdict
from kvplace.solver.construct import excess
from kvplace.solver.construct.best_fit_decreasing import bisect_target
from kvplace.solver.strategies.assigned import ask_program, rank, refute
from kvplace.solver.strategies.params import Params, UndividedParams
from kvplace.solver.strategies.stages import Settings
from kvplace.solver.strategies.undivided.stages import decide, enumerate_all, pack, start
from kvplace.solver.strategies.undivided.strategy import UndividedSearch
from oracle import exact_profile, solve_exactly
from tiny import byte_problem, random_problem

ONE = 1 + 1e-9


def search_of(problem, watch=None, **knobs):
    params = replace(Params(), undivided=replace(UndividedParams(), **knobs))
    return UndividedSearch(problem, Settings(watch=watch or Watch(), params=params))


def placed(problem, watch=None, tolerance=0.3, **knobs):
    """A search whose best is a rough start; None where there is none."""
    search = search_of(problem, watch, **knobs)
    gpu_of = bisect_target(search.instance, tolerance=tolerance)
    if gpu_of is None:
        return None
    search.board = Assignment.single(search.instance, gpu_of)
    return search


def cases(seed, count, **knobs):
    """Yield small problems, each with its optimum and a search with a rough start."""
    draw = random.Random(seed)
    while count:
        problem = random_problem(draw)
        truth = solve_exactly(problem)
        search = placed(problem, **knobs)
        if search is None or not truth.optimum:
            continue
        count -= 1
        yield problem, truth, search


def interrupted():
    watch = Watch()
    watch.interrupt()
    return watch


def assert_proved(problem, truth, search):
    """What is said to be proved holds, and checks where there is a certificate."""
    optimum = float(truth.optimum)
    assert search.low <= optimum * ONE
    assert search.value >= optimum / ONE
    assert search.board.valid
    if search.proof.certificate is not None:
        assert check_certificate(problem, search.proof.certificate) == ""


def test_nothing_better_is_proved_where_nothing_is():
    closed = 0
    for problem, truth, search in cases(1, 30):
        low, gpu_of = search.low, search.board.gpu_of
        ask_program(search)
        assert search.board.gpu_of == gpu_of
        assert search.low >= low
        assert_proved(problem, truth, search)
        closed += search.value <= search.low * ONE
        if search.value > float(truth.optimum) * (1 + 1e-6):
            assert search.value > search.low
    assert closed > 5


@pytest.mark.parametrize("start", [0.3, 1e-9], ids=["rough", "fine"])
def test_deciding_closes_the_gap_of_small_fleets(start):
    closed, total = 0, 0
    for problem, truth, search in cases(2, 30):
        if start < 0.1:
            search.lower()
        before, low = search.value, search.low
        decide(search)
        assert search.value <= before
        assert search.low >= low
        assert_proved(problem, truth, search)
        closed += search.value <= search.low * (1 + 2e-9)
        total += 1
    assert closed >= 0.9 * total


def test_deciding_gives_back_the_time_it_kept():
    search = placed(byte_problem([60, 60], [(9, 3.0), (8, 5.0), (7, 1.0)]), Watch(1000.0))
    search.watch.keep(100.0)
    decide(search)
    assert 890 < search.watch.left < 900


def test_many_gpus_with_several_models_each_are_not_searched_before_late_rounds():
    """The bound rises all the same; a search over covers would end on a better assignment."""
    problem = byte_problem([60] * 4, [(4 + j % 5, 1.0 + j % 7) for j in range(12)])
    for searched, round_, better in [(0, 0, False), (4, 0, True), (2, 1, True), (2, 0, False)]:
        search = search_of(problem, searched_gpus=searched, best_fit_density=0)
        search.board = Assignment.single(search.instance, [0] * 6 + [1, 2, 3] * 2)
        search.round, before = round_, search.value
        decide(search)
        assert (search.value < before) == better


def test_all_placements_of_a_tiny_fleet_are_the_truth():
    for problem, truth, search in cases(3, 30):
        enumerate_all(search)
        assert_proved(problem, truth, search)
        assert search.value == pytest.approx(float(truth.optimum), rel=1e-9)
        assert search.low >= search.value * (1 - OPTIMAL_GAP)
        assert search.bound.method in {"search", "single-model", "fluid"}


def test_without_an_assignment_all_placements_are_tried_as_well():
    rows = [(7, 0.1), (3, 0.1), (5, 0.1), (5, 0.1), (4, 0.1), (4, 0.1), (2, 0.1)]
    search = search_of(byte_problem([11, 11, 11], rows), enumerated=10**6)
    enumerate_all(search)
    assert sorted(search.board.free) == [1, 1, 1]
    short = search_of(byte_problem([11, 11, 11], [*rows, (1, 0.0)]), enumerated=10**6)
    enumerate_all(short)
    assert short.board is None
    assert short.low == math.inf


def test_a_search_given_up_proves_nothing():
    rows = [(3 + j, 1.0 + j) for j in range(12)]
    search = placed(byte_problem([60, 50, 70], rows), enumerated=3)
    low, method = search.low, search.bound.method
    enumerate_all(search)
    assert (search.low, search.bound.method) == (low, method)


@pytest.mark.parametrize("fits", [True, False])
def test_weights_are_packed_or_proved_not_to_fit(fits):
    # 7 + 3, 5 + 5 and 4 + 4 + 2 bytes fill three GPUs of 11 but for the byte that must stay free.
    rows = [(7, 0.1), (3, 0.1), (5, 0.1), (5, 0.1), (4, 0.1), (4, 0.1), (2, 0.1)]
    search = search_of(byte_problem([11, 11, 11], rows if fits else [*rows, (1, 0.0)]))
    pack(search)
    assert (search.board is not None) == fits
    assert (search.low == math.inf) == (not fits)
    if fits:
        assert search.board.valid


def test_packing_agrees_with_brute_force():
    draw, answers = random.Random(11), []
    while len(answers) < 40:
        memories = [draw.randint(9, 16) for _ in range(3)]
        rows = [(draw.randint(2, 8), float(draw.randint(0, 3))) for _ in range(6)]
        if not 0.8 < sum(size for size, _ in rows) / sum(memories) < 1.0:
            continue
        problem = byte_problem(memories, rows)
        truth, search = solve_exactly(problem, leximax=False), search_of(problem)
        pack(search)
        answers.append(truth.feasible)
        assert (search.board is not None) == truth.feasible
        assert (search.low == math.inf) == (not truth.feasible)
        if truth.feasible:
            assert search.value >= float(truth.optimum) / ONE
    assert 5 < sum(answers) < 35


def test_ranks_are_proved_by_the_best_profile_that_there_is():
    for problem, truth, search in cases(7, 20, ranked=10**6):
        enumerate_all(search)
        rank(search)
        gpus = len(problem.fleet.gpus)
        assert search.ranks == gpus
        found = exact_profile(problem, search.placement)
        for have, best in zip(found, truth.profile, strict=True):
            assert float(have) <= float(best) * (1 + 2e-9)
            if have < best * (1 - 1e-9):
                break


@pytest.mark.parametrize("stage", [decide, ask_program, enumerate_all, rank])
def test_an_interrupt_leaves_the_assignment_and_a_bound_that_holds(stage):
    problem = byte_problem([40, 40], [(4 + j % 5, 1.0 + j % 7) for j in range(10)])
    optimum = float(solve_exactly(problem, leximax=False).optimum)
    search = placed(problem, interrupted())
    gpu_of, low = search.board.gpu_of, search.low
    stage(search)
    assert search.board.gpu_of == gpu_of
    assert low <= search.low <= optimum * ONE
    assert search.ranks <= 1


def test_prices_of_hot_models_raise_the_bound():
    # stress-7-5: 96 models on 24 GPUs, loads heavy-tailed. The fluid bound is 0.6691.
    problem = next(islice(stress(7), 5, None)).problem
    search = UndividedSearch(problem, Settings())
    start(search)
    assert search.low < 0.6692
    decide(search)
    assert search.low > 0.679
    assert search.bound.method == "configuration"
    assert check_certificate(problem, search.proof.certificate) == ""


@pytest.mark.parametrize("models", [45, 720])
def test_memory_that_does_not_suffice_is_proved_by_the_program(monkeypatch, models):
    """They are refuted after one order."""
    tried = []
    monkeypatch.setattr(excess, "packed", lambda *given: tried.append(given[-1]))
    sizes = [41, 31, 36]
    crowded = made.problem(
        [made.model(f"m{j}", sizes[j % 3]) for j in range(models)],
        made.fleet(*[80] * (models * 22 // 45)),
    )
    search = search_of(crowded)
    pack(search)
    assert tried == [1]
    assert search.low == math.inf
    assert check_certificate(crowded, search.bound.certificate) == ""


def test_refuting_leaves_time_for_further_orders(monkeypatch):
    search = search_of(byte_problem([60] * 2, [(9, 3.0), (8, 5.0), (7, 1.0)]), Watch(1000.0))
    given = []

    def decide(_target, watch, **_):
        given.append(watch.left)
        return Verdict(math.inf, 1.0, None, None, exact=False)

    monkeypatch.setattr(search.program, "decide", decide)
    refute(search, 60)
    assert given[0] <= 150


def test_memory_that_is_full_is_packed():
    draw, room = random.Random(2), 80
    cuts = [sorted(draw.sample(range(4, 76), 3)) for _ in range(8)]
    sizes = [b - a for cut in cuts for a, b in pairwise([0, *cut, room - 1])]
    draw.shuffle(sizes)
    problem = byte_problem([room] * 8, [(size, 1.0) for size in sizes])
    search = search_of(problem, packing_nodes=0)
    pack(search)
    assert search.placed
