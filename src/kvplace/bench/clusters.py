"""A provider's cluster as an instance: tensor parallel, copies to choose, zones, pins."""

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model, Replicas
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.core.rules.pin import Pin
from kvplace.core.rules.places import Places
from kvplace.core.rules.rule import Rule
from kvplace.core.rules.spread import Spread
from kvplace.units import GIB

MEMORY_GIB = 80
NODE_GPUS = 8
ZONES = ("a", "b", "c")
OVERHEAD_GIB = 1.0
FILL = 0.78
"""Share of the memory that one copy of each model takes, overhead included."""
SPLIT_SHARE = 0.1
DEGREES = (2, 4, 8)
DEGREE_ODDS = (0.6, 0.3, 0.1)
COPIED_SHARE = 0.2
MOST_COPIES = 4
SHARD_SIGMA = 0.6
SHARD_LIMITS = (0.2, 1.7)
"""Sizes of shards to their mean: lognormal, and cut there so that one always fits a GPU."""
LOAD_SIGMA = 1.2
LOAD_LIMIT = 9.0
"""Loads to their mean are cut there: no model needs more than the copies it may have."""


def cluster(models: int, gpus: int, pinned: int, seed: int) -> Problem:
    """Return a cluster of nodes of 8 GPUs of 80 GiB in three zones, objective ``requests``.

    A tenth of the models are split over 2, 4 or 8 GPUs. Loads are lognormal, and the fifth with
    the most may have 1 to 4 copies, which spread over the zones: the hottest of them need it.

    Parameters
    ----------
    models, gpus
        How many; `gpus` is a multiple of 8.
    pinned
        How many models, drawn from those of one copy, are bound to a zone.
    seed
        Of all that is drawn.
    """
    random = np.random.RandomState(seed)
    degrees = np.ones(models, dtype=int)
    split = random.permutation(models)[: round(SPLIT_SHARE * models)]
    degrees[split] = random.choice(DEGREES, len(split), p=DEGREE_ODDS)
    weights = _shards(random, degrees, gpus) * degrees
    loads = random.lognormal(0.0, LOAD_SIGMA, models)
    loads = np.minimum(loads, LOAD_LIMIT * loads.mean()) * degrees
    slos = random.uniform(2.0, 10.0, models)
    copied = np.zeros(models, dtype=bool)
    copied[np.argsort(-loads / degrees)[: round(COPIED_SHARE * models)]] = True
    single = [f"m{j}" for j in np.flatnonzero(~copied)]
    drawn = tuple(
        Model(
            name=f"hot-{j}" if hot else f"m{j}",
            weights_bytes=round(size * GIB),
            demand=Demand(rate),
            slo=SLO(latency_seconds=slo),
            overhead_bytes=round(OVERHEAD_GIB * GIB),
            tensor_parallel=(degree,),
            replicas=Replicas(1, MOST_COPIES if hot else 1),
        )
        for j, (size, rate, slo, degree, hot) in enumerate(
            zip(*(a.tolist() for a in (weights, loads * slos, slos, degrees, copied)), strict=True)
        )
    )
    chosen = [single[at] for at in random.permutation(len(single))[:pinned]]
    rules: list[Rule] = [Spread(("hot-*",), over="zone")]
    cuts = np.linspace(0, len(chosen), len(ZONES) + 1).astype(int).tolist()
    rules += [
        Pin(tuple(chosen[begin:end]), places=Places(labels=(("zone", zone),)))
        for zone, (begin, end) in zip(ZONES, pairwise(cuts), strict=True)
        if begin < end
    ]
    return Problem(drawn, _fleet(gpus), Objective.REQUESTS, tuple(rules))


def _shards(
    random: np.random.RandomState, degrees: NDArray[np.int_], gpus: int
) -> NDArray[np.float64]:
    """Draw GiB of weights per shard so that all models once fill what they are to fill."""
    shards = random.lognormal(0.0, SHARD_SIGMA, len(degrees))
    shards = np.clip(shards, *SHARD_LIMITS)
    whole = FILL * MEMORY_GIB * gpus - OVERHEAD_GIB * degrees.sum()
    sized: NDArray[np.float64] = shards * (whole / (shards * degrees).sum())
    return sized


def _fleet(gpus: int) -> Fleet:
    """Return nodes of 8, dealt to the zones in turn."""
    memory = MEMORY_GIB * GIB
    return Fleet(
        tuple(
            Node(
                f"n{number}",
                tuple(
                    GPU(f"n{number}/{at}", f"{MEMORY_GIB}GiB", memory) for at in range(NODE_GPUS)
                ),
                {"zone": ZONES[number % len(ZONES)]},
            )
            for number in range(math.ceil(gpus / NODE_GPUS))
        )
    )
