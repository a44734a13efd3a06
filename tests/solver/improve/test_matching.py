"""Partners found among all: what suits is found, both end at the target, and nobody is lost."""

from itertools import combinations

import numpy as np
import pytest

from boards import undivided, windowed
from kvplace.solver.assignment.packed import pack_rows
from kvplace.solver.improve.matching import applies, colder, match, subsets_of


def drawn(seed, gpus, models, memory=(120, 160)):
    """Return columns and a packing within memory, each GPU with its turn of the models."""
    columns = undivided(seed, gpus=gpus, models=models, memory=memory).columns
    return columns, pack_rows(columns, np.arange(models) % gpus)


def halfway(packing):
    pressure = packing.pressure()
    return pressure, float(pressure.max() + pressure.min()) / 2


def test_sizes_ascend_and_codes_say_of_which_models():
    columns, packing = drawn(1, 6, 30)
    gpus, target = np.array([4, 1, 3]), 0.7
    sizes, codes = subsets_of(packing, gpus, target)
    assert len(sizes) == 3 * sum(len(list(combinations(range(5), k))) for k in range(4))
    assert (np.diff(sizes) >= 0).all()
    size = columns.size + columns.load / target
    for wanted, code in zip(sizes.tolist(), codes.tolist(), strict=True):
        start = packing.start[gpus[code >> 24]]
        places = [(code >> shift) & 0xFF for shift in (0, 8, 16)]
        models = [packing.item[start + place - 1] for place in places if place]
        assert len(set(models)) == len(models)
        assert wanted == pytest.approx(size[models].sum(), rel=1e-12)


def possible(columns, packing, g, h, target):
    """Whether an exchange of up to three models for up to three brings both to a target."""
    held = [np.flatnonzero(packing.gpu_of(columns.n) == at).tolist() for at in (g, h)]
    some = [[c for k in range(4) for c in combinations(side, k)] for side in held]
    for out in some[0]:
        for back in some[1]:
            gpu_of = packing.gpu_of(columns.n)
            gpu_of[list(out)], gpu_of[list(back)] = h, g
            after = pack_rows(columns, gpu_of).pressure()
            if max(after[g], after[h]) <= target:
                return True
    return False


def test_a_partner_is_found_just_where_there_is_one():
    found = 0
    for seed in range(40):
        columns, packing = drawn(seed, 2, 8)
        pressure, target = halfway(packing)
        target = (target + float(pressure.max())) / 2 if seed % 2 else target
        if not np.isfinite(pressure).all():
            continue
        hot, cold = np.array([pressure.argmax()]), np.array([pressure.argmin()])
        expected = possible(columns, packing, hot[0], cold[0], target)
        made = match(packing, hot, cold, target, *subsets_of(packing, cold, target))
        assert made == expected
        found += made
    assert 5 < found < 40


@pytest.mark.parametrize("seed", range(5))
def test_all_that_were_matched_end_at_the_target_and_sums_stay_exact(seed):
    columns, packing = drawn(seed, 60, 200, memory=(100, 260))
    before, target = halfway(packing)
    hot = np.flatnonzero(before > target)
    cold = colder(packing, before, target, len(hot))
    made = match(packing, hot, cold, target, *subsets_of(packing, cold, target))
    after = packing.pressure()
    assert made > 0
    assert (after[hot] <= target * (1 + 1e-12)).sum() >= made
    assert (after[cold] <= target * (1 + 1e-12)).all()
    again = pack_rows(columns, packing.gpu_of(columns.n))
    assert packing.free.tolist() == again.free.tolist()
    assert packing.kept.tolist() == again.kept.tolist()
    assert after == pytest.approx(again.pressure(), rel=1e-12)


def test_least_kv_and_spared_memory_are_kept():
    for seed in range(20):
        columns = undivided(seed, gpus=12, models=40, memory=(100, 160)).columns
        spare = np.full(12, int(columns.memory.min()) // 4)
        packing = pack_rows(columns, np.arange(40) % 12, spare=spare)
        before, free = packing.pressure(), packing.free.copy()
        if not np.isfinite(before).all():
            continue
        target = float(np.median(before))
        hot, cold = np.flatnonzero(before > target), np.flatnonzero(before <= target)
        match(packing, hot, cold, target, *subsets_of(packing, cold, target))
        assert np.isfinite(packing.pressure()).all()
        assert (packing.free >= np.minimum(free, spare)).all()


def test_it_is_for_one_pressure_on_kv_memory():
    _, packing = drawn(0, 4, 8)
    assert applies(packing)
    several = windowed(
        0, 8, [60, 60], lambda chance, shape: chance.rand(*shape),
        lambda chance, shape: chance.rand(*shape), 2, 1,
    )  # fmt: skip
    assert not applies(pack_rows(several.columns, np.arange(8) % 2))


def test_the_coldest_are_looked_at():
    _, packing = drawn(3, 50, 150)
    pressure, target = halfway(packing)
    found = colder(packing, pressure, target, 1)
    assert sorted(found.tolist()) == np.flatnonzero(pressure <= target).tolist()
    assert len(colder(packing, pressure, 0.0, 1)) == 0
