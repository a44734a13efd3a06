"""The least that any fleet must have to reach a target, by sums alone, and what no fleet reaches.

At a target K every model needs memory for its weights and ``load / K`` for KV. A fleet whose
nodes have less than the models need in sum does not reach K; nor does one in which the nodes on
which certain models can run at all have less than these models need. Under the objective
``pressure`` the load is the mean of the window with most of it, and the shares of GPU time of all
models are held against the number of GPUs in the same way.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from kvplace.core.derived.needs import ShardNeed
from kvplace.core.evaluation.degrees import degree_that_fits
from kvplace.core.evaluation.evaluate import kvpr_of
from kvplace.core.hardware import GPU, Node, usable
from kvplace.core.models.model import Split
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.size.stock import Mix, Stock
from kvplace.units import format_bytes

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
    gpus
        GPUs of a node of each kind.
    time_groups
        Pairs of the kinds on which some models can run, and the GPUs that their time needs.
    unreachable
        Why no fleet reaches the target: one sentence per model; empty where that is not so.
    """

    capacity_bytes: tuple[int, ...]
    groups: tuple[tuple[frozenset[int], float], ...]
    unreachable: tuple[str, ...]
    gpus: tuple[int, ...] = ()
    time_groups: tuple[tuple[frozenset[int], float], ...] = ()

    def admits(self, mix: Mix) -> bool:
        """Whether the sums leave it open that a mix is enough."""
        pairs = ((self.capacity_bytes, self.groups), (self.gpus, self.time_groups))
        return all(
            sum(mix[kind] * capacity[kind] for kind in kinds) >= needed
            for capacity, groups in pairs
            for kinds, needed in groups
        )


def floor_of(stock: Stock, target: float) -> Floor:
    """Return the floor of a stock at a target KVPR."""
    problem = stock.problem
    bytes_needed: dict[frozenset[int], float] = {}
    gpus_needed: list[dict[frozenset[int], float]] = [{} for _ in problem.windows]
    unreachable = []
    loads, timed = _loads(problem), problem.goal is Objective.PRESSURE
    types = {gpu.type for kind in stock.kinds for gpu in kind[0].gpus}
    for index, (kinds, least) in enumerate(_needed(stock, loads, target)):
        if kinds:
            bytes_needed[kinds] = bytes_needed.get(kinds, 0.0) + least
        else:
            unreachable.append(_why(stock, index, target))
        if kinds and timed:
            times = _least_times(problem, index, types)
            for of_window, time in zip(gpus_needed, times, strict=True):
                of_window[kinds] = of_window.get(kinds, 0.0) + time / target
    capacity = tuple(sum(gpu.usable_bytes for gpu in kind[0].gpus) for kind in stock.kinds)
    gpus = tuple(len(kind[0].gpus) for kind in stock.kinds)
    time_groups = tuple(group for needed in gpus_needed for group in _summed(stock, needed))
    return Floor(capacity, _summed(stock, bytes_needed), tuple(unreachable), gpus, time_groups)


def least_sums(problem: Problem, target: float) -> list[tuple[float, Callable[[GPU], float]]]:
    """Return what the models of a problem need together at a target, and what a GPU has of it.

    Parameters
    ----------
    problem
        What is to be served.
    target
        Highest pressure of any GPU.

    Returns
    -------
    list
        Bytes of memory, and under the objective ``pressure`` GPUs' time in each window. GPUs that
        have less in sum do not reach the target.
    """
    loads = _loads(problem) if target > 0 else [0.0] * len(problem.models)
    memory = math.fsum(
        _least(problem, index, load, target or 1.0) for index, load in enumerate(loads)
    )
    found: list[tuple[float, Callable[[GPU], float]]] = [(memory, lambda gpu: gpu.usable_bytes)]
    if problem.goal is Objective.PRESSURE and target > 0:
        types, models = set(problem.gpu_types), range(len(problem.models))
        times = zip(*(_least_times(problem, i, types) for i in models), strict=True)
        found += [(math.fsum(of_window) / target, lambda _: 1.0) for of_window in times]
    return found


def _summed(
    stock: Stock, needed: dict[frozenset[int], float]
) -> tuple[tuple[frozenset[int], float], ...]:
    """Return per set of kinds what the models need that can run on no others."""
    return tuple(
        (kinds, (1 - ROUNDING) * sum(n for other, n in needed.items() if other <= kinds))
        for kinds in {*needed, frozenset(range(len(stock.kinds)))}
    )


def _loads(problem: Problem) -> Sequence[float]:
    """Return the load of each model, under several pressures in the window with most of it."""
    if problem.goal is not Objective.PRESSURE:
        return problem.loads
    return max(problem.pressures.window_means, key=math.fsum)


def _least(problem: Problem, index: int, load: float, target: float) -> float:
    """Return the least memory that a model takes at a target, over all its degrees."""
    model, unit = problem.models[index], problem.goal.memory_unit_bytes
    needs = [(degree, problem.need(index, degree)) for degree in model.tensor_parallel]
    weights = min(degree * need.weights_bytes for degree, need in needs)
    part = min(degree * problem.rank_part(index, degree) for degree, _ in needs)
    return model.replicas.min * weights + load * part * unit / target


def _least_times(problem: Problem, index: int, types: Iterable[str]) -> list[float]:
    """Return per window the least GPU time that a model needs, over its options and GPU types."""
    model, pressures = problem.models[index], problem.pressures
    uneven = model.replicas.split is not Split.EVEN
    found = [math.inf] * len(problem.windows)
    for degree in model.tensor_parallel:
        for copies in range(model.replicas.min, model.replicas.max + 1):
            if uneven and copies > 1:
                return [0.0] * len(found)  # what copies with uneven parts need is not known
            for gpu_type in types:
                _, shares = pressures.shard(index, degree, 1 / copies, gpu_type)
                whole = (degree * copies * share for share in shares)
                found = list(map(min, found, whole))
    return found


def _needed(
    stock: Stock, loads: Sequence[float], target: float
) -> Iterator[tuple[frozenset[int], float]]:
    """Yield the kinds of node on which each model can be, and the least memory that it takes."""
    problem, offers = stock.problem, _Offers(stock)
    unit = problem.goal.memory_unit_bytes
    if problem.columns.plain and problem.goal is not Objective.PRESSURE:  # none is made
        rooms = [offers.of(at, (), 1)[0] or 0 for at in range(len(stock.kinds))]
        for need in map(ShardNeed, problem.undivided_bytes, problem.min_kv_bytes, loads):
            kinds = frozenset(
                at for at, room in enumerate(rooms) if _fits(need, room, target, unit)
            )
            yield kinds, need.weights_bytes + need.load * unit / target
        return
    for index, load in enumerate(loads):
        kinds = _kinds(stock, offers, index, target)
        yield kinds, _least(problem, index, load, target) if kinds else 0.0


class _Offers:
    """What each kind of node has for a model, looked up once for all models that ask alike."""

    def __init__(self, stock: Stock) -> None:
        self._nodes = [kind[0] for kind in stock.kinds]
        self._found: dict[tuple[object, ...], tuple[int | None, set[str]]] = {}

    def of(self, at: int, types: tuple[str, ...], degree: int) -> tuple[int | None, set[str]]:
        """Return the room of a shard on a kind, as `_room` has it, and the types it may be on."""
        if (at, types, degree) not in self._found:
            node = self._nodes[at]
            held = {gpu.type for gpu in node.gpus if usable(gpu, types)}
            self._found[at, types, degree] = _room(node, types, degree), held
        return self._found[at, types, degree]


def _kinds(stock: Stock, offers: _Offers, index: int, target: float) -> frozenset[int]:
    """Return the kinds of node on which a copy of a model can be within a target."""
    problem, model = stock.problem, stock.problem.models[index]
    unit, copies = problem.goal.memory_unit_bytes, model.replicas.max
    rooms = [
        (at, degree, room, types)
        for at in range(len(stock.kinds))
        for degree in model.tensor_parallel
        for room, types in [offers.of(at, model.gpu_types, degree)]
        if room is not None
    ]
    largest = max((room for _, _, room, _ in rooms), default=0)
    kinds = set()
    for at, degree, room, types in rooms:
        # Split by capacity, a copy on a small GPU has less to carry beside others on large ones.
        even = model.replicas.split is Split.EVEN
        part = 1 / copies if even else room / (room + (copies - 1) * largest)
        if _fits(problem.shard(index, degree, part), room, target, unit) and _keeps_time(
            problem, index, degree, part, types, room, target
        ):
            kinds.add(at)
    return frozenset(kinds)


def _room(node: Node, types: tuple[str, ...], degree: int) -> int | None:
    """Return the memory of the largest GPU for a shard; None where no link domain is so wide.

    Of the GPUs of each link domain that a model may use, the one with the degree-th most memory
    is what the smallest shard of a copy gets at best; equal shards need at least that of it.
    """
    rooms = [gpus[degree - 1] for gpus in _by_link(node, types) if len(gpus) >= degree]
    return max(rooms, default=None)


def _by_link(node: Node, types: tuple[str, ...]) -> list[list[int]]:
    """Return the usable memory of the GPUs of some types, by link domain, most first."""
    links: dict[str, list[int]] = {}
    for gpu in node.gpus:
        if usable(gpu, types):
            links.setdefault(gpu.link, []).append(gpu.usable_bytes)
    return [sorted(gpus, reverse=True) for gpus in links.values()]


def _fits(need: ShardNeed, memory_bytes: int, target: float, unit: int) -> bool:
    """Whether a shard alone on a GPU stays within a target."""
    free = memory_bytes - need.weights_bytes
    return free >= max(1, need.min_kv_bytes) and need.load * unit <= target * free * (1 + ROUNDING)


def _keeps_time(
    problem: Problem,
    index: int,
    degree: int,
    part: float,
    types: Iterable[str],
    memory_bytes: int,
    target: float,
) -> bool:
    """Whether a shard alone on a GPU of some type keeps a target in every window, in time too."""
    if problem.goal is not Objective.PRESSURE:
        return True
    free = memory_bytes - problem.shard(index, degree, part).weights_bytes
    most = target * (1 + ROUNDING)
    for gpu_type in types:
        loads, shares = problem.pressures.shard(index, degree, part, gpu_type)
        # With a quantile a larger fleet has smaller loads; the means are looked at elsewhere.
        roomy = problem.quantile is not None or max(loads) <= most * free
        if max(shares) <= most and roomy:
            return True
    return False


def _alone(
    problem: Problem, index: int, degree: int, copies: int, memory_bytes: int, gpu_type: str
) -> float:
    """Return the pressure of a GPU of a memory and type that holds one shard of a model."""
    need = problem.need(index, degree, copies)
    free = memory_bytes - need.weights_bytes
    if problem.goal is not Objective.PRESSURE:
        return kvpr_of(need.load, free, problem.goal.memory_unit_bytes)
    loads, shares = problem.pressures.shard(index, degree, 1 / copies, gpu_type)
    return max(*shares, *(kvpr_of(load, free) for load in loads))


def _why(stock: Stock, index: int, target: float) -> str:
    """Say why a model reaches the target on no node however many there are."""
    problem, model = stock.problem, stock.problem.models[index]
    copies = model.replicas.max
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
        (_alone(problem, index, degree, copies, room, type_), degree, type_)
        for room, degree, type_ in rooms
        for need in [problem.need(index, degree, copies)]
        if room - need.weights_bytes >= max(1, need.min_kv_bytes)
    ]
    if pressed:
        kvpr, degree, type_ = min(pressed)
        split = f" with tensor parallel {degree}" if degree > 1 else ""
        alone = "alone on a GPU" if degree == 1 else "alone on its GPUs"
        if copies > 1:
            alone = f"in {copies} copies, each alone on its GPUs"
        wanted = math.ceil(kvpr / target * copies * (1 - ROUNDING))
        return (
            f"{model.name!r} {alone}{split} of type {type_} is at {kvpr:.4g}, above {target:.4g}; "
            f"allow it {wanted} copies (replicas: {{min: {model.replicas.min}, max: {wanted}}})"
        )
    room, degree, _ = max(rooms, key=lambda room: (room[1], room[0]))
    need = problem.need(index, degree)
    split = f" on each of {degree} GPUs" if degree > 1 else ""
    kept = f" and {format_bytes(need.min_kv_bytes)} for KV" if need.min_kv_bytes else ""
    offered = [gpus for kind in stock.kinds for gpus in _by_link(kind[0], model.gpu_types)]
    return (
        f"{model.name!r} needs {format_bytes(need.weights_bytes)} with overhead{kept}{split}; "
        f"the largest GPU on offer has {format_bytes(room)} usable"
        f"{degree_that_fits(problem, index, offered)}"
    )
