"""Hypothesis strategies for small fleets, models, problems and placements."""

from dataclasses import replace
from string import ascii_lowercase, digits

from hypothesis import strategies as st

from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Attention, Model, Replicas, Split
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.core.rules.apart import Apart
from kvplace.core.rules.forbid import Forbid
from kvplace.core.rules.limit import Limit
from kvplace.core.rules.pin import Pin
from kvplace.core.rules.places import EVERYWHERE, Places
from kvplace.core.rules.reserve import Reserve
from kvplace.core.rules.spread import Spread
from kvplace.core.rules.together import Together

GIB = 2**30

KVPR_OBJECTIVES = [o for o in Objective if o is not Objective.PRESSURE]
"""Objectives whose pressure is the KVPR alone."""

# Not from a regular expression, whose making takes three seconds of each process.
_OWNERS = st.text(ascii_lowercase, min_size=1, max_size=6)
_MODELS = st.text(f"{ascii_lowercase}{digits}.-", min_size=1, max_size=6)
NAMES = st.one_of(
    _OWNERS,
    st.builds("{}/{}".format, _OWNERS, _MODELS),
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
    objective = draw(st.sampled_from([None, *KVPR_OBJECTIVES])) if whole else None
    return Problem(tuple(draw(models(name, whole)) for name in names), draw(fleets()), objective)


@st.composite
def placements(draw, problem: Problem):
    """Any GPU for each model, whether it fits or not."""
    ids = st.sampled_from([gpu.id for gpu in problem.fleet.gpus])
    return Placement(tuple(Replica(model.name, 0, (draw(ids),)) for model in problem.models))


@st.composite
def split_fleets(draw):
    """A fleet whose nodes may have link domains and capacities, or whose GPUs have these."""
    fleet = draw(fleets())
    names = draw(st.lists(NAMES, max_size=2, unique=True))
    scopes = {name: draw(st.sampled_from(["gpu", "node"])) for name in names}

    def some(scope):
        held = [name for name in names if scopes[name] == scope and draw(st.booleans())]
        return {name: draw(floats(0, 100)) for name in held}

    found = []
    for node in fleet.nodes:
        size = draw(st.integers(0, len(node.gpus)))
        gpus = (
            replace(gpu, link=str(at // size) if size else "", resources=some("gpu"))
            for at, gpu in enumerate(node.gpus)
        )
        found.append(replace(node, gpus=tuple(gpus), resources=some("node")))
    return Fleet(tuple(found))


@st.composite
def split_models(draw, name: str, whole: bool, fleet: Fleet):
    """A model with degrees, copies, attention, types and what it takes of capacities."""
    known = {name for holder in (*fleet.nodes, *fleet.gpus) for name in holder.resources}
    least = draw(st.integers(1, 3))
    attention = draw(st.sampled_from(Attention))
    heads = st.none() if attention is Attention.MLA else st.sampled_from([None, 1, 2, 8])
    types = sorted({gpu.type for gpu in fleet.gpus})
    drawn = replace(draw(models(name, whole)), attention=attention, kv_heads=draw(heads))
    degrees = st.sampled_from([d for d in range(1, 9) if not drawn.refused(d)])
    return replace(
        drawn,
        tensor_parallel=tuple(sorted(draw(st.sets(degrees, min_size=1, max_size=3)))),
        replicas=Replicas(least, least + draw(st.integers(0, 3)), draw(st.sampled_from(Split))),
        gpu_types=tuple(draw(st.lists(st.sampled_from(types), max_size=2, unique=True))),
        resources={n: draw(floats(0, 10)) for n in sorted(known) if draw(st.booleans())},
    )


@st.composite
def rules(draw, names: list[str], fleet: Fleet):
    """A rule of any kind, hard or soft."""
    kind = draw(st.sampled_from([Pin, Forbid, Reserve, Together, Apart, Spread, Limit]))
    listed = st.lists(st.sampled_from(names), min_size=1, max_size=3).map(tuple)
    concerned = draw(st.one_of(st.just(("*",)), listed))
    soft = draw(st.sampled_from([None, 1, 2]))
    if kind is Reserve:
        return Reserve(places=draw(places(fleet)))
    if kind in {Pin, Forbid}:
        return kind(concerned, soft, draw(places(fleet)))
    labels = sorted({key for node in fleet.nodes for key, value in node.labels.items() if value})
    over = draw(st.sampled_from(["gpu", "node", "link", *labels]))
    if kind is Spread:
        return Spread(concerned, soft, over, draw(st.integers(1, 3)))
    if kind is Limit:
        where = draw(st.one_of(st.just(EVERYWHERE), places(fleet)))
        return Limit(concerned, soft, over, draw(st.integers(0, 5)), where)
    return kind(concerned, soft, over)


@st.composite
def places(draw, fleet: Fleet):
    """Some GPUs, nodes and labels of a fleet, at least one of them."""
    ids, names = [gpu.id for gpu in fleet.gpus], [node.name for node in fleet.nodes]
    labels = draw(st.sampled_from([tuple(node.labels.items()) for node in fleet.nodes]))
    found = Places(
        tuple(draw(st.lists(st.sampled_from(ids), max_size=2, unique=True))),
        tuple(draw(st.lists(st.sampled_from(names), max_size=2, unique=True))),
        draw(st.sampled_from([(), labels])),
    )
    return Places(nodes=(names[0],)) if found == EVERYWHERE else found


@st.composite
def split_problems(draw, largest: int = 5):
    """Models to be split and copied, under rules and within capacities."""
    fleet = draw(split_fleets())
    names = draw(st.lists(NAMES, min_size=1, max_size=largest, unique=True))
    whole = draw(st.booleans())
    objective = draw(st.sampled_from([None, *KVPR_OBJECTIVES])) if whole else None
    drawn = tuple(draw(split_models(name, whole, fleet)) for name in names)
    ruled = draw(st.lists(rules(names, fleet), max_size=3).map(tuple))
    return Problem(drawn, fleet, objective, ruled)


@st.composite
def split_placements(draw, problem: Problem):
    """An allowed number of copies of each model, each of an allowed degree, on any GPUs."""
    ids = st.sampled_from([gpu.id for gpu in problem.fleet.gpus])
    replicas = []
    for model in problem.models:
        for number in range(draw(st.integers(model.replicas.min, model.replicas.max))):
            degree = draw(st.sampled_from(model.tensor_parallel))
            gpus = tuple(draw(ids) for _ in range(degree))
            replicas.append(Replica(model.name, number, gpus))
    return Placement(tuple(replicas))
