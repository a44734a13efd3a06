"""The weighting of pressures whose least excess over some choices is largest: a small program."""

import numpy as np

from kvplace.solver.array_types import Floats


def best_weighting(cuts: Floats) -> tuple[Floats, float]:
    """Return the weighting whose least excess over some cuts is largest, and that excess.

    Parameters
    ----------
    cuts
        (c, pressures) the excess of each pressure over what there is, for c choices of options.

    Returns
    -------
    weighting
        (pressures,) not negative, with the sum 1.
    excess
        The least that it comes to over the cuts.
    """
    pressures = cuts.shape[1]
    if len(cuts) == 1:
        best = int(cuts[0].argmax())
        return np.eye(pressures)[best], float(cuts[0, best])
    if pressures == 2:  # the KV memory and the time of one window
        return _best_of_two(cuts)
    from kvplace.solver.column_generation import master  # noqa: PLC0415 - HiGHS: several windows

    highs = master.quiet_highs()
    infinite = highs.getInfinity()
    master.add_rows(highs, [1.0, *[0.0] * len(cuts)], [1.0, *[infinite] * len(cuts)])
    rows = range(1 + len(cuts))
    entries = [master.Entry(rows, (1.0, *cuts[:, at])) for at in range(pressures)]
    master.add_columns(highs, entries)
    # The excess itself, of either sign, is maximised.
    rest = np.arange(1, 1 + len(cuts), dtype=np.int32)
    highs.addCol(-1.0, -infinite, infinite, len(rest), rest, np.full(len(rest), -1.0))
    highs.run()
    value = np.array(highs.getSolution().col_value)
    weighting: Floats = np.maximum(value[:pressures], 0.0)
    return weighting / max(float(weighting.sum()), 1e-300), float(value[pressures])


def _best_of_two(cuts: Floats) -> tuple[Floats, float]:
    """Return what `best_weighting` does of two pressures.

    Each cut is a line over the part of the first one; the highest point below all lines is where
    two of them meet, or at an end.
    """
    slopes, heights = cuts[:, 0] - cuts[:, 1], cuts[:, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        meet = (heights - heights[:, None]) / (slopes[:, None] - slopes)
    parts = np.concatenate([meet[(meet > 0) & (meet < 1)], (0.0, 1.0)])
    least = (heights + parts[:, None] * slopes).min(axis=1)
    best = int(least.argmax())
    return np.array([parts[best], 1 - parts[best]]), float(least[best])
