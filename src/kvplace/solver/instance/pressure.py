"""Whether a GPU holds what is on it, and how full it is: each for one GPU, arrays and kernels.

A GPU's pressure is the largest of its loads on KV memory over its free bytes, and of its loads on
time. The functions for one GPU are plain arithmetic, so that kernels compile the very same.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kvplace.solver.array_types import Floats, Ints


def fits(free: Any, kept: Any) -> Any:
    """Whether free bytes leave the least KV and at least a byte; of a GPU or of arrays of them."""
    return (free >= 1) & (free >= kept)


def pressure(free: float, kept: float, loads: "Sequence[float] | Floats", kv: int) -> float:
    """Return the pressure of a GPU that holds something; ``inf`` where it does not fit.

    Parameters
    ----------
    free, kept
        Free bytes, and bytes of KV that must be left.
    loads
        Those on KV memory, then those on time.
    kv
        How many are on KV memory.
    """
    if free < 1 or free < kept:
        return math.inf
    most = 0.0
    for at in range(kv):
        most = max(most, loads[at])
    most /= free
    for at in range(kv, len(loads)):
        most = max(most, loads[at])
    return most


def pressures(
    free: "Floats | Ints",
    kept: "Floats | Ints",
    loads: "Sequence[Floats] | Floats",
    kv: int,
) -> "Floats":
    """Return the pressure of many GPUs, as `pressure` does; an empty one is at 0 or ``inf``.

    Parameters
    ----------
    free, kept, kv
        As of `pressure`, each an array of one shape.
    loads
        Arrays that broadcast to that shape, one per load.
    """
    import numpy as np  # noqa: PLC0415 - small fleets need none of it

    shapes = [np.shape(free), *map(np.shape, loads)]
    if any(shape != shapes[0] for shape in shapes):
        shape = np.broadcast_shapes(*shapes)
        loads = [np.broadcast_to(load, shape) for load in loads]
    rows = [np.array(load, dtype=np.float64) for load in loads]
    most = fullest(free, rows, kv)
    most[~fits(free, kept)] = math.inf
    return most


def fullest(free: "Floats | Ints", loads: "Sequence[Floats]", kv: int) -> "Floats":
    """Return how full many GPUs are by the scarcest of their loads, where they fit.

    Parameters are those of `pressures`, the loads all of one shape and overwritten.
    """
    import numpy as np  # noqa: PLC0415 - small fleets need none of it

    most = np.maximum(loads[0], 0.0, out=loads[0])
    for load in loads[1:kv]:
        np.maximum(most, load, out=most)
    if kv:  # else the first is on time
        with np.errstate(divide="ignore", invalid="ignore"):
            np.divide(most, free, out=most)
    for load in loads[max(kv, 1) :]:
        np.maximum(most, load, out=most)
    return most
