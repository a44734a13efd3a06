"""Static splits: each engine's part of a GPU's KV memory, for runtimes without a shared pool."""

import math
from collections.abc import Sequence

from kvplace.core.evaluate import GPUEvaluation
from kvplace.errors import InputError

__all__ = ["divide", "kv_parts"]

_SHARE_OF_IDLE = 100
"""A model without load is left this part of an even share: an engine needs some cache to start."""


def divide(free_bytes: int, loads: Sequence[float], least: Sequence[int]) -> list[int]:
    """Divide memory in proportion to loads, nobody below its least, nothing left over or made up.

    Parameters
    ----------
    free_bytes
        What there is to divide.
    loads
        In any unit; all 0 means even shares.
    least
        Bytes that each must be left; together at most `free_bytes`.

    Returns
    -------
    list of int
        Bytes of each, `free_bytes` together.
    """
    if not loads:
        return []
    weights = list(loads) if any(loads) else [1.0] * len(loads)
    largest = max(weights)
    weights = [weight / largest for weight in weights]  # sums of huge loads must not overflow
    fixed: dict[int, int] = {}
    while True:
        rest = free_bytes - sum(fixed.values())
        open_ = [index for index in range(len(loads)) if index not in fixed]
        total = math.fsum(weights[index] for index in open_)
        if not total:
            parts = {index: least[index] for index in open_}
        else:
            parts = {index: int(rest * (weights[index] / total)) for index in open_}
        below = [index for index in open_ if parts[index] < least[index]]
        if not below:
            break
        fixed |= {index: least[index] for index in below}
        if len(fixed) == len(loads):
            parts = {}
            break
    found = fixed | parts
    order = sorted(range(len(loads)), key=lambda index: (-weights[index], index))
    found[order[0]] += free_bytes - sum(found.values())  # rounding goes to the busiest
    return [found[index] for index in range(len(loads))]


def kv_parts(gpu: GPUEvaluation) -> list[int]:
    """Return the KV bytes of each shard of a GPU, in the order of its shards.

    Raises
    ------
    InputError
        Less is left than its models must have.
    """
    count = len(gpu.shards)
    least = [shard.min_kv_bytes for shard in gpu.shards]
    if sum(least) > gpu.free_bytes:
        raise InputError(f"{gpu.id} leaves {gpu.free_bytes} bytes for KV, less than is needed")
    floor = gpu.free_bytes // (_SHARE_OF_IDLE * count) if count else 0
    raised = [max(one, floor) for one in least]
    if sum(raised) > gpu.free_bytes:
        raised = least
    return divide(gpu.free_bytes, [shard.load for shard in gpu.shards], raised)
