"""Families of one shape at five sizes, from a thousand models to a million.

Each gives one fleet per seed, as columns; ``scale-10-1k`` is that of a thousand models.
"""

from array import array
from collections.abc import Callable
from itertools import cycle, islice

import numpy as np

from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.model_table import ModelTable
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.solver.array_types import Floats
from kvplace.units import GIB

SIZES = {"1k": 1_000, "10k": 10_000, "100k": 100_000, "300k": 300_000, "1m": 1_000_000}
MIXED_GIB = (24, 40, 48, 80, 96, 141, 192, 270)
ZIPF = 1.05
"""Exponent of the demand of ``scale-hot``: the second model has half that of the first."""

Columns = tuple[list[float], Floats, Floats, Floats]
"""GiB per GPU; GiB, requests per second and latency objective per model."""


def _filled(sizes: Floats, memory: list[float], fill: float) -> Floats:
    """Scale sizes to a share of all memory."""
    scaled: Floats = sizes * (fill * sum(memory) / sizes.sum())
    return scaled


def _ten(random: np.random.RandomState, models: int) -> Columns:
    """10 models per GPU of 80 GiB, 81 % of the memory in weights."""
    memory = [80.0] * (models // 10)
    sizes = _filled(random.uniform(0.4, 1.6, models), memory, 0.81)
    return memory, sizes, random.uniform(1, 10, models), random.uniform(5, 10, models)


def _three(random: np.random.RandomState, models: int) -> Columns:
    """3 models per GPU of 80 GiB, 73 % of the memory in weights."""
    memory = [80.0] * (models // 3)
    sizes = _filled(random.uniform(0.4, 1.6, models), memory, 0.73)
    return memory, sizes, random.uniform(1, 10, models), random.uniform(5, 10, models)


def _mixed(random: np.random.RandomState, models: int) -> Columns:
    """10 models per GPU of 24 to 270 GiB, lognormal sizes up to 20 GiB, about 80 % in weights."""
    memory = [float(m) for m in islice(cycle(MIXED_GIB), models // 10)]
    sizes = np.minimum(_filled(random.lognormal(0.0, 0.8, models), memory, 0.8), 20.0)
    return memory, sizes, random.uniform(1, 10, models), random.uniform(5, 10, models)


def _hot(random: np.random.RandomState, models: int) -> Columns:
    """10 models per GPU of 80 GiB, 70 % in weights, demand by Zipf's law in random order."""
    memory = [80.0] * (models // 10)
    sizes = _filled(random.uniform(0.4, 1.6, models), memory, 0.7)
    rates = models / np.arange(1, models + 1) ** ZIPF
    random.shuffle(rates)
    return memory, sizes, rates, random.uniform(5, 10, models)


SHAPES: dict[str, Callable[[np.random.RandomState, int], Columns]] = {
    "scale-10": _ten,
    "scale-mixed": _mixed,
    "scale-3": _three,
    "scale-hot": _hot,
}


def scale_problem(shape: str, models: int, seed: int) -> Problem:
    """Return the fleet of a shape, a number of models and a seed; no overhead."""
    memory, sizes, rates, slos = SHAPES[shape](np.random.RandomState(seed), models)
    gpus = tuple(GPU(f"gpu/{g}", f"{m:g}GiB", round(m * GIB)) for g, m in enumerate(memory))
    nothing = array("q", bytes(8 * models))
    table = ModelTable(
        names=[f"m{j}" for j in range(models)],
        weights_bytes=array("q", np.round(sizes * GIB).astype(np.int64).tobytes()),
        overhead_bytes=nothing,
        min_kv_bytes=nothing,
        requests_per_second=array("d", rates.astype(np.float64).tobytes()),
        latency_seconds=array("d", slos.astype(np.float64).tobytes()),
        prompt_tokens=array("d"),
        output_tokens=array("d"),
        ttft_seconds=array("d"),
        tpot_seconds=array("d"),
        kv_bytes_per_token=array("q"),
    )
    return Problem(table, Fleet((Node("gpu", gpus),)), Objective.REQUESTS)
