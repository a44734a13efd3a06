"""The one evaluator: by hand, against exact fractions, and whatever the order of the input."""

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvplace.core.evaluation.evaluate import evaluate, kvpr_of
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model, Replicas
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from strategies import placements, problems
from tiny import byte_problem, fleet

GIB = 2**30


def one_chat(objective, memory):
    """One model of 2 GiB and 0.5 GiB overhead on one GPU, with 0.5 GiB in reserve."""
    chat = Model(
        name="chat",
        weights_bytes=2 * GIB,
        demand=Demand(2.0, 100.0, 40.0),
        slo=SLO(ttft_seconds=0.5, tpot_seconds=0.05),
        kv_bytes_per_token=1000,
        kv_bytes_per_sequence=500,
        overhead_bytes=GIB // 2,
    )
    gpus = Fleet((Node("n", (GPU("n/0", "t", memory, GIB // 2),)),))
    return Problem((chat,), gpus, Objective(objective))


@pytest.mark.parametrize(
    ("objective", "free", "kvpr"),
    [
        ("requests", 8 * GIB, 0.1),  # 0.8 / 8 GiB
        ("tokens", 5_600_000, 1.0),
        ("occupancy", 1_205_000, 0.5),  # 602500 of 1205000 bytes: half full
    ],
)
def test_kvpr_by_hand_in_the_unit_of_each_objective(objective, free, kvpr):
    problem = one_chat(objective, 3 * GIB + free)
    found = evaluate(problem, Placement.single({"chat": "n/0"}))
    assert found.valid
    assert found.gpus[0].free_bytes == free
    assert found.value == pytest.approx(kvpr, rel=1e-14)


def test_pressure_without_free_memory_is_infinite():
    assert kvpr_of(1.0, 0) == math.inf
    assert kvpr_of(0.0, -5) == math.inf
    assert kvpr_of(0.0, 5) == 0.0


def test_one_free_byte_is_enough_and_none_is_not():
    problem = byte_problem([10], [(4, 1.0), (5, 1.0)])
    assert evaluate(problem, Placement.single({"m0": "g0", "m1": "g0"})).value == 2.0 * GIB
    problem = byte_problem([10], [(5, 1.0), (5, 1.0)])
    found = evaluate(problem, Placement.single({"m0": "g0", "m1": "g0"}))
    assert [(v.kind, v.subject, v.amount) for v in found.violations] == [("memory", "g0", 1)]
    assert found.value == math.inf


def test_a_gpu_without_models_has_no_pressure_and_breaks_nothing():
    problem = byte_problem([10, 1], [(4, 1.0)])
    found = evaluate(problem, Placement.single({"m0": "g0"}))
    assert found.valid
    assert found.profile() == (GIB / 6, 0.0)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_evaluation_is_the_naive_one_in_exact_fractions(data):
    problem = data.draw(problems())
    placement = data.draw(placements(problem))
    found = evaluate(problem, placement)
    gpu_of = {replica.model: replica.gpus[0] for replica in placement}
    assert [gpu.id for gpu in found.gpus] == [gpu.id for gpu in problem.fleet.gpus]
    broken = {}
    for gpu, seen in zip(problem.fleet.gpus, found.gpus, strict=True):
        held = [(m, x) for m, x in zip(problem.models, problem.loads, strict=True)
                if gpu_of[m.name] == gpu.id]  # fmt: skip
        weights = sum(m.weights_bytes + m.overhead_bytes for m, _ in held)
        free = gpu.memory_bytes - gpu.reserve_bytes - weights
        load = sum((Fraction(x) for _, x in held), Fraction(0))
        least = sum(m.min_kv_bytes for m, _ in held)
        assert (seen.weights_bytes, seen.free_bytes) == (weights, free)
        assert seen.load == float(load)  # rounded once
        assert sorted(s.model for s in seen.shards) == sorted(m.name for m, _ in held)
        if held and free <= 0:
            assert seen.kvpr == math.inf
            broken[gpu.id] = ("memory", 1 - free)
        else:
            exact = load * problem.goal.memory_unit_bytes / free if held else Fraction(0)
            assert abs(Fraction(seen.kvpr) - exact) <= exact * Fraction(1, 2**51)
            if free < least:
                broken[gpu.id] = ("min_kv", least - free)
    assert {v.subject: (v.kind, v.amount) for v in found.violations} == broken
    assert found.value == (math.inf if broken else max(found.profile()))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_the_order_of_the_input_does_not_matter(data):
    problem = data.draw(problems())
    placement = data.draw(placements(problem))
    shuffled = Problem(
        tuple(data.draw(st.permutations(problem.models))),
        Fleet(
            tuple(
                Node(node.name, tuple(data.draw(st.permutations(node.gpus))), node.labels)
                for node in data.draw(st.permutations(problem.fleet.nodes))
            )
        ),
        problem.objective,
    )
    mixed = Placement(tuple(data.draw(st.permutations(placement.replicas))))
    assert mixed == placement
    one, other = evaluate(problem, placement), evaluate(shuffled, mixed)
    assert sorted(one.gpus, key=lambda g: g.id) == sorted(other.gpus, key=lambda g: g.id)
    assert one.profile() == other.profile()
    assert set(one.violations) == set(other.violations)


def replicated():
    """Two nodes of two GPUs; one model of 8 bytes that may be split in two and copied once."""
    model = Model(
        "big", 9, Demand(4.0), SLO(latency_seconds=1.0), overhead_bytes=1, min_kv_bytes=2,
        tensor_parallel=(1, 2), replicas=Replicas(1, 2),
    )  # fmt: skip
    return Problem((model,), fleet([30] * 4, nodes=2), Objective.REQUESTS)


def test_a_split_and_copied_model_by_hand():
    # Node n0 has g0 and g2, node n1 has g1 and g3. Each of the four shards: ceil(9 / 2) + 1 = 6
    # bytes and 4 / (2 x 2) = 1 of the load.
    problem = replicated()
    placement = Placement((Replica("big", 0, ("g0", "g2")), Replica("big", 1, ("g1", "g3"))))
    found = evaluate(problem, placement)
    assert found.valid
    assert [gpu.weights_bytes for gpu in found.gpus] == [6] * 4
    assert found.value == GIB / 24
    # Two shards of different ranks on one GPU: 6 + 6 bytes.
    both = evaluate(problem, Placement((Replica("big", 0, ("g0", "g0")),)))
    assert {v.kind for v in both.violations} == {"distinct_gpus"}
    assert both.gpus[0].weights_bytes == 12


@pytest.mark.parametrize(
    ("replicas", "broken"),
    [
        ([], [("replicas", "big", 1)]),
        ([("big", 0, ("g0",)), ("big", 1, ("g1",)), ("big", 2, ("g2",))], [("replicas", "big", 1)]),
        ([("big", 0, ("g0",)), ("big", 0, ("g1",))], [("numbering", "big", 1)]),
        ([("big", 0, ("g0",)), ("big", 1, ("g0",))], [("distinct_gpus", "big", 1)]),
        ([("big", 0, ("g0", "g0"))], [("distinct_gpus", "big", 1)]),
        ([("big", 0, ("g0", "g1"))], [("one_node", "big", 1)]),
        ([("big", 0, ("g9",))], [("unknown_gpu", "g9", 1)]),
        ([("big", 0, ())], [("degree", "big", 1)]),
        ([("big", 0, ("g0",)), ("small", 0, ("g1",))], [("unknown_model", "small", 1)]),
        (
            [("big", 0, ("g0",)), ("z", 0, ("g1",)), ("a", 0, ("g1",)), ("a", 1, ("g2",))],
            [("unknown_model", "a", 2), ("unknown_model", "z", 1)],
        ),
    ],
)
def test_every_structural_violation_says_whom_and_by_how_much(replicas, broken):
    problem = replicated()
    found = evaluate(problem, Placement(tuple(Replica(*replica) for replica in replicas)))
    assert [(v.kind, v.subject, v.amount) for v in found.violations] == broken
    assert found.value == math.inf
    assert not found.valid
    assert all(v.message for v in found.violations)


def test_too_many_shards_break_degree_and_distinctness():
    found = evaluate(replicated(), Placement((Replica("big", 0, ("g0", "g2", "g0", "g2")),)))
    kinds = [(v.kind, v.amount) for v in found.violations]
    assert ("degree", 2) in kinds
    assert ("distinct_gpus", 2) in kinds


def test_memory_violations_name_the_gpu_and_the_bytes():
    # g0: 8 + 7 of 10 bytes, so 5 too many and 1 that must stay free; g1: 4 free, 6 to be left.
    problem = byte_problem([10, 10], [(8, 1.0), (7, 1.0), (3, 1.0, 3), (3, 0.0, 3)])
    found = evaluate(problem, Placement.single({"m0": "g0", "m1": "g0", "m2": "g1", "m3": "g1"}))
    assert [(v.kind, v.subject, v.amount) for v in found.violations] == [
        ("memory", "g0", 6),
        ("min_kv", "g1", 2),
    ]
    assert "more than 0 bytes must stay free" in found.violations[0].message
    assert "(min_kv)" in found.violations[1].message
