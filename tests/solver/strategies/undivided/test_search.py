"""What a search over undivided models holds: the best, its bound, and only proofs that check."""

import math
import random

import numpy as np
import pytest

from kvplace.core.certificates.certificate import Bound, check_certificate
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.placement import Placement
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.option_sets import Verdict
from kvplace.solver.construct.best_fit_decreasing import bisect_target
from kvplace.solver.strategies.stages import Settings
from kvplace.solver.strategies.undivided.strategy import UndividedSearch
from oracle import solve_exactly
from tiny import byte_problem, random_problem


def searches(seed, count, *, listener=None):
    """Yield random searches with a valid assignment that is not the best, and the optimum."""
    draw = random.Random(seed)
    while count:
        problem = random_problem(draw)
        truth = solve_exactly(problem, leximax=False)
        search = UndividedSearch(problem, Settings(watch=Watch(listener=listener)))
        gpu_of = bisect_target(search.instance, tolerance=0.5)
        if gpu_of is None or not truth.optimum:
            continue
        count -= 1
        search.board = Assignment.single(search.instance, gpu_of)
        yield draw, problem, search, float(truth.optimum)


def test_at_first_it_knows_a_bound_that_no_placement_passes():
    raised = 0
    for _, problem, search, optimum in searches(1, 40):
        fresh = UndividedSearch(problem, Settings())
        assert fresh.value == math.inf
        assert fresh.placement is None
        assert 0 < fresh.low == search.low <= optimum * (1 + 1e-12)
        proof = fresh.proof
        assert proof.value <= fresh.low
        if proof.certificate is not None:
            assert check_certificate(problem, proof.certificate) == ""
            raised += proof.value >= fresh.low * (1 - 1e-9)
    assert raised > 30


def test_a_start_read_back_is_the_placement_that_was_given():
    for _, problem, search, _ in searches(2, 25):
        placement = search.placement
        assert not evaluate(problem, placement).violations
        other = UndividedSearch(problem, Settings())
        other.take_start(placement)
        assert other.board is None
        assert other.given == search.board.gpu_of
        again = Assignment.single(other.instance, other.given)
        assert again.pressure == search.board.pressure


def test_only_a_better_assignment_is_kept():
    instance = UndividedSearch(byte_problem([20, 20], [(4, 9.0), (4, 5.0)]), Settings())
    apart = Assignment.single(instance.instance, [0, 1])
    together = Assignment.single(instance.instance, [0, 0])
    assert apart.worst() < together.worst()
    for offers in ([apart, together], [together, apart], [apart, apart.copy()]):
        instance.board = None
        for state in offers:
            instance.offer(state)
        assert instance.board is apart
    broken = Assignment(instance.instance, [((0,),), ()])
    broken.pressure[0] = math.inf
    instance.board = None
    instance.offer(broken)
    assert instance.board is None


@pytest.mark.parametrize("seed", range(2))
def test_lowering_and_balancing_never_worsen_and_count_their_steps(seed):
    moved = 0
    for _, problem, search, optimum in searches(10 + seed, 30):
        before = search.value
        search.limit = 3
        search.lower()
        assert search.steps <= 3
        assert search.value <= before
        search.limit = None
        search.lower()
        lowest, steps = search.value, search.steps
        assert lowest >= optimum * (1 - 1e-9)
        profile = sorted(search.board.pressure, reverse=True)
        search.balance(math.inf)
        assert search.value <= lowest
        assert sorted(search.board.pressure, reverse=True) <= profile
        assert search.steps >= steps
        moved += search.steps
        value = evaluate(problem, search.placement).value
        assert value == pytest.approx(search.value, rel=1e-9)
    assert moved > 20


def test_a_margin_leaves_memory_free_where_more_is_taken():
    """Without a margin the hot model's company fits the small GPU but for half of that."""
    problem = byte_problem([100, 40], [(10, 50.0), (30, 5.0)])
    for margin, moves in [(0.0, True), (0.2, True), (0.5, False)]:
        search = UndividedSearch(problem, Settings())
        hot = list(search.instance.memory).index(100)
        search.board = Assignment.single(search.instance, [hot, hot])
        search.lower(margin=margin)
        assert (search.steps > 0) == moves
        free = min(f / m for f, m in zip(search.board.free, search.instance.memory, strict=True))
        assert free >= min(margin, 0.6)


def test_the_program_has_the_best_assignment_among_its_columns():
    for _, _, search, optimum in searches(5, 20):
        program = search.program
        assert search.program is program
        verdict = program.decide(search.value * (1 + 1e-6), Watch())
        assert not verdict.impossible
        if search.value > optimum * (1 + 1e-6):
            continue
        assert not program.decide(optimum * (1 + 1e-6), Watch()).impossible


def test_what_column_generation_proves_becomes_a_bound_that_checks():
    raised = 0
    for _, problem, search, optimum in searches(6, 30):
        low = search.low
        for part in (0.9, 0.99, 1 - 1e-6):
            verdict = search.program.decide(optimum * part, Watch())
            if verdict.impossible and verdict.target > low:
                search.deciding.verdicts.append(verdict)
        search.adopt()
        assert low <= search.low <= optimum * (1 + 1e-9)
        assert search.deciding.verdicts == []
        assert search.deciding.value == search.low
        if search.low > low:
            raised += 1
            assert search.proof.method == "configuration"
            assert check_certificate(problem, search.proof.certificate) == ""
    assert raised >= 3


def test_a_claim_that_does_not_check_raises_nothing():
    """Prices that prove nothing, named as the proof of twice the optimum."""
    for _, _, search, optimum in searches(7, 20):
        low, n = search.low, search.instance.n
        types = len(search.program.kinds)
        for prices in (np.zeros(n), np.full(n, 1e-3), np.ones(n)):
            verdict = Verdict(2 * optimum, 2.0, prices, np.full(types, float(n)), exact=True)
            search.deciding.verdicts.append(verdict)
        search.adopt()
        assert search.low == low


def test_a_search_that_ended_is_adopted_with_its_tree_or_as_a_search():
    for _, problem, search, optimum in searches(8, 20):
        low, target = search.low, optimum * (1 - 1e-9)
        if target <= low:
            continue
        verdict = search.program.decide(target, Watch())
        proof = search.deciding
        proof.value, proof.searched = target, verdict
        search.adopt()
        assert search.deciding.searched is None
        assert low <= search.low <= optimum * (1 + 1e-12)
        certificate = search.proof.certificate
        if certificate is not None:
            assert check_certificate(problem, certificate) == ""


def test_listeners_hear_of_bounds_and_values_that_only_improve():
    told = []
    for _, _, search, _ in searches(9, 10, listener=told.append):
        del told[:]
        search.lower()
        search.solve(None)
        bounds = [progress.bound for progress in told]
        assert bounds == sorted(bounds)
        assert told[-1].value == pytest.approx(search.value, rel=1e-9)


def test_density_counts_models_per_gpu():
    search = UndividedSearch(byte_problem([9] * 4, [(1, 1.0)] * 6), Settings())
    assert search.density == 1.5


def test_a_problem_that_cannot_be_has_a_bound_without_end():
    search = UndividedSearch(byte_problem([9, 9], [(12, 1.0)]), Settings())
    assert search.low == math.inf
    search.solve(None)
    assert search.placement is None
    assert search.proof.value == math.inf
    assert check_certificate(search.problem, search.proof.certificate) == ""


def test_a_bound_is_certified_for_the_hottest_model_as_the_problem_counts_them():
    """The hottest model is the last of the file and the first of the instance."""
    search = UndividedSearch(byte_problem([50, 50], [(5, 1.0), (6, 1.0), (7, 900.0)]), Settings())
    assert search.bound.method == "single-model"
    assert search.proof.certificate.prices == (0, 0, 1)
    assert check_certificate(search.problem, search.proof.certificate) == ""
    search.bound = Bound(search.low * 1.5, "single-model")
    assert search.proof.value <= search.low


def test_refining_ends_with_the_steps_allowed():
    draw = random.Random(3)
    rows = [(draw.randint(4, 14), draw.uniform(0, 20)) for _ in range(14)]
    problem = byte_problem([70, 90, 70, 90], rows)
    whole = UndividedSearch(problem, Settings())
    ids = [gpu.id for gpu in problem.fleet.gpus]
    start = Placement.single({f"m{j}": ids[j % 4] for j in range(14)})
    whole.refine(start, 1e-9, 0.0)
    assert whole.steps > 2
    assert not whole.limited
    for limit in range(3):
        search = UndividedSearch(problem, Settings(iterations=limit))
        search.refine(start, 1e-9, 0.0)
        assert search.steps == limit
        assert search.limited
        assert search.value >= whole.value * (1 - 1e-12)
