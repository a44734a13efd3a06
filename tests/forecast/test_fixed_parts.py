"""Bursts that a fixed part of the KV memory does not hold."""

from dataclasses import replace

import pytest

from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.forecast.fixed_parts import overflowing

GIB = 2**30


def model(name, rate):
    """A request holds 1 GiB on average, for 1 s: as many are held at a time as come in a second."""
    tokens = Demand(rate, prompt_tokens=1024.0, output_tokens=0.0)
    slo = SLO(ttft_seconds=1.0, tpot_seconds=1.0)
    return Model(name, GIB, tokens, slo, 2**20, overhead_bytes=0)


def names(*models, objective="occupancy", gpus=1, parts=None, on=None):
    fleet = Fleet((Node("n", tuple(GPU(f"n/{i}", "X", 21 * GIB) for i in range(gpus))),))
    problem = Problem(models, fleet, objective=objective)
    held = Placement.single(on or {m.name: "n/0" for m in models})
    return overflowing(problem, evaluate(problem, held), parts)


def test_a_part_holds_two_deviations_above_the_mean():
    # Two engines of 1 GiB leave 19 GiB: 9.5 each. 5 + 2 sqrt 5 = 9.47 fit, 5.1 + 2 sqrt 5.1 do not.
    assert names(model("a", 5), model("b", 5)) == []
    assert names(model("a", 5.1), model("b", 5.1)) == ["a", "b"]
    # 19 GiB at 1 to 9: 1.9 GiB for one that needs 1 + 2, 17.1 for one that needs 9 + 6.
    assert names(model("a", 1), model("b", 9)) == ["a"]


def test_parts_as_they_are_laid_out_count_and_so_does_what_must_be_left():
    two = (model("a", 1), model("b", 9))
    assert names(*two, parts={("a", 0): 4 * GIB, ("b", 0): 15 * GIB}) == []
    assert names(*two, parts={("a", 0): 4 * GIB, ("b", 0): 14 * GIB}) == ["b"]
    assert names(replace(two[0], min_kv_bytes=4 * GIB), two[1]) == []


def test_alone_on_a_gpu_an_engine_has_all_of_it():
    two = (model("a", 1), model("b", 30))
    assert names(*two, gpus=2, on={"a": "n/0", "b": "n/1"}) == []
    assert names(model("a", 0), model("b", 3)) == []


@pytest.mark.parametrize("objective", ["requests", "tokens"])
def test_other_objectives_do_not_say_what_is_in_use(objective):
    assert names(model("a", 1), model("b", 9), objective=objective) == []
