"""Problem: the whole input, immutable and cross-checked."""

import hashlib
import json
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import repeat

from kvplace.core.hardware import Fleet, usable
from kvplace.core.model import Model, Split
from kvplace.core.model_table import ModelTable
from kvplace.core.objective import Objective, default_objective
from kvplace.core.option_table import OptionTable, option_table
from kvplace.core.rules.place_rule import PlaceRule
from kvplace.core.rules.rule import Rule
from kvplace.core.shard import ShardNeed, shard_need
from kvplace.errors import Fault, InputError

__all__ = ["Problem"]


@dataclass(frozen=True)
class Problem:
    """Models, the fleet that serves them, and what "good" means.

    Parameters
    ----------
    models
        What is to be placed, in the order of the input; names are unique. A tuple, or, of many
        plain ones, a `ModelTable`.
    fleet
        What there is to place on.
    objective
        The load; `default_objective` of the models where it is not given.
    rules
        What is demanded of a placement besides that everything fits.

    Raises
    ------
    InputError
        A name occurs twice, a model lacks a field that the objective needs, or a rule, a GPU
        type or a resource names what there is not.
    """

    models: Sequence[Model]
    fleet: Fleet
    objective: Objective | None = field(default=None)  # never None after construction
    rules: tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        objective = self.objective or self._default_objective()
        objective = Objective(objective)
        object.__setattr__(self, "objective", objective)
        faults: list[Fault] = []
        if len(set(self.names)) < len(self.models):
            seen: dict[str, int] = {}
            for index, name in enumerate(self.names):
                first = seen.setdefault(name, index)
                if first != index:
                    message = f"{name!r} is already the name of models[{first}]"
                    faults.append(Fault(message, f"models[{index}].name"))
        faults.extend(
            Fault(
                f"{self.names[index]!r} needs it for the objective {objective.value}",
                f"models[{index}].{name}",
            )
            for index, name in self._missing(objective)
        )
        faults.extend(self._unknown())
        if not self.models:
            faults.append(Fault("there is no model to place", "models"))
        if faults:
            raise InputError(faults)
        # A load that overflows is refused here, not in a solver; then no KVPR can overflow.
        if not math.isfinite(sum(self.loads) * objective.memory_unit_bytes):
            raise InputError([Fault("the loads of all models together overflow", "models")])

    def _default_objective(self) -> Objective:
        if isinstance(self.models, ModelTable):
            complete = self.models.complete(Objective.OCCUPANCY)
            return Objective.OCCUPANCY if complete else Objective.REQUESTS
        return default_objective(self.models)

    def _missing(self, objective: Objective) -> Iterable[tuple[int, str]]:
        """Yield the position of each model with a field that the objective needs and it lacks."""
        if isinstance(self.models, ModelTable):
            return self.models.missing(objective)
        missing = map(objective.missing, self.models)
        return ((index, name) for index, fields in enumerate(missing) for name in fields)

    @cached_property
    def names(self) -> Sequence[str]:
        """Name of each model, in the order of `models`."""
        if isinstance(self.models, ModelTable):
            return self.models.names
        return [model.name for model in self.models]

    def _unknown(self) -> Iterator[Fault]:
        """Yield what models and rules name and the fleet does not have."""
        types = {gpu.type for gpu in self.fleet.gpus}
        known = self.resource_scopes
        named = () if isinstance(self.models, ModelTable) else self.models
        for index, model in enumerate(named):
            for type_ in model.gpu_types:
                if type_ not in types:
                    message = f"the fleet has no GPU of type {type_!r}; it has {_listed(types)}"
                    yield Fault(message, f"models[{index}].gpu_types")
            for name in model.resources:
                if name not in known:
                    message = f"no GPU and no node has {name!r}; give it under their resources"
                    yield Fault(message, f"models[{index}].resources.{name}")
        for name, scope in known.items():
            if scope == "both":
                yield Fault(f"GPUs and nodes both have {name!r}; only one of them may", "nodes")
        for index, rule in enumerate(self.rules):
            yield from (Fault(message, f"rules[{index}]") for message in rule.faults(self))

    @cached_property
    def resource_scopes(self) -> dict[str, str]:
        """``gpu`` or ``node``, whichever has the capacity, by the name of each resource."""
        scopes: dict[str, str] = {}
        for node in self.fleet.nodes:
            for scope, holders in (("node", (node,)), ("gpu", node.gpus)):
                for name in (name for holder in holders for name in holder.resources):
                    scopes[name] = scope if scopes.get(name, scope) == scope else "both"
        return scopes

    @cached_property
    def plain(self) -> bool:
        """Whether one undivided replica per model, free to go anywhere, is all there is."""
        if isinstance(self.models, ModelTable):
            return not self.rules
        return not self.rules and all(
            model.plain and not model.gpu_types and not model.resources for model in self.models
        )

    @cached_property
    def _place_rules(self) -> dict[str, list[PlaceRule]]:
        """Hard rules that say where a model may run, by its name."""
        found: dict[str, list[PlaceRule]] = {}
        for rule in self.rules:
            if isinstance(rule, PlaceRule) and rule.soft is None:
                for name in rule.concerned(self.index_of):
                    found.setdefault(name, []).append(rule)
        return found

    @cached_property
    def _allowed(self) -> list[frozenset[str]]:
        """What `allowed` returns of each model."""
        by_type: dict[tuple[str, ...], frozenset[str]] = {}
        known: dict[tuple[object, ...], frozenset[str]] = {}
        table = isinstance(self.models, ModelTable)
        asked = repeat((), len(self.models)) if table else (m.gpu_types for m in self.models)
        found = []
        for name, types in zip(self.names, asked, strict=True):
            rules = self._place_rules.get(name, ())
            key = (types, *((rule.kind, rule.places) for rule in rules)) if rules else types
            allowed = known.get(key)
            if allowed is None:
                if types not in by_type:
                    gpus = self.fleet.gpus
                    by_type[types] = frozenset(g.id for g in gpus if usable(g, types))
                allowed = by_type[types]
                for rule in rules:
                    allowed = rule.among(self.fleet, allowed)
                known[key] = allowed
            found.append(allowed)
        return found

    def allowed(self, index: int) -> frozenset[str]:
        """Return the ids of the GPUs that type and hard rules let a model run on.

        Models of which the same is asked share one set.
        """
        return self._allowed[index]

    @cached_property
    def _largest(self) -> list[int]:
        known = {id(allowed): allowed for allowed in self._allowed}
        largest = {at: max(map(self.usable_bytes, s), default=0) for at, s in known.items()}
        return [largest[id(allowed)] for allowed in self._allowed]

    def largest_bytes(self, index: int) -> int:
        """Return the usable memory of the largest GPU that a model may run on; 0 for none."""
        return self._largest[index]

    @cached_property
    def _domains_allowed(self) -> dict[tuple[int, str], tuple[str, ...]]:
        return {}

    def domains_allowed(self, index: int, key: str) -> tuple[str, ...]:
        """Return the domains of a topology key that hold a GPU a model may run on, sorted."""
        allowed = self.allowed(index)
        known = self._domains_allowed
        at = (id(allowed), key)  # one set per signature, kept alive by the problem
        if at not in known:
            found = {self.fleet.domain(gpu, key) for gpu in allowed}
            known[at] = tuple(sorted(domain for domain in found if domain is not None))
        return known[at]

    def usable_bytes(self, gpu_id: str) -> int:
        """Return the usable memory of a GPU of the fleet."""
        gpu = self.fleet.gpu(gpu_id)
        assert gpu is not None
        return gpu.usable_bytes

    def options(self, index: int) -> list[tuple[int, int]]:
        """Return the allowed pairs of degree and copies of a model.

        Copies share no GPU, so more shards than there are allowed GPUs are left out.
        """
        model, most = self.models[index], len(self.allowed(index))
        degrees, replicas = model.tensor_parallel, model.replicas
        key = (degrees, replicas.min, replicas.max, most)
        if key not in self._ways:
            self._ways[key] = [
                (degree, copies)
                for degree in degrees
                for copies in range(replicas.min, min(replicas.max, most // degree) + 1)
            ]
        return list(self._ways[key])

    @cached_property
    def _ways(self) -> dict[tuple[object, ...], list[tuple[int, int]]]:
        """What `options` returns, by what it depends on."""
        return {}

    @cached_property
    def option_table(self) -> OptionTable:
        """The options of all models with what a shard takes in each."""
        return option_table(self)

    @property
    def goal(self) -> Objective:
        """The objective, never None."""
        assert self.objective is not None
        return self.objective

    @cached_property
    def loads(self) -> Sequence[float]:
        """Load of each model's whole demand, in the objective's unit, in the order of `models`."""
        if isinstance(self.models, ModelTable):
            return self.models.loads(self.goal)
        return tuple(self.goal.load(model) for model in self.models)

    @cached_property
    def index_of(self) -> dict[str, int]:
        """Position of each model by its name."""
        return {name: index for index, name in enumerate(self.names)}

    @cached_property
    def undivided_bytes(self) -> "array[int]":
        """Weights and overhead of each model on one GPU, in the order of `models`."""
        models = self.models
        if isinstance(models, ModelTable):
            return array("q", map(int.__add__, models.weights_bytes, models.overhead_bytes))
        return array("q", [m.weights_bytes + m.overhead_bytes for m in models])

    @cached_property
    def min_kv_bytes(self) -> "array[int]":
        """KV memory that each model must be left, in the order of `models`."""
        if isinstance(self.models, ModelTable):
            return self.models.min_kv_bytes
        return array("q", [model.min_kv_bytes for model in self.models])

    def need(self, index: int, degree: int = 1, replicas: int = 1) -> ShardNeed:
        """Return what one shard of model `index` takes from its GPU.

        Parameters
        ----------
        index
            Position in `models`.
        degree
            Tensor parallel degree of the replica.
        replicas
            Copies among which the demand is split evenly.
        """
        return self.shard(index, degree, 1 / replicas)

    def shard(self, index: int, degree: int, part: float) -> ShardNeed:
        """Return what one shard of a copy takes that carries a given part of the demand."""
        part *= self.rank_part(index, degree)
        return shard_need(self.models[index], self.loads[index], degree, part)

    def rank_part(self, index: int, degree: int) -> float:
        """Return the part of a copy's load that falls on each rank.

        That of its KV cache, or an even part where the load has no KV bytes in it.
        """
        if self.goal is Objective.REQUESTS:
            return 1 / degree
        return self.models[index].kv_part(degree)

    def demand_parts(self, index: int, copies: Sequence[Sequence[str]]) -> list[float]:
        """Return the part of the demand that each copy carries; together they are 1.

        Parameters
        ----------
        index
            Position in `models`.
        copies
            GPUs of each copy.
        """
        if self.models[index].replicas.split is Split.EVEN:
            return [1 / len(copies)] * len(copies)
        found = ([self.fleet.gpu(gpu) for gpu in gpus] for gpus in copies)
        least = [min((g.usable_bytes for g in gpus if g), default=1) for gpus in found]
        return [memory / sum(least) for memory in least]

    def with_objective(self, objective: Objective | str | None) -> "Problem":
        """Return the same problem under another load; None keeps it."""
        return self if objective is None else replace(self, objective=Objective(objective))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over everything that decides what a placement is worth, for plan files.

        The order of models, nodes and rules does not enter it.
        """
        nodes = sorted(
            [
                n.name, sorted(n.labels.items()),
                [
                    [
                        g.id, g.type, g.usable_bytes,
                        *_stated(link=g.link, resources=sorted(g.resources.items())),
                    ]
                    for g in n.gpus
                ],
                *_stated(resources=sorted(n.resources.items())),
            ]
            for n in self.fleet.nodes
        )  # fmt: skip
        # The JSON of [goal, [model, ...], nodes, ...], piece by piece: a million models would
        # otherwise be in memory twice more.
        hashed = hashlib.sha256(f"[{_json(self.goal.value)},[".encode())
        order = sorted(range(len(self.names)), key=self.names.__getitem__)
        for first in range(0, len(order), _AT_ONCE):
            rows = [self._digested(index) for index in order[first : first + _AT_ONCE]]
            hashed.update(("," if first else "").encode())
            hashed.update(_json(rows)[1:-1].encode("utf-8", "surrogatepass"))
        rest = [nodes, *_stated(rules=sorted(map(repr, self.rules)))]
        hashed.update(f"],{_json(rest)[1:-1]}]".encode("utf-8", "surrogatepass"))
        return f"sha256:{hashed.hexdigest()}"

    def _digested(self, index: int) -> list[object]:
        """Return what of a model enters the digest."""
        load = self.loads[index]
        if isinstance(self.models, ModelTable):
            t = self.models
            amounts = (t.weights_bytes[index], t.overhead_bytes[index], t.min_kv_bytes[index])
            return [t.names[index], *amounts, load, [1], 1, 1]
        m = self.models[index]
        return [
            m.name, m.weights_bytes, m.overhead_bytes, m.min_kv_bytes, load,
            list(m.tensor_parallel), m.replicas.min, m.replicas.max,
            *_stated(
                kv_part=[m.kv_part(d) for d in m.tensor_parallel if d > 1],
                split=m.replicas.split.value if m.replicas.split is not Split.EVEN else "",
                gpu_types=sorted(m.gpu_types), resources=sorted(m.resources.items()),
            ),
        ]  # fmt: skip


_AT_ONCE = 10_000
"""Models whose rows are hashed together."""


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _stated(**values: object) -> list[object]:
    """Return what is not empty, with its name."""
    return [[name, value] for name, value in values.items() if value]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
