"""Counters and histograms of inference engines, read from Prometheus on a grid of time."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kvplace.core.fact import Fact
from kvplace.demand.prometheus.client import PrometheusClient
from kvplace.demand.prometheus.counters import increments
from kvplace.demand.prometheus.engines import (
    MODEL_LABELS,
    RANK_LABELS,
    STAND_INS,
    Family,
    Metric,
    part_of,
)
from kvplace.demand.series import Array, Latency, check_cells
from kvplace.errors import InputError

_POINTS = 2000  # per request: a fifth of what a server allows per series

Labels = tuple[tuple[str, str], ...]
Seen = NDArray[np.bool_]


@dataclass(slots=True)
class Counter:
    """Samples of one series on the grid."""

    values: Array
    peaks: dict[int, float] = field(default_factory=dict)
    births: dict[int, float] = field(default_factory=dict)


@dataclass(slots=True)
class Tally:
    """What the counters of one role counted, by model, and what went on meanwhile.

    ``parts`` holds the same by model and by what its workers do: prefill, decode, or both (empty).
    """

    counted: dict[str, Array] = field(default_factory=dict)
    seen: dict[str, Seen] = field(default_factory=dict)
    parts: dict[str, dict[str, Array]] = field(default_factory=dict)
    restarts: int = 0
    gaps: int = 0

    def count_once(self, role: str) -> list[str]:
        """Leave out what prefill and decode workers of a model both count; return such models.

        Prompts are counted by the prefill workers, all else by the decode workers.
        """
        twice = []
        keep = "prefill" if role == "prompt_tokens" else "decode"
        for model, parts in self.parts.items():
            if {"prefill", "decode"} <= parts.keys():
                twice.append(model)
                drop = parts["decode" if keep == "prefill" else "prefill"]
                self.counted[model] = np.maximum(self.counted[model] - drop, 0.0)
        return twice


@dataclass(frozen=True, slots=True)
class Grid:
    """Points of time, `step` apart, from `start` to `end`."""

    start: float
    end: float
    step: float

    @property
    def windows(self) -> int:
        """Windows between the points."""
        return round((self.end - self.start) / self.step)

    def point(self, time: float) -> int:
        """Return the number of the point at a time."""
        return round((time - self.start) / self.step)


@dataclass(slots=True)
class Reader:
    """Reads metrics from one server on one grid."""

    client: PrometheusClient
    grid: Grid
    matchers: tuple[str, ...]
    models: frozenset[str]
    stood_in: set[str] = field(default_factory=set)

    def tally(self, metrics: tuple[Metric, ...]) -> Tally:
        """Count what the counters of one role counted."""
        tally = Tally()
        for metric in metrics:
            # By labels, so that one counter under an old and a new name is counted once.
            done: dict[Labels, list[tuple[Array, Seen]]] = {}
            for name in self.existing(metric.spellings("_total", "")):
                for labels, counter in self._counters(name).items():
                    self._add(tally, labels, counter, done)
        return tally

    def existing(self, names: Sequence[str]) -> list[str]:
        """Return those of the names that the server knows, in order."""
        known = self.client.names(
            self._selector("|".join(names), regex=True), self.grid.start, self.grid.end
        )
        return [name for name in names if name in known]

    def _selector(self, name: str, *, regex: bool = False) -> str:
        parts = [f'__name__{"=~" if regex else "="}"{name}"', *self.matchers]
        return "{" + ", ".join(parts) + "}"

    def _counters(self, name: str) -> dict[Labels, Counter]:
        """Read all series of one metric, a stretch of the grid at a time."""
        selector, step = self._selector(name), f"{self.grid.step:g}s"
        within = f"{selector}[{step}]"
        found: dict[Labels, Counter] = {}
        stretch = _POINTS * self.grid.step
        begin = self.grid.start
        while begin <= self.grid.end:
            end = min(begin + stretch - self.grid.step, self.grid.end)
            for counter, point, value in self._samples(selector, begin, end, found):
                counter.values[point] = value
            # Only series that ended, appeared or restarted within a step come back from these.
            ended = f"last_over_time({within}) unless {selector}"
            for counter, point, value in self._samples(ended, begin, end, found):
                counter.values[point] = value
            born = f"min_over_time({within}) unless {selector} offset {step}"
            for counter, point, value in self._samples(born, begin, end, found):
                counter.births[point] = value
            restarted = f"max_over_time({within}) and resets({within}) > 0"
            for counter, point, value in self._samples(restarted, begin, end, found):
                counter.peaks[point] = value
            begin = end + self.grid.step
        return found

    def _samples(
        self, query: str, begin: float, end: float, found: dict[Labels, Counter]
    ) -> Iterator[tuple[Counter, int, float]]:
        """Yield each sample of a query with its counter, which is added where it is new."""
        for labels, samples in self.client.range(query, begin, end, self.grid.step):
            key = _key(labels)
            if key not in found:
                check_cells(len(found) + 1, self.grid.windows, self.grid.step, self.client.source)
                found[key] = Counter(np.full(self.grid.windows + 1, np.nan))
            for time, value in samples:
                point = self.grid.point(time)
                if not 0 <= point <= self.grid.windows:
                    raise InputError(
                        f"it answers for another time than was asked ({time:g})", self.client.source
                    )
                if math.isfinite(value):
                    yield found[key], point, value

    def _add(
        self,
        tally: Tally,
        labels: Labels,
        counter: Counter,
        done: dict[Labels, list[tuple[Array, Seen]]],
    ) -> None:
        """Add one series to its model."""
        named = dict(labels)
        if any(named.get(rank, "0") != "0" for rank in RANK_LABELS):
            return
        model = self._model(named)
        if model is None:
            return
        counted, restarts, gaps = increments(counter.values, counter.peaks, counter.births)
        seen = np.isfinite(counter.values)
        for other, other_seen in done.get(labels, []):
            # One counter under two names at once is seen at the same points; of a counter that
            # was renamed, the old name ends where the new one begins, and both count.
            alike = seen == other_seen
            counted = np.where((other > 0) & alike[:-1] & alike[1:], 0.0, counted)
        done.setdefault(labels, []).append((counted, seen))
        empty = np.zeros(self.grid.windows)
        tally.counted[model] = tally.counted.get(model, empty) + counted
        parts, part = tally.parts.setdefault(model, {}), part_of(named)
        parts[part] = parts.get(part, empty) + counted
        tally.seen[model] = tally.seen.get(model, np.zeros_like(seen)) | seen
        tally.restarts += restarts
        tally.gaps += gaps

    def _model(self, labels: dict[str, str]) -> str | None:
        """Return the model of a series, or None where it is not one of those asked for."""
        named = (*MODEL_LABELS, *STAND_INS)
        model = next((labels[name] for name in named if labels.get(name)), None)
        if model is None:
            shown = ", ".join(f"{k}={v}" for k, v in sorted(labels.items()))[:200]
            raise InputError(
                f"a series has none of the labels {', '.join(named)}: {shown}", self.client.source
            )
        if not any(labels.get(name) for name in MODEL_LABELS):
            self.stood_in.add(model)
        return model if not self.models or model in self.models else None

    def latencies(self, family: Family, quantile: float) -> dict[str, Latency]:
        """Return the observed latencies by model."""
        ttft = self._histogram(family.ttft, quantile)
        tpot = self._histogram(family.tpot, quantile)
        return {model: Latency(ttft.get(model), tpot.get(model)) for model in {*ttft, *tpot}}

    def _histogram(self, metrics: tuple[Metric, ...], quantile: float) -> dict[str, Fact[float]]:
        """Return a quantile of a histogram by model; the first name that has a model tells."""
        found: dict[str, Fact[float]] = {}
        span = f"{self.grid.end - self.grid.start:g}s"
        for metric in metrics:
            for name in self.existing(metric.spellings("_bucket")):
                query = (
                    f"histogram_quantile({quantile!r}, sum by (le, {', '.join(MODEL_LABELS)}) "
                    f"(rate({self._selector(name)}[{span}])))"
                )
                origin = f"{100 * quantile:g} % quantile of {name.removesuffix('_bucket')}"
                for labels, samples in self.client.instant(query, self.grid.end):
                    model, value = self._model(labels), samples[0][1]
                    if model is not None and math.isfinite(value):
                        found.setdefault(model, Fact(value, f"{origin}, {self.client.source}"))
        return found


def _key(labels: dict[str, str]) -> Labels:
    """Return the labels that tell one counter from another, without its name."""
    return tuple(sorted((k, v) for k, v in labels.items() if k != "__name__"))
