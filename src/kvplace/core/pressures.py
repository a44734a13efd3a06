"""What shards press on, window by window: KV memory and the time of GPUs."""

import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from kvplace.core.model import Model
from kvplace.core.model_columns import ModelColumns
from kvplace.core.objective import Objective
from kvplace.core.option_table import OptionTable, shard_loads
from kvplace.core.timing import Timing
from kvplace.errors import Fault, InputError

__all__ = ["PressureTable", "Pressures"]


@dataclass(frozen=True, slots=True, eq=False)
class PressureTable:
    """The loads of a shard, for each row of the option table.

    Parameters
    ----------
    gpu_types
        The types of the fleet's GPUs, sorted.
    windows
        Number of windows.
    loads
        (rows x windows,) mean KV bytes in use of one shard where copies carry even parts.
    shares
        (rows x types x windows,) share of one GPU's time that a shard needs on each type.
    """

    gpu_types: tuple[str, ...]
    windows: int
    loads: "array[float]"
    shares: "array[float]"

    def loads_of(self, row: int) -> Sequence[float]:
        """Return (windows,) the KV bytes of a shard."""
        return self.loads[row * self.windows : (row + 1) * self.windows]

    def shares_of(self, row: int, gpu_type: int) -> Sequence[float]:
        """Return (windows,) the shares of time of a shard.

        Parameters
        ----------
        row
            Row of the option table.
        gpu_type
            Position in `gpu_types`.
        """
        first = (row * len(self.gpu_types) + gpu_type) * self.windows
        return self.shares[first : first + self.windows]


@dataclass(frozen=True)
class Pressures:
    """What the shards of all models press on.

    Parameters
    ----------
    models, columns
        All models, as objects and in columns.
    windows
        Names of the windows of demand.
    timing
        Who knows the shares of GPU time; None where nobody does.
    gpu_types
        The types of the fleet's GPUs, sorted.
    options
        Returns the options of all models.
    """

    models: Sequence[Model]
    columns: ModelColumns
    windows: tuple[str, ...]
    timing: Timing | None
    gpu_types: tuple[str, ...]
    options: Callable[[], OptionTable]

    def window_faults(self) -> Iterator[Fault]:
        """Yield what is wrong with the windows of the problem and of its models."""
        for name in sorted({name for name in self.windows if self.windows.count(name) > 1}):
            yield Fault(f"two windows are named {name!r}", "windows")
        for index, given in enumerate(self.columns.windows):
            for name in given:
                if name not in self.windows:
                    yield Fault(f"there is no window {name!r}", f"models[{index}].demand")
            for name in self.windows if given else ():
                if name not in given:
                    message = f"{self.columns.names[index]!r} states no demand in window {name!r}"
                    yield Fault(message, f"models[{index}].demand")

    def untimed(self) -> Iterator[tuple[str, str]]:
        """Yield what keeps shares of time from being known: places in the input, and what lacks."""
        if self.timing is None:
            yield "timing", "shares of GPU time, which nothing here knows"
            return
        for name in self.timing.unknown(self.gpu_types):
            yield "nodes", f"the speed of a GPU of type {name!r}"
        for index, field in self.timing.missing_of(self.models):
            yield f"models[{index}].{field}", f"{field} of {self.columns.names[index]!r}"

    @cached_property
    def known(self) -> bool:
        """Whether KV bytes in use and shares of time are known of every model on every GPU."""
        missing = any(True for _ in self.untimed())
        return not missing and not any(True for _ in self.columns.missing(Objective.PRESSURE))

    @cached_property
    def window_loads(self) -> list[Sequence[float]]:
        """Per window, the mean KV bytes in use of each model's whole demand, undivided."""
        return list(map(self.columns.window_loads, self.windows))

    @cached_property
    def table(self) -> PressureTable:
        """What a shard of each option presses on.

        Raises
        ------
        InputError
            The shares of time are not known, or one is no finite number of at least 0.
        """
        if self.timing is None:
            raise InputError([Fault(what, place) for place, what in self.untimed()])
        options = self.options()
        loads = shard_loads(self.models, self.window_loads, options)
        shares = self.timing.shares(self.models, self.windows, options, self.gpu_types)
        length = len(options.degrees) * len(self.gpu_types) * len(self.windows)
        shares = _checked(shares, length)
        return PressureTable(self.gpu_types, len(self.windows), loads, shares)

    def shard(
        self, index: int, degree: int, part: float, gpu_type: str
    ) -> tuple[Sequence[float], Sequence[float]]:
        """Return what a shard of a copy presses on in each window.

        Parameters
        ----------
        index
            Position of the model.
        degree
            Tensor parallel degree of the copy.
        part
            Part of the demand that the copy carries.
        gpu_type
            Type of its GPUs.

        Returns
        -------
        tuple
            Mean KV bytes in use, and share of the GPU's time.
        """
        table, options = self.table, self.options()
        for row in range(options.starts[index], options.starts[index + 1]):
            if options.degrees[row] == degree and 1 / options.copies[row] == part:
                return table.loads_of(row), table.shares_of(row, table.gpu_types.index(gpu_type))
        model = self.models[index]
        of_rank = part * model.kv_part(degree)
        assert self.timing is not None
        share = self.timing.share
        demands = map(model.demand_in, self.windows)
        return (
            [loads[index] * of_rank for loads in self.window_loads],
            [share(model, demand, degree, part, gpu_type) for demand in demands],
        )

    def digest_rows(self) -> Iterator[object]:
        """Yield what of pressures enters the digest: that of GPU types, then of each model."""
        assert self.timing is not None
        order = sorted(range(len(self.windows)), key=self.windows.__getitem__)
        names = [self.windows[at] for at in order]
        yield [names, self.timing.hardware(self.gpu_types)]
        demands = self.columns.demand_rows(names)
        loads = zip(*(self.window_loads[at] for at in order), strict=True)
        basis = self.timing.basis(self.models)
        yield from zip(self.columns.names, loads, demands, basis, strict=True)


def _checked(shares: "array[float]", length: int) -> "array[float]":
    """Return shares of time, which must be finite numbers of at least 0.

    Raises
    ------
    InputError
        One is not, or there are too few or too many.
    """
    if len(shares) != length:
        message = f"{len(shares)} shares of time are given; the options need {length}"
        raise InputError([Fault(message, "timing")])
    # The sum is NaN or infinite if any share is; a negative one shows in the least.
    if length and not (min(shares) >= 0 and math.isfinite(sum(shares))):
        at = next(i for i, share in enumerate(shares) if not 0 <= share < math.inf)
        message = f"the share of time {shares[at]!r} is not a finite number of at least 0"
        raise InputError([Fault(message, "timing")])
    return shares
