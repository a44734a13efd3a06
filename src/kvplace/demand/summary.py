"""From windows to figures: quantiles per model, and who peaks together."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kvplace.core.fact import Fact
from kvplace.demand.series import Array, DemandSeries, Latency
from kvplace.errors import InputError

_ENOUGH = 0.5  # a window observed for less than this share says too little about a rate
_ENOUGH_PEAKS = 3  # fewer common windows may be chance
_WHOLE, _ENOUGH_BENDS = 0.99, 20
"""Part of a window that must be observed, and windows in a row, to tell how requests vary."""
_BLOCK = 512  # models compared with all others at once
_TOGETHER = 0.5
"""Two models peak together when their peak windows overlap by this share (Jaccard index)."""


@dataclass(frozen=True, slots=True)
class ModelDemand:
    """What is asked of one model.

    Parameters
    ----------
    model
        Its name.
    requests_per_second
        The chosen quantile of the windows' rates.
    mean_rate, peak_rate
        Requests per second over all windows, and in the busiest.
    joint_peak_rate
        Requests per second in the windows in which all models together are busiest.
    prompt_tokens, output_tokens
        Mean of a request; None where unknown.
    cached_tokens
        Of the prompt tokens, those that a prefix cache held; None where unknown.
    latency
        What was observed.
    peaks_with
        Models whose own peak windows are mostly the same.
    dispersion
        Index of dispersion of its arrivals; None where too little is known.
    """

    model: str
    requests_per_second: Fact[float]
    mean_rate: float
    peak_rate: float
    joint_peak_rate: float
    prompt_tokens: Fact[float] | None
    output_tokens: Fact[float] | None
    latency: Latency
    peaks_with: tuple[str, ...] = ()
    cached_tokens: Fact[float] | None = None
    dispersion: Fact[float] | None = None


@dataclass(frozen=True, slots=True)
class JointPeak:
    """How much less the models ask for together than their peaks add up to.

    Parameters
    ----------
    sum_of_quantiles
        Requests per second if every model were at its own quantile at once.
    quantile_of_sum
        The same quantile of all models together.
    starts
        Begin of the windows in which all together are at or above that quantile of what presses
        on memory, busiest first.
    """

    sum_of_quantiles: float
    quantile_of_sum: float
    starts: tuple[float, ...]

    @property
    def share(self) -> float:
        """Quantile of the sum over sum of the quantiles: 1 when all peak at once."""
        return self.quantile_of_sum / self.sum_of_quantiles if self.sum_of_quantiles else 1.0


@dataclass(frozen=True, slots=True)
class DemandSummary:
    """Demand of every model and their joint peak.

    Parameters
    ----------
    models
        The busiest first: each with its name (``model``), ``requests_per_second`` at the quantile,
        ``mean_rate``, ``peak_rate``, ``prompt_tokens``, ``output_tokens`` and what else is known.
    joint
        How much less they ask for together than their quantiles add up to.
    quantile
        Share of the windows that the rates do not exceed.
    origin
        What was read.
    notes
        What to know about it.
    """

    models: tuple[ModelDemand, ...]
    joint: JointPeak
    quantile: float
    origin: str
    notes: tuple[str, ...]


def summarise(series: DemandSeries, quantile: float = 0.95) -> DemandSummary:
    """Work out the demand that a plan should be made for.

    A quantile of 0.95 is the smallest rate that 95 % of the windows do not exceed. A window that
    was observed for less than half of its length is joined to the one before it, so that no
    request is lost and the mean is never above the peak.

    Parameters
    ----------
    series
        Windows.
    quantile
        Above 0, up to 1 for the peak.

    Raises
    ------
    InputError
        The quantile is out of range.
    """
    if not 0 < quantile <= 1:
        raise InputError(f"the quantile {quantile!r} must be above 0 and at most 1")
    firsts = stretches(series)
    covered = np.add.reduceat(series.covered_seconds, firsts)
    rates = np.add.reduceat(series.requests, firsts, axis=1) / covered
    pressing = np.add.reduceat(series.pressing, firsts, axis=1) / covered
    quantiles = _quantile(rates, quantile)
    total = pressing.sum(axis=0)
    joint_windows = total >= _quantile(total[None, :], quantile)[0]
    busiest = np.flatnonzero(joint_windows)
    busiest = busiest[np.argsort(-total[busiest], kind="stable")]
    together = _peaking_together(pressing, quantile)
    count, share = len(covered), "peak" if quantile == 1 else f"{100 * quantile:g} % quantile"
    how = f"{share} of {count} window{'s' * (count > 1)} of {series.step_seconds:g} s"
    sums = series.requests.sum(axis=1)
    models = [
        ModelDemand(
            model=series.models[index],
            requests_per_second=Fact(float(quantiles[index]), f"{how}, {series.origin}"),
            mean_rate=float(sums[index] / series.total_seconds),
            peak_rate=float(rates[index].max()),
            joint_peak_rate=float(rates[index, joint_windows].mean()),
            prompt_tokens=_mean(series.prompt_tokens, sums, index, series.origin),
            output_tokens=_mean(series.output_tokens, sums, index, series.origin),
            latency=series.latencies.get(series.models[index], Latency()),
            peaks_with=tuple(series.models[other] for other in together[index]),
            cached_tokens=_mean(series.cached_tokens, sums, index, series.origin),
            dispersion=_dispersion(series, index),
        )
        for index in np.argsort(-quantiles, kind="stable")
    ]
    joint = JointPeak(
        float(quantiles.sum()),
        float(_quantile(rates.sum(axis=0)[None, :], quantile)[0]),
        tuple(float(start) for start in series.starts[firsts][busiest]),
    )
    return DemandSummary(tuple(models), joint, quantile, series.origin, series.notes)


def _dispersion(series: DemandSeries, index: int) -> Fact[float] | None:
    """Return the index of dispersion of one model's arrivals; None where too little is known.

    Variance over mean of the requests in a window. The variance is that of second differences,
    over 6, so that a demand that rises or falls evenly over three windows counts as steady.
    """
    whole = series.covered_seconds >= _WHOLE * series.step_seconds
    three = whole[:-2] & whole[1:-1] & whole[2:]
    counts = series.requests[index]
    bends = (counts[:-2] - 2 * counts[1:-1] + counts[2:])[three]
    means = ((counts[:-2] + counts[1:-1] + counts[2:]) / 3)[three]
    if len(bends) < _ENOUGH_BENDS or not means.sum() > 0:
        return None
    found = float((bends**2).sum() / (6 * means.sum()))
    how = f"of requests in windows of {series.step_seconds:g} s, {series.origin}"
    return Fact(found, f"variance over mean {how}")


def stretches(series: DemandSeries) -> NDArray[np.int64]:
    """Return the first window of each stretch: windows joined until enough was observed."""
    enough = series.covered_seconds >= _ENOUGH * series.step_seconds
    # What comes before the first window that says enough belongs to that one.
    joined = np.maximum(np.cumsum(enough) - 1, 0)
    return np.flatnonzero(np.diff(joined, prepend=-1))


def _quantile(rates: Array, quantile: float) -> Array:
    """Return the smallest rate of each row that a share `quantile` of it does not exceed."""
    result: Array = np.quantile(rates, quantile, axis=1, method="inverted_cdf")
    return result


def _mean(tokens: Array | None, sums: Array, index: int, origin: str) -> Fact[float] | None:
    """Return the mean tokens of a request of one model, if both are known."""
    if tokens is None or not sums[index] > 0:
        return None
    total = float(tokens[index].sum())
    return Fact(total / float(sums[index]), f"mean of {sums[index]:,.0f} requests, {origin}")


def _peaking_together(rates: Array, quantile: float) -> list[list[int]]:
    """Return for each model those whose peak windows overlap with its own.

    A peak window is one at or above the model's own quantile and above its mean. A model
    without variation has no peak.
    """
    threshold = np.maximum(_quantile(rates, quantile), np.nextafter(rates.mean(axis=1), np.inf))
    peaks = (rates >= threshold[:, None]).astype(np.float32)
    sizes = peaks.sum(axis=1)
    found: list[list[int]] = []
    for begin in range(0, len(peaks), _BLOCK):
        block = slice(begin, begin + _BLOCK)
        both = peaks[block] @ peaks.T
        either = sizes[block, None] + sizes - both
        share = np.divide(both, either, out=np.zeros_like(both), where=either > 0)
        for index, row in enumerate(share, start=begin):
            often = both[index - begin] >= _ENOUGH_PEAKS
            found.append([int(j) for j in np.flatnonzero(often & (row >= _TOGETHER)) if j != index])
    return found
