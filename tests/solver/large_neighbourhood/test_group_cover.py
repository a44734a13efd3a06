"""Compiled refills: covers by hand, and a squeeze that never worsens a fleet."""

import random

import numpy as np
import pytest

import made
from kvplace.bench.families import build
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.rules.apart import Apart
from kvplace.core.rules.pin import Pin
from kvplace.core.rules.places import Places
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.option_sets import OptionSets
from kvplace.solver.construct.best_fit_decreasing import bisect_target
from kvplace.solver.exact.set_cover_kernel import tight_cover
from kvplace.solver.instance.door import load_copies, load_instance, unload_copies
from kvplace.solver.large_neighbourhood.group_cover import squeeze
from kvplace.solver.solve import solve
from kvplace.units import GIB
from oracle import exact_profile


def cover(sizes, capacity, count, nodes=1000):
    """A cover priced by size."""
    sizes, capacity = np.array(sizes, dtype=float), np.array(capacity, dtype=float)
    return tight_cover(sizes, sizes, capacity, capacity, np.array(count), 1000, nodes)


def test_a_perfect_cover_by_hand():
    # 35 on 10 + 10 + 15, so every GPU is full: 7 + 3, 5 + 4 + 1 and 6 + 5 + 4, for one.
    found = cover([7, 6, 5, 4, 3, 5, 1, 4], [10.0, 15.0], [2, 1])
    held = sorted(sorted(models) for _, models in found)
    assert sorted(j for models in held for j in models) == list(range(8))
    sizes = [7, 6, 5, 4, 3, 5, 1, 4]
    assert sorted(sum(sizes[j] for j in models) for models in held) == [10, 10, 15]
    assert all(sum(sizes[j] for j in m) <= (10, 15)[type_] for type_, m in found)


@pytest.mark.parametrize(
    ("sizes", "nodes"),
    [([6, 6, 6], 1000), ([8, 4, 4, 4], 1000), ([5, 5, 5, 5], 0), ([11, 1], 1000)],
    ids=["no pair fits", "the rest does not fit", "no node allowed", "one fits nowhere"],
)
def test_no_cover(sizes, nodes):
    assert cover(sizes, [10.0], [2], nodes) is None


@pytest.mark.parametrize("memory", [[80.0] * 20, [80.0] * 12 + [64.0] * 10])
def test_a_squeeze_lowers_the_maximum_and_loses_nobody(memory):
    draw = random.Random(4)
    rows = [(draw.randint(10, 29), draw.randint(1, 9), draw.randint(5, 9)) for _ in range(60)]
    problem = build(memory, *zip(*rows, strict=True))
    arrays = load_instance(problem)
    start = Assignment.single(arrays, bisect_target(arrays, tolerance=1e-2))
    before = list(start.gpu_of)
    verdict = OptionSets(arrays).decide(start.worst(), Watch())
    bound = sum(arrays.load) / (sum(arrays.memory) - sum(arrays.size))
    found, tried = squeeze(start, bound, [verdict], 20, random.Random(1), Watch())
    assert tried > 0
    assert start.gpu_of == before
    assert found.worst() < start.worst()
    assert exact_profile(problem, unload_copies(problem, arrays, found.where)) is not None


def ruled(draw):
    """Eight GPUs with models of one shard, some split ones, one pinned, and some kept apart."""
    models = [
        made.model(
            f"m{j}", draw.randint(8, 28), draw.randint(1, 9), min_kv_bytes=draw.randint(0, GIB)
        )
        for j in range(14)
    ]
    models += [made.model(f"s{j}", 24, 4.0, tensor_parallel=(2,)) for j in range(2)]
    fleet = made.fleet(80, 80, gpus=4)
    rules = (
        Apart(("m0", "m1"), None, "gpu"),
        Apart(("m2", "m3", "m4"), 1, "node"),
        Pin(("m5",), None, Places(nodes=(fleet.nodes[1].name,))),
    )
    return made.problem(tuple(models), fleet, *rules)


def test_rules_pins_and_split_models_stay_as_they_are():
    draw, lowered = random.Random(3), 0
    for _ in range(8):
        problem = ruled(draw)
        start = solve(problem, solver="reference", iterations=1)
        if start.placement is None:
            continue
        arrays = load_instance(problem)
        board = Assignment(arrays, load_copies(problem, arrays, start.placement))
        flaws, worst = board.flaws, board.worst()
        verdict = OptionSets(arrays).decide(worst, Watch())
        found, tried = squeeze(board, 0.8 * worst, [verdict], 30, random.Random(1), Watch())
        assert tried > 0
        assert found.flaws <= flaws
        assert found.worst() <= worst
        after = evaluate(problem, unload_copies(problem, arrays, found.where))
        assert after.valid
        assert after.value == pytest.approx(found.worst())
        split = [j for j, row in enumerate(arrays.options) if row[0].shards > 1]
        assert all(found.where[j] == board.where[j] for j in split)
        lowered += found.worst() < worst
    assert lowered >= 2
