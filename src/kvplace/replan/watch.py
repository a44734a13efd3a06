"""Whether it is time to re-plan: a re-plan within a budget, and what a policy says of it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

from kvplace.core.models.model import Model
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import Result
from kvplace.replan.history.trigger import Decision, History, Policy, Seen, decide
from kvplace.replan.outcome import Budget, Replan
from kvplace.replan.replan import replan
from kvplace.solver.clock import Watch

_BUDGET = Budget(moves=3, gain=0.01)


@dataclass(frozen=True, slots=True)
class Watched:
    """What was found out.

    Parameters
    ----------
    decision
        Whether to re-plan, why or why not, and what to remember for the next time.
    replan
        The re-plan that was weighed.
    """

    decision: Decision
    replan: Replan


def watch(
    problem: Problem | Result,
    current: Placement | Result | None = None,
    *,
    policy: Policy | None = None,
    history: History | None = None,
    budget: Budget | None = None,
    former: Mapping[str, Model] | None = None,
    now: float | None = None,
    time_limit: float | str | None = None,
    clock: Watch | None = None,
) -> Watched:
    """Look once whether a fleet is to be re-planned. Nothing is changed.

    Parameters
    ----------
    problem
        What is asked of the fleet now; or the result that runs, where that is as ever.
    current
        What runs: a placement, such as that of an observation, or the result that has it.
    policy
        What must pay; None for at least 5 % off the highest pressure.
    history
        What `Decision.history` said the last time; None for the first time.
    budget
        What may be changed; None for 3 changes that each pay 1 %.
    former
        As in `kvplace.replan`.
    now
        Seconds since 1970; None for the machine's clock.
    time_limit, clock
        As `time_limit` and `watch` of `kvplace.solve`: when the re-plan ends with the best so far.
    """
    clock = clock or Watch(time_limit)
    found = replan(
        problem, current, budget=budget or _BUDGET, former=former, compare=False, watch=clock
    )
    seen = Seen(
        time.time() if now is None else now,
        found.before.value,
        found.after.value if found.after else math.inf,
        found.schedule.loaded_bytes,
        len(found.changes),
        needed=not found.before.valid,
    )
    return Watched(decide(policy or Policy(), seen, history or History()), found)
