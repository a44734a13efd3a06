"""Cases of a proof tree: where the options of models may be, and which link domains are alike.

A copy of a model lies in one link domain, so an option of one copy is in one domain or in none. A
choice names some options of a model and some domains: in the first case the model takes one of
these options, all of it in one of these domains; in the second it takes none of them there. Of an
option of several copies a choice names all domains, since its copies may be in different ones.

Domains are alike where they hold the same GPUs, the same models may run on these, and the case
has kept the same options out of both. Nothing else distinguishes them in what a tree proves, so in
the first case one of several that are alike stands for all: whatever holds all models with the
option in another holds them, too, with the two domains exchanged.
"""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from kvplace.core.certificates.claim import Choice
from kvplace.core.problem import Problem

Kind = tuple[str, int]
"""A kind of GPU: its type, empty where that does not matter, and its usable bytes."""
Where = dict[int, tuple[int, ...]]
"""By model, the domains in which each of its options may be, as bits; other models anywhere."""


class Case(NamedTuple):
    """A case: what it says of one model, and the case within which it does.

    Parameters
    ----------
    model
        Position of the model.
    options
        Domains in which each of its options may be, as bits.
    within
        The case before; None for the first.
    """

    model: int
    options: tuple[int, ...]
    within: "Case | None"


class Domains:
    """The link domains of a fleet.

    Parameters
    ----------
    problem
        The problem.
    typed
        Whether GPUs of different types differ; else only those of different memory do.
    spend
        Told how many steps are taken before they are.

    Attributes
    ----------
    names
        Of the domains, in the order of the fleet.
    kinds
        The GPUs of each domain by kind.
    """

    def __init__(
        self, problem: Problem, *, typed: bool, spend: Callable[[int], object] = lambda _: None
    ) -> None:
        self._problem, self._spend, fleet = problem, spend, problem.fleet
        of_gpu = [fleet.domain(gpu.id, "link") or "" for gpu in fleet.gpus]
        self.names = tuple(dict.fromkeys(of_gpu))
        self.position = {name: at for at, name in enumerate(self.names)}
        self._at = {
            gpu.id: self.position[name] for gpu, name in zip(fleet.gpus, of_gpu, strict=True)
        }
        self._kind: dict[str, Kind] = {
            gpu.id: (gpu.type if typed else "", gpu.usable_bytes) for gpu in fleet.gpus
        }
        every = frozenset(self._at)
        self.kinds = self._held(every)
        self._reach = {id(every): self.kinds}
        self._groups = [every]  # kept, so that ids stay theirs
        for index in range(len(problem.names)):
            self.reach(index)
        marks = [
            tuple(tuple(sorted(held[at].items())) for held in self._reach.values())
            for at in range(len(self.names))
        ]
        number = {mark: at for at, mark in reversed(list(enumerate(marks)))}
        self._first = [number[mark] for mark in marks]

    def _held(self, gpus: frozenset[str]) -> list[Counter[Kind]]:
        """Count some GPUs by domain and kind."""
        found: list[Counter[Kind]] = [Counter() for _ in self.names]
        for gpu in gpus:
            found[self._at[gpu]][self._kind[gpu]] += 1
        return found

    def reach(self, model: int) -> list[Counter[Kind]]:
        """Return the GPUs of each domain, by kind, that a model may run on."""
        allowed = self._problem.allowed(model)
        if id(allowed) not in self._reach:
            self._spend(len(allowed) + len(self.names))
            self._reach[id(allowed)] = self._held(allowed)
            self._groups.append(allowed)
        return self._reach[id(allowed)]

    def anywhere(self, model: int) -> tuple[int, ...]:
        """Return the domains that are wide enough for a copy in each option of a model."""
        table, held = self._problem.option_table, self.reach(model)
        self._spend(len(self.names))
        widths = [sum(kinds.values()) for kinds in held]
        wide: dict[int, int] = {}
        first, end = table.starts[model], table.starts[model + 1]
        for degree in table.degrees[first:end]:
            if degree not in wide:
                self._spend(len(self.names))
                wide[degree] = sum(1 << at for at, width in enumerate(widths) if width >= degree)
        return tuple(wide[degree] for degree in table.degrees[first:end])

    def where(self, case: Case | None) -> Where:
        """Return where options may be in a case."""
        found: Where = {}
        while case is not None:
            self._spend(1)
            found.setdefault(case.model, case.options)
            case = case.within
        return found

    def alike(self, where: Where) -> list[int]:
        """Return for each domain the first one that is like it."""
        masks = {bits for options in where.values() for bits in options}
        self._spend((len(masks) + 1) * len(self.names))
        first: dict[tuple[int, ...], int] = {}
        found = []
        for at, of in enumerate(self._first):
            mark = (of, *(bits >> at & 1 for bits in masks))
            found.append(first.setdefault(mark, at))
        return found

    def cases(self, case: Case | None, choice: Choice) -> tuple[Case, Case] | str:
        """Return the two cases of a choice, or why it is none."""
        table, model = self._problem.option_table, choice.model
        if model not in range(len(self._problem.names)) or not choice.options:
            return "it does not name options of a model"
        name, first = self._problem.names[model], table.starts[model]
        if not set(choice.options) <= set(range(table.count(model))):
            return f"{name!r} has no such options"
        if not set(choice.domains) <= self.position.keys():
            return "it names a link domain that the fleet does not have"
        where = self.where(case)
        may = where.get(model) or self.anywhere(model)
        alike = self.alike(where)
        named = sum(1 << self.position[domain] for domain in set(choice.domains))
        inside, outside = [0] * len(may), list(may)
        self._spend(len(may) + len(choice.options) * len(alike) + len(choice.domains))
        for at in set(choice.options):
            if not choice.domains:
                inside[at], outside[at] = may[at], 0
            elif table.copies[first + at] > 1:
                return f"copies of {name!r} may be in several link domains"
            else:
                taken = may[at] & named
                kept = {alike[d] for d in range(len(alike)) if taken >> d & 1}
                # The first that is like it may not be named: then another one stands for it.
                for d in range(len(alike)):
                    if taken >> d & 1 and alike[d] in kept:
                        kept.remove(alike[d])
                        inside[at] |= 1 << d
                outside[at] = may[at] & ~named
        return Case(model, tuple(inside), case), Case(model, tuple(outside), case)
