"""Which stages can pay for a cluster: each limit holds to the last model, GPU and second."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest

import made
from kvplace.core.certificates.certificate import check_certificate
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Replicas
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.strategies.assigned import placed
from kvplace.solver.strategies.cluster import stages, supports
from kvplace.solver.strategies.cluster.strategy import ClusterSearch
from kvplace.solver.strategies.params import ClusterParams, Params
from kvplace.solver.strategies.stages import Settings
from timings import PowerTiming

NEEDS_A_PLACEMENT = ("quick", "long", "refillable", "rankable")


def search_of(
    models=4, nodes=2, gpus=2, *, degrees=(2,), copies=(1, 1), rate=1.0, pressures=False,
    placed=True, limit=None, iterations=None, least_kv=0, **knobs,
):  # fmt: skip
    """A search over models of 8 GiB, all of them on the first GPUs where they are placed."""
    fleet = made.fleet(*[80] * nodes, gpus=gpus)
    fields = {"tensor_parallel": degrees, "replicas": Replicas(*copies), "min_kv_bytes": least_kv}
    drawn = tuple(made.model(f"m{k}", 8, rate, **fields) for k in range(models))
    problem = made.problem(drawn, fleet)
    if pressures:
        works = dict.fromkeys([f"m{k}" for k in range(models)], 0.01)
        timing = PowerTiming(works, {"80GiB": 1.0})
        demand, slo = Demand(rate, 1.0, 0.0), SLO(1.0, 1.0, 1.0)
        drawn = tuple(replace(m, kv_bytes_per_token=2**20, demand=demand, slo=slo) for m in drawn)
        problem = Problem(drawn, fleet, Objective.PRESSURE, timing=timing)
    params = replace(Params(), cluster=replace(ClusterParams(), **knobs))
    settings = Settings(watch=Watch(limit), iterations=iterations, params=params)
    search = ClusterSearch(problem, settings)
    if placed:
        least = tuple(range(min(degrees)))
        where = [tuple(tuple(g + min(degrees) * at for g in least) for at in range(copies[0]))]
        search.board = Assignment(search.instance, where * models)
    return search


@pytest.mark.parametrize("name", NEEDS_A_PLACEMENT)
def test_without_a_valid_placement_there_is_nothing_to_better(name):
    search = search_of(placed=False, pressures=True, limit=60.0, refilled=0)
    assert not getattr(supports, name)(search)
    search.board = Assignment(search.instance, [()] * 4)
    assert not search.board.valid
    assert not getattr(supports, name)(search)


def test_many_models_of_one_way_each_are_left_to_kernels_under_several_pressures():
    assert supports.arrayed(search_of(degrees=(1,), pressures=True, arrayed=4 * 4 * 2))
    assert not supports.arrayed(search_of(degrees=(1,), pressures=True, arrayed=4 * 4 * 2 + 1))
    assert not supports.arrayed(search_of(degrees=(1,), pressures=True, arrayed=0, limit=1.0))
    assert not supports.arrayed(search_of(degrees=(1,), arrayed=0))
    assert not supports.arrayed(search_of(degrees=(2,), pressures=True, arrayed=0))


def test_configurations_are_a_start_of_many_models_and_gpus_under_one_pressure():
    assert supports.configurable(search_of(4, configured=16))
    assert not supports.configurable(search_of(4, configured=17))
    assert supports.configurable(search_of(4, configured=17, large=15))
    assert not supports.configurable(search_of(4, pressures=True, configured=0, large=0))


def test_an_assignment_is_begun_before_it_is_valid():
    search = search_of(placed=False)
    assert not supports.few(search)
    search.board = Assignment(search.instance, [()] * 4)
    assert supports.few(search)
    assert not placed(search)


def test_models_are_few_up_to_a_limit():
    assert supports.few(search_of(4, many=4))
    assert not supports.few(search_of(4, many=3))


def test_the_program_is_asked_under_several_pressures_where_few_share_a_gpu():
    assert supports.quick(search_of(pressures=True))
    assert not supports.quick(search_of(pressures=False))
    assert supports.quick(search_of(8, pressures=True, quick_density=2))
    assert not supports.quick(search_of(9, pressures=True, quick_density=2))
    assert supports.quick(search_of(4, degrees=(1, 2), pressures=True, quick_options=8))
    assert not supports.quick(search_of(4, degrees=(1, 2), pressures=True, quick_options=7))


def test_sets_cover_split_models_under_one_pressure_as_well():
    assert supports.coverable(search_of(pressures=True))
    assert supports.coverable(search_of(pressures=False))
    assert not supports.coverable(search_of(degrees=(1,), pressures=False))
    assert not supports.coverable(search_of(degrees=(1,), pressures=True))
    assert not supports.coverable(search_of(pressures=False, covered_gap=math.inf))
    assert not supports.coverable(search_of(4, degrees=(1, 2), quick_options=7))


def test_sets_of_undivided_models_are_searched_on_few_gpus_or_where_few_share_one():
    search = search_of(11, degrees=(1,), pressures=True)
    for gpus, density, searched in ((4, 0.0, True), (3, 2.7, False), (3, 2.75, True)):
        knobs = replace(search.params.undivided, searched_gpus=gpus, best_fit_density=density)
        search.params = replace(search.params, undivided=knobs)
        assert supports.searchable(search) == searched
    search.params = replace(
        search.params, undivided=replace(knobs, searched_gpus=2, best_fit_density=0)
    )
    assert not supports.searchable(search)
    search.round = 1  # later passes take on twice as many
    assert supports.searchable(search)


def test_a_fleet_that_nobody_asks_for_is_not_asked_about():
    assert not supports.quick(search_of(pressures=True, rate=0.0))


@pytest.mark.parametrize(("limit", "long"), [(None, True), (5.0, True), (4.9, False)])
def test_kernels_exchange_shards_where_there_is_time_to_load_them(limit, long):
    assert supports.long(search_of(pressures=True, limit=limit, compiled=5.0)) == long
    assert not supports.long(search_of(pressures=False, limit=limit, compiled=5.0))


@pytest.mark.parametrize(
    ("limit", "supported"), [(None, False), (4.9, False), (5.0, True), (60.0, True)]
)
def test_filling_needs_a_limit_that_leaves_time_or_a_large_cluster(limit, supported):
    knobs = {"refilled": 16, "compiled": 5.0}
    assert supports.fillable(search_of(4, limit=limit, **knobs)) == supported
    assert supports.refillable(search_of(4, limit=limit, **knobs)) == supported
    assert not supports.fillable(search_of(4, limit=limit, refilled=17, compiled=5.0))
    assert supports.fillable(search_of(4, limit=limit, large=15, **knobs))
    assert supports.fillable(search_of(4, refilled_untimed=16, **knobs))


def test_refilling_needs_models_that_split_and_options_few_enough():
    knobs = {"refilled": 1, "limit": 60.0}
    assert supports.refillable(search_of(4, filled=64, **knobs))
    assert not supports.refillable(search_of(4, filled=63, **knobs))
    assert not supports.refillable(search_of(4, degrees=(1, 2), filled=64, **knobs))
    assert not supports.refillable(search_of(4, degrees=(1,), filled=64, **knobs))


def test_ranks_are_asked_for_where_the_maximum_is_proved_and_no_copy_is_to_be_chosen():
    def proved(**given):
        search = search_of(**given)
        search.searched()
        return search

    assert supports.rankable(proved())
    assert not supports.rankable(search_of())
    assert not supports.rankable(proved(tiny=15))
    assert supports.rankable(proved(copies=(2, 2)))
    assert not supports.rankable(proved(copies=(1, 2)))
    assert not supports.rankable(proved(limit=0.0))
    loose = proved()
    loose.gap = 0.5
    assert not supports.rankable(loose)


def test_passes_are_few_without_any_limit():
    knobs = {"passes": 2, "timed_passes": 12}
    assert supports.passes(search_of(**knobs)) == 2
    assert supports.passes(search_of(limit=60.0, **knobs)) == 12
    assert supports.passes(search_of(iterations=5, **knobs)) == 12
    assert supports.passes(search_of(limit=math.inf, **knobs)) == 2


@pytest.mark.parametrize("least_kv", [0, 1])
def test_a_bound_is_raised_once_more_on_few_models_under_one_pressure(least_kv):
    assert supports.tightened(search_of(4, 2, least_kv=least_kv, tiny=0))
    assert not supports.tightened(search_of(4, 2, least_kv=least_kv, tiny=0, quick_density=0.5))
    # Under several pressures exact decisions ask the program, of clusters with fewer options.
    assert not supports.tightened(search_of(4, 2, least_kv=least_kv, tiny=0, pressures=True))
    several = search_of(4, 2, least_kv=least_kv, tiny=0, pressures=True, quick_options=0)
    assert supports.tightened(several)
    assert supports.keeps(search_of(4, 2, least_kv=least_kv)) == (least_kv > 0)


def test_domains_are_filled_again_before_one_pressure_is_lowered_by_ejection():
    knobs = {"refilled": 0, "limit": 60.0}
    one, several = search_of(**knobs), search_of(pressures=True, **knobs)
    assert supports.refillable(one)
    assert not supports.ejectable(one)
    assert supports.ejectable(several)
    one.round = 1
    assert supports.ejectable(one)
    assert supports.ejectable(search_of(degrees=(1,), **knobs))


def test_the_program_is_asked_before_domains_are_filled_under_several_pressures():
    knobs = {"limit": 60.0, "refilled": 0, "divided": 0}
    assert supports.asking(search_of(pressures=True, **knobs))
    assert not supports.asking(search_of(pressures=False, **knobs))
    assert not supports.asking(search_of(pressures=True, **(knobs | {"refilled": math.inf})))
    assert not supports.asking(search_of(pressures=True, **(knobs | {"divided": 1_200})))
    assert supports.asking(search_of(4, pressures=True, quick_options=0, **knobs))
    assert not supports.asking(
        search_of(4, pressures=True, tightened_options=3, quick_options=0, **knobs)
    )


@pytest.mark.parametrize(("filled", "asked"), [(0, True), (math.inf, False)])
def test_more_windows_leave_fewer_options_to_it_but_where_domains_are_filled(filled, asked):
    knobs = {"limit": 60.0, "refilled": filled, "divided": 0}
    search = search_of(4, pressures=True, tightened_options=4, quick_options=4, **knobs)
    assert supports.quick(search)
    fields = {name: getattr(search.instance, name) for name in ("n", "g", "size", "degree")}
    search.instance = SimpleNamespace(**fields, pressures=24)
    assert supports.quick(search) == asked


def test_its_bound_is_certified_before_domains_are_filled():
    search = search_of(3, pressures=True, limit=60.0, refilled=0, divided=0)
    low = search.low
    stages.ask_sets(search)
    assert low < search.low <= search.value
    assert check_certificate(search.problem, search.proof.certificate) == ""


@pytest.mark.parametrize("searched", [False, True])
def test_the_bound_of_undivided_models_is_certified_before_sets_are_searched(searched, monkeypatch):
    search = search_of(5, degrees=(1,), pressures=True, limit=60.0)
    asked, low = [], search.low
    monkeypatch.setattr(stages, "searchable", lambda _: searched)
    monkeypatch.setattr(stages, "decided", lambda *_, closing: asked.append(closing))
    stages.decide(search)
    assert low < search.low <= search.value
    assert check_certificate(search.problem, search.proof.certificate) == ""
    assert asked == [True] * searched


def test_covers_are_sought_only_near_the_bound_where_domains_are_filled():
    knobs = {"limit": 60.0, "refilled": 0, "divided": 0}
    assert supports.coverable(search_of(pressures=True, covered_most=math.inf, **knobs))
    assert not supports.coverable(search_of(pressures=True, covered_most=0.01, **knobs))
    few = {**knobs, "divided": 1_200, "divided_density": 0.0}
    assert supports.coverable(search_of(pressures=True, covered_most=0.01, **few))


def test_covers_are_sought_before_domains_are_filled_where_options_are_few():
    knobs = {"pressures": True, "refilled": 0, "divided": 0, "covered_most": math.inf}
    assert supports.soon_covered(search_of(limit=60.0, **knobs))
    assert not supports.soon_covered(search_of(**knobs))
    assert not supports.soon_covered(search_of(limit=60.0, **{**knobs, "quick_options": 1}))
    assert not supports.soon_covered(search_of(limit=60.0, **{**knobs, "refilled": 1_000_000}))


def test_more_models_are_few_where_kv_must_be_left_on_gpus_of_several_sizes():
    search = search_of(4, many=3, least_kv=2**30)
    assert not supports.few(search)
    search.instance.columns.memory[0] -= 1
    assert supports.few(search)
    search.knobs = replace(search.knobs, many_kept=3)
    assert not supports.few(search)
