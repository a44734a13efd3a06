"""Hypothesis strategies for small fleets, models, problems and placements."""

from hypothesis import strategies as st

from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.model import SLO, Demand, Model
from kvplace.core.objective import Objective
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem

GIB = 2**30

NAMES = st.one_of(
    st.from_regex(r"[a-z]{1,6}(/[a-z0-9.-]{1,6})?", fullmatch=True),
    st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=12),
    st.sampled_from(
        [
            "no",
            "null",
            "true",
            "1",
            "1e3",
            "a: b",
            "- x",
            "two words",
            "#x",
            "'",
            '"',
            "{",
            "~",
            "ü",
        ]
    ),
)
"""Names as files may hold them, the treacherous ones included."""


def amounts(least: int = 0, most: int = 200 * GIB):
    """Bytes: whole GiB, whole MiB and any number."""
    return st.one_of(
        st.integers(-(-least // GIB), most // GIB).map(lambda n: n * GIB),
        st.integers(-(-least // 2**20), most // 2**20).map(lambda n: n * 2**20),
        st.integers(least, most),
    )


def floats(least: float, most: float):
    """Finite floats, zero included where it is allowed."""
    return st.floats(least, most, allow_nan=False, allow_subnormal=False)


@st.composite
def nodes(draw, name: str):
    """A node of one to four GPUs, of one kind or mixed."""
    memory = st.tuples(amounts(1), amounts(0, 4 * GIB)).map(lambda p: (p[0], min(p[1], p[0] - 1)))
    kinds = st.tuples(NAMES, memory)
    alike = draw(st.booleans())
    count = draw(st.integers(1, 4))
    chosen = [draw(kinds)] * count if alike else draw(st.lists(kinds, min_size=1, max_size=4))
    gpus = tuple(
        GPU(f"{name}/{index}", kind, memory, reserve)
        for index, (kind, (memory, reserve)) in enumerate(chosen)
    )
    return Node(name, gpus, draw(st.dictionaries(NAMES, st.one_of(st.just(""), NAMES), max_size=2)))


@st.composite
def fleets(draw):
    """One to three nodes of mixed memory."""
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    return Fleet(tuple(draw(nodes(name)) for name in names))


@st.composite
def models(draw, name: str, whole: bool = True):
    """A model with every field, or (not `whole`) with just a rate and a latency."""
    demand = Demand(draw(st.one_of(st.just(0.0), floats(0.001, 1000))))
    slo = SLO(latency_seconds=draw(floats(0.01, 100)))
    kv_bytes = None
    if whole:
        tokens = floats(0, 100_000)
        demand = Demand(demand.requests_per_second, draw(tokens), draw(tokens))
        latency = draw(st.one_of(st.none(), st.just(slo.latency_seconds)))
        slo = SLO(draw(floats(0.001, 60)), draw(floats(0.001, 1)), latency)
        kv_bytes = draw(st.integers(0, 2**21))
    return Model(
        name=name,
        weights_bytes=draw(amounts(0, 80 * GIB)),
        demand=demand,
        slo=slo,
        kv_bytes_per_token=kv_bytes,
        kv_bytes_per_sequence=draw(st.one_of(st.just(0), amounts(0, GIB))),
        overhead_bytes=draw(amounts(0, 4 * GIB)),
        min_kv_bytes=draw(st.one_of(st.just(0), amounts(0, 4 * GIB))),
    )


@st.composite
def problems(draw, largest: int = 6):
    """One to `largest` models on a small fleet, under any objective that they allow."""
    names = draw(st.lists(NAMES, min_size=1, max_size=largest, unique=True))
    whole = draw(st.booleans())
    objective = draw(st.sampled_from([None, *Objective])) if whole else None
    return Problem(tuple(draw(models(name, whole)) for name in names), draw(fleets()), objective)


@st.composite
def placements(draw, problem: Problem):
    """Any GPU for each model, whether it fits or not."""
    ids = st.sampled_from([gpu.id for gpu in problem.fleet.gpus])
    return Placement(tuple(Replica(model.name, 0, (draw(ids),)) for model in problem.models))
