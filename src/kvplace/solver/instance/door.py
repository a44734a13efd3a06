"""The door between core's frozen types and the numbers of the solver.

An instance is loaded once, and what was found is unloaded once; in between there are no names.
"""

from array import array
from collections.abc import Iterable, Sequence
from functools import cache, partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from kvplace.collector import paused_collector
from kvplace.core.columns import filled
from kvplace.core.models.model import Split
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Assigned, Placement, Replica
from kvplace.core.problem import Problem
from kvplace.errors import InputError
from kvplace.solver.instance.instance import Copies, Instance
from kvplace.solver.instance.numbers import Loads, Uneven
from kvplace.solver.instance.order import MANY, canonical
from kvplace.solver.instance.penalties.tracker import Ground
from kvplace.solver.instance.rule_penalties import blueprints

if TYPE_CHECKING:
    from kvplace.solver.array_types import Floats, Ints

MOST_BYTES = 2**62
"""What is larger fits no GPU, whose memory is below this."""


@paused_collector()
def load_instance(problem: Problem) -> Instance:
    """Turn a problem into numbers."""
    one_pressure = problem.goal is not Objective.PRESSURE
    return _undivided(problem) if problem.plain and one_pressure else _divided(problem)


def _order(problem: Problem) -> tuple[Sequence[int], Sequence[int]]:
    """Return the canonical order of models and of GPUs.

    By load, the hottest first; then by weights, the largest first; then by name.
    """
    ids = list(problem.fleet.position)
    keys = (problem.loads, _undivided_bytes(problem), problem.min_kv_bytes)
    models = canonical(keys, problem.names.__getitem__)
    return models, canonical((problem.fleet.usable_bytes,), ids.__getitem__)


def _undivided_bytes(problem: Problem) -> Sequence[int]:
    try:
        return problem.undivided_bytes
    except OverflowError:
        return [min(m.weights_bytes + m.overhead_bytes, MOST_BYTES) for m in problem.models]


def _undivided(problem: Problem) -> Instance:
    """Turn a problem of undivided models that may go anywhere into numbers."""
    models, gpus = _order(problem)
    loads = _taken("d", problem.loads, models)
    unit = problem.goal.memory_unit_bytes
    return Instance.undivided(
        _taken("q", _undivided_bytes(problem), models),
        _taken("q", problem.min_kv_bytes, models),
        loads if unit == 1 else array("d", [load * unit for load in loads]),
        _taken("q", problem.fleet.usable_bytes, gpus),
        models,
        gpus,
    )


def _bounded(column: Sequence[int]) -> Sequence[int]:
    """Return bytes of which none is more than any GPU may have."""
    if max(column, default=0) <= MOST_BYTES:
        return column
    return [min(value, MOST_BYTES) for value in column]


def _taken(code: str, column: Sequence[float], order: "Sequence[int] | Ints") -> "array[Any]":
    """Return a column in an order."""
    if len(order) < MANY:
        return array(code, [column[i] for i in order])
    import numpy as np  # noqa: PLC0415 - only where numbers are many

    return array(code, np.asarray(column, dtype=code)[np.asarray(order)].tobytes())


def _divided(problem: Problem) -> Instance:
    """Turn a problem with tensor parallel, copies, rules or several pressures into numbers."""
    import numpy as np  # noqa: PLC0415 - most that serve such problems need it

    models, gpus = _order(problem)
    ids = [problem.fleet.gpus[g].id for g in gpus]
    table = problem.option_table
    index = np.array(models)
    first = np.array(table.starts, dtype=np.int64)
    counts = np.diff(first)[index]
    starts = np.concatenate([[0], np.cumsum(counts)])
    order = np.arange(starts[-1]) + np.repeat(first[:-1][index] - starts[:-1], counts)
    sizes, keeps = (
        _taken("q", _bounded(column), order) for column in (table.weights_bytes, table.min_kv_bytes)
    )
    types = [problem.gpu_types.index(problem.fleet.gpus[g].type) for g in gpus]
    loads, kv_windows, time_windows = _loads(problem, order)
    masks, mask_of = ([], array("i")) if problem.plain else _masks(problem, models, ids)
    allowed = [np.frombuffer(mask, np.bool_) for mask in masks]
    topology = cache(partial(_domains, problem, tuple(gpus)))
    ground = Ground(problem, ids, topology, [allowed[at] for at in mask_of])
    return Instance(
        array("q", starts.tolist()),
        array("i", np.array(table.degrees, dtype=np.intc)[order].tobytes()),
        array("i", np.array(table.copies, dtype=np.intc)[order].tobytes()),
        sizes,
        keeps,
        array("d", np.ascontiguousarray(loads).tobytes()),
        _taken("q", problem.fleet.usable_bytes, gpus),
        array("q", models),
        array("q", gpus),
        kv_windows=kv_windows,
        time_windows=time_windows,
        type_of=types if loads.shape[1] > 1 else (),
        domain_of=topology("link"),
        kind_of=_kinds(problem, gpus, topology("link")),
        masks=tuple(masks),
        mask_of=mask_of,
        uneven=_uneven(problem, models, kv_windows, time_windows),
        blueprints=tuple(blueprints(ground, models)),
    )


def _loads(problem: Problem, order: "Ints") -> "tuple[Floats, tuple[int, ...], tuple[int, ...]]":
    """Return (rows, load types, pressures) loads of all options, and the windows they are of."""
    import numpy as np  # noqa: PLC0415 - they are arrays

    from kvplace.solver.instance.columns import undominated  # noqa: PLC0415 - of arrays

    if problem.goal is not Objective.PRESSURE:
        one = np.array(problem.option_table.loads)[order] * problem.goal.memory_unit_bytes
        return one.reshape(-1, 1, 1), (0,), ()
    table = problem.pressures.table
    types, windows = len(table.gpu_types), table.windows
    kv = np.array(table.loads).reshape(-1, 1, windows)[order]
    time = np.array(table.shares).reshape(-1, types, windows)[order]
    kv_windows, time_windows = tuple(undominated(kv)), tuple(range(windows))
    if not _uneven(problem, range(len(problem.models))):  # of their parts, shares say nothing
        time_windows = tuple(undominated(time))
    kv = np.broadcast_to(kv[:, :, kv_windows], (len(order), types, len(kv_windows)))
    return np.concatenate([kv, time[:, :, time_windows]], axis=2), kv_windows, time_windows


def _domains(problem: Problem, gpus: Sequence[int], key: str) -> list[int]:
    """Return domains of a topology key as numbers, -1 where a GPU is in none."""
    numbers: dict[str, int] = {}
    found = map(problem.fleet.domains(key).__getitem__, gpus)
    return [-1 if name is None else numbers.setdefault(name, len(numbers)) for name in found]


def _kinds(problem: Problem, gpus: Sequence[int], domain_of: Sequence[int]) -> list[int]:
    """Return a number per GPU, the same for GPUs that nothing but their id tells apart."""
    named = {gpu for rule in problem.rules for gpu in rule.named_places.gpus}
    numbers: dict[object, int] = {}
    kinds = []
    for g, domain in zip(gpus, domain_of, strict=True):
        gpu = problem.fleet.gpus[g]
        traits = (gpu.usable_bytes, gpu.type, *sorted(gpu.resources.items()))
        key = (domain, traits, gpu.id if gpu.id in named else "")
        kinds.append(numbers.setdefault(key, len(numbers)))
    return kinds


def _masks(
    problem: Problem, models: Sequence[int], ids: Sequence[str]
) -> "tuple[list[bytes], array[int]]":
    """Return the sets of GPUs that models may run on, and which of them is each model's."""
    number: dict[int, int] = {}
    masks: list[bytes] = []
    mask_of = array("i")
    for allowed in map(problem.allowed, models):
        if id(allowed) not in number:
            number[id(allowed)] = len(masks)
            masks.append(bytes([id_ in allowed for id_ in ids]))
        mask_of.append(number[id(allowed)])
    return masks, mask_of


def _uneven(
    problem: Problem, models: Sequence[int], kv: Sequence[int] = (0,), time: Sequence[int] = ()
) -> dict[int, Uneven]:
    """Return how the demand of models is divided whose copies carry parts by capacity."""
    if problem.plain:
        return {}
    unit = problem.goal.memory_unit_bytes
    timed = problem.goal is Objective.PRESSURE

    def load(i: int) -> tuple[float, ...]:
        loads = problem.pressures.window_loads if timed else [problem.loads]
        return tuple(loads[window][i] * unit for window in kv)

    def shares(i: int, degree: int, part: float) -> Loads:
        found = (problem.pressures.shard(i, degree, part, t)[1] for t in problem.gpu_types)
        return tuple(tuple(row[window] for window in time) for row in found)

    asked = map(attrgetter("replicas"), problem.models)
    odd = {i for i, copies in enumerate(asked) if copies.split is not Split.EVEN and copies.max > 1}
    return {
        j: Uneven(
            load(i),
            {degree: problem.rank_part(i, degree) for degree in problem.models[i].tensor_parallel},
            partial(shares, i) if timed else None,
        )
        for j, i in enumerate(models if odd else ())
        if i in odd
    }


def unload_assignment(problem: Problem, instance: Instance, gpu_of: "Ints") -> Placement:
    """Turn the GPU of each of many undivided models into a placement."""
    import numpy as np  # noqa: PLC0415 - it is an array of it

    columns = instance.columns
    real = np.empty(columns.n, dtype=np.int64)
    real[columns.model_index] = columns.gpu_index[gpu_of]
    ids = [gpu.id for gpu in problem.fleet.gpus]
    return Placement(Assigned(problem.names, ids, array("q", real.tobytes())))


@paused_collector()
def unload_copies(problem: Problem, instance: Instance, where: Sequence[Copies]) -> Placement:
    """Turn the GPUs of the copies of each model into a placement."""
    ids = [problem.fleet.gpus[g].id for g in instance.gpu_index]
    names = [problem.names[i] for i in instance.model_index]
    order = sorted(range(instance.n), key=names.__getitem__)  # as placements are
    held = [where[j] if len(where[j]) == 1 else sorted(where[j]) for j in order]
    alone = list(zip(ids, strict=True))
    columns: dict[str, list[Any]] = {
        "model": [names[j] for j, copies in zip(order, held, strict=True) for _ in copies],
        "index": [index for copies in held for index in range(len(copies))],
        "gpus": [
            alone[copy[0]] if len(copy) == 1 else tuple([ids[g] for g in copy])
            for copies in held
            for copy in copies
        ],
    }
    return Placement(tuple(filled(Replica, len(columns["model"]), columns)))


def load_placement(problem: Problem, instance: Instance, placement: Placement) -> list[int]:
    """Turn a placement of undivided single replicas into the GPU of each model.

    Raises
    ------
    InputError
        The placement lacks a model, or names one or a GPU that the problem does not have.
    """
    position = {problem.fleet.gpus[g].id: at for at, g in enumerate(instance.gpu_index)}
    held = {replica.model: replica.gpus for replica in placement}
    faults = _unknown_models(problem, held)
    gpu_of = []
    for i in instance.model_index:
        gpus = held.get(problem.names[i], ())
        if len(gpus) != 1 or gpus[0] not in position:
            where = f"is on {', '.join(gpus)}" if gpus else "has no GPU"
            faults.append(f"{problem.names[i]!r} {where}; it needs one GPU of the fleet")
        else:
            gpu_of.append(position[gpus[0]])
    if faults:
        raise InputError(faults, "placement")
    return gpu_of


def load_copies(problem: Problem, instance: Instance, placement: Placement) -> list[Copies]:
    """Return where the copies of each model are under a placement.

    A model that is split or copied in a way that it may not be is nowhere.

    Raises
    ------
    InputError
        The placement lacks a model, or names what the problem does not have.
    """
    position = {problem.fleet.gpus[g].id: at for at, g in enumerate(instance.gpu_index)}
    held: dict[str, list[tuple[str, ...]]] = {}
    for replica in placement:
        held.setdefault(replica.model, []).append(replica.gpus)
    faults = _unknown_models(problem, held)
    where: list[Copies] = []
    for j, i in enumerate(instance.model_index):
        name = problem.names[i]
        copies = held.get(name, [])
        used = [gpu for copy in copies for gpu in copy]
        unknown = [gpu for gpu in used if gpu not in position]
        if unknown:
            faults.append(f"{name!r} is on {unknown[0]!r}, which is no GPU of the fleet")
        elif not used:
            faults.append(f"{name!r} has no GPU")
        else:
            found = tuple(tuple(position[gpu] for gpu in copy) for copy in copies)
            where.append(found if _suits(instance, j, found) else ())
    if faults:
        raise InputError(faults, "placement")
    return where


def _unknown_models(problem: Problem, held: Iterable[str]) -> list[str]:
    return [
        f"the placement holds {name!r}, which is no model of the problem"
        for name in held
        if name not in problem.index_of
    ]


def _suits(instance: Instance, j: int, copies: Copies) -> bool:
    """Whether copies are split and counted as an option is, each on GPUs of its own."""
    used = [g for copy in copies for g in copy]
    ways = {(option.degree, option.copies) for option in instance.options[j]}
    domain_of = instance.domain_of or range(instance.g)
    return (
        len(set(used)) == len(used)
        and len({len(copy) for copy in copies}) == 1
        and (len(copies[0]), len(copies)) in ways
        and all(len({domain_of[g] for g in copy}) == 1 for copy in copies)
    )
