"""The best placement that costs no more than a budget, for one budget or for all of them."""

from __future__ import annotations

import math

import numpy as np

from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.replan.budget.bound import BudgetBound
from kvplace.replan.budget.chains import Chains
from kvplace.replan.budget.exact import enumerate_budgets
from kvplace.replan.budget.fleet_state import BROKEN, Copies, FleetState
from kvplace.replan.budget.floor import floor_of
from kvplace.replan.budget.make_room import relieved_with_room
from kvplace.replan.budget.neighbours import Candidate, Rows, reliefs, swaps
from kvplace.replan.budget.points import SAME, Point, Points
from kvplace.replan.budget.prices import Prices
from kvplace.replan.budget.repair import repair
from kvplace.solver.clock import Watch

_TOP = 48
"""GPUs, from the hottest down, by which placements are compared."""
_TARGETS = 10
"""Pressures between what is and what can be at best that the search aims at, one after another."""
_BELOW = 0.85
"""Share of the best pressure known within a budget down to which it is aimed."""
_BACK = 400
"""Models that a fresh plan may change for its changes to be taken back one by one."""
FEW = 12
"""Models up to which a fleet may be tiny enough to try everything."""
_CHAINED = 1_200
"""GPUs up to which changes are made together where none helps alone."""
_SMALL = 300
"""GPUs up to which room is made by several changes, and changes are taken back one by one and
spent better."""
_CLOSE = 1.01
_ORDERED, _TOLD = 3e-4, 5e-5
"""Seconds to find a safe order, for each model that changes, measured on 6,000 that start; and to
evaluate and write the answer, for each model of the problem, measured on 12,000."""


class Search:
    """All that is known about re-planning from one origin.

    Parameters
    ----------
    problem
        What is to be served.
    current
        What runs, valid or not.
    prices
        What a budget counts.
    gain
        Least share of the fleet's highest pressure by which a change must lower the pressure of
        the worst GPU that it touches.
    watch
        Clock and interrupt.
    floor
        A bound that holds without any budget; that of the problem where not given.
    """

    def __init__(
        self,
        problem: Problem,
        current: Placement,
        prices: Prices | None = None,
        *,
        gain: float = 0.0,
        watch: Watch | None = None,
        floor: float | None = None,
    ) -> None:
        self.problem, self.current = problem, current
        self.prices = prices or Prices()
        self.gain = gain
        self.watch = watch or Watch()
        self.state = FleetState(problem, current)
        self.origin = dict(self.state.origin)
        self.floor = floor_of(problem) if floor is None else floor
        self.bounds = BudgetBound(self.state, self.prices, self.floor)
        self._points = Points(gain)
        self.exhaustive = False
        self._broken_at_origin = frozenset(self.state.illegal)
        self._chained = len(self.state.ids) <= _CHAINED
        self._small = len(self.state.ids) <= _SMALL
        self._chains = Chains(self.state, self._price, self._movable, self.watch)
        self._kept = {
            j for j, name in enumerate(problem.names) if math.isinf(self.prices.factor(name))
        }

    # The whole of it

    def run(
        self,
        budget: float = math.inf,
        fresh: Placement | None = None,
        *,
        quick: bool = False,
        enough: float = 0.0,
        every: bool = True,
    ) -> None:
        """Search for the best placement of every price up to a budget.

        Parameters
        ----------
        budget
            Most that a placement may cost.
        fresh
            A placement that was made without looking at what runs, to go towards.
        quick
            Only relieve the hottest GPU, and the next, from what runs; look at the fresh plan only
            where that comes to nothing valid.
        enough
            With `quick`: a pressure that is good enough. GPUs at most so hot are not relieved.
        every
            Whether cheaper placements are looked for where the budget has no limit.
        """
        self._keep_point()
        if len(self.problem.models) <= FEW and not quick:
            found = enumerate_budgets(self.state, self.prices)
            if found is not None:
                self.exhaustive = True
                for one in found:
                    changed = {j: c for j, c in one.copies.items() if c != self.origin[j]}
                    self._points.offer(Point(one.price, one.soft, one.profile[:_TOP], changed))
                return
        repaired = repair(self.state, self.prices, self._movable, self.watch)
        self._keep_point()
        base = dict(self.state.copies)
        after = _ORDERED * len(self.state.changed) + _TOLD * len(self.problem.models)
        with self.watch.part(1.0):
            self.watch.keep(max(after, self.watch.keep(after)))
            self._descend(budget, cheap=False, enough=enough if quick and repaired else 0.0,
                          roomy=not quick)  # fmt: skip
            if quick or (repaired and self._is_close(budget)):
                if fresh is not None and not self.frontier(budget):
                    self.go_back_from(fresh, budget)
                return
            self._look_wider(base, budget, fresh, aims=repaired and (every or budget < math.inf))

    def _look_wider(
        self, base: dict[int, Copies], budget: float, fresh: Placement | None, *, aims: bool
    ) -> None:
        """Search from what runs by cheap changes, from a fresh plan, and for pressures between."""
        self._return_to(base)
        self._descend(budget, cheap=True)
        if fresh is not None:
            self.go_back_from(fresh, budget)
        if aims:
            self._aim(base, budget)
            if budget < math.inf and self._small:
                self._polish(budget)

    def _is_close(self, budget: float) -> bool:
        """Whether a large fleet is within a hundredth of its bound, which leaves little to find."""
        if len(self.state.ids) <= _CHAINED or budget == math.inf:
            return False
        points = self.frontier(budget)
        return bool(points) and points[-1].profile[0] <= self.bounds.at(budget) * _CLOSE

    def best(self, budget: float = math.inf) -> Point | None:
        """Return the best valid placement within a budget that is worth its price."""
        return self.worthwhile(self.frontier(budget))

    def worthwhile(self, points: list[Point]) -> Point | None:
        """Return the last of some points, by rising price, that is worth its price."""
        return self._points.worthwhile(points)

    def frontier(self, budget: float = math.inf) -> list[Point]:
        """Return valid placements by rising price, each better than all that cost less."""
        return self._points.frontier(budget)

    def placement(self, point: Point) -> Placement:
        """Return the placement of a point."""
        return self.state.placement_of(point.changed)

    # Points

    def _worth(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Return what the state is worth; None where it is not valid."""
        amounts = self.state.rules.amounts()
        if amounts[0] > 0 or self.state.illegal:
            return None
        pressure = self.state.pressure
        top = min(_TOP, len(pressure))
        some = np.partition(pressure, len(pressure) - top)[len(pressure) - top :]
        return amounts[1:], tuple(np.sort(some)[::-1].tolist())

    def _keep_point(self, price: float | None = None) -> None:
        """Keep the state as a point; its price is computed where it is not known."""
        worth = self._worth()
        price = self.prices.total(self.state) if price is None else price
        if worth is not None and self._points.takes(price, worth):
            copies = self.state.copies
            changed = {j: copies[j] for j in self.state.changed}
            self._points.offer(Point(price, *worth, changed))

    # Moving about

    def _movable(self, model: int) -> bool:
        return model not in self._kept

    def _price(self, model: int, copies: Copies) -> float:
        return self.prices.of(self.state, model, copies)

    def _return_to(self, copies: dict[int, Copies]) -> None:
        now = self.state.copies
        differ = tuple((j, wanted) for j, wanted in copies.items() if now[j] != wanted)
        if differ:
            self.state.apply(differ)

    def _descend(
        self,
        budget: float,
        *,
        cheap: bool,
        target: float = 0.0,
        enough: float = 0.0,
        roomy: bool = False,
    ) -> None:
        """Relieve the hottest GPU, and the next, as long as that is allowed and pays.

        A target has the cheapest changes that lead to it chosen; what is enough ends the descent
        and changes nothing before that. Roomy: where nothing else helps the hottest GPU, others
        make room for what relieves it.
        """
        enough = max(target, enough if enough < BROKEN else 0.0)
        state = self.state
        rows = Rows(state, self._movable)
        spent = self.prices.total(state)
        stuck: set[int] = set()
        while not self.watch.stop and len(stuck) < min(len(state.ids), _TOP):
            hot = self._hottest(stuck)
            limit = float(state.pressure[hot])
            if limit <= enough:
                break
            least = self.gain * min(state.highest(), BROKEN)
            left = budget - spent
            chosen = self._choose(rows, hot, left, least, cheap=cheap, target=target)
            if chosen is None and self._chained:
                # Of a GPU over its memory nothing may stay over it: each step takes of what is
                # short in all, and so the descent ends.
                below = limit - max(least, limit * SAME)
                if limit >= BROKEN:
                    below = min(below, BROKEN * (1 - SAME))
                chosen = self._chains.find(rows, hot, below, left)
                if chosen is None and roomy and self._small and not stuck:
                    most = left * (1 + SAME) + SAME
                    chosen = relieved_with_room(
                        state, self.prices, self._movable, hot, below, most, self.watch
                    )
            if chosen is None:
                stuck.add(hot)
                continue
            back = state.apply(chosen.reshape)
            rows.follow(back, chosen.reshape)
            spent += chosen.price
            self._keep_point(spent)

    def _hottest(self, stuck: set[int]) -> int:
        if not stuck:
            return int(self.state.pressure.argmax())
        pressure = self.state.pressure.copy()
        pressure[list(stuck)] = -1.0
        return int(pressure.argmax())

    def _choose(
        self, rows: Rows, hot: int, left: float, least: float, *, cheap: bool, target: float
    ) -> Candidate | None:
        """Return the change to make to a hot GPU."""
        state = self.state
        limit = float(state.pressure[hot])
        pressure = state.pressure[np.arange(len(state.ids)) != hot]
        second = max(target, float(pressure.max())) if len(pressure) else target

        def allowed(one: Candidate) -> bool:
            within = one.price <= left * (1 + SAME) + SAME
            if limit >= BROKEN:
                return within
            return within and limit - one.worst >= least and one.worst < limit * (1 - SAME)

        def key(one: Candidate) -> tuple[float, ...]:
            if limit >= BROKEN:
                short = state.shortage(one.reshape) if one.worst >= BROKEN else -math.inf
                return (short, one.price, one.worst)
            if target:
                return (max(one.worst, target), one.price, one.worst)
            if cheap:
                return (one.price, one.worst)
            return (max(one.worst, second), one.price, one.worst)

        found = list(filter(allowed, reliefs(state, hot, self._price, self._movable)))
        # An exchange costs more than a move; where a move leaves nothing to wish for, none is
        # looked for.
        enough = target or second
        if not found or (not cheap and min(one.worst for one in found) > enough):
            exchanged = swaps(state, rows, hot, self._price, self._movable)
            found.extend(filter(allowed, exchanged))
        found.sort(key=lambda one: (*key(one), one.reshape))
        if state.rules.idle:
            return found[0] if found else None
        before = state.rules.amounts()
        for one in found:
            if state.rules_after(one.reshape) <= before:
                return one
        return None

    def go_back_from(self, fresh: Placement, budget: float = math.inf, enough: float = 0.0) -> None:
        """From a fresh plan, take changes back, the least useful first, and keep every point."""
        state = self.state
        here = dict(state.copies)
        wanted = FleetState(self.problem, fresh).copies
        self._return_to({j: c for j, c in wanted.items() if j not in self._kept})
        self._keep_point()
        open_ = state.changed - self._broken_at_origin
        if len(open_) <= _BACK:
            while open_ and not self.watch.stop:
                ranked = sorted((state.outcome(((j, self.origin[j]),)), j) for j in open_)
                for _, j in ranked:
                    before = state.rules.amounts()
                    if state.rules.idle or state.rules_after(((j, self.origin[j]),)) <= before:
                        state.apply(((j, self.origin[j]),))
                        open_.discard(j)
                        break
                else:
                    break
                self._keep_point()
        self._return_to(here)
        within = self.frontier(budget)
        if within:
            self._return_to(self.origin | within[-1].changed)
            self._descend(budget, cheap=False, enough=enough)

    def _aim(self, base: dict[int, Copies], budget: float) -> None:
        """Aim at pressures down to the best known, each with as few changes as it takes.

        Within a budget it is aimed below what is known too, until that is missed more than once:
        who aims lower makes room where it takes several changes.
        """
        points = self.frontier()
        if not points:
            return
        high, low = points[0].profile[0], min(p.profile[0] for p in points)
        limited, missed = budget < math.inf, 0
        if limited:
            low = max(self.bounds.at(budget), low * _BELOW)
        if not 0 < low < high:
            return
        for step in range(1, _TARGETS + 1):
            if self.watch.stop:
                return
            target = high * (low / high) ** (step / _TARGETS)
            self._return_to(base)
            self._descend(budget, cheap=False, target=target * (1 + SAME), roomy=True)
            missed += limited and self.state.highest() > target * (1 + SAME)
            if missed > 1:
                return

    def _polish(self, budget: float) -> None:
        """Take back one change of the best placement at a time, and spend it better."""
        improved = True
        rounds = 0
        while improved and not self.watch.stop and rounds < 20:
            improved = False
            rounds += 1
            points = self.frontier(budget)
            if not points:
                return
            best = points[-1]
            for j in sorted(best.changed)[:_TOP]:
                if self.watch.stop or j in self._broken_at_origin:
                    continue
                self._return_to(self.origin | best.changed)
                if self.state.rules.idle or self.state.rules_after(((j, self.origin[j]),)) <= (
                    self.state.rules.amounts()
                ):
                    self.state.apply(((j, self.origin[j]),))
                    self._descend(budget, cheap=False)
            after = self.frontier(budget)[-1]
            improved = after.worth < best.worth
