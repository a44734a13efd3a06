"""What a problem demands, one thing at a time, so that any of it can be left out."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum

from kvplace.core.models.model import Model, Replicas
from kvplace.core.problem import Problem
from kvplace.core.rules.rule import Rule, chosen


class Kind(StrEnum):
    """What is demanded: that a model is placed, one of its limits, a capacity, or a rule."""

    MODEL = "model"
    MIN_KV = "min_kv"
    REPLICAS = "replicas"
    GPU_TYPES = "gpu_types"
    RESOURCE = "resource"
    RULE = "rule"


@dataclass(frozen=True, slots=True)
class Demanded:
    """One thing that a problem demands of every placement.

    Parameters
    ----------
    kind
        What it is.
    subject
        Name of the model or of the resource; ``rules[2]`` for a rule.
    rule
        Position of the rule; -1 for anything else.
    """

    kind: Kind
    subject: str
    rule: int = -1


def demanded_of(problem: Problem) -> list[Demanded]:
    """Return everything hard that a problem demands: models, their limits, capacities, rules."""
    found: list[Demanded] = []
    if problem.plain:  # from columns, without an object for each model
        for name, kept in zip(problem.names, problem.min_kv_bytes, strict=True):
            found.append(Demanded(Kind.MODEL, name))
            found += [Demanded(Kind.MIN_KV, name)] if kept else []
        return found
    for model in problem.models:
        found.append(Demanded(Kind.MODEL, model.name))
        if model.least_kv_bytes(min(model.tensor_parallel)):
            found.append(Demanded(Kind.MIN_KV, model.name))
        if model.replicas.min > 1:
            found.append(Demanded(Kind.REPLICAS, model.name))
        if model.gpu_types:
            found.append(Demanded(Kind.GPU_TYPES, model.name))
    taken = {name for model in problem.models for name, amount in model.resources.items() if amount}
    found += [Demanded(Kind.RESOURCE, name) for name in sorted(taken)]
    found += [
        Demanded(Kind.RULE, f"rules[{index}]", index)
        for index, rule in enumerate(problem.rules)
        if rule.soft is None
    ]
    return found


def keeping(problem: Problem, kept: Collection[Demanded]) -> Problem | None:
    """Return the problem with only some of what it demands; None where no model is left.

    Soft rules demand nothing and are left out.
    """
    held = frozenset(kept)
    named = {one.subject for one in held if one.kind is Kind.MODEL}
    models = tuple(
        _relaxed(problem.models[at], held) for at, name in enumerate(problem.names) if name in named
    )
    if not models:
        return None
    rules = [
        rule
        for index, rule in enumerate(problem.rules)
        if Demanded(Kind.RULE, f"rules[{index}]", index) in held
    ]
    return replace(problem, models=models, rules=_trimmed(rules, models))


def without(problem: Problem, dropped: Demanded) -> Problem | None:
    """Return the problem without one thing that it demands; None where no model is left."""
    if dropped.kind is Kind.MODEL:
        return without_models(problem, {dropped.subject})
    if dropped.kind is Kind.RULE:
        rules = (rule for index, rule in enumerate(problem.rules) if index != dropped.rule)
        return replace(problem, rules=tuple(rules))
    held = frozenset(one for one in demanded_of(problem) if one != dropped)
    return replace(problem, models=tuple(_relaxed(model, held) for model in problem.models))


def without_models(problem: Problem, names: Collection[str]) -> Problem | None:
    """Return the problem without some models; None where none is left."""
    models = tuple(problem.models[at] for at, one in enumerate(problem.names) if one not in names)
    if not models:
        return None
    return replace(problem, models=models, rules=_trimmed(problem.rules, models))


def _relaxed(model: Model, held: frozenset[Demanded]) -> Model:
    """Return a model with only those of its limits that are held."""
    name, copies = model.name, model.replicas
    return replace(
        model,
        min_kv_bytes=model.min_kv_bytes if Demanded(Kind.MIN_KV, name) in held else 0,
        max_model_len=model.max_model_len if Demanded(Kind.MIN_KV, name) in held else None,
        replicas=copies
        if Demanded(Kind.REPLICAS, name) in held
        else Replicas(1, copies.max, copies.split),
        gpu_types=model.gpu_types if Demanded(Kind.GPU_TYPES, name) in held else (),
        resources={
            resource: amount
            for resource, amount in model.resources.items()
            if Demanded(Kind.RESOURCE, resource) in held
        },
    )


def _trimmed(rules: Collection[Rule], models: Collection[Model]) -> tuple[Rule, ...]:
    """Return rules without the names of models that are not there."""
    names = [model.name for model in models]
    known = set(names)
    trimmed = []
    for rule in rules:
        patterns = tuple(p for p in rule.models if p in known or chosen((p,), names))
        if patterns:
            trimmed.append(rule if patterns == rule.models else replace(rule, models=patterns))
    return tuple(trimmed)
