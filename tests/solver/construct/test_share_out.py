"""Shards of two sizes, exchanged so that GPUs hold less too much."""

import random
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from boards import assert_kept_up
from kvplace.bench.clusters import cluster
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.construct.excess import rooms
from kvplace.solver.construct.share_out import share_out
from kvplace.solver.instance.door import load_instance
from kvplace.solver.instance.instance import Instance
from tiny import byte_model

GIB = 2**30


def plain(rows, memory) -> Instance:
    """Undivided models, each with its bytes, least KV and load, on GPUs; all in GiB."""
    sizes, keeps, loads = zip(*rows, strict=True)
    return Instance.undivided(
        [int(size * GIB) for size in sizes], [int(keep * GIB) for keep in keeps],
        [load * GIB for load in loads], [int(m * GIB) for m in memory],
        list(range(len(rows))), list(range(len(memory))),
    )  # fmt: skip


def excess(board: Assignment, target: float) -> float:
    """GiB that GPUs hold too much, all of them together."""
    return float(np.maximum(-rooms(board, target).min(axis=0), 0).sum()) / GIB


def test_shards_are_shared_out_by_their_load_and_by_the_kv_that_must_be_left():
    # At a target of 1 a GiB each GPU of 60 has room for a model with 30 of load and one that must
    # be left as much.
    instance = plain([(10, 0, 30), (10, 0, 30), (10, 30, 0), (10, 30, 0)], [60, 60])
    board = Assignment.single(instance, [0, 0, 1, 1])
    before, seen = board.where[:], []
    watch = Watch(None, seen.append)
    share_out(board, 1.0, watch, 0, frozenset(range(4)))
    assert board.where == before
    share_out(board, 1.0, watch, 0)
    assert board.worst() <= 1.0
    assert [sorted(j < 2 for j in held) for held in board.members] == [[False, True]] * 2
    assert seen == []  # what is full here is no pressure that a user asks for


def test_what_is_too_large_for_its_gpu_goes_where_it_fits_though_more_is_too_much_then():
    # 12 on a GPU of 10 is 2 too much; on that of 20, with 7 and 6, it is 5. Then these go.
    instance = plain([(12, 1, 0), (7, 1, 0), (6, 1, 0), (1, 1, 0)], [20, 10])
    board = Assignment.single(instance, [1, 0, 0, 0])
    share_out(board, 1.0, Watch(None), 0)
    assert board.gpu_of[0] == 0
    assert board.where[1] == ((0,),) or board.where[2] == ((0,),)


def test_no_shard_moves_where_gpus_hold_none_too_much():
    instance = plain([(5, 1, 1)] * 4, [20, 20])
    board = Assignment.single(instance, [0, 0, 1, 1])
    before = board.where[:]
    share_out(board, 1.0, Watch(None), 0)
    assert board.where == before


@pytest.mark.parametrize("seed", range(12))
def test_a_way_to_place_few_models_is_found_where_there_is_one(seed):
    draw = random.Random(seed)
    rows = [(draw.uniform(1, 6), draw.uniform(0, 4), draw.uniform(0, 4)) for _ in range(7)]
    memory = sorted((draw.uniform(9, 16) for _ in range(3)), reverse=True)
    instance = plain(rows, memory)
    taken = np.array([(size + load, size + keep) for size, keep, load in rows])
    held = np.array(list(product(range(3), repeat=7)))[:, None] == np.arange(3)[:, None]
    most = np.einsum("wgm,mk->wgk", held, taken).max(axis=2)
    least = float(np.maximum(most - memory, 0).sum(axis=1).min())
    board = Assignment.single(instance, [draw.randrange(3) for _ in range(7)])
    before = excess(board, 1.0)
    share_out(board, 1.0, Watch(None), seed)
    assert_kept_up(board)
    assert sorted(j for held in board.members for j in held) == list(range(7))
    assert least - 1e-6 <= excess(board, 1.0) <= before + 1e-6
    if least == 0:
        assert excess(board, 1.0) <= 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_copies_stay_apart_and_models_that_are_split_or_under_rules_where_they_are(seed):
    problem = cluster(60, 30, pinned=6, seed=seed)
    models = tuple(replace(model, min_kv_bytes=2 * GIB) for model in problem.models)
    instance = load_instance(replace(problem, models=models))
    board, chance = Assignment(instance), np.random.default_rng(seed)
    for j, row in enumerate(instance.options):
        gpus = chance.choice(instance.g, row[0].shards, replace=False)
        copies = gpus.reshape(row[0].copies, row[0].degree)
        board.apply([(j, row[0], tuple(tuple(sorted(copy)) for copy in copies.tolist()))])
    before, where = excess(board, 0.5), board.where[:]
    share_out(board, 0.5, Watch(None), seed)
    assert_kept_up(board)
    assert excess(board, 0.5) < before
    for j, (was, now) in enumerate(zip(where, board.where, strict=True)):
        gpus = [g for copy in now for g in copy]
        assert len(gpus) == len(set(gpus))
        if not instance.regions.free[j] or instance.options[j][0].degree > 1:
            assert was == now
    again = Assignment(instance, where)
    share_out(again, 0.5, Watch(None), seed)
    assert again.where == board.where


def test_it_ends_when_time_is_up():
    model = replace(byte_model("a", 6 * GIB, 1.0), min_kv_bytes=GIB)
    gpus = tuple(GPU(f"n/{i}", "t", 10 * GIB) for i in range(2))
    models = (model, replace(model, name="b"))
    instance = load_instance(Problem(models, Fleet((Node("n", gpus),)), Objective.REQUESTS))
    board = Assignment(instance, [((0,),), ((0,),)])
    share_out(board, 1.0, Watch(0.0), 0)
    assert board.where == [((0,),), ((0,),)]
