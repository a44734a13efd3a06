"""Confined: models that only GPUs with more memory than most hold, packed by an integer program.

A mixed pool is short of its largest GPUs first. Few models fit on no others, one or two of them
beside one another, so that whole sets of their shards are soon found: those that the configuration
program made, and all pairs that are nearly as dear as their GPU at its prices.
"""

import math
from array import array
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np

from kvplace.solver.array_types import Floats, Ints
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.master import Entry, add_columns, add_rows, quiet_highs
from kvplace.solver.column_generation.option_sets import OptionSets
from kvplace.solver.construct.open_domains import OpenDomains
from kvplace.solver.instance.instance import Copies, Instance, Option
from kvplace.solver.instance.options import Chooser

PART = 1e-6
"""Part of a model from which an option of it counts."""
NEAR = 0.06
"""Part of a GPU's worth by which a pair of shards may be cheaper than the GPU."""
NODES = 200
"""Nodes of one integer program at most; with its gap, it takes 1 to 2 s of CPU."""
TIME_SHARE = 0.5
"""Part of the time left that it may take."""
EXACT = 1e-12
"""Part of a GPU's memory left to rounding."""
SCALE = 1e3
"""Factor on what GPUs are worth, so that tolerances are far below it."""
FREE = 1e-6
"""What a GPU costs at least, in parts of the worth of all."""

FEASIBLE = 2
"""What HiGHS says of a solution that keeps all limits."""
GAP = 3e-3
"""Relative gap at which it ends."""

_Set = tuple[int, tuple[int, ...]]
"""Kind of a GPU, and the options, by number, of which it has a shard each. Where two are of split
models, that stands for as many GPUs as the narrower has shards."""


class Confined:
    """The models of a cluster that fit only on the GPUs with most memory.

    Parameters
    ----------
    chooser
        The options of the cluster's models; of one pressure.
    low
        A lower bound: the target at which they are looked for.
    most
        Options of all of them together at most.

    Attributes
    ----------
    models
        Which they are; none where there are no such models, or too many.
    common
        Bytes of the largest GPU that holds none of them.
    """

    def __init__(self, chooser: Chooser, low: float, most: int) -> None:
        self._instance = chooser.instance
        self.models, self.common = list[int](), 0.0
        for memory, some in chooser.confined(low, most):
            if all(map(self._instance.anywhere, some.tolist())):
                self.models, self.common = some.tolist(), float(memory)
                break
        rows = [self._instance.options[j] for j in self.models]
        part = _instance_of(self._instance, rows, self.models)
        self._program = OptionSets(part) if rows else None

    def packed(self, target: float, watch: Watch) -> Assignment | None:
        """Return the cluster with these models alone, on few GPUs; None where none is found."""
        program = self._program
        if program is None:
            return None
        verdict = program.decide(target, watch)
        if verdict.impossible or not verdict.exact or watch.stop:
            return None
        rows = np.flatnonzero(program.chosen > PART)
        worths = np.maximum(verdict.worths, FREE)
        sets = _sets(program, rows, verdict.prices[rows], worths, target)
        found = _cover(program, rows, sets, worths, watch.left * TIME_SHARE)
        return None if found is None else self._seated(rows, found)

    def _seated(self, rows: Ints, sets: list[_Set]) -> Assignment | None:
        """Put sets of options on GPUs, those of one copy of a split model in one link domain."""
        program, instance = self._program, self._instance
        assert program is not None
        board, starts = Assignment(instance), program.instance.columns.starts
        model = [self.models[part] for part in program.model[rows].tolist()]
        first = starts[program.model[rows]]
        options = [
            instance.options[j][at] for j, at in zip(model, (rows - first).tolist(), strict=True)
        ]
        used = {k for _, members in sets for k in members}
        split = {k for k in used if options[k].degree > 1}
        gpus: dict[int, list[int]] = {}
        for g in range(instance.g - 1, -1, -1):
            gpus.setdefault(int(program.kind_of[g]), []).append(g)
        domains = OpenDomains(board, gpus)
        gpu_of: dict[int, int] = {}
        for k in sorted(split, key=lambda k: (-options[k].degree, k)):
            own = [at for at, (_, members) in enumerate(sets) if k in members]
            kind, beside = sets[own[0]][0], [gpu_of[at] for at in own if at in gpu_of]
            if len(beside) == options[k].degree:
                board.apply([(model[k], options[k], (tuple(sorted(beside)),))])
                continue
            if beside or not domains.place(model[k], options[k], kind):
                return None
            taken = [g for copy in board.where[model[k]] for g in copy]
            gpu_of.update(zip(own, taken, strict=False))
        open_ = {kind: [g for g in some if not board.members[g]] for kind, some in gpus.items()}
        where: dict[int, Copies] = {}
        for at, (kind, members) in enumerate(sets):
            g = gpu_of[at] if at in gpu_of else open_[kind].pop()
            for k in members:
                if k not in split:
                    where[k] = (*where.get(k, ()), (g,))
        board.apply([(model[k], options[k], copies) for k, copies in where.items()])
        return board if all(board.where[j] for j in self.models) else None


def _sets(
    program: OptionSets, rows: Ints, prices: Floats, worths: Floats, target: float
) -> list[_Set]:
    """Return sets of some options that fit a kind of GPU at a target."""
    columns, number = program.instance.columns, {int(row): k for k, row in enumerate(rows)}
    size = columns.size[rows].astype(np.float64)
    loaded, kept = size + columns.loads[rows, 0, 0] / target, size + columns.keep[rows]
    degree, copies = _degree(program, rows), np.array(program.instance.copies)[rows]
    split = degree > 1
    two = split[:, None] & split & ~((copies > 1)[:, None] | (copies > 1))
    found: dict[_Set, None] = {}
    for kind, (_, memory) in enumerate(program.kinds):
        room = memory * (1 - EXACT) - 1.0
        fits = (loaded < room) & (kept <= memory)
        both = (loaded[:, None] + loaded < room) & (kept[:, None] + kept <= memory)
        dear = prices[:, None] + prices >= worths[kind] * (1 - NEAR)
        both &= two | (dear & ~(split[:, None] & split))
        found.update(dict.fromkeys((kind, (k,)) for k in np.flatnonzero(fits).tolist()))
        found.update(dict.fromkeys(
            (kind, (k, other)) for k, other in np.argwhere(np.triu(both, 1)).tolist()
        ))  # fmt: skip
    known, _ = program.known(target, np.isin(np.arange(len(program.model)), rows))
    for kind, members in known:
        some = tuple(sorted(number[row] for row in members))
        if split[list(some)].sum() <= 1:
            found[kind, some] = None
    # Shards of a copy go on GPUs of one kind: the one with most memory that has room for it.
    most = {
        k: max((kind for kind, some in found if some == (k,)), default=-1)
        for k in np.flatnonzero(split).tolist()
    }
    return [one for one in found if all(most.get(k, one[0]) == one[0] for k in one[1])]


def _cover(
    program: OptionSets, rows: Ints, sets: list[_Set], worths: Floats, seconds: float
) -> list[_Set] | None:
    """Return sets that hold all shards and are worth least, None where none are found in time."""
    n, shards, kinds = len(rows), program.shards[rows], len(worths)
    highs = quiet_highs(time_limit=max(seconds, 0.0), mip_rel_gap=GAP, mip_max_nodes=NODES)
    model, count = np.unique(program.model[rows], return_inverse=True)
    one = [1.0] * len(model)  # each takes one option
    low, high = [0.0] * n + [-math.inf] * kinds, [math.inf] * n + program.count.tolist()
    add_rows(highs, low + one, high + one)
    degree = _degree(program, rows)
    wide = [degree[[*some]].min() if (degree[[*some]] > 1).sum() > 1 else 1 for _, some in sets]
    entries = [
        Entry((*some, n + kind), (float(times),) * (len(some) + 1))
        for (kind, some), times in zip(sets, wide, strict=True)
    ]
    costs = SCALE * worths[[kind for kind, _ in sets]] * wide
    add_columns(highs, entries, float(shards.max()), costs, whole=True)
    add_columns(highs, [
        Entry((k, n + kinds + of), (-float(shards[k]), 1.0)) for k, of in enumerate(count.tolist())
    ], upper=1.0, whole=True)  # fmt: skip
    highs.run()
    values = np.array(highs.getSolution().col_value)
    if len(values) != len(sets) + n or highs.getInfo().primal_solution_status != FEASIBLE:
        return None
    taken = np.round(values).astype(np.int64)
    return _held(sets, taken[: len(sets)], np.array(wide), shards * taken[len(sets) :])


def _held(sets: list[_Set], times: Ints, wide: Ints, shards: Ints) -> list[_Set] | None:
    """Return what is on each GPU, None where shards are left.

    What sets hold too often is left out. Those of two split models come first, as all shards of the
    narrower go on GPUs of the other.

    Parameters
    ----------
    sets, times, wide
        The sets, how often each is taken, and for how many GPUs it stands.
    shards
        Of each option, on all GPUs together.
    """
    left, found = shards.tolist(), list[_Set]()
    for at in np.argsort(-wide, kind="stable").tolist():
        kind, some = sets[at]
        for _ in range(int(times[at] * wide[at])):
            members = tuple(k for k in some if left[k] > 0)
            for k in members:
                left[k] -= 1
            if members:
                found.append((kind, members))
    return found if not any(left) else None


def _degree(program: OptionSets, rows: Ints) -> Ints:
    """Return the shards of a copy of some options."""
    found: Ints = np.array(program.instance.degree)[rows]
    return found


def _instance_of(
    instance: Instance, rows: Sequence[Sequence[Option]], firsts: Sequence[int]
) -> Instance:
    """Return an instance of other models on the same GPUs.

    Parameters
    ----------
    instance
        Of one pressure.
    rows
        Options of each model.
    firsts
        The model that each stands for.
    """
    every = [option for row in rows for option in row]
    return replace(
        instance,
        starts=array("q", [0, *accumulate(map(len, rows))]),
        degree=array("i", [option.degree for option in every]),
        copies=array("i", [option.copies for option in every]),
        size=array("q", [option.size for option in every]),
        keep=array("q", [option.keep for option in every]),
        loads=array("d", [option.load for option in every]),
        model_index=array("q", [instance.model_index[j] for j in firsts]),
        mask_of=array("i", [instance.mask_of[j] for j in firsts] if instance.masks else []),
    )
