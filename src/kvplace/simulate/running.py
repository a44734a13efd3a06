"""The components of one load and seed, at work in a pool of threads."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from kvplace.core.problem import Problem
from kvplace.forecast.rules import Rules, Sharing
from kvplace.simulate.answers import Answers, Usage, unanswered
from kvplace.simulate.events import run
from kvplace.simulate.fleet import Component, Engined, Records, records_of
from kvplace.simulate.requests import horizon, prefix_ranges, routed, too_long
from kvplace.simulate.state import MPS, NONE, REQUEST, SLICE, World, world
from kvplace.simulate.traffic import Traffic
from kvplace.solver.array_types import Ints
from kvplace.solver.clock import Watch

_LOOK_SECONDS = 0.2
"""How often it is looked whether to stop."""

_SHARING = {Sharing.SLICE: SLICE, Sharing.MPS: MPS, Sharing.NONE: NONE}


@dataclass(frozen=True, slots=True)
class _Part:
    """A component at its end: model and position of each request, and all that happened."""

    model: Ints
    at: Ints
    end: World
    clock: float


class Running:
    """The components of one load and seed, at work in a pool of threads."""

    def __init__(
        self,
        problem: Problem,
        engined: Engined,
        traffic: Traffic,
        rules: Rules,
        pool: ThreadPoolExecutor,
        stop: Ints,
    ) -> None:
        self._engined, self._traffic, self._rules = engined, traffic, rules
        self._horizon = horizon(problem, traffic)
        self._prefixes = prefix_ranges(traffic)
        self._routed = [
            routed(engined, index, one, rules) for index, one in enumerate(traffic.models)
        ]
        self._too_long = [
            too_long(engined, index, one, rules.block_tokens)
            for index, one in enumerate(traffic.models)
        ]
        self._stop = stop
        self._come = np.zeros((len(engined.components), 1), np.int64)
        self._parts: list[tuple[Component, Future[_Part | None]]] = [
            (component, pool.submit(self._simulate, component, come))
            for component, come in zip(engined.components, self._come, strict=True)
        ]

    def cancel(self) -> None:
        """Start nothing that has not been started."""
        for _, part in self._parts:
            part.cancel()

    @property
    def share(self) -> float:
        """About which part of the requests has arrived."""
        requests = sum(len(one.arrival) for one in self._traffic.models)
        return int(self._come.sum()) / max(1, requests)

    def _simulate(self, component: Component, come: Ints) -> _Part | None:
        """Run one component; return model and position of each of its requests, and the end."""
        if self._stop[0]:
            return None
        engines, gpus, lists = records_of(self._engined, component, self._rules, self._prefixes)
        model, at, requests = self._requests(component, lists)
        end = world(engines, gpus, requests, np.array(lists, np.int64))
        rules = self._rules
        sharing, stop = _SHARING[rules.sharing], self._stop
        clock = run(end, sharing, rules.slice_loss, self._horizon, stop, come)
        come[0] = len(requests)
        return None if clock < 0 else _Part(model, at, end, clock)

    def _requests(self, component: Component, lists: list[int]) -> tuple[Ints, Ints, Records]:
        """Return the requests of a component's engines by arrival; extend the lists."""
        engined, traffic = self._engined, self._traffic
        local = np.full(len(engined.copies), -1)
        local[list(component.copies)] = np.arange(len(component.copies))
        models, positions, found = [], [], []
        for index in sorted({engined.copies[at].model for at in component.copies}):
            one, routed = traffic.models[index], self._routed[index]
            mine = ~self._too_long[index] & ((routed < 0) | (local[routed] >= 0))
            at = np.flatnonzero(mine)
            requests = np.zeros(len(at), REQUEST)
            for name in ("arrival", "prompt", "output", "prefix_tokens"):
                requests[name] = getattr(one, name)[at]
            requests["engine"] = np.where(routed[at] < 0, -1, local[routed[at]])
            requests["first_choice"] = len(lists)
            lists.extend(int(local[copy]) for copy in engined.of_model[index])
            requests["end_choice"] = len(lists)
            start = self._prefixes.get(index, (0, 0))[0]
            requests["prefix"] = np.where(one.prefix[at] < 0, -1, one.prefix[at] + start)
            models.append(np.full(len(at), index))
            positions.append(at)
            found.append(requests)
        together = np.concatenate(found)
        order = np.argsort(together["arrival"], kind="stable")
        return np.concatenate(models)[order], np.concatenate(positions)[order], together[order]

    def result(self, watch: Watch, phase: str = "") -> tuple[list[Answers], list[Usage]]:
        """Wait for all components and put their requests together again, model by model.

        Parameters
        ----------
        watch
            Whom to tell, and whether to stop.
        phase
            What is simulated, for people.
        """
        engined = self._engined
        gathered = [unanswered(one, bad) for one, bad in zip(
            self._traffic.models, self._too_long, strict=True
        )]  # fmt: skip
        usage: dict[int, Usage] = {}
        for component, part in self._parts:
            found = self._patient(part, watch, phase)
            if found is None:
                continue
            copies = np.array(component.copies)
            order = np.argsort(found.model, kind="stable")
            cuts = np.flatnonzero(np.diff(found.model[order])) + 1
            for mine in np.split(order, cuts):
                if not len(mine):
                    continue
                one, to = gathered[int(found.model[mine[0]])], found.at[mine]
                requests = found.end.requests[mine]
                one.first[to], one.finish[to] = requests["first"], requests["finish"]
                one.preempted[to] = requests["preempted"]
                served = requests["served_by"]
                one.engine[to] = np.where(served < 0, -1, copies[served])
            used = _usage(component, engined, found)
            usage.update(zip(component.gpus, used, strict=True))
        return gathered, [
            usage.get(gpu, Usage(0, 0.0, 0.0, 0)) for gpu in range(len(engined.pools))
        ]

    def _patient(self, part: Future[_Part | None], watch: Watch, phase: str) -> _Part | None:
        """Wait for a component, tell how far all are, and stop them where somebody asks."""
        while True:
            if watch.stop:
                self._stop[0] = 1
                if part.cancelled() or part.cancel():
                    return None
            try:
                return part.result(timeout=_LOOK_SECONDS)
            except TimeoutError:
                watch.tell(f"{phase}: {self.share:.0%} of the requests")


def _usage(component: Component, engined: Engined, part: _Part) -> Iterator[Usage]:
    """Yield how each GPU of a component was used."""
    seconds = max(part.clock, 1e-9)
    preempted = dict.fromkeys(component.gpus, 0)
    for copy, count in zip(component.copies, part.end.engines["preemptions"], strict=True):
        for gpu in engined.copies[copy].gpus:
            preempted[gpu] += int(count)
    for gpu, one in zip(component.gpus, part.end.gpus, strict=True):
        yield Usage(
            int(one["peak"]),
            float(one["used_seconds"]) / seconds,
            float(one["active_seconds"]) / seconds,
            preempted[gpu],
        )
