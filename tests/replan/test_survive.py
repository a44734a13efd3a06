"""Plans that survive the loss of any one GPU or node: each failure tried by itself."""

import math
from dataclasses import replace
from random import Random

import pytest
from losses import check_loss, losses

from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.failure import Recovery
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.rules.limit import Limit
from kvplace.errors import InputError
from kvplace.formats.plan.io import read_plan, write_plan
from kvplace.replan.failures import restored, without_gpus
from kvplace.replan.outcome import Budget
from kvplace.replan.replan import replan
from kvplace.replan.survive import Survival, after_failures, failures_of, survive
from kvplace.report.answers.survived import survived_lines
from kvplace.solver.clock import Watch
from kvplace.solver.solve import solve


def problem(memory, sizes, gpus=4, per_node=2, rules=()):
    nodes = tuple(
        Node(
            f"n{first // per_node}",
            tuple(GPU(f"n{first // per_node}/{at}", "X", memory) for at in range(per_node)),
        )
        for first in range(0, gpus, per_node)
    )
    models = tuple(
        Model(f"m{at}", size, Demand(1.0), SLO(latency_seconds=1.0), overhead_bytes=0)
        for at, size in enumerate(sizes)
    )
    return Problem(models, Fleet(nodes), Objective.REQUESTS, rules)


def plan(part):
    return solve(part, iterations=100)


@pytest.mark.parametrize("what", ["1-gpu", "1-node"])
def test_every_failure_by_itself_is_survived(what):
    whole = problem(20, [7, 7, 6, 3, 2, 2])
    found = survive(whole, what, plan)
    assert found.holds
    for (name, gone), failure in zip(failures_of(whole.fleet, what), found.failures, strict=True):
        left = without_gpus(whole, gone).problem
        after = replan(left, found.result.placement, budget=Budget(), compare=False)
        assert after.after is not None, name
        assert failure.bound <= after.after.value
        assert failure.value < math.inf
    assert found.result.value >= found.free_value * (1 - 1e-9)


def test_a_failure_may_move_what_stays():
    # On two of three GPUs of 20 bytes: 9 + 9 and 9 + 4 + 4, with three shards a GPU at most.
    rules = (Limit(("*",), None, "gpu", 3),)
    whole = problem(20, [9, 9, 9, 4, 4], gpus=3, per_node=1, rules=rules)
    found = survive(whole, "1-gpu", plan)
    assert found.holds
    assert evaluate(whole, found.result.placement).valid


def test_what_cannot_be_survived_is_proved():
    # 33 bytes on 40, yet no two of 11 share a GPU: no sum proves it, a search does.
    found = survive(problem(20, [11, 11, 11]), "1-node", plan)
    assert found.named(Recovery.IMPOSSIBLE) == ["n0", "n1"]
    assert found.impossible
    assert not found.holds
    found = survive(problem(20, [18, 18, 6]), "1-node", plan)
    assert found.impossible  # 42 bytes on 40


def test_a_fleet_of_one_node_cannot_lose_it():
    with pytest.raises(InputError, match="nothing is left"):
        survive(problem(20, [3], gpus=2, per_node=2), "1-node", plan)


def test_nothing_moves_but_what_must_after_a_failure():
    whole = problem(40, [7, 7, 6, 3])
    placement = plan(whole).placement
    for failure in after_failures(whole, placement, failures_of(whole.fleet, "1-gpu")):
        assert failure.moves <= 3


def test_what_is_left_may_have_to_be_packed_anew():
    # Six models on three nodes of one GPU: what is left holds all, packed in one way only, and
    # no model can go anywhere before others have moved.
    whole = problem(60, [24, 18, 18, 20, 20, 20], gpus=3, per_node=1)
    placement = Placement.single(
        {"m0": "n0/0", "m1": "n1/0", "m2": "n1/0", "m3": "n0/0", "m4": "n2/0", "m5": "n2/0"}
    )
    (lost,) = after_failures(whole, placement, [("n2", frozenset(["n2/0"]))])
    assert lost.value == math.inf  # 120 of 120: nothing is left for KV
    roomy = problem(61, [24, 18, 18, 20, 20, 20], gpus=3, per_node=1)
    (lost,) = after_failures(roomy, placement, [("n2", frozenset(["n2/0"]))])
    assert lost.value < math.inf
    assert lost.moves >= 3


def ended_before(phase):
    """Return a watch that ends the search when it is told a phase."""
    watch = Watch(listener=lambda progress: watch.interrupt() if ends(progress) else None)

    def ends(progress):
        return progress.phase.startswith(phase)

    return watch


def test_what_there_was_no_time_for_is_not_called_lost():
    whole = problem(20, [9, 9, 9, 4, 4], gpus=4, per_node=1)
    found = survive(whole, "1-node", plan, watch=ended_before("without n2,"))
    assert found.named(Recovery.RESTORED)[:2] == ["n0", "n1"]
    assert "n3" in found.named(Recovery.NOT_TRIED)
    assert not found.named(Recovery.NOT_FOUND)
    assert not found.impossible
    assert not found.holds
    assert math.isinf(found.failures[-1].value)
    assert found.failures[-1].bound == 0
    said = " ".join(survived_lines(found, "1-node"))
    assert "not known" in said
    assert "not tried to the end" in said
    assert "n3" in said
    assert "no plan" not in said
    assert "not survive" not in said


def test_outcomes_are_counted_and_named_apart():
    whole = problem(20, [7, 7, 6, 3, 2, 2])
    found = survive(whole, "1-gpu", plan)
    first, second, third, fourth = found.failures
    lost = replace(second, outcome=Recovery.NOT_FOUND, value=math.inf)
    open_ = replace(third, outcome=Recovery.NOT_TRIED, value=math.inf)
    result = replace(found.result, failures=(first, lost, open_, fourth))
    lines = survived_lines(Survival(result, found.free_value), "1-gpu")
    assert lines[0] == "no plan was found that survives the loss of every GPU"
    assert lines[1].endswith(
        "2 restored, 1 for which no way to restore all was found (n0/1), "
        "1 not tried to the end (n1/0)"
    )
    proved = replace(lost, outcome=Recovery.IMPOSSIBLE, bound=math.inf)
    result = replace(found.result, failures=(first, proved, open_, fourth))
    lines = survived_lines(Survival(result, found.free_value), "1-gpu")
    assert lines[0].startswith("no plan survives the loss of n0/1")
    assert "2 restored, 1 proved impossible to restore, 1 not tried to the end" in lines[1]


@pytest.mark.parametrize("ending", ["json", "parquet"])
def test_a_plan_file_states_the_outcome_of_each_failure(ending, tmp_path):
    found = survive(
        problem(20, [9, 9, 9, 4, 4], gpus=4, per_node=1),
        "1-node",
        plan,
        watch=ended_before("without n2,"),
    )
    path = tmp_path / f"plan.{ending}"
    write_plan(found.result, path)
    held = read_plan(path)
    stated = held.failures if ending == "json" else held.head.failures
    assert stated == found.failures


def test_an_interrupt_before_the_first_failure_leaves_all_open():
    whole = problem(20, [7, 7, 6, 3])
    watch = Watch()
    watch.interrupt()
    outcomes = {
        f.outcome
        for f in after_failures(
            whole, plan(whole).placement, failures_of(whole.fleet, "1-gpu"), watch
        )
    }
    assert outcomes == {Recovery.NOT_TRIED}


def test_nothing_is_relieved_beyond_what_is_enough():
    whole = problem(100, [10, 10, 10, 10, 10, 10, 10, 10, 10], gpus=6, per_node=1)
    names = iter(["n0/0", "n1/0", "n1/0", "n1/0", "n1/0", "n2/0", "n3/0", "n4/0", "n5/0"])
    placement = Placement.single({model.name: next(names) for model in whole.models})
    one = [("n0", frozenset(["n0/0"]))]
    (best,) = after_failures(whole, placement, one)
    (quick,) = after_failures(whole, placement, one, enough=evaluate(whole, placement).value)
    assert quick.outcome is Recovery.RESTORED
    assert best.value < quick.value <= evaluate(whole, placement).value
    assert quick.moves == 1 < best.moves


def test_what_fits_is_restored_and_what_is_not_does_not_fit():
    found = losses(Random(0))
    outcomes = [check_loss(*next(found)) for _ in range(25)]
    assert outcomes.count("all restored") > 3
    assert outcomes.count("as many as fit restored") > 1


def test_what_is_not_restored_has_its_reason():
    # On one of two GPUs of 20: m0 stays, m2 is put back, m1 finds no room, proved by enumeration.
    whole = problem(20, [9, 12, 6], gpus=2, per_node=1)
    current = Placement.single({"m0": "n0/0", "m1": "n1/0", "m2": "n1/0"})
    left = without_gpus(whole, frozenset(["n1/0"])).problem
    found, lost = restored(left, current, budget=Budget())
    assert set(lost) == {"m1"}
    assert "no room for it beside what is restored" in lost["m1"]
    assert {r.model for r in found.placement} == {"m0", "m2"}
    _, lost = restored(left, current, budget=Budget(moves=0))
    assert lost["m2"] == "it takes more than the budget"
    ended = Watch()
    ended.interrupt()
    _, lost = restored(left, current, budget=Budget(), watch=ended)
    assert set(lost.values()) == {"there was no time left to look for room"}
