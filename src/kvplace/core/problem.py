"""Problem: the whole input, immutable and cross-checked."""

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from itertools import chain
from operator import attrgetter

from kvplace.core.derived.digest import digest_of
from kvplace.core.derived.eligibility import Eligibility
from kvplace.core.derived.needs import ShardNeed, Ways, demand_parts, rank_part, shard_need
from kvplace.core.derived.option_table import OptionTable, option_table, undivided_table
from kvplace.core.hardware import Fleet
from kvplace.core.models.model import Model
from kvplace.core.models.model_columns import ListedModels, ModelColumns
from kvplace.core.models.model_table import ModelTable
from kvplace.core.models.objective import Objective
from kvplace.core.models.window import ALWAYS, Window
from kvplace.core.names import name_faults
from kvplace.core.pressures import Pressures
from kvplace.core.rules.rule import Rule
from kvplace.core.timing import Timing
from kvplace.errors import Fault, InputError
from kvplace.field_types import hold_types

_SHOWN = 8
"""Models up to which the text of a problem shows all of them."""


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
        What presses on a GPU. By default ``pressure`` where shares of GPU time are known of every
        model on every GPU; else ``occupancy`` where every model gives what it needs, else
        ``requests``.
    rules
        What is demanded of a placement besides that everything fits.
    windows
        The windows of demand; by default those that the models name, in their order, or
        `ALWAYS` where no model names one.
    timing
        Who knows the shares of GPU time; None where nobody does.
    assumed
        What its file leaves out and was filled in, in sentences, each with its source.
    quantile
        Under the objective ``pressure``, the share of the time in which the KV memory and the GPU
        time that models need are to be there, above 0.5 and below 1, as
        `kvplace.core.models.bursts` says; None for their means. The other objectives plan for
        means.

    Raises
    ------
    InputError
        A name occurs twice, a model lacks a field that the objective needs, a rule, a GPU type or
        a resource names what there is not, or a field is of another type.
    """

    models: Sequence[Model]
    fleet: Fleet
    objective: Objective | None = field(default=None)  # never None after construction
    rules: tuple[Rule, ...] = ()
    windows: tuple[Window, ...] = ()  # never empty after construction
    timing: Timing | None = field(default=None, compare=False, repr=False)
    assumed: tuple[str, ...] = field(default=(), compare=False, repr=False)
    quantile: float | None = None

    def __post_init__(self) -> None:
        hold_types(self)
        object.__setattr__(self, "windows", self.windows or self._named_windows())
        given = self.objective
        objective = given or self._default_objective()
        object.__setattr__(self, "objective", objective)
        faults = list(self._misnamed())
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
            for index, name in self.columns.missing(objective)
        )
        if given and objective is Objective.PRESSURE:  # else it is known, or would not be taken
            faults.extend(
                Fault(f"the objective pressure needs {what}", place)
                for place, what in self.pressures.untimed()
            )
        if self.quantile is not None and not 0.5 < self.quantile < 1:
            message = f"the quantile {self.quantile!r} must be above 0.5 and below 1"
            faults.append(Fault(message, "quantile"))
        faults.extend(self.pressures.window_faults())
        faults.extend(self._unknown())
        if not self.models:
            faults.append(Fault("there is no model to place", "models"))
        if faults:
            raise InputError(faults)
        # A load that overflows is refused here, not in a solver; then no KVPR can overflow.
        sums = [sum(self.loads)]
        if objective is Objective.PRESSURE:
            sums += map(sum, self.pressures.window_means)
        if not all(math.isfinite(total * objective.memory_unit_bytes) for total in sums):
            raise InputError([Fault("the loads of all models together overflow", "models")])

    def _misnamed(self) -> Iterator[Fault]:
        """Yield what is wrong with names: no file could hold the problem."""
        yield from name_faults(self.names, "models[{}].name")
        yield from name_faults(map(attrgetter("name"), self.fleet.nodes), "nodes[{}].name")
        yield from name_faults(self.fleet.position, "gpus[{}].id")
        yield from name_faults(map(attrgetter("name"), self.windows), "windows[{}].name")

    def _default_objective(self) -> Objective:
        if self.pressures.known:
            return Objective.PRESSURE
        complete = not any(self.columns.missing(Objective.OCCUPANCY))
        return Objective.OCCUPANCY if complete else Objective.REQUESTS

    def _named_windows(self) -> tuple[Window, ...]:
        """Return the windows that models name, or the one that stands for all time."""
        named = dict.fromkeys(name for names in self.columns.windows for name in names)
        return tuple(map(Window, named)) or (ALWAYS,)

    @cached_property
    def columns(self) -> ModelColumns:
        """All models at once."""
        models = self.models
        return models if isinstance(models, ModelTable) else ListedModels(models)

    @cached_property
    def names(self) -> Sequence[str]:
        """Name of each model, in the order of `models`."""
        return self.columns.names

    def _unknown(self) -> Iterator[Fault]:
        """Yield what models and rules name and the fleet does not have."""
        types = set(map(attrgetter("type"), self.fleet.gpus))
        known = self.resource_scopes
        for index, asked in enumerate(() if self.columns.plain else self.columns.gpu_types):
            for type_ in asked:
                if type_ not in types:
                    message = f"the fleet has no GPU of type {type_!r}; it has {_listed(types)}"
                    yield Fault(message, f"models[{index}].gpu_types")
        for index, name in self.columns.resources:
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
            held = dict.fromkeys(chain.from_iterable(map(attrgetter("resources"), node.gpus)))
            for scope, names in (("node", node.resources), ("gpu", held)):
                for name in names:
                    scopes[name] = scope if scopes.get(name, scope) == scope else "both"
        return scopes

    @cached_property
    def plain(self) -> bool:
        """Whether one undivided replica per model, free to go anywhere, is all there is."""
        return not self.rules and self.columns.plain

    @cached_property
    def _eligibility(self) -> Eligibility:
        return Eligibility(self.fleet, self.names, self.columns.gpu_types, self.rules)

    def allowed(self, index: int) -> frozenset[str]:
        """Return the ids of the GPUs that type and hard rules let a model run on.

        Models with equal demands share one set.
        """
        return self._eligibility.allowed[index]

    def links(self, index: int) -> tuple[int, ...]:
        """Return how many GPUs each link domain holds that a model may run on, most first."""
        return self._eligibility.links(index)

    def largest_bytes(self, index: int, degree: int = 1) -> int:
        """Return the most bytes that each GPU of a copy of a degree can have to use, 0 for none."""
        return self._eligibility.largest_bytes(index, degree)

    def rooms(self, index: int) -> set[tuple[int, ...]]:
        """Return the usable bytes of GPUs that a model may run on, by link domain, most first."""
        return self._eligibility.rooms(index)

    @property
    def every_largest_bytes(self) -> list[int]:
        """What `largest_bytes` returns of each model, undivided."""
        return self._eligibility.every_largest_bytes

    def domains_allowed(self, index: int, key: str) -> tuple[str, ...]:
        """Return the domains of a topology key that hold a GPU a model may run on, sorted."""
        return self._eligibility.domains(index, key)

    def usable_bytes(self, gpu_id: str) -> int:
        """Return the usable memory of a GPU of the fleet."""
        gpu = self.fleet.gpu(gpu_id)
        assert gpu is not None
        return gpu.usable_bytes

    def options(self, index: int) -> list[tuple[int, int]]:
        """Return the allowed pairs of degree and copies of a model, as `Ways.of` does."""
        model = self.models[index]
        return self._ways.of(model.tensor_parallel, model.replicas, len(self.allowed(index)))

    @cached_property
    def _ways(self) -> Ways:
        return Ways()

    def seated(self, index: int, row: int) -> bool:
        """Whether a link domain holds a copy of an option, and all are wide enough for all copies.

        Parameters
        ----------
        index
            Position of the model.
        row
            Row of one of its options in `option_table`.
        """
        table = self.option_table
        degree = table.degrees[row]
        if degree == 1:
            return True
        least = table.weights_bytes[row] + max(1, table.min_kv_bytes[row])
        wide = self._eligibility.seats(index, degree) >= table.copies[row]
        return wide and least <= self.largest_bytes(index, degree)

    def wide(self, index: int, degree: int) -> frozenset[tuple[str, int]]:
        """Return type and usable bytes of the GPUs on which a copy of a degree may have a shard."""
        return self._eligibility.wide(index, degree)

    def widest_bytes(self, index: int, degree: int) -> int:
        """Return the usable bytes of the largest GPU of those, 0 for none."""
        return self._eligibility.widest_bytes(index, degree)

    @cached_property
    def option_table(self) -> OptionTable:
        """The options of all models with what a shard takes in each."""
        if self.plain:
            with suppress(OverflowError):  # of weights that no GPU holds, which a list can state
                return undivided_table(self.undivided_bytes, self.min_kv_bytes, self.loads)
        return option_table(self.goal, self.models, self.loads, self.options)

    @cached_property
    def gpu_types(self) -> tuple[str, ...]:
        """Types of the fleet's GPUs, sorted."""
        return tuple(sorted(set(map(attrgetter("type"), self.fleet.gpus))))

    @cached_property
    def pressures(self) -> Pressures:
        """What shards press on, window by window, and what of it is not known."""
        names = tuple(window.name for window in self.windows)
        return Pressures(
            self.models, self.columns, names, self.timing, self.gpu_types,
            lambda: self.option_table,
            self.quantile if self.objective in (None, Objective.PRESSURE) else None,
            self.fleet.usable_bytes,
        )  # fmt: skip

    @property
    def pressed(self) -> bool:
        """Whether what all shards press on is known, which it is where that is the objective."""
        return self.objective is Objective.PRESSURE or self.pressures.known

    def __repr__(self) -> str:
        """Return all fields of a small problem, else how large it is."""
        if len(self.models) <= _SHOWN:
            shown = (one.name for one in fields(self) if one.repr)
            return f"Problem({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"
        return (
            f"<Problem: {len(self.models)} models on {len(self.fleet.gpus)} GPUs, "
            f"objective {self.goal.value}, {len(self.rules)} rules, {len(self.windows)} windows>"
        )

    def __getstate__(self) -> dict[str, object]:
        """Return the fields alone: what is worked out from them is not, and may hold functions."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def lacking(self, objective: Objective) -> list[tuple[str, str]]:
        """Return what keeps an objective from being used: places in the input, and what lacks."""
        missing = self.columns.missing(objective)
        found = [(f"models[{i}].{name}", f"{name} of {self.names[i]!r}") for i, name in missing]
        return [*found, *(self.pressures.untimed() if objective is Objective.PRESSURE else ())]

    @property
    def goal(self) -> Objective:
        """The objective, never None."""
        assert self.objective is not None
        return self.objective

    @cached_property
    def loads(self) -> Sequence[float]:
        """Load of each model's whole demand, in the objective's unit, in the order of `models`."""
        return self.columns.loads(self.goal)

    @cached_property
    def index_of(self) -> dict[str, int]:
        """Position of each model by its name."""
        return {name: index for index, name in enumerate(self.names)}

    @cached_property
    def undivided_bytes(self) -> "array[int]":
        """Weights and overhead of each model on one GPU, in the order of `models`."""
        return self.columns.undivided_bytes

    @cached_property
    def min_kv_bytes(self) -> "array[int]":
        """KV memory that each model must be left, in the order of `models`."""
        return self.columns.min_kv_bytes

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
        model = self.models[index]
        part *= rank_part(self.goal, model, degree)
        return shard_need(model, self.loads[index], degree, part)

    def rank_part(self, index: int, degree: int) -> float:
        """Return the part of a copy's load that falls on each rank."""
        return rank_part(self.goal, self.models[index], degree)

    def demand_parts(self, index: int, copies: Sequence[Sequence[str]]) -> list[float]:
        """Return the part of the demand that each copy carries; together they are 1.

        Parameters
        ----------
        index
            Position in `models`.
        copies
            GPUs of each copy.
        """
        return demand_parts(self.models[index], self.fleet, copies)

    def with_objective(self, objective: Objective | str | None) -> "Problem":
        """Return the same problem under another load; None keeps it.

        Raises
        ------
        InputError
            There is no such objective.
        """
        return self if objective is None else replace(self, objective=Objective(objective))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over everything that decides what a placement is worth, for plan files."""
        pressed = self.pressures.digest_rows() if self.goal is Objective.PRESSURE else ()
        goal, columns = self.goal.value, self.columns
        return digest_of(goal, columns, self.loads, self.fleet, self.rules, pressed)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
