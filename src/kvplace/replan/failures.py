"""Fleets that lose GPUs: without those that failed, and with those to be emptied reserved."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from kvplace.core.hardware import Fleet
from kvplace.core.models.model import Model
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.rules.limit import Limit
from kvplace.core.rules.pin import Pin
from kvplace.core.rules.place_rule import PlaceRule
from kvplace.core.rules.places import EVERYWHERE, Places
from kvplace.core.rules.reserve import Reserve
from kvplace.core.rules.rule import Rule, chosen
from kvplace.core.rules.topology_rule import TopologyRule
from kvplace.errors import Fault, InputError
from kvplace.replan.outcome import Budget, Replan
from kvplace.replan.replan import replan
from kvplace.replan.schedule.steps import Pricing
from kvplace.solver.clock import Watch
from kvplace.units import format_seconds


@dataclass(frozen=True, slots=True)
class Remains:
    """What is left of a problem when GPUs are gone.

    Parameters
    ----------
    problem
        The models that may still run somewhere, on the GPUs that are left.
    unplaceable
        Models that no GPU is left to, by their types and rules.
    """

    problem: Problem
    unplaceable: tuple[str, ...] = ()


def gpus_of(fleet: Fleet, places: Iterable[str], option: str = "") -> frozenset[str]:
    """Return the ids of the GPUs that names stand for.

    Parameters
    ----------
    fleet
        The fleet.
    places
        Ids of GPUs, names of nodes, or ``label=value``.
    option
        Where the names come from, for messages.

    Raises
    ------
    InputError
        A name stands for nothing; all such names at once.
    """
    found: set[str] = set()
    faults = []
    for place in places:
        label, mark, value = place.partition("=")
        mine = {
            gpu.id
            for node in fleet.nodes
            for gpu in node.gpus
            if place in (gpu.id, node.name) or (mark and node.labels.get(label) == value)
        }
        if not mine:
            named = f"GPUs are named like {next(g.id for n in fleet.nodes for g in n.gpus)!r}"
            many = f"; give {option} again for each" if "," in place else ""
            message = f"{place!r} is no GPU, no node and no label of a node; {named}{many}"
            faults.append(Fault(message))
        found |= mine
    if faults:
        raise InputError(faults, option)
    return frozenset(found)


def without_gpus(problem: Problem, gone: frozenset[str]) -> Remains:
    """Return a problem without some of its GPUs; rules speak of what is left.

    Raises
    ------
    InputError
        No GPU is left.
    """
    nodes = []
    for node in problem.fleet.nodes:
        left = tuple(gpu for gpu in node.gpus if gpu.id not in gone)
        if left:
            nodes.append(replace(node, gpus=left))
    if not nodes:
        raise InputError("no GPU is left")
    fleet = Fleet(tuple(nodes))
    rules, unpinned = _rules_left(problem, fleet)
    types = {gpu.type for gpu in fleet.gpus}
    scopes = {name for node in fleet.nodes for name in node.resources}
    scopes |= {name for gpu in fleet.gpus for name in gpu.resources}
    models: list[Model] = []
    unplaceable: list[str] = []
    for model in problem.models:
        kept = tuple(one for one in model.gpu_types if one in types)
        if (
            model.name in unpinned
            or (model.gpu_types and not kept)
            or model.resources.keys() - scopes
        ):
            unplaceable.append(model.name)
        else:
            models.append(model if kept == model.gpu_types else replace(model, gpu_types=kept))
    if not models:
        raise InputError("no model is left that may run on the GPUs that are left")
    kept_rules = tuple(_of_models(rules, {model.name for model in models}))
    left_over = replace(problem, models=tuple(models), fleet=fleet, rules=kept_rules)
    return Remains(left_over, tuple(unplaceable))


def _rules_left(problem: Problem, fleet: Fleet) -> tuple[list[Rule], set[str]]:
    """Return the rules with the places that are left, and models pinned to none of them."""
    rules: list[Rule] = []
    unpinned: set[str] = set()
    for rule in problem.rules:
        if isinstance(rule, PlaceRule | Limit) and rule.places != EVERYWHERE:
            places = _places_left(rule.places, fleet)
            if places != EVERYWHERE:
                rules.append(replace(rule, places=places))
            elif isinstance(rule, Pin) and rule.soft is None:
                unpinned.update(rule.concerned(problem.index_of))
        elif isinstance(rule, TopologyRule) and not any(
            fleet.domain(node.gpus[0].id, rule.over) for node in fleet.nodes
        ):
            continue  # no node with the label is left
        else:
            rules.append(rule)
    return rules, unpinned


def _places_left(places: Places, fleet: Fleet) -> Places:
    nodes = {node.name for node in fleet.nodes}
    wanted = dict(places.labels)
    labelled = any(wanted.items() <= dict(node.labels).items() for node in fleet.nodes)
    return Places(
        tuple(gpu for gpu in places.gpus if fleet.gpu(gpu) is not None),
        tuple(node for node in places.nodes if node in nodes),
        places.labels if labelled else (),
    )


def _of_models(rules: Iterable[Rule], names: set[str]) -> Iterable[Rule]:
    """Yield rules with the models that are left; those that concern none are left out."""
    for rule in rules:
        patterns = tuple(p for p in rule.models if p == "*" or chosen((p,), names))
        if patterns:
            yield rule if patterns == rule.models else replace(rule, models=patterns)


def drained(problem: Problem, gpus: frozenset[str]) -> Problem:
    """Return the problem in which some GPUs are to hold nothing; what runs there moves away."""
    rule = Reserve(places=Places(gpus=tuple(sorted(gpus))))
    return replace(problem, rules=(*problem.rules, rule))


def restored(
    problem: Problem,
    current: Placement,
    *,
    budget: Budget,
    former: Mapping[str, Model] | None = None,
    pricing: Pricing | None = None,
    watch: Watch | None = None,
) -> tuple[Replan, dict[str, str]]:
    """Restore as many models as find room, where not all do.

    Models that still have a copy keep it. Those that lost all are put back one after the other, the
    one with the largest load first, each where that is possible; then the further copies that
    models must have.

    Parameters
    ----------
    problem, current
        What is to be served on what is left, and what runs.
    budget, former, pricing
        As for `replan`.
    watch
        Clock and interrupt; once it ends, no more models are put back.

    Returns
    -------
    Replan
        For the models that run.
    dict
        Why others are not restored, or not all their copies, by name.
    """
    watch, known = watch or Watch(), _known(former, problem)

    def planned(models: Sequence[Model], *, quick: bool = False) -> Replan:
        return replan(
            only(problem, models),
            current,
            budget=budget,
            former=known,
            pricing=pricing,
            compare=False,
            quick=quick,
            watch=watch,
        )

    held: dict[str, int] = {}
    for replica in current:
        if all(problem.fleet.gpu(gpu) is not None for gpu in replica.gpus):
            held[replica.model] = held.get(replica.model, 0) + 1
    kept = {m.name: _with_least(m, held[m.name]) for m in problem.models if held.get(m.name)}
    load = dict(zip(problem.names, problem.loads, strict=True))
    wanted = [(m, 1) for m in problem.models if m.name not in kept]
    wanted.sort(key=lambda pair: (-load[pair[0].name], pair[0].name))
    # Then the copies that each must have: of those that were lost, and of those that stay.
    wanted += [
        (m, m.replicas.min) for m in problem.models if m.replicas.min > max(1, held.get(m.name, 0))
    ]
    left_out: dict[str, str] = {}
    trial: Replan | None = None
    for model, copies in wanted:
        watch.tell(f"restore {model.name}")
        if model.name in left_out:
            continue
        why = "there was no time left to look for room"
        if not watch.stop:
            more = [*(kept | {model.name: _with_least(model, copies)}).values()]
            trial = planned(more, quick=True)
            if trial.placement is None:
                trial = planned(more)
            why = "" if trial.placement is not None else _why(trial, budget)
        if not why:
            kept[model.name] = _with_least(model, copies)
            continue
        if model.name in kept:
            least = kept[model.name].replicas.min
            why = f"it keeps {least} of the {model.replicas.min} copies that it must have; {why}"
        left_out[model.name] = why
    if kept:
        return planned([*kept.values()]), left_out
    return trial or planned([*problem.models]), left_out


def _with_least(model: Model, copies: int) -> Model:
    """Return a model that is content with so few copies."""
    return replace(model, replicas=replace(model.replicas, min=min(model.replicas.min, copies)))


def _why(trial: Replan, budget: Budget) -> str:
    """Return why a model is not restored, as the re-plan that was to restore it has it."""
    if trial.set_aside:
        return (
            "there is room, and no order of steps was found that leads there within "
            f"{format_seconds(budget.downtime_seconds)} of downtime; allow more with "
            "--max-downtime"
        )
    if trial.needed > budget.price:
        return "it takes more than the budget"
    if trial.exhaustive or math.isinf(trial.bound):
        return "there is no room for it beside what is restored, whatever moves"
    return "no room was found for it"


def _known(former: Mapping[str, Model] | None, problem: Problem) -> dict[str, Model]:
    return dict(former or {}) | {model.name: model for model in problem.models}


def only(problem: Problem, models: Sequence[Model]) -> Problem:
    """Return the problem of some of its models, in its order."""
    names = {model.name: model for model in models}
    ordered = tuple(names[name] for name in problem.names if name in names)
    rules = tuple(_of_models(problem.rules, set(names)))
    return replace(problem, models=ordered, rules=rules)
