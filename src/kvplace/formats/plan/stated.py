"""What a plan file states, field by field, as plain values: nothing here is checked.

The annotations say how a field is read and written; see `kvplace.formats.validation.parts`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, TypeVar

from pydantic import ConfigDict, Field

from kvplace.core.certificates.balance import RankBound
from kvplace.core.certificates.by_rule import RuleCertificate
from kvplace.core.certificates.claim import Bound, Branch, Certificate, Leaf, ProofTree
from kvplace.core.failure import Failure
from kvplace.core.hardware import Node
from kvplace.core.models.model import Model
from kvplace.core.models.window import Window
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import Step
from kvplace.core.rules.rule import Rule
from kvplace.formats.validation.fields import (
    AnyInteger,
    Integer,
    Name,
    Number,
    NumberOrInfinity,
    Price,
    Resources,
    Text,
    word,
)

__all__ = [
    "METHODS",
    "PLAN_SCHEMA",
    "Plan",
    "PlanCertificate",
    "PlanEngineName",
    "PlanGPU",
    "PlanKVPart",
    "PlanNode",
    "PlanRank",
    "PlanRule",
    "PlanShard",
    "PlanTier",
    "PlanTree",
    "PlanTreeNode",
    "PlanWeight",
    "PlanWorth",
    "weights_by_window",
    "weights_for",
]

T = TypeVar("T")

PLAN_SCHEMA = "kvplace.plan/v1"
"""Name and version of the plan file's format."""

METHODS = (
    "trivial", "fluid", "single-model", "counting", "lifted", "dual-feasible", "configuration",
    "search",
)  # fmt: skip
"""How bounds are found; ``counting`` stands in older plans only."""


class _Stated:
    """A mapping of a plan file: known keys only."""

    __slots__ = ()
    __pydantic_config__ = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class PlanShard(_Stated):
    """A shard on its GPU: model, number of the copy, rank within it, and what it takes."""

    model: Name
    replica: Integer
    shard: Integer
    weights_bytes: Integer
    load: Number
    time_shares: Annotated[
        dict[Name, Number],
        Field(description="Share of the GPU's time that it needs in each window, where known."),
    ] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlanKVPart(_Stated):
    """Bytes of each GPU's KV memory that an engine has and is to keep."""

    model: Name
    replica: Integer
    kv_bytes: Integer


@dataclass(frozen=True, slots=True)
class PlanEngineName(_Stated):
    """What an engine is called and listens on, and is to keep."""

    model: Name
    replica: Integer
    label: Name
    port: Integer


@dataclass(frozen=True, slots=True)
class PlanGPU(_Stated):
    """A GPU, and what the placement makes of it."""

    id: Name
    type: Text
    memory_bytes: Annotated[Integer, Field(description="Usable memory: less the reserve.")]
    weights_bytes: Integer
    free_bytes: AnyInteger
    load: Number
    kvpr: NumberOrInfinity
    shards: tuple[PlanShard, ...]
    occupancies: Annotated[
        dict[Name, NumberOrInfinity],
        Field(description="Mean share of the KV pool in use in each window, where known."),
    ] = field(default_factory=dict)
    time_shares: Annotated[
        dict[Name, Number],
        Field(description="Share of its time that its shards need in each window, where known."),
    ] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlanNode(_Stated):
    """A host: its GPUs in the order of its own numbering."""

    name: Name
    gpus: tuple[Name, ...]
    labels: dict[Name, Text] = field(default_factory=dict)
    links: Annotated[
        tuple[Text, ...], Field(description="Link domain of each GPU, by default one.")
    ] = ()
    resources: Resources = field(default_factory=dict)
    gpu_resources: tuple[Resources, ...] = ()

    @classmethod
    def of(cls, node: Node) -> "PlanNode":
        """Return what a plan states of a node."""
        return cls(
            node.name,
            tuple(gpu.id for gpu in node.gpus),
            dict(node.labels),
            _unless_empty(gpu.link for gpu in node.gpus),
            dict(node.resources),
            _unless_empty(dict(gpu.resources) for gpu in node.gpus),
        )


@dataclass(frozen=True, slots=True)
class PlanTier(_Stated):
    """How much the soft rules of one tier are broken, and what is proved of it."""

    tier: Integer
    broken: Number
    bound: Annotated[
        Number,
        Field(description="Tier by tier, the weightiest first, no placement breaks less."),
    ]


@dataclass(frozen=True, slots=True)
class PlanRank(_Stated):
    """What is proved of the GPU at a rank, where the worst GPU is no worse than it is."""

    rank: Annotated[Integer, Field(description="1 for the worst GPU, 2 for the next.")]
    bound: Annotated[Number, Field(description="Its pressure is no less.")]
    worth: Annotated[Number, Field(description="Evidence: of room on the GPUs before it.")]
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


@dataclass(frozen=True, slots=True)
class PlanWorth(_Stated):
    """The worth of one size of memory, and of one type of GPU where there are several pressures."""

    memory_bytes: Integer
    worth: Integer
    type: Text = ""


@dataclass(frozen=True, slots=True)
class PlanWeight(_Stated):
    """How much the KV memory and the time of one window count."""

    window: Name
    kv: Integer
    time: Integer


@dataclass(frozen=True, slots=True)
class PlanCertificate(_Stated):
    """Prices that prove the bound, free of the order of the models."""

    method: Annotated[str, *word(*METHODS)]
    threshold: NumberOrInfinity
    prices: Annotated[
        dict[str, Price],
        Field(
            description="Price of each model by its name, or of each of its options, degree by "
            "degree and within that copies by copies."
        ),
    ]
    worths: tuple[PlanWorth, ...]
    scope: Annotated[
        tuple[Name, ...],
        Field(description="GPUs that are worth anything; all where it is left out."),
    ] = ()
    weights: Annotated[
        tuple[tuple[PlanWeight, ...], ...],
        Field(description="Weightings of all pressures, each of which makes one limit."),
    ] = ()

    def for_problem(self, problem: Problem) -> Certificate | str:
        """Return the certificate in the order of a problem's models, or why there is none."""
        unknown = sorted(self.prices.keys() - problem.index_of.keys())
        if unknown:
            return f"it prices {unknown[0]!r}, which is no model of the problem"
        missing = [model.name for model in problem.models if model.name not in self.prices]
        if missing:
            return f"it has no price for {missing[0]!r}"
        prices = tuple(self.prices[model.name] for model in problem.models)
        worths = tuple((entry.memory_bytes, entry.worth) for entry in self.worths)
        types = tuple(entry.type for entry in self.worths) if self.weights else ()
        weights = weights_for(problem, self.weights)
        if isinstance(weights, str):
            return weights
        return Certificate(self.threshold, prices, worths, self.scope, weights, types)


@dataclass(frozen=True, slots=True)
class PlanRule(_Stated):
    """The rule that the prices of a certificate follow, as in `RuleCertificate`."""

    rule: Text
    threshold: NumberOrInfinity
    model: Text
    resource: Text = "kv"
    window: Text = ""

    def for_problem(self, problem: Problem) -> RuleCertificate | str:
        """Return the certificate for the windows of a problem, or why there is none."""
        windows = [window.name for window in problem.windows]
        if self.window and self.window not in windows:
            return f"it speaks of {self.window!r}, which is no window of the problem"
        at = windows.index(self.window) if self.window else 0
        return RuleCertificate(self.threshold, self.rule, self.model, self.resource, at)


@dataclass(frozen=True, slots=True)
class PlanTreeNode(_Stated):
    """A branch of a proof tree, which names two models, or a leaf, which has prices."""

    models: Annotated[
        tuple[Name, ...],
        Field(description="Of a branch: the case that they share a GPU is next, then the other."),
    ] = ()
    prices: Annotated[
        tuple[Price, ...],
        Field(description="Of a leaf: as in a certificate, in the order of the tree's models."),
    ] = ()
    worths: tuple[PlanWorth, ...] = ()
    weights: tuple[tuple[PlanWeight, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class PlanTree(_Stated):
    """A proof by cases, as in `ProofTree`."""

    threshold: NumberOrInfinity
    models: tuple[Name, ...]
    nodes: Annotated[
        tuple[PlanTreeNode, ...],
        Field(description="In preorder: a branch, all of its first case, all of its second."),
    ]

    def for_problem(self, problem: Problem) -> ProofTree | str:
        """Return the tree in the order of a problem's models, or why there is none."""
        place = {name: at for at, name in enumerate(self.models)}
        if len(place) < len(self.models) or place.keys() != problem.index_of.keys():
            return "it does not name each model of the problem once"
        order = [place[name] for name in problem.names]
        nodes: list[Branch | Leaf] = []
        for number, node in enumerate(self.nodes):
            if node.models:
                known = [problem.index_of[name] for name in node.models if name in place]
                if len(known) != len(node.models) or len(known) != 2 or node.prices:
                    return f"node {number} is no branch on two models of the problem"
                nodes.append(Branch(*known))
            elif len(node.prices) != len(order):
                return f"node {number} has {len(node.prices)} prices for {len(order)} models"
            else:
                worths = tuple((entry.memory_bytes, entry.worth) for entry in node.worths)
                types = tuple(entry.type for entry in node.worths) if node.weights else ()
                weights = weights_for(problem, node.weights)
                if isinstance(weights, str):
                    return f"node {number}: {weights}"
                prices = tuple(node.prices[at] for at in order)
                nodes.append(Leaf(prices, worths, weights, types))
        return ProofTree(self.threshold, tuple(nodes))


@dataclass(frozen=True, slots=True)
class Plan:
    """What a plan file states. `kvplace.formats.plan.check` says how much of it is true.

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
        where JSON spells its prices out.
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
    gpus: tuple[PlanGPU, ...]
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

    def bound_for(self, problem: Problem) -> Bound | str:
        """Return the bound with its evidence for a problem, or why the evidence is none."""
        stated = self.certificate or self.tree
        evidence = None if stated is None else stated.for_problem(problem)
        if isinstance(evidence, str):
            return evidence
        tiers = tuple(entry.bound for entry in self.soft_rules)
        return Bound(self.bound, self.bound_method, evidence, tiers)

    @property
    def claim(self) -> "Plan":
        """What the file has under its key ``objective``: fields of the plan itself."""
        return self


def weights_for(
    problem: Problem, rows: Iterable[Sequence[PlanWeight]]
) -> tuple[tuple[int, ...], ...] | str:
    """Return weightings as a certificate has them, or why they are none of the problem's."""
    windows, found = [window.name for window in problem.windows], []
    for row in rows:
        of = {weight.window: weight for weight in row}
        if of.keys() != set(windows) or len(row) != len(windows):
            return "a weighting does not name each window of the problem once"
        found.append((*(of[w].kv for w in windows), *(of[w].time for w in windows)))
    return tuple(found)


def weights_by_window(
    windows: Sequence[str], rows: Iterable[Sequence[int]]
) -> tuple[tuple[PlanWeight, ...], ...]:
    """Return weightings, KV of each window and then time of each, as a plan states them."""
    n = len(windows)
    return tuple(tuple(map(PlanWeight, windows, row[:n], row[n:])) for row in rows)


def _unless_empty(entries: Iterable[T]) -> tuple[T, ...]:
    """Return the entries, and none where each is empty."""
    listed = tuple(entries)
    return listed if any(listed) else ()
