"""Better bounds of large fleets of undivided models, by the configuration program."""

import math
from typing import TYPE_CHECKING

from kvplace.solver.strategies.assigned import ready

if TYPE_CHECKING:
    from kvplace.solver.strategies.large import LargeSearch

__all__ = ["price_classes", "price_sets", "uneven", "wasteful"]

FIRST = 0.125
"""Part of the gap at which the target asked first is: if it is not refuted, sums say as much."""


def price_classes(search: "LargeSearch") -> None:
    """Ask the configuration program on size classes for a better bound.

    It is not asked where checking its certificate would take most of the time that is left.
    """
    from kvplace.solver.bounds.level_bound import packing_bound  # noqa: PLC0415 - HiGHS: only here

    assert search.packing is not None
    watch, checking = search.watch, search.knobs.certificate * search.loaded
    if checking > search.knobs.bound_part * watch.left:
        return
    kept = watch.keep(0.0)
    watch.keep(kept + checking)
    search.prices = packing_bound(search.columns, search.packing, search.low, watch)
    if search.prices is None:
        watch.keep(kept)


def price_sets(search: "LargeSearch") -> None:
    """Ask the configuration program on single models for a better bound, within each pressure."""
    from kvplace.solver.bounds.option_prices import first_checked  # noqa: PLC0415 - HiGHS: only here
    from kvplace.solver.column_generation.option_sets import OptionSets  # noqa: PLC0415 - same
    from kvplace.solver.exact.close_gap import Proof, climb  # noqa: PLC0415 - same

    if not ready(search, "PRICING"):
        return
    knobs, watch, rounds = search.knobs, search.watch, search.knobs.priced_rounds
    proof = Proof(OptionSets(search.instance, compiled=True), search.low)
    proof.program.add(search.held)
    first = proof.value + FIRST * (search.value - proof.value)
    with watch.part(knobs.priced_part):
        if proof.refutes(first, watch, rounds):
            # Near the program's threshold a question takes longest: again a little further first.
            second = proof.value + FIRST * (search.value - proof.value)
            high = search.value if proof.refutes(second, watch, rounds) else second
            climb(proof, high, rounds, watch)
    program, verdicts = proof.program, proof.verdicts
    search.refute(first_checked(search.problem, program, verdicts, knobs.certificates, watch))
    watch.tell("bound", search.value, search.low)


def wasteful(search: "LargeSearch") -> bool:
    """Whether memory that no set of models fills lies waste, which the program can see."""
    one = search.instance.pressures == 1
    return math.isfinite(search.value) and search.sparse and search.low > 0 and one


def uneven(search: "LargeSearch") -> bool:
    """Whether so few models share a GPU that no set of them fills it under several pressures."""
    columns, knobs = search.columns, search.knobs
    few = columns.n <= min(knobs.priced, knobs.priced_density * columns.g)
    several = 1 < search.instance.pressures <= knobs.priced_pressures
    return math.isfinite(search.value) and few and several
