"""Proposals: a re-plan as a file that can be approved, and whether a fleet still is as it says."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from kvplace._version import __version__
from kvplace.core.certificates.certificate import Bound
from kvplace.core.models.launch import EngineName
from kvplace.core.models.model import Model
from kvplace.core.placement import Placement, Replica
from kvplace.core.result import Result, Stop, placed
from kvplace.errors import InputError
from kvplace.formats.plan.of_result import plan_of
from kvplace.formats.plan.schema import PlanPart, ReplicaPart
from kvplace.formats.proposal import (
    PROPOSAL_SCHEMA,
    MovePart,
    PausePart,
    Proposal,
    RunningPart,
    StepPart,
    WorthPart,
    end_of,
    model_part,
    placement_of,
)
from kvplace.formats.validation.json_text import stated
from kvplace.replan.outcome import Replan
from kvplace.replan.progress import Place, place_of, steps_done
from kvplace.replan.schedule.steps import Step, StepKind


def state_digest(placement: Iterable[Replica]) -> str:
    """Return the SHA-256 of what runs where; copies of a model are alike, ranks in any order."""
    rows = sorted([r.model, *sorted(r.gpus)] for r in placement)
    text = json.dumps(rows, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def result_of(found: Replan, seconds: float = 0.0) -> Result:
    """Return what a re-plan leads to as a result, of which nothing is proved without a budget.

    Raises
    ------
    InputError
        There is no placement.
    """
    if found.placement is None or found.after is None:
        raise InputError("this re-plan found no placement, so there is nothing to propose")
    proof = Bound(0.0, "trivial")
    return Result(
        found.problem, found.placement, found.after, proof, Stop.LOCAL_OPTIMUM, "replan", 0,
        len(found.changes), seconds,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Engines:
    """What a re-plan needs to know of processes, where it is known.

    Parameters
    ----------
    running
        What runs, with names and parts.
    kv_parts
        Bytes of each GPU's KV memory that engines have and are to keep, by model and number.
    names
        Labels and ports that engines are to have, in the same way.
    former
        Models that run and are no longer to be served, as far as they are known.
    """

    running: Mapping[Replica, RunningPart] = field(default_factory=dict)
    kv_parts: Mapping[tuple[str, int], int] = field(default_factory=dict)
    names: Mapping[tuple[str, int], EngineName] = field(default_factory=dict)
    former: tuple[Model, ...] = ()


def propose(
    found: Replan,
    now: datetime | None = None,
    valid_for: timedelta = timedelta(hours=1),
    engines: Engines | None = None,
) -> Proposal:
    """Return the proposal that states a re-plan.

    The same state, target and steps make the same id, whenever the proposal is made.

    Parameters
    ----------
    found
        A re-plan with a placement.
    now
        When it is made, with a time zone; None for the machine's clock.
    valid_for
        How long what it rests on may be taken to hold.
    engines
        What is known of the engines that run, and what those to come are to be called.

    Raises
    ------
    InputError
        There is no placement, the time has no zone, or the proposal would hold for centuries.
    """
    if not timedelta(0) <= valid_for <= _LONGEST:
        raise InputError(f"valid_for must be from 0 to {_LONGEST.days:,} days, not {valid_for}")
    result, now = result_of(found), now or datetime.now(UTC)
    engines = engines or Engines()
    assert found.after is not None
    digest = state_digest(found.current)
    loaded = {
        (s.replicas[0].model, s.replicas[0].index): s.loaded_bytes
        for s in found.schedule.steps
        if s.kind is StepKind.LOAD
    }
    moves = tuple(
        MovePart(
            change=change.kind,
            model=change.model,
            replica=change.index,
            **{"from": change.source, "to": change.target},
            loaded_bytes=loaded.get((change.model, change.index), 0),
            reason=reason,
        )
        for change, reason in zip(found.changes, found.reasons, strict=True)
    )
    steps = tuple(_step_part(step) for step in found.schedule.steps)
    identity = json.dumps(
        [found.problem.digest, digest, [s.model_dump(mode="json") for s in steps]],
        separators=(",", ":"),
    )
    return Proposal(
        schema=PROPOSAL_SCHEMA,
        kvplace_version=__version__,
        id=hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:16],
        created=_stamp(now),
        expires=_stamp(now + valid_for),
        problem_digest=found.problem.digest,
        state_digest=digest,
        worth=WorthPart(
            objective=found.problem.goal.value,
            before=_stated(found.before.value),
            after=_stated(found.after.value),
            bound=_stated(found.bound),
        ),
        current=tuple(engines.running.get(r) or _running_part(r) for r in found.current),
        moves=moves,
        steps=steps,
        pauses=tuple(
            PausePart(model=p.model, replica=p.index, seconds=p.seconds, other_copies=p.others)
            for p in found.schedule.pauses
        ),
        parked=tuple(_replica_part(r) for r in found.schedule.parked),
        restarted=tuple(_replica_part(r) for r in found.schedule.restarts.replicas),
        former=tuple(map(model_part, engines.former)),
        plan=stated(
            PlanPart,
            plan_of(replace(result, kv_parts=engines.kv_parts, engine_names=engines.names)),
        ),
    )


def _stated(value: float) -> Any:
    """Return a value as the file states it: infinity is null."""
    return None if math.isinf(value) else value


def _running_part(replica: Replica) -> RunningPart:
    return RunningPart(model=replica.model, replica=replica.index, gpus=replica.gpus)


def _step_part(step: Step) -> StepPart:
    return StepPart(
        number=step.number,
        kind=step.kind.value,
        replicas=tuple(map(_replica_part, step.replicas)),
        replaced=tuple(map(_replica_part, step.replaced)),
        after=step.after,
        seconds=step.seconds,
        begins_seconds=step.begins_seconds,
        loaded_bytes=step.loaded_bytes,
        level=step.level,
    )


def _replica_part(replica: Replica) -> ReplicaPart:
    return ReplicaPart(model=replica.model, replica=replica.index, gpus=replica.gpus)


def with_measured(proposal: Proposal, value: float, now: datetime) -> Proposal:
    """Return a proposal that says what it has come to.

    Parameters
    ----------
    proposal
        What was carried out.
    value
        Pressure of the worst GPU of what runs, under the demand of now.
    now
        When that was observed; with a time zone.
    """
    worth = proposal.worth.model_copy(update={"measured": value, "measured_at": _stamp(now)})
    return proposal.model_copy(update={"worth": worth})


def steps_of(proposal: Proposal) -> tuple[Step, ...]:
    """Return the steps that a proposal states."""
    return tuple(
        Step(
            number=part.number,
            kind=StepKind(part.kind),
            replicas=tuple(placement_of(part.replicas)),
            replaced=tuple(placement_of(part.replaced)),
            after=part.after,
            seconds=part.seconds,
            begins_seconds=part.begins_seconds,
            loaded_bytes=part.loaded_bytes,
            level=part.level,
        )
        for part in proposal.steps
    )


def _stamp(time: datetime) -> str:
    """Return a time as files state it.

    Raises
    ------
    InputError
        It has no zone.
    """
    if time.tzinfo is None:
        raise InputError(f"{time} names no time zone; datetime.now(UTC) is a time with one")
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_LONGEST = timedelta(days=100_000)


class Verdict(StrEnum):
    """What a fleet says to a proposal.

    ``ready``: nothing is done yet, and the fleet is as it was. ``under_way``: some steps are done.
    ``done``: all are. ``drifted``: something runs, or does not, that no step explains.
    """

    READY = "ready"
    UNDER_WAY = "under_way"
    DONE = "done"
    DRIFTED = "drifted"


@dataclass(frozen=True, slots=True)
class Verification:
    """A proposal held against what runs.

    Parameters
    ----------
    verdict
        What it comes to.
    done
        Numbers of the steps that are done. A switch, a drain and a wake cannot be seen from
        outside: they count as done where a step that waits for them is, or all others are.
    expired
        Whether the proposal's time is over.
    differences
        What no step explains, a sentence each.
    """

    verdict: Verdict
    done: tuple[int, ...]
    expired: bool
    differences: tuple[str, ...] = ()


def verify(
    proposal: Proposal,
    observed: Placement | Result,
    now: datetime | None = None,
    asleep: Iterable[Replica] = (),
) -> Verification:
    """Say which steps of a proposal are done, and whether the fleet is otherwise as it was.

    Parameters
    ----------
    proposal
        What was approved.
    observed
        What runs: a placement, such as that of an observation, or the result that has it. Copies of
        a model are alike.
    now
        The time, with its zone; None for the machine's clock.
    asleep
        Those of what runs that sleep, as far as that is known.
    """
    observed = placed(observed) if isinstance(observed, Result) else observed
    steps = steps_of(proposal)
    expired = _stamp(now or datetime.now(UTC)) > proposal.expires
    here = {place_of(r) for r in observed}
    start = {place_of(r) for r in placement_of(proposal.current)}
    done = steps_done(steps, here, {place_of(r) for r in asleep})
    expected = set(start)
    for step in steps:
        if step.number in done:
            if step.kind is StepKind.LOAD:
                expected |= {place_of(r) for r in step.replicas}
            elif step.kind is StepKind.UNLOAD:
                expected -= {place_of(r) for r in step.replicas}
    # Copies on GPUs that are gone were never seen and need not be.
    lost = start - {place_of(r) for s in steps for r in s.replicas} - _kept(proposal)
    extra, missing = sorted(here - expected), sorted(expected - here - lost)
    found = [f"{m!r} runs on {', '.join(gpus)}, which is not foreseen" for m, gpus in extra]
    found += [f"{m!r} does not run on {', '.join(gpus)} any more" for m, gpus in missing]
    orphans = [s.number for s in steps if s.number in done and not set(s.after) <= done]
    found += [f"step {n} is done before those it waits for" for n in orphans]
    if found:
        verdict = Verdict.DRIFTED
    elif not done and steps:
        verdict = Verdict.READY
    else:
        verdict = Verdict.DONE if len(done) == len(steps) else Verdict.UNDER_WAY
    return Verification(verdict, tuple(sorted(done)), expired, tuple(found))


def _kept(proposal: Proposal) -> set[Place]:
    """Return what is to run at the end."""
    return {place_of(replica) for replica in end_of(proposal).replicas}
