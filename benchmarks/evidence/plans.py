"""The placements that are compared, each by the same steps on any machine."""

import contextlib
import dataclasses
import random

import kvplace
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.models.model import Replicas
from kvplace.core.placement import Placement, Replica
from kvplace.forecast.search import refine_forecast

BASE, PRESSURE, REFINED = "prism-greedy tokens", "auto pressure", "forecast-refined"
PACKED = ("first fit", "best fit", "random")
VARIANTS = ("auto tokens", "auto occupancy", PRESSURE, REFINED, "one copy", BASE, *PACKED)
TOLD, QUANTILE = "forecast-refined, told", "auto pressure at the 95 % quantile"
"""Placements of the same fleet that states its bursts; they are played under those alone."""

STEPS, KICKS = 300, 10
"""Steps of a search, which give the same plans on any machine as a time limit would not."""

DISPERSION = 9.0
"""Of the bursts that a fleet states: gaps with a coefficient of variation of 3."""


def placements(fleet, seed):
    """Return the placement of each variant that a fleet has."""
    found = {}
    for objective in ("tokens", "occupancy", "pressure"):
        with contextlib.suppress(kvplace.InputError):  # a shape that nobody knows
            result = kvplace.solve(fleet, objective=objective, iterations=STEPS)
            found[f"auto {objective}"] = result.placement
    start = found.get(PRESSURE) or found["auto occupancy"]
    found[REFINED] = refine_forecast(fleet, start, kicks=KICKS).placement
    bursty = told(fleet)
    found[TOLD] = refine_forecast(bursty, start, kicks=KICKS).placement
    if PRESSURE in found:
        wide = dataclasses.replace(bursty, quantile=0.95)
        found[QUANTILE] = kvplace.solve(wide, objective="pressure", iterations=STEPS).placement
    if not all(model.replicas.min == model.replicas.max for model in fleet.models):
        single = tuple(dataclasses.replace(m, replicas=Replicas()) for m in fleet.models)
        with contextlib.suppress(kvplace.InputError):
            alone = dataclasses.replace(fleet, models=single)
            found["one copy"] = kvplace.solve(alone, iterations=STEPS).placement
    found[BASE] = kvplace.solve(fleet.with_objective("tokens"), solver="prism-greedy").placement
    if all(model.plain for model in fleet.models):
        found["first fit"] = packed(fleet, lambda _free: 0)
        found["best fit"] = packed(fleet, lambda free: min(range(len(free)), key=free.__getitem__))
        rng = random.Random(seed)
        found["random"] = packed(fleet, lambda free: rng.randrange(len(free)))
    return {
        name: one for name, one in found.items() if one is not None and evaluate(fleet, one).valid
    }


def told(fleet):
    """Return a fleet that states its bursts."""
    models = tuple(
        dataclasses.replace(m, demand=dataclasses.replace(m.demand, dispersion=DISPERSION))
        for m in fleet.models
    )
    return dataclasses.replace(fleet, models=models)


def packed(fleet, choose):
    """Return models by size, each on one of the GPUs that it fits on; None where one fits none."""
    free = {gpu.id: gpu.usable_bytes - 1 for gpu in fleet.fleet.gpus}
    where = {}
    sizes = fleet.undivided_bytes
    for at in sorted(range(len(sizes)), key=lambda at: -sizes[at]):
        fitting = [gpu for gpu, left in free.items() if left >= sizes[at]]
        if not fitting:
            return None
        gpu = fitting[choose([free[gpu] for gpu in fitting])]
        free[gpu] -= sizes[at]
        where[fleet.names[at]] = gpu
    return Placement.single(where)


def stored(placement):
    """Return a placement as a record keeps it."""
    return [[one.model, one.index, *one.gpus] for one in placement.replicas]


def restored(rows):
    """Return a placement that a record keeps."""
    return Placement(tuple(Replica(model, index, tuple(gpus)) for model, index, *gpus in rows))
