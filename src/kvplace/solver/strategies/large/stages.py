"""Stages of the search over large fleets: starts, exchanges, kicks and bounds."""

import itertools
import math

from kvplace.core.result import OPTIMAL_GAP, Stop
from kvplace.solver.assignment.packed import Packing, pack_rows
from kvplace.solver.construct.compiled_starts import bisect_first_fit, most_room_first
from kvplace.solver.improve.parallel_pairs import GAIN
from kvplace.solver.strategies.assigned import ready
from kvplace.solver.strategies.large.search import LargeState

FIRST = 0.125
"""Part of the gap at which the target asked first is: if it is not refuted, sums say as much."""
LEAST_KICKS, LOOKED = 8, 25_600
"""Kicks under several pressures without a gain that end a round of them, at least; and GPUs that so
many look at."""
LONGER = 3
"""Rounds, at most, in which exchanges under several pressures go on twice as long as before."""


def start(search: LargeState) -> None:
    """Take the best start: most room first, and first fit where that fails or few share.

    Where few share, first fit comes first: it is near the bound sooner.
    """
    if search.low == math.inf:
        return
    columns, watch, starts = search.columns, search.watch, list[Packing]()
    level = max(search.level, search.low)  # where one model decides, sizes at its pressure
    sparse = search.sparse and search.instance.pressures == 1

    def ended() -> bool:
        # A signal ends this while a kernel is compiled; the clock only where there is a plan.
        return watch.stop is not None if starts else watch.stop is Stop.INTERRUPTED

    for turn, first_fit in enumerate((True, False) if sparse else (False, True)):
        # A second start is not waited for any longer than the time limit.
        if turn and (ended() or (starts and not sparse)):
            break
        if first_fit:
            found = bisect_first_fit(columns, search.low, watch, ended)
            starts += [] if found is None else [found]
        else:
            starts = [*most_room_first(columns, level, ended), *starts]
    if search.given is not None:
        starts.append(pack_rows(columns, search.given))
    if starts:
        search.take(min(starts, key=lambda start: float(start.pressure().max())))


def pack(search: LargeState) -> None:
    """No rule packs the memory: do it by exchanges, or prove that there is no way."""
    from kvplace.solver.bounds.level_bound import refuted  # noqa: PLC0415 - HiGHS: only here

    if search.low == math.inf:
        return
    knobs, watch, packer = search.knobs, search.watch, search.packer()
    for turn in itertools.count():
        most = math.inf if turn else knobs.packed * search.effort
        gpu_of = packer.run(most, knobs.kicked_patience * search.effort, search.seed + turn)
        if gpu_of is not None:
            search.take(pack_rows(search.columns, gpu_of))
            return
        if not turn:
            search.refute(refuted(search.problem, search.columns, watch))
        if search.low == math.inf or watch.stop or (search.limitless and turn >= knobs.packings):
            return


def pair(search: LargeState) -> None:
    """Pair every GPU with its opposite while that pays."""
    search.improver.balance()
    search.improved()


def relieve(search: LargeState) -> None:
    """Lower the hottest GPUs."""
    knobs, usual = search.knobs, search.effort
    # Under several pressures kicks take longer, and exchanges go on helping.
    soon = kicked(search) and search.instance.pressures == 1
    patience = knobs.kicked_patience if soon else knobs.timed_patience
    patience = knobs.patience if search.limitless else patience
    effort = usual if search.limitless else math.inf
    search.improver.relieve(search.low * (1 + search.settings.gap), effort, patience * usual)
    search.improved()


def kick(search: LargeState) -> None:
    """Go on with kicks, twice as long each time, where exchanges no longer help."""
    from kvplace.solver.improve.iterated_pairs import COMPILED as KICKS  # noqa: PLC0415 - rarely
    from kvplace.solver.improve.iterated_pairs import iterate_pairs  # noqa: PLC0415 - rarely
    from kvplace.solver.large_neighbourhood.warm import kernels_ready  # noqa: PLC0415 - rarely

    assert search.packing is not None
    if not kernels_ready(KICKS):
        return
    goal, seed = search.low * (1 + search.gap), search.seed + search.round
    several = search.instance.pressures > 1
    few = max(LEAST_KICKS, min(search.knobs.few_kicks, LOOKED // search.columns.g))
    kicks = few if several else search.knobs.kicks << search.round
    made = iterate_pairs(search.packing, goal, kicks, seed, GAIN, search.watch, search.left)
    search.kicked(made)


def relieve_again(search: LargeState) -> None:
    """Lower all GPUs that kicks left near the hottest, which gives that one partners again."""
    search.renew()
    goal = search.low * (1 + search.settings.gap)
    patience = search.knobs.timed_patience * (1 << min(search.round + 1, LONGER))
    search.improver.relieve(goal, math.inf, patience * search.effort)
    search.improved()


def rest(search: LargeState) -> None:
    """Lower the GPUs that a proved maximum leaves open."""
    search.improver.relieve(0.0, search.knobs.rest_part * search.effort, math.inf)
    search.improved()


def price_classes(search: LargeState) -> None:
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


def price_sets(search: LargeState) -> None:
    """Ask the configuration program on single models for a better bound, within each pressure."""
    from kvplace.solver.bounds.option_prices import first_checked  # noqa: PLC0415 - HiGHS: only here
    from kvplace.solver.column_generation.option_sets import OptionSets  # noqa: PLC0415 - HiGHS: only here
    from kvplace.solver.exact.close_gap import Proof, climb  # noqa: PLC0415 - HiGHS: only here

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


def kicked(search: LargeState) -> bool:
    """Whether time is left for kicks, of which each looks at all GPUs."""
    few = search.columns.g <= search.knobs.kicked_gpus
    return placed(search) and few and search.watch.limit < math.inf


def alternating(search: LargeState) -> bool:
    """Whether kicks and exchanges take turns: under several pressures either ends soon alone."""
    return kicked(search) and search.instance.pressures > 1


def placed(search: LargeState) -> bool:
    """Whether every model has a GPU."""
    return math.isfinite(search.value)


def proved(search: LargeState) -> bool:
    """Whether the maximum is proved to be the best, and all that is asked for."""
    met = search.value <= search.low * (1 + OPTIMAL_GAP)
    return placed(search) and met and search.settings.gap < OPTIMAL_GAP


def wasteful(search: LargeState) -> bool:
    """Whether memory that no set of models fills lies waste, which the program can see."""
    one = search.instance.pressures == 1
    return math.isfinite(search.value) and search.sparse and search.low > 0 and one


def uneven(search: LargeState) -> bool:
    """Whether so few models share a GPU that no set of them fills it under several pressures."""
    columns, knobs = search.columns, search.knobs
    few = columns.n <= min(knobs.priced, knobs.priced_density * columns.g)
    several = 1 < search.instance.pressures <= knobs.priced_pressures
    return math.isfinite(search.value) and few and several
