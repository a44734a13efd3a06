"""The least that any fleet must have to reach a target, by sums alone, and what no fleet reaches.

At a target K every model needs memory for its weights and ``load / K`` for KV. A fleet whose
nodes have less than the models need in sum does not reach K; nor does one in which the nodes on
which certain models can run at all have less than these models need.
"""

import math
from dataclasses import dataclass

from kvplace.core.hardware import Node, usable
from kvplace.core.model import Split
from kvplace.core.needs import ShardNeed
from kvplace.core.problem import Problem
from kvplace.size.stock import Mix, Stock
from kvplace.units import format_bytes

__all__ = ["Floor", "floor_of"]

ROUNDING = 1e-9
"""Relative slack on sums of floats, so that nothing possible is excluded."""


@dataclass(frozen=True, slots=True)
class Floor:
    """What a mix must have at least.

    Parameters
    ----------
    capacity_bytes
        Usable memory of a node of each kind.
    groups
        Pairs of the kinds on which some models can run, and the bytes that these models need.
    unreachable
        Why no fleet reaches the target: one sentence per model; empty where that is not so.
    """

    capacity_bytes: tuple[int, ...]
    groups: tuple[tuple[frozenset[int], float], ...]
    unreachable: tuple[str, ...]

    def admits(self, mix: Mix) -> bool:
        """Whether the sums leave it open that a mix is enough."""
        return all(
            sum(mix[kind] * self.capacity_bytes[kind] for kind in kinds) >= needed
            for kinds, needed in self.groups
        )


def floor_of(stock: Stock, target: float) -> Floor:
    """Return the floor of a stock at a target KVPR."""
    needed: dict[frozenset[int], float] = {}
    unreachable = []
    for index in range(len(stock.problem.models)):
        kinds = _kinds(stock, index, target)
        if kinds:
            needed[kinds] = needed.get(kinds, 0.0) + _least(stock.problem, index, target)
        else:
            unreachable.append(_why(stock, index, target))
    groups = tuple(
        (kinds, (1 - ROUNDING) * sum(n for other, n in needed.items() if other <= kinds))
        for kinds in {*needed, frozenset(range(len(stock.kinds)))}
    )
    capacity = tuple(sum(gpu.usable_bytes for gpu in kind[0].gpus) for kind in stock.kinds)
    return Floor(capacity, groups, tuple(unreachable))


def _least(problem: Problem, index: int, target: float) -> float:
    """Return the least memory that a model takes at a target, over all its degrees."""
    model, unit = problem.models[index], problem.goal.memory_unit_bytes
    needs = [(degree, problem.need(index, degree)) for degree in model.tensor_parallel]
    weights = min(degree * need.weights_bytes for degree, need in needs)
    load = min(degree * need.load for degree, need in needs)
    return model.replicas.min * weights + load * unit / target


def _kinds(stock: Stock, index: int, target: float) -> frozenset[int]:
    """Return the kinds of node on which a copy of a model can be within a target."""
    problem, model = stock.problem, stock.problem.models[index]
    unit, copies = problem.goal.memory_unit_bytes, model.replicas.max
    rooms = [
        (at, degree, room)
        for at, kind in enumerate(stock.kinds)
        for degree in model.tensor_parallel
        if (room := _room(kind[0], model.gpu_types, degree)) is not None
    ]
    largest = max((room for _, _, room in rooms), default=0)
    kinds = set()
    for at, degree, room in rooms:
        # Split by capacity, a copy on a small GPU has less to carry beside others on large ones.
        even = model.replicas.split is Split.EVEN
        part = 1 / copies if even else room / (room + (copies - 1) * largest)
        if _fits(problem.shard(index, degree, part), room, target, unit):
            kinds.add(at)
    return frozenset(kinds)


def _room(node: Node, types: tuple[str, ...], degree: int) -> int | None:
    """Return the memory of the largest GPU for a shard; None where no link domain is so wide.

    Of the GPUs of each link domain that a model may use, the one with the degree-th most memory
    is what the smallest shard of a copy gets at best; equal shards need at least that of it.
    """
    links: dict[str, list[int]] = {}
    for gpu in node.gpus:
        if usable(gpu, types):
            links.setdefault(gpu.link, []).append(gpu.usable_bytes)
    rooms = [sorted(gpus)[-degree] for gpus in links.values() if len(gpus) >= degree]
    return max(rooms, default=None)


def _fits(need: ShardNeed, memory_bytes: int, target: float, unit: int) -> bool:
    """Whether a shard alone on a GPU stays within a target."""
    free = memory_bytes - need.weights_bytes
    return free >= max(1, need.min_kv_bytes) and need.load * unit <= target * free * (1 + ROUNDING)


def _why(stock: Stock, index: int, target: float) -> str:
    """Say why a model reaches the target on no node however many there are."""
    problem, model = stock.problem, stock.problem.models[index]
    copies, unit = model.replicas.max, problem.goal.memory_unit_bytes
    rooms = [
        (room, degree, kind[0].gpus[0].type)
        for kind in stock.kinds
        for degree in model.tensor_parallel
        if (room := _room(kind[0], model.gpu_types, degree)) is not None
    ]
    if not rooms:
        degree = min(model.tensor_parallel)
        types = f" of type {' or '.join(model.gpu_types)}" if model.gpu_types else ""
        number = "a GPU" if degree == 1 else f"{degree} GPUs"
        together = "" if degree == 1 else " in one node"
        return f"{model.name!r} needs {number}{types}{together}, which no node on offer has"
    pressed = [
        (need.load * unit / (room - need.weights_bytes), degree, type_)
        for room, degree, type_ in rooms
        for need in [problem.need(index, degree, copies)]
        if room - need.weights_bytes >= max(1, need.min_kv_bytes)
    ]
    if pressed:
        kvpr, degree, type_ = min(pressed)
        split = f" with tensor parallel {degree}" if degree > 1 else ""
        alone = "alone on a GPU" if copies == 1 else f"in {copies} copies, each alone on its GPUs"
        wanted = math.ceil(kvpr / target * copies * (1 - ROUNDING))
        return (
            f"{model.name!r} {alone}{split} of type {type_} is at {kvpr:.4g}, above {target:.4g}; "
            f"allow it {wanted} copies (replicas: {{min: {model.replicas.min}, max: {wanted}}})"
        )
    room, degree, _ = max(rooms, key=lambda room: (room[1], room[0]))
    need = problem.need(index, degree)
    split = f" on each of {degree} GPUs" if degree > 1 else ""
    kept = f" and {format_bytes(need.min_kv_bytes)} for KV" if need.min_kv_bytes else ""
    return (
        f"{model.name!r} needs {format_bytes(need.weights_bytes)} with overhead{kept}{split}; "
        f"the largest GPU on offer has {format_bytes(room)} usable"
    )
