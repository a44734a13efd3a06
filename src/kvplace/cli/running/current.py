"""What runs now, as an input: a plan, an observation or a proposal."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kvplace.cli.plans import schema_of

if TYPE_CHECKING:
    from datetime import datetime

    from kvplace.core.models.model import Model
    from kvplace.core.placement import Placement, Replica
    from kvplace.core.problem import Problem
    from kvplace.formats.observation import Observation
    from kvplace.formats.plan.stated import Plan

_FEW = 8
"""GPUs or models that a note names."""


@dataclass(frozen=True, slots=True)
class Current:
    """What runs.

    Parameters
    ----------
    placement
        Where it runs.
    former
        Models as the file describes them, by name.
    notes
        What is not as it should be, a sentence each.
    since
        When replicas began to serve, where that is known.
    asleep
        Those that sleep.
    plan
        The plan that runs, where it is one that carries its models.
    """

    placement: "Placement"
    former: "dict[str, Model]" = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    since: "dict[Replica, datetime]" = field(default_factory=dict)
    asleep: "tuple[Replica, ...]" = ()
    plan: "Plan | None" = None


def read_current(path: str | None, problem: "Problem | None") -> Current:
    """Read what runs.

    Parameters
    ----------
    path
        A plan in JSON, CSV or Parquet, an observation, or a proposal, of which the plan counts;
        None for what the fleet file says.
    problem
        What is to be served; None where it does not matter.

    Raises
    ------
    InputError
        The file cannot be read, or what runs is not known well enough to plan on.
    """
    from kvplace.formats.observation import OBSERVATION_SCHEMA
    from kvplace.formats.plan.io import read_plan
    from kvplace.formats.plan.stated import Plan
    from kvplace.formats.proposal import PROPOSAL_SCHEMA, read_proposal, target_of

    if path is None:
        return _stated(problem)
    schema = schema_of(path)
    if schema == OBSERVATION_SCHEMA:
        return _observed(path, problem)
    plan: Any
    plan = target_of(read_proposal(path), path) if schema == PROPOSAL_SCHEMA else read_plan(path)
    placement = plan.placement if problem is None else _placed(plan, problem)
    whole = plan if isinstance(plan, Plan) else None
    former = {m.name: m for m in whole.models} if whole is not None else {}
    return Current(placement, former, tuple(_notes(placement, problem)), plan=whole)


def _placed(plan: Any, problem: "Problem") -> "Placement":
    """Return the placement of a plan; of one in columns as a column, where it suits the problem."""
    from kvplace.formats.plan.table import PlanTable

    found: Placement = plan.placement
    if isinstance(plan, PlanTable) and problem.plain:
        found = plan.placement_for(problem)
    return found


def _observed(path: str, problem: "Problem | None") -> Current:
    """Return an observation as what runs; engines without a known GPU cannot be planned around."""
    from kvplace.formats.observation import read_observation

    return current_of(read_observation(path), path, problem)


def current_of(seen: "Observation", source: str, problem: "Problem | None") -> Current:
    """Return what was observed as what runs.

    Raises
    ------
    InputError
        An engine runs on GPUs that are not known.
    """
    from kvplace.errors import Fault, InputError
    from kvplace.formats.observation import observed_placement

    lost = [
        Fault(
            f"{engine.model!r} runs and it is not known on which GPUs; state them, or say that it "
            "is stopped",
            f"engines[{at}].gpus",
        )
        for at, engine in enumerate(seen.engines)
        if not engine.gpus and engine.state in {"serving", "loading", "asleep", "unknown"}
    ]
    if lost:
        raise InputError(lost, source)
    notes = list(seen.notes)
    notes += [
        f"{engine.model!r} on {', '.join(engine.gpus) or 'no GPU'} is {engine.state}: it counts as "
        "not running"
        for engine in seen.engines
        if engine.state in {"stopped", "broken", "unknown"}
    ]
    placement = observed_placement(seen)
    times = {(engine.model, engine.gpus): _time(engine.since) for engine in seen.engines}
    since = {
        replica: begun
        for replica in placement
        if (begun := times.get((replica.model, replica.gpus))) is not None
    }
    sleeping = {(e.model, e.gpus) for e in seen.engines if e.state == "asleep"}
    asleep = tuple(r for r in placement if (r.model, r.gpus) in sleeping)
    return Current(placement, {}, (*notes, *_notes(placement, problem)), since, asleep)


def _time(text: str) -> "datetime | None":
    """Return a time with its zone; UTC where it names none, None where it is none."""
    from datetime import UTC, datetime

    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _stated(problem: "Problem | None") -> Current:
    """Return what the fleet file says that runs.

    Raises
    ------
    InputError
        It says nothing of it.
    """
    from kvplace.core.placement import Placement, Replica
    from kvplace.errors import InputError

    replicas = tuple(
        Replica(model.name, number, gpus)
        for model in (problem.models if problem is not None else ())
        for number, gpus in enumerate(model.placed_on)
    )
    if not replicas:
        raise InputError(
            "what runs is not known: name a plan or an observation with --current, or state "
            "placed_on in the fleet file"
        )
    placement = Placement(replicas)
    return Current(placement, {}, tuple(_notes(placement, problem)))


def _notes(placement: "Placement", problem: "Problem | None") -> list[str]:
    """Return what runs and is not in the fleet file, and what is there and does not run."""
    from kvplace.core.placement import Assigned

    if problem is None or (isinstance(placement.replicas, Assigned) and problem.plain):
        return []
    fleet = problem.fleet
    gone = sorted({gpu for r in placement for gpu in r.gpus if fleet.gpu(gpu) is None})
    running = {r.model for r in placement}
    new = [name for name in problem.names if name not in running]
    old = sorted(running - problem.index_of.keys())
    where = {name: [g for r in placement if r.model == name for g in r.gpus] for name in old}
    old = [name for name in old if any(map(fleet.gpu, where[name]))]
    notes = []
    if gone:
        few = ", ".join(gone[:_FEW]) + (f" and {len(gone) - _FEW} more" if gone[_FEW:] else "")
        which = f"GPU {few} is" if len(gone) == 1 else f"GPUs {few} are"
        notes.append(f"{which} gone: what ran there is taken for dead")
    for names, one, many in (
        (new, "is new: it does not run yet", "are new: they do not run yet"),
        (old, "runs and is no longer to be served: it is stopped",
         "run and are no longer to be served: they are stopped"),
    ):  # fmt: skip
        if len(names) <= _FEW:
            notes += [f"{name!r} {one}" for name in names]
        else:
            few = ", ".join(map(repr, names[:_FEW]))
            notes.append(f"{few} and {len(names) - _FEW:,} more {many}")
    return notes
