"""Regions: GPUs between which no rule tells a difference."""

import numpy as np

from kvplace.solver.array_types import Bools, Ints
from kvplace.solver.instance.instance import Instance

__all__ = ["Regions"]

REGIONS = 16
"""Labels of one rule above which the models that it speaks of stay where they are."""


class Regions:
    """The regions of an instance.

    Attributes
    ----------
    of
        (g,) region of each GPU.
    count
        Number of regions.
    bound, free
        (n,) whether a model may go anywhere in its regions, and anywhere at all.
    """

    def __init__(self, instance: Instance) -> None:
        of = np.zeros(instance.g, dtype=np.int64)
        masks = instance.columns.masks
        few = len(masks) <= REGIONS
        for mask in masks if few else ():
            of = _refined(of, mask.astype(np.int64))
        self.free: Bools = np.array([instance.anywhere(j) for j in range(instance.n)], dtype=bool)
        self.bound: Bools = self.free | few
        for plan in instance.blueprints:
            labels = np.asarray(plan.labels, dtype=np.int64)
            self.free[plan.concerned] = False
            if len(np.unique(labels)) <= REGIONS:
                of = _refined(of, labels)
            else:
                self.bound[plan.concerned] = False
        self.of: Ints = of
        self.count = int(of.max(initial=0)) + 1


def _refined(of: Ints, labels: Ints) -> Ints:
    """Return regions within which the labels are the same too, numbered from 0."""
    both = of * (int(labels.max()) + 2) + labels + 1
    found: Ints = np.unique(both, return_inverse=True)[1].astype(np.int64)
    return found
