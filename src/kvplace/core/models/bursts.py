"""Bursts: a quantile of what a GPU's models need at a time, as loads that add up.

Requests in the system are a random number. Their mean is ``N = r S`` by Little's law, with ``r``
requests/s that stay for ``S = TTFT + output x TPOT``. Their variance is ``z N`` with the peakedness
``z`` of their arrivals where nobody waits. Arrivals are given by their index of dispersion ``I``,
variance over mean of the requests in a long time; 1 is Poisson. Gaps of a gamma distribution with
that index and stays of an exponential one have ::

    z = 1 / (1 - f) - N,    f = (1 + I / N)^(-1 / I)

(L. Takacs, Introduction to the Theory of Queues, 1962). For large N that is ``1 + (I - 1) /
2``. For other stays the half becomes ``k``, the integral of ``P(stay > t)^2`` over the mean
stay (W. Whitt, Heavy-traffic approximations for service systems with blocking, AT&T Bell
Laboratories Technical Journal 63, 1984). Stays are taken as log-normal with the spread of the
output, for which ``k = erfc(s / 2)`` and ``s^2 = log(1 + cv^2)``, and ``z - 1`` is scaled by
``2 k``. A copy with the part ``p`` of the requests sees the dispersion ``1 + p (I - 1)``. What
requests hold differs too: with ``c`` its coefficient of variation over requests at a random
time, the KV memory in use has a variance over squared mean of ``(z + c^2) / N``, and the time
needed one of ``z / N``. ``c`` is that of tokens; fixed state and sliding windows vary less.

Of models that share a GPU means and variances add up; quantiles don't. The quantile of their sum is
``M + q sqrt(V)``, with ``q`` that of the normal distribution. A model's load is its share of that
on a GPU that is exactly full at the quantile and has the fleet's ratio of mean to variance. Its
standard deviation there is the ``sigma`` with ``(M/V) sigma^2 + q sigma = room``. The load is ::

    mean + q min(sd, sd^2 / sigma)

So the load of a model that is alone on its GPU and varies by more than that is its own quantile;
loads of models that share a full GPU of the fleet's kind add up to the quantile of their sum; on a
GPU that varies more they add up to more than it, on one that varies less to less. This is the
tangent plane of the set of mixes that fit, as with effective bandwidths (F. P. Kelly, Notes on
effective bandwidths, 1996). Loads fall where GPUs are added. Without a quantile, loads are means.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from kvplace.core.models.demand import Demand
from kvplace.core.models.model import Model

_MANY, _EVEN = 1e6, 1e-6
"""Requests from which the limit is exact enough, and dispersions below which gaps are even: beyond
them the difference loses its digits."""
_NONE = 1e-100
"""Requests in the system on average up to which a model is as without demand: one over it, as the
spread is, may be beyond all numbers."""
_STEPS = 2**40
"""Steps of a relative margin, so that machines whose roots differ in the last bit plan alike."""


class Spread(NamedTuple):
    """How much what a copy needs varies: variance over squared mean.

    Parameters
    ----------
    memory
        Of its KV bytes in use.
    time
        Of the share of time that it needs.
    """

    memory: float = 0.0
    time: float = 0.0


def spread_of(model: Model, demand: Demand, part: float = 1.0) -> Spread:
    """Return how much what a copy needs varies.

    Parameters
    ----------
    model
        With its latency objectives.
    demand
        What is asked of all its copies.
    part
        Part of the requests that the copy gets.

    Returns
    -------
    Spread
        0 where there is no demand, or where the stay of a request cannot be known.
    """
    prompt, output = demand.prompt_tokens, demand.output_tokens
    ttft, tpot = model.slo.ttft_seconds, model.slo.tpot_seconds
    if prompt is None or output is None or ttft is None or tpot is None:
        return Spread()
    number = demand.requests_per_second * part * (ttft + output * tpot)
    if number <= _NONE:
        return Spread()
    spread = math.log1p(demand.output_cv**2)
    bursts = _peakedness(1 + part * (demand.dispersion - 1), number) - 1
    peakedness = 1 + 2 * math.erfc(math.sqrt(spread) / 2) * bursts
    return Spread((peakedness + demand.held_variation) / number, peakedness / number)


def _peakedness(dispersion: float, number: float) -> float:
    """Return variance over mean of the requests in the system, for exponential stays."""
    if number > _MANY:
        return 1 + (dispersion - 1) / 2
    even = dispersion < _EVEN
    log = -1 / number if even else -math.log1p(dispersion / number) / dispersion
    return -1 / math.expm1(log) - number


@cache
def _deviations(quantile: float) -> float:
    """Return how many standard deviations a quantile of a normal variable is above its mean."""
    from statistics import NormalDist  # noqa: PLC0415 - only where one plans for a quantile

    return NormalDist().inv_cdf(quantile)


def margin_sigma(quantile: float, mean: float, variance: float, room: float) -> float:
    """Return the standard deviation of what is needed on a GPU that is full at the quantile.

    Parameters
    ----------
    quantile
        Above 0.5, below 1.
    mean, variance
        Of what all models of the fleet need, whose ratio the GPU has.
    room
        What a GPU has.
    """
    if variance <= 0 or room <= 0:
        return 0.0
    z, ratio = _deviations(quantile), mean / variance
    return (math.sqrt(z * z + 4 * ratio * room) - z) / (2 * ratio) if ratio else room / z


class Margins(NamedTuple):
    """What is added to means so that they stand for a quantile.

    Parameters
    ----------
    quantile
        Share of the time in which what is needed is to be there, above 0.5 and below 1.
    memory
        (windows,) `margin_sigma` of KV bytes.
    time
        (types, windows) the same of shares of time.
    """

    quantile: float
    memory: Sequence[float]
    time: Sequence[Sequence[float]]

    def load(self, mean: float, spread: Spread, window: int) -> float:
        """Return the KV bytes of a shard for the quantile."""
        return self._widened(mean, spread.memory, self.memory[window])

    def share(self, mean: float, spread: Spread, gpu_type: int, window: int) -> float:
        """Return the share of time of a shard for the quantile."""
        return self._widened(mean, spread.time, self.time[gpu_type][window])

    def _widened(self, mean: float, spread: float, sigma: float) -> float:
        if mean <= 0 or spread <= 0:
            return mean
        deviation = mean * math.sqrt(spread)
        margin = deviation * min(1.0, deviation / sigma) if sigma > 0 else deviation
        relative = _deviations(self.quantile) * margin / mean
        return mean * (1 + round(relative * _STEPS) / _STEPS)
