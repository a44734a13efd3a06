"""Executes schedules step by step, knowing only memory and rules; nothing of how they are made."""

from collections import Counter
from itertools import permutations

from kvplace.core.placement import Replica
from kvplace.core.rules.apart import Apart
from kvplace.core.rules.limit import Limit
from kvplace.core.rules.place_rule import PlaceRule
from kvplace.replan.schedule.steps import StepKind


class UnsafeError(AssertionError):
    """Something is wrong at an instant."""


class Walk:
    """A fleet on which steps begin and end."""

    def __init__(self, problem, models, before, pausing=(), loads_per_node=10**6):
        self.problem, self.models = problem, models
        self.loads_per_node = loads_per_node
        self.resident = [r for r in before if all(problem.fleet.gpu(g) for g in r.gpus)]
        self.serving = list(self.resident)
        self.loading = []
        self.asleep = []
        self.pausing = {(p.model, p.index) for p in pausing if p.others == 0}
        self.at_start = self._broken()
        self.over_at_start = self._over()

    def begin(self, step):
        if step.kind in (StepKind.LOAD, StepKind.WAKE):
            self.resident += step.replicas
            self.loading += step.replicas if step.kind is StepKind.LOAD else ()
        if step.kind is StepKind.WAKE:
            self.asleep.remove(step.replicas[0])
        if step.kind is StepKind.DRAIN:
            for replica in step.replicas:
                if replica in self.serving:
                    self.serving.remove(replica)
        self.look()

    def end(self, step):
        if step.kind is StepKind.LOAD:
            for replica in step.replicas:
                self.loading.remove(replica)
        if step.kind is StepKind.SWITCH:
            assert all(r in self.resident and r not in self.loading for r in step.replicas)
            self.serving += step.replicas
            for replica in step.replaced:
                self.serving.remove(replica)
        if step.kind in (StepKind.UNLOAD, StepKind.SLEEP):
            for replica in step.replicas:
                assert replica not in self.serving
                (self.asleep if replica in self.asleep else self.resident).remove(replica)
            if step.kind is StepKind.SLEEP:
                self.asleep += step.replicas
        self.look()

    def back(self, step):
        """Take a whole step back."""
        slept = {r for s in self.steps if s.kind is StepKind.SLEEP for r in s.replicas}
        if step.kind is StepKind.UNLOAD:
            # What slept is stopped; it is started again where it would have been woken.
            at_last = slept.intersection(step.replicas)
            (self.asleep if at_last else self.resident).extend(step.replicas)
        if step.kind is StepKind.SLEEP:
            self.asleep.remove(step.replicas[0])
            self.resident += step.replicas
        if step.kind is StepKind.WAKE:
            self.resident.remove(step.replicas[0])
            self.asleep += step.replicas
        if step.kind is StepKind.DRAIN:
            gone = {r for r in step.replicas if r not in self.replaced}
            self.serving += gone
        if step.kind is StepKind.SWITCH:
            self.serving += step.replaced
            for replica in step.replicas:
                self.serving.remove(replica)
        if step.kind is StepKind.LOAD:
            for replica in step.replicas:
                self.resident.remove(replica)
        self.look()

    replaced = frozenset()
    steps = ()

    def look(self):
        over = self._over()
        for gpu, amount in over.items():
            if amount > self.over_at_start.get(gpu, 0):
                raise UnsafeError(f"{gpu} is over its memory by {amount}")
        for model in {r.model for r in self.resident}:
            gpus = [g for r in self.resident if r.model == model for g in r.gpus]
            if len(gpus) != len(set(gpus)):
                raise UnsafeError(f"{model} shares a GPU with itself")
        for what, amount in self._broken().items():
            if amount > self.at_start.get(what, 0):
                raise UnsafeError(f"{what} is broken by {amount}")
        served = {r.model for r in self.serving}
        wanted = {m.name for m in self.problem.models} & self.wanted
        down = wanted - served - {model for model, _ in self.pausing}
        if down:
            raise UnsafeError(f"{down} is served by nobody")
        nodes = Counter(self.problem.fleet.node_of(r.gpus[0]).name for r in self.loading)
        if nodes and max(nodes.values()) > self.loads_per_node:
            raise UnsafeError("too many loads on a node")

    wanted = frozenset()

    def _over(self):
        found = {}
        for gpu in self.problem.fleet.gpus:
            weights = kept = 0
            for replica in self.resident:
                if gpu.id in replica.gpus:
                    model = self.models[replica.model]
                    weights += -(-model.weights_bytes // len(replica.gpus)) + model.overhead_bytes
                    kept += model.min_kv_bytes
            asleep = [r for r in self.asleep if gpu.id in r.gpus]
            weights += sum(self.models[r.model].overhead_bytes for r in asleep)
            usable = gpu.memory_bytes - gpu.reserve_bytes
            over = max(weights + kept - usable, weights - usable + 1)
            if weights and over > 0:
                found[gpu.id] = over
        return found

    def _broken(self):
        found = {}
        known = {m.name for m in self.problem.models}
        for at, rule in enumerate(self.problem.rules):
            if rule.soft is None:
                standing = isinstance(rule, PlaceRule | Apart | Limit)
                copies = {}
                for r in self.resident if standing else self.serving:
                    if r.model in known:
                        copies.setdefault(r.model, []).append(r)
                found[at] = sum(b.amount for b in rule.breaches(self.problem, copies))
        for name, scope in self.problem.resource_scopes.items():
            taken = Counter()
            for r in self.resident:
                for gpu in r.gpus:
                    amount = self.models[r.model].resources.get(name, 0)
                    taken[self.problem.fleet.domain(gpu, scope)] += amount
            holders = self.problem.fleet.nodes if scope == "node" else self.problem.fleet.gpus
            for holder in holders:
                key = holder.name if scope == "node" else holder.id
                most = holder.resources.get(name, 0)
                found[name, key] = max(0, taken[key] - most * (1 + 1e-9))
        return found


def walk(problem, models, before, schedule, random, loads_per_node=10**6):
    """Do the steps in a random order that the schedule allows, in random times; then undo some.

    Returns the placement at the end. Steps run side by side as far as each waits for no other.
    """
    fleet = Walk(problem, models, before, schedule.pauses, loads_per_node)
    fleet.wanted = frozenset(r.model for r in fleet.serving)
    fleet.steps = schedule.steps
    fleet.replaced = frozenset(r for s in schedule.steps for r in s.replaced)
    fleet.look()
    turn_back = random.choice([None, random.randint(0, len(schedule.steps))])
    done, running, order = set(), [], []
    waiting = list(schedule.steps)
    while waiting or running:
        ready = [s for s in waiting if done.issuperset(s.after)]
        if turn_back is not None and len(order) >= turn_back and not running:
            break
        may_begin = ready and (turn_back is None or len(order) + len(running) < turn_back)
        if may_begin and (not running or random.random() < 0.6):
            step = random.choice(ready)
            waiting.remove(step)
            running.append(step)
            fleet.begin(step)
        else:
            step = running.pop(random.randrange(len(running)))
            fleet.end(step)
            done.add(step.number)
            order.append(step)
    if turn_back is not None:
        for step in reversed(order):
            fleet.back(step)
        assert sorted(fleet.resident) == sorted(fleet.serving)
        return sorted(fleet.serving), True
    return sorted(fleet.serving), False


def back_and_forth(problem, models, before, schedule, loads_per_node=10**6):
    """Do all steps in the order of their numbers, then take all back: every prefix on the way."""
    fleet = Walk(problem, models, before, schedule.pauses, loads_per_node)
    fleet.wanted = frozenset(r.model for r in fleet.serving)
    fleet.steps = schedule.steps
    fleet.replaced = frozenset(r for s in schedule.steps for r in s.replaced)
    states = [(sorted(fleet.resident), sorted(fleet.serving))]
    for step in schedule.steps:
        fleet.begin(step)
        fleet.end(step)
        states.append((sorted(fleet.resident), sorted(fleet.serving)))
    for step, (resident, _) in zip(reversed(schedule.steps), reversed(states[:-1]), strict=True):
        fleet.back(step)
        assert sorted(fleet.resident) == resident
    assert sorted(fleet.serving) == states[0][1]


def reachable(problem, models, before, after, most=4000):
    """Whether any sequence of relocations, one or two replicas at a time, leads to a placement.

    Every replica may go anywhere that its model may run, as often as it likes, both places charged
    while it does. None where there are too many states.
    """
    start = {(r.model, r.index): r.gpus for r in before}
    goal = {(r.model, r.index): r.gpus for r in after}
    keys = sorted(start.keys() | goal.keys())
    places = {}
    for key in keys:
        degree = len(goal.get(key) or start[key])
        ids = [g.id for g in problem.fleet.gpus]
        some = [c for c in permutations(ids, degree) if list(c) == sorted(c)]
        some += [goal[key]] if key in goal else []
        some += [start[key]] if key in start else []
        nodes = problem.fleet.node_of
        places[key] = [c for c in dict.fromkeys(some) if len({nodes(g).name for g in c}) == 1]
    first = tuple(start.get(key, ()) for key in keys)
    last = tuple(goal.get(key, ()) for key in keys)
    wanted = frozenset(model for model, _ in start)
    fleet = Walk(problem, models, before)
    fleet.wanted = wanted
    usable = {g.id: g.memory_bytes - g.reserve_bytes for g in problem.fleet.gpus}
    sizes = {
        (name, d): (-(-m.weights_bytes // d) + m.overhead_bytes, m.min_kv_bytes)
        for name, m in models.items()
        for d in {len(p) for p in (*start.values(), *goal.values())} - {0}
    }

    def charged(resident):
        held = Counter()
        for replica in resident:
            weights, kept = sizes[replica.model, len(replica.gpus)]
            for gpu in replica.gpus:
                held[gpu, 0] += weights
                held[gpu, 1] += kept
        return held

    def fits(held, come):
        """Whether memory holds for what comes beside what is there, looking at nothing else."""
        more = charged(come)
        for gpu in {gpu for replica in come for gpu in replica.gpus}:
            weights, kept = held[gpu, 0] + more[gpu, 0], held[gpu, 1] + more[gpu, 1]
            over = max(weights + kept - usable[gpu], weights - usable[gpu] + 1)
            if over > max(0, fleet.over_at_start.get(gpu, 0)):
                return False
        return True

    def safe(resident, serving):
        fleet.resident, fleet.serving = resident, serving
        try:
            fleet.look()
        except UnsafeError:
            return False
        return True

    seen, queue = {first}, [first]
    while queue:
        state = queue.pop()
        if state == last:
            return True
        if len(seen) > most:
            return None
        here = [Replica(*k, p) for k, p in zip(keys, state, strict=True) if p]
        held = charged(here)
        steps = []
        for at, key in enumerate(keys):
            back = places[key] if state[at] else [goal.get(key, ())]
            options = back if key in goal else [()]
            steps += [((at, place),) for place in options if place != state[at]]
        steps += [(a, b) for (a,) in steps for (b,) in steps if a[0] < b[0]]
        for moves in steps:
            following = list(state)
            come = []
            for at, place in moves:
                following[at] = place
                if place:
                    come.append(Replica(*keys[at], place))
            following = tuple(following)
            if following in seen or not fits(held, come):
                continue
            there = [Replica(*k, p) for k, p in zip(keys, following, strict=True) if p]
            if safe([*here, *come], here) and safe([*here, *come], there):
                seen.add(following)
                queue.append(following)
    return False
