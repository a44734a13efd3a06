"""Simple lower bounds on the max KVPR of undivided models: fluid and single-model.

Both are price functions in closed form: the fluid bound prices every model at its size w_j(K) and
every GPU at its memory, the single-model bound prices one model alone. They need neither numpy nor
a bisection, and most real fleets need no more.
"""

import math

from kvplace.core.certificates.certificate import Bound
from kvplace.solver.instance.instance import Instance
from kvplace.solver.instance.order import MANY


def fluid_bound(instance: Instance) -> float:
    """Return ``sum l / (sum M - sum s)``: all GPUs as one; ``inf`` where the weights exceed it."""
    free = sum(instance.memory) - sum(instance.size)
    if free <= 0 or free < sum(instance.keep):
        return math.inf
    return math.fsum(instance.load) / free


def single_model_bound(instance: Instance) -> tuple[float, int]:
    """Return ``max_j l_j / (max M - s_j)`` and the model that attains it.

    The value is ``inf`` where a model fits no GPU even alone.
    """
    largest = instance.memory[0]
    if instance.n >= MANY:
        alone = instance.columns.alone
        return float(alone.max()), int(alone.argmax())
    best, arg = -1.0, 0
    for j, (size, keep, load) in enumerate(
        zip(instance.size, instance.keep, instance.load, strict=True)
    ):
        ratio = load / (largest - size) if size + max(1, keep) <= largest else math.inf
        if ratio > best:
            best, arg = ratio, j
    return best, arg


def simple_bound(instance: Instance) -> Bound:
    """Return the better of the fluid and the single-model bound, not yet certified."""
    fluid = fluid_bound(instance)
    single, _ = single_model_bound(instance)
    if max(fluid, single) <= 0:
        return Bound(0.0, "trivial")
    return Bound(single, "single-model") if single >= fluid else Bound(fluid, "fluid")
