"""Schedulers as they are: by hand, and valid on whatever is drawn."""

import random
from dataclasses import replace

import pytest

from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.model import Replicas
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.core.result import Status
from kvplace.core.rules.apart import Apart
from kvplace.core.rules.forbid import Forbid
from kvplace.core.rules.places import Places
from kvplace.core.rules.spread import Spread
from kvplace.solver.baselines.schedulers import SCHEDULERS, best_fit, first_fit, prism, proportional
from kvplace.solver.solve import solve
from oracle_splits import solve_by_force, worth
from splits import random_split_problem
from tiny import byte_model, byte_problem


def two_nodes(*memories):
    """A fleet of two nodes with those usable bytes."""
    return Fleet(
        tuple(
            Node(
                f"n{k}", tuple(GPU(f"n{k}/{i}", "t", m) for i, m in enumerate(of)), {"zone": f"{k}"}
            )
            for k, of in enumerate(memories)
        )
    )


def test_first_fit_and_best_fit_by_hand():
    # 6 bytes fit both; 3 more do not fit beside them on the first GPU of 9, one byte staying free.
    problem = byte_problem([9, 20, 8], [(6, 1.0), (3, 1.0), (2, 1.0)])
    assert first_fit(problem) == Placement.single({"m0": "g0", "m1": "g1", "m2": "g0"})
    # The smallest GPU first; then 3 bytes fit where 9 are free, 2 where 6 are.
    assert best_fit(problem) == Placement.single({"m0": "g2", "m1": "g0", "m2": "g0"})


def test_prism_takes_the_node_whose_gpus_are_coolest():
    # The hot model on the first GPU; then two ranks fit both nodes, and the second is empty.
    hot, split = (
        byte_model("hot", 2, 9.0),
        replace(byte_model("split", 4, 2.0), tensor_parallel=(2,)),
    )
    problem = Problem((split, hot), two_nodes([10, 10], [10, 10]), Objective.REQUESTS)
    assert prism(problem) == Placement(
        (Replica("hot", 0, ("n0/0",)), Replica("split", 0, ("n1/0", "n1/1")))
    )


def test_ranks_never_leave_their_node_and_the_least_degree_that_fits_is_taken():
    model = replace(byte_model("m", 12, 1.0), tensor_parallel=(1, 2, 3))
    narrow = Problem((model,), two_nodes([8], [8, 8]), Objective.REQUESTS)
    assert first_fit(narrow) == Placement((Replica("m", 0, ("n1/0", "n1/1")),))
    wide = Problem((model,), two_nodes([13], [8, 8]), Objective.REQUESTS)
    assert first_fit(wide) == Placement.single({"m": "n0/0"})
    assert first_fit(Problem((model,), two_nodes([8], [8]), Objective.REQUESTS)) is None


def test_rules_and_capacities_are_filters():
    models = (byte_model("a", 2, 1.0), byte_model("b", 2, 1.0))
    fleet = two_nodes([10, 10], [10])
    for rule, gpus in [
        (Apart(over="node"), {"a": "n0/0", "b": "n1/0"}),
        (Forbid(("b",), places=Places(gpus=("n0/0",))), {"a": "n0/0", "b": "n0/1"}),
        (Apart(over="node", soft=1), {"a": "n0/0", "b": "n0/0"}),
    ]:
        problem = Problem(models, fleet, Objective.REQUESTS, (rule,))
        assert first_fit(problem) == Placement.single(gpus)
    gpus = tuple(replace(gpu, resources={"slots": 1.0}) for gpu in fleet.gpus)
    slots = Fleet((Node("n0", gpus[:2]), Node("n1", gpus[2:])))
    taking = tuple(replace(model, resources={"slots": 0.6}) for model in models)
    problem = Problem(taking, slots, Objective.REQUESTS)
    assert first_fit(problem) == Placement.single({"a": "n0/0", "b": "n0/1"})
    copied = (replace(models[0], replicas=Replicas(2, 2)),)
    problem = Problem(copied, fleet, Objective.REQUESTS, (Spread(over="zone"),))
    assert first_fit(problem) == Placement((Replica("a", 0, ("n0/0",)), Replica("a", 1, ("n1/0",))))


def test_copies_in_proportion_to_demand_go_where_the_demand_is():
    models = (
        replace(byte_model("hot", 2, 30.0), replicas=Replicas(1, 3)),
        replace(byte_model("cold", 2, 1.0), replicas=Replicas(1, 3)),
    )
    problem = Problem(models, two_nodes([10, 10], [10, 10]), Objective.REQUESTS)
    copies = [replica.model for replica in proportional(problem)]
    assert (copies.count("hot"), copies.count("cold")) == (3, 1)


@pytest.mark.parametrize("seed", range(2))
def test_what_a_scheduler_places_is_valid(seed):
    draw, placed = random.Random(seed), 0
    for _ in range(60):
        problem = random_split_problem(draw)
        truth = solve_by_force(problem)
        for schedule in SCHEDULERS.values():
            placement = schedule(problem)
            if placement is not None:
                placed += 1
                assert worth(problem, placement) >= (truth.breaches, truth.value)
    assert placed > 60


def adrs_greedy(sizes, loads, memory):
    """The rule as the ADRS benchmark's first program has it; GPU per model, None without room."""
    free, load, gpu_of = list(memory), [0.0] * len(memory), [-1] * len(sizes)
    for j in sorted(range(len(sizes)), key=lambda j: -loads[j]):
        fitting = [g for g in range(len(memory)) if free[g] - sizes[j] >= 1]
        if not fitting:
            return None
        g = min(fitting, key=lambda g: load[g] / free[g])
        free[g] -= sizes[j]
        load[g] += loads[j]
        gpu_of[j] = g
    return gpu_of


@pytest.mark.parametrize("seed", range(3))
def test_prism_on_plain_problems_is_the_rule_of_the_benchmark(seed):
    draw = random.Random(seed)
    for _ in range(60):
        memory = [draw.randint(20, 60)] * draw.randint(1, 4)
        rows = [(draw.randint(1, 20), draw.uniform(0, 9)) for _ in range(draw.randint(1, 9))]
        problem = byte_problem(memory, rows)
        gpu_of, placement = adrs_greedy(*zip(*rows, strict=True), memory), prism(problem)
        if gpu_of is None:
            assert placement is None
        else:
            assert placement == Placement.single({f"m{j}": f"g{g}" for j, g in enumerate(gpu_of)})


def test_prism_and_the_reference_serve_every_kind_of_problem():
    draw, placed = random.Random(7), 0
    for _ in range(60):
        problem = random_split_problem(draw)
        truth = solve_by_force(problem)
        for solver in ("prism-greedy", "reference"):
            result = solve(problem, solver=solver)
            assert result.solver == solver
            if result.placement is None:
                assert result.status is not Status.INFEASIBLE or not truth.feasible
                continue
            placed += 1
            assert worth(problem, result.placement) >= (truth.breaches, truth.value)
            assert result.bound <= truth.value * (1 + 1e-9)
    assert placed > 60
