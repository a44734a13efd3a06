"""Shares of GPU time of whole problems."""

import math
from dataclasses import replace

import pytest

import kvplace
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.architecture import Architecture
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model, Replicas
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.forecast.share_timing import ShareTiming
from kvplace.forecast.steps.roofline import CacheReads, speed_of, step_time
from kvplace.forecast.time_share import time_share

SHAPE = Architecture(
    layers=32, hidden_size=4096, parameters=8_030_000_000, active_parameters=7_500_000_000,
    heads=32, head_size=128, kv_heads=8,
)  # fmt: skip
MODEL = Model(
    "m",
    16 * 2**30,
    Demand(2.0, 800.0, 200.0),
    SLO(0.5, 0.03),
    131072,
    kv_heads=8,
    tensor_parallel=(1, 2),
    replicas=Replicas(1, 2),
    architecture=SHAPE,
    windows={"day": Demand(3.0, 800.0, 200.0), "night": Demand(0.0)},
)


def problem(*models, types=("H100-SXM-80GB", "A100-SXM-80GB")):
    gpus = tuple(GPU(f"n/{at}", name, 80 * 2**30) for at, name in enumerate(types * 2))
    return Problem(models, Fleet((Node("n", gpus),)), "pressure", timing=ShareTiming())


def test_shares_of_several_demands_are_those_of_each():
    timing, demands = ShareTiming(), [Demand(r, 800.0, 200.0) for r in (0.0, 1.0, 3.0)]
    each = [timing.share(MODEL, demand, 2, 0.5, "H100-SXM-80GB") for demand in demands]
    assert timing.shares_in(MODEL, demands, 2, 0.5, "H100-SXM-80GB") == each
    assert each[0] == 0 < each[1] < each[2]


def test_the_table_holds_the_share_of_every_option_type_and_window():
    of = problem(MODEL)
    table = of.pressures.table
    assert table.gpu_types == ("A100-SXM-80GB", "H100-SXM-80GB")
    assert of.options(0) == [(1, 1), (1, 2), (2, 1), (2, 2)]
    for row, (degree, copies) in enumerate(of.options(0)):
        for at, name in enumerate(table.gpu_types):
            day, night = table.shares_of(row, at)
            reads = CacheReads(131072 * MODEL.kv_part(degree), bytes_per_sequence=0.0)
            times = step_time(SHAPE, reads, speed_of(name), degree)
            found = time_share(times, MODEL.windows["day"], MODEL.slo, 1 / copies)
            assert day == pytest.approx(found.total, abs=1e-11)
            assert day * 2**40 == int(day * 2**40)
            assert night == 0.0
    # A copy that carries half of the demand needs more than half of the time.
    assert table.shares_of(1, 0)[0] > table.shares_of(0, 0)[0] / 2


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"architecture": None}, ["architecture"]),
        ({"slo": SLO(0.5, 0.0)}, ["slo.tpot"]),
        ({"windows": {"day": Demand(1.0)}}, ["demand.prompt_tokens", "demand.output_tokens"]),
        ({"demand": Demand(0.0), "windows": {}, "architecture": None}, []),
    ],
)
def test_what_is_missing(change, missing):
    assert ShareTiming().missing(replace(MODEL, **change)) == missing
    if missing:
        assert math.isinf(
            ShareTiming().share(replace(MODEL, **change), Demand(1.0), 1, 1.0, "H100-SXM-80GB")
        )


def test_a_gpu_that_is_not_known_is_named():
    of = replace(problem(MODEL), objective="occupancy")
    strange = replace(of, fleet=Fleet((Node("n", (GPU("n/0", "toaster", 80 * 2**30),)),)))
    assert strange.lacking(Objective.PRESSURE) == [
        ("nodes", "the speed of a GPU of type 'toaster'")
    ]


def test_the_digest_rests_on_shapes_and_speeds():
    shapes = [SHAPE, replace(SHAPE, layers=33)]
    digests = {problem(replace(MODEL, architecture=shape)).digest for shape in shapes}
    digests.add(problem(MODEL, types=("H100-SXM-80GB", "H100-SXM-80GB")).digest)
    assert len(digests) == 3


def test_a_problem_made_by_hand_is_planned_for_both():
    gpus = tuple(GPU(f"n/{at}", "H100-SXM-80GB", 80 * 2**30) for at in range(2))
    fleet = Fleet((Node("n", gpus),))
    of = kvplace.Problem((MODEL,), fleet, timing=kvplace.ShareTiming())
    assert of.goal is Objective.PRESSURE
    found = kvplace.solve(of)
    assert found.value == found.evaluation.value == max(found.evaluation.pressures)
    assert kvplace.Problem((MODEL,), fleet).goal is Objective.OCCUPANCY
