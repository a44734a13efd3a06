"""Configuration linear program: what share of the fleet a target needs, fractions allowed.

Gilmore and Gomory's program for bin packing with several sizes of bin, for models that may be
split and copied, on GPUs of several kinds, under any number of pressures; undivided models under
one are the case of one option each. An item is one option of a model, to be covered as often as it
has shards by as much of the model as takes that option; a column is a set of shards of different
models, each of some option, that a GPU of a kind holds within every pressure. The share is the
least factor by which all GPUs would have to be multiplied so that fractions of columns cover every
model. Above 1, the target is impossible, and the dual prices are the proof
(`kvplace.core.certificates`). A column holds one shard of a model at most, so those of one option
are on different GPUs. Where shards lie besides is left out.
"""

import math
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import replace

import numpy as np

from kvplace.solver.array_types import Bools, Floats, Ints
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.knapsack import Knapsack
from kvplace.solver.column_generation.master import Entry, Master, generate
from kvplace.solver.column_generation.pricing import ACCURACY, Column, Pool, Room
from kvplace.solver.column_generation.room_prices import mixed_room, prices_of_room, room_weights
from kvplace.solver.column_generation.set_pricing import SetPricing, Verdict
from kvplace.solver.instance.columns import undominated
from kvplace.solver.instance.instance import Instance
from kvplace.solver.instance.options import scarcity

__all__ = ["OptionSets", "Verdict"]

TINY = 1e-16
"""Part of a limit that a shard takes at least, so that ratios are defined."""
LIFTED = 32
"""Models priced above their size at most, the largest first: they leave least room beside them."""
OPENED = 1.05
"""Price of an option, to that of its model's cheapest by room, up to which the program begins with
it: measured, of 3,272 options it is 2 to 20 times faster than with all of them."""
EDGE = 1e-12
"""Part by which limits are raised, so that rounding takes no set from a GPU, and by which prices
above sizes are lowered, so that it lifts none above its GPU."""


class OptionSets:
    """The program of one fleet; columns found at one target serve the next.

    Parameters
    ----------
    instance
        The problem; each model has an option.
    compiled
        Whether compiled kernels look for sets.

    Attributes
    ----------
    model
        (rows,) model of each option.
    shards
        (rows,) shards of all copies together.
    kinds
        Load type and usable bytes of each kind of GPU, ascending.
    kind_of
        (g,) kind of each GPU.
    count
        (kinds,) GPUs of each kind.
    chosen
        (rows,) part of its model that takes each option in the last solution.
    placed
        (rows, kinds) shards of each option on each kind of GPU there.
    proved
        Prices and worths that proved most of a target asked before; None before the first.
    opened
        (rows,) the options that are in the program: those that prices of room call cheap, and those
        in a set that was priced above its GPU with the others at their models' cheapest.
    """

    def __init__(self, instance: Instance, *, compiled: bool = False) -> None:
        self.compiled = compiled
        self._columns: dict[Column, None] = {}
        self.instance = instance
        columns = instance.columns
        self.model = columns.model
        self.shards: Ints = columns.shards.astype(np.int64)
        self.kinds = columns.kinds
        self._base = list(range(len(self.kinds)))
        self._number(columns.kind_of.tolist())
        self._plain = instance.simple
        self._usable: Bools = np.ones(len(self.model), dtype=bool)
        self.chosen: Floats = np.zeros(len(self.model))
        self.placed: Floats = np.zeros((len(self.model), len(self.kinds)))
        self.proved: Verdict | None = None
        self.opened: Bools = np.ones(len(self.model), dtype=bool)
        self._choice: Ints = np.full(instance.n, -1)

    def _number(self, kind_of: list[int]) -> None:
        """Take the kind of each GPU."""
        self.kind_of = kind_of
        self.count: Floats = np.bincount(kind_of).astype(np.float64)
        degree = np.array(self.instance.degree)
        self._allowed: Bools = self.instance.columns.on_kinds(np.array(kind_of), degree)

    def divided(self, part_of: Sequence[int], within: Bools) -> "OptionSets":
        """Return the program of a case that keeps options out of parts of the cluster.

        It shares the columns known.

        Parameters
        ----------
        part_of
            (g,) part that each GPU is in.
        within
            (rows, parts) whether an option may be there.
        """
        found = copy(self)
        both = list(zip(part_of, self.kind_of, strict=True))
        bins = sorted(set(both))
        number = {bin_: at for at, bin_ in enumerate(bins)}
        found._base = [self._base[kind] for _, kind in bins]  # noqa: SLF001 - its own class
        found.kinds = [self.kinds[kind] for _, kind in bins]
        found._number([number[bin_] for bin_ in both])  # noqa: SLF001 - its own class
        found._allowed &= within[:, [part for part, _ in bins]]  # noqa: SLF001 - its own class
        found.proved = None
        return found

    def add(self, held: Sequence[Iterable[int]]) -> None:
        """Take the sets of an assignment as columns: (g,) the options of the shards on each GPU."""
        for kind, rows in zip(self.kind_of, held, strict=True):
            members = tuple(sorted(rows))
            if members:
                self._columns[self._base[kind], members] = None

    def rooms(self, target: float, within: Bools | None = None) -> tuple[list[Room], Bools]:
        """Return what each kind of GPU holds at a target, of all options or some.

        Returns
        -------
        tuple
            The rooms, of which the first of several sizes mixes all pressures, and (rows, kinds)
            whether a shard alone is within every limit; what is not has infinite sizes.
        """
        instance, columns = self.instance, self.instance.columns
        size, least = columns.size, columns.least
        rooms, fits = [], []
        seated = np.zeros(len(size), dtype=bool)
        for at, (type_, memory) in enumerate(self.kinds):
            # At a target of 0 whatever has a load is too large, and the rest is as large as it is.
            with np.errstate(over="ignore"):
                loads = columns.loads[:, type_, :] / max(target, np.finfo(np.float64).tiny)
            # At infinity only memory counts, of which a byte must stay free.
            free = max(memory - (target == math.inf), 1)
            limits = np.column_stack([loads, columns.size + columns.keep])
            limits[:, : instance.kv] += size[:, None]
            capacity = np.array([free] * instance.kv + [1.0] * instance.time + [memory])
            alone = (limits / capacity)[:, :-1].max(axis=1)
            held = self._allowed[:, at] & (least <= memory)
            if within is not None:
                held &= within
            seated |= held & (alone <= 1)
            # Of uneven copies the weights alone are sure: one carries an even part or more, which
            # is within every limit somewhere, the others may be where that is not.
            fit = held & ((alone <= 1) | columns.unsure)
            limits[columns.unsure, : instance.kv] = size[columns.unsure, None]
            limits[columns.unsure, instance.kv : -1] = 0.0
            needed = undominated((limits / capacity)[fit])
            limits, capacity = limits[:, needed], capacity[needed]
            if len(needed) > 1:
                parts = limits / capacity
                mixed = np.where(fit[:, None], parts, 0.0) @ self._scarcity(parts, fit)
                limits, capacity = np.column_stack([mixed, limits]), np.append(1.0, capacity)
            sizes = np.where(fit, np.maximum(limits, TINY * capacity).T, np.inf)
            groups = None if self._plain else self.model
            pressures = np.array([at if at < instance.pressures else -1 for at in needed])
            rooms.append(Room(sizes, capacity * (1 + EDGE), groups, pressures))
            fits.append(fit)
        return rooms, np.column_stack(fits) & seated[:, None]

    def _scarcity(self, limits: Floats, fit: Bools) -> Floats:
        """Return how much each limit counts in the mixed size: the scarcer, the more."""
        whole = np.where(fit[:, None], limits * self.shards[:, None], np.inf)
        least = np.minimum.reduceat(whole, self.instance.columns.starts[:-1])
        return scarcity(np.where(np.isfinite(least), least, 0.0).sum(axis=0))

    def decide(
        self,
        target: float,
        watch: Watch,
        *,
        rounds: int = 2000,
        settle: bool = True,
        within: Bools | None = None,
        above: float = 1.0,
    ) -> Verdict:
        """Find the share of the fleet that a target needs, or enough to call it impossible.

        Parameters
        ----------
        target
            K, in load per byte.
        watch
            Ends the search early; the share is a valid lower bound all the same.
        rounds
            Solutions of the restricted program at most.
        settle
            Go on to exact prices; else stop as soon as the target is seen to be possible.
        within
            (rows,) the options that models may take; None for all.
        above
            Of an impossible target, share from which it ends.
        """
        rooms, fits = self.rooms(target, within)
        usable: Bools = np.logical_or.reduce(fits, axis=1)
        starts = self.instance.columns.starts[:-1]
        placeable: Bools = np.asarray(np.logical_or.reduceat(usable, starts))
        if not placeable.all():  # a model is within every pressure nowhere, not even alone
            alone = (~placeable[self.model]).astype(np.float64)
            return Verdict(target, math.inf, alone, np.zeros(len(self.kinds)), exact=True)
        self._usable = usable
        options = np.bincount(self.model[usable], minlength=self.instance.n)
        one: Bools = np.equal(options, 1)
        demand = np.where(usable & one[self.model], self.shards, 0.0).astype(np.float64)
        master = Master(demand, self.count, dual_feasibility_tolerance=ACCURACY / 100)
        for j in np.flatnonzero(~one).tolist():
            self._choice[j] = master.add_row(-1.0)
        first, rooms = self._by_room(target, rooms, fits, watch)
        self.opened = usable & one[self.model]
        cheap = first.prices * self.shards <= OPENED * self.least(first.prices)[self.model]
        self._open(master, np.flatnonzero(usable & cheap))
        pool = Pool(rooms, compiled=self.compiled, stopped=lambda: watch.stop)
        self._give(master, self._start(rooms, fits & self.opened[:, None]))
        self.extend(master, pool.filled_up(first.prices))
        centred = pool.filled or not self._plain
        pricing = SetPricing(self, pool, first, watch, settle=settle, centred=centred, above=above)
        generate(master, pricing, rounds, watch)
        self._chosen(master, demand > 0)
        return pricing.best

    def _by_room(
        self, target: float, rooms: list[Room], fits: Bools, watch: Watch
    ) -> tuple[Verdict, list[Room]]:
        """Return what prices of room say, and rooms whose first limit mixes the others by these."""
        weights = None
        if self.instance.pressures > 1:
            starts = self.instance.columns.starts
            weights = room_weights(rooms, fits, starts, self.shards, self.count, watch.left)
        if weights is None:
            return self.fluid(target), rooms
        said = self.verdict(target, *prices_of_room(rooms, fits, weights), exact=False)
        return said, list(map(mixed_room, rooms, weights))

    def _chosen(self, master: Master, only: Bools) -> None:
        """Note what part of each model takes which option."""
        self.chosen = only.astype(np.float64)
        self.placed = np.zeros((len(self.model), len(self.kinds)))
        for key, part in master.solution().items():
            if not isinstance(key, tuple):
                continue
            kind, members = key
            if kind == "choice":
                self.chosen[int(members)] = part
            else:
                self.placed[list(members), int(kind)] += part

    def _open(self, master: Master, rows: Ints) -> None:
        """Let models take some options in the program, too."""
        new = rows[~self.opened[rows]]
        self.opened[new] = True
        master.add(
            (("choice", row), Entry((row, self._choice[j]), (-float(self.shards[row]), -1.0)))
            for row, j in zip(new.tolist(), self.model[new].tolist(), strict=True)
        )

    def _start(self, rooms: list[Room], fits: Bools) -> list[Column]:
        """Return the columns known that fit, and each shard alone on every kind of GPU."""
        alone = [(kind, (row,)) for row, kind in np.argwhere(fits).tolist()]
        by_base: dict[int, list[tuple[int, ...]]] = {}
        for base, members in self._columns:
            by_base.setdefault(base, []).append(members)
        known = []
        for kind, base in enumerate(self._base):
            held = by_base.get(base, ())
            if held:
                width = max(map(len, held))
                rows = np.array([(*of, *[-1] * (width - len(of))) for of in held])
                padded = np.pad(rooms[kind].sizes, ((0, 0), (0, 1)))
                taken = padded[:, rows].sum(axis=2).T
                fit = (taken <= rooms[kind].capacity).all(axis=1)
                known += [(kind, held[at]) for at in np.flatnonzero(fit).tolist()]
        return [*known, *alone]

    def known(self, target: float, within: Bools | None) -> tuple[list[Column], Bools]:
        """Return the columns known of some options that fit at a target, and which options do."""
        rooms, fits = self.rooms(target, within)
        return self._start(rooms, fits), np.asarray(fits.any(axis=1))

    def mixes(self, verdict: Verdict) -> Floats | None:
        """Return (kinds, pressures) weights by which one limit leaves least; None where unknown."""
        if not self.compiled or self.instance.pressures < 2 or not math.isfinite(verdict.share):
            return None
        from kvplace.solver.column_generation.compiled_knapsack import best_mix  # noqa: PLC0415 - numba

        found = np.zeros((len(self.kinds), self.instance.pressures + 1))  # the last: the least KV
        rooms, fits = self.rooms(verdict.target)
        for row, room, fit in zip(found, rooms, fits.T, strict=True):
            some = np.flatnonzero(fit & (verdict.prices > 0))
            if room.pressures is not None and len(room.capacity) > 1 and len(some):
                parts = room.sizes[1:, some] / room.capacity[1:, None]
                row[room.pressures] = best_mix(parts, verdict.prices[some], self.model[some])
        return found[:, :-1]

    def least(self, prices: Floats) -> Floats:
        """Return (n,) what each model is priced at in its cheapest option."""
        whole = np.where(self._usable, prices * self.shards, np.inf)
        found: Floats = np.minimum.reduceat(whole, self.instance.columns.starts[:-1])
        return found

    def cheapest(self, prices: Floats) -> Floats:
        """Return prices at which no option of a model is dearer than its cheapest."""
        found: Floats = np.minimum(prices, self.least(prices)[self.model] / self.shards)
        return np.where(self._usable, found, 0.0)

    def keep(self, verdict: Verdict) -> None:
        """Keep what proves most, with prices for options that other targets may allow."""
        others = self.least(verdict.prices)[self.model] / self.shards
        prices: Floats = np.where(self._usable, verdict.prices, others)
        self.proved = replace(verdict, prices=prices)

    def keep_prices(self, target: float, prices: Floats, worths: Floats) -> None:
        """Begin with prices and worths that proved most of a case like this one."""
        self.proved = Verdict(target, 0.0, prices, worths, exact=False)

    def fluid(self, target: float) -> Verdict:
        """Return what the fluid bound says: prices as sizes, worths as room.

        Undivided models under one pressure that need more than half of the largest GPU are priced
        at all that they take of it.
        """
        if self._plain and self.instance.pressures == 1:
            columns, memory = self.instance.columns, np.array([float(m) for _, m in self.kinds])
            sizes = np.maximum(columns.size + columns.load / target, TINY * memory[0])
            return self.verdict(target, _lifted(sizes, memory), memory, exact=False)
        rooms, _ = self.rooms(target)
        prices = np.min([room.sizes[0] / room.capacity[0] for room in rooms], axis=0)
        prices = np.where(np.isfinite(prices), prices, 0.0)
        return self.verdict(target, prices, np.ones(len(rooms)), exact=False)

    def verdict(self, target: float, prices: Floats, worths: Floats, *, exact: bool) -> Verdict:
        """Return what prices and worths say, scaled so that all GPUs are worth 1 together."""
        total, needed = float(self.count @ worths), float(self.least(prices).sum())
        if not 0 < total < math.inf:  # at `inf` it is not known yet how dear sets are
            share = 0.0 if total > 0 else math.inf
            return Verdict(target, share, prices, worths, exact=exact)
        return Verdict(target, needed / total, prices / total, worths / total, exact)

    def extend(self, master: Master, columns: list[Column]) -> bool:
        """Give columns to a master and keep them for the next; whether any is new."""
        self._columns.update(((self._base[kind], members), None) for kind, members in columns)
        return self._give(master, columns)

    def _give(self, master: Master, columns: list[Column]) -> bool:
        held = np.unique([row for _, members in columns for row in members]).astype(np.int64)
        self._open(master, held)
        return master.add(map(self._entry, columns)) > 0

    def _entry(self, column: Column) -> tuple[Column, Entry]:
        rows = (*column[1], len(self.model) + column[0])
        return column, Entry(rows, (1.0,) * len(rows))


def _lifted(sizes: Floats, memory: Floats) -> Floats:
    """Return sizes as prices, those of models that need more than half of the largest GPU higher.

    A GPU less the dearest set that fits beside such a model: no two of them share one, so no set is
    priced above its GPU.
    """
    prices, largest = sizes * (1 - EDGE), memory[-1]
    for j in np.argsort(-sizes, kind="stable")[:LIFTED].tolist():
        if not largest < 2 * sizes[j] <= 2 * largest:
            continue
        beside = []
        for whole in memory[memory >= sizes[j]].tolist():
            room = np.array([whole - float(sizes[j])])
            some = np.flatnonzero(sizes <= room)
            most = Knapsack(sizes[None, some], prices[some], room).upper if len(some) else 0.0
            beside.append((whole - most) * (1 - EDGE))
        prices[j] = max(prices[j], min(beside))
    return prices
