"""Pairs in parallel: what limits them, and that nobody is lost."""

import numpy as np
import pytest

from boards import undivided, windowed
from kvplace.solver.assignment.packed import pack_rows
from kvplace.solver.clock import Watch
from kvplace.solver.construct.compiled_starts import most_room_first
from kvplace.solver.improve.pair_kernel import exchange, scratch_of
from kvplace.solver.improve.parallel_pairs import Improver
from kvplace.solver.instance.columns import fluid_level
from kvplace.solver.kernels import Crew, interpreted


def start(seed=0, gpus=40, models=200):
    """Some models piled on the first GPUs."""
    instance = undivided(seed, gpus=gpus, models=models, memory=(120, 160))
    columns = instance.columns
    gpu_of = np.arange(models) % (gpus // 2)
    return columns, pack_rows(columns, gpu_of)


def improver(columns, packing, **options):
    watch = options.pop("watch", None) or Watch()
    threads = options.pop("threads", 1)
    return Improver(packing, fluid_level(columns), 0, Crew(threads), watch, **options)


def test_balancing_and_relieving_lower_the_worst_and_lose_nobody():
    columns, packing = start()
    before = packing.pressure().max()
    search = improver(columns, packing)
    search.balance()
    halfway = packing.pressure().max()
    search.relieve(search._level, 30.0, 30.0)
    assert packing.pressure().max() <= halfway < before
    gpu_of = packing.gpu_of(columns.n)
    assert gpu_of.min() >= 0
    again = pack_rows(columns, gpu_of)
    assert packing.free.tolist() == again.free.tolist()
    assert packing.kept.tolist() == again.kept.tolist()
    assert packing.pressure() == pytest.approx(again.pressure(), rel=1e-12)


@pytest.mark.parametrize("limit", [0, 1, 7])
def test_no_more_exchanges_are_made_than_allowed(limit):
    columns, packing = start()
    search = improver(columns, packing, limit=limit)
    search.balance()
    search.relieve(search._level, 30.0, 30.0)
    assert search.exchanges <= limit
    assert search.limited == (search.exchanges == limit)


def test_a_goal_that_is_met_ends_it_at_once():
    columns, packing = start()
    search = improver(columns, packing)
    search.relieve(float(packing.pressure().max()), 30.0, 30.0)
    assert search.exchanges == 0
    search = improver(columns, packing, watch=Watch(0.0))
    search.balance()
    search.relieve(0.0, 30.0, 30.0)
    assert search.exchanges == 0


def test_an_exchange_must_gain_what_is_asked():
    columns, packing = start()
    search = improver(columns, packing, gain=0.999)
    search.balance()
    search.relieve(search._level, 5.0, 5.0)
    assert search.exchanges == 0


def test_the_number_of_threads_does_not_matter():
    plans = []
    for threads in (1, 3):
        columns, packing = start(2, gpus=300, models=1500)
        search = improver(columns, packing, threads=threads)
        search.balance()
        search.relieve(search._level, 10.0, 10.0)
        plans.append(packing.gpu_of(columns.n).tolist())
    assert plans[0] == plans[1]


def test_a_good_start_is_made_better():
    instance = undivided(5, gpus=60, models=400, memory=(160, 200))
    columns = instance.columns
    level = fluid_level(columns)
    (packing,) = most_room_first(columns, level)
    before = packing.pressure().max()
    search = improver(columns, packing)
    search.balance()
    search.relieve(level, 30.0, 30.0)
    assert level <= packing.pressure().max() * (1 + 1e-9)
    assert packing.pressure().max() <= before


def test_under_several_pressures_the_hottest_exchanges_with_all_until_none_helps():
    columns = windowed(
        1, 40, [120] * 8,
        lambda chance, shape: chance.uniform(0, 2, shape),
        lambda chance, shape: chance.uniform(0, 0.1, shape),
        3, 1,
    ).columns  # fmt: skip
    packing = pack_rows(columns, np.arange(40) % 4)
    before = packing.pressure().max()
    improver(columns, packing)._settle(packing, 0.0)
    hottest, scratch = int(packing.pressure().argmax()), interpreted(scratch_of)(packing)
    assert packing.pressure().max() < before
    for other in set(range(8)) - {hottest}:
        assert not interpreted(exchange)(packing.copy(), hottest, other, 0, 1e-9, scratch)
