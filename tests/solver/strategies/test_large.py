"""The search by compiled kernels, on fleets small enough to check it: starts, limits and proofs."""

import math
import random
from dataclasses import replace

import pytest

from kvplace.core.certificates.certificate import check_certificate
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation import compiled_knapsack, knapsack_kernel
from kvplace.solver.construct.compiled_starts import most_room_first
from kvplace.solver.kernels import interpreted
from kvplace.solver.large_neighbourhood import warm
from kvplace.solver.strategies.large import search, stages
from kvplace.solver.strategies.large.strategy import LargeSearch
from kvplace.solver.strategies.params import LargeParams, Params
from kvplace.solver.strategies.stages import Settings
from kvplace.solver.strategies.undivided.strategy import UndividedSearch
from oracle import solve_exactly
from splits import random_split_problem
from timings import PowerTiming
from tiny import byte_problem, random_problem

ONE = 1 + 1e-9


def fleet(seed, gpus=6, models=30, memory=(90, 120)):
    draw = random.Random(seed)
    rows = [(draw.randint(4, 14), draw.choice([0.0, draw.uniform(0, 20)])) for _ in range(models)]
    return byte_problem([draw.choice(memory) for _ in range(gpus)], rows)


def search_of(problem, *, threads=1, watch=None, iterations=None, gap=0.0, **knobs):
    params = replace(Params(), large=replace(LargeParams(), **knobs))
    settings = Settings(gap=gap, watch=watch or Watch(), iterations=iterations, params=params)
    return LargeSearch(problem, settings, threads)


def turned(problem):
    """Every model on the GPU of its number, turn by turn."""
    ids = [gpu.id for gpu in problem.fleet.gpus]
    return Placement.single({name: ids[j % len(ids)] for j, name in enumerate(problem.names)})


def test_small_fleets_beside_brute_force():
    draw, found, total = random.Random(2), 0, 0
    for _ in range(30):
        problem = random_problem(draw)
        truth = solve_exactly(problem, leximax=False)
        search = search_of(problem)
        search.solve(None)
        proof = search.proof
        if proof.certificate is not None:
            assert check_certificate(problem, proof.certificate) == ""
        total += truth.feasible
        if search.placement is None:
            continue
        found += 1
        assert truth.feasible
        evaluation = evaluate(problem, search.placement)
        assert not evaluation.violations
        assert evaluation.value == pytest.approx(search.value, rel=1e-9)
        assert proof.value <= float(truth.optimum) * ONE
        assert search.value >= float(truth.optimum) / ONE
    assert found >= 0.9 * total


def test_undivided_models_under_several_pressures():
    draw, found = random.Random(3), 0
    while found < 12:
        problem = random_split_problem(draw, objectives=(Objective.PRESSURE,))
        if not problem.plain:
            continue
        search = search_of(problem)
        search.solve(None)
        proof = search.proof
        assert proof.value <= search.value * ONE
        if proof.certificate is not None:
            assert check_certificate(problem, proof.certificate) == ""
        if search.placement is not None:
            found += 1
            evaluation = evaluate(problem, search.placement)
            assert not evaluation.violations
            assert evaluation.value == pytest.approx(search.value, rel=1e-9)


@pytest.mark.parametrize("seed", range(2))
def test_the_plan_is_the_same_for_any_number_of_threads(seed):
    problem = fleet(seed)
    found = []
    for threads in (1, 2, 3):
        search = search_of(problem, threads=threads)
        search.solve(None)
        found.append((search.placement, search.steps))
    assert found[0] == found[1] == found[2]


def test_it_comes_near_what_the_search_in_python_finds():
    problem = fleet(5)
    search, plain = search_of(problem), UndividedSearch(problem, Settings())
    search.solve(None)
    plain.solve(None)
    assert search.value <= plain.value * 1.02
    assert search.low <= plain.value * ONE


@pytest.mark.parametrize("limit", [0, 1, 7])
def test_exchanges_are_limited(limit):
    for begin in ("solve", "refine"):
        search = search_of(fleet(4), iterations=limit)
        if begin == "solve":
            search.solve(None)
        else:
            search.refine(turned(fleet(4)), 1e-9, 0.0)
            assert search.limited
        assert search.steps <= limit
        assert search.placement is not None
        assert not search.limitless


def test_a_start_is_taken_where_it_is_the_best():
    problem = fleet(6)
    best = search_of(problem)
    best.solve(None)
    search = search_of(problem, iterations=0)
    search.solve(best.placement)
    assert search.value <= best.value * ONE
    alone = search_of(problem, iterations=0)
    alone.solve(None)
    assert search.value <= alone.value


@pytest.mark.parametrize("seed", [1, 6, 23])
def test_where_one_model_decides_the_first_start_is_as_good_as_can_be(seed, monkeypatch):
    monkeypatch.setattr(stages, "bisect_first_fit", lambda *_: None)
    draw = random.Random(seed)
    rows = [(draw.choice([3, 8, 11, 20, 35, 69]), draw.lognormvariate(0, 1.2)) for _ in range(44)]
    search = search_of(byte_problem([100] * 12, [(93, 60.0), *rows]), watch=Watch(0.0))
    search.solve(None)
    assert search.value == search.low > 2 * search.level


def test_where_few_share_first_fit_is_the_start_without_time(monkeypatch):
    monkeypatch.setattr(stages, "most_room_first", None)  # is not asked
    problem = fleet(3, gpus=30, models=60, memory=(100,))
    search = search_of(problem, watch=Watch(0))
    search.solve(None)
    assert search.value <= search.low * 1.25 * ONE  # it begins a quarter above the bound
    assert evaluate(problem, search.placement).valid


def test_an_interrupt_still_gives_a_start():
    watch = Watch()
    search = search_of(fleet(7), watch=watch)
    watch.interrupt()
    search.solve(None)
    assert search.steps == 0
    assert not evaluate(search.problem, search.placement).violations


def test_a_gap_asked_for_ends_it_and_no_balance_follows():
    problem = fleet(8)
    search = search_of(problem, gap=5.0)
    search.solve(None)
    assert search.closed
    assert "balance" not in search.gains
    exact = search_of(problem)
    exact.solve(None)
    assert search.steps <= exact.steps


def test_size_classes_are_asked_where_few_share_a_gpu_and_their_bound_checks():
    draw, raised = random.Random(1), 0
    for seed in range(4):
        draw.seed(seed)
        rows = [(draw.randint(30, 45), draw.uniform(1, 9)) for _ in range(16)]
        problem = byte_problem([100] * 8, rows)
        low = search_of(problem).low
        search = search_of(problem, few=2.0)
        search.solve(None)
        assert "configuration-bound" in search.gains
        assert low <= search.low <= search.value * ONE
        assert check_certificate(problem, search.proof.certificate) == ""
        raised += search.proof.value > low * ONE
        dense = search_of(problem, few=1.9)
        dense.solve(None)
        assert "configuration-bound" not in dense.gains
    assert raised >= 1


def test_refining_keeps_the_margin_of_what_takes_memory():
    problem = fleet(9)
    free = {gpu: e.free_bytes for gpu, e in gpus_of(problem, turned(problem))}
    for margin in (0.0, 0.1, 0.3):
        search = search_of(problem)
        search.refine(turned(problem), 1e-9, margin)
        assert search.value <= evaluate(problem, turned(problem)).value
        for gpu, after in gpus_of(problem, search.placement):
            least = margin * problem.usable_bytes(gpu)
            assert after.free_bytes >= min(least, free[gpu])


def gpus_of(problem, placement):
    """Return each GPU with what core says of it."""
    evaluation = evaluate(problem, placement)
    return [(gpu.id, state) for gpu, state in zip(problem.fleet.gpus, evaluation.gpus, strict=True)]


def test_what_fits_nowhere_is_proved_at_once():
    search = search_of(byte_problem([20, 20], [(21, 1.0), (1, 1.0)]))
    assert search.low == math.inf
    search.solve(None)
    assert search.placement is None
    assert search.steps == 0
    assert check_certificate(search.problem, search.proof.certificate) == ""


def test_nobody_asks_for_anything():
    search = search_of(byte_problem([20, 20], [(4, 0.0)] * 6))
    search.solve(None)
    assert search.value == search.low == 0.0
    assert not evaluate(search.problem, search.placement).violations


def test_effort_grows_where_pairs_have_few_subsets():
    knobs = {"pairs": 1e6, "least_pairs": 10.0, "most_pairs": 40.0}
    few, many = (search_of(fleet(1, models=count), **knobs).effort for count in (6, 60))
    assert few > many >= 40.0
    half = search_of(fleet(1, models=60), **{**knobs, "most_pairs": 20.0}).effort
    assert half == pytest.approx(many / 2)
    assert search_of(fleet(1)).limitless
    assert not search_of(fleet(1), watch=Watch(60.0)).limitless


def test_there_is_no_textbook_of_kernels():
    with pytest.raises(NotImplementedError):
        search_of(fleet(1)).solve(None, textbook=True)


@pytest.mark.parametrize(
    ("loaded", "limit", "asked"),
    [(1.0, 100.0, True), (1.0, 10.0, False), (0.0, 10.0, True), (1e9, None, True)],
)
def test_the_configuration_program_is_asked_where_its_check_can_be_paid(
    loaded, limit, asked, monkeypatch
):
    left = []
    monkeypatch.setattr(
        "kvplace.solver.bounds.level_bound.packing_bound",
        lambda *given: left.append(given[-1].left),
    )
    search = search_of(fleet(1), watch=Watch(limit))
    search.loaded = loaded
    search.take(most_room_first(search.columns, search.level)[0])
    before = search.watch.left
    next(stage for stage in search.strategy.once if stage.name == "configuration-bound").run(search)
    assert bool(left) is asked
    if limit and asked:
        assert left[0] <= before - search.knobs.certificate * loaded
    if limit:  # no bound was found, so the time is given back
        assert search.watch.left > before - 1


@pytest.mark.parametrize(
    ("limit", "ready", "asked"), [(9.0, False, 1), (9.0, True, 0), (None, False, 0)]
)
def test_kernels_that_a_limit_left_no_time_for_are_compiled_afterwards(
    monkeypatch, limit, ready, asked
):
    """Else every run with such a limit would begin to compile them, and none would end it."""
    found = []
    monkeypatch.setattr(search, "is_compiled", lambda _: ready)
    monkeypatch.setattr(warm, "kernels_ready", found.append)
    search_of(fleet(1), watch=Watch(limit)).solve(None)
    assert found.count(warm.PAIRS) == asked  # kicks ask for kernels of their own
    found.clear()
    draw, several = random.Random(3), None
    while several is None or not several.plain:
        several = random_split_problem(draw, objectives=(Objective.PRESSURE,))
    search_of(several, watch=Watch(limit)).solve(None)
    assert found.count(warm.EVENING) == asked


def planted(seed, gpus=60, models=4, memory=(60_000, 100_000), room=100):
    """Models that fill every GPU up to some room when they lie as they were drawn."""
    draw, rows = random.Random(seed), []
    memories = [draw.choice(memory) for _ in range(gpus)]
    for most in memories:
        parts = [draw.uniform(0.3, 1.7) for _ in range(models)]
        rows += [(int(part / sum(parts) * (most - room)), draw.random()) for part in parts]
    draw.shuffle(rows)
    return byte_problem(memories, rows)


@pytest.mark.parametrize("seed", range(3))
def test_fleets_whose_memory_is_nearly_full_are_packed(seed):
    problem = planted(seed)
    search = search_of(problem)
    search.solve(None)
    assert search.gains["exact-packing"].seconds > 0  # no rule packs it
    assert not evaluate(problem, search.placement).violations
    assert search.proof.value <= search.value * ONE


def test_a_fleet_with_room_for_no_way_is_proved_to_have_none():
    draw = random.Random(0)
    # Three never fit on one GPU, and they are more than two per GPU, though less than the memory.
    problem = byte_problem([1_000] * 40, [(draw.randint(390, 560), 1.0) for _ in range(82)])
    assert sum(problem.undivided_bytes) < 40_000
    search = search_of(problem)
    search.solve(None)
    proof = search.proof
    assert search.placement is None
    assert proof.value == math.inf
    assert check_certificate(problem, proof.certificate) == ""
    smaller = replace(problem, models=problem.models[:-3])
    assert check_certificate(smaller, proof.certificate) != ""


def test_kicks_go_on_where_exchanges_no_longer_help(monkeypatch):
    problem = fleet(5, gpus=8, models=24)
    before = search_of(problem, watch=Watch(20.0), rounds=0)
    before.solve(None)
    monkeypatch.setattr(warm, "kernels_ready", lambda _: True)
    search = search_of(problem, watch=Watch(20.0), rounds=1, kicks=200)
    search.solve(None)
    assert search.value <= before.value
    assert search.steps > before.steps or search.closed
    assert not evaluate(problem, search.placement).violations


def test_kicks_and_exchanges_take_turns_under_several_pressures(monkeypatch):
    monkeypatch.setattr(warm, "kernels_ready", lambda _: True)
    monkeypatch.setattr(LargeSearch, "closed", property(lambda _: False))
    draw, gone_on = random.Random(4), 0
    while gone_on < 3:
        problem = random_split_problem(draw, objectives=(Objective.PRESSURE,))
        if not problem.plain:
            continue
        before, search = (
            search_of(problem, watch=Watch(20.0), turns=turns, few_kicks=8) for turns in (0, 3)
        )
        before.solve(None)
        search.solve(None)
        if search.placement is None:
            continue
        gone_on += 1
        assert search.gains["iterated-local-search"].calls == 3
        assert search.gains["parallel-exchanges"].calls == 4
        assert search.value <= before.value
        assert search.steps >= before.steps
        evaluation = evaluate(problem, search.placement)
        assert not evaluation.violations
        assert evaluation.value == pytest.approx(search.value, rel=1e-9)


@pytest.mark.parametrize("ready", [True, False])
def test_sets_are_asked_for_a_bound_where_few_share_a_gpu(monkeypatch, ready):
    """Only two of the models fit on a GPU below 0.6, of which sums of time know nothing."""
    monkeypatch.setattr(warm, "kernels_ready", lambda _: ready)
    monkeypatch.setattr("kvplace.solver.column_generation.knapsack.GRID", 16)
    for kernel in knapsack_kernel.COMPILED:
        monkeypatch.setattr(compiled_knapsack, kernel.__name__, interpreted(kernel))
    works = {f"m{j}": 0.2 + 0.001 * j for j in range(7)}
    demand, slo = Demand(1.0, 1.0, 1.0), SLO(1.0, 1.0)
    models = [
        Model(name, 10, demand, slo, kv_bytes_per_token=1, overhead_bytes=0) for name in works
    ]
    node = Node("n", tuple(GPU(f"n/{at}", "any", 1_000) for at in range(3)))
    timing = PowerTiming(works, {"any": 1.0}, exponent=1.0)
    problem = Problem(tuple(models), Fleet((node,)), Objective.PRESSURE, timing=timing)
    search = search_of(problem, watch=Watch(600.0), priced_density=3.0, turns=1)
    search.solve(None)
    proof = search.proof
    assert check_certificate(problem, proof.certificate) == ""
    assert proof.method == ("configuration" if ready else "fluid")
    assert proof.value <= search.value * ONE
    assert (proof.value > 0.99 * search.value) is ready
