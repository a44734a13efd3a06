"""GPUs filled one after the other under several pressures: none above its target, little left."""

from array import array
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvplace.solver.clock import Watch
from kvplace.solver.construct import fill_by_pairs as filling
from kvplace.solver.instance.instance import Instance
from kvplace.solver.kernels import Crew, interpreted
from kvplace.solver.strategies.large import stages
from kvplace.solver.strategies.params import LargeParams


@pytest.fixture(autouse=True, scope="module")
def _plain():
    """Few draws, and nothing compiled."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("COMPANIES", 6), ("MISSES", 12), ("PAIRS", 2)):
            patch.setattr(filling, name, value)
        patch.setattr(filling, "fill", interpreted(filling.fill))
        yield


def columns(sizes, loads, gpus, memory=1000, kv=1):
    """Undivided models, each with a load per pressure; the first are on KV memory."""
    n = len(sizes)
    flat = array("d", [load for row in loads for load in row])
    ones, windows = array("i", [1] * n), len(loads[0]) - kv
    return Instance(
        range(n + 1), ones, ones, array("q", sizes), array("q", [0] * n), flat,
        array("q", [memory] * gpus), array("q", range(n)), array("q", range(gpus)),
        kv_windows=tuple(range(kv)), time_windows=tuple(range(windows)),
    ).columns  # fmt: skip


def drawn(seed, n, gpus):
    chance = np.random.default_rng(seed)
    shares = chance.uniform(0.5, 1.5, n)[:, None] * chance.uniform(0.6, 1.4, (n, 4))
    shares *= 0.6 * gpus / shares.sum(axis=0).max()
    kv = chance.uniform(1, 20, n)[:, None]
    sizes = chance.integers(1, 900 * gpus // n, n)
    return columns(sizes.tolist(), np.hstack([kv, shares]).tolist(), gpus)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(12, 30), st.integers(3, 6), st.integers(62, 90))
def test_no_gpu_is_above_its_target(seed, n, gpus, percent):
    fleet, target = drawn(seed, n, gpus), percent / 100
    gpu_of = filling.fill_by_pairs(fleet, target, seed, np.zeros(1, np.int64))
    done = int(gpu_of.max()) + 1
    assert done <= gpus
    for gpu in range(done):
        held = np.flatnonzero(gpu_of == gpu)
        assert len(held) >= 3
        assert fleet.size[held].sum() < fleet.memory[0]
        kv, *shares = fleet.loads[held, 0].sum(axis=0) / target
        most = max((fleet.size[held].sum() + kv) / fleet.memory[0], *shares)
        assert most <= 1 + filling.HIGHEST + filling.RAISED


def test_with_room_to_spare_little_is_left_over():
    fleet = drawn(1, 40, 8)
    gpu_of = filling.fill_by_pairs(fleet, 0.8, 0, np.zeros(1, np.int64))
    assert gpu_of.max() >= 5


def test_ended_early_nothing_is_placed():
    gpu_of = filling.fill_by_pairs(drawn(1, 20, 4), 0.8, 0, np.ones(1, np.int64))
    assert (gpu_of == -1).all()


@pytest.mark.parametrize("last_part", [0.0, 1.0])
def test_what_is_left_over_goes_on_the_last_gpus(last_part):
    fleet = drawn(1, 40, 8)
    search = SimpleNamespace(
        columns=fleet, watch=Watch(), seed=0, low=0.6, crew=Crew(1), effort=1.0,
        knobs=LargeParams(last_part=last_part),
    )  # fmt: skip
    found = stages._filled(search, 0.7, 1.0)
    if last_part:
        assert sorted(np.unique(found.gpu_of(fleet.n))) == list(range(8))
        assert found.pressure().max() < 0.9
    else:
        assert found is None or found.pressure().max() <= 0.7
