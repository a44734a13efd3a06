"""Which stages can pay for undivided models: each limit holds to the last model and GPU."""

import math
from dataclasses import replace

import pytest

from kvplace.core.certificates.certificate import Bound
from kvplace.core.result import OPTIMAL_GAP
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.strategies.params import Params, UndividedParams
from kvplace.solver.strategies.stages import Settings
from kvplace.solver.strategies.undivided import stages
from kvplace.solver.strategies.undivided.strategy import UndividedSearch
from tiny import byte_problem


def search_of(models=6, gpus=2, *, placed=True, watch=None, iterations=None, **knobs):
    """A search over so many models of one byte, all of them placed in turn, with some knobs."""
    problem = byte_problem([100] * gpus, [(1, 1.0 + j) for j in range(models)])
    params = replace(Params(), undivided=replace(UndividedParams(), **knobs))
    settings = Settings(watch=watch or Watch(), iterations=iterations, params=params)
    search = UndividedSearch(problem, settings)
    if placed:
        search.board = Assignment.single(search.instance, [j % gpus for j in range(models)])
    return search


NEEDS_A_PLACEMENT = ("tiny", "optimal", "quick", "covered")


@pytest.mark.parametrize("name", NEEDS_A_PLACEMENT)
def test_without_a_placement_there_is_nothing_to_better(name):
    search = search_of(placed=False, watch=Watch(100.0), covered_gpus=0, best_fit_density=0)
    assert not getattr(stages, name)(search)


LIMITS = {"small": "program_models", "tiny": "tiny_models", "quick": "quick_models"}


@pytest.mark.parametrize(("name", "knob"), LIMITS.items())
def test_models_are_few_up_to_the_limit(name, knob):
    supported = getattr(stages, name)
    assert supported(search_of(6, **{knob: 6}))
    assert not supported(search_of(6, **{knob: 5}))


def test_the_program_answers_at_once_where_few_models_share_a_gpu():
    assert stages.quick(search_of(6, 2, quick_density=3))
    assert not stages.quick(search_of(7, 2, quick_density=3))


def test_the_worst_gpu_is_optimal_within_rounding():
    search = search_of()
    assert not stages.optimal(search)
    search.bound = Bound(search.value / (1 + OPTIMAL_GAP / 2), "search")
    assert stages.optimal(search)
    search.bound = Bound(search.value / (1 + 2 * OPTIMAL_GAP), "search")
    assert not stages.optimal(search)
    search.bound = Bound(search.value, "search")
    search.knobs = replace(search.knobs, tiny_models=5)
    assert not stages.optimal(search)


def test_groups_are_covered_between_two_densities_on_many_gpus_with_time():
    knobs = {"best_fit_density": 2.0, "covered_density": 3.0, "covered_gpus": 1}
    limited = {"watch": Watch(60.0), **knobs}
    assert stages.covered(search_of(6, 2, **limited))
    assert not stages.covered(search_of(4, 2, **limited))
    assert not stages.covered(search_of(7, 2, **limited))
    assert not stages.covered(search_of(6, 2, **{**limited, "covered_gpus": 2}))
    assert not stages.covered(search_of(6, 2, **{**limited, "program_models": 5}))
    assert not stages.covered(search_of(6, 2, **knobs))
    assert not stages.covered(search_of(6, 2, **{**limited, "watch": Watch(4.0)}))


def test_far_above_the_bound_they_are_covered_on_fewer_gpus_and_in_less_time():
    knobs = {"covered_density": 3.0, "far": 0.5, "far_gpus": 2, "far_seconds": 1.0}
    for watch, covered in ((Watch(), True), (Watch(2.0), True), (Watch(0.5), False)):
        search = search_of(6, 2, watch=watch, **knobs)
        search.bound = Bound(search.value / 1.6, "fluid")
        assert stages.covered(search) == covered
        search.bound = Bound(search.value / 1.4, "fluid")
        assert not stages.covered(search)
    few = search_of(6, 2, **{**knobs, "far_gpus": 3})
    few.bound = Bound(few.value / 1.6, "fluid")
    assert not stages.covered(few)


def test_rounds_are_few_without_any_limit_and_for_tiny_fleets():
    knobs = {"tiny_models": 6, "default_rounds": 1, "timed_rounds": 20, "tiny_rounds": 3}
    assert stages.rounds(search_of(**knobs)) == 1
    assert stages.rounds(search_of(watch=Watch(60.0), **knobs)) == 3
    assert stages.rounds(search_of(iterations=10, **knobs)) == 3
    assert stages.rounds(search_of(7, watch=Watch(60.0), **knobs)) == 20
    assert stages.rounds(search_of(7, iterations=10, **knobs)) == 20


@pytest.mark.parametrize(
    ("limit", "long"), [(None, False), (4.9, False), (5.0, True), (1e9, True), (math.inf, False)]
)
def test_kernels_are_loaded_where_a_limit_leaves_time_for_them(limit, long):
    search = search_of(watch=Watch(limit), compiled_seconds=5.0)
    assert search.long == long
