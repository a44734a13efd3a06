"""What a fleet file may hold: kvplace.fleet/v1."""

from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_validator

from kvplace.core.models.model import Attention, Model, Replicas, Split
from kvplace.core.models.objective import Objective
from kvplace.core.names import MAX_COUNT
from kvplace.formats.fleet.asked import (
    DemandPart,
    MeasuredStepPart,
    SlidingWindowPart,
    SLOPart,
    WindowDemandPart,
    WindowPart,
)
from kvplace.formats.fleet.launch import LaunchPart, MovingPart, PlacedOn
from kvplace.formats.fleet.rules import Names, RulePart
from kvplace.formats.fleet.shape import Resident, Shape
from kvplace.formats.validation.fields import (
    Amount,
    AmountOrBytes,
    BytesPerToken,
    Count,
    Degrees,
    Name,
    Number,
    Positive,
    Quantile,
    Resources,
    Text,
    kind,
    word,
)
from kvplace.formats.validation.parts import ALWAYS, Documented, Part
from kvplace.formats.validation.values import SPAN, copies, count, refuse_value

FLEET_SCHEMA = "kvplace.fleet/v1"


class GPUPart(Part):
    """A GPU; `type` or `memory` or both."""

    type: Name | None = None
    """Name of the hardware."""
    memory_bytes: Amount | None = Field(default=None, alias="memory")
    """What a process can allocate; by default what the catalogue says of the type."""
    reserve_bytes: Amount = Field(default=0, alias="reserve")
    """Kept for others: neither weights nor KV cache."""
    resources: Resources = Field(default={})
    """Further capacities that its shards share, by name."""
    price_per_hour: Positive | None = None
    """What it costs while in use, in any one currency."""
    watts: Positive | None = None
    """What it draws at most; by default the rated power of its type."""


def _gpu(value: object) -> object:
    """Accept a type or an amount of memory in place of a mapping."""
    if not isinstance(value, str) or not value:
        return value
    return {"memory" if value[0].isdigit() or value[0] in ".+-" else "type": value}


def _gpus(value: object) -> object:
    """Accept a count, or a list to be looked at GPU by GPU."""
    return list(map(_gpu, value)) if isinstance(value, list) else count(value)


_NAMED = {"type": "string", "minLength": 1, "examples": ["H100", "80GiB"]}
_GPU = {"anyOf": [_NAMED, GPUPart]}
_COUNTED = {"type": "integer", "minimum": 1, "maximum": MAX_COUNT}


class NodePart(Part):
    """A host, or `count` hosts alike."""

    name: Name = Field(examples=["h200"])
    count: Count | None = None
    """Hosts alike, named name-0, name-1 and so on."""
    gpus: Annotated[
        Any, *kind(_gpus, anyOf=[_COUNTED, {"type": "array", "items": _GPU, "minItems": 1}])
    ] = Field(examples=["8"])
    """GPUs that are all as `gpu` says, or each one by itself."""
    gpu: Annotated[GPUPart | None, *kind(_gpu, **_GPU)] = None
    """Every GPU of a node that counts them: a mapping, or a type or memory alone."""
    labels: dict[Name, Text] = Field(default={})
    """Topology and other facts."""
    link_size: Count | None = None
    """GPUs in a row that share a fast link; by default all of the node."""
    resources: Resources = Field(default={})
    """Further capacities that the shards on its GPUs share, by name."""


class ReplicasPart(Part):
    """How many copies the planner may choose, both ends included."""

    core = Replicas

    min: Annotated[Count, ALWAYS] = 1
    max: Count = Field(examples=["8"])
    split: Annotated[Split, *word(*Split)] = Split.EVEN
    """How demand is divided: even, or by capacity of the GPUs."""
    target: Number | None = None
    """Pressure of the model's GPUs that is good enough, such as 0.7: the plan takes the fewest
    copies found that stay at or below it."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            refuse_value(f"min {self.min} is above max {self.max}")
        return self


def _replicas(value: object) -> object:
    """Accept a number or a span of copies for a range."""
    if isinstance(value, dict):
        return value
    least, most = copies(value)
    return {"min": least, "max": most}


_ONE = ReplicasPart.model_construct(min=1, max=1)
_COPIES = [
    {"type": "integer", "minimum": 1},
    {"type": "string", "pattern": SPAN, "examples": ["1-8"]},
    ReplicasPart,
]
_BY_WINDOW = {"type": "array", "items": WindowDemandPart, "minItems": 1}
_DEMAND = Documented({"anyOf": [DemandPart, _BY_WINDOW]})


class ModelPart(Part):
    """A model to be served."""

    core = Model

    name: Name = Field(examples=["org/model"])
    weights_bytes: Amount = Field(alias="weights", examples=["14.958GiB"])
    """One copy, before any split."""
    overhead_bytes: Annotated[Amount | None, ALWAYS] = Field(default=None, alias="overhead")
    """Of each engine process on each GPU; by default as `defaults` says."""
    resident: Resident = ()
    """What one engine process takes of each of its GPUs besides KV cache, by tensor parallel
    degree, as measured; goes before weights and overhead."""
    min_kv_bytes: Amount | None = Field(default=None, alias="min_kv")
    """KV memory that the model must be left at least; by default room for one request of
    max_model_len."""
    max_model_len: Count | None = None
    """Most tokens of one request; by default four times the mean request, rounded up to 1,024, and
    no more than the model's context."""
    kv_bytes_per_token: BytesPerToken | None = None
    """KV cache that one token takes, over all layers."""
    kv_bytes_per_sequence: AmountOrBytes = 0
    """Fixed state of one running request besides its tokens."""
    sliding_windows: tuple[SlidingWindowPart, ...] = ()
    """Layers that keep the last tokens only: what a token takes there, which is part of
    kv_bytes_per_token."""
    kv_block_tokens: Count = 1
    """Tokens of a block of KV cache, which a request takes whole, such as 16; by default tokens are
    counted exactly."""
    tensor_parallel: Degrees = (1,)
    """Degree, or a list of allowed degrees."""
    replicas: Annotated[ReplicasPart, *kind(_replicas, anyOf=_COPIES)] = _ONE
    attention: Annotated[Attention, *word(*Attention)] = Attention.GROUPED
    """grouped: KV heads split over the ranks; mla: whole on every rank."""
    kv_heads: Count | None = None
    """KV heads of grouped attention; by default KV splits evenly."""
    gpu_types: Names | None = ()
    """GPU types that it may run on; by default all."""
    resources: Resources = Field(default={})
    """What each shard takes of further capacities, by name."""
    demand: Annotated[DemandPart, _DEMAND] = Field(examples=["{requests_per_second: 2.1}"])
    """Of all time, or a list of the demand in each window."""
    windows: dict[Name, DemandPart] = Field(default={})
    """Demand by window, where `demand` states the mean beside it."""
    slo: SLOPart = SLOPart.model_construct()
    launch: LaunchPart | None = None
    """How its engine is started; what it leaves out `defaults` gives."""
    architecture: Shape | None = None
    """Its shape, which its overhead and its step times are computed from; by default that of the
    model of this name."""
    step_times: tuple[MeasuredStepPart, ...] = ()
    """Times of steps, as measured on a running engine; they go before what is computed, on that GPU
    type at that degree."""
    placed_on: PlacedOn = Field(default=(), examples=["h100-0/3"])
    """Where it runs now: a GPU, or a list with the GPU, or the GPUs in rank order, of each copy."""
    move: MovingPart = MovingPart.model_construct()
    """What it takes to move it, for replan."""

    @model_validator(mode="after")
    def _heads(self) -> Self:
        if self.kv_heads is not None and self.attention == Attention.MLA:
            refuse_value("kv_heads has no place beside attention: mla; leave one of them out")
        return self


_AnyDemand = Annotated[DemandPart | None, _DEMAND]


class KnownModelPart(ModelPart):
    """A model of the catalogue, which gives what is left out."""

    model: Name = Field(examples=["Qwen/Qwen3-8B"])
    """Name in the catalogue: weights, KV cache, shape and degree come from there."""
    name: Name | None = None  # type: ignore[assignment]  # only what is required differs
    """By default that in the catalogue."""
    weights_bytes: Amount | None = Field(default=None, alias="weights")  # type: ignore[assignment]  # not required
    """By default as the catalogue says."""
    demand: _AnyDemand = None  # type: ignore[assignment]  # not required
    """By default none: a standby."""


class DefaultsPart(Part):
    """Values for models that do not give their own."""

    overhead: Amount | None = None
    """Estimated where not given."""
    launch: LaunchPart | None = None
    """How engines are started."""


_GROUPS = {"type": "string", "examples": ["5x8xH100"]}
_NODES = {"type": "array", "items": NodePart}


class FleetPart(Part):
    """A fleet file: GPUs, and the models to place on them."""

    model_config = ConfigDict(title=FLEET_SCHEMA)

    schema_: Annotated[str, *word(FLEET_SCHEMA)] = Field(alias="schema", examples=[FLEET_SCHEMA])
    objective: Annotated[str, *word(*Objective)] | None = None
    """Load to plan for; by default what the models give enough for."""
    defaults: DefaultsPart = DefaultsPart.model_construct()
    nodes: Annotated[list[NodePart], Documented({"anyOf": [_GROUPS, _NODES]})] = Field(
        examples=["5x8xH100"]
    )
    """Hosts; or in one line, hosts x GPUs x type, as --gpus takes them."""
    models: list[KnownModelPart | ModelPart] = Field(examples=["[{model: Qwen/Qwen3-8B}]"])
    windows: list[WindowPart] = Field(default=[])
    """Windows of demand; by default those that the models name."""
    robust: Number | None = None
    """Plan for the hottest models all asked for this many times more, such as 1.5."""
    quantile: Quantile | None = None
    """Plan for what models need in this share of the time, such as 95%, and not for means."""
    rules: list[RulePart] = Field(default=[])
    """What is demanded besides that everything fits."""
