"""All models at once: one protocol for models in columns and for models as objects."""

import json
import math
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from json.encoder import encode_basestring_ascii
from typing import Protocol

from kvplace.core.models.model import Model, Split
from kvplace.core.models.objective import Objective


class ModelColumns(Protocol):
    """What a problem asks of all its models together, in their order."""

    @property
    def names(self) -> Sequence[str]:
        """Names."""
        ...

    @property
    def undivided_bytes(self) -> "array[int]":
        """Weights and overhead of each model on one GPU."""
        ...

    @property
    def min_kv_bytes(self) -> "array[int]":
        """KV memory that each model must be left."""
        ...

    @property
    def plain(self) -> bool:
        """Whether each is one undivided replica that may go anywhere."""
        ...

    @property
    def gpu_types(self) -> Iterable[tuple[str, ...]]:
        """GPU types that each model asks for."""
        ...

    @property
    def resources(self) -> Iterable[tuple[int, str]]:
        """Position of each model that takes a further resource, with the resource."""
        ...

    def missing(self, objective: Objective) -> Iterator[tuple[int, str]]:
        """Yield the position of each model with a field that an objective needs and it lacks."""
        ...

    def loads(self, objective: Objective) -> Sequence[float]:
        """Return what `Objective.load` returns of each model."""
        ...

    @property
    def windows(self) -> Iterable[Collection[str]]:
        """Names of the windows of each model; none where its demand is that of every window."""
        ...

    def window_loads(self, window: str) -> Sequence[float]:
        """Return the mean KV bytes in use of each model's demand in a window, undivided."""
        ...

    def demand_rows(self, windows: Sequence[str]) -> Iterator[list[float | None]]:
        """Yield per model its TPOT objective, and rate and token counts of each window."""
        ...

    def digest_text(self, order: Sequence[int], loads: Sequence[float]) -> str:
        """Return what of some models enters the digest of their problem, as entries of JSON.

        Parameters
        ----------
        order
            Their positions.
        loads
            Loads of all models.
        """
        ...


@dataclass(frozen=True)
class ListedModels:
    """Models as objects, seen as columns.

    Parameters
    ----------
    models
        In their order.
    """

    models: Sequence[Model]

    @cached_property
    def names(self) -> Sequence[str]:
        """Names."""
        return [model.name for model in self.models]

    @property
    def undivided_bytes(self) -> "array[int]":
        """Weights and overhead of each model on one GPU."""
        return array("q", [model.resident_bytes(1) for model in self.models])

    @property
    def min_kv_bytes(self) -> "array[int]":
        """KV memory that each model must be left."""
        return array("q", [model.least_kv_bytes(1) for model in self.models])

    @property
    def plain(self) -> bool:
        """Whether each is one undivided replica that may go anywhere."""
        return all(m.plain and not m.gpu_types and not m.resources for m in self.models)

    @property
    def gpu_types(self) -> Iterable[tuple[str, ...]]:
        """GPU types that each model asks for."""
        return (model.gpu_types for model in self.models)

    @property
    def resources(self) -> Iterable[tuple[int, str]]:
        """Position of each model that takes a further resource, with the resource."""
        return ((index, name) for index, m in enumerate(self.models) for name in m.resources)

    def missing(self, objective: Objective) -> Iterator[tuple[int, str]]:
        """Yield the position of each model with a field that an objective needs and it lacks."""
        missing = map(objective.missing, self.models)
        return ((index, name) for index, fields in enumerate(missing) for name in fields)

    def loads(self, objective: Objective) -> Sequence[float]:
        """Return what `Objective.load` returns of each model."""
        return tuple(map(objective.load, self.models))

    @property
    def windows(self) -> Iterable[Collection[str]]:
        """Names of the windows of each model; none where its demand is that of every window."""
        return (model.windows.keys() for model in self.models)

    def window_loads(self, window: str) -> Sequence[float]:
        """Return the mean KV bytes in use of each model's demand in a window, undivided."""
        return [Objective.OCCUPANCY.load(model, model.demand_in(window)) for model in self.models]

    def demand_rows(self, windows: Sequence[str]) -> Iterator[list[float | None]]:
        """Yield per model its TPOT objective, and rate and token counts of each window."""
        for model in self.models:
            row = [model.slo.tpot_seconds]
            for demand in map(model.demand_in, windows):
                row += [demand.requests_per_second, demand.prompt_tokens, demand.output_tokens]
                row += [demand.cached_tokens] if demand.cached_tokens else []
            yield row

    def digest_text(self, order: Sequence[int], loads: Sequence[float]) -> str:
        """Return what of some models enters the digest of their problem, as entries of JSON."""
        return ",".join(self._digest_row(self.models[index], loads[index]) for index in order)

    def _digest_row(self, m: Model, load: float) -> str:
        """Return what of a model enters the digest, as JSON."""
        beside, kept = m.overhead_bytes, m.min_kv_bytes
        divided = m.tensor_parallel != (1,)
        if not divided:  # then it does not matter how they were stated
            beside, kept = m.resident_bytes(1) - m.weights_bytes, m.least_kv_bytes(1)
            even = m.replicas.split is Split.EVEN and math.isfinite(load)
            if even and not m.gpu_types and not m.resources:  # mostly; a third of the time
                name, span = encode_basestring_ascii(m.name), f"{m.replicas.min},{m.replicas.max}"
                return f"[{name},{m.weights_bytes},{beside},{kept},{load!r},[1],{span}]"
        row = [
            m.name, m.weights_bytes, beside, kept, load,
            list(m.tensor_parallel), m.replicas.min, m.replicas.max,
            *stated(
                kv_part=[m.kv_part(d) for d in m.tensor_parallel if d > 1],
                resident=sorted(m.resident) if divided else [],
                least_kv=_least_kv(m) if divided else [],
                split=m.replicas.split.value if m.replicas.split is not Split.EVEN else "",
                gpu_types=sorted(m.gpu_types), resources=sorted(m.resources.items()),
            ),
        ]  # fmt: skip
        return json.dumps(row, separators=(",", ":"))


def _least_kv(model: Model) -> list[int]:
    """Return the least KV memory per degree where a request needs more than the model states."""
    least = [model.least_kv_bytes(degree) for degree in model.tensor_parallel]
    return least if any(kept > model.min_kv_bytes for kept in least) else []


def stated(**values: object) -> list[object]:
    """Return what is not empty, with its name."""
    return [[name, value] for name, value in values.items() if value]
