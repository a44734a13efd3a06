"""An instance: its options, and what shards take of a GPU."""

import random
from array import array

import numpy as np
import pytest

from kvplace.core.models.objective import Objective
from kvplace.solver.instance.door import load_instance
from kvplace.solver.instance.instance import Instance
from splits import random_split_problem, random_where
from tiny import byte_problem

OBJECTIVES = Objective.REQUESTS, Objective.TOKENS, Objective.PRESSURE


def pressing():
    """Two options of one model under a window on memory and one on time, on two GPU types."""
    return Instance(
        [0, 2],
        array("i", [1, 2]),
        array("i", [1, 1]),
        array("q", [8, 5]),
        array("q", [0, 1]),
        array("d", [4.0, 0.6, 4.0, 0.3, 2.0, 0.4, 2.0, 0.2]),
        array("q", [20, 10]),
        array("q", [0]),
        array("q", [0, 1]),
        time_windows=(0,),
        type_of=(0, 1),
    )


def test_options_are_read_row_by_row():
    one, two = pressing().options[0]
    assert (one.degree, one.copies, one.size, one.keep, one.shards) == (1, 1, 8, 0, 1)
    assert (two.degree, two.copies, two.size, two.keep, two.shards) == (2, 1, 5, 1, 2)
    assert one.loads == ((4.0, 0.6), (4.0, 0.3))
    assert (one.load, two.load) == (4.0, 2.0)


def test_what_a_shard_takes_by_hand():
    instance = pressing()
    columns, both = instance.columns, np.arange(2)
    # At 0.5: 8 + 4 / 0.5 bytes; 0.3 of the time, where that is least, is 0.6 of 20 bytes.
    assert columns.needs(both, 0.5) == pytest.approx([16, 9])
    assert columns.needs(both[:1], 0.25) == pytest.approx([24])
    assert columns.needs(both[:1], float("inf")) == pytest.approx([8])
    assert instance.takes(8, (4.0, 0.6), 0.5, 0) == pytest.approx([16, 24])
    assert instance.takes(8, (4.0, 0.3), 0.5, 1) == pytest.approx([16, 6])
    assert load_instance(byte_problem([9], [(2, 3.0)])).takes(2, (3.0,), 1.5, 0) == [4.0]


def test_undivided_models_have_one_row_each_whatever_they_are_made_of():
    lists = Instance.undivided([3, 2], [0, 1], [1.0, 0.5], [10], [1, 0], [0])
    arrays = Instance.undivided(
        np.array([3, 2]), np.array([0, 1]), np.array([1.0, 0.5]), np.array([10]),
        np.array([1, 0]), np.array([0]),
    )  # fmt: skip
    for instance in (lists, arrays):
        assert [[option.shards for option in row] for row in instance.options] == [[1], [1]]
        assert (instance.n, instance.g, instance.pressures, instance.types) == (2, 1, 1, 1)
        assert instance.anywhere(0)
        assert not instance.is_uneven(0)
        assert instance.least_bytes == [3, 2]
        assert instance.type_at(0) == 0
    assert list(lists.size) == list(arrays.size)


def test_a_model_takes_at_least_a_byte():
    assert Instance.undivided([0], [0], [1.0], [10], [0], [0]).least_bytes == [1]


@pytest.mark.parametrize("seed", range(2))
def test_copies_are_the_option_that_they_are(seed):
    draw, seen = random.Random(seed), 0
    while seen < 40:
        problem = random_split_problem(draw, objectives=OBJECTIVES)
        instance = load_instance(problem)
        where = random_where(draw, problem, instance)
        if where is None:
            continue
        seen += 1
        for j, copies in enumerate(where):
            option = instance.option_of(j, copies)
            assert (option.degree, option.copies) == (len(copies[0]), len(copies))
            parts = instance.copy_loads(j, option, copies)
            assert len(parts) == len(copies)
            if not instance.is_uneven(j):
                assert parts == [option.loads] * len(copies)
            elif instance.pressures == 1:
                total = sum(part[0][0] for part in parts)
                assert total == pytest.approx(option.load * len(copies), rel=1e-9)
        with pytest.raises(ValueError, match=r"\(0, "):
            instance.option_of(0, ((0,) * 7,))


def test_rules_are_known_by_model():
    draw = random.Random(2)
    for _ in range(40):
        instance = load_instance(random_split_problem(draw))
        for j, rules in enumerate(instance.rules_of):
            assert rules == [
                at for at, plan in enumerate(instance.blueprints) if j in plan.concerned
            ]
