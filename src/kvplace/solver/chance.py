"""Random numbers for kernels, the same on every machine."""

import numpy as np
from numpy.typing import NDArray

from kvplace.solver.kernels import kernel

Bits = NDArray[np.uint64]

MIX = 0x9E3779B97F4A7C15
"""Odd number that spreads seeds over 64 bits."""


def seeded(seed: int) -> Bits:
    """Return the state of the random numbers of a seed."""
    return np.array([(2 * seed + 1) * MIX % 2**64], dtype=np.uint64)


@kernel
def drawn(chance: Bits, below: int) -> int:
    """Return a random whole number below another (xorshift; Marsaglia, J. Stat. Softw. 8, 2003)."""
    x = chance[0]
    x ^= x << np.uint64(13)
    x ^= x >> np.uint64(7)
    x ^= x << np.uint64(17)
    chance[0] = x
    return int(np.int64(x % np.uint64(below)))


@kernel
def drawn_part(chance: Bits) -> float:
    """Return a random part of one."""
    return drawn(chance, 1 << 30) / float(1 << 30)
