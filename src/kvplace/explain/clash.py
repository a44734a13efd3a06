"""The smallest set of demands that no placement meets together.

Found by a deletion filter (Chinneck and Dravnieks, ORSA Journal on Computing 3, 1991): whatever
can be left out of an impossible set without making it possible is left out, in growing portions.
What remains is irreducible: impossible together, and possible without any one of its members.
Every claim rests on a proof by the solver; what it cannot settle counts as possible, and then
the answer says that a smaller clash may exist.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from kvplace.core.evaluation.constraints import misfits
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.explain.demanded import Demanded, Kind, demanded_of, keeping
from kvplace.explain.placeable import Verdict, placeable
from kvplace.solver.clock import Watch

DEMAND_SECONDS = 5e-5
"""Seconds that a question takes for each demand, before anything is searched."""
SETS_TRIED = 400
"""Smaller sets looked at one by one after the filter, where there are no more than so many."""
QUESTION_SHARE, QUESTION_SECONDS = 0.025, 2.0
"""Share of a time limit for one question, and most time for it."""


@dataclass(frozen=True, slots=True)
class Clash:
    """Demands that no placement meets together.

    Parameters
    ----------
    members
        The demands.
    irreducible
        Whether it is known that without any one of them the others can be met.
    smallest
        Whether it is known that no fewer demands clash.
    problem
        What they ask for: the problem with these demands alone.
    """

    members: tuple[Demanded, ...]
    irreducible: bool
    smallest: bool
    problem: Problem


def find_clash(problem: Problem, watch: Watch | None = None) -> Clash | None:
    """Return a smallest clash of an impossible problem.

    Parameters
    ----------
    problem
        What cannot be placed.
    watch
        Clock and interrupt; when it ends, what is left is a clash that may not be irreducible.

    Returns
    -------
    Clash or None
        None where the problem is not proved impossible.
    """
    if problem.goal is Objective.PRESSURE:  # what can be placed at all depends on no pressure
        problem = problem.with_objective(Objective.OCCUPANCY)
    return _Filter(problem, watch or Watch()).run()


class _Filter:
    """The filter over one problem, with what it has asked already."""

    def __init__(self, problem: Problem, watch: Watch) -> None:
        self._problem = problem
        self._watch = watch
        share = watch.left * QUESTION_SHARE
        self._seconds = min(share, QUESTION_SECONDS) if share < math.inf else None
        self._known: dict[frozenset[Demanded], Verdict] = {}

    def run(self) -> Clash | None:
        everything = demanded_of(self._problem)
        narrowed = self._narrowed(everything)
        if len(narrowed) == len(everything) and self._verdict(everything) is not Verdict.IMPOSSIBLE:
            return None
        small_first = sorted(narrowed, key=self._dispensable)
        rules_first = sorted(small_first, key=lambda m: m.kind in (Kind.MODEL, Kind.MIN_KV))
        found = min((self._filtered(order) for order in (small_first, rules_first)), key=len)
        found, smallest = self._smaller(everything, found)
        rest = [self._verdict([m for m in found if m != dropped]) for dropped in found]
        ordered = tuple(member for member in demanded_of(self._problem) if member in set(found))
        part = keeping(self._problem, found)
        assert part is not None
        irreducible = all(verdict is Verdict.POSSIBLE for verdict in rest)
        return Clash(ordered, irreducible, smallest and irreducible, part)

    def _narrowed(self, members: list[Demanded]) -> list[Demanded]:
        """Return what concerns a model that fits nowhere alone, if there is one, else all."""
        alone = misfits(self._problem)
        if not alone:
            return members
        name = min(alone, key=lambda one: (self._weights(one), one))
        own = [m for m in members if m.subject == name or m.kind in (Kind.RULE, Kind.RESOURCE)]
        return own if self._verdict(own) is Verdict.IMPOSSIBLE else members

    def _weights(self, name: str) -> int:
        index = self._problem.index_of[name]
        return self._problem.need(
            index, max(self._problem.models[index].tensor_parallel)
        ).weights_bytes

    def _dispensable(self, member: Demanded) -> tuple[bool, int, str]:
        """Order demands by what to leave out first: small models, then limits and rules."""
        if member.kind is Kind.MODEL:
            return False, self._weights(member.subject), member.subject
        return True, 0, member.subject

    def _filtered(self, order: Sequence[Demanded]) -> list[Demanded]:
        """Leave out what can be left out, in portions that grow while that works.

        Repeated until nothing more can go: without a rule a model may run in more domains, so
        that a spread over them asks for more, and what was needed before may not be any more.
        """
        kept, before = list(order), -1
        while len(kept) != before:
            before, at, portion = len(kept), 0, max(1, len(kept) // 2)
            while at < len(kept) and not self._watch.stop:
                rest = kept[:at] + kept[at + portion :]
                if self._verdict(rest) is Verdict.IMPOSSIBLE:
                    kept = rest
                    portion = min(2 * portion, max(1, len(kept) - at))
                elif portion == 1:
                    at += 1
                else:
                    portion = max(1, portion // 2)
        return kept

    def _smaller(
        self, members: Sequence[Demanded], found: list[Demanded]
    ) -> tuple[list[Demanded], bool]:
        """Look through all smaller sets, if they are few; return the least, and if it is known.

        A demand without which all others can be met is in every clash: only sets with these
        count. Where a spread is demanded that does not follow, and all sets count.
        """
        spread = any(not rule.monotone for rule in self._problem.rules)
        everything = set(members)
        needed = {
            member
            for member in ([] if spread else found)
            if self._verdict(everything - {member}) is Verdict.POSSIBLE
        }
        others = [member for member in members if member not in needed]
        known = True
        tried = 0
        for size in range(len(found) - len(needed)):
            tried += math.comb(len(others), size)
            if tried > SETS_TRIED or self._watch.stop:
                return found, False
            for some in combinations(others, size):
                verdict = self._verdict(needed.union(some))
                if verdict is Verdict.IMPOSSIBLE:
                    return [*needed, *some], known
                known = known and verdict is Verdict.POSSIBLE
        return found, known

    def _verdict(self, members: Iterable[Demanded]) -> Verdict:
        """Return whether some demands can be met together."""
        key = frozenset(members)
        if key not in self._known:
            if self._watch.stop or len(key) * DEMAND_SECONDS > self._watch.left:
                return Verdict.OPEN
            part = keeping(self._problem, key)
            self._known[key] = (
                Verdict.POSSIBLE if part is None else placeable(part, self._watch, self._seconds)
            )
        return self._known[key]
