"""The proposal file, kvplace.proposal/v1: a re-plan to be approved before it is carried out."""

import json
import math
import os
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from kvplace.core.models.model import Model
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement, Replica
from kvplace.files import kept
from kvplace.formats.diagnostics import Path, Report
from kvplace.formats.plan.schema import PlanModelPart, ReplicaPart, parse_plan, replicas_of
from kvplace.formats.plan.stated import Plan
from kvplace.formats.validation.fields import (
    CopyNumber,
    Integer,
    LabelOrNone,
    Moment,
    Name,
    Number,
    NumberOrInfinity,
    PortOrZero,
    Text,
    matching,
    word,
)
from kvplace.formats.validation.json_text import json_text, stated
from kvplace.formats.validation.models import read_part
from kvplace.formats.validation.parts import Part

PROPOSAL_SCHEMA = "kvplace.proposal/v1"
"""Name and version of the proposal file's format."""


class MovePart(Part):
    """One replica that moves, starts or stops, and why."""

    change: Annotated[str, *word("move", "start", "stop")]
    model: Name
    replica: CopyNumber
    source: tuple[Name, ...] = Field(alias="from")
    target: tuple[Name, ...] = Field(alias="to")
    loaded_bytes: Integer
    reason: str


class RunningPart(ReplicaPart):
    """A replica that ran when the proposal was made, and its engine as far as it is known."""

    label: LabelOrNone = ""
    """What its engine is called."""
    port: PortOrZero = 0
    """Where its engine listens; 0: not known."""
    footprint_bytes: Integer = 0
    """Weights and overhead on each of its GPUs; 0: not known."""
    kv_bytes: Integer = 0
    """Its part of each GPU's KV memory under a static split; 0: not known."""


class StepPart(Part):
    """One step; it may begin when those in `after` are done."""

    number: Integer
    kind: Annotated[str, *word("load", "switch", "drain", "unload", "sleep", "wake")]
    replicas: tuple[ReplicaPart, ...]
    replaced: tuple[ReplicaPart, ...] = ()
    """Of a switch: copies that end to serve."""
    after: tuple[Integer, ...] = ()
    seconds: Number
    begins_seconds: Number
    loaded_bytes: Integer = 0
    level: Integer = 0
    """Of a sleep and a wake: how deep, 1 or 2."""


class PausePart(Part):
    """A replica that serves nobody for a while."""

    model: Name
    index: Integer = Field(alias="replica")
    seconds: Number
    others: Integer = Field(alias="other_copies")


class WorthPart(Part):
    """What the proposal is worth; null is infinity."""

    objective: Annotated[str, *word(*Objective)]
    before: NumberOrInfinity
    """KVPR of the worst GPU as things are."""
    after: NumberOrInfinity
    """The same once all steps are done, computed."""
    bound: NumberOrInfinity
    """No placement within the budget has less."""
    measured: NumberOrInfinity | None = None
    """The same, from what was observed after the steps."""
    measured_at: Text = ""
    """UTC; when that was observed."""


class Proposal(Part):
    """A proposal file."""

    model_config = ConfigDict(title=PROPOSAL_SCHEMA)

    schema_: Annotated[str, *word(PROPOSAL_SCHEMA)] = Field(alias="schema")
    kvplace_version: Text
    id: Annotated[str, *matching("[0-9a-f]{16}", "ef85ebf45a4cd8bd")]
    created: Moment
    """UTC, as in 2026-08-13T12:00:00Z."""
    expires: Moment
    """UTC; after that the fleet is to be looked at again."""
    problem_digest: Text
    state_digest: Text
    """Of what ran when the proposal was made."""
    worth: WorthPart
    current: tuple[RunningPart, ...]
    moves: tuple[MovePart, ...]
    steps: tuple[StepPart, ...]
    pauses: tuple[PausePart, ...] = ()
    parked: tuple[ReplicaPart, ...] = ()
    restarted: tuple[ReplicaPart, ...] = ()
    """What starts again although it stays, on the runtime planned for."""
    former: tuple[PlanModelPart, ...] = ()
    """Models that ran and are no longer to be served, for the way back."""
    plan: dict[str, Any]
    """What is to run, as kvplace.plan/v1."""


def write_proposal(proposal: Proposal, path: str | os.PathLike[str] | None = None) -> str:
    """Return the JSON of a proposal; where there is a path, write it there as well.

    Infinities are null.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    return kept(json_text(Proposal, proposal), path)


def read_proposal(path: str | os.PathLike[str]) -> Proposal:
    """Read a proposal.

    Raises
    ------
    InputError
        With everything that is wrong with the file, each fault with its path and line.
    """
    found = read_part(Proposal, path, "proposal")
    report = Report(os.fspath(path))
    _refuse_infinite(found.plan, ("plan",), report)
    report.refuse()
    return found


def _refuse_infinite(data: object, path: Path, report: Report) -> None:
    """Note numbers that no float holds, such as 1e999: they cannot be written again."""
    inner: Iterable[tuple[str | int, object]] = ()
    if isinstance(data, dict):
        inner = data.items()
    elif isinstance(data, list):
        inner = enumerate(data)
    elif isinstance(data, float) and math.isinf(data):
        report.add(path, "is larger than any number that is computed with")
    for key, value in inner:
        _refuse_infinite(value, (*path, key), report)


def target_of(proposal: Proposal, source: str = "") -> Plan:
    """Return the plan that a proposal leads to.

    Raises
    ------
    InputError
        It is no plan.
    """
    return parse_plan(json.dumps(proposal.plan, indent=1), source)


def end_of(proposal: Proposal) -> Placement:
    """Return where everything runs once all steps are done: the placement of `target_of` alone.

    Raises
    ------
    InputError
        The plan states none.
    """
    report = Report("")
    found = replicas_of(proposal.plan, report, "plan")
    report.refuse()
    return Placement(tuple(found))


def placement_of(replicas: Iterable[ReplicaPart]) -> Placement:
    """Return replicas of a file as a placement."""
    return Placement(tuple(Replica(r.model, r.index, r.gpus) for r in replicas))


def model_part(model: Model) -> PlanModelPart:
    """Return a model as a plan file states it."""
    return PlanModelPart.model_validate(stated(PlanModelPart, model))
