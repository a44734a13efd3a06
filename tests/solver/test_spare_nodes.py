"""Nodes that no copy needs are left out of the search, and nothing else changes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvplace.core.certificates.certificate import check_certificate
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model, Replicas
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.core.result import Status
from kvplace.core.rules.pin import Pin
from kvplace.core.rules.places import Places
from kvplace.core.rules.spread import Spread
from kvplace.formats.plan.of_result import plan_of
from kvplace.solver import spare_nodes
from kvplace.solver.solve import refine, solve
from kvplace.solver.spare_nodes import without_spare_nodes
from kvplace.units import GIB
from made import rows_of


def nodes(prefix, count, gpus, memory, zones=("a",)):
    return [
        Node(
            f"{prefix}{at}",
            tuple(
                GPU(f"{prefix}{at}/{g}", f"T{memory}", memory * GIB, link="") for g in range(gpus)
            ),
            {"zone": zones[at % len(zones)]},
        )
        for at in range(count)
    ]


def model(name, weights, rate, degrees=(1,), copies=1):
    return Model(
        name=name, weights_bytes=weights * GIB, demand=Demand(rate), slo=SLO(latency_seconds=1.0),
        overhead_bytes=0, tensor_parallel=degrees, replicas=Replicas(1, copies),
    )  # fmt: skip


def problem(fleet, models, rules=()):
    return Problem(tuple(models), Fleet(tuple(fleet)), Objective.REQUESTS, tuple(rules))


FEW = [model("big", 60, 9.0), model("hot", 10, 30.0), model("cold", 10, 1.0)]


def test_ten_thousand_gpus_for_three_models_are_four_nodes_of_each_kind():
    many = problem([*nodes("x", 1_000, 8, 80), *nodes("y", 500, 4, 40)], FEW)
    few = without_spare_nodes(many)
    assert [node.name for node in few.fleet.nodes] == [
        "x0", "x1", "x2", "x3", "y0", "y1", "y2", "y3",
    ]  # fmt: skip
    assert solve(many).value == solve(few).value == 9 / 20


@pytest.mark.parametrize("models", [FEW, [model("split", 90, 8.0, (2, 4), 3), *FEW]])
def test_the_result_is_of_the_whole_fleet_and_its_bound_holds_there(models):
    many = problem(nodes("x", 300, 8, 80), models)
    result = solve(many)
    assert result.problem is many
    assert result.status is Status.OPTIMAL
    assert len(result.evaluation.gpus) == 2_400
    assert result.proof.certificate is not None
    assert check_certificate(many, result.proof.certificate) == ""


def test_what_is_infeasible_is_so_with_a_certificate_of_the_whole_fleet():
    many = problem(nodes("x", 300, 8, 80), [model("huge", 90, 1.0)])
    result = solve(many)
    assert result.status is Status.INFEASIBLE
    assert check_certificate(many, result.proof.certificate) == ""


def test_nodes_that_rules_tell_apart_stay():
    rules = [Pin(("hot",), places=Places(nodes=("x777",))), Spread(("cold",), over="zone")]
    many = problem(nodes("x", 1_000, 2, 80, ("a", "b", "c")), FEW, rules)
    few = without_spare_nodes(many)
    names = {node.name for node in few.fleet.nodes}
    assert "x777" in names
    assert {node.labels["zone"] for node in few.fleet.nodes} == {"a", "b", "c"}
    result = solve(many)
    assert {r.gpus[0].split("/")[0] for r in result.placement if r.model == "hot"} == {"x777"}
    assert not evaluate(many, result.placement).violations


def test_nodes_of_a_start_stay():
    many = problem(nodes("x", 1_000, 2, 80), FEW)
    start = Placement(tuple(Replica(m.name, 0, ("x999/1",)) for m in FEW))
    names = [node.name for node in without_spare_nodes(many, start).fleet.nodes]
    assert names == ["x0", "x1", "x2", "x999"]
    better = refine(many, start)
    assert better.problem is many
    assert better.value < evaluate(many, start).value


def test_of_one_host_of_many_gpus_no_more_stay_than_there_are_models():
    many = problem(nodes("x", 1, 5_000, 80) + nodes("y", 1, 5_000, 40), FEW)
    few = without_spare_nodes(many)
    assert [len(node.gpus) for node in few.fleet.nodes] == [len(FEW) + 1] * 2
    start = Placement(tuple(Replica(m.name, 0, ("y0/4999",)) for m in FEW))
    kept = {gpu.id for gpu in without_spare_nodes(many, start).fleet.gpus}
    assert "y0/4999" in kept
    result = solve(many)
    assert result.problem is many
    assert result.status is Status.OPTIMAL
    assert check_certificate(many, result.proof.certificate) == ""
    assert result.evaluation.busy == len(result.evaluation.occupied) == len(FEW)
    gpus = [gpu.id for gpu in plan_of(result).gpus for _ in gpu.shards]
    rows = [line.split(",") for line in rows_of(result).splitlines()[1:]]
    assert sorted(row[4] for row in rows) == sorted(gpus)


def test_few_spare_nodes_or_gpus_change_nothing():
    small = problem(nodes("x", 20, 8, 80), FEW)
    assert without_spare_nodes(small) is small
    full = problem(nodes("x", 200, 8, 80), [model(f"m{j}", 10, 1.0, (1, 2)) for j in range(150)])
    assert without_spare_nodes(full) is full


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(5, 70), st.integers(1, 50), st.sampled_from([(1,), (2,), (1, 2)]),
            st.integers(1, 2),
        ),
        min_size=1, max_size=3,
    ),
    st.integers(1, 2), st.integers(14, 18),
)  # fmt: skip
def test_the_optimum_is_that_of_all_nodes(rows, gpus, count):
    models = [model(f"m{j}", *row) for j, row in enumerate(rows)]
    many = problem(nodes("x", count, gpus, 80), models)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spare_nodes, "LEAST_GPUS", 10**9)
        whole = solve(many)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spare_nodes, "LEAST_GPUS", 1)
        fewer = solve(many)
    assert fewer.status is whole.status
    assert fewer.value == pytest.approx(whole.value, rel=1e-9)
