"""Changes to what presses: a faster or a larger GPU, another hour."""

from dataclasses import replace

from kvplace.core.evaluation.evaluate import GPUEvaluation
from kvplace.core.hardware import GPU, Fleet
from kvplace.core.models.demand import Demand
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.core.scenarios import imagined
from kvplace.explain.changes import Change, Effort
from kvplace.facts.catalogue.gpus import GPUType, gpu_types

_MUCH = 1.1
"""Factor from which a GPU counts as faster or larger."""
_MOVED = 0.2
"""Part of a model's requests in a window that are asked at another hour."""


def better_gpu(problem: Problem, gpu: GPUEvaluation) -> Change | None:
    """Put the next better type of GPU in place of one.

    Where its time is short, the next faster one that is no smaller; where memory is, the next
    larger one that is no slower. None where the catalogue knows none.
    """
    known = gpu_types()
    now = known.get(gpu.type)
    if now is None:
        return None
    timed = problem.goal is Objective.PRESSURE
    short = gpu.binding[0] if timed else "kv"
    better = [
        kind
        for kind in known.values()
        if _is_better(kind, now, short)
        and _maker(kind) == _maker(now)
        and not (timed and _untimed(problem, kind.name))
    ]
    if not better:
        return None
    best = min(better, key=lambda kind: _speed(kind) if short == "time" else kind.memory_bytes)
    text = f"a {'faster' if short == 'time' else 'larger'} GPU: {best.name} in place of {gpu.id}"
    return Change("gpu_type", gpu.id, text, Effort.HARDWARE, _with_type(problem, gpu, best))


def _is_better(kind: GPUType, now: GPUType, short: str) -> bool:
    """Whether a type has more of what is short and no less of the rest."""
    enough = kind.memory_bytes >= now.memory_bytes and _speed(kind) >= _speed(now)
    enough = enough and (kind.bf16_tflops or 0) >= (now.bf16_tflops or 0)
    more = _speed(kind) >= _MUCH * _speed(now)
    if short == "kv":
        more = kind.memory_bytes >= _MUCH * now.memory_bytes
    return enough and more


def _maker(kind: GPUType) -> str:
    """Return whose GPU it is: an engine is built for GPUs of one maker."""
    return next((maker for maker in ("MI", "Gaudi") if kind.name.startswith(maker)), "")


def _speed(kind: GPUType) -> float:
    return kind.bandwidth_gb_per_second or 0.0


def _untimed(problem: Problem, gpu_type: str) -> bool:
    """Whether the speed of a type is not known, so that it cannot be planned with."""
    return problem.timing is None or bool(problem.timing.unknown([gpu_type]))


def _with_type(problem: Problem, gpu: GPUEvaluation, kind: GPUType) -> Problem:
    """Return the problem with another type in the place of a GPU; who may use it still may."""

    def changed(device: GPU) -> GPU:
        if device.id != gpu.id:
            return device
        return replace(device, type=kind.name, memory_bytes=kind.memory_bytes)

    nodes = tuple(
        replace(node, gpus=tuple(map(changed, node.gpus))) for node in problem.fleet.nodes
    )
    left = {device.type for node in nodes for device in node.gpus}
    models = problem.models
    if any(problem.columns.gpu_types):
        models = tuple(
            replace(m, gpu_types=tuple(t for t in (*m.gpu_types, kind.name) if t in left))
            if gpu.type in m.gpu_types
            else m
            for m in models
        )
    return replace(problem, models=models, fleet=Fleet(nodes))


def another_hour(problem: Problem, gpu: GPUEvaluation, name: str) -> Change | None:
    """Let a part of a model's requests come when its GPU is calmest.

    Parameters
    ----------
    problem
        Under the objective ``pressure``.
    gpu
        Where the model runs.
    name
        The model.

    Returns
    -------
    Change or None
        None where there is one window, where a what-if is what binds, or where the model has the
        same demand in every window.
    """
    _, at = gpu.binding
    windows = problem.windows
    real = [number for number, window in enumerate(windows) if not window.like]
    model = problem.models[problem.index_of[name]]
    if at not in real or len(real) < 2 or not model.windows:
        return None
    busy = windows[at]
    calm = windows[min(real, key=lambda w: max(gpu.occupancies[w], gpu.time_shares[w]))]
    moved = _MOVED * model.windows[busy.name].requests_per_second
    if calm == busy or not moved:
        return None
    demands = {
        **model.windows,
        busy.name: _more(model.windows[busy.name], -moved),
        calm.name: _more(
            model.windows[calm.name], moved * busy.weight / calm.weight, model.windows[busy.name]
        ),
    }
    changed = [replace(m, windows=demands) if m.name == name else m for m in problem.models]
    text = (
        f"another hour: a fifth of the requests to {name} in window {calm.name} and not in "
        f"{busy.name}"
    )
    later = replace(problem, models=imagined(tuple(changed), windows))
    return Change("hour", name, text, Effort.DEMAND, later)


def _more(demand: Demand, rate: float, like: Demand | None = None) -> Demand:
    """Return a demand with another rate; where nothing was asked so far, `like` tells the rest."""
    known = demand if like is None or demand.requests_per_second else like
    return replace(known, requests_per_second=max(0.0, demand.requests_per_second + rate))
