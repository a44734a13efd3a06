"""Packings: rows of slots that say what an assignment says."""

import random

import numpy as np
import pytest

from boards import drawn_boards, undivided
from kvplace.core.models.objective import Objective
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.assignment.packed import Items, pack_items, pack_rows


@pytest.mark.parametrize("seed", range(6))
def test_rows_hold_what_an_assignment_holds(seed):
    instance = undivided(seed, gpus=5, models=20, keep=3)
    draw = random.Random(seed)
    gpu_of = np.array([draw.randrange(5) for _ in range(20)])
    packing = pack_rows(instance.columns, gpu_of)
    board = Assignment.single(instance, gpu_of.tolist())
    assert packing.free.tolist() == board.free
    assert packing.kept.tolist() == board.kept
    assert packing.loads[:, 0] == pytest.approx(board.load, rel=1e-12)
    assert packing.pressure() == pytest.approx(board.pressure, rel=1e-12)
    assert packing.gpu_of(20).tolist() == gpu_of.tolist()
    for g in range(5):
        row = slice(packing.start[g], packing.start[g] + packing.models[g])
        items = packing.item[row].tolist()
        assert sorted(items) == sorted(board.members[g])
        assert packing.size[row].tolist() == [instance.size[j] for j in items]
        assert packing.keep[row].tolist() == [instance.keep[j] for j in items]
        assert packing.load[row].tolist() == [instance.load[j] for j in items]
        assert packing.start[g + 1] - packing.start[g] > packing.models[g]


def test_an_empty_gpu_is_at_nothing():
    instance = undivided(1, gpus=3, models=4)
    packing = pack_rows(instance.columns, np.zeros(4, dtype=np.int64))
    assert packing.pressure()[1:].tolist() == [0.0, 0.0]
    assert packing.models.tolist() == [4, 0, 0]


@pytest.mark.parametrize("seed", range(2))
def test_what_stays_where_it_is_counts_as_load_and_memory_taken(seed):
    compared = 0
    for draw, _, board in drawn_boards(seed, 60, objectives=(Objective.PRESSURE,)):
        instance, columns = board.instance, board.instance.columns
        mobile = np.array([draw.random() < 0.7 for _ in range(instance.n)])
        if any(option.shards > 1 for option in board.option) or not mobile.any():
            continue
        compared += 1
        gpu_of = np.array(board.gpu_of)
        rows = np.array([option.row for option in board.option])
        base, kept = np.zeros((instance.g, instance.pressures)), np.zeros(instance.g, np.int64)
        memory = columns.memory.copy()
        for j in np.flatnonzero(~mobile):
            g = gpu_of[j]
            base[g] += columns.loads[rows[j], columns.type_of[g]]
            kept[g] += columns.keep[rows[j]]
            memory[g] -= columns.size[rows[j]]
        some = rows[mobile]
        items = Items(columns.size[some], columns.keep[some], columns.loads[some], columns.kv)
        packing = pack_items(items, memory, columns.type_of, gpu_of[mobile], base, kept)
        assert packing.free.tolist() == board.free
        assert packing.kept.tolist() == board.kept
        assert pytest.approx(board.arrays.load, rel=1e-9, abs=1e-12) == packing.loads.T
        used = [bool(held) and bool(base[g].any() or mobile[held].any())
                for g, held in enumerate(board.members)]  # fmt: skip
        assert packing.pressure()[used] == pytest.approx(
            board.arrays.pressure[used], rel=1e-9, abs=1e-12
        )
    assert compared > 10


def test_groups_and_what_is_to_spare_are_taken_over():
    instance = undivided(2, gpus=2, models=5)
    columns = instance.columns
    packing = pack_rows(columns, np.zeros(5, dtype=np.int64), np.array([3, 4]))
    assert packing.spare.tolist() == [3, 4]
    assert packing.group.tolist() == list(range(5))
    items = Items(columns.size, columns.keep, columns.loads, columns.kv)
    group = np.array([0, 0, 1, 1, 2])
    found = pack_items(items, columns.memory, columns.type_of, np.zeros(5, np.int64), group=group)
    assert found.group.tolist() == group.tolist()
    assert found.spare.tolist() == [0, 0]
