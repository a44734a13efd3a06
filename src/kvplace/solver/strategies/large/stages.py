"""Stages of the search over large fleets: starts, exchanges, kicks and bounds."""

import itertools
import math

import numpy as np

from kvplace.core.result import OPTIMAL_GAP, Stop
from kvplace.solver.assignment.packed import Items, Packing, pack_items, pack_rows
from kvplace.solver.clock import Within
from kvplace.solver.construct.compiled_starts import bisect_first_fit, most_room_first
from kvplace.solver.improve.parallel_pairs import GAIN, Improver
from kvplace.solver.kernels import halting
from kvplace.solver.strategies.assigned import ready
from kvplace.solver.strategies.large.search import LargeState

FIRST = 0.125
"""Part of the gap at which the target asked first is: if it is not refuted, sums say as much."""
LEAST_KICKS, LOOKED = 8, 25_600
"""Kicks under several pressures without a gain that end a round of them, at least; and GPUs that so
many look at."""
FILLED = (0.3, *[1.0] * 9)
"""Part of the time left that filling may take at one target after the other."""
WIDER, LASTING = (2, 4), 5.0
"""Times as many GPUs as are left that exchange at the end of filling, and effort without a gain."""
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


def fill(search: LargeState) -> None:
    """Fill GPUs one after the other below a target, and let those exchange that come last."""
    from kvplace.solver.construct.fill_by_pairs import COMPILED as FILL  # noqa: PLC0415 - rarely
    from kvplace.solver.large_neighbourhood.warm import kernels_ready  # noqa: PLC0415 - rarely

    assert search.packing is not None
    if not kernels_ready(FILL):
        return
    best = search.packing
    with search.watch.part(search.knobs.filled_part):
        for part in FILLED:
            value = float(best.pressure().max())
            target = search.low + search.knobs.filled_gap * (value - search.low)
            found = None if search.watch.stop else _filled(search, target, part)
            if found is None or found.pressure().max() >= value:
                break
            best = found
    if best is not search.packing:
        search.take(best)


def _filled(search: LargeState, target: float, part: float) -> Packing | None:
    """Return what is filled below a target, or a little above; None where too much is left over."""
    from kvplace.solver.construct.fill_by_pairs import fill_by_pairs  # noqa: PLC0415 - rarely

    columns, watch = search.columns, search.watch
    with halting(part * watch.left) as halted:
        gpu_of = fill_by_pairs(columns, target, search.seed, halted)
    over, done = np.flatnonzero(gpu_of < 0), int(gpu_of.max()) + 1
    largest = over[np.argsort(-columns.loads[over, 0].max(axis=1), kind="stable")]
    gpu_of[largest] = columns.g - 1 - np.arange(len(over)) % max(columns.g - done, 1)
    packing = pack_rows(columns, gpu_of)
    above = packing.pressure() > target
    last = columns.g - int(above.argmax()) if above.any() else 0
    if last > search.knobs.last_part * columns.g:
        return None
    for wide in WIDER if last else ():
        first = max(columns.g - wide * last, 0)
        rest = np.flatnonzero(gpu_of >= first)
        items = Items(columns.size[rest], columns.keep[rest], columns.loads[rest], columns.kv)
        packing = pack_items(
            items, columns.memory[first:], columns.type_of[first:], gpu_of[rest] - first
        )
        improver = Improver(packing, search.low, search.seed, search.crew, Within(watch))
        improver.relieve(target, math.inf, LASTING * search.effort)
        gpu_of[rest] = first + packing.gpu_of(len(rest))
        if packing.pressure().max() <= target:
            break
    return pack_rows(columns, gpu_of)


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


def fillable(search: LargeState) -> bool:
    """Whether GPUs that are alike, and hold some models each, are far above the bound."""
    columns, knobs = search.columns, search.knobs
    many = columns.g >= knobs.filled_gpus and columns.n >= knobs.filled_density * columns.g
    far = search.value > search.low * (1 + knobs.filled_above)
    return alternating(search) and len(columns.kinds) == 1 and many and far


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
