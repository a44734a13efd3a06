"""Small fleets whose schedules can be computed by hand."""

import numpy as np

from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model, Replicas
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.forecast.rules import Rules
from kvplace.forecast.step_time import StepTime
from kvplace.forecast.times import StepTimes
from kvplace.simulate.run import simulate_traffic
from kvplace.simulate.traffic import ModelTraffic, Traffic

NO_HOST = {"host_seconds": 0.0, "host_seconds_per_sequence": 0.0, "slice_loss": 0.0}


def seconds(**coefficients):
    """Return step times that are 0 but for what is given."""
    zero = dict.fromkeys(
        ("fixed", "dense", "experts", "token", "kv_token", "attention", "link", "sequence"), 0.0
    )
    given = {f"{name}_seconds": value for name, value in {**zero, **coefficients}.items()}
    return StepTime(expert_share=0.0, sharpness=1.0, **given)


def model(name, weights=1_000, **others):
    return Model(
        name,
        weights,
        Demand(1.0, 10, 10),
        SLO(1.0, 1.0),
        kv_bytes_per_token=1,
        overhead_bytes=0,
        **others,
    )


def problem(models, gpus=1, memory=1_000_000):
    made = tuple(GPU(f"n/{i}", "test", memory) for i in range(gpus))
    return Problem(models, Fleet((Node("n", made),)))


def requests(*rows):
    """Return requests from rows of arrival, prompt, output and, where wanted, prefix and length."""
    rows = [(*row, -1, 0) if len(row) == 3 else row for row in rows]
    columns = list(zip(*rows, strict=True)) or [()] * 5
    whole = [np.array(column, np.int64) for column in columns[1:]]
    return ModelTraffic(np.array(columns[0], float), *whole)


def traffic(*models, seconds=10.0):
    return Traffic(models, seconds)


def place(*copies):
    """Return a placement from pairs of a model's name and its GPUs."""
    counts = {}
    replicas = []
    for name, *gpus in copies:
        number = counts[name] = counts.get(name, -1) + 1
        replicas.append(Replica(name, number, tuple(f"n/{gpu}" for gpu in gpus)))
    return Placement(tuple(replicas))


def run(problem, placement, given, times, **rules):
    """Simulate and return the answers by model, and the usage by GPU."""
    measured = {(name, ""): one for name, one in times.items()}
    return simulate_traffic(
        problem,
        placement,
        given,
        rules=Rules(**{**NO_HOST, **rules}),
        times=StepTimes(measured),
    )


__all__ = ["Replicas", "model", "place", "problem", "requests", "run", "seconds", "traffic"]
