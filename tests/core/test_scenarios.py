"""What-if windows: the demand of some models times a factor, the rest as it is."""

from array import array
from dataclasses import replace

import pytest

from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.core.models.model_table import ModelTable
from kvplace.core.models.window import ALWAYS, Window
from kvplace.core.problem import Problem
from kvplace.core.scenarios import (
    hottest,
    imagined,
    robust_windows,
    with_scenarios,
    without_scenarios,
)
from kvplace.errors import InputError
from timings import PowerTiming


def model(name, rate, **windows):
    """A model with its rate, or one by window."""
    demands = {window: Demand(of, 1.0, 0.0) for window, of in windows.items()}
    return Model(
        name, 4, Demand(rate, 1.0, 0.0), SLO(1.0, 1.0), 1, overhead_bytes=0, windows=demands
    )


def problem(*models, windows=()):
    gpus = (GPU("g0", "fast", 20), GPU("g1", "fast", 30))
    works = {one.name: 0.1 for one in models}
    timing = PowerTiming(works, {"fast": 1.0}, exponent=1.0)
    return Problem(models, Fleet((Node("n", gpus),)), "pressure", (), windows, timing)


THREE = problem(model("a", 1.0), model("b", 4.0), model("c", 2.0))


def test_a_what_if_changes_only_the_models_that_it_names():
    launch = Window("launch", like="always", factor=3.0, models=("a",))
    found = with_scenarios(THREE, [launch])
    assert found.windows == (ALWAYS, launch)
    rates = {m.name: m.demand_in("launch").requests_per_second for m in found.models}
    assert rates == {"a": 3.0, "b": 4.0, "c": 2.0}
    assert [m.demand for m in found.models] == [m.demand for m in THREE.models]
    assert found.models[1] == THREE.models[1]  # what is not hit states nothing more
    assert without_scenarios(found) == replace(THREE, models=without_scenarios(found).models)


def test_a_what_if_is_like_a_window_of_its_own():
    days = problem(model("a", 2.0, day=3.0, night=1.0), model("b", 1.0))
    found = with_scenarios(days, [Window("busy", like="night", factor=2.0, models=("a", "b"))])
    assert [m.demand_in("busy").requests_per_second for m in found.models] == [2.0, 2.0]
    assert [m.demand_in("day").requests_per_second for m in found.models] == [3.0, 1.0]


def test_a_table_of_models_takes_what_ifs_too():
    n = 3
    table = ModelTable(
        ["a", "b", "c"], array("q", [4] * n), array("q", [0] * n), array("q", [0] * n),
        array("d", [1.0, 4.0, 2.0]), array("d"), array("d", [1.0] * n), array("d", [0.0] * n),
        array("d", [1.0] * n), array("d", [1.0] * n), array("q", [1] * n),
    )  # fmt: skip
    windows = (ALWAYS, Window("x", like="always", factor=3.0, models=("b",)))
    listed = imagined(tuple(table), windows)
    columns = imagined(table, windows)
    assert [m.demand_in("x") for m in columns] == [m.demand_in("x") for m in listed]
    assert columns.window_loads("x") == array("d", [1.0, 12.0, 2.0])


@pytest.mark.parametrize(
    "window",
    [
        Window("x", like="never", factor=2.0, models=("a",)),
        Window("x", like="always", factor=2.0, models=("z",)),
    ],
)
def test_what_there_is_not_is_refused(window):
    with pytest.raises(InputError, match="there is no"):
        with_scenarios(THREE, [window])


def test_a_what_if_says_both_what_it_is_like_and_whom_it_hits():
    for wrong in ({"like": "always"}, {"models": ("a",)}, {"factor": 2.0}):
        with pytest.raises(InputError):
            Window("x", **wrong)


def test_another_objective_has_no_scenarios():
    with pytest.raises(InputError, match="need pressure, not occupancy"):
        with_scenarios(THREE.with_objective("occupancy"), [Window("x", 1.0, "always", 2.0, ("a",))])
    with pytest.raises(InputError, match="ask for that objective"):
        robust_windows(THREE.with_objective("occupancy"), 1.5)


def test_the_hottest_ask_for_most():
    assert hottest(THREE) == ["b", "c", "a"]
    assert hottest(THREE, 1) == ["b"]


def test_robust_scenarios_hit_each_alone_and_all_together():
    found = robust_windows(THREE, 1.5, most=2)
    assert [(w.name, w.models) for w in found] == [
        ("1.5 x b", ("b",)), ("1.5 x c", ("c",)), ("1.5 x the 2 hottest", ("b", "c")),
    ]  # fmt: skip
    assert [w.models for w in robust_windows(THREE, 1.5, most=2, together=True)] == [("b", "c")]
    assert len(robust_windows(THREE, 1.5, most=2, together=False)) == 2
    with pytest.raises(InputError, match="at least 1"):
        robust_windows(THREE, 0.5)


def test_many_windows_leave_fewer_scenarios():
    names = [f"w{at}" for at in range(12)]
    one = problem(*(model(f"m{k}", 1.0, **dict.fromkeys(names, 1.0 + k)) for k in range(9)))
    found = robust_windows(one, 2.0)
    assert len(found) == 12  # the hottest alone, in each window
    assert {w.models for w in found} == {("m8",)}
