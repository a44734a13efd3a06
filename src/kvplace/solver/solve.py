"""The door of the solver: who runs, and the re-evaluation that every result passes."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kvplace.core.certificates.certificate import Bound
from kvplace.core.evaluation.constraints import Violation
from kvplace.core.evaluation.evaluate import Evaluation, evaluate
from kvplace.core.objective import Objective
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import OPTIMAL_GAP, Result, Status, Stop, relative_gap, status_of
from kvplace.errors import InputError, InternalError
from kvplace.solver.assignment.lists import State
from kvplace.solver.baselines.schedulers import prism
from kvplace.solver.bounds.certify import certified_rule
from kvplace.solver.bounds.trivial import simple_bound, single_model_bound
from kvplace.solver.clock import Watch
from kvplace.solver.construct.best_fit_decreasing import bisect_target
from kvplace.solver.construct.repair import make_room
from kvplace.solver.improve.moves_and_swaps import balance, lower_maximum
from kvplace.solver.instance.door import (
    load_instance,
    load_placement,
    unload_assignment,
    unload_copies,
    unload_placement,
)
from kvplace.solver.instance.instance import Instance
from kvplace.solver.strategies.undivided import Portfolio

if TYPE_CHECKING:
    from kvplace.solver.bounds.pressures import PressureBound

__all__ = ["SOLVERS", "refine", "solve", "stop_of"]

SOLVERS = ("auto", "reference", "prism-greedy")
REFERENCE_ITERATIONS = 50
SMALL_MODELS = 600
"""Up to so many models ``auto`` needs no compiled kernels."""
FINISH = 3.5
"""Time kept at scale for evaluating the plan and certifying its bound, in multiples of that for
loading the problem and its first bound."""
FINISH_GENERAL = 3.0
"""The same with tensor parallel, copies and rules."""
REPAIRABLE = {"memory", "min_kv"}
"""What may be wrong with a start of undivided models that is repaired."""
SPARSE_MODELS, SPARSE_DENSITY = 2_000, 6.0
"""The same where at most so many models share a GPU: groups are then refilled exactly, which is
worth more than many exchanges, as long as that is affordable."""


def solve(
    problem: Problem,
    *,
    objective: Objective | str | None = None,
    time_limit: float | None = None,
    gap: float = 0.0,
    seed: int = 0,
    solver: str = "auto",
    start: Placement | None = None,
    iterations: int | None = None,
    watch: Watch | None = None,
) -> Result:
    """Place every model so that the worst GPU's KVPR is as low as it can be.

    Parameters
    ----------
    problem
        What to place on what.
    objective
        The load; None keeps the problem's own.
    time_limit
        Seconds; None for the solver's own end, which does not depend on the clock.
    gap
        Certified relative gap at which to stop.
    seed
        Of random choices.
    solver
        One of `SOLVERS`.
    start
        A placement to start from as well; the result is never worse. ``prism-greedy`` takes none.
    iterations
        Steps at most of the search that lowers the maximum; None for the solver's own end. A step
        is an exchange that is made, or a perturbation that is tried: a kick, GPUs that are emptied
        and filled again, a copy that is forced in. Bounds, and balancing what the maximum leaves
        open, count none.
    watch
        Clock, interrupt and listener; None makes one of `time_limit`.

    Returns
    -------
    Result
        Re-evaluated by `kvplace.core.evaluation`.

    Raises
    ------
    InputError
        Unknown solver or objective, or a start that does not fit the problem.
    InternalError
        The result failed its re-evaluation: a bug in kvplace, and no plan is returned.
    """
    if solver not in SOLVERS:
        raise InputError(f"{solver!r} is no solver; choose one of {', '.join(SOLVERS)}")
    problem = problem.with_objective(objective)
    watch = watch or Watch(time_limit)
    if solver == "auto" and _at_scale(problem):
        return _solve_at_scale(problem, start, gap, seed, iterations, watch)
    if _several(problem):
        return _solve_general(problem, gap, seed, solver, start, iterations, watch)
    arrays = load_instance(problem)
    bound = simple_bound(arrays)
    watch.tell("bound", bound=bound.value)
    given = None if start is None else load_placement(problem, arrays, start)
    steps, limited, gpu_of = 0, False, None
    if solver == "auto":
        run = Portfolio(
            problem, arrays, bound, gap=gap, seed=seed, iterations=iterations, watch=watch
        )
        limited = run.run(given)
        gpu_of = run.state.gpu_of if run.state else None
        bound, steps = run.bound, run.steps
    elif solver == "prism-greedy":
        bound = _certified(problem, arrays, bound)
        return _finish(problem, prism(problem), bound, solver, seed, 0, watch, gap=gap)
    elif bound.value < math.inf:
        state = _better(arrays, bisect_target(arrays, bound.value), given)
        if state is not None:
            limit = REFERENCE_ITERATIONS if iterations is None else iterations
            steps, limited = _improve(state, limit, 1e-9, 0.0, watch)
            gpu_of = state.gpu_of
    found = None if gpu_of is None else unload_placement(problem, arrays, gpu_of)
    bound = _certified(problem, arrays, bound)
    return _finish(problem, found, bound, solver, seed, steps, watch, gap=gap, limited=limited)


def _several(problem: Problem) -> bool:
    """Whether shards are split, copied, under rules, or press on more than one thing."""
    return not problem.plain or problem.goal is Objective.PRESSURE


def refine(
    problem: Problem,
    placement: Placement,
    *,
    objective: Objective | str | None = None,
    iterations: int | None = REFERENCE_ITERATIONS,
    tolerance: float = 1e-9,
    memory_margin: float = 0.0,
    time_limit: float | None = None,
    watch: Watch | None = None,
) -> Result:
    """Improve any placement by moves and swaps; the result is never worse than it.

    One that breaks a rule or exceeds a GPU's memory is repaired first.

    Parameters
    ----------
    problem
        What to place on what.
    placement
        Where every model is now.
    objective
        The load; None keeps the problem's own.
    iterations
        Steps at most that lower the maximum, as in `solve`; None goes on to the end. The rest is
        balanced once the maximum cannot be lowered any more.
    tolerance
        Relative gain that a step must exceed.
    memory_margin
        Share of each GPU's memory that a step which takes memory there must leave free, from 0
        to below 1.
    time_limit
        Seconds; None for no limit.
    watch
        Clock, interrupt and listener; None makes one of `time_limit`.

    Raises
    ------
    InputError
        The placement is of other models or GPUs, or breaks what no way was found to repair;
        every violation is named.
    """
    if not 0 <= memory_margin < 1 or not 0 <= tolerance < 1:
        raise InputError("the memory margin and the tolerance must be at least 0 and below 1")
    problem = problem.with_objective(objective)
    watch = watch or Watch(time_limit)
    if not problem.plain or (_several(problem) and not _at_scale(problem)):
        return _refine_general(problem, placement, iterations, tolerance, memory_margin, watch)
    placement = _repaired(problem, placement, watch)
    if _at_scale(problem):
        return _refine_at_scale(problem, placement, iterations, tolerance, memory_margin, watch)
    arrays = load_instance(problem)
    bound = simple_bound(arrays)
    state = State(arrays, load_placement(problem, arrays, placement))
    watch.tell("refine", state.worst(), bound.value)
    steps, limited = _improve(state, iterations, tolerance, memory_margin, watch)
    found = unload_placement(problem, arrays, state.gpu_of)
    bound = _certified(problem, arrays, bound)
    return _finish(problem, found, bound, "refine", 0, steps, watch, limited=limited)


def _repaired(problem: Problem, placement: Placement, watch: Watch) -> Placement:
    """Return a placement of undivided models as it is, or within the memory of every GPU."""
    violations = evaluate(problem, placement).violations
    if any(v.kind not in REPAIRABLE for v in violations):
        raise InputError([v.message for v in violations], "placement")
    if not violations:
        return placement
    arrays = load_instance(problem)
    gpu_of = make_room(arrays, load_placement(problem, arrays, placement))
    if gpu_of is not None:
        return unload_placement(problem, arrays, gpu_of)
    anew = solve(problem, watch=watch)
    if anew.placement is None:
        raise _beyond_repair(violations, anew.stop)
    return anew.placement


def _solve_general(
    problem: Problem,
    gap: float,
    seed: int,
    solver: str,
    start: Placement | None,
    iterations: int | None,
    watch: Watch,
) -> Result:
    """Solve a problem with tensor parallel, copies or rules."""
    from kvplace.solver.strategies.cluster import General  # noqa: PLC0415 - numpy: only here

    began = watch.seconds
    run = General(problem, gap=gap, seed=seed, iterations=iterations, watch=watch)
    if solver == "prism-greedy":
        return _finish(problem, prism(problem), run.bound, solver, seed, 0, watch, gap=gap)
    watch.keep(FINISH_GENERAL * (watch.seconds - began))
    if solver == "reference":
        limited = run.reference(start, REFERENCE_ITERATIONS if iterations is None else iterations)
    else:
        limited = run.run(start)
    found = unload_copies(problem, run.instance, run.board.where) if run.board else None
    return _finish(
        problem, found, run.bound, solver, seed, run.steps, watch, gap=gap, limited=limited
    )


def _refine_general(
    problem: Problem,
    placement: Placement,
    iterations: int | None,
    tolerance: float,
    margin: float,
    watch: Watch,
) -> Result:
    """Repair what a placement breaks, and improve it."""
    from kvplace.solver.strategies.cluster import General  # noqa: PLC0415 - numpy: only here

    run = General(problem, gap=0.0, seed=0, iterations=iterations, watch=watch)
    limited = run.improve(placement, tolerance, margin)
    if run.board is None:
        stop = stop_of(None, run.bound, 0.0, watch)
        raise _beyond_repair(evaluate(problem, placement).violations, stop)
    found = unload_copies(problem, run.instance, run.board.where)
    return _finish(problem, found, run.bound, "refine", 0, run.steps, watch, limited=limited)


def _beyond_repair(violations: Sequence[Violation], stop: Stop) -> InputError:
    """Return what is wrong with a start, and why it stays so."""
    reason = {
        Stop.INFEASIBLE: "this cannot be repaired: no placement is valid, as kvplace explain shows",
        Stop.TIME_LIMIT: "no way was found to repair this within the time limit",
        Stop.INTERRUPTED: "no way was found to repair this before the interrupt",
    }.get(stop, "no way was found to repair this, which is no proof that there is none")
    return InputError([*(violation.message for violation in violations), reason], "placement")


def _at_scale(problem: Problem) -> bool:
    """Whether a fleet is one for the compiled kernels."""
    if not problem.plain:
        return False
    models, gpus = len(problem.models), len(problem.fleet.gpus)
    sparse = models <= min(SPARSE_MODELS, SPARSE_DENSITY * gpus)
    return models > SMALL_MODELS and not sparse


def _solve_at_scale(
    problem: Problem,
    start: Placement | None,
    gap: float,
    seed: int,
    iterations: int | None,
    watch: Watch,
) -> Result:
    """Solve by compiled kernels, which take half a second to load and pay from here on."""
    watch.tell("loading kernels (compiled once, which takes a quarter of a minute)")
    import numpy as np  # noqa: PLC0415 - numba: only here

    from kvplace.solver.strategies import large as auto  # noqa: PLC0415 - numba: only here

    began = watch.seconds
    instance = load_instance(problem)
    known = instance.columns
    several = _pressure_bound(problem)
    bound = simple_bound(instance) if several is None else Bound(several.value, "fluid")
    watch.keep(FINISH * (watch.seconds - began))
    given = None if start is None else np.array(load_placement(problem, instance, start))
    gpu_of, prices, limited, steps = auto.solve_at_scale(
        known, bound, given=given, gap=gap, seed=seed, iterations=iterations, watch=watch
    )
    watch.tell("check")
    found = None if gpu_of is None else unload_assignment(problem, instance, gpu_of)
    proof = None
    if prices is not None:
        from kvplace.solver.bounds.size_classes import certified_classes  # noqa: PLC0415 - HiGHS: only here

        proof = certified_classes(problem, prices)
    if several is not None:
        bound = several.certified(problem)
    else:
        bound = proof or _certified(problem, instance, bound, by_rule=True)
    return _finish(problem, found, bound, "auto", seed, steps, watch, gap=gap, limited=limited)


def _refine_at_scale(
    problem: Problem,
    placement: Placement,
    iterations: int | None,
    tolerance: float,
    margin: float,
    watch: Watch,
) -> Result:
    """Improve a valid placement by the compiled kernels."""
    watch.tell("loading kernels (compiled once, which takes a quarter of a minute)")
    import numpy as np  # noqa: PLC0415 - numba: only here

    from kvplace.solver.strategies import large as auto  # noqa: PLC0415 - numba: only here

    began = watch.seconds
    instance = load_instance(problem)
    known = instance.columns
    several = _pressure_bound(problem)
    bound = simple_bound(instance) if several is None else Bound(several.value, "fluid")
    watch.keep(FINISH * (watch.seconds - began))
    given = np.array(load_placement(problem, instance, placement))
    gpu_of, limited, steps = auto.refine_at_scale(
        known, bound, given, iterations=iterations, tolerance=tolerance, margin=margin, watch=watch
    )
    watch.tell("check")
    found = unload_assignment(problem, instance, gpu_of)
    if several is not None:
        bound = several.certified(problem)
    else:
        bound = _certified(problem, instance, bound, by_rule=True)
    return _finish(problem, found, bound, "refine", 0, steps, watch, limited=limited)


def _pressure_bound(problem: Problem) -> "PressureBound | None":
    """Return the bound of a problem under several pressures; None where there is one."""
    if problem.goal is not Objective.PRESSURE:
        return None
    from kvplace.solver.bounds.pressures import PressureBound  # noqa: PLC0415 - numpy: only here

    return PressureBound(problem)


def _better(arrays: Instance, found: list[int] | None, given: list[int] | None) -> State | None:
    """Return the better of two assignments as a state; None where neither is there."""
    states = [State(arrays, gpu_of) for gpu_of in (found, given) if gpu_of is not None]
    return min(states, key=State.worst, default=None)


def _improve(
    state: State, limit: int | None, tolerance: float, margin: float, watch: Watch
) -> tuple[int, bool]:
    """Lower the maximum, then balance the rest; return the steps made and whether those ran out."""
    steps = lower_maximum(state, limit, tolerance, margin, watch)
    watch.tell("refine", state.worst())
    if limit is not None and steps >= limit:
        return steps, True
    return steps + balance(state, None, tolerance, margin, watch), False


def _certified(problem: Problem, arrays: Instance, bound: Bound, *, by_rule: bool = False) -> Bound:
    """Return a bound with a certificate that checks."""
    hottest = arrays.model_index[single_model_bound(arrays)[1]]
    return certified_rule(problem, bound, hottest, by_rule=by_rule)


def stop_of(
    evaluation: Evaluation | None, bound: Bound, gap: float, watch: Watch, *, limited: bool = False
) -> Stop:
    """Return why a search ended.

    Parameters
    ----------
    evaluation
        Of the placement found; None where there is none.
    bound
        What is proved.
    gap
        Certified relative gap that was asked for.
    watch
        Knows whether time or an interrupt ended it.
    limited
        Whether the steps allowed were used up.
    """
    spent = watch.stop or (Stop.ITERATION_LIMIT if limited else None)
    if evaluation is None:
        return Stop.INFEASIBLE if bound.value == math.inf else spent or Stop.LOCAL_OPTIMUM
    if status_of(evaluation, bound.value, bound.method) is Status.OPTIMAL:
        return spent or Stop.OPTIMAL
    if not evaluation.preferences and relative_gap(evaluation.value, bound.value) <= gap:
        return Stop.GAP
    return spent or Stop.LOCAL_OPTIMUM


def _finish(
    problem: Problem,
    placement: Placement | None,
    bound: Bound,
    solver: str,
    seed: int,
    iterations: int,
    watch: Watch,
    *,
    gap: float = 0.0,
    limited: bool = False,
) -> Result:
    """Re-evaluate a placement by core and wrap it up; the only door one leaves by."""
    evaluation = None
    if placement is not None:
        evaluation = evaluate(problem, placement)
        if evaluation.violations or evaluation.value < bound.value * (1 - OPTIMAL_GAP):
            found = "; ".join(v.message for v in evaluation.violations) or (
                "the bound exceeds the value"
            )
            raise InternalError(f"the plan of solver {solver} failed its re-evaluation: {found}")
        watch.tell("done", evaluation.value, bound.value)
    stop = stop_of(evaluation, bound, gap, watch, limited=limited)
    return Result(
        problem, placement, evaluation, bound, stop, solver, seed, iterations, watch.seconds,
        watch.steps,
    )  # fmt: skip
