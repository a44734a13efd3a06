"""What a search over clusters holds: the best assignment, its bound, and only proofs that hold."""

import math
from dataclasses import replace

import pytest

import made
from boards import drawn_boards
from kvplace.core.certificates.certificate import check_certificate
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.models.objective import Objective
from kvplace.core.rules.forbid import Forbid
from kvplace.core.rules.places import Places
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.bounds import option_prices
from kvplace.solver.bounds.certify import checked
from kvplace.solver.clock import Watch
from kvplace.solver.exact.close_gap import Effort
from kvplace.solver.strategies import assigned
from kvplace.solver.strategies.assigned import board_of
from kvplace.solver.strategies.cluster.strategy import ClusterSearch
from kvplace.solver.strategies.stages import Settings
from oracle_splits import solve_by_force
from tiny import GIB

ONE = 1 + 1e-9
BOTH = Objective.REQUESTS, Objective.PRESSURE


def searches(seed, count, *, objectives=BOTH, watch=None, valid=True):
    """Yield random searches, each with a random assignment as its best."""
    for draw, problem, board in drawn_boards(seed, count, objectives=objectives, valid=valid):
        search = ClusterSearch(problem, Settings(watch=watch or Watch()))
        search.board = Assignment(search.instance, board.where)
        yield draw, problem, search


def unruled(problem):
    """The problem without what its bounds leave out."""
    models = tuple(replace(model, resources={}) for model in problem.models)
    return replace(problem, models=models, rules=())


@pytest.mark.parametrize("seed", range(2))
def test_what_it_says_of_its_board_is_what_core_says_of_the_placement(seed):
    for _, problem, search in searches(seed, 25):
        evaluation = evaluate(problem, search.placement)
        assert not evaluation.violations
        assert evaluation.value == pytest.approx(search.value, rel=1e-9)
        broken = [violation.amount for violation in evaluation.preferences]
        assert any(broken) == any(search.best.flaws)
        again = board_of(search.problem, search.instance, search.placement).where
        assert [sorted(copies) for copies in again] == [sorted(c) for c in search.best.where]


def test_a_board_that_is_not_valid_has_no_value_and_no_placement():
    seen = 0
    for _, _, search in searches(3, 40, valid=False):
        if search.best.valid:
            continue
        seen += 1
        assert search.value == math.inf
        assert search.placement is None
        assert not search.closed or search.low == math.inf
    assert seen > 5


def test_the_first_bound_and_its_proof_hold():
    certified = 0
    for _, problem, search in searches(4, 25):
        truth = solve_by_force(unruled(problem))
        proof = search.proof
        assert proof.value <= search.low * ONE
        if not any(search.best.flaws):
            assert search.low <= truth.value * ONE
        if proof.certificate is not None:
            certified += 1
            assert check_certificate(problem, proof.certificate) == ""
    assert certified > 15


@pytest.mark.parametrize("objective", BOTH)
def test_a_bound_raised_by_size_classes_holds_and_is_raised_once(objective):
    raised, idle = 0, 0
    for _, problem, search in searches(5, 12, objectives=(objective,)):
        optimum = solve_by_force(unruled(problem)).value
        low = search.low
        search.raise_bound(search.best)
        classes = search.classes
        assert low <= search.low <= optimum * ONE
        raised += search.low > low
        idle += low == 0  # nobody asks for anything
        search.raise_bound(search.best)
        assert search.classes is classes
        proof = search.proof
        assert proof.value <= search.low * ONE
        if proof.certificate is not None:
            assert check_certificate(problem, proof.certificate) == ""
    assert (raised if objective is Objective.REQUESTS else idle) >= 1


def test_under_several_pressures_no_classes_are_asked():
    _, _, search = next(searches(6, 1, objectives=(Objective.PRESSURE,)))
    low = search.low
    search.raise_bound(search.best)
    assert search.classes is None
    assert search.low == low


def test_raising_a_bound_gives_back_the_time_it_kept():
    for _, _, search in searches(7, 3, watch=Watch(1000.0)):
        search.watch.keep(100.0)
        search.raise_bound(search.best)
        assert 880 < search.watch.left < 900


def test_a_search_of_all_ways_closes_any_gap_and_says_what_it_broke():
    broken = 0
    for _, problem, search in searches(8, 40):
        search.searched()
        assert search.closed
        assert search.low == search.value
        proof = search.proof
        assert proof.value <= search.value * ONE
        if any(search.best.flaws):
            broken += 1
            assert proof.method == "search"
            amounts = {}
            for violation in evaluate(problem, search.placement).preferences:
                amounts[violation.tier] = amounts.get(violation.tier, 0) + violation.amount
            assert sum(proof.breaches) == pytest.approx(sum(amounts.values()))
    assert broken > 3


def test_a_broken_soft_rule_leaves_the_gap_open():
    """The value meets the bound, yet a placement that keeps the rule might exist."""
    model = made.model("a", 20, 1.0)
    soft = Forbid(("a",), 1, Places(nodes=("h0",)))
    search = ClusterSearch(made.problem([model], made.fleet(80, 80), soft), Settings())
    at = {search.problem.fleet.gpus[g].id: g for g in search.instance.gpu_index}
    for node, closed in [("h0/0", False), ("h1/0", True)]:
        search.board = Assignment(search.instance, [((at[node],),)])
        assert search.value == pytest.approx(search.low, rel=1e-9)
        assert search.closed == closed


@pytest.mark.parametrize("degree", [1, 2])
def test_what_fits_nowhere_is_closed_at_once(degree):
    """One model is too large for its degree, and another is split."""
    models = [made.model("a", 81 * degree, tensor_parallel=(degree,))]
    models.append(made.model("b", 2, tensor_parallel=(2,)))
    search = ClusterSearch(made.problem(models, made.fleet(80, gpus=2)), Settings())
    assert search.low == math.inf
    assert search.closed
    assert search.placement is None
    assert search.proof.value == math.inf
    assert check_certificate(search.problem, search.proof.certificate) == ""


def test_a_model_that_is_where_it_may_not_be_is_taken_off():
    models = [made.model("a", 20), made.model("b", 20)]
    free = ClusterSearch(made.problem(models, made.fleet(80, 80)), Settings())
    free.solve(None)
    gpu_of = {replica.model: replica.gpus[0] for replica in free.placement.replicas}
    node = gpu_of["a"].split("/")[0]
    rule = Forbid(("a",), None, Places(nodes=(node,)))
    bound = ClusterSearch(made.problem(models, made.fleet(80, 80), rule), Settings())
    board = board_of(bound.problem, bound.instance, free.placement)
    names = [bound.problem.names[i] for i in bound.instance.model_index]
    assert board.where[names.index("a")] == ()
    assert board.where[names.index("b")] != ()
    assert board.missing == 20 * GIB


def test_the_program_knows_the_sets_of_the_best_board():
    for _, problem, search in searches(9, 10, objectives=(Objective.PRESSURE,)):
        if not search.value:
            continue
        program = search.program
        assert search.program is program
        verdict = program.decide(search.value * (1 + 1e-6), Watch())
        uneven = any(map(search.instance.is_uneven, range(search.instance.n)))
        assert uneven or not verdict.impossible
        optimum = solve_by_force(unruled(problem)).value
        below = program.decide(optimum * 0.9, Watch())
        assert below.target == optimum * 0.9


@pytest.mark.parametrize("seed", range(2))
def test_what_the_program_proves_is_adopted_where_it_checks(seed):
    raised = 0
    for _, problem, search in searches(20 + seed, 12, objectives=(Objective.PRESSURE,)):
        optimum = solve_by_force(unruled(problem)).value
        low = search.low
        if not optimum or optimum == math.inf:
            continue
        for part in (0.9, 1 - 1e-6):
            verdict = search.program.decide(optimum * part, Watch())
            if verdict.impossible:
                search.deciding.verdicts.append(verdict)
        search.adopt()
        assert low <= search.low <= optimum * ONE
        assert search.deciding.verdicts == []
        assert search.deciding.value == search.low
        if search.low > low:
            raised += 1
            assert check_certificate(problem, search.proof.certificate) == ""
    assert raised >= 1


def test_a_lower_bound_is_asked_for_where_the_best_does_not_check(monkeypatch):
    raised = 0
    for _, problem, search in searches(24, 8, objectives=(Objective.PRESSURE,)):
        optimum, low = solve_by_force(unruled(problem)).value, search.low
        verdict = search.program.decide(optimum * (1 - 1e-6), Watch())
        if not (verdict.impossible and math.isfinite(verdict.share) and verdict.target > low):
            continue
        search.deciding.verdicts.append(verdict)

        def below(problem, method, prices, watch, most=verdict.target):
            return checked(problem, method, prices, watch) if prices.threshold < most else None

        monkeypatch.setattr(option_prices, "checked", below)
        search.adopt()
        assert low <= search.low < verdict.target
        if search.low > low:
            raised += 1
            assert search.low == (low + verdict.target) / 2
            assert check_certificate(problem, search.proof.certificate) == ""
    assert raised >= 1


def test_no_bound_is_sought_that_could_not_be_checked():
    [(_, _, search)] = searches(25, 1, objectives=(Objective.PRESSURE,), watch=Watch(100.0))
    search.checking, columns = 200.0, len(search.program._columns)
    assigned.decided(search, Effort(), closing=True)
    assert (search.deciding.verdicts, len(search.program._columns)) == ([], columns)


def test_large_and_tiny_are_products_of_models_and_gpus():
    search = ClusterSearch(made.problem([made.model("a", 2)], made.fleet(8, gpus=4)), Settings())
    size = search.instance.n * search.instance.g
    for knobs, tiny, large in [((size, size), True, False), ((size - 1, size - 1), False, True)]:
        search.knobs = replace(search.knobs, tiny=knobs[0], large=knobs[1])
        assert (search.tiny, search.large) == (tiny, large)
    assert search.balance_steps == search.knobs.steps + 10 * search.instance.g
