"""From samples of a counter to what it counted in each window."""

from collections.abc import Mapping

import numpy as np

from kvplace.demand.series import Array


def increments(
    values: Array, peaks: Mapping[int, float], births: Mapping[int, float]
) -> tuple[Array, int, int]:
    """Return what a counter counted between the points of a grid.

    A counter that restarts begins at 0 again: what it had counted up to its last peak is kept,
    and the new value added. A counter that is not seen for a while goes on counting: what it
    gained is spread evenly over the windows in between. One that is first seen amid the grid is
    counted from its first sample, since it is not known when it began.

    Parameters
    ----------
    values
        The counter at each point of the grid, NaN where it was not seen, shape (windows + 1,).
    peaks
        Highest value within the window that ends at a point, for windows with a restart.
    births
        Lowest value within the window that ends at a point, where the counter was not seen at
        the point before.

    Returns
    -------
    tuple
        What was counted in each window, shape (windows,); the restarts; the windows not seen.
    """
    counted = np.zeros(len(values) - 1)
    seen = np.flatnonzero(np.isfinite(values))
    if not len(seen):
        return counted, 0, 0
    begin = int(seen[0])
    if begin > 0:
        first = births.get(begin, float(values[begin]))
        # A first sample above the value means a restart in the same window.
        counted[begin - 1] = max(values[begin] - first, 0.0)
    before, after = values[seen[:-1]], values[seen[1:]]
    widths = np.diff(seen)
    gained = after - before
    peak = np.array([peaks.get(int(point), -np.inf) for point in seen[1:]])
    restarted = (gained < 0) | np.isfinite(peak)
    kept = np.where(peak > after, np.maximum(peak - before, 0.0), 0.0)
    gained = np.where(restarted, after + kept, gained)
    counted[begin : int(seen[-1])] += np.repeat(gained / widths, widths)
    return counted, int(restarted.sum()), int((widths - 1).sum())
