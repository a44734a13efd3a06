"""Models that have served for too short a time to be moved."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from kvplace.core.models.model_table import ModelTable
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem


def too_young(
    problem: Problem,
    running: Placement,
    since: Mapping[Replica, datetime],
    now: datetime,
    least: float = 0.0,
) -> tuple[set[str], set[str]]:
    """Return the models that must stay a while, and those of which it is not known.

    Parameters
    ----------
    problem
        Models with their own least times.
    running
        What runs.
    since
        When replicas began to serve, with time zone, as far as that is known.
    now
        The time.
    least
        Seconds for models without a time of their own.
    """
    if isinstance(problem.models, ModelTable):
        times = dict.fromkeys(problem.names, least) if least > 0 else {}
    else:
        every = {m.name: m.move.min_stay_seconds or least for m in problem.models}
        times = {name: seconds for name, seconds in every.items() if seconds > 0}
    young, unknown = set(), set()
    for replica in running if times else ():
        seconds = times.get(replica.model)
        if seconds is None:
            continue
        begun = since.get(replica)
        if begun is None:
            unknown.add(replica.model)
        elif (now - begun).total_seconds() < seconds:
            young.add(replica.model)
    return young, unknown
