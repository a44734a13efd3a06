"""Decide a target by cases over options and link domains, where fractions of them hide the answer.

The configuration program mixes the options of a model and spreads what must lie together, which no
placement does. Where it does, the model takes one option in one link domain, or it does not, and
both cases are decided. Where it does not, the sets that can matter are searched for a cover. Every
case closed proves the target impossible; a cover is a placement.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kvplace.core.certificates.cases import Case, Domains, Where
from kvplace.core.certificates.claim import Bound, Choice
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.solver.array_types import Bools, Floats, Ints
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch, Within
from kvplace.solver.column_generation.option_sets import OptionSets
from kvplace.solver.column_generation.set_pricing import Closed, Tree, Verdict
from kvplace.solver.exact.close_gap import STEP, Effort
from kvplace.solver.exact.option_cover import covered, decide_cover

WHOLE = 1 - 1e-6
"""Part from which a model takes one option in one place."""
PARTS = (0.5, 0.2, 0.8)
"""Parts of the gap above the bound at which targets are asked, the last that was decided first."""
NEAR = 0.01
"""Relative gap up to which "nothing better" is asked."""
TURN = 0.15
"""Part of the time in which a target is decided, or the next one has its turn; twice as much once
all had theirs, as which of them is soon decided shows only then."""
CHECKED = 0.2
"""Part of the time left, at least, that a turn leaves for checking what it proves; as much as the
longest check took, where that is more."""
FEWER = 8
"""Part of the sets and nodes of an exact decision that a search in one case has."""


Prove = Callable[[float, Tree], Bound | None]
"""Returns the bound of a target with its proof tree, None where that does not check."""


def narrow_by_cases(
    tree: "DomainTree",
    state: Assignment,
    low: float,
    effort: Effort,
    watch: Watch,
    prove: Prove,
    part: float = 1.0,
) -> tuple[Assignment, Bound | None]:
    """Narrow the gap from both sides by targets that are decided by cases.

    Half of the way up first, then nearer to what is proved, then nearer to the value; just below
    the value once the two are near. Targets take turns, and each goes on from where it was.

    Parameters
    ----------
    tree, state, low
        The cluster, its best assignment, and its bound.
    effort, watch
        Limits; `Effort.targets` bounds the cases of a target.
    prove
        Checks what is proved, which may take longer.
    part
        Part of the time left after which it ends; of what is left then where something was decided.

    Returns
    -------
    tuple
        The best assignment, and the best bound proved; None for none above `low`.
    """
    value, best, parts, longest = state.worst(), None, list(PARTS), 0.0
    within, turn = Within(watch, watch.left * part), TURN * watch.left * part
    while not within.stop and longest < watch.left and value > low * (1 + 2 * STEP):
        near = value <= low * (1 + NEAR)
        aims = {at: low + (value - low) * at for at in parts}
        aims = {1.0: value * (1 - STEP)} if near else aims
        moved, open_ = 0.0, [at for at in aims if tree.open(aims[at], effort)]
        for at in open_:
            time = min(turn, watch.left * (1 - CHECKED), watch.left - longest)
            found, proof = tree.run(aims[at], effort, Within(within, time))
            began = watch.seconds
            bound = prove(aims[at], proof) if proof else None
            longest = max(longest, watch.seconds - began)
            if bound is not None:
                low, best, moved = aims[at], bound, at
            elif found is not None and found.worst() < value:
                state, value, moved = found, found.worst(), at
            watch.tell("search", value, low)
            if moved:
                break
        if not open_:
            break
        if moved:
            parts.sort(key=lambda at: at != moved)
            within = Within(watch, watch.left * part)
        else:
            turn *= 2
    return state, best


@dataclass(slots=True)
class _Begun:
    """How far a target is.

    Parameters
    ----------
    tree
        Its cases so far.
    cases
        Cases to be decided, the next one last, each with the one that it is a case of.
    stuck
        Whether nothing divides the next one any further.
    """

    tree: Tree
    cases: "list[tuple[Case | None, _Node | None]]"
    stuck: bool = False


class DomainTree:
    """Decides targets of one cluster.

    Parameters
    ----------
    problem, program
        The cluster.

    Attributes
    ----------
    domains
        The link domains.
    single
        (rows,) whether an option is of one copy, which is in one domain.
    """

    def __init__(self, problem: Problem, program: OptionSets) -> None:
        self._program, instance = program, program.instance
        self.domains = Domains(problem, typed=problem.goal is Objective.PRESSURE)
        gpus = [problem.fleet.gpus[g].id for g in instance.gpu_index]
        names = [problem.fleet.domain(gpu, "link") or "" for gpu in gpus]
        self._domain_of = [self.domains.position[name] for name in names]
        self._starts: Ints = instance.columns.starts
        self.single: Bools = np.array(instance.copies) == 1
        self._begun: dict[float, _Begun] = {}
        self._anywhere = np.zeros((len(program.model), len(self.domains.names)), dtype=bool)
        for j, index in enumerate(instance.model_index):
            self._fill(self._anywhere, j, self.domains.anywhere(index))

    def _fill(self, within: Bools, j: int, options: tuple[int, ...]) -> None:
        """Write down where the options of a model may be."""
        for row, bits in enumerate(options, int(self._starts[j])):
            within[row] = [bits >> at & 1 for at in range(within.shape[1])]

    def run(self, target: float, effort: Effort, watch: Watch) -> tuple[Assignment | None, Tree]:
        """Return a placement at the target, or a proof that there is none, or neither.

        A target asked before goes on from where it was.

        Parameters
        ----------
        target
            K, in load per byte.
        effort, watch
            Limits; `Effort.targets` bounds the cases.
        """
        begun = self._begun.setdefault(target, _Begun([], [(None, None)]))
        while self.open(target, effort) and not watch.stop:
            case, before = begun.cases[-1]
            of = _Node(self, target, case, before)
            found, node = of.decide(effort, watch)
            if found is not None:
                begun.cases.clear()
                return found, []
            if node is None:
                begun.stuck = not watch.stop
                continue
            begun.cases.pop()
            begun.tree.append(node)
            if isinstance(node, Choice):
                both = self.domains.cases(case, node)
                assert not isinstance(both, str), both
                begun.cases += [(other, of) for other in both[::-1]]
            elif not begun.cases:
                tree = begun.tree
                return None, tree if len(tree) > 1 else self._whole(tree)
        return None, []

    def open(self, target: float, effort: Effort) -> bool:
        """Whether a target was not asked before, or is not decided yet and may be."""
        begun = self._begun.get(target)
        if begun is None:
            return True
        return bool(begun.cases) and not begun.stuck and len(begun.tree) < effort.targets

    def _whole(self, tree: Tree) -> Tree:
        """Return a tree with a choice, on which worths by link domain rest."""
        index = self._program.instance.model_index[0]
        options = range(int(self._starts[1] - self._starts[0]))
        return [Choice(index, tuple(options)), *tree, *tree]

    def case(self, where: Where) -> tuple[OptionSets, list[int], list[int]]:
        """Return the program of a case, the part of each of its kinds, and that of each domain."""
        alike = self.domains.alike(where)
        firsts = sorted(set(alike))
        part = [firsts.index(at) for at in alike]
        within = self._anywhere.copy()
        number = {index: j for j, index in enumerate(self._program.instance.model_index)}
        for index, options in where.items():
            self._fill(within, number[index], options)
        part_of = [part[at] for at in self._domain_of]
        program = self._program.divided(part_of, within[:, firsts])
        of_kind = dict(zip(program.kind_of, part_of, strict=True))
        return program, [of_kind[kind] for kind in range(len(program.kinds))], part


class _Node:
    """One case of a target, with the prices of the case before it to begin with."""

    def __init__(
        self, tree: DomainTree, target: float, case: Case | None, before: "_Node | None"
    ) -> None:
        self._tree, self._target = tree, target
        self.program, self._part_of_kind, self._part = tree.case(tree.domains.where(case))
        self._starts = self.program.instance.columns.starts
        self.prices: Floats | None = None
        if before is not None and before.prices is not None:
            kinds = [self.program.kind_of.index(kind) for kind in range(len(self.program.kinds))]
            worths = before.worths[[before.program.kind_of[g] for g in kinds]]
            self.program.keep_prices(target, before.prices, worths)

    def decide(
        self, effort: Effort, watch: Watch
    ) -> tuple[Assignment | None, Choice | Closed | None]:
        """Return a placement, or a choice or what closes the case, or neither."""
        program, rounds = self.program, effort.rounds
        verdict = program.decide(self._target, watch, rounds=rounds, settle=False)
        if verdict.impossible:
            return None, self._closed(verdict)
        self._keep(verdict)
        first = self._mixed(verdict, self._shares())
        if first is None and not watch.stop:
            verdict = program.decide(self._target, watch, rounds=rounds)
            if verdict.impossible:
                return None, self._closed(verdict)
            first = self._mixed(verdict, self._shares())
            if first is None and verdict.exact:
                found, impossible = self._searched(verdict, effort, watch)
                if found is not None:
                    return found, None
                if impossible:
                    return None, self._closed(verdict)
        if first is None or watch.stop:
            return None, None
        row, part = first
        model = int(program.model[row])
        index = program.instance.model_index[model]
        names = self._tree.domains.names
        domains = tuple(names[at] for at, of in enumerate(self._part) if of == part)
        return None, Choice(index, (row - int(self._starts[model]),), domains)

    def _searched(
        self, verdict: Verdict, effort: Effort, watch: Watch
    ) -> tuple[Assignment | None, bool]:
        """Search the sets known for a cover, then all that can matter; as `decide_cover`."""
        sets, nodes = effort.sets // FEWER, effort.nodes // FEWER
        found = covered(self.program, self._target, None, nodes, watch)
        if found is not None:
            return found, False
        return decide_cover(self.program, verdict, sets, nodes, watch)

    def _keep(self, verdict: Verdict) -> None:
        """Keep the prices for the cases within this one."""
        if math.isfinite(verdict.share):
            self.prices, self.worths = verdict.prices, verdict.worths

    def _closed(self, verdict: Verdict) -> Closed:
        """Return what closes the case."""
        kinds = [self.program.kind_of.index(kind) for kind in range(len(self.program.kinds))]
        parts = [self._part.index(part) for part in self._part_of_kind]
        if math.isinf(verdict.share):  # a model finds no place at all
            prices = verdict.prices[self._starts[:-1]]
        else:
            prices = self.program.least(verdict.prices)
        return Closed(prices, verdict.worths, tuple(parts), tuple(kinds))

    def _shares(self) -> Floats:
        """Return (rows, parts) what part of its model an option is there."""
        program = self.program
        placed = np.zeros((len(program.model), max(self._part) + 1))
        np.add.at(placed.T, self._part_of_kind, program.placed.T)
        total = placed.sum(axis=1, keepdims=True)
        found: Floats = placed / np.maximum(total, 1e-9) * program.chosen[:, None]
        return found

    def _mixed(self, verdict: Verdict, share: Floats) -> tuple[int, int] | None:
        """Return the option, and the part, of the model that the program mixes most.

        The part is -1 for all. Where it mixes none, those of the dearest model in several link
        domains that are alike; None where there is none either.
        """
        single, starts = self._tree.single, self._starts
        most = np.where(single, share.max(axis=1), share.sum(axis=1))
        whole = np.maximum.reduceat(most, starts[:-1])
        least = self.program.least(verdict.prices)
        least = np.where(np.isfinite(least), least, 0.0)
        cost = np.where(whole < WHOLE, (1 - whole) * least, -1.0)
        if not (whole < WHOLE).any():
            several = np.bincount(self._part)[share.argmax(axis=1)] > 1
            spread = np.maximum.reduceat(single & several & (most > 0.5), starts[:-1])
            if not spread.any():
                return None
            cost = np.where(spread, least, -1.0)
        model = int(cost.argmax())
        row = int(starts[model]) + int(most[starts[model] : starts[model + 1]].argmax())
        return row, int(share[row].argmax()) if single[row] else -1
