"""Demand from Prometheus: what engines and gateways exported, window by window."""

import math
import re
from collections.abc import Sequence

import numpy as np

from kvplace.demand.prometheus.client import Access, PrometheusClient
from kvplace.demand.prometheus.engines import ENGINES, GATEWAYS, UNREADABLE, Family
from kvplace.demand.prometheus.scrape import Grid, Reader, Tally
from kvplace.demand.series import Array, DemandSeries, Latency
from kvplace.errors import Fault, InputError

DEFAULT_STEP_SECONDS = 300.0
DEFAULT_LATENCY_QUANTILE = 0.9
_MATCHER = re.compile(r'[a-zA-Z_]\w*\s*(=|!=|=~|!~)\s*"(?:[^"\\]|\\.)*"')


def read_prometheus(
    url: str,
    *,
    end: float,
    window_seconds: float = 7 * 86400.0,
    step_seconds: float = DEFAULT_STEP_SECONDS,
    matchers: Sequence[str] = (),
    models: Sequence[str] = (),
    latency_quantile: float = DEFAULT_LATENCY_QUANTILE,
    access: Access | None = None,
) -> DemandSeries:
    """Read what was asked of every model over a window of time.

    Counters are read on a grid and turned into counts here, not by ``rate()``: nothing is
    extrapolated, restarts are counted through, and what a counter gained while it was not
    scraped is kept. Prompt tokens that the prefix cache answered are told apart.

    Parameters
    ----------
    url
        Address before ``/api/v1``.
    end
        End of the window, seconds since 1970.
    window_seconds, step_seconds
        Its length, and the length of the windows in it.
    matchers
        Label matchers, such as ``namespace="prod"``.
    models
        Only these; all where empty.
    latency_quantile
        Quantile of the observed latencies.
    access
        Authentication, TLS, timeout and retries.

    Raises
    ------
    InputError
        The server cannot be read, knows no such metric, or lacks a figure of a model.
    MissingExtraError
        The extra is not installed.
    """
    faults = [
        f'{matcher!r} is no label matcher; write it like namespace="prod"'
        for matcher in matchers
        if not _MATCHER.fullmatch(matcher)
    ]
    if window_seconds < 2 * step_seconds:
        faults.append(f"--window {window_seconds:g} s is less than two steps of {step_seconds:g} s")
    if faults:
        raise InputError(faults)
    last = math.floor(end / step_seconds) * step_seconds
    grid = Grid(last - math.floor(window_seconds / step_seconds) * step_seconds, last, step_seconds)
    with PrometheusClient(url, access) as client:
        reader = Reader(client, grid, tuple(matchers), frozenset(models))
        for family in (ENGINES, GATEWAYS):
            tallies = {role: reader.tally(metrics) for role, metrics in family.roles.items()}
            if tallies["requests"].counted:
                latencies = reader.latencies(family, latency_quantile)
                return _assemble(client.source, grid, tallies, latencies, _said(reader, family))
        raise _nothing(reader, matchers, models)


def _said(reader: Reader, family: Family) -> list[str]:
    """Return notes on where the figures come from."""
    notes = []
    if family is GATEWAYS:
        notes.append("no engine is seen; requests are counted where a gateway takes them")
    if reader.stood_in:
        names = ", ".join(sorted(reader.stood_in)[:5])
        notes.append(f"the engine names no model, so its service stands for it: {names}")
    return notes


def _nothing(reader: Reader, matchers: Sequence[str], models: Sequence[str]) -> InputError:
    """Return the error that there is no request, and what was looked for."""
    metrics = (*ENGINES.roles["requests"], *GATEWAYS.roles["requests"])
    looked = ", ".join(metric.spellings("_total")[0] for metric in metrics)
    counts_none = (
        "; llama.cpp is seen, which counts no requests, so take a log of them"
        if reader.existing(UNREADABLE.spellings("_total"))
        else ""
    )
    return InputError(
        f"no request of a known engine or gateway in the {_span(reader.grid)} before "
        f"{_clock(reader.grid.end)}; looked for {looked}, also with an underscore or ray_ before it"
        + (f" with {', '.join(matchers)}" if matchers else "")
        + (f" and the models {', '.join(models)}" if models else "")
        + counts_none,
        reader.client.source,
    )


def _assemble(
    source: str,
    grid: Grid,
    tallies: dict[str, Tally],
    latencies: dict[str, Latency],
    notes: list[str],
) -> DemandSeries:
    """Put the roles together; a model with requests must have tokens too."""
    requests = tallies["requests"]
    twice = sorted({model for role, tally in tallies.items() for model in tally.count_once(role)})
    if twice:
        notes.append(
            "prefill and decode workers report the same requests, which are counted once: "
            + ", ".join(twice[:5])
        )
    models = tuple(sorted(requests.counted))
    faults = [
        Fault(f"it has requests, but no {what.replace('_', ' ')} are exported for it", model)
        for model in models
        for what in ("prompt_tokens", "output_tokens")
        if requests.counted[model].sum() > 0 and model not in tallies[what].counted
    ]
    if faults:
        raise InputError(faults, source)

    points = np.flatnonzero(np.any([requests.seen[model] for model in models], axis=0))
    covered = np.zeros(grid.windows)
    # The window in which the first sample lies was seen in part, so it is left out.
    covered[int(points[0]) : int(points[-1])] = grid.step

    def rows(role: str) -> Array:
        empty = np.zeros(grid.windows)
        found = np.array([tallies[role].counted.get(model, empty) for model in models])
        return np.where(covered > 0, found, 0.0)

    cached = np.minimum(rows("cached_tokens"), rows("prompt_tokens"))
    if covered.sum() < 0.95 * grid.windows * grid.step:
        notes.append(f"samples cover {covered.sum() / 3600:.1f} h of the {_span(grid)} asked for")
    if requests.restarts:
        notes.append(f"{requests.restarts} counter restarts, counted through")
    if requests.gaps:
        notes.append(
            f"{requests.gaps} series windows without a sample; what the counters gained in them "
            "is spread evenly"
        )
    total = float(rows("prompt_tokens").sum())
    if cached.sum() > 0:
        notes.append(
            f"{100 * cached.sum() / total:.1f} % of prompt tokens came from the prefix cache: they "
            "take memory, and no time"
        )
    return DemandSeries(
        models=models,
        starts=grid.start + grid.step * np.arange(grid.windows, dtype=np.float64),
        covered_seconds=covered,
        step_seconds=grid.step,
        requests=rows("requests"),
        prompt_tokens=rows("prompt_tokens"),
        output_tokens=rows("output_tokens"),
        origin=f"Prometheus {source}, {_span(grid)} to {_clock(grid.end)}",
        notes=tuple(notes),
        latencies=latencies,
        cached_tokens=cached if cached.sum() > 0 else None,
    )


def _span(grid: Grid) -> str:
    """Return the length of the grid for a person."""
    seconds = grid.end - grid.start
    return f"{seconds / 86400:g} d" if seconds % 86400 == 0 else f"{seconds / 3600:.3g} h"


def _clock(seconds: float) -> str:
    """Return a time for a person, in UTC."""
    from datetime import UTC, datetime  # noqa: PLC0415 - used once

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
