"""Random transitions between two valid placements of small fleets, many of them tight."""

from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model, Replicas
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.core.rules.apart import Apart
from kvplace.core.rules.forbid import Forbid
from kvplace.core.rules.limit import Limit
from kvplace.core.rules.places import Places
from kvplace.core.rules.spread import Spread
from kvplace.core.rules.together import Together


def small_fleet(random, gpus=4, memory=(6, 24)):
    count = random.randint(1, gpus)
    per = random.choice([1, 2, 4])
    sizes = [random.randint(*memory) for _ in range(count)]
    if random.random() < 0.6:
        sizes = sizes[:1] * count
    nodes = []
    for first in range(0, count, per):
        name = f"n{len(nodes)}"
        mine = sizes[first : first + per]
        devices = tuple(GPU(f"{name}/{at}", "X", size) for at, size in enumerate(mine))
        nodes.append(Node(name, devices, {"zone": f"z{len(nodes) % 2}"}))
    return Fleet(tuple(nodes))


def model(name, size, random, copies=(1, 1), degrees=(1,), keep=0, overhead=0):
    return Model(
        name,
        size,
        Demand(float(random.randint(0, 5))),
        SLO(latency_seconds=1.0),
        overhead_bytes=overhead,
        min_kv_bytes=keep,
        tensor_parallel=degrees,
        replicas=Replicas(*copies),
    )


def some_rules(random, names):
    found = []
    for _ in range(random.choice([0, 0, 0, 1, 2])):
        some = tuple(random.sample(names, min(len(names), random.randint(1, 3))))
        over = random.choice(["gpu", "node", "zone"])
        kind = random.choice([Apart, Limit, Spread, Together, Forbid])
        if kind is Limit:
            found.append(Limit(some, None, over, random.randint(1, 3)))
        elif kind is Spread:
            found.append(Spread(some, None, over, random.randint(1, 2)))
        elif kind is Forbid:
            found.append(Forbid(some, None, Places(gpus=("n0/0",))))
        else:
            found.append(kind(some, None, over))
    return tuple(found)


def random_placement(problem, random):
    """Any placement: copies and degrees allowed, shards of a copy on one node."""
    replicas = []
    for m in problem.models:
        for number in range(random.randint(m.replicas.min, m.replicas.max)):
            degree = random.choice(m.tensor_parallel)
            nodes = [n for n in problem.fleet.nodes if len(n.gpus) >= degree]
            if not nodes:
                return None
            gpus = random.sample([g.id for g in random.choice(nodes).gpus], degree)
            replicas.append(Replica(m.name, number, tuple(gpus)))
    return Placement(tuple(replicas))


def may_fit(problem, replicas):
    """Whether no GPU is over its memory and none holds a model twice: far less than validity."""
    room = {gpu.id: gpu.usable_bytes for gpu in problem.fleet.gpus}
    seen = set()
    for replica in replicas:
        about = problem.models[problem.index_of[replica.model]]
        degree = len(replica.gpus)
        size = about.resident_bytes(degree) + about.least_kv_bytes(degree)
        for gpu in replica.gpus:
            room[gpu] -= size
            if room[gpu] < 0 or (replica.model, gpu) in seen:
                return False
            seen.add((replica.model, gpu))
    return True


def valid_placement(problem, random, evaluate, tries=60):
    for _ in range(tries):
        placement = random_placement(problem, random)
        if placement is None or not may_fit(problem, placement):
            continue
        if evaluate(problem, placement).valid:
            return placement
    return None


def filled(random, fleet):
    """Models that fill the GPUs of a fleet nearly or wholly, so that few orders are safe."""
    models, before = [], {}
    for gpu in fleet.gpus:
        left = gpu.usable_bytes - random.choice([1, 1, 2, 3, random.randint(1, 8)])
        while left > 0 and len(models) < 7:
            size = min(left, random.randint(1, max(1, gpu.usable_bytes * 2 // 3)))
            name = f"m{len(models)}"
            extra = random.choice([0, 0, 1]) if size > 1 else 0
            keep = random.choice([0, 0, 0, 1])
            models.append(model(name, size - extra, random, keep=keep, overhead=extra))
            before[name] = gpu.id
            left -= size
    return models, before


def tight_transition(random, evaluate, gpus=4):
    """A full fleet whose models change places: each GPU's contents are drawn anew."""
    fleet = small_fleet(random, gpus)
    models, before = filled(random, fleet)
    if not models:
        return None
    problem = Problem(tuple(models), fleet, Objective.REQUESTS, some_rules_or_none(random, models))
    first = Placement.single(before)
    if not evaluate(problem, first).valid:
        return None
    for _ in range(40):
        after = dict(before)
        for name in random.sample(sorted(after), random.randint(1, len(after))):
            after[name] = random.choice(fleet.gpus).id
        if random.random() < 0.5:
            ids = [g.id for g in fleet.gpus]
            shift = dict(zip(ids, ids[1:] + ids[:1], strict=True))
            chosen = random.sample(sorted(before), random.randint(1, len(before)))
            after = {n: shift[g] if n in chosen else g for n, g in before.items()}
        second = Placement.single(after)
        if after != before and evaluate(problem, second).valid:
            return problem, first, second, {}
    return None


def some_rules_or_none(random, models):
    return some_rules(random, [m.name for m in models]) if random.random() < 0.4 else ()


def split_transition(random, evaluate, gpus=6):
    """Copies, degrees, rules, models that come and go."""
    fleet = small_fleet(random, gpus)
    names = [f"m{at}" for at in range(random.randint(1, 5))]
    models = []
    for name in names:
        least = random.randint(1, 2)
        models.append(
            model(
                name,
                random.randint(1, 9),
                random,
                (least, least + random.randint(0, 2)),
                random.choice([(1,), (1,), (1, 2), (2,)]),
                random.choice([0, 0, 1]),
                random.choice([0, 0, 1]),
            )
        )
    whole = Problem(tuple(models), fleet, Objective.REQUESTS, some_rules_or_none(random, models))
    before = valid_placement(whole, random, evaluate)
    if before is None:
        return None
    gone = set(random.sample(names, 1)) if len(names) > 1 and random.random() < 0.3 else set()
    named = {n for r in whole.rules for n in r.models}
    gone -= named
    problem = Problem(
        tuple(m for m in models if m.name not in gone), fleet, Objective.REQUESTS, whole.rules
    )
    after = valid_placement(problem, random, evaluate)
    if after is None:
        return None
    former = {m.name: m for m in models if m.name in gone}
    new = set(random.sample(names, 1)) if random.random() < 0.2 else set()
    before = Placement(tuple(r for r in before if r.model not in new - gone))
    return problem, before, after, former
