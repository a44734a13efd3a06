"""One pressure in three flavours: for a GPU, for arrays of them, and compiled."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kvplace.solver.instance.pressure import fits, pressure, pressures
from kvplace.solver.kernels import kernel

compiled = kernel(pressure)
loads = st.lists(st.floats(0, 1e15), min_size=1, max_size=5)


@settings(max_examples=200, deadline=None)
@given(st.integers(-4, 2**40), st.integers(0, 2**40), loads, st.data())
def test_the_three_flavours_agree(free, kept, loads, data):
    kv = data.draw(st.integers(0, len(loads)))  # 0 where shards have shares of GPUs alone
    one = pressure(free, kept, loads, kv)
    columns = [np.array([load, load]) for load in loads]
    many = pressures(np.array([free, free]), np.array([kept, kept]), columns, kv)
    assert many.tolist() == [one, one]
    assert compiled(free, kept, np.array(loads), kv) == one
    assert bool(fits(free, kept)) == (one < math.inf)
    assert fits(np.array([free]), np.array([kept])).tolist() == [one < math.inf]


def test_the_scarcest_counts():
    # 6 bytes used of 12 in one window and 3 in another; 0.4 and 0.7 of the time.
    assert pressure(12, 0, (6.0, 3.0, 0.4, 0.2), 2) == 0.5
    assert pressure(12, 0, (6.0, 3.0, 0.4, 0.7), 2) == 0.7
    assert pressure(12, 13, (6.0,), 1) == math.inf
    assert pressure(0, 0, (0.0,), 1) == math.inf
