"""Changes that help together where none helps alone."""

from __future__ import annotations

import math
from collections.abc import Callable

from kvplace.replan.budget.fleet_state import Copies, FleetState
from kvplace.replan.budget.neighbours import Candidate, Rows, reliefs, swaps
from kvplace.replan.budget.points import SAME
from kvplace.solver.clock import Watch

_DEPTH, _WIDTH = 3, 5
"""Changes that are made together, and how many are tried at each."""


class Chains:
    """A hot GPU is relieved onto GPUs that are too hot for it, which are then relieved in turn.

    Parameters
    ----------
    state
        What runs; it is as it was after every search.
    price
        What it costs to give a model other copies.
    movable
        Whether a model may change.
    """

    def __init__(
        self,
        state: FleetState,
        price: Callable[[int, Copies], float],
        movable: Callable[[int], bool],
        watch: Watch,
    ) -> None:
        self.state, self.price, self.movable, self.watch = state, price, movable, watch

    def find(self, rows: Rows, hot: int, limit: float, left: float) -> Candidate | None:
        """Return several changes that together leave what they touch below a limit.

        Parameters
        ----------
        rows
            Copies in columns.
        hot
            GPU to relieve.
        limit
            Pressure to stay below.
        left
            What they may cost.
        """
        return self._deeper(rows, hot, limit, left, _DEPTH, {})

    def _deeper(
        self,
        rows: Rows,
        hot: int,
        limit: float,
        left: float,
        depth: int,
        first: dict[int, Copies],
    ) -> Candidate | None:
        """Return up to so many changes more; of those made, `first` has the copies before."""
        state = self.state
        below = limit if depth == 1 else math.inf
        found = sorted(
            (
                *reliefs(state, hot, self.price, self.movable, below),
                *swaps(state, rows, hot, self.price, self.movable, below),
            ),
            key=lambda one: (one.worst, one.price, one.reshape),
        )
        found = [
            one
            for one in found
            if one.price <= left * (1 + SAME) + SAME and not any(j in first for j, _ in one.reshape)
        ]
        before = state.rules.amounts()
        for one in found[:_WIDTH]:
            if self.watch.stop:
                break
            if not state.rules.idle and state.rules_after(one.reshape) > before:
                continue
            back = state.apply(one.reshape)
            rows.follow(back, one.reshape)
            touched = first | dict(back)
            hottest = self._hottest(touched)
            worst = float(state.pressure[hottest])
            chained: Candidate | None = None
            if worst < limit:
                now = tuple((j, state.copies[j]) for j in sorted(touched))
                chained = Candidate(worst, one.price, now)
            elif depth > 1 and left - one.price > 0:
                deeper = self._deeper(rows, hottest, limit, left - one.price, depth - 1, touched)
                if deeper is not None:
                    chained = Candidate(deeper.worst, one.price + deeper.price, deeper.reshape)
            state.apply(back)
            rows.follow(one.reshape, back)
            if chained is not None:
                return chained
        return None

    def _hottest(self, models: dict[int, Copies]) -> int:
        """Return the hottest of the GPUs on which models are, or were before."""
        copies = self.state.copies
        touched = {g for j, old in models.items() for c in (*old, *copies[j]) for g in c}
        return max(touched, key=lambda g: (self.state.pressure[g], -g))
