"""Problem: the whole input, immutable and cross-checked."""

import hashlib
import json
import math
from dataclasses import dataclass, field, replace
from functools import cached_property

from kvplace.core.hardware import Fleet
from kvplace.core.model import Model
from kvplace.core.objective import Objective, default_objective
from kvplace.core.shard import ShardNeed, shard_need
from kvplace.errors import Fault, InputError

__all__ = ["Problem"]


@dataclass(frozen=True)
class Problem:
    """Models, the fleet that serves them, and what "good" means.

    Parameters
    ----------
    models
        What is to be placed, in the order of the input; names are unique.
    fleet
        What there is to place on.
    objective
        The load; `default_objective` of the models where it is not given.

    Raises
    ------
    InputError
        A name occurs twice, or a model lacks a field that the objective needs.
    """

    models: tuple[Model, ...]
    fleet: Fleet
    objective: Objective | None = field(default=None)  # never None after construction

    def __post_init__(self) -> None:
        objective = Objective(self.objective or default_objective(self.models))
        object.__setattr__(self, "objective", objective)
        faults: list[Fault] = []
        seen: dict[str, int] = {}
        for index, model in enumerate(self.models):
            first = seen.setdefault(model.name, index)
            if first != index:
                message = f"{model.name!r} is already the name of models[{first}]"
                faults.append(Fault(message, f"models[{index}].name"))
            faults.extend(
                Fault(
                    f"{model.name!r} needs it for the objective {objective.value}",
                    f"models[{index}].{name}",
                )
                for name in objective.missing(model)
            )
        if not self.models:
            faults.append(Fault("there is no model to place", "models"))
        if faults:
            raise InputError(faults)
        # A load that overflows is refused here, not in a solver; then no KVPR can overflow.
        if not math.isfinite(sum(self.loads) * objective.memory_unit_bytes):
            raise InputError([Fault("the loads of all models together overflow", "models")])

    @property
    def goal(self) -> Objective:
        """The objective, never None."""
        assert self.objective is not None
        return self.objective

    @cached_property
    def loads(self) -> tuple[float, ...]:
        """Load of each model's whole demand, in the objective's unit, in the order of `models`."""
        return tuple(self.goal.load(model) for model in self.models)

    @cached_property
    def index_of(self) -> dict[str, int]:
        """Position of each model by its name."""
        return {model.name: index for index, model in enumerate(self.models)}

    def need(self, index: int, degree: int = 1, replicas: int = 1) -> ShardNeed:
        """Return what one shard of model `index` takes from its GPU.

        Parameters
        ----------
        index
            Position in `models`.
        degree
            Tensor parallel degree of the replica.
        replicas
            Copies among which the demand is split.
        """
        return shard_need(self.models[index], self.loads[index], degree, replicas)

    def with_objective(self, objective: Objective | str | None) -> "Problem":
        """Return the same problem under another load; None keeps it."""
        return self if objective is None else replace(self, objective=Objective(objective))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over everything that decides what a placement is worth, for plan files.

        The order of models and nodes does not enter it.
        """
        models = sorted(
            [
                m.name, m.weights_bytes, m.overhead_bytes, m.min_kv_bytes, load,
                list(m.tensor_parallel), m.replicas.min, m.replicas.max,
            ]
            for m, load in zip(self.models, self.loads, strict=True)
        )  # fmt: skip
        nodes = sorted(
            [n.name, sorted(n.labels.items()), [[g.id, g.type, g.usable_bytes] for g in n.gpus]]
            for n in self.fleet.nodes
        )
        text = json.dumps([self.goal.value, models, nodes], separators=(",", ":"))
        return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
