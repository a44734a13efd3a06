"""What the stages for large fleets ask of one."""

import math

from kvplace.core.result import OPTIMAL_GAP
from kvplace.solver.strategies.large.search import LargeState


def kicked(search: LargeState) -> bool:
    """Whether time is left for kicks, of which each looks at all GPUs."""
    few = search.columns.g <= search.knobs.kicked_gpus
    return placed(search) and few and search.watch.limit < math.inf


def alternating(search: LargeState) -> bool:
    """Whether kicks and exchanges take turns: under several pressures either ends soon alone."""
    return kicked(search) and search.instance.pressures > 1


def placed(search: LargeState) -> bool:
    """Whether every model has a GPU."""
    return math.isfinite(search.value)


def proved(search: LargeState) -> bool:
    """Whether the maximum is proved to be the best, and all that is asked for."""
    met = search.value <= search.low * (1 + OPTIMAL_GAP)
    return placed(search) and met and search.settings.gap < OPTIMAL_GAP


def wasteful(search: LargeState) -> bool:
    """Whether memory that no set of models fills lies waste, which the program can see."""
    one = search.instance.pressures == 1
    return math.isfinite(search.value) and search.sparse and search.low > 0 and one


def uneven(search: LargeState) -> bool:
    """Whether so few models share a GPU that no set of them fills it under several pressures."""
    columns, knobs = search.columns, search.knobs
    few = columns.n <= min(knobs.priced, knobs.priced_density * columns.g)
    several = 1 < search.instance.pressures <= knobs.priced_pressures
    return math.isfinite(search.value) and few and several
