"""Tiny fleets with tensor parallel, copies, rules and capacities, drawn fast from a seed."""

from dataclasses import replace

from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Attention, Model, Replicas, Split
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.core.rules.apart import Apart
from kvplace.core.rules.forbid import Forbid
from kvplace.core.rules.limit import Limit
from kvplace.core.rules.pin import Pin
from kvplace.core.rules.places import EVERYWHERE, Places
from kvplace.core.rules.reserve import Reserve
from kvplace.core.rules.spread import Spread
from kvplace.core.rules.together import Together
from oracle_splits import ways
from timings import PowerTiming

GIB = 2**30
OBJECTIVES = (Objective.REQUESTS, Objective.TOKENS)
"""Objectives that are drawn where none are asked for."""
MOST_PLACEMENTS = 1_000_000
"""Models are taken away from a draw of more, so that brute force has an end."""


def random_split_problem(random, models=5, objectives=OBJECTIVES):
    """Draw a problem of two nodes, at most five models, and any rules."""
    fleet = _fleet(random)
    objective = random.choice(objectives)
    total = sum(gpu.usable_bytes for gpu in fleet.gpus)
    count = random.randint(1, models)
    fill = random.choice([0.1, 0.25, 0.4, 0.55, 0.7])
    drawn = [_model(random, f"m{j}", fleet, fill * total / count) for j in range(count)]
    rules = tuple(
        _rule(random, [m.name for m in drawn], fleet) for _ in range(random.choice([0, 0, 1, 2, 3]))
    )
    timing = None
    if objective is Objective.PRESSURE:
        drawn, timing = _pressing(random, drawn, fleet)
    problem = Problem(tuple(drawn), fleet, objective, timing=timing)
    product = 1
    for index in range(count):
        product *= max(1, len(ways(problem, index)))
        if product > MOST_PLACEMENTS:
            drawn = drawn[: max(1, index)]
            break
    names = {model.name for model in drawn}
    rules = tuple(rule for rule in rules if rule.models == ("*",) or set(rule.models) <= names)
    return Problem(tuple(drawn), fleet, objective, rules, timing=timing)


def _pressing(random, drawn, fleet):
    """Give models demand in up to three windows, and a law of their shares of time."""
    names = ("night", "noon", "peak")[: random.randint(1, 3)]
    grain = GIB if min(gpu.memory_bytes for gpu in fleet.gpus) >= GIB else 1
    part = random.choice([0.02, 0.1, 0.3])
    found, works = [], {}
    for model in drawn:
        works[model.name] = random.choice([0.0, part, random.uniform(0, 3 * part)])
        rate = model.demand.requests_per_second
        rates = [rate * random.choice([0.0, 0.5, 1.0, 1.0, 3.0]) for _ in names]
        one = len(names) == 1 or random.random() < 0.2
        windows = {} if one else {n: Demand(r, 1.0, 0.0) for n, r in zip(names, rates, strict=True)}
        slo = SLO(1.0, 1.0, model.slo.latency_seconds)
        found.append(replace(model, kv_bytes_per_token=grain, slo=slo, windows=windows))
    speeds = {gpu.type: random.choice([1.0, 1.0, 0.5, 3.0]) for gpu in fleet.gpus}
    return found, PowerTiming(works, speeds, random.choice([1.0, 0.75]))


def _fleet(random):
    """Two nodes of two or three GPUs, mixed; zones, link domains and capacities now and then."""
    grain = random.choice([1, 1, GIB])
    kinds = [("t0", random.randint(8, 30) * grain), ("t1", random.randint(8, 40) * grain)]
    mixed, linked = random.random() < 0.4, random.random() < 0.15
    zones = random.choice([("a", "b"), ("a", "b"), ("a", "a"), ("a", None)])
    scope = random.choice(["gpu", "node", None, None, None])
    found = []
    for number in range(2):
        kind = kinds[number if random.random() < 0.3 else 0]
        gpus = []
        for at in range(random.choice([2, 2, 3])):
            type_, memory = random.choice(kinds) if mixed else kind
            reserve = random.choice([0, 0, 0, memory // 8])
            extra = {"compute": random.choice([1.0, 1.5])} if scope == "gpu" else {}
            link = str(at // 2) if linked else ""
            gpus.append(GPU(f"n{number}/{at}", type_, memory, reserve, link, extra))
        labels = {} if zones[number] is None else {"zone": zones[number]}
        host = {"host": float(random.randint(1, 4))} if scope == "node" else {}
        found.append(Node(f"n{number}", tuple(gpus), labels, host))
    return Fleet(tuple(found))


def _model(random, name, fleet, mean):
    """A model of one or two shards and one or two copies, or with these to choose."""
    degrees = random.choice([(1,), (1,), (1,), (2,), (1, 2)])
    copies = random.choice([(1, 1), (1, 1), (1, 1), (1, 2), (1, 2), (2, 2)])
    size = int(random.uniform(0.3, 1.7) * mean / copies[0])
    overhead = min(size, random.choice([0, 0, 1, size // 8]))
    mla = random.random() < 0.1
    types = sorted({gpu.type for gpu in fleet.gpus})
    scoped = {n for node in fleet.nodes for n in node.resources} | {
        n for gpu in fleet.gpus for n in gpu.resources
    }
    rate = random.choice([0.0, float(random.randint(1, 9)), random.paretovariate(1.1)])
    return Model(
        name,
        size - overhead,
        Demand(rate, 1.0, 0.0),
        SLO(tpot_seconds=1.0, latency_seconds=random.choice([1.0, 1.0, 7.0])),
        kv_bytes_per_token=1,
        overhead_bytes=overhead,
        min_kv_bytes=random.choice([0, 0, 0, 1, size // 8]),
        tensor_parallel=degrees,
        replicas=Replicas(*copies, random.choice([Split.EVEN, Split.EVEN, Split.CAPACITY])),
        attention=Attention.MLA if mla else Attention.GROUPED,
        kv_heads=None if mla else random.choice([None, 1, 3, 8]),
        gpu_types=(random.choice(types),) if random.random() < 0.1 else (),
        resources={n: random.choice([0.1, 0.5, 1.0]) for n in scoped if random.random() < 0.7},
    )


def _rule(random, names, fleet):
    """A rule of any kind, hard or soft."""
    kind = random.choice([Pin, Forbid, Reserve, Together, Apart, Spread, Limit, Limit])
    models = random.choice([("*",), tuple(random.sample(names, random.randint(1, len(names))))])
    soft = random.choice([None, 1, 2])
    over = random.choice(["gpu", "node", "link", *_labels(fleet)])
    if kind is Reserve:
        return Reserve(places=Places(gpus=(random.choice(fleet.gpus).id,)))
    if kind in {Pin, Forbid}:
        models = models if kind is Forbid or random.random() < 0.3 else (random.choice(names),)
        return kind(models, soft, _places(random, fleet))
    if kind is Spread:
        return Spread(models, soft, over, random.choice([1, 1, 2]))
    if kind is Limit:
        places = random.choice([EVERYWHERE, EVERYWHERE, _places(random, fleet)])
        return replace(Limit(models, soft, over), most=random.randint(0, 3), places=places)
    return kind(models, soft, over)


def _labels(fleet):
    """Labels that some node has."""
    return sorted({key for node in fleet.nodes for key in node.labels})


def _places(random, fleet):
    """Some GPUs, a node, or a zone."""
    zones = [("zone", node.labels["zone"]) for node in fleet.nodes if "zone" in node.labels]
    return random.choice(
        [
            Places(nodes=(random.choice(fleet.nodes).name,)),
            Places(gpus=tuple(gpu.id for gpu in random.sample(fleet.gpus, random.randint(1, 3)))),
            Places(labels=(random.choice(zones),)) if zones else Places(nodes=("n0",)),
        ]
    )


def random_where(random, problem, instance):
    """Return random GPUs for the copies of each model of an instance; None where one has no way."""
    gpu_at = {problem.fleet.gpus[g].id: at for at, g in enumerate(instance.gpu_index)}
    where = []
    for index in instance.model_index:
        options = problem.options(index)
        found = [way for way in ways(problem, index) if (len(way[0]), len(way)) in options]
        if not found:
            return None
        way = random.choice(found)
        where.append(tuple(tuple(gpu_at[gpu] for gpu in copy) for copy in way))
    return where
