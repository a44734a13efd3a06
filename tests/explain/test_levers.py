"""What holds the worst GPU, and levers: every figure is that of a placement."""

import random
import time
from dataclasses import replace

import pytest

from kvplace.core.certificates.certificate import check_certificate
from kvplace.core.evaluation.constraints import misfits
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.models.model import Replicas
from kvplace.core.models.model_table import ModelTable
from kvplace.core.placement import Placement
from kvplace.core.rules.pin import Pin
from kvplace.core.rules.places import Places
from kvplace.core.rules.together import Together
from kvplace.errors import InputError
from kvplace.explain.bottleneck import alone, bottleneck_of
from kvplace.explain.changes import Effort, another_degree
from kvplace.explain.explain import explain
from kvplace.explain.levers import find_levers
from kvplace.formats.read import read
from kvplace.formats.tables import models
from kvplace.solver.clock import Watch
from kvplace.solver.solve import solve
from kvplace.units import GIB
from made import fleet, model, problem
from oracle_splits import solve_by_force
from splits import random_split_problem


def levers(problem_):
    found = explain(problem_).levers
    return {(lever.change.kind, lever.change.subject): lever for lever in found}


def test_one_hot_model_gets_a_copy_or_smaller_weights_or_more_gpus():
    # hot: 10 / (80 - 40) = 0.25, whatever the rest does; cold: 1 / (80 - 40) = 0.025.
    found = levers(problem([model("hot", 40, 10.0), model("cold", 40)], fleet(80, 80, gpus=1)))
    # FP8: 10 / (80 - 20). Without it cold alone is left. A copy does not fit: 40 + 40 = 80.
    assert found["weights", "hot"].value == pytest.approx(10 / 60)
    assert found["leave_out", "hot"].value == pytest.approx(1 / 40)
    assert ("replica", "hot") not in found
    assert ("gpus", "80GiB") not in found
    assert found["weights", "hot"].gain == pytest.approx(1 - (10 / 60) / 0.25)


def test_an_overhead_by_the_weights_is_estimated_anew_at_a_another_degree(tmp_path):
    file = tmp_path / "fleet.yaml"
    file.write_text(
        "schema: kvplace.fleet/v1\nnodes: 8xH100\nmodels: [{name: a, weights: 560GiB, "
        "kv_bytes_per_token: 1000, demand: {requests_per_second: 1}, slo: {latency: 1s}}]\n"
    )
    found = another_degree(read(file), 0)
    assert found.text == "tensor parallel 8 for a"
    (model,) = found.problem.models
    assert model.resident_bytes(8) < 75 * GIB < 560 * GIB < model.resident_bytes(1)


def test_another_copy_and_a_another_degree_where_there_is_room():
    found = levers(problem([model("hot", 40, 10.0)], fleet(80, gpus=2)))
    assert found["replica", "hot"].value == pytest.approx(5 / 40)
    assert found["degree", "hot"].value == pytest.approx(5 / 60)
    assert "up to 2" in found["replica", "hot"].change.text


def test_a_rule_that_costs_is_a_lever():
    pin = Pin(("hot",), places=Places(nodes=("h1",)))
    found = levers(problem([model("hot", 20, 10.0)], fleet(80, 40), pin))
    lever = found["release", "rules[0]"]
    assert (lever.before, lever.value) == (pytest.approx(0.5), pytest.approx(10 / 60))
    assert lever.change.text == "release the rule: 'hot' is pinned to node h1"
    assert lever.change.effort is Effort.RULE


def test_levers_come_from_the_best_to_the_least():
    found = explain(
        problem([model("hot", 30, 10.0), model("b", 30, 3.0)], fleet(80, gpus=2))
    ).levers
    kept = [lever.value for lever in found if lever.change.effort < Effort.SERVICE]
    assert kept == sorted(kept)
    assert found[len(kept)].change.kind == "leave_out"  # a service less comes last
    assert all(lever.value < lever.before for lever in found)


@pytest.mark.parametrize("name", ["openai/gpt-oss-120b", "org/x-FP8", "org/x-AWQ", "x.Q4.gguf"])
def test_fp8_is_not_offered_where_weights_are_narrow_already(name):
    found = levers(problem([model(name, 20, 10.0)], fleet(80)))
    assert ("weights", name) not in found
    assert ("weights", "wide") in levers(problem([model("wide", 20, 10.0)], fleet(80)))


def test_the_degree_offered_is_one_that_fits():
    # 650 GiB on nodes of 8 x 90: 2 and 4 shards do not fit, 8 do.
    found = another_degree(problem([model("big", 650, 1.0)], fleet(90, gpus=8)), 0)
    assert found.text == "tensor parallel 8 for big"
    assert another_degree(problem([model("big", 950, 1.0)], fleet(90, gpus=8)), 0) is None


def test_a_degree_that_no_node_has_room_for_is_answered_with_the_widest_that_fits():
    wide = replace(model("big", 606, 1.0), tensor_parallel=(16,))
    found = another_degree(problem([wide], fleet(90, gpus=8)), 0)
    assert found.text == "tensor parallel 8 for big"


def test_a_plan_that_is_not_the_best_is_told_so_first():
    split = problem([model("a", 20, 2.0), model("b", 20, 2.0)], fleet(80, 80))
    worse = Placement.single({"a": "h0/0", "b": "h0/0"})
    found = explain(split, worse)
    assert found.given.value == pytest.approx(4 / 40)
    first = found.levers[0]
    assert (first.change.kind, first.value) == ("plan", pytest.approx(2 / 60))
    assert found.bottleneck.gpu.id == "h0/0"
    assert all(lever.before == found.given.value for lever in found.levers)


def test_a_plan_that_does_not_hold_is_refused():
    with pytest.raises(InputError, match="has 0 replicas placed"):
        explain(problem([model("a", 20)], fleet(80)), Placement(()))


def test_what_holds_the_worst_gpu():
    hot = problem([model("hot", 40, 10.0), model("cold", 40)], fleet(80, 80))
    full = problem([model("a", 20, 2.0), model("b", 20, 2.0)], fleet(80))
    packed = problem([model(name, 20, 2.0) for name in "abc"], fleet(80, 80))
    causes = [bottleneck_of(p, solve(p).evaluation).cause for p in (hot, full, packed)]
    assert [(cause.kind, cause.model) for cause in causes] == [
        ("single-model", "hot"), ("fluid", ""), ("packing", ""),
    ]  # fmt: skip
    assert [cause.value for cause in causes] == [
        pytest.approx(10 / 40), pytest.approx(4 / 40), pytest.approx(6 / 100),
    ]  # fmt: skip


def test_alone_takes_the_best_option():
    split = model("a", 40, 8.0, tensor_parallel=(1, 2), replicas=Replicas(1, 2))
    # Two copies of two shards: 8 / 2 / 2 = 2 on 80 - 20.
    assert alone(problem([split], fleet(80, gpus=4)), 0) == pytest.approx(2 / 60)
    assert alone(problem([split], fleet(80, gpus=1)), 0) == pytest.approx(8 / 40)
    assert alone(problem([model("b", 90)], fleet(80)), 0) == float("inf")


@pytest.mark.parametrize("seed", range(2))
def test_every_figure_is_that_of_a_placement_and_no_bound_is_above_the_optimum(seed):
    draw = random.Random(seed)
    for _ in range(12):
        drawn = random_split_problem(draw, models=3)
        result = solve(drawn)
        if result.placement is None:
            continue
        cause = bottleneck_of(drawn, result.evaluation).cause
        truth = solve_by_force(drawn)
        assert cause.value <= truth.value * (1 + 1e-9)
        for lever in find_levers(drawn, result.placement):
            changed = lever.change.problem
            assert evaluate(changed, lever.result.placement).value == lever.value
            certificate = lever.result.proof.certificate
            assert certificate is None or check_certificate(changed, certificate) == ""
            if len(changed.fleet.gpus) <= 7 and not any(rule.soft for rule in changed.rules):
                assert lever.result.bound <= solve_by_force(changed).value * (1 + 1e-9)


def test_nothing_helps_a_fleet_without_demand():
    assert explain(problem([model("idle", 20, 0.0)], fleet(80))).levers == ()


def test_an_interrupt_ends_it():
    watch = Watch()
    hot = problem([model("hot", 40, 10.0)], fleet(80, gpus=2), Together())
    result = solve(hot)
    watch.interrupt()
    assert find_levers(hot, result.placement, watch) == ()


def test_a_busy_machine_finds_the_same_levers(monkeypatch):
    gpus = fleet(80, 80, gpus=2)
    models = [model(f"m{j}", 18 + j % 5, 1.0 + j * j % 7) for j in range(9)]
    plan = solve(problem(models, gpus))
    idle = find_levers(plan.problem, plan.placement, Watch(1e6))
    now = time.perf_counter
    monkeypatch.setattr(time, "perf_counter", lambda: 1e4 * now())
    busy = find_levers(plan.problem, plan.placement, Watch(1e9))
    assert [(lever.change, lever.value) for lever in busy] == [
        (lever.change, lever.value) for lever in idle
    ]
    assert idle


def test_a_large_table_needs_no_object_for_each_model(monkeypatch):
    monkeypatch.setattr(models, "FEW", 0)
    made, own = [], ModelTable.__getitem__
    monkeypatch.setattr(
        ModelTable, "__getitem__", lambda table, at: made.append(at) or own(table, at)
    )
    rows = [f"m{at},{1 + at % 7},1,2,0,0" for at in range(300)]
    head = "name,weights_gib,requests_per_second,slo_seconds,overhead_gib,min_kv_gib"
    fits = models.parse_table("\n".join([head, *rows]), "40x80GiB")
    evaluation = solve(fits, gap=1.0).evaluation
    made.clear()
    assert misfits(fits) == {}
    assert bottleneck_of(fits, evaluation).cause.value > 0
    assert made == []
    not_ = models.parse_table("\n".join([head, *rows, "big,90,1,2,0,0"]), "40x80GiB")
    assert list(misfits(not_)) == ["big"]
    assert set(made) == {300}
    assert not explain(not_, time_limit=0.05).complete
