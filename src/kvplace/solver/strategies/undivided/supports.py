"""Which stages can pay for undivided models, and at which point."""

import math

from kvplace.core.result import OPTIMAL_GAP, relative_gap
from kvplace.solver.strategies.undivided.search import UndividedState


def small(search: UndividedState) -> bool:
    """Whether models are few enough for the configuration program."""
    return search.instance.n <= search.knobs.program_models


def tiny(search: UndividedState) -> bool:
    """Whether models are so few that proofs come before any search."""
    return search.placed and search.instance.n <= search.knobs.tiny_models


def optimal(search: UndividedState) -> bool:
    """Whether the worst GPU of a tiny fleet is proved optimal, so that the others count."""
    return tiny(search) and relative_gap(search.value, search.low) <= OPTIMAL_GAP


def quick(search: UndividedState) -> bool:
    """Whether the program answers at once: few models, and few of them per GPU."""
    knobs = search.knobs
    few = search.instance.n <= min(knobs.quick_models, knobs.quick_density * search.instance.g)
    return search.placed and few


def covered(search: UndividedState) -> bool:
    """Whether groups of GPUs have few enough sets of models to be refilled by kernels in time."""
    knobs = search.knobs
    sparse = knobs.best_fit_density < search.density <= knobs.covered_density
    many = search.instance.g > knobs.covered_gpus
    return search.long and search.placed and small(search) and sparse and many


def rounds(search: UndividedState) -> int:
    """Return how many rounds there are at most."""
    knobs = search.knobs
    if search.watch.left == math.inf and search.limit is None:
        return knobs.default_rounds
    return knobs.timed_rounds if search.instance.n > knobs.tiny_models else knobs.tiny_rounds
