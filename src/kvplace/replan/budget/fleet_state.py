"""A placement in arrays that a search changes: what each GPU holds and how hard it is pressed.

Loads are a vector per shard: first the loads that press on what memory is left for KV, then the
shares of a GPU's time. The pressure of a GPU is the largest of all of them. What a search finds
is evaluated again by core before anybody sees it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from kvplace.core.models.model import Split
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Assigned, Placement, Replica
from kvplace.core.problem import Problem
from kvplace.replan.budget.rule_state import RuleState

if TYPE_CHECKING:
    from numpy.typing import NDArray

BROKEN = 1e290
"""Pressure from which on a GPU does not hold what is on it; more by how much it does not."""

Copies = tuple[tuple[int, ...], ...]
"""GPUs of each copy of a model, as positions in the fleet."""
Need = tuple[int, int, tuple[tuple[float, ...], ...]]
"""Weights, least KV and loads by type of GPU of one shard."""
Reshape = tuple[tuple[int, Copies], ...]
"""Models, each with the copies that it is to have."""


class FleetState:
    """Where every copy is, and what that means for every GPU.

    Parameters
    ----------
    problem
        What is served.
    placement
        Where it runs; copies of models or on GPUs that there are not are left out.
    """

    def __init__(self, problem: Problem, placement: Placement) -> None:
        self.problem = problem
        gpus = problem.fleet.gpus
        self.models = tuple(problem.models)  # of a table, made once
        self.ids = [gpu.id for gpu in gpus]
        self.position = {gpu_id: at for at, gpu_id in enumerate(self.ids)}
        self.memory = np.array([gpu.usable_bytes for gpu in gpus], dtype=np.int64)
        self.unit = problem.goal.memory_unit_bytes
        count = len(gpus)
        timed = problem.goal is Objective.PRESSURE
        windows = len(problem.windows) if timed else 1
        self.kv_loads = windows  # how many of the loads press on memory; the rest are times
        self.types = problem.gpu_types if timed else ("",)
        kind = {name: at for at, name in enumerate(self.types)}
        self.type_of = np.array([kind.get(gpu.type, 0) for gpu in gpus], dtype=np.int64)
        self.used = np.zeros(count, dtype=np.int64)
        self.kept = np.zeros(count, dtype=np.int64)
        self.load = np.zeros((2 * windows if timed else 1, count))
        self.members: list[dict[int, None]] = [{} for _ in range(count)]
        self._needs: dict[tuple[int, int, float], Need] = {}
        self._classes: dict[int, int] = {}
        self._masks: list[NDArray[np.bool_]] = []
        self.copies: dict[int, Copies] = {}
        known: dict[int, list[tuple[int, ...]]] = {}
        for replica in placement:
            index = problem.index_of.get(replica.model)
            # The order of ranks is no matter of pressure; `renumbered` gives it back.
            where = tuple(sorted(self.position.get(gpu, -1) for gpu in replica.gpus))
            if index is not None and -1 not in where:
                known.setdefault(index, []).append(where)
        for index in range(len(problem.models)):
            self._put(index, tuple(sorted(known.get(index, ()))))
        self.origin = dict(self.copies)
        self.changed: set[int] = set()  # models that run otherwise than at the origin
        self.illegal = {j for j in self.copies if not self._legal(j)}
        idle = not problem.rules and not problem.resource_scopes
        self.rules = RuleState(problem, {} if idle else self._replicas())
        self.domains = _domains(problem, self.position)
        widths = sorted(set(map(len, self.domains)))
        self.domains_of_width = [np.array([d for d in self.domains if len(d) == w]) for w in widths]
        self.pressure = self.pressures()

    # What a shard takes

    def need(self, model: int, degree: int, part: float) -> Need:
        """Return the weights, the least KV and, by type of GPU, the loads of one shard."""
        key = (model, degree, part)
        found = self._needs.get(key)
        if found is None:
            shard = self.problem.shard(model, degree, part)
            loads: tuple[tuple[float, ...], ...] = ((shard.load,),)
            if self.problem.goal is Objective.PRESSURE:
                of = self.problem.pressures.shard
                pairs = (of(model, degree, part, name) for name in self.types)
                loads = tuple((*kv, *time) for kv, time in pairs)
            found = (shard.weights_bytes, shard.min_kv_bytes, loads)
            self._needs[key] = found
        return found

    def parts(self, model: int, copies: Copies) -> Sequence[float]:
        """Return the part of the demand that each copy carries."""
        if not copies:
            return ()
        if self.models[model].replicas.split is Split.EVEN:
            return (1 / len(copies),) * len(copies)
        return self.problem.demand_parts(model, [[self.ids[g] for g in c] for c in copies])

    def even(self, model: int) -> bool:
        """Whether a copy of a model takes the same wherever it and the others are."""
        replicas = self.models[model].replicas
        return replicas.split is Split.EVEN or len(self.copies[model]) == 1

    def mask(self, model: int) -> NDArray[np.bool_]:
        """Return whether a model may run on each GPU."""
        return self._masks[self.class_of(model)]

    def class_of(self, model: int) -> int:
        """Return the number of the set of GPUs that a model may run on."""
        allowed = self.problem.allowed(model)
        found = self._classes.get(id(allowed))
        if found is None:
            found = len(self._masks)
            self._classes[id(allowed)] = found
            mask = np.zeros(len(self.ids), dtype=bool)
            mask[[self.position[gpu] for gpu in allowed]] = True
            self._masks.append(mask)
        return found

    def kinds_on(self, gpu: int) -> NDArray[np.bool_]:
        """Return, for every number of `class_of`, whether its models may run on a GPU."""
        return np.array([mask[gpu] for mask in self._masks])

    # Pressures

    def pressures(self) -> NDArray[np.float64]:
        """Return the pressure of every GPU, computed anew."""
        return self.pressed(self.memory, self.used, self.kept, self.load)

    def pressed(self, memory: Any, used: Any, kept: Any, load: Any) -> NDArray[np.float64]:
        """Return the pressure of GPUs that hold so much; empty ones have none.

        Parameters
        ----------
        memory, used, kept
            (n,) bytes: usable, resident, and to be left for KV.
        load
            (loads, n) loads.
        """
        free = memory - used
        fits = free >= np.maximum(1, kept)
        room = np.where(fits, free, 1) / self.unit
        kv = load[: self.kv_loads].max(axis=0) / room
        found = np.maximum(kv, load[self.kv_loads :].max(axis=0)) if len(load) > 1 else kv
        short = np.maximum(1, kept) - free
        broken = BROKEN * (1 + np.maximum(short, 0) / memory)
        pressed: NDArray[np.float64] = np.where(fits | ((used == 0) & (kept == 0)), found, broken)
        return pressed

    def touched(self, reshape: Reshape) -> dict[int, list[Any]]:
        """Return what changes on each GPU: resident bytes, least KV and loads."""
        found: dict[int, list[Any]] = {}
        for model, copies in reshape:
            for sign, held in ((-1, self.copies[model]), (1, copies)):
                for copy, part in zip(held, self.parts(model, held), strict=True):
                    weights, kept, loads = self.need(model, len(copy), part)
                    for gpu in copy:
                        mine = loads[self.type_of[gpu]]
                        entry = found.setdefault(gpu, [0, 0, [0.0] * len(mine)])
                        entry[0] += sign * weights
                        entry[1] += sign * kept
                        entry[2] = [a + sign * b for a, b in zip(entry[2], mine, strict=True)]
        return found

    def outcome(self, reshape: Reshape) -> float:
        """Return the pressure of the worst GPU that a change touches, after it."""
        worst = 0.0
        for gpu, (weights, kept, loads) in self.touched(reshape).items():
            used, least = int(self.used[gpu]) + weights, int(self.kept[gpu]) + kept
            free = int(self.memory[gpu]) - used
            if not used and not least:
                continue
            if free < max(1, least):
                short = max(1, least) - free
                worst = max(worst, BROKEN * (1 + short / int(self.memory[gpu])))
                continue
            for at, load in enumerate(loads):
                amount = float(self.load[at, gpu]) + load
                worst = max(worst, amount / (free / self.unit) if at < self.kv_loads else amount)
        return worst

    def shortage(self, reshape: Reshape) -> int:
        """Return by how many bytes more all GPUs together are over their memory after a change."""
        more = 0
        for gpu, (weights, kept, _) in self.touched(reshape).items():
            used, least = int(self.used[gpu]), int(self.kept[gpu])
            memory = int(self.memory[gpu])
            more += _short(memory, used + weights, least + kept) - _short(memory, used, least)
        return more

    # Changes

    def apply(self, reshape: Reshape) -> Reshape:
        """Give models other copies; return what takes it back."""
        back = tuple((model, self.copies[model]) for model, _ in reshape)
        touched = {
            g for m, copies in reshape for held in (self.copies[m], copies) for c in held for g in c
        }
        for model, _ in reshape:
            self._take(model)
        for model, copies in reshape:
            self._put(model, copies)
            is_new = copies != self.origin[model]
            (self.changed.add if is_new else self.changed.discard)(model)
            (self.illegal.discard if self._legal(model) else self.illegal.add)(model)
        if not self.rules.idle:
            names = self.problem.names
            self.rules.replace({names[j]: self._named(j, copies) for j, copies in reshape})
        at = sorted(touched)
        if at:
            some = self.load[:, at]
            self.pressure[at] = self.pressed(self.memory[at], self.used[at], self.kept[at], some)
        return back

    def _take(self, model: int) -> None:
        held = self.copies[model]
        for copy, part in zip(held, self.parts(model, held), strict=True):
            weights, kept, loads = self.need(model, len(copy), part)
            for gpu in copy:
                self.used[gpu] -= weights
                self.kept[gpu] -= kept
                self.load[:, gpu] -= loads[self.type_of[gpu]]
                self.members[gpu].pop(model, None)
                if not self.members[gpu]:
                    self.load[:, gpu] = 0.0  # no rounding is left behind
        self.copies[model] = ()

    def _put(self, model: int, copies: Copies) -> None:
        self.copies[model] = copies
        for copy, part in zip(copies, self.parts(model, copies), strict=True):
            weights, kept, loads = self.need(model, len(copy), part)
            for gpu in copy:
                self.used[gpu] += weights
                self.kept[gpu] += kept
                self.load[:, gpu] += loads[self.type_of[gpu]]
                self.members[gpu][model] = None

    # Costs

    def migrations(self, model: int, copies: Copies) -> int:
        """Return how many copies move, start or stop between the origin and some copies."""
        gone, come = self._differences(model, copies)
        return max(len(gone), len(come))

    def loaded_bytes(self, model: int, copies: Copies) -> int:
        """Return the weights that are read to go from the origin to some copies."""
        _, come = self._differences(model, copies)
        size = self.models[model].weights_bytes
        return sum(-(-size // len(copy)) * len(copy) for copy in come)

    def _differences(
        self, model: int, copies: Copies
    ) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
        gone, come = list(self.origin[model]), []
        for copy in copies:
            if copy in gone:
                gone.remove(copy)
            else:
                come.append(copy)
        return gone, come

    # Placements

    def placement_of(self, changed: Mapping[int, Copies]) -> Placement:
        """Return the placement in which some models run otherwise than at the origin."""
        if self.problem.plain and all(map(len, self.origin.values())):
            where = self.origin | dict(changed)
            gpu_of = array("q", [where[j][0][0] for j in range(len(self.models))])
            return Placement(Assigned(self.problem.names, self.ids, gpu_of))
        return Placement(
            tuple(
                replica
                for j, copies in (self.origin | dict(changed)).items()
                for replica in self._named(j, copies)
            )
        )

    def rules_after(self, reshape: Reshape) -> tuple[float, ...]:
        """Return how much of rules and capacities is broken after a change, hard ones first."""
        return self.rules.after({self.problem.names[j]: self._named(j, c) for j, c in reshape})

    def _named(self, model: int, copies: Copies) -> list[Replica]:
        name = self.problem.names[model]
        return [
            Replica(name, at, tuple(self.ids[g] for g in copy)) for at, copy in enumerate(copies)
        ]

    def _replicas(self) -> Mapping[str, list[Replica]]:
        names = self.problem.names
        return {names[j]: self._named(j, held) for j, held in self.copies.items() if held}

    def sets_of(self, model: int, degree: int) -> Iterable[tuple[int, ...]]:
        """Yield every set of GPUs of one link domain on which a copy may be."""
        mask = self.mask(model)
        for domain in self.domains:
            allowed = [gpu for gpu in domain if mask[gpu]]
            yield from combinations(allowed, degree)

    def _legal(self, model: int) -> bool:
        """Whether a model has as many copies as it may, each as it may be by itself."""
        held, about = self.copies[model], self.models[model]
        return (
            about.replicas.min <= len(held) <= about.replicas.max
            and all(len(copy) in about.tensor_parallel for copy in held)
            and len({g for c in held for g in c}) == sum(map(len, held))
            and all(self.seated(model, copy) for copy in held)
        )

    def seated(self, model: int, copy: tuple[int, ...]) -> bool:
        """Whether a copy is where its model may be, on GPUs of one link domain."""
        mask = self.mask(model)
        return all(mask[gpu] for gpu in copy) and (len(copy) == 1 or self.in_a_domain(copy))

    def in_a_domain(self, copy: tuple[int, ...]) -> bool:
        """Whether GPUs are of one link domain."""
        fleet = self.problem.fleet
        return len({fleet.domain(self.ids[gpu], "link") for gpu in copy}) == 1

    def highest(self) -> float:
        """Return the pressure of the worst GPU."""
        return float(self.pressure.max())


def _short(memory: int, used: int, kept: int) -> int:
    """Return by how many bytes a GPU is over its memory."""
    return max(0, used + max(1, kept) - memory) if used or kept else 0


def _domains(problem: Problem, position: Mapping[str, int]) -> list[list[int]]:
    """Return the GPUs of each link domain."""
    found: dict[str, list[int]] = {}
    for gpu in problem.fleet.gpus:
        found.setdefault(problem.fleet.domain(gpu.id, "link") or "", []).append(position[gpu.id])
    return list(found.values())
