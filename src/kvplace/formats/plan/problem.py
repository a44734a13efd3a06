"""The problem that a plan carries, so that it can be evaluated again without its fleet file."""

from typing import Annotated, Any

from pydantic import Field

from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.launch import Launch
from kvplace.core.model import SLO, Attention, Demand, Model, Replicas, Split
from kvplace.core.objective import Objective
from kvplace.core.problem import Problem
from kvplace.errors import InputError
from kvplace.formats.fleet.launch import LaunchPart, build_launch, launch_data
from kvplace.formats.plan.stated import Plan, PlanGPU, PlanNode
from kvplace.formats.validation.fields import (
    Count,
    Degrees,
    Integer,
    Name,
    Number,
    Resources,
    Text,
    word,
)
from kvplace.formats.validation.models import Part

__all__ = [
    "PlanModelPart",
    "PlanNodePart",
    "build_model",
    "build_node",
    "model_data",
    "node_data",
    "problem_of",
]

_ONE = Replicas()


class PlanDemandPart(Part):
    """What is asked of a model, all replicas together."""

    requests_per_second: Number
    prompt_tokens: Number | None = None
    output_tokens: Number | None = None


class PlanSLOPart(Part):
    """Latency objectives."""

    ttft_seconds: Number | None = None
    tpot_seconds: Number | None = None
    latency_seconds: Number | None = None


class PlanReplicasPart(Part):
    """How many copies were allowed."""

    min: Count
    max: Count
    split: Annotated[str, *word(*Split)] = Split.EVEN


class PlanModelPart(Part):
    """A model as it was planned for."""

    name: Name
    weights_bytes: Integer
    overhead_bytes: Integer
    min_kv_bytes: Integer = 0
    kv_bytes_per_token: Integer | None = None
    kv_bytes_per_sequence: Integer = 0
    tensor_parallel: Degrees = (1,)
    replicas: PlanReplicasPart = PlanReplicasPart(min=1, max=1)
    attention: Annotated[str, *word(*Attention)] = Attention.GROUPED
    kv_heads: Count | None = None
    gpu_types: list[Name] = Field(default=[])
    resources: Resources = Field(default={})
    demand: PlanDemandPart
    slo: PlanSLOPart = PlanSLOPart()
    launch: LaunchPart | None = None


class PlanNodePart(Part):
    """A host: its GPUs in the order of its own numbering."""

    name: Name
    gpus: list[Name]
    labels: dict[Name, Text] = Field(default={})
    links: list[Text] = Field(default=[], description="Link domain of each GPU, by default one.")
    resources: Resources = Field(default={})
    gpu_resources: list[Resources] = Field(default=[])


def build_model(part: PlanModelPart) -> Model:
    """Return the model that a plan states.

    Raises
    ------
    InputError
        Its numbers contradict each other.
    """
    return Model(
        name=part.name,
        weights_bytes=part.weights_bytes,
        demand=Demand(**part.demand.model_dump()),
        slo=SLO(**part.slo.model_dump()),
        kv_bytes_per_token=part.kv_bytes_per_token,
        kv_bytes_per_sequence=part.kv_bytes_per_sequence,
        overhead_bytes=part.overhead_bytes,
        min_kv_bytes=part.min_kv_bytes,
        tensor_parallel=part.tensor_parallel,
        replicas=Replicas(part.replicas.min, part.replicas.max, Split(part.replicas.split)),
        attention=Attention(part.attention),
        kv_heads=part.kv_heads,
        gpu_types=tuple(part.gpu_types),
        resources=part.resources,
        launch=build_launch(part.launch),
    )


def build_node(part: PlanNodePart) -> PlanNode:
    """Return the node that a plan states."""
    return PlanNode(
        part.name,
        tuple(part.gpus),
        tuple(part.labels.items()),
        tuple(part.links),
        tuple(part.resources.items()),
        tuple(tuple(amounts.items()) for amounts in part.gpu_resources),
    )


def problem_of(plan: Plan, source: str = "") -> Problem:
    """Return the problem that a plan was made for, from the plan alone.

    Parameters
    ----------
    plan
        What a plan file states.
    source
        Its name, for messages.

    Raises
    ------
    InputError
        The plan does not carry its problem, or what it carries is not what was solved.
    """
    if not plan.models or not plan.nodes:
        raise InputError(
            "this plan does not carry its models and nodes; name its fleet file with --fleet",
            source,
        )
    gpus = {gpu.id: gpu for gpu in plan.gpus}
    stated = [gpu for node in plan.nodes for gpu in node.gpus]
    if sorted(stated) != sorted(gpu.id for gpu in plan.gpus):
        raise InputError("the nodes of this plan do not name each of its GPUs once", source)
    try:
        fleet = Fleet(tuple(_node(node, gpus) for node in plan.nodes))
        problem = Problem(plan.models, fleet, Objective(plan.objective), plan.rules)
    except InputError as error:
        raise InputError(error.faults, source) from None
    if problem.digest != plan.problem_digest:
        raise InputError(
            "the models and nodes in this plan are not those that it was made for "
            "(problem_digest differs); make it again, or name its fleet file with --fleet",
            source,
        )
    return problem


def _node(node: PlanNode, gpus: dict[str, PlanGPU]) -> Node:
    """Return a node as it was planned for; memory is what was usable."""
    links = node.links or [""] * len(node.gpus)
    amounts = node.gpu_resources or [()] * len(node.gpus)
    if not len(links) == len(amounts) == len(node.gpus):
        raise InputError(f"node {node.name!r} does not state one link and resource for each GPU")
    devices = tuple(
        GPU(id_, gpus[id_].type, gpus[id_].memory_bytes, 0, link, dict(resources))
        for id_, link, resources in zip(node.gpus, links, amounts, strict=True)
    )
    return Node(node.name, devices, dict(node.labels), dict(node.resources))


def model_data(model: Model) -> dict[str, Any]:
    """Return a model as a plan states it: what is not given is left out."""
    data: dict[str, Any] = {
        "name": model.name,
        "weights_bytes": model.weights_bytes,
        "overhead_bytes": model.overhead_bytes,
    }
    if model.min_kv_bytes:
        data["min_kv_bytes"] = model.min_kv_bytes
    if model.kv_bytes_per_token is not None:
        data["kv_bytes_per_token"] = model.kv_bytes_per_token
    if model.kv_bytes_per_sequence:
        data["kv_bytes_per_sequence"] = model.kv_bytes_per_sequence
    if model.tensor_parallel != (1,):
        data["tensor_parallel"] = list(model.tensor_parallel)
    if model.replicas != _ONE:
        data["replicas"] = {"min": model.replicas.min, "max": model.replicas.max}
        if model.replicas.split is not Split.EVEN:
            data["replicas"]["split"] = model.replicas.split.value
    if model.attention is not Attention.GROUPED:
        data["attention"] = model.attention.value
    if model.kv_heads is not None:
        data["kv_heads"] = model.kv_heads
    if model.gpu_types:
        data["gpu_types"] = list(model.gpu_types)
    if model.resources:
        data["resources"] = dict(model.resources)
    data["demand"] = _given(
        requests_per_second=model.demand.requests_per_second,
        prompt_tokens=model.demand.prompt_tokens,
        output_tokens=model.demand.output_tokens,
    )
    slo = _given(
        ttft_seconds=model.slo.ttft_seconds,
        tpot_seconds=model.slo.tpot_seconds,
        latency_seconds=model.slo.latency_seconds,
    )
    if slo:
        data["slo"] = slo
    if model.launch != Launch():
        data["launch"] = launch_data(model.launch)
    return data


def node_data(node: PlanNode) -> dict[str, Any]:
    """Return a node as a plan states it."""
    data: dict[str, Any] = {"name": node.name, "gpus": list(node.gpus)}
    if node.labels:
        data["labels"] = dict(node.labels)
    if any(node.links):
        data["links"] = list(node.links)
    if node.resources:
        data["resources"] = dict(node.resources)
    if any(node.gpu_resources):
        data["gpu_resources"] = [dict(amounts) for amounts in node.gpu_resources]
    return data


def _given(**values: float | None) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}
