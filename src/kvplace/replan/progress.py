"""How far a schedule is carried out, judged by what is resident and what sleeps."""

from collections.abc import Iterable, Sequence

from kvplace.core.placement import Replica
from kvplace.replan.schedule.steps import Step, StepKind

Place = tuple[str, tuple[str, ...]]
"""A model and the GPUs of a copy of it, in order."""
_UNSEEN = (StepKind.SWITCH, StepKind.DRAIN, StepKind.SLEEP, StepKind.WAKE)
"""What an observation of engines and their places does not show by itself."""


def place_of(replica: Replica) -> Place:
    """Return where a copy is; copies of a model are alike."""
    return replica.model, tuple(sorted(replica.gpus))


def steps_done(steps: Iterable[Step], here: set[Place], asleep: set[Place]) -> set[int]:
    """Return the numbers of the steps that are done.

    Parameters
    ----------
    steps
        In the order of their numbers, from 1.
    here, asleep
        What is resident, and what of it sleeps.
    """
    return _Progress(list(steps), here, asleep).done


class _Progress:
    """Follows replicas from place to place: the last place at which one is seen says how far it is.

    A place that a replica has left and comes back to, or has not come to yet and leaves again,
    looks the same before and after. There the steps of others decide: those that a step waits for,
    and those that wait for it.
    """

    def __init__(self, steps: list[Step], here: set[Place], asleep: set[Place]) -> None:
        self._steps, self._here, self._asleep = steps, here, asleep
        self.done = set[int]()
        of: dict[tuple[str, int], list[Step]] = {}
        for step in steps:
            for replica in (*step.replicas, *step.replaced):
                of.setdefault((replica.model, replica.index), []).append(step)
        known = -1
        while known < len(self.done):
            known = len(self.done)
            for key, mine in of.items():
                reached = self._reached(key, mine)
                self.done.update(step.number for step in mine[: reached + 1])
            self._follow()
        # A switch that is not followed by anything of its replica is done with what it waits for.
        for step in steps:
            if step.kind is StepKind.SWITCH and step.after and not step.replaced:
                self.done |= {step.number} if self.done.issuperset(step.after) else set()
        # Where all that can be seen is done, so is the rest.
        seen = {step.number for step in steps if step.kind not in _UNSEEN}
        woken = {place_of(r) for step in steps if step.kind is StepKind.WAKE for r in step.replicas}
        if seen and seen <= self.done and not woken & asleep:
            self.done.update(step.number for step in steps)

    def _reached(self, key: tuple[str, int], mine: Sequence[Step]) -> int:
        """Return the position of the last step of a replica known to be done; -1 for none."""
        reached = max((at for at, step in enumerate(mine) if step.number in self.done), default=-1)
        own_numbers = {step.number for step in mine}
        came, left = dict[Place, int](), dict[Place, int]()
        for at, step in enumerate(mine):
            own = next((place_of(r) for r in step.replicas if (r.model, r.index) == key), None)
            if own is None:
                continue
            seen = step.kind is StepKind.SLEEP and own in self._here & self._asleep
            if step.kind is StepKind.LOAD:
                others = set(step.after) - own_numbers
                again = left.get(own, -1) <= reached or (others and others <= self.done)
                seen, came[own] = bool(own in self._here and again), at
            elif step.kind is StepKind.UNLOAD:
                seen, left[own] = own not in self._here and came.get(own, -1) <= reached, at
            reached = max(reached, at) if seen else reached
        return reached

    def _follow(self) -> None:
        """Count what done steps waited for as done, unless it is seen not to be."""
        for step in reversed(self._steps):
            if step.number in self.done:
                self.done.update(n for n in step.after if self._may_be(self._steps[n - 1]))

    def _may_be(self, step: Step) -> bool:
        """Whether a step may be done by what is resident."""
        if step.kind in _UNSEEN:
            return True
        places = {place_of(replica) for replica in step.replicas}
        loads = step.kind is StepKind.LOAD
        undone = StepKind.UNLOAD if loads else StepKind.LOAD
        later = {
            place_of(replica)
            for other in self._steps[step.number :]
            if other.kind is undone
            for replica in other.replicas
        }
        return places - later <= self._here if loads else not (places - later) & self._here
