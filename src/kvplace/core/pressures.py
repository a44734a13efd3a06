"""What shards press on, window by window: KV memory and the time of GPUs."""

import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from kvplace.core.derived.option_table import OptionTable, shard_loads
from kvplace.core.models.bursts import Margins, margin_sigma, spread_of
from kvplace.core.models.model import Model
from kvplace.core.models.model_columns import ModelColumns
from kvplace.core.models.objective import Objective
from kvplace.core.timing import Timing
from kvplace.errors import Fault, InputError


class PressureTable(NamedTuple):
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
    quantile
        Share of the time in which what is needed is to be there; None for means.
    rooms
        Usable bytes of each GPU, for the quantile.
    """

    models: Sequence[Model]
    columns: ModelColumns
    windows: tuple[str, ...]
    timing: Timing | None
    gpu_types: tuple[str, ...]
    options: Callable[[], OptionTable]
    quantile: float | None = None
    rooms: Sequence[int] = ()

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
    def window_means(self) -> list[Sequence[float]]:
        """Per window, the mean KV bytes in use of each model's whole demand, undivided."""
        return list(map(self.columns.window_loads, self.windows))

    @cached_property
    def window_loads(self) -> list[Sequence[float]]:
        """Per window, the KV bytes of each model's whole demand, undivided, for the quantile."""
        if self.margins is None:
            return self.window_means
        return [
            [
                self.margins.load(mean, spread_of(model, model.demand_in(name)), at)
                for model, mean in zip(self.models, means, strict=True)
            ]
            for at, (name, means) in enumerate(zip(self.windows, self.window_means, strict=True))
        ]

    @cached_property
    def margins(self) -> Margins | None:
        """What is added to means for the quantile; None where means are planned for."""
        if self.quantile is None:
            return None
        options, means = self.options(), self._means
        count = len(self.windows)
        held = 0
        memory = [[0.0, 0.0] for _ in range(count)]
        time = [[[0.0, 0.0] for _ in range(count)] for _ in self.gpu_types]
        for index, model in enumerate(self.models):
            row = options.starts[index]
            if row == options.starts[index + 1]:
                continue
            shards = options.degrees[row] * options.copies[row]
            held += shards * options.weights_bytes[row]
            for at, window in enumerate(self.windows):
                spread = spread_of(model, model.demand_in(window), 1 / options.copies[row])
                sums = [(memory[at], means.loads_of(row)[at], spread.memory)]
                sums += [
                    (time[kind][at], means.shares_of(row, kind)[at], spread.time)
                    for kind in range(len(self.gpu_types))
                ]
                for total, mean, relative in sums:
                    total[0] += shards * mean
                    total[1] += shards * mean * mean * relative
        free = (sum(self.rooms) - held) / max(1, len(self.rooms))
        q = self.quantile
        return Margins(
            q,
            [margin_sigma(q, mean, variance, free) for mean, variance in memory],
            [[margin_sigma(q, mean, variance, 1.0) for mean, variance in of] for of in time],
        )

    @cached_property
    def table(self) -> PressureTable:
        """What a shard of each option presses on: means, or what stands for the quantile.

        Raises
        ------
        InputError
            As `Timing.shares` has none.
        """
        means, margins = self._means, self.margins
        if margins is None:
            return means
        options = self.options()
        loads, shares = array("d"), array("d")
        for index, model in enumerate(self.models):
            demands = [model.demand_in(window) for window in self.windows]
            for row in range(options.starts[index], options.starts[index + 1]):
                part = 1 / options.copies[row]
                spreads = [spread_of(model, demand, part) for demand in demands]
                loads.extend(
                    margins.load(mean, spread, at)
                    for at, (mean, spread) in enumerate(
                        zip(means.loads_of(row), spreads, strict=True)
                    )
                )
                for kind in range(len(self.gpu_types)):
                    shares.extend(
                        margins.share(mean, spread, kind, at)
                        for at, (mean, spread) in enumerate(
                            zip(means.shares_of(row, kind), spreads, strict=True)
                        )
                    )
        return PressureTable(self.gpu_types, len(self.windows), loads, shares)

    @cached_property
    def _means(self) -> PressureTable:
        """What a shard of each option presses on, on average.

        Raises
        ------
        InputError
            The shares of time are not known, or one is no finite number of at least 0.
        """
        if self.timing is None:
            raise InputError([Fault(what, place) for place, what in self.untimed()])
        options = self.options()
        loads = shard_loads(self.models, self.window_means, options)
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
            Type of its GPUs; of one that the fleet does not have, the share is a mean.

        Returns
        -------
        tuple
            KV bytes in use, and share of the GPU's time.
        """
        table, options = self.table, self.options()
        known = gpu_type in table.gpu_types  # others are asked for where a fleet is yet to be found
        for row in range(options.starts[index], options.starts[index + 1]) if known else ():
            if options.degrees[row] == degree and 1 / options.copies[row] == part:
                return table.loads_of(row), table.shares_of(row, table.gpu_types.index(gpu_type))
        model = self.models[index]
        of_rank = part * model.kv_part(degree)
        assert self.timing is not None
        demands = [model.demand_in(window) for window in self.windows]
        shares = self.timing.shares_in(model, demands, degree, part, gpu_type)
        if self.margins is not None and known:
            kind = self.gpu_types.index(gpu_type)
            shares = [
                self.margins.share(mean, spread_of(model, demand, part), kind, at)
                for at, (mean, demand) in enumerate(zip(shares, demands, strict=True))
            ]
        # A part that no option has: the load is in proportion to it, as solvers take it.
        return [loads[index] * of_rank for loads in self.window_loads], shares

    def digest_rows(self) -> Iterator[object]:
        """Yield what of pressures enters the digest: that of GPU types, then of each model."""
        assert self.timing is not None
        order = sorted(range(len(self.windows)), key=self.windows.__getitem__)
        names = [self.windows[at] for at in order]
        burst = [] if self.quantile is None else [self.quantile]
        yield [names, self.timing.hardware(self.gpu_types), *burst]
        demands = self.columns.demand_rows(names)
        loads = zip(*(self.window_means[at] for at in order), strict=True)
        basis = self.timing.basis(self.models)
        yield from zip(self.columns.names, loads, demands, basis, strict=True)
        for model in self.models if burst else ():
            found = map(model.demand_in, names)
            yield [model.name, [[d.dispersion, d.prompt_cv, d.output_cv] for d in found]]


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
