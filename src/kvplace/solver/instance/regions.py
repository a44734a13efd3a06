"""Regions: GPUs between which no rule tells a difference."""

from collections.abc import Sequence

import numpy as np

from kvplace.solver.array_types import Bools, Ints
from kvplace.solver.instance.rule_penalties import Blueprint

REGIONS = 16
"""Labels of one rule above which the models that it speaks of stay where they are."""


class Regions:
    """The regions of an instance.

    Parameters
    ----------
    masks
        (masks, g) the GPUs that some models may run on.
    free
        (n,) whether a model may run on every GPU.
    blueprints
        The rules.

    Attributes
    ----------
    of
        (g,) region of each GPU.
    count
        Number of regions.
    bound, free
        (n,) whether a model may go anywhere in its regions, and anywhere at all.
    """

    def __init__(
        self, masks: Sequence[Bools], free: Bools, blueprints: Sequence[Blueprint]
    ) -> None:
        of = np.zeros(len(masks[0]), dtype=np.int64)
        few = len(masks) <= REGIONS
        for mask in masks if few else ():
            of = _refined(of, mask.astype(np.int64))
        self.free = free.copy()
        self.bound: Bools = self.free | few
        for plan in blueprints:
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
