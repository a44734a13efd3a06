"""Tiny fleets with every nasty feature at once: drawn fast from a seed, or by Hypothesis."""

from hypothesis import strategies as st

from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from strategies import KVPR_OBJECTIVES

GIB = 2**30
GRAINS = (
    *((1, 10), (1, 30), (1, 1000), (2**20, 2000)),
    *((GIB, 80), (GIB, 192), (1, 80 * GIB), (1, 2**50)),
)
"""Bytes that amounts are multiples of, and the most of them that a GPU has."""


def fleet(memories, reserves=None, nodes=1):
    """A fleet of those usable bytes; GPU ids are g0, g1, ..."""
    reserves = reserves or [0] * len(memories)
    gpus = [
        GPU(f"g{i}", "t", memory + reserve, reserve)
        for i, (memory, reserve) in enumerate(zip(memories, reserves, strict=True))
    ]
    return Fleet(tuple(Node(f"n{k}", tuple(gpus[k::nodes])) for k in range(min(nodes, len(gpus)))))


def byte_model(name, size, rate=1.0, min_kv=0, latency=1.0):
    """A model of `size` bytes in all; its requests load is rate / latency."""
    return Model(
        name,
        size,
        Demand(float(rate)),
        SLO(latency_seconds=latency),
        overhead_bytes=0,
        min_kv_bytes=min_kv,
    )


def byte_problem(memories, rows):
    """A requests problem from rows of (bytes, rate) or (bytes, rate, min_kv)."""
    models = tuple(byte_model(f"m{j}", *row) for j, row in enumerate(rows))
    return Problem(models, fleet(memories), Objective.REQUESTS)


@st.composite
def byte_problems(draw, gpus=3, models=6, loads=None):
    """A few bytes of memory, so that ties, zero loads and exact fits are the rule."""
    memories = draw(st.lists(st.integers(1, 24), min_size=1, max_size=gpus))
    loads = loads or st.one_of(
        st.integers(0, 4).map(float), st.floats(1e-5, 1e5, allow_subnormal=False)
    )
    row = st.tuples(st.integers(0, 12), loads, st.sampled_from([0, 0, 0, 1, 3]))
    return byte_problem(memories, draw(st.lists(row, min_size=1, max_size=models)))


def random_problem(random, gpus=3, models=6):
    """Draw a small problem of any kind; raises InputError where the numbers overflow."""
    count, many = random.randint(1, gpus), random.randint(1, models)
    grain, most = random.choice(GRAINS)
    alike = random.random() < 0.4
    memories = [grain * random.randint(max(1, most // 4), most) for _ in range(count)]
    memories = memories[:1] * count if alike else memories
    reserves = [random.choice([0, 0, 1, grain]) for _ in memories]
    sizes = _sizes(random, memories, many, grain)
    loads = _rates(random, many)
    keeps = [0] * many
    if random.random() < 0.3:
        keeps = [
            random.choice([0, 0, 1, random.randint(0, max(1, memories[0] // 4))]) for _ in sizes
        ]
    objective = random.choice([*KVPR_OBJECTIVES, None])
    whole = objective is not Objective.REQUESTS
    rows = []
    for j, (size, rate, keep) in enumerate(zip(sizes, loads, keeps, strict=True)):
        overhead = random.choice([0, size, random.randint(0, size)])
        demand, slo, kv_bytes, fixed = Demand(rate), SLO(latency_seconds=_seconds(random)), None, 0
        if whole:
            demand = Demand(rate, random.choice([0.0, 891.0, 1e5]), random.choice([0.0, 92.0, 1e4]))
            slo = SLO(_seconds(random), _seconds(random), random.choice([None, 6.0]))
            kv_bytes = random.choice([0, 1, 131072, 2**21])
            fixed = random.choice([0, 0, 10**6])
        rows.append(Model(f"m{j}", size - overhead, demand, slo, kv_bytes, fixed, overhead, keep))
    random.shuffle(rows)
    return Problem(tuple(rows), fleet(memories, reserves, random.randint(1, 2)), objective)


def _sizes(random, memories, many, grain):
    """Sizes that fill a drawn share of the fleet, with exact fits and misfits among them."""
    total = sum(memories)
    parts = [random.random() ** random.choice([1, 3]) + 1e-3 for _ in range(many)]
    fill = random.choice([0.1, 0.5, 0.7, 0.85, 0.95, 1.0])
    whole = total / sum(parts) * fill
    sizes = [int(part * whole) // grain * grain for part in parts]
    if random.random() < 0.3:  # equal models
        sizes = [sizes[0]] * many
    for j in range(many):
        draw = random.random()
        memory = random.choice(memories)
        if draw < 0.04:
            sizes[j] = memory - 1
        elif draw < 0.06:
            sizes[j] = memory  # fits nowhere unless another GPU is larger
        elif draw < 0.12:
            sizes[j] = memory // 2
        elif draw < 0.15:
            sizes[j] = 0
        elif draw < 0.16:
            sizes[j] = max(memories) + random.randint(0, 5)
    return sizes


def _rates(random, many):
    """Rates: small whole numbers, heavy tails, ten orders of magnitude, zeros, all equal."""
    kind = random.randrange(6)
    if kind == 0:
        return [float(random.randint(1, 10)) for _ in range(many)]
    if kind == 1:
        return [random.paretovariate(1.3) for _ in range(many)]
    if kind == 2:
        return [10 ** random.uniform(-5, 5) for _ in range(many)]
    if kind == 3:
        return [random.choice([0.0, 0.0, 1.0, 7.0]) for _ in range(many)]
    if kind == 4:
        return [random.choice([1e-6, 1.0, 1e6]) for _ in range(many)]
    return [random.choice([1.0, 0.1])] * many


def _seconds(random):
    """A latency objective."""
    return random.choice([1.0, 5.0, 0.021, random.uniform(0.001, 60)])
