"""What a plan file states, field by field, as plain values: nothing here is checked.

The annotations say how a field is read and written; see `kvplace.formats.validation.parts`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import ClassVar

from kvplace.core.certificates.balance import RankBound
from kvplace.core.certificates.claim import Bound
from kvplace.core.failure import Failure
from kvplace.core.hardware import Node
from kvplace.core.models.model import Model
from kvplace.core.models.window import Window
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import Step
from kvplace.core.rules.rule import Rule
from kvplace.formats.plan.evidence import PlanCertificate, PlanRule, PlanTree, Stated
from kvplace.formats.validation.fields import (
    AnyInteger,
    Integer,
    Label,
    Name,
    Number,
    NumberOrInfinity,
    Port,
    Resources,
    Text,
)

PLAN_SCHEMA = "kvplace.plan/v1"
"""Name and version of the plan file's format."""


@dataclass(frozen=True, slots=True)
class PlanShard(Stated):
    """A shard on its GPU: model, number of the copy, rank within it, and what it takes."""

    model: Name
    replica: Integer
    shard: Integer
    weights_bytes: Integer
    load: Number
    time_shares: dict[Name, Number] = field(default_factory=dict)
    """Share of the GPU's time that it needs in each window, where known."""


@dataclass(frozen=True, slots=True)
class PlanKVPart(Stated):
    """Bytes of each GPU's KV memory that an engine has and is to keep."""

    model: Name
    replica: Integer
    kv_bytes: Integer


@dataclass(frozen=True, slots=True)
class PlanEngineName(Stated):
    """What an engine is called and listens on, and is to keep."""

    model: Name
    replica: Integer
    label: Label
    port: Port


@dataclass(frozen=True, slots=True)
class PlanGPU(Stated):
    """A GPU, and what the placement makes of it."""

    id: Name
    type: Text
    memory_bytes: Integer
    """Usable memory: less the reserve."""
    weights_bytes: Integer
    free_bytes: AnyInteger
    load: Number
    kvpr: NumberOrInfinity
    shards: tuple[PlanShard, ...]
    occupancies: dict[Name, NumberOrInfinity] = field(default_factory=dict)
    """Mean share of the KV pool in use in each window, where known."""
    time_shares: dict[Name, Number] = field(default_factory=dict)
    """Share of its time that its shards need in each window, where known."""


@dataclass(frozen=True, slots=True)
class PlanNode(Stated):
    """A host: its GPUs in the order of its own numbering."""

    name: Name
    gpus: tuple[Name, ...]
    labels: dict[Name, Text] = field(default_factory=dict)
    links: tuple[Text, ...] = ()
    """Link domain of each GPU, by default one."""
    resources: Resources = field(default_factory=dict)
    gpu_resources: tuple[Resources, ...] = ()

    @classmethod
    def of(cls, node: Node) -> "PlanNode":
        """Return what a plan states of a node."""
        every = map(attrgetter("id", "link", "resources"), node.gpus)
        ids, links, resources = zip(*every, strict=True) if node.gpus else ((), (), ())
        return cls(
            node.name,
            ids,
            dict(node.labels),
            links if any(links) else (),
            dict(node.resources),
            tuple(map(dict, resources)) if any(resources) else (),
        )


@dataclass(frozen=True, slots=True)
class PlanTier(Stated):
    """How much the soft rules of one tier are broken, and what is proved of it."""

    tier: Integer
    broken: Number
    bound: Number
    """Tier by tier, the weightiest first, no placement breaks less."""


@dataclass(frozen=True, slots=True)
class PlanRank(Stated):
    """What is proved of the GPU at a rank, where the worst GPU is no worse than it is."""

    rank: Integer
    """1 for the worst GPU, 2 for the next."""
    bound: Number
    """Its pressure is no less."""
    worth: Number
    """Evidence: of room on the GPUs before it."""
    resource: Text = "kv"
    window: Text = ""

    @classmethod
    def of(cls, problem: Problem, claim: RankBound) -> "PlanRank":
        """Return what a plan states of a bound."""
        several = len(problem.windows) > 1
        window = problem.windows[claim.window].name if several else ""
        return cls(claim.rank, claim.bound, claim.worth, claim.resource, window)

    def for_problem(self, problem: Problem) -> RankBound:
        """Return the bound; of an unknown window, with a position that is none."""
        windows = [window.name for window in problem.windows]
        at = 0 if not self.window else -1
        if self.window in windows:
            at = windows.index(self.window)
        return RankBound(self.rank, self.bound, self.worth, self.resource, at)


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """What a plan file states. `kvplace.checking.check` says how much of it is true.

    Parameters
    ----------
    kvplace_version
        Version that wrote it.
    problem_digest
        `Problem.digest` of what was solved.
    status, stop
        What is known of the result, and why the solver stopped.
    proof
        What the bound rests on: ``certificate``, ``proof tree``, ``exhaustive search`` that is
        not written down, or ``none``; empty where the file does not say.
    objective
        Name of the load.
    value, bound, gap
        KVPR of the worst GPU, the limit that no placement beats, and their relative distance;
        ``inf`` where there is none. Where there are soft rules, no placement beats the limit that
        keeps them as well as can be.
    bound_method
        How the bound was found.
    gpus
        Every GPU of the fleet; empty where there is no placement.
    placement
        The decision; empty where there is none.
    certificate
        Evidence for the bound; None where it has none that can be checked. Parquet states a rule
        as it is, JSON spells out the prices of few models.
    solver, seed, iterations, seconds
        How the result came about.
    nodes, models
        The problem that was solved; empty where the plan does not carry it.
    progress
        How value and bound came together, oldest first; empty where that was not recorded.
    windows
        The windows of demand, where there are several.
    quantile
        Share of the time that was planned for; None for means.
    kv_parts
        Parts of the KV memory that engines have and are to keep, where they share a GPU by fixed
        parts; exports make the others.
    soft_rules
        What is broken and proved of each tier of soft rules, the weightiest first; empty where
        there are none, or where an older plan leaves it out.
    ranks
        How many GPUs, from the worst on, no placement is proved to balance better; 0 where that
        is not stated.
    engine_names
        Labels and ports that engines have and are to keep; exports make the others.
    tree
        Evidence for a bound by exhaustive search; None where it is not written down.
    failures
        What becomes of the placement in each failure that it was to leave room for; empty where
        none was looked at.
    balance
        What is proved of some GPUs after the worst; empty where that is not stated.
    """

    schema_: ClassVar[str] = PLAN_SCHEMA

    kvplace_version: str
    problem_digest: str
    status: str
    stop: str
    proof: str
    objective: str
    value: float
    bound: float
    gap: float
    bound_method: str
    gpus: Sequence[PlanGPU]
    placement: Placement
    certificate: PlanCertificate | PlanRule | None
    solver: str
    seed: int
    iterations: int
    seconds: float
    nodes: tuple[PlanNode, ...] = ()
    models: Sequence[Model] = ()
    rules: tuple[Rule, ...] = ()
    progress: tuple[Step, ...] = ()
    windows: tuple[Window, ...] = ()
    quantile: float | None = None
    kv_parts: tuple[PlanKVPart, ...] = ()
    soft_rules: tuple[PlanTier, ...] = ()
    ranks: int = 0
    engine_names: tuple[PlanEngineName, ...] = ()
    tree: PlanTree | None = None
    failures: tuple[Failure, ...] = ()
    balance: tuple[PlanRank, ...] = ()

    def __repr__(self) -> str:
        of = f"{len(self.placement):,} replicas on {len(self.gpus):,} GPUs"
        return f"<Plan {self.status}: {of}, value {self.value:.4g}, bound {self.bound:.4g}>"

    def bound_for(self, problem: Problem) -> Bound | str:
        """Return the bound with its evidence for a problem, or why the evidence is none."""
        stated = self.certificate or self.tree
        evidence = None if stated is None else stated.for_problem(problem)
        if isinstance(evidence, str):
            return evidence
        tiers = tuple(entry.bound for entry in self.soft_rules)
        return Bound(self.bound, self.bound_method, evidence, tiers)

    @property
    def prices(self) -> PlanCertificate | None:
        """The certificate, where it is no rule."""
        return None if isinstance(self.certificate, PlanRule) else self.certificate

    @property
    def rule(self) -> PlanRule | None:
        """The certificate, where it is a rule."""
        return self.certificate if isinstance(self.certificate, PlanRule) else None

    @property
    def claim(self) -> "Plan":
        """What the file has under its key ``objective``: fields of the plan itself."""
        return self
