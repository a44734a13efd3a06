"""The configuration program over sets of models, and the loop that solves it."""

import math
import random
from itertools import combinations

import numpy as np
import pytest

from kvplace.solver.bounds.trivial import simple_bound
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.master import Entry, Master, generate
from kvplace.solver.column_generation.option_sets import OptionSets
from kvplace.solver.column_generation.pricing import Pool, Room
from kvplace.solver.instance.door import load_instance
from oracle import solve_exactly
from tiny import GIB, byte_problem, random_problem


def test_fluid_prices_price_no_set_above_its_gpu_and_prove_no_less_than_sizes():
    draw, lifted = random.Random(1), 0
    for _ in range(20):
        memories = [draw.randint(20, 60) for _ in range(4)]
        rows = [(draw.randint(1, 15), draw.choice([0.5, 3.0, 30.0])) for _ in range(8)]
        instance = load_instance(byte_problem(memories, rows))
        program, low = OptionSets(instance), simple_bound(instance).value
        columns, memory = instance.columns, np.array([room for _, room in program.kinds])
        for target in (low * 1.05, low * 1.3, low * 2):
            sizes = columns.size + columns.load / target
            verdict = program.fluid(target)
            fluid = program.verdict(target, sizes, memory, exact=False).share
            lifted += verdict.share > fluid * (1 + 1e-9)
            assert verdict.share >= fluid * (1 - 1e-9)
            for count in range(1, 9):
                for held in map(list, combinations(range(8), count)):
                    worths = verdict.worths[sizes[held].sum() <= memory]
                    assert (verdict.prices[held].sum() <= worths * (1 + 1e-9)).all()
    assert lifted > 5


def test_a_master_prices_what_is_short():
    # Three items, two GPUs; pairs (0, 1) and (1, 2) fit: one and a half of the fleet's GPUs each.
    master = Master(np.ones(3), np.array([1.0]))
    columns = [((0, 1), Entry((0, 1, 3), (1.0,) * 3)), ((1, 2), Entry((1, 2, 3), (1.0,) * 3))]
    assert master.add(columns) == 2
    assert master.add(columns) == 0
    duals = master.solve()
    assert duals.share == pytest.approx(2.0)
    assert duals.prices @ np.ones(3) == pytest.approx(2 * duals.worths[0])
    assert master.solution() == pytest.approx({(0, 1): 1.0, (1, 2): 1.0})


def test_an_item_without_a_column_has_no_solution():
    master = Master(np.ones(2), np.array([1.0]))
    master.add([("a", Entry((0, 2), (1.0, 1.0)))])
    assert master.solve() is None


class Once:
    """Pricing that knows one more column."""

    def __init__(self, enough=0.0):
        self.asked, self.enough = [], enough

    def settled(self, share):
        return share <= self.enough

    def extend(self, master, duals):
        self.asked.append(duals.share)
        return master.add([("both", Entry((0, 1, 2), (1.0,) * 3))]) > 0


def test_the_loop_goes_on_until_no_column_is_missing():
    def master():
        made = Master(np.ones(2), np.array([1.0]))
        made.add([(j, Entry((j, 2), (1.0, 1.0))) for j in range(2)])
        return made

    pricing = Once()
    assert generate(master(), pricing, 10, Watch()) == pytest.approx(1.0)
    assert pricing.asked == pytest.approx([2.0, 1.0])
    assert generate(master(), Once(enough=2.0), 10, Watch()) == pytest.approx(2.0)
    assert generate(master(), Once(), 1, Watch()) == pytest.approx(2.0)
    assert generate(master(), Once(), 10, Watch(0.0)) == math.inf


def test_a_target_below_the_optimum_may_be_called_impossible_and_no_other():
    draw, called = random.Random(2), 0
    for _ in range(120):
        problem = random_problem(draw)
        truth = solve_exactly(problem, leximax=False)
        if not truth.feasible or not truth.optimum:
            continue
        program, optimum = OptionSets(load_instance(problem)), float(truth.optimum)
        assert not program.decide(optimum * (1 + 1e-6), Watch()).impossible
        called += program.decide(optimum * 0.9, Watch()).impossible
    assert called > 40


def test_the_prices_of_an_impossible_target_prove_it():
    # Two models of 6 bytes do not share a GPU of 10; one GPU must, at any load.
    instance = load_instance(byte_problem([10, 10], [(6, 1.0), (6, 1.0), (6, 1.0)]))
    verdict = OptionSets(instance).decide(1e9, Watch())
    assert verdict.impossible
    assert 1 < verdict.share <= 1.5 * (1 + 1e-9)
    assert verdict.prices.sum() == pytest.approx(verdict.share)
    assert verdict.worths.sum() * 2 == pytest.approx(1.0)


def test_a_model_that_fits_nowhere_decides_alone():
    instance = load_instance(byte_problem([10, 10], [(6, 10.0), (1, 0.0)]))
    verdict = OptionSets(instance).decide(1.0 * GIB, Watch())
    assert (verdict.share, verdict.exact) == (math.inf, True)
    assert verdict.prices.tolist() == [1.0, 0.0]


def test_a_pool_knows_the_dearest_set():
    pool = Pool([Room(np.array([[6.0, 4.0, 3.0]]), np.array([10.0]))])
    worths, exact = pool.refill(np.array([3.0, 2.0, 2.0]), np.array([4.0]))
    assert exact
    assert worths.tolist() == [5.0]
    assert pool.dearer(np.array([3.0, 2.0, 2.0]), np.array([4.0]))[0][1] in {(0, 1), (0, 2)}
