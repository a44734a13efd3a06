"""What the program on levels is told that models need."""

from dataclasses import replace

import numpy as np
import pytest

from kvplace.bench.clusters import cluster
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.solver.construct.program_models import ProgramModels
from kvplace.solver.instance.door import load_instance
from kvplace.solver.instance.options import Chooser
from kvplace.units import GIB


@pytest.mark.parametrize("grid", [16, 256, 1024])
@pytest.mark.parametrize("target", [0.2, 0.5])
@pytest.mark.parametrize("gib", [0, 3])
def test_what_fits_an_empty_gpu_fits_it_on_the_levels_and_what_does_not_does_not(grid, target, gib):
    problem = cluster(60, 40, pinned=0, seed=5)
    models = tuple(replace(model, min_kv_bytes=gib * GIB) for model in problem.models)
    chooser = Chooser(load_instance(replace(problem, models=models)))
    memory = np.unique(chooser.instance.columns.memory)
    unit = float(memory[-1]) / grid
    part = ProgramModels(chooser, list(range(chooser.instance.n)), split=False)
    part.need(target, grid, np.array([grid]))
    each = np.maximum(chooser.room(target)[0], chooser.least)[:, : part.class_.shape[1]]
    known = part.class_ > 0
    rooms = (np.floor if gib else np.rint)(memory / unit).tolist()
    for bytes_, room in zip(memory.tolist(), rooms, strict=True):
        assert ((part.class_ <= room) == (each <= bytes_))[known].all()


def test_a_split_model_has_a_class_for_each_type_of_gpu_wide_enough():
    nodes = [Node(f"n{k}", tuple(GPU(f"n{k}/{at}", f"{gib}GiB", gib * GIB) for at in range(wide)))
             for k, (gib, wide) in enumerate([(80, 8), (80, 4), (40, 4), (40, 1)])]  # fmt: skip
    models = tuple(
        Model(f"m{d}", 8 * d * GIB, Demand(1.0), SLO(latency_seconds=1.0), tensor_parallel=(d,))
        for d in (1, 2, 8)
    )
    chooser = Chooser(load_instance(Problem(models, Fleet(tuple(nodes)), Objective.REQUESTS)))
    part, grid = ProgramModels(chooser, [0, 1, 2], split=True), 160
    levels = chooser.instance.columns.memory * grid // (80 * GIB)
    part.need(1.0, grid, levels + part.kind * (grid + 1))
    assert part.placeable
    wide = {chooser.instance.n - 1 - at: 0 for at in range(3)}
    for at, row in enumerate(part.class_.tolist()):
        kinds = sorted(class_ // (grid + 1) for class_ in row if class_)
        degree = chooser.instance.options[at][0].degree
        wide[at] = degree
        assert kinds == {1: [0], 2: [1, 2, 3], 8: [3]}[degree]
    assert sorted(wide.values()) == [1, 2, 8]
    held = [(int(m) // GIB, int(k)) for m, k in
            zip(chooser.instance.columns.memory, part.kind, strict=True)]  # fmt: skip
    assert set(held) == {(80, 3), (80, 2), (40, 1), (40, 0)}
    part.need(1.0, grid, levels[:1] * 0 + 20)  # half of what the largest model takes of a GPU
    assert not part.placeable


def test_shards_are_apart_by_the_smallest_gpu_that_holds_them_alone():
    nodes = [Node(f"n{gib}", (GPU(f"n{gib}/0", f"{gib}GiB", gib * GIB),)) for gib in (24, 40, 80)]
    models = tuple(
        Model(
            f"m{gib}", gib * GIB, Demand(1.0), SLO(latency_seconds=1.0),
            overhead_bytes=0, min_kv_bytes=kept * GIB,
        )
        for gib, kept in [(10, 3), (20, 5), (30, 3), (36, 6), (60, 9)]
    )  # fmt: skip
    chooser = Chooser(load_instance(Problem(models, Fleet(tuple(nodes)), Objective.REQUESTS)))
    part = ProgramModels(chooser, list(range(5)), split=False, common=40.0 * GIB)
    columns, grid = chooser.instance.columns, 160
    rooms = columns.memory * grid // (80 * GIB) + part.kind * (grid + 1)
    need = part.need(1e15, grid, rooms)
    found = {int(columns.size[j] / GIB): divmod(int(part.class_[j, 0]), grid + 1) for j in range(5)}
    # Half of the KV that must be left counts up to 40 GiB, and all of it beyond.
    assert found == {10: (0, 23), 20: (1, 45), 30: (1, 63), 36: (2, 84), 60: (2, 138)}
    assert need.nested
    assert part.placeable
