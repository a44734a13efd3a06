"""The plan file as a whole, kvplace.plan/v1, and its text to a `Plan`."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from kvplace.core.certificates.balance import MOST_RANKS
from kvplace.core.failure import Failure, Recovery
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement, Replica
from kvplace.core.result import Status, Step, Stop
from kvplace.formats.diagnostics import Report, shown
from kvplace.formats.fleet.asked import WindowPart
from kvplace.formats.fleet.rules import RulePart, rule_data
from kvplace.formats.fleet.schema import ModelPart
from kvplace.formats.plan.evidence import METHODS, PlanCertificate, PlanRule, PlanTree
from kvplace.formats.plan.stated import (
    PLAN_SCHEMA,
    Plan,
    PlanEngineName,
    PlanGPU,
    PlanKVPart,
    PlanNode,
    PlanRank,
    PlanTier,
)
from kvplace.formats.text.document import mapping_of
from kvplace.formats.validation.fields import (
    AnyInteger,
    CopyNumber,
    Integer,
    Name,
    Number,
    NumberOrInfinity,
    Text,
    word,
)
from kvplace.formats.validation.models import built_list, validate, validate_list
from kvplace.formats.validation.parts import ALWAYS, Part, Written, exact, shell
from kvplace.formats.validation.values import refuse_value

_LISTS = ("gpus", "placement", "models", "nodes", "rules", "windows")
PROOFS = ("certificate", "proof tree", "exhaustive search", "none")

if TYPE_CHECKING:
    PlanModelPart = ModelPart
else:
    PlanModelPart = exact(ModelPart)


class ObjectivePart(Part):
    """The value and what is proved of it; null is infinity."""

    objective: Annotated[str, *word(*Objective)] = Field(alias="name")
    value: NumberOrInfinity
    """KVPR of the worst GPU; null without placement."""
    bound: NumberOrInfinity
    """No placement has less that keeps the soft rules as well as can be; null: none is valid."""
    gap: NumberOrInfinity
    """(value - bound) / bound."""
    bound_method: Annotated[str, *word(*METHODS)]
    soft_rules: tuple[PlanTier, ...] = ()
    """The soft rules tier by tier, the weightiest first."""
    ranks: Integer = 0
    """How many GPUs, from the worst on, are proved to be balanced as well as can be (leximax); 0:
    not stated."""
    balance: Annotated[tuple[PlanRank, ...], Field(max_length=MOST_RANKS)] = ()
    """What is proved of some GPUs after the worst, of larger fleets."""


def _some(gpus: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse a replica without GPUs."""
    if not gpus:
        refuse_value("is empty; it needs at least one entry")
    return gpus


class ReplicaPart(Part):
    """A replica and its GPUs in rank order."""

    core = Replica

    model: Name
    index: CopyNumber = Field(alias="replica")
    gpus: Annotated[tuple[Name, ...], AfterValidator(_some)] = Field(
        json_schema_extra={"minItems": 1}
    )


class StepPart(Part):
    """How far the search was at one time: best value so far and best bound proved."""

    core = Step

    seconds: Number
    value: NumberOrInfinity
    bound: NumberOrInfinity


class FailurePart(Part):
    """What becomes of the placement when a GPU or a node fails."""

    core = Failure

    name: Name
    outcome: Annotated[str, *word(*Recovery)]
    """Whether everything can be restored on what is left: restored, impossible (proved), not_found
    (the search found no way) or not_tried (the search was ended before)."""
    value: NumberOrInfinity
    """KVPR of the worst GPU once everything is restored; null where it is not."""
    bound: NumberOrInfinity
    """No placement on what is left has less; null: none is valid."""
    moves: Integer
    """Replicas that are started or moved to restore everything."""


class PlanPart(Part):
    """A plan file."""

    model_config = ConfigDict(title=PLAN_SCHEMA)

    schema_: Annotated[str, *word(PLAN_SCHEMA)] = Field(alias="schema")
    kvplace_version: Text
    problem_digest: Text
    status: Annotated[str, *word(*Status)]
    stop: Annotated[str, *word(*Stop)]
    proof: Annotated[str, *word(*PROOFS)]
    claim: ObjectivePart = Field(alias="objective")
    gpus: tuple[PlanGPU, ...]
    placement: tuple[ReplicaPart, ...] = Field(alias="placements")
    prices: PlanCertificate | None = Field(alias="certificate")
    solver: Text
    seed: AnyInteger
    iterations: Integer
    seconds: Number
    nodes: tuple[PlanNode, ...] = ()
    """Hosts that were planned for."""
    models: tuple[PlanModelPart, ...] = ()
    """Models that were planned for."""
    rules: tuple[Annotated[RulePart, Written(rule_data)], ...] = ()
    """Rules that were planned for."""
    progress: tuple[StepPart, ...] = ()
    """How value and bound came together, oldest first."""
    windows: tuple[WindowPart, ...] = ()
    """Windows of demand, where there are several."""
    quantile: Number | None = None
    """Share of the time that was planned for; means where left out."""
    kv_parts: tuple[PlanKVPart, ...] = ()
    """Parts of the KV memory that engines have and are to keep."""
    engine_names: tuple[PlanEngineName, ...] = ()
    """Labels and ports that engines have and are to keep."""
    rule: PlanRule | None = None
    """The rule of a certificate that is not spelled out as prices."""
    tree: PlanTree | None = None
    """A bound by exhaustive search as a proof by cases."""
    failures: tuple[FailurePart, ...] = ()
    """Each failure that room was to be left for, by itself."""


def _elsewhere(stated: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse what a table states by its rows, or leaves to its fleet file."""
    return refuse_value("is stated by the rows, or by the fleet file") if stated else stated


_Nothing = Annotated[tuple[Any, ...], AfterValidator(_elsewhere)]


class HeadPart(PlanPart):
    """What a Parquet file states beside its rows; its certificate has a form of its own."""

    proof: str = ""
    gpus: _Nothing = ()
    placement: _Nothing = Field((), alias="placements")
    nodes: _Nothing = ()
    models: _Nothing = ()
    rules: _Nothing = ()
    prices: Annotated[Any, ALWAYS] = Field(default=None, alias="certificate")


def plan_of_part(part: PlanPart, **lists: Any) -> Plan:
    """Return the plan that a part states; `lists` are what its long lists hold."""
    given = {key: value for key, value in part if key not in ("schema_", "claim")}
    prices, rule = given.pop("prices"), given.pop("rule")
    given |= {"certificate": rule if prices is None else prices} | dict(part.claim)
    given |= {"gpus": (), "placement": Placement(()), "progress": ()} | lists
    given["failures"] = tuple(failure.build() for failure in part.failures)
    return Plan(**given)


def parse_plan(text: str, source: str = "") -> Plan:
    """Read the JSON of a plan.

    Raises
    ------
    InputError
        With every fault, each with its path and line.
    """
    data, report = mapping_of(text, source, "plan")
    # The long lists are validated item by item, so that a hostile file costs little.
    head = validate(shell(PlanPart, _LISTS), data, (), report)
    if head is None and "schema" in data and report.covers(("schema",)):
        report.refuse()  # written for another format: nothing else would mean anything
    if head is not None and head.prices is not None and head.rule is not None:
        report.add(("rule",), "is given beside a certificate; a bound has one of them")
    gpus = validate_list(PlanGPU, data.get("gpus", []), ("gpus",), report, least=0)
    replicas = replicas_of(data, report)
    models = built_list(PlanModelPart, data, "models", report)
    nodes = validate_list(PlanNode, data.get("nodes", []), ("nodes",), report, least=0)
    rules = built_list(RulePart, data, "rules", report)
    windows = built_list(WindowPart, data, "windows", report)
    report.refuse()
    assert head is not None
    return plan_of_part(
        head,
        gpus=tuple(gpus),
        placement=Placement(tuple(replicas)),
        nodes=tuple(nodes),
        models=tuple(models),
        rules=tuple(rules),
        windows=tuple(windows),
        progress=tuple(step.build() for step in head.progress),
    )


def replicas_of(data: dict[str, Any], report: Report, *above: str) -> list[Replica]:
    """Return the replicas of a plan that are sound; one that is there twice is noted.

    Parameters
    ----------
    data, above
        The plan, and the path to it.
    report
        For what is wrong.
    """
    path = (*above, "placements")
    parts = validate_list(ReplicaPart, data.get("placements", []), path, report, least=0)
    seen: dict[tuple[str, int], int] = {}
    for index, part in enumerate(parts):
        if part is None:
            continue
        first = seen.setdefault((part.model, part.index), index)
        if first != index:
            name = f"replica {part.index} of {shown(part.model)}"
            report.add((*path, index), f"{name} is already placements[{first}]")
    return [Replica(part.model, part.index, part.gpus) for part in parts if part is not None]
