"""Close the gap: find the least target that the fleet can reach, and prove the one below.

Three questions are asked of a target K, the cheap ones first: does the configuration program
already call it impossible; does a search over the sets that can matter find a placement; does
that search end without one. Targets start just above the program's own threshold, where few
sets matter, and move up while the search gives up.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.option_sets import OptionSets, Verdict
from kvplace.solver.column_generation.set_pricing import CLEARLY
from kvplace.solver.exact.option_cover import covered, decide_cover

DIRECT_MODELS = 24
"""Up to so many models "nothing better" is asked at once, without a climb towards it."""
WIDTH, CLIMBED, PART = 1e-5, 3e-3, 0.05
"""Relative widths at which a climb of the bound ends, at least and most, and what part of the gap
that is left is enough."""
NEAR = 0.02
"""Relative gap up to which "nothing better" is asked before anything else."""
STEP = 5e-10
"""Relative step below the incumbent at which "nothing better" is asked; half of OPTIMAL_GAP."""
FEWER = 4
"""Part of the nodes of an exact decision that a program over known sets has."""
WHOLE = 1 - 1e-6
"""Part from which a model takes one option."""
KEPT = 0.5
"""Part of the models with several options, by number, that each program keeps to one."""
DIVES = 24
"""Programs asked in a dive at most: one of 60 models that never goes back takes 6."""
PARTS = (0.5, 0.95, 0.7, 0.85, 0.25, 0.1)
"""Parts of the gap by which targets of covers by known sets are below the value, in the order in
which they are asked, from the first again after one that is met: a dive meets targets far down as
often as others."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much to spend; counted, not timed, so that results are reproducible.

    Parameters
    ----------
    sets, nodes
        Limits of each search.
    targets
        Targets asked at most.
    rounds
        Rounds of column generation per target.
    """

    sets: int = 16_000
    nodes: int = 20_000
    targets: int = 24
    rounds: int = 2000


@dataclass(slots=True)
class Proof:
    """The best lower bound so far, with its evidence.

    Parameters
    ----------
    program
        The configuration program that is asked.
    value
        No placement has a smaller max KVPR.
    searched
        Whose prices the exhaustive search rested on that proved it; None where the last of
        `verdicts` proves it.
    verdicts
        Targets that the configuration program called impossible, ascending.
    """

    program: OptionSets
    value: float
    searched: Verdict | None = None
    verdicts: list[Verdict] = field(default_factory=list)

    def raise_to(self, verdict: Verdict) -> None:
        """Take the bound of an impossible target."""
        if verdict.target > self.value:
            self.value, self.searched = verdict.target, None
            self.verdicts.append(verdict)

    def search_to(self, verdict: Verdict) -> None:
        """Take a target that an exhaustive search with these prices proved impossible."""
        self.value, self.searched = verdict.target, verdict

    def refutes(self, target: float, watch: Watch, rounds: int, above: float = 1.0) -> bool:
        """Ask whether the program proves a target impossible, and take its bound if so."""
        verdict = self.program.decide(target, watch, rounds=rounds, settle=False, above=above)
        if verdict.impossible:
            self.raise_to(verdict)
        return verdict.impossible


def nothing_below(proof: Proof, value: float, watch: Watch, rounds: int) -> bool:
    """Ask whether the configuration program proves that nothing is below a value."""
    return value > 0 and proof.refutes(value * (1 - STEP), watch, rounds)


def climb(proof: Proof, value: float, rounds: int, watch: Watch, aimed: float = math.inf) -> None:
    """Raise the bound from below, each time by half of what is left below the value.

    A target that is not found impossible takes the place of the value: whether it is possible often
    stays open. Of targets far from the program's threshold, on either side, that is soon decided.
    It ends near that threshold, for exact decisions just above it are far easier than further up.

    Parameters
    ----------
    proof
        The bound, and what proves it.
    value
        Of an assignment; where the bound is near it, it is asked first if nothing is better.
    rounds, watch
        Limits of a target, and of all.
    aimed
        Part of the bound that a target is above it at most.
    """
    if value <= proof.value * (1 + NEAR) and nothing_below(proof, value, watch, rounds):
        return
    high = value
    while not watch.stop:
        near = max(WIDTH * high, min(CLIMBED * high, PART * (value - proof.value)))
        if high - proof.value <= near:
            break
        target = (proof.value + high) / 2
        if proof.value > 0:
            target = min(target, proof.value * (1 + aimed))
        if proof.refutes(target, watch, rounds, CLEARLY):
            watch.tell("bound", bound=proof.value)
        else:
            high = target


def close_gap(
    proof: Proof, state: Assignment, gap: float, effort: Effort, watch: Watch
) -> Assignment:
    """Narrow the gap from both sides by deciding targets; return the best state."""
    program, value, step, after_find = proof.program, state.worst(), 1e-4, False
    few = program.instance.n <= DIRECT_MODELS
    for _ in range(effort.targets):
        if value <= proof.value * (1 + max(gap, 2 * STEP)) or watch.stop:
            break
        target = proof.value * (1 + step)
        if target >= value * (1 - STEP) or after_find or few:
            target = value * (1 - STEP)
        verdict = program.decide(target, watch, rounds=effort.rounds)
        if verdict.impossible:
            proof.raise_to(verdict)
            after_find = False
            continue
        if not verdict.exact:
            break
        found, impossible = decide_cover(program, verdict, effort.sets, effort.nodes, watch)
        if found is not None:
            if found.worst() >= value:
                break
            state, value = found, found.worst()
            after_find, step = not after_find, step / 4
        elif impossible:
            proof.search_to(verdict)
            after_find, step = False, step * 1.5
        elif target >= value * (1 - STEP):
            if not after_find:
                break
            after_find = False
        else:
            step *= 2
            if after_find:
                break
        watch.tell("search", value, proof.value)
    return state


def pack_exactly(proof: Proof, effort: Effort, watch: Watch) -> Assignment | None:
    """Decide whether memory alone can be packed, where no packing rule found a way.

    Where it cannot, the bound becomes infinite; where neither is settled, None is returned and
    the bound stays.
    """
    program = proof.program
    verdict = program.decide(math.inf, watch)
    if verdict.impossible:
        proof.raise_to(verdict)
        return None
    if not verdict.exact:
        return None
    found, impossible = decide_cover(program, verdict, effort.sets, effort.nodes, watch)
    if impossible:
        proof.search_to(verdict)
    return found


def lower_by_known_sets(
    proof: Proof, state: Assignment, gap: float, effort: Effort, watch: Watch
) -> Assignment:
    """Lower the value target by target, another one after each that is not met.

    Before all sets that are known, those of options to which a dive leads are tried, in which
    models keep to one option each, some at a time.

    Parameters
    ----------
    proof, state
        What is proved, which a target raises that its program calls impossible; and the best
        assignment.
    gap
        Certified relative gap at which to stop.
    effort, watch
        Limits; few nodes decide where sets are few.

    Returns
    -------
    Assignment
        The best one.
    """
    program, nodes = proof.program, effort.nodes // FEWER
    value, parts = state.worst(), list(PARTS)
    for _ in range(effort.targets):
        near = value <= proof.value * (1 + max(gap, 2 * STEP))
        if near or not parts or watch.stop:
            break
        target = value - (value - proof.value) * parts.pop(0)
        verdict = program.decide(target, watch, rounds=effort.rounds)
        if verdict.impossible:
            proof.raise_to(verdict)
            watch.tell("bound", value, proof.value)
            continue
        found = _dived(program, target, effort, watch)
        if found is None and not watch.stop:
            found = covered(program, target, None, nodes, watch)
        if found is not None and found.worst() < value:
            state, value, parts = found, found.worst(), list(PARTS)
            watch.tell("search", value, proof.value)
    return state


def _dived(program: OptionSets, target: float, effort: Effort, watch: Watch) -> Assignment | None:
    """Return an assignment at a target with the options to which a dive leads; None without.

    The program is asked again and again with more models kept to the option that most of them
    takes, and makes the sets of these options meanwhile. Where that is impossible, fewer models are
    kept to one; where one alone is too many, that option is ruled out.
    """
    within = np.ones(len(program.model), dtype=bool)
    starts = program.instance.columns.starts
    chosen, kept = program.chosen, KEPT
    for _ in range(DIVES):
        most = np.maximum.reduceat(np.where(within, chosen, 0.0), starts[:-1])
        open_ = np.flatnonzero(np.add.reduceat(within, starts[:-1]) > 1)
        if not len(open_):
            return covered(program, target, within, effort.nodes // FEWER, watch)
        whole = int((most[open_] > WHOLE).sum()) if kept == KEPT else 0
        count = max(whole, math.ceil(kept * len(open_)))
        tried = within.copy()
        for j in open_[np.argsort(-most[open_], kind="stable")][:count].tolist():
            options = slice(int(starts[j]), int(starts[j + 1]))
            row = options.start + int(np.where(within, chosen, -1.0)[options].argmax())
            tried[options] = False
            tried[row] = True
        verdict = program.decide(target, watch, rounds=effort.rounds, within=tried)
        if not verdict.impossible:
            within, chosen = tried, program.chosen
        elif count > 1:
            kept /= 4
        else:
            within[row] = False
            verdict = program.decide(target, watch, rounds=effort.rounds, within=within)
            chosen = program.chosen
            if verdict.impossible:
                break
        if watch.stop or not (verdict.exact or verdict.impossible):
            break
    return None
