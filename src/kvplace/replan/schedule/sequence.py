"""A safe order as steps that wait for one another only where they must."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import replace

from kvplace.core.models.model import Model
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.core.rules.apart import Apart
from kvplace.core.rules.limit import Limit
from kvplace.core.rules.topology_rule import TopologyRule
from kvplace.replan.schedule.changes import Change, changes, renumbered
from kvplace.replan.schedule.live import Footprints, Live
from kvplace.replan.schedule.operation import Found, Operation
from kvplace.replan.schedule.order import find_order
from kvplace.replan.schedule.plain import plain_steps_of, sleepers_of, stops_at_last
from kvplace.replan.schedule.restarts import restarts_of
from kvplace.replan.schedule.steps import Pause, Pricing, Schedule, Step, StepKind
from kvplace.solver.clock import Watch


def sequence(
    problem: Problem,
    before: Placement,
    after: Placement,
    *,
    former: Mapping[str, Model] | None = None,
    pricing: Pricing | None = None,
    may_pause: bool = True,
    watch: Watch | None = None,
) -> Schedule:
    """Find an order of steps from one placement to another that is safe at every instant.

    At no instant is a GPU over its memory, whatever is resident being charged with its weights,
    its overhead and the KV memory it must be left; a hard rule is broken by more than it was at
    the start; two copies of a model share a GPU; a model that is still wanted and served is left
    without a serving copy, unless a `Pause` says so; or more engines of a node load than may.
    That holds for every order in which each step waits for those in its `Step.after`, and, the
    steps taken back in reverse, for the way back from anywhere.

    Parameters
    ----------
    problem
        What is to be served, on which fleet.
    before, after
        What runs and what is to run; of `before`, replicas on GPUs that the fleet does not have
        are taken for dead. `after` is valid for the problem.
    former
        Models that run and are not in the problem any more, by name.
    pricing
        What steps take.
    may_pause
        Whether a model may be without a serving copy for a while, where nothing else helps. A
        replica beside which another serves may be stopped before it starts elsewhere in any case.
    watch
        When no more orders are tried; None for no limit of time.

    Raises
    ------
    InputError
        Something runs of which nobody knows what it takes.
    """
    pricing, watch = pricing or Pricing(), watch or Watch()
    alive = Placement(
        tuple(r for r in before if all(problem.fleet.gpu(gpu) is not None for gpu in r.gpus))
    )
    after = renumbered(alive, after, problem.fleet)
    wanted = changes(alive, after)
    if not wanted:
        return Schedule()
    footprints = Footprints.of(problem, alive, former or {})
    sleepers = sleepers_of(problem, footprints, alive, after) if pricing.sleep else frozenset()
    live = Live(problem, footprints, alive, sleepers)

    def seconds(replica: Replica) -> float:
        size = footprints.loaded_bytes(replica) // max(1, len(replica.gpus))
        if replica in live.sleepers:
            return pricing.waking_seconds(size, len(replica.gpus))
        return pricing.load_seconds(size, len(replica.gpus))

    found = find_order(live, wanted, seconds, watch=watch, may_pause=may_pause)
    if sleepers and (not found.complete or len(found.operations) > len(wanted)):
        # What sleeps keeps a part of its memory; without that there may be an order, or a better.
        awake = Live(problem, footprints, alive)
        plain = find_order(awake, wanted, seconds, watch=watch, may_pause=may_pause)
        if _detours(plain) < _detours(found):
            live, found = awake, plain
    if not found.complete:
        return Schedule(found=False, reason=found.reason, proved=found.proved)
    plain_steps = plain_steps_of(found.operations, footprints, pricing, live.sleepers)
    steps = _steps(problem, footprints, plain_steps, pricing)
    steps += stops_at_last(steps, pricing)
    pauses = _pauses(live, found.operations, steps)
    return Schedule(
        tuple(steps),
        tuple(pauses),
        tuple(_parked(found.operations, wanted)),
        reason=found.reason if pauses or len(found.operations) > len(wanted) else "",
        proved=found.proved,
        restarts=restarts_of(problem, alive, wanted, footprints, pricing),
    )


def _detours(found: Found) -> tuple[bool, int, int]:
    """Return a key by which orders are compared: whether there is none, stops, ways round."""
    stops = sum(operation.pause for operation in found.operations)
    return not found.complete, stops, len(found.operations)


def _steps(
    problem: Problem, footprints: Footprints, plain: Iterable[Step], pricing: Pricing
) -> list[Step]:
    """Return steps in order, with what each waits for and when it may begin."""
    waits = _Waits(problem, footprints)
    slots: dict[str, list[tuple[float, int]]] = {}
    steps: list[Step] = []
    for step in plain:
        number = len(steps) + 1
        after = waits.of(step, number)
        begins = max((steps[other - 1].ends_seconds for other in after), default=0.0)
        if step.kind is StepKind.LOAD:
            node = problem.fleet.domain(step.replicas[0].gpus[0], "node") or ""
            lanes = slots.setdefault(node, [(0.0, 0)] * pricing.loads_per_node)
            lane = min(range(len(lanes)), key=lanes.__getitem__)
            free, last = lanes[lane]
            begins = max(begins, free)
            after |= {last} if last else set()
            lanes[lane] = (begins + step.seconds, number)
        steps.append(
            replace(step, number=number, after=tuple(sorted(after)), begins_seconds=begins)
        )
    return steps


class _Waits:
    """Whom each step waits for: whoever, done later instead, might make it unsafe.

    A load waits for every load and unload before it on its GPUs, and in the domains of rules and
    capacities that it counts in; so what is resident there is never more than in the linear
    order. What begins or ends to serve waits for the last such step of its model, and of models
    that a rule about what serves ties it to.
    """

    def __init__(self, problem: Problem, footprints: Footprints) -> None:
        self._problem, self._models = problem, footprints.models
        hard = [r for r in problem.rules if r.soft is None and isinstance(r, TopologyRule)]
        names = problem.index_of
        standing = [r for r in hard if isinstance(r, Apart | Limit)]
        self._standing = [(rule, set(rule.concerned(names))) for rule in standing]
        self._serving = [
            (at, set(r.concerned(names)))
            for at, r in enumerate(hard)
            if not isinstance(r, Apart | Limit)
        ]
        self._last_load: dict[Hashable, int] = {}
        self._freed: dict[Hashable, list[int]] = {}
        self._last_served: dict[Hashable, int] = {}
        self._own: dict[Replica, int] = {}
        self._ended: set[Replica] = set()  # requests were led elsewhere; not drained yet
        self._latest: dict[tuple[str, int], int] = {}

    def of(self, step: Step, number: int) -> set[int]:
        """Return the numbers of the steps that a step waits for, and take note of it."""
        after: set[int] = set()
        if step.kind in (StepKind.LOAD, StepKind.WAKE):
            (replica,) = step.replicas
            after.add(self._latest.get((replica.model, replica.index), 0))
            for key in self._places(replica):
                after.add(self._last_load.get(key, 0))
                after.update(self._freed.pop(key, ()))
                self._last_load[key] = number
        elif step.kind in (StepKind.UNLOAD, StepKind.SLEEP):
            (replica,) = step.replicas
            after.add(self._own.pop(replica, 0))
            for key in self._places(replica):
                self._freed.setdefault(key, []).append(number)
        else:
            after.update(self._own.get(r, 0) for r in step.replicas)
            if step.kind is StepKind.SWITCH or step.replicas[0] not in self._ended:
                for key in self._served((*step.replicas, *step.replaced)):
                    after.add(self._last_served.get(key, 0))
                    self._last_served[key] = number
        self._ended.update(step.replaced)
        self._ended.difference_update(step.replicas)
        for replica in (*step.replicas, *step.replaced):
            self._latest[replica.model, replica.index] = number
            if step.kind is not StepKind.UNLOAD:
                self._own[replica] = number
        return after - {0}

    def _places(self, replica: Replica) -> Iterator[Hashable]:
        """Yield the GPUs and the domains in which a resident replica counts."""
        fleet = self._problem.fleet
        yield from replica.gpus
        for rule, concerned in self._standing:
            if replica.model in concerned:
                for domain in {fleet.domain(gpu, rule.over) for gpu in replica.gpus}:
                    yield id(rule), domain
        for name in self._models[replica.model].resources:
            scope = self._problem.resource_scopes.get(name)
            for holder in {fleet.domain(gpu, scope) for gpu in replica.gpus} if scope else ():
                yield name, holder

    def _served(self, replicas: Iterable[Replica]) -> set[Hashable]:
        """Return the models, and the rules, that are concerned by who serves."""
        names = {replica.model for replica in replicas}
        keys: set[Hashable] = set(names)
        keys.update(at for at, concerned in self._serving if names & concerned)
        return keys


def _pauses(live: Live, operations: Iterable[Operation], steps: list[Step]) -> Iterator[Pause]:
    """Yield what serves nobody for a while."""
    serving = {model: len(held) for model, held in live.serving.items()}
    least: dict[tuple[str, int], int] = {}
    for operation in operations:
        for replica in operation.gone:
            serving[replica.model] -= 1
            for key, fewest in least.items():
                if key[0] == replica.model:
                    least[key] = min(fewest, serving[replica.model])
            if operation.pause:
                least[replica.model, replica.index] = serving[replica.model]
        for replica in operation.come:
            serving[replica.model] = serving.get(replica.model, 0) + 1
    for (model, index), others in least.items():
        stopped = [
            s.begins_seconds for s in steps if s.kind is StepKind.DRAIN and _of(s, model, index)
        ]
        back = [s.ends_seconds for s in steps if s.kind is StepKind.SWITCH and _of(s, model, index)]
        yield Pause(model, index, max(back) - max(stopped), others)


def _of(step: Step, model: str, index: int) -> bool:
    """Whether a step is of a replica, wherever that is."""
    return any((r.model, r.index) == (model, index) for r in step.replicas)


def _parked(operations: Iterable[Operation], wanted: Iterable[Change]) -> Iterator[Replica]:
    """Yield replicas where they are only for a while."""
    goal = {(change.model, change.index): change.target for change in wanted}
    for operation in operations:
        for replica in operation.come:
            if goal.get((replica.model, replica.index)) != replica.gpus:
                yield replica
