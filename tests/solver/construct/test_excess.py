"""Exchanges that lower what GPUs hold above a target, all of them together."""

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from boards import drawn_boards
from kvplace.bench.clusters import cluster
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.construct import rematch as rematches
from kvplace.solver.construct.best_fit_decreasing import bisect_target
from kvplace.solver.construct.excess import crowd, lower_excess, packed, relieved, stuck
from kvplace.solver.construct.rematch import Rematch
from kvplace.solver.instance.door import load_instance
from kvplace.solver.instance.instance import Instance
from tiny import byte_model, byte_problem


def plain(sizes, keeps, loads, memory) -> Instance:
    return Instance.undivided(
        sizes, keeps, loads, memory, list(range(len(sizes))), list(range(len(memory)))
    )


def excess(board: Assignment, target: float) -> float:
    """What every GPU holds too much, worked out from what is on it."""
    found = 0.0
    for g, held in enumerate(board.members):
        memory, options = board.instance.memory[g], [board.option[j] for j in held]
        taken = sum(o.size + o.load / target for o in options)
        least = sum(o.size + o.keep for o in options)
        found += max(0.0, taken - memory, least - memory)
    return found


GIB = 2.0**30


def test_two_shards_are_exchanged_for_one():
    # Both GPUs have room for 11. One holds 6, 3 and 3, the other 5 and 5: 3 and 3 against 5 leave
    # 11 on both, and no exchange of one for one, or none, does.
    sizes = [int(s * GIB) for s in (6, 3, 3, 5, 5)]
    memory = [int(11.1 * GIB), int(11.1 * GIB)]
    instance = plain(sizes, [0] * 5, [0.0] * 5, memory)
    board = Assignment.single(instance, [0, 0, 0, 1, 1])
    assert lower_excess(board, 1.0, Watch(None)) == 0
    assert board.valid
    assert sorted(map(len, board.members)) == [2, 3]


def test_what_is_too_hot_for_its_gpu_goes_to_a_larger_one_and_others_make_room():
    # At 0.5 the hot model takes 4 + 4 / 0.5 = 12 GiB, for which only the GPU of 21 has room, and
    # the others 3 + 0.5 / 0.5 = 4 each. At 0.2 it takes 24, which none has.
    sizes, loads = [int(s * GIB) for s in (4, 3, 3)], [load * GIB for load in (4, 0.5, 0.5)]
    instance = plain(sizes, [0] * 3, loads, [int(21 * GIB), int(10 * GIB)])
    board = Assignment.single(instance, [1, 0, 0])
    assert board.worst() == pytest.approx(4 / 6)
    found = relieved(board, 0.5, Watch(None))
    assert found is not None
    assert found.valid
    assert found.where[0] == ((0,),)
    assert found.worst() <= 0.5
    assert relieved(board, 0.2, Watch(None)) is None
    assert board.where == [((1,),), ((0,),), ((0,),)]


def test_split_models_that_are_too_hot_together_are_taken_apart():
    # Two models of two shards on the same two of four GPUs of 10 GiB: at 0.4 a shard takes
    # 3 + 1 / 0.4 GiB, and two take 11. A request per second is a load of 1 GiB.
    model = replace(byte_model("a", 6 * 2**30, 2.0), tensor_parallel=(2,))
    gpus = tuple(GPU(f"n/{i}", "t", 10 * 2**30) for i in range(4))
    problem = Problem(
        (model, replace(model, name="b")), Fleet((Node("n", gpus),)), Objective.REQUESTS
    )
    board = Assignment(load_instance(problem), [((0, 1),), ((0, 1),)])
    found = relieved(board, 0.4, Watch(None))
    assert found is not None
    assert sorted(g for copies in found.where for g in copies[0]) == [0, 1, 2, 3]


def test_what_no_exchange_helps_is_stuck_beside_larger_ones():
    # 8 and 3 GiB on a GPU of 10: the smallest of all is 3, and 2 are left beside the 8.
    instance = plain([int(s * GIB) for s in (8, 3, 3)], [0] * 3, [0.0] * 3, [int(10 * GIB)] * 2)
    board = Assignment.single(instance, [0, 0, 1])
    assert stuck(board, 1.0, shared=False) == set()
    assert stuck(board, 1.0, shared=True) == {1}
    board.apply([(2, None, ())])
    assert stuck(board, 1.0, shared=False) == {2}


def test_what_is_much_too_large_beside_a_split_model_is_stuck():
    # Shards of 8 GiB leave 2 on each of two GPUs of 10: 2.3 are 3 % too much, and 6 are 40 %.
    split = replace(byte_model("a", 16 * 2**30, 2.0), tensor_parallel=(2,))
    others = byte_model("b", int(2.3 * GIB), 0.0), byte_model("c", 6 * 2**30, 0.0)
    gpus = tuple(GPU(f"n/{i}", "t", 10 * 2**30) for i in range(2))
    problem = Problem((split, *others), Fleet((Node("n", gpus),)), Objective.REQUESTS)
    instance = load_instance(problem)
    row = {problem.models[at].name: j for j, at in enumerate(instance.model_index)}
    where = [()] * 3
    where[row["a"]], where[row["b"]], where[row["c"]] = ((0, 1),), ((0,),), ((1,),)
    assert stuck(Assignment(instance, where), 100.0 * GIB, shared=False) == {row["c"]}


def test_nothing_is_done_where_no_shard_can_move():
    # As where rules fix all models: no bundle but the empty one of each GPU.
    instance = plain([int(GIB)] * 2, [0] * 2, [0.0] * 2, [int(10 * GIB)] * 2)
    board = Assignment(instance)
    assert lower_excess(board, 1.0, Watch(None)) == 0
    assert board.option == [None, None]


def test_nothing_is_done_where_there_is_one_gpu():
    instance = plain([int(8 * GIB)] * 2, [1] * 2, [1.0] * 2, [int(10 * GIB)])
    board = Assignment.single(instance, [0, 0])
    assert lower_excess(board, 1.0, Watch(None)) > GIB
    assert board.gpu_of == [0, 0]


def test_the_least_kv_counts_as_a_sum_of_its_own():
    # Loads fit anywhere; on GPU 0 least KV of 5 and 4 beside 1 and 1 do not.
    sizes, keeps = [int(GIB)] * 4, [int(s * GIB) for s in (5, 4, 1, 1)]
    instance = plain(sizes, keeps, [0.0] * 4, [int(10 * GIB)] * 2)
    board = Assignment.single(instance, [0, 0, 1, 1])
    assert not board.valid
    assert lower_excess(board, 1.0, Watch(None)) == 0
    assert board.valid


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("n", "g"), [(60, 20), (180, 60)])
def test_what_is_reported_is_what_the_board_holds(seed, n, g):
    chance = np.random.default_rng(seed)
    sizes = (chance.uniform(1, 8, n) * GIB).astype(np.int64)
    keeps = (chance.uniform(0, 2, n) * GIB).astype(np.int64)
    loads = chance.uniform(0, 2, n) * GIB
    memory = np.sort((chance.uniform(15, 30, g) * GIB).astype(np.int64))[::-1]
    instance = plain(sizes.tolist(), keeps.tolist(), loads.tolist(), memory.tolist())
    board = Assignment.single(instance, chance.integers(0, g, n).tolist())
    before = excess(board, 0.7)
    left = lower_excess(board, 0.7, Watch(None))
    assert left == pytest.approx(excess(board, 0.7), abs=100 * g)
    assert left < before
    assert sorted(j for held in board.members for j in held) == list(range(n))


def test_handed_out_anew_shards_count_with_the_larger_size_and_fit_where_they_go():
    chance = np.random.default_rng(1)
    n, g = 90, 40
    sizes = (chance.uniform(1, 14, n) * GIB).astype(np.int64)
    keeps, loads = (chance.uniform(0, 3, n) * GIB).astype(np.int64), chance.uniform(0, 2, n) * GIB
    memory = [int(40 * GIB)] * (g // 2) + [int(14 * GIB)] * (g // 2)
    instance = plain(sizes.tolist(), keeps.tolist(), loads.tolist(), memory)
    large = np.flatnonzero(sizes + np.maximum(keeps, loads / 0.7) > memory[-1])
    where = chance.integers(0, g, n)
    where[large] %= g // 2
    board = Assignment.single(instance, where.tolist())

    def taken() -> float:
        held = [sum(board.chosen(j).taken(0.7) for j in some) for some in board.members]
        return sum(max(0.0, of - room) for of, room in zip(held, memory, strict=True))

    rematch = Rematch.of(board, 0.7)
    before = rematch.excess
    assert before == pytest.approx(taken(), abs=100 * g)
    left = rematch.run(Watch(None))
    board.apply(rematch.changes(board))
    assert left == pytest.approx(taken(), abs=100 * g)
    assert left < before / 2
    assert excess(board, 0.7) <= left + 100 * g
    assert max(board.gpu_of[j] for j in large.tolist()) < g // 2


def test_shards_given_on_together_leave_some_gpus_one_fewer_and_no_excess_rises(monkeypatch):
    monkeypatch.setattr(rematches, "JOINED_GPUS", 0)
    monkeypatch.setattr(rematches, "JOINED", 0.1)
    chance = np.random.default_rng(3)
    g = 100
    # On every fifth GPU a shard lies beside one that leaves no room for the smallest.
    alone = [int(35 * GIB)] * (g // 5) + [int(5.5 * GIB)] * (g // 5)
    sizes = [*alone, *(chance.uniform(5, 14, 3 * g) * GIB).astype(int).tolist()]
    where = [*range(g // 5), *range(g // 5), *(g // 5 + np.arange(3 * g) % (4 * g // 5)).tolist()]
    n = len(sizes)
    instance = plain(sizes, [0] * n, [0.0] * n, [int(40 * GIB)] * g)
    room = 40 * GIB - np.bincount(where, sizes, g)
    model, gpu, size = np.arange(n), np.array(where), np.array(sizes, dtype=float)
    rematch = Rematch(instance, room, model, gpu, size)
    first = before = rematch.excess
    for _ in range(60):
        rematch.run(Watch(), patience=1)
        left = 40 * GIB - np.bincount(rematch.gpu, sizes, g)
        assert rematch.excess == pytest.approx(-left[left < 0].sum(), abs=100 * g)
        assert rematch.excess <= before + 1
        before = rematch.excess
    assert before < first / 10


def test_copies_of_a_model_stay_apart_and_rules_are_kept():
    problem = cluster(120, 60, pinned=6, seed=2)
    instance = load_instance(problem)
    board = Assignment(instance)
    chance = np.random.default_rng(0)
    for j, row in enumerate(instance.options):
        gpus = chance.choice(instance.g, row[0].shards, replace=False)
        copies = gpus.reshape(row[0].copies, row[0].degree)
        board.apply([(j, row[0], tuple(tuple(sorted(copy)) for copy in copies.tolist()))])
    regions = instance.regions
    before, kept, where = excess(board, 0.5), board.costs.vector, list(board.where)
    lower_excess(board, 0.5, Watch(None))
    assert excess(board, 0.5) < before
    assert board.costs.vector == kept  # what rules bind stays in its region
    for j in np.flatnonzero(~regions.free).tolist():
        was, now = ([g for copy in of[j] for g in copy] for of in (where, board.where))
        assert sorted(regions.of[was]) == sorted(regions.of[now])
    assert any(was != now for was, now in zip(where, board.where, strict=True))
    for copies in board.where:
        gpus = [g for copy in copies for g in copy]
        assert len(gpus) == len(set(gpus))


def test_what_finds_no_room_goes_where_it_is_least_too_much():
    sizes = [int(s * GIB) for s in (6, 7, 5)]
    instance = plain(sizes, [0] * 3, [0.0] * 3, [int(10 * GIB)] * 2)
    board = Assignment(instance, [((0,),), ((1,),), ()])
    assert crowd(board, 2, 1.0)
    assert board.where[2] == ((0,),)


def test_a_split_model_goes_where_exchanges_can_make_room():
    # Both nodes lack room. It would be less too much beside the other split model, which stays.
    models = [
        replace(byte_model(f"m{j}", size, 0.0), tensor_parallel=(degree,))
        for j, (size, degree) in enumerate([(14, 2), (8, 2), (8, 1), (9, 1)])
    ]
    nodes = [Node(f"n{n}", tuple(GPU(f"n{n}g{g}", "t", 10) for g in range(2))) for n in range(2)]
    instance = load_instance(Problem(tuple(models), Fleet(tuple(nodes)), Objective.REQUESTS))
    first, second = instance.columns.domains.tolist()
    board = Assignment(instance)
    of_size = {(row[0].size, row[0].degree): j for j, row in enumerate(instance.options)}
    for size, seat in (((7, 2), tuple(first)), ((8, 1), second[:1]), ((9, 1), second[1:])):
        j = of_size[size]
        board.apply([(j, instance.options[j][0], (tuple(seat),))])
    last = of_size[4, 2]
    assert crowd(board, last, 1.0)
    assert board.where[last] == (tuple(second),)


def test_three_gpus_exchange_in_a_chain_where_no_two_do():
    # GPU 0 holds 5.2 too much by 0.2; GPU 1 takes it for its 5.1, GPU 2 that for 5.
    sizes = [int(s * GIB) for s in (5, 5.2, 5, 5.1, 5, 5)]
    memory = [int(s * GIB) for s in (10.05, 10.21, 10.13)]
    order = np.argsort(memory)[::-1]
    instance = plain(sizes, [0] * 6, [0.0] * 6, sorted(memory, reverse=True))
    place = np.argsort(order)[[0, 0, 1, 1, 2, 2]].tolist()
    board = Assignment.single(instance, place)
    assert not board.valid
    assert lower_excess(board, 1.0, Watch(None)) == 0
    assert board.valid
    assert len({g for g, was in zip(board.gpu_of, place, strict=True) if g != was}) == 3


def test_full_gpus_are_packed_where_no_order_fits():
    # Twelve GPUs of 1,000 MiB, each cut into four parts that leave four of them.
    mib, by_order, by_exchanges = 2**20, 0, 0
    for seed in range(4):
        draw = random.Random(seed)
        parts = [cut * mib for _ in range(12) for cut in _cut(draw, 996, 4)]
        draw.shuffle(parts)
        rows = [(size, 1.0) for size in parts]
        instance = load_instance(byte_problem([1000 * mib] * 12, rows))
        by_order += bisect_target(instance) is not None
        board = packed(Assignment(instance), seed, Watch())
        by_exchanges += board is not None
        assert board is None or board.valid
    assert by_order == 0
    assert by_exchanges >= 3


def _cut(draw, whole, parts):
    cuts = sorted(draw.sample(range(60, whole - 60), parts - 1))
    return [b - a for a, b in pairwise([0, *cuts, whole])]


def test_models_that_are_lacking_are_packed_under_several_pressures():
    found = 0
    for draw, _, board in drawn_boards(5, 40, objectives=(Objective.PRESSURE,), valid=True):
        single = [j for j, option in enumerate(board.option) if option.degree == 1]
        if not single:
            continue
        j = draw.choice(single)
        rest = [() if at == j else copies for at, copies in enumerate(board.where)]
        whole = packed(Assignment(board.instance, rest), 0, Watch())
        if whole is not None:
            found += 1
            assert whole.valid
            assert not whole.missing
    assert found


def test_what_finds_no_room_displaces_small_shards_rather_than_large_ones():
    # Both GPUs hold 10; 4 more displace 3 of one that is easily placed elsewhere, or all of 9.
    sizes = [int(s * GIB) for s in (9, 2, 2, 2, 2, 2, 4)]
    instance = plain(sizes, [0] * 7, [0.0] * 7, [int(11 * GIB), int(10.5 * GIB)])
    board = Assignment(instance, [((0,),), *[((1,),)] * 5, ()])
    assert crowd(board, 6, 1.0)
    assert board.where[6] == ((1,),)
