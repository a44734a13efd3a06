"""A few windows that stand for many: the joint peaks that matter to a placement.

What matters of a window is how high it drives groups of models that might share a GPU. Random
groups are drawn, and of many models the half with the lower peaks is left out: they limit no plan.
For each group the peak over all windows is known. A choice of windows is worth the share of that
peak that the chosen ones reach, on average over the groups. That is the facility location function,
monotone and submodular, so taking the best window again and again reaches at least 1 - 1/e of the
best choice (Nemhauser, Wolsey and Fisher, An analysis of approximations for maximizing submodular
set functions, Mathematical Programming 14, 1978, doi:10.1007/BF01588971). What a choice loses is
measured on other groups than those it was made for.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from kvplace.demand.series import Array, DemandSeries
from kvplace.demand.summary import stretches
from kvplace.errors import InputError

GROUPS = 4_000
"""Random groups of which the half with the higher peaks counts; as many others measure the loss."""
GROUP_MOST = 8
"""Models of the largest group."""
FEW = 16
"""Models up to which all groups count: of so few, each may have a GPU to itself."""
EPOCH_FROM = 1e8
"""Starts above it are seconds since 1970; below they count from the start of the log."""
HOUR, DAY = 3600.0, 86400.0
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class Calendar(StrEnum):
    """Windows by the calendar: the mean of what was asked in each hour or on each weekday."""

    HOUR = "hour"
    WEEKDAY = "weekday"


@dataclass(frozen=True, slots=True, eq=False)
class DemandWindow:
    """What is asked of every model in one window.

    Parameters
    ----------
    name
        Such as ``2026-08-01T14:00``, or ``14h`` of an hour of the day.
    weight
        Share of the observed time that it stands for.
    requests_per_second
        Shape (models,).
    prompt_tokens, output_tokens
        Mean of a request, shape (models,), ``nan`` where there was none; None where unknown.
    """

    name: str
    weight: float
    requests_per_second: Array
    prompt_tokens: Array | None
    output_tokens: Array | None


@dataclass(frozen=True, slots=True)
class PeakLoss:
    """How much lower the peak of a group is in the chosen windows than in all, as a share of it.

    Measured on random groups of 1 to `GROUP_MOST` models that the choice was not made for, the half
    with the higher peaks.

    Parameters
    ----------
    mean, most
        Over the groups.
    exceeded
        The loss that 5 % of the groups exceed.
    """

    mean: float
    exceeded: float
    most: float


@dataclass(frozen=True, slots=True)
class DemandWindows:
    """Demand as a list of windows.

    Parameters
    ----------
    models
        Names, in the order of the windows' arrays.
    windows
        In the order of time.
    loss
        What planning for these windows in place of all of them overlooks.
    of
        Number of windows that were chosen from or averaged over.
    origin
        Where the figures come from.
    """

    models: tuple[str, ...]
    windows: tuple[DemandWindow, ...]
    loss: PeakLoss
    of: int
    origin: str


def choose_windows(
    series: DemandSeries, wanted: int | Calendar, quantile: float = 1.0, seed: int = 0
) -> DemandWindows:
    """Choose or average windows.

    Parameters
    ----------
    series
        Windows observed.
    wanted
        How many to choose, or the calendar to average by.
    quantile
        Above 0, up to 1: of each group the peak is the smallest total that this share of the
        windows does not exceed; what is above it counts no more.
    seed
        Of the random groups.

    Raises
    ------
    InputError
        The number or the quantile is out of range.
    """
    if not 0 < quantile <= 1:
        raise InputError(f"the quantile {quantile!r} must be above 0 and at most 1")
    if not isinstance(wanted, Calendar) and wanted < 1:
        raise InputError(f"{wanted} windows are asked for; it must be at least 1")
    firsts = stretches(series)
    covered = np.add.reduceat(series.covered_seconds, firsts)
    pressing = np.add.reduceat(series.pressing, firsts, axis=1) / covered
    starts = series.starts[firsts]
    groups = _Groups(pressing, quantile, seed)
    if isinstance(wanted, Calendar):
        names, of = _calendar(starts, wanted)
    else:
        chosen = groups.choose(min(wanted, len(firsts)))
        names, of = _named(starts[chosen], series.step_seconds), _nearest(pressing, chosen)
    weights = np.bincount(of, weights=covered, minlength=len(names)) / covered.sum()
    members = (
        [np.flatnonzero(of == at) for at in range(len(names))]
        if isinstance(wanted, Calendar)
        else [np.array([at]) for at in chosen]
    )
    windows = tuple(
        _window(series, firsts, covered, where, name, float(weight))
        for where, name, weight in zip(members, names, weights, strict=True)
    )
    averaged = np.column_stack(
        [pressing[:, where] @ covered[where] / covered[where].sum() for where in members]
    )
    loss = groups.loss(averaged)
    return DemandWindows(series.models, windows, loss, len(firsts), series.origin)


class _Groups:
    """Random groups of models, and how high each window drives them.

    Parameters
    ----------
    pressing
        (models, windows) what presses on GPUs.
    quantile, seed
        As in `choose_windows`.
    """

    def __init__(self, pressing: Array, quantile: float, seed: int) -> None:
        self._pressing, self._quantile = pressing, quantile
        random = np.random.default_rng(seed)
        self._chosen_for, self._measured_on = self._draw(random), self._draw(random)

    def _draw(self, random: np.random.Generator) -> list[NDArray[np.int64]]:
        """Return random groups; of many models, the half with the higher peaks."""
        n = len(self._pressing)
        sizes = random.integers(1, min(GROUP_MOST, n) + 1, GROUPS)
        groups = [random.choice(n, size, replace=False) for size in sizes.tolist()]
        peaks = _quantiles(_totals(groups, self._pressing), self._quantile)
        kept = GROUPS if n <= FEW else GROUPS // 2
        higher = np.argsort(-peaks, kind="stable")[:kept]
        return [groups[at] for at in higher.tolist()]

    def choose(self, count: int) -> list[int]:
        """Return the windows that drive the groups nearest to their peaks, in the order of time."""
        totals = _totals(self._chosen_for, self._pressing)
        peaks = _quantiles(totals, self._quantile)
        shares = np.minimum(totals[peaks > 0] / peaks[peaks > 0, None], 1.0)
        reached = np.zeros(len(shares))
        chosen: list[int] = []
        for _ in range(count):
            gains = np.maximum(shares, reached[:, None]).sum(axis=0)
            gains[chosen] = -1.0
            best = int(gains.argmax())
            if chosen and gains[best] <= reached.sum() * (1 + 1e-12):
                break  # every group's peak is reached
            chosen.append(best)
            reached = np.maximum(reached, shares[:, best])
        return sorted(chosen)

    def loss(self, averaged: Array) -> PeakLoss:
        """Return what some windows, (models, windows), miss of the peaks of the other groups."""
        peaks = _quantiles(_totals(self._measured_on, self._pressing), self._quantile)
        reached = _totals(self._measured_on, averaged).max(axis=1)
        known = peaks > 0
        if not known.any():
            return PeakLoss(0.0, 0.0, 0.0)
        lost = np.maximum(0.0, 1 - reached[known] / peaks[known])
        return PeakLoss(float(lost.mean()), float(np.quantile(lost, 0.95)), float(lost.max()))


def _totals(groups: Sequence[NDArray[np.int64]], pressing: Array) -> Array:
    """Return (groups, windows) what the models of a group press together."""
    return np.array([pressing[group].sum(axis=0) for group in groups])


def _quantiles(totals: Array, quantile: float) -> Array:
    """Return the smallest total of each row that a share `quantile` of it does not exceed."""
    found: Array = np.quantile(totals, quantile, axis=1, method="inverted_cdf")
    return found


def _window(
    series: DemandSeries,
    firsts: NDArray[np.int64],
    covered: Array,
    where: NDArray[np.int64],
    name: str,
    weight: float,
) -> DemandWindow:
    """Return the mean demand of some stretches."""
    requests = np.add.reduceat(series.requests, firsts, axis=1)[:, where].sum(axis=1)

    def mean(tokens: Array | None) -> Array | None:
        if tokens is None:
            return None
        total = np.add.reduceat(tokens, firsts, axis=1)[:, where].sum(axis=1)
        found: Array = np.full(len(total), np.nan)
        np.divide(total, requests, out=found, where=requests > 0)
        return found

    rates = requests / covered[where].sum()
    return DemandWindow(name, weight, rates, mean(series.prompt_tokens), mean(series.output_tokens))


def _nearest(pressing: Array, chosen: Sequence[int]) -> NDArray[np.int64]:
    """Return for every window the position of the chosen one that is most like it."""
    scale = pressing.max(axis=1, keepdims=True)
    shape = np.divide(pressing, scale, out=np.zeros_like(pressing), where=scale > 0)
    distances = [np.abs(shape - shape[:, [at]]).sum(axis=0) for at in chosen]
    nearest: NDArray[np.int64] = np.argmin(np.array(distances), axis=0)
    return nearest


def _calendar(starts: Array, calendar: Calendar) -> tuple[list[str], NDArray[np.int64]]:
    """Return the windows of a calendar that occur, and to which of them each start belongs."""
    if calendar is Calendar.HOUR:
        at = (starts % DAY // HOUR).astype(np.int64)
        names = [f"{hour:02d}h" for hour in range(24)]
    else:
        # 1970 began on a Thursday; a log that counts from its start begins with a day 1.
        real = starts.size > 0 and starts[0] >= EPOCH_FROM
        at = (starts // DAY + (3 if real else 0)).astype(np.int64) % 7
        names = list(_WEEKDAYS) if real else [f"day-{day + 1}" for day in range(7)]
    present, of = np.unique(at, return_inverse=True)
    return [names[value] for value in present.tolist()], of


def _named(starts: Array, step: float) -> list[str]:
    """Name windows by their begin."""
    if starts.size and starts[0] < EPOCH_FROM:
        return [f"{int(s // DAY)}d{int(s % DAY // HOUR):02d}h{int(s % HOUR // 60):02d}m" + (
            f"{int(s % 60):02d}s" if step < 60 else "") for s in starts.tolist()]  # fmt: skip
    form = "%Y-%m-%dT%H:%M:%S" if step < 60 else "%Y-%m-%dT%H:%M"
    utc = dt.UTC
    return [dt.datetime.fromtimestamp(s, utc).strftime(form) for s in starts.tolist()]
