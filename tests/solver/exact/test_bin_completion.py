"""Memory packed GPU by GPU, against brute force."""

import random
from itertools import pairwise

from kvplace.solver.clock import Watch
from kvplace.solver.exact import bin_completion
from kvplace.solver.exact.bin_completion import Completion
from kvplace.solver.instance.door import load_instance
from oracle import solve_exactly
from oracle_splits import solve_by_force
from splits import random_split_problem
from tiny import byte_problem, random_problem


def planted(models, gpus, room, seed):
    """GPUs of so many bytes that are full but for one each, and the models in any order."""
    draw, parts = random.Random(seed), [models // gpus] * gpus
    for at in range(models % gpus):
        parts[at] += 1
    cuts = [sorted(draw.sample(range(1, room - 1), part - 1)) for part in parts]
    sizes = [b - a for cut in cuts for a, b in pairwise([0, *cut, room - 1])]
    draw.shuffle(sizes)
    return byte_problem([room] * gpus, [(size, 1.0) for size in sizes])


def test_undivided_models_are_packed_wherever_brute_force_packs_them():
    draw, full = random.Random(5), 0
    for _ in range(300):
        problem = random_problem(draw)
        feasible = solve_exactly(problem, leximax=False).feasible
        completion = Completion(load_instance(problem), 0, Watch())
        board = completion.complete(10_000)
        assert (board is not None) == feasible
        assert completion.tried_all or feasible
        assert board is None or board.valid
        full += not feasible
    assert full > 20


def test_split_and_ruled_models_are_packed_wherever_brute_force_packs_them():
    draw, without = random.Random(6), 0
    for _ in range(40):
        problem = random_split_problem(draw, models=4)
        board = Completion(load_instance(problem), 0, Watch()).complete(1_000)
        feasible = solve_by_force(problem).feasible
        assert (board is not None) == feasible
        assert board is None or board.valid
        without += not feasible
    assert 0 < without < 30


def test_full_fleets_are_packed():
    for models, gpus, room in ((32, 8, 80), (60, 16, 80), (48, 16, 10**9), (36, 9, 10**12)):
        instance = load_instance(planted(models, gpus, room, models))
        board = Completion(instance, 0, Watch()).complete(5_000)
        assert board is not None
        assert set(board.free) == {1}


def test_a_byte_must_stay_free_where_nothing_else_is_kept():
    completion = Completion(
        load_instance(byte_problem([10, 10], [(10, 1.0), (9, 1.0)])), 0, Watch()
    )
    assert completion.complete(100) is None
    assert completion.tried_all
    kept = load_instance(byte_problem([10, 10], [(9, 1.0, 1), (9, 1.0, 0)]))
    assert Completion(kept, 0, Watch()).complete(100) is not None


def test_it_goes_on_where_it_was_and_ends_in_time(monkeypatch):
    instance = load_instance(planted(30, 10, 10**9, 1))
    assert Completion(instance, 0, Watch(0.0)).complete(1e9) is None
    short = Completion(instance, 0, Watch())
    assert any(short.complete(0) for _ in range(50))
    monkeypatch.setattr(bin_completion, "MOST_GPUS", 9)
    assert Completion(instance, 0, Watch()).complete(1e9) is None
