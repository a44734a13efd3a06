"""What the program on levels is told that undivided models need."""

import numpy as np
import pytest

from kvplace.bench.clusters import cluster
from kvplace.solver.construct.undivided_models import Undivided
from kvplace.solver.instance.door import load_instance
from kvplace.solver.instance.options import Chooser


@pytest.mark.parametrize("grid", [16, 256, 1024])
@pytest.mark.parametrize("target", [0.2, 0.5])
def test_what_fits_an_empty_gpu_fits_it_on_the_levels_and_what_does_not_does_not(grid, target):
    chooser = Chooser(load_instance(cluster(60, 40, pinned=0, seed=5)))
    memory = np.unique(chooser.instance.columns.memory)
    unit = float(memory[-1]) / grid
    part = Undivided(chooser, list(range(chooser.instance.n)))
    part.need(target, grid)
    each = np.maximum(chooser.room(target)[0], chooser.least)[:, : part.level.shape[1]]
    known = part.level > 0
    for bytes_, room in zip(memory.tolist(), np.rint(memory / unit).tolist(), strict=True):
        assert ((part.level <= room) == (each <= bytes_))[known].all()
