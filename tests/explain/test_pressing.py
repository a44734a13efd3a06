"""A faster or a larger GPU, and another hour, as changes of a problem."""

from dataclasses import replace

import pytest

from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.core.models.window import Window
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.explain.changes import Effort
from kvplace.explain.levers import find_levers
from kvplace.explain.pressing import another_hour, better_gpu
from kvplace.facts.catalogue.shapes import known_shape
from kvplace.forecast.share_timing import ShareTiming

GIB = 2**30
NAME = "Qwen/Qwen3-8B"


def problem(tpot=0.05, output=200.0, day=8.0, night=2.0, windows=(), **more):
    model = Model(
        NAME, int(15.3 * GIB), Demand((day + night) / 2, 500.0, output), SLO(1.0, tpot), 147456,
        windows={"day": Demand(day, 500.0, output), "night": Demand(night, 500.0, output)},
        architecture=known_shape(NAME), **more,
    )  # fmt: skip
    gpus = tuple(GPU(f"n/{i}", "A100-SXM-80GB", int(79.14 * GIB)) for i in range(2))
    fleet = Fleet((Node("n", gpus),))
    return Problem((model,), fleet, "pressure", windows=windows, timing=ShareTiming())


def worst(of):
    return max(evaluate(of, Placement.single({NAME: "n/0"})).gpus, key=lambda gpu: gpu.pressure)


def test_where_time_is_short_a_faster_gpu_is_tried():
    of = problem()
    change = better_gpu(of, worst(of))
    assert worst(of).binding == ("time", 0)
    assert change.text == "a faster GPU: H100-SXM-80GB in place of n/0"
    assert change.effort is Effort.HARDWARE
    assert worst(change.problem).pressure < worst(of).pressure
    assert [gpu.type for gpu in change.problem.fleet.gpus] == ["H100-SXM-80GB", "A100-SXM-80GB"]


def test_where_memory_is_short_a_larger_gpu_is_tried():
    of = problem(tpot=2.0)  # a request stays for 400 s
    assert worst(of).binding[0] == "kv"
    change = better_gpu(of, worst(of))
    assert change.text == "a larger GPU: H200-SXM-141GB in place of n/0"
    assert worst(change.problem).pressure < worst(of).pressure


def test_a_model_tied_to_a_type_may_use_the_better_one():
    of = problem(gpu_types=("A100-SXM-80GB",))
    change = better_gpu(of, worst(of))
    assert change.problem.models[0].gpu_types == ("A100-SXM-80GB", "H100-SXM-80GB")


def test_another_hour_keeps_the_requests_of_the_day():
    of = problem(windows=(Window("day", 16.0), Window("night", 8.0)))
    change = another_hour(of, worst(of), NAME)
    moved = change.problem.models[0].windows
    assert (change.kind, change.effort) == ("hour", Effort.DEMAND)
    assert moved["day"].requests_per_second == pytest.approx(6.4)
    assert moved["night"].requests_per_second == pytest.approx(2.0 + 1.6 * 16 / 8)
    assert worst(change.problem).pressure < worst(of).pressure


def test_no_other_hour_where_there_is_none():
    of = problem()
    bare = replace(of, models=(replace(of.models[0], windows={}),), windows=())
    assert another_hour(bare, worst(bare), NAME) is None
    even = problem(day=5.0, night=5.0)
    assert another_hour(even, worst(even), NAME) is None


def test_explain_measures_both():
    of = problem()
    found = find_levers(of, Placement.single({NAME: "n/0"}))
    kinds = {lever.change.kind: lever for lever in found}
    assert kinds.keys() >= {"gpu_type", "hour"}
    assert kinds["hour"].value < kinds["hour"].before
