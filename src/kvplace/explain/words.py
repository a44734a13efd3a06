"""Demands and clashes as sentences with numbers."""

from collections.abc import Collection
from dataclasses import dataclass

from kvplace.core.evaluation.constraints import misfits
from kvplace.core.problem import Problem
from kvplace.core.rules.rule import Rule
from kvplace.explain.clash import Clash
from kvplace.explain.demanded import Demanded, Kind
from kvplace.units import format_bytes

_FEW = 4


@dataclass(frozen=True, slots=True)
class Room:
    """What models need at least, and what the GPUs that they may run on have.

    Parameters
    ----------
    needed_bytes
        Least memory of all models: weights and overheads of every shard, and KV that must be
        left; for each model by the cheapest of its options.
    usable_bytes
        Usable memory of all GPUs that any of them may run on.
    gpus
        Ids of these GPUs.
    """

    needed_bytes: int
    usable_bytes: int
    gpus: frozenset[str]

    @property
    def excess_bytes(self) -> int:
        """By how much they do not fit; at most 0 where sums do not tell."""
        return self.needed_bytes - self.usable_bytes


def room_of(problem: Problem) -> Room:
    """Return what the models of a problem need in sum and what there is for them."""
    needed = 0
    gpus: set[str] = set()
    for index in range(len(problem.models)):
        gpus |= problem.allowed(index)
        needed += min(
            (
                degree * copies * (need.weights_bytes + need.min_kv_bytes)
                for degree, copies in problem.options(index)
                for need in [problem.need(index, degree, copies)]
            ),
            default=0,
        )
    return Room(needed, sum(problem.usable_bytes(gpu) for gpu in gpus), frozenset(gpus))


def clash_in_words(clash: Clash) -> str:
    """Return a clash as one sentence with what is missing."""
    problem = clash.problem
    alone = misfits(problem)
    if len(problem.models) == 1 and alone:
        name, reason = next(iter(alone.items()))
        return f"{name!r} {reason}"
    room = room_of(problem)
    models = problem.models
    who = repr(models[0].name) if len(models) == 1 else f"these {len(models):,} models"
    pinned = sum(member.kind is Kind.RULE for member in clash.members)
    rules = f" under {'this rule' if pinned == 1 else f'these {pinned} rules'}" if pinned else ""
    verb = "needs" if len(models) == 1 else "need"
    where = _where(problem, room.gpus)
    if room.excess_bytes >= 0:
        more = format_bytes(room.excess_bytes) if room.excess_bytes else "a byte"
        return (
            f"{who}{rules} {verb} {more} more than {where} {_has(room.gpus, where)}: "
            f"{format_bytes(room.needed_bytes)} with overhead in "
            f"{format_bytes(room.usable_bytes)} usable"
        )
    they = "it needs" if len(models) == 1 else "they need"
    return (
        f"no placement of {who}{rules} exists: {they} {format_bytes(room.needed_bytes)} with "
        f"overhead, and the {format_bytes(room.usable_bytes)} of {where} cannot be divided so"
    )


def demand_in_words(problem: Problem, demand: Demanded) -> str:
    """Return one demand as a sentence."""
    if demand.kind is Kind.RULE:
        return rule_in_words(problem, problem.rules[demand.rule])
    if demand.kind is Kind.RESOURCE:
        scope = problem.resource_scopes[demand.subject]
        total = sum(model.resources.get(demand.subject, 0) for model in problem.models)
        return (
            f"shards take no more {demand.subject} than their {scope} has "
            f"(one copy of every model takes {total:g})"
        )
    index = problem.index_of[demand.subject]
    model, name = problem.models[index], repr(demand.subject)
    if demand.kind is Kind.MIN_KV:
        least = model.least_kv_bytes(min(model.tensor_parallel))
        field = "min_kv" if least == model.min_kv_bytes else f"max_model_len {model.max_model_len}"
        return f"{name} is left {format_bytes(least)} for KV on each GPU ({field})"
    if demand.kind is Kind.REPLICAS:
        return f"{name} has at least {model.replicas.min} replicas"
    if demand.kind is Kind.GPU_TYPES:
        return f"{name} runs on {' or '.join(model.gpu_types)} only"
    degree = min(model.tensor_parallel)
    need = format_bytes(problem.need(index, degree).weights_bytes)
    split = f" on each of {degree} GPUs" if degree > 1 else ""
    return f"{name} is placed: {need} with overhead{split}"


def rule_in_words(problem: Problem, rule: Rule) -> str:
    """Return a rule as a sentence."""
    names = rule.concerned(problem.index_of)
    who = "all models" if len(names) == len(problem.models) > 1 else names_in_words(names)
    be = "is" if len(names) == 1 else "are"
    return rule.describe(who, be)


def names_in_words(names: Collection[str]) -> str:
    """List names, the first few of many."""
    few = ", ".join(repr(name) for name in list(names)[:_FEW])
    return few + (f" and {len(names) - _FEW:,} more" if len(names) > _FEW else "")


def _where(problem: Problem, gpus: frozenset[str]) -> str:
    """Name some GPUs: the one, the node that they are, or how many."""
    for node in problem.fleet.nodes:
        if gpus == {gpu.id for gpu in node.gpus}:
            return f"node {node.name}"
    if len(gpus) == 1:
        return f"GPU {next(iter(gpus))}"
    if len(gpus) == len(problem.fleet.gpus):
        return f"all {len(gpus):,} GPUs"
    return f"the {len(gpus):,} GPUs they may run on"


def _has(gpus: frozenset[str], where: str) -> str:
    """Return the verb for what `_where` named."""
    return "has" if len(gpus) == 1 or where.startswith("node ") else "have"
