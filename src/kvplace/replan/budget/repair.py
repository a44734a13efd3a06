"""What must change before anything may: copies that are missing, illegal, or where they may not be.

GPUs that are over their memory are relieved by the descent like any hot GPU.
"""

from __future__ import annotations

from collections.abc import Callable

from kvplace.replan.budget.fleet_state import BROKEN, Copies, FleetState, Reshape
from kvplace.replan.budget.make_room import anywhere, with_one_more, with_room
from kvplace.replan.budget.neighbours import places_for
from kvplace.replan.budget.prices import Prices
from kvplace.solver.clock import Watch

_ROUNDS = 4


def repair(state: FleetState, prices: Prices, movable: Callable[[int], bool], watch: Watch) -> bool:
    """Give every model copies that it may have, where it may have them, as few others as need be.

    Returns
    -------
    bool
        Whether every model now has them and no hard rule is broken; GPUs may be over their memory.
        False where the watch ended it.
    """
    size = {j: -state.models[j].weights_bytes for j in state.illegal}
    for model in sorted(state.illegal, key=lambda j: (size[j], j)):
        if watch.stop:
            return False
        _make_legal(state, prices, movable, model)
    for _ in range(_ROUNDS):
        names = state.rules.broken() if state.rules.amounts()[0] > 0 else set()
        concerned = sorted(state.problem.index_of[name] for name in names)
        within = (j for j in concerned if movable(j) and not watch.stop)
        if not any(_obey(state, prices, model) for model in within):
            break
    return not state.illegal and state.rules.amounts()[0] <= 0


def _make_legal(
    state: FleetState, prices: Prices, movable: Callable[[int], bool], model: int
) -> None:
    """Drop what may not be, then start or stop copies until their number is allowed."""
    about = state.models[model]
    legal: list[tuple[int, ...]] = []
    for copy in state.copies[model]:
        taken = {gpu for other in legal for gpu in other}
        fits = len(copy) in about.tensor_parallel and state.seated(model, copy)
        if fits and not taken & set(copy):
            legal.append(copy)
    state.apply(((model, tuple(legal)),))
    while len(state.copies[model]) > about.replicas.max:
        copies = state.copies[model]
        left = [tuple(c for c in copies if c != gone) for gone in copies]
        state.apply(((model, min(left, key=lambda c: (state.outcome(((model, c),)), c))),))
    while len(state.copies[model]) < about.replicas.min:
        options = with_one_more(state, model, state.copies[model])
        chosen = _best(state, model, options)
        if chosen is None:
            return
        change: Reshape = ((model, chosen),)
        if state.outcome(change) >= BROKEN:
            options = anywhere(state, model, state.copies[model])
            roomy = with_room(state, prices, movable, model, options)
            change = roomy.reshape if roomy is not None else change
        state.apply(change)


def _best(state: FleetState, model: int, options: list[Copies]) -> Copies | None:
    """Return the option that breaks the least and presses the least."""
    ranked = sorted((state.outcome(((model, copies),)), copies) for copies in options)
    if state.rules.idle:
        return ranked[0][1] if ranked else None
    found = [
        (state.rules_after(((model, copies),))[0], worst >= BROKEN, worst, copies)
        for worst, copies in ranked[:64]
    ]
    return min(found)[3] if found else None


def _obey(state: FleetState, prices: Prices, model: int) -> bool:
    """Change how a model runs so that less of the hard rules is broken; say whether it was."""
    before = state.rules.amounts()[0]
    copies = state.copies[model]
    options = []
    for own in copies:
        rest = tuple(c for c in copies if c != own)
        taken = {gpu for c in rest for gpu in c}
        for degree in state.models[model].tensor_parallel:
            places = places_for(state, model, degree, taken, 1 / len(copies), most=32)
            options += [tuple(sorted((*rest, place))) for place in places if place != own]
        if len(rest) >= state.models[model].replicas.min:
            options.append(rest)
    best: tuple[float, bool, float, float, Copies] | None = None
    for option in options:
        amount = state.rules_after(((model, option),))[0]
        if amount < before:
            worst = state.outcome(((model, option),))
            key = (amount, worst >= BROKEN, prices.of(state, model, option), worst, option)
            best = key if best is None or key < best else best
    if best is None:
        return False
    state.apply(((model, best[4]),))
    return True
