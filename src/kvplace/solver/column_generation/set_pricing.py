"""What the configuration program says of a target or a case, and the prices that say it."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from kvplace.core.certificates.claim import Choice
from kvplace.solver.array_types import Bools, Floats
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.master import Duals, Master, Pricing
from kvplace.solver.column_generation.pricing import ACCURACY, Column, Pool

CLEARLY = 1.002
"""Share of the fleet up to which an impossible target may be followed, as a certificate with
something to spare is checked sooner. Measured on 30 models: 0.4 s, for none in 1.9 at 1.0002, and
0.1 s more for the program."""
CENTRED = 0.8
"""Weight of the prices that prove most so far in those at which sets are looked for."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the program says of a target.

    Parameters
    ----------
    target
        K, in load per byte.
    share
        Share of the fleet needed, a valid lower bound whatever ended the search.
    prices
        (rows,) price of a shard of each option; the worths make all GPUs worth 1 together.
    worths
        (kinds,) worth of a GPU of each kind.
    exact
        Whether no column is missing, so that the reduced costs are what they seem.
    """

    target: float
    share: float
    prices: Floats
    worths: Floats
    exact: bool

    @property
    def impossible(self) -> bool:
        """Whether no placement reaches the target."""
        return self.share > 1 + 4 * ACCURACY


class Closed(NamedTuple):
    """What closes a case: prices and worths, and the parts of the cluster that these are of.

    Parameters
    ----------
    prices
        (n,) what all shards of a model are priced together.
    worths
        (kinds,) worth of a GPU of each kind there.
    parts, kinds
        Of each worth the first link domain of its part, and the first GPU of its kind.
    """

    prices: Floats
    worths: Floats
    parts: tuple[int, ...]
    kinds: tuple[int, ...]


Tree = list[Choice | Closed]
"""A proof in preorder, as `ProofTree` has it, with what the program says in place of leaves."""


class SetProgram(Protocol):
    """What pricing asks of the program (`OptionSets`)."""

    proved: Verdict | None
    opened: Bools

    def cheapest(self, prices: Floats) -> Floats:
        """Return prices at which no option of a model is dearer than its cheapest."""

    def verdict(self, target: float, prices: Floats, worths: Floats, *, exact: bool) -> Verdict:
        """Return what prices and worths say."""

    def keep(self, verdict: Verdict) -> None:
        """Keep what proves most."""

    def extend(self, master: Master, columns: list[Column]) -> bool:
        """Give columns to a master; whether any is new."""


class SetPricing(Pricing):
    """Prices sets of models exactly, from a pool that is refilled when it has run dry.

    Sets are looked for between the prices of the master and those that prove most so far, which
    keeps prices from leaping while few sets are known (Wentges, International Transactions in
    Operational Research 4, 1997); at the former where that finds nothing new. Undivided models
    settle sooner without.
    """

    def __init__(
        self,
        program: SetProgram,
        pool: Pool,
        first: Verdict,
        watch: Watch,
        *,
        settle: bool,
        centred: bool,
        above: float,
    ) -> None:
        self._program, self._pool, self._watch, self._settle = program, pool, watch, settle
        self._above = above
        self.best = first
        self._centre = program.proved or self.best
        self._parts = (CENTRED, 0.0) if centred else (0.0,)

    def settled(self, share: float) -> bool:  # noqa: D102 - of the base class
        return self._refuted or (not self._settle and share <= 1 + ACCURACY)

    @property
    def _refuted(self) -> bool:
        return self.best.impossible and self.best.share > self._above

    def extend(self, master: Master, duals: Duals) -> bool:  # noqa: D102 - of the base class
        program, pool = self._program, self._pool
        prices, worths = np.where(program.opened, duals.prices, np.inf), duals.worths
        prices = program.cheapest(prices)
        if program.extend(master, pool.dearer(prices, worths)):
            return True
        true_worths, exact = worths, False
        for part in self._parts:
            centre = self._centre
            near = program.cheapest(part * centre.prices + (1 - part) * prices)
            true_worths, exact = pool.refill(near, part * centre.worths + (1 - part) * worths)
            new = pool.dearer(prices, worths)
            found = program.verdict(self.best.target, near, true_worths, exact=False)
            if found.share > self.best.share:
                self.best = self._centre = found
                program.keep(found)
            if self._refuted or self._watch.stop:
                return False
            if program.extend(master, new):
                return True
        last = program.verdict(self.best.target, prices, true_worths, exact=exact)
        self.best = last if exact else max(last, self.best, key=lambda found: found.share)
        return False
