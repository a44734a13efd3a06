"""Starts by kernels, beside plain loops that do the same."""

import math
import random
from array import array

import numpy as np
import pytest

from boards import undivided
from kvplace.solver.assignment.packed import pack_rows
from kvplace.solver.clock import Watch
from kvplace.solver.construct import compiled_starts
from kvplace.solver.construct.compiled_starts import bisect_first_fit, most_room_first
from kvplace.solver.instance.columns import fluid_level
from kvplace.solver.instance.instance import Instance


def room_first(instance, level):
    """Most room first as a loop over all GPUs; None where a model finds no memory."""
    room, free = list(map(float, instance.memory)), list(instance.memory)
    kept, gpu_of = [0] * instance.g, [-1] * instance.n
    sizes = [s + load / level for s, load in zip(instance.size, instance.load, strict=True)]
    for j in sorted(range(instance.n), key=lambda j: -sizes[j]):
        g = max(range(instance.g), key=lambda g: room[g])
        if free[g] - instance.size[j] < max(1, kept[g] + instance.keep[j]):
            return None
        free[g] -= instance.size[j]
        kept[g] += instance.keep[j]
        room[g] -= sizes[j]
        gpu_of[j] = g
    return gpu_of


def first_fit(instance, target):
    """First fit decreasing, the smallest GPU first; None where a model finds none."""
    room = [float(m) for m in instance.memory]
    free, gpu_of = list(instance.memory), [-1] * instance.n
    sizes = [s + load / target for s, load in zip(instance.size, instance.load, strict=True)]
    for j in sorted(range(instance.n), key=lambda j: -sizes[j]):
        found = [g for g in reversed(range(instance.g)) if room[g] >= sizes[j]]
        if not found or free[found[0]] - instance.size[j] < 1:
            return None
        room[found[0]] -= sizes[j]
        free[found[0]] -= instance.size[j]
        gpu_of[j] = found[0]
    return gpu_of


@pytest.mark.parametrize("seed", range(8))
def test_most_room_first_is_the_rule(seed):
    instance = undivided(seed, gpus=5, models=18, memory=(60, 90, 140), keep=seed % 3)
    level = fluid_level(instance.columns)
    expected = room_first(instance, level)
    found = most_room_first(instance.columns, level)
    assert bool(found) == (expected is not None)
    if found:
        value = found[0].pressure().max()
        assert value == pytest.approx(
            pack_rows(instance.columns, np.array(expected)).pressure().max(), rel=1e-9
        )


@pytest.mark.parametrize("seed", range(8))
def test_first_fit_decreasing_is_the_rule(seed):
    instance = undivided(seed, gpus=5, models=18, memory=(60, 90, 140))
    for part in (1.1, 1.5, 3.0):
        target = fluid_level(instance.columns) * part
        expected, found = first_fit(instance, target), compiled_starts._at(instance.columns, target)
        assert (found is None) == (expected is None)
        if found is not None:
            assert found.gpu_of(instance.n).tolist() == expected
            assert found.pressure().max() <= target * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_the_best_target_of_first_fit_is_found(seed):
    instance = undivided(seed, gpus=4, models=10, memory=(60, 90))
    columns = instance.columns
    level = fluid_level(columns)
    packing = bisect_first_fit(columns, level / 2, Watch())
    assert packing is not None
    best = packing.pressure().max()
    for part in np.linspace(1, 2, 21):
        found = compiled_starts._at(columns, level / 2 * part)
        assert found is None or found.pressure().max() >= best * (1 - 1e-3)


def test_a_start_that_is_late_is_no_mere_packing_of_weights():
    for seed in range(6):
        columns = undivided(seed, gpus=5, models=18, memory=(60, 90, 140)).columns
        late = bisect_first_fit(columns, fluid_level(columns), Watch(0))
        in_time = bisect_first_fit(columns, fluid_level(columns), Watch())
        assert late.pressure().max() <= 2 * in_time.pressure().max()


def test_no_load_and_no_room_are_borne():
    idle = undivided(1, gpus=2, models=3)
    idle.columns.loads[:] = 0
    (packing,) = most_room_first(idle.columns, 0.0)
    assert packing.pressure().max() == 0
    assert bisect_first_fit(idle.columns, 0.0, Watch()) is not None
    full = undivided(2, gpus=2, models=9, memory=(20, 20), size=(10, 14))
    assert most_room_first(full.columns, 1.0) == []
    assert bisect_first_fit(full.columns, 0.1, Watch()) is None


def test_first_fit_is_not_waited_for_once_the_search_ends(monkeypatch):
    columns = undivided(1, gpus=2, models=3).columns
    asked = []

    def never(compiled, call, ended):
        call()  # what a thread would do to compile it
        asked.append((compiled, ended()))
        return False

    monkeypatch.setattr(compiled_starts, "compiled_in_time", never)
    assert bisect_first_fit(columns, 0.1, Watch(), lambda: True) is None
    assert asked == [(compiled_starts._first_fit, True)]


def drawn(seed, models=14, memory=(60, 60, 50), windows=2, types=1):
    """An instance with that many windows on memory and as many on time."""
    draw = random.Random(seed)
    loads = []
    for _ in range(models):
        kv = [draw.uniform(0, 3) for _ in range(windows)]
        for _ in range(types):
            loads += [*kv, *(draw.uniform(0, 0.3) for _ in range(windows))]
    return Instance(
        range(models + 1),
        array("i", [1] * models),
        array("i", [1] * models),
        array("q", [draw.randint(2, 9) for _ in range(models)]),
        array("q", [draw.randint(0, 2) for _ in range(models)]),
        array("d", loads),
        array("q", memory),
        array("q", range(models)),
        array("q", range(len(memory))),
        kv_windows=tuple(range(windows)),
        time_windows=tuple(range(windows)),
        type_of=tuple(at % types for at in range(len(memory))) if types > 1 else (),
    )


def is_scarcest_first(instance, level, keys, gpu_of):
    """Whether each model in turn went where the least part of a GPU that is left is most."""
    left = [[float(m)] * instance.pressures for m in instance.memory]
    free, kept = list(instance.memory), [0] * instance.g

    def after(j, h):
        option = instance.options[j][0]
        taken = instance.takes(option.size, option.loads[instance.type_at(h)], level, h)
        return [rest - more for rest, more in zip(left[h], taken, strict=True)]

    for j in sorted(range(instance.n), key=lambda j: -keys[j]):
        may = [
            h for h in range(instance.g)
            if free[h] - instance.size[j] >= max(1, kept[h] + instance.keep[j])
        ]  # fmt: skip
        value = {h: min(after(j, h)) / instance.memory[h] for h in may}
        h = gpu_of[j]
        if h not in value or value[h] < max(value.values()) - 1e-9:
            return False
        left[h] = after(j, h)
        free[h] -= instance.size[j]
        kept[h] += instance.keep[j]
    return True


@pytest.mark.parametrize("scanned", [compiled_starts.SCANNED, 0], ids=["every GPU", "the roomiest"])
@pytest.mark.parametrize("types", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_under_several_pressures_the_scarcest_decides(seed, types, scanned, monkeypatch):
    monkeypatch.setattr(compiled_starts, "SCANNED", scanned)  # of three GPUs the roomiest are all
    instance = drawn(seed, types=types)
    level = fluid_level(instance.columns)
    parts = []
    for j in range(instance.n):
        option = instance.options[j][0]
        loads = [min(row[d] for row in option.loads) for d in range(instance.pressures)]
        parts.append(instance.takes(option.size, loads, level, 0))
    found = most_room_first(instance.columns, level)
    assert len(found) == (2 if scanned else 1)  # of very many the first order suffices
    for packing, function in zip(found, (max, sum), strict=False):
        gpu_of = packing.gpu_of(instance.n).tolist()
        assert is_scarcest_first(instance, level, [function(row) for row in parts], gpu_of)


@pytest.mark.parametrize("seed", range(3))
def test_many_gpus_of_which_the_roomiest_are_looked_at_hold_all_models(seed, monkeypatch):
    monkeypatch.setattr(compiled_starts, "SCANNED", 0)
    instance = drawn(seed, models=160, memory=(60,) * 40, types=2)
    for packing in most_room_first(instance.columns, fluid_level(instance.columns)):
        assert packing.gpu_of(instance.n).min() >= 0
        assert math.isfinite(packing.pressure().max())
        again = pack_rows(instance.columns, packing.gpu_of(instance.n))
        assert packing.pressure() == pytest.approx(again.pressure())


def test_under_several_pressures_first_fit_goes_by_the_memory_that_models_must_have():
    placed = 0
    for seed in range(20):
        instance = drawn(seed, models=24, memory=(70, 60, 40))
        packing = bisect_first_fit(instance.columns, 0.0, Watch())
        if packing is None:
            continue
        placed += 1
        assert packing.gpu_of(instance.n).min() >= 0
        assert (packing.free >= np.maximum(packing.kept, 1)).all()
    assert placed > 5
