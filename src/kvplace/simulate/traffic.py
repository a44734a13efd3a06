"""Requests: drawn from the demand of a problem, or replayed from a log.

Every model has streams of its own, so that the same requests reach every plan, and a higher load
is the same requests in less time.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kvplace.core.models.model import Model
from kvplace.errors import Fault, InputError
from kvplace.forecast.forecast import MOST_FACTOR
from kvplace.solver.array_types import Floats, Ints

MOST_REQUESTS = 100_000_000
"""Requests that are drawn at most: they take some 16 GB."""
_EVEN = 1e-6
"""Gaps that vary by no more than this part are as good as even."""


@dataclass(frozen=True, slots=True, eq=False)
class ModelTraffic:
    """The requests of one model.

    Parameters
    ----------
    arrival
        (r,) seconds, ascending.
    prompt, output
        (r,) tokens, at least 1.
    prefix
        (r,) number of the beginning that the prompt shares with others; -1 for none.
    prefix_tokens
        (r,) its length.
    """

    arrival: Floats
    prompt: Ints
    output: Ints
    prefix: Ints
    prefix_tokens: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Traffic:
    """The requests of all models over a stretch of time.

    Parameters
    ----------
    models
        In the order of the problem.
    seconds
        Length of the stretch.
    """

    models: Sequence[ModelTraffic]
    seconds: float


def drawn(
    models: Sequence[Model],
    seconds: float,
    *,
    load: float = 1.0,
    seed: int = 0,
    burst: float = 1.0,
    prefix_share: float = 0.0,
    prefixes: int = 16,
) -> Traffic:
    """Draw requests: arrivals with gamma gaps, token counts lognormal around their means.

    Parameters
    ----------
    models
        With their demand.
    seconds
        Length of the stretch.
    load
        Factor on every rate.
    seed
        The same seed draws the same requests; another load only changes when they come.
    burst
        Coefficient of variation of the gaps between arrivals: 1 is Poisson, 0 even. Where a demand
        states its `dispersion`, the root of that is multiplied by it.
    prefix_share
        Part of each prompt that it shares with others; of a model whose demand states
        ``cached_tokens``, at least their part.
    prefixes
        Number of such beginnings per model.

    Raises
    ------
    InputError
        A model that is asked for gives no token counts, all of them at once; or there are more
        requests than `MOST_REQUESTS`.
    """
    faults = [
        Fault("requests cannot be drawn without token counts", f"{m.name}.demand.{name}")
        for m in models
        if m.demand.requests_per_second > 0
        for name, value in (
            ("prompt_tokens", m.demand.prompt_tokens), ("output_tokens", m.demand.output_tokens)
        )
        if value is None
    ]  # fmt: skip
    if faults:
        raise InputError(faults)
    expected = load * seconds * sum(m.demand.requests_per_second for m in models)
    if not expected <= MOST_REQUESTS:
        raise InputError(
            f"{expected:.2g} requests would be drawn, and at most {MOST_REQUESTS:,} are; simulate "
            "a shorter time, or a lower load"
        )
    found = [_draw(model, seconds, load, seed, burst, prefix_share, prefixes) for model in models]
    return Traffic(found, seconds)


def _draw(
    model: Model, seconds: float, load: float, seed: int, burst: float, share: float, prefixes: int
) -> ModelTraffic:
    rate = model.demand.requests_per_second * load
    if rate <= 0:
        return _none()
    key = zlib.crc32(model.name.encode())
    gaps, prompts, outputs, groups = (
        np.random.default_rng([seed, key, stream]) for stream in range(4)
    )
    # For a long time, gaps of that variation have the dispersion that the demand states.
    arrival = _arrivals(gaps, rate, seconds, burst * math.sqrt(model.demand.dispersion))
    count = len(arrival)
    asked = model.demand
    prompt = _lognormal(prompts, float(asked.prompt_tokens or 1), asked.prompt_cv, count)
    output = _lognormal(outputs, float(asked.output_tokens or 1), asked.output_cv, count)
    share = max(share, model.demand.cached_tokens / (model.demand.prompt_tokens or 1))
    if share <= 0:
        return ModelTraffic(arrival, prompt, output, np.full(count, -1), np.zeros(count, np.int64))
    group = groups.integers(0, prefixes, count)
    return ModelTraffic(arrival, prompt, output, group, (prompt * min(1.0, share)).astype(np.int64))


def _arrivals(rng: np.random.Generator, rate: float, seconds: float, burst: float) -> Floats:
    """Return arrival times, the first of a process that has been going on for long."""
    horizon = seconds * rate  # in mean gaps, so that the draws do not depend on the rate
    found: list[Floats] = []
    clock = 0.0
    if burst > _EVEN:
        shape = 1 / burst**2
        # In a process that runs since ever, the gap around time 0 is chosen by its length.
        clock = float(rng.gamma(shape + 1) * burst**2 * rng.random())
    else:
        clock = float(rng.random())
    found.append(np.array([clock]))
    while clock < horizon:
        gaps = rng.gamma(1 / burst**2, burst**2, 256) if burst > _EVEN else np.ones(256)
        times = clock + np.cumsum(gaps)
        found.append(times)
        clock = float(times[-1])
        if len(found) > MOST_REQUESTS / len(gaps):
            raise InputError(
                f"more than {MOST_REQUESTS:,} requests come at once in a burst; state a smaller "
                "dispersion of the demand, or burst factor"
            )
    times = np.concatenate(found)
    kept: Floats = times[times < horizon] / rate
    return kept


def _lognormal(rng: np.random.Generator, mean: float, cv: float, count: int) -> Ints:
    """Return whole token counts of at least 1."""
    variance = math.log1p(cv**2)
    drawn_ = rng.lognormal(math.log(max(mean, 1.0)) - variance / 2, variance**0.5, count)
    return np.maximum(1, np.rint(drawn_)).astype(np.int64)


def _none() -> ModelTraffic:
    empty = np.zeros(0, np.int64)
    return ModelTraffic(np.zeros(0), empty, empty, empty, empty)


def replayed(
    names: Sequence[str],
    requests: Mapping[str, tuple[Floats, Ints, Ints]],
    *,
    load: float = 1.0,
    seconds: float | None = None,
) -> Traffic:
    """Replay requests of a log.

    Parameters
    ----------
    names
        Models in the order of the problem; those without requests stay idle.
    requests
        By model: arrival times, prompt tokens and output tokens.
    load
        How much faster than in the log they come.
    seconds
        Length of the log; up to its last request where None.

    Raises
    ------
    InputError
        The log has requests of none of the models.
    """
    if not any(name in requests and len(requests[name][0]) for name in names):
        raise InputError("the log has requests of none of the models")
    found = []
    for name in names:
        if name not in requests:
            found.append(_none())
            continue
        time, prompt, output = requests[name]
        order = np.argsort(time, kind="stable")
        count = len(order)
        found.append(
            ModelTraffic(
                time[order] / load,
                np.maximum(1, prompt[order]).astype(np.int64),
                np.maximum(1, output[order]).astype(np.int64),
                np.full(count, -1),
                np.zeros(count, np.int64),
            )
        )
    last = max(float(one.arrival[-1]) for one in found if len(one.arrival))
    return Traffic(found, last if seconds is None else seconds / load)


@dataclass(frozen=True, slots=True)
class Drawn:
    """Requests by load and seed, drawn from demands: a function that processes can hand on.

    Parameters
    ----------
    models, seconds, burst, prefix_share
        As in `drawn`.
    stretched
        Whether a load below 1 gets a stretch as much longer: the same requests, so that its
        attainment is as certain as that of the stated demand.

    Raises
    ------
    InputError
        The time or the burst factor means nothing.
    """

    models: Sequence[Model]
    seconds: float
    burst: float = 1.0
    prefix_share: float = 0.0
    stretched: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.seconds < math.inf or not 0 <= self.burst <= MOST_FACTOR:
            raise InputError(
                f"the time must be above 0 and the burst factor from 0 to {MOST_FACTOR:,.0f}, not "
                f"{self.seconds} and {self.burst}"
            )

    def __call__(self, load: float, seed: int) -> Traffic:
        """Return the requests of one load and seed."""
        seconds = self.seconds / min(1.0, load) if self.stretched else self.seconds
        return drawn(
            self.models, seconds, load=load, seed=seed, burst=self.burst,
            prefix_share=self.prefix_share,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Replayed:
    """Requests of a log by load, whatever the seed: a function that processes can hand on.

    Parameters
    ----------
    names, requests
        As in `replayed`.
    """

    names: Sequence[str]
    requests: Mapping[str, tuple[Floats, Ints, Ints]]

    def __call__(self, load: float, seed: int) -> Traffic:  # noqa: ARG002 - a log has no seed
        """Return the log at one load."""
        return replayed(self.names, self.requests, load=load)
