"""What a plan file may hold: kvplace.plan/v1."""

from typing import Annotated

from pydantic import ConfigDict, Field

from kvplace.core.objective import Objective
from kvplace.core.result import Status, Stop
from kvplace.formats.fleet.rules import RulePart
from kvplace.formats.plan.problem import PlanModelPart, PlanNodePart
from kvplace.formats.plan.stated import PLAN_SCHEMA
from kvplace.formats.validation.fields import (
    AnyInteger,
    Integer,
    Name,
    Number,
    NumberOrInfinity,
    Text,
    word,
)
from kvplace.formats.validation.models import Part

__all__ = ["PlanPart"]

METHODS = (
    "trivial", "fluid", "single-model", "counting", "lifted", "dual-feasible", "configuration",
    "search",
)  # fmt: skip
PROOFS = ("certificate", "exhaustive search", "none")

_Schema = Annotated[str, *word(PLAN_SCHEMA)]
_Status = Annotated[str, *word(*Status)]
_Stop = Annotated[str, *word(*Stop)]
_Proof = Annotated[str, *word(*PROOFS)]
_Objective = Annotated[str, *word(*Objective)]
_Method = Annotated[str, *word(*METHODS)]


class ObjectivePart(Part):
    """The value and what is proved of it; null is infinity."""

    name: _Objective
    value: NumberOrInfinity = Field(description="KVPR of the worst GPU; null without placement.")
    bound: NumberOrInfinity = Field(description="No placement has less; null: none is valid.")
    gap: NumberOrInfinity = Field(description="(value - bound) / bound.")
    bound_method: _Method


class ShardPart(Part):
    """A shard on its GPU."""

    model: Name
    replica: Integer
    shard: Integer
    weights_bytes: Integer
    load: Number


class PlanGPUPart(Part):
    """A GPU and what it holds."""

    id: Name
    type: Text
    memory_bytes: Integer = Field(description="Usable memory: less the reserve.")
    weights_bytes: Integer
    free_bytes: AnyInteger
    load: Number
    kvpr: NumberOrInfinity
    shards: list[ShardPart]


class PlacementPart(Part):
    """A replica and its GPUs in rank order."""

    model: Name
    replica: Integer
    gpus: list[Name] = Field(min_length=1)


class WorthPart(Part):
    """The worth of one size of memory."""

    memory_bytes: Integer
    worth: Integer


class CertificatePart(Part):
    """Prices that prove the bound."""

    method: _Method
    threshold: NumberOrInfinity
    prices: dict[str, Integer | list[Integer]] = Field(
        description="Price of each model by its name, or of each of its options, degree by degree "
        "and within that copies by copies."
    )
    worths: list[WorthPart]
    scope: list[Name] = Field(
        default=[], description="GPUs that are worth anything; all where it is left out."
    )


class StepPart(Part):
    """How far the search was at one time."""

    seconds: Number
    value: NumberOrInfinity
    bound: NumberOrInfinity


class PlanPart(Part):
    """A plan file."""

    model_config = ConfigDict(title=PLAN_SCHEMA)

    schema_: _Schema = Field(alias="schema")
    kvplace_version: Text
    problem_digest: Text
    status: _Status
    stop: _Stop
    proof: _Proof
    objective: ObjectivePart
    gpus: list[PlanGPUPart]
    placements: list[PlacementPart]
    certificate: CertificatePart | None
    solver: Text
    seed: AnyInteger
    iterations: Integer
    seconds: Number
    nodes: list[PlanNodePart] = Field(default=[], description="Hosts that were planned for.")
    models: list[PlanModelPart] = Field(default=[], description="Models that were planned for.")
    rules: list[RulePart] = Field(default=[], description="Rules that were planned for.")
    progress: list[StepPart] = Field(
        default=[], description="How value and bound came together, oldest first."
    )
