"""The door between core's frozen types and the solver's arrays.

Inside, models and GPUs are numbers in a canonical order that depends on what they are and, only
between equals, on their names; so the order of the input cannot change the plan.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.errors import InputError

__all__ = ["Arrays", "load_placement", "load_problem", "unload_placement"]


@dataclass(frozen=True, slots=True)
class Arrays:
    """A problem as plain numbers; index = position in canonical order.

    Parameters
    ----------
    size
        (n,) bytes resident per model: weights and overhead.
    keep
        (n,) bytes of KV that must be left per model.
    load
        (n,) loads, times the objective's memory unit: KVPR = load / free bytes.
    memory
        (g,) usable bytes per GPU, descending.
    model_index
        (n,) position of each model in the problem.
    gpu_index
        (g,) position of each GPU in the fleet.
    """

    size: list[int]
    keep: list[int]
    load: list[float]
    memory: list[int]
    model_index: list[int]
    gpu_index: list[int]

    @property
    def n(self) -> int:
        """Number of models."""
        return len(self.size)

    @property
    def g(self) -> int:
        """Number of GPUs."""
        return len(self.memory)


class Positions(Protocol):
    """Where the models and GPUs of the arrays stand in the problem."""

    @property
    def model_index(self) -> Iterable[int]:
        """Position of each model in the problem."""

    @property
    def gpu_index(self) -> Iterable[int]:
        """Position of each GPU in the fleet."""


def load_problem(problem: Problem) -> Arrays:
    """Turn a problem into arrays."""
    unit = problem.goal.memory_unit_bytes
    needs = [problem.need(i) for i in range(len(problem.models))]
    order = sorted(
        range(len(needs)),
        key=lambda i: (
            -needs[i].load,
            -needs[i].weights_bytes,
            -needs[i].min_kv_bytes,
            problem.models[i].name,
        ),
    )
    gpus = problem.fleet.gpus
    gpu_order = sorted(range(len(gpus)), key=lambda g: (-gpus[g].usable_bytes, gpus[g].id))
    return Arrays(
        size=[needs[i].weights_bytes for i in order],
        keep=[needs[i].min_kv_bytes for i in order],
        load=[needs[i].load * unit for i in order],
        memory=[gpus[g].usable_bytes for g in gpu_order],
        model_index=order,
        gpu_index=gpu_order,
    )


def unload_placement(problem: Problem, arrays: Arrays, gpu_of: list[int]) -> Placement:
    """Turn an assignment, GPU per model in canonical order, into a placement."""
    ids = [problem.fleet.gpus[g].id for g in arrays.gpu_index]
    return Placement.single(
        {problem.names[i]: ids[g] for i, g in zip(arrays.model_index, gpu_of, strict=True)}
    )


def load_placement(problem: Problem, arrays: Positions, placement: Placement) -> list[int]:
    """Turn a placement of undivided single replicas into an assignment.

    Raises
    ------
    InputError
        The placement lacks a model, or names one or a GPU that the problem does not have.
    """
    position = {problem.fleet.gpus[g].id: at for at, g in enumerate(arrays.gpu_index)}
    held = {replica.model: replica.gpus for replica in placement}
    faults = [
        f"the placement holds {name!r}, which is no model of the problem"
        for name in held
        if name not in problem.index_of
    ]
    gpu_of = []
    for i in arrays.model_index:
        gpus = held.get(problem.names[i], ())
        if len(gpus) != 1 or gpus[0] not in position:
            where = f"is on {', '.join(gpus)}" if gpus else "has no GPU"
            faults.append(f"{problem.names[i]!r} {where}; it needs one GPU of the fleet")
        else:
            gpu_of.append(position[gpus[0]])
    if faults:
        raise InputError(faults, "placement")
    return gpu_of
