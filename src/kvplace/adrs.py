"""Drop-in for the public ADRS "prism" benchmark.

A program for it offers ``compute_model_placement(gpu_num, models)``; each model has
``model_name``, ``model_size`` (GB), ``req_rate``, ``slo`` and ``cur_gpu_id``, and every GPU has
80 GB. Models may not be hashable and come back as the same objects.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.core.result import Status
from kvplace.errors import InputError
from kvplace.solver.solve import solve
from kvplace.units import GIB

GPU_MEMORY = 80
"""Memory of each GPU of the benchmark, in its GB; the ratio knows no unit, so GiB are taken."""


class AdrsModel(Protocol):
    """What the benchmark gives of a model."""

    model_name: str
    model_size: float
    req_rate: float
    slo: float


M = TypeVar("M", bound=AdrsModel)


def compute_model_placement(
    gpu_num: int, models: Sequence[M], *, solver: str = "auto"
) -> dict[int, list[M]]:
    """Place the benchmark's models.

    Parameters
    ----------
    gpu_num
        Number of GPUs.
    models
        The benchmark's objects; neither hashed, compared, copied nor changed.
    solver
        One of `kvplace.solver.solve.SOLVERS`.

    Returns
    -------
    dict
        From each GPU id, 0 to ``gpu_num - 1``, to its list of models.

    Raises
    ------
    InputError
        No placement was found; the message says whether none exists.
    """
    if not models:
        return {g: [] for g in range(gpu_num)}
    # The score knows the worst GPU alone, so the order of the others need not be proved.
    result = solve(problem_of(gpu_num, models), solver=solver, without=("leximax",))
    if result.placement is None:
        proved = result.status is Status.INFEASIBLE
        raise InputError(
            f"no placement of {len(models)} models on {gpu_num} GPUs of {GPU_MEMORY} GB "
            + ("exists: their weights do not fit" if proved else "was found")
        )
    placed: dict[int, list[M]] = {g: [] for g in range(gpu_num)}
    gpu_of = {replica.model: int(replica.gpus[0]) for replica in result.placement}
    for index, model in enumerate(models):
        placed[gpu_of[str(index)]].append(model)
    return placed


def problem_of(gpu_num: int, models: Sequence[AdrsModel]) -> Problem:
    """Return the benchmark's case as a problem; models are named by their position."""
    gpus = tuple(GPU(str(g), "ADRS-80GB", GPU_MEMORY * GIB) for g in range(gpu_num))
    return Problem(
        models=tuple(
            Model(
                name=str(index),
                weights_bytes=round(model.model_size * GIB),
                demand=Demand(float(model.req_rate)),
                slo=SLO(latency_seconds=float(model.slo)),
                overhead_bytes=0,
            )
            for index, model in enumerate(models)
        ),
        fleet=Fleet((Node("adrs", gpus),)),
        objective=Objective.REQUESTS,
    )
