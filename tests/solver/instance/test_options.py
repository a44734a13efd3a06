"""Options at a target: the room that they take, and the one that takes least."""

import math
import random
from itertools import pairwise

import numpy as np
import pytest

from kvplace.core.models.objective import Objective
from kvplace.solver.instance.door import load_instance
from kvplace.solver.instance.options import Chooser
from splits import random_split_problem

OBJECTIVES = Objective.REQUESTS, Objective.TOKENS


def need_of(instance, option, target):
    """Return what a shard takes of the largest GPU at a target."""
    return float(instance.columns.needs(np.array([option.row]), target)[0])


def choosers(seed, count, objectives=OBJECTIVES):
    draw = random.Random(seed)
    while count:
        instance = load_instance(random_split_problem(draw, objectives=objectives))
        if all(instance.options):
            count -= 1
            yield instance, Chooser(instance)


def targets(instance):
    """Return targets at which some options fit and some do not."""
    scale = max(*instance.loads, 1.0) / instance.memory[0]
    return [scale * part for part in (0.5, 2.0, 20.0)]


def test_the_room_is_what_a_shard_takes():
    kinds = set()
    for instance, chooser in choosers(1, 40):
        for target in (*targets(instance), math.inf):
            each, whole, fit = chooser.room(target)
            for j, options in enumerate(instance.options):
                for at, option in enumerate(options):
                    assert each[j, at] == pytest.approx(need_of(instance, option, target))
                    kinds.add(bool(fit[j, at]))
                    if fit[j, at]:
                        assert whole[j, at] == pytest.approx(each[j, at] * option.shards)
                        assert each[j, at] < chooser.largest[j, at]
                    else:
                        assert whole[j, at] == math.inf
    assert kinds == {True, False}


def test_the_option_picked_takes_least_of_those_that_fit():
    for instance, chooser in choosers(2, 60):
        for target in targets(instance):
            _, whole, fit = chooser.room(target)
            for j, option in enumerate(chooser.pick(target, math.inf)):
                at = instance.options[j].index(option)
                if fit[j].any():
                    assert whole[j, at] == whole[j].min()


def test_a_cap_prefers_smaller_shards():
    smaller = 0
    for instance, chooser in choosers(3, 80):
        target, cap = targets(instance)[-1], instance.memory[0] / 8
        free, capped = chooser.pick(target, math.inf), chooser.pick(target, cap)
        for one, other in zip(free, capped, strict=True):
            need, less = need_of(instance, one, target), need_of(instance, other, target)
            assert less <= need or need > cap
            smaller += less < need
    assert smaller > 0


def test_caps_are_parts_of_the_largest_gpu_and_sizes_of_the_others():
    for instance, chooser in choosers(4, 20):
        caps = chooser.caps()
        assert caps[0] == instance.memory[0]
        assert all(0 < cap <= instance.memory[0] for cap in caps)
        assert len(caps) == 4 + min(len(set(instance.memory)) - 1, 5)


def test_lower_targets_take_more_room():
    for instance, chooser in choosers(5, 30):
        rooms = [chooser.room(target)[1].min(axis=1) for target in targets(instance)]
        for low, high in pairwise(rooms):
            assert (high <= low * (1 + 1e-12)).all()


def test_under_several_pressures_what_fits_is_within_each():
    seen = 0
    for instance, chooser in choosers(6, 60, (Objective.PRESSURE,)):
        target = 0.7
        each, _, fit = chooser.room(target)
        for j, options in enumerate(instance.options):
            for at, option in enumerate(options):
                if fit[j, at] and not instance.is_uneven(j) and instance.anywhere(j):
                    seen += 1
                    assert each[j, at] == pytest.approx(need_of(instance, option, target), rel=1e-9)
                    assert min(max(row[instance.kv :]) for row in option.loads) <= target
    assert seen > 30
