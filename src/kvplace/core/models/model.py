"""Model: what is to be served, and how it may be split, copied and moved."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from operator import attrgetter
from typing import ClassVar

from kvplace.core.models.architecture import Architecture
from kvplace.core.models.demand import MOST_VARIATION, SLO, Demand
from kvplace.core.models.kv_cache import (
    SlidingWindow,
    mean_tokens_kept,
    most_tokens_kept,
    whole_blocks,
)
from kvplace.core.models.launch import Launch
from kvplace.core.models.measured import MeasuredStep
from kvplace.errors import Fault, InputError
from kvplace.field_types import hold_types
from kvplace.units import GIB

DEFAULT_OVERHEAD_BYTES = 3 * GIB // 2
"""Memory of one engine process on one GPU besides weights and KV cache, where nothing better is
known: 1.5 GiB, the median of public start-up logs of engines with up to 12 GiB of weights.

Files get an estimate in parts of models whose shape is known (`kvplace.facts.memory.overhead`).
"""

_NO_OBJECTIVE = SLO()
_PLAIN_LAUNCH = Launch()


class Split(StrEnum):
    """How the demand of a model is divided over its copies.

    ``even``
        Every copy carries the same part.
    ``capacity``
        A copy carries a part in proportion to the usable memory of the smallest of its GPUs.
    """

    EVEN = "even"
    CAPACITY = "capacity"


@dataclass(frozen=True, slots=True)
class Moving:
    """What it takes to move a model that runs.

    Parameters
    ----------
    cost
        How many times each of its changes counts in a budget; infinite for never.
    min_stay_seconds
        A copy that serves for less than this time is not moved.

    Raises
    ------
    InputError
        The cost is not above 0, or the time is negative or not finite.
    """

    cost: float = 1.0
    min_stay_seconds: float = 0.0

    def __post_init__(self) -> None:
        hold_types(self)
        if not self.cost > 0:
            raise InputError(f"a cost must be above 0, not {self.cost}", "move.cost")
        if not 0 <= self.min_stay_seconds < math.inf:
            raise InputError(
                f"a time must be at least 0 and finite, not {self.min_stay_seconds}",
                "move.min_stay_seconds",
            )


_MOVING = Moving()


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many running copies of a model the planner may choose, both ends included.

    Parameters
    ----------
    min, max
        Least and most copies.
    split
        How the demand is divided over them.
    target
        Pressure of the model's GPUs that is good enough: a plan takes the fewest copies that are
        found to stay at or below it. None takes as many as lower the pressure.
    """

    min: int = 1
    max: int = 1
    split: Split = Split.EVEN
    target: float | None = None

    def __post_init__(self) -> None:
        hold_types(self)


class Attention(StrEnum):
    """What of the KV cache of a token each rank of a split model holds.

    ``grouped``
        Whole KV heads, at least one per rank: with more ranks than heads, heads are replicated.
    ``mla``
        The latent vector of multi-head latent attention, whole on every rank.
    """

    GROUPED = "grouped"
    MLA = "mla"


_ASKED = tuple(field.name for field in fields(Demand))
_AMOUNTS = (
    "weights_bytes", "overhead_bytes", "min_kv_bytes", "max_model_len", "kv_bytes_per_token",
    "kv_bytes_per_sequence", *(f"demand.{name}" for name in _ASKED),
    *(f"slo.{field.name}" for field in fields(SLO)),
)  # fmt: skip
"""Numbers of a model that are at least 0 and finite, where they are given."""
_asked, _amounts = attrgetter(*_ASKED), attrgetter(*_AMOUNTS)


@dataclass(frozen=True, slots=True)
class Model:
    """An LLM to be served.

    Parameters
    ----------
    name
        Unique in the problem.
    weights_bytes
        One copy of the weights, before any split.
    demand
        What is asked of it.
    slo
        Its latency objectives.
    kv_bytes_per_token
        KV cache that one token takes, over all layers; None where unknown, 0 for a model without
        a cache.
    kv_bytes_per_sequence
        Fixed state that one running request takes besides its tokens.
    sliding_windows
        Those of its layers that keep the last tokens only; what a token takes in them is part of
        `kv_bytes_per_token`.
    kv_block_tokens
        Tokens of a block of KV cache, which a request takes whole; 1 counts tokens exactly.
    overhead_bytes
        Per engine process and GPU: context, graphs, activations. Counts as weights.
    resident
        Pairs of a tensor parallel degree and what one shard takes at it, ascending: weights as
        loaded and overhead together. At a degree without a pair the weights divide evenly, and on
        top comes what is not weights at the next lower pair, or `overhead_bytes`.
    min_kv_bytes
        The least KV memory that must be left for it on each GPU that holds it.
    max_model_len
        Most tokens of one request; each copy must be left room for one such request. None where
        nothing is promised.
    tensor_parallel
        Allowed degrees, ascending.
    replicas
        Allowed numbers of copies, and how demand is divided over them.
    attention, kv_heads
        How the KV cache is split over the ranks of a copy; `kv_heads` None where unknown, which
        counts as an even split.
    gpu_types
        GPU types it may run on; empty for all.
    resources
        What each shard takes of further capacities of its GPU or node, by name.
    launch
        How its engine is started; says nothing about what a placement is worth.
    windows
        Demand in each window of the problem, by the window's name; empty where `demand` is that
        of every window. `demand` is then their mean.
    architecture
        Its shape, which decides how long its steps take; None where it is not known.
    step_times
        What was measured of a running engine, which goes before what is computed from the shape.
    placed_on
        GPUs of each copy that runs now, in rank order; empty where it is not known that any does.
    move
        What it takes to move it.

    Raises
    ------
    InputError
        A number is negative, not finite, or contradicts another.
    """

    name: str
    weights_bytes: int
    demand: Demand
    slo: SLO = _NO_OBJECTIVE
    kv_bytes_per_token: int | None = None
    kv_bytes_per_sequence: int = 0
    overhead_bytes: int = DEFAULT_OVERHEAD_BYTES
    min_kv_bytes: int = 0
    tensor_parallel: tuple[int, ...] = (1,)
    replicas: Replicas = Replicas()
    attention: Attention = Attention.GROUPED
    kv_heads: int | None = None
    gpu_types: tuple[str, ...] = ()
    resources: Mapping[str, float] = field(default_factory=dict, hash=False)
    launch: Launch = _PLAIN_LAUNCH
    windows: Mapping[str, Demand] = field(default_factory=dict, hash=False)
    resident: tuple[tuple[int, int], ...] = ()
    max_model_len: int | None = None
    architecture: Architecture | None = None
    step_times: tuple[MeasuredStep, ...] = ()
    placed_on: tuple[tuple[str, ...], ...] = ()
    move: Moving = _MOVING
    sliding_windows: tuple[SlidingWindow, ...] = ()
    kv_block_tokens: int = 1

    ALONE: ClassVar = frozenset((
        "name", "weights_bytes", "kv_bytes_per_token", "kv_bytes_per_sequence", "overhead_bytes",
        "min_kv_bytes", "launch", "max_model_len", "architecture", "move",
    ))  # fmt: skip
    """Fields that are checked by themselves, as `kvplace.core.columns.made` says."""

    def __post_init__(self) -> None:
        hold_types(self)
        amounts = [*_amounts(self), *(size for _, size in self.resident), *self.resources.values()]
        for demand in self.windows.values():
            amounts += _asked(demand)
        faults = []
        for value in amounts:
            if value is not None and not 0 <= value < math.inf:
                faults = self._wrong_amounts()
                break
        for name, demand in {"demand": self.demand, **self.windows}.items():
            place = f"{self.name}.{name if name == 'demand' else f'windows.{name}'}"
            if demand.cached_tokens > max(0.0, demand.prompt_tokens or 0.0):
                message = f"{demand.cached_tokens:g} is more than the prompt's tokens"
                faults.append(Fault(message, f"{place}.cached_tokens"))
            message = f"must be at most {MOST_VARIATION:,}"
            faults += [Fault(message, f"{place}.{key}") for key in demand.too_varied]
        if not self.tensor_parallel or any(degree < 1 for degree in self.tensor_parallel):
            faults.append(Fault("degrees must be at least 1", f"{self.name}.tensor_parallel"))
        elif len(self.tensor_parallel) > 1:
            object.__setattr__(self, "tensor_parallel", tuple(sorted(set(self.tensor_parallel))))
        if self.kv_block_tokens < 1:
            faults.append(Fault("it must be at least 1", f"{self.name}.kv_block_tokens"))
        in_windows = sum(window.kv_bytes_per_token for window in self.sliding_windows)
        if in_windows > max(0, self.kv_bytes_per_token or 0):
            message = f"{in_windows:,} B of a token are more than all its kv_bytes_per_token"
            faults.append(Fault(message, f"{self.name}.sliding_windows"))
        if not 1 <= self.replicas.min <= self.replicas.max:
            faults.append(Fault("1 <= min <= max must hold", f"{self.name}.replicas"))
        if self.resident and list(self.resident) != sorted(dict(self.resident).items()):
            faults.append(Fault("degrees must be ascending, each once", f"{self.name}.resident"))
        if self.kv_heads is not None and (self.kv_heads < 1 or self.attention is Attention.MLA):
            message = "must be at least 1, and has no place beside attention mla"
            faults.append(Fault(message, f"{self.name}.kv_heads"))
        if faults:
            raise InputError(faults)

    def _wrong_amounts(self) -> list[Fault]:
        """Return what is negative or not finite, by name: told apart only where something is."""
        amounts = list(zip(_AMOUNTS, _amounts(self), strict=True))
        amounts += [(f"resident.{degree}", size) for degree, size in self.resident]
        amounts += [(f"resources.{name}", amount) for name, amount in self.resources.items()]
        for name, demand in self.windows.items():
            keys = (f"windows.{name}.{key}" for key in _ASKED)
            amounts += zip(keys, _asked(demand), strict=True)
        return [
            Fault(f"{value!r} must be a finite number of at least 0", f"{self.name}.{key}")
            for key, value in amounts
            if value is not None and not 0 <= value < math.inf
        ]

    @property
    def cacheless(self) -> bool:
        """Whether it keeps no KV cache and no state, as an embedding model or a reranker."""
        return self.kv_bytes_per_token == 0 and self.kv_bytes_per_sequence == 0

    def resident_bytes(self, degree: int) -> int:
        """Return what one shard takes besides KV cache at a tensor parallel degree."""
        beside = self.overhead_bytes
        for known, size in self.resident:
            if known == degree:
                return size
            if known < degree:  # what is not weights at the next lower degree
                beside = max(0, size - -(-self.weights_bytes // known))
        return -(-self.weights_bytes // degree) + beside  # no byte is lost

    def least_kv_bytes(self, degree: int) -> int:
        """Return the KV memory that must be left for one shard at a tensor parallel degree.

        `min_kv_bytes`, or room for one request of `max_model_len` tokens where that is more.
        """
        if self.max_model_len is None or self.kv_bytes_per_token is None:
            return self.min_kv_bytes
        return max(self.min_kv_bytes, self.request_bytes(self.max_model_len, degree))

    def request_bytes(self, tokens: int, degree: int = 1) -> int:
        """Return the KV memory that an engine reserves on each rank for one request.

        Whole blocks; in layers with a sliding window, the window and the tokens of one step.
        """
        block, step = self.kv_block_tokens, self.launch.max_num_batched_tokens
        held = self.unlimited_kv_bytes * whole_blocks(tokens, block) + self.kv_bytes_per_sequence
        for window in self.sliding_windows:
            held += window.kv_bytes_per_token * most_tokens_kept(tokens, step, block, window)
        return math.ceil(held * self.kv_part(degree))

    @property
    def unlimited_kv_bytes(self) -> int:
        """What a token takes in the layers that keep all tokens; 0 where it is not known."""
        held = self.kv_bytes_per_token or 0
        for window in self.sliding_windows:
            held -= window.kv_bytes_per_token
        return held

    def mean_kv_bytes(self, demand: Demand) -> float:
        """Return the KV bytes that a request of some demand holds at a random time, on average.

        Unused ends of blocks and fixed state included; of one undivided copy.
        """
        tokens = (demand.prompt_tokens or 0.0) + (demand.output_tokens or 0.0) / 2
        if self.sliding_windows or self.kv_block_tokens > 1:
            tokens, kept = mean_tokens_kept(
                tokens, demand.held_variation, self.kv_block_tokens, self.sliding_windows
            )
            held = self.unlimited_kv_bytes * tokens
            for window, count in zip(self.sliding_windows, kept, strict=True):
                held += window.kv_bytes_per_token * count
        else:
            held = (self.kv_bytes_per_token or 0) * tokens
        return held + self.kv_bytes_per_sequence

    def with_weights(self, weights_bytes: int) -> "Model":
        """Return the model with other weights; what a shard takes changes by its part of them."""
        resident = tuple(
            (degree, max(0, size - -(-self.weights_bytes // degree) + -(-weights_bytes // degree)))
            for degree, size in self.resident
        )
        return replace(self, weights_bytes=weights_bytes, resident=resident)

    @property
    def latency_seconds(self) -> float | None:
        """Latency objective of a whole request: given, or ``ttft + output_tokens x tpot``."""
        if self.slo.latency_seconds is not None:
            return self.slo.latency_seconds
        ttft, tpot, output = self.slo.ttft_seconds, self.slo.tpot_seconds, self.demand.output_tokens
        if ttft is None or tpot is None or output is None:
            return None
        return ttft + output * tpot

    def demand_in(self, window: str) -> Demand:
        """Return the demand in a window."""
        return self.windows.get(window, self.demand)

    def refused(self, degree: int) -> str:
        """Return why engines refuse a tensor parallel degree; empty where nothing is against it.

        vLLM and SGLang want query heads that divide evenly, and as many ranks for each KV head, or
        KV heads for each rank.
        """
        heads = self.architecture.heads if self.architecture else 0
        if heads % degree:
            return f"it does not divide the {heads} attention heads"
        kv = self.kv_heads or 0
        if kv and max(kv, degree) % min(kv, degree):
            return f"it neither divides the {kv} KV heads nor is a multiple of them"
        return ""

    def accepted_degrees(self, most: int) -> list[int]:
        """Return the degrees up to some that engines take.

        Of a model whose heads are not known, powers of two.
        """
        known = self.kv_heads or (self.architecture and self.architecture.heads)
        return [
            degree
            for degree in range(1, most + 1)
            if (not self.refused(degree) if known else degree & (degree - 1) == 0)
        ]

    @property
    def plain(self) -> bool:
        """Whether it is one undivided replica."""
        return self.tensor_parallel == (1,) and self.replicas.max == 1

    def kv_part(self, degree: int) -> float:
        """Return the part of a copy's KV cache that each of its ranks holds.

        1/degree where heads divide evenly or are not known; ``ceil(heads / degree) / heads`` of
        grouped attention, which is never less than one head; 1 with MLA.
        """
        if self.attention is Attention.MLA:
            return 1.0
        if self.kv_heads is None:
            return 1 / degree
        return -(-self.kv_heads // degree) / self.kv_heads
