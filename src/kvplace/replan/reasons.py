"""Why each change of a re-plan is made."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from kvplace.core.evaluation.evaluate import Evaluation
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.replan.schedule.changes import Change


def reasons_for(
    problem: Problem,
    current: Placement,
    before: Evaluation,
    after: Evaluation,
    todo: Sequence[Change],
) -> Iterable[str]:
    """Yield why each change is made, from the evaluations of what it touches."""
    ids = [gpu.id for gpu in problem.fleet.gpus]
    was = dict(zip(ids, before.pressures, strict=True))
    becomes = dict(zip(ids, after.pressures, strict=True))
    mine = current.of_models({change.model for change in todo})
    dead = {
        (r.model, r.index): [gpu for gpu in r.gpus if problem.fleet.gpu(gpu) is None] for r in mine
    }
    served = {r.model for r in mine}
    for change in todo:
        lost = dead.get((change.model, change.index), [])
        if change.kind == "stop":
            known = change.model in problem.index_of
            yield "fewer copies are enough" if known else "the model is no longer to be served"
        elif change.kind == "start":
            if lost:
                one = len(lost) == 1
                yield f"its GPU{'' if one else 's'} {', '.join(lost)} {'is' if one else 'are'} gone"
            elif change.model not in served:
                yield "the model is new"
            else:
                others = [g for r in mine if r.model == change.model for g in r.gpus if g in was]
                yield f"another copy{_relief(others, was, becomes)}"
        else:
            yield f"moves{_relief(change.source, was, becomes) or _room(change, todo)}"


def _room(change: Change, todo: Sequence[Change]) -> str:
    """Return who comes to where a replica leaves; nothing where nobody does."""
    come = sorted({c.model for c in todo if set(c.target) & set(change.source)} - {change.model})
    if not come:
        return ""
    others = f" and {len(come) - 1} more" if len(come) > 1 else ""
    return f" to make room for {come[0]}{others}"


def _relief(gpus: Iterable[str], was: Mapping[str, float], becomes: Mapping[str, float]) -> str:
    """Return which GPU is relieved the most, and by how much; nothing where none is."""
    known = [gpu for gpu in gpus if gpu in was]
    if not known:
        return ""
    gpu = max(known, key=lambda g: (was[g] - becomes[g], g))
    if math.isinf(was[gpu]):
        return f": {gpu} holds more than fits"
    if becomes[gpu] >= was[gpu]:
        return ""
    return f": {gpu} goes from {was[gpu]:.4g} to {becomes[gpu]:.4g}"
