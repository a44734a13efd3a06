"""Parts: what shards take of GPUs at a target, and what GPUs have, by each pressure alike."""

import numpy as np

from kvplace.solver.array_types import Floats
from kvplace.solver.instance.instance import Instance

STRICT = 1e-9
"""Part of a GPU left to rounding."""


class Parts:
    """Shards and GPUs of an instance as vectors whose sums say what fits at a target.

    A vector has an entry for each pressure on KV memory, in parts of the mean GPU's memory; one for
    each pressure on time, in parts of the target; and one for the KV to be left, where some is.

    Parameters
    ----------
    instance
        The problem.

    Attributes
    ----------
    has
        (g, entries) what each GPU has.
    """

    def __init__(self, instance: Instance) -> None:
        columns = instance.columns
        self._instance, self._keeps = instance, bool(columns.keep.any())
        self._unit = float(columns.memory.mean())
        memory = np.repeat(columns.memory[:, None] / self._unit, columns.kv, axis=1)
        time = np.ones((len(memory), instance.time))
        kept = [memory[:, :1]] if self._keeps else []
        self.has: Floats = np.concatenate([memory, time, *kept], axis=1) * (1 - STRICT)

    def of_options(self, target: float) -> Floats:
        """Return (rows, load types, entries) what a shard of each option takes."""
        columns = self._instance.columns
        return self.taken(columns.size[:, None], columns.keep[:, None], columns.loads, target)

    def taken(self, size: object, keep: object, loads: Floats, target: float) -> Floats:
        """Return (..., entries) what shards take.

        Parameters
        ----------
        size, keep
            (...) bytes resident, and bytes of KV to be left.
        loads
            (..., pressures) their loads.
        target
            Max pressure.
        """
        kv = self._instance.kv
        each = np.asarray(size, dtype=np.float64)[..., None]
        parts = [(each + loads[..., :kv] / target) / self._unit, loads[..., kv:] / target]
        if self._keeps:
            kept = (each + np.asarray(keep, dtype=np.float64)[..., None]) / self._unit
            parts.append(np.broadcast_to(kept, (*loads.shape[:-1], 1)))
        return np.ascontiguousarray(np.concatenate(parts, axis=-1))
