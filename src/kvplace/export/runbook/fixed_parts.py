"""Room for what comes where every engine holds a fixed part of the KV memory.

An engine with a fixed part takes it when it starts and gives none of it back. What the safe order
of a proposal counts is less: weights, overhead and the KV memory that a model must be left. So
before an engine is started, those beside it that are to have a smaller part are started again with
that part; where what leaves still holds its own, the newcomer gets what is left, and its whole part
by a second start at the end. Where that is too little to start at all, what leaves starts again
with the least it can.
"""

from collections.abc import Iterable
from dataclasses import replace

from kvplace.core.placement import Replica
from kvplace.errors import InputError
from kvplace.export.layout import Engine
from kvplace.export.runbook.deeds import Deed, DeedKind
from kvplace.export.runbook.transition import Transition

_LEAST = 2**28
"""Bytes of KV memory with which an engine starts at all."""


def with_resizes(transition: Transition, deeds: Iterable[Deed]) -> list[Deed]:
    """Return deeds with those put in that fixed parts of the KV memory need.

    Raises
    ------
    InputError
        It is not known what part an engine has, or there is no room beside it.
    """
    held = _Held(transition)
    found: list[Deed] = []
    for deed in deeds:
        if deed.kind is DeedKind.LOAD:
            (engine,) = deed.engines
            least = min(_least(engine), engine.kv_bytes)
            found += [_resize(other) for other in held.make_room(engine)]
            if held.room(engine) < least:
                found += [_resize(other) for other in held.squeeze(engine, least)]
            started = replace(engine, kv_bytes=min(engine.kv_bytes, held.room(engine)))
            if started.kv_bytes < least:
                raise InputError(
                    f"with fixed parts of the KV memory there is no room for "
                    f"{engine.model.name!r} on {', '.join(engine.gpus)} beside what leaves only "
                    "later; share the memory (--kv kvcached)",
                    "proposal",
                )
            held.start(started)
            found.append(replace(deed, engines=(started,)))
            continue
        if deed.kind in (DeedKind.SLEEP, DeedKind.WAKE):
            raise InputError(
                "with fixed parts of the KV memory nothing is known of what an engine that sleeps "
                "gives back; share the memory (--kv kvcached), or re-plan without --sleep",
                "proposal",
            )
        if deed.kind is DeedKind.UNLOAD:
            for running in deed.running:
                held.stop(Replica(running.part.model, running.part.index, running.part.gpus))
        found.append(deed)
    return [*found, *map(_resize, held.unfinished())]


def _least(engine: Engine) -> int:
    """Return the KV memory that an engine starts with at least."""
    return max(_LEAST, engine.model.least_kv_bytes(engine.degree))


def _resize(engine: Engine) -> Deed:
    return Deed(DeedKind.RESIZE, (engine,))


class _Held:
    """What every GPU holds, as processes have taken it."""

    def __init__(self, transition: Transition) -> None:
        fleet = transition.target.problem.fleet
        self._transition = transition
        self._memory = {gpu.id: gpu.usable_bytes for gpu in fleet.gpus}
        self._final = {engine.replica: engine for engine in transition.target.engines}
        self._footprint: dict[Replica, int] = {}
        self._part: dict[Replica, int] = {}
        self._on: dict[str, dict[Replica, None]] = {gpu: {} for gpu in self._memory}
        touched = {
            gpu
            for part in transition.proposal.steps
            if part.kind == "load"
            for replica in part.replicas
            for gpu in replica.gpus
        }
        for replica, running in transition.running.items():
            if not running.part.kv_bytes and touched & set(replica.gpus):
                raise InputError(
                    f"it is not known what part of the KV memory {replica.model!r} on "
                    f"{', '.join(replica.gpus)} has; re-plan from the plan that runs (--current "
                    "plan.json), or share the memory (--kv kvcached)",
                    "proposal",
                )
            self._put(replica, running.part.footprint_bytes, running.part.kv_bytes)

    def make_room(self, engine: Engine) -> list[Engine]:
        """Shrink engines that stay on the GPUs of a newcomer, as far as it needs that."""
        shrunk: list[Engine] = []
        for gpu in engine.gpus:
            for replica in list(self._on[gpu]):
                final = self._final.get(replica)
                enough = self.room(engine) >= engine.kv_bytes
                if enough or final is None or final.kv_bytes >= self._part[replica]:
                    continue
                self._part[replica] = final.kv_bytes
                shrunk.append(final)
        return shrunk

    def squeeze(self, engine: Engine, least: int) -> list[Engine]:
        """Leave what goes only later no more than it needs, as far as a newcomer needs that."""
        squeezed: list[Engine] = []
        for gpu in engine.gpus:
            for replica in list(self._on[gpu]):
                other = None if replica in self._final else self._again(replica)
                if other is None or self.room(engine) >= least:
                    continue
                if other.kv_bytes < self._part[replica]:
                    self._part[replica] = other.kv_bytes
                    squeezed.append(other)
        return squeezed

    def _again(self, replica: Replica) -> Engine | None:
        """Return an engine that leaves, with the least part; None where it is not known."""
        running = self._transition.running.get(replica)
        like = next((e for e in self._final.values() if e.model.name == replica.model), None)
        node = self._transition.target.problem.fleet.node_of(replica.gpus[0])
        if running is None or like is None or node is None:
            return None
        numbers = {gpu.id: at for at, gpu in enumerate(node.gpus)}
        engine = replace(
            like,
            label=running.label,
            served_name=running.served_name,
            port=running.port,
            replica=replica,
            gpus=replica.gpus,
            indices=tuple(numbers[gpu] for gpu in replica.gpus),
            footprint_bytes=self._footprint[replica],
            memory_bytes=min(self._memory[gpu] for gpu in replica.gpus),
        )
        return replace(engine, kv_bytes=_least(engine))

    def room(self, engine: Engine) -> int:
        """Return the KV memory that is left for an engine on each of its GPUs."""
        return min(
            self._memory[gpu]
            - engine.footprint_bytes
            - sum(self._footprint[r] + self._part[r] for r in self._on[gpu])
            for gpu in engine.gpus
        )

    def start(self, engine: Engine) -> None:
        self._put(engine.replica, engine.footprint_bytes, engine.kv_bytes)

    def stop(self, replica: Replica) -> None:
        self._footprint.pop(replica, None)
        self._part.pop(replica, None)
        for gpu in replica.gpus:
            self._on[gpu].pop(replica, None)

    def unfinished(self) -> list[Engine]:
        """Return the engines that have another part than they are to have; those that shrink first.

        Parts that shrink make the room that others grow into.
        """
        late = [
            engine
            for replica, engine in self._final.items()
            if replica in self._part and self._part[replica] != engine.kv_bytes
        ]
        return sorted(late, key=lambda e: (e.kv_bytes > self._part[e.replica], e.label))

    def _put(self, replica: Replica, footprint: int, part: int) -> None:
        self._footprint[replica], self._part[replica] = footprint, part
        for gpu in replica.gpus:
            self._on[gpu][replica] = None
