"""Bounds of the models that fit only on the largest GPUs: they hold for the whole cluster."""

import random
from dataclasses import replace

import pytest

from kvplace.core.certificates.certificate import check_certificate
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model, Replicas
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.solver.clock import Watch
from kvplace.solver.construct.target_search import some_assignments
from kvplace.solver.strategies.cluster.strategy import ClusterSearch
from kvplace.solver.strategies.cluster.tail import tail_of
from kvplace.solver.strategies.stages import Settings
from oracle_splits import solve_by_force

ENOUGH = 4
"""Bounds of one seed; most problems drawn leave nothing to raise."""


def pool(draw, large=2, small=1, models=(3, 2)):
    """Return a pool of large and small GPUs, with models that fit only the first, and others."""
    nodes = tuple(
        Node(f"{kind}{n}", tuple(GPU(f"{kind}{n}/{at}", kind, memory) for at in range(2)))
        for kind, number, memory in (("large", large, 100), ("small", small, 30))
        for n in range(number)
    )
    made = []
    for few, sizes, (many, copies) in (
        (True, (36, 60), (models[0], 1)),
        (False, (2, 9), (models[1], 2)),
    ):
        for number in range(many):
            degree = draw.choice([1, 2]) if few else 1
            made.append(
                Model(
                    f"{few}{number}", degree * draw.randint(*sizes), Demand(draw.uniform(1, 9)),
                    SLO(latency_seconds=1.0), overhead_bytes=0, min_kv_bytes=draw.choice([0, 4]),
                    kv_bytes_per_token=1, tensor_parallel=(degree,), replicas=Replicas(1, copies),
                )
            )  # fmt: skip
    return Problem(tuple(made), Fleet(nodes), Objective.REQUESTS)


def begun(problem):
    """Return a search with an assignment, or None where there is no simple one."""
    search = ClusterSearch(problem, Settings())
    search.board = next(some_assignments(search.chooser, search.low, Watch()), None)
    return search if search.placed else None


def test_bounds_of_tails_check_and_are_below_the_optimum():
    draw, raised = random.Random(3), 0
    while raised < ENOUGH:
        problem = pool(draw)
        search = begun(problem)
        if search is None:
            continue
        low = search.low
        if not search.raise_by_tail(1.0):
            assert search.low == low
            assert search.tail is None
            continue
        raised += 1
        assert low < search.low <= solve_by_force(problem).value * (1 + 1e-9)
        assert search.proof.value == search.low
        assert check_certificate(problem, search.proof.certificate) == ""


@pytest.fixture(scope="module")
def proved():
    """A larger pool, the problem of its tail, and a search with the bound by that."""
    problem = pool(random.Random(2), 6, 8, (9, 16))
    search = begun(problem)
    part = tail_of(problem, search.chooser, search.low, 1000)
    assert search.raise_by_tail(1.0)
    return problem, part, search


def test_what_fits_on_any_gpu_costs_nothing(proved):
    problem, part, search = proved
    assert 0 < len(part.names) < len(problem.names)
    for name, price in zip(problem.names, search.proof.certificate.prices, strict=True):
        assert name in part.names or not any(price)
    assert tail_of(problem, search.chooser, search.low, 3) is None


def test_damaged_bounds_of_tails_are_rejected(proved):
    problem, _, search = proved
    proof, draw = search.proof.certificate, random.Random(5)
    assert check_certificate(problem, replace(proof, threshold=proof.threshold * 1.5))
    lower = tuple((memory, worth // 2) for memory, worth in proof.worths)
    assert check_certificate(problem, replace(proof, worths=lower))
    small = [at for at, price in enumerate(proof.prices) if not any(price)]
    for at in draw.sample(small, 5):  # dear on small GPUs, which are worth nothing
        prices = list(proof.prices)
        prices[at] = tuple(max(map(max, proof.prices)) for _ in prices[at])
        assert check_certificate(problem, replace(proof, prices=tuple(prices)))
    few = tuple(tuple(price // 2 for price in row) for row in proof.prices)
    assert check_certificate(problem, replace(proof, prices=few))
