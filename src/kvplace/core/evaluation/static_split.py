"""Static splits: each engine's part of a GPU's KV memory, for runtimes without a shared pool."""

from collections.abc import Iterable, Mapping, Sequence

from kvplace.core.evaluation.evaluate import GPUEvaluation
from kvplace.errors import InputError

_SHARE_OF_IDLE = 100
"""A model without load is left this part of an even share: an engine needs some cache to start."""


def divide(free_bytes: int, loads: Sequence[float], least: Sequence[int]) -> list[int]:
    """Divide memory in proportion to loads, nobody below its least, nothing left over or made up.

    Parameters
    ----------
    free_bytes
        What there is to divide.
    loads
        In any unit; all 0 means even shares.
    least
        Bytes that each must be left; together at most `free_bytes`.

    Returns
    -------
    list of int
        Bytes of each, `free_bytes` together.
    """
    if not loads:
        return []
    weights = _whole(loads) if any(loads) else [1] * len(loads)
    fixed: dict[int, int] = {}
    while True:
        rest = free_bytes - sum(fixed.values())
        open_ = [index for index in range(len(loads)) if index not in fixed]
        total = sum(weights[index] for index in open_)
        if not total:
            parts = {index: least[index] for index in open_}
        else:
            parts = {index: rest * weights[index] // total for index in open_}
        below = [index for index in open_ if parts[index] < least[index]]
        if not below:
            break
        fixed |= {index: least[index] for index in below}
        if len(fixed) == len(loads):
            parts = {}
            break
    found = fixed | parts
    order = sorted(range(len(loads)), key=lambda index: (-weights[index], index))
    found[order[0]] += free_bytes - sum(found.values())  # rounding goes to the busiest
    return [found[index] for index in range(len(loads))]


def _whole(loads: Sequence[float]) -> list[int]:
    """Return loads as whole numbers in proportion, exactly: parts never add up to too much."""
    ratios = [load.as_integer_ratio() for load in loads]
    unit = max(below for _, below in ratios)  # each is a power of 2
    return [above * (unit // below) for above, below in ratios]


KEPT_SLACK = 1.25
"""Parts that engines have are kept while none of them is fuller by more than this factor than it
would be with parts made anew: a changed part is a restarted engine."""


def kv_parts(
    gpus: Iterable[GPUEvaluation], kept: Mapping[tuple[str, int], int] | None = None
) -> dict[tuple[str, int], int]:
    """Return the KV bytes of each replica on each of its GPUs.

    A replica over several GPUs gets the smallest of what they have for it, because its ranks hold
    the same tokens; what that leaves on the others goes to the other engines there. GPUs under the
    most pressure decide first.

    Parameters
    ----------
    gpus
        Evaluated GPUs; replicas may not reach beyond them.
    kept
        Parts that replicas have now. On GPUs that replicas tie together either all of these stay
        as they are, and what is new gets what they leave, or all are made anew, where they no
        longer fit or `KEPT_SLACK` says that it pays.

    Returns
    -------
    dict
        Bytes by model and number of the copy.

    Raises
    ------
    InputError
        A GPU has less left than its models must have.
    """
    held = [gpu for gpu in gpus if gpu.shards]
    fresh = _divided(held, {})
    found = dict(fresh)
    for group in _tied(held) if kept else ():
        mine = {(shard.model, shard.replica) for gpu in group for shard in gpu.shards}
        have = {key: part for key, part in (kept or {}).items() if key in mine}
        if have and have != {key: fresh[key] for key in have} and _holds(group, have):
            parts = _divided(group, have)
            if _fullest(group, parts) <= KEPT_SLACK * _fullest(group, fresh):
                found |= parts
    return found


def _tied(held: Sequence[GPUEvaluation]) -> list[list[GPUEvaluation]]:
    """Return the GPUs in groups that no replica reaches out of."""
    root, seen = list(range(len(held))), dict[tuple[str, int], int]()

    def first(at: int) -> int:
        while root[at] != at:
            root[at] = root[root[at]]
            at = root[at]
        return at

    for at, gpu in enumerate(held):
        for shard in gpu.shards:
            one, other = first(at), first(seen.setdefault((shard.model, shard.replica), at))
            root[max(one, other)] = min(one, other)
    groups: dict[int, list[GPUEvaluation]] = {}
    for at, gpu in enumerate(held):
        groups.setdefault(first(at), []).append(gpu)
    return list(groups.values())


def _holds(group: Sequence[GPUEvaluation], have: Mapping[tuple[str, int], int]) -> bool:
    """Whether parts that replicas have leave the others their least, and are no less themselves."""
    for gpu in group:
        rest = gpu.free_bytes
        for shard, least in zip(gpu.shards, _least(gpu), strict=True):
            part = have.get((shard.model, shard.replica))
            rest -= least if part is None else part
            if part is not None and part < max(1, shard.min_kv_bytes):
                return False
        if rest < 0:
            return False
    return True


def _fullest(group: Sequence[GPUEvaluation], parts: Mapping[tuple[str, int], int]) -> float:
    """Return the largest load of a shard as a share of its part."""
    return max(
        shard.load / max(1, parts[shard.model, shard.replica])
        for gpu in group
        for shard in gpu.shards
    )


def _divided(
    gpus: Sequence[GPUEvaluation], settled: Mapping[tuple[str, int], int]
) -> dict[tuple[str, int], int]:
    """Divide the KV memory of GPUs among the replicas whose parts are not settled."""
    held = sorted(gpus, key=lambda gpu: -gpu.kvpr)
    least = {gpu.id: _least(gpu) for gpu in held}
    where: dict[tuple[str, int], list[GPUEvaluation]] = {}
    for gpu in held:
        for shard in gpu.shards:
            where.setdefault((shard.model, shard.replica), []).append(gpu)
    settled = dict(settled)

    def open_parts(gpu: GPUEvaluation) -> dict[tuple[str, int], int]:
        """Divide what the replicas that are settled leave of a GPU among the others."""
        keys = [(shard.model, shard.replica) for shard in gpu.shards]
        rest = gpu.free_bytes - sum(settled.get(key, 0) for key in keys)
        places = [place for place, key in enumerate(keys) if key not in settled]
        parts = divide(
            rest,
            [gpu.shards[place].load for place in places],
            [least[gpu.id][place] for place in places],
        )
        return {keys[place]: part for place, part in zip(places, parts, strict=True)}

    for gpu in held:
        for shard in gpu.shards:
            key = (shard.model, shard.replica)
            if key not in settled and len(where[key]) > 1:
                settled[key] = min(open_parts(other)[key] for other in where[key])
        settled |= open_parts(gpu)
    return settled


def _least(gpu: GPUEvaluation) -> list[int]:
    """Return what each shard of a GPU is left at least.

    Raises
    ------
    InputError
        The GPU has less.
    """
    least = [shard.min_kv_bytes for shard in gpu.shards]
    if sum(least) > gpu.free_bytes:
        raise InputError(f"{gpu.id} leaves {gpu.free_bytes} bytes for KV, less than is needed")
    floor = gpu.free_bytes // (_SHARE_OF_IDLE * len(least))
    raised = [max(one, floor) for one in least]
    return raised if sum(raised) <= gpu.free_bytes else least
