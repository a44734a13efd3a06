"""The family of clusters is what it is said to be."""

from collections import Counter

import pytest

from kvplace.bench.clusters import FILL, cluster
from kvplace.bench.families import FAMILIES
from kvplace.solver.baselines.schedulers import first_fit


@pytest.fixture(scope="module")
def problem():
    return next(FAMILIES["scale-real-3k"](0)).problem


def test_a_cluster_of_two_thousand_gpus(problem):
    assert (len(problem.models), len(problem.fleet.gpus)) == (3000, 2000)
    assert {len(node.gpus) for node in problem.fleet.nodes} == {8}
    zones = Counter(node.labels["zone"] for node in problem.fleet.nodes)
    assert sorted(zones.values()) == [83, 83, 84]
    degrees = Counter(model.tensor_parallel for model in problem.models)
    assert degrees[1,] == 2700
    assert degrees.keys() == {(1,), (2,), (4,), (8,)}
    assert sum(model.replicas.max == 4 for model in problem.models) == 600
    assert Counter(rule.kind for rule in problem.rules) == {"spread": 1, "pin": 3}
    pinned = [i for i in range(3000) if len(problem.allowed(i)) < 2000]
    assert len(pinned) == 30


def test_one_copy_of_each_fills_what_it_is_to_fill_and_fits(problem):
    taken = sum(
        degree * problem.need(index, degree).weights_bytes
        for index, model in enumerate(problem.models)
        for degree in model.tensor_parallel
    )
    assert taken / sum(gpu.usable_bytes for gpu in problem.fleet.gpus) == pytest.approx(FILL, 1e-6)
    small = cluster(150, 96, 3, seed=1)
    assert first_fit(small) is not None


def test_the_hottest_need_copies_and_have_them(problem):
    def alone(index, copies):
        need = problem.need(index, problem.models[index].tensor_parallel[0], copies)
        return need.load / (80 - need.weights_bytes / 2**30)

    fluid = sum(problem.loads) / (2000 * 80 * (1 - FILL))
    single = [alone(index, 1) for index in range(3000)]
    fewest = [alone(i, model.replicas.max) for i, model in enumerate(problem.models)]
    assert max(single) > 2 * fluid
    assert max(fewest) < fluid


def test_a_seed_says_it_all():
    one, other, again = (cluster(150, 96, 3, seed=seed) for seed in (1, 2, 1))
    assert one.digest == again.digest
    assert one.digest != other.digest
