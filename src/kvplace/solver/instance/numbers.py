"""Numbers: the columns of a problem, as plain arrays; see `kvplace.solver.instance.instance`."""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from kvplace.solver.instance.rule_penalties import Blueprint

Loads = tuple[tuple[float, ...], ...]
"""Loads of a shard, by load type of the GPU and by pressure."""


class Uneven(NamedTuple):
    """How the demand of a model is divided over copies that carry uneven parts.

    Parameters
    ----------
    load
        (pressures on KV memory,) of its whole demand on one undivided copy.
    part
        Part of a copy's load that each rank carries, by degree.
    shares
        Returns the loads on time of a shard, by load type and window, of a copy of some degree
        that carries some part of the demand: they do not follow it in proportion.
    """

    load: tuple[float, ...]
    part: dict[int, float]
    shares: Callable[[int, float], Loads] | None = None


@dataclass(frozen=True, eq=False)
class Numbers:
    """A problem as numbers.

    Parameters
    ----------
    starts
        (n + 1,) row of the first option of each model, and the end.
    degree, copies
        (rows,) tensor parallel degree and number of copies.
    size, keep
        (rows,) bytes resident, and bytes of KV that must be left, per shard.
    loads
        (rows x load types x pressures,) loads of a shard where copies carry even parts; those on
        KV memory times the objective's memory unit, so that pressure = load / free bytes.
    memory
        (g,) usable bytes per GPU, descending.
    model_index, gpu_index
        Position of each model in the problem, and of each GPU in the fleet.
    kv_windows, time_windows
        Window of demand of each pressure on KV memory and on time. One that another window is
        never below is left out.
    type_of
        (g,) load type per GPU: GPUs of one type carry the same load of a shard. Empty where
        there is one type.
    domain_of
        (g,) link domain per GPU. Empty where every GPU is one of its own.
    kind_of
        (g,) number per GPU, the same for GPUs that nothing but their names tells apart. Empty
        where nobody asks.
    masks, mask_of
        Sets of GPUs, a byte per GPU, and (n,) which of them each model may run on; both empty
        where every model may run anywhere.
    uneven
        Models whose copies carry uneven parts.
    blueprints
        How the trackers of its rules are made.
    """

    starts: Sequence[int]
    degree: "array[int]"
    copies: "array[int]"
    size: "array[int]"
    keep: "array[int]"
    loads: "array[float]"
    memory: "array[int]"
    model_index: "array[int]"
    gpu_index: "array[int]"
    kv_windows: tuple[int, ...] = (0,)
    time_windows: tuple[int, ...] = ()
    type_of: Sequence[int] = ()
    domain_of: Sequence[int] = ()
    kind_of: Sequence[int] = ()
    masks: tuple[bytes, ...] = ()
    mask_of: Sequence[int] = ()
    uneven: dict[int, Uneven] = field(default_factory=dict)
    blueprints: tuple[Blueprint, ...] = ()

    @property
    def n(self) -> int:
        """Number of models."""
        return len(self.starts) - 1

    @property
    def g(self) -> int:
        """Number of GPUs."""
        return len(self.memory)

    @cached_property
    def kv(self) -> int:
        """Number of pressures on KV memory."""
        return len(self.kv_windows)

    @cached_property
    def time(self) -> int:
        """Number of pressures on time."""
        return len(self.time_windows)

    @property
    def pressures(self) -> int:
        """Number of pressures on a GPU."""
        return self.kv + self.time

    @property
    def types(self) -> int:
        """Number of load types."""
        return max(self.type_of, default=0) + 1
