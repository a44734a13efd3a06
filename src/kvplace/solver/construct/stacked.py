"""Stack: split models that share their GPUs taken as one, for a start built from configurations.

A set of a start has one shard of a split model at most, so that the shards of a copy find a link
domain together. Where the largest GPUs are scarce, two split models of one degree may do with the
GPUs of one, and a model of twice the degree with those of two others.
"""

from array import array
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.instance.instance import Copies, Instance, Option

__all__ = ["Stacked", "instance_of", "stacked"]


class _Pile(NamedTuple):
    """Models on the GPUs of the first, and what a shard of them takes at most."""

    models: tuple[int, ...]
    degree: int
    size: int
    keep: int
    load: float

    def need(self, target: float) -> float:
        """Return the bytes that a shard takes at a target, the KV that must be left included."""
        return self.size + max(self.load / target, self.keep)


class Stacked(NamedTuple):
    """An instance in which piles of split models are one model each.

    Parameters
    ----------
    instance
        The models that are in no pile, in order, then the piles.
    alone
        Models that are in no pile.
    piles
        Models of each pile; the first is as wide as the pile, the others one after the other.
    """

    instance: Instance
    alone: Sequence[int]
    piles: Sequence[tuple[int, ...]]

    def board(self, whole: Instance, found: Assignment) -> Assignment:
        """Return an assignment of the whole instance from one of this."""
        where: list[Copies] = [()] * whole.n
        for j, copies in zip(self.alone, found.where, strict=False):
            where[j] = copies
        for pile, copies in zip(self.piles, found.where[len(self.alone) :], strict=True):
            for copy in copies:
                where[pile[0]], first = (copy,), 0
                for j in pile[1:]:
                    end = first + whole.options[j][0].degree
                    where[j], first = (copy[first:end],), end
        return Assignment(whole, where)


def stacked(instance: Instance, target: float, watch: Watch) -> Stacked | None:
    """Return an instance with as many piles as best fit finds at a target; None for none in time.

    Parameters
    ----------
    instance
        Of one pressure; models of which rules speak are in no pile.
    target
        In load per byte, above 0 and finite.
    watch
        When to stop.
    """
    if instance.blueprints or instance.uneven or instance.pressures > 1:
        return None
    single = []
    for j, options in enumerate(instance.options):
        if min(option.degree for option in options) > 1 and instance.anywhere(j):
            option = min(options, key=lambda option: option.taken(target) * option.shards)
            if option.copies == 1:
                single.append(_Pile((j,), option.degree, option.size, option.keep, option.load))
    piles = _piles(single, target, instance.memory[0], watch)
    if not piles or watch.stop:
        return None
    gone = {j for pile in piles for j in pile.models}
    alone = [j for j in range(instance.n) if j not in gone]
    rows: list[list[Option]] = [instance.options[j] for j in alone]
    rows += [[Option(0, pile.degree, 1, pile.size, pile.keep, ((pile.load,),))] for pile in piles]
    firsts = [*alone, *(pile.models[0] for pile in piles)]
    whole = instance_of(instance, rows, firsts)
    return Stacked(whole, alone, [pile.models for pile in piles])


def instance_of(
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


def _piles(single: list[_Pile], target: float, memory: int, watch: Watch) -> list[_Pile]:
    """Return piles, the largest models first, each on what leaves least beside it; some in time."""
    left = sorted(single, key=lambda pile: (-pile.need(target), pile.models))
    found = []
    while left and not watch.stop:
        base = left.pop(0)
        best: tuple[_Pile, list[_Pile]] | None = None
        for degree in (base.degree, base.degree // 2):
            fitting = [
                pile for pile in left
                if pile.degree == degree and _on(base, [pile]).need(target) < memory
            ]  # fmt: skip
            above = fitting[: base.degree // degree] if degree else []
            if above and sum(pile.degree for pile in above) == base.degree:
                pile = _on(base, above)
                if best is None or pile.need(target) > best[0].need(target):
                    best = pile, above
        if best is not None:
            found.append(best[0])
            left = [pile for pile in left if pile not in best[1]]
    return found


def _on(base: _Pile, above: list[_Pile]) -> _Pile:
    """Return the pile of a model and others beside one another on its GPUs."""
    return _Pile(
        tuple(j for pile in (base, *above) for j in pile.models),
        base.degree,
        base.size + max(pile.size for pile in above),
        base.keep + max(pile.keep for pile in above),
        base.load + max(pile.load for pile in above),
    )
