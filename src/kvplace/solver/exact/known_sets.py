"""Cover all models by sets that are known: a placement near the program's own, soon found.

Targets are asked one after the other.
"""

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.exact.close_gap import STEP, Effort, Proof
from kvplace.solver.exact.integer_cover import covered

FEWER = 4
"""Part of the nodes of an exact decision that these programs have."""
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
        found = covered(program, target, nodes, watch)
        if found is not None and found.worst() < value:
            state, value = found, found.worst()
            watch.tell("search", value, proof.value)
        else:
            part /= 2
    return state
