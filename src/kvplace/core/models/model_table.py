"""Models as columns: a million of them in proportion to their numbers, objects on demand.

Every model of a table is `Model.plain`. The columns are arrays of the standard library, which
numpy and Arrow read and write in place.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import repeat
from json.encoder import encode_basestring_ascii
from operator import attrgetter, eq, truediv
from typing import overload

from kvplace.core.columns import Columns, defaults_of, made
from kvplace.core.models.architecture import Architecture
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.core.models.objective import Objective

_OBJECTIVES = ("ttft_seconds", "tpot_seconds", "latency_seconds")
_TOKENS = ("prompt_tokens", "output_tokens")
_HELD = {name: attrgetter(name) for name in ("weights_bytes", "overhead_bytes", "min_kv_bytes")}
_HELD["name"] = attrgetter("names")
"""Fields of models that are columns of a table."""
STATED = (
    "name", "weights_bytes", "demand", "slo", "kv_bytes_per_token", "overhead_bytes",
    "min_kv_bytes", "max_model_len", "windows", "architecture",
)  # fmt: skip
"""All fields of `Model` that a table states."""
_AT_ONCE = 5000
"""Models that are made together, which takes a quarter of the time."""
_MOST_MADE = 50_000
"""Models of a table that keeps the objects which were made of it, about 1 kB each."""


@dataclass(frozen=True, slots=True)
class DemandColumns:
    """The demand of all models in one window.

    Parameters
    ----------
    name
        Name of the window.
    requests_per_second
        (n,) rates.
    prompt_tokens, output_tokens
        (n,) numbers, NaN where not given; empty where no model gives one.
    """

    name: str
    requests_per_second: array[float]
    prompt_tokens: array[float]
    output_tokens: array[float]

    def __getitem__(self, index: int) -> Demand:
        return Demand(
            self.requests_per_second[index],
            _given(self.prompt_tokens, index),
            _given(self.output_tokens, index),
        )

    def part(self, rows: slice) -> DemandColumns:
        """Return the demand of some of the models."""
        columns = (self.requests_per_second, self.prompt_tokens, self.output_tokens)
        return DemandColumns(self.name, *(column[rows] for column in columns))

    @property
    def objects(self) -> Columns[Demand]:
        """The demand of each model, made when it is looked at."""
        rates = self.requests_per_second
        tokens = {name: _stated(getattr(self, name), len(rates)) for name in _TOKENS}
        return Columns(Demand, {"requests_per_second": rates, **tokens})


@dataclass(frozen=True, slots=True, eq=False)
class ModelTable(Sequence[Model]):
    """Undivided single replicas, free to go anywhere.

    Parameters
    ----------
    names
        Unique names.
    weights_bytes, overhead_bytes, min_kv_bytes
        (n,) whole bytes.
    requests_per_second
        (n,) rates.
    prompt_tokens, output_tokens, ttft_seconds, tpot_seconds, latency_seconds
        (n,) numbers, NaN where not given; empty where no model gives one.
    kv_bytes_per_token
        (n,) whole bytes, -1 where not given; empty where no model gives it.
    max_model_len
        (n,) most tokens of one request, -1 where nothing is promised; empty where none is. Room
        for it is part of `min_kv_bytes`.
    windows_of_demand
        Demand of all models in each window; empty where it is the same in every window.
    shapes, shape_of
        Shapes that models have, and (n,) which of them each has, -1 where none is known; empty
        where none is known of any.
    """

    names: list[str]
    weights_bytes: array[int]
    overhead_bytes: array[int]
    min_kv_bytes: array[int]
    requests_per_second: array[float]
    latency_seconds: array[float]
    prompt_tokens: array[float]
    output_tokens: array[float]
    ttft_seconds: array[float]
    tpot_seconds: array[float]
    kv_bytes_per_token: array[int]
    windows_of_demand: tuple[DemandColumns, ...] = ()
    max_model_len: array[int] = field(default_factory=lambda: array("q"))
    shapes: tuple[Architecture, ...] = ()
    shape_of: array[int] = field(default_factory=lambda: array("i"))
    _made: dict[int, Model] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Model: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Model, ...]: ...

    def __getitem__(self, index: int | slice) -> Model | tuple[Model, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        if index in self._made:
            return self._made[index]
        model = Model(
            name=self.names[index],
            weights_bytes=self.weights_bytes[index],
            demand=self._demand[index],
            slo=self._slo(index),
            kv_bytes_per_token=_whole(self.kv_bytes_per_token, index),
            overhead_bytes=self.overhead_bytes[index],
            min_kv_bytes=self.min_kv_bytes[index],
            max_model_len=_whole(self.max_model_len, index),
            windows=self._windows(index),
            architecture=self._shape(index),
        )
        if len(self) <= _MOST_MADE:
            self._made[index] = model
        return model

    def __iter__(self) -> Iterator[Model]:
        for first in range(0, len(self), _AT_ONCE):
            rows = range(first, min(first + _AT_ONCE, len(self)))
            if rows[0] in self._made and rows[-1] in self._made:
                yield from map(self.__getitem__, rows)
                continue
            part = self._part(slice(rows.start, rows.stop))
            models = made(Columns(Model, {name: part.column(name) for name in STATED}))
            if len(self) <= _MOST_MADE:
                self._made.update(zip(rows, models, strict=True))
            yield from models

    def _part(self, rows: slice) -> ModelTable:
        """Return some of the models."""
        held = {one.name: getattr(self, one.name) for one in fields(self) if one.init}
        windows, shapes = held.pop("windows_of_demand"), held.pop("shapes")
        parts = tuple(window.part(rows) for window in windows)
        columns = {name: column[rows] for name, column in held.items()}
        return ModelTable(**columns, windows_of_demand=parts, shapes=shapes)

    def column(self, name: str) -> Sequence[object]:
        """Return a field of `Model`, model by model, without making the models."""
        n = len(self)
        if name in ("demand", "slo"):
            slo = {of: _stated(getattr(self, of), n) for of in _OBJECTIVES if name == "slo"}
            return Columns(SLO, slo) if slo else self._demand.objects
        if name == "windows" and self.windows_of_demand:
            named = [window.name for window in self.windows_of_demand]
            demands = (window.objects for window in self.windows_of_demand)
            return [dict(zip(named, row, strict=True)) for row in zip(*demands, strict=True)]
        if name == "architecture" and self.shape_of:
            known = (*self.shapes, None)  # -1 is the last
            return [known[which] for which in self.shape_of]
        if name in ("kv_bytes_per_token", "max_model_len"):
            return [None if size < 0 else size for size in getattr(self, name)] or [None] * n
        held = _HELD.get(name)
        return [defaults_of(Model)[name]] * n if held is None else held(self)

    @property
    def _demand(self) -> DemandColumns:
        """The demand of all time."""
        tokens = (self.prompt_tokens, self.output_tokens)
        return DemandColumns("", self.requests_per_second, *tokens)

    def _slo(self, index: int) -> SLO:
        """Return the latency objectives of a model."""
        return SLO(
            _given(self.ttft_seconds, index),
            _given(self.tpot_seconds, index),
            _given(self.latency_seconds, index),
        )

    def _shape(self, index: int) -> Architecture | None:
        """Return the shape of a model, where it is known."""
        which = self.shape_of[index] if self.shape_of else -1
        return self.shapes[which] if which >= 0 else None

    def _windows(self, index: int) -> dict[str, Demand]:
        """Return the demand of a model in each window."""
        return {window.name: window[index] for window in self.windows_of_demand}

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ModelTable):
            compared = (one.name for one in fields(self) if one.compare)
            return all(getattr(self, name) == getattr(other, name) for name in compared)
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(map(eq, self, other))

    def __hash__(self) -> int:
        return hash(tuple(self.names))

    @property
    def undivided_bytes(self) -> array[int]:
        """Weights and overhead of each model on one GPU."""
        return array("q", map(int.__add__, self.weights_bytes, self.overhead_bytes))

    @property
    def plain(self) -> bool:
        """Each model is one undivided replica that may go anywhere."""
        return True

    @property
    def gpu_types(self) -> Iterable[tuple[str, ...]]:
        """GPU types that each model asks for: none."""
        return repeat((), len(self))

    @property
    def resources(self) -> Iterable[tuple[int, str]]:
        """Further resources that the models take: none."""
        return ()

    def missing(self, objective: Objective) -> Iterator[tuple[int, str]]:
        """Yield the position of each model with a field that an objective needs and it lacks."""
        if objective is Objective.PRESSURE and self.windows_of_demand:
            missing = map(objective.missing, self)
            yield from ((index, name) for index, names in enumerate(missing) for name in names)
            return
        columns: dict[str, Sequence[float]] = {"slo.latency": self.latency_seconds}
        if objective is not Objective.REQUESTS:
            columns = {
                "kv_bytes_per_token": self.kv_bytes_per_token,
                "demand.prompt_tokens": self.prompt_tokens,
                "demand.output_tokens": self.output_tokens,
                "slo.tpot": self.tpot_seconds,
            }
        if objective in (Objective.OCCUPANCY, Objective.PRESSURE):
            columns["slo.ttft"] = self.ttft_seconds
        lacking = {name: _lacking(column, len(self)) for name, column in columns.items()}
        if not any(lacking.values()):
            return
        derived = (self.ttft_seconds, self.tpot_seconds, self.output_tokens)
        every = len(self) in map(len, lacking.values())
        for index in range(len(self)) if every else sorted(set().union(*lacking.values())):
            if self.requests_per_second[index] == 0:
                continue
            for name, rows in lacking.items():
                known = name == "slo.latency" and all(_given(c, index) is not None for c in derived)
                if index in rows and not known:
                    yield index, name

    def loads(self, objective: Objective) -> array[float]:
        """Return (n,) loads; what `Objective.load` returns of each model."""
        latencies = self.latency_seconds
        if (
            objective is Objective.REQUESTS
            and not _lacking(latencies, len(self))
            and all(latencies)
        ):
            return array("d", map(truediv, self.requests_per_second, latencies))
        if objective in (Objective.OCCUPANCY, Objective.PRESSURE):
            return self._occupancy(
                self.requests_per_second, self.prompt_tokens, self.output_tokens
            ) or array("d", map(objective.load, self))
        return array("d", map(objective.load, self))

    def _occupancy(
        self, rates: array[float], prompts: array[float], outputs: array[float]
    ) -> array[float] | None:
        """Return the mean KV bytes in use of some demand, or None where a number is lacking.

        The formula and its order are those of `Objective.load`, so that floats round alike.
        """
        n = len(self)
        columns = (rates, prompts, outputs, self.ttft_seconds, self.tpot_seconds)
        if any(_lacking(column, n) for column in (*columns, self.kv_bytes_per_token)):
            return None
        return array(
            "d",
            [
                rate * (ttft + output * tpot) * (kv * (prompt + output / 2))
                for rate, prompt, output, ttft, tpot, kv in zip(
                    *columns, self.kv_bytes_per_token, strict=True
                )
            ],
        )

    @property
    def windows(self) -> Iterable[Collection[str]]:
        """Names of the windows of each model; nothing where there are none."""
        names = [window.name for window in self.windows_of_demand]
        return repeat(names, len(self) if names else 0)

    def window_loads(self, window: str) -> Sequence[float]:
        """Return the mean KV bytes in use of each model's demand in a window."""
        if not self.windows_of_demand:
            return self.loads(Objective.OCCUPANCY)
        found = next(demand for demand in self.windows_of_demand if demand.name == window)
        tokens = (found.prompt_tokens, found.output_tokens)
        loads = self._occupancy(found.requests_per_second, *tokens)
        if loads is not None:
            return loads
        load = Objective.OCCUPANCY.load
        return array("d", [load(model, found[index]) for index, model in enumerate(self)])

    def demand_rows(self, windows: Sequence[str]) -> Iterator[list[float | None]]:
        """Yield per model its TPOT objective, and rate and token counts of each window."""
        stated = {demand.name: demand for demand in self.windows_of_demand}
        demands = [stated.get(name, self._demand) for name in windows]
        for index in range(len(self)):
            row = [_given(self.tpot_seconds, index)]
            for demand in demands:
                row += [
                    demand.requests_per_second[index],
                    _given(demand.prompt_tokens, index),
                    _given(demand.output_tokens, index),
                ]
            yield row

    def digest_text(self, order: Sequence[int], loads: Sequence[float]) -> str:
        """Return what of some models enters the digest of their problem, as entries of JSON."""
        amounts = self.weights_bytes, self.overhead_bytes, self.min_kv_bytes
        columns = [map(repr, map(of.__getitem__, order)) for of in amounts]
        names = map(encode_basestring_ascii, map(self.names.__getitem__, order))
        taken = list(map(loads.__getitem__, order))
        written = map(repr if math.isfinite(sum(taken)) else json.dumps, taken)
        rows = map(",".join, zip(names, *columns, written, strict=True))
        return ",".join(f"[{row},[1],1,1]" for row in rows)


def _whole(column: array[int], index: int) -> int | None:
    """Return an entry of a column of whole numbers that may lack it."""
    return column[index] if column and column[index] >= 0 else None


def _stated(column: array[float], length: int) -> list[float | None]:
    """Return a column that may lack entries, with None for each."""
    return [None if math.isnan(value) else value for value in column] or [None] * length


def _given(column: array[float], index: int) -> float | None:
    """Return an entry of a column that may lack it."""
    return column[index] if column and not math.isnan(column[index]) else None


def _lacking(column: Sequence[float], length: int) -> Collection[int]:
    """Return the rows of which an entry is not given."""
    if len(column) < length:
        return range(length)
    # The sum is NaN if an entry is.
    if min(column, default=0) >= 0 and not math.isnan(sum(column)):
        return ()
    return {row for row, value in enumerate(column) if not value >= 0}
