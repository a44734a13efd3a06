"""Charts of the page as SVG that takes its colours from the page."""

import math
import sys
from collections.abc import Sequence
from typing import Any

from kvplace.core.result import Step
from kvplace.report.heat import kvpr_text, pressure_class
from kvplace.report.text import shorten_start

_WIDTH, _HEIGHT = 720, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 14, 34
_BARS, _NAMED = 64, 16
_LETTER = 6.6
"""Width of a letter of the labels."""
_POINTS = 400


def profile_chart(
    profile: Sequence[float],
    bound: float | None,
    before: Sequence[float] | None,
    *,
    occupancy: bool,
    gpus: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Return the KVPR of every GPU from the worst to the best, as shapes in a 720 x 230 box.

    Parameters
    ----------
    profile
        KVPRs, descending.
    bound
        No plan has a worst GPU below it; None where unknown.
    before
        Profile of the baseline; None without one.
    occupancy
        Whether a KVPR is a share.
    gpus
        Id and models of each GPU, in the order of the profile, to name the bars.

    Returns
    -------
    dict
        ``bars`` or ``area``, ``line`` of the baseline, ``ticks``, ``bound``, and sizes.
    """
    top = max([*profile[:1], *(before or [])[:1], bound or 0.0], default=0.0)
    ticks = _ticks(top)
    top = max(top, ticks[-1]) or 1.0
    wide = _WIDTH - _LEFT - _RIGHT

    def y(value: float) -> float:
        return round(_TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - min(value, top) / top), 2)

    count = len(profile)
    chart: dict[str, Any] = {
        "width": _WIDTH,
        "height": _HEIGHT,
        "left": _LEFT,
        "right": _WIDTH - _RIGHT,
        "floor": y(0.0),
        "ticks": [{"y": y(t), "text": kvpr_text(t, occupancy=occupancy)} for t in ticks],
        "bound": y(bound) if bound else None,
        "bars": [],
        "named": False,
        "areas": [],
        "line": "",
        "count": count,
    }
    if count <= _BARS:
        step = wide / count
        labelled = bool(gpus) and count <= _NAMED
        chart["named"] = labelled
        chart["bars"] = [
            {
                "x": round(_LEFT + step * index + step * 0.12, 2),
                "width": round(step * 0.76, 2),
                "y": y(value),
                "height": round(y(0.0) - y(value), 2),
                "class": pressure_class(value, profile[0], occupancy=occupancy),
                "middle": round(_LEFT + step * (index + 0.5), 2),
                "label": shorten_start(gpus[index][0], int(step / _LETTER)) if labelled else "",
                "says": ": ".join(gpus[index]) if gpus else "",
            }
            for index, value in enumerate(profile)
        ]
    else:
        chart["areas"] = _areas(profile, y, wide, occupancy=occupancy)
    if before:
        points = _thin([(index, value) for index, value in enumerate(before)])
        step = wide / len(before)
        path = "".join(
            f"{'L' if at else 'M'}{_LEFT + step * i:.1f} {y(v)}H{_LEFT + step * (i + 1):.1f}"
            for at, (i, v) in enumerate(points)
        )
        chart["line"] = path
    return chart


def _areas(profile: Sequence[float], y: Any, wide: float, *, occupancy: bool) -> list[Any]:
    """Return one area per class of pressure, for fleets too large for bars."""
    areas = []
    step = wide / len(profile)
    start = 0
    while start < len(profile):
        kind = pressure_class(profile[start], profile[0], occupancy=occupancy)
        end = start
        while end < len(profile) and (
            pressure_class(profile[end], profile[0], occupancy=occupancy) == kind
        ):
            end += 1
        points = _thin([(index, profile[index]) for index in range(start, end)])
        points.append((end, points[-1][1]))
        upper = "".join(f"L{_LEFT + step * i:.1f} {y(v)}" for i, v in points)
        path = f"M{_LEFT + step * start:.1f} {y(0.0)}{upper}L{_LEFT + step * end:.1f} {y(0.0)}Z"
        areas.append({"path": path, "class": kind})
        start = end
    return areas


def convergence_chart(
    steps: Sequence[Step], *, occupancy: bool, seconds: float = 0.0
) -> dict[str, Any] | None:
    """Return value and bound over the time of the search; None where neither ever changed.

    Parameters
    ----------
    steps
        Where a figure changed, oldest first.
    occupancy
        Whether a KVPR is a share.
    seconds
        How long the search took, which may be longer than until the last change.
    """
    found = [step for step in steps if math.isfinite(step.value) or step.bound > 0]
    values = [step.value for step in found if math.isfinite(step.value)]
    bounds = [step.bound for step in found if step.bound > 0]
    if len(set(values)) < 2 and len(set(bounds)) < 2:
        return None
    low, high = min(values + bounds), max(values + bounds)
    # The start may be far off: what matters is where the two meet.
    if values and bounds and high > 3 * values[-1] > 0:
        high = 3 * values[-1]
    pad = (high - low) * 0.08 or abs(high) * 0.05 or 1.0
    low, high = max(0.0, low - pad), high + pad
    span = max(found[-1].seconds, seconds) or 1.0
    wide, tall = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def point(time: float, value: float) -> tuple[float, float]:
        share = (min(max(value, low), high) - low) / (high - low)
        return _LEFT + wide * time / span, _TOP + tall * (1 - share)

    def path(pairs: list[tuple[float, float]]) -> str:
        text = ""
        for at, (time, value) in enumerate(pairs):
            x, y = point(time, value)
            text += f"M{x:.1f} {y:.1f}" if not at else f"H{x:.1f}V{y:.1f}"
        return text + f"H{_WIDTH - _RIGHT}"

    ticks = _between(low, high)
    return {
        "width": _WIDTH,
        "height": _HEIGHT,
        "left": _LEFT,
        "right": _WIDTH - _RIGHT,
        "floor": _HEIGHT - _BOTTOM,
        "ticks": [
            {"y": point(0, t)[1], "text": kvpr_text(t, occupancy=occupancy, exact=True)}
            for t in ticks
        ],
        "times": [
            {"x": _LEFT + wide * time / span, "text": f"{time:g} s"} for time in _between(0.0, span)
        ],
        "value": path([(s.seconds, s.value) for s in found if math.isfinite(s.value)]),
        "bound": path([(s.seconds, s.bound) for s in found if s.bound > 0]),
        "has_bound": bool(bounds),
    }


def _thin(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return at most some hundred points, the first and the last among them."""
    if len(points) <= _POINTS:
        return list(points)
    stride = len(points) / _POINTS
    chosen = [points[int(index * stride)] for index in range(_POINTS)]
    return [*chosen, points[-1]]


def _between(low: float, high: float) -> list[float]:
    """Return some round numbers from `low` to `high`."""
    step = _step((high - low) / 6)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def _step(raw: float) -> float:
    """Return the round number from `raw` up."""
    power: float = 10.0 ** math.floor(math.log10(raw))
    return next(power * part for part in (1, 2, 2.5, 5, 10) if power * part >= raw * 0.999)


def _ticks(top: float) -> list[float]:
    """Return three to six round numbers from 0 to at least `top`."""
    if not top > sys.float_info.min or math.isinf(top):
        return [0.0, 1.0]
    step = _step(top / 4)
    count = math.ceil(top / step - 1e-9)
    return [step * index for index in range(count + 1)]
