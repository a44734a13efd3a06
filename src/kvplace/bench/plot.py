"""Gap over time, drawn: how fast each solver gets where, and how much of it is proved."""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kvplace.bench.measure import Run, best_bounds
from kvplace.core.result import relative_gap
from kvplace.report.plots.canvas import canvas

FLOOR_PERCENT = 1e-4
"""Gaps below this are drawn at it; the axis is logarithmic and an optimum has gap 0."""
STEPS = 400
_STYLES = ("-", "--", "-.", ":")


def draw_gaps(runs: Sequence[Run], path: str) -> None:
    """Draw the mean gap of each solver over time into a file, as two panels.

    Left: value against the best bound that anyone has. Right: value against the solver's own
    bound at that time, which is what it could certify then. A curve starts when the solver has
    a value, or a value and a bound, for every case, and ends in a dot with its slowest run.

    Parameters
    ----------
    runs
        What was measured.
    path
        A ``.png``, ``.svg`` or ``.pdf`` file.

    Raises
    ------
    MissingExtraError
        Matplotlib is not installed.
    InputError
        The suffix is none of the three, or the file cannot be written.
    """
    bounds = best_bounds(runs)
    longest = max(run.outcome.seconds for run in runs)
    times = np.geomspace(1e-3, max(2e-3, longest), STEPS)
    panels: list[tuple[str, Callable[[Run, float, float], float]]] = [
        ("to the best bound of all", lambda run, value, _: relative_gap(value, bounds[run.case])),
        ("to the solver's own bound", lambda _, value, bound: relative_gap(value, bound)),
    ]
    with canvas(path, 10, 4.2) as figure:
        axes: Any = figure.subplots(1, 2, sharex=True, sharey=True)
        for axis, (title, gap_of) in zip(axes, panels, strict=True):
            for at, solver in enumerate(dict.fromkeys(run.solver for run in runs)):
                own = [run for run in runs if run.solver == solver]
                slowest = max(run.outcome.seconds for run in own)
                ended = np.append(times[times < slowest], slowest)
                gaps = np.array([mean_gap(own, float(t), gap_of) for t in ended]) * 100
                known = np.isfinite(gaps)
                drawn = np.maximum(gaps[known], FLOOR_PERCENT)
                # Curves that coincide stay visible: wide ones below, narrow and dashed ones above.
                style = {
                    "linestyle": _STYLES[at % len(_STYLES)],
                    "linewidth": max(1.2, 3 - 0.4 * at),
                }
                axis.plot(
                    ended[known], drawn, label=solver, drawstyle="steps-post",
                    marker="o", markersize=5, markevery=[-1] if known.any() else [], **style,
                )  # fmt: skip
            axis.set_xscale("log")
            axis.set_yscale("log")
            for scale in (axis.xaxis, axis.yaxis):
                scale.set_major_formatter("{x:g}")
                scale.set_minor_formatter("")
            axis.set_title(title, fontsize=10)
            axis.set_xlabel("seconds")
            axis.grid(visible=True, alpha=0.3)
        axes[0].set_ylabel(f"mean gap, % (drawn from {FLOOR_PERCENT:g})")
        axes[1].legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
        cases = len(bounds)
        families = ", ".join(dict.fromkeys(run.family for run in runs))
        figure.suptitle(f"{families}: {cases} case{'s' if cases > 1 else ''}", fontsize=11)


def mean_gap(
    runs: Sequence[Run], seconds: float, gap_of: Callable[[Run, float, float], float]
) -> float:
    """Return the mean gap of some runs at a time; ``inf`` before all of them have one.

    Parameters
    ----------
    runs
        Of one solver.
    seconds
        Since the start of each run.
    gap_of
        Gap of a run from its value and bound at that time.
    """
    total = 0.0
    for run in runs:
        trace = run.outcome.trace
        at = bisect_right(trace, (seconds, math.inf, math.inf)) - 1
        total += gap_of(run, *trace[at][1:]) if at >= 0 else math.inf
    return total / len(runs)
