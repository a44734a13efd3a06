"""Cover all models by sets that are known: a placement near the program's own, soon found.

Targets are asked one after the other. Before all sets that are known, those of options to which a
dive leads are tried, in which models keep to one option each, some at a time.
"""

import math

import numpy as np

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.option_sets import OptionSets
from kvplace.solver.exact.close_gap import STEP, Effort, Proof
from kvplace.solver.exact.integer_cover import covered

FEWER = 4
"""Part of the nodes of an exact decision that these programs have."""
WHOLE = 1 - 1e-6
"""Part from which a model takes one option."""
KEPT = 0.5
"""Part of the models with several options, by number, that each program keeps to one."""
DIVES = 24
"""Programs asked in a dive at most: one of 60 models that never goes back takes 6."""
LEAST_PART = 0.02
"""Part of the gap by which a target is below the value, under which none is asked any more."""


def lower_by_known_sets(
    proof: Proof, state: Assignment, gap: float, effort: Effort, watch: Watch
) -> Assignment:
    """Lower the value target by target, nearer to it after each that is not met.

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
    value, part = state.worst(), 0.5
    for _ in range(effort.targets):
        near = value <= proof.value * (1 + max(gap, 2 * STEP))
        if near or part < LEAST_PART or watch.stop:
            break
        target = proof.value + (value - proof.value) * (1 - part)
        verdict = program.decide(target, watch, rounds=effort.rounds)
        if verdict.impossible:
            proof.raise_to(verdict)
            watch.tell("bound", value, proof.value)
            continue
        found = _dived(program, target, effort, watch)
        if found is None and not watch.stop:
            found = covered(program, target, None, nodes, watch)
        if found is not None and found.worst() < value:
            state, value = found, found.worst()
            watch.tell("search", value, proof.value)
        else:
            part /= 2
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
