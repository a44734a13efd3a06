"""Seats: GPUs for sets of shards of which only the kind of GPU is known.

The shards of one copy need GPUs of one link domain, and a model may be kept to some GPUs; so sets
that share a split model hang together. Depth-first over the sets, those that share most one after
the other; a domain whose copies lack shards comes first.
"""

from collections import Counter, defaultdict

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.column_generation.option_sets import OptionSets
from kvplace.solver.instance.instance import Copies

NODES = 4_000
"""Seats tried at most."""

Group = tuple[int, tuple[int, ...]]


def seated(program: OptionSets, groups: list[Group]) -> Assignment | None:
    """Return an assignment of the sets of a cover; None where no way was found.

    Parameters
    ----------
    program
        The cluster.
    groups
        Kind of GPU and options of each set.
    """
    search = _Seats(program, groups)
    if not search.place(0):
        return None
    board = Assignment(program.instance, search.where())
    return board if board.valid else None


class _Seats:
    def __init__(self, program: OptionSets, groups: list[Group]) -> None:
        instance = program.instance
        self._program, self._columns = program, instance.columns
        self._degree = list(instance.degree)
        self._groups = _by_company(groups, self._degree)
        self._domain: list[int] = self._columns.domain_of.tolist()
        self._masks = [tuple(map(bool, of)) for of in zip(*self._columns.masks, strict=True)]
        free: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for g, kind in enumerate(program.kind_of):
            free[kind, self._domain[g]].append(g)
        self._free = dict(sorted(free.items()))
        self._lacking = Counter(row for _, rows in groups for row in rows if self._degree[row] > 1)
        self._held: defaultdict[int, Counter[int]] = defaultdict(Counter)
        self._gpus: list[int] = []
        self._nodes = 0

    def place(self, at: int) -> bool:
        """Give GPUs to the sets from one on."""
        if at == len(self._groups):
            return True
        kind, rows = self._groups[at]
        split = [row for row in rows if self._degree[row] > 1]
        open_ = {d: gpus for (k, d), gpus in self._free.items() if k == kind}
        seen: set[object] = set()
        for domain in sorted(open_, key=lambda d: (-self._started(split, d), d)):
            alike = self._alike(domain)
            for g in list(open_[domain]):
                mark = alike, self._masks[g]
                if mark in seen or not self._may(rows, g):
                    continue
                seen.add(mark)
                self._nodes += 1
                if self._nodes > NODES:
                    return False
                open_[domain].remove(g)
                self._gpus.append(g)
                for row in split:
                    self._lacking[row] -= 1
                    self._held[row][domain] += 1
                if all(self._completable(row) for row in split) and self.place(at + 1):
                    return True
                for row in split:
                    self._lacking[row] += 1
                    self._held[row][domain] -= 1
                self._gpus.pop()
                open_[domain].append(g)
                open_[domain].sort()
        return False

    def _alike(self, domain: int) -> object:
        """Return what is the same for domains that are equally good for a set.

        They hold no shard of a split model, and their free GPUs are of the same kinds and in the
        same sets of GPUs that models are kept to.
        """
        if any(held[domain] for held in self._held.values()):
            return domain
        return tuple(
            (kind, tuple(sorted(self._masks[g] for g in gpus)))
            for (kind, d), gpus in self._free.items()
            if d == domain
        )

    def _may(self, rows: tuple[int, ...], g: int) -> bool:
        model, allowed = self._program.model, self._columns.allowed
        return all(allowed[int(model[row])][g] for row in rows)

    def _started(self, split: list[int], domain: int) -> int:
        """Count the split shards whose copies in a domain lack some."""
        return sum(self._held[row][domain] % self._degree[row] > 0 for row in split)

    def _completable(self, row: int) -> bool:
        """Whether enough shards are left to complete the copies begun."""
        degree = self._degree[row]
        begun = sum(-held % degree for held in self._held[row].values())
        return begun <= self._lacking[row]

    def where(self) -> list[Copies]:
        """Return the GPUs of the copies of each model."""
        on: defaultdict[int, list[int]] = defaultdict(list)
        for (_, rows), g in zip(self._groups, self._gpus, strict=True):
            for row in rows:
                on[row].append(g)
        found: list[Copies] = [()] * self._program.instance.n
        for row, gpus in on.items():
            gpus.sort(key=lambda g: (self._domain[g], g))
            degree = self._degree[row]
            found[int(self._program.model[row])] = tuple(
                tuple(gpus[at : at + degree]) for at in range(0, len(gpus), degree)
            )
        return found


def _by_company(groups: list[Group], degree: list[int]) -> list[Group]:
    """Return sets in an order in which those that share split models follow one another."""
    left = sorted(groups, key=lambda group: -sum(degree[row] > 1 for row in group[1]))
    found: list[Group] = []
    known: set[int] = set()
    while left:
        best = max(
            range(len(left)),
            key=lambda at: (sum(row in known for row in left[at][1] if degree[row] > 1), -at),
        )
        group = left.pop(best)
        known.update(row for row in group[1] if degree[row] > 1)
        found.append(group)
    return found
