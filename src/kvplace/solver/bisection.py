"""Bisection on a target: the search for where an answer changes, with its stopping rules."""

import math
from collections.abc import Callable, Iterable

from kvplace.solver.clock import Watch

__all__ = ["bisect"]


def bisect(
    impossible: Callable[[float], bool],
    low: float,
    high: float,
    *,
    width: float = 1e-9,
    most: int = 60,
    probes: Iterable[tuple[float, bool]] = (),
    near: Callable[[float, float], bool] | None = None,
    watch: Watch | None = None,
) -> tuple[float, float]:
    """Narrow the interval between a target that is impossible and one that may be possible.

    Parameters
    ----------
    impossible
        Whether a target is proved impossible; if so, every lower one is.
    low, high
        Ends of the interval.
    width
        Relative width of the interval at which to stop.
    most
        Targets asked about at most.
    probes
        Targets asked about before the interval is halved, those outside it left out, each with
        whether to end unless it is impossible.
    near
        Whether the two ends are near enough besides.
    watch
        Ends it early.

    Returns
    -------
    tuple of float
        The highest target found impossible, or `low`, and the lowest found not to be, or `high`.
    """
    asked = 0

    def closed() -> bool:
        return (
            asked >= most
            or (watch is not None and watch.stop is not None)
            or high - low <= width * high
            or (near is not None and near(low, high))
        )

    for target, needed in probes:
        if closed():
            return low, high
        if not low < target < high:
            continue
        asked += 1
        if impossible(target):
            low = target
        elif needed:
            return low, target
        else:
            high = target
    while not closed():
        target = (low + high) / 2
        if not low < target < high or math.isinf(target):
            break
        asked += 1
        if impossible(target):
            low = target
        else:
            high = target
    return low, high
