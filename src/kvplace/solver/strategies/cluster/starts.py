"""How a search over clusters begins: constructions, and descents from the best of them."""

import math
from collections.abc import Sequence
from functools import partial
from itertools import islice

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.construct.deal import dealt_near
from kvplace.solver.construct.excess import Sharing, relieved
from kvplace.solver.construct.target_search import construct, lowered, some_assignments
from kvplace.solver.improve.descent import settle
from kvplace.solver.improve.keep_rules import change_places, keep_rules
from kvplace.solver.improve.neighbourhoods.kinds import nearby, wide
from kvplace.solver.instance.columns import fluid_level
from kvplace.solver.large_neighbourhood.ejection import repaired
from kvplace.solver.strategies.assigned import (
    COMPLETED,
    completed,
    ready,
    refute,
)
from kvplace.solver.strategies.cluster.search import ClusterState
from kvplace.solver.strategies.cluster.supports import (
    arrayed,
    domains_pay,
    fillable,
    keeps,
    refutable,
    small,
)

FILLED_ABOVE = 1e6
"""Factor of the bound at which link domains are filled for a start: memory alone counts there."""
PACKED_PART = 0.5
"""Part of the time left that a start with what only the largest GPUs hold packed first may take."""
STEP = 0.01
"""Part of the value by which the first target for which room is made is lower at most; doubled
after each that is met."""
RELIEVED_EACH = 0.5
"""Part of the time left for ejection of a large cluster that one target may take."""
MOVING = 0.6
"""Time to list the shards of very many models, and again to move them, in times of loading the
problem: measured with 200,000 models."""
COMPLETED_PART = 0.5
"""Part of the time left in which GPUs are filled one by one before ejection."""
SOME, LOWERED = 8, 8
"""Fillings made before it is asked whether there is room at all, and targets tried below the value
of one that was found."""


def configure(search: ClusterState) -> None:
    """Build a start from configurations, ended so early that time is left for another one.

    Very many models are dealt near the bound instead.
    """
    watch = search.watch
    if search.many:
        chooser, low = search.chooser, search.low
        near = dealt_near(chooser, low, watch) if 0 < low < math.inf else None
        search.starts += [near] if near is not None and near.valid else []
        return
    if watch.left < math.inf and not search.starts:
        search.board = _soon(search)
        watch.tell("start", search.value, search.low)
        if watch.stop:
            return
    with watch.part(search.knobs.configured_part):
        board = _configured(search)
    if board is not None:
        board = _completed(search, board, search.aimed)
    if board is not None and board.valid:
        search.starts.append(board)


def _configured(search: ClusterState) -> Assignment | None:
    """Return an assignment built from configurations, whole or not; None for none in time."""
    from kvplace.solver.construct.from_configurations import Configurer  # noqa: PLC0415 - HiGHS: only here

    knobs = search.knobs
    if keeps(search):
        search.raise_by_tail(knobs.first_part)
    search.raise_bound(None, knobs.first_part)
    search.watch.tell("configure", bound=search.low)
    if search.closed:
        return None
    grid = next(levels for most, levels in knobs.grids if search.instance.n <= most)
    coarse = max(knobs.coarse_grid, round(knobs.coarse_part * grid))
    packed = _packed_first(search, grid)
    configurer = Configurer(search.chooser, search.seed, grid, coarse, _sharing(search))
    configurer.aim(search.low, search.watch)
    search.aimed_at, search.aimed = configurer.prices, min(search.aimed, configurer.target)
    if packed is not None and packed.worst() > configurer.target:
        packed = relieved(packed, configurer.target, search.watch, _sharing(search)) or packed
    if packed is not None and packed.worst() <= configurer.target:
        return packed  # rounding leaves the other one above its target
    board = configurer.build(search.watch)
    return min((b for b in (packed, board) if b is not None), key=Assignment.worth, default=None)


def _packed_first(search: ClusterState, grid: int) -> Assignment | None:
    """Return an assignment with what only the largest GPUs hold packed first.

    None where the bound is not that of these models, or none is found in time.
    """
    from kvplace.solver.construct.confined import Confined  # noqa: PLC0415 - HiGHS: only here
    from kvplace.solver.construct.from_configurations import Configurer  # noqa: PLC0415 - HiGHS: only here

    instance, watch = search.instance, search.watch
    if search.tail is None or instance.blueprints or instance.uneven:
        return None
    confined = Confined(search.chooser, search.low, search.knobs.tail_options)
    if not confined.models:
        return None
    sharing = _sharing(search, confined.models)
    with watch.part(PACKED_PART):
        configurer = Configurer(search.chooser, search.seed, grid, grid, sharing, confined)
        configurer.aim(search.low, watch)
        board = configurer.build(watch)
    search.aimed = configurer.target
    return board


def _sharing(search: ClusterState, fixed: Sequence[int] = (), turn: int = 0) -> Sharing | None:
    """Return what exchanges shards of two sizes by compiled kernels; None where they are not.

    Some models stay where they are. The seed is that of a turn.
    """
    from kvplace.solver.construct.share_out import share_out  # noqa: PLC0415 - numba: only here

    if not (keeps(search) and ready(search, "SHARING")):
        return None
    return partial(share_out, seed=search.seed + turn, fixed=frozenset(fixed))


def _completed(search: ClusterState, board: Assignment, target: float) -> Assignment | None:
    """Return an assignment with what found no place, the nearer to the target aimed at the better.

    It goes from far above the target downwards, so that what is valid is found soon.
    """
    lacking, knobs = sum(not copies for copies in board.where), search.knobs
    sharing = None if board.valid else _sharing(search)
    for aim in (target * (1 + above) for above in knobs.completed[::-1] if sharing):
        with search.watch.part(RELIEVED_EACH):
            board = relieved(board, aim, search.watch, sharing) or board
        if board.valid:
            return board
    rounds = knobs.packed + knobs.packed_per_missing * lacking
    with search.watch.part(knobs.completed_part):
        for aim in (target * (1 + above) for above in knobs.completed):
            if search.watch.stop:
                break
            if not board.valid or board.worst() > aim:
                found, _ = search.packer.pack(board, aim, rounds)
                board = found or board
    if board.missing:
        return repaired(board, search.packed, search.seed, search.watch)
    return board


def start(search: ClusterState) -> None:
    """Take the best of several constructions, where there is no start yet.

    Of a tiny cluster the first will do: every way to place it is looked at next.
    """
    if search.low == math.inf:
        return
    if fillable(search) and not small(search) and search.watch.limit < math.inf:
        ready(search, "FILLING")  # else they are compiled beside what comes first
    soon = search.watch.stop or (search.large and search.watch.limit < math.inf)
    if search.board is None and not search.starts and soon:
        search.board = _soon(search)
        if search.board is None and search.watch.stop and search.large and search.low > 0:
            return  # what else is tried here takes as long
    begun = [] if search.board is None else [search.board]
    if not (search.starts or begun) and arrayed(search):
        search.starts += _most_room_first(search)
    anew = not search.starts and not (begun and (search.watch.stop or search.closed))
    boards = construct(search.chooser, search.low, search.watch, placed=bool(begun)) if anew else ()
    for board in islice(boards, 1 if search.tiny else None):
        search.starts.append(board)
        search.board = board
        if search.closed:
            break
        if len(search.starts) == 1 and board.missing:
            filled = _filled(search, SOME) or _refuted_or_filled(search)
            if search.low == math.inf:
                search.board, search.starts = None, []
                return
            if filled is not None:
                search.starts.append(filled)
                break
    search.starts += begun
    search.starts.sort(key=Assignment.worth)
    search.board = search.starts[0]


def _most_room_first(search: ClusterState) -> list[Assignment]:
    """Return assignments of undivided models by kernels; none where these are not compiled yet."""
    from kvplace.solver.construct.compiled_starts import most_room_first  # noqa: PLC0415 - numba: only here

    columns, waits = search.instance.columns, search.watch.limit == math.inf
    level = max(fluid_level(columns), search.low)
    found = most_room_first(columns, level, lambda: not waits)
    where = [[((int(g),),) for g in packing.gpu_of(columns.n)] for packing in found]
    return [Assignment(search.instance, copies) for copies in where]


def _filled(search: ClusterState, rounds: int) -> Assignment | None:
    """Return an assignment made by filling link domains, where its kernels are at hand, or None."""
    if not (search.low > 0 and domains_pay(search) and ready(search, "FILLING")):
        return None
    from kvplace.solver.large_neighbourhood.refill import Refiller  # noqa: PLC0415 - numba: only here

    refiller = Refiller(search.chooser, search.seed, search.watch)

    def at(target: float) -> Assignment | None:
        board = Assignment(search.instance)
        refiller.pack(board, target, rounds)
        return board if board.valid else None

    board = at(search.low * FILLED_ABOVE)
    if board is None:
        return None
    return lowered(at, board, search.low, math.inf, LOWERED, search.watch)


def _refuted_or_filled(search: ClusterState) -> Assignment | None:
    """Return an assignment made by more fillings, unless it is proved that there is none."""
    if refutable(search):
        refute(search, search.knobs.program_rounds)
    return None if search.low == math.inf else _filled(search, search.knobs.fillings)


def _soon(search: ClusterState) -> Assignment | None:
    """Return a whole assignment, however bad, if one is made within what a limit is kept to.

    It is worth most of what is kept for evaluating it and for a certificate of the bound, and where
    the limit is over, a little time yet.
    """
    watch, _ = search.watch, search.chooser.instance.options  # which take longer than the search
    kept = watch.keep(0.0)
    soon = search.knobs.soon + search.knobs.soon_model * search.chooser.instance.n
    watch.keep(min(kept / 3 - watch.late, watch.limit - watch.seconds - soon))
    boards = some_assignments(search.chooser, search.low, watch)
    board = next(boards, None)
    watch.keep(kept)
    with watch.part(search.knobs.sooner_part):
        return next(boards, board)


def start_as_reference(search: ClusterState) -> None:
    """Take the best of several constructions and the placement given."""
    if search.low < math.inf:
        search.starts += construct(search.chooser, search.low, search.watch)
        search.board = min(search.starts, key=Assignment.worth)


def descend(search: ClusterState) -> None:
    """Descend from the best starts, by kernels and single steps in turn where GPUs are many."""
    boards = search.starts[: 1 if search.large else search.knobs.starts]
    for board in () if search.watch.stop else boards:
        if search.large:
            if search.many:
                _exchange_very_many(search, board)
                continue
            # A better bound and ejections come after it.
            short = search.watch.left < search.params.large.loading
            with search.watch.part(search.knobs.exchanged_part):
                if not short and ready(search, "PAIRS"):
                    exchange_many(search, board)
                else:
                    most = min(search.knobs.few_steps, search.left)
                    search.steps += settle(board, search.watch, most, nearby(board))
        else:
            search.steps += keep_rules(board, search.watch, search.left)
            most = min(search.knobs.steps, search.left)
            search.steps += settle(board, search.watch, most, wide(board))
    search.board = min(boards, key=Assignment.worth)
    search.steps += change_places(search.board, search.watch, search.left)
    search.starts = []
    best = search.best
    search.watch.tell("start", best.worst() if best.valid else None, search.low)


def _exchange_very_many(search: ClusterState, board: Assignment) -> None:
    """Exchange shards of very many models, where there is time to look at all of them and back."""
    watch, moving = search.watch, MOVING * search.loading
    if watch.left > search.params.large.loading + 2 * moving:
        kept = watch.keep(0.0)
        watch.keep(kept + moving)
        exchange_many(search, board)
        watch.keep(kept)


def exchange(search: ClusterState) -> None:
    """Exchange shards between many GPUs by compiled kernels; what is left of the start is dropped.

    Where these are not compiled yet, nothing is done, and single steps follow.
    """
    from kvplace.solver.improve.movable_shards import improve_mobile  # noqa: PLC0415 - numba

    watch, knobs = search.watch, search.knobs
    if not ready(search, "EVENING"):
        return
    with watch.part(knobs.kicked_part):
        search.steps += improve_mobile(
            search.best, search.low, knobs.most_pairs, search.seed, watch,
            limit=search.most(math.inf),
        )  # fmt: skip
    search.starts = []
    watch.tell("start", search.value, search.low)


def make_room(search: ClusterState) -> None:
    """Place what is too hot at lower targets anew, for which others make room.

    Targets fall by steps that double until one is not met, and then by bisection.

    A target that is not met leaves excess with which the next one begins, but for every other time.
    """
    board, watch, near = search.best, search.watch, search.knobs.relieved_near
    begun, missed, step = board, max(search.low, search.unmet), STEP
    with watch.part(search.knobs.relieved_part):
        while board.worst() > missed * (1 + near) and search.left > 0 and not watch.stop:
            target = max((board.worst() + missed) / 2, board.worst() * (1 - step))
            sharing = _sharing(search, turn=search.steps)
            with watch.part(RELIEVED_EACH):
                found = relieved(begun, target, watch, sharing) or board
            search.steps += 1
            met = found.worth() < board.worth()
            begun = found if begun is board and not met else board
            if met:
                step *= 2
                board.reset(found.where)
                watch.tell("pack", board.worst())
            if board.worst() > target:
                missed = target
    search.unmet = missed if board.worst() > missed * (1 + near) else 0.0


def repair(search: ClusterState) -> None:
    """Place by ejection what is broken or found no place, with four times the effort each time."""
    for turn in range(search.knobs.repairs):
        seed = search.seed + turn
        board = repaired(search.best, search.packed << 2 * turn, seed, search.watch)
        search.board = board or search.board
        if search.placed or search.watch.stop:
            break


def mend(search: ClusterState) -> None:
    """Make a valid assignment where no start is, and descend from that."""
    from kvplace.solver.exact.bin_completion import Completion  # noqa: PLC0415 - often unneeded

    watch = search.watch
    completion = Completion(search.instance, search.seed, watch)
    with watch.part(COMPLETED_PART):
        completed(search, completion, COMPLETED)
    if not search.placed:
        repair(search)
    if not search.placed:
        completed(search, completion, math.inf)
    if search.placed:
        most = min(search.knobs.steps, search.left)
        search.steps += settle(search.best, search.watch, most, wide(search.best))
        search.watch.tell("start", search.value, search.low)


def exchange_many(search: ClusterState, board: Assignment, gain: float | None = None) -> None:
    """Improve the movable shards by compiled kernels, and what is not by itself, in turn."""
    from kvplace.solver.improve.movable_shards import improve_mobile  # noqa: PLC0415 - numba

    knobs, instance, watch = search.knobs, search.instance, search.watch
    gain = knobs.gain if gain is None else gain
    effort = min(max(knobs.pairs / instance.g, knobs.least_pairs), knobs.most_pairs)
    every = instance.g <= knobs.wide_gpus
    kinds = wide(board) if every else nearby(board)
    aim, turns = max(search.low, 1e-300), 1 if every else knobs.at_once
    for turn in range(knobs.turns):
        before = board.worst()
        if every or turn:
            most = min(knobs.steps if every else knobs.few_steps, search.left)
            search.steps += settle(board, watch, most, kinds, gain)
        watch.tell("improve", board.worst(), search.low)
        search.steps += improve_mobile(
            board, aim, effort, search.seed + turn, watch, turns,
            limit=search.most(math.inf), gain=gain,
        )  # fmt: skip
        watch.tell("improve", board.worst(), search.low)
        near = not any(board.flaws) and board.worst() <= search.low * (1 + search.gap)
        if watch.stop or search.left <= 0 or near or board.worst() >= before * (1 - 1e-6):
            break
