"""Kernels compiled ahead: asked for once, by one process at a time, and just those in use."""

import os
import random
import sys

import pytest

from kvplace.core.models.objective import Objective
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.option_sets import OptionSets
from kvplace.solver.improve.iterated_pairs import COMPILED
from kvplace.solver.large_neighbourhood import warm
from kvplace.solver.strategies.cluster.stages import fill_by_program, iterate, refill
from kvplace.solver.strategies.cluster.strategy import ClusterSearch
from kvplace.solver.strategies.large.strategy import LargeSearch
from kvplace.solver.strategies.stages import Settings
from kvplace.solver.strategies.undivided.stages import iterate as iterate_undivided
from kvplace.solver.strategies.undivided.strategy import UndividedSearch
from splits import random_split_problem
from tiny import byte_problem


@pytest.fixture
def spawned(monkeypatch):
    """Processes that would be started, none of which is."""
    found = []

    def spawn(path, command, env, **options):
        found.append((path, command, options))
        return 4711

    monkeypatch.setattr(os, "posix_spawn", spawn)
    monkeypatch.setattr(warm, "_started", [])
    return found


def compiled(*names):
    """Return what says of kernels, here names, whether they are compiled."""
    return lambda kernel: kernel in names


def test_kernels_on_disk_are_ready_and_start_nothing(spawned, monkeypatch):
    monkeypatch.setattr(warm, "is_compiled", compiled("a", "b"))
    assert warm.kernels_ready(["a", "b"])
    assert warm.kernels_ready([])
    assert spawned == []


def test_one_that_is_missing_starts_one_process_once(spawned, monkeypatch):
    monkeypatch.setattr(warm, "is_compiled", compiled("a"))
    assert not warm.kernels_ready(["a", "b"])
    assert not warm.kernels_ready(["b"])
    [(path, command, options)] = spawned
    assert path == command[0] == sys.executable
    assert command[1:] == ["-m", "kvplace.solver.large_neighbourhood.warm", "exchange"]
    silent = {number for _, number, where, *_ in options["file_actions"] if where == os.devnull}
    assert silent == {0, 1, 2}
    assert warm._started == [0, 4711]
    monkeypatch.setattr(warm, "is_compiled", compiled("a", "b"))
    assert warm.kernels_ready(["a", "b"])


@pytest.mark.parametrize(
    ("needed", "first"),
    [
        (warm.FILLING, "fill"),
        (warm.TIGHT, "cover"),
        (warm.PAIRS, "pairs"),
        (warm.EVENING, "even"),
        (warm.SHARING, "share"),
        (warm.PRICING, "price"),
    ],
)
def test_what_is_asked_for_is_compiled_first(spawned, monkeypatch, needed, first):
    monkeypatch.setattr(warm, "is_compiled", compiled())
    assert not warm.kernels_ready(needed)
    assert spawned[0][1][-1] == first


def test_where_no_process_can_be_started_they_stay_unused(spawned, monkeypatch):
    def refuse(*args, **options):
        raise OSError

    monkeypatch.setattr(warm, "is_compiled", compiled())
    monkeypatch.setattr(os, "posix_spawn", refuse)
    assert not warm.kernels_ready(["a"])
    assert not warm.kernels_ready(["a"])
    monkeypatch.setattr(warm, "_started", [])
    monkeypatch.setattr(sys, "executable", "")
    assert not warm.kernels_ready(["a"])
    monkeypatch.delattr(os, "posix_spawn")
    monkeypatch.setattr(sys, "executable", "python")
    assert not warm.kernels_ready(["a"])
    assert warm._started == []


def test_only_one_process_compiles_at_a_time(tmp_path, monkeypatch):
    pytest.importorskip("fcntl")
    lock, opened = tmp_path / "lock", []
    lock.touch()
    open_file = os.open

    def noted(*args):
        opened.append(open_file(*args))
        return opened[-1]

    monkeypatch.setattr(warm, "__file__", str(lock))
    monkeypatch.setattr(os, "open", noted)
    try:
        assert warm._alone()
        assert not warm._alone()
        os.close(opened.pop(0))
        os.close(opened.pop(0))
        assert warm._alone()
    finally:
        for number in opened:
            os.close(number)


def test_without_locks_it_compiles_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(warm, "__file__", str(tmp_path / "none"))
    assert warm._alone()


def test_what_is_compiled_ahead_is_what_searches_call():
    """A signature that only a search has would be compiled within its time limit."""
    warm._alone()  # tests that run beside this one start no process that compiles the same
    warm._search_a_little("fill")
    kernels = (
        *COMPILED,
        *warm.TIGHT,
        *warm.FILLING,
        *warm.PAIRS,
        *warm.EVENING,
        *warm.SHARING,
        *warm.PRICING,
    )
    known = {kernel: list(kernel.signatures) for kernel in kernels}
    assert all(known.values())
    draw = random.Random(2)
    for objective in (Objective.REQUESTS, Objective.PRESSURE, Objective.PRESSURE):
        placed = False
        while not placed:
            problem = random_split_problem(draw, objectives=(objective,))
            search = ClusterSearch(problem, Settings(iterations=300))
            search.solve(None, textbook=True)
            placed = search.placement is not None and not search.closed
        search.steps = 0
        OptionSets(search.instance, compiled=True).decide(search.value, Watch())
        for stage in (refill, fill_by_program, iterate):
            stage(search)
    rows = [(draw.randint(4, 14), draw.uniform(0, 20)) for _ in range(18)]
    search = UndividedSearch(byte_problem([70, 90, 70], rows), Settings(watch=Watch(60.0)))
    search.solve(None, textbook=True)
    iterate_undivided(search)
    rows = [(draw.randint(4, 14), draw.uniform(0, 20)) for _ in range(60)]
    LargeSearch(byte_problem([90] * 8, rows), Settings(), threads=1).solve(None)
    evened = 0
    while evened < 5:
        problem = random_split_problem(draw, objectives=(Objective.PRESSURE,))
        if problem.plain and len(problem.fleet.gpus) > 1:
            LargeSearch(problem, Settings(), threads=1).solve(None)
            evened += 1
    for kernel in kernels:
        assert list(kernel.signatures) == known[kernel], kernel.__name__
