"""The canonical order: by falling keys, then by name, however many there are."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvplace.solver.instance import order
from kvplace.solver.instance.order import canonical

rows = st.lists(
    st.tuples(st.sampled_from([0.0, 1.0, 2.5]), st.integers(0, 2)), min_size=1, max_size=12
)


def names(count, seed=0):
    found = [f"m{i}" for i in range(count)]
    random.Random(seed).shuffle(found)
    return found


@settings(max_examples=100)
@given(rows, st.integers(0, 99))
def test_few_and_many_are_sorted_by_keys_and_then_by_name(found, seed):
    keys, called = list(zip(*found, strict=True)), names(len(found), seed)
    few = list(canonical(keys, called.__getitem__))
    ranked = [(-keys[0][i], -keys[1][i], called[i]) for i in few]
    assert sorted(few) == list(range(len(found)))
    assert ranked == sorted(ranked)
    assert order._sorted_arrays(keys, called.__getitem__).tolist() == few


def test_the_switch_to_arrays_changes_nothing():
    draw = random.Random(5)
    count = order.MANY + 7
    keys = [[float(draw.randint(0, 50)) for _ in range(count)], [0] * count]
    called = names(count)
    found = canonical(keys, called.__getitem__)
    assert found.typecode == "q"
    assert list(found) == sorted(range(count), key=lambda i: (-keys[0][i], called[i]))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_order_of_the_input_does_not_matter(count):
    values, called = [1.0, 1.0, 3.0][:count], ["b", "a", "c"][:count]
    there = [called[i] for i in canonical([values], called.__getitem__)]
    values.reverse()
    called.reverse()
    assert [called[i] for i in canonical([values], called.__getitem__)] == there
