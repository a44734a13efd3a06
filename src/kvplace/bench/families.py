"""Benchmark instances by family and seed; the generators are public, so all can be made again."""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np

from kvplace.bench.adrs_like import adrs_like
from kvplace.bench.clusters import cluster
from kvplace.bench.scale import SHAPES, SIZES, scale_problem
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.units import GIB

MEMORY_GIB = 80


@dataclass(frozen=True, slots=True)
class Case:
    """One instance.

    Parameters
    ----------
    name
        Unique in its family.
    problem
        What is to be solved.
    optimum
        The exact optimum where it is known.
    """

    name: str
    problem: Problem
    optimum: float | None = None


def build(
    memory_gib: Sequence[float],
    weights_gib: Sequence[float],
    rates: Sequence[float],
    slos: Sequence[float],
) -> Problem:
    """Return a problem of objective ``requests`` from plain columns; no overhead.

    Parameters
    ----------
    memory_gib
        (g,) usable GiB per GPU.
    weights_gib
        (n,) GiB per model.
    rates
        (n,) requests per second.
    slos
        (n,) latency objectives in seconds.
    """
    gpus = tuple(GPU(f"gpu/{g}", f"{m:g}GiB", round(m * GIB)) for g, m in enumerate(memory_gib))
    models = tuple(
        Model(
            name=f"m{j}",
            weights_bytes=round(weights * GIB),
            demand=Demand(float(rate)),
            slo=SLO(latency_seconds=float(slo)),
            overhead_bytes=0,
        )
        for j, (weights, rate, slo) in enumerate(zip(weights_gib, rates, slos, strict=True))
    )
    return Problem(models, Fleet((Node("gpu", gpus),)), Objective.REQUESTS)


def _adrs_columns(random: np.random.RandomState, n: int) -> tuple[list[int], list[int], list[int]]:
    """Draw sizes, rates and objectives in the ADRS ranges, model by model."""
    rows = [
        (random.randint(10, 30), random.randint(1, 10), random.randint(5, 10)) for _ in range(n)
    ]
    sizes, rates, slos = zip(*rows, strict=True)
    return list(sizes), list(rates), list(slos)


def adrs() -> Iterator[Case]:
    """Yield the 50 public cases of the ADRS "prism" benchmark, with their known optima."""
    text = resources.files("kvplace.bench").joinpath("adrs50.csv").read_text("utf-8")
    random = np.random.RandomState(42)
    for row in csv.DictReader(text.splitlines()):
        gpus = random.randint(5, 10)
        problem = build([MEMORY_GIB] * gpus, *_adrs_columns(random, 2 * gpus))
        yield Case(f"adrs-{row['case']}", problem, float(row["optimal_max_kvpr"]))


STRESS_SHAPES = (
    (10, 4, 0.85, 0), (10, 4, 0.85, 1), (16, 4, 0.85, 1), (16, 5, 0.9, 1), (24, 4, 0.9, 1),
    (32, 4, 0.85, 1), (32, 6, 0.8, 1), (8, 8, 0.93, 1), (12, 3, 0.8, 1), (20, 5, 0.75, 0),
    (48, 4, 0.85, 1), (64, 3, 0.8, 1),
)  # fmt: skip
"""GPUs, models per GPU, share of memory in weights, whether rates are heavy-tailed."""


def stress(seed: int) -> Iterator[Case]:
    """Yield the 12 cases of the stress family, which separates programs that tie on ADRS."""
    random = np.random.RandomState(seed)
    for at, (gpus, per, fill, tail) in enumerate(STRESS_SHAPES):
        n = gpus * per
        sizes = random.uniform(0.4, 1.6, n)
        sizes = np.maximum(1, np.round(sizes * fill * MEMORY_GIB * gpus / sizes.sum()))
        rates = np.round(random.pareto(1.3, n) * 3 + 1) if tail else random.randint(1, 10, n)
        slos = random.randint(2, 10, n)
        problem = build([MEMORY_GIB] * gpus, sizes.tolist(), rates.tolist(), slos.tolist())
        yield Case(f"stress-{seed}-{at}", problem)


def _grid(gpus: int, models: int) -> Callable[[int], Iterator[Case]]:
    """Return a family of ADRS-like cases of one shape, one case per seed."""

    def cases(seed: int) -> Iterator[Case]:
        random = np.random.RandomState(seed)
        problem = build([MEMORY_GIB] * gpus, *_adrs_columns(random, models))
        yield Case(f"{gpus}x{models}-{seed}", problem)

    return cases


def _scale(shape: str, models: int) -> Callable[[int], Iterator[Case]]:
    """Return a family of one shape and size, one case per seed."""

    def cases(seed: int) -> Iterator[Case]:
        yield Case(f"{shape}-{models}-{seed}", scale_problem(shape, models, seed))

    return cases


def _cluster(name: str, models: int, gpus: int, *, pinned: int) -> Callable[[int], Iterator[Case]]:
    """Return a family of clusters with tensor parallel, copies to choose, zones and pins."""

    def cases(seed: int) -> Iterator[Case]:
        yield Case(f"{name}-{seed}", cluster(models, gpus, pinned, seed))

    return cases


def _like_adrs(seed: int) -> Iterator[Case]:
    """Yield one fleet like the ADRS cases with all that shares of GPU time depend on."""
    yield Case(f"adrs-like-{seed}", adrs_like(seed))


FAMILIES: dict[str, Callable[[int], Iterator[Case]]] = {
    "adrs": lambda _: adrs(),
    "adrs-like": _like_adrs,
    "stress": stress,
    "20x40": _grid(20, 40),
    "20x50": _grid(20, 50),
    "20x60": _grid(20, 60),
    "50x100": _grid(50, 100),
    "50x150": _grid(50, 150),
    "100x200": _grid(100, 200),
    **{
        f"{shape}-{size}": _scale(shape, models)
        for shape in SHAPES
        for size, models in SIZES.items()
    },
    "scale-real-3k": _cluster("scale-real-3k", 3_000, 2_000, pinned=30),
    "scale-real-200k": _cluster("scale-real-200k", 200_000, 100_000, pinned=0),
}
"""Generators by name, called with a seed; ``adrs`` has one seed, which is fixed."""


def family(name: str, seeds: Sequence[int]) -> Iterator[Case]:
    """Yield the cases of a family for each seed."""
    for seed in seeds if name != "adrs" else [42]:
        yield from FAMILIES[name](seed)
