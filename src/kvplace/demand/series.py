"""DemandSeries: what was asked of every model, window by window."""

import difflib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from kvplace.core.fact import Fact
from kvplace.errors import InputError

MAX_CELLS = 20_000_000
"""The most models times windows that are held: 160 MB per figure."""

_LISTED = 8
"""Names that an error lists."""
_LONGEST = 200
"""Characters of a name that are compared."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Latency:
    """Latencies that were observed of a model; None where they were not."""

    ttft_seconds: Fact[float] | None = None
    tpot_seconds: Fact[float] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class DemandSeries:
    """What was asked of every model, window by window.

    Parameters
    ----------
    models
        Names, ascending.
    starts
        Begin of each window in seconds, shape (windows,): since 1970 or since the trace's start.
    covered_seconds
        How much of each window was observed, shape (windows,).
    step_seconds
        Length of a window.
    requests
        Requests in each window, shape (models, windows).
    prompt_tokens, output_tokens
        Tokens in each window, same shape; None where the source does not tell them.
    cached_tokens
        Of the prompt tokens, those that a prefix cache held; None where the source does not tell.
    origin
        Where the figures come from, in a few words.
    notes
        What a reader of the figures should know: gaps, resets, tokens of the prefix cache.
    latencies
        Observed latencies by model.

    Raises
    ------
    InputError
        Nothing was asked, or everything at one instant.
    """

    models: tuple[str, ...]
    starts: Array
    covered_seconds: Array
    step_seconds: float
    requests: Array
    prompt_tokens: Array | None
    output_tokens: Array | None
    origin: str
    notes: tuple[str, ...] = ()
    latencies: Mapping[str, Latency] = field(default_factory=dict)
    cached_tokens: Array | None = None

    def __post_init__(self) -> None:
        if not self.models or not self.requests.sum() > 0:
            raise InputError("there is no request in it", self.origin)
        if not self.covered_seconds.sum() > 0:
            raise InputError("all requests arrive at one instant; that gives no rate", self.origin)

    def only(self, models: Collection[str]) -> "DemandSeries":
        """Return the series of some models; of all where none is named.

        Raises
        ------
        InputError
            A model does not occur in it.
        """
        if not models:
            return self
        self.check_names(models)
        rows = [index for index, name in enumerate(self.models) if name in models]
        return replace(
            self,
            models=tuple(self.models[index] for index in rows),
            requests=self.requests[rows],
            prompt_tokens=None if self.prompt_tokens is None else self.prompt_tokens[rows],
            output_tokens=None if self.output_tokens is None else self.output_tokens[rows],
            cached_tokens=None if self.cached_tokens is None else self.cached_tokens[rows],
        )

    def check_names(self, names: Collection[str]) -> None:
        """Refuse names that do not occur.

        Raises
        ------
        InputError
            They are named, with the one that may be meant.
        """
        unknown = sorted(set(names) - set(self.models))
        if unknown:
            raise InputError([self._absent(name) for name in unknown], self.origin)

    def named(self, aliases: Mapping[str, str]) -> "DemandSeries":
        """Return the series by other names; what comes under several of a model is added.

        Latencies, which cannot be added, are then those of none.

        Parameters
        ----------
        aliases
            Model of each name; names that do not occur change nothing.
        """
        names = [aliases.get(name, name) for name in self.models]
        if names == list(self.models):
            return self
        models = tuple(sorted(set(names)))
        rows = [models.index(name) for name in names]

        def added(figures: Array) -> Array:
            sums = np.zeros((len(models), figures.shape[1]))
            np.add.at(sums, rows, figures)
            return sums

        prompt, output, cached = self.prompt_tokens, self.output_tokens, self.cached_tokens
        count = Counter(names)
        latencies = {aliases.get(name, name): seen for name, seen in self.latencies.items()}
        return replace(
            self,
            models=models,
            requests=added(self.requests),
            prompt_tokens=None if prompt is None else added(prompt),
            output_tokens=None if output is None else added(output),
            cached_tokens=None if cached is None else added(cached),
            latencies={name: seen for name, seen in latencies.items() if count[name] == 1},
        )

    def _absent(self, name: str) -> str:
        """Say that a model does not occur, and which is meant or which there are."""
        near = near_name(name, self.models)
        if near is not None:
            return f"{name!r} does not occur in it; did you mean {near!r}?"
        more = ", ..." if len(self.models) > _LISTED else ""
        return f"{name!r} does not occur in it; it has {', '.join(self.models[:_LISTED])}{more}"

    @property
    def total_seconds(self) -> float:
        """Time observed in all windows together."""
        return float(self.covered_seconds.sum())

    @property
    def pressing(self) -> Array:
        """What presses on memory, per model and window: tokens where known, else requests."""
        if self.prompt_tokens is None or self.output_tokens is None:
            return self.requests
        return self.prompt_tokens + self.output_tokens


def near_name(name: str, names: Iterable[str]) -> str | None:
    """Return the name that one is most likely meant to be; owners and capitals do not count.

    Parameters
    ----------
    name
        A model, such as ``Qwen3-8b``.
    names
        Those there are, such as ``Qwen/Qwen3-8B``.
    """
    tails = {label.rpartition("/")[2].casefold()[:_LONGEST]: label for label in names}
    tail = name.rstrip("/").rpartition("/")[2].casefold()[:_LONGEST]
    close = difflib.get_close_matches(tail, tails, n=1, cutoff=0.6)
    return tails[close[0]] if close else None


def check_cells(models: int, windows: int, step: float, source: str) -> None:
    """Refuse more windows than memory should hold.

    Raises
    ------
    InputError
        `models` x `windows` is more than `MAX_CELLS`.
    """
    if models * windows > MAX_CELLS:
        raise InputError(
            f"{models:,} models x {windows:,} windows of {step:g} s are more than "
            f"{MAX_CELLS:,}; take a longer --step",
            source,
        )
