"""Which classes serve others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvplace.solver.column_generation.class_rows import falling
from kvplace.solver.column_generation.levels import Need

KINDS, WIDTH = 4, 6


@pytest.mark.parametrize("nested", [False, True])
@given(there=st.sets(st.tuples(st.integers(0, KINDS - 1), st.integers(1, WIDTH - 1))))
def test_a_place_serves_what_is_no_larger_and_chains_of_pairs_say_all_of_that(nested, there):
    classes = np.array(sorted(kind * WIDTH + level for kind, level in there), dtype=np.int64)
    none = np.zeros(0, dtype=np.int64)
    need = Need(np.zeros(KINDS * WIDTH), none, none, none, KINDS, single=not nested, nested=nested)
    serves = np.eye(len(classes), dtype=bool)
    for lower, row in falling(classes, need):
        serves[row, lower] = True
    for middle in range(len(classes)):
        serves |= np.outer(serves[:, middle], serves[middle])
    kinds, levels = classes // WIDTH, classes % WIDTH
    lower = levels <= levels[:, None]
    fits = kinds <= kinds[:, None] if nested else (kinds == 0) | (kinds == kinds[:, None])
    assert (serves == (lower & fits)).all()
